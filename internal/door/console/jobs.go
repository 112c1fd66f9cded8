package console

import (
	"net/http"
	"strconv"
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

// jobKinds are the words for kinds of jobs.
var jobKinds = map[string]string{
	"lifecycle": "Lifecycle", "lifecycle_preview": "Lifecycle preview", "replication": "Replicate", "replication_backfill": "Backfill",
	"replication_arrival": "Replication arrives", "replication_outside": "Replicate to another installation", "image_copy": "Copy image",
	"webhook": "Send events", "collection": "Collect unused blobs", "config_repository": "Sync config repository",
	"pull_through": "Fetch from upstream",
}

// jobStates are the states that the list can be filtered by.
var jobStates = []ecrintypes.JobState{ecrintypes.JobStateQUEUED, ecrintypes.JobStateRUNNING, ecrintypes.JobStateDONE,
	ecrintypes.JobStateFAILED, ecrintypes.JobStateCANCELED}

// jobRow is a piece of background work.
type jobRow struct {
	ID, To, Kind, About, Error string
	State, Icon, Colour        string
	Attempts                   int64
	Share                      string // done, of 100; "" if unknown
	Progress                   string
	Created, Started, Ended    time.Time
	Due                        time.Time
	Process                    string
	Retry, Cancel              bool // it is in a state in which that is possible
}

// jobsView is the list of jobs.
type jobsView struct {
	State, Kind string
	States      []link
	Rows        []jobRow
	Pager       pager
	Denied      *trouble
	Look        string // the address that has the list of then; "" if nothing is going on
	Pause       int    // seconds
	Active      int64
}

// jobPauses are the seconds between two looks of the list at the jobs: a page that stays open asks less and less.
var jobPauses = []int{2, 2, 3, 5, 10, 20, 30, 60}

func jobOf(x *request, j ecrintypes.Job) jobRow {
	r := jobRow{ID: j.JobId, To: x.base() + "/jobs/" + pathOf(j.JobId), Kind: jobKinds[j.Kind], About: j.About, Error: j.Error,
		State: lower(string(j.State)), Attempts: int64(j.FailedAttempts), Created: j.CreatedAt.Time, Started: timeOf(j.StartedAt),
		Ended: timeOf(j.EndedAt), Due: timeOf(j.DueAt), Process: j.Process}
	if r.Kind == "" {
		r.Kind = j.Kind
	}
	if r.About == "" {
		r.About = j.Key
	}
	switch j.State {
	case ecrintypes.JobStateRUNNING:
		r.Icon, r.Colour, r.Cancel = "run", "acc", true
	case ecrintypes.JobStateQUEUED:
		r.Icon, r.Colour, r.Cancel, r.Retry = "clock", "off", true, j.FailedAttempts > 0
		if j.FailedAttempts > 0 {
			r.Icon, r.Colour, r.State = "warn", "warn", "waits for another try"
		}
	case ecrintypes.JobStateDONE:
		r.Icon, r.Colour = "ok", "ok"
	case ecrintypes.JobStateFAILED:
		r.Icon, r.Colour, r.Retry = "bad", "bad", true
	case ecrintypes.JobStateCANCELED:
		r.Icon, r.Colour, r.Retry = "skip", "off", true
	}
	if total := sizeOf(j.Total); total > 0 {
		r.Share = number(min(100*float64(j.Done)/float64(total), 100))
		r.Progress = count(j.Done) + " of " + count(total)
	} else if j.Done > 0 {
		r.Progress = count(j.Done) + " done"
	}
	if t := j.Transfer; t != nil {
		r.Progress = size(t.BytesDone) + " of " + size(t.BytesTotal) + ", " + size(t.BytesSent) + " sent"
	}
	return r
}

// jobRows lists jobs.
func (x *request) jobRows(in *ecrintypes.ListJobsRequest) (all []jobRow, next string, err error) {
	out, err := do[ecrintypes.ListJobsResponse](x, "ecrin", "ListJobs", in)
	if err != nil {
		return nil, "", err
	}
	for _, j := range out.Jobs {
		all = append(all, jobOf(x, j))
	}
	return all, out.NextToken, nil
}

// jobsPage lists the background work of the account, the newest first. While some of it is not done, the list loads itself again.
func (x *request) jobsPage() error {
	q := x.r.URL.Query()
	v := jobsView{State: q.Get("state"), Kind: q.Get("kind")}
	in := &ecrintypes.ListJobsRequest{AccountId: x.account.String(), Kind: v.Kind, NextToken: q.Get("after"),
		MaxResults: some[int32](pageSize)}
	v.States = append(v.States, link{Text: "All", To: x.query("state", "", "after", "", "part", "", "n", ""), Here: v.State == "", Count: -1})
	for _, s := range jobStates {
		if v.State == lower(string(s)) {
			in.State = s
		}
		v.States = append(v.States, link{Text: capital(lower(string(s))), To: x.query("state", lower(string(s)), "after", "", "part", "", "n",
			""),
			Here: v.State == lower(string(s)), Count: -1})
	}
	rows, next, err := x.jobRows(in)
	if err != nil {
		if x.status(err) != http.StatusForbidden {
			return err
		}
		v.Denied = x.troubleOf(err)
	}
	v.Rows = rows
	text := many(int64(len(rows)), "job", "jobs") + ", newest first; what ended more than a week ago is gone"
	v.Pager = pager{Text: text}
	if q.Get("after") != "" {
		v.Pager.First = x.query("after", "", "part", "", "n", "")
	}
	if next != "" {
		v.Pager.Next = x.query("after", next, "part", "", "n", "")
	}
	for _, r := range rows {
		if r.Cancel {
			v.Active++
		}
	}
	if v.Active > 0 {
		n, _ := strconv.Atoi(q.Get("n"))
		n = min(max(n, 0), len(jobPauses)-1)
		v.Pause, v.Look = jobPauses[n], x.query("part", "jobs", "n", strconv.Itoa(n+1))
	}
	return x.render(http.StatusOK, "jobs", &view{Title: "Jobs", Section: "jobs", Main: v})
}

// jobView is one job.
type jobView struct {
	jobRow
	Rights map[string]right
	At     string
	Look   string
	Pause  int
}

// jobPage shows one job, while it runs with its progress.
func (x *request) jobPage() error {
	out, err := do[ecrintypes.JobResponse](x, "ecrin", "DescribeJob", &ecrintypes.JobRequest{JobId: x.at["id"]})
	if err != nil {
		return err
	}
	v := jobView{jobRow: jobOf(x, out.Job), At: x.r.URL.EscapedPath()}
	if v.Rights, err = x.may("", "ecrin:RetryJob", "ecrin:CancelJob"); err != nil {
		return err
	}
	if v.Cancel {
		n, _ := strconv.Atoi(x.r.URL.Query().Get("n"))
		n = min(max(n, 0), len(jobPauses)-1)
		v.Pause, v.Look = jobPauses[n], v.At+"?"+values("part", "job", "n", strconv.Itoa(n+1))
	}
	return x.render(http.StatusOK, "job", &view{Title: v.Kind, Section: "jobs", Main: v, Crumbs: []link{{Text: "Jobs", To: x.base() +
		"/jobs"}}})
}

// onJob tries a job again or cancels it.
func (x *request) onJob() error {
	in := &ecrintypes.JobRequest{JobId: x.at["id"]}
	to := x.base() + "/jobs/" + pathOf(x.at["id"])
	switch x.form.Get("do") {
	case "retry":
		if err := act(x, "ecrin", "RetryJob", in); err != nil {
			return err
		}
		return x.done(to, "The job is tried again.")
	case "cancel":
		if err := act(x, "ecrin", "CancelJob", in); err != nil {
			return err
		}
		return x.done(to, "The job was canceled.")
	}
	return errNothing
}
