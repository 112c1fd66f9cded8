// Package slowtest divides the tests between the fast suite, for use while editing, the slow tests (make slow), which run more of the
// same packages with ECRIN_SLOW=1, and the nightly ones (make nightly), which run everything. The Makefile names the packages that import
// it.
package slowtest

import (
	"hash/fnv"
	"os"
	"testing"
)

// Enabled reports whether all tests run in full: ECRIN_SLOW is "1" or "nightly".
func Enabled() bool { return os.Getenv("ECRIN_SLOW") == "1" || Nightly() }

// Nightly reports whether the tests run that are too long for each day: ECRIN_SLOW is "nightly" (make nightly).
func Nightly() bool { return os.Getenv("ECRIN_SLOW") == "nightly" }

// Only skips the test in the fast suite. reason is a sentence without a full stop that says what it costs or what covers it there.
func Only(t testing.TB, reason string) {
	t.Helper()
	if !Enabled() {
		t.Skipf("%s: ECRIN_SLOW=1 (make slow) runs it", reason)
	}
}

// Sample skips the test in the fast suite, unless it is one of about one in every, which its name determines. every is from 1.
func Sample(t testing.TB, every int) {
	t.Helper()
	if !Enabled() && Pick(t, every) != 0 {
		t.Skipf("one in %d of these tests is in the fast suite: ECRIN_SLOW=1 (make slow) runs all", every)
	}
}

// Pick returns a number from 0 and below n, from 1, which the name of the test determines.
func Pick(t testing.TB, n int) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(t.Name())) // it returns no error
	return int(h.Sum32() % uint32(n))
}

// Soak returns many in the nightly tests, some in the slow ones, otherwise few: rounds of a test that takes seconds for each.
func Soak(few, some, many int) int {
	if Nightly() {
		return many
	}
	return Rounds(few, some)
}

// Rounds returns full if all tests run in full, otherwise few.
func Rounds(few, full int) int {
	if Enabled() {
		return full
	}
	return few
}
