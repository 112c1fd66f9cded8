package upstream_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/net/upstream"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

func TestPull(t *testing.T) {
	t.Parallel()
	n, m, im := newInternet(t), newMemory(), ocitest.NewImage(1, 100, 200_000)
	m.add("v1", im)
	n.host("registry", requireBasic(m.serve))
	r := n.registry(t)
	for _, ref := range []string{"v1", im.Digest} {
		if err := pull(t, r, ref); err != nil {
			t.Errorf("pull of %s: %v", ref, err)
		}
	}
	unknown := ocitest.SHA256([]byte("unknown"))
	_, err := r.Manifest(t.Context(), "team/app", "v2", upstream.ManifestOptions{})
	if e := want(t, "an unknown tag", err, upstream.NotFound); e.Code != "MANIFEST_UNKNOWN" || e.Status != 404 {
		t.Errorf("an unknown tag: got the code %q and status %d", e.Code, e.Status)
	}
	_, err = read(t, r, unknown, upstream.BlobOptions{})
	want(t, "an unknown blob", err, upstream.NotFound)
	if _, ok, err := r.Exists(t.Context(), "team/app", parse(t, unknown)); ok || err != nil {
		t.Errorf("Exists of an unknown blob: got %t, %v", ok, err)
	}
	d := parse(t, ocitest.SHA256(im.Layers[1]))
	if size, ok, err := r.Exists(t.Context(), "team/app", d); size != 200_000 || !ok || err != nil {
		t.Errorf("Exists: got %d, %t, %v, want 200000", size, ok, err)
	}
	if err := r.Ping(t.Context()); err != nil {
		t.Errorf("Ping: %v", err)
	}
	for what, err := range map[string]error{
		"a repository": func() error { _, _, err := r.Exists(t.Context(), "../x", d); return err }(),
		"a tag":        func() error { _, err := r.Head(t.Context(), "team/app", "a/b", nil); return err }(),
		"a digest":     func() error { _, err := r.Head(t.Context(), "team/app", "sha256:1", nil); return err }(),
		"an offset": func() error {
			_, err := r.Blob(t.Context(), "team/app", d, upstream.BlobOptions{Offset: 2, Size: 1})
			return err
		}(),
	} {
		want(t, what+" that is not valid", err, upstream.Invalid)
	}
	n.checkCanaries(t, nil, "registry")
}

// A manifest that the caller has is not transferred again.
func TestManifestIsConditional(t *testing.T) {
	t.Parallel()
	n, m, im, other := newInternet(t), newMemory(), ocitest.NewImage(1, 10), ocitest.NewImage(2, 10)
	m.add("v1", im)
	n.host("registry", m.serve)
	r := n.registry(t, anonymous)
	o := upstream.ManifestOptions{Known: parse(t, im.Digest)}
	got, err := r.Manifest(t.Context(), "team/app", "v1", o)
	if err != nil || !got.NotModified || got.Body != nil || got.Digest != o.Known {
		t.Errorf("the same digest: got %+v, %v, want NotModified", got, err)
	}
	if lines := n.lines("registry"); !slices.Equal(lines, []string{"HEAD /v2/team/app/manifests/v1"}) {
		t.Errorf("the same digest: got the requests %q, want one HEAD", lines)
	}
	m.add("v1", other)
	if got, err = r.Manifest(t.Context(), "team/app", "v1", o); err != nil || got.NotModified || got.Digest.String() != other.Digest {
		t.Errorf("another digest: got %+v, %v, want it", got, err)
	}
	// A registry without HEAD, and one that understands If-None-Match.
	m.add("v1", im)
	m.before = func(w http.ResponseWriter, r *http.Request) bool {
		switch {
		case r.Method == http.MethodHead:
			w.WriteHeader(http.StatusMethodNotAllowed)
			return true
		case r.Header.Get("If-None-Match") == `"`+im.Digest+`"`:
			w.WriteHeader(http.StatusNotModified)
			return true
		}
		return false
	}
	if got, err = r.Manifest(t.Context(), "team/app", "v1", o); err != nil || !got.NotModified || got.Digest != o.Known {
		t.Errorf("304: got %+v, %v, want NotModified", got, err)
	}
	m.before = func(w http.ResponseWriter, r *http.Request) bool { w.WriteHeader(http.StatusNotModified); return true }
	_, err = r.Manifest(t.Context(), "team/app", "v1", upstream.ManifestOptions{})
	want(t, "304 without a condition", err, upstream.Lied)
}

// Every way in which a manifest can be wrong is an error, and none is a manifest.
func TestManifestIsVerified(t *testing.T) {
	t.Parallel()
	n, im, other := newInternet(t), ocitest.NewImage(1, 10), ocitest.NewImage(2, 10)
	r := n.registry(t, anonymous)
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write(im.Manifest)
	_ = z.Close()
	send := func(status int, body []byte, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", ocitest.ImageType)
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(status)
			_, _ = w.Write(body)
		}
	}
	confused := bytes.Replace(im.Manifest, []byte(`"layers"`), []byte(`"manifests":[],"layers"`), 1)
	for _, c := range []struct {
		what    string
		handler http.HandlerFunc
		ref     string
		reason  upstream.Reason
	}{
		{"another manifest than the digest's", send(200, other.Manifest), im.Digest, upstream.Lied},
		{"a header with another digest", send(200, other.Manifest, "Docker-Content-Digest", other.Digest), im.Digest, upstream.Lied},
		{"a header that contradicts the body", send(200, other.Manifest, "Docker-Content-Digest", im.Digest), "v1", upstream.Lied},
		{"a header without a digest", send(200, im.Manifest, "Docker-Content-Digest", "canary"), "v1", upstream.Lied},
		{"a short manifest", send(200, im.Manifest[:20]), "v1", upstream.Lied},
		{"an image that is an index", send(200, confused), "v1", upstream.Lied},
		{"another media type", send(200, im.Manifest, "Content-Type", ocitest.IndexType), "v1", upstream.Lied},
		{"an unknown media type", send(200, im.Manifest, "Content-Type", "application/json"), "v1", upstream.Lied},
		{"no media type", send(200, im.Manifest, "Content-Type", ""), "v1", upstream.Lied},
		{"compressed", send(200, zipped.Bytes(), "Content-Encoding", "gzip"), "v1", upstream.Lied},
		{"compressed and short", send(200, zipped.Bytes()[:30], "Content-Encoding", "gzip"), "v1", upstream.Lied},
		{"a web page", send(200, []byte("<html>canary"), "Content-Type", "text/html; charset=utf-8"), "v1", upstream.Unavailable},
		{"a web page as an error", send(503, []byte("<html>canary"), "Content-Type", "text/html"), "v1", upstream.Unavailable},
		{"no content", send(204, nil), "v1", upstream.Lied},
		{"300", send(300, nil), "v1", upstream.Lied},
		{"a canary as an error", send(400, []byte(`{"errors":[{"code":"canary","message":"canary"}]}`)), "v1", upstream.Rejected},
		{"5 MiB", send(200, make([]byte, 5<<20)), "v1", upstream.Lied},
		{"5 MiB of unknown length", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", ocitest.ImageType)
			for range 5 << 4 {
				_, _ = w.Write(make([]byte, 64<<10))
				w.(http.Flusher).Flush()
			}
		}, "v1", upstream.Lied},
		{"a huge header", send(200, im.Manifest, "X-Canary", strings.Repeat("canary", 20<<10)), "v1", upstream.Unavailable},
		{"a connection that ends", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "v1", upstream.Unavailable},
		{"a body that ends", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "1000")
			send(200, im.Manifest[:20])(w, r)
			panic(http.ErrAbortHandler)
		}, "v1", upstream.Unavailable},
	} {
		n.host("registry", c.handler)
		got, err := r.Manifest(t.Context(), "team/app", c.ref, upstream.ManifestOptions{})
		want(t, c.what, err, c.reason)
		if got.Body != nil || got.NotModified {
			t.Errorf("%s: got the manifest %+v beside the error", c.what, got)
		}
	}
}

// A tag that moves between two requests does not mix two images: content is asked for by digest.
func TestTagMovesBetweenManifestAndBlobs(t *testing.T) {
	t.Parallel()
	n, m, old, young := newInternet(t), newMemory(), ocitest.NewImage(1, 10), ocitest.NewImage(2, 10)
	m.add("v1", old)
	n.host("registry", m.serve)
	r := n.registry(t, anonymous)
	first, err := r.Manifest(t.Context(), "team/app", "v1", upstream.ManifestOptions{})
	if err != nil {
		t.Fatal(err)
	}
	m.mu.Lock()
	m.blobs, m.manifests = map[string][]byte{}, map[string][]byte{}
	m.mu.Unlock()
	m.add("v1", young) // and the old image is deleted
	_, err = read(t, r, ocitest.SHA256(old.Layers[0]), upstream.BlobOptions{})
	want(t, "a layer of the old image", err, upstream.NotFound)
	_, err = r.Manifest(t.Context(), "team/app", first.Digest.String(), upstream.ManifestOptions{})
	want(t, "the old image", err, upstream.NotFound)
	// The registry answers for the old digest with what the tag names now.
	m.mu.Lock()
	m.manifests[old.Digest], m.blobs[ocitest.SHA256(old.Layers[0])] = young.Manifest, young.Layers[0]
	m.mu.Unlock()
	_, err = r.Manifest(t.Context(), "team/app", old.Digest, upstream.ManifestOptions{})
	want(t, "the young image as the old one", err, upstream.Lied)
	_, err = read(t, r, ocitest.SHA256(old.Layers[0]), upstream.BlobOptions{})
	want(t, "the young layer as the old one", err, upstream.Lied)
}

func index(descriptors ...ocitest.Descriptor) []byte {
	if descriptors == nil {
		descriptors = []ocitest.Descriptor{}
	}
	return ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.IndexType, Manifests: descriptors}.JSON()
}

// Referrers come page by page from the API, or from the tag that stands for it, in bounded numbers.
func TestReferrers(t *testing.T) {
	t.Parallel()
	n := newInternet(t)
	r := n.registry(t, anonymous)
	subject := ocitest.SHA256([]byte("subject"))
	one, two := ocitest.Describe(ocitest.ImageType, []byte("one")), ocitest.Describe(ocitest.ImageType, []byte("two"))
	one.ArtifactType, two.ArtifactType = "application/one", "application/two"
	path, pages := "/v2/team/app/referrers/"+subject, 2
	next := "%s?page=%d"
	answer := func(w http.ResponseWriter, body []byte) {
		w.Header().Set("Content-Type", ocitest.IndexType)
		_, _ = w.Write(body)
	}
	n.host("registry", func(w http.ResponseWriter, r *http.Request) {
		page := 1
		_, _ = fmt.Sscan(r.URL.Query().Get("page"), &page)
		if r.URL.Path != path {
			http.NotFound(w, r)
			return
		}
		if page < pages {
			w.Header().Set("Link", "<"+fmt.Sprintf(next, path, page+1)+`>; rel="next"`)
			answer(w, index(one))
			return
		}
		answer(w, index(two))
	})
	all, err := r.Referrers(t.Context(), "team/app", parse(t, subject), "")
	if err != nil || len(all) != 2 || all[0].Digest.String() != one.Digest || all[1].ArtifactType != "application/two" {
		t.Errorf("two pages: got %+v, %v", all, err)
	}
	if all, err = r.Referrers(t.Context(), "team/app", parse(t, subject), "application/two"); err != nil || len(all) != 1 {
		t.Errorf("one type: got %+v, %v, want one", all, err)
	}
	pages = 1 << 30
	before := len(n.lines("registry"))
	_, err = r.Referrers(t.Context(), "team/app", parse(t, subject), "")
	want(t, "endless pages", err, upstream.Lied)
	if got := len(n.lines("registry")) - before; got != 50 {
		t.Errorf("endless pages: got %d requests, want 50", got)
	}
	next = "https://" + n.addr("foreign") + "%s?page=%d"
	_, err = r.Referrers(t.Context(), "team/app", parse(t, subject), "")
	want(t, "a link to another host", err, upstream.Lied)
	if lines := n.lines("foreign"); lines != nil {
		t.Errorf("a link to another host: it got the requests %q", lines)
	}
	large := one
	large.Annotations = map[string]string{"x": strings.Repeat("x", 3<<20)}
	n.host("registry", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "<"+path+">")
		answer(w, index(large))
	})
	before = len(n.lines("registry"))
	_, err = r.Referrers(t.Context(), "team/app", parse(t, subject), "")
	want(t, "pages of 3 MiB of annotations", err, upstream.Lied)
	if got := len(n.lines("registry")) - before; got != 3 {
		t.Errorf("pages of 3 MiB of annotations: got %d requests, want 3", got)
	}
	for what, d := range map[string]ocitest.Descriptor{
		"a negative size": {MediaType: ocitest.ImageType, Digest: subject, Size: -1},
		"a layer":         ocitest.Describe(ocitest.LayerType, nil),
		"a bad digest":    {MediaType: ocitest.ImageType, Digest: "sha256:canary"},
	} {
		n.host("registry", func(w http.ResponseWriter, _ *http.Request) { answer(w, index(d)) })
		_, err = r.Referrers(t.Context(), "team/app", parse(t, subject), "")
		want(t, what, err, upstream.Lied)
	}
	n.host("registry", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, []byte(`{"manifests":[`+strings.Repeat(" ", 5<<20)+`]}`))
	})
	_, err = r.Referrers(t.Context(), "team/app", parse(t, subject), "")
	want(t, "a page of 5 MiB", err, upstream.Lied)

	// Without the API.
	old := n.registry(t, anonymous)
	n.host("registry", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/team/app/manifests/"+strings.Replace(subject, ":", "-", 1) {
			http.NotFound(w, r)
			return
		}
		answer(w, index(one, two))
	})
	if all, err = old.Referrers(t.Context(), "team/app", parse(t, subject), "application/one"); err != nil || len(all) != 1 {
		t.Errorf("by the tag: got %+v, %v, want one", all, err)
	}
	if all, err = old.Referrers(t.Context(), "team/app", parse(t, ocitest.SHA256(nil)), ""); err != nil || len(all) != 0 {
		t.Errorf("no tag: got %+v, %v, want none", all, err)
	}
}

func TestTags(t *testing.T) {
	t.Parallel()
	n := newInternet(t)
	r := n.registry(t, anonymous)
	pages := [][]string{{"a", "b"}, {"c"}}
	n.host("registry", func(w http.ResponseWriter, r *http.Request) {
		page := 0
		_, _ = fmt.Sscan(r.URL.Query().Get("last"), &page)
		if page+1 < len(pages) {
			w.Header().Set("Link", fmt.Sprintf(`</v2/team/app/tags/list?last=%d>; rel="next"`, page+1))
		}
		_, _ = fmt.Fprintf(w, `{"tags":["%s"]}`, strings.Join(pages[page], `","`))
	})
	var all []string
	add := func(tags []string) error { all = append(all, tags...); return nil }
	if err := r.Tags(t.Context(), "team/app", "", add); err != nil || !slices.Equal(all, []string{"a", "b", "c"}) {
		t.Errorf("got %q, %v, want a, b, c", all, err)
	}
	if err := r.Tags(t.Context(), "team/app", "", func([]string) error { return io.ErrNoProgress }); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("an error of the caller: got %v, want it", err)
	}
	pages = [][]string{{"canary/../x"}}
	want(t, "a tag that is not valid", r.Tags(t.Context(), "team/app", "", add), upstream.Lied)
	n.host("registry", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>canary") })
	want(t, "a web page", r.Tags(t.Context(), "team/app", "", add), upstream.Unavailable)
	n.host("registry", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, "canary")
	})
	want(t, "no JSON", r.Tags(t.Context(), "team/app", "", add), upstream.Lied)
	want(t, "Ping of no registry", n.registry(t, func(e *upstream.Endpoint, _ *upstream.Limits) { e.Host = n.addr("cdn") }).Ping(t.Context()),
		upstream.Lied)
}
