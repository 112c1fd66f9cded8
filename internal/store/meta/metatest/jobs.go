package metatest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// farAway is after every time of a store in these tests.
var farAway = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)

func enqueue(fx *Fixture, kind, key, account string) {
	fx.Helper()
	fx.Must(fx.Enqueue(fx.Ctx, meta.NewJob{Kind: kind, Key: key, Account: account, Input: `{}`}))
}

// lease leases jobs of a kind and wants those with the given keys.
func lease(fx *Fixture, kind string, limit int, long time.Duration, want ...string) []meta.Job {
	fx.Helper()
	all, _, err := fx.LeaseJobs(fx.Ctx, kind, "", limit, long)
	fx.Must(err)
	var keys []string
	for _, j := range all {
		keys = append(keys, j.Key)
	}
	fx.Equal(keys, want, "the leased jobs of %s", kind)
	if len(all) != len(want) {
		fx.FailNow()
	}
	return all
}

func only(fx *Fixture, id int64) meta.Job {
	fx.Helper()
	j, err := fx.Job(fx.Ctx, id)
	fx.Must(err)
	return j
}

func testJobs(fx *Fixture) {
	enqueue(fx, "a", "1", "")
	enqueue(fx, "a", "1", "")
	enqueue(fx, "b", "1", "")
	fx.Must(fx.Enqueue(fx.Ctx, meta.NewJob{Kind: "a", Key: "later", Due: farAway}))
	j := lease(fx, "a", 9, time.Minute, "1")[0]
	lease(fx, "a", 9, time.Minute)
	if j.State != meta.JobRunning || j.Input != `{}` || j.Attempts != 0 || j.Started.IsZero() {
		fx.Errorf("the leased job: got %+v", j)
	}
	j.Place, j.Done, j.Total = `{"after":"x"}`, 3, 7
	stop, err := fx.RenewJob(fx.Ctx, j, time.Minute)
	fx.Must(err)
	if got := only(fx, j.ID); stop || got.Place != j.Place || got.Done != 3 || got.Total != 7 {
		fx.Errorf("the renewed job: got %+v, stop %v", got, stop)
	}
	// A failed attempt that is repeated keeps its place.
	fx.Must(fx.EndJob(fx.Ctx, j, meta.JobEnd{State: meta.JobQueued, Error: strings.Repeat("é", 4000), Failed: true}))
	fx.Want(fx.EndJob(fx.Ctx, j, meta.JobEnd{State: meta.JobDone}), fault.JobLeaseLost, "ending the same attempt twice")
	_, err = fx.RenewJob(fx.Ctx, j, time.Minute)
	fx.Want(err, fault.JobLeaseLost, "renewing an ended attempt")
	again := lease(fx, "a", 9, time.Minute, "1")[0]
	if again.Attempts != 1 || again.Place != j.Place || len(again.Error) != 1024 || strings.Contains(again.Error, "\ufffd") {
		fx.Errorf("the second attempt: got %+v", again)
	}
	fx.Must(fx.EndJob(fx.Ctx, again, meta.JobEnd{State: meta.JobDone, Reset: true}))
	if got := only(fx, j.ID); got.State != meta.JobDone || got.Error != "" || got.Attempts != 0 || got.Place != "" || got.Ended.IsZero() {
		fx.Errorf("the done job: got %+v", got)
	}
	enqueue(fx, "a", "1", "") // the other one has ended
	next := lease(fx, "a", 9, time.Minute, "1")[0]
	if next.ID <= j.ID {
		fx.Errorf("the id of a later job: got %d, want more than %d", next.ID, j.ID)
	}
	fx.Must(fx.EndJob(fx.Ctx, next, meta.JobEnd{State: meta.JobDone, Forget: true}))
	_, err = fx.Job(fx.Ctx, next.ID)
	fx.Want(err, fault.JobNotFound, "a forgotten job")
	fx.Want(fx.Enqueue(fx.Ctx, meta.NewJob{Kind: "a", Key: "large", Input: strings.Repeat("x", 64<<10+1)}), fault.InvalidParameter,
		"a job with a large input")
}

// What changes while a job runs makes it run once more, whether it succeeds or fails for good.
func testJobAgain(fx *Fixture) {
	for _, state := range []meta.JobState{meta.JobDone, meta.JobFailed} {
		kind := fmt.Sprint("k", state)
		enqueue(fx, kind, "1", "")
		j := lease(fx, kind, 9, time.Minute, "1")[0]
		j.Place = `{"after":"x"}`
		enqueue(fx, kind, "1", "")
		enqueue(fx, kind, "1", "")
		lease(fx, kind, 9, time.Minute)
		fx.Must(fx.EndJob(fx.Ctx, j, meta.JobEnd{State: state, Failed: state == meta.JobFailed}))
		once := lease(fx, kind, 9, time.Minute, "1")[0]
		if once.Place != "" || once.Again {
			fx.Errorf("the job that runs once more: got %+v, want it at its beginning", once)
		}
		fx.Must(fx.EndJob(fx.Ctx, once, meta.JobEnd{State: meta.JobDone}))
		lease(fx, kind, 9, time.Minute)
	}
	// A job that waits after a failure does not run earlier because of a change.
	enqueue(fx, "w", "1", "")
	j := lease(fx, "w", 9, time.Minute, "1")[0]
	fx.Must(fx.EndJob(fx.Ctx, j, meta.JobEnd{State: meta.JobQueued, Due: farAway, Failed: true}))
	enqueue(fx, "w", "1", "")
	lease(fx, "w", 9, time.Minute)
	// One that has asked for a later run does, also because of a change while it ran.
	enqueue(fx, "n", "1", "")
	j = lease(fx, "n", 9, time.Minute, "1")[0]
	enqueue(fx, "n", "1", "")
	fx.Must(fx.EndJob(fx.Ctx, j, meta.JobEnd{State: meta.JobQueued, Due: farAway, Reset: true}))
	lease(fx, "n", 9, time.Minute, "1")
}

// A job whose process was killed is leased again when its lease has ended, and that process cannot record anything any more.
func testJobLeaseEnds(fx *Fixture) {
	enqueue(fx, "a", "1", "")
	dead := lease(fx, "a", 1, -time.Second, "1")[0]
	j := lease(fx, "a", 1, time.Minute, "1")[0]
	if j.Attempts != 1 {
		fx.Errorf("attempts after a lease that ended: got %d, want 1", j.Attempts)
	}
	_, err := fx.RenewJob(fx.Ctx, dead, time.Minute)
	fx.Want(err, fault.JobLeaseLost, "renewing a lease that another process has")
	fx.Want(fx.EndJob(fx.Ctx, dead, meta.JobEnd{State: meta.JobDone}), fault.JobLeaseLost, "ending a job that another process has")
	fx.Must(fx.EndJob(fx.Ctx, j, meta.JobEnd{State: meta.JobDone}))
}

func testCancelJob(fx *Fixture) {
	enqueue(fx, "a", "queued", "")
	enqueue(fx, "b", "running", "")
	running := lease(fx, "b", 1, time.Minute, "running")[0]
	all, err := fx.Jobs(fx.Ctx, "", 0, 10)
	fx.Must(err)
	j, err := fx.CancelJob(fx.Ctx, all[1].ID)
	fx.Must(err)
	if j.State != meta.JobCanceled || j.Key != "queued" {
		fx.Errorf("the canceled job: got %+v", j)
	}
	lease(fx, "a", 1, time.Minute)
	_, err = fx.CancelJob(fx.Ctx, j.ID)
	fx.Want(err, fault.JobEnded, "canceling twice")
	_, err = fx.CancelJob(fx.Ctx, 1)
	fx.Want(err, fault.JobNotFound, "canceling no job")
	enqueue(fx, "b", "running", "")
	_, err = fx.CancelJob(fx.Ctx, running.ID)
	fx.Must(err)
	if stop, err := fx.RenewJob(fx.Ctx, running, time.Minute); err != nil || !stop {
		fx.Errorf("renewing a job that is to be canceled: got stop %v, error %v", stop, err)
	}
	_, err = fx.RetryJob(fx.Ctx, running.ID)
	fx.Want(err, fault.JobRunning, "retrying a running job")
	fx.Must(fx.EndJob(fx.Ctx, running, meta.JobEnd{State: meta.JobCanceled}))
	lease(fx, "b", 1, time.Minute)

	_, err = fx.RetryJob(fx.Ctx, running.ID)
	fx.Must(err)
	once := lease(fx, "b", 1, time.Minute, "running")[0]
	fx.Must(fx.EndJob(fx.Ctx, once, meta.JobEnd{State: meta.JobFailed, Failed: true}))
	enqueue(fx, "b", "running", "")
	_, err = fx.RetryJob(fx.Ctx, running.ID)
	fx.Want(err, fault.JobRunning, "retrying a job of which a later one is live")
	later := lease(fx, "b", 1, time.Minute, "running")[0]
	fx.Must(fx.EndJob(fx.Ctx, later, meta.JobEnd{State: meta.JobDone}))
	_, err = fx.RetryJob(fx.Ctx, later.ID)
	fx.Want(err, fault.JobEnded, "retrying a job that is done")
}

// Jobs of one account do not keep those of others waiting, and a process leases only jobs of its own or of any process.
func testJobTurns(fx *Fixture) {
	for i := range 20 {
		enqueue(fx, "a", fmt.Sprintf("m%02d", i), "111122223333")
	}
	enqueue(fx, "a", "n", "444455556666")
	fx.Must(fx.Enqueue(fx.Ctx, meta.NewJob{Kind: "a", Key: "of another process", Account: "000000000000", Node: "elsewhere"}))
	all, next, err := fx.LeaseJobs(fx.Ctx, "a", "", 4, time.Minute)
	fx.Must(err)
	if len(all) != 4 || all[0].Account != "111122223333" || all[1].Key != "n" || next != "" {
		fx.Errorf("leased: got %+v, next %q, want one of each account first", all, next)
	}
	all, next, err = fx.LeaseJobs(fx.Ctx, "a", "1111222233334", 4, time.Minute)
	fx.Must(err)
	if len(all) != 0 || next != "" {
		fx.Errorf("from the second account on: got %d jobs and next %q", len(all), next)
	}
	q, err := fx.JobQueue(fx.Ctx, "a")
	fx.Must(err)
	if q.Live != 22 {
		fx.Errorf("live jobs: got %d, want 22", q.Live)
	}
	now := time.Now()
	fx.Must(fx.Enqueue(fx.Ctx, meta.NewJob{Kind: "ahead", Key: "a", Account: "111122223333", Due: now.AddDate(0, 0, 10)}))
	fx.Must(fx.Enqueue(fx.Ctx, meta.NewJob{Kind: "ahead", Key: "b", Account: "444455556666", Due: now.Add(time.Hour)}))
	n, err := fx.HastenJobs(fx.Ctx, "ahead", now.Add(25*time.Hour), monday) // which is past for the clock of every store
	fx.Must(err)
	fx.Equal(n, 1, "jobs that wait for longer than a day")
	all, _, err = fx.LeaseJobs(fx.Ctx, "ahead", "", 4, time.Minute)
	fx.Must(err)
	if len(all) != 1 || all[0].Key != "a" {
		fx.Errorf("due after that: got %+v, want the one", all)
	}
}

// Several workers never have the same job at once.
func testJobRace(fx *Fixture) {
	for i := range 30 {
		enqueue(fx, "a", fmt.Sprint(i), "")
	}
	var mu sync.Mutex
	var got []string
	var wait sync.WaitGroup
	for range 6 {
		wait.Go(func() {
			for range 10 {
				all, _, err := fx.LeaseJobs(fx.Ctx, "a", "", 3, time.Minute)
				if err != nil {
					fx.Error(err)
					return
				}
				mu.Lock()
				for _, j := range all {
					got = append(got, j.Key)
				}
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	slices.Sort(got)
	if all := len(got); all != 30 || len(slices.Compact(got)) != 30 {
		fx.Errorf("leased %d jobs, of which %d are different: want each of 30 once", all, len(slices.Compact(got)))
	}
}

func testJobList(fx *Fixture) {
	for i := range 5 {
		enqueue(fx, "a", fmt.Sprint(i), []string{"", "111122223333"}[i%2])
	}
	keys := func(account string, below int64, limit int) (all []string, last int64) {
		fx.Helper()
		page, err := fx.Jobs(fx.Ctx, account, below, limit)
		fx.Must(err)
		for _, j := range page {
			all, last = append(all, j.Key), j.ID
		}
		return all, last
	}
	got, last := keys("", 0, 3)
	fx.Equal(got, []string{"4", "3", "2"}, "the first page")
	got, _ = keys("", last, 3)
	fx.Equal(got, []string{"1", "0"}, "the second page")
	got, _ = keys("111122223333", 0, 9)
	fx.Equal(got, []string{"3", "1"}, "the jobs of an account")

	for _, j := range lease(fx, "a", 9, time.Minute, "0", "1", "2", "3", "4")[:3] {
		fx.Must(fx.EndJob(fx.Ctx, j, meta.JobEnd{State: meta.JobDone}))
	}
	n, err := fx.DeleteEndedJobs(fx.Ctx, farAway, 2)
	fx.Must(err)
	m, err := fx.DeleteEndedJobs(fx.Ctx, farAway, 2)
	fx.Must(err)
	if got, _ := keys("", 0, 9); n != 2 || m != 1 || len(got) != 2 {
		fx.Errorf("deleted %d and %d ended jobs, left %q: want 2, 1 and the two that run", n, m, got)
	}
}

// A schedule has one job. One that a clock which jumped has moved far away becomes due in time.
func testSchedule(fx *Fixture) {
	first := meta.NewJob{Kind: "a", Due: farAway}
	fx.Must(fx.Schedule(fx.Ctx, first, farAway, false))
	fx.Must(fx.Schedule(fx.Ctx, meta.NewJob{Kind: "a"}, farAway, false))
	lease(fx, "a", 2, time.Minute)
	early := meta.NewJob{Kind: "a", Due: time.UnixMicro(1)}
	fx.Must(fx.Schedule(fx.Ctx, early, farAway.Add(-time.Hour), false))
	j := lease(fx, "a", 2, time.Minute, "")[0]
	fx.Must(fx.Schedule(fx.Ctx, early, time.UnixMicro(1), true))
	if got := only(fx, j.ID); got.State != meta.JobRunning || !got.Due.After(time.UnixMicro(1)) {
		fx.Errorf("a running job that is scheduled: got %+v, want no change", got)
	}
	fx.Must(fx.EndJob(fx.Ctx, j, meta.JobEnd{State: meta.JobQueued, Due: farAway}))
	fx.Must(fx.Schedule(fx.Ctx, early, farAway, true))
	lease(fx, "a", 2, time.Minute, "")
}
