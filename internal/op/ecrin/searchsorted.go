package ecrin

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/op/ecr"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// searchKeys are the values of sortBy besides NAME, which is the default.
var searchKeys = map[string]meta.SearchKey{"SIZE": meta.BySize, "IMAGES": meta.ByImages, "PUSHED": meta.ByPush, "PULLED": meta.ByPull}

// orderOf returns the order of a request, and whether it is that of names. Other orders are descending if the request does not say.
//
// Errors: fault.InvalidParameter (sortOrder).
func orderOf(key string, order ecrintypes.SortOrder) (o meta.SearchOrder, byName bool, err error) {
	o.Ascending = order == ecrintypes.SortOrderASCENDING
	k, known := searchKeys[key]
	if o.Key = k; !known && order == ecrintypes.SortOrderDESCENDING {
		err = ecr.BadMember("sortOrder", "names are sorted ASCENDING alone")
	}
	return o, !known, err
}

// sight remembers for one page which repositories a caller may find. It decides about at most maxSearchedRepositories.
type sight struct {
	decide func(ctx context.Context, repository int64) (*meta.Repository, error)
	known  map[int64]*meta.Repository // nil for one that the caller may not find
}

// sightOf returns the sight of a caller, who finds a repository if both actions are allowed on it.
func (s *Service) sightOf(by identity.Caller, r ecr.Registry, search, describe string) *sight {
	return &sight{known: map[int64]*meta.Repository{}, decide: func(ctx context.Context, id int64) (*meta.Repository, error) {
		repo, err := s.meta.RepositoryByID(ctx, id)
		if errors.Is(err, fault.RepositoryNotFound) { // it was deleted since
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		ok, err := s.searchable(ctx, by, r, repo, search, describe)
		if err != nil || !ok {
			return nil, err
		}
		return &repo, nil
	}}
}

// of returns a repository, nil if the caller may not find it. full is true if the page has decided about as many as it may.
func (v *sight) of(ctx context.Context, id int64) (repo *meta.Repository, full bool, err error) {
	repo, known := v.known[id]
	if known {
		return repo, false, nil
	}
	if len(v.known) == maxSearchedRepositories {
		return nil, true, nil
	}
	repo, err = v.decide(ctx, id)
	v.known[id] = repo
	return repo, false, err
}

// sortedImages is SearchImages in an order of the registry, whose pages read at most 2,000 images.
func (s *Service) sortedImages(ctx context.Context, by identity.Caller, r ecr.Registry, in *ecrintypes.SearchImagesRequest,
	order meta.SearchOrder, scope string) (*ecrintypes.SearchImagesResponse, error) {
	at := order.Start()
	if in.NextToken != "" {
		if err := s.resume(scope, in.NextToken, &at); err != nil {
			return nil, err
		}
	}
	out := &ecrintypes.SearchImagesResponse{Images: []ecrintypes.FoundImage{}}
	limit, seen := pageSize(in.MaxResults, 100), s.sightOf(by, r, "ecrin:SearchImages", "ecr:DescribeImages")
	most := min(limit+1, searchStep)
	for read := 0; read < maxSortedImages; read, most = read+most, searchStep { // the first step is enough if all that it reads is found
		step, err := s.meta.SearchImages(ctx, r.Registry, order, at, most)
		if err != nil {
			return nil, err
		}
		labels, err := s.labelsOfStep(ctx, in, step)
		if err != nil {
			return nil, err
		}
		for _, im := range step {
			if len(out.Images) == limit {
				out.NextToken = s.pages.Listing(scope).SealJSON(at)
				return out, nil
			}
			if im.Name != "" && strings.HasPrefix(im.Name, in.RepositoryPrefix) {
				if one, ok := foundImage(im.Name, im.Image, in, labels[im.Repository][im.Place.Digest]); ok {
					repo, full, err := seen.of(ctx, im.Repository)
					if err != nil {
						return nil, err
					}
					if full {
						out.NextToken = s.pages.Listing(scope).SealJSON(at)
						return out, nil
					}
					if repo != nil {
						out.Images = append(out.Images, one)
					}
				}
			}
			at = im.Place
		}
		if len(step) < most {
			return out, nil
		}
	}
	out.NextToken = s.pages.Listing(scope).SealJSON(at)
	return out, nil
}

// labelsOfStep returns the labels of images, by their repositories and digests, if the request asks for labels.
func (s *Service) labelsOfStep(ctx context.Context, in *ecrintypes.SearchImagesRequest, step []meta.RegistryImage) (
	map[int64]map[string]map[string]string, error) {
	of := map[int64][]meta.Image{}
	for _, im := range step {
		of[im.Repository] = append(of[im.Repository], im.Image)
	}
	all := make(map[int64]map[string]map[string]string, len(of))
	for repository, images := range of {
		labels, err := s.labels(ctx, in, repository, images)
		if err != nil {
			return nil, err
		}
		all[repository] = labels
	}
	return all, nil
}

// OnRepositorySearch resolves the registry whose repositories are searched: the resource is all repositories whose names have the prefix of
// the request.
func OnRepositorySearch(s *Service, _ context.Context, req guard.Request, in *ecrintypes.SearchRepositoriesRequest) (
	guard.Target[ecr.Registry], error) {
	at, err := s.registryOf(req, in.RegistryId)
	return guard.On(at, guard.Ask{Owner: guard.OwnedBy(at.Account), Region: at.Region,
		Resource: at.RepositoryARN(in.RepositoryPrefix + "*")}), err
}

// repositoryPlace is where a search of repositories continues: behind a name, or a place in another order.
type repositoryPlace struct {
	After string
	At    meta.SearchPlace
}

// SearchRepositories returns the repositories of a registry that have what the request asks for, with their sizes, by pages, in the order
// of sortBy; without it in that of their names. A page can have fewer repositories than it may have, or none: it decides about at most
// 200, and by name reads at most 5,000. In another order, with a prefix or a pattern all repositories with the prefix are read and sorted.
// A repository is found if the caller may both ecrin:SearchRepositories and
// ecr:DescribeRepositories on it. With totals, a caller who may ecr:DescribeRepositories on repository/* gets what the registry has,
// whatever the request selects.
//
// Errors: fault.InvalidParameter (nextToken, sortOrder), fault.LimitExceeded (too many to sort).
func (s *Service) SearchRepositories(ctx context.Context, by identity.Caller, r ecr.Registry, in *ecrintypes.SearchRepositoriesRequest) (
	*ecrintypes.SearchRepositoriesResponse, error) {
	order, byName, err := orderOf(string(in.SortBy), in.SortOrder)
	if err != nil {
		return nil, err
	}
	scope := fmt.Sprint("SearchRepositories ", r.Registry, " ", in.RepositoryPrefix, " ", in.NamePattern, " ", order, byName)
	at := repositoryPlace{After: before(in.RepositoryPrefix), At: order.Start()}
	if in.NextToken != "" {
		if err := s.resume(scope, in.NextToken, &at); err != nil {
			return nil, err
		}
	}
	out := &ecrintypes.SearchRepositoriesResponse{Repositories: []ecrintypes.FoundRepository{}}
	if in.Totals != nil && *in.Totals {
		if out.Totals, err = s.totals(ctx, by, r); err != nil {
			return nil, err
		}
	}
	limit, seen := pageSize(in.MaxResults, 100), s.sightOf(by, r, "ecrin:SearchRepositories", "ecr:DescribeRepositories")
	wanted := func(repo string) bool { return in.NamePattern == "" || nameLike(in.NamePattern, repo) }
	whole := in.NamePattern == "" && in.RepositoryPrefix == ""
	most := searchStep
	if !byName && !whole {
		most = maxSearchedImages
	}
	for read := 0; read < maxSearchedImages; read += most {
		var step []meta.RepositorySummary
		switch {
		case byName:
			step, err = s.meta.RepositoriesByName(ctx, r.Registry, at.After, most)
		case whole:
			most = min(max(limit+1, maxSearchedRepositories/2), searchStep)
			step, err = s.meta.RepositoriesInOrder(ctx, r.Registry, order, at.At, most)
		default:
			step, err = s.meta.SearchRepositories(ctx, meta.RepositorySearch{Registry: r.Registry, Order: order, After: at.At,
				Prefix: in.RepositoryPrefix, From: before(in.RepositoryPrefix), Wanted: wanted, Limit: most,
				Most: maxSortedRepositories})
		}
		if err != nil {
			return nil, err
		}
		for _, one := range step {
			if len(out.Repositories) == limit {
				out.NextToken = s.pages.Listing(scope).SealJSON(at)
				return out, nil
			}
			if !strings.HasPrefix(one.Name, in.RepositoryPrefix) { // all others follow the last one with the prefix
				return out, nil
			}
			if one.Name != "" && wanted(one.Name) {
				repo, full, err := seen.of(ctx, one.ID)
				if err != nil {
					return nil, err
				}
				if full {
					out.NextToken = s.pages.Listing(scope).SealJSON(at)
					return out, nil
				}
				if repo != nil {
					out.Repositories = append(out.Repositories, foundRepository(repo, one))
				}
			}
			at = repositoryPlace{After: one.Name, At: one.Place(order)}
		}
		if len(step) < most {
			return out, nil
		}
	}
	out.NextToken = s.pages.Listing(scope).SealJSON(at)
	return out, nil
}

// totals returns what a registry has, nil for a caller who may not describe all its repositories.
func (s *Service) totals(ctx context.Context, by identity.Caller, r ecr.Registry) (*ecrintypes.RegistryTotals, error) {
	if by.Kind != identity.Operator { // who has all actions of ecrin and none of ECR
		ok, err := s.guard.Allowed(ctx, by, r.From, guard.Ask{Action: "ecr:DescribeRepositories", Owner: guard.OwnedBy(r.Account),
			Region: r.Region, Resource: r.RepositoryARN("*")})
		if err != nil || !ok {
			return nil, err
		}
	}
	t, err := s.meta.RegistryTotals(ctx, r.Registry)
	return &ecrintypes.RegistryTotals{Repositories: int32(min(t.Repositories, 1<<31-1)), Images: t.Images, SizeInBytes: t.Bytes}, err
}

// nameLike reports whether a name is like a pattern, in which * stands for any characters, also /, and ? for one.
func nameLike(pattern, repo string) bool {
	ok, err := path.Match(strings.ReplaceAll(pattern, "/", "\x00"), strings.ReplaceAll(repo, "/", "\x00"))
	return ok && err == nil
}

func foundRepository(repo *meta.Repository, one meta.RepositorySummary) ecrintypes.FoundRepository {
	found := ecrintypes.FoundRepository{RepositoryName: one.Name, SizeInBytes: one.Bytes, Images: int32(min(one.Images, 1<<31-1)),
		CreatedAt: *awswire.At(repo.CreatedAt)}
	if one.PushedAt > 0 {
		found.LastPushedAt = awswire.At(time.UnixMicro(one.PushedAt))
	}
	if one.PulledAt > 0 {
		found.LastRecordedPullTime = awswire.At(time.UnixMicro(one.PulledAt))
	}
	return found
}
