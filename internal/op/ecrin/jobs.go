package ecrin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/core/events"
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
	if err := s.resume(scope, in.NextToken, &below); err != nil {
		return nil, err
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
			one, err := s.jobOf(ctx, j)
			if err != nil {
				return nil, err
			}
			out.Jobs = append(out.Jobs, one)
		}
	}
	return out, nil
}

func (s *Service) jobOf(ctx context.Context, j meta.Job) (ecrintypes.Job, error) {
	about, err := s.about(ctx, j)
	if err != nil {
		return ecrintypes.Job{}, err
	}
	out := ecrintypes.Job{
		JobId: strconv.FormatInt(j.ID, 10), Kind: j.Kind, Key: j.Key, About: about, AccountId: j.Account,
		State:          ecrintypes.JobState(jobStates[j.State]),
		FailedAttempts: int32(j.Attempts), Done: j.Done, Error: j.Error, Process: j.Worker, CreatedAt: awswire.Time{Time: j.Created},
		StartedAt: awswire.At(j.Started), EndedAt: awswire.At(j.Ended),
	}
	if j.Total > 0 {
		out.Total = &j.Total
	}
	if j.Kind == meta.SendKind && j.Total > 0 {
		var at meta.SendPlace
		if err := json.Unmarshal([]byte(j.Place), &at); err != nil {
			return ecrintypes.Job{}, fmt.Errorf("reading the progress of job %d: %w", j.ID, err)
		}
		out.Transfer = &ecrintypes.JobTransfer{LayersDone: at.Layers, LayersTotal: at.Of, BytesDone: j.Done, BytesTotal: j.Total,
			BytesSent: at.Sent}
	}
	if j.State == meta.JobQueued {
		out.DueAt = awswire.At(j.Due)
	}
	return out, nil
}

// about returns what a job is about in names that the owner of the account has given: a repository with its region, an image and where it
// is copied to, a webhook. It is "" for jobs of the installation, and if the object was deleted.
func (s *Service) about(ctx context.Context, j meta.Job) (text string, err error) {
	id, _ := strconv.ParseInt(j.Key, 10, 64) // those that have names below have such a key
	switch j.Kind {
	case meta.LifecycleJob, meta.LifecyclePreviewJob:
		text, err = s.repositoryName(ctx, id)
	case meta.ReplicationKind:
		var in meta.ReplicationInput
		if err := json.Unmarshal([]byte(j.Input), &in); err != nil {
			return "", fmt.Errorf("reading the input of job %d: %w", j.ID, err)
		}
		if text, err = s.repositoryName(ctx, in.Repository); text != "" {
			text += "@" + in.Digest + " to " + in.Account + "/" + in.Region
		}
	case meta.SendKind:
		text, err = s.aboutSend(ctx, j)
	case meta.BackfillKind:
		var b meta.Backfill
		if b, err = s.meta.BackfillByID(ctx, id); err == nil {
			text = b.From.Region.String() + " to " + b.To.String()
		}
	case events.WebhookKind:
		var w meta.Webhook
		if w, err = s.meta.WebhookByID(ctx, id); err == nil {
			text = w.Registry.Region.String() + " " + w.Name
		}
	}
	if errors.Is(err, fault.RepositoryNotFound) || errors.Is(err, fault.WebhookNotFound) || errors.Is(err, fault.BackfillNotFound) ||
		errors.Is(err, fault.IntegrationNotFound) {
		return "", nil
	}
	return text, err
}

// aboutSend returns what a copy to another installation is about.
func (s *Service) aboutSend(ctx context.Context, j meta.Job) (string, error) {
	var in meta.SendInput
	if err := json.Unmarshal([]byte(j.Input), &in); err != nil {
		return "", fmt.Errorf("reading the input of job %d: %w", j.ID, err)
	}
	text, err := s.repositoryName(ctx, in.Repository)
	if err != nil {
		return "", err
	}
	i, err := s.meta.IntegrationByID(ctx, in.Integration)
	if err != nil {
		return "", err
	}
	text += "@" + in.Digest + " by " + i.Name + " to " + in.To
	if len(in.Tags) > 0 {
		text += ":" + strings.Join(in.Tags, ",")
	}
	return text, nil
}

func (s *Service) repositoryName(ctx context.Context, id int64) (string, error) {
	r, err := s.meta.RepositoryByID(ctx, id)
	if err != nil {
		return "", err
	}
	return r.Registry.Region.String() + " " + r.Name.String(), nil
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
func (s *Service) DescribeJob(ctx context.Context, _ identity.Caller, j meta.Job, _ *ecrintypes.JobRequest) (*ecrintypes.JobResponse,
	error) {
	out, err := s.jobOf(ctx, j)
	return &ecrintypes.JobResponse{Job: out}, err
}

// RetryJob makes a job due now that failed, was canceled, or waits for its next attempt.
//
// Errors: those of meta.Store.RetryJob.
func (s *Service) RetryJob(ctx context.Context, by identity.Caller, j meta.Job, in *ecrintypes.JobRequest) (*ecrintypes.JobResponse,
	error) {
	j, err := s.meta.RetryJob(ctx, j.ID)
	if err != nil {
		return nil, err
	}
	return s.DescribeJob(ctx, by, j, in)
}

// CancelJob cancels a job. One that runs ends within seconds, at the latest when it stores its progress; a schedule runs again at its
// next time.
//
// Errors: those of meta.Store.CancelJob.
func (s *Service) CancelJob(ctx context.Context, by identity.Caller, j meta.Job, in *ecrintypes.JobRequest) (*ecrintypes.JobResponse,
	error) {
	j, err := s.meta.CancelJob(ctx, j.ID)
	if err != nil {
		return nil, err
	}
	return s.DescribeJob(ctx, by, j, in)
}
