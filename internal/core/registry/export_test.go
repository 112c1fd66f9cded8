package registry

import "context"

// SweepUploads removes abandoned uploads once, as Run does every hour.
func (s *Service) SweepUploads(ctx context.Context) error { return s.sweepUploads(ctx) }
