package ecrin

import (
	"context"
	"errors"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/op/ecr"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// OnReplaced resolves the repository whose policy is replaced. A caller other than the operator needs what the operations of ECR need: to
// see the policy, whose hash it names, and to set it, or to delete it if the request has no text.
func OnReplaced(s *Service, ctx context.Context, req guard.Request, in *ecrintypes.ReplaceRepositoryPolicyRequest) (
	t guard.Target[ecr.GuardedRepository], err error) {
	of, err := OnRepository(s, ctx, req, in)
	t.Asks, t.Absent = of.Asks, of.Absent
	if err != nil {
		return t, err
	}
	t.Value = ecr.GuardedRepository{Repository: of.Value, Ask: of.Asks[0], From: req.From}
	if req.By.Kind == identity.Operator {
		return t, nil
	}
	change := t.Asks[0]
	if change.Action = "ecr:SetRepositoryPolicy"; in.PolicyText == "" {
		change.Action = "ecr:DeleteRepositoryPolicy"
	}
	t.Asks[0].Action = "ecr:GetRepositoryPolicy"
	t.Asks = append(t.Asks, change)
	return t, nil
}

// ReplaceRepositoryPolicy sets the policy of a repository, or deletes it if the text is empty, only if the policy in force is the one that
// the caller has seen: expectedPolicyHash is that of the text which GetRepositoryPolicy returned, or "none". It is refused if another
// request has changed the policy before, or at the same time. SetRepositoryPolicy, whose form is that of ECR, cannot say what it replaces.
//
// Errors: fault.PolicyChanged, fault.InvalidParameter (as SetRepositoryPolicy), fault.RepositoryNotFound.
func (s *Service) ReplaceRepositoryPolicy(ctx context.Context, by identity.Caller, r ecr.GuardedRepository,
	in *ecrintypes.ReplaceRepositoryPolicyRequest) (*ecrintypes.ReplaceRepositoryPolicyResponse, error) {
	seen := ""
	switch text, err := s.ecr.ShowPolicy(ctx, r.Repository.Repository); {
	case err == nil:
		seen = *text
	case !errors.Is(err, fault.RepositoryPolicyNotFound):
		return nil, err
	}
	if policy.Hash(seen) != in.ExpectedPolicyHash {
		return nil, fault.PolicyChanged.New("the policy of '%s' is another one than the request has seen", r.Name)
	}
	var bound meta.BoundPolicy
	if in.PolicyText != "" {
		var err error
		if _, bound, err = s.ecr.ReadPolicy(ctx, in.PolicyText, policy.Repository); err != nil {
			return nil, err
		}
		if in.Force == nil || !*in.Force {
			if err := s.ecr.KeepsCaller(ctx, by, r, bound); err != nil {
				return nil, err
			}
		}
	}
	replaced, err := s.meta.ReplacePolicy(ctx, r.Repository.Repository, bound)
	if err == nil && !replaced {
		err = fault.TargetChanged.New("the policy of '%s' was set by another request", r.Name) // and then it has another hash
	}
	if err != nil {
		return nil, err
	}
	return &ecrintypes.ReplaceRepositoryPolicyResponse{PolicyText: bound.Text}, nil
}
