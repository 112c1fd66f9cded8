// Package ociapi serves the OCI distribution API, version 1.1, under /v2/, and signed links to layers under /layers/.
// Its clients are docker and other registry clients.
//
// The steps of every request are: parse path and host, authenticate the caller, find the row of the operation table,
// resolve the target once, decide, and call the function of the row with the resolved target.
package ociapi

import (
	"cmp"
	"context"
	"errors"
	"net/http"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/integration"
	"github.com/ecrin-dev/ecrin/internal/core/pullthrough"
	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/core/usage"
	"github.com/ecrin-dev/ecrin/internal/core/vendor"
	"github.com/ecrin-dev/ecrin/internal/door/web"
	"github.com/ecrin-dev/ecrin/internal/rule/endpoint"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/store/spool"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// API serves requests under /v2/ and /layers/. It is safe for concurrent use.
type API struct {
	registry *registry.Service
	pull     *pullthrough.Service
	shared   *integration.Service
	vendor   *vendor.Service
	identity *identity.Service
	guard    *guard.Guard
	trail    Trail
	hosts    *endpoint.Map
	links    *LayerLinks
	quirks   registry.Quirks
	uploads  limiter
	passes   limiter
	rates    *web.Rates

	spool     *spool.Spool
	manifests *web.Places // for large manifests that are pulled
	pushes    *web.Places // for large manifests that are pushed

	charts      Charts // nil for none
	chartPlaces *web.Places

	anonymous bool // requests without credentials are admitted where policies allow them
	asking    bool // denials have the address at which access is asked for
	encode    func(policy.Request, policy.Why) string
}

// Trail writes the audit trail.
type Trail interface {
	// Begin returns the context for a request. The transaction of the first change made with it also inserts the line
	// of the request.
	Begin(ctx context.Context, ev *guard.Event) context.Context
	// End writes the line of a request that has ended, unless the transaction of a change has inserted it.
	End(ctx context.Context, ev *guard.Event)
}

// Options holds the parameters of New.
type Options struct {
	Registry *registry.Service
	// PullThrough brings images of other registries; nil for none.
	PullThrough *pullthrough.Service
	// Integrations and Vendor serve customers; nil for none, who then get nothing by the proxy.
	Integrations *integration.Service
	Vendor       *vendor.Service
	// Rates limit the requests of customers, with those at other doors; nil for no limit.
	Rates     *web.Rates
	Identity  *identity.Service
	Guard     *guard.Guard
	Trail     Trail
	Hosts     *endpoint.Map
	Links     *LayerLinks
	Spool     *spool.Spool // for large manifests, while they arrive and while they are sent
	Pushes    *web.Places  // for manifests that are pushed, shared with the other APIs; nil for places of its own
	Charts    Charts       // of customers; nil for none
	Anonymous bool         // admit requests without credentials where policies allow them
	Asking    bool         // add to denials the address at which access is asked for
	// Encode returns the encoded message of a denial, the input of DecodeAuthorizationMessage.
	Encode func(policy.Request, policy.Why) string
}

// New returns an API.
func New(o Options) *API {
	return &API{
		registry: o.Registry, pull: o.PullThrough, shared: o.Integrations, vendor: o.Vendor, identity: o.Identity, guard: o.Guard,
		trail: o.Trail, hosts: o.Hosts, links: o.Links, quirks: o.Registry.Quirks(),
		spool: o.Spool, manifests: web.NewPlaces(maxLargeManifests, maxManifestsWaiting, maxManifestWait),
		pushes: cmp.Or(o.Pushes, web.ManifestPlaces()),
		charts: o.Charts, chartPlaces: chartPlaces(),
		uploads: limiter{max: maxUploadsPerPrincipal}, passes: limiter{max: maxPassesPerCustomer},
		rates: o.Rates, anonymous: o.Anonymous, asking: o.Asking, encode: o.Encode,
	}
}

// request is one request: what was parsed of it, its caller, and its target as it was resolved for the decision.
type request struct {
	w      http.ResponseWriter
	r      *http.Request
	ev     *web.Event
	target target
	host   endpoint.Host
	alias  vendor.Host // that of an application, of which the host is; zero for none
	caller identity.Caller
	bearer bool // the credentials are a Bearer token
	reg    name.Registry
	repo   name.Repo
	up     *integration.Upstream // of a customer who pulls by the proxy; nil for all others

	found    registry.Repository   // ID 0 if it does not exist
	absent   error                 // error of a repository or image that does not exist; returned after the decision
	brought  bool                  // a rule has brought the image, or compared its tag, for this request
	creates  bool                  // the push creates the repository
	head     registry.ManifestHead // of a stored image
	deletion registry.Deletion     // of an image to be deleted
	chart    vendor.ChartSource    // of a customer that reads a chart
	kind     usage.PullKind        // of a customer's request; "" until it is known
	own      bool                  // a customer's path of the proxy names a repository of the vendor
	listed   []string              // what a customer may see of a list
	body     []byte                // of a manifest push, after it was read
	asks     [1]guard.Ask          // backing array for the ask of most requests, to save an allocation
}

// Handle serves one request under /v2/.
func (a *API) Handle(w http.ResponseWriter, r *http.Request, ev *web.Event) {
	ev.Door = "oci"
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	a.handle(w, r, ev, a.parse)
}

// HandleLink serves one request under /layers/.
func (a *API) HandleLink(w http.ResponseWriter, r *http.Request, ev *web.Event) {
	ev.Door = "oci"
	a.handle(w, r, ev, a.parseLink)
}

// handle serves a request and records it in the audit trail. parse parses it and finds its operation.
func (a *API) handle(w http.ResponseWriter, r *http.Request, ev *web.Event, parse func(*request) (*operation, error)) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		r = r.WithContext(a.trail.Begin(r.Context(), &ev.Event))
	}
	finished, q := false, &request{w: w, r: r, ev: ev}
	defer func() {
		if !finished && ev.Err == nil {
			ev.Err = errors.New("panic")
		}
		a.notePull(q, !finished)
		a.trail.End(r.Context(), &ev.Event)
	}()
	op, err := parse(q)
	if err == nil {
		err = a.guard.Settled(r.Context(), func() error { return a.serve(q, op) })
	}
	if err != nil {
		a.refuse(q, q.challenged(err))
	}
	finished = true
}

// Refuse answers a request with err.
func (a *API) Refuse(w http.ResponseWriter, r *http.Request, ev *web.Event, err error) {
	ev.Door = "oci"
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	a.refuse(&request{w: w, r: r, ev: ev}, err)
}

// refuse sets the error of the event and answers the request with it. If the request failed because the client
// disconnected, the error is fault.RequestTimeout, not an internal error.
func (a *API) refuse(q *request, err error) {
	if web.Gone(q.r.Context(), err) && fault.From(err).Code == fault.Internal {
		err = fault.RequestTimeout.New("the client disconnected").Because(err)
	}
	q.ev.Err = err
	var denial *guard.Denial
	if errors.As(err, &denial) {
		q.w.Header().Set(web.MessageHeader, a.encode(denial.Request, denial.Why))
	}
	q.w.Header().Set(web.RequestIDHeader, q.ev.RequestID)
	e := web.FaultOf(err)
	if a.anonymous && (e.Code == fault.MissingCredentials || e.Code == fault.IncompleteSignature) {
		challenge(q.w, q.r, q.bearerChallenge())
		return
	}
	if denial != nil && q.caller.Kind == identity.Customer {
		e = a.withMissed(q, e, denial)
	} else if denial != nil && a.asking {
		e = a.withAddress(q, e, denial)
	}
	a.fail(q.w, q.r, e)
}

// parse parses host and path, authenticates the caller, and finds the operation.
func (a *API) parse(q *request) (*operation, error) {
	var err error
	if q.host, err = a.hosts.Parse(q.r.Host); err != nil {
		return nil, err
	}
	q.reg = a.hosts.Base(q.host)
	if q.host.Kind == endpoint.Any && a.vendor != nil {
		if q.alias, _, err = a.vendor.HostOf(q.r.Context(), q.r.Host); err != nil {
			return nil, err
		}
	}
	var parseErr error
	q.target, parseErr = parsePath(q.r.URL.Path)
	if q.target.route == routeToken && !a.anonymous && !identity.IsCustomerPassword(credentialsOf(q.r, true).password) {
		q.target, parseErr = target{}, fault.UnknownOperation.New("no such path")
	}
	if parseErr == nil && q.target.route.named() {
		q.reg, q.repo, parseErr = a.hosts.Resolve(q.host, q.target.name)
		if q.reg == (name.Registry{}) {
			q.reg = a.hosts.Base(q.host)
		}
	}
	if q.alias.Application != "" && (!q.target.route.named() || q.target.name == q.repo.String()) { // the path names no account
		q.reg.Account = q.alias.Account
	}
	if parseErr == nil {
		q.ev.Operation = nameOf(q.r.Method, q.target.route) // also for requests that are refused
	}
	// The caller is authenticated before parseErr is returned: without credentials the answer does not reveal whether a
	// path exists.
	region := q.reg.Region
	if parseErr == nil && (q.target.route == routeBase || q.target.route == routeToken) && q.host.Kind == endpoint.Any {
		region = name.Region{} // a login at a host for all regions: the region is checked for each repository
	}
	if q.caller, err = a.caller(q, region); err != nil {
		return nil, err
	}
	q.ev.Identify(q.caller)
	if q.caller.Kind == identity.Customer {
		a.identity.CustomerUsed(q.caller, q.ev.From.SourceIP.String())
		if err := a.rates.Take(q.caller.UserID); err != nil {
			return nil, err
		}
	}
	if parseErr != nil {
		return nil, parseErr
	}
	if q.caller.Kind == identity.Customer {
		err := q.atHost()
		if err == nil && q.target.route.named() {
			err = a.customersTarget(q)
		}
		if err != nil {
			if op, unknown := operationOf(q.r.Method, q.target.route, http.Header{}); unknown == nil && op.event != "" {
				q.describe(op) // so that the refusal has a line in the audit trail
			}
			return nil, err
		}
	}
	if op, err := a.chartOperation(q); op != nil || err != nil {
		return op, err
	}
	return operationOf(q.r.Method, q.target.route, q.w.Header())
}

// serve resolves the target of a request, decides, and calls the function of the operation.
func (a *API) serve(q *request, op *operation) error {
	if op.event == "" {
		return op.serve(a, q)
	}
	q.describe(op)
	asks, err := a.resolve(q, op)
	if err != nil {
		return err
	}
	if err := a.guard.Decide(q.r.Context(), q.caller, q.ev.From, &q.ev.Record, asks...); err != nil {
		return err
	}
	if q.creates {
		return a.registry.CreateForPush(q.r.Context(), q.reg, q.repo)
	}
	if op.on == onImage {
		if err := a.bring(q); err != nil {
			return err
		}
	}
	if q.absent != nil {
		return q.missing(op)
	}
	return op.serve(a, q)
}

// missing returns the error of a repository or image that does not exist. For a push to a missing repository it has the command that
// creates the repository, as the detail of the error: the message is that of ECR, which docker shows alone; helm, oras and crane show the
// detail too.
func (q *request) missing(op *operation) error {
	var e *fault.Error
	if op.needs == pushable && errors.As(q.absent, &e) && e.Code == fault.RepositoryNotFound {
		return e.With("create", "aws ecr create-repository --repository-name "+q.repo.String()+" --region "+q.reg.Region.String())
	}
	if q.up != nil && errors.As(q.absent, &e) && e.Code == fault.RepositoryNotFound { // its name is that of where it is stored
		return fault.RepositoryNotFound.New("nothing of the image %s was fetched yet: pull its manifest", q.target.name)
	}
	return q.absent
}

// resolve resolves the target of a request and returns the asks that must be allowed.
func (a *API) resolve(q *request, op *operation) ([]guard.Ask, error) {
	q.found, q.absent, q.creates, q.head, q.deletion = registry.Repository{}, nil, false, registry.ManifestHead{}, registry.Deletion{}
	ask := guard.Ask{
		Action: op.action, Or: op.or, Owner: guard.OwnedBy(q.reg.Account), Region: q.reg.Region, Resource: q.reg.RepositoryARN(q.known()),
	}
	if op.on == onAllRepositories {
		ask.Resource = q.reg.RepositoryARN("*")
		if q.caller.Kind == identity.Customer {
			return a.customersCatalog(q, ask)
		}
		return []guard.Ask{ask}, nil
	}
	var err error
	q.found, err = a.registry.Repository(q.r.Context(), q.reg, q.repo)
	if errors.Is(err, fault.RepositoryNotFound) {
		q.absent, err = err, nil
	}
	if err != nil {
		return nil, err
	}
	if q.absent == nil {
		ask.Repository = &q.found
	}
	if q.caller.Kind == identity.Customer && q.target.route == routeBlob {
		if ask, err = a.ofLayer(q, ask); err != nil {
			return nil, err
		}
	}
	if q.caller.Kind == identity.Customer && q.target.route == routeTags {
		return a.customersTags(q, ask)
	}
	asks := append(q.asks[:0], ask)
	switch op.on {
	case onImage, onDeletedImage, onSubject:
		if asks, err = a.resolveImage(q, op, ask); err == nil {
			asks, err = a.withSubject(q, asks)
		}
	case onNewImage:
		asks = q.newImages(ask)
	}
	if err != nil {
		return nil, err
	}
	if op.also != nil {
		for _, action := range op.also(q) {
			asks = append(asks, q.andAlso(ask, action))
		}
	}
	if op.needs == possible && !a.quirks.Referrers404 {
		q.absent = nil
	}
	if q.absent != nil && op.needs == pushable {
		return a.creation(q, asks)
	}
	return asks, nil
}

// creation returns the asks of a push to a repository that does not exist. If a template applies to it, the push creates the repository.
func (a *API) creation(q *request, asks []guard.Ask) ([]guard.Ask, error) {
	template, err := a.registry.TemplateFor(q.r.Context(), q.reg, q.repo, registry.ForPush)
	if errors.Is(err, fault.TemplateNotFound) {
		return asks, nil
	}
	if err != nil {
		return nil, err
	}
	q.absent = template.Check(q.repo)
	q.creates = q.absent == nil
	made := template.Repository(q.reg, q.repo)
	return guard.ForCreation(asks, &made, template.Tags), nil
}

// andAlso returns an ask for another action on the same repository.
func (q *request) andAlso(ask guard.Ask, action string) guard.Ask {
	ask.Action, ask.Or, ask.Image = action, "", guard.Image{}
	return ask
}

// resolveImage resolves the stored image that a request names and returns the asks. If it does not exist, absent is
// set.
func (a *API) resolveImage(q *request, op *operation, ask guard.Ask) ([]guard.Ask, error) {
	ref, err := name.ParseReference(q.target.reference)
	if err != nil { // the function of the operation returns the error after the decision
		return append(q.asks[:0], ask), nil
	}
	ask.Image = guard.Image{Reference: ref, Stored: true}
	if q.found.ID == 0 || op.on == onSubject {
		return append(q.asks[:0], ask), nil
	}
	ctx := q.r.Context()
	if op.on == onImage {
		q.head, err = a.registry.Head(ctx, q.found, ref)
	} else if q.deletion, err = a.registry.DeletionOf(ctx, q.found, ref, registry.LastTagKeepsImage); err == nil {
		q.head.Digest = q.deletion.Digest
	}
	if errors.Is(err, fault.ImageNotFound) {
		q.absent, err = err, nil
	}
	if err != nil {
		return nil, err
	}
	if q.absent == nil {
		ask.Image.Digest = q.head.Digest
	}
	if len(q.deletion.Tags) > 0 {
		return guard.ForDeletion(ask, q.deletion.Tags), nil
	}
	return append(q.asks[:0], ask), nil
}

// newImages returns the ask for the image that a push stores; for a push by digest with tags in the query one ask for
// each tag.
func (q *request) newImages(ask guard.Ask) []guard.Ask {
	if ref, err := name.ParseReference(q.target.reference); err == nil { // otherwise the operation returns the error
		ask.Image.Reference = ref
	}
	asks := []guard.Ask{ask}
	tags := q.r.URL.Query()["tag"]
	for _, text := range tags[:min(len(tags), maxPushTags)] { // a push with more tags is refused
		if tag, err := name.ParseTag(text); err == nil {
			one := ask
			one.Image.Tag = tag
			asks = append(asks, one)
		}
	}
	if len(asks) > 1 && ask.Image.Tag == (name.Tag{}) {
		asks = asks[1:]
	}
	return asks
}
