package ecrin

import (
	"context"
	"errors"
	"strconv"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/op/ecr"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// jobStates are the names of the states of jobs.
var jobStates = map[meta.JobState]string{
	meta.JobQueued: "QUEUED", meta.JobRunning: "RUNNING", meta.JobDone: "DONE", meta.JobFailed: "FAILED", meta.JobCanceled: "CANCELED",
}

// maxJobsRead limits the jobs that one page of ListJobs reads, so that a page has fewer than it may have, or none, if few of them have
// the wanted kind and state.
const maxJobsRead = 1000

// OnJobs resolves whose jobs are listed: those of an account; for the operator those of the account in the request, or all.
func OnJobs(s *Service, ctx context.Context, req guard.Request, in *ecrintypes.ListJobsRequest) (guard.Target[Trails], error) {
	of, err := OnAccount(s, ctx, req, in)
	t := guard.Target[Trails]{Value: trailsOf(req, in.AccountId), Asks: of.Asks}
	if err == nil && t.Value.Account == "" {
		t.Asks[0].Owner, t.Asks[0].Resource = guard.Unowned, "*"
	}
	return t, err
}

// ListJobs lists jobs of the background work, the last created first, by pages. Jobs that ended more than a week ago are not kept.
//
// Errors: fault.InvalidParameter (nextToken).
func (s *Service) ListJobs(ctx context.Context, _ identity.Caller, of Trails, in *ecrintypes.ListJobsRequest) (*ecrintypes.ListJobsResponse,
	error) {
	scope, below := "ListJobs "+of.Account, int64(0)
	if in.NextToken != "" {
		if err := s.resume(scope, in.NextToken, &below); err != nil {
			return nil, err
		}
	}
	limit := pageSize(in.MaxResults, 100)
	rows, err := s.meta.Jobs(ctx, of.Account, below, maxJobsRead+1)
	if err != nil {
		return nil, err
	}
	out := &ecrintypes.ListJobsResponse{Jobs: []ecrintypes.Job{}}
	for i, j := range rows {
		if i == maxJobsRead || len(out.Jobs) == limit {
			out.NextToken = s.pages.Listing(scope).SealJSON(rows[i-1].ID)
			break
		}
		if (in.Kind == "" || in.Kind == j.Kind) && (in.State == "" || string(in.State) == jobStates[j.State]) {
			out.Jobs = append(out.Jobs, jobOf(j))
		}
	}
	return out, nil
}

func jobOf(j meta.Job) ecrintypes.Job {
	out := ecrintypes.Job{
		JobId: strconv.FormatInt(j.ID, 10), Kind: j.Kind, Key: j.Key, AccountId: j.Account, State: ecrintypes.JobState(jobStates[j.State]),
		FailedAttempts: int32(j.Attempts), Done: j.Done, Error: j.Error, Process: j.Worker, CreatedAt: awswire.Time{Time: j.Created},
		StartedAt: awswire.At(j.Started), EndedAt: awswire.At(j.Ended),
	}
	if j.Total > 0 {
		out.Total = &j.Total
	}
	if j.State == meta.JobQueued {
		out.DueAt = awswire.At(j.Due)
	}
	return out
}

// OnJob resolves a job by its id. For callers of other accounts than that of the job, except the operator, the job does not exist.
func OnJob(s *Service, ctx context.Context, req guard.Request, in *ecrintypes.JobRequest) (t guard.Target[meta.Job], err error) {
	id, err := strconv.ParseInt(in.JobId, 10, 64)
	if err != nil {
		return t, ecr.BadMember("JobId", "must be an id of ListJobs")
	}
	j, err := s.meta.Job(ctx, id)
	if err != nil && !errors.Is(err, fault.JobNotFound) {
		return t, err
	}
	ask := guard.Ask{Owner: guard.OwnedBy(req.By.Account), Region: req.Region, Resource: jobARN(req, req.By.Account, in.JobId)}
	operator := req.By.Kind == identity.Operator
	if err == nil && (operator || j.Account != "" && j.Account == req.By.Account.String()) {
		if account, err := name.ParseAccount(j.Account); err == nil {
			ask.Owner, ask.Resource = guard.OwnedBy(account), jobARN(req, account, in.JobId)
		} else {
			ask.Owner, ask.Resource = guard.Unowned, "*"
		}
		return guard.On(j, ask), nil
	}
	if operator {
		ask.Owner, ask.Resource = guard.Unowned, "*"
	}
	t = guard.On(meta.Job{}, ask)
	t.Absent = fault.JobNotFound.New("there is no job with the id %s", in.JobId)
	return t, nil
}

// jobARN returns the ARN of a job of an account.
func jobARN(req guard.Request, account name.Account, id string) string {
	return name.ARN{Partition: req.Region.Partition(), Service: "ecrin", Region: req.Region.String(), Account: account,
		Resource: "job/" + id}.String()
}

// DescribeJob returns a job.
func (s *Service) DescribeJob(_ context.Context, _ identity.Caller, j meta.Job, _ *ecrintypes.JobRequest) (*ecrintypes.JobResponse, error) {
	return &ecrintypes.JobResponse{Job: jobOf(j)}, nil
}

// RetryJob makes a job due now that failed, was canceled, or waits for its next attempt.
//
// Errors: those of meta.Store.RetryJob.
func (s *Service) RetryJob(ctx context.Context, _ identity.Caller, j meta.Job, _ *ecrintypes.JobRequest) (*ecrintypes.JobResponse, error) {
	j, err := s.meta.RetryJob(ctx, j.ID)
	if err != nil {
		return nil, err
	}
	return &ecrintypes.JobResponse{Job: jobOf(j)}, nil
}

// CancelJob cancels a job. One that runs ends within seconds, at the latest when it stores its progress; a schedule runs again at its
// next time.
//
// Errors: those of meta.Store.CancelJob.
func (s *Service) CancelJob(ctx context.Context, _ identity.Caller, j meta.Job, _ *ecrintypes.JobRequest) (*ecrintypes.JobResponse, error) {
	j, err := s.meta.CancelJob(ctx, j.ID)
	if err != nil {
		return nil, err
	}
	return &ecrintypes.JobResponse{Job: jobOf(j)}, nil
}
