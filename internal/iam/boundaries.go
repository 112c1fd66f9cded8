package iam

import (
	"context"

	"github.com/ecrin-dev/ecrin/internal/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/identity"
	"github.com/ecrin-dev/ecrin/internal/meta"
)

// PutUserPermissionsBoundary makes a managed policy the limit of what a user can be allowed by its other policies.
//
// Errors: fault.NoSuchEntity (the user, the policy), fault.InvalidInput (the ARN), fault.PolicyNotAttachable (a policy of
// service-linked roles). Source: IAM API reference, PutUserPermissionsBoundary.
func (s *Service) PutUserPermissionsBoundary(ctx context.Context, c identity.Caller, in *iamtypes.PutUserPermissionsBoundaryRequest) (*None, error) {
	return s.putBoundary(ctx, c, meta.User, in.UserName, in.PermissionsBoundary)
}

// PutRolePermissionsBoundary does the same for a role.
// Errors: those of PutUserPermissionsBoundary; fault.UnmodifiableEntity (a service-linked role).
// Source: IAM API reference, PutRolePermissionsBoundary.
func (s *Service) PutRolePermissionsBoundary(ctx context.Context, c identity.Caller, in *iamtypes.PutRolePermissionsBoundaryRequest) (*None, error) {
	return s.putBoundary(ctx, c, meta.Role, in.RoleName, in.PermissionsBoundary)
}

func (s *Service) putBoundary(ctx context.Context, c identity.Caller, kind meta.EntityKind, entityName, arn string) (*None, error) {
	if err := policyARN(arn); err != nil {
		return nil, err
	}
	if err := s.checkBoundary(ctx, c.Account, arn); err != nil {
		return nil, err
	}
	return s.setBoundary(ctx, c, kind, entityName, arn)
}

// DeleteUserPermissionsBoundary takes the limit away: the user is then allowed whatever its other policies allow. One without
// a boundary stays as it is. Errors: fault.NoSuchEntity. Source: IAM API reference, DeleteUserPermissionsBoundary.
func (s *Service) DeleteUserPermissionsBoundary(ctx context.Context, c identity.Caller, in *iamtypes.DeleteUserPermissionsBoundaryRequest) (*None, error) {
	return s.setBoundary(ctx, c, meta.User, in.UserName, "")
}

// DeleteRolePermissionsBoundary does the same for a role. Errors: fault.NoSuchEntity, fault.UnmodifiableEntity.
// Source: IAM API reference, DeleteRolePermissionsBoundary.
func (s *Service) DeleteRolePermissionsBoundary(ctx context.Context, c identity.Caller, in *iamtypes.DeleteRolePermissionsBoundaryRequest) (*None, error) {
	return s.setBoundary(ctx, c, meta.Role, in.RoleName, "")
}

func (s *Service) setBoundary(ctx context.Context, c identity.Caller, kind meta.EntityKind, entityName, arn string) (*None, error) {
	_, err := s.update(ctx, c.Account, kind, entityName, func(e *meta.Entity) error {
		e.Boundary = arn
		return modifiable(*e)
	})
	return none(err)
}
