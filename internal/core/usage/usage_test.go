package usage

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
)

// What cannot be written waits, within bounds, and is written once; what does not fit counts for the account.
func TestCountsWait(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 2, 10, 30, 0, 0, time.UTC)
	store, err := meta.OpenSQLite(t.Context(), t.TempDir(), func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	metatest.NewFixture(t, store)
	s := New(store, func() time.Time { return now }, PullOptions{})
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for i := range 2 * maxKeysOfHour {
		s.Count(Of{Registry: metatest.Registry, Repository: fmt.Sprintf("r%04d", i)}, meta.Activity{Pulls: 1})
		if i%100 == 0 {
			if err := s.flush(gone); err == nil {
				t.Fatal("writing with a context that has ended: got no error")
			}
		}
	}
	if n := len(s.waiting); n != maxKeysOfHour+1 {
		t.Errorf("got %d keys that wait, want %d and one for all others", n, maxKeysOfHour)
	}
	for range 2 {
		if err := s.flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	rows, err := store.UsageHistory(t.Context(), meta.UsageQuery{Registry: metatest.Registry, Kind: meta.ByRepository,
		From: now.Add(-time.Hour), To: now}, meta.UsageKey{}, 10*maxKeysOfHour)
	sum := int64(0)
	for _, r := range rows {
		sum += r.Pulls
	}
	if err != nil || sum != 2*maxKeysOfHour || len(rows) != maxKeysOfHour+1 {
		t.Errorf("got %d pulls in %d rows, %v, want %d in %d", sum, len(rows), err, 2*maxKeysOfHour, maxKeysOfHour+1)
	}

	now = now.Add(keptHours + 2*time.Hour)
	if err := s.sweep(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	for daily, want := range map[bool]int{false: 0, true: maxKeysOfHour + 1} {
		rows, err := store.UsageHistory(t.Context(), meta.UsageQuery{Registry: metatest.Registry, Kind: meta.ByRepository, Daily: daily, To: now},
			meta.UsageKey{}, 10*maxKeysOfHour)
		if err != nil || len(rows) != want {
			t.Errorf("rows after two weeks, daily %t: got %d, %v, want %d", daily, len(rows), err, want)
		}
	}
}

// BenchmarkCount is what counting adds to a request.
func BenchmarkCount(b *testing.B) {
	s := New(nil, time.Now, PullOptions{})
	of := Of{Registry: metatest.Registry, Repository: "team/app", Principal: "arn:aws:sts::111122223333:assumed-role/ci/session"}
	b.ReportAllocs()
	for b.Loop() {
		s.Count(of, meta.Activity{Pulls: 1, Sent: 1000})
	}
}
