package registry

import (
	"context"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// LastTag says what happens to an image whose last tag is deleted.
type LastTag uint8

// The values of LastTag.
const (
	LastTagDeletesImage LastTag = iota // as the ECR API does. Source: ECR API reference, BatchDeleteImage
	LastTagKeepsImage                  // as the OCI distribution specification has it
)

// Deletion is what a request was allowed to delete: a tag, or an image with its tags.
type Deletion struct {
	Tag    name.Tag    // the tag to delete; none deletes the image
	Digest name.Digest // the image, or the one that Tag named when the deletion was decided
	Tags   []string    // without Tag, the tags that led to the image when the deletion was decided
	Last   LastTag     // with Tag
}

// DeletionOf resolves what the deletion of an image means now: its digest, and without a tag all tags that lead to it. Each of
// those tags needs the right to be deleted. Errors: fault.ImageNotFound.
func (s *Service) DeletionOf(ctx context.Context, r Repository, ref name.Reference, last LastTag) (Deletion, error) {
	if last == LastTagKeepsImage && s.quirks.TagDeletesImage {
		last = LastTagDeletesImage
	}
	head, err := s.meta.Head(ctx, r.ID, ref)
	if err != nil {
		return Deletion{}, err
	}
	d := Deletion{Tag: ref.Tag, Digest: head.Digest, Last: last}
	if ref.Tag == (name.Tag{}) {
		d.Tags, err = s.meta.TagsLeadingTo(ctx, r.ID, head.Digest)
	}
	return d, err
}

// Delete deletes what was decided about, and nothing else: it is the only way by which images and tags go.
//
// Errors: fault.TargetChanged (the tag names another image now, or the image has got another tag; nothing was deleted),
// fault.ImageNotFound, fault.ImageReferenced (an index of the repository names the image), fault.RepositoryNotFound.
func (s *Service) Delete(ctx context.Context, by identity.Caller, r Repository, d Deletion) ([]Removed, error) {
	if d.Tag == (name.Tag{}) {
		return s.meta.DeleteImage(ctx, r, d.Digest, d.Tags, by.ARN)
	}
	removed, err := s.meta.DeleteTag(ctx, r, d.Tag, d.Digest, d.Last == LastTagDeletesImage, by.ARN)
	if err != nil {
		return nil, err
	}
	return []meta.Removed{removed}, nil
}

// DeleteBlob takes a blob away from a repository that no image of it names.
// Errors: fault.BlobNotFound, fault.RepositoryNotFound, fault.ImageReferenced (an image names the blob).
func (s *Service) DeleteBlob(ctx context.Context, r Repository, d name.Digest) error {
	return s.meta.RemoveBlob(ctx, r, d)
}
