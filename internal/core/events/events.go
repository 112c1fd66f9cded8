// Package events sends the events of registries to webhooks, deletes old events, and counts those that are too frequent to be stored one by
// one: pulls and denied requests.
//
// The events themselves are rows of the transactions that cause them (package meta). A webhook has a position in them, which is all that
// the delivery needs: what it has not read is not in any queue. See docs/design/events.md.
package events

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/jobs"
	"github.com/ecrin-dev/ecrin/internal/net/egress"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

const (
	// WebhookKind is the kind of the jobs that send events to one webhook.
	WebhookKind = "webhook"
	// sweepKind is the kind of the schedule that deletes old events.
	sweepKind  = "event_sweep"
	sweepEvery = time.Minute
	// LookWork is the kind of work that looks for webhooks with something to send.
	LookWork  = "webhooks"
	lookEvery = time.Second
	lookPause = 50 * time.Millisecond // between two looks, however many events are stored
	lookPage  = 100
	// CountWork is the kind of work that writes events of counted pulls and denials.
	CountWork  = "event_counts"
	countEvery = 15 * time.Second
	// maxParallel is how many webhooks a process sends to at once. Those of one account take turns with those of others.
	maxParallel = 32
)

// Options holds the parameters of New. Meta, Keys, Egress, Now and Log are required.
type Options struct {
	Meta    *meta.Store
	Keys    *identity.Keyring
	Egress  *egress.Guard
	Now     func() time.Time
	Log     *slog.Logger
	Keep    int           // events of each registry
	KeepFor time.Duration // how long events are kept
	Pulls   Mode
	Denials Mode
}

// Service sends events. It is safe for concurrent use.
type Service struct {
	meta    *meta.Store
	box     identity.Box
	client  *http.Client
	now     func() time.Time
	log     *slog.Logger
	keep    int
	keepFor time.Duration
	counts  counter
	busy    sync.Map // ids of the webhooks to which this process sends

	mu    sync.Mutex
	last  time.Time            // the last look
	waits time.Time            // the oldest event that a webhook had not received then; zero for none
	tests map[name.Account]int // tests of webhooks that run
}

// maxTests is how many tests of the webhooks of one account run at once.
const maxTests = 4

// New returns a Service.
//
// Errors: the key of the webhooks cannot be derived.
func New(o Options) (*Service, error) {
	box, err := o.Keys.Box("webhooks")
	if err != nil {
		return nil, err
	}
	return &Service{
		meta: o.Meta, box: box, now: o.Now, log: o.Log, keep: o.Keep, keepFor: o.KeepFor, tests: map[name.Account]int{},
		counts: counter{pulls: o.Pulls, denials: o.Denials, now: o.Now},
		client: &http.Client{Transport: o.Egress.Transport(), Timeout: sendTimeout,
			// A redirection would send the event, and its signature, to an address that the owner of the webhook has not named.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}, nil
}

// AddWork adds the background work of events to a runner.
func (s *Service) AddWork(r *jobs.Runner) {
	r.Add(jobs.Kind{Name: WebhookKind, What: "sending events to a webhook", Parallel: maxParallel, Pause: 5 * time.Second,
		MaxPause: time.Minute, Forget: true, Work: s.deliver})
	r.Add(jobs.Kind{Name: sweepKind, What: "deleting old events", Parallel: 1, Every: sweepEvery, Work: s.sweep})
	r.AddTask(jobs.Task{Name: LookWork, What: "looking for events to send", Every: lookEvery, First: true, Wake: s.meta.EventsStored(),
		Run: s.look})
	r.AddTask(jobs.Task{Name: CountWork, What: "writing events of counted requests", Every: countEvery,
		Run:  func(ctx context.Context) error { return s.writeCounts(ctx, false) },
		Stop: func(ctx context.Context) error { return s.writeCounts(ctx, true) }})
}

// Lag returns how long the event waits that has waited longest for a webhook, as of the last look; 0 if none waits. The events of webhooks
// that fail count, those that were given up and those of disabled webhooks do not.
func (s *Service) Lag() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waits.IsZero() {
		return 0
	}
	return max(0, s.now().Sub(s.waits))
}

// sweep deletes old events.
func (s *Service) sweep(ctx context.Context, _ *jobs.Job) error {
	_, err := s.meta.DeleteEvents(ctx, s.now().Add(-s.keepFor), s.keep)
	return err
}

// look queues a job for each webhook that has something to send. A job that is lost is queued again by the next look: what is to be sent
// follows from the position of the webhook.
func (s *Service) look(ctx context.Context) error {
	s.mu.Lock()
	pause := lookPause - s.now().Sub(s.last)
	s.mu.Unlock()
	if pause > 0 && pause <= lookPause {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
	}
	now := s.now()
	s.mu.Lock()
	s.last = now
	s.mu.Unlock()
	var waits time.Time
	for after := int64(0); ; {
		due, last, oldest, err := s.meta.WebhooksDue(ctx, now, after, lookPage)
		if err != nil {
			return err
		}
		if waits.IsZero() || !oldest.IsZero() && oldest.Before(waits) {
			waits = oldest
		}
		for _, w := range due {
			j := meta.NewJob{Kind: WebhookKind, Key: strconv.FormatInt(w.ID, 10), Account: w.Account, Input: "{}"}
			if err := s.meta.Schedule(ctx, j, now.Add(time.Minute), false); err != nil {
				return err
			}
		}
		if last == 0 {
			s.mu.Lock()
			s.waits = waits
			s.mu.Unlock()
			return nil
		}
		after = last
	}
}
