package replication

import (
	"context"
	"errors"
	"io"
	"strconv"

	"github.com/ecrin-dev/ecrin/internal/core/integration"
	"github.com/ecrin-dev/ecrin/internal/net/copier"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// transfer copies images of a repository to one of another installation.
type transfer struct {
	*copier.Copier
	s    *Service
	from meta.Repository
}

// transfer returns a transfer to a repository, whose name is that in the ECR API. With sparse, images of an index that a pull-through
// cache has fetched in part are left out.
func (s *Service) transfer(from meta.Repository, to *integration.Remote, repo string, sparse bool, watch copier.Watcher) *transfer {
	x := &transfer{s: s, from: from}
	x.Copier = &copier.Copier{Source: x, To: to.Registry, Repo: to.Path(repo), Name: repo, Watch: counting{watch, s}, Held: &s.outside.held,
		Group: strconv.FormatInt(to.Integration.ID, 10), Absent: func(err error) bool {
			refused, ok := errors.AsType[*refusal](err)
			return ok && refused.code == codeLost || sparse && errors.Is(err, fault.BlobNotFound)
		}}
	return x
}

// counting counts the bytes that are sent.
type counting struct {
	copier.Watcher
	s *Service
}

func (c counting) Sent(d name.Digest, end int64, n int) {
	c.s.outside.sent.Add(uint64(n))
	c.Watcher.Sent(d, end, n)
}

// touching is a watcher that only shows that a transfer advances.
type touching func()

func (t touching) Sent(name.Digest, int64, int) { t() }
func (touching) Blob(name.Digest)               {}
func (touching) Image(name.Digest)              {}

// Manifest implements copier.Source. Errors: a *refusal; those of the store.
func (x *transfer) Manifest(ctx context.Context, d name.Digest) (body []byte, mediaType string, err error) {
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
	return body, head.MediaType, err
}

// Blob implements copier.Source.
func (x *transfer) Blob(ctx context.Context, d name.Digest, _, offset int64) (io.ReadCloser, error) {
	f, _, err := x.s.registry.OpenBlob(ctx, x.from, d)
	if err != nil {
		return nil, err
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// tagged copies an image with its blobs, the images of an index before it, and the tags that it has when all of that is there. Immutable
// tags of the destination stay where they are. It returns the tags that point to the image there.
//
// Errors: a *refusal; an upstream.Error; those of this side.
func (x *transfer) tagged(ctx context.Context, d name.Digest) ([]name.Tag, error) {
	body, mediaType, err := x.Content(ctx, d)
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
		there, err := x.Put(ctx, d, text, mediaType, body)
		if copier.Immutable(err) {
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
		_, err = x.Put(ctx, d, "", mediaType, body)
	}
	return tags, err
}
