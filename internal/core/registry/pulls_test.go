package registry_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// A pull time that could not be written is written by the next attempt.
func TestPullTimesOfAFailedWriteAreKept(t *testing.T) {
	t.Parallel()
	c := newFixture(t, nil, registry.Quirks{})
	d := c.layered(t, "config", "layer", "v1")
	pulledAt := func() string {
		t.Helper()
		all, err := c.store.Images(t.Context(), c.repo.ID, meta.Any, meta.Position{}, 10)
		if err != nil || len(all) != 1 {
			t.Fatalf("got %d images, %v, want 1", len(all), err)
		}
		return all[0].PulledAt.String()
	}
	never := pulledAt()
	c.Pulled(c.repo.ID, d)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.FlushPulls(ended); err == nil {
		t.Fatal("a write with a context that has ended: got no error")
	}
	if got := pulledAt(); got != never {
		t.Fatalf("after the failed write: pulled at %s, want %s", got, never)
	}
	if err := c.FlushPulls(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := pulledAt(), c.clock.String(); got != want {
		t.Errorf("pulled at %s, want %s", got, want)
	}
}

// Few pull times are written at once, more of them once a minute or when pulls have ended, and many at once again. The number of
// those that wait is limited.
func TestManyPullTimesWaitForOneAnother(t *testing.T) {
	t.Parallel()
	c := newFixture(t, nil, registry.Quirks{})
	c.must(t, c.FlushPulls(t.Context()))
	pulled := 0
	until := func(n int) {
		for ; pulled < n; pulled++ {
			c.Pulled(c.repo.ID, digest(fmt.Sprint("image ", pulled)))
		}
	}
	want := func(what string, wantDue, wantMany bool) {
		t.Helper()
		if due, many := c.PullsAreDue(); due != wantDue || many != wantMany {
			t.Errorf("%s: due %v, many %v; want %v, %v", what, due, many, wantDue, wantMany)
		}
	}
	until(registry.FewPulls)
	want("a few", true, false)
	until(registry.FewPulls + 1)
	for range 3 {
		c.Pulled(c.repo.ID, digest("image 0"))
	}
	want("one more", false, false)
	if got := c.WaitingPulls(); got != pulled {
		t.Errorf("%d pull times wait, want one for each of %d images", got, pulled)
	}
	want("without a pull since the last question", true, false)
	c.Pulled(c.repo.ID, digest("image 0"))
	want("after another pull", false, false)
	c.Pulled(c.repo.ID, digest("image 0"))
	*c.clock = c.clock.Add(time.Minute)
	want("a minute later", true, false)
	c.Pulled(c.repo.ID, digest("image 0"))
	*c.clock = c.clock.Add(-time.Hour)
	want("after the clock was set back", true, false)
	*c.clock = c.clock.Add(time.Hour - time.Minute)
	until(registry.ManyPulls)
	want("many", true, true)
	until(registry.MaxKeptPulls + 10)
	if got := c.WaitingPulls(); got != registry.MaxKeptPulls {
		t.Errorf("%d pull times wait, want %d", got, registry.MaxKeptPulls)
	}
}

// An image that is pulled all the time has one write in an hour. The first pull after it was pushed again is recorded.
func TestPullTimeIsRecordedOnceAnHour(t *testing.T) {
	t.Parallel()
	c := newFixture(t, nil, registry.Quirks{})
	p := c.image(t, 1)
	d, _, err := c.Put(t.Context(), alice, c.repo, p)
	c.must(t, err)
	start := *c.clock
	pull := func(after, want time.Duration) {
		t.Helper()
		*c.clock = start.Add(after)
		c.Pulled(c.repo.ID, d)
		c.must(t, c.FlushPulls(t.Context()))
		im, err := c.store.Image(t.Context(), c.repo.ID, d)
		if err != nil || !im.PulledAt.Equal(start.Add(want)) {
			t.Errorf("pulled %s after the start: recorded %s, %v, want %s after it", after, im.PulledAt, err, want)
		}
	}
	pull(0, 0)
	pull(59*time.Minute, 0)
	pull(60*time.Minute, 60*time.Minute)
	pull(61*time.Minute, 60*time.Minute)
	deletion, err := c.DeletionOf(t.Context(), c.repo, name.Reference{Digest: d}, registry.LastTagDeletesImage)
	c.must(t, err)
	_, err = c.Service.Delete(t.Context(), alice, c.repo, deletion)
	c.must(t, err)
	_, _, err = c.Put(t.Context(), alice, c.repo, p)
	c.must(t, err)
	pull(62*time.Minute, 62*time.Minute)
}
