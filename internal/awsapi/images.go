package awsapi

import (
	"errors"
	"fmt"
	"regexp"

	"github.com/ecrin-dev/ecrin/internal/awswire"
	"github.com/ecrin-dev/ecrin/internal/ecrtypes"
	"github.com/ecrin-dev/ecrin/internal/fault"
	"github.com/ecrin-dev/ecrin/internal/meta"
	"github.com/ecrin-dev/ecrin/internal/name"
	"github.com/ecrin-dev/ecrin/internal/registry"
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

// active tells whether a filter on image status lets active images through; no image has another status yet.
func active(f ecrtypes.ImageStatusFilter) bool {
	return f == "" || f == ecrtypes.ImageStatusFilterACTIVE || f == ecrtypes.ImageStatusFilterANY
}

func (a *API) listImages(c *call, in *ecrtypes.ListImagesRequest) (*ecrtypes.ListImagesResponse, error) {
	r, err := a.find(c, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
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
	if err := a.resume(scope, in.NextToken, &after); err != nil {
		return nil, err
	}
	limit := pageSize(in.MaxResults, 100)
	rows, err := a.registry.Meta().ImageIDs(c.ctx, r.ID, tagState(filter.TagStatus), after, limit+1)
	if err != nil {
		return nil, err
	}
	if len(rows) > limit {
		rows = rows[:limit]
		out.NextToken = a.token(scope, rows[limit-1].Position)
	}
	for _, id := range rows {
		out.ImageIds = append(out.ImageIds, ecrtypes.ImageIdentifier{ImageDigest: id.Digest, ImageTag: id.Tag})
	}
	return out, nil
}

func (a *API) describeImages(c *call, in *ecrtypes.DescribeImagesRequest) (*ecrtypes.DescribeImagesResponse, error) {
	r, err := a.find(c, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	filter := ecrtypes.DescribeImagesFilter{}
	if in.Filter != nil {
		filter = *in.Filter
	}
	if len(in.ImageIds) > 0 {
		if in.MaxResults != nil || in.NextToken != "" {
			return nil, badMember("maxResults", "maxResults and nextToken cannot be used with imageIds")
		}
		return a.describeByID(c, r, in.ImageIds, filter)
	}
	out := &ecrtypes.DescribeImagesResponse{ImageDetails: []ecrtypes.ImageDetail{}}
	if !active(filter.ImageStatus) {
		return out, nil
	}
	scope := fmt.Sprintf("details %d %s", r.ID, filter.TagStatus)
	var after meta.Position
	if err := a.resume(scope, in.NextToken, &after); err != nil {
		return nil, err
	}
	limit := pageSize(in.MaxResults, 100)
	rows, err := a.registry.Meta().Images(c.ctx, r.ID, tagState(filter.TagStatus), after, limit+1)
	if err != nil {
		return nil, err
	}
	if len(rows) > limit {
		rows = rows[:limit]
		last := rows[limit-1]
		out.NextToken = a.token(scope, meta.Position{PushedAt: last.PushedAt.UnixMicro(), Digest: last.Digest.String()})
	}
	for _, im := range rows {
		out.ImageDetails = append(out.ImageDetails, detail(r, im))
	}
	return out, nil
}

// describeByID answers one entry for each digest; a single id that is not there fails the whole call, as in ECR.
func (a *API) describeByID(c *call, r meta.Repository, ids []ecrtypes.ImageIdentifier, filter ecrtypes.DescribeImagesFilter) (*ecrtypes.DescribeImagesResponse, error) {
	out := &ecrtypes.DescribeImagesResponse{ImageDetails: []ecrtypes.ImageDetail{}}
	seen := map[name.Digest]bool{}
	for _, id := range ids {
		head, failure, err := a.lookUp(c, r, id)
		if err != nil {
			return nil, err
		}
		if failure != nil {
			if failure.FailureCode == ecrtypes.ImageFailureCodeImageNotFound || failure.FailureCode == ecrtypes.ImageFailureCodeImageTagDoesNotMatchDigest {
				return nil, fault.ImageNotFound.New("The image with imageId {imageDigest:'%s', imageTag:'%s'} does not exist within the repository with name '%s' in the registry with id '%s'",
					orNull(id.ImageDigest), orNull(id.ImageTag), r.Name, r.Registry.Account)
			}
			return nil, fault.InvalidParameter.New("%s", failure.FailureReason)
		}
		if seen[head.Digest] {
			continue
		}
		seen[head.Digest] = true
		im, err := a.registry.Meta().Image(c.ctx, r.ID, head.Digest)
		if err != nil {
			return nil, err
		}
		state := tagState(filter.TagStatus)
		if active(filter.ImageStatus) && (state == meta.Any || (state == meta.Tagged) == (len(im.Tags) > 0)) {
			out.ImageDetails = append(out.ImageDetails, detail(r, im))
		}
	}
	return out, nil
}

func orNull(s string) string {
	if s == "" {
		return "null"
	}
	return s
}

func detail(r meta.Repository, im meta.Image) ecrtypes.ImageDetail {
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

// looseDigest is what the ECR API accepts as the shape of a digest; stored are only sha256 and sha512.
var looseDigest = regexp.MustCompile(`^[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+$`)

// lookUp resolves an image id, or tells the failure that batch operations report.
// Source: ECR API reference, BatchGetImage; texts as observed.
func (a *API) lookUp(c *call, r meta.Repository, id ecrtypes.ImageIdentifier) (meta.ManifestHead, *ecrtypes.ImageFailure, error) {
	fail := func(code ecrtypes.ImageFailureCode, reason string) (meta.ManifestHead, *ecrtypes.ImageFailure, error) {
		return meta.ManifestHead{}, &ecrtypes.ImageFailure{ImageId: &id, FailureCode: code, FailureReason: reason}, nil
	}
	if id.ImageDigest == "" && id.ImageTag == "" {
		return fail(ecrtypes.ImageFailureCodeMissingDigestAndTag, "Invalid request parameters: both tag and digest cannot be null")
	}
	var ref name.Reference
	if id.ImageDigest != "" {
		if !looseDigest.MatchString(id.ImageDigest) {
			return fail(ecrtypes.ImageFailureCodeInvalidImageDigest, "Invalid request parameters: image digest should satisfy the regex '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'")
		}
		d, err := name.ParseDigest(id.ImageDigest)
		if err != nil {
			return fail(ecrtypes.ImageFailureCodeImageNotFound, "Requested image not found")
		}
		ref.Digest = d
	}
	if id.ImageTag != "" {
		t, err := name.ParseTag(id.ImageTag)
		if err != nil {
			return fail(ecrtypes.ImageFailureCodeInvalidImageTag, "Invalid request parameters: image tag should satisfy the regex '[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}'")
		}
		ref.Tag = t
	}
	want := ref.Digest
	if ref.Tag != (name.Tag{}) {
		ref.Digest = name.Digest{}
	}
	head, err := a.registry.Head(c.ctx, r, ref)
	switch {
	case errors.Is(err, fault.ImageNotFound):
		return fail(ecrtypes.ImageFailureCodeImageNotFound, "Requested image not found")
	case err != nil:
		return meta.ManifestHead{}, nil, err
	case want != (name.Digest{}) && head.Digest != want:
		return fail(ecrtypes.ImageFailureCodeImageTagDoesNotMatchDigest, "Requested image tag does not match the requested image digest")
	}
	return head, nil, nil
}

func (a *API) batchGetImage(c *call, in *ecrtypes.BatchGetImageRequest) (*ecrtypes.BatchGetImageResponse, error) {
	r, err := a.find(c, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	out := &ecrtypes.BatchGetImageResponse{Images: []ecrtypes.Image{}, Failures: []ecrtypes.ImageFailure{}}
	for _, id := range in.ImageIds {
		head, failure, err := a.lookUp(c, r, id)
		if err != nil {
			return nil, err
		}
		if failure != nil {
			out.Failures = append(out.Failures, *failure)
			continue
		}
		_, body, err := a.registry.Manifest(c.ctx, r, name.Reference{Digest: head.Digest})
		if err != nil {
			return nil, err
		}
		out.Images = append(out.Images, image(r, head, id.ImageTag, body))
	}
	return out, nil
}

func image(r meta.Repository, head meta.ManifestHead, tag string, body []byte) ecrtypes.Image {
	return ecrtypes.Image{
		RegistryId: r.Registry.Account.String(), RepositoryName: r.Name.String(),
		ImageId:       &ecrtypes.ImageIdentifier{ImageDigest: head.Digest.String(), ImageTag: tag},
		ImageManifest: string(body), ImageManifestMediaType: head.MediaType,
	}
}

// batchDeleteImage removes images by digest and tags by name; an image goes with its last tag.
// Source: ECR API reference, BatchDeleteImage.
func (a *API) batchDeleteImage(c *call, in *ecrtypes.BatchDeleteImageRequest) (*ecrtypes.BatchDeleteImageResponse, error) {
	r, err := a.find(c, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	out := &ecrtypes.BatchDeleteImageResponse{ImageIds: []ecrtypes.ImageIdentifier{}, Failures: []ecrtypes.ImageFailure{}}
	// Indexes go before what they name, whatever the order of the ids: what is refused because an index names it is
	// tried again as long as others went.
	left := in.ImageIds
	for len(left) > 0 {
		var again []ecrtypes.ImageIdentifier
		var refused []ecrtypes.ImageFailure
		for _, id := range left {
			removed, failure, err := a.deleteOne(c, r, id)
			switch {
			case err != nil:
				return nil, err
			case failure != nil && failure.FailureCode == ecrtypes.ImageFailureCodeImageReferencedByManifestList:
				again, refused = append(again, id), append(refused, *failure)
			case failure != nil:
				out.Failures = append(out.Failures, *failure)
			}
			for _, one := range removed {
				out.ImageIds = append(out.ImageIds, ecrtypes.ImageIdentifier{ImageDigest: one.Digest, ImageTag: one.Tag})
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

func (a *API) deleteOne(c *call, r meta.Repository, id ecrtypes.ImageIdentifier) ([]meta.Removed, *ecrtypes.ImageFailure, error) {
	head, failure, err := a.lookUp(c, r, id)
	if failure != nil || err != nil {
		return nil, failure, err
	}
	var removed []meta.Removed
	if id.ImageTag == "" {
		removed, err = a.registry.Meta().DeleteImage(c.ctx, r, head.Digest, c.caller.ARN)
	} else {
		tag, perr := name.ParseTag(id.ImageTag)
		if perr != nil {
			return nil, nil, perr
		}
		var one meta.Removed
		one, err = a.registry.Meta().DeleteTag(c.ctx, r, tag, head.Digest, true, c.caller.ARN)
		removed = []meta.Removed{one}
	}
	e := fault.From(err)
	switch {
	case err == nil:
		return removed, nil, nil
	case e.Code == fault.ImageReferenced:
		return nil, &ecrtypes.ImageFailure{ImageId: &id, FailureCode: ecrtypes.ImageFailureCodeImageReferencedByManifestList, FailureReason: e.Public}, nil
	case e.Code == fault.ImageNotFound, e.Code == fault.ImageDigestDoesNotMatch: // someone else was quicker
		return nil, &ecrtypes.ImageFailure{ImageId: &id, FailureCode: ecrtypes.ImageFailureCodeImageNotFound, FailureReason: "Requested image not found"}, nil
	}
	return nil, nil, err
}

func (a *API) putImage(c *call, in *ecrtypes.PutImageRequest) (*ecrtypes.PutImageResponse, error) {
	r, err := a.find(c, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	put := registry.PutImage{Body: []byte(in.ImageManifest), MediaType: in.ImageManifestMediaType, RefuseSame: true}
	if in.ImageTag != "" {
		tag, err := name.ParseTag(in.ImageTag)
		if err != nil {
			return nil, badMember("imageTag", "must satisfy regular expression '[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}'")
		}
		put.Tags = []name.Tag{tag}
	}
	if in.ImageDigest != "" {
		if put.Digest, err = name.ParseDigest(in.ImageDigest); err != nil {
			return nil, badMember("imageDigest", "must be sha256: and 64, or sha512: and 128, hexadecimal digits")
		}
	}
	digest, m, err := a.registry.Put(c.ctx, c.caller, r, put)
	if err != nil {
		return nil, err
	}
	c.ev.Digest = digest.String()
	shown := image(r, meta.ManifestHead{Digest: digest, MediaType: m.MediaType}, in.ImageTag, put.Body)
	return &ecrtypes.PutImageResponse{Image: &shown}, nil
}

func (a *API) listImageReferrers(c *call, in *ecrtypes.ListImageReferrersRequest) (*ecrtypes.ListImageReferrersResponse, error) {
	r, err := a.find(c, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	subject, err := name.ParseDigest(in.SubjectId.ImageDigest)
	if err != nil {
		return nil, badMember("subjectId.imageDigest", "must be sha256: and 64, or sha512: and 128, hexadecimal digits")
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
	if err := a.resume(scope, in.NextToken, &after); err != nil {
		return nil, err
	}
	limit := pageSize(in.MaxResults, 50)
	rows, more, err := a.registry.Meta().Referrers(c.ctx, r.ID, subject, types, after, limit)
	if err != nil {
		return nil, err
	}
	if more {
		out.NextToken = a.token(scope, rows[len(rows)-1].Digest.String())
	}
	for _, im := range rows {
		out.Referrers = append(out.Referrers, ecrtypes.ImageReferrer{
			Digest: im.Digest.String(), MediaType: im.MediaType, ArtifactType: im.ArtifactType, Size: im.Size,
			Annotations: im.Annotations, ArtifactStatus: ecrtypes.ArtifactStatusACTIVE,
		})
	}
	return out, nil
}
