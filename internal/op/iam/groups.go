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
	maxGroups       = 300
	maxGroupsOfUser = 10
)

// CreateGroup makes a group without members and rights. Errors: fault.EntityAlreadyExists, fault.LimitExceeded.
// Source: IAM API reference, CreateGroup.
func (s *Service) CreateGroup(ctx context.Context, c identity.Caller, _ guard.Nothing,
	in *iamtypes.CreateGroupRequest) (*iamtypes.CreateGroupResponse, error) {
	e := s.newEntity(c, meta.Group, "AGPA", in.Path, in.GroupName)
	if err := s.meta.CreateEntity(ctx, e, nil, maxGroups); err != nil {
		return nil, err
	}
	return &iamtypes.CreateGroupResponse{Group: groupOf(e)}, nil
}

func groupOf(e meta.Entity) iamtypes.Group {
	return iamtypes.Group{Path: e.Path, GroupName: e.Name, GroupId: e.ID, Arn: e.ARN(), CreateDate: awswire.Time{Time: e.CreatedAt}}
}

// nameOf returns the name of an entity, the sort key of most listings.
func nameOf(e meta.Entity) string { return e.Name }

// GetGroup shows a group with one page of its users, by name. Errors: fault.NoSuchEntity, fault.Validation (the marker).
// Source: IAM API reference, GetGroup.
func (s *Service) GetGroup(ctx context.Context, c identity.Caller, g meta.Entity,
	in *iamtypes.GetGroupRequest) (*iamtypes.GetGroupResponse, error) {
	p, err := s.paging(c, "GetGroup", in.Marker, in.MaxItems, in.GroupName)
	if err != nil {
		return nil, err
	}
	users, err := s.meta.Members(ctx, g.ID)
	if err != nil {
		return nil, err
	}
	page, truncated, marker := cut(p, users, nameOf)
	return &iamtypes.GetGroupResponse{Group: groupOf(g), Users: each(page, userOf), IsTruncated: truncated, Marker: marker}, nil
}

// ListGroups lists groups by name. Errors: fault.Validation (the marker). Source: IAM API reference, ListGroups.
func (s *Service) ListGroups(ctx context.Context, c identity.Caller, _ guard.Nothing,
	in *iamtypes.ListGroupsRequest) (*iamtypes.ListGroupsResponse, error) {
	page, truncated, marker, err := s.entities(ctx, c, "ListGroups", meta.Group, in.PathPrefix, in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	return &iamtypes.ListGroupsResponse{Groups: each(page, groupOf), IsTruncated: truncated, Marker: marker}, nil
}

// ListGroupsForUser lists the groups of a user by name. Errors: fault.NoSuchEntity, fault.Validation (the marker).
// Source: IAM API reference, ListGroupsForUser.
func (s *Service) ListGroupsForUser(ctx context.Context, c identity.Caller, u meta.Entity,
	in *iamtypes.ListGroupsForUserRequest) (*iamtypes.ListGroupsForUserResponse, error) {
	p, err := s.paging(c, "ListGroupsForUser", in.Marker, in.MaxItems, in.UserName)
	if err != nil {
		return nil, err
	}
	groups, err := s.meta.Containers(ctx, u.ID)
	if err != nil {
		return nil, err
	}
	page, truncated, marker := cut(p, groups, nameOf)
	return &iamtypes.ListGroupsForUserResponse{Groups: each(page, groupOf), IsTruncated: truncated, Marker: marker}, nil
}

// UpdateGroup changes name and path of a group, which keeps its unique id, members and policies.
//
// Errors: fault.NoSuchEntity, fault.EntityAlreadyExists, fault.TargetChanged. Source: IAM API reference, UpdateGroup.
func (s *Service) UpdateGroup(ctx context.Context, _ identity.Caller, e meta.Entity, in *iamtypes.UpdateGroupRequest) (*None, error) {
	return s.rename(ctx, e, in.NewGroupName, in.NewPath)
}

// DeleteGroup removes a group without members and policies.
// Errors: fault.NoSuchEntity, fault.DeleteConflict, fault.TargetChanged. Source: IAM API reference, DeleteGroup.
func (s *Service) DeleteGroup(ctx context.Context, _ identity.Caller, e meta.Entity, _ *iamtypes.DeleteGroupRequest) (*None, error) {
	return none(s.meta.DeleteEntity(ctx, e))
}

// AddUserToGroup adds a user to a group. It is no error if the user is already a member.
// Errors: fault.NoSuchEntity, fault.LimitExceeded.
// Source: IAM API reference, AddUserToGroup.
func (s *Service) AddUserToGroup(ctx context.Context, _ identity.Caller, m Membership, _ *iamtypes.AddUserToGroupRequest) (*None, error) {
	return none(s.meta.AddMember(ctx, m.Container.ID, m.Member.ID, maxGroupsOfUser, 0))
}

// RemoveUserFromGroup removes a user from a group. It is no error if the user is not a member.
// Errors: fault.NoSuchEntity (the group or the user was deleted).
// Sources: IAM API reference, RemoveUserFromGroup; answers of IAM.
func (s *Service) RemoveUserFromGroup(ctx context.Context, _ identity.Caller, m Membership,
	_ *iamtypes.RemoveUserFromGroupRequest) (*None, error) {
	err := s.meta.RemoveMember(ctx, m.Container.ID, m.Member.ID)
	if errors.Is(err, fault.NoSuchEntity) { // the user is not in the group, or one of the two was deleted
		if _, err = s.meta.EntityByID(ctx, m.Container.ID); err == nil {
			_, err = s.meta.EntityByID(ctx, m.Member.ID)
		}
	}
	return none(err)
}
