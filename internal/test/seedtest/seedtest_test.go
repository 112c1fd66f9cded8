package seedtest_test

import (
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/test/seedtest"
)

// The environment gives the seed of a test, and a parent that of its child. The same seed gives the same numbers.
func TestSeed(t *testing.T) {
	t.Setenv(seedtest.Variable, "18446744073709551615")
	if got := seedtest.Seed(t); got != 1<<64-1 {
		t.Errorf("got the seed %d, want that of the environment", got)
	}
	name, value, _ := strings.Cut(seedtest.Environment(7), "=")
	t.Setenv(name, value)
	if got := seedtest.OfParent(); got != 7 {
		t.Errorf("the child has the seed %d, want 7", got)
	}
	a, b, c := seedtest.New(7, 1), seedtest.New(7, 1), seedtest.New(7, 2)
	if x, y, z := a.Uint64(), b.Uint64(), c.Uint64(); x != y || x == z {
		t.Errorf("got %d, %d, %d, want the first two equal and the third different", x, y, z)
	}
	t.Setenv(seedtest.Variable, "")
	if one, two := seedtest.Seed(t), seedtest.Seed(t); one == two {
		t.Errorf("without the variable, two tests have the seed %d", one)
	}
}
