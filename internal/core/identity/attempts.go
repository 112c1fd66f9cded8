package identity

import (
	"hash/maphash"
	"sync"
	"time"
)

// AttemptWindow is the time in which failures to sign in are counted. It starts at the same moment for all.
const AttemptWindow = 15 * time.Minute

// maxAttemptSlots is the size of the table of failures, 512 KiB.
const maxAttemptSlots = 1 << 16

// attempts counts failures by a key. Its memory does not grow with the keys: keys with the same place in the table are counted
// together, which no stranger can choose. The counts are those of one process.
type attempts struct {
	mu    sync.Mutex
	seed  maphash.Seed
	slots []attemptSlot
}

type attemptSlot struct{ window, count uint32 }

// attemptLimit is a key and how often it may fail.
type attemptLimit struct {
	key string
	max uint32
}

// take counts an attempt under all keys, if none of them has reached its limit, and reports whether it did. An attempt counts as a
// failure from the start, so that attempts at the same time cannot exceed a limit.
func (a *attempts) take(now time.Time, limits []attemptLimit) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.slots == nil {
		a.seed, a.slots = maphash.MakeSeed(), make([]attemptSlot, maxAttemptSlots)
	}
	for _, l := range limits {
		if a.slot(now, l.key).count >= l.max {
			return false
		}
	}
	for _, l := range limits {
		a.slot(now, l.key).count++
	}
	return true
}

// forgive takes back an attempt that was taken at a time and was not a failure. It does nothing if the window has changed since
// then: the counts are now those of other attempts.
func (a *attempts) forgive(taken time.Time, limits []attemptLimit) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, l := range limits {
		if s := a.place(l.key); s.window == windowOf(taken) && s.count > 0 {
			s.count--
		}
	}
}

// slot returns the place of a key in the table, with the count of the present window.
func (a *attempts) slot(now time.Time, key string) *attemptSlot {
	s := a.place(key)
	if window := windowOf(now); s.window != window {
		*s = attemptSlot{window: window}
	}
	return s
}

func (a *attempts) place(key string) *attemptSlot {
	return &a.slots[maphash.String(a.seed, key)%maxAttemptSlots]
}

func windowOf(t time.Time) uint32 { return uint32(t.Unix() / int64(AttemptWindow/time.Second)) }
