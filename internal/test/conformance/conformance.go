// Package conformance is a test suite for the OCI distribution specification, version 1.1, that runs against
// any server: each endpoint with its statuses and headers, the error envelope, and ecrin's choices where the
// specification leaves one to the registry. It uses HTTP only.
package conformance

import (
	"net/http"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// Target is the server under test.
type Target struct {
	// NewRepo returns a new, empty repository that only the calling test uses.
	NewRepo func(t *testing.T) ocitest.Repo
	// Catalog is a client whose /v2/_catalog lists the repositories of NewRepo; nil if there is no such URL.
	Catalog *ocitest.Client
	// Quirks are the enabled deviations from the specification.
	Quirks registry.Quirks
	// Restart stops the server and starts it with the same address; nil if it cannot be restarted.
	Restart func(t *testing.T)
}

// Run runs the suite. Tests of one target run sequentially, so that a restart does not disturb other tests.
func Run(t *testing.T, target Target) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, Target)
	}{
		{"end-1 version", version},
		{"end-2 blobs", blobs},
		{"end-2 ranges", ranges},
		{"end-3 manifests", manifests},
		{"end-4 monolithic uploads", monolithic},
		{"end-5 end-6 chunked uploads", chunked},
		{"end-6 refusals", uploadRefusals},
		{"end-7 kinds of manifests", manifestKinds},
		{"end-7 refusals", manifestRefusals},
		{"end-7 blobs and children that are not there", missingParts},
		{"end-8 tags", tags},
		{"end-9 deleting manifests", deleteManifests},
		{"end-10 deleting blobs", deleteBlobs},
		{"end-11 mounts", mounts},
		{"end-12 referrers", referrers},
		{"end-12 pages", referrerPages},
		{"end-12 older clients", fallbackTag},
		{"end-13 end-14 status and cancel", statusAndCancel},
		{"SHA-512", sha512Content},
		{"catalog", catalog},
		{"paths that are none", strangePaths},
		{"restart", restart},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, target) })
	}
}

// patched returns the status of the response to an accepted chunk.
func (x Target) patched() int {
	if x.Quirks.Patch201 {
		return http.StatusCreated
	}
	return http.StatusAccepted
}

// wantInvalid checks the response to a manifest that cannot be parsed.
func (x Target) wantInvalid(t *testing.T, a *ocitest.Answer) {
	t.Helper()
	if x.Quirks.Status405 {
		a.WantError(t, http.StatusMethodNotAllowed, "UNSUPPORTED")
		return
	}
	a.WantError(t, http.StatusBadRequest, "MANIFEST_INVALID")
}

// wantBadParameter checks the response to invalid parameters of a listing.
func (x Target) wantBadParameter(t *testing.T, a *ocitest.Answer) {
	t.Helper()
	status := http.StatusBadRequest
	if x.Quirks.Status405 {
		status = http.StatusMethodNotAllowed
	}
	a.WantError(t, status, "UNSUPPORTED")
}

// show makes blobs readable on a server where only blobs of images can be read.
func (x Target) show(t *testing.T, r ocitest.Repo, blobs ...ocitest.Descriptor) {
	t.Helper()
	if x.Quirks.LayerNeedsImage {
		artifact(t, r, "", ocitest.Manifest{Layers: blobs})
	}
}

// empty is the content of the empty descriptor.
var empty = []byte("{}")

// artifact pushes a manifest without an image configuration and returns its bytes.
func artifact(t *testing.T, r ocitest.Repo, reference string, m ocitest.Manifest) []byte {
	t.Helper()
	r.PutBlob(t, empty)
	config := ocitest.Describe(ocitest.EmptyType, empty)
	m.SchemaVersion, m.MediaType, m.Config = 2, ocitest.ImageType, &config
	if m.ArtifactType == "" {
		m.ArtifactType = "application/vnd.example.thing"
	}
	body := m.JSON()
	if reference == "" {
		reference = ocitest.SHA256(body)
	}
	r.PutManifest(t, reference, ocitest.ImageType, body).Want(t, http.StatusCreated)
	return body
}

func version(t *testing.T, x Target) {
	r := x.NewRepo(t)
	if r.Prefix == "" {
		for _, path := range []string{"/v2/", "/v2"} {
			a := r.Do(t, http.MethodGet, path, nil).Want(t, http.StatusOK)
			a.WantHeader(t, "Docker-Distribution-Api-Version", "registry/2.0")
			r.Do(t, http.MethodHead, path, nil).Want(t, http.StatusOK)
		}
	}
	r.Password = ""
	a := r.Do(t, http.MethodGet, "/v2/", nil).Want(t, http.StatusUnauthorized)
	host := r.Host
	if host == "" {
		host = r.Base[len("http://"):]
	}
	a.WantHeader(t, "Www-Authenticate", `Basic realm="https://`+host+`/",service="ecr.amazonaws.com"`)
	a.WantHeader(t, "Docker-Distribution-Api-Version", "registry/2.0")
	a.WantHeader(t, "Content-Type", "text/plain; charset=utf-8")
	if string(a.Body) != "Not Authorized\n" {
		t.Errorf("GET /v2/ without credentials: got %q, want Not Authorized and a line feed", a.Body)
	}
}

func strangePaths(t *testing.T, x Target) {
	r := x.NewRepo(t)
	if r.Prefix == "" { // an invalid path has no registry, so that the host's is used
		for _, path := range []string{"/blobs", "/manifests/", "/tags", "/tags/lists", "/uploads/1", "/blobs/uploads/1/2", ""} {
			r.Do(t, http.MethodGet, r.Path(path), nil).WantError(t, http.StatusNotFound, "UNSUPPORTED")
		}
		for _, path := range []string{"/v2/tags/list", "/v2/blobs/uploads/", "/v2//"} {
			r.Do(t, http.MethodGet, path, nil).WantError(t, http.StatusNotFound, "UNSUPPORTED")
		}
	}
	for _, name := range []string{"UPPER", "a", "a//b", "a/", "-a", "a..b", "a/../b", "ä", ""} {
		r.Do(t, http.MethodGet, "/v2/"+r.Prefix+name+"/tags/list", nil).WantError(t, http.StatusBadRequest, "NAME_INVALID")
	}
	for _, c := range []struct{ method, path, allow string }{
		{http.MethodPost, "/tags/list", "GET"},
		{http.MethodPatch, "/manifests/v1", "GET,HEAD,PUT,DELETE"},
		{http.MethodPut, "/blobs/" + ocitest.SHA256(nil), "GET,HEAD,DELETE"},
		{http.MethodGet, "/blobs/uploads/", "POST"},
		{http.MethodDelete, "/referrers/" + ocitest.SHA256(nil), "GET"},
	} {
		a := r.Do(t, c.method, r.Path(c.path), nil).WantError(t, http.StatusMethodNotAllowed, "UNSUPPORTED")
		if got := join(a.Header.Values("Allow")); got != c.allow {
			t.Errorf("%s %s: got Allow %s, want %s", c.method, c.path, got, c.allow)
		}
	}
	missing := r.Client.Repo("no/such-repository")
	for _, c := range [][2]string{
		{http.MethodGet, "/tags/list"}, {http.MethodGet, "/manifests/v1"}, {http.MethodGet, "/blobs/" + ocitest.SHA256(nil)},
		{http.MethodPost, "/blobs/uploads/"}, {http.MethodDelete, "/manifests/v1"},
	} {
		missing.Do(t, c[0], missing.Path(c[1]), nil).WantError(t, http.StatusNotFound, "NAME_UNKNOWN")
	}
	referrers := missing.Do(t, http.MethodGet, missing.Path("/referrers/"+ocitest.SHA256(nil)), nil)
	if x.Quirks.Referrers404 {
		referrers.WantError(t, http.StatusNotFound, "NAME_UNKNOWN")
	} else if got := index(t, referrers); len(got) > 0 {
		t.Errorf("referrers in a repository that does not exist: got %v, want none", got)
	}
}

func restart(t *testing.T, x Target) {
	if x.Restart == nil {
		return
	}
	r := x.NewRepo(t)
	im := ocitest.NewImage(40, 3000)
	r.Push(t, "v1", im)
	content := ocitest.Bytes(41, 5000)
	location := r.Begin(t)
	location = r.Do(t, http.MethodPatch, location, content[:2000]).Want(t, x.patched()).Location(t)
	x.Restart(t)
	if got := r.Manifest(t, "v1").Want(t, http.StatusOK); string(got.Body) != string(im.Manifest) {
		t.Errorf("the manifest after a restart: got %s, want %s", got.Body, im.Manifest)
	}
	if got := r.Blob(t, ocitest.SHA256(im.Layers[0])).Want(t, http.StatusOK); string(got.Body) != string(im.Layers[0]) {
		t.Errorf("the layer after a restart has other bytes")
	}
	r.Do(t, http.MethodGet, location, nil).Want(t, http.StatusNoContent).WantHeader(t, "Range", "0-1999")
	location = r.Do(t, http.MethodPatch, location, content[2000:], "Content-Range", "2000-4999").Want(t,
		x.patched()).Location(t, "digest", ocitest.SHA256(content))
	r.Do(t, http.MethodPut, location, nil).Want(t, http.StatusCreated)
	x.show(t, r, ocitest.Describe(ocitest.LayerType, content))
	if got := r.Blob(t, ocitest.SHA256(content)).Want(t, http.StatusOK); string(got.Body) != string(content) {
		t.Errorf("the blob whose upload went on after a restart has other bytes")
	}
}
