package pullthrough

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/net/upstream"
	"github.com/ecrin-dev/ecrin/internal/rule/manifest"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Image makes the image of a reference present, or compares its tag with the other registry if that was long ago. head is that of the
// stored image, the zero value if there is none. It is called after the caller was allowed to pull. changed reports whether something
// was stored, after which the request is resolved again.
//
// Without a rule for the repository, and for a caller who may not import, it does nothing. A stored image is served whatever happens to
// its comparison, so then there is no error but that of ctx.
//
// Errors: fault.RepositoryNotFound (the caller may not create it), fault.ImageNotFound, fault.UnableToGetUpstreamImage,
// fault.Throttled, fault.Unavailable, fault.QuotaExceeded, fault.TargetChanged (the request is resolved again, and Image is called
// again).
func (s *Service) Image(ctx context.Context, q Request, ref name.Reference, head registry.ManifestHead) (changed bool, err error) {
	o, ok, err := s.from(ctx, q)
	if err != nil || !ok {
		return false, err
	}
	stored := head.Digest != (name.Digest{})
	if stored {
		if ref.Tag == (name.Tag{}) {
			s.counts.Hits.Add(1)
			s.counts.Saved.Add(uint64(head.Size))
			s.tell(o, meta.CacheCount{Hits: 1, Saved: head.Size})
			return false, nil
		}
		due, err := s.due(ctx, q, ref.Tag, head.Digest)
		if err != nil || !due {
			s.counts.Hits.Add(1)
			s.counts.Saved.Add(uint64(head.Size))
			s.tell(o, meta.CacheCount{Hits: 1, Saved: head.Size})
			return false, err
		}
	}
	asks, err := s.needs(ctx, q)
	if err != nil {
		return false, err
	}
	for _, ask := range asks {
		may, err := s.guard.Allowed(ctx, q.By, q.From, ask)
		switch {
		case err != nil:
			return false, err
		case may:
		case stored:
			return false, nil
		case ask.Action == actionCreate:
			return false, meta.RepositoryNotFound(q.Registry, q.Name)
		default:
			return false, registry.ImageNotFound()
		}
	}
	err = s.fetchImage(ctx, o, q, ref, head)
	switch {
	case err == nil:
		s.counts.Misses.Add(1)
		s.tell(o, meta.CacheCount{Misses: 1})
		return true, nil
	case !stored:
		return false, failedImage(o, err)
	case ctx.Err() != nil:
		return false, ctx.Err()
	}
	s.counts.Stale.Add(1)
	s.tell(o, meta.CacheCount{Stale: 1})
	s.log.Warn("a tag could not be compared with its registry and is served as it is", "repository", q.Found.ARN(), "tag", ref.Tag,
		"error", err)
	return false, nil
}

const (
	actionCreate = "ecr:CreateRepository"
	actionImport = "ecr:BatchImportUpstreamImage"
)

// needs returns what a caller needs for a fetch.
//
// Source: ECR user guide, IAM permissions required to sync an upstream registry.
func (s *Service) needs(ctx context.Context, q Request) ([]guard.Ask, error) {
	if q.Upstream != nil {
		return nil, nil
	}
	if q.Found.ID == 0 {
		return s.creation(ctx, q)
	}
	return []guard.Ask{s.askFor(q, actionImport)}, nil
}

// due reports whether a tag that a rule has set is to be compared with the other registry.
func (s *Service) due(ctx context.Context, q Request, tag name.Tag, d name.Digest) (bool, error) {
	now := s.now()
	key := freshKey{q.Found.ID, tag.String(), d.String()}
	if s.fresh.is(key, now) || q.Found.Mutability.Freezes(tag) {
		return false, nil
	}
	c, ok, err := s.meta.CacheCheck(ctx, q.Found.ID, tag.String())
	if err != nil {
		return false, err
	}
	until := c.At.Add(s.limits.Refresh)
	if !ok || c.Digest != d.String() { // a push has set it
		until = now.Add(unreachableSpan)
	}
	if now.Before(until) {
		s.fresh.set(key, until)
		return false, nil
	}
	return true, nil
}

func failedImage(o origin, err error) error {
	if errors.Is(err, upstream.NotFound) {
		return fault.ImageNotFound.New("%s (the registry %s does not have it in its repository %s)",
			fault.From(registry.ImageNotFound()).Public, o.rule.Host, o.repo).Because(err)
	}
	return failed(fault.UnableToGetUpstreamImage, err)
}

// fetchImage fetches an image and stores it, once for all concurrent calls.
func (s *Service) fetchImage(ctx context.Context, o origin, q Request, ref name.Reference, head registry.ManifestHead) error {
	limit := s.limits.Compare
	if head.Digest == (name.Digest{}) {
		limit = maxImageTime
	}
	return s.once(ctx, o, fmt.Sprintf("image %s %s %s", o.key(), q.Name, ref), limit, func(ctx context.Context) error {
		err := s.storeImage(ctx, o, q, ref, head)
		if err != nil {
			s.reportFailure(o, q, ref, failedImage(o, err), err)
		}
		return err
	})
}

// once calls fetch, or waits for the call with the key that runs. What failed with the key a short time ago fails alike. The call does
// not end with the first client that waits for it, but after limit, and when the server stops.
func (s *Service) once(ctx context.Context, o origin, key string, limit time.Duration, fetch func(context.Context) error) error {
	if err := s.refused.of(s.now(), key, o.limitKey()); err != nil {
		return err
	}
	done := s.images.DoChan(key, func() (any, error) {
		if s.ctx.Err() != nil {
			return nil, fault.Unavailable.New("the server stops")
		}
		s.work.Add(1)
		defer s.work.Done()
		ctx, cancel := context.WithTimeout(s.ctx, limit)
		defer cancel()
		err := s.across(ctx, key, fetch)
		if err != nil {
			s.remember(o, key, err)
		}
		return nil, err
	})
	select {
	case r := <-done:
		return r.Err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// storeImage fetches an image and stores it. It is not the work of one client, so it has no principal in its context.
func (s *Service) storeImage(ctx context.Context, o origin, q Request, ref name.Reference, head registry.ManifestHead) error {
	if head.Digest == (name.Digest{}) { // the call before this one may have stored it since the request was resolved
		found, err := s.registry.Repository(ctx, q.Registry, q.Name)
		if err == nil {
			q.Found = found
			_, err = s.registry.Head(ctx, found, ref)
		}
		if err == nil || !errors.Is(err, fault.RepositoryNotFound) && !errors.Is(err, fault.ImageNotFound) {
			return err
		}
	}
	leave, err := s.places.enter(ctx, q.holder())
	if err != nil {
		return err
	}
	defer leave()
	var m upstream.Manifest
	var below []upstream.Manifest
	err = s.with(ctx, o, func(remote *upstream.Registry, o origin) (err error) {
		if m, err = remote.Manifest(ctx, o.repo, ref.String(), upstream.ManifestOptions{Known: head.Digest}); err != nil || m.NotModified {
			return err
		}
		s.counts.Fetched.Add(uint64(len(m.Body)))
		s.tell(o, meta.CacheCount{Fetched: int64(len(m.Body))})
		below, err = s.indexesBelow(ctx, remote, o, m, 0)
		return err
	})
	if err != nil {
		return err
	}
	if m.NotModified {
		return s.meta.PutCacheCheck(ctx, q.Found, ref.Tag.String(), head.Digest.String())
	}
	if q.Found.ID == 0 {
		if q.Found, err = s.create(ctx, q); err != nil {
			return err
		}
	}
	for _, one := range below {
		if _, _, err := s.registry.Put(ctx, q.By, q.Found, registry.PutImage{Body: one.Body, MediaType: one.MediaType, Digest: one.Digest,
			Cached: &o.rule}); err != nil {
			return err
		}
	}
	in := registry.PutImage{Body: m.Body, MediaType: m.MediaType, Digest: m.Digest, Cached: &o.rule}
	if ref.Tag != (name.Tag{}) {
		in.Tags = []name.Tag{ref.Tag}
	}
	_, _, err = s.registry.Put(ctx, q.By, q.Found, in)
	return err
}

// maxImageTime is the time for a manifest and the indexes in it.
const maxImageTime = 3 * time.Minute

// maxIndexesBelow is the number of indexes that an index may contain, with those inside them.
const maxIndexesBelow = 20

// indexesBelow fetches the indexes that an index contains, which are stored before it, the innermost first.
func (s *Service) indexesBelow(ctx context.Context, remote *upstream.Registry, o origin, m upstream.Manifest, depth int) (
	all []upstream.Manifest, err error) {
	parsed, err := manifest.Parse(m.Body, m.MediaType)
	if err != nil {
		return nil, err
	}
	for _, d := range parsed.Manifests {
		if manifest.KindOf(d.MediaType) == manifest.Image {
			continue
		}
		if depth >= meta.MaxDepth {
			return nil, manifest.Invalid("its indexes are nested too deep")
		}
		one, err := remote.Manifest(ctx, o.repo, d.Digest.String(), upstream.ManifestOptions{})
		if err != nil {
			return nil, err
		}
		s.counts.Fetched.Add(uint64(len(one.Body)))
		s.tell(o, meta.CacheCount{Fetched: int64(len(one.Body))})
		below, err := s.indexesBelow(ctx, remote, o, one, depth+1)
		if err != nil {
			return nil, err
		}
		if all = append(append(all, below...), one); len(all) > maxIndexesBelow {
			return nil, manifest.Invalid("it contains more than %d indexes", maxIndexesBelow)
		}
	}
	return all, nil
}
