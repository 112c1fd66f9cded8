package registry

import (
	"context"
	"sync"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

const (
	// pullFlush is the time between two writes of pull times, if few images were pulled.
	pullFlush = 2 * time.Second
	// fewPulls is how many pull times are few: one transaction records them.
	fewPulls = 500
	// pullWait is the time between two writes if more images were pulled: more pulls of the same image become one write, and more
	// rows of one page.
	pullWait = time.Minute
	// manyPulls is how many pull times are written at once. In memory they take about 8 MB.
	manyPulls = 50_000
	// maxKeptPulls limits the pull times that wait, while they cannot be written.
	maxKeptPulls = 100_000
)

// pulls are the pull times that are not written yet. Safe for concurrent use.
type pulls struct {
	many chan struct{} // has a value when there are manyPulls

	mu      sync.Mutex
	waiting map[meta.PullKey]time.Time
	wrote   time.Time // of the last attempt to write
	quiet   bool      // since the last call of due
}

func newPulls() pulls {
	return pulls{many: make(chan struct{}, 1), waiting: map[meta.PullKey]time.Time{}}
}

// add adds a pull. Beyond maxKeptPulls images it forgets the pull.
func (p *pulls) add(k meta.PullKey, at time.Time) {
	p.mu.Lock()
	p.quiet = false
	if _, ok := p.waiting[k]; ok || len(p.waiting) < maxKeptPulls {
		p.waiting[k] = at
	}
	many := len(p.waiting) == manyPulls
	p.mu.Unlock()
	if many {
		select {
		case p.many <- struct{}{}:
		default:
		}
	}
}

// due reports whether it is time to write what waits. It is called every pullFlush: when there was no pull since the last call, the
// load has ended.
func (p *pulls) due(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	quiet := p.quiet
	p.quiet = true
	return quiet || len(p.waiting) <= fewPulls || len(p.waiting) >= manyPulls || now.Sub(p.wrote) >= pullWait || now.Before(p.wrote)
}

// take returns what waits, and begins anew.
func (p *pulls) take(now time.Time) map[meta.PullKey]time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.waiting
	p.waiting, p.wrote = map[meta.PullKey]time.Time{}, now
	return all
}

// keep keeps pull times that could not be written for the next attempt.
func (p *pulls) keep(all map[meta.PullKey]time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, at := range all {
		if len(p.waiting) >= maxKeptPulls {
			return
		}
		if _, later := p.waiting[key]; !later {
			p.waiting[key] = at
		}
	}
}

// flushDuePulls writes pull times if it is time.
func (s *Service) flushDuePulls(ctx context.Context) error {
	if !s.pulls.due(s.now()) {
		return nil
	}
	return s.flushPulls(ctx)
}

func (s *Service) flushPulls(ctx context.Context) error {
	all := s.pulls.take(s.now())
	if len(all) == 0 {
		return nil
	}
	err := s.meta.SetPulled(ctx, all)
	if err != nil {
		s.pulls.keep(all)
	}
	return err
}

// Pulled records that an image was pulled, unless a pull within the hour before was recorded. The time becomes visible after up to
// pullWait, of few images after pullFlush; ECR guarantees a day.
func (s *Service) Pulled(repository int64, d name.Digest) {
	s.pulls.add(meta.PullKey{Repository: repository, Digest: d}, s.now())
}

// excluded reports whether the pulls of a caller do not count in a registry: a pull time update exclusion names the user, or the role
// behind the session. Names of users and of roles are unique in an account, so that paths are not compared. If the exclusions cannot be
// read, the pull counts: an image that is in use must not look unused.
func (s *Service) excluded(ctx context.Context, by identity.Caller, reg name.Registry) bool {
	if by.Kind != identity.User && by.Kind != identity.RoleSession {
		return false
	}
	all, err := s.meta.PullExclusions(ctx, reg)
	if err != nil || len(all) == 0 {
		return false
	}
	_, caller, err := name.ParseEntityARN(by.ARN)
	if err != nil {
		return false
	}
	for _, x := range all {
		arn, e, err := name.ParseEntityARN(x.Principal)
		if err == nil && arn.Account == by.Account && e.Name == caller.Name && (e.Kind == name.IAMRole) == (by.Kind == identity.RoleSession) {
			return true
		}
	}
	return false
}
