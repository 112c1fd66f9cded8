package ociapi

import (
	"net/http"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/rule/access"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// withMissed returns the error of a denial to a customer with what its entitlements lack for the image. The sentence of the decision stays
// the first one. HEAD has no body that could say it.
func (a *API) withMissed(q *request, e *fault.Error, d *guard.Denial) *fault.Error {
	_, repository, found := strings.Cut(d.Request.Resource, ":repository/")
	if a.vendor == nil || !found || q.r.Method == http.MethodHead {
		return e
	}
	missed, err := a.vendor.Missed(q.r.Context(), q.caller, repository)
	if err != nil {
		return e
	}
	said := *e
	said.Public += "; " + missed
	return &said
}

// withAddress returns the error of a denial with the address at which the caller can ask for access, if a grant would allow the request,
// the caller is one that can ask, and no policy denies it to ask. The address names only what the request has named: it does not tell
// whether the repository exists, and nothing is stored for it. The error is not changed: it belongs to the event of the request.
func (a *API) withAddress(q *request, e *fault.Error, d *guard.Denial) *fault.Error {
	switch q.caller.Kind {
	case identity.User, identity.RoleSession, identity.Root:
	default:
		return e
	}
	to := access.Address{Permission: access.For(d.Request.Action), Registry: q.reg, Repository: q.repo}
	if to.Permission == "" || to.Repository == (name.Repo{}) || !d.Why.ByResource() {
		return e
	}
	allowed, lacking, err := a.guard.Lacking(q.r.Context(), q.caller, q.ev.From, guard.Ask{Action: access.Action,
		Owner: guard.OwnedBy(q.reg.Account), Region: q.reg.Region, Resource: q.reg.RepositoryARN(q.repo.String())})
	if err != nil || !allowed && !lacking {
		return e
	}
	asked := *e
	asked.Fields = map[string]any{}
	for k, v := range e.Fields {
		asked.Fields[k] = v
	}
	asked.Public += "; ask the owner for it: ecrin access request " + to.String()
	return asked.With("accessRequest", to.String())
}
