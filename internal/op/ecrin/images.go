package ecrin

import (
	"context"
	"fmt"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/op/ecr"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// ListTagHistory returns one page of the moves of all tags of a repository, or of one tag, the latest first.
//
// Errors: fault.InvalidParameter (the token).
func (s *Service) ListTagHistory(ctx context.Context, _ identity.Caller, r ecr.Repository,
	in *ecrintypes.ListTagHistoryRequest) (*ecrintypes.ListTagHistoryResponse, error) {
	scope := fmt.Sprintf("history %d %s", r.ID, in.ImageTag)
	var before int64
	if err := s.resume(scope, in.NextToken, &before); err != nil {
		return nil, err
	}
	limit := pageSize(in.MaxResults, 100)
	rows, err := s.meta.TagHistory(ctx, r.ID, in.ImageTag, before, limit+1)
	if err != nil {
		return nil, err
	}
	out := &ecrintypes.ListTagHistoryResponse{}
	if len(rows) > limit {
		rows = rows[:limit]
		out.NextToken = s.pages.Listing(scope).SealJSON(rows[limit-1].ID)
	}
	for _, m := range rows {
		out.Moves = append(out.Moves, ecrintypes.TagMove{ImageTag: m.Tag, FromDigest: m.From, ToDigest: m.To,
			PrincipalArn: m.Principal, At: awswire.Time{Time: m.At}})
	}
	return out, nil
}

// maxDeleted is the maximum number of deleted images in a listing.
const maxDeleted = 1000

// ListDeletedImages returns the images of a repository that can be restored, up to maxDeleted, the latest deleted
// first.
func (s *Service) ListDeletedImages(ctx context.Context, _ identity.Caller, r ecr.Repository,
	_ *ecrintypes.ListDeletedImagesRequest) (*ecrintypes.ListDeletedImagesResponse, error) {
	rows, err := s.meta.DeletedImages(ctx, r.ID, maxDeleted)
	if err != nil {
		return nil, err
	}
	out := &ecrintypes.ListDeletedImagesResponse{}
	for _, im := range rows {
		out.Images = append(out.Images, ecrintypes.DeletedImage{
			ImageDigest: im.Digest.String(), MediaType: im.MediaType, ImagePushedAt: awswire.Time{Time: im.PushedAt},
			DeletedAt: awswire.Time{Time: im.DeletedAt}, ImageSizeInBytes: &im.Bytes,
		})
	}
	return out, nil
}

// RestoreImage restores a deleted image. If the request has a tag, it moves the tag to the image.
//
// Errors: fault.DigestInvalid, fault.TagInvalid, and those of meta.Store.RestoreImage.
func (s *Service) RestoreImage(ctx context.Context, by identity.Caller, r ecr.Repository,
	in *ecrintypes.RestoreImageRequest) (*ecrintypes.RestoreImageResponse, error) {
	d, err := name.ParseDigest(in.ImageDigest)
	if err != nil {
		return nil, err
	}
	var tags []name.Tag
	if in.ImageTag != "" {
		tag, err := name.ParseTag(in.ImageTag)
		if err != nil {
			return nil, err
		}
		tags = append(tags, tag)
	}
	if err := s.meta.RestoreImage(ctx, r.Repository, d, tags, by.ARN, s.registry.SparseIndexes()); err != nil {
		return nil, err
	}
	return &ecrintypes.RestoreImageResponse{ImageDigest: d.String()}, nil
}

// DeleteImage deletes a tag, and its image if it was the last one, or an image with all its tags. With force it also deletes what customers
// of a vendor may pull.
//
// Errors: fault.ImageNotFound, fault.TargetChanged, fault.RepositoryProtected, fault.ImageReferenced, fault.ImageEntitled.
func (s *Service) DeleteImage(ctx context.Context, by identity.Caller, t Untagged, in *ecrintypes.DeleteImageRequest) (
	*ecrintypes.DeleteImageResponse, error) {
	d := t.Deletion
	d.Force = in.Force != nil && *in.Force
	removed, err := s.registry.Delete(ctx, by, t.Repository.Repository, d)
	if err != nil {
		return nil, err
	}
	out := &ecrintypes.DeleteImageResponse{ImageDigest: d.Digest.String(), ImageTags: []string{}}
	for _, one := range removed {
		if one.Tag != "" {
			out.ImageTags = append(out.ImageTags, one.Tag)
		}
	}
	return out, nil
}

// UntagImage removes a tag. Its image stays, also if it was the last one, and with every setting.
//
// Errors: fault.ImageNotFound, fault.TargetChanged, fault.RepositoryProtected.
func (s *Service) UntagImage(ctx context.Context, by identity.Caller, t Untagged,
	in *ecrintypes.UntagImageRequest) (*ecrintypes.UntagImageResponse, error) {
	d := t.Deletion
	d.Last = registry.LastTagKeepsImage // the quirk of ECR is for deletions of images
	if _, err := s.registry.Delete(ctx, by, t.Repository.Repository, d); err != nil {
		return nil, err
	}
	return &ecrintypes.UntagImageResponse{ImageTag: in.ImageTag, ImageDigest: d.Digest.String()}, nil
}
