package web

import (
	"sync"
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// maxRates is the number of keys whose rate is remembered. When there are more, all begin anew.
const maxRates = 10_000

// Rates limit the requests of each key, a customer or an address: so many a minute, of which as many may come at once. It is safe for
// concurrent use.
type Rates struct {
	whose     string
	perMinute float64
	now       func() time.Time

	mu  sync.Mutex
	all map[string]bucket
}

// NewRates returns a limit of requests a minute; 0 is none. whose names in errors what a key stands for, such as "the licence".
func NewRates(whose string, perMinute int, now func() time.Time) *Rates {
	return &Rates{whose: whose, perMinute: float64(perMinute), now: now}
}

type bucket struct {
	left float64 // requests
	at   time.Time
}

// Take counts a request of a key. A nil Rates has no limit.
//
// Errors: fault.Throttled (there were too many).
func (r *Rates) Take(key string) error {
	if r == nil || r.perMinute <= 0 {
		return nil
	}
	now := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	b, ok := r.all[key]
	if !ok {
		if r.all == nil || len(r.all) >= maxRates {
			r.all = map[string]bucket{}
		}
		b = bucket{left: r.perMinute, at: now}
	}
	if passed := now.Sub(b.at); passed > 0 {
		b.left, b.at = min(r.perMinute, b.left+passed.Minutes()*r.perMinute), now
	}
	var err error
	if b.left < 1 {
		err = fault.Throttled.New("%s may make at most %.0f requests a minute", r.whose, r.perMinute)
	} else {
		b.left--
	}
	r.all[key] = b
	return err
}
