package ecrin

import (
	"context"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/op/ecr"
)

// OnPullThroughUsage resolves the registry whose pull through cache rules a request asks about.
func OnPullThroughUsage(s *Service, _ context.Context, req guard.Request, in *ecrintypes.ListPullThroughUsageRequest) (
	guard.Target[ecr.Registry], error) {
	at, err := s.registryOf(req, in.RegistryId)
	return guard.On(at, guard.Ask{Owner: guard.OwnedBy(at.Account), Region: at.Region, Resource: at.RepositoryARN("*")}), err
}

// ListPullThroughUsage tells what each pull through cache rule of a registry did in the last 30 days, as far as it did something: how many
// manifests and layers were stored, and were fetched; how many were served although the other registry failed; the bytes that were not
// fetched again; and how often the other registry answered that too much is asked for. Numbers appear after up to half a minute.
func (s *Service) ListPullThroughUsage(ctx context.Context, _ identity.Caller, r ecr.Registry, _ *ecrintypes.ListPullThroughUsageRequest) (
	*ecrintypes.ListPullThroughUsageResponse, error) {
	since := s.now().UTC().Truncate(24*time.Hour).AddDate(0, 0, -29)
	rows, err := s.meta.CacheCounts(ctx, r.Registry, since)
	if err != nil {
		return nil, err
	}
	out := &ecrintypes.ListPullThroughUsageResponse{StartTime: *awswire.At(since), Rules: []ecrintypes.PullThroughUsage{}}
	for _, d := range rows {
		one := ecrintypes.PullThroughUsage{EcrRepositoryPrefix: d.Prefix, Hits: d.Hits, Misses: d.Misses, StaleHits: d.Stale,
			SavedBytes: d.Saved, FetchedBytes: d.Fetched, LimitReached: d.Limited}
		if !d.LimitedAt.IsZero() {
			one.LimitReachedAt = awswire.At(d.LimitedAt)
		}
		out.Rules = append(out.Rules, one)
	}
	return out, nil
}
