package meta_test

import (
	"context"
	"fmt"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
)

func init() {
	for what, prepare := range sweptIntegrationChanges {
		moreSweptChanges[what] = prepare
	}
}

// far makes an integration for one call of a sweep.
func (s *sweeper) far() meta.Integration {
	i, err := s.CreateIntegration(s.Ctx, meta.Integration{Account: metatest.Account, Name: fmt.Sprint("far", s.i), Sealed: []byte("x")}, 0)
	s.Must(err)
	return i
}

// sweptIntegrationChanges are the changes of integrations, for the sweep of moreSweptChanges.
var sweptIntegrationChanges = map[string]func(s *sweeper) func(context.Context) error{
	"CreateIntegration": func(s *sweeper) func(context.Context) error {
		label := fmt.Sprint("new", s.i)
		return func(ctx context.Context) error {
			_, err := s.CreateIntegration(ctx, meta.Integration{Account: metatest.Account, Name: label, Sealed: []byte("x")}, 1<<30)
			return err
		}
	},
	"UpdateIntegration": func(s *sweeper) func(context.Context) error {
		i := s.far()
		i.Sealed = []byte("y") // a new version alone is no change to the sweep
		return func(ctx context.Context) error { _, err := s.UpdateIntegration(ctx, i); return err }
	},
	"IntegrationTested": func(s *sweeper) func(context.Context) error {
		i := s.far()
		return func(ctx context.Context) error { return s.IntegrationTested(ctx, i, "broken", true) }
	},
	"DeleteIntegration": func(s *sweeper) func(context.Context) error {
		i := s.far()
		return func(ctx context.Context) error { return s.DeleteIntegration(ctx, i) }
	},
}
