package pullthrough

import (
	"context"
	"errors"
	"fmt"

	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/net/upstream"
	"github.com/ecrin-dev/ecrin/internal/rule/manifest"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// The referrers of one image that are fetched: more of them, or larger ones, are left out.
const (
	maxReferrers     = 100
	maxReferrerBytes = 32 << 20
)

// Referrers fetches the referrers of a stored image that the repository lacks, if they were not compared with the other registry for
// some hours. It is called before they are listed, after the caller was allowed to list them.
//
// Errors: fault.UnableToListUpstreamImageReferrers and those of fetches, if they have never been fetched; otherwise what is stored is
// listed.
func (s *Service) Referrers(ctx context.Context, q Request, subject name.Digest) error {
	if q.Found.ID == 0 {
		return nil
	}
	o, ok, err := s.from(ctx, q)
	if err != nil || !ok {
		return err
	}
	fresh := freshKey{repository: q.Found.ID, digest: subject.String()}
	now := s.now()
	if s.fresh.is(fresh, now) {
		return nil
	}
	if _, err := s.registry.Head(ctx, q.Found, name.Reference{Digest: subject}); errors.Is(err, fault.ImageNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	checked, before, err := s.meta.CacheCheck(ctx, q.Found.ID, subject.String())
	if err != nil {
		return err
	}
	if until := checked.At.Add(s.limits.Referrers); before && now.Before(until) {
		s.fresh.set(fresh, until)
		return nil
	}
	if may, err := s.allowed(ctx, q, actionImport); err != nil || !may {
		return err
	}
	err = s.fetchReferrers(ctx, o, q, subject)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case before:
		s.counts.Stale.Add(1)
		s.tell(o, meta.CacheCount{Stale: 1})
		return nil
	}
	return failed(fault.UnableToListUpstreamImageReferrers, err)
}

// fetchReferrers fetches referrers, once for all concurrent calls.
func (s *Service) fetchReferrers(ctx context.Context, o origin, q Request, subject name.Digest) error {
	return s.once(ctx, o, fmt.Sprintf("referrers %s %d %s", o.key(), q.Found.ID, subject), maxImageTime, func(ctx context.Context) error {
		leave, err := s.places.enter(ctx, q.holder())
		if err != nil {
			return err
		}
		defer leave()
		err = s.with(ctx, o, func(remote *upstream.Registry, o origin) error { return s.storeReferrers(ctx, remote, o, q, subject) })
		if err != nil {
			return err
		}
		return s.meta.PutCacheCheck(ctx, q.Found, subject.String(), "")
	})
}

// storeReferrers stores the referrers that the repository does not have, as far as they are not too many.
func (s *Service) storeReferrers(ctx context.Context, remote *upstream.Registry, o origin, q Request, subject name.Digest) error {
	all, err := remote.Referrers(ctx, o.repo, subject, "")
	if err != nil && !errors.Is(err, upstream.NotFound) {
		return err
	}
	var size int64
	for i, d := range all {
		if size += max(0, d.Size); i == maxReferrers || size > maxReferrerBytes {
			s.log.Warn("an image has more referrers than are fetched", "repository", q.Found.ARN(), "digest", subject, "referrers", len(all))
			break
		}
		if err := s.storeReferrer(ctx, remote, o, q, subject, d); err != nil {
			return err
		}
	}
	return nil
}

// storeReferrer stores one referrer that the repository does not have. One that the other registry does not have, or that refers to
// another image, is left out.
func (s *Service) storeReferrer(ctx context.Context, remote *upstream.Registry, o origin, q Request, subject name.Digest,
	d manifest.Descriptor) error {
	_, err := s.registry.Head(ctx, q.Found, name.Reference{Digest: d.Digest})
	if !errors.Is(err, fault.ImageNotFound) {
		return err
	}
	m, err := remote.Manifest(ctx, o.repo, d.Digest.String(), upstream.ManifestOptions{})
	if errors.Is(err, upstream.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	s.counts.Fetched.Add(uint64(len(m.Body)))
	s.tell(o, meta.CacheCount{Fetched: int64(len(m.Body))})
	parsed, err := manifest.Parse(m.Body, m.MediaType)
	if err != nil {
		return err
	}
	if parsed.Kind != manifest.Image || parsed.Subject == nil || parsed.Subject.Digest != subject {
		return nil
	}
	_, _, err = s.registry.Put(ctx, q.By, q.Found, registry.PutImage{Body: m.Body, MediaType: m.MediaType, Digest: m.Digest, Cached: &o.rule})
	return err
}
