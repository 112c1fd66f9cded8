package ecrin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/op/ecr"
	"github.com/ecrin-dev/ecrin/internal/rule/lifecycle"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// OnLifecycle resolves the repository whose lifecycle documents a request reads or changes. A caller other than the operator also needs
// the permission of ECR for the document of ECR, if the request concerns it.
func OnLifecycle[In interface {
	repositoryNamed
	*ecrintypes.PutLifecycleRequest | *ecrintypes.GetLifecycleRequest | *ecrintypes.DeleteLifecycleRequest | *ecrintypes.TestLifecycleRequest
}](s *Service, ctx context.Context, req guard.Request, in In) (guard.Target[ecr.Repository], error) {
	t, err := OnRepository(s, ctx, req, in)
	if err != nil || req.By.Kind == identity.Operator {
		return t, err
	}
	also := t.Asks[0]
	switch v := any(in).(type) {
	case *ecrintypes.PutLifecycleRequest:
		if v.LifecyclePolicyText != "" {
			also.Action = "ecr:PutLifecyclePolicy"
		}
	case *ecrintypes.GetLifecycleRequest:
		also.Action = "ecr:GetLifecyclePolicy"
	case *ecrintypes.DeleteLifecycleRequest:
		if v.Document != ecrintypes.LifecycleDocumentEXTENSION {
			also.Action = "ecr:DeleteLifecyclePolicy"
		}
	case *ecrintypes.TestLifecycleRequest:
		also.Action = "ecr:StartLifecyclePolicyPreview"
	}
	if also.Action != "" {
		t.Asks = append(t.Asks, also)
	}
	return t, nil
}

// PutLifecycle sets the lifecycle policy of ECR, the extension of ecrin, or both, and queues their evaluation.
//
// Errors: fault.InvalidParameter (a document; none is given), fault.RepositoryNotFound.
func (s *Service) PutLifecycle(ctx context.Context, _ identity.Caller, r ecr.Repository,
	in *ecrintypes.PutLifecycleRequest) (*ecrintypes.LifecycleResponse, error) {
	if in.LifecyclePolicyText == "" && in.ExtensionText == "" {
		return nil, ecr.BadMember("ExtensionText", "lifecyclePolicyText or extensionText is required")
	}
	if in.LifecyclePolicyText != "" {
		if _, err := lifecycle.Parse(in.LifecyclePolicyText); err != nil {
			return nil, err
		}
	}
	if in.ExtensionText != "" {
		if _, err := lifecycle.ParseExtension(in.ExtensionText); err != nil {
			return nil, err
		}
	}
	var now meta.Lifecycle
	_, err := s.meta.ChangeLifecycle(ctx, r.Repository, func(l *meta.Lifecycle) error {
		if in.LifecyclePolicyText != "" {
			l.Policy = in.LifecyclePolicyText
		}
		if in.ExtensionText != "" {
			l.Extension = in.ExtensionText
		}
		now = *l
		return nil
	})
	if err != nil {
		return nil, err
	}
	now.EvaluatedAt = time.Time{}
	return lifecycleOf(r, now), nil
}

func lifecycleOf(r ecr.Repository, l meta.Lifecycle) *ecrintypes.LifecycleResponse {
	return &ecrintypes.LifecycleResponse{RegistryId: r.Registry.Account.String(), RepositoryName: r.Name.String(),
		LifecyclePolicyText: l.Policy, ExtensionText: l.Extension, LastEvaluatedAt: awswire.At(l.EvaluatedAt)}
}

// GetLifecycle returns the lifecycle documents of a repository.
//
// Errors: fault.LifecyclePolicyNotFound (it has none).
func (s *Service) GetLifecycle(ctx context.Context, _ identity.Caller, r ecr.Repository,
	_ *ecrintypes.GetLifecycleRequest) (*ecrintypes.LifecycleResponse, error) {
	l, err := s.meta.Lifecycle(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	if l.Policy == "" && l.Extension == "" {
		return nil, meta.LifecyclePolicyNotFound(r.Repository)
	}
	return lifecycleOf(r, l), nil
}

// DeleteLifecycle deletes one of the lifecycle documents of a repository, or both, and returns what it deleted.
//
// Errors: fault.LifecyclePolicyNotFound (it has none of these), fault.RepositoryNotFound.
func (s *Service) DeleteLifecycle(ctx context.Context, _ identity.Caller, r ecr.Repository,
	in *ecrintypes.DeleteLifecycleRequest) (*ecrintypes.LifecycleResponse, error) {
	gone, err := s.meta.ChangeLifecycle(ctx, r.Repository, func(l *meta.Lifecycle) error {
		before := *l
		if in.Document != ecrintypes.LifecycleDocumentEXTENSION {
			l.Policy = ""
		}
		if in.Document != ecrintypes.LifecycleDocumentPOLICY {
			l.Extension = ""
		}
		if *l == before {
			return meta.LifecyclePolicyNotFound(r.Repository)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	switch in.Document {
	case ecrintypes.LifecycleDocumentPOLICY:
		gone.Extension = ""
	case ecrintypes.LifecycleDocumentEXTENSION:
		gone.Policy = ""
	}
	return lifecycleOf(r, gone), nil
}

// maxTestTags limits the tags that a test shows of an image.
const maxTestTags = meta.MaxPreviewTags

// TestLifecycle returns what lifecycle documents would do with the images of a repository now, without doing it: the images on which they
// would act, and those that are held although a rule is due for them, the oldest first. In place of a document that the request does not
// have, that of the repository is used.
//
// Errors: fault.InvalidParameter (a document), fault.LifecyclePolicyNotFound (neither the request nor the repository has one),
// fault.LimitExceeded (the repository is too large).
func (s *Service) TestLifecycle(ctx context.Context, by identity.Caller, r ecr.Repository,
	in *ecrintypes.TestLifecycleRequest) (*ecrintypes.TestLifecycleResponse, error) {
	l, err := s.meta.Lifecycle(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	if in.LifecyclePolicyText != "" {
		l.Policy = in.LifecyclePolicyText
	}
	if in.ExtensionText != "" {
		l.Extension = in.ExtensionText
	}
	if l.Policy == "" && l.Extension == "" {
		return nil, meta.LifecyclePolicyNotFound(r.Repository)
	}
	result, err := s.registry.TestLifecycle(ctx, by.Account, r.Repository, l.Policy, l.Extension)
	if err != nil {
		return nil, err
	}
	out := &ecrintypes.TestLifecycleResponse{Images: int32(len(result.Verdicts)), Results: []ecrintypes.LifecycleResult{},
		ExpiringImages: int32(result.Expire.Images), ExpiringBytes: result.Expire.Bytes,
		ArchivingImages: int32(result.Archive.Images), ArchivingBytes: result.Archive.Bytes}
	limit := pageSize(in.MaxResults, 1000)
	for i := range result.Verdicts {
		v := &result.Verdicts[i]
		if v.Action == lifecycle.None && !v.Due {
			continue
		}
		if v.Action == lifecycle.None {
			out.HeldImages++
		}
		if len(out.Results) == limit {
			out.Truncated = true
			continue
		}
		one := ecrintypes.LifecycleResult{ImageDigest: v.Image.Digest.String(), ImagePushedAt: awswire.Time{Time: v.Image.PushedAt},
			ImageSizeInBytes: v.Image.Bytes, Rule: v.Rule.Name(), Reason: v.Reason(), Action: ecrintypes.LifecycleActionNONE}
		switch v.Action {
		case lifecycle.Expire:
			one.Action = ecrintypes.LifecycleActionEXPIRE
		case lifecycle.Archive:
			one.Action = ecrintypes.LifecycleActionARCHIVE
		}
		for _, tag := range v.Image.Tags[:min(len(v.Image.Tags), maxTestTags)] {
			one.ImageTags = append(one.ImageTags, tag.Name)
		}
		out.Results = append(out.Results, one)
	}
	if in.Timeline != nil && *in.Timeline {
		out.Lanes = lanesOf(result.Timeline(s.now()))
	}
	return out, nil
}

// lanesOf returns the picture of a result.
func lanesOf(all []lifecycle.Lane) (out []ecrintypes.LifecycleLane) {
	fates := map[lifecycle.Fate]ecrintypes.LifecycleFate{lifecycle.FateStays: ecrintypes.LifecycleFateSTAYS,
		lifecycle.FateGoes: ecrintypes.LifecycleFateGOES, lifecycle.FateHeld: ecrintypes.LifecycleFateHELD}
	for _, l := range all {
		one := ecrintypes.LifecycleLane{Images: int32(l.Images), GoingImages: int32(l.Going), HeldImages: int32(l.Held),
			CutAt: awswire.At(l.Cut)}
		if l.Rule != nil {
			one.Rule, one.Description, one.Selects, one.Keeps = l.Rule.Name(), l.Rule.Description, l.Rule.Selects(), l.Rule.Keeps()
		}
		for _, m := range l.Marks {
			one.Marks = append(one.Marks, ecrintypes.LifecycleMark{ImagePushedAt: awswire.Time{Time: m.PushedAt}, Fate: fates[m.Fate]})
		}
		for _, b := range l.Bins {
			one.Bins = append(one.Bins, ecrintypes.LifecycleBin{StartTime: awswire.Time{Time: b.From}, EndTime: awswire.Time{Time: b.Until},
				StayingImages: int32(b.Staying), GoingImages: int32(b.Going), HeldImages: int32(b.Held)})
		}
		out = append(out, one)
	}
	return out
}

// PinnedImage is an image of a repository that a request pins or unpins.
type PinnedImage struct {
	ecr.Repository
	Digest name.Digest
}

// OnPinned resolves the image that a request pins or unpins, by its tag or digest.
func OnPinned[In interface {
	repositoryNamed
	GetImageTag() string
	GetImageDigest() string
}](s *Service, ctx context.Context, req guard.Request, in In) (t guard.Target[PinnedImage], err error) {
	of, err := OnRepository(s, ctx, req, in)
	if err != nil {
		return t, err
	}
	t = guard.Target[PinnedImage]{Value: PinnedImage{Repository: of.Value}, Asks: of.Asks, Absent: of.Absent}
	ask := &t.Asks[0]
	ask.Image = ecr.NewImage(in.GetImageTag(), in.GetImageDigest())
	ask.Image.Stored = true
	if t.Absent != nil {
		return t, nil
	}
	var ref name.Reference
	switch {
	case (in.GetImageTag() == "") == (in.GetImageDigest() == ""):
		t.Absent = ecr.BadMember("ImageDigest", "imageTag or imageDigest is required, and not both")
		return t, nil
	case in.GetImageTag() != "":
		ref.Tag, err = name.ParseTag(in.GetImageTag())
	default:
		ref.Digest, err = name.ParseDigest(in.GetImageDigest())
	}
	if err != nil {
		t.Absent = err
		return t, nil
	}
	head, err := s.registry.Head(ctx, of.Value.Repository, ref)
	if errors.Is(err, fault.ImageNotFound) {
		t.Absent = registry.ImageNotFound()
		return t, nil
	}
	t.Value.Digest, ask.Image.Digest = head.Digest, head.Digest
	return t, err
}

// PinImage pins an image: no lifecycle policy acts on it until it is unpinned.
//
// Errors: fault.ImageNotFound, fault.RepositoryNotFound.
func (s *Service) PinImage(ctx context.Context, by identity.Caller, im PinnedImage,
	in *ecrintypes.PinImageRequest) (*ecrintypes.PinImageResponse, error) {
	p, err := s.meta.PinImage(ctx, im.Repository.Repository, im.Digest, by.ARN, in.Reason)
	if err != nil {
		return nil, err
	}
	return &ecrintypes.PinImageResponse{Image: pinOf(p)}, nil
}

func pinOf(p meta.Pin) ecrintypes.PinnedImage {
	return ecrintypes.PinnedImage{ImageDigest: p.Digest, PrincipalArn: p.Principal, Reason: p.Reason, PinnedAt: awswire.Time{Time: p.At}}
}

// UnpinImage takes the pin of an image back.
//
// Errors: fault.ImageNotPinned, fault.RepositoryNotFound.
func (s *Service) UnpinImage(ctx context.Context, _ identity.Caller, im PinnedImage,
	_ *ecrintypes.UnpinImageRequest) (*ecrintypes.UnpinImageResponse, error) {
	if err := s.meta.UnpinImage(ctx, im.Repository.Repository, im.Digest); err != nil {
		return nil, err
	}
	return &ecrintypes.UnpinImageResponse{ImageDigest: im.Digest.String()}, nil
}

// ListPinnedImages lists the pinned images of a repository by their digests, by pages.
//
// Errors: fault.InvalidParameter (nextToken).
func (s *Service) ListPinnedImages(ctx context.Context, _ identity.Caller, r ecr.Repository,
	in *ecrintypes.ListPinnedImagesRequest) (*ecrintypes.ListPinnedImagesResponse, error) {
	scope, after := fmt.Sprintf("pins %d", r.ID), ""
	if err := s.resume(scope, in.NextToken, &after); err != nil {
		return nil, err
	}
	limit := pageSize(in.MaxResults, 100)
	rows, err := s.meta.Pins(ctx, r.ID, after, limit+1)
	if err != nil {
		return nil, err
	}
	out := &ecrintypes.ListPinnedImagesResponse{Images: []ecrintypes.PinnedImage{}}
	for i, p := range rows {
		if i == limit {
			out.NextToken = s.pages.Listing(scope).SealJSON(rows[i-1].Digest)
			break
		}
		out.Images = append(out.Images, pinOf(p))
	}
	return out, nil
}

// ListImageUses lists what runs an image now, by name and by pages: an application with its namespace, as pipelines and clusters report it.
// While an image is in use, no lifecycle policy acts on it.
//
// Errors: fault.ImageNotFound, fault.RepositoryNotFound, fault.InvalidParameter (nextToken).
func (s *Service) ListImageUses(ctx context.Context, _ identity.Caller, im PinnedImage,
	in *ecrintypes.ListImageUsesRequest) (*ecrintypes.ListImageUsesResponse, error) {
	scope, after := fmt.Sprintf("uses %d %s", im.ID, im.Digest), ""
	if err := s.resume(scope, in.NextToken, &after); err != nil {
		return nil, err
	}
	limit := pageSize(in.MaxResults, 100)
	rows, err := s.meta.ImageUses(ctx, im.Registry.Account, im.Digest, after, limit+1)
	if err != nil {
		return nil, err
	}
	out := &ecrintypes.ListImageUsesResponse{Uses: []ecrintypes.ImageUse{}}
	for i, u := range rows {
		if i == limit {
			out.NextToken = s.pages.Listing(scope).SealJSON(rows[i-1].By)
			break
		}
		out.Uses = append(out.Uses, ecrintypes.ImageUse{UsedBy: u.By, Until: awswire.Time{Time: u.Until}})
	}
	return out, nil
}
