package events_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/events"
	"github.com/ecrin-dev/ecrin/internal/core/jobs"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
	"github.com/ecrin-dev/ecrin/internal/test/hooktest"
	"github.com/ecrin-dev/ecrin/internal/test/pgtest"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// Two processes on one database deliver each event once, in the order of each image, while both store events and neither stops.
func TestTwoProcessesDeliverOnce(t *testing.T) {
	t.Parallel()
	r := hooktest.New(t)
	one := start(t, events.Options{}, r)
	url := secret.New(pgtest.Start(t).NewDatabase(t))
	var nodes []*installation
	for range 2 {
		i := &installation{t: t, clock: one.clock, dir: t.TempDir(), options: one.options}
		s, err := meta.OpenPostgreSQL(t.Context(), meta.PostgreSQL{URL: url, Dir: i.dir, Now: i.clock.now})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		o := one.options
		o.Meta, i.store = s, s
		if i.events, err = events.New(o); err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, i)
	}
	account := meta.Account{ID: metatest.Account, CreatedAt: time.Now(), Default: true}
	if err := nodes[0].store.CreateAccount(t.Context(), account, metatest.Key(metatest.Account, "AKIAEXAMPLEEXAMPLE01")); err != nil {
		t.Fatal(err)
	}
	nodes[0].hook("deploy", r.URL, "")
	for _, i := range nodes {
		i.runTwo()
	}
	const images, tags = 8, 15
	var pushing sync.WaitGroup
	for n, i := range nodes {
		pushing.Go(func() {
			for k := range tags {
				for image := range images {
					if image%2 == n { // the events of an image are stored by one process, in their order
						i.push(fmt.Sprint("image", image), fmt.Sprintf("%03d", k))
					}
				}
				if err := i.store.Refresh(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	pushing.Wait()
	got := r.Wait(t, "all events", func(all []hooktest.Got) bool { return len(all) >= images*tags })
	last, ids := map[string]string{}, map[string]bool{}
	for _, g := range got {
		if ids[g.ID] {
			t.Errorf("the event %s of %s was delivered twice", g.ID, g.Tag)
		}
		if ids[g.ID] = true; g.Tag <= last[g.Digest] {
			t.Errorf("the image %s: got %s after %s, want the order of the pushes", g.Digest, g.Tag, last[g.Digest])
		}
		last[g.Digest] = g.Tag
	}
	if len(ids) != images*tags {
		t.Errorf("got %d events, want %d", len(ids), images*tags)
	}
}

// runTwo runs the background work until the test ends. Two processes may change one webhook at the same time, which is not a failure.
func (i *installation) runTwo() {
	ctx, cancel := context.WithCancel(context.Background())
	r := jobs.New(jobs.Options{Meta: i.store, Now: i.clock.now, Log: slog.New(slog.DiscardHandler), Poll: 20 * time.Millisecond,
		Report: func(work string, err error) {
			if err != nil && !errors.Is(err, context.Canceled) {
				i.t.Errorf("background work %s: %v", work, err)
			}
		}})
	i.events.AddWork(r)
	done := make(chan struct{})
	go func() { defer close(done); r.Run(ctx) }()
	i.t.Cleanup(func() { cancel(); <-done })
}

// The lag grows while a receiver fails, and is 0 after it has received everything.
func TestLag(t *testing.T) {
	t.Parallel()
	r := hooktest.New(t)
	i := start(t, events.Options{}, r)
	i.hook("deploy", r.URL, "")
	fails := true
	var mu sync.Mutex
	r.Answer(func(hooktest.Got) int {
		mu.Lock()
		defer mu.Unlock()
		if fails {
			return http.StatusInternalServerError
		}
		return http.StatusNoContent
	})
	if got := i.events.Lag(); got != 0 {
		t.Errorf("without events: got %s, want 0", got)
	}
	i.run()
	i.push("a", "1")
	r.Wait(t, "the failed delivery", func(all []hooktest.Got) bool { return len(all) > 0 })
	i.clock.advance(time.Minute)
	waitFor(t, "a lag of a minute", func() bool { return i.events.Lag() >= time.Minute })
	mu.Lock()
	fails = false
	mu.Unlock()
	i.clock.advance(time.Hour)
	waitFor(t, "no lag", func() bool { return i.events.Lag() == 0 })
}

// waitFor waits until a condition is true.
func waitFor(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("there is still not %s", what)
		}
	}
}
