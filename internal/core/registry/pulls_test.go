package registry_test

import (
	"context"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
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
