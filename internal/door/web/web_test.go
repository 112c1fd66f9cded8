package web_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/door/web"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

type handler func(w http.ResponseWriter, r *http.Request, ev *web.Event)

func (h handler) Handle(w http.ResponseWriter, r *http.Request, ev *web.Event) { h(w, r, ev) }

// serve runs one request and returns the answer and the logged event.
func serve(t *testing.T, h handler, r *http.Request) (*httptest.ResponseRecorder, map[string]any) {
	t.Helper()
	var log bytes.Buffer
	s := web.NewServer(h, web.Options{Log: slog.New(slog.NewJSONHandler(&log, nil)), Metrics: web.NewMetrics(), Now: time.Now})
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	var line map[string]any
	if err := json.Unmarshal(log.Bytes(), &line); err != nil {
		t.Fatalf("the log is not one line of JSON: %v\n%s", err, log.String())
	}
	return w, line
}

func TestOneEventForEachRequest(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest(http.MethodGet, "http://registry.example:5100/v2/app?X-Amz-Signature=canary", nil)
	r.Header.Set("User-Agent", "agent/1")
	w, line := serve(t, func(w http.ResponseWriter, _ *http.Request, ev *web.Event) {
		ev.Door, ev.Operation, ev.Caller.ARN, ev.Digest = "oci", "get", "arn:aws:iam::000000000000:root", "sha256:00"
		ev.Err = errors.New("the private cause")
		w.WriteHeader(http.StatusNotFound)
		w.Write([]byte("gone"))
	}, r)
	want := map[string]any{
		"msg": "request", "level": "INFO", "door": "oci", "op": "get", "method": "GET", "host": "registry.example:5100", "path": "/v2/app",
		"status": 404.0, "sent": 4.0, "caller": "arn:aws:iam::000000000000:root", "digest": "sha256:00", "agent": "agent/1",
		"error": "the private cause", "remote": "192.0.2.1",
	}
	for k, v := range want {
		if line[k] != v {
			t.Errorf("event, %s: got %v, want %v", k, line[k], v)
		}
	}
	if text, _ := json.Marshal(line); strings.Contains(string(text), "canary") {
		t.Errorf("the event contains the query: %s", text)
	}
	if w.Code != http.StatusNotFound {
		t.Errorf("status %d, want 404", w.Code)
	}
}

func TestPanicIsOneAnswerAndOneEvent(t *testing.T) {
	t.Parallel()
	w, line := serve(t, func(http.ResponseWriter, *http.Request, *web.Event) {
		panic("a broken invariant")
	}, httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "invariant") {
		t.Errorf("got %d %q, want 500 without the text of the panic", w.Code, w.Body)
	}
	id, _ := line["id"].(string)
	if !strings.Contains(w.Body.String(), id) || len(id) != 36 {
		t.Errorf("the answer %q does not contain the request id %q", w.Body, id)
	}
	if got, _ := line["error"].(string); !strings.Contains(got, "a broken invariant") || line["level"] != "ERROR" {
		t.Errorf("event: got %v, want the panic at level ERROR", line)
	}
}

// A panic after the answer has begun adds nothing to it; that with which a handler breaks an answer off reaches package http.
func TestPanicsAfterTheAnswerHasBegun(t *testing.T) {
	t.Parallel()
	w, line := serve(t, func(w http.ResponseWriter, _ *http.Request, _ *web.Event) {
		_, _ = w.Write([]byte("begun"))
		panic("broken")
	}, httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Body.String() != "begun" || line["error"] == nil {
		t.Errorf("got %q, %v, want what was written and the error", w.Body, line)
	}
	s := web.NewServer(handler(func(http.ResponseWriter, *http.Request, *web.Event) { panic(http.ErrAbortHandler) }),
		web.Options{Log: slog.New(slog.DiscardHandler), Metrics: web.NewMetrics(), Now: time.Now})
	defer func() {
		if p := recover(); p != http.ErrAbortHandler {
			t.Errorf("got the panic %v, want http.ErrAbortHandler", p)
		}
	}()
	s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
}

// readerFrom records the reader that ReadFrom receives.
type readerFrom struct {
	*httptest.ResponseRecorder
	got io.Reader
}

func (r *readerFrom) ReadFrom(src io.Reader) (int64, error) {
	r.got = src
	return io.Copy(r.ResponseRecorder, src)
}

// The connection receives a file as an *os.File, so that the kernel can send it (sendfile).
func TestFilesReachReadFrom(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "blob")
	if err := os.WriteFile(path, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := &readerFrom{ResponseRecorder: httptest.NewRecorder()}
	s := web.NewServer(handler(func(w http.ResponseWriter, r *http.Request, _ *web.Event) {
		f, err := os.Open(path)
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		http.ServeContent(w, r, "", time.Time{}, f)
	}), web.Options{Log: slog.New(slog.DiscardHandler), Metrics: web.NewMetrics(), Now: time.Now})
	s.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	limited, ok := w.got.(*io.LimitedReader)
	if ok {
		_, ok = limited.R.(*os.File)
	}
	if !ok || w.Body.String() != "content" {
		t.Errorf("ReadFrom: got a %T with %q, want the file", w.got, w.Body)
	}
}

func TestReadBody(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what   string
		body   io.Reader
		length int64
		max    int64
		want   error
	}{
		{"within", strings.NewReader("12345"), 5, 5, nil},
		{"empty", strings.NewReader(""), 0, 5, nil},
		{"of unknown length", strings.NewReader(strings.Repeat("x", 9000)), -1, 9000, nil},
		{"with a declared length that is too large", strings.NewReader("123456"), 6, 5, fault.RequestTooLarge},
		{"that is too large, of unknown length", strings.NewReader(strings.Repeat("x", 9001)), -1, 9000, fault.RequestTooLarge},
		{"that ends early", io.MultiReader(strings.NewReader("12"), failingReader{}), 5, 5, fault.MalformedRequest},
	} {
		r := &http.Request{Body: io.NopCloser(c.body), ContentLength: c.length}
		got, err := web.ReadBody(r, c.max)
		if (c.want == nil) != (err == nil) || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("a body %s: got %v, want %v", c.what, err, c.want)
		}
		if err == nil && c.length >= 0 && int64(len(got)) != c.length {
			t.Errorf("a body %s: %d bytes, want %d", c.what, len(got), c.length)
		}
	}
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// Metrics contain no callers, resources or paths.
func TestMetricsHaveNoPrincipals(t *testing.T) {
	t.Parallel()
	m := web.NewMetrics()
	s := web.NewServer(handler(func(w http.ResponseWriter, _ *http.Request, ev *web.Event) {
		ev.Door, ev.Operation, ev.Caller.ARN, ev.Resource = "oci", "get", "canary-caller", "canary-resource"
		w.Write([]byte("abc"))
	}), web.Options{Log: slog.New(slog.DiscardHandler), Metrics: m, Now: time.Now})
	for range 3 {
		s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/canary-path", nil))
	}
	w := httptest.NewRecorder()
	m.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, want := range []string{
		`ecrin_requests_total{door="oci",operation="get",status="200"} 3`,
		`ecrin_sent_bytes_total{door="oci",operation="get"} 9`,
		`ecrin_request_seconds_count{door="oci",operation="get"} 3`,
		`ecrin_requests_in_flight 0`,
	} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("the metrics do not contain %s", want)
		}
	}
	if strings.Contains(w.Body.String(), "canary") {
		t.Error("the metrics contain a caller, a resource or a path")
	}
}
