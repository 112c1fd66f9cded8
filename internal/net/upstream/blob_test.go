package upstream_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/net/upstream"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// A blob that is not what its descriptor says is never read to io.EOF.
func TestBlobIsVerified(t *testing.T) {
	t.Parallel()
	n, content := newInternet(t), ocitest.Bytes(1, 100_000)
	r := n.registry(t, anonymous)
	d, other := ocitest.SHA256(content), ocitest.Bytes(2, 100_000)
	stream := func(parts ...[]byte) http.HandlerFunc { // of unknown length
		return func(w http.ResponseWriter, _ *http.Request) {
			for _, p := range parts {
				_, _ = w.Write(p)
				w.(http.Flusher).Flush()
			}
		}
	}
	header := func(status int, key, value string, body []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(key, value)
			w.WriteHeader(status)
			_, _ = w.Write(body)
		}
	}
	for _, c := range []struct {
		what    string
		handler http.HandlerFunc
		size    int64
		reason  upstream.Reason
	}{
		{"another blob", stream(other), 100_000, upstream.Lied},
		{"another blob of unknown size", stream(other), 0, upstream.Lied},
		{"another Content-Length", header(200, "X", "", content[:500]), 100_000, upstream.Lied},
		{"too long", stream(content, content), 100_000, upstream.Lied},
		{"one byte too long", stream(content, []byte("x")), 100_000, upstream.Lied},
		{"too short", stream(content[:99_999]), 100_000, upstream.Lied}, // the next request has another range
		{"too short, size unknown", stream(content[:99_999]), 0, upstream.Lied},
		{"empty", stream(), 0, upstream.Lied},
		{"another digest in the header", header(200, "Docker-Content-Digest", ocitest.SHA256(other), content), 100_000, upstream.Lied},
		{"a range that was not asked for", header(206, "Content-Range", "bytes 0-99999/100000", content), 100_000, upstream.Lied},
		{"no content", header(204, "X", "", nil), 0, upstream.Lied},
		{"a web page", header(200, "Content-Type", "text/html", []byte("canary")), 100_000, upstream.Unavailable},
		{"a web page, size unknown", header(200, "Content-Type", "text/html", []byte("canary")), 0, upstream.Unavailable},
		{"a length above the limit", header(200, "Content-Length", strconv.Itoa(65<<30), nil), 0, upstream.Lied},
	} {
		n.host("registry", c.handler)
		got, err := read(t, r, d, upstream.BlobOptions{Size: c.size})
		if c.what == "too short" { // ends as Unavailable or Lied, by what the further requests get
			var e *upstream.Error
			if !errors.As(err, &e) {
				t.Errorf("%s: got %v, want an error", c.what, err)
			}
			continue
		}
		want(t, c.what, err, c.reason)
		if len(got) > 100_000 {
			t.Errorf("%s: got %d bytes", c.what, len(got))
		}
	}
	n.host("registry", stream(nil))
	if got, err := read(t, r, ocitest.SHA256(nil), upstream.BlobOptions{}); err != nil || len(got) != 0 {
		t.Errorf("the empty blob: got %d bytes, %v", len(got), err)
	}
	n.host("registry", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100000")
		header(200, "Content-Type", "text/html", content)(w, r)
	})
	if got, err := read(t, r, d, upstream.BlobOptions{Size: 100_000}); err != nil || len(got) != 100_000 {
		t.Errorf("a blob that is a page: got %d bytes, %v", len(got), err)
	}
	n.host("registry", stream(content))
	b, err := r.Blob(t.Context(), "team/app", parse(t, ocitest.SHA512(content)), upstream.BlobOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(b); err != nil || len(got) != len(content) || b.Size() != -1 {
		t.Errorf("sha512: got %d bytes of %d, %v", len(got), b.Size(), err)
	}
	if err := b.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if k, err := b.Read(make([]byte, 1)); k != 0 || err != io.EOF {
		t.Errorf("Read after the end: got %d, %v, want io.EOF", k, err)
	}
}

// breaking serves content in parts of at most part bytes and then breaks the connection, with or without ranges.
func breaking(content []byte, part int, ranges bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var from int
		if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); err == nil && ranges {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(content)-1, len(content)))
			w.Header().Set("Content-Length", strconv.Itoa(len(content)-from))
			w.WriteHeader(http.StatusPartialContent)
		} else {
			from = 0
			w.Header().Set("Content-Length", strconv.Itoa(len(content)))
		}
		end := min(len(content), from+part)
		_, _ = w.Write(content[from:end])
		w.(http.Flusher).Flush()
		if end < len(content) {
			panic(http.ErrAbortHandler)
		}
	}
}

// A blob whose connection breaks is continued where it broke.
func TestBlobResumes(t *testing.T) {
	t.Parallel()
	n, content := newInternet(t), ocitest.Bytes(1, 5<<20)
	r := n.registry(t)
	d := ocitest.SHA256(content)
	n.host("cdn", breaking(content, 2<<20, true))
	n.host("registry", requireBasic(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://"+n.addr("cdn")+"/"+strconv.FormatInt(time.Now().UnixNano(), 10), http.StatusTemporaryRedirect)
	}))
	if got, err := read(t, r, d, upstream.BlobOptions{Size: 5 << 20}); err != nil || !bytes.Equal(got, content) {
		t.Errorf("with ranges: got %d bytes, %v", len(got), err)
	}
	if got := len(n.lines("cdn")); got != 3 {
		t.Errorf("with ranges: got %d requests, want 3", got)
	}
	n.checkCanaries(t, nil, "registry")

	// Without ranges, the repeated bytes are skipped.
	var parts atomic.Int32
	n.host("registry", func(w http.ResponseWriter, r *http.Request) {
		breaking(content, int(parts.Add(1))*(2<<20), false)(w, r)
	})
	if got, err := read(t, r, d, upstream.BlobOptions{Size: 5 << 20}); err != nil || !bytes.Equal(got, content) {
		t.Errorf("without ranges: got %d bytes, %v", len(got), err)
	}

	// The caller has the first bytes.
	n.host("registry", breaking(content, 2<<20, true))
	h := sha256.New()
	h.Write(content[:1000])
	o := upstream.BlobOptions{Size: 5 << 20, Offset: 1000, Prefix: h}
	if got, err := read(t, r, d, o); err != nil || !bytes.Equal(got, content[1000:]) {
		t.Errorf("from 1000: got %d bytes, %v", len(got), err)
	}
	o.Prefix = sha256.New()
	_, err := read(t, r, d, o)
	want(t, "with other first bytes", err, upstream.Lied)
	o.Prefix = nil
	if got, err := read(t, r, d, o); err != nil || !bytes.Equal(got, content[1000:]) {
		t.Errorf("verified by the caller: got %d bytes, %v", len(got), err)
	}
	o.Offset = 5 << 20
	if got, err := read(t, r, d, o); err != nil || len(got) != 0 {
		t.Errorf("from the end: got %d bytes, %v", len(got), err)
	}
	for what, text := range map[string]string{"another range": "bytes 0-99/5242880", "another size": "bytes 1000-5242880/5242881",
		"a part": "bytes 1000-2000/5242880", "no range": "canary", "no size": "bytes 1000-5242879/canary"} {
		n.host("registry", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", text)
			w.WriteHeader(http.StatusPartialContent)
		})
		_, err := read(t, r, d, upstream.BlobOptions{Size: 5 << 20, Offset: 1000})
		want(t, what, err, upstream.Lied)
	}
}

// A registry that ends every connection does not keep the reader busy for ever.
func TestBlobGivesUp(t *testing.T) {
	t.Parallel()
	n, content := newInternet(t), ocitest.Bytes(1, 100_000)
	r := n.registry(t, anonymous)
	n.host("registry", breaking(content, 100, true))
	_, err := read(t, r, ocitest.SHA256(content), upstream.BlobOptions{Size: 100_000})
	want(t, "100 bytes of each connection", err, upstream.Unavailable)
	if got := len(n.lines("registry")); got != 6 {
		t.Errorf("got %d requests, want 6", got)
	}
}

// drip sends a byte each 10 ms until the client leaves.
func drip(w http.ResponseWriter, r *http.Request) {
	w.WriteHeader(http.StatusOK)
	for r.Context().Err() == nil {
		if _, err := w.Write([]byte(" ")); err != nil {
			return
		}
		w.(http.Flusher).Flush()
		select {
		case <-time.After(10 * time.Millisecond):
		case <-r.Context().Done():
		}
	}
}

// A registry that does not answer, or that sends or takes single bytes, ends each request in a bounded time.
func TestSlowRegistry(t *testing.T) {
	t.Parallel()
	n, im := newInternet(t), ocitest.NewImage(1, 10)
	slow := func(_ *upstream.Endpoint, l *upstream.Limits) {
		l.Answer, l.Stall, l.Commit, l.Document, l.Attempts = 100*time.Millisecond, 100*time.Millisecond, 100*time.Millisecond, time.Minute, 2
	}
	ended := make(chan struct{})
	defer close(ended)
	hang := func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done(): // not seen while a body is not read
		case <-ended:
		}
	}
	r := n.registry(t, anonymous, slow)
	d := parse(t, im.Digest)
	manifest := func() error {
		_, err := r.Manifest(t.Context(), "team/app", "v1", upstream.ManifestOptions{})
		return err
	}
	blob := func() error {
		_, err := read(t, r, im.Digest, upstream.BlobOptions{})
		return err
	}
	for what, c := range map[string]struct {
		handler http.HandlerFunc
		do      func() error
	}{
		"no header":         {hang, manifest},
		"no header of blob": {hang, blob},
		"bytes of a blob":   {drip, blob},
		"bytes of referrers": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", ocitest.IndexType)
			drip(w, r)
		}, func() error {
			_, err := r.Referrers(t.Context(), "team/app", d, "")
			return err
		}},
		"bytes of an error": {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500); drip(w, r) }, manifest},
		"bytes of a manifest": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", ocitest.ImageType)
			drip(w, r)
		}, manifest},
		"an upload that is not read": {func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				w.Header().Set("Location", "/upload")
				w.WriteHeader(http.StatusAccepted)
				return
			}
			hang(w, r)
		}, func() error {
			return r.Upload(t.Context(), "team/app", d, 10<<20, func(context.Context, int64) (io.ReadCloser, error) {
				return io.NopCloser(bytes.NewReader(make([]byte, 10<<20))), nil
			})
		}},
	} {
		n.host("registry", c.handler)
		start := time.Now()
		err := c.do()
		want(t, what, err, upstream.Unavailable)
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("%s: took %v", what, took)
		}
	}
	// A document has a limit for the whole request, whatever progress it makes.
	r = n.registry(t, anonymous, func(_ *upstream.Endpoint, l *upstream.Limits) { l.Document = 100 * time.Millisecond })
	n.host("registry", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", ocitest.ImageType)
		drip(w, r)
	})
	want(t, "a document that takes too long", manifest(), upstream.Unavailable)
	// The end of the caller's context is no failure of the registry.
	n.host("registry", hang)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, _, err := r.Exists(ctx, "team/app", d)
	var e *upstream.Error
	if !errors.Is(err, context.DeadlineExceeded) || errors.As(err, &e) {
		t.Errorf("the end of the context: got %v, want that of the context", err)
	}
}

// A slow reader is no failure of the registry.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	n, m, im := newInternet(t), newMemory(), ocitest.NewImage(1, 3<<20)
	m.add("v1", im)
	n.host("registry", m.serve)
	r := n.registry(t, anonymous, func(_ *upstream.Endpoint, l *upstream.Limits) { l.Stall = 200 * time.Millisecond })
	b, err := r.Blob(t.Context(), "team/app", parse(t, ocitest.SHA256(im.Layers[0])), upstream.BlobOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	start := make([]byte, 1000)
	if _, err := io.ReadFull(b, start); err != nil {
		t.Fatal(err)
	}
	<-time.After(500 * time.Millisecond) // the reader's own time, which is what is tested
	if rest, err := io.ReadAll(b); err != nil || len(rest) != 3<<20-1000 {
		t.Errorf("after a pause: got %d bytes, %v", len(rest), err)
	}
	if got := n.lines("registry"); len(got) != 1 {
		t.Errorf("got the requests %q, want one", got)
	}
}

// Requests to one registry take places; a blob gives its place back when it is closed.
func TestPlacesOfAHost(t *testing.T) {
	t.Parallel()
	n, m, im := newInternet(t), newMemory(), ocitest.NewImage(1, 10)
	m.add("v1", im)
	n.host("registry", m.serve)
	r := n.registry(t, anonymous, func(_ *upstream.Endpoint, l *upstream.Limits) { l.PerHost = 2 })
	d := parse(t, ocitest.SHA256(im.Layers[0]))
	var open []*upstream.Blob
	for range 2 {
		b, err := r.Blob(t.Context(), "team/app", d, upstream.BlobOptions{})
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, b)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := r.Exists(ctx, "team/app", d); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a third request: got %v, want to wait", err)
	}
	for range 2 { // a second Close gives no second place
		if err := open[0].Close(); err != nil {
			t.Error(err)
		}
	}
	for range 3 {
		if _, ok, err := r.Exists(t.Context(), "team/app", d); !ok || err != nil {
			t.Errorf("after Close: got %t, %v", ok, err)
		}
	}
	b, err := r.Blob(t.Context(), "team/app", d, upstream.BlobOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := r.Exists(ctx, "team/app", d); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a third request again: got %v, want to wait", err)
	}
	_, _ = b.Close(), open[1].Close()
}

// 429 and its kin are repeated a few times, when and if the registry says so.
func TestRateLimits(t *testing.T) {
	t.Parallel()
	n, m, im := newInternet(t), newMemory(), ocitest.NewImage(1, 10)
	m.add("v1", im)
	r := n.registry(t, anonymous)
	var left atomic.Int32
	var answer http.HandlerFunc
	m.before = func(w http.ResponseWriter, r *http.Request) bool {
		if left.Add(-1) < 0 {
			return false
		}
		answer(w, r)
		return true
	}
	n.host("registry", m.serve)
	limited := func(status int, after, code, message string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			if after != "" {
				w.Header().Set("Retry-After", after)
			}
			answerError(w, status, code, message)
		}
	}
	get := func() error {
		_, err := r.Manifest(t.Context(), "team/app", "v1", upstream.ManifestOptions{})
		return err
	}
	for _, c := range []struct {
		what     string
		times    int32
		handler  http.HandlerFunc
		reason   upstream.Reason // 0: success
		after    time.Duration
		requests int
	}{
		{"once", 1, limited(429, "1", "TOOMANYREQUESTS", "Rate exceeded"), 0, 0, 2},
		{"twice without a time", 2, limited(429, "", "", ""), 0, 0, 3},
		{"always", 9, limited(429, "", "TOOMANYREQUESTS", "canary"), upstream.RateLimited, 0, 3},
		{"for an hour", 9, limited(429, "3600", "TOOMANYREQUESTS", "canary"), upstream.RateLimited, time.Hour, 1},
		{"for a year", 9, limited(429, "31536000", "", ""), upstream.RateLimited, 24 * time.Hour, 1},
		{"a strange time", 9, limited(429, "-canary", "", ""), upstream.RateLimited, 0, 3},
		{"until the past", 9, limited(429, "Mon, 02 Jan 2006 15:04:05 GMT", "", ""), upstream.RateLimited, 0, 3},
		{"by a text", 1, limited(400, "", "DENIED", "Rate exceeded"), 0, 0, 2},
		{"by a code", 1, limited(403, "", "TOOMANYREQUESTS", ""), 0, 0, 2},
		{"502 twice", 2, limited(502, "", "", ""), 0, 0, 3},
		{"503 always", 9, limited(503, "", "", "canary"), upstream.Unavailable, 0, 3},
		{"503 for an hour", 9, limited(503, "3600", "", ""), upstream.Unavailable, time.Hour, 1},
		{"501", 9, limited(501, "", "UNSUPPORTED", ""), upstream.Rejected, 0, 1},
		{"403", 9, limited(403, "", "DENIED", "canary"), upstream.Denied, 0, 1},
	} {
		answer = c.handler
		left.Store(c.times)
		before := len(n.lines("registry"))
		err := get()
		if c.reason == 0 {
			if err != nil {
				t.Errorf("%s: got %v, want success", c.what, err)
			}
		} else if e := want(t, c.what, err, c.reason); e.After != c.after {
			t.Errorf("%s: got After %v, want %v", c.what, e.After, c.after)
		}
		if got := len(n.lines("registry")) - before; got != c.requests {
			t.Errorf("%s: got %d requests, want %d", c.what, got, c.requests)
		}
	}
	if lines := n.lines("registry"); slices.ContainsFunc(lines, func(l string) bool { return !strings.HasPrefix(l, "GET ") }) {
		t.Errorf("got the requests %q, want GET only", lines)
	}
}
