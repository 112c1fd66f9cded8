package app

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/audit"
	"github.com/ecrin-dev/ecrin/internal/store/durable"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// fileWorks are the kinds of background work that the runner of jobs does not do, with their names for people: each file of the audit
// trail has a writer of its own.
var fileWorks = map[string]string{
	audit.FilesWork:          "writing the audit trail",
	audit.StrangersFilesWork: "writing the audit trail of strangers",
}

// health is the state of the background work. A kind of work fails from its first failure until it succeeds again. It is safe
// for concurrent use.
type health struct {
	log   *slog.Logger
	works map[string]string // the kinds of work, as the label work of the metrics shows them, with their names for people

	mu       sync.Mutex
	failing  map[string]failure
	failures map[string]uint64
}

// failure is why a kind of work fails.
type failure struct {
	since time.Time
	err   error // the last one
}

func newHealth(log *slog.Logger) *health {
	return &health{log: log, works: maps.Clone(fileWorks), failing: map[string]failure{}, failures: map[string]uint64{}}
}

// report records the result of one attempt of a kind of work, and logs the first failure and the first success after it. A
// failure because the server stops is none.
func (h *health) report(ctx context.Context, work string, err error) {
	if err != nil && ctx.Err() != nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	f, failed := h.failing[work]
	switch {
	case err != nil:
		if h.failures[work]++; !failed {
			f.since = time.Now()
			h.log.Error("background work fails: the server is not ready until it succeeds", "work", work, "what", h.works[work], "cause", err)
		}
		f.err = err
		h.failing[work] = f
	case failed:
		delete(h.failing, work)
		h.log.Info("background work succeeds again", "work", work, "what", h.works[work], "failed_for", time.Since(f.since).Round(time.Second))
	}
}

// count returns how often a kind of work has failed since the start.
func (h *health) count(work string) uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.failures[work]
}

// ready returns nil if no background work fails, otherwise fault.Unavailable with the kinds of work that fail and the causes
// that may be published.
func (h *health) ready() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []string
	for work, f := range h.failing {
		cause := "the log has the cause"
		switch e := fault.From(f.err); {
		case durable.IsFull(f.err):
			cause = "the disk is full"
		case e.Code == fault.Unavailable:
			cause = e.Public
		}
		all = append(all, fmt.Sprintf("%s fails since %s: %s", h.works[work], f.since.UTC().Format(time.RFC3339), cause))
	}
	if len(all) == 0 {
		return nil
	}
	slices.Sort(all)
	return fault.Unavailable.New("%s", strings.Join(all, "; "))
}

// report is health.report outside of requests.
func (a *App) report(work string, err error) { a.health.report(context.Background(), work, err) }

// Hold makes the server answer on /readyz that it is not ready, with the reason, until Hold("") is called.
func (a *App) Hold(reason string) { a.held.Store(&reason) }

// ready returns nil if the server can do all its work: the database answers and begins writes, and no background work fails.
func (a *App) ready(ctx context.Context) error {
	if reason := a.held.Load(); reason != nil && *reason != "" {
		return fault.Unavailable.New("%s", *reason)
	}
	if err := a.meta.Ping(ctx); err != nil {
		return err
	}
	return a.health.ready()
}
