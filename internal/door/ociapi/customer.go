package ociapi

import (
	"errors"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/integration"
	"github.com/ecrin-dev/ecrin/internal/rule/endpoint"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// proxyPath begins the names of images that customers pull by the proxy: proxy/SLUG/UPSTREAM. Customers reach what was fetched by it in
// no other way.
const proxyPath = "proxy/"

// customersTarget determines the repository of a customer's request. By the proxy it is the one that has what was fetched from the external
// registry, or a repository of the vendor if UPSTREAM has a host name of the vendor's registry. Otherwise, at a host of all registries, it
// is one of the vendor, unless the path names an account and a region.
//
// Errors: fault.AccessDenied (the path has another application, or a registry that is not shared with it), fault.NameInvalid.
func (a *API) customersTarget(q *request) error {
	text, proxied := strings.CutPrefix(q.repo.String(), proxyPath)
	if !proxied {
		if q.host.Kind == endpoint.Any && q.target.name == q.repo.String() {
			q.reg.Account = q.caller.Account
		}
		return nil
	}
	def := name.Registry{Account: q.caller.Account, Region: a.hosts.Default().Region}
	q.reg = def
	slug, rest, _ := strings.Cut(text, "/")
	if slug != q.caller.Slug() {
		return fault.AccessDenied.New("the licence is not one of the application %s", name.Clip(slug))
	}
	up, err := a.shared.Upstream(q.r.Context(), q.caller.Account, q.caller.Application, rest)
	if errors.Is(err, integration.ErrNoIntegration) { // a name of AWS may be that of an integration, and of the own registry too
		if own, ok, err2 := a.vendor.Own(q.r.Context(), q.caller.Account, def, q.host, rest); ok {
			q.reg, q.repo, q.own = own.Registry, own.Repo, true
			return err2
		}
	}
	if err != nil {
		return err
	}
	q.up = up
	q.repo, err = up.Repository()
	return err
}

// atHost checks that a customer is one of the application that has the host of the request, if one has.
//
// Errors: fault.AccessDenied.
func (q *request) atHost() error {
	if q.alias.Application == "" || q.alias.Application == q.caller.Application {
		return nil
	}
	return fault.AccessDenied.New("the licence is not one of the application of the host %s", q.alias.Host)
}

// known returns the name of the repository by which decisions and releases know it.
func (q *request) known() string {
	if q.up != nil {
		return q.up.Name()
	}
	return q.repo.String()
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
			if one, err = a.ofSubject(q, one); err != nil {
				return ask, err
			}
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
