// Package copier copies images to registries: replication, copies that clients ask for, and copies of the images of an application use it.
//
// What is there already is not sent, so that a copy continues where the one before ended. The blobs of an image are there before its
// manifest, and the images of an index before the index.
package copier

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/ecrin-dev/ecrin/internal/net/upstream"
	"github.com/ecrin-dev/ecrin/internal/rule/manifest"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Source has images.
type Source interface {
	// Manifest returns the manifest of an image, valid by manifest.Parse, and its media type.
	Manifest(ctx context.Context, d name.Digest) (body []byte, mediaType string, err error)
	// Blob opens a blob from an offset on. size is that of the whole blob in bytes.
	Blob(ctx context.Context, d name.Digest, size, offset int64) (io.ReadCloser, error)
}

// Watcher follows a copy.
type Watcher interface {
	// Sent is called when n further bytes of a blob have been read for the other side: those before end are read then.
	Sent(d name.Digest, end int64, n int)
	// Blob is called when a blob is at the other side.
	Blob(d name.Digest)
	// Image is called when an image with all its blobs is at the other side.
	Image(d name.Digest)
}

// Copier copies images to one repository. It is not safe for concurrent use.
type Copier struct {
	Source Source
	To     *upstream.Registry
	Repo   string // the destination, in the protocol of the registry
	Name   string // the destination in the API of ECR
	Watch  Watcher
	Held   *Held  // remembers which repository has a blob, for mounts
	Group  string // the registry, in Held
	// Absent reports whether an error of Source, or of this package, means that an image of an index is not there: it is left out then. nil
	// means that each must be there.
	Absent func(error) bool

	created bool // the destination was made, or the attempt to make it failed
}

// Immutable reports whether an error says that a tag of the destination is immutable, and on another image.
func Immutable(err error) bool {
	e, ok := errors.AsType[*upstream.Error](err)
	return ok && e.Reason == upstream.Rejected && e.Code == "TAG_INVALID"
}

// Content copies what an image consists of, and returns its manifest, which is not stored yet.
//
// Errors: those of Source; an upstream.Error; that of ctx.
func (c *Copier) Content(ctx context.Context, d name.Digest) (body []byte, mediaType string, err error) {
	body, mediaType, err = c.Source.Manifest(ctx, d)
	if err != nil {
		return nil, "", err
	}
	m, err := manifest.Parse(body, mediaType)
	if err != nil {
		return nil, "", err
	}
	for _, child := range m.Manifests { // no index contains itself, and Source limits how deep they nest
		if err := c.Image(ctx, child.Digest); err != nil {
			return nil, "", err
		}
	}
	for _, b := range m.Blobs() {
		if err := c.blob(ctx, b.Digest, b.Size); err != nil {
			return nil, "", err
		}
	}
	return body, mediaType, nil
}

// Image copies an image without a tag, unless it is there.
//
// Errors: those of Content.
func (c *Copier) Image(ctx context.Context, d name.Digest) error {
	switch there, err := c.has(ctx, d.String(), d); {
	case err != nil:
		return err
	case there:
		c.Watch.Image(d)
		return nil
	}
	body, mediaType, err := c.Content(ctx, d)
	if err != nil && c.Absent != nil && c.Absent(err) {
		return nil
	}
	if err == nil {
		_, err = c.Put(ctx, d, "", mediaType, body)
	}
	return err
}

// has reports whether a reference at the destination names an image.
func (c *Copier) has(ctx context.Context, ref string, d name.Digest) (bool, error) {
	have, err := c.To.Head(ctx, c.Repo, ref, nil)
	if errors.Is(err, upstream.NotFound) {
		return false, nil
	}
	return err == nil && have.Digest == d, err
}

// Put stores a manifest under a tag, or "" for its digest, unless it is there: a tag that is immutable and right already is no error.
//
// Errors: an upstream.Error, see Immutable; that of ctx.
func (c *Copier) Put(ctx context.Context, d name.Digest, tag, mediaType string, body []byte) (there bool, err error) {
	ref := tag
	if ref == "" {
		ref = d.String()
	}
	if there, err := c.has(ctx, ref, d); err != nil || there {
		return there, err
	}
	err = c.within(ctx, func() error {
		_, err := c.To.PutManifest(ctx, c.Repo, tag, mediaType, body)
		return err
	})
	return err == nil, err
}

// Blob copies a blob that no manifest requires, such as a layer that may be elsewhere, unless it is there.
//
// Errors: those of Content.
func (c *Copier) Blob(ctx context.Context, d name.Digest, size int64) error {
	return c.blob(ctx, d, size)
}

// blob sends a blob, unless it is there or can be mounted from a repository that got it before.
func (c *Copier) blob(ctx context.Context, d name.Digest, size int64) error {
	_, there, err := c.To.Exists(ctx, c.Repo, d)
	if err == nil && !there {
		err = c.within(ctx, func() error { return c.send(ctx, d, size) })
	}
	if err == nil {
		c.Held.add(c.Group+" "+d.String(), c.Repo)
		c.Watch.Blob(d)
	}
	return err
}

// send mounts or uploads a blob.
func (c *Copier) send(ctx context.Context, d name.Digest, size int64) error {
	if other := c.Held.of(c.Group + " " + d.String()); other != "" && other != c.Repo {
		mounted, err := c.To.Mount(ctx, c.Repo, other, d, size)
		switch {
		case mounted:
			return nil
		case err != nil && !errors.Is(err, upstream.Denied) && !errors.Is(err, upstream.Rejected):
			return err
		}
	}
	return c.To.Upload(ctx, c.Repo, d, size, func(ctx context.Context, offset int64) (io.ReadCloser, error) {
		from, err := c.Source.Blob(ctx, d, size, offset)
		if err != nil {
			return nil, err
		}
		return &sending{from, c.Watch, d, offset}, nil
	})
}

// within makes a change of the destination, and the repository before it if that is missing and the other side lets us. A push to a
// repository that does not exist comes first, for the creation templates of the other side.
func (c *Copier) within(ctx context.Context, change func() error) error {
	err := change()
	if !errors.Is(err, upstream.NotFound) || c.created {
		return err
	}
	c.created = true
	switch made := c.To.CreateRepository(ctx, c.Name); {
	case errors.Is(made, upstream.Invalid):
		return err // only a push creates a repository there
	case made != nil:
		return made
	}
	return change()
}

// sending is the content of a blob that is being sent.
type sending struct {
	io.ReadCloser
	watch Watcher
	d     name.Digest
	at    int64 // bytes before the next one
}

func (s *sending) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	s.at += int64(n)
	s.watch.Sent(s.d, s.at, n)
	return n, err
}

// Held remembers which repository of a registry got a blob, for mounts. It forgets when it is full: the blob is sent then. The zero value
// is empty. It is safe for concurrent use.
type Held struct {
	mu    sync.Mutex
	repos map[string]string // by registry and digest
}

const maxHeld = 20_000

// Has remembers that a repository of a registry, the group, has a blob.
func (h *Held) Has(group string, d name.Digest, repo string) { h.add(group+" "+d.String(), repo) }

func (h *Held) of(key string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.repos[key]
}

func (h *Held) add(key, repo string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.repos == nil || len(h.repos) >= maxHeld {
		h.repos = map[string]string{}
	}
	h.repos[key] = repo
}
