package conformance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

func manifests(t *testing.T, x Target) {
	r := x.NewRepo(t)
	im := ocitest.NewImage(50, 2000)
	r.PushBlobs(t, im)
	a := r.PutManifest(t, "v1", ocitest.ImageType, im.Manifest).Want(t, http.StatusCreated).WantHeader(t, "Docker-Content-Digest", im.Digest)
	if got := r.Do(t, http.MethodGet, a.Location(t), nil).Want(t, http.StatusOK); !bytes.Equal(got.Body, im.Manifest) {
		t.Errorf("the manifest at Location has other bytes")
	}
	r.PutManifest(t, "v1", ocitest.ImageType, im.Manifest).Want(t, http.StatusCreated) // a repeated push changes nothing
	r.PutManifest(t, im.Digest, ocitest.ImageType, im.Manifest).Want(t, http.StatusCreated)
	for _, ref := range []string{"v1", im.Digest} {
		for _, accept := range []string{"", "*/*", ocitest.ImageType, "application/json", ocitest.DockerType} {
			head := r.Do(t, http.MethodHead, r.Path("/manifests/"+ref), nil, "Accept", accept).Want(t, http.StatusOK)
			get := r.Do(t, http.MethodGet, r.Path("/manifests/"+ref), nil, "Accept", accept).Want(t, http.StatusOK)
			for _, a := range []*ocitest.Answer{head, get} {
				a.WantHeader(t, "Content-Type", ocitest.ImageType).WantHeader(t, "Docker-Content-Digest", im.Digest)
				a.WantHeader(t, "Content-Length", fmt.Sprint(len(im.Manifest)))
			}
			if !bytes.Equal(get.Body, im.Manifest) {
				t.Errorf("GET %s: got %s, want %s", ref, get.Body, im.Manifest)
			}
		}
	}
	r.Do(t, http.MethodGet, r.Path("/manifests/v1"), nil, "If-None-Match", `"`+im.Digest+`"`).Want(t, http.StatusNotModified)
	unknown := ocitest.SHA256([]byte("unknown"))
	// An invalid reference gives the same error as an unknown one.
	for _, ref := range []string{"v2", unknown, ".INVALID_MANIFEST_NAME", strings.Repeat("a", 129)} {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodDelete} {
			r.Do(t, method, r.Path("/manifests/"+ref), nil).WantError(t, http.StatusNotFound, "MANIFEST_UNKNOWN")
		}
	}
	for _, ref := range []string{"sha256:abc", "sha256:" + strings.Repeat("g", 64), "md5:d41d8cd98f00b204e9800998ecf8427e"} {
		r.Manifest(t, ref).WantError(t, http.StatusBadRequest, "DIGEST_INVALID")
	}
	// When a tag moves, the image stays available by its digest.
	next := ocitest.NewImage(51, 10)
	r.Push(t, "v1", next)
	r.Manifest(t, "v1").Want(t, http.StatusOK).WantHeader(t, "Docker-Content-Digest", next.Digest)
	r.Manifest(t, im.Digest).Want(t, http.StatusOK)
}

// Every kind of manifest is returned unchanged, with its media type.
func manifestKinds(t *testing.T, x Target) {
	r := x.NewRepo(t)
	im := ocitest.NewImage(52, 100, 200)
	r.Push(t, "", im)
	r.PutBlob(t, empty)
	config, layer := ocitest.Describe(ocitest.ConfigType, im.Config), ocitest.Describe(ocitest.LayerType, im.Layers[0])
	none := ocitest.Describe(ocitest.EmptyType, empty)
	foreign := `{"mediaType":"application/vnd.oci.image.layer.nondistributable.v1.tar","size":5,"digest":"` +
		ocitest.SHA256([]byte("elsewhere")) + `","urls":["https://store.example.com/1"]}`
	js := func(v any) string { b, _ := json.Marshal(v); return string(b) }
	pretty := &bytes.Buffer{}
	_ = json.Indent(pretty, im.Manifest, "", "\t")
	index := ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.IndexType, Manifests: []ocitest.Descriptor{im.Descriptor()}}.JSON()
	r.PutManifest(t, "index", ocitest.IndexType, index).Want(t, http.StatusCreated)
	const list = "application/vnd.docker.distribution.manifest.list.v2+json"
	for name, c := range map[string]struct{ mediaType, body string }{
		"pretty with a line feed": {ocitest.ImageType, pretty.String() + "\n\n"},
		"without own media type":  {ocitest.ImageType, `{"schemaVersion":2,"config":` + js(config) + `,"layers":[]}`},
		"docker": {ocitest.DockerType, `{"schemaVersion":2,"mediaType":"` + ocitest.DockerType +
			`","config":` + js(config) + `,"layers":[` + js(layer) + `]}`},
		"docker list": {list, `{"schemaVersion":2,"mediaType":"` + list + `","manifests":[` + js(im.Descriptor()) + `]}`},
		"nested index": {ocitest.IndexType, `{"schemaVersion":2,"mediaType":"` + ocitest.IndexType +
			`","manifests":[` + js(ocitest.Describe(ocitest.IndexType, index)) + `]}`},
		"empty index":           {ocitest.IndexType, `{"schemaVersion":2,"mediaType":"` + ocitest.IndexType + `","manifests":[]}`},
		"artifact, empty layer": {ocitest.ImageType, ocitestManifest(none, "application/vnd.example.a", none)},
		"artifact without layers": {ocitest.ImageType, `{"schemaVersion":2,"mediaType":"` + ocitest.ImageType +
			`","artifactType":"a/b","config":` + js(none) + `}`},
		"unknown members": {ocitest.ImageType, `{"schemaVersion":2,"vendor":{"x":[1,2.50,null]},"config":` +
			js(config) + `,"layers":[` + js(layer) + `],"é":"\u0041"}`},
		"layers elsewhere": {ocitest.ImageType, `{"schemaVersion":2,"config":` + js(config) + `,"layers":[` + foreign +
			`,` + js(layer) + `]}`},
		"data": {ocitest.ImageType, `{"schemaVersion":2,"config":{"mediaType":"` + ocitest.EmptyType +
			`","size":2,"digest":"` + none.Digest + `","data":"e30="},"layers":[` + js(layer) + `,` + js(layer) + `]}`},
		"close to 4 MiB": {ocitest.ImageType, `{"schemaVersion":2,"config":` + js(config) +
			`,"layers":[],"annotations":{"a":"` + strings.Repeat("A", 4<<20-1000) + `"}}`},
	} {
		d := ocitest.SHA256([]byte(c.body))
		a := r.PutManifest(t, "kind", c.mediaType+"; charset=utf-8", []byte(c.body))
		if a.Status != http.StatusCreated {
			t.Errorf("%s: got %d %.300s, want 201", name, a.Status, a.Body)
			continue
		}
		for _, ref := range []string{"kind", d} {
			got := r.Manifest(t, ref).Want(t, http.StatusOK).WantHeader(t, "Content-Type", c.mediaType).WantHeader(t, "Docker-Content-Digest", d)
			if string(got.Body) != c.body {
				t.Errorf("%s by %s: got %.300q, want %.300q", name, ref, got.Body, c.body)
			}
		}
	}
	// If the request has no content type, the type is that of the manifest.
	r.Do(t, http.MethodPut, r.Path("/manifests/untyped"), im.Manifest).Want(t, http.StatusCreated)
	r.Manifest(t, "untyped").WantHeader(t, "Content-Type", ocitest.ImageType)
}

func ocitestManifest(config ocitest.Descriptor, artifactType string, layers ...ocitest.Descriptor) string {
	return string(ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.ImageType, ArtifactType: artifactType,
		Config: &config, Layers: layers}.JSON())
}

func manifestRefusals(t *testing.T, x Target) {
	r := x.NewRepo(t)
	im := ocitest.NewImage(53, 100)
	r.PushBlobs(t, im)
	text := string(im.Manifest)
	for name, c := range map[string]struct{ mediaType, body string }{
		"no JSON":             {ocitest.ImageType, "blablabla"},
		"empty":               {ocitest.ImageType, ""},
		"two documents":       {ocitest.ImageType, text + text},
		"an array":            {ocitest.ImageType, "[]"},
		"image and index":     {ocitest.ImageType, strings.Replace(text, `"layers"`, `"manifests":[],"layers"`, 1)},
		"index and image":     {ocitest.IndexType, `{"schemaVersion":2,"mediaType":"` + ocitest.IndexType + `","manifests":[],"layers":[]}`},
		"another type inside": {ocitest.IndexType, text},
		"an unknown type":     {"application/vnd.example.manifest+json", `{"schemaVersion":2}`},
		"the artifact manifest": {"application/vnd.oci.artifact.manifest.v1+json",
			`{"mediaType":"application/vnd.oci.artifact.manifest.v1+json"}`},
		"another version":      {ocitest.ImageType, strings.Replace(text, `"schemaVersion":2`, `"schemaVersion":3`, 1)},
		"a digest of no kind":  {ocitest.ImageType, strings.Replace(text, `"sha256:`, `"md5:`, 1)},
		"another size":         {ocitest.ImageType, strings.Replace(text, `"size":100`, `"size":101`, 1)},
		"a negative size":      {ocitest.ImageType, strings.Replace(text, `"size":100`, `"size":-1`, 1)},
		"layers that are none": {ocitest.ImageType, `{"schemaVersion":2,"config":{},"layers":"x"}`},
		"no config":            {ocitest.ImageType, `{"schemaVersion":2,"layers":[]}`},
		"no type at all":       {"", `{"schemaVersion":2}`},
		"an unreadable type":   {"application/", text},
		"very deep": {ocitest.ImageType, strings.Replace(text, `"layers"`,
			`"x":`+strings.Repeat("[", 5000)+strings.Repeat("]", 5000)+`,"layers"`, 1)},
	} {
		t.Run(name, func(t *testing.T) { x.wantInvalid(t, r.PutManifest(t, "bad", c.mediaType, []byte(c.body))) })
	}
	r.PutManifest(t, ".bad", ocitest.ImageType, im.Manifest).WantError(t, http.StatusBadRequest, "TAG_INVALID")
	r.PutManifest(t, strings.Repeat("a", 129), ocitest.ImageType, im.Manifest).WantError(t, http.StatusBadRequest, "TAG_INVALID")
	r.PutManifest(t, ocitest.SHA256(nil), ocitest.ImageType, im.Manifest).WantError(t, http.StatusBadRequest, "DIGEST_INVALID")
	r.PutManifest(t, "sha256:totallywrong", ocitest.ImageType, im.Manifest).WantError(t, http.StatusBadRequest, "DIGEST_INVALID")
	large := strings.Replace(text, `"layers"`, `"annotations":{"a":"`+strings.Repeat("A", 4<<20)+`"},"layers"`, 1)
	r.PutManifest(t, "large", ocitest.ImageType, []byte(large)).WantError(t, http.StatusRequestEntityTooLarge, "SIZE_INVALID")
	stream(t, r, http.MethodPut, r.Path("/manifests/large"), []byte(large), "Content-Type", ocitest.ImageType).WantError(t,
		http.StatusRequestEntityTooLarge, "SIZE_INVALID")
	var list struct{ Tags []string }
	if r.Tags(t, "").JSON(t, &list); len(list.Tags) > 0 {
		t.Errorf("after refusals only: got tags %v, want none", list.Tags)
	}
}

func missingParts(t *testing.T, x Target) {
	r := x.NewRepo(t)
	im := ocitest.NewImage(54, 100, 200)
	push := func() *ocitest.Answer { return r.PutManifest(t, "v1", ocitest.ImageType, im.Manifest) }
	missing := func(a *ocitest.Answer, digests ...string) {
		t.Helper()
		a.WantError(t, http.StatusNotFound, "MANIFEST_BLOB_UNKNOWN")
		e, _ := a.Errors()
		for _, d := range digests {
			if !strings.Contains(e[0].Message, d) {
				t.Errorf("got message %q, want one that names %s", e[0].Message, d)
			}
		}
	}
	missing(push(), ocitest.SHA256(im.Config), ocitest.SHA256(im.Layers[0]))
	r.PutBlob(t, im.Config)
	r.PutBlob(t, im.Layers[0])
	missing(push(), ocitest.SHA256(im.Layers[1]))
	// A blob that another repository holds does not count.
	x.NewRepo(t).PutBlob(t, im.Layers[1])
	missing(push(), ocitest.SHA256(im.Layers[1]))
	r.Manifest(t, "v1").WantError(t, http.StatusNotFound, "MANIFEST_UNKNOWN")

	index := ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.IndexType, Manifests: []ocitest.Descriptor{im.Descriptor()}}.JSON()
	missing(r.PutManifest(t, "index", ocitest.IndexType, index), im.Digest)
	r.PutBlob(t, im.Layers[1])
	push().Want(t, http.StatusCreated)
	r.PutManifest(t, "index", ocitest.IndexType, index).Want(t, http.StatusCreated)
	// The depth of nested indexes is limited, for the clients that follow them.
	for depth := 2; depth <= 8; depth++ {
		index = ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.IndexType,
			Manifests: []ocitest.Descriptor{ocitest.Describe(ocitest.IndexType, index)}}.JSON()
		r.PutManifest(t, "deep", ocitest.IndexType, index).Want(t, http.StatusCreated)
	}
	index = ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.IndexType,
		Manifests: []ocitest.Descriptor{ocitest.Describe(ocitest.IndexType, index)}}.JSON()
	x.wantInvalid(t, r.PutManifest(t, "deep", ocitest.IndexType, index))
}

func deleteManifests(t *testing.T, x Target) {
	r := x.NewRepo(t)
	del := func(ref string) *ocitest.Answer {
		return r.Do(t, http.MethodDelete, r.Path("/manifests/"+ref), nil)
	}
	im := ocitest.NewImage(55, 100)
	r.Push(t, "one", im)
	r.PutManifest(t, "two", ocitest.ImageType, im.Manifest).Want(t, http.StatusCreated)
	del("one").Want(t, http.StatusAccepted)
	r.Manifest(t, "one").WantError(t, http.StatusNotFound, "MANIFEST_UNKNOWN")
	del("one").WantError(t, http.StatusNotFound, "MANIFEST_UNKNOWN")
	r.Manifest(t, "two").Want(t, http.StatusOK)
	del("two").Want(t, http.StatusAccepted)
	if x.Quirks.TagDeletesImage { // the image is deleted with its last tag
		r.Manifest(t, im.Digest).WantError(t, http.StatusNotFound, "MANIFEST_UNKNOWN")
		r.PutManifest(t, im.Digest, ocitest.ImageType, im.Manifest).Want(t, http.StatusCreated)
	}
	r.Manifest(t, im.Digest).Want(t, http.StatusOK)
	r.PutManifest(t, "three", ocitest.ImageType, im.Manifest).Want(t, http.StatusCreated)
	del(im.Digest).Want(t, http.StatusAccepted)
	for _, ref := range []string{im.Digest, "three"} {
		r.Manifest(t, ref).WantError(t, http.StatusNotFound, "MANIFEST_UNKNOWN")
		r.Do(t, http.MethodHead, r.Path("/manifests/"+ref), nil).WantError(t, http.StatusNotFound, "")
		del(ref).WantError(t, http.StatusNotFound, "MANIFEST_UNKNOWN")
	}
	var list struct{ Tags []string }
	if r.Tags(t, "").JSON(t, &list); len(list.Tags) > 0 {
		t.Errorf("after deletion: got tags %v, want none", list.Tags)
	}
	// The image can be pushed again, since its blobs still exist.
	r.PutManifest(t, "three", ocitest.ImageType, im.Manifest).Want(t, http.StatusCreated)
	// An image of an index can be deleted after the index.
	index := ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.IndexType, Manifests: []ocitest.Descriptor{im.Descriptor()}}.JSON()
	r.PutManifest(t, "index", ocitest.IndexType, index).Want(t, http.StatusCreated)
	del(im.Digest).WantError(t, http.StatusMethodNotAllowed, "UNSUPPORTED")
	r.Manifest(t, "three").Want(t, http.StatusOK)
	del(ocitest.SHA256(index)).Want(t, http.StatusAccepted)
	del(im.Digest).Want(t, http.StatusAccepted)
	del("sha256:1").WantError(t, http.StatusBadRequest, "DIGEST_INVALID")
}
