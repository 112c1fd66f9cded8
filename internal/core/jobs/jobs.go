// Package jobs runs the background work of the server: durable jobs, which are rows of the database and of which any process of the
// installation does one at a time, and tasks, which each process does for its own memory and files.
//
// A job is enqueued in the transaction of the change that causes it. It is executed at least once: a process that is killed leaves its
// jobs to others, which continue at the place that was stored last. So the work of a kind may be repeated from any place that it has
// stored.
package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
)

// Kind is a kind of jobs and how they are executed.
type Kind struct {
	Name     string        // in the database and in metrics: lower case, words joined by _
	What     string        // for people, such as "collecting what nothing refers to"
	Parallel int           // how many run at once in this process, at least 1
	Attempts int           // after so many failed ones the job has failed for good; 0 for no limit
	Pause    time.Duration // before the second attempt; each further one waits twice as long, up to MaxPause. 10 s if 0
	MaxPause time.Duration // an hour if 0
	Idle     time.Duration // an attempt that stores no place for so long is ended as failed; 10 min if 0
	Forget   bool          // no row is kept of a job that is done

	// Every is the time between the runs of a schedule: one job with the key "", which is never done. It is 0 for jobs that are enqueued
	// by changes. AtStart lets it run when the server starts; Own gives each process a job of its own, with its node as the key.
	Every   time.Duration
	AtStart bool
	Own     bool

	// Work executes a job. It returns context.Cause(ctx) soon after ctx has ended. See Permanent and After for the errors that say how
	// the job continues.
	Work func(ctx context.Context, j *Job) error
}

// Job is a job that is being executed. Its methods are used by one goroutine.
type Job struct {
	r    *Runner
	kind *Kind
	end  context.CancelCauseFunc // of the context of Work

	mu     sync.Mutex
	row    meta.Job
	forget bool
	next   time.Time
	saved  time.Time // when the place was stored or the attempt began, by the clock of this process
	held   time.Time // until when the lease lasts at least, likewise
}

// ID returns the number of the job; see meta.Job.
func (j *Job) ID() int64 { return j.row.ID }

// Key returns what the job is about.
func (j *Job) Key() string { return j.row.Key }

// Account returns the 12 digits of the account whose work it is, "" for the installation.
func (j *Job) Account() string { return j.row.Account }

// Attempts returns the number of failed attempts before this one.
func (j *Job) Attempts() int { return j.row.Attempts }

// Input decodes the input of the job into v, a pointer. An input that cannot be decoded is a permanent failure.
func (j *Job) Input(v any) error { return decode("input", j.row.Input, v) }

// Place decodes the place at which the job continues into v, a pointer, which is left as it is at the beginning.
func (j *Job) Place(v any) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.row.Place == "" {
		return nil
	}
	return decode("place", j.row.Place, v)
}

func decode(what, text string, v any) error {
	if err := json.Unmarshal([]byte(text), v); err != nil {
		return Permanent(fmt.Errorf("the %s of the job cannot be read: %w", what, err))
	}
	return nil
}

// Forget makes a success of this attempt leave no row, as Kind.Forget does for all: it has changed nothing.
func (j *Job) Forget() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.forget = true
}

// Next makes the job run again at a time, from its beginning, if this attempt succeeds: there is more to do then. A later change makes
// it due earlier.
func (j *Job) Next(due time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.next = due
}

// Save stores the place at which the job continues if it is interrupted now, and how much is done of how much in total (0 if that is
// not known). What was done before that place must be durable.
//
// Errors: another process works on the job, or it was canceled, after which Work returns; the database cannot be written.
func (j *Job) Save(ctx context.Context, place any, done, total int64) error {
	text, err := json.Marshal(place)
	if err != nil {
		return fmt.Errorf("encoding the place of a job: %w", err)
	}
	j.mu.Lock()
	row := j.row
	j.mu.Unlock()
	row.Place, row.Done, row.Total = string(text), done, total
	if err := j.renew(ctx, row); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.row, j.saved = row, time.Now()
	return nil
}

// renew extends the lease of the job with the given row.
func (j *Job) renew(ctx context.Context, row meta.Job) error {
	began := time.Now()
	stop, err := j.r.meta.RenewJob(ctx, row, j.r.lease)
	switch {
	case err != nil && leaseLost(err):
		j.end(errLost)
		return errLost
	case err != nil:
		return err
	case stop:
		j.end(errCanceled)
		return errCanceled
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.held = began.Add(j.r.lease)
	return nil
}

// The causes for which the context of an attempt ends before the attempt.
var (
	errLost     = errors.New("another process works on the job")
	errCanceled = errors.New("the job was canceled")
	errIdle     = errors.New("the attempt made no progress for too long")
	errStopping = errors.New("the server is stopping")
)

// permanent is an error after which a job is not repeated.
type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

// Permanent marks an error after which the job has failed for good: a repetition would fail alike. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return permanent{err}
}

// after is an error with the earliest time of the next attempt.
type after struct {
	error
	pause time.Duration
}

func (a after) Unwrap() error { return a.error }

// After marks an error with the time that must pass before the next attempt, such as a Retry-After of another server. At most a day is
// waited.
func After(err error, pause time.Duration) error {
	if err == nil {
		return nil
	}
	return after{err, pause}
}

// PauseAfter returns the pause after a number of failures in succession, at least 1: base for the first, doubled for each further one, up
// to limit. Up to half of it is taken off at random, so that what failed together is not repeated together. base is positive.
func PauseAfter(base, limit time.Duration, failures int) time.Duration {
	const most = 20 // doublings: those of a base of 12 days still fit
	d := base << min(max(failures, 1)-1, most)
	if d <= 0 || d > limit {
		d = limit
	}
	return d - rand.N(d/2+1)
}
