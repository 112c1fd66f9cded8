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
	"github.com/ecrin-dev/ecrin/internal/policy"
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

	anonymous bool // clients without credentials are let in, as far as policies allow
	encode    func(policy.Request, policy.Why) string
}

// Options are what New needs.
type Options struct {
	Registry  *registry.Service
	Identity  *identity.Service
	Hosts     *endpoint.Map
	Links     *LayerLinks
	Anonymous bool // let clients without credentials in, as far as policies allow
	// Encode makes the message that DecodeAuthorizationMessage reads of a denial.
	Encode func(policy.Request, policy.Why) string
}

// New makes the door.
func New(o Options) *API {
	return &API{
		registry: o.Registry, identity: o.Identity, hosts: o.Hosts, links: o.Links, quirks: o.Registry.Quirks(),
		uploads: limiter{most: uploadsPerPrincipal}, anonymous: o.Anonymous, encode: o.Encode,
	}
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
	body   []byte          // of a manifest that is put, once it is read
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
	var denial *identity.Denial
	if errors.As(err, &denial) {
		w.Header().Set(web.MessageHeader, a.encode(denial.Request, denial.Why))
	}
	w.Header().Set(web.RequestIDHeader, ev.RequestID)
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
	if q.caller, err = a.caller(r, region, q.target.route); err != nil {
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
	q.decides(op)
	if err := a.allow(q, op); err != nil {
		return q.challenged(err)
	}
	if op.needs != nothing {
		if q.found, err = a.find(q, op.needs); err != nil {
			return err
		}
	}
	return op.serve(a, q)
}

// caller reads the docker token from Basic credentials with the user name AWS. Where clients without any are let in, they
// are anonymous on all routes but /v2/ itself, whose challenge tells clients with credentials how to send them.
// Errors: fault.MissingCredentials, and those of identity.Service.TokenCaller.
func (a *API) caller(r *http.Request, region name.Region, route route) (identity.Caller, error) {
	user, password, ok := r.BasicAuth()
	none := len(r.Header.Values("Authorization")) == 0 ||
		ok && user == "" && password == "" // what skopeo, podman and buildah send without credentials
	if none && a.anonymous && route != routeBase {
		return identity.Caller{Kind: identity.Anonymous, UserID: "anonymous"}, nil
	}
	if !ok || user != "AWS" {
		return identity.Caller{}, fault.MissingCredentials.New("Not Authorized")
	}
	return a.identity.TokenCaller(r.Context(), password, region)
}

func (a *API) find(q *request, n need) (meta.Repository, error) {
	if n == pushable {
		return a.registry.RepositoryToPush(q.r.Context(), q.reg, q.repo, func() error { return a.also(q, "ecr:CreateRepository") })
	}
	return a.registry.Repository(q.r.Context(), q.reg, q.repo)
}

// allow asks for every right of the operation; of rights joined by anyOf one is enough.
func (a *API) allow(q *request, op *operation) error {
	access := q.access("")
	switch op.on {
	case onNothing:
		access.Resource, access.Repository = "*", name.Repo{}
	case onAllRepositories:
		access.Resource, access.Repository = q.reg.RepositoryARN("*"), name.Repo{}
	case onImage:
		ref, err := name.ParseReference(q.target.reference)
		if err == nil { // otherwise the operation says what is wrong with it
			access.Image = identity.Image{Reference: ref, Stored: op.method != http.MethodPut, Whole: op.method == http.MethodDelete}
		}
	}
	q.ev.Resource = access.Resource
	for _, im := range q.images(access.Image) {
		access.Image = im
		if err := a.allowAll(q, op, access); err != nil {
			return err
		}
	}
	return nil
}

// images are what a request names: one image, or for a push by digest that brings tags one for each tag.
func (q *request) images(named identity.Image) []identity.Image {
	all := []identity.Image{named}
	if q.r.Method != http.MethodPut || q.target.route != routeManifest {
		return all
	}
	tags := q.r.URL.Query()["tag"]
	for _, text := range tags[:min(len(tags), mostPushTags)] { // more are refused before anything is put
		if tag, err := name.ParseTag(text); err == nil {
			im := named
			im.Tag = tag
			all = append(all, im)
		}
	}
	if len(all) > 1 && named.Tag == (name.Tag{}) {
		all = all[1:]
	}
	return all
}

// allowAll asks for every right of the operation on one access.
func (a *API) allowAll(q *request, op *operation, access identity.Access) error {
	for _, alternatives := range op.actions {
		var denied error
		for _, action := range alternatives {
			access.Action = action
			err := a.identity.Authorize(q.r.Context(), q.caller, access)
			if q.ev.Action == "" || err == nil {
				q.ev.Action = action
			}
			if denied = err; err == nil || !errors.Is(err, fault.AccessDenied) {
				break
			}
		}
		if denied != nil {
			return denied
		}
	}
	return nil
}

// access is what an action on the request's repository needs.
func (q *request) access(action string) identity.Access {
	return identity.Access{
		Action: action, Account: q.reg.Account, Region: q.reg.Region, Resource: q.reg.RepositoryARN(q.repo.String()), Repository: q.repo,
		From: originOf(q.r, q.ev),
	}
}

func originOf(r *http.Request, ev *web.Event) identity.Origin {
	return identity.Origin{SourceIP: ev.From, Secure: ev.Secure, UserAgent: r.UserAgent(), Referer: r.Referer()}
}

// also asks for one more right on the request's repository, where the operation turns out to need it.
func (a *API) also(q *request, action string) error {
	return q.challenged(a.identity.Authorize(q.r.Context(), q.caller, q.access(action)))
}

// challenged turns the denial of a caller without credentials into the challenge: with some it may be allowed.
func (q *request) challenged(err error) error {
	if q.caller.Kind == identity.Anonymous && errors.Is(err, fault.AccessDenied) {
		return fault.MissingCredentials.New("Not Authorized").Because(err)
	}
	return err
}
