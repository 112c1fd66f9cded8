// Package console serves the console: pages by which people see, understand and change what the APIs have. A page is made on the server
// from operations that are called with the rights of the person who has signed in: it can do nothing that an API would refuse.
package console

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/vendor"
	"github.com/ecrin-dev/ecrin/internal/door/awsapi"
	"github.com/ecrin-dev/ecrin/internal/door/look"
	"github.com/ecrin-dev/ecrin/internal/door/web"
	"github.com/ecrin-dev/ecrin/internal/rule/endpoint"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// Path is the folder of all pages.
const Path = "/console"

// Serves reports whether a path is one of this package.
func Serves(path string) bool { return path == Path || strings.HasPrefix(path, Path+"/") }

// Operations does operations: it decides, limits and records them. It is an *awsapi.API.
type Operations interface {
	Do(context.Context, awsapi.Call) (any, error)
}

// Identity knows who has signed in. It is an *identity.Service.
type Identity interface {
	APIKeyCaller(ctx context.Context, key string, region name.Region) (identity.Caller, error)
	SignIn(ctx context.Context, account name.Account, userName string, password secret.String, from Address) (identity.SignedIn, error)
	BeginConsole(ctx context.Context, by identity.Caller, from Address, agent string) (secret.String, error)
	Console(ctx context.Context, cookie string) (identity.ConsoleSession, error)
	SwitchConsole(ctx context.Context, c identity.ConsoleSession, accessKey string) error
	EndConsole(ctx context.Context, by identity.ConsoleSession, id string) error
	Consoles(ctx context.Context, by identity.ConsoleSession) ([]identity.ConsoleSession, error)
	ConsoleMAC(c identity.ConsoleSession, data string) string
	SignOnMAC(data string) string
	SignInCustomer(ctx context.Context, password string, from Address) (identity.Caller, error)
	CustomerOfHash(ctx context.Context, hash string) (identity.Caller, error)
	CustomerUsed(c identity.Caller, address string)
}

// Rights tells what a caller may do, without doing it. It is an *ecr.Service.
type Rights interface {
	// May reports for each action on a repository whether it is allowed. A repository named "" stands for the registry.
	May(ctx context.Context, req guard.Request, account name.Account, repository string, actions ...string) ([]bool, error)
	// MayOn does so for actions on a resource that is no repository, named by its ARN.
	MayOn(ctx context.Context, req guard.Request, account name.Account, resource string, actions ...string) ([]bool, error)
	// MayWith is MayOn with condition keys.
	MayWith(ctx context.Context, req guard.Request, account name.Account, resource string, keys []guard.ConditionKey, actions ...string) (
		[]bool, error)
}

// Trail writes the audit trail.
type Trail interface {
	Begin(ctx context.Context, ev *guard.Event) context.Context
	End(ctx context.Context, ev *guard.Event)
}

// API serves the pages. It is safe for concurrent use.
type API struct {
	Options
	large      *web.Places // for answers with stored content
	signOns    *web.Places // for sign-ins that wait for an identity provider
	strangers  *web.Rates  // of who asks for the page of a customer and is none, by address
	ownChanges *web.Rates  // of tokens by customers
}

// Options holds the parameters of New. All but Rates, SSO and Grace are required.
type Options struct {
	Operations Operations
	Identity   Identity
	Rights     Rights
	Trail      Trail // of sign-ins; an operation records itself
	Customers  *vendor.Service
	Rates      *web.Rates // of customers, with their requests at other doors; nil for no limit
	Hosts      *endpoint.Map
	SSO        SingleSignOn
	Version    string        // of the program, as the foot of a page shows it
	Grace      time.Duration // how long deleted images and repositories can be restored, as pages say
	Now        func() time.Time
}

// New returns an API.
func New(o Options) *API {
	return &API{Options: o, large: web.NewPlaces(maxLarge, maxLargeWaiting, maxLargeWait),
		signOns:    web.NewPlaces(maxSignOns, maxSignOnsWaiting, maxSignOnWait),
		strangers:  web.NewRates("an address that has not signed in", maxStrange, o.Now),
		ownChanges: web.NewRates("a customer that changes tokens", maxOwnChanges, o.Now)}
}

// The limits of requests. A policy has at most 10,240 characters, and a form can have three bytes for each of their bytes.
const (
	maxBody         = 256 << 10
	maxLarge        = 4 // answers with stored content of over a megabyte at once
	maxLargeWaiting = 8 // of one principal
	maxLargeWait    = 10 * time.Second
	largeAnswer     = 1 << 20
	maxStrange      = 120 // requests a minute of one address for the page of a customer, without a licence that is valid
)

// row is one method of one path. A part of the path in braces is any text but ""; {repo} is the rest, or all before the part "-", since the
// names of repositories have slashes.
type row struct {
	method, path string
	serve        func(*request) error
	open         bool // needs no session
	fresh        bool // its form is of no session, also where there is one
}

// match returns the parts of a path that the row names, and whether the path is its.
func (o *row) match(path string) (at map[string]string, ok bool) {
	want, got := strings.Split(o.path, "/"), strings.Split(path, "/")
	at = map[string]string{}
	for i, part := range want {
		switch {
		case len(got) == 0:
			return nil, false
		case part == "{repo}":
			n := len(got)
			for j, segment := range got {
				if segment == "-" {
					n = j
					break
				}
			}
			if n == len(got) && i < len(want)-1 {
				return nil, false
			}
			at["repo"], got = strings.Join(got[:n], "/"), got[n:]
			if at["repo"] == "" {
				return nil, false
			}
			continue
		case part == "{account}" && (len(got[0]) != 12 || strings.Trim(got[0], "0123456789") != ""):
			return nil, false // a word such as denied is no account
		case strings.HasPrefix(part, "{"):
			if at[strings.Trim(part, "{}")] = got[0]; got[0] == "" {
				return nil, false
			}
		case part != got[0]:
			return nil, false
		}
		got = got[1:]
	}
	return at, len(got) == 0
}

// find returns the row of a method and a path below Path, and whether another method has one.
func find(method, path string) (o *row, at map[string]string, other bool) {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	for i := range rows {
		at, ok := rows[i].match(path)
		if !ok {
			continue
		}
		if rows[i].method == method {
			return &rows[i], at, false
		}
		other = true
	}
	return nil, nil, other
}

// head sets the headers of every answer.
func head(h http.Header, requestID string) {
	h[web.RequestIDHeader] = []string{requestID}
	look.Head(h)
}

// Handle serves one request.
func (a *API) Handle(w http.ResponseWriter, r *http.Request, ev *web.Event) {
	ev.Door, ev.Operation = "console", "page"
	head(w.Header(), ev.RequestID)
	x := &request{API: a, w: w, r: r, ev: ev, begun: a.Now()}
	err := x.serve()
	if x.leave != nil {
		defer x.leave()
	}
	if err != nil {
		ev.Err = err
		x.fail(err)
	}
}

// Refuse answers a request with an error.
func (a *API) Refuse(w http.ResponseWriter, r *http.Request, ev *web.Event, err error) {
	ev.Door, ev.Operation, ev.Err = "console", "page", err
	head(w.Header(), ev.RequestID)
	x := &request{API: a, w: w, r: r, ev: ev, begun: a.Now()}
	x.fail(err)
}
