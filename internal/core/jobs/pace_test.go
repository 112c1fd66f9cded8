package jobs_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/jobs"
)

func TestPaceRestsWhileRequestsArrive(t *testing.T) {
	const took = 10 * time.Millisecond
	for _, tt := range []struct {
		name     string
		during   uint64        // requests while the step goes on
		every    time.Duration // between requests after the step, 0 for none
		took     time.Duration
		canceled bool
		want     time.Duration
	}{
		{name: "no request", took: took, want: 0},
		{name: "a request, and then none", during: 1, took: took, want: took},
		{name: "requests all the time", during: 5, every: time.Millisecond, took: took, want: 4 * took},
		{name: "a long step", during: 5, every: time.Millisecond, took: time.Minute, want: 200 * time.Millisecond},
		{name: "the end of the context", during: 5, every: time.Millisecond, took: took, canceled: true, want: 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin, n := time.Now(), uint64(0)
				pace := &jobs.Pace{Requests: func() uint64 {
					if tt.every > 0 {
						return n + uint64(time.Since(begin)/tt.every)
					}
					return n
				}}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if tt.canceled {
					cancel()
				}
				step := pace.Step()
				n += tt.during
				time.Sleep(tt.took)
				before := time.Now()
				step.Rest(ctx)
				if got := time.Since(before); got != tt.want {
					t.Errorf("got a rest of %v, want %v", got, tt.want)
				}
			})
		})
	}
}

func TestNoPaceNeverRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var none *jobs.Pace
		step, before := none.Step(), time.Now()
		time.Sleep(time.Second)
		step.Rest(t.Context())
		if got := time.Since(before); got != time.Second {
			t.Errorf("got a rest of %v, want none", got-time.Second)
		}
	})
}
