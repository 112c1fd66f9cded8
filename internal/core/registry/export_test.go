package registry

import (
	"context"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// SweepUploads removes abandoned uploads once, as Run does every ten minutes.
func (s *Service) SweepUploads(ctx context.Context) error { return s.sweepUploads(ctx) }

// FlushPulls writes the pull times once, as Run does when they are due.
func (s *Service) FlushPulls(ctx context.Context) error { return s.flushPulls(ctx) }

// PullsAreDue reports whether Run writes the pull times now: because of their number or age, or because there are too many.
func (s *Service) PullsAreDue() (due, many bool) { return s.pulls.due(s.now()), len(s.pulls.many) > 0 }

// WaitingPulls returns how many pull times wait.
func (s *Service) WaitingPulls() int { return len(s.pulls.waiting) }

// The limits of pull times that wait.
const (
	FewPulls     = fewPulls
	ManyPulls    = manyPulls
	MaxKeptPulls = maxKeptPulls
)

// StopVerifySoon makes each call of Verify end as soon as it may.
func (s *Service) StopVerifySoon() { s.verifyTime = 0 }

// StopCollectSoon makes each call of Collect end as soon as it may.
func (s *Service) StopCollectSoon() { s.collectTime = 0 }

// CountUploads returns the number of all uploads.
func (s *Service) CountUploads(ctx context.Context) (int, error) {
	all, _, err := s.meta.IdleUploads(ctx, s.now().Add(time.Hour), meta.IdlePosition{}, 1_000_000)
	return len(all), err
}

// KeepPulls keeps pull times as after a failed write.
func (s *Service) KeepPulls(pulls map[meta.PullKey]time.Time) { s.pulls.keep(pulls) }

// Pulls returns the pull times that wait.
func (s *Service) Pulls() map[meta.PullKey]time.Time { return s.pulls.waiting }

// Seize takes a digest as a collection does, and Free gives it back.
func (s *Service) Seize(d name.Digest) bool { return s.landing.seize(d) }

// Free ends what Seize has begun.
func (s *Service) Free(d name.Digest) { s.landing.free(d) }

// LayerLimit is the number of bytes that may be read from a chunk.
func LayerLimit(u meta.Upload, c Chunk) int64 { return layerLimit(u, c) }

// ObserveWaits makes each push call waits before it waits for a collection, and what that returns afterwards.
func (s *Service) ObserveWaits(waits func(ctx context.Context, freed <-chan struct{}) (waited func())) {
	s.landing.waits = waits
}
