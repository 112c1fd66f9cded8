package jobs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

const (
	// defaultLease is how long a job belongs to a process that does not renew it: after a kill -9 another one continues then.
	defaultLease = 30 * time.Second
	// defaultPoll is the time between two looks for jobs that became due by themselves or were queued by other processes.
	defaultPoll = time.Second
	// tend is the time between two looks at schedules, and measurements of the queues.
	tend = 15 * time.Second
	// keptDone is how long ended jobs are kept, and keptPage how many of them one transaction deletes.
	keptDone = 7 * 24 * time.Hour
	keptPage = 500

	defaultPause    = 10 * time.Second
	defaultMaxPause = time.Hour
	defaultIdle     = 10 * time.Minute
	// maxAfter limits what After asks for.
	maxAfter = 24 * time.Hour
	// hastenEvery is the time between two looks for jobs that wait too long, because the clock was ahead when they were queued.
	hastenEvery = 5 * time.Minute
	// lastTime is the time that the end of an attempt may take while the server stops.
	lastTime = 5 * time.Second
	// stopTime is the time that what a task does at the stop may take.
	stopTime = 15 * time.Second
)

// Runner executes the jobs of its kinds and its tasks. Kinds and tasks are added before Run.
type Runner struct {
	meta   *meta.Store
	now    func() time.Time
	log    *slog.Logger
	report func(work string, err error)
	after  func(Attempt)
	lease  time.Duration
	poll   time.Duration

	kinds []*kindState
	tasks []*task
	free  chan struct{} // has a value after an attempt has ended
	wait  sync.WaitGroup
}

// Options holds the parameters of New. Meta, Now and Log are required.
type Options struct {
	Meta *meta.Store
	Now  func() time.Time
	Log  *slog.Logger
	// Report is called with the result of each attempt of a schedule and of a task; nil for none.
	Report func(work string, err error)
	// Attempted is called after each attempt of a job; nil for none. It must not wait.
	Attempted func(Attempt)
	Lease     time.Duration // 30 s if 0
	Poll      time.Duration // 1 s if 0
}

// Attempt is one attempt of a job that has ended.
type Attempt struct {
	Kind    string
	ID      int64  // of the job
	Account string // 12 digits: whose work it is; "" for that of the installation
	Number  int    // from 1, since the last success
	Start   time.Time
	Took    time.Duration
	Stopped bool  // it ended before its work, because the server stops, the job was canceled or another process continues it
	Err     error // nil after a success
}

// kindState is a kind and what this process does of it.
type kindState struct {
	Kind
	from string // see meta.LeaseJobs

	mu      sync.Mutex
	running map[int64]*Job
	stats   Stats
}

// Stats counts what this process did of a kind, or of a task, since its start, and how its queue was when it was last measured.
type Stats struct {
	Name      string
	Succeeded uint64
	Failed    uint64
	Time      time.Duration // of all attempts together
	Running   int
	Live      int           // queued and running jobs of all processes, at most 10,000
	Age       time.Duration // how long the job that has waited longest has been due
}

// New returns a Runner without kinds.
func New(o Options) *Runner {
	r := &Runner{meta: o.Meta, now: o.Now, log: o.Log, report: o.Report, after: o.Attempted,
		lease: o.Lease, poll: o.Poll, free: make(chan struct{}, 1)}
	if r.report == nil {
		r.report = func(string, error) {}
	}
	if r.lease == 0 {
		r.lease = defaultLease
	}
	if r.poll == 0 {
		r.poll = defaultPoll
	}
	return r
}

// Add adds a kind of jobs.
func (r *Runner) Add(k Kind) {
	for _, d := range []struct {
		value     *time.Duration
		byDefault time.Duration
	}{{&k.Pause, defaultPause}, {&k.MaxPause, defaultMaxPause}, {&k.Idle, defaultIdle}} {
		if *d.value == 0 {
			*d.value = d.byDefault
		}
	}
	k.Parallel = max(1, k.Parallel)
	r.kinds = append(r.kinds, &kindState{Kind: k, running: map[int64]*Job{}, stats: Stats{Name: k.Name}})
}

// Works returns the names of schedules and tasks, for which Report is called, with their names for people.
func (r *Runner) Works() map[string]string {
	all := map[string]string{QueueWork: "looking for jobs"}
	for _, k := range r.kinds {
		if k.Every > 0 {
			all[k.Name] = k.What
		}
	}
	for _, t := range r.tasks {
		all[t.Name] = t.What
	}
	return all
}

// Kinds returns the names of all kinds of jobs, sorted.
func (r *Runner) Kinds() []string {
	var all []string
	for _, k := range r.kinds {
		all = append(all, k.Name)
	}
	slices.Sort(all)
	return all
}

// Stats returns the counts of a kind or task; the zero value if there is none with the name.
func (r *Runner) Stats(name string) Stats {
	for _, k := range r.kinds {
		if k.Name == name {
			k.mu.Lock()
			defer k.mu.Unlock()
			s := k.stats
			s.Running = len(k.running)
			return s
		}
	}
	for _, t := range r.tasks {
		if t.Name == name {
			return t.state()
		}
	}
	return Stats{}
}

// Run executes jobs and tasks until ctx ends. Then it ends the attempts, which are continued by the next process, executes what
// tasks do at the stop, and returns.
func (r *Runner) Run(ctx context.Context) {
	for _, t := range r.tasks {
		r.wait.Go(func() { t.run(ctx, r.report) })
	}
	tick, tending := time.NewTicker(r.poll), time.NewTicker(tend)
	defer tick.Stop()
	defer tending.Stop()
	renewing := time.NewTicker(r.lease / 3)
	defer renewing.Stop()
	hastening := time.NewTicker(hastenEvery)
	defer hastening.Stop()
	r.schedule(ctx, true)
	r.hasten(ctx)
	for ctx.Err() == nil {
		r.dispatch(ctx)
		select {
		case <-r.meta.JobsQueued():
		case <-r.free:
		case <-tick.C:
		case <-renewing.C:
			r.renew(ctx)
		case <-tending.C:
			r.schedule(ctx, false)
			r.measure(ctx)
			r.sweep(ctx)
		case <-hastening.C:
			r.hasten(ctx)
		case <-ctx.Done():
		}
	}
	r.wait.Wait()
}

// dispatch starts as many due jobs as may run.
func (r *Runner) dispatch(ctx context.Context) {
	for _, k := range r.kinds {
		for ctx.Err() == nil {
			free := k.free()
			if free == 0 {
				break
			}
			leased, next, err := r.meta.LeaseJobs(ctx, k.Name, k.from, free, r.lease)
			r.kept(ctx, err)
			if err != nil {
				return
			}
			for _, row := range leased {
				r.start(ctx, k, row)
			}
			wrapped := k.from != "" && next == ""
			if k.from = next; len(leased) == 0 && !wrapped {
				break
			}
		}
	}
}

func (k *kindState) free() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return max(0, k.Parallel-len(k.running))
}

// QueueWork is the kind of work, for Report, on which all jobs depend: looking for due jobs, scheduling, and deleting old ones.
const QueueWork = "jobs"

// kept reports the result of a change of the queues, which is repeated at the next occasion.
func (r *Runner) kept(ctx context.Context, err error) {
	if ctx.Err() == nil {
		r.report(QueueWork, err)
	}
}

// start executes a leased job in a goroutine.
func (r *Runner) start(ctx context.Context, k *kindState, row meta.Job) {
	work, end := context.WithCancelCause(context.WithoutCancel(ctx))
	unlink := context.AfterFunc(ctx, func() { end(errStopping) })
	j := &Job{r: r, kind: &k.Kind, end: end, row: row, saved: time.Now(), held: time.Now().Add(r.lease)}
	k.mu.Lock()
	k.running[row.ID] = j
	k.mu.Unlock()
	r.wait.Go(func() {
		began := time.Now()
		err := j.attempt(work)
		unlink()
		cause := context.Cause(work)
		if cause == nil && ctx.Err() != nil {
			cause = errStopping // end has not been called yet
		}
		took := time.Since(began)
		r.ended(work, k, j, err, cause, took)
		if r.after != nil {
			r.after(Attempt{Kind: k.Name, ID: row.ID, Account: row.Account, Number: row.Attempts + 1, Start: began, Took: took,
				Stopped: cause != nil && !errors.Is(cause, errIdle), Err: err})
		}
		end(nil)
		k.mu.Lock()
		delete(k.running, row.ID)
		k.mu.Unlock()
		select {
		case r.free <- struct{}{}:
		default:
		}
	})
}

// attempt calls Work. A panic in it becomes an error.
func (j *Job) attempt(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			j.r.log.ErrorContext(ctx, "a job panicked", "kind", j.kind.Name, "key", j.row.Key, "panic", fmt.Sprint(p),
				"stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return j.kind.Work(ctx, j)
}

// ended records the end of an attempt. cause is why its context ended before, nil if it did not.
func (r *Runner) ended(work context.Context, k *kindState, j *Job, err, cause error, took time.Duration) {
	j.mu.Lock()
	row, forget, next := j.row, j.forget, j.next
	j.mu.Unlock()
	k.mu.Lock()
	if k.stats.Time += took; err == nil {
		k.stats.Succeeded++
	} else if !errors.Is(cause, errStopping) {
		k.stats.Failed++
	}
	k.mu.Unlock()
	if errors.Is(cause, errLost) {
		return
	}
	end := k.end(row, err, cause, r.now())
	if !next.IsZero() && end.State == meta.JobDone {
		end = meta.JobEnd{State: meta.JobQueued, Due: next, Reset: true}
	}
	end.Forget = end.Forget || forget && end.State == meta.JobDone
	if k.Every > 0 && !errors.Is(cause, errStopping) && !errors.Is(cause, errCanceled) {
		r.report(k.Name, err)
	}
	switch {
	case end.State == meta.JobFailed:
		r.log.Error("a job failed for good", "kind", k.Name, "key", row.Key, "id", row.ID, "attempts", row.Attempts+1, "cause", err)
	case end.Failed:
		r.log.Warn("a job failed: it is repeated", "kind", k.Name, "key", row.Key, "id", row.ID, "attempts", row.Attempts+1, "cause", err)
	}
	// The end is recorded although the server stops: otherwise the job would wait for the end of its lease.
	last, cancel := context.WithTimeout(context.WithoutCancel(work), lastTime)
	defer cancel()
	if err := r.meta.EndJob(last, row, end); err != nil && !leaseLost(err) {
		r.log.Error("the end of a job could not be recorded: it is repeated when its lease has ended", "kind", k.Name,
			"key", row.Key, "id", row.ID, "cause", err)
	}
}

// end returns how an attempt with the given error ended. cause is why its context ended.
func (k *Kind) end(row meta.Job, err, cause error, now time.Time) meta.JobEnd {
	next := meta.JobEnd{State: meta.JobQueued, Due: now.Add(jitter(k.Every)), Reset: true}
	switch {
	case err == nil && k.Every > 0:
		return next
	case err == nil:
		return meta.JobEnd{State: meta.JobDone, Forget: k.Forget}
	case errors.Is(cause, errStopping):
		return meta.JobEnd{State: meta.JobQueued, Due: now, Paused: true, Error: row.Error}
	case errors.Is(cause, errCanceled):
		if next.Error = "canceled"; k.Every > 0 {
			return next
		}
		return meta.JobEnd{State: meta.JobCanceled, Error: "canceled"}
	case errors.Is(cause, errIdle):
		err = cause
	}
	out := meta.JobEnd{State: meta.JobQueued, Error: errorText(row, err), Failed: true}
	var p permanent
	if errors.As(err, &p) || k.Attempts > 0 && row.Attempts+1 >= k.Attempts {
		if k.Every == 0 {
			out.State = meta.JobFailed
			return out
		}
	}
	pause := PauseAfter(k.Pause, k.MaxPause, row.Attempts+1)
	var a after
	if errors.As(err, &a) {
		pause = max(pause, min(a.pause, maxAfter))
	}
	if k.Every > 0 {
		pause = min(pause, k.Every)
	}
	out.Due = now.Add(pause)
	return out
}

// jitter returns a time near d, so that the schedules of processes do not run at the same moments for ever.
func jitter(d time.Duration) time.Duration {
	if d == 0 {
		return 0
	}
	return d - d/20 + rand.N(d/10+1)
}

// errorText returns the text of an error for people who may see the job: all of it for the operator, to whom the jobs of the
// installation are shown, and what may be published for those of an account.
func errorText(row meta.Job, err error) string {
	e := fault.From(err)
	switch {
	case e.Code != fault.Internal:
		return e.Code.String() + ": " + e.Public
	case row.Account == "":
		return err.Error()
	}
	return "internal error: the log of the server has the cause"
}

// renew extends the leases of the jobs that run, and ends the attempts that lost theirs or make no progress.
func (r *Runner) renew(ctx context.Context) {
	for _, k := range r.kinds {
		k.mu.Lock()
		running := slices.Collect(maps.Values(k.running))
		k.mu.Unlock()
		for _, j := range running {
			j.mu.Lock()
			row, held, saved := j.row, j.held, j.saved
			j.mu.Unlock()
			if time.Since(saved) > k.Idle {
				j.end(errIdle)
				continue
			}
			if err := j.renew(ctx, row); err != nil && time.Now().After(held) {
				j.end(errLost)
			}
		}
	}
}

// schedule enqueues the jobs of the schedules that have none.
func (r *Runner) schedule(ctx context.Context, start bool) {
	for _, k := range r.kinds {
		if k.Every == 0 {
			continue
		}
		job := meta.NewJob{Kind: k.Name, Input: `{}`, Due: r.now().Add(rand.N(k.Every/10 + 1))}
		if k.Own {
			job.Key, job.Node = r.meta.Node(), r.meta.Node()
		}
		if start && k.AtStart {
			job.Due = r.now()
		}
		if err := r.meta.Schedule(ctx, job, r.now().Add(k.Every+k.Every/10), start && k.AtStart); err != nil {
			r.kept(ctx, err)
		}
	}
}

// measure stores the state of the queues for Stats.
func (r *Runner) measure(ctx context.Context) {
	for _, k := range r.kinds {
		q, err := r.meta.JobQueue(ctx, k.Name)
		if err != nil {
			r.kept(ctx, err)
			return
		}
		k.mu.Lock()
		if k.stats.Live, k.stats.Age = q.Live, 0; !q.Oldest.IsZero() {
			k.stats.Age = max(0, r.now().Sub(q.Oldest))
		}
		k.mu.Unlock()
	}
}

// hasten makes jobs due that no pause explains: the clock was ahead, by more than the longest pause, when they were queued or leased.
// After the time of a lease they are due, for a process that still works on one has renewed its lease by then.
func (r *Runner) hasten(ctx context.Context) {
	for _, k := range r.kinds {
		longest := max(maxAfter, k.MaxPause, k.Every+k.Every/5) + time.Hour
		n, err := r.meta.HastenJobs(ctx, k.Name, r.now().Add(longest), r.now().Add(r.lease))
		if err != nil {
			r.kept(ctx, err)
			return
		}
		if n > 0 {
			r.log.WarnContext(ctx, "jobs were due long after now: the clock was ahead, or is behind", "kind", k.Name, "jobs", n)
		}
	}
}

// sweep deletes jobs that ended long ago.
func (r *Runner) sweep(ctx context.Context) {
	for {
		n, err := r.meta.DeleteEndedJobs(ctx, r.now().Add(-keptDone), keptPage)
		if err != nil {
			r.kept(ctx, err)
		}
		if err != nil || n < keptPage {
			return
		}
	}
}

func leaseLost(err error) bool { return errors.Is(err, fault.JobLeaseLost) }
