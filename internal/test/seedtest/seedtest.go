// Package seedtest gives tests random numbers that can be had again.
package seedtest

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

// Variable is the environment variable that sets the seed of all tests.
const Variable = "ECRIN_SEED"

// Seed returns the seed of a test: the value of Variable, or a random one. A test that fails prints it.
func Seed(t testing.TB) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv(Variable); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("%s: %v", Variable, err)
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the random numbers of this test again: %s=%d", Variable, seed)
		}
	})
	return seed
}

// OfParent returns the seed that a test has given to this child process by Environment; 0 if it has given none.
func OfParent() uint64 {
	seed, _ := strconv.ParseUint(os.Getenv(Variable), 10, 64) // Environment has written it
	return seed
}

// Environment is the entry of the environment of a child process that gives it a seed.
func Environment(seed uint64) string { return Variable + "=" + strconv.FormatUint(seed, 10) }

// New returns random numbers for one goroutine of a test; the numbers of goroutines with different n differ.
func New(seed, n uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, n)) }
