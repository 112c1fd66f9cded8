// Package usage counts what the repositories and principals of accounts do, and keeps the numbers of hours and days.
package usage

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/jobs"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// The kinds of background work.
const (
	CountWork = "usage"
	sweepKind = "usage_history"
)

const (
	// flushEvery is the time between two writes, and so of what a crash may lose.
	flushEvery = 30 * time.Second
	// flushRows limits the rows of one transaction.
	flushRows = 100
	// keptHours and keptDays are how long rows of hours and of days are kept.
	keptHours = 14 * 24 * time.Hour
	keptDays  = 2 * 366 * 24 * time.Hour
	// sweepEvery is the time between two deletions of old rows, and sweepRows limits the rows of one transaction of it.
	sweepEvery = time.Hour
	sweepRows  = 500

	// maxKeys limits what waits: in all, and of one kind in one account and hour. Beyond that, requests count together for the account.
	// Denials make at most maxDenied of these keys, so that a user whose requests are denied cannot take the room of others.
	maxKeys         = 50_000
	maxKeysOfHour   = meta.MaxUsageRows
	maxDeniedOfHour = 50
)

// Names of callers that have no row of their own.
const (
	Anonymous = "anonymous"      // callers without credentials
	Strangers = "other-accounts" // callers that are not of the account, and were denied
	Operator  = "operator"
)

// Service counts. It is safe for concurrent use; counting never waits for the database.
type Service struct {
	meta *meta.Store
	now  func() time.Time

	mu      sync.Mutex
	waiting map[meta.UsageKey]meta.Activity
	parts   map[part]int // number of keys that wait
	hour    time.Time
	denied  map[meta.UsageKey]bool // keys of the hour that denials have made; they stay when they are written
	denials map[part]int           // their number

	looked [2]lookups // of callers with credentials, and of others
	images imagePulls
	caches map[cacheKey]meta.CacheCount

	pulls   pulls
	options PullOptions
}

// part is a set of keys that has a limit.
type part struct {
	account name.Account
	kind    meta.UsageKind
	start   time.Time
}

// New returns a Service.
func New(m *meta.Store, now func() time.Time, o PullOptions) *Service {
	return &Service{meta: m, now: now, pulls: pulls{wake: make(chan struct{}, 1), sums: newSums()}, options: o}
}

// AddWork adds the background work of the service to a runner: what was counted is written every flushEvery and when the server stops, and
// a schedule deletes old rows.
func (s *Service) AddWork(r *jobs.Runner) {
	r.AddTask(jobs.Task{Name: CountWork, What: "writing what repositories and principals did", Every: flushEvery, Run: s.flush, Stop: s.flush})
	r.Add(jobs.Kind{Name: sweepKind, What: "deleting old numbers of usage", Parallel: 1, Every: sweepEvery, Work: s.sweep})
	s.addPullWork(r)
}

// Of is what an activity is of.
type Of struct {
	Registry   name.Registry
	Repository string // "" for none
	Tag        string // by which an image was pulled; "" for none
	Digest     string // of the image that was pulled; "" for several, and without a pull
	Principal  string // an ARN, or one of the names above; "" for none. Sessions of a role count for the role
}

// Count adds what was done for a repository and by a principal.
func (s *Service) Count(of Of, a meta.Activity) {
	if of.Registry.Account == (name.Account{}) || a == (meta.Activity{}) {
		return
	}
	start := s.now().UTC().Truncate(time.Hour)
	s.mu.Lock()
	defer s.mu.Unlock()
	if of.Repository != "" {
		s.add(meta.UsageKey{Account: of.Registry.Account, Kind: meta.ByRepository, Start: start, Region: of.Registry.Region.String(),
			Subject: of.Repository}, a)
	}
	if of.Tag != "" && of.Repository != "" {
		s.add(meta.UsageKey{Account: of.Registry.Account, Kind: meta.ByTag, Start: start, Region: of.Registry.Region.String(),
			Subject: of.Repository + ":" + of.Tag}, meta.Activity{Pulls: a.Pulls})
	}
	if of.Principal == "" {
		return
	}
	principal := withoutSession(of.Principal)
	s.add(meta.UsageKey{Account: of.Registry.Account, Kind: meta.ByPrincipal, Start: start, Region: of.Registry.Region.String(),
		Subject: principal}, a)
	if of.Repository != "" && of.Digest != "" && a.Pulls > 0 {
		s.addImage(imageKey{of.Registry, of.Repository, of.Digest, principal, of.Tag, start.Truncate(24 * time.Hour)},
			imageSum{a.Pulls, s.now().UTC()})
	}
}

// withoutSession returns the ARN of a session without the name of the session, and other ARNs as they are.
func withoutSession(arn string) string {
	const sign = ":assumed-role/"
	if i := strings.Index(arn, sign); i >= 0 {
		if j := strings.LastIndexByte(arn, '/'); j > i+len(sign) {
			return arn[:j]
		}
	}
	return arn
}

// add adds to a key, or to that of all others of the account. The caller holds mu.
func (s *Service) add(k meta.UsageKey, a meta.Activity) {
	if s.waiting == nil {
		s.waiting, s.parts = map[meta.UsageKey]meta.Activity{}, map[part]int{}
	}
	if s.hour != k.Start {
		s.hour, s.denied, s.denials = k.Start, map[meta.UsageKey]bool{}, map[part]int{}
	}
	sum, known := s.waiting[k]
	if !known && k.Subject != "" {
		p := part{k.Account, k.Kind, k.Start}
		byDenial := a.Denials > 0 && !s.denied[k]
		switch {
		case s.parts[p] < maxKeysOfHour && len(s.waiting) < maxKeys && (!byDenial || s.denials[p] < maxDeniedOfHour):
			s.parts[p]++
			if byDenial {
				s.denied[k] = true
				s.denials[p]++
			}
		default:
			k.Region, k.Subject = "", ""
			if sum, known = s.waiting[k]; !known && len(s.waiting) >= 2*maxKeys {
				return // there are more accounts than that
			}
		}
	}
	sum.Add(a)
	s.waiting[k] = sum
}

// flush writes what was counted. What cannot be written waits for the next time.
func (s *Service) flush(ctx context.Context) error {
	return errors.Join(s.flushActivity(ctx), s.flushImages(ctx), s.flushCaches(ctx))
}

func (s *Service) flushActivity(ctx context.Context) error {
	s.mu.Lock()
	all := s.waiting
	s.waiting, s.parts = nil, nil
	s.mu.Unlock()
	rows := make([]meta.UsageRow, 0, len(all))
	for k, a := range all {
		rows = append(rows, meta.UsageRow{UsageKey: k, Activity: a})
	}
	for len(rows) > 0 {
		some := rows[:min(len(rows), flushRows)]
		if err := s.meta.AddActivity(ctx, some); err != nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			for _, r := range rows {
				s.add(r.UsageKey, r.Activity)
			}
			return err
		}
		rows = slices.Delete(rows, 0, len(some))
	}
	return nil
}

// sweep deletes old rows.
func (s *Service) sweep(ctx context.Context, _ *jobs.Job) error {
	for _, remove := range []func(context.Context, time.Time, int) (int, error){s.meta.DeleteImagePulls, s.meta.DeleteCacheCounts} {
		for n := sweepRows; n == sweepRows; {
			var err error
			if n, err = remove(ctx, s.now().Add(-keptByDay), sweepRows); err != nil {
				return err
			}
		}
	}
	accounts, err := s.meta.Accounts(ctx)
	if err != nil {
		return err
	}
	for _, a := range accounts {
		for n := 1; n > 0; {
			if n, err = s.meta.DeleteUsage(ctx, a.ID, s.now().Add(-keptHours), s.now().Add(-keptDays), sweepRows); err != nil {
				return err
			}
		}
	}
	return nil
}
