// Package pack makes OCI image layouts: from static binaries with [Build], and from images in files with [Open].
//
// A layout is a directory that can be pushed as it stands. What Open reads is distrusted: no name from an archive ever
// reaches the file system, since every entry is stored under the digest of its bytes; sizes are limited while bytes
// stream; manifests go through the same parser as on a push.
package pack

import (
	"context"
	"fmt"
	"os"

	"github.com/ecrin-dev/ecrin/internal/fault"
	"github.com/ecrin-dev/ecrin/internal/manifest"
	"github.com/ecrin-dev/ecrin/internal/name"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Image is one image, or one index of images, in a layout directory.
type Image struct {
	Dir   string               // the layout directory
	Form  string               // what was opened, as skopeo calls it: "oci", "oci-archive", "docker-archive"; "" after Build
	Name  string               // the name that the source gave it, or ""; text from outside: quote it
	Root  ocispec.Descriptor   // the manifest to push
	Blobs []ocispec.Descriptor // all that Root reaches, itself included: each digest once, a manifest before its parts
}

// Size is the sum of all blobs in bytes.
func (i *Image) Size() (total int64) {
	for _, d := range i.Blobs {
		total += d.Size
	}
	return total
}

// Manifests are those of the blobs that name other blobs, Root first.
func (i *Image) Manifests() (all []ocispec.Descriptor) {
	for _, d := range i.Blobs {
		if isManifest(d.MediaType) {
			all = append(all, d)
		}
	}
	return all
}

// maxDepth is how far indexes may nest below the root. Builders make two levels.
const maxDepth = 8

// maxBlobs is how many different blobs one image may reach.
const maxBlobs = 20_000

// blobSource is where a walk finds content. Both methods know the content by its digest alone.
type blobSource interface {
	// size checks that the content is there with the digest it claims, and tells its size in bytes.
	// Errors: fault.BlobNotFound, fault.DigestInvalid.
	size(ctx context.Context, d name.Digest) (int64, error)

	// read gives content that size has answered for, when it has at most manifest.MaxBytes.
	read(d name.Digest) ([]byte, error)
}

// walk lists root and all it reaches, and checks each against its descriptor. Subjects are not followed: a manifest may
// name one that does not exist.
//
// Errors: those of the source, of manifest.Parse, fault.SizeInvalid (a descriptor's size is not the content's),
// fault.LimitExceeded.
func walk(ctx context.Context, src blobSource, root manifest.Descriptor) ([]ocispec.Descriptor, error) {
	w := walker{src: src, sizes: map[name.Digest]int64{}, parsed: map[name.Digest]bool{}}
	if err := w.visit(ctx, root, 0); err != nil {
		return nil, fmt.Errorf("reading image %s: %w", root.Digest, err)
	}
	return w.found, nil
}

type walker struct {
	src    blobSource
	found  []ocispec.Descriptor
	sizes  map[name.Digest]int64
	parsed map[name.Digest]bool // manifests; a digest seen as a plain blob before may still come as a manifest
}

func (w *walker) visit(ctx context.Context, d manifest.Descriptor, depth int) error {
	if err := w.check(ctx, d); err != nil {
		return err
	}
	if !isManifest(d.MediaType) || w.parsed[d.Digest] {
		return nil
	}
	if depth > maxDepth {
		return fault.LimitExceeded.New("indexes nest deeper than %d levels", maxDepth)
	}
	w.parsed[d.Digest] = true
	body, err := w.src.read(d.Digest)
	if err != nil {
		return err
	}
	m, err := manifest.Parse(body, d.MediaType)
	if err != nil {
		return fmt.Errorf("reading manifest %s: %w", d.Digest, err)
	}
	for _, part := range append(m.Blobs(), m.Manifests...) {
		if err := w.visit(ctx, part, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// check compares a descriptor with the content, and records the content when it is new.
func (w *walker) check(ctx context.Context, d manifest.Descriptor) error {
	size, known := w.sizes[d.Digest]
	if !known {
		var err error
		if size, err = w.src.size(ctx, d.Digest); err != nil {
			return err
		}
		if len(w.sizes) == maxBlobs {
			return fault.LimitExceeded.New("the image has more than %d blobs", maxBlobs)
		}
		w.sizes[d.Digest] = size
		w.found = append(w.found, describe(d.MediaType, d.Digest, size))
	}
	if d.Size >= 0 && d.Size != size { // schema 1 does not tell sizes
		return fault.SizeInvalid.New("%s has %d bytes, its descriptor says %d", d.Digest, size, d.Size)
	}
	return nil
}

// isManifest tells the media types that refer to other content. An index may list content of other types: those are
// blobs to a walk.
func isManifest(mediaType string) bool {
	switch mediaType {
	case ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageIndex,
		"application/vnd.docker.distribution.manifest.v2+json", "application/vnd.docker.distribution.manifest.list.v2+json":
		return true
	}
	return false
}

// Verify reads every byte that root reaches in a layout directory, and lists what it found as Image.Blobs does.
//
// Errors: fault.BlobNotFound, fault.DigestInvalid, fault.SizeInvalid, those of manifest.Parse.
func Verify(ctx context.Context, dir string, root ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	d, err := name.ParseDigest(string(root.Digest))
	if err != nil {
		return nil, err
	}
	opened, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("opening layout: %w", err)
	}
	defer opened.Close()
	return walk(ctx, verifier{opened}, manifest.Descriptor{MediaType: root.MediaType, Digest: d, Size: root.Size})
}
