package meta_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/store/audit"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// by returns a context for the changes of a principal; "" is a client without credentials.
func by(ctx context.Context, principal string) context.Context {
	return audit.WithLine(ctx, audit.NewLine(func() []byte { return nil }).For(func() string { return principal }))
}

// A write is executed after at most one write of each other principal, however many the others have queued before it. The
// clients without credentials are one principal together, and the server's own writes have a turn of their own.
func TestManyWritesOfOnePrincipalDelayNoOther(t *testing.T) {
	t.Parallel()
	for what, open := range map[string]func(*testing.T) *meta.Store{"sqlite": open, "postgres": openPostgres} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			var order []string // only the writer changes it
			var wg sync.WaitGroup
			release := sync.OnceFunc(s.Hold())
			defer release()
			queued := 0
			queue := func(who string, ctx context.Context) {
				key := fmt.Sprint(queued)
				wg.Go(func() {
					if err := s.Write(ctx, setting(key, func(*meta.Tx) error { order = append(order, who); return nil })); err != nil {
						t.Errorf("write %s of %s: %v", key, who, err)
					}
				})
				for queued++; s.Waiting() != queued; {
					runtime.Gosched()
				}
			}
			for range 50 {
				queue("mallory", by(t.Context(), "mallory"))
				queue("a stranger", by(t.Context(), ""))
			}
			queue("alice", by(t.Context(), "alice"))
			queue("bob", by(t.Context(), "bob"))
			queue("the server", t.Context())
			release()
			wg.Wait()
			for i, who := range []string{"alice", "bob", "the server"} {
				if got, want := slices.Index(order, who), 2+i; got != want {
					t.Errorf("%d writes were executed before that of %s, want %d: one of each who was there before", got, who, want)
				}
			}
			if got := stored(t, s); len(strings.Fields(got)) != queued {
				t.Errorf("%d writes are stored, want %d", len(strings.Fields(got)), queued)
			}
		})
	}
}

// Groups are composed in turns, also from one group to the next, and have limits: 128 writes, and a cost.
func TestGroupsAreComposedInTurns(t *testing.T) {
	t.Parallel()
	type add struct {
		who     string
		n, cost int
	}
	for what, c := range map[string]struct {
		queued []add
		groups []string
	}{
		"one principal fills a group": {[]add{{"m", 130, 1}}, []string{strings.Repeat("m", 128), "mm"}},
		"turns":                       {[]add{{"m", 4, 1}, {"a", 2, 1}, {"b", 1, 1}}, []string{"mabmamm"}},
		"turns go on in the next group": {[]add{{"m", 100, 1}, {"n", 100, 1}, {"o", 100, 1}},
			[]string{strings.Repeat("mno", 42) + "mn", "o" + strings.Repeat("mno", 42) + "m", "no" + strings.Repeat("mno", 14)}},
		"the cost ends a group":            {[]add{{"m", 3, 1500}, {"a", 2, 1}}, []string{"ma", "ma", "m"}},
		"a write that costs more is alone": {[]add{{"m", 2, 100_000}, {"a", 1, 1}}, []string{"m", "a", "m"}},
	} {
		q := meta.NewQueue()
		for _, a := range c.queued {
			for range a.n {
				q.Add(a.who, a.cost)
			}
		}
		var groups []string
		for group := q.Take(); len(group) > 0; group = q.Take() {
			groups = append(groups, strings.Join(group, ""))
		}
		if !slices.Equal(groups, c.groups) {
			t.Errorf("%s: got the groups %q, want %q", what, groups, c.groups)
		}
		if writes, lanes := q.Len(); writes != 0 || lanes != 0 {
			t.Errorf("%s: %d writes and %d lanes are left, want none", what, writes, lanes)
		}
	}
}

// A principal has at most 128 queued writes. Only what is behind them can be withdrawn, until it is queued in its turn.
func TestWritesBehindAFullLaneCanBeWithdrawn(t *testing.T) {
	t.Parallel()
	q := meta.NewQueue()
	var withdraw []func() bool
	for range 3 * meta.MaxLane {
		withdraw = append(withdraw, q.Add("mallory", 1))
	}
	for i := 0; i < len(withdraw); i += 2 {
		if got, want := withdraw[i](), i >= meta.MaxLane; got != want {
			t.Errorf("withdrawing write %d: got %t, want %t", i, got, want)
		}
	}
	if writes, lanes := q.Len(); writes != 2*meta.MaxLane || lanes != 1 {
		t.Errorf("got %d writes in %d lanes, want %d in 1", writes, lanes, 2*meta.MaxLane)
	}
	if n := len(q.Take()); n != meta.MaxGroup {
		t.Errorf("got a group of %d, want %d", n, meta.MaxGroup)
	}
	if last := len(withdraw) - 1; withdraw[last]() {
		t.Error("a write that was queued in its turn was withdrawn")
	}
}

// The clients of writes behind a full lane that disconnect get the error of their context, and those writes are not
// executed. If the store is closed, the queued writes are finished and those behind them are refused.
func TestWritesBehindAFullLane(t *testing.T) {
	t.Parallel()
	s := open(t)
	release := sync.OnceFunc(s.Hold())
	defer release()
	fine := func(*meta.Tx) error { return nil }
	var wg sync.WaitGroup
	queue := func(ctx context.Context, want func(error) bool) {
		n := s.Waiting()
		wg.Go(func() {
			if err := s.Write(ctx, setting(fmt.Sprint(n), fine)); !want(err) {
				t.Errorf("write %d: got %v", n, err)
			}
		})
		for s.Waiting() == n {
			runtime.Gosched()
		}
	}
	for range meta.MaxLane {
		queue(by(t.Context(), "mallory"), func(err error) bool { return err == nil })
	}
	ctx, cancel := context.WithCancel(t.Context())
	for range 10 {
		queue(by(ctx, "mallory"), func(err error) bool { return errors.Is(err, context.Canceled) })
	}
	cancel()
	for s.Waiting() != meta.MaxLane {
		runtime.Gosched()
	}
	for range 10 {
		queue(by(t.Context(), "mallory"), func(err error) bool { return errors.Is(err, fault.Unavailable) })
	}
	closed := make(chan error)
	go func() { closed <- s.Close() }()
	for s.Waiting() != meta.MaxLane {
		runtime.Gosched()
	}
	release()
	wg.Wait()
	if err := <-closed; err != nil {
		t.Error(err)
	}
}
