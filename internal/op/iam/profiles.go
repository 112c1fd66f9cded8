package iam

import (
	"context"
	"errors"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// Source: IAM user guide, IAM and STS quotas.
const (
	maxProfiles       = 1000
	maxRolesInProfile = 1
)

// CreateInstanceProfile makes an instance profile without a role.
//
// Errors: fault.EntityAlreadyExists, fault.LimitExceeded, fault.InvalidInput (the tags).
// Source: IAM API reference, CreateInstanceProfile.
func (s *Service) CreateInstanceProfile(ctx context.Context, c identity.Caller, _ guard.Nothing,
	in *iamtypes.CreateInstanceProfileRequest) (*iamtypes.CreateInstanceProfileResponse, error) {
	tags, err := tagsOf(in.Tags, exactCase)
	if err != nil {
		return nil, err
	}
	e := s.newEntity(c, meta.InstanceProfile, "AIPA", in.Path, in.InstanceProfileName)
	if err := s.meta.CreateEntity(ctx, e, tags, maxProfiles); err != nil {
		return nil, err
	}
	p, err := s.profileOf(ctx, e)
	p.Tags = tagList(tags)
	return &iamtypes.CreateInstanceProfileResponse{InstanceProfile: p}, err
}

// profileOf returns an instance profile in the form of listings: with its role, without tags.
func (s *Service) profileOf(ctx context.Context, e meta.Entity) (iamtypes.InstanceProfile, error) {
	p := iamtypes.InstanceProfile{
		Path: e.Path, InstanceProfileName: e.Name, InstanceProfileId: e.ID, Arn: e.ARN(), CreateDate: awswire.Time{Time: e.CreatedAt},
	}
	members, err := s.meta.Members(ctx, e.ID)
	if err != nil {
		return p, err
	}
	p.Roles = []iamtypes.Role{}
	for _, e := range members {
		r, err := s.shortRole(ctx, e)
		if err != nil {
			return p, err
		}
		p.Roles = append(p.Roles, r)
	}
	return p, nil
}

func (s *Service) profilesOf(ctx context.Context, all []meta.Entity) ([]iamtypes.InstanceProfile, error) {
	out := []iamtypes.InstanceProfile{}
	for _, e := range all {
		p, err := s.profileOf(ctx, e)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// GetInstanceProfile shows an instance profile with its role. Errors: fault.NoSuchEntity.
// Source: IAM API reference, GetInstanceProfile.
func (s *Service) GetInstanceProfile(ctx context.Context, _ identity.Caller, e meta.Entity,
	_ *iamtypes.GetInstanceProfileRequest) (*iamtypes.GetInstanceProfileResponse, error) {
	p, err := s.profileOf(ctx, e)
	if err != nil {
		return nil, err
	}
	tags, err := s.meta.EntityTags(ctx, e.ID)
	p.Tags = allTags(tags)
	return &iamtypes.GetInstanceProfileResponse{InstanceProfile: p}, err
}

// ListInstanceProfiles lists instance profiles by name. Errors: fault.Validation (the marker).
// Source: IAM API reference, ListInstanceProfiles.
func (s *Service) ListInstanceProfiles(ctx context.Context, c identity.Caller, _ guard.Nothing,
	in *iamtypes.ListInstanceProfilesRequest) (*iamtypes.ListInstanceProfilesResponse, error) {
	page, truncated, marker, err := s.entities(ctx, c, "ListInstanceProfiles", meta.InstanceProfile, in.PathPrefix, in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	profiles, err := s.profilesOf(ctx, page)
	return &iamtypes.ListInstanceProfilesResponse{InstanceProfiles: profiles, IsTruncated: truncated, Marker: marker}, err
}

// ListInstanceProfilesForRole lists the instance profiles that contain a role, by name.
//
// Errors: fault.NoSuchEntity, fault.Validation (the marker). Source: IAM API reference, ListInstanceProfilesForRole.
func (s *Service) ListInstanceProfilesForRole(ctx context.Context, c identity.Caller, r meta.Entity,
	in *iamtypes.ListInstanceProfilesForRoleRequest) (*iamtypes.ListInstanceProfilesForRoleResponse, error) {
	p, err := s.paging(c, "ListInstanceProfilesForRole", in.Marker, in.MaxItems, in.RoleName)
	if err != nil {
		return nil, err
	}
	all, err := s.meta.Containers(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	page, truncated, marker := cut(p, all, nameOf)
	profiles, err := s.profilesOf(ctx, page)
	return &iamtypes.ListInstanceProfilesForRoleResponse{InstanceProfiles: profiles, IsTruncated: truncated, Marker: marker}, err
}

// DeleteInstanceProfile removes an instance profile without a role. Errors: fault.NoSuchEntity, fault.DeleteConflict.
// Source: IAM API reference, DeleteInstanceProfile.
func (s *Service) DeleteInstanceProfile(ctx context.Context, _ identity.Caller, e meta.Entity,
	_ *iamtypes.DeleteInstanceProfileRequest) (*None, error) {
	return none(s.meta.DeleteEntity(ctx, e))
}

// AddRoleToInstanceProfile adds a role to an instance profile without a role.
//
// Errors: fault.NoSuchEntity, fault.LimitExceeded (it has a role, even if it is the same), fault.UnmodifiableEntity.
// Source: IAM API reference, AddRoleToInstanceProfile.
func (s *Service) AddRoleToInstanceProfile(ctx context.Context, _ identity.Caller, m Membership,
	_ *iamtypes.AddRoleToInstanceProfileRequest) (*None, error) {
	if err := modifiable(m.Member); err != nil {
		return nil, err
	}
	full, err := s.meta.Members(ctx, m.Container.ID)
	if err != nil {
		return nil, err
	}
	if len(full) >= maxRolesInProfile {
		return nil, fault.LimitExceeded.New("Cannot exceed quota for InstanceSessionsPerInstanceProfile: %d", maxRolesInProfile)
	}
	return none(s.meta.AddMember(ctx, m.Container.ID, m.Member.ID, maxProfiles, maxRolesInProfile))
}

// RemoveRoleFromInstanceProfile removes the role from an instance profile.
//
// Errors: fault.NoSuchEntity (also if the profile does not contain the role). Source: IAM API reference,
// RemoveRoleFromInstanceProfile.
func (s *Service) RemoveRoleFromInstanceProfile(ctx context.Context, _ identity.Caller, m Membership,
	_ *iamtypes.RemoveRoleFromInstanceProfileRequest) (*None, error) {
	err := s.meta.RemoveMember(ctx, m.Container.ID, m.Member.ID)
	if errors.Is(err, fault.NoSuchEntity) {
		err = fault.NoSuchEntity.New("Role %s in Instance Profile %s cannot be found.", m.Member.Name, m.Container.Name).Because(err)
	}
	return none(err)
}

// TagInstanceProfile adds tags to an instance profile, or replaces those with the same keys; case counts.
// Errors: fault.NoSuchEntity, fault.InvalidInput, fault.LimitExceeded. Source: IAM API reference, TagInstanceProfile.
func (s *Service) TagInstanceProfile(ctx context.Context, _ identity.Caller, e meta.Entity,
	in *iamtypes.TagInstanceProfileRequest) (*None, error) {
	return s.tag(ctx, e, in.Tags, exactCase)
}

// UntagInstanceProfile removes tags from an instance profile. Errors: fault.NoSuchEntity.
// Source: IAM API reference, UntagInstanceProfile.
func (s *Service) UntagInstanceProfile(ctx context.Context, _ identity.Caller, e meta.Entity,
	in *iamtypes.UntagInstanceProfileRequest) (*None, error) {
	return s.untag(ctx, e, in.TagKeys)
}

// ListInstanceProfileTags lists the tags of an instance profile. Errors: fault.NoSuchEntity, fault.Validation (the marker).
// Source: IAM API reference, ListInstanceProfileTags.
func (s *Service) ListInstanceProfileTags(ctx context.Context, c identity.Caller, e meta.Entity,
	in *iamtypes.ListInstanceProfileTagsRequest) (*iamtypes.ListInstanceProfileTagsResponse, error) {
	p, err := s.paging(c, "ListInstanceProfileTags", in.Marker, in.MaxItems, in.InstanceProfileName)
	if err != nil {
		return nil, err
	}
	tags, truncated, marker, err := s.tagPage(ctx, p, e)
	if err != nil {
		return nil, err
	}
	return &iamtypes.ListInstanceProfileTagsResponse{Tags: tags, IsTruncated: truncated, Marker: marker}, nil
}
