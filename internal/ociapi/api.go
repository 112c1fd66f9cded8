// Package ociapi is the OCI distribution API, version 1.1, under /v2/: the door for docker and its kin.
package ociapi

import (
	"errors"
	"net/http"

	"github.com/ecrin-dev/ecrin/internal/endpoint"
	"github.com/ecrin-dev/ecrin/internal/fault"
	"github.com/ecrin-dev/ecrin/internal/identity"
	"github.com/ecrin-dev/ecrin/internal/meta"
	"github.com/ecrin-dev/ecrin/internal/name"
	"github.com/ecrin-dev/ecrin/internal/registry"
	"github.com/ecrin-dev/ecrin/internal/web"
)

// API answers requests under /v2/ and /layers/. Safe for concurrent use.
type API struct {
	registry *registry.Service
	identity *identity.Service
	hosts    *endpoint.Map
	links    *LayerLinks
	quirks   registry.Quirks
	uploads  limiter
}

// New makes the door.
func New(r *registry.Service, id *identity.Service, hosts *endpoint.Map, links *LayerLinks) *API {
	return &API{registry: r, identity: id, hosts: hosts, links: links, quirks: r.Quirks(), uploads: limiter{most: uploadsPerPrincipal}}
}

// request is one parsed and identified request.
type request struct {
	w      http.ResponseWriter
	r      *http.Request
	ev     *web.Event
	target target
	host   endpoint.Host
	caller identity.Caller
	reg    name.Registry
	repo   name.Repo
	found  meta.Repository // set for operations that need it to exist
}

// Handle answers one request.
func (a *API) Handle(w http.ResponseWriter, r *http.Request, ev *web.Event) {
	ev.Door = "oci"
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	if err := a.serve(w, r, ev); err != nil {
		a.refuse(w, r, ev, err)
	}
}

// refuse notes why a request failed and answers it. Work that was given up because the client went away is no failure
// of the server.
func (a *API) refuse(w http.ResponseWriter, r *http.Request, ev *web.Event, err error) {
	if web.Gone(r.Context(), err) && fault.From(err).Code == fault.Internal {
		err = fault.RequestTimeout.New("the client went away").Because(err)
	}
	ev.Err = err
	a.fail(w, r, fault.From(err))
}

// serve goes the way of every request: host, caller, operation, right, repository, work.
func (a *API) serve(w http.ResponseWriter, r *http.Request, ev *web.Event) error {
	host, err := a.hosts.Parse(r.Host)
	if err != nil {
		return err
	}
	q := &request{w: w, r: r, ev: ev, host: host, reg: a.hosts.Base(host)}
	var parseErr error
	q.target, parseErr = parsePath(r.URL.Path)
	if parseErr == nil && q.target.route.named() {
		q.reg, q.repo, parseErr = a.hosts.Resolve(host, q.target.name)
		if q.reg == (name.Registry{}) {
			q.reg = a.hosts.Base(host)
		}
	}
	if parseErr == nil {
		ev.Operation = nameOf(r.Method, q.target.route) // also for requests that are refused
	}
	// Without credentials nothing is told, not even that a path does not exist.
	region := q.reg.Region
	if parseErr == nil && q.target.route == routeBase && host.Kind == endpoint.Any {
		region = name.Region{} // the login of a host that serves all regions: each repository asks for its own
	}
	if q.caller, err = a.caller(r, region); err != nil {
		return err
	}
	ev.Caller = q.caller.ARN
	if parseErr != nil {
		return parseErr
	}
	op, err := operationOf(r.Method, q.target.route, w.Header())
	if err != nil {
		return err
	}
	if err := a.allow(q, op); err != nil {
		return err
	}
	if op.needs != nothing {
		if q.found, err = a.find(q, op.needs); err != nil {
			return err
		}
	}
	return op.serve(a, q)
}

// caller reads the docker token from Basic credentials with the user name AWS.
// Errors: fault.MissingCredentials, and those of identity.Service.TokenCaller.
func (a *API) caller(r *http.Request, region name.Region) (identity.Caller, error) {
	user, password, ok := r.BasicAuth()
	if !ok || user != "AWS" {
		return identity.Caller{}, fault.MissingCredentials.New("Not Authorized")
	}
	return a.identity.TokenCaller(r.Context(), password, region)
}

func (a *API) find(q *request, n need) (meta.Repository, error) {
	if n == pushable {
		return a.registry.RepositoryToPush(q.r.Context(), q.caller, q.reg, q.repo)
	}
	return a.registry.Repository(q.r.Context(), q.reg, q.repo)
}

// allow asks for every right of the operation; of rights joined by anyOf one is enough.
func (a *API) allow(q *request, op *operation) error {
	access := identity.Access{Account: q.reg.Account, Resource: "*"}
	switch op.on {
	case onRepository:
		access.Resource = q.reg.RepositoryARN(q.repo.String())
	case onAllRepositories:
		access.Resource = q.reg.RepositoryARN("*")
	}
	q.ev.Resource = access.Resource
	for _, alternatives := range op.actions {
		var denied error
		for _, action := range alternatives {
			access.Action = action
			err := identity.Authorize(q.caller, access)
			if q.ev.Action == "" || err == nil {
				q.ev.Action = action
			}
			denied = errors.Join(denied, err)
			if err == nil {
				denied = nil
				break
			}
		}
		if denied != nil {
			return denied
		}
	}
	return nil
}

// also asks for one more right on the request's repository, where the operation turns out to need it.
func (a *API) also(q *request, action string) error {
	return identity.Authorize(q.caller, identity.Access{Action: action, Account: q.reg.Account, Resource: q.reg.RepositoryARN(q.repo.String())})
}
