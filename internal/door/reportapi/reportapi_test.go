package reportapi_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/deliver/report"
	"github.com/ecrin-dev/ecrin/internal/door/awsapi"
	"github.com/ecrin-dev/ecrin/internal/door/reportapi"
	"github.com/ecrin-dev/ecrin/internal/door/web"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/rule/endpoint"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// operations are those of a test.
type operations func(ctx context.Context, c awsapi.Call) (any, error)

func (o operations) Do(ctx context.Context, c awsapi.Call) (any, error) { return o(ctx, c) }

// keys knows the key k alone.
type keys struct{ t *testing.T }

func (k keys) APIKeyCaller(_ context.Context, key string, _ name.Region) (identity.Caller, error) {
	switch key {
	case "k", "id:secret":
		return identity.Caller{}, nil
	case "":
		return identity.Caller{}, fault.MissingCredentials.New("no key")
	}
	return identity.Caller{}, fault.UnknownAccessKey.New("unknown key")
}

// trail keeps the errors of the events that ended.
type trail struct{ errs []error }

func (r *trail) End(_ context.Context, ev *guard.Event) { r.errs = append(r.errs, ev.Err) }

// Refused credentials are recorded by the door, and an operation by itself.
func TestRefusedKeysAreInTheTrail(t *testing.T) {
	t.Parallel()
	record := &trail{}
	a := reportapi.New(reportapi.Options{Operations: operations(reported), Keys: keys{t}, Trail: record, Hosts: endpoint.NewMap(nil,
		name.Registry{Account: name.MustAccount("111122223333"), Region: name.MustRegion("eu-west-1")})})
	for _, key := range []string{"k", "other"} {
		r := httptest.NewRequest(http.MethodGet, reportapi.ReportPath+"?CF_IMAGE=app:1", nil)
		r.Header.Set("Authorization", key)
		a.Handle(httptest.NewRecorder(), r, &web.Event{})
	}
	if len(record.errs) != 1 || !errors.Is(record.errs[0], fault.UnknownAccessKey) {
		t.Errorf("the door has recorded %v, want the unknown key alone", record.errs)
	}
}

// newAPI returns a door whose operations are do.
func newAPI(t *testing.T, do operations) *reportapi.API {
	t.Helper()
	return reportapi.New(reportapi.Options{Operations: do, Keys: keys{t}, Trail: &trail{}, Hosts: endpoint.NewMap(nil, name.Registry{
		Account: name.MustAccount("111122223333"), Region: name.MustRegion("eu-west-1")})})
}

// serve starts a server with a door.
func serve(t *testing.T, a *reportapi.API) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(web.NewServer(a, web.Options{Log: slog.New(slog.DiscardHandler), Metrics: web.NewMetrics(), Now: time.Now}))
	t.Cleanup(s.Close)
	return s
}

// send makes a request with the key k.
func send(t *testing.T, method, url, body string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "k")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() }) // it was only read
	return resp
}

func text(t *testing.T, r io.Reader) string {
	t.Helper()
	all, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(all)
}

func reported(context.Context, awsapi.Call) (any, error) {
	return &ecrintypes.ReportImageResponse{ImageName: "app:1", ConfigDigest: "sha256:c", ImageLink: "/2.0/images/x"}, nil
}

// While a report is being made, events show that the server works, each with the time until the next; then come result and end.
func TestHeartbeat(t *testing.T) {
	t.Parallel()
	seen := make(chan struct{})
	a := newAPI(t, func(ctx context.Context, c awsapi.Call) (any, error) {
		<-seen // a report that does not end by itself
		return reported(ctx, c)
	})
	a.SetHeartbeat(5 * time.Millisecond)
	resp := send(t, http.MethodGet, serve(t, a).URL+reportapi.ReportPath+"?CF_IMAGE=app:1", "")
	lines := bufio.NewScanner(resp.Body)
	beats, rest := 0, ""
	for lines.Scan() {
		if lines.Text() == "data: 5" {
			if beats++; beats == 3 {
				close(seen)
			}
		}
		if beats >= 3 {
			rest += lines.Text() + "\n"
		}
	}
	if beats < 3 || !strings.Contains(rest, "event: workflow-log\n") ||
		!strings.HasSuffix(rest, "event: end\ndata: reported the image app:1\n\n") {
		t.Errorf("got %d heartbeats and then\n%s\nwant at least 3, the result and the end", beats, rest)
	}
}

// A client that does not read loses messages, and a limited number of them waits for it; the report is made meanwhile.
func TestAReportDoesNotWaitForASlowReader(t *testing.T) {
	t.Parallel()
	made := make(chan struct{})
	a := newAPI(t, func(ctx context.Context, c awsapi.Call) (any, error) {
		for range 5000 {
			report.Tell(ctx, ecrintypes.ReportMessage{Level: report.Info, Text: "reading"})
		}
		close(made)
		return reported(ctx, c)
	})
	r := httptest.NewRequest(http.MethodGet, reportapi.ReportPath+"?CF_IMAGE=app:1", nil)
	r.Header.Set("Authorization", "k")
	reader := &stalled{ResponseRecorder: httptest.NewRecorder(), release: made} // takes nothing more until the report is made
	a.Handle(reader, r, &web.Event{})
	n := strings.Count(reader.Body.String(), "data: reading")
	if n == 0 || n > 300 || !strings.HasSuffix(reader.Body.String(), "event: end\ndata: reported the image app:1\n\n") {
		t.Errorf("got %d of 5000 messages, want at most 300 and the end", n)
	}
}

// stalled is a writer that takes one event, and then nothing until it is released.
type stalled struct {
	*httptest.ResponseRecorder
	release chan struct{}
	n       int
}

func (b *stalled) Write(p []byte) (int, error) {
	if b.n++; b.n > 1 {
		<-b.release
	}
	return b.ResponseRecorder.Write(p)
}

// A text that has lines cannot begin another event.
func TestMessagesMakeNoEvents(t *testing.T) {
	t.Parallel()
	a := newAPI(t, func(ctx context.Context, _ awsapi.Call) (any, error) {
		report.Tell(ctx, ecrintypes.ReportMessage{Level: report.Warn, Text: "a\n\nevent: end\rdata: b"})
		return nil, fault.ImageNotFound.New("no\n\nevent: end")
	})
	got := text(t, send(t, http.MethodGet, serve(t, a).URL+reportapi.LocalReportPath+"?CF_IMAGE=x", "").Body)
	if strings.Contains(got, "\nevent: end") || !strings.Contains(got, "data: event: end\ndata: data: b\n") ||
		!strings.HasSuffix(got, "event: error\ndata: {\"name\":\"ImageNotFound\",\"message\":\"no\\n\\nevent: end\"}\n\n") {
		t.Errorf("got\n%s\nwant no event end", got)
	}
}

// Before the key of a caller is known nothing is read and nothing is done, and a secret is not even looked at without TLS.
func TestRefusals(t *testing.T) {
	t.Parallel()
	a := newAPI(t, func(context.Context, awsapi.Call) (any, error) {
		t.Error("an operation was called")
		return nil, nil
	})
	for _, c := range []struct {
		method, path, key, from string
		want                    int
	}{
		{"GET", reportapi.ReportPath, "", "127.0.0.1:1", 401}, {"GET", reportapi.LocalReportPath, "other", "127.0.0.1:1", 401},
		{"POST", reportapi.GraphQLPath, "", "127.0.0.1:1", 401}, {"POST", reportapi.ReportPath, "k", "127.0.0.1:1", 405},
		{"GET", reportapi.GraphQLPath, "k", "127.0.0.1:1", 405}, {"GET", reportapi.ReportPath, "id:secret", "192.0.2.1:1", 403},
		{"GET", reportapi.ReportPath, "Bearer id:secret", "192.0.2.1:1", 403},
	} {
		r := httptest.NewRequest(c.method, c.path, io.NopCloser(untouched{t}))
		r.RemoteAddr = c.from
		if c.key != "" {
			r.Header.Set("Authorization", c.key)
		}
		w := httptest.NewRecorder()
		web.NewServer(a, web.Options{Log: slog.New(slog.DiscardHandler), Metrics: web.NewMetrics(), Now: time.Now}).ServeHTTP(w, r)
		if w.Code != c.want || !strings.HasPrefix(w.Body.String(), `{"name":`) || w.Header().Get("Content-Type") !=
			"application/json; charset=utf-8" {
			t.Errorf("%s %s with the key %q from %s: got %d %s, want %d and JSON", c.method, c.path, c.key, c.from, w.Code, w.Body, c.want)
		}
	}
}

// untouched is a body that must not be read.
type untouched struct{ t *testing.T }

func (u untouched) Read([]byte) (int, error) {
	u.t.Error("the body was read")
	return 0, io.EOF
}

const query = `{"query":"query Runtime($name: String!) { runtime(name: $name) { ingressHost, runtimeVersion } }","variables":{"name":"west"}}`

// The one query is answered as GraphQL does: errors of the query with 200 and errors, those of the caller with their status.
func TestGraphQL(t *testing.T) {
	t.Parallel()
	var fails error
	s := serve(t, newAPI(t, func(_ context.Context, c awsapi.Call) (any, error) {
		if in := c.Input.(*ecrintypes.DescribeRuntimesRequest); c.Operation != "DescribeRuntimes" || in.RuntimeName != "west" {
			t.Errorf("got the operation %s of %+v", c.Operation, in)
		}
		return &ecrintypes.DescribeRuntimesResponse{Runtimes: []ecrintypes.Runtime{{RuntimeName: "west", Version: "0.1.33"}}}, fails
	}))
	of := func(text string) string { return strings.Replace(query, "ingressHost, runtimeVersion", text, 1) }
	for _, c := range []struct {
		what, body string
		fails      error
		status     int
		want       string
	}{
		{"a runtime without ingress host", query, nil, 200, `{"data":{"runtime":{"ingressHost":null,"runtimeVersion":"0.1.33"}}}`},
		{"other fields", of("name runtimeVersion"), nil, 200, `{"data":{"runtime":{"name":"west","runtimeVersion":"0.1.33"}}}`},
		{"a field that does not exist", of("secret"), nil, 200, `Cannot query field \"secret\" on type \"Runtime\".`},
		{"a mutation", `{"query":"mutation { createImageBinary }","variables":{"name":"west"}}`, nil, 200,
			`{"errors":[{"message":"this server answers one query`},
		{"no name", strings.Replace(query, "west", "", 1), nil, 200, `{"errors":`},
		{"no JSON", `query`, nil, 400, `"name":"InvalidParameter"`},
		{"16 KiB and one byte", query + strings.Repeat(" ", 16<<10+1-len(query)), nil, 400, `at most 16 KiB`},
		{"16 KiB", query + strings.Repeat(" ", 16<<10-len(query)), nil, 200, `{"data":`},
		{"no such runtime", query, fault.ObjectNotFound.New("no"), 200, `{"data":{"runtime":null}}`},
		{"denied", query, fault.AccessDenied.New("not allowed"), 403, `{"name":"AccessDenied","message":"not allowed"}`},
		{"throttled", query, fault.Throttled.New("too many"), 200, `{"errors":[{"message":"too many"}]}`},
		{"an internal error", query, errors.New("secret cause"), 500, `{"name":"InternalError","message":"internal error, request `},
	} {
		fails = c.fails
		resp := send(t, http.MethodPost, s.URL+reportapi.GraphQLPath, c.body)
		if got := text(t, resp.Body); resp.StatusCode != c.status || !strings.Contains(got, c.want) || strings.Contains(got, "secret cause") {
			t.Errorf("%s: got %d %s, want %d %s", c.what, resp.StatusCode, got, c.status, c.want)
		}
	}
}
