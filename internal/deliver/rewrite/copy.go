package rewrite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/ecrin-dev/ecrin/internal/net/copier"
	"github.com/ecrin-dev/ecrin/internal/net/upstream"
	"github.com/ecrin-dev/ecrin/internal/rule/manifest"
	rule "github.com/ecrin-dev/ecrin/internal/rule/rewrite"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

const (
	atOnce       = 4      // images that are copied at once
	maxManifests = 10_000 // of one image, with those of its indexes and what refers to them
)

// signatures are the ends of tags under which tools keep what belongs to an image, in registries of the time before referrers.
var signatures = []string{".sig", ".att", ".sbom"}

// Transfer copies the images of an application to the registry of a customer: whole indexes, with their digests and all that refers to
// them. What is there already is not sent again, so that a transfer continues where the one before ended.
type Transfer struct {
	Sources *upstream.Client   // its guard decides which registries may be asked
	To      *upstream.Registry // of the customer
	Proxy   rule.Proxy         // where private images come from; a Host "" for none
	License rule.Auth          // for the proxy
	Private func(rule.Reference) bool
	// Each is called when something has advanced, by one goroutine at a time; nil for none.
	Each func(Progress)

	held  copier.Held
	mu    sync.Mutex
	from  map[string]*upstream.Registry
	at    map[string]int64 // bytes of a blob that are counted as there, by repository and digest
	state Progress
}

// Progress is how far a transfer is.
type Progress struct {
	Done, Of    int   // images
	Bytes, Size int64 // of their blobs, each counted once for each repository: those that are there, and all that are known of
}

// Copied is an image of a transfer.
type Copied struct {
	Image     string `json:"image"` // as written
	To        string `json:"to"`
	Digest    string `json:"digest"`
	Manifests int    `json:"manifests"` // of the image, of those of its indexes and of what refers to them
	Referrers int    `json:"referrers"`
	Size      int64  `json:"sizeInBytes"`    // of its blobs
	Missing   int64  `json:"missingInBytes"` // of those that were not there before
}

// source is where an image comes from.
type source struct {
	*upstream.Registry
	repo, ref string
}

// Manifest implements copier.Source.
func (s source) Manifest(ctx context.Context, d name.Digest) ([]byte, string, error) {
	m, err := s.Registry.Manifest(ctx, s.repo, d.String(), upstream.ManifestOptions{})
	return m.Body, m.MediaType, err
}

// Blob implements copier.Source. The registry that gets the blob compares its digest.
func (s source) Blob(ctx context.Context, d name.Digest, size, offset int64) (io.ReadCloser, error) {
	return s.Registry.Blob(ctx, s.repo, d, upstream.BlobOptions{Size: size, Offset: offset, CallerVerifies: true})
}

// source returns where an image comes from: the proxy for private ones, else its registry. to is the host of the registry of the customer,
// whose own images are read with its credentials.
func (t *Transfer) source(r rule.Reference, to string) (source, error) {
	host, ref := at(r)
	e, repo := upstream.Endpoint{Host: host}, r.Repository()
	named := t.Proxy.Serves(r)
	licensed := t.Proxy.Host != "" && (named || t.Private(r))
	switch has := named || t.Proxy.Has(r); {
	case host == to && !(licensed && has):
		return source{t.To, repo, ref}, nil
	case licensed && !has:
		return source{}, fmt.Errorf("it has no name at the proxy: the vendor knows the name of the registry %s", r.Host)
	case licensed:
		if !named {
			e.Host, repo, _ = strings.Cut(t.Proxy.For(r), "/")
		}
		e.Username, e.Password = t.License.Username, secret.New(t.License.Password)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	reg := t.from[e.Host]
	if reg == nil {
		var err error
		if reg, err = t.Sources.Registry(e); err != nil {
			return source{}, err
		}
		if t.from == nil {
			t.from = map[string]*upstream.Registry{}
		}
		t.from[e.Host] = reg
	}
	return source{reg, repo, ref}, nil
}

// Plan finds what each copy consists of and what is missing at the registry. It changes nothing.
//
// Errors: all of the images, joined, each with its name; that of ctx.
func (t *Transfer) Plan(ctx context.Context, copies []rule.Copy) ([]Copied, error) {
	return t.each(ctx, copies, func(*copying, context.Context) error { return nil })
}

// Run copies images. An image that fails does not end the copies of the others.
//
// Errors: those of Plan; a tag is immutable at the registry, and on another image.
func (t *Transfer) Run(ctx context.Context, copies []rule.Copy) ([]Copied, error) {
	return t.each(ctx, copies, (*copying).run)
}

// each plans copies and does something with each, some at once.
func (t *Transfer) each(ctx context.Context, copies []rule.Copy, do func(*copying, context.Context) error) ([]Copied, error) {
	t.at, t.state = map[string]int64{}, Progress{Of: len(copies)}
	out, errs := make([]Copied, len(copies)), make([]error, len(copies))
	places := make(chan struct{}, atOnce)
	var wait sync.WaitGroup
	for i, c := range copies {
		places <- struct{}{}
		wait.Go(func() {
			defer func() { <-places }()
			if ctx.Err() != nil {
				errs[i] = context.Cause(ctx)
				return
			}
			one, err := t.plan(ctx, c)
			if err == nil {
				out[i] = one.out
				err = do(one, ctx)
			}
			if err != nil {
				errs[i] = fmt.Errorf("%s: %w", c.From, err)
				return
			}
			t.advance(func(p *Progress) { p.Done++ })
		})
	}
	wait.Wait()
	return out, errors.Join(errs...)
}

// advance changes the progress and shows it.
func (t *Transfer) advance(change func(*Progress)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change(&t.state)
	if t.Each != nil {
		t.Each(t.state)
	}
}

// copying is a planned copy.
type copying struct {
	out    Copied
	t      *Transfer
	from   source
	repo   string // there
	tag    string // "" for none
	digest name.Digest
	more   []name.Digest          // what refers to it, each after its subject
	tags   map[string]name.Digest // of signatures
	sizes  map[name.Digest]int64  // of the blobs
}

// plan finds what a copy consists of.
func (t *Transfer) plan(ctx context.Context, c rule.Copy) (*copying, error) {
	to, err := rule.ParseReference(c.To)
	if err != nil {
		return nil, err
	}
	from, err := t.source(c.From, to.Host)
	if err != nil {
		return nil, err
	}
	x := &copying{t: t, from: from, repo: to.Path, tag: to.Tag, tags: map[string]name.Digest{}, sizes: map[name.Digest]int64{}}
	x.out.Image, x.out.To = c.From.String(), c.To
	top, err := from.Registry.Manifest(ctx, from.repo, from.ref, upstream.ManifestOptions{})
	if err != nil {
		return nil, err
	}
	x.digest, x.out.Digest = top.Digest, top.Digest.String()
	queue, seen := []name.Digest{top.Digest}, map[name.Digest]bool{top.Digest: true}
	add := func(d name.Digest) bool {
		if seen[d] {
			return false
		}
		seen[d] = true
		queue = append(queue, d)
		return true
	}
	for ; len(queue) > x.out.Manifests; x.out.Manifests++ {
		if x.out.Manifests == maxManifests {
			return nil, fmt.Errorf("it has more than %d manifests", maxManifests)
		}
		d := queue[x.out.Manifests]
		m := top
		if d != top.Digest {
			if m, err = from.Registry.Manifest(ctx, from.repo, d.String(), upstream.ManifestOptions{}); err != nil {
				return nil, err
			}
		}
		parsed, err := manifest.Parse(m.Body, m.MediaType)
		if err != nil {
			return nil, err
		}
		for _, b := range parsed.Blobs() {
			x.sizes[b.Digest] = max(0, b.Size)
		}
		for _, child := range parsed.Manifests {
			add(child.Digest)
		}
		referrers, err := from.Registry.Referrers(ctx, from.repo, d, "")
		if err != nil && !errors.Is(err, upstream.NotFound) {
			return nil, err
		}
		for _, r := range referrers {
			if add(r.Digest) {
				x.more = append(x.more, r.Digest)
			}
		}
		if err := x.signatures(ctx, d, func(s name.Digest) { add(s) }); err != nil {
			return nil, err
		}
	}
	x.out.Referrers = len(x.more) + len(x.tags)
	return x, x.missing(ctx)
}

// signatures adds what belongs to an image by its tag.
func (x *copying) signatures(ctx context.Context, d name.Digest, add func(name.Digest)) error {
	for _, end := range signatures {
		tag := strings.Replace(d.String(), ":", "-", 1) + end
		m, err := x.from.Head(ctx, x.from.repo, tag, nil)
		switch {
		case errors.Is(err, upstream.NotFound):
		case err != nil:
			return err
		case m.Digest != (name.Digest{}):
			x.tags[tag] = m.Digest
			add(m.Digest)
		}
	}
	return nil
}

// missing finds which blobs are not at the registry.
func (x *copying) missing(ctx context.Context) error {
	for d, size := range x.sizes {
		_, there, err := x.t.To.Exists(ctx, x.repo, d)
		if err != nil && !errors.Is(err, upstream.NotFound) {
			return err
		}
		x.out.Size += size
		at := size
		if !there {
			x.out.Missing += size
			at = 0
		}
		x.t.advance(func(p *Progress) {
			if _, counted := x.t.at[x.key(d)]; !counted {
				p.Size += size
				p.Bytes += at
				x.t.at[x.key(d)] = at
			}
		})
	}
	return nil
}

// key is the key of a blob in Transfer.at.
func (x *copying) key(d name.Digest) string { return x.repo + " " + d.String() }

// reached counts a blob up to a place.
func (x *copying) reached(d name.Digest, at int64) {
	x.t.advance(func(p *Progress) {
		before, counted := x.t.at[x.key(d)]
		if at = min(at, x.sizes[d]); counted && at > before {
			p.Bytes += at - before
			x.t.at[x.key(d)] = at
		}
	})
}

// Sent implements copier.Watcher.
func (x *copying) Sent(d name.Digest, end int64, _ int) { x.reached(d, end) }

// Blob implements copier.Watcher.
func (x *copying) Blob(d name.Digest) { x.reached(d, x.sizes[d]) }

// Image implements copier.Watcher.
func (x *copying) Image(name.Digest) {}

// run copies the image with the images of its indexes, what refers to them, and at last the tag.
func (x *copying) run(ctx context.Context) error {
	c := copier.Copier{Source: x.from, To: x.t.To, Repo: x.repo, Name: x.repo, Watch: x, Held: &x.t.held}
	body, mediaType, err := c.Content(ctx, x.digest)
	if err == nil {
		_, err = c.Put(ctx, x.digest, "", mediaType, body)
	}
	if err != nil {
		return err
	}
	for _, d := range x.more {
		if err := c.Image(ctx, d); err != nil {
			return err
		}
	}
	for tag, d := range x.tags {
		if err := x.tagged(ctx, &c, d, tag); err != nil {
			return err
		}
	}
	if x.tag == "" {
		return nil
	}
	return x.put(ctx, &c, x.digest, x.tag, mediaType, body)
}

// tagged copies an image with a tag.
func (x *copying) tagged(ctx context.Context, c *copier.Copier, d name.Digest, tag string) error {
	body, mediaType, err := c.Content(ctx, d)
	if err != nil {
		return err
	}
	return x.put(ctx, c, d, tag, mediaType, body)
}

// put stores a manifest under a tag.
func (x *copying) put(ctx context.Context, c *copier.Copier, d name.Digest, tag, mediaType string, body []byte) error {
	_, err := c.Put(ctx, d, tag, mediaType, body)
	if copier.Immutable(err) {
		return fmt.Errorf("the tag %s of %s is immutable there, and on another image: delete it, or use another namespace", tag, x.repo)
	}
	return err
}
