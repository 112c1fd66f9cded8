package report

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/net/upstream"
	"github.com/ecrin-dev/ecrin/internal/op/ecr"
	"github.com/ecrin-dev/ecrin/internal/rule/manifest"
	"github.com/ecrin-dev/ecrin/internal/rule/report"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// reader reads one image.
type reader interface {
	// manifest returns a manifest by its tag or digest.
	manifest(ctx context.Context, ref string) (body []byte, mediaType string, d name.Digest, err error)
	// config returns a blob of at most maxConfig bytes.
	config(ctx context.Context, d name.Digest, size int64) ([]byte, error)
}

// outside reads from another registry.
type outside struct {
	*upstream.Registry
	image report.ImageName
	by    string // the credentials, for messages
}

func (o outside) manifest(ctx context.Context, ref string) ([]byte, string, name.Digest, error) {
	m, err := o.Manifest(ctx, o.image.Path, ref, upstream.ManifestOptions{})
	return m.Body, m.MediaType, m.Digest, o.explain(err)
}

func (o outside) config(ctx context.Context, d name.Digest, size int64) ([]byte, error) {
	b, err := o.Blob(ctx, o.image.Path, d, upstream.BlobOptions{Size: size})
	if err != nil {
		return nil, o.explain(err)
	}
	defer func() { _ = b.Close() }() // it was only read
	body, err := io.ReadAll(io.LimitReader(b, maxConfig+1))
	return body, o.explain(err)
}

// explain returns an error of another registry with what it means for the image.
func (o outside) explain(err error) error {
	e, ok := errors.AsType[*upstream.Error](err)
	if !ok {
		return err
	}
	at := o.image.Host
	switch e.Reason {
	case upstream.NotFound:
		return fault.ImageNotFound.New("MANIFEST_UNKNOWN: the registry %s has no image %s", at, o.image.Given).Because(err)
	case upstream.Unauthorized, upstream.Denied:
		return fault.IntegrationFailed.New("the registry %s does not let %s read the image %s: %s", at, o.by, o.image.Given,
			e.Public).Because(err)
	case upstream.RateLimited:
		return fault.IntegrationFailed.New("the registry %s limits the rate of requests (429): report the image again later", at).Because(err)
	}
	return fault.IntegrationFailed.New("the image %s cannot be read at the registry %s: %s", o.image.Given, at, e.Public).Because(err)
}

// inside reads from a repository of this server.
type inside struct {
	s    *Service
	by   identity.Caller
	from guard.Origin
	repo ecr.Repository
	top  name.Digest // of the image, for which the caller has the permissions
	ask  guard.Ask   // about the repository
}

func (i inside) manifest(ctx context.Context, text string) ([]byte, string, name.Digest, error) {
	ref, err := name.ParseReference(text)
	if err != nil {
		return nil, "", name.Digest{}, err
	}
	head, err := i.s.registry.Head(ctx, i.repo.Repository, ref)
	if err != nil {
		return nil, "", name.Digest{}, err
	}
	if head.Digest != i.top { // one of an index: policies can tell images apart
		one := i.ask
		one.Image = guard.Image{Reference: name.Reference{Digest: head.Digest}, Stored: true}
		if err := i.allow(ctx, one); err != nil {
			return nil, "", name.Digest{}, err
		}
	}
	body, err := i.s.meta.Body(ctx, head.Digest)
	return body, head.MediaType, head.Digest, err
}

func (i inside) allow(ctx context.Context, ask guard.Ask) error {
	if i.by.Kind == identity.Operator {
		return nil
	}
	for _, action := range pulls {
		ask.Action = action
		if err := i.s.guard.Decide(ctx, i.by, i.from, &guard.Record{}, ask); err != nil {
			return err
		}
	}
	return nil
}

func (i inside) config(ctx context.Context, d name.Digest, _ int64) ([]byte, error) {
	f, _, err := i.s.registry.OpenBlob(ctx, i.repo.Repository, d)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	return io.ReadAll(io.LimitReader(f, maxConfig+1))
}

// binary is one image with its configuration.
type binary struct {
	digest name.Digest // of the manifest
	id     name.Digest // of the configuration
	size   int64       // bytes of the configuration and all layers
	config report.Config
	layers []report.Layer
}

// read is what a report reads of an image: one binary, or those of an index.
type read struct {
	digest   name.Digest
	list     bool
	binaries []binary
}

// readImage reads an image: its manifest, the manifests of an index whose platform is known, and their configurations.
func readImage(ctx context.Context, from reader, ref string, m *messages) (r read, err error) {
	body, mediaType, d, err := from.manifest(ctx, ref)
	if err != nil {
		return r, err
	}
	top, err := manifest.Parse(body, mediaType)
	if err != nil {
		return r, err
	}
	r.digest = d
	if top.Kind != manifest.Index {
		one, err := readBinary(ctx, from, d, top, m)
		r.binaries = []binary{one}
		return r, err
	}
	r.list = true
	platforms, err := report.Platforms(body)
	if err != nil {
		return r, fault.ManifestInvalid.New("the platforms of the index cannot be read").Because(err)
	}
	if len(top.Manifests) > maxPlatforms {
		return r, fault.LimitExceeded.New("a report reads an index of at most %d images, this has %d", maxPlatforms, len(top.Manifests))
	}
	for i, child := range top.Manifests {
		if i < len(platforms) && platforms[i] == "unknown" {
			continue // an attestation
		}
		body, mediaType, d, err := from.manifest(ctx, child.Digest.String())
		if err != nil {
			return r, err
		}
		inner, err := manifest.Parse(body, mediaType)
		if err != nil {
			return r, err
		}
		if inner.Kind == manifest.Index || inner.Config == nil {
			m.add(Warn, fmt.Sprintf("%s of the index is not an image: it is left out", d))
			continue
		}
		one, err := readBinary(ctx, from, d, inner, m)
		if err != nil {
			return r, err
		}
		r.binaries = append(r.binaries, one)
	}
	return r, nil
}

func readBinary(ctx context.Context, from reader, d name.Digest, in *manifest.Manifest, m *messages) (b binary, err error) {
	if in.Config == nil {
		return b, fault.ManifestUnsupported.New("the image has a manifest without a configuration, which reports do not read")
	}
	if in.Config.Size > maxConfig {
		return b, fault.LimitExceeded.New("the configuration of the image has more than %d bytes", maxConfig)
	}
	body, err := from.config(ctx, in.Config.Digest, in.Config.Size)
	if err != nil {
		return b, err
	}
	if len(body) > maxConfig {
		return b, fault.LimitExceeded.New("the configuration of the image has more than %d bytes", maxConfig)
	}
	b = binary{digest: d, id: in.Config.Digest, size: int64(len(body))}
	var sizes []int64
	for _, l := range in.Layers {
		sizes = append(sizes, l.Size)
		b.size += l.Size
	}
	if b.config, err = report.ParseConfig(body); err != nil { // the image is reported without its layers
		m.add(Warn, err.Error())
		return b, nil
	}
	b.layers = report.Layers(b.config, sizes)
	return b, nil
}
