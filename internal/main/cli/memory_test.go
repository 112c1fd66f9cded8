package cli

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

func TestGCPercentKeepsAFloor(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		live uint64
		want int
	}{{0, 100}, {1, 3000}, {1 << 19, 3000}, {4 << 20, 500}, {8 << 20, 200}, {12 << 20, 100}, {16 << 20, 75}, {24 << 20, 50}, {100 << 20, 50}} {
		if got := gcPercent(c.live); got != c.want {
			t.Errorf("live heap of %d bytes: got %d %%, want %d %%", c.live, got, c.want)
		}
	}
}

// Memory is given back once after each load.
func TestQuiet(t *testing.T) {
	t.Parallel()
	var q quiet
	allocated := uint64(0)
	for i, c := range []struct {
		more uint64
		want bool
	}{
		{1, false}, {quietBytes + 1, false}, {100 * quietBytes, false}, {quietBytes, true}, {1, false}, {1, false},
		{2 * quietBytes, false}, {0, true},
	} {
		allocated += c.more
		if got := q.now(allocated); got != c.want {
			t.Errorf("step %d: got %t, want %t", i, got, c.want)
		}
	}
}

func TestAfterEachGC(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	afterEachGC(t.Context(), func() { calls.Add(1) })
	deadline := time.Now().Add(time.Minute)
	for calls.Load() < 4 {
		if time.Now().After(deadline) {
			t.Fatalf("got %d calls after a minute of collections, want 4", calls.Load())
		}
		runtime.GC()
	}
}
