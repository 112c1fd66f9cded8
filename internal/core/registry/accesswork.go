package registry

import (
	"context"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/jobs"
)

const (
	accessKind  = "access_requests"
	accessEvery = time.Minute
	accessPage  = 200 // requests of a step
)

// addAccessWork adds the work on requests for access whose time has come. A grant does not need it to end: each decision compares its end
// with the time.
func (s *Service) addAccessWork(r *jobs.Runner) {
	r.Add(jobs.Kind{Name: accessKind, What: "telling that access has ended", Parallel: 1, Every: accessEvery, AtStart: true,
		Work: func(ctx context.Context, _ *jobs.Job) error { return s.TidyAccess(ctx) }})
}

// TidyAccess tells about grants of access that have ended, notes that open requests have expired, and deletes old ones.
func (s *Service) TidyAccess(ctx context.Context) error {
	for {
		more, err := s.meta.TidyAccess(ctx, accessPage)
		if err != nil || !more {
			return err
		}
	}
}
