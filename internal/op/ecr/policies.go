package ecr

import (
	"context"
	"errors"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/ecrtypes"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// ReadPolicy parses a policy of a repository or registry and binds the principals that it names to their ids.
//
// Errors: fault.InvalidParameter (an invalid policy, with the position in the text; a principal that does not exist).
func (s *Service) ReadPolicy(ctx context.Context, text string, kind policy.Kind) (*policy.Document, meta.BoundPolicy, error) {
	doc, err := policy.Parse(text, kind)
	if err != nil {
		return nil, meta.BoundPolicy{}, err
	}
	ids, missing, err := s.identity.Bind(ctx, doc)
	if err != nil {
		return nil, meta.BoundPolicy{}, err
	}
	if missing != nil {
		return nil, meta.BoundPolicy{},
			fault.InvalidParameter.New("Invalid parameter at 'PolicyText' failed to satisfy constraint: 'Principal not found' (%s does not exist here: its account, and the user or role, must exist in this installation first; an account by ecrin account create)", missing.Text)
	}
	return doc, meta.BoundPolicy{Text: doc.String(), IDs: ids}, nil
}

// SetRepositoryPolicy replaces the policy of a repository. Without force, it refuses a policy that would not permit the
// caller to set the policy again.
//
// Errors: fault.InvalidParameter (the policy; its principals; the lock-out check), fault.RepositoryNotFound.
// Source: ECR API reference, SetRepositoryPolicy.
func (s *Service) SetRepositoryPolicy(ctx context.Context, by identity.Caller, r GuardedRepository,
	in *ecrtypes.SetRepositoryPolicyRequest) (*ecrtypes.SetRepositoryPolicyResponse, error) {
	_, bound, err := s.ReadPolicy(ctx, in.PolicyText, policy.Repository)
	if err != nil {
		return nil, err
	}
	if in.Force == nil || !*in.Force {
		if err := s.KeepsCaller(ctx, by, r, bound); err != nil {
			return nil, err
		}
	}
	if err := s.meta.SetPolicy(ctx, r.Repository.Repository, bound); err != nil {
		return nil, err
	}
	return &ecrtypes.SetRepositoryPolicyResponse{RegistryId: r.Registry.Account.String(), RepositoryName: r.Name.String(),
		PolicyText: &bound.Text}, nil
}

// KeepsCaller refuses a policy that would not permit the caller to set the policy again: the guard decides the same
// request as if the repository had policy p.
//
// Errors: fault.InvalidParameter. Source: ECR API reference, SetRepositoryPolicy, force.
func (s *Service) KeepsCaller(ctx context.Context, by identity.Caller, r GuardedRepository, p meta.BoundPolicy) error {
	if by.Kind == identity.Operator {
		return nil
	}
	again, with := r.Ask, r.Repository.Repository
	with.Policy = p
	again.Action, again.Repository = "ecr:SetRepositoryPolicy", &with
	err := s.guard.Decide(ctx, by, r.From, new(guard.Record), again)
	if errors.Is(err, fault.AccessDenied) {
		return fault.InvalidParameter.New("Invalid parameter at 'PolicyText' failed to satisfy constraint: 'Invalid repository policy provided' (with this policy you could not set a policy again: change it, or repeat with --force)").Because(err)
	}
	return err
}

// ShowPolicy returns the text of the policy of a repository, with the current names of its principals.
//
// Errors: fault.RepositoryPolicyNotFound.
func (s *Service) ShowPolicy(ctx context.Context, r meta.Repository) (*string, error) {
	if r.Policy.Text == "" {
		return nil, fault.RepositoryPolicyNotFound.New(
			"Repository policy does not exist for the repository with name '%s' in the registry with id '%s'", r.Name, r.Registry.Account)
	}
	text, err := s.identity.Show(ctx, r.Policy, policy.Repository)
	return &text, err
}

// GetRepositoryPolicy returns the policy of a repository.
//
// Errors: fault.RepositoryPolicyNotFound. Source: ECR API reference, GetRepositoryPolicy.
func (s *Service) GetRepositoryPolicy(ctx context.Context, by identity.Caller, r Repository,
	in *ecrtypes.GetRepositoryPolicyRequest) (*ecrtypes.GetRepositoryPolicyResponse, error) {
	text, err := s.ShowPolicy(ctx, r.Repository)
	if err != nil {
		return nil, err
	}
	return &ecrtypes.GetRepositoryPolicyResponse{RegistryId: r.Registry.Account.String(), RepositoryName: r.Name.String(),
		PolicyText: text}, nil
}

// DeleteRepositoryPolicy deletes the policy of a repository and returns its text.
//
// Errors: fault.RepositoryPolicyNotFound, fault.RepositoryNotFound. Source: ECR API reference, DeleteRepositoryPolicy.
func (s *Service) DeleteRepositoryPolicy(ctx context.Context, by identity.Caller, r Repository,
	in *ecrtypes.DeleteRepositoryPolicyRequest) (*ecrtypes.DeleteRepositoryPolicyResponse, error) {
	text, err := s.ShowPolicy(ctx, r.Repository)
	if err != nil {
		return nil, err
	}
	if err := s.meta.SetPolicy(ctx, r.Repository, meta.BoundPolicy{}); err != nil {
		return nil, err
	}
	return &ecrtypes.DeleteRepositoryPolicyResponse{RegistryId: r.Registry.Account.String(), RepositoryName: r.Name.String(),
		PolicyText: text}, nil
}

// PutRegistryPolicy sets the policy of the registry of the caller. If the account setting REGISTRY_POLICY_SCOPE is V1,
// the policy may contain only three actions.
//
// Errors: fault.InvalidParameter (the policy; its principals; the scope), fault.AccountNotFound, fault.PreconditionFailed (by the hash of
// the text that GetRegistryPolicy returns). Source: ECR user guide, private registry permissions.
func (s *Service) PutRegistryPolicy(ctx context.Context, _ identity.Caller, t Registry,
	in *ecrtypes.PutRegistryPolicyRequest) (*ecrtypes.PutRegistryPolicyResponse, error) {
	doc, bound, err := s.ReadPolicy(ctx, in.PolicyText, policy.Registry)
	if err != nil {
		return nil, err
	}
	scope, err := s.meta.Setting(ctx, t.Registry, meta.SettingPolicyScope)
	if err != nil {
		return nil, err
	}
	if scope == meta.PolicyScopeV1 && !policy.FitsV1(doc) {
		return nil,
			fault.InvalidParameter.New("Invalid parameter at 'PolicyText' failed to satisfy constraint: 'Invalid registry policy provided' (while the account setting %s is V1, only ecr:ReplicateImage, ecr:BatchImportUpstreamImage and ecr:CreateRepository are permitted)", meta.SettingPolicyScope)
	}
	if err := s.replaceRegistryPolicy(ctx, t, bound); err != nil {
		return nil, err
	}
	return &ecrtypes.PutRegistryPolicyResponse{RegistryId: t.Account.String(), PolicyText: &bound.Text}, nil
}

// replaceRegistryPolicy sets the policy of a registry, or deletes it, if it is the one that the request has seen.
//
// Errors: fault.PreconditionFailed, fault.TargetChanged (it has changed since the request was decided), fault.AccountNotFound.
func (s *Service) replaceRegistryPolicy(ctx context.Context, t Registry, p meta.BoundPolicy) error {
	if !t.If.Given() {
		return s.meta.PutRegistryPolicy(ctx, t.Registry, p)
	}
	was, err := s.meta.RegistryPolicy(ctx, t.Registry)
	if err != nil {
		return err
	}
	shown := ""
	if was.Text != "" {
		if shown, err = s.identity.Show(ctx, was, policy.Registry); err != nil {
			return err
		}
	}
	if err := t.If.Check(policy.Hash(shown)); err != nil {
		return err
	}
	return s.meta.ReplaceRegistryPolicy(ctx, t.Registry, was, p)
}

// showRegistryPolicy returns the text of the policy of registry t.
//
// Errors: fault.RegistryPolicyNotFound.
func (s *Service) showRegistryPolicy(ctx context.Context, t Registry) (*string, error) {
	p, err := s.meta.RegistryPolicy(ctx, t.Registry)
	if err != nil {
		return nil, err
	}
	if p.Text == "" {
		return nil, fault.RegistryPolicyNotFound.New("Registry policy does not exist in the registry with id '%s'", t.Account)
	}
	text, err := s.identity.Show(ctx, p, policy.Registry)
	return &text, err
}

// GetRegistryPolicy returns the policy of the registry of the caller.
//
// Errors: fault.RegistryPolicyNotFound. Source: ECR API reference, GetRegistryPolicy.
func (s *Service) GetRegistryPolicy(ctx context.Context, _ identity.Caller, t Registry,
	_ *ecrtypes.GetRegistryPolicyRequest) (*ecrtypes.GetRegistryPolicyResponse, error) {
	text, err := s.showRegistryPolicy(ctx, t)
	if err != nil {
		return nil, err
	}
	return &ecrtypes.GetRegistryPolicyResponse{RegistryId: t.Account.String(), PolicyText: text}, nil
}

// DeleteRegistryPolicy deletes the policy of the registry of the caller and returns its text.
//
// Errors: fault.RegistryPolicyNotFound. Source: ECR API reference, DeleteRegistryPolicy.
func (s *Service) DeleteRegistryPolicy(ctx context.Context, _ identity.Caller, t Registry,
	_ *ecrtypes.DeleteRegistryPolicyRequest) (*ecrtypes.DeleteRegistryPolicyResponse, error) {
	text, err := s.showRegistryPolicy(ctx, t)
	if err != nil {
		return nil, err
	}
	if err := s.replaceRegistryPolicy(ctx, t, meta.BoundPolicy{}); err != nil {
		return nil, err
	}
	return &ecrtypes.DeleteRegistryPolicyResponse{RegistryId: t.Account.String(), PolicyText: text}, nil
}
