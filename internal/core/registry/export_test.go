package registry

import "context"

// SweepUploads removes abandoned uploads once, as Run does every hour.
func (s *Service) SweepUploads(ctx context.Context) error { return s.sweepUploads(ctx) }

// FlushPulls writes the pull times once, as Run does every two seconds.
func (s *Service) FlushPulls(ctx context.Context) error { return s.flushPulls(ctx) }

// StopVerifySoon makes each call of Verify end as soon as it may.
func (s *Service) StopVerifySoon() { s.verifyTime = 0 }

// StopCollectSoon makes each call of Collect end as soon as it may.
func (s *Service) StopCollectSoon() { s.collectTime = 0 }
