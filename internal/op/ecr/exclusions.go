package ecr

import (
	"context"
	"slices"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrtypes"
)

// maxExclusions limits the exclusions of pull time updates of a registry. Source: ECR API reference, RegisterPullTimeUpdateExclusion.
const maxExclusions = 100

// RegisterPullTimeUpdateExclusion excludes a user or role: its pulls do not set the time of the last pull. It need not exist.
//
// Errors: fault.ExclusionAlreadyExists, fault.LimitExceeded, fault.AccountNotFound. Source: ECR API reference,
// RegisterPullTimeUpdateExclusion.
func (s *Service) RegisterPullTimeUpdateExclusion(ctx context.Context, _ identity.Caller, t Registry,
	in *ecrtypes.RegisterPullTimeUpdateExclusionRequest) (*ecrtypes.RegisterPullTimeUpdateExclusionResponse, error) {
	x, err := s.meta.PutPullExclusion(ctx, t.Registry, in.PrincipalArn, maxExclusions)
	if err != nil {
		return nil, err
	}
	return &ecrtypes.RegisterPullTimeUpdateExclusionResponse{PrincipalArn: x.Principal, CreatedAt: awswire.At(x.CreatedAt)}, nil
}

// DeregisterPullTimeUpdateExclusion ends the exclusion of a user or role.
//
// Errors: fault.ExclusionNotFound. Source: ECR API reference, DeregisterPullTimeUpdateExclusion.
func (s *Service) DeregisterPullTimeUpdateExclusion(ctx context.Context, _ identity.Caller, t Registry,
	in *ecrtypes.DeregisterPullTimeUpdateExclusionRequest) (*ecrtypes.DeregisterPullTimeUpdateExclusionResponse, error) {
	if err := s.meta.DeletePullExclusion(ctx, t.Registry, in.PrincipalArn); err != nil {
		return nil, err
	}
	return &ecrtypes.DeregisterPullTimeUpdateExclusionResponse{PrincipalArn: in.PrincipalArn}, nil
}

// ListPullTimeUpdateExclusions returns one page of the excluded principals, in their order.
//
// Errors: fault.InvalidParameter (the token). Source: ECR API reference, ListPullTimeUpdateExclusions.
func (s *Service) ListPullTimeUpdateExclusions(ctx context.Context, _ identity.Caller, t Registry,
	in *ecrtypes.ListPullTimeUpdateExclusionsRequest) (*ecrtypes.ListPullTimeUpdateExclusionsResponse, error) {
	scope, after := "exclusions "+t.Registry.String(), ""
	if err := s.resume(scope, in.NextToken, &after); err != nil {
		return nil, err
	}
	all, err := s.meta.PullExclusions(ctx, t.Registry)
	if err != nil {
		return nil, err
	}
	out := &ecrtypes.ListPullTimeUpdateExclusionsResponse{PullTimeUpdateExclusions: []string{}}
	limit := pageSize(in.MaxResults, 100)
	for _, x := range all {
		if x.Principal <= after {
			continue
		}
		if len(out.PullTimeUpdateExclusions) == limit {
			out.NextToken = s.pages.Listing(scope).SealJSON(slices.Max(out.PullTimeUpdateExclusions))
			break
		}
		out.PullTimeUpdateExclusions = append(out.PullTimeUpdateExclusions, x.Principal)
	}
	return out, nil
}
