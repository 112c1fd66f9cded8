package meta_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/audit"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
	"github.com/ecrin-dev/ecrin/internal/test/pgtest"
	"github.com/ecrin-dev/ecrin/internal/test/seedtest"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/slowtest"
)

// pair opens an empty database twice, as two processes do. The first one fills it.
func pair(t *testing.T) (a *cacheFixture, b *meta.Store) {
	t.Helper()
	url := pgtest.Start(t).NewDatabase(t)
	return newCacheFixtureIn(t, openURL(t, url, time.Now)), openURL(t, url, time.Now)
}

// After a change by one process, the other returns the current values from its caches as soon as it has refreshed
// them, whatever it cached before, and whatever it reads at the same time.
func TestChangesOfOthersAreSeen(t *testing.T) {
	long(t)
	t.Parallel()
	a, b := pair(t)
	seed := seedtest.Seed(t)
	random := rand.New(rand.NewPCG(seed, 1))
	rounds := slowtest.Soak(150, 1000, 10_000)
	var stop atomic.Bool
	var readers sync.WaitGroup
	for n := range 2 { // other goroutines fill the caches of b, and refresh them too
		readers.Go(func() {
			random := seedtest.New(seed, uint64(2+n))
			for !stop.Load() {
				if err := b.Refresh(t.Context()); err != nil {
					t.Error(err)
					return
				}
				queries := a.queries()
				queries[random.IntN(len(queries))].result(b)
			}
		})
	}
	made, stale := 0, 0
	for round := range rounds {
		what, err := a.change(random)
		var refused *fault.Error
		if err != nil && (!errors.As(err, &refused) || refused.Code == fault.Unavailable) {
			t.Fatalf("%s: %v", what, err)
		}
		if err == nil {
			made++
		}
		if err := b.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		queries := a.queries()
		for range 10 {
			q := queries[random.IntN(len(queries))]
			if kept, read := q.result(b), q.result(a.Fresh()); kept != read {
				stale++
				t.Errorf("seed %d, round %d: after %s, %s: got\n%s\nfrom the other process, want\n%s", seed, round, what, q.what, kept, read)
			}
		}
	}
	stop.Store(true)
	readers.Wait()
	t.Logf("%d changes, %d of them made, %d answers stale", rounds, made, stale)
}

// Each kind of change by one process is seen by the other, which had cached the previous value.
func TestEachChangeIsSeen(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	generation := b.IdentityGeneration()
	a.Must(a.SetAlias(t.Context(), metatest.Account, "alias"))
	if b.IdentityGeneration() != generation {
		t.Error("the generation of b grew before Refresh: the test proves nothing")
	}
	if err := b.Refresh(t.Context()); err != nil || b.IdentityGeneration() == generation {
		t.Errorf("the generation after Refresh: got %d (%v), want more than %d", b.IdentityGeneration(), err, generation)
	}
	key := func(s *meta.Store) bool {
		k, err := s.AccessKey(t.Context(), "AKIA0")
		a.Must(err)
		return k.Active
	}
	for round := range 4 {
		if got := key(b); got != (round%2 == 0) {
			t.Errorf("round %d: the key before its change: got %t", round, got)
		}
		a.Must(a.SetAccessKeyActive(t.Context(), "AKIA0", round%2 == 1))
		if got := key(b); got != (round%2 == 0) {
			t.Errorf("round %d: the key without Refresh: got %t, want the cached one: the test proves nothing", round, got)
		}
		a.Must(b.Refresh(t.Context()))
		if got := key(b); got != (round%2 == 1) {
			t.Errorf("round %d: the key after Refresh: got %t", round, got)
		}
	}
}

// A change of a process does not hide an earlier one of another process, which it has not seen yet.
func TestAChangeOfOnesOwnHidesNoOther(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	for round := range 4 {
		key := func() bool {
			k, err := b.AccessKey(t.Context(), "AKIA0")
			a.Must(err)
			return k.Active
		}
		a.Must(b.Refresh(t.Context()))
		before := key()
		a.Must(a.SetAccessKeyActive(t.Context(), "AKIA0", !before))
		a.Must(b.SetAlias(t.Context(), metatest.Account, fmt.Sprint("alias-", round)))
		if key() != before {
			t.Fatalf("round %d: the change is seen without Refresh: the test proves nothing", round)
		}
		a.Must(b.Refresh(t.Context()))
		if key() == before {
			t.Errorf("round %d: after a change of one's own and Refresh, the key is still active: %t", round, before)
		}
	}
}

// A process that has missed more changes than are kept, or than it reads one by one, drops all its caches.
func TestFarBehind(t *testing.T) {
	long(t)
	t.Parallel()
	for what, deleted := range map[string]string{
		"many changes":           ``,
		"their rows are deleted": `DELETE FROM changes WHERE number < (SELECT MAX(number) FROM changes)`,
		"the last one is":        `DELETE FROM changes`,
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			a, b := pair(t)
			see := func(s *meta.Store, want string) {
				t.Helper()
				if v, err := s.Setting(t.Context(), replaced, "SETTING0"); err != nil || v != want {
					t.Errorf("got %q, %v, want %q", v, err, want)
				}
			}
			see(b, "")
			n := 2
			if deleted == "" {
				n = meta.MaxGap + 2
			}
			for i := range n {
				a.Must(a.PutSetting(t.Context(), replaced, "SETTING0", fmt.Sprint(i)))
			}
			if deleted != "" {
				a.Must(a.WriteOnly(t.Context(), func(tx *meta.Tx) error { _, err := tx.Exec(deleted); return err }))
			}
			see(b, "")
			a.Must(b.Refresh(t.Context()))
			see(b, fmt.Sprint(n-1))
			a.Must(a.PutSetting(t.Context(), replaced, "SETTING0", "last"))
			a.Must(b.Refresh(t.Context()))
			see(b, "last")
		})
	}
}

// Old rows of changes are deleted by later transactions.
func TestOldChangesAreDeleted(t *testing.T) {
	t.Parallel()
	if !slowtest.Enabled() {
		t.Skip("takes 11,000 transactions: ECRIN_SLOW=1 runs it")
	}
	s := openPostgres(t)
	for range meta.KeptChanges + 2*meta.PruneEvery {
		if err := s.WriteOnly(t.Context(), fine); err != nil {
			t.Fatal(err)
		}
	}
	n, err := s.Count(t.Context(), `SELECT COUNT(*) FROM changes`)
	if err != nil || n < meta.KeptChanges || n > meta.KeptChanges+meta.PruneEvery {
		t.Errorf("got %d rows (%v), want from %d to %d more", n, err, meta.KeptChanges, meta.PruneEvery)
	}
}

// Concurrent calls of Refresh share a read, and none uses a read that began before the call.
func TestRefreshIsShared(t *testing.T) {
	long(t)
	t.Parallel()
	a, b := pair(t)
	const writers, each = 8, 40
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for n := range each {
				key := fmt.Sprint("SETTING", i)
				a.must(a.PutSetting(a.Ctx, replaced, key, fmt.Sprint(n)))
				a.must(b.Refresh(a.Ctx))
				v, err := b.Setting(a.Ctx, replaced, key)
				if err != nil || v != fmt.Sprint(n) {
					t.Errorf("%s: got %q, %v, want %d", key, v, err, n)
				}
			}
		})
	}
	wg.Wait()
	before := b.Polls()
	const callers = 200
	start := make(chan struct{})
	for range callers {
		wg.Go(func() {
			<-start
			a.must(b.Refresh(a.Ctx))
		})
	}
	close(start)
	wg.Wait()
	if n := b.Polls() - before; n > callers/2 {
		t.Errorf("%d calls at once made %d reads, want them shared", callers, n)
	}
}

// Identifiers grow in the order of the commits, whichever process makes them, and whatever its clock shows.
func TestIdentifiersOfTwoProcesses(t *testing.T) {
	long(t)
	t.Parallel()
	url := pgtest.Start(t).NewDatabase(t)
	stores := []*meta.Store{openURL(t, url, time.Now), openURL(t, url, func() time.Time { return noon.AddDate(-10, 0, 0) })}
	fx := metatest.NewFixture(t, stores[0])
	last := int64(0)
	for i := range 20 {
		creator := &metatest.Fixture{T: t, Store: stores[i%2], Ctx: t.Context()}
		r := creator.Repo(fmt.Sprint("team/app", i))
		if r.ID <= last {
			t.Errorf("repository %d: got identifier %d after %d", i, r.ID, last)
		}
		last = r.ID
	}
	r := fx.Repo("team/history")
	fx.Image(r, "config", "v0")
	var wg sync.WaitGroup
	for i, s := range stores {
		wg.Go(func() {
			for n := range 50 {
				p := metatest.As(metatest.Variant(n*2+i, "config"), "moving")
				if err := s.PutImage(fx.Ctx, r, p); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := sound(t.Context(), stores[0]); err != nil { // the history of the tag is a chain in the order of identifiers
		t.Error(err)
	}
}

// Each process finds its own audit lines, also after a restart.
func TestAuditLinesOfTwoProcesses(t *testing.T) {
	t.Parallel()
	url := pgtest.Start(t).NewDatabase(t)
	dirs := []string{t.TempDir(), t.TempDir()}
	stores := []*meta.Store{openURLIn(t, url, dirs[0]), openURLIn(t, url, dirs[1])}
	for i := range 6 {
		ctx := audit.WithLine(t.Context(), line(fmt.Sprint(i)))
		if err := stores[i%2].Write(ctx, setting(fmt.Sprint(i), fine)); err != nil {
			t.Fatal(err)
		}
	}
	if got := pendingLines(t, stores[0]) + "|" + pendingLines(t, stores[1]); got != "0 2 4|1 3 5" {
		t.Errorf("got %q, want the own lines of each process in order", got)
	}
	if err := stores[1].Close(); err != nil {
		t.Fatal(err)
	}
	stores[1] = openURLIn(t, url, dirs[1])
	if got := pendingLines(t, stores[1]); got != "1 3 5" {
		t.Errorf("after a restart: got %q, want the same", got)
	}
	if err := stores[0].DeleteAudit(t.Context(), 1<<62); err != nil {
		t.Fatal(err)
	}
	if got := pendingLines(t, stores[0]) + "|" + pendingLines(t, stores[1]); got != "|1 3 5" {
		t.Errorf("after the first deleted its own: got %q, want the lines of the second", got)
	}
}
