// Package faulttest sweeps operations with failing statements of the metadata store: whatever statement of an operation
// fails, and however, the operation must fail too, and must have changed all or nothing.
//
// The fast suite lets every tenth of the statements fail, from one that the name of the test determines, and the slow tests every third;
// in the nightly tests each of them fails. See package slowtest.
package faulttest

import (
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/store/meta/faultmeta"
	"github.com/ecrin-dev/ecrin/internal/word/slowtest"
)

// Call is an operation with what it needs.
type Call struct {
	// Do runs the operation. Its error is nil if the operation says that it has succeeded or, for a decision, that it is
	// allowed.
	Do func() error
	// State describes what the operation changes, in a form that does not depend on the number of the call; nil if it
	// changes nothing.
	State func() string
}

// maxStatements is the number of statements after which a sweep gives up.
const maxStatements = 2000

// sample is the step between the failing statements.
func sample() int {
	switch {
	case slowtest.Nightly():
		return 1
	case slowtest.Enabled():
		return 3
	}
	return 10
}

// steps are the statements of an operation that fail in a sweep.
type steps struct {
	size, start int
	count       int // statements of the operation if nothing fails
}

// stepsOf returns the steps for an operation that runs count statements. There is at least one if count is not 0.
func stepsOf(t *testing.T, count int) steps {
	size := sample()
	if size == 1 || count == 0 {
		return steps{size: 1, count: count}
	}
	return steps{size: size, start: slowtest.Pick(t, min(size, count*int(faultmeta.Faults))), count: count}
}

// first returns the number of the first statement, from 1, that fails with f.
func (s steps) first(f faultmeta.Fault) int {
	// The statements of all kinds of fault are counted on, so that few statements have some of the kinds.
	return 1 + ((s.start-int(f)*s.count)%s.size+s.size)%s.size
}

// past reports whether the sweep goes on with the next kind of fault without a call for the statement n. A whole sweep
// makes the call, which shows that the operation runs no further statement.
func (s steps) past(n int) bool { return s.size > 1 && n > s.count }

// Sweep calls prepare for numbers from 0 and runs each prepared call. In the first call nothing fails. Then, for each kind
// of fault, call after call, the next statement fails, until a call succeeds without having come to the failing one. A call
// in which a statement failed must return an error, and leave the state as before the call, or as after the first one.
//
// prepare runs without faults. It must give each number objects of its own, so that the caches of the store do not have
// them. Calls of one sweep run one after another, and no other must use the store meanwhile.
func Sweep(t *testing.T, faults *faultmeta.Injector, prepare func(i int) Call) {
	t.Helper()
	sweep(t, faults, prepare, true)
}

// Honest is Sweep for calls beside which others use the store, such as the background work of a server: the statement that
// failed may be one of theirs. A call that returns no error must have had its whole effect.
func Honest(t *testing.T, faults *faultmeta.Injector, prepare func(i int) Call) {
	t.Helper()
	sweep(t, faults, prepare, false)
}

func sweep(t *testing.T, faults *faultmeta.Injector, prepare func(i int) Call, alone bool) {
	t.Helper()
	state := func(c Call) string {
		if c.State == nil {
			return ""
		}
		return c.State()
	}
	c := prepare(0)
	before := state(c)
	faults.Arm(maxStatements+1, faultmeta.Before) // counts
	err := c.Do()
	_, count := faults.Disarm()
	if err != nil {
		t.Fatalf("without a fault: got %v, want no error", err)
	}
	after := state(c)
	if c.State != nil && before == after {
		t.Fatalf("the operation does not change the state %q", before)
	}
	if count == 0 {
		t.Fatal("the operation runs no statement")
	}
	i, some := 0, stepsOf(t, count)
	for f := range faultmeta.Faults {
		for n := some.first(f); !some.past(n); n += some.size {
			if n > maxStatements {
				t.Fatalf("more than %d statements", maxStatements)
			}
			i++
			c := prepare(i)
			faults.Arm(n, f)
			err := c.Do()
			failed, ran := faults.Disarm()
			if len(failed) == 0 {
				if err != nil {
					t.Errorf("call %d, without a fault: got %v, want no error", i, err)
				}
				if ran == 0 {
					t.Fatal("the operation runs no statement")
				}
				if ran < n {
					break
				}
				continue // the operation has not read as far as the fault
			}
			where := strings.Join(strings.Fields(failed[0]), " ")
			if err == nil && alone {
				t.Errorf("the statement %d failed (%s) and the operation succeeded: %s", n, f, where)
			}
			switch now := state(c); {
			case err == nil && now != after:
				t.Errorf("the statement %d failed (%s) and the operation succeeded with the state %q, want %q: %s", n, f, now, after, where)
			case now != before && now != after:
				t.Errorf("the statement %d failed (%s): got the state %q, want %q or %q: %s", n, f, now, before, after, where)
			}
		}
	}
}

// Closed is Sweep for calls that must never succeed: whatever fails, they stay refused.
func Closed(t *testing.T, faults *faultmeta.Injector, prepare func(i int) Call) {
	t.Helper()
	c := prepare(0)
	faults.Arm(maxStatements+1, faultmeta.Before) // counts
	err := c.Do()
	_, statements := faults.Disarm()
	if err == nil {
		t.Error("without a fault: got no error, want a refusal")
	}
	i, some := 1, stepsOf(t, statements)
	for f := range faultmeta.Faults {
		for n := some.first(f); !some.past(n); n += some.size {
			if n > maxStatements {
				t.Fatalf("more than %d statements", maxStatements)
			}
			c := prepare(i)
			i++
			faults.Arm(n, f)
			err := c.Do()
			failed, ran := faults.Disarm()
			statements += ran
			if err == nil {
				t.Errorf("with the failed statements %q (the %d. %s): got no error, want a refusal", failed, n, f)
			}
			if len(failed) == 0 && ran < n {
				break
			}
		}
	}
	if statements == 0 {
		t.Fatal("the operation runs no statement")
	}
}

// Changes returns a State: what has changed in the database of a data directory since Changes was called, except in some
// tables.
func Changes(t *testing.T, dir string, except ...string) func() string {
	t.Helper()
	read := func() faultmeta.Contents {
		t.Helper()
		c, err := faultmeta.Read(t.Context(), dir, except...)
		if err != nil {
			t.Fatalf("reading the database: %v", err)
		}
		return c
	}
	before := read()
	return func() string { return read().Since(before) }
}
