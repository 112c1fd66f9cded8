package registry

import (
	"context"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
)

// SweepUploads removes abandoned uploads once, as Run does every ten minutes.
func (s *Service) SweepUploads(ctx context.Context) error { return s.sweepUploads(ctx) }

// FlushPulls writes the pull times once, as Run does every two seconds.
func (s *Service) FlushPulls(ctx context.Context) error { return s.flushPulls(ctx) }

// StopVerifySoon makes each call of Verify end as soon as it may.
func (s *Service) StopVerifySoon() { s.verifyTime = 0 }

// StopCollectSoon makes each call of Collect end as soon as it may.
func (s *Service) StopCollectSoon() { s.collectTime = 0 }

// CountUploads returns the number of all uploads.
func (s *Service) CountUploads(ctx context.Context) (int, error) {
	all, _, err := s.meta.IdleUploads(ctx, s.now().Add(time.Hour), meta.IdlePosition{}, 1_000_000)
	return len(all), err
}
