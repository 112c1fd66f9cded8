package upstream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/ecrin-dev/ecrin/internal/word/lazyregexp"
)

const (
	maxErrorBody = 8 << 10 // bytes that are read of the body of an error
	maxRedirects = 5
	maxAfter     = 24 * time.Hour // of Retry-After
)

// doer is a Registry as the client of oras-go.
type doer struct{ r *Registry }

// Do implements remote.Client. Responses with the status 404 are returned, since oras-go interprets them. All other
// failures are errors.
func (d doer) Do(req *http.Request) (*http.Response, error) {
	resp, err := d.r.send(req)
	if e, ok := errors.AsType[*failure](err); ok && e.Status == http.StatusNotFound {
		return e.response(req), nil
	}
	if err == nil && resp.StatusCode < 300 && isHTML(resp) {
		_ = resp.Body.Close() // it is not read
		return nil, d.r.page()
	}
	return resp, err
}

// page is the error of an answer that is a page for people, such as that of a login or of a proxy.
func (r *Registry) page() error {
	return r.fail(Unavailable, "the answer is a web page, not that of a registry")
}

func isHTML(resp *http.Response) bool {
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	return media == "text/html" || media == "application/xhtml+xml"
}

type base = Error // the name of the field in failure, since Error is the name of a method

// failure is the error of a response, with what is needed to act on it.
type failure struct {
	*base
	header  http.Header
	errors  errcode.Errors
	origin  bool   // the response is that of the registry, not of a host to which it redirected
	expired bool   // the credentials have expired, as ECR says it
	said    string // the message of the response, for Step
}

func (f *failure) Unwrap() error { return f.base }

// response returns a response with what was understood of the error.
func (f *failure) response(req *http.Request) *http.Response {
	body, _ := json.Marshal(map[string]any{"errors": f.errors}) // of strings
	return &http.Response{Status: http.StatusText(f.Status), StatusCode: f.Status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)), Request: req}
}

// send makes a request, with credentials, redirects and further attempts. It returns a response with a status below
// 400, whose body must be closed. Errors are those of this package.
func (r *Registry) send(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	release, err := r.c.places.take(ctx, r.host)
	if err != nil {
		return nil, network(ctx, r.host, err)
	}
	caller := req
	if !strings.Contains(req.URL.Path, "/blobs/") { // content of blobs may take long, if it advances
		limited, cancel := context.WithTimeoutCause(ctx, r.c.limits.Document, errStalled)
		ctx, req, release = limited, req.WithContext(limited), joined(release, cancel)
	}
	for n := 1; ; n++ {
		resp, err := r.attempt(req)
		if err == nil {
			body := resp.Body
			resp.Body = &placed{body, release}
			resp.Request = caller // without credentials, and the base of relative links
			return resp, nil
		}
		if !replayable(req) || !r.again(ctx, n, err) {
			release()
			return nil, err
		}
	}
}

// joined returns a function that calls both.
func joined(one, other func()) func() {
	return func() {
		one()
		other()
	}
}

// placed is a body whose request has a place until it is closed. release may be called before.
type placed struct {
	io.ReadCloser
	release func()
}

func (b *placed) Close() error {
	defer b.release()
	return b.ReadCloser.Close()
}

// again waits before the attempt after the n-th, which failed with err. It returns false if there must be none.
func (r *Registry) again(ctx context.Context, n int, err error) bool {
	if !passes(err) || n >= r.c.limits.Attempts {
		return false
	}
	e, _ := errors.AsType[*Error](err)
	if e.tried {
		return false
	}
	pause := min(r.c.limits.Pause<<min(n-1, 16), r.c.limits.MaxPause)
	pause = pause/2 + rand.N(pause) // so that many clients do not return together
	if e.After > 0 {
		if e.After > r.c.limits.MaxPause {
			return false
		}
		pause = e.After + rand.N(pause)
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// replayable reports whether the request can be sent twice.
func replayable(req *http.Request) bool {
	return req.Body == nil || req.Body == http.NoBody || req.GetBody != nil
}

// attempt makes a request once, and again after an answer that asks for other credentials.
func (r *Registry) attempt(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	scopes := strings.Join(auth.GetAllScopesForHost(ctx, r.host), " ")
	by, err := r.authFor(ctx, req.URL.Path)
	if err != nil {
		return nil, err
	}
	header, err := by.header(ctx, scopes)
	if err != nil {
		return nil, err
	}
	resp, err := r.follow(req, header)
	if err == nil {
		by.accepted(header)
	}
	f, refused := errors.AsType[*failure](err)
	if !refused || !f.origin || f.Status != http.StatusUnauthorized && f.Status != http.StatusForbidden {
		return resp, err
	}
	other, err := by.renew(ctx, scopes, header, f)
	switch {
	case err != nil:
		return nil, err
	case other == "" || !replayable(req):
		return nil, f
	}
	if resp, err = r.follow(req, other); err == nil {
		by.accepted(other)
		return resp, nil
	}
	if f, refused = errors.AsType[*failure](err); refused && f.origin && f.Status == http.StatusUnauthorized {
		f.Public = "the registry does not accept the credentials"
	}
	return nil, err
}

// follow makes a request with an Authorization header and follows redirects of reads. The header is sent to the origin
// of the first URL only, and no more once a redirect has left it.
func (r *Registry) follow(req *http.Request, authorization string) (*http.Response, error) {
	next, err := r.prepare(req)
	if err != nil {
		return nil, err
	}
	if canonical(req.URL) != r.host { // Locations and links are checked where they are read; this is the last check
		return nil, r.fail(Refused, "the request is for another host")
	}
	if authorization != "" {
		next.Header.Set("Authorization", authorization)
	}
	origin := true
	for hop := 0; ; hop++ {
		resp, err := r.c.roundTrip(next, r.host)
		if err != nil {
			return nil, err
		}
		switch resp.StatusCode {
		case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		default:
			if resp.StatusCode >= 400 || resp.StatusCode >= 300 && resp.StatusCode != http.StatusNotModified {
				return nil, r.failure(resp, origin)
			}
			return resp, nil
		}
		to, err := next.URL.Parse(resp.Header.Get("Location"))
		_ = resp.Body.Close() // it is not read
		switch {
		case err != nil || resp.Header.Get("Location") == "" || len(resp.Header.Get("Location")) > maxLocation:
			return nil, r.fail(Lied, "a redirect has no valid Location")
		case next.Method != http.MethodGet && next.Method != http.MethodHead:
			return nil, r.fail(Lied, "a request that changes something is redirected")
		case hop == maxRedirects:
			return nil, r.fail(Lied, "more than %d redirects", maxRedirects)
		}
		next = next.Clone(next.Context())
		next.URL, next.Host = to, ""
		if origin = origin && canonical(to) == r.host && to.Scheme == r.http; !origin {
			next.Header.Del("Authorization")
		}
	}
}

const maxLocation = 16 << 10 // bytes

// prepare returns a copy of a request for one attempt.
func (r *Registry) prepare(req *http.Request) (*http.Request, error) {
	next := req.Clone(req.Context())
	next.Header.Del("Authorization")
	next.Header.Set("User-Agent", r.c.agent)
	if req.GetBody != nil {
		body, err := req.GetBody()
		if err != nil {
			return nil, fmt.Errorf("reading the body of the request again: %w", err)
		}
		next.Body = body
	}
	return next, nil
}

// roundTrip makes one request with limits on the time in which the other side must answer and advance. Errors are those
// of the network, for host.
func (c *Client) roundTrip(req *http.Request, host string) (*http.Response, error) {
	parent := req.Context()
	ctx, cancel := context.WithCancelCause(parent)
	stalled := func() { cancel(errStalled) }
	failed := func(err error) error {
		if context.Cause(ctx) == errStalled { // also of io.EOF: a server may end its body when it sees the connection close
			err = errStalled
		}
		if err == io.EOF && parent.Err() == nil {
			return err
		}
		return network(parent, host, err)
	}
	answer := c.limits.Answer
	if req.Method == http.MethodPut {
		answer = c.limits.Commit
	}
	w := newWatch(answer, stalled)
	req = req.WithContext(ctx)
	if req.Body != nil && req.Body != http.NoBody {
		w.renew(c.limits.Stall)
		req.Body = &sent{ReadCloser: req.Body, watch: w, answer: answer}
	}
	w.begin()
	resp, err := c.transport.RoundTrip(req)
	w.stop()
	if err == nil && ctx.Err() != nil { // a server may end its answer when it sees the connection close
		_ = resp.Body.Close() // the response is not used
		err = ctx.Err()
	}
	if err != nil {
		err = failed(err)
		cancel(nil)
		return nil, err
	}
	reading := newWatch(c.limits.Stall, stalled)
	resp.Body = &received{ReadCloser: resp.Body, watch: reading, failed: failed, closed: func() {
		reading.stop()
		cancel(nil)
	}}
	return resp, nil
}

// noRoom matches the errors of registries that have no room for what they were sent: the words of ecrin, of Harbor (DENIED, "exceed
// quota"), of distribution and of registries before which a proxy writes to a disk. Other registries answer 507.
var noRoom = lazyregexp.New(`(?i)quota|service limit|disk is full|no space left`)

// stores reports whether a request with a method sends what the other side is to store.
func stores(method string) bool {
	return method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch
}

// failure reads a response that is an error, and closes its body.
func (r *Registry) failure(resp *http.Response, origin bool) error {
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody)) // what was read of it decides
	_ = resp.Body.Close()
	var body struct {
		Errors errcode.Errors `json:"errors"`
	}
	_ = json.Unmarshal(text, &body) // any other text has no codes
	f := &failure{base: r.fail(Rejected, "the answer has the status %d", resp.StatusCode), header: resp.Header, origin: origin}
	f.Status = resp.StatusCode
	limited, full := resp.StatusCode == http.StatusTooManyRequests, resp.StatusCode == http.StatusInsufficientStorage
	for _, e := range body.Errors {
		if f.Code == "" && codes[e.Code] {
			f.Code = e.Code
			f.errors = append(f.errors, errcode.Error{Code: e.Code})
		}
		if f.said == "" {
			f.said = printable(e.Message)
		}
		limited = limited || e.Code == codeTooMany || strings.HasPrefix(e.Message, "Rate exceeded")
		f.expired = f.expired || strings.Contains(e.Message, "authorization token has expired")
		full = full || noRoom.MatchString(e.Code+" "+e.Message)
	}
	if f.Code != "" {
		f.Public += " (" + f.Code + ")"
	}
	switch {
	case limited:
		f.Reason, f.After = RateLimited, retryAfter(resp.Header.Get("Retry-After"), r.c.now())
	case full && stores(resp.Request.Method) && f.Status >= 400 && f.Status != http.StatusUnauthorized:
		f.Reason, f.Public = Full, "the registry has no room: "+f.Public
	case f.Status == http.StatusNotFound:
		f.Reason = NotFound
	case f.Status == http.StatusRequestTimeout || f.Status >= 500 && f.Status != http.StatusNotImplemented:
		f.Reason, f.After = Unavailable, retryAfter(resp.Header.Get("Retry-After"), r.c.now())
	case !origin: // the registry has answered; the host of its storage refuses
		f.Reason, f.Public = Unavailable, "the host to which the registry redirects answers with the status "+strconv.Itoa(f.Status)
	case f.Status == http.StatusUnauthorized:
		f.Reason = Unauthorized
	case f.Status == http.StatusForbidden && f.expired:
		f.Reason = Unauthorized
	case f.Status == http.StatusForbidden:
		f.Reason = Denied
	case f.Status < 400:
		f.Reason = Lied
	}
	return f
}

// retryAfter parses a Retry-After header; 0 if there is none. Source: RFC 9110, 10.2.3.
func retryAfter(text string, now time.Time) time.Duration {
	var d time.Duration
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		d = time.Duration(min(seconds, uint64(maxAfter/time.Second))) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		d = at.Sub(now)
	}
	return max(0, min(d, maxAfter))
}
