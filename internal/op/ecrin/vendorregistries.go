package ecrin

import (
	"context"
	"errors"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// Sharing is an application, or with the ID "" all of an account, with an integration that is shared with it.
type Sharing struct {
	Shipped
	Integration meta.Integration
}

// onShared resolves an application, or with slug "" all of an account, and an integration of the account. The integration need not exist.
func onShared(s *Service, ctx context.Context, req guard.Request, in accountNamed, slug, label string) (
	t guard.Target[Sharing], err error) {
	of, err := onApplication(s, ctx, req, in, allFor(slug))
	if err != nil {
		return t, err
	}
	t = guard.Target[Sharing]{Value: Sharing{Shipped: of.Value}, Asks: of.Asks, Absent: of.Absent}
	if slug == "" {
		t.Absent, t.Value.Slug = nil, ""
	}
	i, err := s.meta.Integration(ctx, of.Value.Account, label)
	switch {
	case err == nil:
		t.Value.Integration = i
	case errors.Is(err, fault.IntegrationNotFound):
		t.Value.Integration = meta.Integration{Account: of.Value.Account, Name: label}
		if t.Absent == nil {
			t.Absent = err
		}
		err = nil
	}
	return t, err
}

// allFor returns the slug of asks about an application, or about all for "".
func allFor(slug string) string {
	if slug == "" {
		return "*"
	}
	return slug
}

// OnShared resolves an integration that is shared with an application, or with all. Who shares it gives its credentials a further use, for
// which they need the permission to use it.
func OnShared(s *Service, ctx context.Context, req guard.Request, in *ecrintypes.ShareIntegrationRequest) (guard.Target[Sharing], error) {
	t, err := onShared(s, ctx, req, in, in.ApplicationSlug, in.IntegrationName)
	if err == nil {
		use := t.Asks[0]
		use.Action, use.Resource = "ecrin:UseIntegration", t.Value.Integration.ARN()
		t.Asks = append(t.Asks, use)
	}
	return t, err
}

// OnUnshared resolves an integration that is not shared any more with an application, or with all.
func OnUnshared(s *Service, ctx context.Context, req guard.Request, in *ecrintypes.SharedIntegrationRequest) (
	guard.Target[Sharing], error) {
	return onShared(s, ctx, req, in, in.ApplicationSlug, in.IntegrationName)
}

// OnSharing resolves the application, or the account, whose shared integrations are listed.
func OnSharing(s *Service, ctx context.Context, req guard.Request, in *ecrintypes.ListSharedIntegrationsRequest) (
	guard.Target[Shipped], error) {
	t, err := onApplication(s, ctx, req, in, allFor(in.ApplicationSlug))
	if in.ApplicationSlug == "" {
		t.Absent, t.Value.Slug = nil, ""
	}
	return t, err
}

// ShareIntegration lets the customers of an application, or of all applications of the account, get images of the registry of an
// integration by their licences. Layers are stored unless the request says uncached.
//
// Errors: fault.IntegrationFailed (it is not one of a registry), fault.IntegrationNotFound, fault.ObjectNotFound.
func (s *Service) ShareIntegration(ctx context.Context, by identity.Caller, at Sharing, in *ecrintypes.ShareIntegrationRequest) (
	*ecrintypes.SharedIntegrationResponse, error) {
	r, err := s.remotes.Share(ctx, at.Integration, meta.SharedRegistry{Application: at.ID, Uncached: yes(in.Uncached), CreatedBy: by.ARN})
	if err != nil {
		return nil, err
	}
	one, err := showShared(r, at.Integration, at.Slug)
	return &ecrintypes.SharedIntegrationResponse{Shared: one}, err
}

// UnshareIntegration ends what ShareIntegration has begun, from the next request on.
//
// Errors: fault.ObjectNotFound (the integration is not shared so).
func (s *Service) UnshareIntegration(ctx context.Context, _ identity.Caller, at Sharing, _ *ecrintypes.SharedIntegrationRequest) (
	*ecrintypes.UnshareIntegrationResponse, error) {
	return &ecrintypes.UnshareIntegrationResponse{}, s.meta.UnshareRegistry(ctx,
		meta.SharedRegistry{Account: at.Account, Integration: at.Integration.ID, Application: at.ID})
}

// ListSharedIntegrations returns the integrations that are shared with an application, those with all of the account included; without an
// application how all of the account are shared.
func (s *Service) ListSharedIntegrations(ctx context.Context, _ identity.Caller, at Shipped, _ *ecrintypes.ListSharedIntegrationsRequest) (
	*ecrintypes.ListSharedIntegrationsResponse, error) {
	var all []meta.SharedRegistry
	var err error
	if at.ID == "" {
		all, err = s.meta.SharedRegistries(ctx, at.Account)
	} else {
		all, err = s.meta.RegistriesFor(ctx, at.Account, at.ID)
	}
	if err != nil {
		return nil, err
	}
	slugs := map[string]string{at.ID: at.Slug, "": ""}
	if at.ID == "" {
		applications, err := s.meta.Applications(ctx, at.Account)
		if err != nil {
			return nil, err
		}
		for _, a := range applications {
			slugs[a.ID] = a.Slug
		}
	}
	integrations, err := s.meta.Integrations(ctx, at.Account)
	if err != nil {
		return nil, err
	}
	out := &ecrintypes.ListSharedIntegrationsResponse{Integrations: []ecrintypes.SharedIntegration{}}
	for _, i := range integrations {
		for _, r := range all {
			if r.Integration != i.ID {
				continue
			}
			one, err := showShared(r, i, slugs[r.Application])
			if err != nil {
				return nil, err
			}
			out.Integrations = append(out.Integrations, one)
		}
	}
	return out, nil
}

func showShared(r meta.SharedRegistry, i meta.Integration, slug string) (ecrintypes.SharedIntegration, error) {
	shown, err := showIntegration(i)
	return ecrintypes.SharedIntegration{IntegrationName: i.Name, Kind: shown.Kind, RegistryHost: shown.RegistryHost, ApplicationSlug: slug,
		Uncached: &r.Uncached, LastTestedAt: shown.LastTestedAt, LastError: i.Error, CreatedAt: awswire.Time{Time: r.CreatedAt},
		CreatedBy: r.CreatedBy}, err
}
