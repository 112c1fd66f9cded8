package integration

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/name"
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

// Shared is an integration that is shared with an application.
type Shared struct {
	meta.Integration
	Host     string // of its registry, HOST or HOST:PORT
	Uncached bool   // layers are not stored
}

// SharedWith returns the integrations of registries that are shared with an application, in the order in which they are tried for one host:
// by role before by key before by password before anonymous, and by name. Layers are not stored if one of the ways in which an integration
// is shared with the application says so.
func (s *Service) SharedWith(ctx context.Context, account name.Account, application string) (all []Shared, err error) {
	rows, err := s.meta.RegistriesFor(ctx, account, application)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	uncached := map[int64]bool{}
	for _, r := range rows {
		uncached[r.Integration] = uncached[r.Integration] || r.Uncached
	}
	stored, err := s.meta.Integrations(ctx, account)
	if err != nil {
		return nil, err
	}
	weight := map[string]int{}
	for _, i := range stored {
		not, ok := uncached[i.ID]
		if !ok || isSite(i.Kind) {
			continue
		}
		settings, err := SettingsOf(i)
		if err != nil {
			return nil, err
		}
		weight[i.Name] = settings.strength()
		all = append(all, Shared{Integration: i, Host: strings.ToLower(settings.Host), Uncached: not})
	}
	slices.SortStableFunc(all, func(a, b Shared) int { return weight[a.Name] - weight[b.Name] })
	return all, nil
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
