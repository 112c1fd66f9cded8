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

// OnDeletedRepositories resolves the registry whose deleted repositories are listed.
func OnDeletedRepositories(s *Service, _ context.Context, req guard.Request,
	in *ecrintypes.ListDeletedRepositoriesRequest) (guard.Target[ecr.Registry], error) {
	at, err := s.registryOf(req, in.RegistryId)
	return guard.On(at, guard.Ask{Owner: guard.OwnedBy(at.Account), Region: at.Region, Resource: at.RepositoryARN("*")}), err
}

// Restored is a deleted repository and the name that it gets.
type Restored struct {
	Repository meta.DeletedRepository
	As         name.Repo
}

// OnRestoredRepository resolves a deleted repository by its id, under the name that it gets.
//
// Errors: fault.InvalidParameter (the id).
func OnRestoredRepository(s *Service, ctx context.Context, req guard.Request,
	in *ecrintypes.RestoreRepositoryRequest) (t guard.Target[Restored], err error) {
	at, err := s.registryOf(req, in.RegistryId)
	if err != nil {
		return t, err
	}
	id, err := strconv.ParseInt(in.RepositoryId, 10, 64)
	if err != nil {
		return t, ecr.BadMember("repositoryId", "must be a number of ListDeletedRepositories")
	}
	var v Restored
	if in.RepositoryName != "" {
		if v.As, err = name.ParseRepo(in.RepositoryName); err != nil {
			return t, err
		}
	}
	v.Repository, err = s.meta.DeletedRepository(ctx, at.Registry, id)
	if err != nil && !errors.Is(err, fault.RepositoryNotFound) {
		return t, err
	}
	if v.As == (name.Repo{}) {
		v.As = v.Repository.Name
	}
	t = guard.On(v, guard.Ask{Owner: guard.OwnedBy(at.Account), Region: at.Region, Resource: at.RepositoryARN(v.As.String())})
	t.Absent = err
	return t, nil
}

// ListDeletedRepositories lists the deleted repositories of a registry, the last created first, by pages.
//
// Errors: fault.InvalidParameter (nextToken).
func (s *Service) ListDeletedRepositories(ctx context.Context, _ identity.Caller, r ecr.Registry,
	in *ecrintypes.ListDeletedRepositoriesRequest) (*ecrintypes.ListDeletedRepositoriesResponse, error) {
	scope, below := "ListDeletedRepositories "+r.Registry.String(), int64(0)
	if err := s.resume(scope, in.NextToken, &below); err != nil {
		return nil, err
	}
	limit := pageSize(in.MaxResults, 100)
	rows, err := s.meta.DeletedRepositories(ctx, r.Registry, below, limit+1)
	if err != nil {
		return nil, err
	}
	out := &ecrintypes.ListDeletedRepositoriesResponse{Repositories: []ecrintypes.DeletedRepository{}}
	if len(rows) > limit {
		rows = rows[:limit]
		out.NextToken = s.pages.Listing(scope).SealJSON(rows[limit-1].ID)
	}
	for _, d := range rows {
		out.Repositories = append(out.Repositories, ecrintypes.DeletedRepository{
			RepositoryId: strconv.FormatInt(d.ID, 10), RepositoryName: d.Name.String(), CreatedAt: awswire.Time{Time: d.CreatedAt},
			DeletedAt: awswire.Time{Time: d.DeletedAt},
		})
	}
	return out, nil
}

// RestoreRepository takes back the deletion of a repository.
//
// Errors: those of meta.Store.RestoreRepository.
func (s *Service) RestoreRepository(ctx context.Context, _ identity.Caller, v Restored,
	_ *ecrintypes.RestoreRepositoryRequest) (*ecrintypes.RestoreRepositoryResponse, error) {
	if err := s.meta.RestoreRepository(ctx, v.Repository.Repository, v.As); err != nil {
		return nil, err
	}
	return &ecrintypes.RestoreRepositoryResponse{RepositoryName: v.As.String()}, nil
}
