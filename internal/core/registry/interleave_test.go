package registry_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/test/seedtest"
	"github.com/ecrin-dev/ecrin/internal/word/slowtest"
)

// interleaved runs a collection up to its step i, then a client up to its step j (-1 for its end), then the rest of the collection, and
// then that of the client. It returns the steps of both.
func (w *world) interleaved(i, j int, o operation) (collector, client enumerated) {
	w.t.Helper()
	ctx := context.Background()
	a := start(ctx, collectorName, func(ctx context.Context) error { return w.collection(ctx, !w.exact) })
	b := start(ctx, o.name, func(ctx context.Context) error { return o.do(w, ctx) })
	run := func(x *worker, all *enumerated, until int) {
		for (until < 0 || len(*all) < until) && x.can() {
			if x.advance(); !x.ended && x.freed == nil {
				*all = append(*all, x.at)
			}
		}
	}
	run(a, &collector, i)
	run(b, &client, j)
	for !a.ended || !b.ended {
		run(a, &collector, -1)
		run(b, &client, -1)
	}
	for _, x := range []*worker{a, b} {
		if x.err != nil {
			w.t.Errorf("%s: %v", x.name, x.err)
		}
	}
	return collector, client
}

// eachDatabase runs a test with SQLite and with PostgreSQL.
func eachDatabase(t *testing.T, test func(t *testing.T, postgres bool)) {
	t.Run("SQLite", func(t *testing.T) { t.Parallel(); test(t, false) })
	t.Run("PostgreSQL", func(t *testing.T) {
		if os.Getenv("ECRIN_POSTGRES") != "1" {
			t.Skip("make slow runs it")
		}
		t.Parallel()
		test(t, true)
	})
}

// share says which of the pairs run: one of ends of the steps of a collection, with the client up to its end and one of steps of its steps.
type share struct{ ends, steps int }

// shareOf returns the share of a test. All pairs run in the nightly tests, with SQLite.
func shareOf(postgres bool) share {
	few := share{16, 40}
	switch {
	case slowtest.Nightly() && !postgres:
		return share{1, 1}
	case slowtest.Nightly():
		few = share{2, 10}
	case slowtest.Enabled():
		few = share{8, 40}
	}
	if postgres {
		few = share{few.ends * 4, few.steps * 4}
	}
	return few
}

// Each step of a collection against each step of what clients do: whatever was acknowledged can be read, and after a quiet collection no
// byte is left to which nothing refers. With -v the steps are printed. make nightly runs all pairs with SQLite, and the other tests a share
// of them. Each pair is a test that can be run alone: ECRIN_SLOW=nightly with
// -run 'TestCollectionAgainstClients/SQLite/none/mount/12/(end|3)$' stops the collection at its step 12, and the client at its step 3.
func TestCollectionAgainstClients(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, postgres bool) {
		for _, grace := range []string{"none", "week"} {
			for _, o := range operations {
				t.Run(grace+"/"+strings.ReplaceAll(o.name, " ", "-"), func(t *testing.T) {
					t.Parallel()
					stepAgainstStep(t, postgres, grace == "week", o)
				})
			}
		}
	})
}

func stepAgainstStep(t *testing.T, postgres, exact bool, o operation) {
	g := newGround(t, postgres)
	w := g.newWorld(t, exact)
	steps, client := w.interleaved(-1, -1, o)
	w.end()
	t.Logf("steps of the collection alone:\n%v", steps)
	t.Logf("steps of %s after it:\n%v", o.name, client)
	some := shareOf(postgres)
	for i := range len(steps) + 1 {
		if (i+slowtest.Pick(t, some.ends))%some.ends != 0 {
			continue
		}
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			pair := func(name string, j int) (client enumerated) {
				t.Run(name, func(t *testing.T) {
					if g.broken {
						g = newGround(t, postgres)
					}
					w := g.newWorld(t, exact)
					var collector enumerated
					collector, client = w.interleaved(i, j, o)
					w.end()
					if g.broken = t.Failed(); g.broken {
						t.Logf("the steps of the collection:\n%v\nthe steps of the client:\n%v", collector, client)
					}
				})
				return client
			}
			whole := pair("end", -1) // the number of its steps depends on what the collection has removed before
			for j := range whole {
				if (j+slowtest.Pick(t, some.steps))%some.steps == 0 {
					pair(fmt.Sprint(j), j)
				}
			}
		})
	}
}

// maxWorkers is the number of clients of a schedule at most.
const maxWorkers = 4

// Collections and clients whose steps follow each other in a random order. A schedule that fails prints its seed: ECRIN_SEED=… with
// -run 'TestSchedules/SQLite' runs it alone.
func TestSchedules(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, postgres bool) {
		n := slowtest.Soak(300, 1_000, 10_000)
		if postgres {
			n /= 25
		}
		first := seedtest.Seed(t)
		if os.Getenv(seedtest.Variable) != "" {
			n = 1
		}
		var group sync.WaitGroup
		next := make(chan uint64)
		for range min(n, runtime.GOMAXPROCS(0)) {
			g := newGround(t, postgres)
			group.Go(func() {
				for seed := range next {
					g.schedule(t, seed)
				}
			})
		}
		for i := range n {
			if t.Failed() {
				break
			}
			next <- first + uint64(i)
		}
		close(next)
		group.Wait()
		t.Logf("%d schedules, the first with ECRIN_SEED=%d", n, first)
	})
}

// schedule runs the schedule of a seed.
func (g *ground) schedule(t *testing.T, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 0))
	w := g.newWorld(t, random.IntN(2) == 0)
	ctx := context.Background()
	full := random.IntN(2) == 0
	workers := []*worker{start(ctx, collectorName, func(ctx context.Context) error { return w.collection(ctx, full) })}
	for range 1 + random.IntN(maxWorkers) {
		o := operations[random.IntN(len(operations))]
		workers = append(workers, start(ctx, o.name, func(ctx context.Context) error { return o.do(w, ctx) }))
	}
	var order []string
	for {
		var able []*worker
		for _, x := range workers {
			if x.can() {
				able = append(able, x)
			}
		}
		if len(able) == 0 {
			break
		}
		x := able[random.IntN(len(able))]
		for range 1 + random.IntN(6) { // some steps at once, so that all orders of a few of them are as likely as those of many
			if !x.can() {
				break
			}
			x.advance()
			order = append(order, x.String())
		}
	}
	failed := t.Failed()
	for _, x := range workers {
		if x.err != nil {
			t.Errorf("%s: %v", x.name, x.err)
		}
		if !x.ended {
			t.Errorf("%s waits for ever: %s", x.name, x.at)
		}
	}
	w.end()
	if t.Failed() && !failed {
		t.Logf("the schedule of ECRIN_SEED=%d:\n%s", seed, strings.Join(order, "\n"))
	}
}
