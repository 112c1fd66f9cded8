package registry

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/rule/manifest"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// PutImage is a manifest to be stored.
type PutImage struct {
	Body      []byte
	MediaType string      // declared media type; "" for that in the manifest
	Digest    name.Digest // expected digest; zero to compute a SHA-256
	Tags      []name.Tag
	// RefuseSame makes a push that changes nothing an error. The ECR API requires that; docker requires success.
	RefuseSame bool
	// Cached, if not nil, is the rule by which the image was fetched; its layers are fetched when they are asked for.
	Cached *meta.CacheRule
}

// Put stores a manifest unchanged and moves the tags to it. It returns the digest and the parsed manifest.
//
// Errors: fault.ManifestInvalid, fault.ManifestUnsupported, fault.RequestTooLarge, fault.ImageDigestDoesNotMatch, and
// those of meta.Store.PutImage.
func (s *Service) Put(ctx context.Context, by identity.Caller, r meta.Repository, in PutImage) (name.Digest, *manifest.Manifest, error) {
	if len(in.Body) > manifest.MaxBytes {
		return name.Digest{}, nil, fault.RequestTooLarge.New("a manifest has at most %d bytes", manifest.MaxBytes)
	}
	m, err := manifest.Parse(in.Body, in.MediaType)
	if err != nil {
		return name.Digest{}, nil, err
	}
	if err := m.CheckMediaTypes(); err != nil {
		return name.Digest{}, nil, err
	}
	digest := DigestOf(in.Digest.Algorithm(), in.Body)
	if in.Digest != (name.Digest{}) && in.Digest != digest {
		return name.Digest{}, nil, fault.ImageDigestDoesNotMatch.New("the manifest has digest %s, not %s", digest, in.Digest)
	}
	labels, err := s.newLabels(ctx, r, m, digest, in.Cached != nil)
	if err != nil {
		return name.Digest{}, nil, err
	}
	err = s.meta.PutImage(ctx, r, meta.Put{
		Manifest: m, Body: in.Body, Digest: digest, Tags: in.Tags, Principal: by.ARN, Labels: labels,
		RefuseSame: in.RefuseSame, Quotas: s.quirks.Quotas, Sparse: s.sparse, Cached: in.Cached,
	})
	return digest, m, err
}

// DigestOf returns the digest of b: SHA-512 if a is name.SHA512, otherwise SHA-256.
func DigestOf(a name.Algorithm, b []byte) name.Digest {
	if a == name.SHA512 {
		sum := sha512.Sum512(b)
		return name.NewDigest(name.SHA512, sum[:])
	}
	sum := sha256.Sum256(b)
	return name.NewDigest(name.SHA256, sum[:])
}

// Head returns the head of the manifest with a tag or digest.
//
// Errors: fault.ImageNotFound.
func (s *Service) Head(ctx context.Context, r Repository, ref name.Reference) (ManifestHead, error) {
	return s.meta.Head(ctx, r.ID, ref)
}

// Pull returns the bytes of a manifest that Head returned, and records the pull unless the registry excludes the caller. Callers must not
// modify the bytes.
func (s *Service) Pull(ctx context.Context, by identity.Caller, r Repository, h ManifestHead) ([]byte, error) {
	body, err := s.meta.Body(ctx, h.Digest)
	if err == nil && !s.excluded(ctx, by, r.Registry) {
		s.Pulled(r.ID, h.Digest)
		if s.pulled != nil {
			s.pulled(r, h.Digest)
		}
	}
	return body, err
}

// Subject returns the image to which a stored one refers: by its manifest, or by a tag that leads to it and names an image, as SubjectOfTag
// reads it. It is zero for one that refers to none, or is not stored.
func (s *Service) Subject(ctx context.Context, r Repository, d name.Digest) (name.Digest, error) {
	head, err := s.meta.Head(ctx, r.ID, name.Reference{Digest: d})
	if errors.Is(err, fault.ImageNotFound) {
		return name.Digest{}, nil
	}
	if err != nil || head.Subject != (name.Digest{}) {
		return head.Subject, err
	}
	tags, err := s.meta.TagsLeadingTo(ctx, r.ID, d)
	for _, t := range tags {
		if of := SubjectOfTag(t); of != (name.Digest{}) {
			return of, err
		}
	}
	return name.Digest{}, err
}

// maxIndexesAbove limits the indexes in which subjects are looked for.
const maxIndexesAbove = 8

// SubjectsAbove returns the images to which indexes refer that contain an image, of the first few such indexes by their digests: an
// artifact may be an index of images.
func (s *Service) SubjectsAbove(ctx context.Context, r Repository, d name.Digest) (all []name.Digest, err error) {
	above, err := s.meta.Referring(ctx, r.ID, d.String(), false, "", maxIndexesAbove)
	if err != nil {
		return nil, err
	}
	for _, text := range above {
		index, err := name.ParseDigest(text)
		if err != nil {
			return nil, err
		}
		head, err := s.meta.Head(ctx, r.ID, name.Reference{Digest: index})
		switch {
		case errors.Is(err, fault.ImageNotFound): // it was deleted now
		case err != nil:
			return nil, err
		case head.Subject != (name.Digest{}):
			all = append(all, head.Subject)
		}
	}
	return all, nil
}

// SubjectOfTag returns the digest in a tag such as sha256-HEX, which stands for the list of the referrers of an image, or sha256-HEX.sig;
// zero for another tag.
//
// Source: OCI distribution specification, referrers tag schema; cosign's specification of signatures.
func SubjectOfTag(tag string) name.Digest {
	tag, _, _ = strings.Cut(tag, ".")
	algorithm, hex, ok := strings.Cut(tag, "-")
	if !ok {
		return name.Digest{}
	}
	d, err := name.ParseDigest(algorithm + ":" + hex)
	if err != nil {
		return name.Digest{}
	}
	return d
}

// ImagesWith returns images of a repository that have a blob: those after a digest in their order, at most limit.
func (s *Service) ImagesWith(ctx context.Context, r Repository, blob name.Digest, after string, limit int) ([]name.Digest, error) {
	texts, err := s.meta.Referring(ctx, r.ID, blob.String(), true, after, limit)
	if err != nil {
		return nil, err
	}
	all := make([]name.Digest, 0, len(texts))
	for _, text := range texts {
		d, err := name.ParseDigest(text)
		if err != nil {
			return nil, fmt.Errorf("a stored digest: %w", err)
		}
		all = append(all, d)
	}
	return all, nil
}
