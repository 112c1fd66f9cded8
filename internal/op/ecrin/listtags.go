package ecrin

import (
	"context"
	"fmt"
	"path"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/op/ecr"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
)

// The tags that one page of ListTags with a pattern reads, and those of one query.
const (
	maxReadTags = 10_000
	tagStep     = 1000
)

// OnTags resolves the repository whose tags are listed: for callers that may list its images too.
func OnTags(s *Service, ctx context.Context, req guard.Request, in *ecrintypes.ListTagsRequest) (guard.Target[ecr.Repository], error) {
	t, err := OnRepository(s, ctx, req, in)
	if err != nil || req.By.Kind == identity.Operator { // who has all actions of ecrin and none of ECR
		return t, err
	}
	list := t.Asks[0]
	list.Action = "ecr:ListImages"
	t.Asks = append(t.Asks, list)
	return t, nil
}

// ListTags lists the tags of a repository, those of the image that was pushed last first; with a pattern, in which * and ? stand for other
// characters, those that are like it, by name. A page with a pattern reads at most 10,000 tags, so that it can have fewer than it may have,
// or none, and a token.
//
// Errors: fault.RepositoryNotFound, fault.InvalidParameter (nextToken).
func (s *Service) ListTags(ctx context.Context, _ identity.Caller, r ecr.Repository, in *ecrintypes.ListTagsRequest) (
	*ecrintypes.ListTagsResponse, error) {
	scope := fmt.Sprintf("ListTags %d %s", r.ID, in.TagPattern)
	limit := pageSize(in.MaxResults, 100)
	out := &ecrintypes.ListTagsResponse{Tags: []ecrintypes.ListedTag{}}
	if in.TagPattern != "" {
		return out, s.tagsLike(ctx, r, in, scope, limit, out)
	}
	at := meta.NewestTag
	if in.NextToken != "" {
		if err := s.resume(scope, in.NextToken, &at); err != nil {
			return nil, err
		}
	}
	rows, err := s.meta.NewestTags(ctx, r.ID, at, limit+1)
	if err != nil {
		return nil, err
	}
	if len(rows) > limit {
		rows = rows[:limit]
		out.NextToken = s.pages.Listing(scope).SealJSON(rows[limit-1].Position)
	}
	for _, one := range rows {
		out.Tags = append(out.Tags, ecrintypes.ListedTag{ImageTag: one.Tag, ImageDigest: one.Digest})
	}
	return out, nil
}

// tagsLike adds the tags that are like the pattern of a request, by name.
func (s *Service) tagsLike(ctx context.Context, r ecr.Repository, in *ecrintypes.ListTagsRequest, scope string, limit int,
	out *ecrintypes.ListTagsResponse) error {
	prefix := in.TagPattern[:strings.IndexAny(in.TagPattern+"*", "*?")]
	var after string
	if err := s.resume(scope, in.NextToken, &after); err != nil {
		return err
	}
	for range maxReadTags / tagStep {
		step, err := s.meta.TagsFrom(ctx, r.ID, max(prefix, after), tagStep)
		if err != nil {
			return err
		}
		for _, one := range step {
			if one.Tag <= after {
				continue // the last one of the page before
			}
			if !strings.HasPrefix(one.Tag, prefix) {
				return nil
			}
			if ok, err := path.Match(in.TagPattern, one.Tag); err == nil && ok {
				if len(out.Tags) == limit {
					out.NextToken = s.pages.Listing(scope).SealJSON(after)
					return nil
				}
				out.Tags = append(out.Tags, ecrintypes.ListedTag{ImageTag: one.Tag, ImageDigest: one.Digest})
			}
			after = one.Tag
		}
		if len(step) < tagStep {
			return nil
		}
	}
	out.NextToken = s.pages.Listing(scope).SealJSON(after)
	return nil
}
