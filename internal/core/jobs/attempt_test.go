package jobs_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/jobs"
)

// Each attempt of a job is reported when it has ended.
func TestAttempted(t *testing.T) {
	t.Parallel()
	fx := newFixture(t)
	broken := errors.New("broken")
	attempts := make(chan jobs.Attempt, 10)
	first := true
	started := make(chan struct{})
	_, stop := fx.run(jobs.Options{Attempted: func(a jobs.Attempt) { attempts <- a }},
		jobs.Kind{Name: "a", Pause: time.Millisecond, Work: func(context.Context, *jobs.Job) error {
			if first {
				first = false
				return broken
			}
			return nil
		}},
		jobs.Kind{Name: "b", Work: func(ctx context.Context, _ *jobs.Job) error {
			close(started)
			<-ctx.Done()
			return ctx.Err()
		}})
	fx.enqueue("a", "1")
	failed, succeeded := <-attempts, <-attempts
	if failed.Kind != "a" || failed.Number != 1 || !errors.Is(failed.Err, broken) || failed.Stopped ||
		failed.ID == 0 || failed.Start.IsZero() {
		t.Errorf("got %+v, want the failed attempt", failed)
	}
	if succeeded.ID != failed.ID || succeeded.Number != 2 || succeeded.Err != nil || succeeded.Stopped {
		t.Errorf("got %+v, want the second attempt of job %d", succeeded, failed.ID)
	}
	fx.enqueue("b", "1")
	<-started
	stop()
	if stopped := <-attempts; stopped.Kind != "b" || !stopped.Stopped {
		t.Errorf("got %+v, want an attempt that the stop ended", stopped)
	}
}
