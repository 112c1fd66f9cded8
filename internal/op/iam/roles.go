package iam

import (
	"context"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// Source: IAM user guide, IAM and STS quotas.
const (
	maxRoles = 1000
	maxTrust = 2048 // characters, white space not counted
)

// sessionWithout is the maximum session duration of a role that is made without MaxSessionDuration. Source: IAM API
// reference, CreateRole.
const sessionWithout = time.Hour

// reservedPaths are the paths of roles that AWS makes. Source: IAM user guide, IAM identifiers.
var reservedPaths = []string{serviceLinkedPath, "/aws-reserved/"}

// CreateRole makes a role with a trust policy and without other policies.
//
// Errors: fault.EntityAlreadyExists (also for a name that differs in case only), fault.MalformedPolicyDocument (with the place,
// or the principal that does not exist), fault.LimitExceeded (roles; the length of the trust policy), fault.InvalidInput (the
// tags; a reserved path), fault.NoSuchEntity and fault.PolicyNotAttachable (the boundary).
// Source: IAM API reference, CreateRole.
func (s *Service) CreateRole(ctx context.Context, c identity.Caller, boundary ManagedPolicy,
	in *iamtypes.CreateRoleRequest) (*iamtypes.CreateRoleResponse, error) {
	for _, reserved := range reservedPaths {
		if strings.HasPrefix(in.Path, reserved) {
			return nil, fault.InvalidInput.New("The path %s is reserved for roles of AWS services.", reserved)
		}
	}
	tags, err := tagsOf(in.Tags, foldCase)
	if err != nil {
		return nil, err
	}
	e := s.newEntity(c, meta.Role, "AROA", in.Path, in.RoleName)
	if e.Trust, err = s.trust(ctx, in.AssumeRolePolicyDocument); err != nil {
		return nil, err
	}
	e.Boundary, e.Description, e.MaxSession = boundary.ARN, in.Description, sessionWithout
	if in.MaxSessionDuration != nil {
		e.MaxSession = time.Duration(*in.MaxSessionDuration) * time.Second
	}
	if err := s.meta.CreateEntity(ctx, e, tags, maxRoles); err != nil {
		return nil, err
	}
	r, err := s.shortRole(ctx, e)
	r.PermissionsBoundary, r.Tags = showBoundary(e.Boundary), tagList(tags)
	return &iamtypes.CreateRoleResponse{Role: r}, err
}

// trust parses a trust policy. Errors: fault.MalformedPolicyDocument, fault.LimitExceeded.
func (s *Service) trust(ctx context.Context, text string) (meta.BoundPolicy, error) {
	d, err := parse(text, policy.Trust, maxTrust)
	if err != nil {
		return meta.BoundPolicy{}, err
	}
	return s.bind(ctx, text, d)
}

// roleOf returns a role in the form of listings: without boundary, tags and last use. Source: IAM API reference,
// ListRoles.
func (s *Service) roleOf(ctx context.Context, e meta.Entity) (iamtypes.Role, error) {
	trust, err := s.show(ctx, e.Trust, policy.Trust)
	return iamtypes.Role{
		Path: e.Path, RoleName: e.Name, RoleId: e.ID, Arn: e.ARN(), CreateDate: awswire.Time{Time: e.CreatedAt},
		AssumeRolePolicyDocument: trust, Description: e.Description, MaxSessionDuration: new(int32(e.MaxSession / time.Second)),
	}, err
}

// shortRole returns a role in the form of responses about its creation, its description or its instance profile: without
// description and maximum session duration too. Source: answers of IAM.
func (s *Service) shortRole(ctx context.Context, e meta.Entity) (iamtypes.Role, error) {
	r, err := s.roleOf(ctx, e)
	r.Description, r.MaxSessionDuration = "", nil
	return r, err
}

// rolesOf returns a list of roles in the form of listings. The list is never nil.
func (s *Service) rolesOf(ctx context.Context, all []meta.Entity) ([]iamtypes.Role, error) {
	out := []iamtypes.Role{}
	for _, e := range all {
		r, err := s.roleOf(ctx, e)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// lastUsed returns the last use of a role; it is empty if the role was never used.
func lastUsed(e meta.Entity) *iamtypes.RoleLastUsed {
	return &iamtypes.RoleLastUsed{LastUsedDate: awswire.At(e.LastUsedAt), Region: e.LastUsedRegion}
}

// GetRole shows a role with its trust policy. Errors: fault.NoSuchEntity. Source: IAM API reference, GetRole.
func (s *Service) GetRole(ctx context.Context, _ identity.Caller, e meta.Entity,
	_ *iamtypes.GetRoleRequest) (*iamtypes.GetRoleResponse, error) {
	r, err := s.fullRole(ctx, e)
	return &iamtypes.GetRoleResponse{Role: r}, err
}

func (s *Service) fullRole(ctx context.Context, e meta.Entity) (iamtypes.Role, error) {
	r, err := s.roleOf(ctx, e)
	if err != nil {
		return r, err
	}
	tags, err := s.meta.EntityTags(ctx, e.ID)
	r.PermissionsBoundary, r.Tags, r.RoleLastUsed = showBoundary(e.Boundary), tagList(tags), lastUsed(e)
	return r, err
}

// ListRoles lists roles by name. Errors: fault.Validation (the marker). Source: IAM API reference, ListRoles.
func (s *Service) ListRoles(ctx context.Context, c identity.Caller, _ guard.Nothing,
	in *iamtypes.ListRolesRequest) (*iamtypes.ListRolesResponse, error) {
	page, truncated, marker, err := s.entities(ctx, c, "ListRoles", meta.Role, in.PathPrefix, in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	roles, err := s.rolesOf(ctx, page)
	return &iamtypes.ListRolesResponse{Roles: roles, IsTruncated: truncated, Marker: marker}, err
}

// UpdateRole changes a role. An empty description counts as absent, and the description stays; UpdateRoleDescription can
// remove it. Without MaxSessionDuration, the maximum session duration becomes that of a new role. Of a service-linked
// role, only the description can be changed.
//
// Errors: fault.NoSuchEntity, fault.UnmodifiableEntity.
// Sources: IAM API reference, UpdateRole; answers of IAM; ECR user guide, using service-linked roles.
func (s *Service) UpdateRole(ctx context.Context, _ identity.Caller, role meta.Entity,
	in *iamtypes.UpdateRoleRequest) (*iamtypes.UpdateRoleResponse, error) {
	_, err := s.meta.UpdateEntity(ctx, role, func(e *meta.Entity) error {
		if in.Description != "" {
			e.Description = in.Description
		}
		protected := modifiable(*e)
		switch {
		case in.MaxSessionDuration != nil:
			e.MaxSession = time.Duration(*in.MaxSessionDuration) * time.Second
			return protected
		case protected == nil:
			e.MaxSession = sessionWithout
		}
		return nil
	})
	return &iamtypes.UpdateRoleResponse{}, err
}

// UpdateRoleDescription sets or removes the description of a role, also of a service-linked role.
//
// Errors: fault.NoSuchEntity.
// Sources: IAM API reference, UpdateRoleDescription; ECR user guide, using service-linked roles.
func (s *Service) UpdateRoleDescription(ctx context.Context, _ identity.Caller, role meta.Entity,
	in *iamtypes.UpdateRoleDescriptionRequest) (*iamtypes.UpdateRoleDescriptionResponse, error) {
	e, err := s.meta.UpdateEntity(ctx, role, func(e *meta.Entity) error {
		e.Description = in.Description
		return nil
	})
	if err != nil {
		return nil, err
	}
	r, err := s.shortRole(ctx, e)
	r.Description = e.Description
	return &iamtypes.UpdateRoleDescriptionResponse{Role: &r}, err
}

// UpdateAssumeRolePolicy replaces the trust policy of a role.
//
// A request that names the policy that it has seen does so by the hash of the text that GetRole returns, decoded.
//
// Errors: fault.NoSuchEntity, fault.MalformedPolicyDocument, fault.LimitExceeded, fault.UnmodifiableEntity, fault.PreconditionFailed.
// Source: IAM API reference, UpdateAssumeRolePolicy.
func (s *Service) UpdateAssumeRolePolicy(ctx context.Context, _ identity.Caller, role Changed,
	in *iamtypes.UpdateAssumeRolePolicyRequest) (*None, error) {
	trust, err := s.trust(ctx, in.PolicyDocument)
	if err != nil {
		return nil, err
	}
	if role.If.Given() {
		shown, err := s.id.Show(ctx, role.Trust, policy.Trust)
		if err == nil {
			err = role.If.Check(policy.Hash(shown))
		}
		if err != nil {
			return nil, err
		}
	}
	_, err = s.meta.UpdateEntity(ctx, role.Entity, func(e *meta.Entity) error {
		if role.If.Given() && e.Trust.Text != role.Trust.Text {
			return fault.TargetChanged.New("the trust policy of %s was set by another request", e.Name) // and then it has another hash
		}
		e.Trust = trust
		return modifiable(*e)
	})
	return none(err)
}

// DeleteRole removes a role without policies and instance profiles. Its sessions end immediately.
//
// Errors: fault.NoSuchEntity, fault.DeleteConflict, fault.UnmodifiableEntity (DeleteServiceLinkedRole removes such a role).
// Source: IAM API reference, DeleteRole.
func (s *Service) DeleteRole(ctx context.Context, _ identity.Caller, e meta.Entity, _ *iamtypes.DeleteRoleRequest) (*None, error) {
	if err := modifiable(e); err != nil {
		return nil, err
	}
	return none(s.meta.DeleteEntity(ctx, e))
}
