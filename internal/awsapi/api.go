// Package awsapi is the AWS door: the ECR API (JSON 1.1), STS (query protocol), and ecrin's own operations, all signed.
package awsapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/audit"
	"github.com/ecrin-dev/ecrin/internal/awswire"
	"github.com/ecrin-dev/ecrin/internal/endpoint"
	"github.com/ecrin-dev/ecrin/internal/fault"
	"github.com/ecrin-dev/ecrin/internal/iam"
	"github.com/ecrin-dev/ecrin/internal/identity"
	"github.com/ecrin-dev/ecrin/internal/name"
	"github.com/ecrin-dev/ecrin/internal/registry"
	"github.com/ecrin-dev/ecrin/internal/sigv4"
	"github.com/ecrin-dev/ecrin/internal/sts"
	"github.com/ecrin-dev/ecrin/internal/web"
)

// API answers signed requests. Safe for concurrent use.
type API struct {
	registry *registry.Service
	identity *identity.Service
	iam      *iam.Service
	sts      *sts.Service
	trail    Trail
	hosts    *endpoint.Map
	links    Links
	pages    func(data []byte) []byte
	now      func() time.Time
	large    chan struct{}
}

// Links makes direct addresses of layers.
type Links interface {
	Make(c identity.Caller, reg name.Registry, repo name.Repo, d name.Digest) string
}

// Trail is the audit trail, for those who read it.
type Trail interface {
	// Search gives lines, after all that has happened until now is in them.
	Search(ctx context.Context, q audit.Query, cursor string, limit int) (audit.Page, error)
}

// Options are what New needs.
type Options struct {
	Registry *registry.Service
	Identity *identity.Service
	IAM      *iam.Service
	STS      *sts.Service
	Trail    Trail
	Hosts    *endpoint.Map
	Links    Links
	PageMAC  func(data []byte) []byte // authenticates page tokens
	Now      func() time.Time
}

// largeBodies is how many requests with layer parts or manifests are held in memory at once; more wait.
const largeBodies = 6

// New makes the door.
func New(o Options) *API {
	return &API{registry: o.Registry, identity: o.Identity, iam: o.IAM, sts: o.STS, trail: o.Trail, hosts: o.Hosts, links: o.Links, pages: o.PageMAC, now: o.Now, large: make(chan struct{}, largeBodies)}
}

// call is one authenticated request, as operations see it.
type call struct {
	ctx    context.Context
	caller identity.Caller
	host   endpoint.Host
	region name.Region
	secure bool // came by TLS
	ev     *web.Event
	r      *http.Request // for its headers

	vouched []identity.Access // of a caller that an identity provider vouches for
	decided []identity.Access // what the operation needed, all of it allowed
}

// own is the registry of the caller's account in the call's region.
func (c *call) own() name.Registry {
	return name.Registry{Account: c.caller.Account, Region: c.region}
}

func (c *call) origin() identity.Origin {
	return identity.Origin{SourceIP: c.ev.From, Secure: c.ev.Secure, UserAgent: c.r.UserAgent(), Referer: c.r.Referer()}
}

// exchange is a request on its way to an operation.
type exchange struct {
	w       http.ResponseWriter
	r       *http.Request
	ev      *web.Event
	service *service
	op      *operation // nil before it is known
	release func()
}

// Handle answers one request.
func (a *API) Handle(w http.ResponseWriter, r *http.Request, ev *web.Event) {
	x := &exchange{w: w, r: r, ev: ev, service: guessService(r), release: func() {}}
	defer func() { x.release() }()
	ev.Door = x.service.wire.Name
	w.Header()[web.RequestIDHeader] = []string{ev.RequestID}
	out, err := a.serve(x)
	if err == nil {
		err = x.service.answer(x, out)
	}
	if err != nil {
		ev.Err = err
		var denial *identity.Denial
		if errors.As(err, &denial) {
			w.Header().Set(web.MessageHeader, a.sts.Encode(denial.Request, denial.Why))
		}
		x.service.fail(x, fault.From(err))
	}
}

// guessService tells, before anything is verified, which API's form the answer should have.
func guessService(r *http.Request) *service {
	target := r.Header.Get("X-Amz-Target")
	for _, s := range services {
		if s.wire.TargetPrefix != "" && strings.HasPrefix(target, s.wire.TargetPrefix+".") {
			return s
		}
	}
	if target == "" && !strings.Contains(r.Header.Get("Content-Type"), "amz-json") {
		return stsService
	}
	return ecrService
}

func (a *API) serve(x *exchange) (any, error) {
	r := x.r
	host, err := a.hosts.Parse(r.Host)
	if err != nil {
		return nil, err
	}
	if r.URL.Path != "/" && r.URL.Path != "" || r.Method != http.MethodPost && r.Method != http.MethodGet {
		return nil, fault.UnknownOperation.New("%s %s is no operation of any API here; the registry's paths start with /v2/", r.Method, name.Clip(r.URL.Path))
	}
	sig, err := sigv4.Parse(r)
	if errors.Is(err, fault.MissingCredentials) {
		return a.serveUnsigned(x, host, err)
	}
	if err != nil {
		return nil, err
	}
	if err := x.settle(host, sig); err != nil {
		return nil, err
	}
	region, err := regionOf(host, sig)
	if err != nil {
		return nil, err
	}
	// Before a large body takes a place: whoever has no key at all shall hold none.
	if err := a.identity.Known(r.Context(), sig); err != nil {
		return nil, err
	}
	body, err := a.body(x)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(body)
	caller, _, err := a.identity.Authenticate(r.Context(), r, hex.EncodeToString(sum[:]))
	if err != nil {
		return nil, err
	}
	in, err := a.input(x, body)
	if err != nil {
		return nil, err
	}
	c := &call{caller: caller, host: host, region: region}
	if x.op.as != nil { // what proves the caller of such an operation is in the request; a signature beside it is ignored
		c.prepare(x)
		if c.caller, err = x.op.as(a, c, in); err != nil {
			return nil, err
		}
	}
	return a.act(x, c, in)
}

// serveUnsigned answers the operations that carry their own proof of who calls; every other request without a signature is
// refused as one that lacks it. Source: STS API reference, AssumeRoleWithWebIdentity.
func (a *API) serveUnsigned(x *exchange, host endpoint.Host, missing error) (any, error) {
	if x.service != stsService || host.Kind != endpoint.Any && host.Kind != stsService.host {
		return nil, missing
	}
	body, err := a.body(x)
	if err != nil {
		return nil, err
	}
	form, err := formOf(x.r, body)
	if err != nil {
		return nil, missing
	}
	if op := stsService.operations[form.Get("Action")]; op == nil || op.as == nil {
		return nil, missing
	}
	in, err := a.input(x, body)
	if err != nil {
		return nil, err
	}
	region := host.Registry.Region
	if region == (name.Region{}) {
		region = a.hosts.Default().Region
	}
	c := &call{host: host, region: region}
	c.prepare(x)
	if c.caller, err = x.op.as(a, c, in); err != nil {
		return nil, err
	}
	return a.act(x, c, in)
}

// input reads and checks the request of an operation.
func (a *API) input(x *exchange, body []byte) (awswire.Input, error) {
	in, err := x.service.read(a, x, body)
	if err == nil {
		err = in.Validate()
	}
	var broken *awswire.Violation
	if x.service.wire.Protocol == "query" && errors.As(err, &broken) {
		err = fault.Validation.New("1 validation error detected: Value at '%s' failed to satisfy constraint: %s", lower(broken.Member), broken.Reason).Because(err)
	}
	return in, err
}

// act decides and runs the operation.
func (a *API) act(x *exchange, c *call, in awswire.Input) (any, error) {
	c.prepare(x)
	x.ev.Caller = c.caller.ARN
	c.decides(x, in)
	if err := a.allow(c, x.op, in); err != nil {
		return nil, err
	}
	return x.op.run(a, c, in)
}

func (c *call) prepare(x *exchange) {
	c.ctx, c.secure, c.ev, c.r = x.r.Context(), x.ev.Secure, x.ev, x.r
}

// allow asks for the operation's right on everything that it names.
func (a *API) allow(c *call, op *operation, in awswire.Input) error {
	all, err := op.on(a, c, in)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return fmt.Errorf("awsapi: %s names nothing to decide on", op.wire.Name) // not even its caller
	}
	for i, access := range all {
		if access.Action == "" {
			access.Action = op.action
		}
		access.From = c.origin()
		if i == 0 {
			c.ev.Action, c.ev.Resource, c.ev.Decided.Owner = access.Action, access.Resource, access.Account
		}
		if access.Action == "" {
			continue
		}
		if err := a.identity.Authorize(c.ctx, c.caller, access); err != nil {
			c.ev.Action, c.ev.Resource = access.Action, access.Resource
			return err
		}
	}
	c.decided = all
	return nil
}

// settle finds the API by the signature's service name, which must agree with the host.
func (x *exchange) settle(host endpoint.Host, sig *sigv4.Signature) error {
	for _, s := range services {
		if s.wire.SigningName != sig.Scope.Service {
			continue
		}
		if host.Kind != endpoint.Any && host.Kind != s.host {
			return fault.SignatureMismatch.New("Credential should be scoped to the service of host %s, not to '%s'.", host, sig.Scope.Service)
		}
		x.service, x.ev.Door = s, s.wire.Name
		return nil
	}
	return fault.SignatureMismatch.New("Credential should be scoped to service 'ecr', 'sts' or 'ecrin', not to '%s'.", name.Clip(sig.Scope.Service))
}

// regionOf reads the region of the signature, which must be the host's where that has one.
func regionOf(host endpoint.Host, sig *sigv4.Signature) (name.Region, error) {
	region, err := name.ParseRegion(sig.Scope.Region)
	if err != nil {
		return name.Region{}, fault.SignatureMismatch.New("Credential should be scoped to a valid region, not '%s'.", name.Clip(sig.Scope.Region))
	}
	if want := host.Registry.Region; want != (name.Region{}) && want != region {
		return name.Region{}, fault.SignatureMismatch.New("Credential should be scoped to a valid region, not '%s'. Host %s is in region %s.", region, host, want)
	}
	return region, nil
}

// Body limits in bytes. A part of 20 MiB is 28 MB in base64; a manifest of 4 MiB may be escaped to six times that, but
// JSON text needs little escaping.
const (
	partBody     = 32 << 20
	manifestBody = 12 << 20
	plainBody    = 1 << 20
)

// body reads the request's body; large ones wait for a place.
func (a *API) body(x *exchange) ([]byte, error) {
	most := int64(plainBody)
	target := x.r.Header.Get("X-Amz-Target")
	switch {
	case strings.HasSuffix(target, ".UploadLayerPart"):
		most = partBody
	case strings.HasSuffix(target, ".PutImage"):
		most = manifestBody
	}
	if most > plainBody && (x.r.ContentLength > plainBody || x.r.ContentLength < 0) {
		select {
		case a.large <- struct{}{}:
			x.release = func() { <-a.large }
		case <-x.r.Context().Done():
			return nil, fault.RequestTimeout.New("the client went away")
		}
	}
	return web.ReadBody(x.r, most)
}

// service is one API: its wire form and its operations.
type service struct {
	wire       awswire.Service
	host       endpoint.Kind // the named hosts it is served on
	operations map[string]*operation
	errors     map[string]awswire.Error
}

// read finds the operation and decodes its input.
func (s *service) read(a *API, x *exchange, body []byte) (awswire.Input, error) {
	opts := awswire.Options{IgnoreUnknown: a.registry.Quirks().IgnoreUnknownMembers}
	if s.wire.Protocol == "json" {
		operation, ok := strings.CutPrefix(x.r.Header.Get("X-Amz-Target"), s.wire.TargetPrefix+".")
		if x.op = s.operations[operation]; !ok || x.op == nil || x.r.Method != http.MethodPost {
			return nil, fault.UnknownOperation.New("X-Amz-Target '%s' is no operation of %s", name.Clip(x.r.Header.Get("X-Amz-Target")), s.wire.ID)
		}
		if err := x.built(); err != nil {
			return nil, err
		}
		in := x.op.wire.Input()
		return in, awswire.DecodeJSON(body, in, opts)
	}
	form, err := formOf(x.r, body)
	if err != nil {
		return nil, err
	}
	if x.op = s.operations[form.Get("Action")]; x.op == nil || form.Get("Version") != s.wire.APIVersion {
		return nil, fault.UnknownOperation.New("Could not find operation %s for version %s", name.Clip(form.Get("Action")), name.Clip(form.Get("Version")))
	}
	if err := x.built(); err != nil {
		return nil, err
	}
	in := x.op.wire.Input()
	return in, awswire.DecodeQuery(form, in, opts)
}

// built notes the operation in the event and refuses one that ecrin does not have, before its input is looked at.
func (x *exchange) built() error {
	x.ev.Operation = x.op.wire.Name
	if x.op.run == nil {
		return fault.UnsupportedOperation.New("ecrin does not have the operation %s yet; docs/ecr-operations.md lists those it has", x.op.wire.Name)
	}
	return nil
}

// formOf reads the parameters of a query-protocol request from its body, or from the address of a GET.
func formOf(r *http.Request, body []byte) (url.Values, error) {
	text := string(body)
	if r.Method == http.MethodGet {
		text = r.URL.RawQuery
	} else if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/x-www-form-urlencoded" {
		return nil, fault.MalformedRequest.New("Content-Type must be application/x-www-form-urlencoded")
	}
	form, err := url.ParseQuery(text)
	if err != nil {
		return nil, fault.MalformedRequest.New("the parameters of the request cannot be read").Because(err)
	}
	return form, nil
}

func (s *service) answer(x *exchange, out any) error {
	var b bytes.Buffer
	var err error
	if s.wire.Protocol == "json" {
		x.w.Header()["Content-Type"] = []string{"application/x-amz-json-1.1"}
		err = awswire.EncodeJSON(&b, out)
	} else {
		x.w.Header()["Content-Type"] = []string{"text/xml"}
		err = awswire.EncodeQueryXML(&b, x.op.wire.Name, s.wire.Namespace, x.ev.RequestID, out)
	}
	if err != nil {
		return fmt.Errorf("encoding the answer of %s: %w", x.op.wire.Name, err)
	}
	_, _ = x.w.Write(b.Bytes()) // a client that has gone cannot be told
	return nil
}
