// Package rancherapi serves the registries of environments as the v1 API of Rancher 1.x does, for programs that keep their credentials
// fresh. Every request is another form of an operation of the ecrin service, which decides on it, limits it and records it.
package rancherapi

import (
	"context"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/door/awsapi"
	"github.com/ecrin-dev/ecrin/internal/door/web"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/rule/endpoint"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// root is the path of the API.
const root = "/v1"

// Serves reports whether a path is one of this package.
func Serves(path string) bool { return path == root || strings.HasPrefix(path, root+"/") }

// maxBody limits the body of a request, in bytes. A password of a registry has up to 8 KiB.
const maxBody = 32 << 10

// Operations does operations: it decides, limits and records them. It is an *awsapi.API.
type Operations interface {
	Do(context.Context, awsapi.Call) (any, error)
}

// Keys knows who has a key that is sent as it is. It is an *identity.Service.
type Keys interface {
	APIKeyCaller(ctx context.Context, key string, region name.Region) (identity.Caller, error)
}

// Trail writes the audit trail.
type Trail interface {
	// End writes the line of a call that has ended.
	End(ctx context.Context, ev *guard.Event)
}

// API serves requests. It is safe for concurrent use.
type API struct {
	operations Operations
	keys       Keys
	trail      Trail
	hosts      *endpoint.Map
}

// Options holds the parameters of New. All are required.
type Options struct {
	Operations Operations
	Keys       Keys
	Trail      Trail // of requests whose credentials are refused; an operation records itself
	Hosts      *endpoint.Map
}

// New returns an API.
func New(o Options) *API {
	return &API{operations: o.Operations, keys: o.Keys, trail: o.Trail, hosts: o.Hosts}
}

// request is a request whose caller is known.
type request struct {
	*http.Request
	ev    *web.Event
	guard guard.Request

	base  string // URL of the API that links begin with, of the environment if the path has one
	root  string // URL of the API of the account
	scope string // name of the environment of the path; "" for the one that the account has
	kind  string // of objects; "" for the API itself
	id    string // of an object; "" for all
}

// reply is an answer.
type reply struct {
	status int
	body   any
}

// Handle serves one request.
func (a *API) Handle(w http.ResponseWriter, r *http.Request, ev *web.Event) {
	ev.Door = "rancher"
	w.Header()[web.RequestIDHeader] = []string{ev.RequestID}
	w.Header().Set("Cache-Control", "no-store")
	q := &request{Request: r, ev: ev}
	if err := a.authenticate(q); err != nil {
		a.Refuse(w, r, ev, err)
		a.trail.End(r.Context(), &ev.Event)
		return
	}
	ev.Identify(q.guard.By)
	if !q.route() {
		a.Refuse(w, r, ev, fault.UnknownOperation.New("the API of Rancher has no such path here"))
		return
	}
	w.Header().Set("X-API-Schemas", q.base+"/schemas")
	out, err := a.serve(q)
	if err != nil {
		a.Refuse(w, r, ev, err)
		return
	}
	writeJSON(w, out.status, out.body)
}

// authenticate finds the caller by the access key that a request has as user name and password.
func (a *API) authenticate(q *request) error {
	host, err := a.hosts.Parse(q.Host)
	if err != nil {
		return err
	}
	id, secret, ok := q.BasicAuth()
	if !ok || id == "" {
		return fault.MissingCredentials.New("send an access key: its id as the user name, its secret as the password")
	}
	// A secret that is sent as it is must not cross a network in clear text.
	if !q.ev.From.Secure && !q.ev.From.SourceIP.IsLoopback() {
		return fault.AccessDenied.New("a secret access key is accepted by TLS only: use https")
	}
	region := host.Registry.Region
	if region.String() == "" {
		region = a.hosts.Default().Region
	}
	by, err := a.keys.APIKeyCaller(q.Context(), id+":"+secret, region)
	q.guard = guard.Request{By: by, Region: region, Host: host, From: q.ev.From}
	return err
}

// route reads the path: /v1[/projects/ENVIRONMENT][/COLLECTION[/ID]]. It reports whether the path has this form.
func (q *request) route() bool {
	scheme := "http://"
	if q.ev.From.Secure {
		scheme = "https://"
	}
	q.root = scheme + q.Host + root
	q.base = q.root
	parts := strings.Split(strings.Trim(strings.TrimPrefix(q.URL.Path, root), "/"), "/")
	if len(parts) >= 2 && parts[0] == "projects" && parts[1] != "" {
		q.scope, q.kind, q.id = parts[1], project, parts[1]
		q.base += "/projects/" + parts[1]
		if parts = parts[2:]; len(parts) == 0 {
			return true
		}
	}
	q.kind, q.id = "", ""
	switch {
	case len(parts) == 1 && parts[0] == "":
		return true
	case len(parts) > 2:
		return false
	case len(parts) == 2:
		q.id = parts[1]
	}
	i := slices.IndexFunc(types, func(t kind) bool { return t.plural == strings.ToLower(parts[0]) })
	if i < 0 {
		return false
	}
	q.kind = types[i].id
	return true
}

// serve does a request.
func (a *API) serve(q *request) (reply, error) {
	methods := []string{http.MethodGet}
	if i := slices.IndexFunc(types, func(t kind) bool { return t.id == q.kind }); i >= 0 {
		if methods = types[i].ofAll; q.id != "" {
			methods = types[i].ofOne
		}
	}
	if !slices.Contains(methods, q.Method) {
		return reply{}, errMethod
	}
	switch {
	case q.kind == "":
		q.ev.Operation = "GetAPI"
		links := map[string]string{"self": q.base}
		for _, t := range types {
			links[t.plural] = q.base + "/" + t.plural
		}
		return reply{http.StatusOK, map[string]any{"id": "v1", "type": "apiVersion", "links": links, "actions": object{}}}, nil
	case q.kind == schema:
		q.ev.Operation = "GetSchemas"
		return q.schemas()
	case q.Method == http.MethodPost, q.Method == http.MethodPut, q.Method == http.MethodDelete:
		return a.change(q)
	}
	all, err := a.objects(q)
	if err != nil {
		return reply{}, err
	}
	if q.id == "" {
		return reply{http.StatusOK, q.collection(q.kind, filtered(all, q.URL.Query()))}, nil
	}
	for _, one := range all {
		if one["id"] == q.id {
			return reply{http.StatusOK, one}, nil
		}
	}
	return reply{}, fault.ObjectNotFound.New("the environment has no %s %s", q.kind, name.Clip(q.id))
}

// objects returns the objects of the kind of a request.
func (a *API) objects(q *request) ([]object, error) {
	if q.kind == project {
		all, err := a.environments(q)
		out := make([]object, 0, len(all))
		for _, one := range all {
			out = append(out, q.project(one))
		}
		return out, err
	}
	environment, err := a.environment(q)
	if err != nil || environment == nil {
		return nil, err
	}
	var out []object
	switch q.kind {
	case host:
		for _, one := range environment.Hosts {
			out = append(out, q.host(environment.EnvironmentName, one))
		}
	case registry:
		for _, one := range environment.Registries {
			out = append(out, q.registry(environment.EnvironmentName, one))
		}
	case credential:
		for _, one := range environment.Registries {
			if one.CredentialId != "" {
				out = append(out, q.credential(environment.EnvironmentName, one))
			}
		}
	}
	return out, nil
}

// environments returns the environment of the path, or those of the account.
func (a *API) environments(q *request) ([]ecrintypes.RancherEnvironment, error) {
	out, err := a.do(q, "DescribeRancherEnvironments", &ecrintypes.DescribeRancherEnvironmentsRequest{EnvironmentName: q.scope})
	if err != nil {
		return nil, err
	}
	return out.(*ecrintypes.DescribeRancherEnvironmentsResponse).Environments, nil
}

// environment returns the environment of the path, or the one of the account; nil if the account has none.
//
// Errors: fault.InvalidParameter (the account has several).
func (a *API) environment(q *request) (*ecrintypes.RancherEnvironment, error) {
	all, err := a.environments(q)
	switch {
	case err != nil || len(all) == 0:
		return nil, err
	case len(all) > 1:
		return nil, fault.InvalidParameter.New("the account has %d environments: use the URL of one, such as %s/projects/%s", len(all), q.root,
			all[0].EnvironmentName)
	}
	return &all[0], nil
}

// input are the fields of objects that a request can set.
type input struct {
	Name          string `json:"name"`
	Description   string `json:"description"`
	ServerAddress string `json:"serverAddress"`
	RegistryID    string `json:"registryId"`
	StoragePoolID string `json:"storagePoolId"` // the name of registryId in older clients
	PublicValue   string `json:"publicValue"`
	SecretValue   string `json:"secretValue"`
	Email         string `json:"email"`
}

// change creates, changes or deletes a registry or a credential.
func (a *API) change(q *request) (reply, error) {
	// A page of another site cannot send this type without being allowed to, while a browser adds the password by itself.
	var in input
	if q.Method != http.MethodDelete {
		if kind, _, err := mime.ParseMediaType(q.Header.Get("Content-Type")); err != nil || kind != "application/json" {
			return reply{}, fault.InvalidParameter.New("the content type must be application/json")
		}
		body, err := web.ReadBody(q.Request, maxBody)
		if err != nil {
			return reply{}, err
		}
		if json.Unmarshal(body, &in) != nil {
			return reply{}, fault.InvalidParameter.New("the body must be a JSON object whose fields are texts")
		}
	}
	environment := q.scope
	if environment == "" {
		one, err := a.environment(q)
		if err != nil {
			return reply{}, err
		}
		if one == nil {
			return reply{}, fault.ObjectNotFound.New("the account has no environment: add one by ecrin rancher add NAME")
		}
		environment = one.EnvironmentName
	}
	operation, call := q.operation(environment, in)
	out, err := a.do(q, operation, call)
	if err != nil {
		return reply{}, err
	}
	status := http.StatusOK
	if q.Method == http.MethodPost {
		status = http.StatusCreated
	}
	changed := out.(*ecrintypes.RancherRegistryResponse).Registry
	shown := q.registry(environment, changed)
	if q.kind == credential {
		shown = q.credential(environment, changed)
	}
	if q.Method == http.MethodDelete {
		shown["state"] = "removed"
	}
	return reply{status, shown}, nil
}

// operation returns the operation of a change, and its input.
func (q *request) operation(environment string, in input) (string, awswire.Input) {
	switch {
	case q.kind == registry && q.Method == http.MethodDelete:
		return "DeleteRancherRegistry", &ecrintypes.RancherRegistryRequest{EnvironmentName: environment, RancherRegistryId: q.id}
	case q.kind == registry:
		return "PutRancherRegistry", &ecrintypes.PutRancherRegistryRequest{EnvironmentName: environment, RancherRegistryId: q.id,
			ServerAddress: in.ServerAddress, RegistryName: in.Name, Description: in.Description}
	case q.Method == http.MethodDelete:
		return "DeleteRancherCredential", &ecrintypes.RancherCredentialRequest{EnvironmentName: environment, CredentialId: q.id}
	}
	call := &ecrintypes.PutRancherCredentialRequest{EnvironmentName: environment, CredentialId: q.id, PublicValue: in.PublicValue,
		SecretValue: in.SecretValue, Email: in.Email}
	if q.id == "" {
		if call.RancherRegistryId = in.RegistryID; call.RancherRegistryId == "" {
			call.RancherRegistryId = in.StoragePoolID
		}
	}
	return "PutRancherCredential", call
}

func (a *API) do(q *request, operation string, in awswire.Input) (any, error) {
	q.ev.Operation = operation
	return a.operations.Do(q.Context(), awsapi.Call{Service: "ecrin", Operation: operation, Request: q.guard, Input: in, Event: &q.ev.Event,
		Hold: func(context.Context, int64) error { return nil }})
}

// errMethod is the error of a method that a path does not have.
var errMethod = fault.UnknownOperation.New("the path does not have this method")

// Refuse answers a request with an error.
func (a *API) Refuse(w http.ResponseWriter, _ *http.Request, ev *web.Event, err error) {
	ev.Door, ev.Err = "rancher", err
	status, code := statusOf(err)
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Basic realm="Enter API access key and secret key as username and password"`)
	}
	message := web.FaultOf(err).Public
	var v *awswire.Violation
	switch {
	case errors.As(err, &v):
		message = v.Error()
	case status == http.StatusInternalServerError:
		message = "internal error, request " + ev.RequestID
	}
	writeJSON(w, status, map[string]any{"id": ev.RequestID, "type": "error", "links": object{}, "actions": object{}, "status": status,
		"code": code, "message": message, "detail": nil})
}

// statusOf returns the status of an error and its code in the API of Rancher.
func statusOf(err error) (status int, code string) {
	var v *awswire.Violation
	switch {
	case errors.As(err, &v):
		return http.StatusUnprocessableEntity, "InvalidFormat"
	case errors.Is(err, fault.MissingCredentials), errors.Is(err, fault.UnknownAccessKey), errors.Is(err, fault.SignatureMismatch),
		errors.Is(err, fault.ExpiredCredentials), errors.Is(err, fault.TokenInvalid):
		return http.StatusUnauthorized, "Unauthorized"
	case errors.Is(err, fault.AccessDenied):
		return http.StatusForbidden, "Forbidden"
	case errors.Is(err, errMethod):
		return http.StatusMethodNotAllowed, "MethodNotAllowed"
	case errors.Is(err, fault.ObjectNotFound), errors.Is(err, fault.AccountNotFound), errors.Is(err, fault.UnknownOperation),
		errors.Is(err, fault.RegistryUnresolved):
		return http.StatusNotFound, "NotFound"
	case errors.Is(err, fault.ObjectAlreadyExists):
		return http.StatusUnprocessableEntity, "NotUnique"
	case errors.Is(err, fault.LimitExceeded):
		return http.StatusUnprocessableEntity, "MaxLimitExceeded"
	case errors.Is(err, fault.InvalidParameter):
		return http.StatusUnprocessableEntity, "InvalidFormat"
	case errors.Is(err, fault.Throttled):
		return http.StatusTooManyRequests, "TooManyRequests"
	case errors.Is(err, fault.Unavailable), errors.Is(err, fault.RequestTimeout):
		return http.StatusServiceUnavailable, "ServiceUnavailable"
	case web.FaultOf(err).Code == fault.Internal:
		return http.StatusInternalServerError, "ServerError"
	}
	return http.StatusBadRequest, "InvalidBodyContent"
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{}`)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // a client that is gone needs no answer
}
