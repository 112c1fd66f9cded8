// Package reportapi serves what clients of reports of images speak: a request whose answer is a stream of events, and the one GraphQL
// query by which they find the host of a runtime. Both are other forms of operations of the ecrin service.
package reportapi

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/deliver/report"
	"github.com/ecrin-dev/ecrin/internal/door/awsapi"
	"github.com/ecrin-dev/ecrin/internal/door/web"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/rule/endpoint"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/lazyregexp"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// The paths that are served.
const (
	ReportPath      = "/app-proxy/api/image-report"
	LocalReportPath = "/api/image-report" // of clients with CF_LOCAL
	GraphQLPath     = "/2.0/api/graphql"
)

// Serves reports whether a path is one of this package.
func Serves(path string) bool {
	return path == ReportPath || path == LocalReportPath || path == GraphQLPath
}

const (
	heartbeat    = 10 * time.Second // interval of the events that show that a report is being made
	maxGraphQL   = 16 << 10         // bytes of a query
	maxUnwritten = 256              // messages that wait for the client
)

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
	heartbeat  time.Duration
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
	return &API{operations: o.Operations, keys: o.Keys, trail: o.Trail, hosts: o.Hosts, heartbeat: heartbeat}
}

// Handle serves one request.
func (a *API) Handle(w http.ResponseWriter, r *http.Request, ev *web.Event) {
	ev.Door = "report"
	w.Header()[web.RequestIDHeader] = []string{ev.RequestID}
	w.Header().Set("Cache-Control", "no-store")
	req, err := a.request(r, ev)
	if err != nil {
		a.Refuse(w, r, ev, err)
		a.trail.End(r.Context(), &ev.Event)
		return
	}
	ev.Identify(req.By)
	if r.URL.Path == GraphQLPath {
		a.runtime(w, r, ev, req)
		return
	}
	a.report(w, r, ev, req)
}

// request checks method and credentials of a request.
func (a *API) request(r *http.Request, ev *web.Event) (req guard.Request, err error) {
	host, err := a.hosts.Parse(r.Host)
	if err != nil {
		return req, err
	}
	want := http.MethodGet
	if r.URL.Path == GraphQLPath {
		want = http.MethodPost
	}
	if r.Method != want {
		return req, fault.UnknownOperation.New("%s serves the method %s only", r.URL.Path, want)
	}
	key := strings.TrimSpace(r.Header.Get("Authorization"))
	if _, token, ok := strings.Cut(key, "Bearer "); ok {
		key = token
	}
	// A secret that is sent as it is must not cross a network in clear text.
	if strings.Contains(key, ":") && !ev.From.Secure && !ev.From.SourceIP.IsLoopback() {
		return req, fault.AccessDenied.New("a secret access key is accepted by TLS only: use https, or an authorization token")
	}
	region := host.Registry.Region
	if region.String() == "" {
		region = a.hosts.Default().Region
	}
	by, err := a.keys.APIKeyCaller(r.Context(), key, region)
	if err != nil {
		return req, err
	}
	return guard.Request{By: by, Region: region, Host: host, From: ev.From}, nil
}

// failure is an error as clients read it.
type failure struct {
	Name    string `json:"name"`
	Message string `json:"message"`
}

func failureOf(err error, id string) failure {
	var v *awswire.Violation
	if errors.As(err, &v) {
		return failure{"ValidationError", v.Error()}
	}
	f := web.FaultOf(err)
	if f.Code == fault.Internal {
		return failure{"InternalError", "internal error, request " + id}
	}
	return failure{f.Code.String(), f.Public}
}

// Refuse answers a request with an error.
func (a *API) Refuse(w http.ResponseWriter, _ *http.Request, ev *web.Event, err error) {
	ev.Door, ev.Err = "report", err
	status := http.StatusBadRequest
	switch {
	case errors.Is(err, fault.MissingCredentials), errors.Is(err, fault.UnknownAccessKey), errors.Is(err, fault.SignatureMismatch),
		errors.Is(err, fault.ExpiredCredentials), errors.Is(err, fault.TokenInvalid):
		status = http.StatusUnauthorized
	case errors.Is(err, fault.AccessDenied):
		status = http.StatusForbidden
	case errors.Is(err, fault.Throttled):
		status = http.StatusTooManyRequests
	case errors.Is(err, fault.UnknownOperation):
		status = http.StatusMethodNotAllowed
	case web.FaultOf(err).Code == fault.Internal:
		status = http.StatusInternalServerError
	}
	writeJSON(w, status, failureOf(err, ev.RequestID))
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

// stream writes events. It is safe for concurrent use.
type stream struct {
	mu    sync.Mutex
	w     http.ResponseWriter
	flush func() error
	err   error
}

// send writes one event. The lines of data become lines of the event.
func (s *stream) send(event, data string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return
	}
	var b strings.Builder
	b.WriteString("event: " + event + "\n")
	for line := range strings.Lines(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(data)) {
		b.WriteString("data: " + strings.TrimSuffix(line, "\n") + "\n")
	}
	if data == "" {
		b.WriteString("data:\n")
	}
	b.WriteString("\n")
	if _, s.err = io.WriteString(s.w, b.String()); s.err == nil {
		s.err = s.flush()
	}
}

// report makes a report while it writes the events.
func (a *API) report(w http.ResponseWriter, r *http.Request, ev *web.Event, req guard.Request) {
	ev.Operation = "ReportImage"
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	w.Header().Set("X-Accel-Buffering", "no") // of a proxy, which would keep events back
	w.WriteHeader(http.StatusOK)
	s := &stream{w: w, flush: http.NewResponseController(w).Flush}
	s.send("heartbeat", strconv.FormatInt(a.heartbeat.Milliseconds(), 10))
	waiting := make(chan ecrintypes.ReportMessage, maxUnwritten)
	ctx := report.WithMessages(r.Context(), func(m ecrintypes.ReportMessage) {
		select {
		case waiting <- m:
		default: // the client reads too slowly: it misses messages, the report goes on
		}
	})
	var made sync.WaitGroup
	done := make(chan struct{})
	made.Go(func() {
		beat := time.NewTicker(a.heartbeat)
		defer beat.Stop()
		for {
			select {
			case m := <-waiting:
				s.send(m.Level, m.Text)
			case <-beat.C:
				s.send("heartbeat", strconv.FormatInt(a.heartbeat.Milliseconds(), 10))
			case <-done:
				for len(waiting) > 0 {
					m := <-waiting
					s.send(m.Level, m.Text)
				}
				return
			}
		}
	})
	out, err := a.do(ctx, ev, req, "ReportImage", &ecrintypes.ReportImageRequest{ReportVariables: r.URL.RawQuery})
	close(done)
	made.Wait()
	if err != nil {
		ev.Err = err
		text, jsonErr := json.Marshal(failureOf(err, ev.RequestID))
		if jsonErr != nil {
			text = []byte(`{"name":"InternalError"}`)
		}
		s.send("error", string(text))
		return
	}
	answer := out.(*ecrintypes.ReportImageResponse)
	ev.Digest = answer.ImageDigest
	// The outputs that steps after this one use; an index has no configuration, and its own digest stands for it. Clients log the text of
	// a workflow-log event.
	if text, err := json.Marshal(map[string]string{"IMAGE_NAME": answer.ImageName,
		"IMAGE_SHA": cmp.Or(answer.ConfigDigest, answer.ImageDigest), "IMAGE_LINK": base(r, ev) + answer.ImageLink}); err == nil {
		s.send("workflow-log", string(text))
	}
	s.send("end", "reported the image "+answer.ImageName)
}

// base returns the URL of this server as the client has it.
func base(r *http.Request, ev *web.Event) string {
	if ev.From.Secure {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

func (a *API) do(ctx context.Context, ev *web.Event, req guard.Request, operation string, in awswire.Input) (any, error) {
	return a.operations.Do(ctx, awsapi.Call{Service: "ecrin", Operation: operation, Request: req, Input: in, Event: &ev.Event,
		Hold: func(context.Context, int64) error { return nil }})
}

// runtimeQuery is the form of the one query that is answered: query Runtime($name: String!) { runtime(name: $name) { … } }.
var runtimeQuery = lazyregexp.New(`^\s*query\s+Runtime\s*\(\s*\$name\s*:\s*String!\s*\)\s*\{\s*runtime\s*\(\s*name\s*:\s*\$name\s*\)\s*\{([\sA-Za-z,_]*)\}\s*\}\s*$`)

// runtime answers the query for a runtime.
func (a *API) runtime(w http.ResponseWriter, r *http.Request, ev *web.Event, req guard.Request) {
	ev.Operation = "DescribeRuntimes"
	var in struct {
		Query     string `json:"query"`
		Variables struct {
			Name string `json:"name"`
		} `json:"variables"`
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxGraphQL+1))
	if err != nil || len(body) > maxGraphQL || json.Unmarshal(body, &in) != nil {
		a.Refuse(w, r, ev, fault.InvalidParameter.New("the body must be {\"query\":…,\"variables\":{\"name\":…}}, of at most 16 KiB"))
		return
	}
	m := runtimeQuery.FindStringSubmatch(in.Query)
	if m == nil || in.Variables.Name == "" {
		ev.Err = fault.InvalidParameter.New("not the query for a runtime")
		writeJSON(w, http.StatusOK, map[string]any{"errors": []any{map[string]string{
			"message": "this server answers one query: query Runtime($name: String!) { runtime(name: $name) { ingressHost, runtimeVersion } }"}}})
		return
	}
	out, err := a.do(r.Context(), ev, req, "DescribeRuntimes", &ecrintypes.DescribeRuntimesRequest{RuntimeName: in.Variables.Name})
	var found any
	switch {
	case errors.Is(err, fault.ObjectNotFound):
	case errors.Is(err, fault.AccessDenied), err != nil && web.FaultOf(err).Code == fault.Internal:
		a.Refuse(w, r, ev, err)
		return
	case err != nil:
		ev.Err = err
		writeJSON(w, http.StatusOK, map[string]any{"errors": []any{map[string]string{"message": failureOf(err, ev.RequestID).Message}}})
		return
	default:
		one := out.(*ecrintypes.DescribeRuntimesResponse).Runtimes[0]
		fields := map[string]any{}
		for _, field := range strings.FieldsFunc(m[1], func(c rune) bool { return c == ',' || c == ' ' || c == '\n' || c == '\t' || c == '\r' }) {
			switch field {
			case "ingressHost":
				fields[field] = orNull(one.IngressHost)
			case "runtimeVersion":
				fields[field] = one.Version
			case "name":
				fields[field] = one.RuntimeName
			default:
				writeJSON(w, http.StatusOK, map[string]any{"errors": []any{map[string]string{
					"message": fmt.Sprintf("Cannot query field %q on type \"Runtime\".", field)}}})
				return
			}
		}
		found = fields
	}
	writeJSON(w, http.StatusOK, map[string]any{"data": map[string]any{"runtime": found}})
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}
