package iam

import (
	"context"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// maxUsers is the maximum number of users of an account. Source: IAM user guide, IAM and STS quotas.
const maxUsers = 5000

// CreateUser makes a user without keys and policies.
//
// Errors: fault.EntityAlreadyExists (also for a name that differs in case only), fault.LimitExceeded, fault.InvalidInput (the
// tags), fault.NoSuchEntity and fault.PolicyNotAttachable (the boundary).
// Source: IAM API reference, CreateUser.
func (s *Service) CreateUser(ctx context.Context, c identity.Caller, boundary ManagedPolicy,
	in *iamtypes.CreateUserRequest) (*iamtypes.CreateUserResponse, error) {
	tags, err := tagsOf(in.Tags, foldCase)
	if err != nil {
		return nil, err
	}
	e := s.newEntity(c, meta.User, "AIDA", in.Path, in.UserName)
	e.Boundary = boundary.ARN
	if err := s.meta.CreateEntity(ctx, e, tags, maxUsers); err != nil {
		return nil, err
	}
	u := fullUser(e, tags)
	return &iamtypes.CreateUserResponse{User: &u}, nil
}

// newEntity returns a new entity of the caller's account. An empty path is "/".
func (s *Service) newEntity(c identity.Caller, kind meta.EntityKind, prefix, path, entityName string) meta.Entity {
	now := s.now()
	return meta.Entity{ID: newID(prefix), Account: c.Account, Kind: kind, Name: entityName, Path: pathOr(path), CreatedAt: now, UpdatedAt: now}
}

// userOf returns a user in the form of listings: without boundary and tags. Source: IAM API reference, ListUsers.
func userOf(e meta.Entity) iamtypes.User {
	return iamtypes.User{Path: e.Path, UserName: e.Name, UserId: e.ID, Arn: e.ARN(), CreateDate: awswire.Time{Time: e.CreatedAt},
		PasswordLastUsed: awswire.At(e.LastUsedAt)}
}

func fullUser(e meta.Entity, tags map[string]string) iamtypes.User {
	u := userOf(e)
	u.PermissionsBoundary, u.Tags = showBoundary(e.Boundary), tagList(tags)
	return u
}

// mustNameUser returns the error for a request without UserName by a caller that is not a user.
func mustNameUser() error {
	return fault.Validation.New("Must specify userName when calling with non-User credentials")
}

// rootName is the name of the root user in responses.
const rootName = "root"

// GetUser shows a user, or without a name the caller, which may be the root user.
//
// Errors: fault.NoSuchEntity, fault.Validation (no name, and the caller is no user).
// Source: IAM API reference, GetUser.
func (s *Service) GetUser(ctx context.Context, c identity.Caller, e meta.Entity,
	_ *iamtypes.GetUserRequest) (*iamtypes.GetUserResponse, error) {
	if e.ID == "" {
		a, err := s.meta.Account(ctx, c.Account)
		if err != nil {
			return nil, err
		}
		return &iamtypes.GetUserResponse{User: iamtypes.User{
			Path: "/", UserName: rootName, UserId: c.Account.String(), Arn: identity.RootARN(c.Account), CreateDate: awswire.Time{Time: a.CreatedAt},
		}}, nil
	}
	tags, err := s.meta.EntityTags(ctx, e.ID)
	if err != nil {
		return nil, err
	}
	return &iamtypes.GetUserResponse{User: fullUser(e, tags)}, nil
}

// ListUsers lists users by name. Errors: fault.Validation (the marker). Source: IAM API reference, ListUsers.
func (s *Service) ListUsers(ctx context.Context, c identity.Caller, _ guard.Nothing,
	in *iamtypes.ListUsersRequest) (*iamtypes.ListUsersResponse, error) {
	page, truncated, marker, err := s.entities(ctx, c, "ListUsers", meta.User, in.PathPrefix, in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	return &iamtypes.ListUsersResponse{Users: each(page, userOf), IsTruncated: truncated, Marker: marker}, nil
}

// each returns the results of show for all values. The list is never nil, because responses contain empty lists.
func each[T, U any](all []T, show func(T) U) []U {
	out := make([]U, len(all))
	for i, v := range all {
		out[i] = show(v)
	}
	return out
}

// UpdateUser changes name and path of a user, which keeps its unique id, and with it keys, groups and policies.
//
// Errors: fault.NoSuchEntity, fault.EntityAlreadyExists, fault.TargetChanged.
// Source: IAM API reference, UpdateUser; IAM user guide, renaming an IAM user.
func (s *Service) UpdateUser(ctx context.Context, _ identity.Caller, e meta.Entity, in *iamtypes.UpdateUserRequest) (*None, error) {
	return s.rename(ctx, e, in.NewUserName, in.NewPath)
}

// rename changes the name, the path or both of an entity. An empty name or path stays unchanged.
func (s *Service) rename(ctx context.Context, e meta.Entity, newName, newPath string) (*None, error) {
	_, err := s.meta.UpdateEntity(ctx, e, func(e *meta.Entity) error {
		if newName != "" {
			e.Name = newName
		}
		if newPath != "" {
			e.Path = newPath
		}
		return nil
	})
	return none(err)
}

// none returns the response of an operation without a result, or the error.
func none(err error) (*None, error) {
	if err != nil {
		return nil, err
	}
	return &None{}, nil
}

// DeleteUser removes a user without a password, keys, policies and groups. Policies that name the user apply to no later user of
// the same name.
//
// Errors: fault.NoSuchEntity, fault.DeleteConflict, fault.TargetChanged. Source: IAM API reference, DeleteUser.
func (s *Service) DeleteUser(ctx context.Context, _ identity.Caller, e meta.Entity, _ *iamtypes.DeleteUserRequest) (*None, error) {
	return none(s.meta.DeleteEntity(ctx, e))
}

// foldCase returns the form in which keys of tags on users and roles are compared: Team and team are the same key. On
// other entities they are two keys.
// Source: IAM user guide, tags for IAM resources.
func foldCase(key string) string { return strings.ToLower(key) }
