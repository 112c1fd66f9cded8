package iam

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// maxAttached is the maximum number of managed policies of a user, group or role. Source: IAM user guide, IAM and STS
// quotas.
const maxAttached = 10

// EntityPolicy is a user, group or role and a managed policy, which is to be attached or to become its permissions
// boundary.
//
// The ARN of the policy is stored. A policy that is attached or a boundary cannot be deleted, so that the ARN continues
// to name the same policy.
type EntityPolicy struct {
	Entity meta.Entity
	Policy ManagedPolicy
}

// OnUserAttachment resolves a user and the managed policy to be attached to it. The request needs the action on the
// user only; the policy's ARN is a condition key. Source: service authorization reference of IAM, AttachUserPolicy.
func OnUserAttachment(s *Service, ctx context.Context, req guard.Request,
	in *iamtypes.AttachUserPolicyRequest) (guard.Target[EntityPolicy], error) {
	return s.onAttachment(ctx, req, meta.User, in.UserName, in.PolicyArn)
}

// OnGroupAttachment resolves a group and the managed policy to be attached to it.
func OnGroupAttachment(s *Service, ctx context.Context, req guard.Request,
	in *iamtypes.AttachGroupPolicyRequest) (guard.Target[EntityPolicy], error) {
	return s.onAttachment(ctx, req, meta.Group, in.GroupName, in.PolicyArn)
}

// OnRoleAttachment resolves a role and the managed policy to be attached to it.
func OnRoleAttachment(s *Service, ctx context.Context, req guard.Request,
	in *iamtypes.AttachRolePolicyRequest) (guard.Target[EntityPolicy], error) {
	return s.onAttachment(ctx, req, meta.Role, in.RoleName, in.PolicyArn)
}

func (s *Service) onAttachment(ctx context.Context, req guard.Request, kind meta.EntityKind, entityName,
	arn string) (guard.Target[EntityPolicy], error) {
	e, err := s.onEntity(ctx, req, kind, entityName, "")
	t := guard.Target[EntityPolicy]{Value: EntityPolicy{Entity: e.Value}, Asks: e.Asks, Absent: e.Absent}
	if err != nil || t.Absent != nil {
		return t, err
	}
	t.Value.Policy, err = s.managedPolicy(ctx, req.By.Account, arn)
	t.Absent, err = absence(err)
	return t, err
}

// AttachUserPolicy attaches a managed policy to a user. It is no error if the policy is already attached.
//
// Errors: fault.NoSuchEntity, fault.LimitExceeded, fault.InvalidInput (the ARN), fault.PolicyNotAttachable (a policy of
// service-linked roles). Source: IAM API reference, AttachUserPolicy.
func (s *Service) AttachUserPolicy(ctx context.Context, _ identity.Caller, t EntityPolicy,
	_ *iamtypes.AttachUserPolicyRequest) (*None, error) {
	return s.attach(ctx, t)
}

// AttachGroupPolicy attaches a managed policy to a group. Errors: those of AttachUserPolicy.
// Source: IAM API reference, AttachGroupPolicy.
func (s *Service) AttachGroupPolicy(ctx context.Context, _ identity.Caller, t EntityPolicy,
	_ *iamtypes.AttachGroupPolicyRequest) (*None, error) {
	return s.attach(ctx, t)
}

// AttachRolePolicy attaches a managed policy to a role.
// Errors: those of AttachUserPolicy; fault.UnmodifiableEntity (a service-linked role).
// Source: IAM API reference, AttachRolePolicy.
func (s *Service) AttachRolePolicy(ctx context.Context, _ identity.Caller, t EntityPolicy,
	_ *iamtypes.AttachRolePolicyRequest) (*None, error) {
	return s.attach(ctx, t)
}

func (s *Service) attach(ctx context.Context, t EntityPolicy) (*None, error) {
	if err := modifiable(t.Entity); err != nil {
		return nil, err
	}
	if t.Policy.AWS != nil && t.Policy.AWS.ServiceLinked {
		return nil, fault.PolicyNotAttachable.New("Cannot attach a Service Role Policy to a Customer Role.")
	}
	return none(s.meta.Attach(ctx, t.Entity.ID, t.Policy.ARN, maxAttached))
}

// DetachUserPolicy detaches a managed policy from a user.
// Errors: fault.NoSuchEntity, also for a policy that is not attached; fault.InvalidInput (the ARN).
// Source: IAM API reference, DetachUserPolicy.
func (s *Service) DetachUserPolicy(ctx context.Context, _ identity.Caller, e meta.Entity,
	in *iamtypes.DetachUserPolicyRequest) (*None, error) {
	return s.detach(ctx, e, in.PolicyArn)
}

// DetachGroupPolicy detaches a managed policy from a group. Errors: those of DetachUserPolicy.
// Source: IAM API reference, DetachGroupPolicy.
func (s *Service) DetachGroupPolicy(ctx context.Context, _ identity.Caller, e meta.Entity,
	in *iamtypes.DetachGroupPolicyRequest) (*None, error) {
	return s.detach(ctx, e, in.PolicyArn)
}

// DetachRolePolicy detaches a managed policy from a role.
// Errors: those of DetachUserPolicy; fault.UnmodifiableEntity (a service-linked role).
// Source: IAM API reference, DetachRolePolicy.
func (s *Service) DetachRolePolicy(ctx context.Context, _ identity.Caller, e meta.Entity,
	in *iamtypes.DetachRolePolicyRequest) (*None, error) {
	return s.detach(ctx, e, in.PolicyArn)
}

func (s *Service) detach(ctx context.Context, e meta.Entity, arn string) (*None, error) {
	if err := modifiable(e); err != nil {
		return nil, err
	}
	if err := policyARN(arn); err != nil {
		return nil, err
	}
	return none(s.meta.Detach(ctx, e.ID, arn))
}

// ListAttachedUserPolicies lists the managed policies of a user by name, without those of its groups.
// Errors: fault.NoSuchEntity, fault.Validation (the marker). Source: IAM API reference, ListAttachedUserPolicies.
func (s *Service) ListAttachedUserPolicies(ctx context.Context, c identity.Caller, e meta.Entity,
	in *iamtypes.ListAttachedUserPoliciesRequest) (*iamtypes.ListAttachedUserPoliciesResponse, error) {
	page, truncated, marker, err := s.listAttached(ctx, c, "ListAttachedUserPolicies", e, in.UserName, in.PathPrefix, in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	return &iamtypes.ListAttachedUserPoliciesResponse{AttachedPolicies: page, IsTruncated: truncated, Marker: marker}, nil
}

// ListAttachedGroupPolicies lists the managed policies of a group by name. Errors: those of ListAttachedUserPolicies.
// Source: IAM API reference, ListAttachedGroupPolicies.
func (s *Service) ListAttachedGroupPolicies(ctx context.Context, c identity.Caller, e meta.Entity,
	in *iamtypes.ListAttachedGroupPoliciesRequest) (*iamtypes.ListAttachedGroupPoliciesResponse, error) {
	page, truncated, marker, err := s.listAttached(ctx, c, "ListAttachedGroupPolicies", e, in.GroupName, in.PathPrefix, in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	return &iamtypes.ListAttachedGroupPoliciesResponse{AttachedPolicies: page, IsTruncated: truncated, Marker: marker}, nil
}

// ListAttachedRolePolicies lists the managed policies of a role by name. Errors: those of ListAttachedUserPolicies.
// Source: IAM API reference, ListAttachedRolePolicies.
func (s *Service) ListAttachedRolePolicies(ctx context.Context, c identity.Caller, e meta.Entity,
	in *iamtypes.ListAttachedRolePoliciesRequest) (*iamtypes.ListAttachedRolePoliciesResponse, error) {
	page, truncated, marker, err := s.listAttached(ctx, c, "ListAttachedRolePolicies", e, in.RoleName, in.PathPrefix, in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	return &iamtypes.ListAttachedRolePoliciesResponse{AttachedPolicies: page, IsTruncated: truncated, Marker: marker}, nil
}

func (s *Service) listAttached(ctx context.Context, c identity.Caller, operation string, e meta.Entity, entityName,
	pathPrefix, marker string, maxItems *int32) (page []iamtypes.AttachedPolicy, truncated *bool, next string, err error) {
	p, err := s.paging(c, operation, marker, maxItems, entityName, pathPrefix)
	if err != nil {
		return nil, nil, "", err
	}
	all, err := s.attachedTo(ctx, e)
	if err != nil {
		return nil, nil, "", err
	}
	all = slices.DeleteFunc(all, func(a iamtypes.AttachedPolicy) bool { return !strings.HasPrefix(pathOf(a.PolicyArn), pathPrefix) })
	page, truncated, next = cut(p, all, func(a iamtypes.AttachedPolicy) string { return a.PolicyName + " " + a.PolicyArn })
	return page, truncated, next, nil
}

// attachedTo returns the managed policies of an entity in the form of responses. The list is never nil.
func (s *Service) attachedTo(ctx context.Context, e meta.Entity) ([]iamtypes.AttachedPolicy, error) {
	arns, err := s.meta.Attachments(ctx, e.ID)
	return each(arns, func(arn string) iamtypes.AttachedPolicy {
		return iamtypes.AttachedPolicy{PolicyName: nameIn(arn), PolicyArn: arn}
	}), err
}

// nameIn and pathOf return the name and the path in the ARN of a managed policy.
func nameIn(arn string) string { return arn[strings.LastIndexByte(arn, '/')+1:] }

func pathOf(arn string) string {
	_, path, _ := strings.Cut(arn, ":policy")
	return path[:strings.LastIndexByte(path, '/')+1]
}

// ListEntitiesForPolicy lists the users, groups and roles of the account that have a managed policy, attached or as their
// boundary: groups first, then users, then roles, each by name.
//
// Errors: fault.NoSuchEntity, fault.InvalidInput (the ARN), fault.Validation (the marker).
// Source: IAM API reference, ListEntitiesForPolicy.
func (s *Service) ListEntitiesForPolicy(ctx context.Context, c identity.Caller, m ManagedPolicy,
	in *iamtypes.ListEntitiesForPolicyRequest) (*iamtypes.ListEntitiesForPolicyResponse, error) {
	p, err := s.paging(c, "ListEntitiesForPolicy", in.Marker, in.MaxItems, in.PolicyArn, string(in.EntityFilter),
		in.PathPrefix, string(in.PolicyUsageFilter))
	if err != nil {
		return nil, err
	}
	users, err := s.meta.AttachedTo(ctx, c.Account, m.ARN)
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{} // the same policy may be attached to an entity and be its boundary
	users = slices.DeleteFunc(users, func(a meta.Attached) bool {
		if in.PolicyUsageFilter != "" && a.Boundary != (in.PolicyUsageFilter == iamtypes.PolicyUsageTypePermissionsBoundary) ||
			in.EntityFilter != "" && in.EntityFilter != filters[a.Entity.Kind] ||
			!strings.HasPrefix(a.Entity.Path, in.PathPrefix) || seen[a.Entity.ID] {
			return true
		}
		seen[a.Entity.ID] = true
		return false
	})
	rank := [...]int{meta.Group: 0, meta.User: 1, meta.Role: 2}
	page, truncated, marker := cut(p, users, func(a meta.Attached) string { return fmt.Sprint(rank[a.Entity.Kind], a.Entity.Name) })
	out := &iamtypes.ListEntitiesForPolicyResponse{
		PolicyGroups: []iamtypes.PolicyGroup{}, PolicyUsers: []iamtypes.PolicyUser{}, PolicyRoles: []iamtypes.PolicyRole{},
		IsTruncated: truncated, Marker: marker,
	}
	for _, a := range page {
		switch e := a.Entity; e.Kind {
		case meta.Group:
			out.PolicyGroups = append(out.PolicyGroups, iamtypes.PolicyGroup{GroupName: e.Name, GroupId: e.ID})
		case meta.User:
			out.PolicyUsers = append(out.PolicyUsers, iamtypes.PolicyUser{UserName: e.Name, UserId: e.ID})
		case meta.Role:
			out.PolicyRoles = append(out.PolicyRoles, iamtypes.PolicyRole{RoleName: e.Name, RoleId: e.ID})
		}
	}
	return out, nil
}

// filters are the values that select kinds of entities in requests. The values for policies select no entity with a
// policy.
var filters = [...]iamtypes.EntityType{
	meta.User: iamtypes.EntityTypeUser, meta.Group: iamtypes.EntityTypeGroup, meta.Role: iamtypes.EntityTypeRole,
	meta.ManagedPolicy: iamtypes.EntityTypeLocalManagedPolicy,
}
