// Package awsapi serves the signed APIs: ECR and ecrin in JSON 1.1, IAM and STS in the query protocol.
//
// It contains the codecs, the authentication of signatures and the operation tables. A row of a table holds an
// operation, the IAM action for which the caller needs the permission, to whom the action is reserved, the function
// that resolves the target and the function that does the operation. Both functions are in the packages ecr, ecrin, iam
// and sts. All calls of operations are made by [API.Do]: those of HTTP requests, and those of other callers in this
// process.
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

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/door/web"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/op/ecr"
	"github.com/ecrin-dev/ecrin/internal/op/ecrin"
	"github.com/ecrin-dev/ecrin/internal/op/iam"
	"github.com/ecrin-dev/ecrin/internal/op/sts"
	"github.com/ecrin-dev/ecrin/internal/rule/endpoint"
	"github.com/ecrin-dev/ecrin/internal/rule/sigv4"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// API serves signed requests. It is safe for concurrent use.
type API struct {
	ecr      *ecr.Service
	ecrin    *ecrin.Service
	iam      *iam.Service
	sts      *sts.Service
	identity *identity.Service
	guard    *guard.Guard
	trail    Trail
	hosts    *endpoint.Map
	lenient  bool          // ignores unknown members of inputs
	large    chan struct{} // one element for each large body in memory
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
	Identity *identity.Service
	Guard    *guard.Guard
	Trail    Trail
	Hosts    *endpoint.Map
	// IgnoreUnknown ignores members that an operation does not have. Otherwise they are errors.
	IgnoreUnknown bool
}

// maxLargeBodies is the maximum number of layer parts and manifests that are in memory at the same time. Further
// requests wait.
const maxLargeBodies = 6

// New returns an API.
func New(o Options) *API {
	return &API{
		ecr: o.ECR, ecrin: o.Ecrin, iam: o.IAM, sts: o.STS, identity: o.Identity, guard: o.Guard, trail: o.Trail, hosts: o.Hosts,
		lenient: o.IgnoreUnknown, large: make(chan struct{}, maxLargeBodies),
	}
}

// exchange is one request and the state of its answer.
type exchange struct {
	w       http.ResponseWriter
	r       *http.Request
	ev      *web.Event
	service *service
	op      *operation // nil until it is known
	release func()     // ends the claim of a large body
}

// Handle serves one request.
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
		var denial *guard.Denial
		if errors.As(err, &denial) {
			w.Header().Set(web.MessageHeader, a.sts.Encode(denial.Request, denial.Why))
		}
		x.service.fail(x, fault.From(err))
	}
}

// Refuse answers a request with err, in the form of the API that guessService returns.
func (a *API) Refuse(w http.ResponseWriter, r *http.Request, ev *web.Event, err error) {
	x := &exchange{w: w, r: r, ev: ev, service: guessService(r)}
	ev.Door, ev.Err = x.service.wire.Name, err
	w.Header()[web.RequestIDHeader] = []string{ev.RequestID}
	x.service.fail(x, fault.From(err))
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

func (a *API) serve(x *exchange) (any, error) {
	r := x.r
	host, err := a.hosts.Parse(r.Host)
	if err != nil {
		return nil, err
	}
	if r.URL.Path != "/" && r.URL.Path != "" || r.Method != http.MethodPost && r.Method != http.MethodGet {
		return nil, fault.UnknownOperation.New("%s %s is not an operation of an API; the paths of the registry start with /v2/", r.Method, name.Clip(r.URL.Path))
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
	// This check precedes the body, so that requests with an unknown access key cannot occupy the memory for large
	// bodies.
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
	x.ev.Caller = caller
	in, err := x.service.read(a, x, body)
	if err != nil {
		return nil, err
	}
	return a.do(x, guard.Request{By: caller, Region: region, Host: host, From: x.ev.From}, in)
}

// serveUnsigned serves a request without a signature: an operation whose input authenticates the caller. For every
// other request it returns missing. Source: STS API reference, AssumeRoleWithWebIdentity.
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
func (a *API) do(x *exchange, req guard.Request, in awswire.Input) (any, error) {
	out, err := a.Do(x.r.Context(), Call{Service: x.service.wire.Name, Operation: x.op.wire.Name, Request: req, Input: in, Event: &x.ev.Event})
	if err == nil {
		x.ev.Digest = digestOf(out)
	}
	return out, err
}

// validate checks an input against the model.
//
// Errors: *awswire.Violation, in the query protocol fault.Validation.
func (s *service) validate(in awswire.Input) error {
	err := in.Validate()
	var broken *awswire.Violation
	if s.wire.Protocol == "query" && errors.As(err, &broken) {
		err = fault.Validation.New("1 validation error detected: Value at '%s' failed to satisfy constraint: %s", lower(broken.Member), broken.Reason).Because(err)
	}
	return err
}

// settle sets the API of the request to that in the scope of the signature, which must be one of the host.
//
// Errors: fault.SignatureMismatch.
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

// regionOf returns the region in the scope of the signature, which must be that of the host if the host has one.
//
// Errors: fault.SignatureMismatch.
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

// Maximum sizes of request bodies in bytes. A part of 20 MiB has 28 MB in base64. A manifest of 4 MiB has more in a
// JSON string, in theory six times as many; but manifests are JSON, which needs little escaping.
const (
	maxPartBody     = 32 << 20
	maxManifestBody = 12 << 20
	maxPlainBody    = 1 << 20
)

// body reads the body of the request. A large body waits until fewer than maxLargeBodies are in memory.
//
// Errors: those of web.ReadBody.
func (a *API) body(x *exchange) ([]byte, error) {
	maxBytes := int64(maxPlainBody)
	target := x.r.Header.Get("X-Amz-Target")
	switch {
	case strings.HasSuffix(target, ".UploadLayerPart"):
		maxBytes = maxPartBody
	case strings.HasSuffix(target, ".PutImage"):
		maxBytes = maxManifestBody
	}
	if maxBytes > maxPlainBody && (x.r.ContentLength > maxPlainBody || x.r.ContentLength < 0) {
		select {
		case a.large <- struct{}{}:
			x.release = func() { <-a.large }
		case <-x.r.Context().Done():
			return nil, fault.RequestTimeout.New("the client disconnected")
		}
	}
	return web.ReadBody(x.r, maxBytes)
}

// service is one API: its wire form and its operations.
type service struct {
	wire       awswire.Service
	host       endpoint.Kind // kind of the host names on which it is served, besides those for all APIs
	operations map[string]*operation
	errors     map[string]awswire.Error
}

// read sets the operation of the exchange and decodes its input.
//
// Errors: fault.UnknownOperation, fault.UnsupportedOperation, fault.MalformedRequest, and those of package awswire.
func (s *service) read(a *API, x *exchange, body []byte) (awswire.Input, error) {
	opts := awswire.Options{IgnoreUnknown: a.lenient}
	if s.wire.Protocol == "json" {
		operation, ok := strings.CutPrefix(x.r.Header.Get("X-Amz-Target"), s.wire.TargetPrefix+".")
		if x.op = s.operations[operation]; !ok || x.op == nil || x.r.Method != http.MethodPost {
			return nil, fault.UnknownOperation.New("X-Amz-Target '%s' is not an operation of %s", name.Clip(x.r.Header.Get("X-Amz-Target")), s.wire.ID)
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

// built sets the operation of the event. It refuses an operation that ecrin does not have, before its input is decoded.
func (x *exchange) built() error {
	x.ev.Operation = x.op.wire.Name
	if x.op.resolve == nil {
		return x.op.unsupported()
	}
	return nil
}

// formOf returns the parameters of a request of the query protocol, from its body or from the URL of a GET.
//
// Errors: fault.MalformedRequest.
func formOf(r *http.Request, body []byte) (url.Values, error) {
	text := string(body)
	if r.Method == http.MethodGet {
		text = r.URL.RawQuery
	} else if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/x-www-form-urlencoded" {
		return nil, fault.MalformedRequest.New("Content-Type must be application/x-www-form-urlencoded")
	}
	form, err := url.ParseQuery(text)
	if err != nil {
		return nil, fault.MalformedRequest.New("the parameters of the request cannot be parsed").Because(err)
	}
	return form, nil
}

// answer writes the output of an operation.
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
	_, _ = x.w.Write(b.Bytes()) // fails only if the client has disconnected
	return nil
}
