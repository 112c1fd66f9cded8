package registry

import (
	"context"
	"errors"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// sweepUploads removes all uploads that were last written to more than uploadLife ago, and those without a byte that were begun
// more than emptyLife ago. An upload to which a request is writing stays.
func (s *Service) sweepUploads(ctx context.Context) error {
	before := s.now().Add(-uploadLife)
	old, err1 := s.sweepListed(ctx, s.meta.IdleUploads, before)
	empty, err2 := s.sweepListed(ctx, s.meta.EmptyUploads, s.now().Add(-emptyLife))
	err3 := s.removeStale(ctx, before)
	if old+empty > 0 {
		s.log.InfoContext(ctx, "removed abandoned uploads", "count", old+empty)
	}
	return errors.Join(err1, err2, err3)
}

// sweepListed removes the uploads of a list in steps of maxSwept, between which other changes have their turn. An upload that
// cannot be removed does not keep it from the others.
func (s *Service) sweepListed(ctx context.Context, list func(context.Context, time.Time, meta.IdlePosition, int) ([]meta.Upload,
	meta.IdlePosition, error), before time.Time) (removed int, err error) {
	var errs []error
	for after := (meta.IdlePosition{}); ; {
		idle, last, err := list(ctx, before, after, maxSwept)
		if err != nil {
			return removed, errors.Join(append(errs, err)...)
		}
		n, err := s.remove(ctx, idle)
		removed += n
		if err != nil {
			errs = append(errs, err)
		}
		if after = last; len(idle) < maxSwept {
			return removed, errors.Join(errs...)
		}
	}
}

// remove deletes the bytes of uploads, and then their rows in one transaction. It returns how many it deleted. Uploads that
// another request has written to or completed since they were read are left alone.
func (s *Service) remove(ctx context.Context, uploads []meta.Upload) (removed int, err error) {
	var ids []string
	var errs []error
	for _, u := range uploads {
		release, err := s.hold(ctx, u)
		if err == nil {
			defer release() // the row must not be used before it is deleted
			err = s.blobs.Abort(ctx, blob.Upload{ID: u.Blob.ID})
		}
		switch {
		case err == nil:
			ids = append(ids, u.ID)
		case !errors.Is(err, fault.UploadConflict) && !errors.Is(err, fault.UploadNotFound):
			errs = append(errs, err)
		}
	}
	if len(ids) > 0 {
		errs = append(errs, s.meta.DeleteUploads(ctx, ids))
	}
	return len(ids), errors.Join(errs...)
}

// removeStale deletes the bytes of uploads that have no row, such as those of a deleted repository.
func (s *Service) removeStale(ctx context.Context, before time.Time) error {
	for id, err := range s.blobs.Stale(ctx, before) {
		if err != nil {
			return err
		}
		if err := s.blobs.Abort(ctx, blob.Upload{ID: id}); err != nil && !errors.Is(err, fault.UploadConflict) {
			return err
		}
	}
	return nil
}
