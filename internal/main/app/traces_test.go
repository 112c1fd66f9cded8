package app_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// tracedSpan is a span as a collector reads it.
type tracedSpan struct {
	TraceID, SpanID, ParentSpanID, Name, StartTimeUnixNano, EndTimeUnixNano string

	Kind       int
	Status     struct{ Code int }
	Attributes []struct {
		Key   string
		Value struct{ StringValue, IntValue string }
	}
}

// get returns the value of an attribute, "" if there is none.
func (s tracedSpan) get(key string) string {
	for _, a := range s.Attributes {
		if a.Key == key {
			return a.Value.StringValue + a.Value.IntValue
		}
	}
	return ""
}

// receiver is a collector that keeps all spans.
type receiver struct {
	mu    sync.Mutex
	spans []tracedSpan
	text  strings.Builder
	keys  []string // the values of the header X-Key
}

func (c *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in struct {
		ResourceSpans []struct {
			ScopeSpans []struct{ Spans []tracedSpan }
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var raw json.RawMessage
	if err := json.NewDecoder(r.Body).Decode(&raw); err != nil || json.Unmarshal(raw, &in) != nil || r.URL.Path != "/v1/traces" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.text.Write(raw)
	c.keys = append(c.keys, r.Header.Get("X-Key"))
	for _, of := range in.ResourceSpans {
		for _, in := range of.ScopeSpans {
			c.spans = append(c.spans, in.Spans...)
		}
	}
	_, _ = w.Write([]byte("{}"))
}

// manifest returns the span of the one GET of a manifest with a status and an attribute for a client's trace.
func (c *receiver) manifest(t *testing.T, status, claimed string) (found tracedSpan) {
	t.Helper()
	n := 0
	for _, s := range c.spans {
		if s.get("http.request.method") == "GET" && strings.Contains(s.Name, "anifest") && s.get("http.response.status_code") == status &&
			s.get("ecrin.client.traceparent") == claimed {
			found = s
			n++
		}
	}
	if n != 1 {
		t.Fatalf("got %d spans of a manifest with status %s and trace %q among %d, want 1: %+v", n, status, claimed, len(c.spans), c.spans)
	}
	return found
}

// A collector gets a span of a push, a pull and a denied request, with what names them and without what authorizes them. A server that
// stops sends what it still has.
func TestSpansOfRequests(t *testing.T) {
	t.Parallel()
	c := &receiver{}
	server := httptest.NewServer(c)
	defer server.Close()
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	s := apptest.Start(t, apptest.Options{Config: func(o *config.Config) {
		o.Traces = config.Traces{URL: server.URL, Headers: secret.New("X-Key=a%2Cb"), Ratio: 1}
	}})
	root := s.Root(t)
	repo := root.CreateRepository(t, "team/app")
	stranger := s.NewAccount(t, "111122223333").Docker(t)
	stranger.Prefix = ""
	repo.Push(t, "1.0", ocitest.NewImage(1, 100))
	put := ocitest.NewImage(2, 100)
	repo.PushBlobs(t, put)
	repo.Manifest(t, "1.0").Want(t, 200)
	repo.Manifest(t, "2.0").Want(t, 404)
	denied := stranger.Repo("team/app").Manifest(t, "1.0").Want(t, 403).Header.Get("X-Amzn-Requestid")
	repo.Do(t, http.MethodGet, repo.Path("/manifests/1.0?secret=query"), nil, "Traceparent", parent).Want(t, 200)
	fetch(t, s.URL+"/healthz")
	s.Stop(t)

	for what, test := range map[string]struct{ status, code string }{
		"pull": {"200", ""}, "missing": {"404", "ImageNotFound"}, "denied": {"403", "AccessDenied"},
	} {
		got := c.manifest(t, test.status, "")
		id := got.get("aws.request_id")
		if what == "denied" && id != denied {
			t.Errorf("got the request id %s, want %s as in the answer", id, denied)
		}
		if len(got.TraceID) != 32 || got.TraceID != strings.ReplaceAll(id, "-", "") || got.ParentSpanID != "" ||
			got.Kind != 2 || got.Status.Code != 0 ||
			got.Name != "oci "+got.get("ecrin.operation") || got.get("ecrin.operation") == "" || got.get("ecrin.door") != "oci" ||
			got.get("ecrin.account") != s.Running.Account || got.get("ecrin.region") != s.Running.Region ||
			got.get("ecrin.repository") != "team/app" || got.get("http.response.status_code") != test.status ||
			got.get("error.type") != test.code || got.get("http.request.method") != "GET" ||
			got.StartTimeUnixNano > got.EndTimeUnixNano {
			t.Errorf("%s: got %+v, want the span of the request, status %s, error %q", what, got, test.status, test.code)
		}
	}
	if got := c.manifest(t, "200", parent); got.TraceID != strings.ReplaceAll(got.get("aws.request_id"), "-", "") || got.ParentSpanID != "" {
		t.Errorf("a client names a trace: got %+v, want an own trace, and the client's as an attribute", got)
	}
	pushes, signed := 0, 0
	for _, span := range c.spans {
		if span.get("http.request.method") == "PUT" && span.get("ecrin.repository") == "team/app" &&
			span.get("http.response.status_code") == "201" {
			pushes++
		}
		if span.Name == "ecr CreateRepository" && span.get("http.response.status_code") == "200" {
			signed++
		}
		if span.get("ecrin.door") == "ops" {
			t.Errorf("got a span of a probe: %+v", span)
		}
	}
	if pushes < 3 || signed != 1 {
		t.Errorf("got %d spans of the push and %d of CreateRepository, want at least 3 and 1", pushes, signed)
	}
	for _, secret := range []string{repo.Password, root.Secret, "Basic ", "secret=query", "Signature"} {
		if strings.Contains(c.text.String(), secret) {
			t.Errorf("the collector got %q", secret)
		}
	}
	for _, key := range c.keys {
		if key != "a,b" {
			t.Errorf("got the header %q, want a,b", key)
		}
	}
	if strings.Contains(s.Log.String(), "a,b") || strings.Contains(s.Log.String(), "a%2Cb") {
		t.Error("the log has the header of the collector")
	}
}

// The trace of a trusted proxy goes on, and the proxy decides whether it is recorded.
func TestTraceOfATrustedProxy(t *testing.T) {
	t.Parallel()
	c := &receiver{}
	server := httptest.NewServer(c)
	defer server.Close()
	s := apptest.Start(t, apptest.Options{Config: func(o *config.Config) {
		o.Traces = config.Traces{URL: server.URL, Ratio: 0}
		o.TrustedProxies = []string{"127.0.0.1"}
	}})
	repo := s.Root(t).CreateRepository(t, "team/app")
	repo.Push(t, "1.0", ocitest.NewImage(1, 100))
	const ids = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-"
	for _, parent := range []string{ids + "01", ids + "00", "nonsense"} {
		repo.Do(t, http.MethodGet, repo.Path("/manifests/1.0"), nil, "Traceparent", parent).Want(t, 200)
	}
	s.Stop(t)
	got := c.manifest(t, "200", "")
	if got.TraceID != "0af7651916cd43dd8448eb211c80319c" || got.ParentSpanID != "b7ad6b7169203331" {
		t.Errorf("got %+v, want a span of the proxy's trace", got)
	}
	if len(c.spans) != 1 {
		t.Errorf("got %d spans, want one: the ratio is 0, and the proxy records one trace", len(c.spans))
	}
}

// While the collector hangs, requests are answered and lost spans are counted. The stop ends within its time.
func TestRequestsGoOnWhileTheCollectorHangs(t *testing.T) {
	t.Parallel()
	release, asked := make(chan struct{}), make(chan struct{}, 100)
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		asked <- struct{}{}
		<-release
	}))
	defer server.Close()
	defer close(release)
	s := apptest.Start(t, apptest.Options{Config: func(o *config.Config) {
		o.Traces, o.StopTimeout = config.Traces{URL: server.URL, Ratio: 1}, time.Second
	}})
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for range 400 {
				r, err := s.HTTP.Get(s.URL + "/v2/")
				if err != nil {
					t.Error(err)
					return
				}
				if r.Body.Close(); r.StatusCode != http.StatusUnauthorized {
					t.Errorf("got status %d, want 401", r.StatusCode)
				}
			}
		})
	}
	wait.Wait()
	<-asked
	_, text := fetch(t, s.URL+"/metrics")
	if strings.Contains(text, "\necrin_spans_dropped_total 0\n") || !strings.Contains(text, "\necrin_spans_dropped_total ") ||
		!strings.Contains(text, "\necrin_spans_sent_total 0\n") {
		t.Errorf("got these metrics of spans, want dropped ones and none sent:\n%s", grep(text, "ecrin_spans"))
	}
	began := time.Now()
	s.Stop(t)
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("the stop took %s, want about a second", took)
	}
}

// grep returns the lines of a text that contain a word.
func grep(text, word string) string {
	var found []string
	for line := range strings.Lines(text) {
		if strings.Contains(line, word) {
			found = append(found, line)
		}
	}
	return strings.Join(found, "")
}
