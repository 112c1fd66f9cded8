package ecr

import (
	"context"
	"errors"
	"fmt"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrtypes"
	"github.com/ecrin-dev/ecrin/internal/rule/lifecycle"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// PutLifecyclePolicy sets the lifecycle policy of a repository, and queues its evaluation.
//
// Errors: fault.InvalidParameter (the policy), fault.RepositoryNotFound, fault.PreconditionFailed (by the hash of the text). Source: ECR
// API reference, PutLifecyclePolicy.
func (s *Service) PutLifecyclePolicy(ctx context.Context, _ identity.Caller, r Repository,
	in *ecrtypes.PutLifecyclePolicyRequest) (*ecrtypes.PutLifecyclePolicyResponse, error) {
	if _, err := lifecycle.Parse(in.LifecyclePolicyText); err != nil {
		return nil, err
	}
	_, err := s.meta.ChangeLifecycle(ctx, r.Repository, func(l *meta.Lifecycle) error {
		if err := r.At.If.Check(policy.Hash(l.Policy)); err != nil {
			return err
		}
		l.Policy = in.LifecyclePolicyText
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &ecrtypes.PutLifecyclePolicyResponse{RegistryId: r.Registry.Account.String(), RepositoryName: r.Name.String(),
		LifecyclePolicyText: in.LifecyclePolicyText}, nil
}

// GetLifecyclePolicy returns the lifecycle policy of a repository.
//
// Errors: fault.LifecyclePolicyNotFound. Source: ECR API reference, GetLifecyclePolicy.
func (s *Service) GetLifecyclePolicy(ctx context.Context, _ identity.Caller, r Repository,
	_ *ecrtypes.GetLifecyclePolicyRequest) (*ecrtypes.GetLifecyclePolicyResponse, error) {
	l, err := s.meta.Lifecycle(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	if l.Policy == "" {
		return nil, meta.LifecyclePolicyNotFound(r.Repository)
	}
	return &ecrtypes.GetLifecyclePolicyResponse{RegistryId: r.Registry.Account.String(), RepositoryName: r.Name.String(),
		LifecyclePolicyText: l.Policy, LastEvaluatedAt: awswire.At(l.EvaluatedAt)}, nil
}

// DeleteLifecyclePolicy deletes the lifecycle policy of a repository and returns it.
//
// Errors: fault.LifecyclePolicyNotFound, fault.RepositoryNotFound, fault.PreconditionFailed. Source: ECR API reference,
// DeleteLifecyclePolicy.
func (s *Service) DeleteLifecyclePolicy(ctx context.Context, _ identity.Caller, r Repository,
	_ *ecrtypes.DeleteLifecyclePolicyRequest) (*ecrtypes.DeleteLifecyclePolicyResponse, error) {
	before, err := s.meta.ChangeLifecycle(ctx, r.Repository, func(l *meta.Lifecycle) error {
		if l.Policy == "" {
			return meta.LifecyclePolicyNotFound(r.Repository)
		}
		if err := r.At.If.Check(policy.Hash(l.Policy)); err != nil {
			return err
		}
		l.Policy = ""
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &ecrtypes.DeleteLifecyclePolicyResponse{RegistryId: r.Registry.Account.String(), RepositoryName: r.Name.String(),
		LifecyclePolicyText: before.Policy, LastEvaluatedAt: awswire.At(before.EvaluatedAt)}, nil
}

// StartLifecyclePolicyPreview begins a preview of the policy in the request, or of that of the repository. As an execution does, it
// applies the extension of the repository first.
//
// Errors: fault.InvalidParameter (the policy), fault.LifecyclePolicyNotFound, fault.LifecyclePreviewInProgress, fault.RepositoryNotFound.
// Source: ECR API reference, StartLifecyclePolicyPreview.
func (s *Service) StartLifecyclePolicyPreview(ctx context.Context, _ identity.Caller, r Repository,
	in *ecrtypes.StartLifecyclePolicyPreviewRequest) (*ecrtypes.StartLifecyclePolicyPreviewResponse, error) {
	text := in.LifecyclePolicyText
	if text == "" {
		l, err := s.meta.Lifecycle(ctx, r.ID)
		if err != nil {
			return nil, err
		}
		if text = l.Policy; text == "" {
			return nil, meta.LifecyclePolicyNotFound(r.Repository)
		}
	}
	if _, err := lifecycle.Parse(text); err != nil {
		return nil, err
	}
	if err := s.meta.StartPreview(ctx, r.Repository, text); err != nil {
		return nil, err
	}
	return &ecrtypes.StartLifecyclePolicyPreviewResponse{RegistryId: r.Registry.Account.String(), RepositoryName: r.Name.String(),
		LifecyclePolicyText: text, Status: ecrtypes.LifecyclePolicyPreviewStatusIN_PROGRESS}, nil
}

// maxPreviewRead limits the results that a page of a preview reads, so that a page with a filter can have fewer results than it may
// have, or none.
const maxPreviewRead = 1000

var previewStates = map[meta.PreviewState]ecrtypes.LifecyclePolicyPreviewStatus{
	meta.PreviewInProgress: ecrtypes.LifecyclePolicyPreviewStatusIN_PROGRESS,
	meta.PreviewComplete:   ecrtypes.LifecyclePolicyPreviewStatusCOMPLETE,
	meta.PreviewFailed:     ecrtypes.LifecyclePolicyPreviewStatusFAILED,
	meta.PreviewExpired:    ecrtypes.LifecyclePolicyPreviewStatusEXPIRED,
}

// previewPlace is where the next page of a preview begins.
type previewPlace struct {
	Preview int64 `json:"p"`
	Number  int64 `json:"n"`
}

// GetLifecyclePolicyPreview returns a page of the last preview of a repository, or its results for the images of imageIds.
//
// Errors: fault.LifecyclePreviewNotFound, fault.InvalidParameter (the token; imageIds with a token, maxResults or filter).
// Source: ECR API reference, GetLifecyclePolicyPreview.
func (s *Service) GetLifecyclePolicyPreview(ctx context.Context, _ identity.Caller, r Repository,
	in *ecrtypes.GetLifecyclePolicyPreviewRequest) (*ecrtypes.GetLifecyclePolicyPreviewResponse, error) {
	if len(in.ImageIds) > 0 && (in.NextToken != "" || in.MaxResults != nil || in.Filter != nil) {
		return nil, BadMember("ImageIds", "cannot be used with nextToken, maxResults or filter")
	}
	scope := fmt.Sprintf("preview %d", r.ID)
	var place previewPlace
	if err := s.resume(scope, in.NextToken, &place); err != nil {
		return nil, err
	}
	p, err := s.meta.Preview(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	out := &ecrtypes.GetLifecyclePolicyPreviewResponse{RegistryId: r.Registry.Account.String(), RepositoryName: r.Name.String(),
		LifecyclePolicyText: p.Policy, Status: previewStates[p.State]}
	if p.State != meta.PreviewComplete {
		return out, nil
	}
	expire, archive := int32(p.Expiring), int32(p.Archiving)
	out.Summary = &ecrtypes.LifecyclePolicyPreviewSummary{ExpiringImageTotalCount: &expire}
	if archive > 0 {
		out.Summary.TransitioningImageTotalCounts = []ecrtypes.TransitioningImageTotalCount{{ImageTotalCount: &archive,
			TargetStorageClass: ecrtypes.LifecyclePolicyTargetStorageClassARCHIVE}}
	}
	if len(in.ImageIds) > 0 {
		out.PreviewResults, err = s.previewOf(ctx, r, p, in.ImageIds)
		return out, err
	}
	if in.NextToken != "" && place.Preview != p.ID {
		return nil, BadMember("NextToken", "is of an earlier preview: begin again without a token")
	}
	rows, err := s.meta.PreviewResults(ctx, r.ID, p.ID, place.Number, maxPreviewRead+1)
	if err != nil {
		return nil, err
	}
	limit := pageSize(in.MaxResults, 100)
	for i, row := range rows {
		if i == maxPreviewRead || len(out.PreviewResults) == limit {
			out.NextToken = s.pages.Listing(scope).SealJSON(previewPlace{p.ID, rows[i-1].Number})
			break
		}
		if in.Filter == nil || withStatus(in.Filter.TagStatus, len(row.Tags) > 0) {
			out.PreviewResults = append(out.PreviewResults, previewResult(row))
		}
	}
	return out, nil
}

// withStatus reports whether an image passes a filter by tag status.
func withStatus(status ecrtypes.TagStatus, tagged bool) bool {
	switch status {
	case ecrtypes.TagStatusTAGGED:
		return tagged
	case ecrtypes.TagStatusUNTAGGED:
		return !tagged
	}
	return true
}

// previewOf returns the results of a preview for some images. Images on which the policy does not act have none.
func (s *Service) previewOf(ctx context.Context, r Repository, p meta.Preview, ids []ecrtypes.ImageIdentifier) (
	all []ecrtypes.LifecyclePolicyPreviewResult, err error) {
	seen := map[string]bool{}
	for _, id := range unique(ids) {
		digest := id.ImageDigest
		if digest == "" {
			tag, err := name.ParseTag(id.ImageTag)
			if err != nil {
				return nil, err
			}
			head, err := s.registry.Head(ctx, r.Repository, name.Reference{Tag: tag})
			if errors.Is(err, fault.ImageNotFound) {
				continue
			}
			if err != nil {
				return nil, err
			}
			digest = head.Digest.String()
		}
		if seen[digest] {
			continue
		}
		seen[digest] = true
		row, found, err := s.meta.PreviewResult(ctx, r.ID, p.ID, digest)
		if err != nil {
			return nil, err
		}
		if found {
			all = append(all, previewResult(row))
		}
	}
	return all, nil
}

func previewResult(row meta.PreviewResult) ecrtypes.LifecyclePolicyPreviewResult {
	priority := int32(row.Priority)
	out := ecrtypes.LifecyclePolicyPreviewResult{ImageTags: row.Tags, ImageDigest: row.Digest, ImagePushedAt: awswire.At(row.PushedAt),
		AppliedRulePriority: &priority, StorageClass: ecrtypes.LifecyclePolicyStorageClassSTANDARD,
		Action: &ecrtypes.LifecyclePolicyRuleAction{Type: ecrtypes.ImageActionTypeEXPIRE}}
	if row.Class == lifecycle.Archived {
		out.StorageClass = ecrtypes.LifecyclePolicyStorageClassARCHIVE
	}
	if row.Action == lifecycle.Archive {
		out.Action.Type, out.Action.TargetStorageClass = ecrtypes.ImageActionTypeTRANSITION, ecrtypes.LifecyclePolicyTargetStorageClassARCHIVE
	}
	return out
}
