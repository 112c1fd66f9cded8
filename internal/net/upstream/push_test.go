package upstream_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/net/upstream"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// uploads is a registry that receives blobs. Its fields select what it does wrong.
type uploads struct {
	mu       sync.Mutex
	received []byte
	begun    int
	parts    []string // Content-Range of each PATCH
	done     string   // digest of the blob that is complete
	patched  int      // status of the answer to PATCH; 202 if 0
	stale    bool     // the state of the upload is that after the first chunk
	chunkMin string
	uncut    int // number of PATCH before those that are cut
	cut      int // breaks the connection this often in the middle of a PATCH
	location string
	refuse   func(r *http.Request) (status int, code, message string)
}

func (u *uploads) serve(w http.ResponseWriter, r *http.Request) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.refuse != nil {
		if status, code, message := u.refuse(r); status != 0 {
			answerError(w, status, code, message)
			return
		}
	}
	location := "/v2/team/app/blobs/uploads/" + fmt.Sprint(u.begun) + "?state=" + fmt.Sprint(len(u.received))
	if u.location != "" {
		location = u.location
	}
	switch r.Method {
	case http.MethodPost:
		u.begun++
		u.received = nil
		if u.chunkMin != "" {
			w.Header().Set("OCI-Chunk-Min-Length", u.chunkMin)
		}
		w.Header().Set("Location", location)
		w.WriteHeader(http.StatusAccepted)
	case http.MethodPatch:
		var first, last int
		_, _ = fmt.Sscanf(r.Header.Get("Content-Range"), "%d-%d", &first, &last)
		if first != len(u.received) || int64(last-first+1) != r.ContentLength {
			answerError(w, http.StatusRequestedRangeNotSatisfiable, "BLOB_UPLOAD_INVALID", "canary")
			return
		}
		u.parts = append(u.parts, r.Header.Get("Content-Range"))
		if u.cut > 0 && len(u.parts) > u.uncut {
			u.cut--
			part := make([]byte, r.ContentLength/2)
			_, _ = io.ReadFull(r.Body, part)
			u.received = append(u.received, part...)
			panic(http.ErrAbortHandler)
		}
		part, _ := io.ReadAll(r.Body)
		u.received = append(u.received, part...)
		w.Header().Set("Location", location)
		status := http.StatusAccepted
		if u.patched != 0 {
			status = u.patched
		}
		w.WriteHeader(status)
	case http.MethodGet:
		n := len(u.received)
		if u.stale {
			n = min(n, 1000)
		}
		w.Header().Set("Location", location)
		w.Header().Set("Range", fmt.Sprintf("0-%d", n-1))
		w.WriteHeader(http.StatusNoContent)
	case http.MethodPut:
		rest, _ := io.ReadAll(r.Body)
		u.received = append(u.received, rest...)
		if d := r.URL.Query().Get("digest"); d != ocitest.SHA256(u.received) || r.URL.Query().Get("state") == "" {
			answerError(w, http.StatusBadRequest, "DIGEST_INVALID", "canary")
			return
		}
		u.done = ocitest.SHA256(u.received)
		w.WriteHeader(http.StatusCreated)
	}
}

func source(content []byte) upstream.Source {
	return func(_ context.Context, offset int64) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(content[offset:])), nil
	}
}

func chunked(_ *upstream.Endpoint, l *upstream.Limits) { l.Chunk = 1000 }

func TestUpload(t *testing.T) {
	t.Parallel()
	content := ocitest.Bytes(1, 3500)
	d := ocitest.SHA256(content)
	for what, c := range map[string]struct {
		uploads *uploads
		change  func(*upstream.Endpoint, *upstream.Limits)
		parts   string // of the chunks
		begun   int
	}{
		"in one request":     {&uploads{}, func(*upstream.Endpoint, *upstream.Limits) {}, "[]", 1},
		"in chunks":          {&uploads{}, chunked, "[0-999 1000-1999 2000-2999 3000-3499]", 1},
		"in chunks with 201": {&uploads{patched: 201, stale: true}, chunked, "[0-999 1000-1999 2000-2999 3000-3499]", 1},
		"in large chunks":    {&uploads{chunkMin: "2000"}, chunked, "[0-1999 2000-3499]", 1},
		"cut twice":          {&uploads{cut: 2}, chunked, "[0-999 500-1499 1000-1999 2000-2999 3000-3499]", 1},
		"cut with a stale state": {&uploads{cut: 1, uncut: 1, stale: true}, chunked,
			"[0-999 1000-1999 0-999 1000-1999 2000-2999 3000-3499]", 2},
		"refused for a while": {&uploads{refuse: times(2, http.MethodPost, 503, "")}, chunked, "[0-999 1000-1999 2000-2999 3000-3499]", 1},
		"a chunk is refused for a while": {&uploads{refuse: times(2, http.MethodPatch, 429, "TOOMANYREQUESTS")}, chunked,
			"[0-999 1000-1999 2000-2999 3000-3499]", 1},
		"the end is refused for a while": {&uploads{refuse: times(2, http.MethodPut, 500, "")}, chunked,
			"[0-999 1000-1999 2000-2999 3000-3499]", 1},
		"one request is refused for a while": {&uploads{refuse: times(2, http.MethodPut, 503, "")},
			func(*upstream.Endpoint, *upstream.Limits) {}, "[]", 3},
	} {
		n := newInternet(t)
		u := c.uploads
		n.host("registry", requireBasic(u.serve))
		r := n.registry(t, c.change)
		if err := r.Upload(t.Context(), "team/app", parse(t, d), int64(len(content)), source(content)); err != nil || u.done != d {
			t.Errorf("%s: got %v, the digest %q, want %s; the parts were %v", what, err, u.done, d, u.parts)
		}
		if got := fmt.Sprint(u.parts); got != c.parts || u.begun != c.begun {
			t.Errorf("%s: got the parts %s in %d uploads, want %s in %d", what, got, u.begun, c.parts, c.begun)
		}
		n.checkCanaries(t, nil, "registry")
	}
}

// An empty blob is sent with its length, since a registry may refuse content of unknown length.
func TestUploadOfTheEmptyBlob(t *testing.T) {
	t.Parallel()
	n, u := newInternet(t), &uploads{}
	n.host("registry", func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 || r.TransferEncoding != nil {
			t.Errorf("%s has the length %d and the coding %q, want 0 and none", r.Method, r.ContentLength, r.TransferEncoding)
		}
		u.serve(w, r)
	})
	r := n.registry(t, anonymous)
	if err := r.Upload(t.Context(), "team/app", parse(t, ocitest.SHA256(nil)), 0, source(nil)); err != nil || u.done != ocitest.SHA256(nil) {
		t.Errorf("got %v, the digest %q", err, u.done)
	}
	want(t, "a negative size", r.Upload(t.Context(), "team/app", parse(t, ocitest.SHA256(nil)), -1, source(nil)), upstream.Invalid)
}

// times refuses a method some times.
func times(left int, method string, status int, code string) func(*http.Request) (int, string, string) {
	return func(r *http.Request) (int, string, string) {
		if r.Method != method || left == 0 {
			return 0, "", ""
		}
		left--
		return status, code, "canary"
	}
}

func TestUploadFails(t *testing.T) {
	t.Parallel()
	content := ocitest.Bytes(1, 3500)
	d := ocitest.SHA256(content)
	n := newInternet(t)
	for what, c := range map[string]struct {
		uploads *uploads
		reason  upstream.Reason
	}{
		"another host":          {&uploads{location: "https://" + n.addr("foreign") + "/upload"}, upstream.Refused},
		"another port":          {&uploads{location: "https://registry.test/upload"}, upstream.Refused},
		"without https":         {&uploads{location: "http://" + n.addr("registry") + "/upload"}, upstream.Refused},
		"a user in the URL":     {&uploads{location: "https://user@" + n.addr("registry") + "/upload"}, upstream.Lied},
		"denied":                {&uploads{refuse: times(9, http.MethodPost, 403, "DENIED")}, upstream.Denied},
		"an unknown repository": {&uploads{refuse: times(9, http.MethodPost, 404, "NAME_UNKNOWN")}, upstream.NotFound},
		"full":                  {&uploads{refuse: times(99, http.MethodPatch, 507, "")}, upstream.Full},
		"failing":               {&uploads{refuse: times(99, http.MethodPatch, 500, "")}, upstream.Unavailable},
		"always cut":            {&uploads{cut: 99}, upstream.Unavailable},
		"another digest":        {&uploads{refuse: times(9, http.MethodPut, 400, "DIGEST_INVALID")}, upstream.Rejected},
		"a status":              {&uploads{patched: 200}, upstream.Lied},
	} {
		u := c.uploads
		n.host("registry", requireBasic(u.serve))
		before := len(n.lines("registry"))
		err := n.registry(t, chunked).Upload(t.Context(), "team/app", parse(t, d), int64(len(content)), source(content))
		want(t, what, err, c.reason)
		if got := len(n.lines("registry")) - before; got > 60 {
			t.Errorf("%s: got %d requests", what, got)
		}
		if c.reason == upstream.Refused { // also in one request
			var e *upstream.Error
			err = n.registry(t).Upload(t.Context(), "team/app", parse(t, d), int64(len(content)), source(content))
			if !errors.As(err, &e) || strings.Contains(err.Error(), "canary") {
				t.Errorf("%s, in one request: got %v", what, err)
			}
		}
	}
	n.checkCanaries(t, nil, "registry")

	// Failures of the source are no failures of the registry, and are not repeated.
	u := &uploads{}
	n.host("registry", requireBasic(u.serve))
	for what, s := range map[string]upstream.Source{
		"not opened": func(context.Context, int64) (io.ReadCloser, error) { return nil, io.ErrNoProgress },
		"too short": func(context.Context, int64) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(content[:10])), nil
		},
		"broken": func(context.Context, int64) (io.ReadCloser, error) {
			return io.NopCloser(io.MultiReader(bytes.NewReader(content[:10]), errorReader{})), nil
		},
	} {
		for _, change := range []func(*upstream.Endpoint, *upstream.Limits){chunked, func(*upstream.Endpoint, *upstream.Limits) {}} {
			err := n.registry(t, change).Upload(t.Context(), "team/app", parse(t, d), int64(len(content)), s)
			var e *upstream.Error
			if errors.As(err, &e) || !errors.Is(err, io.ErrNoProgress) && !errors.Is(err, io.ErrUnexpectedEOF) || u.done != "" {
				t.Errorf("a source that is %s: got %v, done %q, want the error of the source", what, err, u.done)
			}
		}
	}
}

type errorReader struct{}

func (errorReader) Read([]byte) (int, error) { return 0, io.ErrNoProgress }

func TestMount(t *testing.T) {
	t.Parallel()
	n := newInternet(t)
	d := ocitest.SHA256([]byte("x"))
	var status int
	n.host("registry", requireBasic(func(w http.ResponseWriter, r *http.Request) {
		if q := r.URL.Query(); q.Get("mount") != d || q.Get("from") != "team/base" || r.Method != http.MethodPost {
			status = http.StatusTeapot
		}
		w.Header().Set("Location", "/upload")
		w.WriteHeader(status)
	}))
	r := n.registry(t)
	for s, mounted := range map[int]bool{201: true, 202: false} {
		status = s
		if got, err := r.Mount(t.Context(), "team/app", "team/base", parse(t, d), 1); err != nil || got != mounted {
			t.Errorf("status %d: got %t, %v, want %t", s, got, err, mounted)
		}
	}
	for s, reason := range map[int]upstream.Reason{403: upstream.Denied, 405: upstream.Rejected, 200: upstream.Lied, 307: upstream.Lied} {
		status = s
		got, err := r.Mount(t.Context(), "team/app", "team/base", parse(t, d), 1)
		if want(t, fmt.Sprintf("status %d", s), err, reason); got {
			t.Errorf("status %d: got true", s)
		}
	}
}

func TestPutManifest(t *testing.T) {
	t.Parallel()
	n, im := newInternet(t), ocitest.NewImage(1, 10)
	put := map[string][]byte{}
	refuse := func(*http.Request) (int, string, string) { return 0, "", "" }
	n.host("registry", requireBasic(func(w http.ResponseWriter, r *http.Request) {
		if status, code, message := refuse(r); status != 0 {
			answerError(w, status, code, message)
			return
		}
		path := strings.TrimPrefix(r.URL.Path, "/v2/team/app/manifests/")
		if r.Method != http.MethodPut {
			w.Header().Set("Content-Type", ocitest.IndexType)
			if put[path] == nil {
				http.NotFound(w, r)
			}
			_, _ = w.Write(put[path])
			return
		}
		put[path], _ = io.ReadAll(r.Body)
		w.WriteHeader(http.StatusCreated)
	}))
	r := n.registry(t)
	for _, tag := range []string{"v1", ""} {
		d, err := r.PutManifest(t.Context(), "team/app", tag, ocitest.ImageType, im.Manifest)
		key := tag
		if key == "" {
			key = im.Digest
		}
		if err != nil || d.String() != im.Digest || !bytes.Equal(put[key], im.Manifest) {
			t.Errorf("tag %q: got %s, %v; stored %q", tag, d, err, put[key])
		}
	}
	if len(put) != 2 {
		t.Errorf("got %d manifests, want 2: one without a subject updates no list", len(put))
	}
	refuse = times(1, http.MethodPut, 503, "")
	if _, err := r.PutManifest(t.Context(), "team/app", "v1", ocitest.ImageType, im.Manifest); err != nil {
		t.Errorf("503 once: %v", err)
	}
	refuse = times(1, http.MethodPut, 400, "TAG_INVALID")
	_, err := r.PutManifest(t.Context(), "team/app", "v1", ocitest.ImageType, im.Manifest)
	if e := want(t, "an immutable tag", err, upstream.Rejected); e.Code != "TAG_INVALID" {
		t.Errorf("an immutable tag: got the code %q", e.Code)
	}
	for what, f := range map[string]func() error{
		"a tag": func() error {
			_, err := r.PutManifest(t.Context(), "team/app", "a/b", ocitest.ImageType, im.Manifest)
			return err
		},
		"a media type": func() error {
			_, err := r.PutManifest(t.Context(), "team/app", "a", "text/html", im.Manifest)
			return err
		},
		"a size": func() error {
			_, err := r.PutManifest(t.Context(), "team/app", "a", ocitest.ImageType, make([]byte, 5<<20))
			return err
		},
	} {
		want(t, what+" that is not valid", f(), upstream.Invalid)
	}
	// A registry without the API for referrers gets the list under the tag that stands for it, by concurrent pushes too.
	subject := ocitest.Describe(ocitest.ImageType, im.Manifest)
	var all sync.WaitGroup
	var mu sync.Mutex
	refuse = func(*http.Request) (int, string, string) { return 0, "", "" }
	n.host("registry", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		path := strings.TrimPrefix(r.URL.Path, "/v2/team/app/manifests/")
		if r.Method != http.MethodPut {
			w.Header().Set("Content-Type", ocitest.IndexType)
			if put[path] == nil {
				http.NotFound(w, r)
			}
			_, _ = w.Write(put[path])
			return
		}
		put[path], _ = io.ReadAll(r.Body)
		w.WriteHeader(http.StatusCreated)
	})
	config := ocitest.Describe(ocitest.EmptyType, []byte("{}"))
	var digests []string
	for i := range 5 {
		m := ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.ImageType, ArtifactType: fmt.Sprintf("application/a%d", i), Config: &config,
			Layers: []ocitest.Descriptor{config}, Subject: &subject}.JSON()
		digests = append(digests, ocitest.SHA256(m))
		all.Go(func() {
			if _, err := r.PutManifest(t.Context(), "team/app", "", ocitest.ImageType, m); err != nil {
				t.Errorf("a referrer: %v", err)
			}
		})
	}
	all.Wait()
	list := string(put[strings.Replace(im.Digest, ":", "-", 1)])
	for _, d := range digests {
		if !strings.Contains(list, d) {
			t.Errorf("the list of referrers %s lacks %s", list, d)
		}
	}
}
