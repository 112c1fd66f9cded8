// Package vendorapi serves the API by which tools of vendors keep applications, channels, releases and customers: version 3 of the API that
// a public client of vendors speaks. Each request is one or more operations of the ecrin service, with the permissions of its caller: the
// package can do nothing that the operations refuse.
package vendorapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/door/awsapi"
	"github.com/ecrin-dev/ecrin/internal/door/web"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/rule/endpoint"
	"github.com/ecrin-dev/ecrin/internal/store/spool"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// The folders of the paths that are served. Clients append /v3/… to an address, which may end with /vendor.
const (
	root      = "/v3/"
	otherRoot = "/vendor/v3/"
)

// Serves reports whether a path is one of this package.
func Serves(path string) bool {
	return strings.HasPrefix(path, root) || strings.HasPrefix(path, otherRoot)
}

// The limits of requests.
const (
	maxBody         = 1 << 20
	maxReleaseBody  = 48 << 20 // files of 32 MiB, in base64 twice, compressed between
	maxLargeBodies  = 2        // in memory at once
	maxLargeWaiting = 16       // of one principal
	maxLargeWait    = 30 * time.Second
)

// Operations does operations: it decides, limits and records them. It is an *awsapi.API.
type Operations interface {
	Do(context.Context, awsapi.Call) (any, error)
}

// Keys knows who has a key that is sent as it is. It is an *identity.Service.
type Keys interface {
	APIKeyCaller(ctx context.Context, key string, region name.Region) (identity.Caller, error)
}

// Names finds the applications of an account. It is a *vendor.Service. What it finds is only a name for operations, which decide.
type Names interface {
	SlugOf(ctx context.Context, account name.Account, idOrSlug string) (string, error)
	SlugOfCustomer(ctx context.Context, account name.Account, id string) (string, error)
}

// API serves requests. It is safe for concurrent use.
type API struct {
	operations Operations
	keys       Keys
	names      Names
	hosts      *endpoint.Map
	spool      *spool.Spool
	large      *web.Places // for bodies and answers above maxBody
}

// Options holds the parameters of New. All are required.
type Options struct {
	Operations Operations
	Keys       Keys
	Names      Names
	Hosts      *endpoint.Map
	Spool      *spool.Spool
}

// New returns an API.
func New(o Options) *API {
	return &API{operations: o.Operations, keys: o.Keys, names: o.Names, hosts: o.Hosts, spool: o.Spool,
		large: web.NewPlaces(maxLargeBodies, maxLargeWaiting, maxLargeWait)}
}

// request is a request while it is served.
type request struct {
	*API
	r     *http.Request
	ev    *web.Event
	req   guard.Request
	at    map[string]string // the parts of the path that a row names
	body  []byte
	leave func() // gives back the place of a large body or answer
}

// answer is what a row returns.
type answer struct {
	status int
	body   any    // encoded as JSON; nil for none
	text   []byte // in place of body
	media  string // of text
}

func ok(body any) (answer, error) { return answer{status: http.StatusOK, body: body}, nil }

// row is one method of one path. A part of the path in braces is any text but "".
type row struct {
	method, path string
	serve        func(*request) (answer, error)
	large        bool // the body may have maxReleaseBody bytes
}

// rows are all requests that are served.
var rows = slices.Concat(applicationRows, releaseRows, customerRows, pullRows, registryRows, notificationRows, clusterRows,
	policyRows)

// match returns the parts of a path that the row names, and whether the path is its.
func (o row) match(got []string) (at map[string]string, ok bool) {
	want := strings.Split(o.path, "/")
	if len(want) != len(got) {
		return nil, false
	}
	at = map[string]string{}
	for i, part := range want {
		switch {
		case strings.HasPrefix(part, "{"):
			if at[strings.Trim(part, "{}")] = got[i]; got[i] == "" {
				return nil, false
			}
		case part != got[i]:
			return nil, false
		}
	}
	return at, true
}

// find returns the row of a method and an escaped path below the root. A slash that is escaped is one of an id.
//
// Errors: fault.UnknownOperation, fault.MethodNotAllowed.
func find(method, path string) (row, map[string]string, error) {
	known, parts := false, strings.Split(path, "/")
	for i, part := range parts {
		if text, err := url.PathUnescape(part); err == nil { // what cannot be read is no part of a row
			parts[i] = text
		}
	}
	for _, o := range rows {
		at, ok := o.match(parts)
		if known = known || ok; ok && o.method == method {
			return o, at, nil
		}
	}
	if known {
		return row{}, nil, fault.MethodNotAllowed.New("the path %s does not have the method %s", name.Clip(root+path), name.Clip(method))
	}
	return row{}, nil, fault.UnknownOperation.New("this server has no path %s in its API for vendors", name.Clip(root+path))
}

// Handle serves one request.
func (a *API) Handle(w http.ResponseWriter, r *http.Request, ev *web.Event) {
	ev.Door = "vendor"
	w.Header()[web.RequestIDHeader] = []string{ev.RequestID}
	w.Header().Set("Cache-Control", "no-store")
	x := &request{API: a, r: r, ev: ev}
	out, err := x.serve()
	if x.leave != nil {
		defer x.leave()
	}
	if err != nil {
		a.Refuse(w, r, ev, err)
		return
	}
	if out.text == nil && out.body != nil {
		var b bytes.Buffer
		if err := json.NewEncoder(&b).Encode(out.body); err != nil {
			a.Refuse(w, r, ev, err)
			return
		}
		out.text, out.media = b.Bytes(), "application/json; charset=utf-8"
	}
	if out.text != nil {
		w.Header().Set("Content-Type", out.media)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Content-Length", strconv.Itoa(len(out.text)))
	}
	w.WriteHeader(out.status)
	_, _ = w.Write(out.text) // a client that is gone needs no answer
}

// serve finds the row and the caller of the request, reads its body and does it.
func (x *request) serve() (answer, error) {
	host, err := x.hosts.Parse(x.r.Host)
	if err != nil {
		return answer{}, err
	}
	// The caller first: who is unknown does not learn which paths there are.
	key := strings.TrimSpace(x.r.Header.Get("Authorization"))
	key = strings.TrimSpace(strings.TrimPrefix(key, "Bearer "))
	if strings.Contains(key, ":") && !x.ev.From.Secure && !x.ev.From.SourceIP.IsLoopback() {
		return answer{}, fault.AccessDenied.New("a secret access key is accepted by TLS only: use https, or an authorization token")
	}
	region := host.Registry.Region
	if region == (name.Region{}) {
		region = x.hosts.Default().Region
	}
	by, err := x.keys.APIKeyCaller(x.r.Context(), key, region)
	if err != nil {
		return answer{}, err
	}
	x.ev.Identify(by)
	x.req = guard.Request{By: by, Region: region, Host: host, From: x.ev.From}
	path := strings.TrimPrefix(strings.TrimPrefix(x.r.URL.EscapedPath(), strings.TrimSuffix(otherRoot, root)), root)
	o, at, err := find(x.r.Method, path)
	if err != nil {
		return answer{}, err
	}
	x.at = at
	if err := x.read(o.large); err != nil {
		return answer{}, err
	}
	return o.serve(x)
}

// read reads the body. A large one waits for a place.
//
// Errors: those of web.Receive and web.Places.Load.
func (x *request) read(large bool) (err error) {
	if !large {
		x.body, err = web.ReadBody(x.r, maxBody)
		return err
	}
	b, err := web.Receive(x.r, x.spool, x.req.By.LimitKey(), maxReleaseBody)
	if err != nil {
		return err
	}
	defer b.Close()
	if b.Size <= maxBody {
		x.body, err = b.Bytes()
		return err
	}
	x.body, x.leave, err = x.large.Load(x.r.Context(), b, x.req.By.LimitKey())
	return err
}

// decode reads the body into to.
//
// Errors: fault.MalformedRequest.
func (x *request) decode(to any) error {
	if err := json.Unmarshal(x.body, to); err != nil {
		return fault.MalformedRequest.New("the body is not the JSON of this request").Because(err)
	}
	return nil
}

// decodeForm reads the body into a form and checks it.
//
// Errors: fault.MalformedRequest, and those of the check.
func (x *request) decodeForm(to interface{ check() error }) error {
	if err := x.decode(to); err != nil {
		return err
	}
	return to.check()
}

// do does an operation of the ecrin service for the caller of the request.
func do[Out any](x *request, operation string, in awswire.Input) (*Out, error) {
	return doOf[Out](x.r.Context(), x, "ecrin", operation, in)
}

// doOf does an operation of a service in a context.
func doOf[Out any](ctx context.Context, x *request, service, operation string, in awswire.Input) (*Out, error) {
	x.ev.Operation = operation
	out, err := x.operations.Do(ctx, awsapi.Call{Service: service, Operation: operation, Request: x.req, Input: in,
		Event: &x.ev.Event, Hold: x.hold})
	if err != nil {
		return nil, err
	}
	return out.(*Out), nil
}

// hold waits for a place for an answer with stored content, unless the request has one.
func (x *request) hold(ctx context.Context, bytes int64) (err error) {
	if bytes > maxBody && x.leave == nil {
		x.leave, err = x.large.Enter(ctx, x.req.By.LimitKey())
	}
	return err
}

// slug returns the slug of the application of the path.
func (x *request) slug() (string, error) {
	return x.names.SlugOf(x.r.Context(), x.req.By.Account, x.at["app"])
}

// Refuse answers a request with an error.
func (a *API) Refuse(w http.ResponseWriter, _ *http.Request, ev *web.Event, err error) {
	ev.Door, ev.Err = "vendor", err
	f := web.FaultOf(err)
	code, message, status := f.Code.String(), f.Public, web.StatusOf(err)
	var v *awswire.Violation
	switch {
	case errors.As(err, &v):
		code, message, status = "Validation", v.Error(), http.StatusBadRequest
	case f.Code == fault.MethodNotAllowed:
		status = http.StatusMethodNotAllowed
	case f.Code == fault.Internal:
		code, message = "InternalError", "internal error, request "+ev.RequestID
	}
	body, err := json.Marshal(map[string]any{"error": map[string]string{"code": code, "message": message}, "message": message})
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{}`)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // a client that is gone needs no answer
}

// number returns a number of the query or of the path, at least 0; otherwise is its value if there is none.
//
// Errors: fault.InvalidParameter.
func number(what, text string, otherwise, most int) (int, error) {
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > most {
		return 0, fault.InvalidParameter.New("%s must be a number from 0 to %d, not %s", what, most, name.Clip(text))
	}
	return n, nil
}

// page returns offset and size of a page of a list, which the query names by currentPage, from 0, and pageSize.
//
// Errors: fault.InvalidParameter.
func (x *request) page(size, last int) (offset, limit int, err error) {
	q := x.r.URL.Query()
	if limit, err = number("pageSize", q.Get("pageSize"), size, 1000); err != nil {
		return 0, 0, err
	}
	limit = max(1, limit)
	current, err := number("currentPage", q.Get("currentPage"), 0, last/limit)
	return current * limit, limit, err
}
