package ecr

import (
	"context"
	"errors"
	"fmt"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/pullthrough"
	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrtypes"
	"github.com/ecrin-dev/ecrin/internal/rule/manifest"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/lazyregexp"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

func tagState(s ecrtypes.TagStatus) meta.TagState {
	switch s {
	case ecrtypes.TagStatusTAGGED:
		return meta.Tagged
	case ecrtypes.TagStatusUNTAGGED:
		return meta.Untagged
	}
	return meta.Any
}

// active reports whether a filter on the status of images includes active images. No image has another status yet.
func active(f ecrtypes.ImageStatusFilter) bool {
	return f == "" || f == ecrtypes.ImageStatusFilterACTIVE || f == ecrtypes.ImageStatusFilterANY
}

// ListImages returns one page of the tags of a repository with their digests, and of its untagged images.
//
// Errors: fault.InvalidParameter (the token). Source: ECR API reference, ListImages.
func (s *Service) ListImages(ctx context.Context, by identity.Caller, r Repository,
	in *ecrtypes.ListImagesRequest) (*ecrtypes.ListImagesResponse, error) {
	filter := ecrtypes.ListImagesFilter{}
	if in.Filter != nil {
		filter = *in.Filter
	}
	out := &ecrtypes.ListImagesResponse{ImageIds: []ecrtypes.ImageIdentifier{}}
	if !active(filter.ImageStatus) {
		return out, nil
	}
	scope := fmt.Sprintf("images %d %s", r.ID, filter.TagStatus)
	var after meta.Position
	if err := s.resume(scope, in.NextToken, &after); err != nil {
		return nil, err
	}
	limit := pageSize(in.MaxResults, 100)
	rows, err := s.meta.ImageIDs(ctx, r.ID, tagState(filter.TagStatus), after, limit+1)
	if err != nil {
		return nil, err
	}
	if len(rows) > limit {
		rows = rows[:limit]
		out.NextToken = s.pages.Listing(scope).SealJSON(rows[limit-1].Position)
	}
	for _, id := range rows {
		out.ImageIds = append(out.ImageIds, ecrtypes.ImageIdentifier{ImageDigest: id.Digest, ImageTag: id.Tag})
	}
	return out, nil
}

// DescribeImages describes the images that the request names, or one page of all images of the repository.
//
// Errors: fault.ImageNotFound (one of the named images), fault.InvalidParameter (the token; both ids and a page).
// Source: ECR API reference, DescribeImages.
func (s *Service) DescribeImages(ctx context.Context, _ identity.Caller, r Images,
	in *ecrtypes.DescribeImagesRequest) (*ecrtypes.DescribeImagesResponse, error) {
	filter := ecrtypes.DescribeImagesFilter{}
	if in.Filter != nil {
		filter = *in.Filter
	}
	if len(in.ImageIds) > 0 {
		if in.MaxResults != nil || in.NextToken != "" {
			return nil, BadMember("maxResults", "maxResults and nextToken cannot be used with imageIds")
		}
		return s.describeNamed(ctx, r, filter)
	}
	out := &ecrtypes.DescribeImagesResponse{ImageDetails: []ecrtypes.ImageDetail{}}
	if !active(filter.ImageStatus) {
		return out, nil
	}
	scope := fmt.Sprintf("details %d %s", r.ID, filter.TagStatus)
	var after meta.Position
	if err := s.resume(scope, in.NextToken, &after); err != nil {
		return nil, err
	}
	limit := pageSize(in.MaxResults, 100)
	rows, err := s.meta.Images(ctx, r.ID, tagState(filter.TagStatus), after, limit+1)
	if err != nil {
		return nil, err
	}
	if len(rows) > limit {
		rows = rows[:limit]
		last := rows[limit-1]
		out.NextToken = s.pages.Listing(scope).SealJSON(meta.Position{PushedAt: last.PushedAt.UnixMicro(), Digest: last.Digest.String()})
	}
	for _, im := range rows {
		out.ImageDetails = append(out.ImageDetails, detail(r.Repository, im))
	}
	return out, nil
}

// describeNamed returns one entry for each digest. If one of the images does not exist, the whole operation fails, as
// in ECR.
func (s *Service) describeNamed(ctx context.Context, r Images,
	filter ecrtypes.DescribeImagesFilter) (*ecrtypes.DescribeImagesResponse, error) {
	out := &ecrtypes.DescribeImagesResponse{ImageDetails: []ecrtypes.ImageDetail{}}
	seen := map[name.Digest]bool{}
	for _, one := range r.Named {
		if one.Failure != nil {
			return nil, describeFailure(r.Repository, one)
		}
		if seen[one.Head.Digest] {
			continue
		}
		seen[one.Head.Digest] = true
		im, err := s.meta.Image(ctx, r.ID, one.Head.Digest)
		if err != nil {
			return nil, err
		}
		state := tagState(filter.TagStatus)
		if active(filter.ImageStatus) && (state == meta.Any || (state == meta.Tagged) == (len(im.Tags) > 0)) {
			out.ImageDetails = append(out.ImageDetails, detail(r.Repository, im))
		}
	}
	return out, nil
}

func describeFailure(r Repository, one NamedImage) error {
	switch one.Failure.FailureCode {
	case ecrtypes.ImageFailureCodeImageNotFound, ecrtypes.ImageFailureCodeImageTagDoesNotMatchDigest:
		return fault.ImageNotFound.New("The image with imageId {imageDigest:'%s', imageTag:'%s'} does not exist within the repository with name '%s' in the registry with id '%s'",
			orNull(one.ID.ImageDigest), orNull(one.ID.ImageTag), r.Name, r.Registry.Account)
	}
	return fault.InvalidParameter.New("%s", one.Failure.FailureReason)
}

func orNull(s string) string {
	if s == "" {
		return "null"
	}
	return s
}

func detail(r Repository, im meta.Image) ecrtypes.ImageDetail {
	d := ecrtypes.ImageDetail{
		RegistryId:             r.Registry.Account.String(),
		RepositoryName:         r.Name.String(),
		ImageDigest:            im.Digest.String(),
		ImageTags:              im.Tags,
		ImageSizeInBytes:       &im.Bytes,
		ImagePushedAt:          awswire.At(im.PushedAt),
		LastRecordedPullTime:   awswire.At(im.PulledAt),
		ImageManifestMediaType: im.MediaType,
		ArtifactMediaType:      im.ArtifactType,
		ImageStatus:            ecrtypes.ImageStatusACTIVE,
	}
	if im.Subject != (name.Digest{}) {
		d.SubjectManifestDigest = im.Subject.String()
	}
	return d
}

// looseDigest matches what the ECR API accepts as a digest. Only sha256 and sha512 digests can be stored.
var looseDigest = lazyregexp.New(`^[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+$`)

// image resolves an image id. If it names no image, Failure of the result is set, which batch operations report.
//
// Source: ECR API reference, BatchGetImage; texts as observed.
func (s *Service) image(ctx context.Context, r meta.Repository, id ecrtypes.ImageIdentifier) (NamedImage, error) {
	one := NamedImage{ID: id}
	fail := func(code ecrtypes.ImageFailureCode, reason string) (NamedImage, error) {
		one.Failure = &ecrtypes.ImageFailure{ImageId: &id, FailureCode: code, FailureReason: reason}
		return one, nil
	}
	if id.ImageDigest == "" && id.ImageTag == "" {
		return fail(ecrtypes.ImageFailureCodeMissingDigestAndTag, "Invalid request parameters: both tag and digest cannot be null")
	}
	var want name.Digest
	if id.ImageDigest != "" {
		if !looseDigest.MatchString(id.ImageDigest) {
			return fail(ecrtypes.ImageFailureCodeInvalidImageDigest,
				"Invalid request parameters: image digest should satisfy the regex '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'")
		}
		var err error
		if want, err = name.ParseDigest(id.ImageDigest); err != nil {
			return fail(ecrtypes.ImageFailureCodeImageNotFound, notFound)
		}
	}
	ref := name.Reference{Digest: want}
	if id.ImageTag != "" {
		tag, err := name.ParseTag(id.ImageTag)
		if err != nil {
			return fail(ecrtypes.ImageFailureCodeInvalidImageTag,
				"Invalid request parameters: image tag should satisfy the regex '[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}'")
		}
		one.Tag, ref = tag, name.Reference{Tag: tag}
	}
	if r.ID == 0 {
		return fail(ecrtypes.ImageFailureCodeImageNotFound, notFound)
	}
	head, err := s.registry.Head(ctx, r, ref)
	switch {
	case errors.Is(err, fault.ImageNotFound):
		return fail(ecrtypes.ImageFailureCodeImageNotFound, notFound)
	case err != nil:
		return one, err
	case want != (name.Digest{}) && head.Digest != want:
		return fail(ecrtypes.ImageFailureCodeImageTagDoesNotMatchDigest, "Requested image tag does not match the requested image digest")
	}
	one.Head = head
	return one, nil
}

// notFound is the reason of the failure ImageNotFound.
const notFound = "Requested image not found"

// maxAnswer is how many bytes of manifests one answer has: two of the largest, or thousands of usual ones.
const maxAnswer = 2 * manifest.MaxBytes

// tooMuch is the reason of the failure ImageInaccessible for an image that an answer has no room for.
var tooMuch = fmt.Sprintf("An answer has at most %d bytes of manifests: request this image again, with fewer others", maxAnswer)

// fitting returns how many bytes the answer to BatchGetImage has of the manifests of r, and which of r.Named are in it: those that
// fit, in the order of the request.
func (r Images) fitting() (bytes int64, in []bool) {
	in = make([]bool, len(r.Named))
	for i, one := range r.Named {
		if one.Failure == nil && bytes+one.Head.Size <= maxAnswer {
			in[i] = true
			bytes += one.Head.Size
		}
	}
	return bytes, in
}

// AnswerBytes returns how many bytes of manifests an answer holds in memory, for doors that limit these.
func (r Images) AnswerBytes() int64 {
	n, _ := r.fitting()
	return n
}

// BatchGetImage returns manifests and records the pulls. The answer has a failure for each image that does not exist, and for each
// that does not fit into maxAnswer. What a pull through cache rule can bring is fetched first.
//
// Errors: fault.RepositoryNotFound, fault.UnableToGetUpstreamImage, fault.TargetChanged (images were fetched).
// Source: ECR API reference, BatchGetImage.
func (s *Service) BatchGetImage(ctx context.Context, by identity.Caller, r Images,
	_ *ecrtypes.BatchGetImageRequest) (*ecrtypes.BatchGetImageResponse, error) {
	if r.Through {
		if err := s.bring(ctx, by, r); err != nil {
			return nil, err
		}
	}
	out := &ecrtypes.BatchGetImageResponse{Images: []ecrtypes.Image{}, Failures: []ecrtypes.ImageFailure{}}
	texts := map[name.Digest]string{} // several tags may lead to one image
	_, fits := r.fitting()
	for i, one := range r.Named {
		if one.Failure == nil && !fits[i] {
			one.Failure = &ecrtypes.ImageFailure{ImageId: &one.ID, FailureCode: ecrtypes.ImageFailureCodeImageInaccessible, FailureReason: tooMuch}
		}
		if one.Failure != nil {
			out.Failures = append(out.Failures, *one.Failure)
			continue
		}
		text, ok := texts[one.Head.Digest]
		if !ok {
			body, err := s.registry.Pull(ctx, by, r.Repository.Repository, one.Head)
			if err != nil {
				return nil, err
			}
			text = string(body)
			texts[one.Head.Digest] = text
		}
		out.Images = append(out.Images, showImage(r.Repository, one.Head, one.ID.ImageTag, text))
	}
	return out, nil
}

func showImage(r Repository, head registry.ManifestHead, tag, manifest string) ecrtypes.Image {
	return ecrtypes.Image{
		RegistryId: r.Registry.Account.String(), RepositoryName: r.Name.String(),
		ImageId:       &ecrtypes.ImageIdentifier{ImageDigest: head.Digest.String(), ImageTag: tag},
		ImageManifest: manifest, ImageManifestMediaType: head.MediaType,
	}
}

// BatchDeleteImage deletes images by digest, and tags; an image is deleted with its last tag. The answer has a failure
// for each image that does not exist or to which an index refers.
//
// Errors: fault.TargetChanged (an image has changed since the decision; nothing was deleted).
// Source: ECR API reference, BatchDeleteImage.
func (s *Service) BatchDeleteImage(ctx context.Context, by identity.Caller, r Deletions,
	_ *ecrtypes.BatchDeleteImageRequest) (*ecrtypes.BatchDeleteImageResponse, error) {
	out := &ecrtypes.BatchDeleteImageResponse{ImageIds: []ecrtypes.ImageIdentifier{}, Failures: []ecrtypes.ImageFailure{}}
	// An index must be deleted before the images that it refers to, but the ids are in any order. So the images that
	// were refused because an index refers to them are tried again until a round deletes none of them.
	left := r.Named
	for len(left) > 0 {
		var again []DeletedImage
		var refused []ecrtypes.ImageFailure
		for _, one := range left {
			removed, failure, err := s.deleteOne(ctx, by, r.Repository, one)
			if errors.Is(err, fault.TargetChanged) && len(out.ImageIds) > 0 {
				failure, err = failureOf(one, ecrtypes.ImageFailureCodeImageNotFound, notFound), nil
			}
			switch {
			case err != nil:
				return nil, err
			case failure != nil && failure.FailureCode == ecrtypes.ImageFailureCodeImageReferencedByManifestList:
				again, refused = append(again, one), append(refused, *failure)
			case failure != nil:
				out.Failures = append(out.Failures, *failure)
			}
			for _, id := range removed {
				out.ImageIds = append(out.ImageIds, ecrtypes.ImageIdentifier{ImageDigest: id.Digest, ImageTag: id.Tag})
			}
		}
		if len(again) == len(left) {
			out.Failures = append(out.Failures, refused...)
			break
		}
		left = again
	}
	return out, nil
}

func failureOf(one DeletedImage, code ecrtypes.ImageFailureCode, reason string) *ecrtypes.ImageFailure {
	return &ecrtypes.ImageFailure{ImageId: &one.ID, FailureCode: code, FailureReason: reason}
}

// deleteOne deletes one image or tag. It returns what was deleted, or the failure for the answer.
func (s *Service) deleteOne(ctx context.Context, by identity.Caller, r Repository, one DeletedImage) ([]registry.Removed,
	*ecrtypes.ImageFailure, error) {
	if one.Failure != nil {
		return nil, one.Failure, nil
	}
	removed, err := s.registry.Delete(ctx, by, r.Repository, one.Deletion)
	switch {
	case err == nil:
		return removed, nil, nil
	case errors.Is(err, fault.ImageReferenced), errors.Is(err, fault.ImageEntitled): // ECR has no code for the second
		return nil, failureOf(one, ecrtypes.ImageFailureCodeImageReferencedByManifestList, fault.From(err).Public), nil
	case errors.Is(err, fault.ImageNotFound): // another request has deleted it
		return nil, failureOf(one, ecrtypes.ImageFailureCodeImageNotFound, notFound), nil
	}
	return nil, nil, err
}

// PutImage stores a manifest and moves its tag.
//
// Errors: fault.InvalidParameter (tag or digest), and those of registry.Service.Put.
// Source: ECR API reference, PutImage.
func (s *Service) PutImage(ctx context.Context, by identity.Caller, r Repository,
	in *ecrtypes.PutImageRequest) (*ecrtypes.PutImageResponse, error) {
	err := s.create(ctx, r)
	if err != nil {
		return nil, err
	}
	put := registry.PutImage{Body: []byte(in.ImageManifest), MediaType: in.ImageManifestMediaType, RefuseSame: true}
	if in.ImageTag != "" {
		tag, err := name.ParseTag(in.ImageTag)
		if err != nil {
			return nil, BadMember("imageTag", "must satisfy regular expression '[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}'")
		}
		put.Tags = []name.Tag{tag}
	}
	if in.ImageDigest != "" {
		if put.Digest, err = name.ParseDigest(in.ImageDigest); err != nil {
			return nil, BadMember("imageDigest", "must be sha256: and 64, or sha512: and 128, hexadecimal digits")
		}
	}
	digest, m, err := s.registry.Put(ctx, by, r.Repository, put)
	if err != nil {
		return nil, err
	}
	shown := showImage(r, registry.ManifestHead{Digest: digest, MediaType: m.MediaType}, in.ImageTag, in.ImageManifest)
	return &ecrtypes.PutImageResponse{Image: &shown}, nil
}

// ListImageReferrers returns one page of the images whose subject is the given digest. An unknown subject has no
// referrers.
//
// Errors: fault.InvalidParameter (the digest; the token), fault.UnableToListUpstreamImageReferrers.
// Source: ECR API reference, ListImageReferrers.
func (s *Service) ListImageReferrers(ctx context.Context, by identity.Caller, r Repository,
	in *ecrtypes.ListImageReferrersRequest) (*ecrtypes.ListImageReferrersResponse, error) {
	subject, err := name.ParseDigest(in.SubjectId.ImageDigest)
	if err != nil {
		return nil, BadMember("subjectId.imageDigest", "must be sha256: and 64, or sha512: and 128, hexadecimal digits")
	}
	var types []string
	out := &ecrtypes.ListImageReferrersResponse{Referrers: []ecrtypes.ImageReferrer{}}
	if in.Filter != nil {
		types = in.Filter.ArtifactTypes
		if s := in.Filter.ArtifactStatus; s != "" && s != ecrtypes.ArtifactStatusFilterACTIVE && s != ecrtypes.ArtifactStatusFilterANY {
			return out, nil
		}
	}
	scope := fmt.Sprintf("referrers %d %s %q", r.ID, subject, types)
	var after string
	if err := s.resume(scope, in.NextToken, &after); err != nil {
		return nil, err
	}
	if s.pull != nil {
		q := pullthrough.Request{By: by, From: r.At.From, Registry: r.Registry, Name: r.Name, Found: r.Repository}
		if err := s.pull.Referrers(ctx, q, subject); err != nil {
			return nil, err
		}
	}
	limit := pageSize(in.MaxResults, 50)
	rows, more, err := s.registry.Referrers(ctx, r.Repository, subject, types, after, limit)
	if err != nil {
		return nil, err
	}
	if more {
		out.NextToken = s.pages.Listing(scope).SealJSON(rows[len(rows)-1].Digest.String())
	}
	for _, im := range rows {
		out.Referrers = append(out.Referrers, ecrtypes.ImageReferrer{
			Digest: im.Digest.String(), MediaType: im.MediaType, ArtifactType: im.ArtifactType, Size: im.Size,
			Annotations: im.Annotations, ArtifactStatus: ecrtypes.ArtifactStatusACTIVE,
		})
	}
	return out, nil
}
