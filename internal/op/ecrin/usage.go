package ecrin

import (
	"context"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/op/ecr"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
)

// maxUsageBlobs limits the blobs that one page of ListRepositoryUsage reads, and usageStep those of one query.
const (
	maxUsageBlobs = 20_000
	usageStep     = 1000
)

// usagePlace is where a listing of usage continues.
type usagePlace struct {
	After  string     // the name of the last repository that is complete
	Digest string     // of the last blob that was read of the next one
	Sum    meta.Usage // of that one
}

// OnUsage resolves the registry whose repositories are measured.
func OnUsage(s *Service, _ context.Context, req guard.Request,
	in *ecrintypes.ListRepositoryUsageRequest) (guard.Target[ecr.Registry], error) {
	at, err := s.registryOf(req, in.RegistryId)
	return guard.On(at, guard.Ask{Owner: guard.OwnedBy(at.Account), Region: at.Region, Resource: at.RepositoryARN("*")}), err
}

// ListRepositoryUsage tells how many bytes the repositories of a registry hold, by pages, in the order of their names. A page can have
// fewer repositories than it may have, or none, because it reads at most 20,000 blobs.
//
// Errors: fault.InvalidParameter (nextToken).
func (s *Service) ListRepositoryUsage(ctx context.Context, _ identity.Caller, r ecr.Registry,
	in *ecrintypes.ListRepositoryUsageRequest) (*ecrintypes.ListRepositoryUsageResponse, error) {
	scope := "ListRepositoryUsage " + r.Registry.String()
	var at usagePlace
	if err := s.resume(scope, in.NextToken, &at); err != nil {
		return nil, err
	}
	out := &ecrintypes.ListRepositoryUsageResponse{Repositories: []ecrintypes.RepositoryUsage{}}
	read := 0
	for len(out.Repositories) < pageSize(in.MaxResults, 100) && read < maxUsageBlobs {
		repo, found, err := s.meta.NextRepository(ctx, r.Registry, at.After)
		if err != nil || !found {
			return out, err
		}
		before := at.Sum.Blobs
		if at.Digest, err = s.meta.AddUsage(ctx, repo, at.Digest, usageStep, &at.Sum); err != nil {
			return nil, err
		}
		if read += 1 + at.Sum.Blobs - before; at.Digest != "" {
			continue
		}
		images, err := s.meta.CountImages(ctx, repo.ID)
		if err != nil {
			return nil, err
		}
		out.Repositories = append(out.Repositories, ecrintypes.RepositoryUsage{
			RepositoryName: repo.Name.String(), Images: int32(images), Blobs: int32(at.Sum.Blobs), OwnBytes: at.Sum.Own,
			SharedBytes: at.Sum.Shared, KeptBytes: at.Sum.Kept, UnusedBytes: at.Sum.Unused,
		})
		at = usagePlace{After: repo.Name.String()}
	}
	out.NextToken = s.pages.Listing(scope).SealJSON(at)
	return out, nil
}
