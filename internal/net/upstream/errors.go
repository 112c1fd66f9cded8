package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/ecrin-dev/ecrin/internal/net/egress"
)

// Reason is why a request failed. It is an error, so that errors.Is(err, upstream.NotFound) works.
type Reason uint8

// The reasons.
const (
	_            Reason = iota
	NotFound            // the repository, tag, manifest or blob does not exist there
	Unauthorized        // credentials are missing, wrong or expired
	Denied              // the credentials lack a permission
	RateLimited         // the registry limits the rate of requests; Error.After says when it may be asked again
	Unavailable         // the registry cannot be reached, fails, or does not answer in time; a later attempt may succeed
	Lied                // the answer contradicts itself, a digest, a size or the protocol, or exceeds a limit
	Refused             // this installation does not connect to the host, or does not send credentials to it
	Rejected            // the registry refuses what it was sent, such as an immutable tag; Error.Code says why
	Invalid             // the arguments of the call are not valid
	Full                // the registry has no room for what it was sent: a quota or its disk; a later attempt may succeed
)

var reasonNames = [...]string{"", "not found", "unauthorized", "denied", "rate limited", "unavailable", "lied", "refused", "rejected",
	"invalid", "full"}

// String returns the name of the reason, for logs and metrics.
func (r Reason) String() string {
	if int(r) < len(reasonNames) && r != 0 {
		return reasonNames[r]
	}
	return "unknown"
}

// Error returns the name of the reason.
func (r Reason) Error() string { return r.String() }

// Error is a failure of a request to another registry. Its texts contain no part of a response and no secret.
type Error struct {
	Reason Reason
	Host   string        // of the registry
	Public string        // what happened, for clients: without addresses of this network
	Status int           // of the response; 0 if there was none
	Code   string        // of the response, one of the distribution specification or TOOMANYREQUESTS; "" if it had none
	After  time.Duration // RateLimited: how long the registry is not to be asked; 0 if it did not say
	Err    error         // for the log only; may be nil
	Loop   bool          // Refused: the request has arrived at this installation

	tried bool // what failed was repeated already
}

// Error returns the host, the public text and the cause, for logs.
func (e *Error) Error() string {
	text := e.Public
	if e.Host != "" {
		text = "registry " + e.Host + ": " + text
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is the reason of e.
func (e *Error) Is(target error) bool {
	r, ok := target.(Reason)
	return ok && r == e.Reason
}

func invalid(format string, args ...any) error {
	return &Error{Reason: Invalid, Public: fmt.Sprintf(format, args...)}
}

// fail returns an error of this registry.
func (r *Registry) fail(reason Reason, format string, args ...any) *Error {
	return &Error{Reason: reason, Host: r.host, Public: fmt.Sprintf(format, args...)}
}

// errStalled is the cause of the end of a request whose other side does not advance.
var errStalled = errors.New("no progress in time")

const (
	unreachable = "the host cannot be reached from here"
	loop        = "the name leads back to this installation"
)

// network returns the error of a request without a response. The public text does not tell a name that does not exist
// from one whose addresses are refused, so that it does not show which names a private network has.
func network(ctx context.Context, host string, err error) error {
	if cause := context.Cause(ctx); cause == errStalled {
		err = cause
	} else if cause != nil {
		return fmt.Errorf("asking registry %s: %w", host, ctx.Err())
	}
	e := &Error{Reason: Unavailable, Host: host, Public: unreachable, Err: egress.Cause(err)}
	if refusal, refused := errors.AsType[*egress.RefusedError](err); refused {
		e.Reason = Refused
		if e.Loop = refusal.Loop; e.Loop {
			e.Public = loop
		}
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		e.Reason = Refused
	}
	if errors.Is(err, errStalled) {
		e.Public = "the registry does not answer in time, or sends or receives too slowly"
	}
	if _, bad := errors.AsType[*tls.CertificateVerificationError](err); bad {
		e.Public = "the certificate of the host is not valid"
	}
	return e
}

// passes reports whether a later attempt may succeed.
func passes(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && (e.Reason == Unavailable || e.Reason == RateLimited)
}

// codes are the error codes that may be shown.
// Source: OCI distribution specification, error codes; Docker registry API for TOOMANYREQUESTS; ECR for TAG_INVALID.
var codes = map[string]bool{
	errcode.ErrorCodeBlobUnknown: true, errcode.ErrorCodeBlobUploadInvalid: true, errcode.ErrorCodeBlobUploadUnknown: true,
	errcode.ErrorCodeDigestInvalid: true, errcode.ErrorCodeManifestBlobUnknown: true, errcode.ErrorCodeManifestInvalid: true,
	errcode.ErrorCodeManifestUnknown: true, errcode.ErrorCodeNameInvalid: true, errcode.ErrorCodeNameUnknown: true,
	errcode.ErrorCodeSizeInvalid: true, errcode.ErrorCodeUnauthorized: true, errcode.ErrorCodeDenied: true,
	errcode.ErrorCodeUnsupported: true, codeTooMany: true, "TAG_INVALID": true, "MANIFEST_UNVERIFIED": true,
}

const codeTooMany = "TOOMANYREQUESTS"

// library returns the error of a call of oras-go. Of errors that oras-go made, only the kind is kept: their texts
// quote URLs and responses.
func (r *Registry) library(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if cause := ctx.Err(); cause != nil {
		return fmt.Errorf("asking registry %s: %w", r.host, cause)
	}
	if a, ok := errors.AsType[*errcode.ErrorResponse](err); ok {
		e := r.fail(Lied, "the answer has the status %d", a.StatusCode)
		if e.Status = a.StatusCode; e.Status == 404 {
			e.Reason, e.Public = NotFound, "it does not exist there"
		}
		if len(a.Errors) > 0 && codes[a.Errors[0].Code] {
			e.Code = a.Errors[0].Code
		}
		return e
	}
	switch {
	case errors.Is(err, errdef.ErrNotFound):
		e := r.fail(NotFound, "it does not exist there")
		e.Status = 404
		return e
	case errors.Is(err, errdef.ErrTooManyPages), errors.Is(err, errdef.ErrSizeExceedsLimit):
		return r.fail(Lied, "the list is longer than the limit")
	case errors.Is(err, context.Canceled): // of what several requests wait for
		return r.fail(Unavailable, "the client was closed")
	case errors.Is(err, errdef.ErrInvalidReference), errors.Is(err, errdef.ErrInvalidDigest):
		return invalid("the reference is not valid")
	}
	return r.fail(Lied, "the answer is not one of the distribution protocol")
}
