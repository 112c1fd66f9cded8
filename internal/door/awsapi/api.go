// Package awsapi serves the signed APIs: ECR and ecrin in JSON 1.1, IAM and STS in the query protocol.
//
// It contains the codecs, the authentication of signatures and the operation tables. A row of a table holds an
// operation, the IAM action for which the caller needs the permission, to whom the action is reserved, the function
// that resolves the target and the function that does the operation. Both functions are in the packages ecr, ecrin, iam
// and sts. All calls of operations are made by [API.Do]: those of HTTP requests, and those of other callers in this
// process.
package awsapi

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/deliver/report"
	"github.com/ecrin-dev/ecrin/internal/door/web"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/op/ecr"
	"github.com/ecrin-dev/ecrin/internal/op/ecrin"
	"github.com/ecrin-dev/ecrin/internal/op/iam"
	"github.com/ecrin-dev/ecrin/internal/op/sts"
	"github.com/ecrin-dev/ecrin/internal/rule/endpoint"
	"github.com/ecrin-dev/ecrin/internal/rule/sigv4"
	"github.com/ecrin-dev/ecrin/internal/store/spool"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// API serves signed requests. It is safe for concurrent use.
type API struct {
	ecr      *ecr.Service
	ecrin    *ecrin.Service
	iam      *iam.Service
	sts      *sts.Service
	reports  *report.Service
	identity *identity.Service
	guard    *guard.Guard
	trail    Trail
	hosts    *endpoint.Map
	lenient  bool
	spool    *spool.Spool
	large    *web.Places // for bodies
	pushes   *web.Places // for manifests
	answers  *web.Places // for answers
	searches *web.Places // for operations that read many rows: they leave most connections for reads to others
}

// Trail writes the audit trail.
type Trail interface {
	// Begin returns the context for a call. The transaction of the first change made with it also inserts the line of
	// the call.
	Begin(ctx context.Context, ev *guard.Event) context.Context
	// End writes the line of a call that has ended, unless the transaction of a change has inserted it.
	End(ctx context.Context, ev *guard.Event)
}

// Options holds the parameters of New.
type Options struct {
	ECR      *ecr.Service
	Ecrin    *ecrin.Service
	IAM      *iam.Service
	STS      *sts.Service
	Reports  *report.Service
	Identity *identity.Service
	Guard    *guard.Guard
	Trail    Trail
	Hosts    *endpoint.Map
	Spool    *spool.Spool // for bodies that are too large for memory before their signature is verified
	Pushes   *web.Places  // for manifests of PutImage, shared with the OCI API; nil for places of its own
	// IgnoreUnknown accepts members that an operation does not have, instead of naming them in an error.
	IgnoreUnknown bool
}

// Large bodies are those of more than maxPlainBody bytes, and manifests of more than web.MaxSmallManifest. A verified one waits for a
// place, and is in memory only while it has one.
const (
	maxLargeBodies  = 6  // in memory at once
	maxLargeWaiting = 32 // of one principal
	maxLargeWait    = 30 * time.Second
)

// maxSearches is how many operations read thousands of rows at once: half of the connections that SQLite has for reads.
const maxSearches = 2

// New returns an API.
func New(o Options) *API {
	return &API{
		ecr: o.ECR, ecrin: o.Ecrin, iam: o.IAM, sts: o.STS, reports: o.Reports, identity: o.Identity, guard: o.Guard,
		trail: o.Trail, hosts: o.Hosts,
		lenient: o.IgnoreUnknown, spool: o.Spool, large: web.NewPlaces(maxLargeBodies, maxLargeWaiting, maxLargeWait),
		pushes: cmp.Or(o.Pushes, web.ManifestPlaces()),
		// Answers with more than plainBody bytes of manifests: to encode one keeps a processor busy for 100 ms.
		answers:  web.NewPlaces(max(1, runtime.GOMAXPROCS(0)/2), maxLargeWaiting, maxLargeWait),
		searches: web.NewPlaces(maxSearches, maxLargeWaiting, maxLargeWait),
	}
}

// request is one request in flight and the state of its answer.
type request struct {
	w       http.ResponseWriter
	r       *http.Request
	ev      *web.Event
	service *service
	op      *operation // nil before it is known
	leave   func()     // gives back the place of a large body or answer; nil without one
}

// Handle serves one request.
func (a *API) Handle(w http.ResponseWriter, r *http.Request, ev *web.Event) {
	x := &request{w: w, r: r, ev: ev, service: guessService(r)}
	defer x.release() // also after a panic
	ev.Door = x.service.wire.Name
	w.Header()[web.RequestIDHeader] = []string{ev.RequestID}
	reply := web.NewReply(a.spool)
	defer reply.Close()
	out, err := a.serve(x)
	reply.Owner = ev.Caller.LimitKey()
	if err == nil {
		err = x.service.encode(x, reply, out)
	}
	x.release() // how long the client takes to read the answer costs no place
	if err == nil {
		err = reply.Send(w)
	}
	if err != nil {
		ev.Err = err
		if ev.Name == "" { // the credentials or the request were refused before the operation
			a.trail.End(r.Context(), &ev.Event)
		}
		var denial *guard.Denial
		if errors.As(err, &denial) {
			w.Header().Set(web.MessageHeader, a.sts.Encode(denial.Request, denial.Why))
		}
		x.service.fail(x, web.FaultOf(err))
	}
}

// Refuse answers a request with err, in the form of the API that guessService returns.
func (a *API) Refuse(w http.ResponseWriter, r *http.Request, ev *web.Event, err error) {
	x := &request{w: w, r: r, ev: ev, service: guessService(r)}
	ev.Door, ev.Err = x.service.wire.Name, err
	w.Header()[web.RequestIDHeader] = []string{ev.RequestID}
	x.service.fail(x, web.FaultOf(err))
}

// guessService returns the API whose form the answer has as long as the signature has not been read.
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

func (a *API) serve(x *request) (any, error) {
	r := x.r
	host, err := a.hosts.Parse(r.Host)
	if err != nil {
		return nil, err
	}
	if r.URL.Path != "/" && r.URL.Path != "" || r.Method != http.MethodPost && r.Method != http.MethodGet {
		return nil, fault.UnknownOperation.New("%s %s is not an operation of an API; the paths of the registry start with /v2/",
			r.Method, name.Clip(r.URL.Path))
	}
	sig, err := sigv4.Parse(r)
	if errors.Is(err, fault.MissingCredentials) {
		return a.serveUnsigned(x, host, err)
	}
	if err != nil {
		return nil, err
	}
	if err := x.settle(host, sig); err != nil {
		return nil, misdirected(err, sig)
	}
	region, err := regionOf(host, sig)
	if err != nil {
		return nil, misdirected(err, sig)
	}
	claimed, err := a.identity.Claimed(r.Context(), sig)
	if err != nil {
		return nil, err
	}
	received, err := web.Receive(r, a.spool, claimed.LimitKey(), x.maxBody())
	if err != nil {
		return nil, err
	}
	defer received.Close()
	caller, _, err := a.identity.Authenticate(r.Context(), r, hex.EncodeToString(received.Sum[:]))
	if err != nil {
		return nil, err
	}
	body, err := a.load(x, received, caller)
	if err != nil {
		return nil, err
	}
	x.ev.Identify(caller)
	in, err := x.service.read(a, x, body)
	if err != nil {
		return nil, err
	}
	seen, err := guard.ParsePrecondition(strings.Join(r.Header.Values("If-Match"), ", "))
	if err != nil {
		return nil, err
	}
	return a.do(x, guard.Request{By: caller, Region: region, Host: host, From: x.ev.From, If: seen}, in)
}

// misdirected returns the refusal of a signature for a service or region that is not that of the host.
func misdirected(err error, sig *sigv4.Signature) error {
	return &identity.Refusal{
		Err: err, AccessKey: sig.AccessKeyID, Class: identity.RefusedScope, Cause: "access key " + name.Clip(sig.AccessKeyID) + ": " +
			strings.TrimSuffix(fault.From(err).Public, "."),
		Cure: "Set the region and the endpoint of the client to those of one host",
	}
}

// serveUnsigned serves a request without a signature: an operation whose input authenticates the caller. For every
// other request it returns missing. Source: STS API reference, AssumeRoleWithWebIdentity.
func (a *API) serveUnsigned(x *request, host endpoint.Host, missing error) (any, error) {
	if x.service != stsService || host.Kind != endpoint.Any && host.Kind != stsService.host {
		return nil, missing
	}
	// The header must be that of such a request before any of the body is read.
	var body []byte
	if x.r.Method == http.MethodPost {
		if x.r.ContentLength > maxUnsignedBody || !isForm(x.r) {
			return nil, missing
		}
		received, err := web.Receive(x.r, a.spool, "", maxUnsignedBody)
		if err != nil {
			return nil, err
		}
		defer received.Close()
		if body, err = received.Bytes(); err != nil {
			return nil, err
		}
	}
	form, err := formOf(x.r, body)
	if err != nil {
		return nil, missing
	}
	if form.Get("Action") == "AssumeRoleWithSAML" { // has no signature in AWS, so that the lack of one is not what is wrong
		return nil, fault.UnknownOperation.New("Could not find operation AssumeRoleWithSAML for version %s", name.Clip(form.Get("Version")))
	}
	if op := stsService.operations[form.Get("Action")]; op == nil || !op.unsigned {
		return nil, missing
	}
	in, err := x.service.read(a, x, body)
	if err != nil {
		return nil, err
	}
	region := host.Registry.Region
	if region == (name.Region{}) {
		region = a.hosts.Default().Region
	}
	return a.do(x, guard.Request{Region: region, Host: host, From: x.ev.From}, in)
}

// do calls the operation of the request.
func (a *API) do(x *request, req guard.Request, in awswire.Input) (any, error) {
	out, err := a.Do(x.r.Context(), Call{Service: x.service.wire.Name, Operation: x.op.wire.Name, Request: req, Input: in,
		Event: &x.ev.Event, Hold: a.holder(x, req.By)})
	if err == nil {
		x.ev.Digest, x.ev.Tag = digestOf(out), tagOf(in, out)
	}
	return out, err
}

// holder returns Call.Hold of a request: a large answer waits for a place, which release gives back.
func (a *API) holder(x *request, by identity.Caller) func(context.Context, int64) error {
	return func(ctx context.Context, bytes int64) (err error) {
		if bytes > maxPlainBody && x.leave == nil {
			x.leave, err = a.answers.Enter(ctx, by.LimitKey())
		}
		return err
	}
}

// validate checks an input against the model.
//
// Errors: *awswire.Violation, in the query protocol fault.Validation.
func (s *service) validate(in awswire.Input) error {
	return s.broken(in.Validate())
}

// broken gives a violation the text of the protocol. Errors: *awswire.Violation, in the query protocol fault.Validation.
func (s *service) broken(err error) error {
	var v *awswire.Violation
	if s.wire.Protocol == "query" && errors.As(err, &v) {
		err = fault.Validation.New("%s", v.Query(s.shows)).Because(err)
	}
	return err
}

// shows reports whether errors of validation have the value of a member: those of STS do, but not of secrets.
func (s *service) shows(member string) bool {
	return s == stsService && member != "WebIdentityToken" && member != "TokenCode" && member != "EncodedMessage"
}

// settle sets the API of the request to that in the scope of the signature, which must be one of the host.
//
// Errors: fault.SignatureMismatch.
func (x *request) settle(host endpoint.Host, sig *sigv4.Signature) error {
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
	return fault.SignatureMismatch.New("Credential should be scoped to service 'ecr', 'iam', 'sts' or 'ecrin', not to '%s'.",
		name.Clip(sig.Scope.Service))
}

// regionOf returns the region in the scope of the signature, which must be that of the host if the host has one.
//
// Errors: fault.SignatureMismatch.
func regionOf(host endpoint.Host, sig *sigv4.Signature) (name.Region, error) {
	region, err := name.ParseRegion(sig.Scope.Region)
	if err != nil {
		return name.Region{}, fault.SignatureMismatch.New("Credential should be scoped to a valid region, not '%s'.", name.Clip(sig.Scope.Region))
	}
	if want := host.Registry.Region; want != (name.Region{}) && want != region {
		return name.Region{}, fault.SignatureMismatch.New(
			"Credential should be scoped to a valid region, not '%s'. Host %s is in region %s.", region, host, want)
	}
	return region, nil
}

// Maximum sizes of request bodies in bytes. A part of 20 MiB has 28 MB in base64. A manifest of 4 MiB has more in a
// JSON string, in theory six times as many; but manifests are JSON, which needs little escaping.
const (
	maxPartBody     = 32 << 20
	maxManifestBody = 12 << 20
	maxPlainBody    = 1 << 20
	maxReleaseBody  = 48 << 20  // files of 32 MiB in base64
	maxUnsignedBody = 128 << 10 // a web identity token has up to 20,000 characters, a session policy less
)

// maxBody is how many bytes the body of the request may have.
func (x *request) maxBody() int64 {
	target := x.r.Header.Get("X-Amz-Target")
	switch {
	case x.service == ecrService && strings.HasSuffix(target, ".UploadLayerPart"):
		return maxPartBody
	case x.service == ecrService && strings.HasSuffix(target, ".PutImage"):
		return maxManifestBody
	case x.service == ecrinService && (strings.HasSuffix(target, ".CreateRelease") || strings.HasSuffix(target, ".UpdateRelease")):
		return maxReleaseBody
	}
	return maxPlainBody
}

// load returns the bytes of a body whose sender is known. Large ones wait for a place, which release gives back.
//
// Errors: those of web.Places.Load.
func (a *API) load(x *request, b *web.Body, caller identity.Caller) ([]byte, error) {
	places := a.large
	switch {
	case x.service == ecrService && strings.HasSuffix(x.r.Header.Get("X-Amz-Target"), ".PutImage"):
		if places = a.pushes; b.Size <= web.MaxSmallManifest {
			return b.Bytes()
		}
	case b.Size <= maxPlainBody:
		return b.Bytes()
	}
	body, leave, err := places.Load(x.r.Context(), b, caller.LimitKey())
	x.leave = leave
	return body, err
}

// release gives back the place of a large body, if the request has one.
func (x *request) release() {
	if x.leave != nil {
		x.leave()
		x.leave = nil
	}
}

// service is one API: its wire form and its operations.
type service struct {
	wire       awswire.Service
	host       endpoint.Kind // kind of the host names on which it is served, besides those for all APIs
	operations map[string]*operation
	errors     map[string]awswire.Error
}

// read sets the operation of the request and decodes its input.
//
// Errors: fault.UnknownOperation, fault.UnsupportedOperation, fault.MalformedRequest, and those of package awswire.
func (s *service) read(a *API, x *request, body []byte) (awswire.Input, error) {
	opts := awswire.Options{IgnoreUnknown: a.lenient}
	if s.wire.Protocol == "json" {
		operation, ok := strings.CutPrefix(x.r.Header.Get("X-Amz-Target"), s.wire.TargetPrefix+".")
		if x.op = s.operations[operation]; !ok || x.op == nil || x.r.Method != http.MethodPost {
			return nil, fault.UnknownOperation.New("X-Amz-Target '%s' is not an operation of %s",
				name.Clip(x.r.Header.Get("X-Amz-Target")), s.wire.ID)
		}
		if err := x.built(); err != nil {
			return nil, err
		}
		in := x.op.wire.Input()
		opts.MaxBytes = maxReleaseBody // the body was limited by maxBody
		return in, awswire.DecodeJSON(body, in, opts)
	}
	form, err := formOf(x.r, body)
	if err != nil {
		return nil, err
	}
	if x.op = s.operations[form.Get("Action")]; x.op == nil || form.Get("Version") != s.wire.APIVersion {
		return nil, fault.UnknownOperation.New("Could not find operation %s for version %s", name.Clip(form.Get("Action")),
			name.Clip(form.Get("Version")))
	}
	if err := x.built(); err != nil {
		return nil, err
	}
	in := x.op.wire.Input()
	return in, s.broken(awswire.DecodeQuery(form, in, opts))
}

// built sets the operation of the event. It refuses an operation that ecrin does not have, before its input is decoded.
func (x *request) built() error {
	x.ev.Operation = x.op.wire.Name
	if x.op.resolve == nil {
		return x.op.unsupported()
	}
	return nil
}

// isForm reports whether the body of a request is declared as parameters of the query protocol.
func isForm(r *http.Request) bool {
	t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && t == "application/x-www-form-urlencoded"
}

// formOf returns the parameters of a request of the query protocol, from its body or from the URL of a GET.
//
// Errors: fault.MalformedRequest.
func formOf(r *http.Request, body []byte) (url.Values, error) {
	text := string(body)
	if r.Method == http.MethodGet {
		text = r.URL.RawQuery
	} else if !isForm(r) {
		return nil, fault.MalformedRequest.New("Content-Type must be application/x-www-form-urlencoded")
	}
	form, err := url.ParseQuery(text)
	if err != nil {
		return nil, fault.MalformedRequest.New("the parameters of the request cannot be parsed").Because(err)
	}
	return form, nil
}

// encode writes the answer of an operation in the form of the service's protocol.
func (s *service) encode(x *request, to *web.Reply, out any) error {
	var err error
	if s.wire.Protocol == "json" {
		x.w.Header()["Content-Type"] = []string{"application/x-amz-json-1.1"}
		err = awswire.EncodeJSON(to, out)
	} else {
		x.w.Header()["Content-Type"] = []string{"text/xml"}
		err = awswire.EncodeQueryXML(to, x.op.wire.Name, s.wire.Namespace, x.ev.RequestID, out)
	}
	if err != nil {
		return fmt.Errorf("encoding the answer of %s: %w", x.op.wire.Name, err)
	}
	return nil
}
