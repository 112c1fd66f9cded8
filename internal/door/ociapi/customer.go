package ociapi

import (
	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/rule/endpoint"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// customersRegistry returns the registry and the repository of a customer's request at a host of all registries: those of the vendor,
// unless the path names an account and a region.
func (a *API) customersRegistry(q *request) name.Registry {
	if q.host.Kind != endpoint.Any || q.target.name != q.repo.String() {
		return q.reg
	}
	return name.Registry{Account: q.caller.Account, Region: q.reg.Region}
}

// maxImagesOfLayer limits the images of a layer that are looked at in one step.
const maxImagesOfLayer = 100

// ofLayer returns the ask of a customer for a layer: with an image of the repository that has the layer and that the customer may pull, or
// without an image, which no entitlement to certain images allows. Each image is decided alone.
func (a *API) ofLayer(q *request, ask guard.Ask) (guard.Ask, error) {
	d, err := name.ParseDigest(q.target.reference)
	if err != nil || q.found.ID == 0 {
		return ask, nil
	}
	for after := ""; ; {
		digests, err := a.registry.ImagesWith(q.r.Context(), q.found, d, after, maxImagesOfLayer)
		if err != nil {
			return ask, err
		}
		for _, of := range digests {
			one := ask
			one.Image = guard.Image{Reference: name.Reference{Digest: of}, Stored: true}
			allowed, err := a.guard.Allowed(q.r.Context(), q.caller, q.ev.From, one)
			if err != nil || allowed {
				return one, err
			}
			after = of.String()
		}
		if len(digests) < maxImagesOfLayer {
			return ask, nil
		}
	}
}

// callerOf returns the caller of a password: of a customer, or of an authorization token.
func (a *API) callerOf(q *request, password string, region name.Region) (identity.Caller, error) {
	if identity.IsCustomerPassword(password) {
		return a.identity.CustomerCaller(q.r.Context(), password)
	}
	return a.identity.TokenCaller(q.r.Context(), password, region)
}
