package iam

import (
	"context"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
)

// OnUserBoundary resolves a user and the managed policy that is to become its permissions boundary.
func OnUserBoundary(s *Service, ctx context.Context, req guard.Request,
	in *iamtypes.PutUserPermissionsBoundaryRequest) (guard.Target[EntityPolicy], error) {
	return s.onBoundary(ctx, req, meta.User, in.UserName, in.PermissionsBoundary)
}

// OnRoleBoundary resolves a role and the managed policy that is to become its permissions boundary.
func OnRoleBoundary(s *Service, ctx context.Context, req guard.Request,
	in *iamtypes.PutRolePermissionsBoundaryRequest) (guard.Target[EntityPolicy], error) {
	return s.onBoundary(ctx, req, meta.Role, in.RoleName, in.PermissionsBoundary)
}

func (s *Service) onBoundary(ctx context.Context, req guard.Request, kind meta.EntityKind, entityName,
	arn string) (guard.Target[EntityPolicy], error) {
	e, err := s.onEntity(ctx, req, kind, entityName, "")
	t := guard.Target[EntityPolicy]{Value: EntityPolicy{Entity: e.Value}, Asks: e.Asks, Absent: e.Absent}
	if err != nil {
		return t, err
	}
	if err = policyARN(arn); err == nil {
		t.Value.Policy, err = s.boundaryPolicy(ctx, req.By.Account, arn)
	}
	absent, failure := absence(err)
	if absent != nil {
		t.Absent = absent
	}
	return t, failure
}

// PutUserPermissionsBoundary sets the permissions boundary of a user to a managed policy.
//
// Errors: fault.NoSuchEntity (the user, the policy), fault.InvalidInput (the ARN), fault.PolicyNotAttachable (a policy of
// service-linked roles), fault.TargetChanged (the user has another name or path).
// Source: IAM API reference, PutUserPermissionsBoundary.
func (s *Service) PutUserPermissionsBoundary(ctx context.Context, _ identity.Caller, t EntityPolicy,
	_ *iamtypes.PutUserPermissionsBoundaryRequest) (*None, error) {
	return s.setBoundary(ctx, t.Entity, t.Policy.ARN)
}

// PutRolePermissionsBoundary sets the permissions boundary of a role to a managed policy.
// Errors: those of PutUserPermissionsBoundary; fault.UnmodifiableEntity (a service-linked role).
// Source: IAM API reference, PutRolePermissionsBoundary.
func (s *Service) PutRolePermissionsBoundary(ctx context.Context, _ identity.Caller, t EntityPolicy,
	_ *iamtypes.PutRolePermissionsBoundaryRequest) (*None, error) {
	return s.setBoundary(ctx, t.Entity, t.Policy.ARN)
}

// DeleteUserPermissionsBoundary removes the permissions boundary of a user, so that its other policies apply without
// it. It is no error if the user has no boundary. Errors: fault.NoSuchEntity, fault.TargetChanged.
// Source: IAM API reference, DeleteUserPermissionsBoundary.
func (s *Service) DeleteUserPermissionsBoundary(ctx context.Context, _ identity.Caller, e meta.Entity,
	_ *iamtypes.DeleteUserPermissionsBoundaryRequest) (*None, error) {
	return s.setBoundary(ctx, e, "")
}

// DeleteRolePermissionsBoundary removes the permissions boundary of a role. Errors: fault.NoSuchEntity,
// fault.UnmodifiableEntity.
// Source: IAM API reference, DeleteRolePermissionsBoundary.
func (s *Service) DeleteRolePermissionsBoundary(ctx context.Context, _ identity.Caller, e meta.Entity,
	_ *iamtypes.DeleteRolePermissionsBoundaryRequest) (*None, error) {
	return s.setBoundary(ctx, e, "")
}

func (s *Service) setBoundary(ctx context.Context, of meta.Entity, arn string) (*None, error) {
	_, err := s.meta.UpdateEntity(ctx, of, func(e *meta.Entity) error {
		e.Boundary = arn
		return modifiable(*e)
	})
	return none(err)
}
