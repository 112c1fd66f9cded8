package iam

import (
	"context"
	"errors"
	"slices"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// maxInline is the maximum total number of characters of all inline policies of an entity, white space not counted.
// Source: IAM user guide, IAM and STS quotas.
var maxInline = [...]int{meta.User: 2048, meta.Group: 5120, meta.Role: 10240}

// PutUserPolicy sets an inline policy of a user.
// Errors: fault.NoSuchEntity, fault.MalformedPolicyDocument (with the place), fault.LimitExceeded.
// Source: IAM API reference, PutUserPolicy.
func (s *Service) PutUserPolicy(ctx context.Context, _ identity.Caller, e Changed, in *iamtypes.PutUserPolicyRequest) (*None, error) {
	return s.putInline(ctx, e, in.PolicyName, in.PolicyDocument)
}

// PutGroupPolicy sets an inline policy of a group. Errors: those of PutUserPolicy.
// Source: IAM API reference, PutGroupPolicy.
func (s *Service) PutGroupPolicy(ctx context.Context, _ identity.Caller, e Changed, in *iamtypes.PutGroupPolicyRequest) (*None, error) {
	return s.putInline(ctx, e, in.PolicyName, in.PolicyDocument)
}

// PutRolePolicy sets an inline policy of a role. Errors: those of PutUserPolicy; fault.UnmodifiableEntity.
// Source: IAM API reference, PutRolePolicy.
func (s *Service) PutRolePolicy(ctx context.Context, _ identity.Caller, e Changed, in *iamtypes.PutRolePolicyRequest) (*None, error) {
	return s.putInline(ctx, e, in.PolicyName, in.PolicyDocument)
}

// putInline sets an inline policy. A request that names the policy that it has seen does so by the hash of the text that GetUserPolicy and
// its like return, decoded.
//
// Errors: those of PutUserPolicy, fault.PreconditionFailed.
func (s *Service) putInline(ctx context.Context, e Changed, policyName, text string) (*None, error) {
	if err := modifiable(e.Entity); err != nil {
		return nil, err
	}
	// The quota is for all inline policies of the entity together, so the store checks it.
	if _, err := parse(text, policy.Identity, maxDocument); err != nil {
		return nil, err
	}
	return none(s.meta.ReplaceInline(ctx, e.ID, meta.Inline{Name: policyName, Text: text}, maxInline[e.Kind], func(now string) error {
		return e.If.Check(policy.Hash(now))
	}))
}

// GetUserPolicy shows an inline policy of a user. Errors: fault.NoSuchEntity. Source: IAM API reference, GetUserPolicy.
func (s *Service) GetUserPolicy(ctx context.Context, _ identity.Caller, e meta.Entity,
	in *iamtypes.GetUserPolicyRequest) (*iamtypes.GetUserPolicyResponse, error) {
	text, err := s.getInline(ctx, e, in.PolicyName)
	if err != nil {
		return nil, err
	}
	return &iamtypes.GetUserPolicyResponse{UserName: in.UserName, PolicyName: in.PolicyName, PolicyDocument: text}, nil
}

// GetGroupPolicy shows an inline policy of a group. Errors: fault.NoSuchEntity. Source: IAM API reference, GetGroupPolicy.
func (s *Service) GetGroupPolicy(ctx context.Context, _ identity.Caller, e meta.Entity,
	in *iamtypes.GetGroupPolicyRequest) (*iamtypes.GetGroupPolicyResponse, error) {
	text, err := s.getInline(ctx, e, in.PolicyName)
	if err != nil {
		return nil, err
	}
	return &iamtypes.GetGroupPolicyResponse{GroupName: in.GroupName, PolicyName: in.PolicyName, PolicyDocument: text}, nil
}

// GetRolePolicy shows an inline policy of a role. Errors: fault.NoSuchEntity. Source: IAM API reference, GetRolePolicy.
func (s *Service) GetRolePolicy(ctx context.Context, _ identity.Caller, e meta.Entity,
	in *iamtypes.GetRolePolicyRequest) (*iamtypes.GetRolePolicyResponse, error) {
	text, err := s.getInline(ctx, e, in.PolicyName)
	if err != nil {
		return nil, err
	}
	return &iamtypes.GetRolePolicyResponse{RoleName: in.RoleName, PolicyName: in.PolicyName, PolicyDocument: text}, nil
}

func (s *Service) getInline(ctx context.Context, e meta.Entity, policyName string) (string, error) {
	all, err := s.meta.Inlines(ctx, e.ID)
	if err != nil {
		return "", err
	}
	at := slices.IndexFunc(all, func(p meta.Inline) bool { return p.Name == policyName })
	if at < 0 {
		return "", noInline(e, policyName)
	}
	return encode(all[at].Text), nil
}

func noInline(e meta.Entity, policyName string) *fault.Error {
	return fault.NoSuchEntity.New("The %s policy with name %s cannot be found.", words[e.Kind], name.Clip(policyName))
}

// words are the words for the kinds in texts and in names of policies.
var words = [...]string{meta.User: "user", meta.Group: "group", meta.Role: "role"}

// DeleteUserPolicy removes an inline policy of a user. Errors: fault.NoSuchEntity.
// Source: IAM API reference, DeleteUserPolicy.
func (s *Service) DeleteUserPolicy(ctx context.Context, _ identity.Caller, e meta.Entity,
	in *iamtypes.DeleteUserPolicyRequest) (*None, error) {
	return s.deleteInline(ctx, e, in.PolicyName)
}

// DeleteGroupPolicy removes an inline policy of a group. Errors: fault.NoSuchEntity.
// Source: IAM API reference, DeleteGroupPolicy.
func (s *Service) DeleteGroupPolicy(ctx context.Context, _ identity.Caller, e meta.Entity,
	in *iamtypes.DeleteGroupPolicyRequest) (*None, error) {
	return s.deleteInline(ctx, e, in.PolicyName)
}

// DeleteRolePolicy removes an inline policy of a role. Errors: fault.NoSuchEntity, fault.UnmodifiableEntity.
// Source: IAM API reference, DeleteRolePolicy.
func (s *Service) DeleteRolePolicy(ctx context.Context, _ identity.Caller, e meta.Entity,
	in *iamtypes.DeleteRolePolicyRequest) (*None, error) {
	return s.deleteInline(ctx, e, in.PolicyName)
}

func (s *Service) deleteInline(ctx context.Context, e meta.Entity, policyName string) (*None, error) {
	if err := modifiable(e); err != nil {
		return nil, err
	}
	err := s.meta.DeleteInline(ctx, e.ID, policyName)
	if errors.Is(err, fault.NoSuchEntity) {
		err = noInline(e, policyName).Because(err)
	}
	return none(err)
}

// ListUserPolicies lists the names of the inline policies of a user. Errors: fault.NoSuchEntity, fault.Validation (the
// marker). Source: IAM API reference, ListUserPolicies.
func (s *Service) ListUserPolicies(ctx context.Context, c identity.Caller, e meta.Entity,
	in *iamtypes.ListUserPoliciesRequest) (*iamtypes.ListUserPoliciesResponse, error) {
	page, truncated, marker, err := s.listInline(ctx, c, "ListUserPolicies", e, in.UserName, in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	return &iamtypes.ListUserPoliciesResponse{PolicyNames: page, IsTruncated: truncated, Marker: marker}, nil
}

// ListGroupPolicies lists the names of the inline policies of a group. Errors: those of ListUserPolicies.
// Source: IAM API reference, ListGroupPolicies.
func (s *Service) ListGroupPolicies(ctx context.Context, c identity.Caller, e meta.Entity,
	in *iamtypes.ListGroupPoliciesRequest) (*iamtypes.ListGroupPoliciesResponse, error) {
	page, truncated, marker, err := s.listInline(ctx, c, "ListGroupPolicies", e, in.GroupName, in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	return &iamtypes.ListGroupPoliciesResponse{PolicyNames: page, IsTruncated: truncated, Marker: marker}, nil
}

// ListRolePolicies lists the names of the inline policies of a role. Errors: those of ListUserPolicies.
// Source: IAM API reference, ListRolePolicies.
func (s *Service) ListRolePolicies(ctx context.Context, c identity.Caller, e meta.Entity,
	in *iamtypes.ListRolePoliciesRequest) (*iamtypes.ListRolePoliciesResponse, error) {
	page, truncated, marker, err := s.listInline(ctx, c, "ListRolePolicies", e, in.RoleName, in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	return &iamtypes.ListRolePoliciesResponse{PolicyNames: page, IsTruncated: truncated, Marker: marker}, nil
}

func (s *Service) listInline(ctx context.Context, c identity.Caller, operation string, e meta.Entity, entityName,
	marker string, maxItems *int32) (page []string, truncated *bool, next string, err error) {
	p, err := s.paging(c, operation, marker, maxItems, entityName)
	if err != nil {
		return nil, nil, "", err
	}
	all, err := s.meta.Inlines(ctx, e.ID)
	if err != nil {
		return nil, nil, "", err
	}
	names := each(all, func(p meta.Inline) string { return p.Name })
	page, truncated, next = cut(p, names, func(n string) string { return n })
	return page, truncated, next, nil
}
