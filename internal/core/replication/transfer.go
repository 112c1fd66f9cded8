package replication

import (
	"context"
	"errors"
	"io"
	"strconv"
	"sync"

	"github.com/ecrin-dev/ecrin/internal/core/integration"
	"github.com/ecrin-dev/ecrin/internal/net/upstream"
	"github.com/ecrin-dev/ecrin/internal/rule/manifest"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// transfer copies images of a repository to one of another installation. What is there already is not sent, so that a transfer continues
// where the one before ended.
type transfer struct {
	s       *Service
	to      *integration.Remote
	from    meta.Repository
	repo    string // the name of the destination
	watch   watcher
	sparse  bool // images of an index that a pull-through cache has fetched in part are left out
	created bool // the destination was made, or the attempt to make it failed
}

// watcher follows a transfer.
type watcher interface {
	// sent is called when n further bytes of a blob have been read for the other side: those before end are read then.
	sent(d name.Digest, end int64, n int)
	// blob is called when a blob is at the other side.
	blob(d name.Digest)
	// image is called when an image with all its blobs is at the other side.
	image(d name.Digest)
}

// touching is a watcher that only shows that a transfer advances.
type touching func()

func (t touching) sent(name.Digest, int64, int) { t() }
func (touching) blob(name.Digest)               {}
func (touching) image(name.Digest)              {}

// image copies an image with its blobs, the images of an index before it, and the tags that it has when all of that is there. Immutable
// tags of the destination stay where they are. It returns the tags that point to the image there.
//
// Errors: a *refusal; an upstream.Error; those of this side.
func (x *transfer) image(ctx context.Context, d name.Digest) ([]name.Tag, error) {
	body, mediaType, err := x.content(ctx, d)
	if err != nil {
		return nil, err
	}
	im, err := x.s.meta.Image(ctx, x.from.ID, d)
	if errors.Is(err, fault.ImageNotFound) {
		return nil, &refusal{err, codeLost, true}
	}
	if err != nil {
		return nil, err
	}
	var tags []name.Tag
	for _, text := range im.Tags {
		tag, err := name.ParseTag(text)
		if err != nil {
			return nil, err
		}
		there, err := x.put(ctx, d, text, mediaType, body)
		if immutable(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if there {
			tags = append(tags, tag)
		}
	}
	if len(tags) == 0 {
		_, err = x.put(ctx, d, "", mediaType, body)
	}
	return tags, err
}

// immutable reports whether an error says that a tag of the destination is immutable, and on another image.
func immutable(err error) bool {
	e, ok := errors.AsType[*upstream.Error](err)
	return ok && e.Reason == upstream.Rejected && e.Code == "TAG_INVALID"
}

// content copies what an image consists of, and returns its manifest.
func (x *transfer) content(ctx context.Context, d name.Digest) (body []byte, mediaType string, err error) {
	if d.Algorithm() != name.SHA256 {
		return nil, "", &refusal{unsendable(d), codeDigest, true}
	}
	head, err := x.s.meta.Head(ctx, x.from.ID, name.Reference{Digest: d})
	if err == nil {
		body, err = x.s.meta.Body(ctx, d)
	}
	if errors.Is(err, fault.ImageNotFound) {
		err = &refusal{err, codeLost, true}
	}
	if err != nil {
		return nil, "", err
	}
	m, err := manifest.Parse(body, head.MediaType)
	if err != nil {
		return nil, "", err
	}
	for _, child := range m.Manifests { // indexes nest at most meta.MaxDepth deep, and none contains itself
		if err := x.child(ctx, child.Digest); err != nil {
			return nil, "", err
		}
	}
	for _, b := range m.Blobs() {
		if err := x.blob(ctx, b.Digest, b.Size); err != nil {
			return nil, "", err
		}
	}
	return body, head.MediaType, nil
}

// child copies an image of an index, unless it is there. One that is not here, of a sparse index, is left out.
func (x *transfer) child(ctx context.Context, d name.Digest) error {
	switch there, err := x.has(ctx, d.String(), d); {
	case err != nil:
		return err
	case there:
		x.watch.image(d)
		return nil
	}
	body, mediaType, err := x.content(ctx, d)
	var refused *refusal
	if errors.As(err, &refused) && refused.code == codeLost || x.sparse && errors.Is(err, fault.BlobNotFound) {
		return nil
	}
	if err == nil {
		_, err = x.put(ctx, d, "", mediaType, body)
	}
	return err
}

// has reports whether a reference at the destination names an image.
func (x *transfer) has(ctx context.Context, ref string, d name.Digest) (bool, error) {
	have, err := x.to.Head(ctx, x.repo, ref, nil)
	if errors.Is(err, upstream.NotFound) {
		return false, nil
	}
	return err == nil && have.Digest == d, err
}

// put stores a manifest under a tag, or "" for its digest, unless it is there.
func (x *transfer) put(ctx context.Context, d name.Digest, tag, mediaType string, body []byte) (there bool, err error) {
	ref := tag
	if ref == "" {
		ref = d.String()
	}
	if there, err := x.has(ctx, ref, d); err != nil || there {
		return there, err
	}
	err = x.within(ctx, func() error {
		_, err := x.to.PutManifest(ctx, x.repo, tag, mediaType, body)
		return err
	})
	return err == nil, err
}

// blob sends a blob, unless it is there or can be mounted from a repository that got it before.
func (x *transfer) blob(ctx context.Context, d name.Digest, size int64) error {
	key := strconv.FormatInt(x.to.Integration.ID, 10) + " " + d.String()
	_, there, err := x.to.Exists(ctx, x.repo, d)
	if err == nil && !there {
		err = x.within(ctx, func() error { return x.send(ctx, key, d, size) })
	}
	if err == nil {
		x.s.outside.held.add(key, x.repo)
		x.watch.blob(d)
	}
	return err
}

// send mounts or uploads a blob.
func (x *transfer) send(ctx context.Context, key string, d name.Digest, size int64) error {
	if other := x.s.outside.held.of(key); other != "" && other != x.repo {
		mounted, err := x.to.Mount(ctx, x.repo, other, d, size)
		switch {
		case mounted:
			return nil
		case err != nil && !errors.Is(err, upstream.Denied) && !errors.Is(err, upstream.Rejected):
			return err
		}
	}
	return x.to.Upload(ctx, x.repo, d, size, func(ctx context.Context, offset int64) (io.ReadCloser, error) {
		f, _, err := x.s.registry.OpenBlob(ctx, x.from, d)
		if err != nil {
			return nil, err
		}
		if _, err := f.Seek(offset, io.SeekStart); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		return &sending{f, x, d, offset}, nil
	})
}

// within makes a change of the destination, and the repository before it if that is missing and the other side lets us. A push to a
// repository that does not exist comes first, for the creation templates of the other side.
func (x *transfer) within(ctx context.Context, change func() error) error {
	err := change()
	if !errors.Is(err, upstream.NotFound) || x.created {
		return err
	}
	x.created = true
	switch made := x.to.CreateRepository(ctx, x.repositoryName()); {
	case errors.Is(made, upstream.Invalid):
		return err // only a push creates a repository there
	case made != nil:
		return made
	}
	return change()
}

// repositoryName is the name of the destination in the ECR API.
func (x *transfer) repositoryName() string { return x.repo[len(x.to.Path("")):] }

// sending is the content of a blob that is being sent.
type sending struct {
	io.ReadCloser
	x  *transfer
	d  name.Digest
	at int64 // bytes before the next one
}

func (s *sending) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	s.at += int64(n)
	s.x.s.outside.sent.Add(uint64(n))
	s.x.watch.sent(s.d, s.at, n)
	return n, err
}

// held remembers which repository of a destination got a blob, for mounts. It forgets when it is full: the blob is sent then.
type held struct {
	mu    sync.Mutex
	repos map[string]string // by integration and digest
}

const maxHeld = 20_000

func (h *held) of(key string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.repos[key]
}

func (h *held) add(key, repo string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.repos == nil || len(h.repos) >= maxHeld {
		h.repos = map[string]string{}
	}
	h.repos[key] = repo
}
