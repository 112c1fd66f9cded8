package usage

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/jobs"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// The kinds of background work of the pull log.
const (
	PullWork      = "pull_log"
	pullSweepKind = "pull_log_history"
)

const (
	// pullsEvery is the time between two writes of the pull log, and so of what a crash may lose.
	pullsEvery = 5 * time.Second
	// wakePulls is how many lines that wait are written at once.
	wakePulls = 1000

	// maxPulls limits the lines that wait. Beyond it a customer of which fewer than fewPulls wait still has room, up to twice the limit, so
	// that those who flood take no room of others.
	maxPulls           = 20_000
	maxPullsOfCustomer = 4_000
	fewPulls           = 50
	// The lines without a valid licence that wait: in all, of one name of an application, and from one address.
	maxStrangers          = 1_000
	maxStrangersOfSlug    = 200
	maxStrangersOfAddress = 100

	// maxPullRowsOfStrangers limits the stored lines without a valid licence, of each application.
	maxPullRowsOfStrangers = 10_000
	pullSweepEvery         = 10 * time.Minute

	// maxPullText limits texts that the client chooses, in bytes; maxPullImage limits names of images.
	maxPullText  = 200
	maxPullImage = 512
)

// PullKind is the way by which an image is reached.
type PullKind string

// The kinds.
const (
	PullProxy    PullKind = "PROXY"    // of an external registry
	PullRegistry PullKind = "REGISTRY" // of the vendor
	PullChart    PullKind = "CHART"    // of a channel
)

// PullAction is what a request reads.
type PullAction string

// The actions.
const (
	PullManifest PullAction = "MANIFEST"
	PullHead     PullAction = "HEAD" // of a manifest
	PullBlob     PullAction = "BLOB"
	PullList     PullAction = "LIST"  // tags or referrers
	PullWrite    PullAction = "WRITE" // is always refused
	PullAuth     PullAction = "AUTH"  // a login that is refused
)

// Incomplete is the Code of an answer that ended before its end: the client has left, or the external registry.
const Incomplete = "INCOMPLETE"

// Pull is a request of a customer, or a refused one without a valid licence, about an image or a chart. It has no password. Doors fill it
// in, and what its answer was is added when it has ended.
type Pull struct {
	Registry    name.Registry // of the request
	Application string        // id; "" if Slug says it
	Slug        string        // of an application, as the path says it
	AtHost      bool          // the host name says the account of Slug
	Customer    string        // id; "" without a valid licence
	Token       string        // name; "" for the licence itself
	Kind        PullKind
	Action      PullAction
	Image       string // by which entitlements know it
	Reference   string // of the request
	Code        string // of the error; "" for a success
	Challenged  bool   // there were no credentials: many clients send their first request so
}

// Ending is what the answer to a Pull was.
type Ending struct {
	At             time.Time
	Request        string // id
	Digest         string // of what was sent; "" for none
	Sent           int64  // bytes
	Address        netip.Addr
	Agent          string
	Status         int // of HTTP
	UpstreamStatus int // of the external registry whose failure is the cause; 0 for none
	UpstreamCode   string
}

// pullLine is a line that waits. That of a request without a valid licence has the application that its path names.
type pullLine struct {
	meta.PullLine
	slug    string
	account name.Account // of slug; zero if the host name does not say it
	from    netip.Addr
}

// pulls are the requests of customers that wait for the next write. It is safe for concurrent use.
type pulls struct {
	mu        sync.Mutex
	lines     []pullLine
	customers map[string]int // lines that wait of each
	slugs     map[string]int // lines without a valid licence
	addresses map[netip.Addr]int
	unknown   int // all lines without a valid licence
	wake      chan struct{}
	writing   sync.Mutex

	sums
	parts map[string]int // keys of customers in the maps of sums

	dropped  atomic.Uint64
	reported uint64 // of dropped, in the log; belongs to who holds writing
}

// PullOptions are the settings of the pull log. Zero values mean 90 days and a million lines.
type PullOptions struct {
	KeepFor time.Duration
	Keep    int // lines of each application
	Log     *slog.Logger
}

func (o PullOptions) keepFor() time.Duration { return cmp.Or(o.KeepFor, 90*24*time.Hour) }
func (o PullOptions) keep() int              { return cmp.Or(o.Keep, 1_000_000) }

// DroppedPulls returns how many lines of the pull log were not written because too many waited.
func (s *Service) DroppedPulls() uint64 { return s.pulls.dropped.Load() }

// Pulled notes a request that has ended for the pull log. It never waits for the database.
func (s *Service) Pulled(p Pull, e Ending) {
	l := pullLine{from: e.Address, PullLine: meta.PullLine{Application: p.Application, Customer: p.Customer, At: e.At,
		Request: e.Request, Token: p.Token, Kind: string(p.Kind),
		Action: string(p.Action), Image: clip(p.Image, maxPullImage), Reference: clip(p.Reference, maxPullText), Digest: e.Digest, Sent: e.Sent,
		Agent: clip(e.Agent, maxPullText), Status: e.Status, Code: p.Code, UpstreamStatus: e.UpstreamStatus,
		UpstreamCode: clip(e.UpstreamCode, maxPullText)}}
	if e.Address.IsValid() {
		l.Address = e.Address.String()
	}
	if l.Application == "" {
		l.slug = clip(p.Slug, maxPullText)
		if p.AtHost {
			l.account = p.Registry.Account
		}
	}
	w := &s.pulls
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sum(p, l)
	if !w.room(l) {
		w.dropped.Add(1)
		return
	}
	if w.lines = append(w.lines, l); len(w.lines) == wakePulls {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// room reports whether a line may wait, and counts it. The caller holds mu.
func (w *pulls) room(l pullLine) bool {
	if w.customers == nil {
		w.customers, w.slugs, w.addresses, w.unknown = map[string]int{}, map[string]int{}, map[netip.Addr]int{}, 0
	}
	if l.Customer != "" {
		n := w.customers[l.Customer]
		if n >= maxPullsOfCustomer || len(w.lines) >= maxPulls && n >= fewPulls || len(w.lines) >= 2*maxPulls {
			return false
		}
		w.customers[l.Customer]++
		return true
	}
	of, from := l.slug, l.from.Unmap()
	if from.Is6() { // a client has a whole network
		network, _ := from.Prefix(64)
		from = network.Addr()
	}
	if w.unknown >= maxStrangers || w.slugs[of] >= maxStrangersOfSlug || w.addresses[from] >= maxStrangersOfAddress {
		return false
	}
	w.unknown++
	w.slugs[of]++
	w.addresses[from]++
	return true
}

// clip returns the printable characters of a text, at most limit bytes.
func clip(s string, limit int) string {
	s = name.Printable(s[:min(len(s), 4*limit)])
	return s[:min(len(s), limit)]
}

// addPullWork adds the background work of the pull log.
func (s *Service) addPullWork(r *jobs.Runner) {
	r.AddTask(jobs.Task{Name: PullWork, What: "writing the pull log of customers", Every: pullsEvery, Wake: s.pulls.wake,
		Run: s.flushPulls, Stop: s.flushPulls})
	r.Add(jobs.Kind{Name: pullSweepKind, What: "deleting old lines of the pull log", Parallel: 1, Every: pullSweepEvery, Work: s.sweepPulls})
}

// flushPulls writes the lines that wait. What cannot be written waits for the next time.
func (s *Service) flushPulls(ctx context.Context) error {
	w := &s.pulls
	w.writing.Lock()
	defer w.writing.Unlock()
	w.mu.Lock()
	lines := w.lines
	w.lines, w.customers = nil, nil
	sums := w.takeSums()
	w.mu.Unlock()
	s.reportDrops()
	err := s.nameApplications(ctx, lines, sums)
	if err == nil {
		err = s.writeSums(ctx, sums)
	} else {
		w.giveBack(sums)
	}
	for err == nil && len(lines) > 0 {
		some := lines[:min(len(lines), flushRows)]
		rows := make([]meta.PullLine, 0, len(some))
		for _, l := range some {
			if l.Application != "" {
				rows = append(rows, l.PullLine)
			}
		}
		if err = s.meta.PutPullLines(ctx, rows); err == nil {
			lines = lines[len(some):]
		}
	}
	s.waitAgain(lines)
	return err
}

// nameApplications sets the application of each line and denial without a valid licence: the one of the account that the host name says, or
// the only one of the installation with the slug in the path. What names none is not kept.
func (s *Service) nameApplications(ctx context.Context, lines []pullLine, all sums) error {
	type named struct {
		account name.Account
		slug    string
	}
	asked := slices.ContainsFunc(lines, func(l pullLine) bool { return l.Application == "" })
	if !asked && len(all.strangers) == 0 {
		return nil
	}
	known, twice := map[named]meta.Application{}, map[string]bool{}
	accounts, err := s.meta.Accounts(ctx)
	if err != nil {
		return err
	}
	for _, a := range accounts {
		applications, err := s.meta.Applications(ctx, a.ID)
		if err != nil {
			return err
		}
		for _, app := range applications {
			alone := named{slug: app.Slug}
			_, before := known[alone]
			twice[app.Slug] = twice[app.Slug] || before
			known[named{a.ID, app.Slug}], known[alone] = app, app
		}
	}
	find := func(account name.Account, slug string) string {
		if account == (name.Account{}) && twice[slug] {
			return ""
		}
		return known[named{account, slug}].ID
	}
	for i, l := range lines {
		if l.Application == "" {
			lines[i].Application = find(l.account, l.slug)
		}
	}
	for k, d := range all.strangers {
		if d.Application = find(k.account, k.slug); d.Application != "" {
			all.denials[denialOf{application: d.Application, hour: k.hour}] = d
		}
		delete(all.strangers, k)
	}
	return nil
}

// waitAgain lets lines wait that could not be written, before those that have come since.
func (s *Service) waitAgain(lines []pullLine) {
	w := &s.pulls
	w.mu.Lock()
	defer w.mu.Unlock()
	later := w.lines
	w.lines, w.customers = nil, nil
	for _, l := range slices.Concat(lines, later) {
		if !w.room(l) {
			w.dropped.Add(1)
			continue
		}
		w.lines = append(w.lines, l)
	}
}

// reportDrops logs how many lines were dropped since the last time.
func (s *Service) reportDrops() {
	n := s.pulls.dropped.Load()
	if more := n - s.pulls.reported; more > 0 && s.options.Log != nil {
		s.options.Log.Warn("lines of the pull log were dropped, because too many waited", "lines", more)
	}
	s.pulls.reported = n
}

// sweepPulls deletes lines that are too old, and of an application that has too many those of the customers with the most.
func (s *Service) sweepPulls(ctx context.Context, _ *jobs.Job) error {
	const page = 100
	for after := ""; ; {
		applications, err := s.meta.PullApplications(ctx, after, page)
		if err != nil {
			return err
		}
		for _, of := range applications {
			if err := s.sweepPullsOf(ctx, of); err != nil {
				return err
			}
			after = of
		}
		if len(applications) < page {
			return s.sweepSums(ctx)
		}
	}
}

func (s *Service) sweepPullsOf(ctx context.Context, application string) error {
	for n := sweepRows; n == sweepRows; {
		var err error
		if n, err = s.meta.DeleteOldPulls(ctx, application, s.now().Add(-s.options.keepFor()), sweepRows); err != nil {
			return err
		}
	}
	counts, err := s.meta.PullCounts(ctx, application)
	if err != nil {
		return err
	}
	kept := maps.Clone(counts)
	if n, some := kept[""]; some {
		kept[""] = min(n, maxPullRowsOfStrangers)
	}
	level := fairLevel(kept, s.options.keep())
	for of, n := range counts {
		for excess := n - min(kept[of], level); excess > 0; {
			deleted, err := s.meta.DeletePullsOf(ctx, application, of, min(excess, sweepRows))
			if err != nil {
				return err
			}
			if excess -= deleted; deleted == 0 {
				break
			}
		}
	}
	return nil
}

// fairLevel returns the largest number of lines that each customer may have so that all together have at most limit: who has more than
// others loses lines first.
func fairLevel(counts map[string]int, limit int) int {
	all := slices.Sorted(maps.Values(counts))
	for i, n := range all {
		if share := limit / (len(all) - i); n > share {
			return share
		}
		limit -= n
	}
	return slices.Max(append(all, 0)) // all have room
}
