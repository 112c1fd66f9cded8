package pack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/rule/manifest"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// DefaultMaxBytes is the default of Options.MaxBytes: 128 GiB, more than twice the largest layer that ECR
// accepts (52,000 MiB).
const DefaultMaxBytes = 128 << 30

// Options select an image and limit its size.
type Options struct {
	Name     string // name or tag of the image in the source; "" means the only image, or all images as one index
	MaxBytes int64  // maximum number of decompressed bytes, including bytes that are only checked; 0 means DefaultMaxBytes
}

// Open copies the image at path into a new layout in dir, which must not exist or must be empty.
//
// path is an OCI layout, as a directory or a tar archive, or an archive of "docker save", in its older form or
// in the form that is also an OCI layout; a tar archive may be gzipped. Layers are copied unchanged, compressed
// or not. Every blob is checked against its digest, and every layer of a docker archive against the
// configuration's diff_ids.
//
// Errors: fault.InvalidParameter (not an image, or an archive with names or entries that no image has),
// fault.DigestInvalid, fault.SizeInvalid, fault.BlobNotFound (content is missing), fault.ImageNotFound (no
// image has the name), fault.RequestTooLarge (more than MaxBytes), fault.LimitExceeded, those of
// manifest.Parse. After an error, the content of dir is undefined.
func Open(ctx context.Context, path, dir string, options Options) (*Image, error) {
	if options.MaxBytes == 0 {
		options.MaxBytes = DefaultMaxBytes
	}
	l, err := createLayout(dir, options.MaxBytes)
	if err != nil {
		return nil, err
	}
	defer l.close()
	src, err := openSource(ctx, path, l)
	if err != nil {
		return nil, fmt.Errorf("opening image %s: %w", path, err)
	}
	defer src.close()
	image, err := take(ctx, src, l, options.Name)
	if err != nil {
		return nil, fmt.Errorf("opening image %s: %w", path, err)
	}
	return image, l.finish(image)
}

// source is a file or directory that contains images.
type source interface {
	blobSource

	// file reads a file of at most manifest.MaxBytes. Errors: fault.BlobNotFound, fault.RequestTooLarge.
	file(path string) ([]byte, error)

	// docker converts the images in manifest.json to OCI manifests, stores these in the layout, and returns an
	// OCI index of them.
	docker(ctx context.Context) ([]byte, error)

	// form returns the value of Image.Form for an OCI layout.
	form() string

	close()
}

func openSource(ctx context.Context, path string, l *layout) (source, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return readArchive(ctx, path, l)
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	return directory{root, l}, nil
}

// take selects the image and copies all of it into the layout. It tries the OCI form first, which has more
// information (indexes, annotations). A docker archive whose OCI form is incomplete, for example if only one
// platform of the image was pulled, is read by its manifest.json.
func take(ctx context.Context, src source, l *layout, wanted string) (*Image, error) {
	index, err := ociIndex(src)
	if err == nil {
		var image *Image
		if image, err = choose(ctx, src, l, index, wanted); err == nil {
			image.Form = src.form()
			return image, nil
		}
	}
	if !errors.Is(err, fault.BlobNotFound) {
		return nil, err
	}
	index, dockerErr := src.docker(ctx)
	if errors.Is(dockerErr, fault.BlobNotFound) {
		return nil, err
	}
	if dockerErr != nil {
		return nil, dockerErr
	}
	image, err := choose(ctx, src, l, index, wanted)
	if err != nil {
		return nil, err
	}
	image.Form = "docker-archive"
	return image, nil
}

// ociIndex reads the two files of an OCI layout.
func ociIndex(src source) ([]byte, error) {
	body, err := src.file(ocispec.ImageLayoutFile)
	if errors.Is(err, fault.BlobNotFound) {
		return nil, fault.BlobNotFound.New("neither an OCI layout (there is no oci-layout) nor a docker archive (there is no manifest.json)")
	}
	if err != nil {
		return nil, err
	}
	var mark ocispec.ImageLayout
	if err := json.Unmarshal(body, &mark); err != nil || mark.Version != ocispec.ImageLayoutVersion {
		return nil, fault.InvalidParameter.New("the layout's version is %q, expected %q", name.Clip(mark.Version),
			ocispec.ImageLayoutVersion).Because(err)
	}
	return src.file(ocispec.ImageIndexFile)
}

// choose finds the image in the layout's index and walks it. If there are several images and no name, it uses
// the layout's index, which is an image index itself.
func choose(ctx context.Context, src source, l *layout, body []byte, wanted string) (*Image, error) {
	index, err := manifest.Parse(body, ocispec.MediaTypeImageIndex)
	if err != nil {
		return nil, fmt.Errorf("reading index: %w", err)
	}
	var roots []manifest.Descriptor
	var names []string
	for _, d := range index.Manifests {
		called := nameOf(d)
		names = append(names, called)
		if !isNamed(d, wanted) || len(roots) == 1 && roots[0].Digest == d.Digest {
			continue
		}
		roots = append(roots, d)
	}
	switch len(roots) {
	case 0:
		return nil, fault.ImageNotFound.New("no image has the name %q; the names are %q", name.Clip(wanted), names)
	case 1:
		return walked(ctx, src, l, roots[0])
	}
	if wanted != "" {
		return nil, fault.InvalidParameter.New("%d images have the name %q; the names are %q", len(roots), name.Clip(wanted), names)
	}
	d, size, err := l.put(ctx, name.SHA256, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	return walked(ctx, joined{src, l, d}, l, manifest.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: d, Size: size})
}

func walked(ctx context.Context, src blobSource, l *layout, root manifest.Descriptor) (*Image, error) {
	if !isManifest(root.MediaType) {
		return nil, fault.ManifestUnsupported.New("manifests of type %q are not supported", name.Clip(root.MediaType))
	}
	blobs, err := walk(ctx, src, root)
	if err != nil {
		return nil, err
	}
	return &Image{Dir: l.dir, Name: nameOf(root), Root: blobs[0], Blobs: blobs}, nil
}

// joined is a source with an additional index that is already in the layout.
type joined struct {
	blobSource
	l     *layout
	index name.Digest
}

func (j joined) size(ctx context.Context, d name.Digest) (int64, error) {
	if d == j.index {
		return verifier{j.l.root}.size(ctx, d)
	}
	return j.blobSource.size(ctx, d)
}

func (j joined) read(d name.Digest) ([]byte, error) { return readSmall(j.l.root, blobName(d)) }

// fullName is the annotation in which containerd and docker write the full name; the OCI annotation then has
// only the tag.
const fullName = "io.containerd.image.name"

// nameOf returns the full name of an image if it is set, and otherwise the value of the OCI annotation.
func nameOf(d manifest.Descriptor) string {
	if full := d.Annotations[fullName]; full != "" {
		return full
	}
	return d.Annotations[ocispec.AnnotationRefName]
}

// isNamed reports whether wanted is the full name of the image, the full name without leading parts up to a
// slash, or the tag. The name "" matches every image.
func isNamed(d manifest.Descriptor, wanted string) bool {
	if wanted == "" || d.Annotations[ocispec.AnnotationRefName] == wanted {
		return true
	}
	full := nameOf(d)
	return full == wanted || strings.HasSuffix(full, "/"+wanted) || strings.HasSuffix(full, ":"+wanted)
}

// directory is an OCI layout in a directory. The os.Root ensures that no name and no link leaves the directory.
type directory struct {
	root *os.Root
	l    *layout
}

func (s directory) file(path string) ([]byte, error) { return readSmall(s.root, path) }

func (s directory) docker(context.Context) ([]byte, error) {
	return nil, fault.BlobNotFound.New("a directory is not a docker archive")
}

func (s directory) form() string { return "oci" }

// size copies the blob and checks it in the same pass.
func (s directory) size(ctx context.Context, d name.Digest) (int64, error) {
	f, err := openRegular(s.root, blobName(d))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	got, n, err := s.l.put(ctx, d.Algorithm(), f)
	if err != nil {
		return 0, fmt.Errorf("copying %s: %w", d, err)
	}
	return n, sameDigest(got, d)
}

// read reads the copy, which cannot change any more.
func (s directory) read(d name.Digest) ([]byte, error) { return readSmall(s.l.root, blobName(d)) }

func (s directory) close() { s.root.Close() }
