// Package pack writes OCI image layouts: from static binaries with [Build], and from images in files with
// [Open].
//
// The resulting layout is a directory that can be pushed without changes. The input of Open is not trusted:
// names in an archive are never used as file names, since every entry is stored under the digest of its bytes;
// sizes are limited while bytes are read; manifests are parsed by the parser that also checks pushed manifests.
package pack

import (
	"context"
	"fmt"
	"os"

	"github.com/ecrin-dev/ecrin/internal/rule/manifest"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Image is one image, or one index of images, in a layout directory.
type Image struct {
	Dir   string               // the layout directory
	Form  string               // form of the source, in skopeo's terms: "oci", "oci-archive", "docker-archive"; "" after Build
	Name  string               // its name in the source, or ""; an untrusted text, which must be quoted
	Root  ocispec.Descriptor   // the manifest to push
	Blobs []ocispec.Descriptor // Root and all blobs below it: each digest once, a manifest before its parts
}

// Size returns the sum of the sizes of all blobs, in bytes.
func (i *Image) Size() (total int64) {
	for _, d := range i.Blobs {
		total += d.Size
	}
	return total
}

// Manifests returns those of the blobs that refer to other blobs, Root first.
func (i *Image) Manifests() (all []ocispec.Descriptor) {
	for _, d := range i.Blobs {
		if isManifest(d.MediaType) {
			all = append(all, d)
		}
	}
	return all
}

// maxDepth is the maximum nesting of indexes below the root. Image builders make two levels.
const maxDepth = 8

// maxBlobs is the maximum number of different blobs of an image.
const maxBlobs = 20_000

// blobSource is a source of content by digest.
type blobSource interface {
	// size checks that the content exists and has the digest d, and returns its size in bytes.
	// Errors: fault.BlobNotFound, fault.DigestInvalid.
	size(ctx context.Context, d name.Digest) (int64, error)

	// read returns content of at most manifest.MaxBytes for which size has succeeded before.
	read(d name.Digest) ([]byte, error)
}

// walk returns root and all content below it, and checks each against its descriptor. Subjects are not
// followed, since a subject need not exist.
//
// Errors: those of the source, of manifest.Parse, fault.SizeInvalid (the size in a descriptor is not that of the content),
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
	parsed map[name.Digest]bool // parsed manifests; a digest that was a blob before may occur as a manifest too
}

func (w *walker) visit(ctx context.Context, d manifest.Descriptor, depth int) error {
	if err := w.check(ctx, d); err != nil {
		return err
	}
	if !isManifest(d.MediaType) || w.parsed[d.Digest] {
		return nil
	}
	if depth > maxDepth {
		return fault.LimitExceeded.New("indexes are nested deeper than %d levels", maxDepth)
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

// check compares a descriptor with the content, and records the content if it is new.
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
	if d.Size >= 0 && d.Size != size { // schema 1 has no sizes
		return fault.SizeInvalid.New("%s has %d bytes, but %d in its descriptor", d.Digest, size, d.Size)
	}
	return nil
}

// isManifest reports whether content of a media type refers to other content. An index may also list content of
// other types, which walk treats as blobs.
func isManifest(mediaType string) bool {
	switch mediaType {
	case ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageIndex,
		"application/vnd.docker.distribution.manifest.v2+json", "application/vnd.docker.distribution.manifest.list.v2+json":
		return true
	}
	return false
}

// Verify reads all content below root in a layout directory, and returns its descriptors in the order of
// Image.Blobs.
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
