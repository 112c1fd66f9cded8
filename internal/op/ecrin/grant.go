package ecrin

import (
	"context"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/op/ecr"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// GrantRepositoryAccess merges a permission into the policy of a repository and returns the result. With apply it also
// sets the policy.
//
// Errors: fault.InvalidParameter (the principal; the policy names a deleted principal), fault.TargetChanged (another
// request has set the policy since it was read; nothing was stored), fault.RepositoryNotFound.
func (s *Service) GrantRepositoryAccess(ctx context.Context, _ identity.Caller, r ecr.Repository,
	in *ecrintypes.GrantRepositoryAccessRequest) (*ecrintypes.GrantRepositoryAccessResponse, error) {
	to, err := policy.ParsePrincipal(in.Principal)
	if err != nil {
		return nil, err
	}
	actions, sid := policy.PullActions(), "AllowPull"
	if in.Permission == ecrintypes.PermissionPUSH {
		actions, sid = policy.PushActions(), policy.PushSid
	}
	existing, err := s.policyToMerge(ctx, r.Repository)
	if err != nil {
		return nil, err
	}
	merged, changed, warnings := policy.Grant(existing, to, actions, sid)
	_, bound, err := s.ecr.ReadPolicy(ctx, merged.String(), policy.Repository)
	if err != nil {
		return nil, err
	}
	out := &ecrintypes.GrantRepositoryAccessResponse{PolicyText: bound.Text, Changed: changed}
	for _, w := range append(warnings, policy.Warnings(merged, r.Registry)...) {
		// Every grant writes the action that this warning is about, because platforms check that the policy has it.
		if w.Code != policy.WarnToken {
			out.Warnings = append(out.Warnings, ecrintypes.PolicyWarning{Code: string(w.Code), Path: w.Path, Text: w.Text})
		}
	}
	if !changed || in.Apply == nil || !*in.Apply {
		return out, nil
	}
	out.Applied, err = s.meta.ReplacePolicy(ctx, r.Repository, bound)
	if err == nil && !out.Applied {
		err = fault.TargetChanged.New("the policy of '%s' was set by another request", r.Name)
	}
	return out, err
}

// policyToMerge returns the policy of a repository with the current names of its principals, nil if it has no policy.
//
// Errors: fault.InvalidParameter (a principal was deleted: it is shown by its id, which a policy cannot be set with).
func (s *Service) policyToMerge(ctx context.Context, r meta.Repository) (*policy.Document, error) {
	if r.Policy.Text == "" {
		return nil, nil
	}
	shown, err := s.ecr.ShowPolicy(ctx, r)
	if err != nil {
		return nil, err
	}
	d, err := policy.ParseStored(*shown, policy.Repository)
	if err != nil {
		return nil,
			fault.InvalidParameter.New(
				"the policy of '%s' names a user or role that was deleted: remove it from the policy, then grant", r.Name).Because(err)
	}
	return d, nil
}

// RemoveRepositoryPolicy deletes the policy of a repository and returns its text. The operator uses it to delete a
// policy that denies DeleteRepositoryPolicy to all principals of the account, because policies do not apply to the
// operator.
//
// Errors: fault.RepositoryPolicyNotFound, fault.RepositoryNotFound.
func (s *Service) RemoveRepositoryPolicy(ctx context.Context, _ identity.Caller, r ecr.Repository,
	_ *ecrintypes.RemoveRepositoryPolicyRequest) (*ecrintypes.RemoveRepositoryPolicyResponse, error) {
	text, err := s.ecr.ShowPolicy(ctx, r.Repository)
	if err != nil {
		return nil, err
	}
	return &ecrintypes.RemoveRepositoryPolicyResponse{PolicyText: *text}, s.meta.SetPolicy(ctx, r.Repository, meta.BoundPolicy{})
}
