package integration

import (
	"context"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
)

// Share shares an integration of a registry with the customers of an application, or of all applications of its account. r has the
// application, how its layers are kept, and who shares it.
//
// Errors: fault.IntegrationFailed (it is not one of a registry), fault.IntegrationNotFound, fault.ObjectNotFound (the application).
func (s *Service) Share(ctx context.Context, i meta.Integration, r meta.SharedRegistry) (meta.SharedRegistry, error) {
	if err := CheckRegistry(i); err != nil {
		return r, err
	}
	r.Account, r.Integration, r.CreatedAt = i.Account, i.ID, time.Now()
	return r, s.meta.ShareRegistry(ctx, r)
}

// strength returns where integrations of one host are in the order in which they are tried.
func (s Settings) strength() int {
	switch {
	case s.byRole():
		return 0
	case s.AccessKeyID != "":
		return 1
	case s.Username != "":
		return 2
	}
	return 3
}
