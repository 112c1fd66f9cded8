package identity

import (
	"testing"
	"time"
)

// An attempt that was not a failure is taken back in the window in which it was counted, and takes back no failure of a later one.
func TestForgivenAttemptsAreThoseOfTheirWindow(t *testing.T) {
	t.Parallel()
	var a attempts
	limits := []attemptLimit{{"user", 1}}
	begin := time.Unix(0, 0).Add(1000 * AttemptWindow)
	take := func(at time.Time, want bool) {
		t.Helper()
		if got := a.take(at, limits); got != want {
			t.Errorf("an attempt at %s: got %t, want %t", at.Sub(begin), got, want)
		}
	}
	take(begin, true)
	a.forgive(begin, limits)
	late, next := begin.Add(AttemptWindow-1), begin.Add(AttemptWindow)
	take(late, true)
	take(late, false)
	take(next, true) // fails
	a.forgive(late, limits)
	take(next, false)
}
