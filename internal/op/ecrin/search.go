package ecrin

import (
	"context"
	"fmt"
	"path"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/op/ecr"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
)

// Limits of one page of SearchImages: the repositories and images that it reads, the images of one query, and the tags that it shows of
// one image.
const (
	maxSearchedRepositories = 200
	maxSearchedImages       = 5000
	searchStep              = 500
	maxSortedImages         = 2000 // a search by size reads them from all over the table
	maxFoundTags            = 100
	// maxSortedRepositories is the number of repositories that one page of SearchRepositories sorts. ECR's quota for a registry is 100,000.
	maxSortedRepositories = 100_000
)

// OnSearch resolves the registry whose images are searched: the resource is all repositories whose names have the prefix of the request.
func OnSearch(s *Service, _ context.Context, req guard.Request, in *ecrintypes.SearchImagesRequest) (guard.Target[ecr.Registry], error) {
	at, err := s.registryOf(req, in.RegistryId)
	return guard.On(at, guard.Ask{Owner: guard.OwnedBy(at.Account), Region: at.Region,
		Resource: at.RepositoryARN(in.RepositoryPrefix + "*")}), err
}

// searchPlace is where a search continues.
type searchPlace struct {
	After      string        // the name of the last repository that is complete
	Repository int64         // the id of the next one, if some of its images have been read
	Image      meta.Position // the last of these
}

// SearchImages returns the images of a registry that have what the request asks for, by pages, in the order of sortBy; without it in that
// of repositories and push times. A page can have fewer images than it may have, or none, because it reads at most 5,000 images of at most
// 200 repositories. Images of a repository are found if the caller may both ecrin:SearchImages and ecr:DescribeImages on it.
//
// Errors: fault.InvalidParameter (nextToken, sortOrder).
func (s *Service) SearchImages(ctx context.Context, by identity.Caller, r ecr.Registry, in *ecrintypes.SearchImagesRequest) (
	*ecrintypes.SearchImagesResponse, error) {
	order, byName, err := orderOf(string(in.SortBy), in.SortOrder)
	if err != nil {
		return nil, err
	}
	scope := strings.Join([]string{"SearchImages", r.Registry.String(), in.RepositoryPrefix, in.TagPattern, in.DigestPrefix, in.Text,
		fmt.Sprintf("%q", in.Labels)}, " ")
	if !byName {
		return s.sortedImages(ctx, by, r, in, order, fmt.Sprint(scope, " ", order))
	}
	at := searchPlace{After: before(in.RepositoryPrefix)}
	if err := s.resume(scope, in.NextToken, &at); err != nil {
		return nil, err
	}
	out := &ecrintypes.SearchImagesResponse{Images: []ecrintypes.FoundImage{}}
	limit := pageSize(in.MaxResults, 100)
	images := 0
	for range maxSearchedRepositories {
		repo, found, err := s.meta.NextRepository(ctx, r.Registry, at.After)
		if err != nil {
			return nil, err
		}
		if !found || !strings.HasPrefix(repo.Name.String(), in.RepositoryPrefix) {
			return out, nil
		}
		visible, err := s.searchable(ctx, by, r, repo, "ecrin:SearchImages", "ecr:DescribeImages")
		if err != nil {
			return nil, err
		}
		if at.Repository != repo.ID {
			at.Repository, at.Image = repo.ID, meta.Position{}
		}
		for visible {
			page, err := s.meta.Images(ctx, repo.ID, meta.Any, at.Image, searchStep)
			if err != nil {
				return nil, err
			}
			images += len(page)
			labels, err := s.labels(ctx, in, repo.ID, page)
			if err != nil {
				return nil, err
			}
			for _, im := range page {
				if len(out.Images) == limit {
					out.NextToken = s.pages.Listing(scope).SealJSON(at)
					return out, nil
				}
				at.Image = meta.Position{PushedAt: im.PushedAt.UnixMicro(), Digest: im.Digest.String()}
				if one, ok := foundImage(repo.Name.String(), im, in, labels[im.Digest.String()]); ok {
					out.Images = append(out.Images, one)
				}
			}
			if len(page) < searchStep {
				break
			}
			if images >= maxSearchedImages {
				out.NextToken = s.pages.Listing(scope).SealJSON(at)
				return out, nil
			}
		}
		at = searchPlace{After: repo.Name.String()}
		if images >= maxSearchedImages {
			break
		}
	}
	out.NextToken = s.pages.Listing(scope).SealJSON(at)
	return out, nil
}

// searchable reports whether a caller may find a repository, or its images: both actions are allowed on it. The operator may all
// operations of ecrin and none of ECR.
func (s *Service) searchable(ctx context.Context, by identity.Caller, r ecr.Registry, repo meta.Repository, search, describe string) (
	bool, error) {
	ask := guard.Ask{Action: search, Owner: guard.OwnedBy(r.Account), Region: r.Region,
		Resource: r.RepositoryARN(repo.Name.String()), Known: guard.Known{Repository: &repo}}
	ok, err := s.guard.Allowed(ctx, by, r.From, ask)
	if err != nil || !ok || by.Kind == identity.Operator {
		return ok, err
	}
	ask.Action = describe
	return s.guard.Allowed(ctx, by, r.From, ask)
}

// before returns a string that sorts before all names of repositories with a prefix, and after all that sort before these.
func before(prefix string) string {
	if prefix == "" {
		return ""
	}
	last := len(prefix) - 1
	return prefix[:last] + string(rune(prefix[last]-1)) + "~" // no character of a name sorts after it
}

// labels returns the labels of images of a repository, by their digests, if the request asks for labels.
func (s *Service) labels(ctx context.Context, in *ecrintypes.SearchImagesRequest, repository int64, of []meta.Image) (
	map[string]map[string]string, error) {
	if len(in.Labels) == 0 {
		return nil, nil
	}
	digests := make([]string, len(of))
	for i, im := range of {
		digests[i] = im.Digest.String()
	}
	return s.meta.Labels(ctx, repository, digests)
}

// labelsLike returns the labels that terms ask for, as KEY=VALUE; ok is false if one is missing. A term is KEY or KEY=VALUE.
func labelsLike(labels map[string]string, terms []string) (matching []string, ok bool) {
	for _, term := range terms {
		key, want, exact := strings.Cut(term, "=")
		value, has := labels[key]
		if !has || exact && value != want {
			return nil, false
		}
		matching = append(matching, key+"="+value)
	}
	return matching, true
}

// foundImage returns an image with at most maxFoundTags of its tags, and whether it is one that the request asks for. With a pattern
// its tags are those that match.
func foundImage(repo string, im meta.Image, in *ecrintypes.SearchImagesRequest, labels map[string]string) (one ecrintypes.FoundImage,
	ok bool) {
	matching, ok := labelsLike(labels, in.Labels)
	if !ok {
		return one, false
	}
	d := im.Digest.String()
	if !strings.HasPrefix(d, in.DigestPrefix) && !strings.HasPrefix(d, "sha256:"+in.DigestPrefix) {
		return one, false
	}
	ok = strings.Contains(repo, in.Text) || strings.Contains(d, in.Text)
	tags := []string{}
	for _, tag := range im.Tags {
		if in.TagPattern != "" {
			if match, err := path.Match(in.TagPattern, tag); err != nil || !match {
				continue
			}
		}
		ok = ok || strings.Contains(tag, in.Text) || strings.Contains(repo+":"+tag, in.Text)
		if len(tags) < maxFoundTags {
			tags = append(tags, tag)
		}
	}
	if !ok || in.TagPattern != "" && len(tags) == 0 {
		return one, false
	}
	one = ecrintypes.FoundImage{RepositoryName: repo, ImageDigest: d, ImageTags: tags, ImageManifestMediaType: im.MediaType,
		ImageSizeInBytes: im.Bytes, ImagePushedAt: awswire.Time{Time: im.PushedAt}, ImageLabels: matching}
	if !im.PulledAt.IsZero() {
		one.LastRecordedPullTime = awswire.At(im.PulledAt)
	}
	return one, true
}
