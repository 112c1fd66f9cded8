// Package bundle makes bundles of images, reads them, and pushes what is in them to a registry. Package rule/bundle has their form.
package bundle

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/net/upstream"
	"github.com/ecrin-dev/ecrin/internal/rule/bundle"
	"github.com/ecrin-dev/ecrin/internal/rule/manifest"
	"github.com/ecrin-dev/ecrin/internal/rule/rewrite"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

const (
	maxManifests = 10_000   // of one image, with those of its indexes and what refers to them
	maxBodies    = 64 << 20 // bytes of manifests that are kept in memory
)

// signatures are the ends of tags under which tools keep what belongs to an image, in registries of the time before referrers.
var signatures = []string{".sig", ".att", ".sbom"}

// Hosts returns the registry at a host, HOST or HOST:PORT.
type Hosts func(ctx context.Context, host string) (*upstream.Registry, error)

// origin is where a blob is.
type origin struct {
	Host string `json:"host"`
	Repo string `json:"repo"`
}

// content is what the images of a bundle consist of.
type content struct {
	images    []bundle.Image
	manifests []bundle.Blob // in the order in which they were found
	blobs     []bundle.Blob // configurations and layers
	left      []bundle.Blob // that may not be distributed
	sparse    []string      // images of indexes that are not there
	from      map[string]origin
	of        map[string][]string // the digests of all that an image has, by its name
	bodies    map[string][]byte
	kept      int
}

// finder finds what images consist of.
type finder struct {
	hosts       Hosts
	noReferrers bool
	all         bool                                      // layers that may not be distributed too
	source      func(rewrite.Reference) rewrite.Reference // where an image is read; nil for its own name
	each        func(done, of int, image string)

	content
	seen map[string]bool // blobs
}

// find finds what images consist of.
//
// Errors: all of the images, joined, each with its name; that of ctx.
func (f *finder) find(ctx context.Context, images []rewrite.Reference) (*content, error) {
	f.from, f.bodies, f.seen, f.of = map[string]origin{}, map[string][]byte{}, map[string]bool{}, map[string][]string{}
	names := map[string]bool{}
	var errs []error
	for n, ref := range images {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		i, err := f.image(ctx, ref)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", ref, err))
			continue
		}
		if !names[i.Name] {
			names[i.Name] = true
			f.images = append(f.images, i)
		}
		if f.each != nil {
			f.each(n+1, len(images), ref.String())
		}
	}
	return &f.content, errors.Join(errs...)
}

// addTags gives each image that is named with a tag and a digest the name with its tag too: containers name it by the digest, and what
// copies or lists it needs the tag. The digest decides what is read, also if the tag has moved. If a tag is asked for without a digest, or
// with several, the first image that got its name keeps it.
func (c *content) addTags(images []rewrite.Reference) {
	taken, byName := map[string]bool{}, map[string]bundle.Image{}
	for _, i := range c.images {
		taken[i.Name], byName[i.Name] = true, i
	}
	for _, r := range images {
		i, ok := byName[bundle.Whole(r)]
		if r.Tag == "" || r.Digest == "" || !ok {
			continue
		}
		r.Digest = ""
		tagged := bundle.Image{Name: bundle.Whole(r), Ref: i.Ref, Bytes: i.Bytes} // what belongs to it is with the first name
		if taken[tagged.Name] {
			continue
		}
		taken[tagged.Name] = true
		at := slices.IndexFunc(c.images, func(one bundle.Image) bool { return one.Name == i.Name })
		c.images = slices.Insert(c.images, at+1, tagged)
		c.of[tagged.Name] = c.of[i.Name]
	}
}

// image finds what one image consists of.
func (f *finder) image(ctx context.Context, r rewrite.Reference) (bundle.Image, error) {
	whole := bundle.Whole(r)
	if f.source != nil {
		r = f.source(r)
	}
	repo, ref := r.Repository(), cmp.Or(r.Digest, r.Tag, "latest")
	reg, err := f.hosts(ctx, r.Registry())
	if err != nil {
		return bundle.Image{}, err
	}
	top, err := reg.Manifest(ctx, repo, ref, upstream.ManifestOptions{})
	if err != nil {
		return bundle.Image{}, err
	}
	i := bundle.Image{Name: whole, Ref: bundle.Ref{Digest: top.Digest.String(), MediaType: top.MediaType}}
	at := origin{r.Registry(), repo}
	queue, known, counted := []name.Digest{top.Digest}, map[name.Digest]bool{top.Digest: true}, map[string]bool{}
	child := map[name.Digest]bool{} // of an index
	add := func(d name.Digest) bool {
		if known[d] {
			return false
		}
		known[d] = true
		queue = append(queue, d)
		return true
	}
	for n := 0; n < len(queue); n++ {
		if n == maxManifests {
			return i, fmt.Errorf("it has more than %d manifests", maxManifests)
		}
		d, m := queue[n], top
		if d != top.Digest {
			m, err = reg.Manifest(ctx, repo, d.String(), upstream.ManifestOptions{})
			if child[d] && errors.Is(err, upstream.NotFound) {
				f.sparse = append(f.sparse, d.String())
				continue
			}
			if err != nil {
				return i, err
			}
		}
		parsed, err := manifest.Parse(m.Body, m.MediaType)
		if err != nil {
			return i, err
		}
		for j := range i.Referrers {
			if i.Referrers[j].Digest == d.String() {
				i.Referrers[j].MediaType, i.Referrers[j].ArtifactType = m.MediaType, parsed.ArtifactType
			}
		}
		for j := range i.Tags {
			if i.Tags[j].Digest == d.String() {
				i.Tags[j].MediaType = m.MediaType
			}
		}
		i.Bytes += f.manifest(d.String(), m, at, counted)
		size, err := f.layers(parsed, at, counted)
		if err != nil {
			return i, err
		}
		i.Bytes += size
		for _, c := range parsed.Manifests {
			if add(c.Digest) {
				child[c.Digest] = true
			}
		}
		if f.noReferrers {
			continue
		}
		more, err := reg.Referrers(ctx, repo, d, "")
		if err != nil && !errors.Is(err, upstream.NotFound) {
			return i, err
		}
		for _, one := range more {
			if add(one.Digest) {
				i.Referrers = append(i.Referrers, bundle.Ref{Digest: one.Digest.String()})
			}
		}
		if err := f.tagged(ctx, reg, repo, d, &i, add); err != nil {
			return i, err
		}
	}
	f.of[whole] = slices.Collect(maps.Keys(counted))
	return i, nil
}

// tagged finds what belongs to an image by its tag.
func (f *finder) tagged(ctx context.Context, reg *upstream.Registry, repo string, d name.Digest, i *bundle.Image,
	add func(name.Digest) bool) error {
	for _, end := range signatures {
		tag := strings.Replace(d.String(), ":", "-", 1) + end
		m, err := reg.Head(ctx, repo, tag, nil)
		switch {
		case errors.Is(err, upstream.NotFound):
		case err != nil:
			return err
		case m.Digest != (name.Digest{}):
			add(m.Digest)
			i.Tags = append(i.Tags, bundle.Ref{Digest: m.Digest.String(), MediaType: m.MediaType, Tag: tag})
		}
	}
	return nil
}

// manifest adds a manifest, and returns its size if the image has not counted it yet.
func (f *finder) manifest(d string, m upstream.Manifest, at origin, counted map[string]bool) int64 {
	size := int64(len(m.Body))
	if !f.seen[d] {
		f.seen[d] = true
		f.from[d] = at
		f.manifests = append(f.manifests, bundle.Blob{Digest: d, Size: size, MediaType: m.MediaType})
		if f.kept += len(m.Body); f.kept <= maxBodies {
			f.bodies[d] = m.Body
		}
	}
	if counted[d] {
		return 0
	}
	counted[d] = true
	return size
}

// layers adds the blobs of a manifest, and returns the size of those that the image has not counted yet.
func (f *finder) layers(m *manifest.Manifest, at origin, counted map[string]bool) (size int64, err error) {
	elsewhere := m.Elsewhere()
	add := func(b manifest.Descriptor, to *[]bundle.Blob) {
		d := b.Digest.String()
		if !f.seen[d] {
			f.seen[d] = true
			f.from[d] = at
			*to = append(*to, bundle.Blob{Digest: d, Size: b.Size})
		}
		if to == &f.blobs && !counted[d] {
			counted[d] = true
			size += b.Size
		}
	}
	for _, b := range m.Blobs() {
		if b.Size < 0 {
			return 0, errors.New("its manifest, of schema 1, does not say the sizes of its layers: push the image again with a tool of today")
		}
		add(b, &f.blobs)
	}
	for _, b := range m.Layers {
		if !slices.Contains(elsewhere, b.Digest) {
			continue
		}
		if f.all {
			add(b, &f.blobs)
		} else {
			add(b, &f.left)
		}
	}
	return size, nil
}
