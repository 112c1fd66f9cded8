package console

import (
	"context"
	"crypto/subtle"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/door/awsapi"
	"github.com/ecrin-dev/ecrin/internal/door/look"
	"github.com/ecrin-dev/ecrin/internal/door/web"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/rule/endpoint"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Address is the address of a client.
type Address = netip.Addr

// request is a request while it is served.
type request struct {
	*API
	w     http.ResponseWriter
	r     *http.Request
	ev    *web.Event
	begun time.Time
	host  endpoint.Host

	session identity.ConsoleSession // zero without one
	own     string                  // the hash of the password of a customer who has signed in; "" for none
	req     guard.Request           // for operations
	at      map[string]string       // the parts of the path that a row names
	account name.Account            // of the page; the caller's if the path has none
	region  name.Region
	form    url.Values // of a POST
	flash   *flash     // for the page
	leave   func()     // gives back the place of a large answer
	called  bool       // an operation was called
}

// The errors of pages that are not those of operations.
var (
	errNoPage   = fault.InvalidParameter.New("there is no such page")
	errForged   = fault.AccessDenied.New("the form was not sent by a page of this session: open the page again and repeat what you did")
	errNoMethod = fault.MethodNotAllowed.New("this page does not take that method")
)

// serve finds the row and the session of the request and does it.
func (x *request) serve() (err error) {
	if x.host, err = x.Hosts.Parse(x.r.Host); err != nil {
		return err
	}
	path := strings.TrimPrefix(strings.TrimPrefix(x.r.URL.Path, Path), "/")
	if file, ok := strings.CutPrefix(path, look.AssetFolder); ok {
		return x.asset(file)
	}
	o, at, other := find(x.r.Method, path)
	x.at = at
	x.region = x.host.Registry.Region
	if x.region == (name.Region{}) {
		x.region = x.Hosts.Default().Region
	}
	if err := x.begin(); err != nil && (o == nil || !o.open) {
		if !errors.Is(err, fault.ExpiredCredentials) {
			return err
		}
		return x.toSignIn(o)
	}
	switch {
	case o == nil && other:
		return errNoMethod
	case o == nil:
		return errNoPage
	}
	if err := x.place(); err != nil {
		return err
	}
	if x.r.Method == http.MethodPost {
		switch err := x.readForm(o.fresh); {
		case errors.Is(err, errStale):
			return x.showKept(http.StatusConflict, newKept(x.r.URL.RequestURI(), x.form))
		case err != nil:
			return err
		}
	}
	return o.serve(x)
}

// begin finds the session of the cookie.
//
// Errors: fault.ExpiredCredentials.
func (x *request) begin() error {
	c, err := x.r.Cookie(x.cookieName())
	if err != nil {
		return fault.ExpiredCredentials.New("sign in")
	}
	session, err := x.Identity.Console(x.r.Context(), c.Value)
	if err != nil {
		return err
	}
	x.session = session
	x.ev.Identify(session.Caller)
	x.account = session.Caller.Account
	x.flash = x.takeFlash(flashCookie, x.sessionMAC)
	return nil
}

// place reads account and region of the path.
//
// Errors: errNoPage.
func (x *request) place() error {
	if text := x.at["account"]; text != "" {
		account, err := name.ParseAccount(text)
		if err != nil {
			return errNoPage
		}
		x.account = account
	}
	if text := x.at["region"]; text != "" {
		region, err := name.ParseRegion(text)
		if err != nil {
			return errNoPage
		}
		x.region = region
	}
	x.req = guard.Request{By: x.session.Caller, Region: x.region, Host: x.host, From: x.ev.From}
	return nil
}

// readForm reads the form of a POST, which a page of this session must have sent. Browsers say where a form comes from; the token of the
// form holds where they do not. A fresh form is of no session.
//
// Errors: errForged, errStale; those of readFields.
func (x *request) readForm(fresh bool) error {
	if err := x.readFields(); err != nil {
		return err
	}
	if fresh || x.session.Hash == "" || subtle.ConstantTimeCompare([]byte(x.form.Get("csrf")), []byte(x.csrf())) == 1 {
		return nil
	}
	if x.sameOrigin() {
		return errStale
	}
	return errForged
}

// readFields reads a form, which no page of another server must have sent.
//
// Errors: errForged; those of web.ReadBody; fault.MalformedRequest.
func (x *request) readFields() error {
	if !look.OwnForm(x.r) {
		return errForged
	}
	if kind, _, _ := strings.Cut(x.r.Header.Get("Content-Type"), ";"); kind != "application/x-www-form-urlencoded" {
		return fault.MalformedRequest.New("a form is sent as application/x-www-form-urlencoded")
	}
	body, err := web.ReadBody(x.r, maxBody)
	if err != nil {
		return err
	}
	if x.form, err = url.ParseQuery(string(body)); err != nil {
		return fault.MalformedRequest.New("the form is malformed").Because(err)
	}
	return nil
}

// csrf returns the token of forms of the session; "" without one.
func (x *request) csrf() string {
	if x.session.Hash == "" {
		return ""
	}
	return x.Identity.ConsoleMAC(x.session, "form")
}

// do does an operation for the person who has signed in.
func do[Out any](x *request, service, operation string, in awswire.Input) (*Out, error) {
	return doIn[Out](x.r.Context(), x, service, operation, in)
}

func doIn[Out any](ctx context.Context, x *request, service, operation string, in awswire.Input) (*Out, error) {
	out, err := x.call(ctx, service, operation, in)
	if err != nil {
		return nil, err
	}
	return out.(*Out), nil
}

// act does an operation whose answer is not needed.
func act(x *request, service, operation string, in awswire.Input) error {
	_, err := x.call(x.r.Context(), service, operation, in)
	return err
}

// unseen is what a form has in place of the tag of what it replaces, if the person may not see that.
const unseen = "unseen"

// add does an operation that stores something under a name, if there is nothing of this name.
//
// Errors: fault.PreconditionFailed or fault.ObjectAlreadyExists (there is), and those of the operation.
func add(x *request, service, operation string, in awswire.Input) error {
	x.req.If = guard.Seen(guard.NoneSeen)
	defer func() { x.req.If = guard.Precondition{} }()
	return act(x, service, operation, in)
}

// replace does an operation that replaces something, if that still has the tag that the page has seen: guard.NoneSeen if it was not there.
//
// Errors: errChanged (it has another one, or the form says of none), and those of the operation.
func replace(x *request, seen, service, operation string, in awswire.Input) error {
	switch seen {
	case "":
		return errChanged
	case unseen:
		return act(x, service, operation, in)
	}
	x.req.If = guard.Seen(seen)
	err := act(x, service, operation, in)
	x.req.If = guard.Precondition{}
	if errors.Is(err, fault.PreconditionFailed) {
		err = errChanged
	}
	return err
}

// operationError is the error of an operation, with the id of the request by which its line in the audit trail is found.
type operationError struct {
	error
	operation, request string
}

func (e *operationError) Unwrap() error { return e.error }

// call does an operation with a line of its own in the audit trail. The first one of a page has the id of the page, and each other one its
// own, so that a denial is explained by its id.
func (x *request) call(ctx context.Context, service, operation string, in awswire.Input) (any, error) {
	x.ev.Operation = operation
	ev := guard.Event{RequestID: x.ev.RequestID, From: x.ev.From}
	if x.called {
		ev.RequestID = web.NewRequestID()
	}
	x.called = true
	out, err := x.Operations.Do(ctx, awsapi.Call{Service: service, Operation: operation, Request: x.req, Input: in, Event: &ev, Hold: x.hold})
	if err != nil {
		return nil, &operationError{err, operation, ev.RequestID}
	}
	return out, nil
}

// hold waits for a place for an answer with stored content.
func (x *request) hold(ctx context.Context, bytes int64) error {
	if bytes <= largeAnswer || x.leave != nil {
		return nil
	}
	leave, err := x.large.Enter(ctx, x.req.By.LimitKey())
	x.leave = leave
	return err
}

// base returns the path of the pages of account and region, without a slash at its end.
func (x *request) base() string { return Path + "/" + x.account.String() + "/" + x.region.String() }

// iam returns the path of the pages of the account without a region.
func (x *request) iam() string { return Path + "/" + x.account.String() + "/access" }

// redirect answers with another page: after a POST the page that shows what was done.
func (x *request) redirect(to string) error {
	x.w.Header().Set("Location", to)
	x.w.WriteHeader(http.StatusSeeOther)
	return nil
}

// done answers a POST: with a page that shows what was done, and a flash.
func (x *request) done(to, text string) error {
	x.setFlash(flash{Text: text})
	return x.redirect(to)
}

// query returns the address of this page with values of its query replaced; "" takes one away.
func (x *request) query(pairs ...string) string {
	q := url.Values{}
	for k, v := range x.r.URL.Query() {
		q[k] = v
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		q.Del(pairs[i])
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	if len(q) == 0 {
		return x.r.URL.EscapedPath()
	}
	return x.r.URL.EscapedPath() + "?" + q.Encode()
}
