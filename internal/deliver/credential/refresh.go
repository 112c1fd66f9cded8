package credential

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Refresher gets new credentials for some hosts at half of their life, and delivers them to a target. Each host has its own times, so that
// one that fails does not keep the others from renewal. A credential that the registry does not accept is not delivered: the target keeps
// what it has.
type Refresher struct {
	Source Source
	Verify func(ctx context.Context, c Credential) error // nil for no check
	// Deliver writes the credentials of one or more hosts to the target, which keeps those of the others.
	Deliver func(ctx context.Context, all []Credential) error
	Hosts   []string
	Log     func(format string, args ...any)

	Now    func() time.Time                                 // nil means time.Now
	Wait   func(ctx context.Context, d time.Duration) error // nil means to wait for that time by the clock
	Jitter func() float64                                   // from 0 to 1; nil means at random
}

const (
	firstPause = 2 * time.Second // after a failure; it doubles with each
	maxPause   = 5 * time.Minute
	jitter     = 0.1 // of the time to the renewal: it is up to this share earlier
	minRenewal = 10 * time.Second
	maxSleep   = time.Minute // then the clock is read again: a machine that slept is late
)

// Once gets and delivers credentials once for all hosts.
//
// Errors: those of the source, of the check and of the target, joined. What could be got was delivered.
func (r *Refresher) Once(ctx context.Context) error {
	turns := r.turns()
	r.turn(ctx, turns)
	var all []error
	for _, t := range turns {
		all = append(all, t.err)
	}
	return errors.Join(all...)
}

// Run refreshes until the context ends. It never stops because of a failure: it tries again, after a pause that grows up to 5 minutes.
//
// Errors: that of the context.
func (r *Refresher) Run(ctx context.Context) error {
	turns := r.turns()
	for {
		var due []*turn
		next := time.Time{}
		for _, t := range turns {
			if !r.now().Before(t.at) {
				due = append(due, t)
			} else if next.IsZero() || t.at.Before(next) {
				next = t.at
			}
		}
		if len(due) == 0 {
			if err := r.wait(ctx, min(next.Sub(r.now()), maxSleep)); err != nil {
				return err
			}
			continue
		}
		r.turn(ctx, due)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		for _, t := range due {
			r.plan(t)
		}
	}
}

// turn is the state of one host.
type turn struct {
	host     string
	at       time.Time // when it is due
	renewAt  time.Time // of the credential that was delivered; zero if it does not end
	err      error     // of the last attempt
	pause    time.Duration
	failures int
}

func (r *Refresher) turns() []*turn {
	all := make([]*turn, len(r.Hosts))
	for i, host := range r.Hosts {
		all[i] = &turn{host: host, pause: firstPause}
	}
	return all
}

// turn gets, checks and delivers the credentials of some hosts.
func (r *Refresher) turn(ctx context.Context, due []*turn) {
	var good []*turn
	var all []Credential
	for _, t := range due {
		c, err := r.Source.Credential(ctx, t.host)
		if err == nil && r.Verify != nil {
			err = r.Verify(ctx, c)
		} else if err != nil {
			err = fmt.Errorf("getting credentials for %s: %w", t.host, err)
		}
		if t.err = err; err == nil {
			t.renewAt = c.RenewAt()
			good, all = append(good, t), append(all, c)
		}
	}
	if len(all) == 0 {
		return
	}
	if err := r.Deliver(ctx, all); err != nil {
		for _, t := range good {
			t.err = err
		}
	}
}

// plan sets when a host is due again.
func (r *Refresher) plan(t *turn) {
	if t.err != nil {
		t.failures++
		t.at = r.now().Add(t.pause - time.Duration(r.random()*float64(t.pause)/2))
		r.Log("%s: attempt %d failed, the next one is at %s, and the target keeps what it has: %v", t.host, t.failures,
			t.at.UTC().Format(time.RFC3339), t.err)
		t.pause = min(2*t.pause, maxPause)
		return
	}
	t.pause, t.failures = firstPause, 0
	left := longest
	if !t.renewAt.IsZero() {
		left = max(t.renewAt.Sub(r.now()), minRenewal)
	}
	t.at = r.now().Add(left - time.Duration(r.random()*jitter*float64(left)))
	r.Log("%s: delivered new credentials; the next renewal is at %s", t.host, t.at.UTC().Format(time.RFC3339))
}

func (r *Refresher) now() time.Time {
	if r.Now == nil {
		return time.Now()
	}
	return r.Now()
}

func (r *Refresher) random() float64 {
	if r.Jitter == nil {
		return rand.Float64()
	}
	return r.Jitter()
}

func (r *Refresher) wait(ctx context.Context, d time.Duration) error {
	if r.Wait != nil {
		return r.Wait(ctx, d)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
