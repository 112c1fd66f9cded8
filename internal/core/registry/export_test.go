package registry

import "context"

// SweepUploads runs once what Run does every hour.
func (s *Service) SweepUploads(ctx context.Context) error { return s.sweepUploads(ctx) }
