package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/jobs"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// fixture is a store and the runners on it, which play processes.
type fixture struct {
	*testing.T
	*meta.Store
	ahead atomic.Int64 // how far the clock is ahead
}

func (fx *fixture) now() time.Time { return time.Now().Add(time.Duration(fx.ahead.Load())) }

func newFixture(t *testing.T) *fixture {
	t.Helper()
	fx := &fixture{T: t}
	s, err := meta.OpenSQLite(t.Context(), t.TempDir(), fx.now)
	if err != nil {
		t.Fatal(err)
	}
	fx.Store = s
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return fx
}

// run runs a runner with the given kinds until stop is called or the test ends.
func (fx *fixture) run(o jobs.Options, kinds ...jobs.Kind) (r *jobs.Runner, stop func()) {
	o.Meta, o.Now = fx.Store, fx.now
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Poll = 10 * time.Millisecond
	r = jobs.New(o)
	for _, k := range kinds {
		r.Add(k)
	}
	return r, fx.start(r)
}

func (fx *fixture) start(r *jobs.Runner) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(fx.Context()))
	done := make(chan struct{})
	go func() { defer close(done); r.Run(ctx) }()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	fx.Cleanup(stop)
	return stop
}

func (fx *fixture) enqueue(kind, key string) {
	fx.Helper()
	if err := fx.Enqueue(fx.Context(), meta.NewJob{Kind: kind, Key: key, Input: `{"n":1}`}); err != nil {
		fx.Fatal(err)
	}
}

// job waits until the only job is as wanted.
func (fx *fixture) job(what string, want func(meta.Job) bool) meta.Job {
	fx.Helper()
	var all []meta.Job
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		var err error
		if all, err = fx.Jobs(fx.Context(), "", 0, 10); err != nil {
			fx.Fatal(err)
		}
		if len(all) == 1 && want(all[0]) {
			return all[0]
		}
	}
	fx.Fatalf("the jobs are %+v, want one that is %s", all, what)
	return meta.Job{}
}

func state(s meta.JobState) func(meta.Job) bool { return func(j meta.Job) bool { return j.State == s } }

// A job is executed with its input, and its progress is visible.
func TestJobIsExecuted(t *testing.T) {
	fx := newFixture(t)
	saved, go_ := make(chan struct{}), make(chan struct{})
	r, _ := fx.run(jobs.Options{}, jobs.Kind{Name: "k", Work: func(ctx context.Context, j *jobs.Job) error {
		var in struct{ N int }
		if err := j.Input(&in); err != nil || in.N != 1 || j.Key() != "a" {
			return jobs.Permanent(fmt.Errorf("input %+v of %s, %v", in, j.Key(), err))
		}
		if err := j.Save(ctx, 7, 3, 9); err != nil {
			return err
		}
		close(saved)
		<-go_
		return nil
	}})
	fx.enqueue("k", "a")
	<-saved
	if j := fx.job("saved", state(meta.JobRunning)); j.Done != 3 || j.Total != 9 || j.Place != "7" {
		t.Errorf("the running job: got %+v", j)
	}
	close(go_)
	fx.job("done", state(meta.JobDone))
	for r.Stats("k").Succeeded == 0 {
		time.Sleep(time.Millisecond)
	}
	if s := r.Stats("k"); s.Succeeded != 1 || s.Failed != 0 {
		t.Errorf("stats: got %+v", s)
	}
}

// A failed attempt is repeated at its place, and a job that fails too often or for good has failed.
func TestFailedJobIsRepeated(t *testing.T) {
	for what, c := range map[string]struct {
		err   error
		state meta.JobState
		text  string
	}{
		"repeated":   {errors.New("not yet"), meta.JobFailed, "not yet"},
		"permanent":  {jobs.Permanent(fault.ImageNotFound.New("gone")), meta.JobFailed, "ImageNotFound: gone"},
		"panicking":  {nil, meta.JobFailed, "panic: oh"},
		"succeeding": {nil, meta.JobDone, ""},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			fx := newFixture(t)
			var places []int
			fx.run(jobs.Options{}, jobs.Kind{Name: "k", Attempts: 3, Pause: time.Nanosecond, Work: func(ctx context.Context, j *jobs.Job) error {
				place := 0
				if err := j.Place(&place); err != nil {
					return err
				}
				places = append(places, place)
				if err := j.Save(ctx, place+1, 0, 0); err != nil {
					return err
				}
				if what == "panicking" {
					panic("oh")
				}
				if what == "succeeding" && j.Attempts() < 2 {
					return errors.New("not yet")
				}
				return c.err
			}})
			fx.enqueue("k", "a")
			j := fx.job("ended", func(j meta.Job) bool { return j.State > meta.JobRunning })
			want := "[0 1 2]"
			if what == "permanent" {
				want = "[0]"
			}
			if j.State != c.state || j.Error != c.text || fmt.Sprint(places) != want {
				t.Errorf("got state %d, error %q, places %v; want %d, %q, %s", j.State, j.Error, places, c.state, c.text, want)
			}
		})
	}
}

// What an account may read of the failure of its job is only what may be published.
func TestErrorOfAnAccountsJobIsPublic(t *testing.T) {
	fx := newFixture(t)
	fx.run(jobs.Options{}, jobs.Kind{Name: "k", Attempts: 1, Work: func(context.Context, *jobs.Job) error {
		return errors.New("open /secret/place")
	}})
	if err := fx.Enqueue(t.Context(), meta.NewJob{Kind: "k", Key: "a", Account: "111122223333", Input: `{}`}); err != nil {
		t.Fatal(err)
	}
	if j := fx.job("failed", state(meta.JobFailed)); strings.Contains(j.Error, "secret") || !strings.Contains(j.Error, "log of the server") {
		t.Errorf("error: got %q", j.Error)
	}
}

// At most Parallel jobs of a kind run at once, and a full kind delays no other.
func TestParallelIsPerKind(t *testing.T) {
	fx := newFixture(t)
	var running, most, done atomic.Int32
	hold := make(chan struct{})
	other := make(chan struct{})
	fx.run(jobs.Options{}, jobs.Kind{Name: "slow", Parallel: 3, Work: func(context.Context, *jobs.Job) error {
		n := running.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		<-hold
		running.Add(-1)
		done.Add(1)
		return nil
	}}, jobs.Kind{Name: "fast", Work: func(context.Context, *jobs.Job) error { close(other); return nil }})
	for i := range 9 {
		fx.enqueue("slow", fmt.Sprint(i))
	}
	for running.Load() < 3 {
		time.Sleep(time.Millisecond)
	}
	fx.enqueue("fast", "")
	<-other
	close(hold)
	for done.Load() < 9 {
		time.Sleep(time.Millisecond)
	}
	if most.Load() != 3 {
		t.Errorf("at once: got %d, want 3", most.Load())
	}
}

// A job that runs when the server stops is continued by the next process at its place, and the attempt does not count as failed.
func TestStopContinuesLater(t *testing.T) {
	fx := newFixture(t)
	saved := make(chan struct{})
	_, stop := fx.run(jobs.Options{}, jobs.Kind{Name: "k", Work: func(ctx context.Context, j *jobs.Job) error {
		if err := j.Save(ctx, "half", 1, 2); err != nil {
			return err
		}
		close(saved)
		<-ctx.Done()
		return context.Cause(ctx)
	}})
	fx.enqueue("k", "a")
	<-saved
	stop()
	if j := fx.job("queued", state(meta.JobQueued)); j.Attempts != 0 || j.Error != "" || j.Due.After(time.Now()) {
		t.Errorf("the interrupted job: got %+v, want it due and without a failure", j)
	}
	var place string
	fx.run(jobs.Options{}, jobs.Kind{Name: "k", Work: func(_ context.Context, j *jobs.Job) error { return j.Place(&place) }})
	fx.job("done", state(meta.JobDone))
	if place != "half" {
		t.Errorf("place of the second process: got %q, want half", place)
	}
}

// While a process works on a job it keeps the lease, and no other process gets the job. Both processes are on one database.
func TestLongJobKeepsItsLease(t *testing.T) {
	fx := newFixture(t)
	var runs atomic.Int32
	var long = jobs.Kind{Name: "k", Work: func(ctx context.Context, j *jobs.Job) error {
		runs.Add(1)
		select {
		case <-time.After(700 * time.Millisecond):
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}}
	o := jobs.Options{Lease: 200 * time.Millisecond}
	fx.run(o, long)
	fx.run(o, long)
	fx.enqueue("k", "a")
	fx.job("done", state(meta.JobDone))
	if runs.Load() != 1 {
		t.Errorf("attempts: got %d, want 1", runs.Load())
	}
}

// A worker whose job another process has got stops, and records nothing.
func TestLostLeaseEndsTheAttempt(t *testing.T) {
	fx := newFixture(t)
	began, ended := make(chan struct{}), make(chan error, 1)
	fx.run(jobs.Options{Lease: 300 * time.Millisecond}, jobs.Kind{Name: "k", Work: func(ctx context.Context, j *jobs.Job) error {
		if j.Attempts() > 0 {
			return nil
		}
		close(began)
		<-ctx.Done()
		ended <- context.Cause(ctx)
		return nil // as if it had succeeded
	}})
	fx.enqueue("k", "a")
	<-began
	var other []meta.Job
	for len(other) == 0 { // until it is faster than the renewal of the other
		fx.ahead.Add(int64(time.Hour)) // the clock jumps
		var err error
		if other, _, err = fx.LeaseJobs(t.Context(), "k", "", 1, 1000*time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-ended; err == nil {
		t.Error("the attempt went on")
	}
	if err := fx.EndJob(t.Context(), other[0], meta.JobEnd{State: meta.JobFailed, Failed: true, Error: "of the other"}); err != nil {
		t.Errorf("ending the job by the process that has it: %v", err)
	}
	if j := fx.job("failed", state(meta.JobFailed)); j.Error != "of the other" {
		t.Errorf("the job: got %+v", j)
	}
}

// A clock that was days ahead when jobs were queued, and was set back, does not delay them by days.
func TestClockThatWasAhead(t *testing.T) {
	fx := newFixture(t)
	const days = 10 * 24 * time.Hour
	fx.ahead.Store(int64(days))
	fx.enqueue("k", "queued")
	fx.enqueue("k", "leased")
	leased, _, err := fx.LeaseJobs(t.Context(), "k", "", 1, time.Minute) // by a process that is killed
	if err != nil || len(leased) != 1 {
		t.Fatalf("LeaseJobs: got %d, %v", len(leased), err)
	}
	fx.ahead.Store(0)
	done := make(chan string, 2)
	fx.run(jobs.Options{Lease: 300 * time.Millisecond}, jobs.Kind{Name: "k", Work: func(_ context.Context, j *jobs.Job) error {
		done <- j.Key()
		return nil
	}})
	for range 2 {
		select {
		case <-done:
		case <-time.After(30 * time.Second):
			t.Fatal("a job that was queued while the clock was ahead did not run within 30 s")
		}
	}
}

// What waits as long as it asked for, or as the kind says, is left alone.
func TestLongPausesAreNotHastened(t *testing.T) {
	fx := newFixture(t)
	fx.enqueue("k", "a")
	if _, err := fx.HastenJobs(t.Context(), "k", fx.now().Add(time.Hour), fx.now()); err != nil {
		t.Fatal(err)
	}
	before := fx.now().Add(20 * time.Hour)
	if err := fx.Enqueue(t.Context(), meta.NewJob{Kind: "k", Key: "later", Due: before}); err != nil {
		t.Fatal(err)
	}
	if n, err := fx.HastenJobs(t.Context(), "k", fx.now().Add(25*time.Hour), fx.now()); err != nil || n != 0 {
		t.Errorf("with a job that is due in 20 hours: got %d, %v, want none changed", n, err)
	}
	if n, err := fx.HastenJobs(t.Context(), "k", fx.now().Add(time.Hour), fx.now()); err != nil || n != 1 {
		t.Errorf("with one hour allowed: got %d, %v, want one changed", n, err)
	}
}

func TestCancelRunningJob(t *testing.T) {
	fx := newFixture(t)
	began := make(chan struct{})
	fx.run(jobs.Options{Lease: 60 * time.Millisecond}, jobs.Kind{Name: "k", Work: func(ctx context.Context, _ *jobs.Job) error {
		close(began)
		<-ctx.Done()
		return context.Cause(ctx)
	}})
	fx.enqueue("k", "a")
	<-began
	j := fx.job("running", state(meta.JobRunning))
	if _, err := fx.CancelJob(t.Context(), j.ID); err != nil {
		t.Fatal(err)
	}
	fx.job("canceled", state(meta.JobCanceled))
}

// An attempt that hangs is ended, and the job is repeated.
func TestIdleAttemptIsEnded(t *testing.T) {
	fx := newFixture(t)
	fx.run(jobs.Options{Lease: 60 * time.Millisecond}, jobs.Kind{Name: "k", Idle: 100 * time.Millisecond, Pause: time.Nanosecond,
		Work: func(ctx context.Context, j *jobs.Job) error {
			if j.Attempts() > 0 {
				return nil
			}
			<-ctx.Done()
			return context.Cause(ctx)
		}})
	fx.enqueue("k", "a")
	fx.job("done", state(meta.JobDone))
}

// A schedule runs again and again, also after failures and cancellations, and its failures are reported.
func TestScheduleRunsAgain(t *testing.T) {
	fx := newFixture(t)
	var n atomic.Int32
	reports := make(chan error, 100)
	enough := make(chan struct{})
	r, _ := fx.run(jobs.Options{Report: func(work string, err error) {
		if work == "s" {
			reports <- err
		}
	}}, jobs.Kind{Name: "s", What: "scheduled work", Every: 20 * time.Millisecond,
		AtStart: true, Work: func(context.Context, *jobs.Job) error {
			switch n.Add(1) {
			case 2:
				return jobs.Permanent(errors.New("broken"))
			case 4:
				close(enough)
			}
			return nil
		}})
	<-enough
	got := []error{<-reports, <-reports, <-reports}
	if got[0] != nil || got[1] == nil || got[2] != nil {
		t.Errorf("reports: got %v, want success, failure, success", got)
	}
	if w := r.Works(); w["s"] != "scheduled work" {
		t.Errorf("works: got %v", w)
	}
	fx.job("live", func(j meta.Job) bool { return j.State <= meta.JobRunning })
}

// The time that another server asks for is waited, within bounds.
func TestAfterDelaysTheNextAttempt(t *testing.T) {
	fx := newFixture(t)
	fx.run(jobs.Options{}, jobs.Kind{Name: "k", Pause: time.Nanosecond, Work: func(context.Context, *jobs.Job) error {
		return jobs.After(fault.Throttled.New("slow down"), 1000*time.Hour)
	}})
	began := time.Now()
	fx.enqueue("k", "a")
	j := fx.job("waiting", func(j meta.Job) bool { return j.State == meta.JobQueued && j.Attempts == 1 })
	if wait := j.Due.Sub(began); wait < 23*time.Hour || wait > 25*time.Hour {
		t.Errorf("the next attempt: got in %s, want in a day", wait)
	}
}

func TestTasksRun(t *testing.T) {
	fx := newFixture(t)
	var n atomic.Int32
	var last atomic.Bool
	reports := make(chan error, 100)
	r := jobs.New(jobs.Options{Meta: fx.Store, Now: time.Now, Log: slog.New(slog.DiscardHandler), Poll: 10 * time.Millisecond,
		Report: func(work string, err error) {
			if work == "t" {
				reports <- err
			}
		}})
	r.AddTask(jobs.Task{Name: "t", What: "a task", Every: 5 * time.Millisecond, First: true, Stop: func(ctx context.Context) error {
		last.Store(ctx.Err() == nil)
		return nil
	}, Run: func(context.Context) error {
		if n.Add(1) == 2 {
			panic("oh")
		}
		return nil
	}})
	stop := fx.start(r)
	if err := errors.Join(<-reports); err != nil {
		t.Error(err)
	}
	if err := <-reports; err == nil || !strings.Contains(err.Error(), "oh") {
		t.Errorf("report of a panic: got %v", err)
	}
	<-reports
	stop()
	if !last.Load() {
		t.Error("the task did not run when the server stopped")
	}
	if s := r.Stats("t"); s.Failed != 1 || s.Succeeded < 2 {
		t.Errorf("stats: got %+v", s)
	}
}

// Pauses double up to the limit, with up to half taken off.
func TestPauseAfter(t *testing.T) {
	t.Parallel()
	const base, limit = 10 * time.Second, time.Hour
	for failures, want := range map[int]time.Duration{0: base, 1: base, 2: 2 * base, 4: 8 * base, 10: limit, 1000: limit} {
		for range 100 {
			if got := jobs.PauseAfter(base, limit, failures); got < want/2 || got > want {
				t.Fatalf("after %d failures: got %s, want from %s to %s", failures, got, want/2, want)
			}
		}
	}
}
