package conformance

import (
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

func blobs(t *testing.T, x Target) {
	r := x.NewRepo(t)
	content := ocitest.Bytes(1, 70_000)
	d := r.PutBlob(t, content)
	if x.Quirks.LayerNeedsImage {
		r.Blob(t, d).WantError(t, http.StatusNotFound, "BLOB_UNKNOWN")
	}
	layer := ocitest.Describe(ocitest.LayerType, content)
	x.show(t, r, layer)
	head := r.Do(t, http.MethodHead, r.Path("/blobs/"+d), nil).Want(t, http.StatusOK)
	got := r.Blob(t, d).Want(t, http.StatusOK)
	for _, a := range []*ocitest.Answer{head, got} {
		a.WantHeader(t, "Content-Length", fmt.Sprint(len(content))).WantHeader(t, "Docker-Content-Digest", d).WantHeader(t,
			"Accept-Ranges", "bytes")
	}
	if string(got.Body) != string(content) {
		t.Errorf("GET blob: other bytes than were pushed")
	}
	if !x.Quirks.LayerNeedsImage {
		got.WantHeader(t, "Content-Type", "application/octet-stream")
	}
	artifact(t, r, "", ocitest.Manifest{Layers: []ocitest.Descriptor{layer}})
	r.Blob(t, d).WantHeader(t, "Content-Type", ocitest.LayerType)

	r.Do(t, http.MethodGet, r.Path("/blobs/"+d), nil, "If-None-Match", `"`+d+`"`).Want(t, http.StatusNotModified)
	unknown := ocitest.SHA256([]byte("unknown"))
	r.Blob(t, unknown).WantError(t, http.StatusNotFound, "BLOB_UNKNOWN")
	r.Do(t, http.MethodHead, r.Path("/blobs/"+unknown), nil).WantError(t, http.StatusNotFound, "")
	for _, bad := range []string{"sha256:abc", "md5:d41d8cd98f00b204e9800998ecf8427e", strings.ToUpper(d), "latest", d + "0"} {
		r.Blob(t, bad).WantError(t, http.StatusBadRequest, "DIGEST_INVALID")
	}

	nothing := r.PutBlob(t, []byte{})
	x.show(t, r, ocitest.Describe(ocitest.LayerType, nil))
	if got := r.Blob(t, nothing).Want(t, http.StatusOK); len(got.Body) != 0 {
		t.Errorf("the empty blob has %d bytes", len(got.Body))
	}
	r.Do(t, http.MethodHead, r.Path("/blobs/"+nothing), nil).Want(t, http.StatusOK).WantHeader(t, "Content-Length", "0")
}

func ranges(t *testing.T, x Target) {
	r := x.NewRepo(t)
	content := ocitest.Bytes(2, 1000)
	d := r.PutBlob(t, content)
	x.show(t, r, ocitest.Describe(ocitest.LayerType, content))
	get := func(value string) *ocitest.Answer {
		return r.Do(t, http.MethodGet, r.Path("/blobs/"+d), nil, "Range", value)
	}
	for _, c := range []struct {
		value, said string
		from, to    int
	}{
		{"bytes=0-0", "bytes 0-0/1000", 0, 1},
		{"bytes=100-299", "bytes 100-299/1000", 100, 300},
		{"bytes=990-", "bytes 990-999/1000", 990, 1000},
		{"bytes=900-5000", "bytes 900-999/1000", 900, 1000},
		{"bytes=-10", "bytes 990-999/1000", 990, 1000},
		{"bytes=-5000", "bytes 0-999/1000", 0, 1000},
	} {
		a := get(c.value).Want(t, http.StatusPartialContent).WantHeader(t, "Content-Range", c.said)
		if string(a.Body) != string(content[c.from:c.to]) {
			t.Errorf("Range %s: got %d bytes, want those from %d to %d", c.value, len(a.Body), c.from, c.to)
		}
	}
	many := get("bytes=0-9,500-509").Want(t, http.StatusPartialContent)
	_, params, err := mime.ParseMediaType(many.Header.Get("Content-Type"))
	if err != nil {
		t.Fatalf("several ranges: content type %q: %v", many.Header.Get("Content-Type"), err)
	}
	parts := multipart.NewReader(strings.NewReader(string(many.Body)), params["boundary"])
	for _, from := range []int{0, 500} {
		p, err := parts.NextPart()
		if err != nil {
			t.Fatalf("several ranges: the part at %d: %v", from, err)
		}
		if b, err := io.ReadAll(p); err != nil || string(b) != string(content[from:from+10]) {
			t.Errorf("several ranges: the part at %d has other bytes (%v)", from, err)
		}
	}
	for _, value := range []string{"bytes=1000-", "bytes=5000-6000"} {
		get(value).WantError(t, http.StatusRequestedRangeNotSatisfiable, "SIZE_INVALID").WantHeader(t, "Content-Range", "bytes */1000")
	}
	r.Do(t, http.MethodHead, r.Path("/blobs/"+d), nil, "Range", "bytes=0-9").Want(t, http.StatusOK).WantHeader(t,
		"Content-Length", "1000")
	// If-Range with another validator makes the server ignore the range.
	whole := r.Do(t, http.MethodGet, r.Path("/blobs/"+d), nil, "Range", "bytes=0-9", "If-Range", `"other"`).Want(t, http.StatusOK)
	if len(whole.Body) != len(content) {
		t.Errorf("If-Range with another validator: got %d bytes, want all %d", len(whole.Body), len(content))
	}
}

func deleteBlobs(t *testing.T, x Target) {
	r := x.NewRepo(t)
	free := r.PutBlob(t, ocitest.Bytes(3, 100))
	im := ocitest.NewImage(4, 100)
	r.Push(t, "v1", im)
	used := ocitest.SHA256(im.Layers[0])
	del := func(d string) *ocitest.Answer { return r.Do(t, http.MethodDelete, r.Path("/blobs/"+d), nil) }
	del(free).Want(t, http.StatusAccepted)
	r.Blob(t, free).WantError(t, http.StatusNotFound, "BLOB_UNKNOWN")
	del(free).WantError(t, http.StatusNotFound, "BLOB_UNKNOWN")
	del("sha256:1").WantError(t, http.StatusBadRequest, "DIGEST_INVALID")
	del(used).WantError(t, http.StatusMethodNotAllowed, "UNSUPPORTED")
	r.Blob(t, used).Want(t, http.StatusOK)
	r.Do(t, http.MethodDelete, r.Path("/manifests/"+im.Digest), nil).Want(t, http.StatusAccepted)
	del(used).Want(t, http.StatusAccepted)
	r.Blob(t, used).WantError(t, http.StatusNotFound, "BLOB_UNKNOWN")
	r.PutManifest(t, "v1", ocitest.ImageType, im.Manifest).WantError(t, http.StatusNotFound, "MANIFEST_BLOB_UNKNOWN")
}

func mounts(t *testing.T, x Target) {
	from, to := x.NewRepo(t), x.NewRepo(t)
	content := ocitest.Bytes(5, 1000)
	d := from.PutBlob(t, content)
	x.show(t, from, ocitest.Describe(ocitest.LayerType, content))
	mount := func(pairs ...string) *ocitest.Answer {
		return to.Do(t, http.MethodPost, to.Path("/blobs/uploads/?"+ocitest.Query(pairs...)), nil)
	}
	unknown := ocitest.SHA256([]byte("stored in no repository"))
	// A blob that cannot be mounted is uploaded as usual, for any reason.
	for _, pairs := range [][]string{
		{"mount", unknown, "from", from.Prefix + from.Name},
		{"mount", d, "from", from.Prefix + "no/such-repository"},
		{"mount", d, "from", "NOT A NAME"},
		{"mount", d, "from", to.Prefix + to.Name},
	} {
		a := mount(pairs...).Want(t, http.StatusAccepted)
		a.WantHeader(t, "Range", "0-0")
		to.Do(t, http.MethodGet, a.Location(t), nil).Want(t, http.StatusNoContent)
	}
	to.Blob(t, d).WantError(t, http.StatusNotFound, "BLOB_UNKNOWN")
	mount("mount", "sha256:1", "from", from.Prefix+from.Name).WantError(t, http.StatusBadRequest, "DIGEST_INVALID")
	a := mount("mount", d, "from", from.Prefix+from.Name)
	if x.Quirks.MountSetting {
		a.Want(t, http.StatusAccepted)
		return
	}
	a.Want(t, http.StatusCreated).WantHeader(t, "Docker-Content-Digest", d)
	if got := to.Do(t, http.MethodGet, a.Location(t), nil).Want(t, http.StatusOK); string(got.Body) != string(content) {
		t.Errorf("the mounted blob has other bytes")
	}
	mount("mount", d, "from", from.Prefix+from.Name).Want(t, http.StatusCreated)
	// Without a source repository, the registry looks for one that the caller may read.
	third := x.NewRepo(t)
	third.Do(t, http.MethodPost, third.Path("/blobs/uploads/?mount="+d), nil).Want(t, http.StatusCreated)
	third.Blob(t, d).Want(t, http.StatusOK)
	third.Do(t, http.MethodPost, third.Path("/blobs/uploads/?mount="+unknown), nil).Want(t, http.StatusAccepted)
	// Each repository holds the blob independently.
	from.Do(t, http.MethodDelete, from.Path("/blobs/"+d), nil).Want(t, http.StatusAccepted)
	to.Blob(t, d).Want(t, http.StatusOK)
	from.Blob(t, d).WantError(t, http.StatusNotFound, "BLOB_UNKNOWN")
}

func sha512Content(t *testing.T, x Target) {
	r := x.NewRepo(t)
	content := ocitest.Bytes(6, 10_000)
	d := ocitest.SHA512(content)
	layer := ocitest.Descriptor{MediaType: ocitest.LayerType, Digest: d, Size: len(content)}
	begun := r.Do(t, http.MethodPost, r.Path("/blobs/uploads/?digest-algorithm=sha512"), nil).Want(t, http.StatusAccepted)
	step := r.Do(t, http.MethodPatch, begun.Location(t), content[:4000]).Want(t, x.patched())
	r.Do(t, http.MethodPut, step.Location(t, "digest", ocitest.SHA512(nil)), content[4000:]).WantError(t,
		http.StatusBadRequest, "DIGEST_INVALID")
	r.Do(t, http.MethodPut, step.Location(t, "digest", d), content[4000:]).Want(t, http.StatusCreated).WantHeader(t,
		"Docker-Content-Digest", d)
	x.show(t, r, layer)
	if got := r.Blob(t, d).Want(t, http.StatusOK).WantHeader(t, "Docker-Content-Digest", d); string(got.Body) != string(content) {
		t.Errorf("the blob by SHA-512 has other bytes")
	}
	r.Blob(t, ocitest.SHA256(content)).WantError(t, http.StatusNotFound, "BLOB_UNKNOWN")
	r.Do(t, http.MethodPost, r.Path("/blobs/uploads/?digest-algorithm=md5"), nil).WantError(t, http.StatusBadRequest, "DIGEST_INVALID")

	// The algorithm may be specified only at the end, with a single request and after chunks.
	late := ocitest.Bytes(7, 5000)
	r.Do(t, http.MethodPost, r.Path("/blobs/uploads/?digest="+ocitest.SHA512(late)), late).Want(t, http.StatusCreated)
	late = ocitest.Bytes(8, 5000)
	step = r.Do(t, http.MethodPatch, r.Begin(t), late).Want(t, x.patched())
	r.Do(t, http.MethodPut, step.Location(t, "digest", ocitest.SHA512(late)), nil).Want(t, http.StatusCreated)

	r.PutBlob(t, empty)
	config := ocitest.Describe(ocitest.EmptyType, empty)
	body := ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.ImageType, ArtifactType: "application/vnd.example.sha512",
		Config: &config, Layers: []ocitest.Descriptor{layer}}.JSON()
	m := ocitest.SHA512(body)
	a := r.PutManifest(t, m, ocitest.ImageType, body).Want(t, http.StatusCreated).WantHeader(t, "Docker-Content-Digest", m)
	if got := r.Do(t, http.MethodGet, a.Location(t), nil).Want(t, http.StatusOK); string(got.Body) != string(body) {
		t.Errorf("the manifest by SHA-512: got %s, want %s", got.Body, body)
	}
	r.Manifest(t, ocitest.SHA256(body)).WantError(t, http.StatusNotFound, "MANIFEST_UNKNOWN")
	r.PutManifest(t, ocitest.SHA512(nil), ocitest.ImageType, body).WantError(t, http.StatusBadRequest, "DIGEST_INVALID")
	index := ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.IndexType,
		Manifests: []ocitest.Descriptor{{MediaType: ocitest.ImageType, Digest: m, Size: len(body)}}}.JSON()
	r.PutManifest(t, ocitest.SHA512(index), ocitest.IndexType, index).Want(t, http.StatusCreated)
	// A push by digest can also set tags.
	tagged := r.Do(t, http.MethodPut, r.Path("/manifests/"+ocitest.SHA512(index)+"?tag=one&tag=two"), index, "Content-Type",
		ocitest.IndexType).Want(t, http.StatusCreated)
	if got := join(tagged.Header.Values("Oci-Tag")); got != "one,two" {
		t.Errorf("OCI-Tag of a push by digest: got %s, want one,two", got)
	}
	r.Manifest(t, "two").Want(t, http.StatusOK).WantHeader(t, "Docker-Content-Digest", ocitest.SHA512(index))
}

func join(values []string) string { return strings.Join(values, ",") }
