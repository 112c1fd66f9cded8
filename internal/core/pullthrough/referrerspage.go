package pullthrough

import (
	"context"
	"errors"
	"net/url"

	"golang.org/x/sync/errgroup"

	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/net/upstream"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// referrersAtOnce is the number of referrers that are fetched at the same time for one list.
const referrersAtOnce = 4

// ReferrersPage returns a page of the list of the referrers of an image, as the registry of the request's Upstream has it now. It is called
// after the caller was allowed to list them.
//
// The referrers that the page names are fetched, at most 100 and 32 MiB of them, and their image, if the registry has it: so it is known of
// which image they are referrers when they are pulled by their own digests.
//
// Errors: fault.ImageNotFound (the registry has no list), fault.UnableToListUpstreamImageReferrers, fault.Throttled, fault.Unavailable,
// that of ctx.
func (s *Service) ReferrersPage(ctx context.Context, q Request, subject name.Digest, query url.Values) (upstream.ReferrersPage, error) {
	o, _, err := s.from(ctx, q)
	if err != nil {
		return upstream.ReferrersPage{}, err
	}
	key := "list of referrers " + o.key() + " " + subject.String() + "?" + query.Encode()
	if err := s.refused.of(s.now(), key, o.limitKey()); err != nil {
		return upstream.ReferrersPage{}, failedList(o, err)
	}
	page, err := s.readReferrers(ctx, o, q, subject, query)
	if err != nil {
		if ctx.Err() == nil {
			s.remember(o, key, err)
		}
		return page, failedList(o, err)
	}
	s.counts.Fetched.Add(uint64(len(page.Body)))
	s.tell(o, meta.CacheCount{Fetched: int64(len(page.Body))})
	if q.Found.ID == 0 {
		return page, nil
	}
	if len(page.Listed) == 0 {
		return page, nil
	}
	ref := name.Reference{Digest: subject}
	_, err = s.registry.Head(ctx, q.Found, ref)
	if errors.Is(err, fault.ImageNotFound) { // such as the image of a platform, of which only the index was fetched
		if err := s.fetchImage(ctx, o, q, ref, registry.ManifestHead{}); err != nil {
			return page, ctx.Err() // the list is answered nevertheless
		}
	} else if err != nil {
		return page, err
	}
	s.bringReferrers(ctx, o, q, page.Listed)
	return page, nil
}

func (s *Service) readReferrers(ctx context.Context, o origin, q Request, subject name.Digest, query url.Values) (
	page upstream.ReferrersPage, err error) {
	leave, err := s.places.enter(ctx, q.holder())
	if err != nil {
		return page, err
	}
	defer leave()
	err = s.with(ctx, o, func(remote *upstream.Registry, o origin) (err error) {
		page, err = remote.ReferrersPage(ctx, o.repo, subject, query)
		return err
	})
	return page, err
}

// bringReferrers fetches the referrers that are not stored. One that cannot be fetched is left out: the list is answered nevertheless, and
// whoever may pull all images of the repository pulls it by its digest.
func (s *Service) bringReferrers(ctx context.Context, o origin, q Request, listed []upstream.Listed) {
	var size int64
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(referrersAtOnce)
	for i, d := range listed {
		if size += d.Size; i == maxReferrers || size > maxReferrerBytes {
			s.log.Warn("an image has more referrers than are fetched", "repository", q.Found.ARN(), "referrers", len(listed))
			break
		}
		ref := name.Reference{Digest: d.Digest}
		if _, err := s.registry.Head(ctx, q.Found, ref); !errors.Is(err, fault.ImageNotFound) {
			continue
		}
		work.Go(func() error {
			err := s.fetchImage(ctx, o, q, ref, registry.ManifestHead{})
			if err != nil && (errors.Is(err, upstream.RateLimited) || errors.Is(err, upstream.Unavailable)) {
				return err // the others would fail alike
			}
			return nil
		})
	}
	if err := work.Wait(); err != nil {
		s.log.Warn("referrers of an image could not be fetched", "repository", q.Found.ARN(), "error", err)
	}
}

func failedList(o origin, err error) error {
	if errors.Is(err, upstream.NotFound) {
		return fault.ImageNotFound.New("the registry %s has no list of referrers of this image", o.rule.Host).Because(err)
	}
	return failed(fault.UnableToListUpstreamImageReferrers, err)
}
