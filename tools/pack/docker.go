package pack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxDockerImages is the maximum number of images in a docker archive, and maxLayers the maximum number of
// layers of an image. Docker's own maximum is 127 layers.
const (
	maxDockerImages = 1000
	maxLayers       = 1000
)

// dockerImage is an element of manifest.json.
type dockerImage struct {
	Config   string   // name in the archive
	RepoTags []string // may be empty
	Layers   []string // names in the archive, lowest layer first
}

func (a *archive) docker(ctx context.Context) ([]byte, error) {
	body, err := a.file("manifest.json")
	if err != nil {
		return nil, err
	}
	var images []dockerImage
	if err := json.Unmarshal(body, &images); err != nil {
		return nil, fault.InvalidParameter.New("manifest.json of the docker archive cannot be read").Because(err)
	}
	if len(images) == 0 || len(images) > maxDockerImages {
		return nil, fault.InvalidParameter.New("manifest.json has %d images, expected 1 to %d", len(images), maxDockerImages)
	}
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	for _, image := range images {
		d, err := a.convert(ctx, image)
		if err != nil {
			return nil, missing(err)
		}
		if len(image.RepoTags) == 0 {
			index.Manifests = append(index.Manifests, d)
		}
		for _, tag := range image.RepoTags {
			d.Annotations = map[string]string{fullName: tag}
			index.Manifests = append(index.Manifests, d)
		}
	}
	return json.Marshal(index)
}

// missing replaces BlobNotFound for a file that manifest.json lists, since BlobNotFound from docker means that
// there is no manifest.json.
func missing(err error) error {
	if !errors.Is(err, fault.BlobNotFound) {
		return err
	}
	return fault.InvalidParameter.New("the docker archive is not complete: %s", fault.From(err).Public)
}

// convert writes the OCI manifest of one image. The configuration is copied unchanged, so that the image keeps
// its id. Layers are copied unchanged too: an uncompressed layer stays uncompressed, which all clients can
// pull, saves time, and gives a digest that does not depend on a compressor.
func (a *archive) convert(ctx context.Context, image dockerImage) (ocispec.Descriptor, error) {
	body, err := a.named(image.Config)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	var config ocispec.Image
	if err := json.Unmarshal(body, &config); err != nil {
		return ocispec.Descriptor{}, fault.InvalidParameter.New("configuration %q cannot be read", name.Clip(image.Config)).Because(err)
	}
	if len(image.Layers) > maxLayers || len(image.Layers) != len(config.RootFS.DiffIDs) {
		return ocispec.Descriptor{}, fault.InvalidParameter.New(
			"configuration %q has %d layers and manifest.json %d, expected the same number, at most %d",
			name.Clip(image.Config), len(config.RootFS.DiffIDs), len(image.Layers), maxLayers)
	}
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest,
		Layers:    []ocispec.Descriptor{},
	}
	if m.Config, err = a.own(ctx, ocispec.MediaTypeImageConfig, body); err != nil {
		return ocispec.Descriptor{}, err
	}
	for i, at := range image.Layers {
		layer, err := a.layer(ctx, at, config.RootFS.DiffIDs[i])
		if err != nil {
			return ocispec.Descriptor{}, fmt.Errorf("reading layer %q: %w", name.Clip(at), err)
		}
		m.Layers = append(m.Layers, layer)
	}
	encoded, err := json.Marshal(m)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("encoding manifest: %w", err)
	}
	d, err := a.own(ctx, ocispec.MediaTypeImageManifest, encoded)
	if config.OS != "" && config.Architecture != "" {
		d.Platform = &ocispec.Platform{OS: config.OS, Architecture: config.Architecture, Variant: config.Variant, OSVersion: config.OSVersion}
	}
	return d, err
}

// own stores a document in the layout as if it were a file of the archive.
func (a *archive) own(ctx context.Context, mediaType string, body []byte) (ocispec.Descriptor, error) {
	d, size, err := a.l.put(ctx, name.SHA256, bytes.NewReader(body))
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	a.sizes[d] = size
	return describe(mediaType, d, size), nil
}

// named reads a file by a name from a document of the archive.
func (a *archive) named(at string) ([]byte, error) {
	clean, err := cleanName(at)
	if err != nil {
		return nil, err
	}
	return a.file(clean)
}

// layer compares a layer, gzipped or not, with the digest of its uncompressed form.
func (a *archive) layer(ctx context.Context, at string, diffID digest.Digest) (ocispec.Descriptor, error) {
	want, err := name.ParseDigest(string(diffID))
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	clean, err := cleanName(at)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	c, err := a.find(clean)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	if c.digest == want { // not compressed; hashed when it was added
		return describe(ocispec.MediaTypeImageLayer, c.digest, c.size), nil
	}
	f, err := a.l.root.Open(blobName(c.digest))
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	defer f.Close()
	plain, zipped, err := gunzip(f)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	mediaType := ocispec.MediaTypeImageLayer
	if zipped {
		mediaType = ocispec.MediaTypeImageLayerGzip
	}
	if a.plain[c.digest] != want { // decompressed once, also if several images have the layer
		if err := a.checkPlain(ctx, plain, want); err != nil {
			return ocispec.Descriptor{}, err
		}
		a.plain[c.digest] = want
	}
	return describe(mediaType, c.digest, c.size), nil
}

// checkPlain compares the uncompressed form of a layer with its digest. Its bytes count against the limit
// although they are not stored. Errors: fault.DigestInvalid, fault.RequestTooLarge.
func (a *archive) checkPlain(ctx context.Context, plain io.Reader, want name.Digest) error {
	limit := a.l.left.Load()
	h := newHash(want.Algorithm())
	n, err := io.Copy(h, io.LimitReader(readerUntil(ctx, plain), limit+1))
	if err != nil {
		return notATar(err)
	}
	if a.l.left.Add(-n) < 0 {
		return fault.RequestTooLarge.New("a layer unpacks to more bytes than the limit allows")
	}
	return sameDigest(name.NewDigest(want.Algorithm(), h.Sum(nil)), want)
}
