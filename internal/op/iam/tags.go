package iam

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// maxTags is the maximum number of tags of an entity. Source: IAM user guide, IAM and STS quotas.
const maxTags = 50

// exactCase returns the form in which keys of tags on policies, providers and instance profiles are compared. See
// foldCase for users and roles.
func exactCase(key string) string { return key }

// tagsOf checks and returns the tags of a request. Keys with the same result of same are equal.
// Errors: fault.InvalidInput (a repeated or reserved key). Source: IAM user guide, tags for IAM resources.
func tagsOf(tags []iamtypes.Tag, same func(string) string) (map[string]string, error) {
	all, seen := map[string]string{}, map[string]bool{}
	for _, t := range tags {
		if strings.HasPrefix(strings.ToLower(t.Key), "aws:") {
			return nil, fault.InvalidInput.New("The tag key %q begins with aws:, which is reserved.", name.Clip(t.Key))
		}
		if seen[same(t.Key)] {
			return nil, fault.InvalidInput.New("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
		}
		all[t.Key], seen[same(t.Key)] = t.Value, true
	}
	return all, nil
}

// tagList returns tags in the form of responses, by key; nil for none.
func tagList(tags map[string]string) []iamtypes.Tag {
	var list []iamtypes.Tag
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		list = append(list, iamtypes.Tag{Key: k, Value: tags[k]})
	}
	return list
}

// allTags shows tags by key. Unlike that of tagList the list is never nil: the answers that show one policy, instance profile or
// provider have an empty list for none. Source: answers of IAM.
func allTags(tags map[string]string) []iamtypes.Tag {
	return append([]iamtypes.Tag{}, tagList(tags)...)
}

// tag adds tags to an entity, or replaces those with the same keys.
func (s *Service) tag(ctx context.Context, e meta.Entity, tags []iamtypes.Tag, same func(string) string) (*None, error) {
	add, err := tagsOf(tags, same)
	if err != nil {
		return nil, err
	}
	return none(s.meta.PutEntityTags(ctx, e.ID, add, maxTags))
}

// untag removes tags from an entity. It ignores keys that the entity does not have.
func (s *Service) untag(ctx context.Context, e meta.Entity, keys []string) (*None, error) {
	return none(s.meta.RemoveEntityTags(ctx, e.ID, keys))
}

// tagPage returns one page of the tags of an entity, by key. The list is never nil.
func (s *Service) tagPage(ctx context.Context, p paging, e meta.Entity) (page []iamtypes.Tag, truncated *bool, marker string, err error) {
	tags, err := s.meta.EntityTags(ctx, e.ID)
	if err != nil {
		return nil, nil, "", err
	}
	page, truncated, marker = cut(p, tagList(tags), func(t iamtypes.Tag) string { return t.Key })
	return append([]iamtypes.Tag{}, page...), truncated, marker, nil
}

// TagUser adds tags to a user, or replaces those with the same keys; case does not count.
// Errors: fault.NoSuchEntity, fault.InvalidInput, fault.LimitExceeded. Source: IAM API reference, TagUser.
func (s *Service) TagUser(ctx context.Context, _ identity.Caller, e meta.Entity, in *iamtypes.TagUserRequest) (*None, error) {
	return s.tag(ctx, e, in.Tags, foldCase)
}

// UntagUser removes tags from a user. Errors: fault.NoSuchEntity. Source: IAM API reference, UntagUser.
func (s *Service) UntagUser(ctx context.Context, _ identity.Caller, e meta.Entity, in *iamtypes.UntagUserRequest) (*None, error) {
	return s.untag(ctx, e, in.TagKeys)
}

// ListUserTags lists the tags of a user. Errors: fault.NoSuchEntity, fault.Validation (the marker).
// Source: IAM API reference, ListUserTags.
func (s *Service) ListUserTags(ctx context.Context, c identity.Caller, e meta.Entity,
	in *iamtypes.ListUserTagsRequest) (*iamtypes.ListUserTagsResponse, error) {
	p, err := s.paging(c, "ListUserTags", in.Marker, in.MaxItems, in.UserName)
	if err != nil {
		return nil, err
	}
	tags, truncated, marker, err := s.tagPage(ctx, p, e)
	if err != nil {
		return nil, err
	}
	return &iamtypes.ListUserTagsResponse{Tags: tags, IsTruncated: truncated, Marker: marker}, nil
}

// TagRole adds tags to a role, or replaces those with the same keys; case does not count.
// Errors: fault.NoSuchEntity, fault.InvalidInput, fault.LimitExceeded. Source: IAM API reference, TagRole.
func (s *Service) TagRole(ctx context.Context, _ identity.Caller, e meta.Entity, in *iamtypes.TagRoleRequest) (*None, error) {
	return s.tag(ctx, e, in.Tags, foldCase)
}

// UntagRole removes tags from a role. Errors: fault.NoSuchEntity. Source: IAM API reference, UntagRole.
func (s *Service) UntagRole(ctx context.Context, _ identity.Caller, e meta.Entity, in *iamtypes.UntagRoleRequest) (*None, error) {
	return s.untag(ctx, e, in.TagKeys)
}

// ListRoleTags lists the tags of a role. Errors: fault.NoSuchEntity, fault.Validation (the marker).
// Source: IAM API reference, ListRoleTags.
func (s *Service) ListRoleTags(ctx context.Context, c identity.Caller, e meta.Entity,
	in *iamtypes.ListRoleTagsRequest) (*iamtypes.ListRoleTagsResponse, error) {
	p, err := s.paging(c, "ListRoleTags", in.Marker, in.MaxItems, in.RoleName)
	if err != nil {
		return nil, err
	}
	tags, truncated, marker, err := s.tagPage(ctx, p, e)
	if err != nil {
		return nil, err
	}
	return &iamtypes.ListRoleTagsResponse{Tags: tags, IsTruncated: truncated, Marker: marker}, nil
}

// TagOpenIDConnectProvider adds tags to an OIDC provider, or replaces those with the same keys.
// Errors: fault.NoSuchEntity, fault.InvalidInput, fault.LimitExceeded.
// Source: IAM API reference, TagOpenIDConnectProvider.
func (s *Service) TagOpenIDConnectProvider(ctx context.Context, _ identity.Caller, e meta.Entity,
	in *iamtypes.TagOpenIDConnectProviderRequest) (*None, error) {
	return s.tag(ctx, e, in.Tags, exactCase)
}

// UntagOpenIDConnectProvider removes tags from an OIDC provider. Errors: fault.NoSuchEntity, fault.InvalidInput.
// Source: IAM API reference, UntagOpenIDConnectProvider.
func (s *Service) UntagOpenIDConnectProvider(ctx context.Context, _ identity.Caller, e meta.Entity,
	in *iamtypes.UntagOpenIDConnectProviderRequest) (*None, error) {
	return s.untag(ctx, e, in.TagKeys)
}

// ListOpenIDConnectProviderTags lists the tags of an OIDC provider.
// Errors: fault.NoSuchEntity, fault.InvalidInput, fault.Validation (the marker).
// Source: IAM API reference, ListOpenIDConnectProviderTags.
func (s *Service) ListOpenIDConnectProviderTags(ctx context.Context, c identity.Caller, e meta.Entity,
	in *iamtypes.ListOpenIDConnectProviderTagsRequest) (*iamtypes.ListOpenIDConnectProviderTagsResponse, error) {
	p, err := s.paging(c, "ListOpenIDConnectProviderTags", in.Marker, in.MaxItems, in.OpenIDConnectProviderArn)
	if err != nil {
		return nil, err
	}
	tags, truncated, marker, err := s.tagPage(ctx, p, e)
	if err != nil {
		return nil, err
	}
	return &iamtypes.ListOpenIDConnectProviderTagsResponse{Tags: tags, IsTruncated: truncated, Marker: marker}, nil
}
