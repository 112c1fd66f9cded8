package ecr

import (
	"context"
	"slices"
	"strconv"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrtypes"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// OnBackfills resolves the registry of replication backfills.
func OnBackfills[In interface{ GetRegistryId() string }](_ *Service, _ context.Context, req guard.Request,
	in In) (guard.Target[Registry], error) {
	at, err := RegistryOf(req, in.GetRegistryId())
	return guard.On(at, guard.Ask{Owner: guard.OwnedBy(at.Account), Region: req.Region, Resource: "*"}), err
}

// StartReplicationBackfill starts to copy what the replication rules select now to one of their destinations.
//
// Errors: fault.InvalidParameter (no rule has the destination), and those of meta.Store.StartBackfill. Source: ECR API reference,
// StartReplicationBackfill.
func (s *Service) StartReplicationBackfill(ctx context.Context, _ identity.Caller, t Registry,
	in *ecrtypes.StartReplicationBackfillRequest) (*ecrtypes.StartReplicationBackfillResponse, error) {
	to, err := destination(t.Registry, in.Destination)
	if err != nil {
		return nil, err
	}
	rules, err := s.meta.ReplicationRules(ctx, t.Registry)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(rules, func(r meta.ReplicationRule) bool { return slices.Contains(r.Destinations, to) }) {
		return nil, BadMember("destination", "The destination must be one of the replication configuration of the registry")
	}
	b, err := s.meta.StartBackfill(ctx, t.Registry, to)
	if err != nil {
		return nil, err
	}
	return &ecrtypes.StartReplicationBackfillResponse{ReplicationBackfillId: backfillID(b), RegistryId: t.Account.String(),
		Destination: &in.Destination, Status: meta.BackfillStatuses[b.Status], StartedAt: awswire.At(b.StartedAt)}, nil
}

func backfillID(b meta.Backfill) string { return strconv.FormatInt(b.ID, 10) }

// parseBackfillID parses the id of a backfill. An id that cannot be one belongs to no backfill.
func parseBackfillID(text string) (int64, error) {
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fault.BackfillNotFound.New("The replication backfill '%s' does not exist", name.Clip(text))
	}
	return id, nil
}

// StopReplicationBackfill stops a backfill. What it has copied stays.
//
// Errors: those of meta.Store.StopBackfill. Source: ECR API reference, StopReplicationBackfill.
func (s *Service) StopReplicationBackfill(ctx context.Context, _ identity.Caller, t Registry,
	in *ecrtypes.StopReplicationBackfillRequest) (*ecrtypes.StopReplicationBackfillResponse, error) {
	id, err := parseBackfillID(in.ReplicationBackfillId)
	if err != nil {
		return nil, err
	}
	b, err := s.meta.StopBackfill(ctx, t.Registry, id)
	if err != nil {
		return nil, err
	}
	return &ecrtypes.StopReplicationBackfillResponse{RegistryId: t.Account.String(), ReplicationBackfillId: backfillID(b),
		Destination: backfillDestination(b), Status: meta.BackfillStatuses[b.Status], StartedAt: awswire.At(b.StartedAt)}, nil
}

func backfillDestination(b meta.Backfill) *ecrtypes.ReplicationDestination {
	return &ecrtypes.ReplicationDestination{Region: b.To.Region.String(), RegistryId: b.To.Account.String()}
}

// backfillProgress returns the counts of a backfill, nil while it is prepared.
func backfillProgress(b meta.Backfill) *ecrtypes.ReplicationBackfillProgress {
	if b.Status == meta.BackfillPreparing {
		return nil
	}
	codes := b.Codes
	if codes == nil {
		codes = []string{}
	}
	return &ecrtypes.ReplicationBackfillProgress{TotalReplicationCount: int32(b.Total), CompletedReplicationCount: int32(b.Completed),
		FailedReplicationCount: int32(b.Failed), FailureCodes: codes}
}

// ListReplicationBackfills lists the backfills of a registry, the last started first, by pages.
//
// Source: ECR API reference, ListReplicationBackfills.
func (s *Service) ListReplicationBackfills(ctx context.Context, _ identity.Caller, t Registry,
	in *ecrtypes.ListReplicationBackfillsRequest) (*ecrtypes.ListReplicationBackfillsResponse, error) {
	scope := "backfills " + t.Registry.String()
	var below int64
	if err := s.resume(scope, in.NextToken, &below); err != nil {
		return nil, err
	}
	limit := pageSize(in.MaxResults, 25)
	rows, err := s.meta.Backfills(ctx, t.Registry, below, limit+1)
	if err != nil {
		return nil, err
	}
	out := &ecrtypes.ListReplicationBackfillsResponse{RegistryId: t.Account.String(), Backfills: []ecrtypes.ReplicationBackfillSummary{}}
	if len(rows) > limit {
		rows = rows[:limit]
		out.NextToken = s.pages.Listing(scope).SealJSON(rows[limit-1].ID)
	}
	for _, b := range rows {
		out.Backfills = append(out.Backfills, ecrtypes.ReplicationBackfillSummary{ReplicationBackfillId: backfillID(b),
			Destination: *backfillDestination(b), Status: meta.BackfillStatuses[b.Status], StartedAt: awswire.Time{Time: b.StartedAt},
			FailureCode: b.Code, Progress: backfillProgress(b), EndedAt: awswire.At(b.EndedAt)})
	}
	return out, nil
}

// resultStatuses are the statuses of results by their names.
var resultStatuses = map[ecrtypes.ReplicationBackfillResultStatus]meta.BackfillStatus{
	"": 0, ecrtypes.ReplicationBackfillResultStatusCOMPLETE: meta.BackfillComplete,
	ecrtypes.ReplicationBackfillResultStatusFAILED: meta.BackfillFailed,
}

// DescribeReplicationBackfillResults describes a backfill and, after its end, lists the results of its images by pages.
//
// Errors: fault.BackfillNotFound. Source: ECR API reference, DescribeReplicationBackfillResults.
func (s *Service) DescribeReplicationBackfillResults(ctx context.Context, _ identity.Caller, t Registry,
	in *ecrtypes.DescribeReplicationBackfillResultsRequest) (*ecrtypes.DescribeReplicationBackfillResultsResponse, error) {
	id, err := parseBackfillID(in.ReplicationBackfillId)
	if err != nil {
		return nil, err
	}
	b, err := s.meta.Backfill(ctx, t.Registry, id)
	if err != nil {
		return nil, err
	}
	out := &ecrtypes.DescribeReplicationBackfillResultsResponse{RegistryId: t.Account.String(), ReplicationBackfillId: backfillID(b),
		Destination: backfillDestination(b), Status: meta.BackfillStatuses[b.Status], FailureCode: b.Code, Progress: backfillProgress(b),
		Results: []ecrtypes.ReplicationBackfillResult{}, StartedAt: awswire.At(b.StartedAt), EndedAt: awswire.At(b.EndedAt)}
	if !b.Status.Ended() {
		return out, nil
	}
	scope := "backfill " + backfillID(b) + " " + string(in.ResultStatusFilter)
	var after meta.BackfillResult
	if err := s.resume(scope, in.NextToken, &after); err != nil {
		return nil, err
	}
	limit := pageSize(in.MaxResults, 100)
	rows, err := s.meta.BackfillResults(ctx, id, resultStatuses[in.ResultStatusFilter], after, limit+1)
	if err != nil {
		return nil, err
	}
	if len(rows) > limit {
		rows = rows[:limit]
		out.NextToken = s.pages.Listing(scope).SealJSON(rows[limit-1])
	}
	for _, r := range rows {
		one := ecrtypes.ReplicationBackfillResult{RepositoryName: r.Repository, FailureCode: r.Code,
			ImageId: ecrtypes.ImageIdentifier{ImageDigest: r.Digest, ImageTag: r.Tag}, Status: ecrtypes.ReplicationBackfillResultStatusCOMPLETE}
		if r.Code != "" {
			one.Status = ecrtypes.ReplicationBackfillResultStatusFAILED
		}
		out.Results = append(out.Results, one)
	}
	return out, nil
}
