package jobs

import (
	"context"
	"time"
)

const (
	// maxRest limits each of the rests of a step.
	maxRest = 50 * time.Millisecond
	// maxRests is how many rests follow a step while requests arrive: the work then has about a fifth of one processor.
	maxRests = 4
)

// Pace makes long background work yield to requests. The zero value and nil never rest.
type Pace struct {
	// Requests returns how many requests the process has answered. It must be cheap and safe for concurrent use.
	Requests func() uint64
}

// Step is a part of background work that is not interrupted, such as a transaction or a page of a query. It should take a few
// milliseconds.
type Step struct {
	pace     *Pace
	began    time.Time
	requests uint64
}

// Step begins a step.
func (p *Pace) Step() Step {
	s := Step{pace: p, began: time.Now()}
	if p != nil && p.Requests != nil {
		s.requests = p.Requests()
	}
	return s
}

// Rest ends the step. It returns at once if no request was answered during the step. Otherwise it waits for as long as the step took, up
// to 50 ms, and again up to three times while requests arrive. It returns when ctx ends.
func (s Step) Rest(ctx context.Context) {
	if s.pace == nil || s.pace.Requests == nil {
		return
	}
	took := min(time.Since(s.began), maxRest)
	for range maxRests {
		now := s.pace.Requests()
		if now == s.requests {
			return
		}
		s.requests = now
		timer := time.NewTimer(took)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}
