package bundle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/ecrin-dev/ecrin/internal/net/copier"
	"github.com/ecrin-dev/ecrin/internal/net/upstream"
	"github.com/ecrin-dev/ecrin/internal/rule/bundle"
	"github.com/ecrin-dev/ecrin/internal/rule/manifest"
	"github.com/ecrin-dev/ecrin/internal/rule/rewrite"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

const (
	atOnce      = 4  // images that are pushed, and bases that are read, at once
	maxShown    = 20 // digests in a message
	importGroup = "" // of copier.Held: there is one registry
)

// Target is the registry that gets what is in a bundle.
type Target struct {
	To *upstream.Registry
	// Repository returns the repository there for an image.
	Repository func(rewrite.Reference) string
	Each       func(Progress) // nil for none
	DryRun     bool
}

// Imported is what an import has done, or would do.
type Imported struct {
	Set    string          `json:"set"`
	Name   string          `json:"name"`
	Images []ImportedImage `json:"images"`
	Bases  int             `json:"bases"` // blobs that were read again
	Bytes  int64           `json:"bytes"` // of the blobs of all images
	Sent   int64           `json:"sentBytes"`
}

// ImportedImage is an image of an import.
type ImportedImage struct {
	Name   string `json:"name"` // in the bundle
	To     string `json:"to"`
	Digest string `json:"digest"`
	Before string `json:"before,omitempty"` // what the tag named before; "" for nothing
}

// BasesError says that blobs which a bundle needs are not at the receiver.
type BasesError struct {
	Set     string
	Missing []bundle.Need
	Damaged []bundle.Need
}

// Error names the digests, and the bundles in which they came.
func (e *BasesError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "nothing was changed: of the blobs that the bundle %s needs, %d are missing and %d are damaged at the receiver:", e.Set,
		len(e.Missing), len(e.Damaged))
	shown := 0
	for what, all := range map[string][]bundle.Need{"missing": e.Missing, "damaged": e.Damaged} {
		for _, n := range all {
			if shown++; shown > maxShown {
				fmt.Fprintf(&b, "\n  and %d more", len(e.Missing)+len(e.Damaged)-maxShown)
				return b.String()
			}
			fmt.Fprintf(&b, "\n  %s is %s", n.Digest, what)
			if n.From != "" {
				fmt.Fprintf(&b, "; it came in the bundle %s", n.From)
			}
		}
	}
	b.WriteString("\nimport the bundle in which they came again, or make a bundle against a new inventory")
	return b.String()
}

// placed is an image with where it goes.
type placed struct {
	bundle.Image
	repo, tag string
}

// contents are what a bundle has, by digest.
type contents interface {
	// typed returns a blob, with the media type of a manifest; ok is false if it is not inside.
	typed(digest string) (b bundle.Blob, ok bool)
	body(manifest bundle.Blob) ([]byte, error)
	open(digest string, offset int64) (io.ReadCloser, error)
}

// importer pushes a bundle.
type importer struct {
	c      contents
	t      Target
	size   int64 // bytes of the blobs inside
	images []placed
	needs  map[string]string // where bases are, by digest: a repository of the target

	held copier.Held
	mu   sync.Mutex
	p    Progress
	sent int64
}

// Import verifies a bundle and the bases at the receiver, and pushes the images: first all content, then the tags. What is there already
// is not sent.
//
// Errors: those of Verify; *BasesError; two images would get one name; those of the registry. Up to a BasesError nothing was changed.
func (s *Set) Import(ctx context.Context, t Target) (*Imported, error) {
	inside, needed := s.Statement.Bytes()
	x := &importer{c: s, t: t, size: inside}
	if err := x.place(s.Statement.Images); err != nil {
		return nil, err
	}
	if err := s.Verify(ctx, x.show); err != nil {
		return nil, fmt.Errorf("nothing was changed: %w", err)
	}
	if err := x.bases(ctx, s.Statement); err != nil {
		return nil, err
	}
	out := &Imported{Set: s.Statement.Set, Name: s.Statement.Name, Bases: len(s.Statement.Needs), Bytes: inside + needed}
	var err error
	if out.Images, err = x.found(ctx); err != nil || t.DryRun {
		return out, err
	}
	err = x.push(ctx)
	out.Sent = x.sent
	return out, err
}

// found returns the images with where they go, and what is there.
func (x *importer) found(ctx context.Context) ([]ImportedImage, error) {
	all := []ImportedImage{}
	for _, i := range x.images {
		to := x.t.To.Host() + "/" + i.repo
		if i.tag != "" {
			to += ":" + i.tag
		} else {
			to += "@" + i.Digest
		}
		one := ImportedImage{Name: i.Name, To: to, Digest: i.Digest}
		if i.tag != "" {
			have, err := x.t.To.Head(ctx, i.repo, i.tag, nil)
			if err != nil && !errors.Is(err, upstream.NotFound) {
				return nil, err
			}
			if have.Digest != (name.Digest{}) {
				one.Before = have.Digest.String()
			}
		}
		all = append(all, one)
	}
	return all, nil
}

func (x *importer) show(p Progress) {
	if x.t.Each != nil {
		x.t.Each(p)
	}
}

// place finds where each image goes.
func (x *importer) place(images []bundle.Image) error {
	taken := map[string]string{}
	for _, i := range images {
		r, err := rewrite.ParseReference(i.Name)
		if err != nil {
			return err
		}
		p := placed{Image: i, repo: x.t.Repository(r), tag: r.Tag}
		key := p.repo + ":" + p.tag
		if p.tag == "" {
			key = p.repo + "@" + i.Digest
		}
		if other, ok := taken[key]; ok {
			return fmt.Errorf("%s and %s would both be %s at the receiver", other, i.Name, key)
		}
		taken[key] = i.Name
		x.images = append(x.images, p)
	}
	return nil
}

// bases reads again all blobs that the receiver has to have.
func (x *importer) bases(ctx context.Context, s *bundle.Statement) error {
	needs := s.Needs
	x.needs = map[string]string{}
	if len(needs) == 0 {
		return nil
	}
	var own []string // the repositories that get images
	for _, i := range x.images {
		if !slices.Contains(own, i.repo) {
			own = append(own, i.repo)
		}
	}
	p := Progress{What: "reading what the receiver has", Of: len(needs)}
	for _, n := range needs {
		p.Size += n.Size
	}
	bad := &BasesError{Set: label(s)}
	var first error
	places := make(chan struct{}, atOnce)
	var wait sync.WaitGroup
	for _, n := range needs {
		places <- struct{}{}
		wait.Go(func() {
			defer func() { <-places }()
			repo, damaged, err := x.base(ctx, n, own)
			x.mu.Lock()
			defer x.mu.Unlock()
			switch {
			case err != nil:
				first = cmpErr(first, err)
			case repo != "":
				x.needs[n.Digest] = repo
			case damaged:
				bad.Damaged = append(bad.Damaged, n)
			default:
				bad.Missing = append(bad.Missing, n)
			}
			p.Done++
			p.Bytes += n.Size
			x.show(p)
		})
	}
	wait.Wait()
	byDigest := func(a, b bundle.Need) int { return strings.Compare(a.Digest, b.Digest) }
	slices.SortFunc(bad.Missing, byDigest)
	slices.SortFunc(bad.Damaged, byDigest)
	switch {
	case first != nil:
		return fmt.Errorf("nothing was changed: reading what the receiver has: %w", first)
	case len(bad.Missing)+len(bad.Damaged) > 0:
		return bad
	}
	return nil
}

func cmpErr(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// base reads one blob in the repositories that may have it, those of the inventory first. It returns the repository that has its right
// bytes.
func (x *importer) base(ctx context.Context, n bundle.Need, own []string) (repo string, damaged bool, err error) {
	d, err := name.ParseDigest(n.Digest)
	if err != nil {
		return "", false, err
	}
	tried := map[string]bool{}
	for _, repo := range append(slices.Clone(n.At), own...) {
		if tried[repo] {
			continue
		}
		tried[repo] = true
		right, err := hashed(ctx, x.t.To, repo, d, n.Size)
		switch {
		case right:
			return repo, false, nil
		case errors.Is(err, upstream.NotFound):
		case errors.Is(err, upstream.Lied), errors.Is(err, upstream.Unavailable) && ctx.Err() == nil:
			// The bytes are wrong, or the registry has seen that itself and does not give them.
			damaged = true
		case errors.Is(err, upstream.Denied), errors.Is(err, upstream.Invalid): // it may be in another repository
		default:
			return "", false, err
		}
	}
	return "", damaged, nil
}

// hashed reads a blob of a registry in full. Errors: those of upstream.Registry.Blob, of which Lied means that the bytes are wrong.
func hashed(ctx context.Context, reg *upstream.Registry, repo string, d name.Digest, size int64) (bool, error) {
	b, err := reg.Blob(ctx, repo, d, upstream.BlobOptions{Size: size})
	if err != nil {
		return false, err
	}
	defer b.Close()
	_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, b, make([]byte, chunk))
	return err == nil, err
}

// Manifest implements copier.Source.
func (x *importer) Manifest(_ context.Context, d name.Digest) ([]byte, string, error) {
	b, ok := x.c.typed(d.String())
	if !ok || b.MediaType == "" {
		return nil, "", errAbsent
	}
	body, err := x.c.body(b)
	return body, b.MediaType, err
}

var errAbsent = errors.New("the bundle has no such manifest")

// Blob implements copier.Source.
func (x *importer) Blob(ctx context.Context, d name.Digest, size, offset int64) (io.ReadCloser, error) {
	if repo, ok := x.needs[d.String()]; ok { // the registry does not mount it
		return x.t.To.Blob(ctx, repo, d, upstream.BlobOptions{Size: size, Offset: offset, CallerVerifies: true})
	}
	if _, ok := x.c.typed(d.String()); !ok {
		return nil, fmt.Errorf("the bundle has no blob %s", d)
	}
	return x.c.open(d.String(), offset)
}

// Sent implements copier.Watcher.
func (x *importer) Sent(d name.Digest, _ int64, n int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.sent += int64(n)
	x.p.Bytes += int64(n)
	x.show(x.p)
}

// Blob and Image of copier.Watcher.
type watcher struct{ *importer }

func (w watcher) Blob(name.Digest)  {}
func (w watcher) Image(name.Digest) {}

// push pushes all content, and then the tags.
func (x *importer) push(ctx context.Context) error {
	x.p = Progress{What: "importing", Of: len(x.images), Size: x.size}
	for digest, repo := range x.needs {
		d, err := name.ParseDigest(digest)
		if err != nil {
			return err
		}
		x.held.Has(importGroup, d, repo)
	}
	if err := x.each(ctx, x.content); err != nil {
		return fmt.Errorf("%w\nno tag was moved; what was pushed stays there: run the command again", err)
	}
	if err := x.each(ctx, x.tags); err != nil {
		return fmt.Errorf("%w\nall content is there, and not all tags are: run the command again", err)
	}
	return nil
}

// each does something with each image, some at once.
func (x *importer) each(ctx context.Context, do func(context.Context, placed) error) error {
	errs := make([]error, len(x.images))
	places := make(chan struct{}, atOnce)
	var wait sync.WaitGroup
	for n, i := range x.images {
		places <- struct{}{}
		wait.Go(func() {
			defer func() { <-places }()
			if ctx.Err() != nil {
				errs[n] = context.Cause(ctx)
				return
			}
			err := do(ctx, i)
			if errors.Is(err, upstream.NotFound) {
				err = fmt.Errorf("%w: make the repository %s, which is not made by a push", err, i.repo)
			}
			if err != nil {
				errs[n] = fmt.Errorf("%s: %w", i.Name, err)
			}
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}

func (x *importer) copier(i placed) *copier.Copier {
	return &copier.Copier{Source: x, To: x.t.To, Repo: i.repo, Name: i.repo, Watch: watcher{x}, Held: &x.held, Group: importGroup,
		Absent: func(err error) bool { return errors.Is(err, errAbsent) }}
}

// content pushes an image and what belongs to it, by digests.
func (x *importer) content(ctx context.Context, i placed) error {
	c := x.copier(i)
	for _, ref := range append(append([]bundle.Ref{i.Ref}, i.Referrers...), i.Tags...) {
		d, err := name.ParseDigest(ref.Digest)
		if err != nil {
			return err
		}
		if ref.Tag != "" { // it may be one whose tag is all that names it
			if _, _, err := c.Content(ctx, d); err != nil {
				return err
			}
			continue
		}
		if err := c.Image(ctx, d); err != nil {
			return err
		}
	}
	if err := x.elsewhere(ctx, c, i); err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.p.Done++
	x.show(x.p)
	return nil
}

// tags moves the tags of an image.
func (x *importer) tags(ctx context.Context, i placed) error {
	c := x.copier(i)
	put := func(ref bundle.Ref, tag string) error {
		b, _ := x.c.typed(ref.Digest)
		body, err := x.c.body(b)
		if err != nil {
			return err
		}
		d, err := name.ParseDigest(ref.Digest)
		if err != nil {
			return err
		}
		_, err = c.Put(ctx, d, tag, ref.MediaType, body)
		if copier.Immutable(err) {
			return fmt.Errorf("the tag %s of %s is immutable there, and on another image: delete it, or use another namespace", tag, i.repo)
		}
		return err
	}
	for _, ref := range i.Tags {
		if err := put(ref, ref.Tag); err != nil {
			return err
		}
	}
	if i.tag == "" {
		return nil
	}
	return put(i.Ref, i.tag)
}

// elsewhere pushes the layers inside that may not be distributed, which no manifest requires to be there.
func (x *importer) elsewhere(ctx context.Context, c *copier.Copier, i placed) error {
	queue, seen := []string{i.Digest}, map[string]bool{i.Digest: true}
	for len(queue) > 0 {
		b, ok := x.c.typed(queue[0])
		queue = queue[1:]
		if !ok || b.MediaType == "" {
			continue
		}
		body, err := x.c.body(b)
		if err != nil {
			return err
		}
		m, err := manifest.Parse(body, b.MediaType)
		if err != nil {
			return err
		}
		for _, one := range m.Manifests {
			if d := one.Digest.String(); !seen[d] {
				seen[d] = true
				queue = append(queue, d)
			}
		}
		for _, d := range m.Elsewhere() {
			if inside, ok := x.c.typed(d.String()); ok {
				if err := c.Blob(ctx, d, inside.Size); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
