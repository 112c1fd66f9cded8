package registry

import (
	"context"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// LastTag selects what happens to an image when its last tag is deleted.
type LastTag uint8

// The values of LastTag.
const (
	LastTagDeletesImage LastTag = iota // the image is deleted. Source: ECR API reference, BatchDeleteImage
	LastTagKeepsImage                  // the image stays. Source: OCI distribution specification, Deleting tags
)

// Deletion is the resolved target of a deletion: a tag, or an image with its tags.
type Deletion struct {
	Tag    name.Tag    // the tag to delete; zero to delete the image
	Digest name.Digest // the image; with Tag, the image that Tag named when the deletion was resolved
	Tags   []string    // without Tag, the tags that led to the image when the deletion was resolved
	Last   LastTag     // used only with Tag
	Force  bool        // also what customers of a vendor may pull
}

// DeletionOf resolves the deletion of a tag or an image: the digest, and without a tag all tags that lead to the image.
// The caller of the request needs the permission to delete each of those tags.
//
// Errors: fault.ImageNotFound.
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

// references returns the names by which the image is lost: the tag, or else all tags and the digest.
func (d Deletion) references() []name.Reference {
	if d.Tag != (name.Tag{}) {
		return []name.Reference{{Tag: d.Tag, Digest: d.Digest}}
	}
	var all []name.Reference
	for _, text := range d.Tags {
		if tag, err := name.ParseTag(text); err == nil { // no image has an invalid one
			all = append(all, name.Reference{Tag: tag, Digest: d.Digest})
		}
	}
	return append(all, name.Reference{Digest: d.Digest})
}

// Delete deletes the resolved tag or image, and returns what it deleted. No other function deletes tags or images.
//
// Errors: fault.TargetChanged (the tag now names another image, or the image has other tags; nothing was deleted),
// fault.ImageNotFound, fault.ImageReferenced (an index of the repository refers to the image),
// fault.RepositoryNotFound, fault.ImageEntitled (customers of a vendor would lose it, and Force is not set).
func (s *Service) Delete(ctx context.Context, by identity.Caller, r Repository, d Deletion) ([]Removed, error) {
	if s.entitled != nil && !d.Force {
		if err := s.entitled.Check(ctx, r, d.references()); err != nil {
			return nil, err
		}
	}
	if d.Tag == (name.Tag{}) {
		return s.meta.DeleteImage(ctx, r, d.Digest, d.Tags, by.ARN)
	}
	removed, err := s.meta.DeleteTag(ctx, r, d.Tag, d.Digest, d.Last == LastTagDeletesImage, by.ARN)
	if err != nil {
		return nil, err
	}
	return []meta.Removed{removed}, nil
}

// DeleteBlob removes a blob from a repository in which no image refers to it.
//
// Errors: fault.BlobNotFound, fault.RepositoryNotFound, fault.ImageReferenced (an image refers to the blob).
func (s *Service) DeleteBlob(ctx context.Context, r Repository, d name.Digest) error {
	return s.meta.RemoveBlob(ctx, r, d)
}
