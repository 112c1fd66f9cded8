package ociapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// A blob is sent with the media type that its manifest declares, but never with one that a browser would run.
func TestBlobsAreNotServedAsActiveContent(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	repo := s.Root(t).CreateRepository(t, "app")
	const octets = "application/octet-stream"
	for i, c := range []struct{ declared, want string }{
		{ocitest.LayerType, ocitest.LayerType}, {"text/plain", "text/plain"}, {"text/html", octets}, {"image/svg+xml", octets},
		{"application/javascript", octets}, {"text/html; charset=utf-7", octets}, {"APPLICATION/XHTML+XML", octets},
	} {
		content := ocitest.Bytes(uint64(i), 100)
		d := repo.PutBlob(t, content)
		repo.PutBlob(t, []byte("{}"))
		config := ocitest.Describe(ocitest.EmptyType, []byte("{}"))
		body := ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.ImageType, ArtifactType: "application/vnd.example", Config: &config,
			Layers: []ocitest.Descriptor{ocitest.Describe(c.declared, content)}}.JSON()
		repo.PutManifest(t, ocitest.SHA256(body), ocitest.ImageType, body).Want(t, http.StatusCreated)
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			repo.Do(t, method, repo.Path("/blobs/"+d), nil).Want(t, http.StatusOK).WantHeader(t, "Content-Type", c.want).
				WantHeader(t, "X-Content-Type-Options", "nosniff").WantHeader(t, "Content-Security-Policy", "default-src 'none'; sandbox")
		}
		repo.Do(t, http.MethodGet, repo.Path("/blobs/"+d), nil, "Range", "bytes=0-9").Want(t, http.StatusPartialContent).
			WantHeader(t, "Content-Type", c.want)
	}
}

// A manifest that declares something else than a media type is refused; nothing of it is stored.
func TestPushedMediaTypesAreChecked(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	repo := root.CreateRepository(t, "app")
	im := ocitest.NewImage(1, 100)
	repo.PushBlobs(t, im)
	for _, bad := range []string{"x", "text/html\\r\\nX: y", "a/" + strings.Repeat("b", 400<<10), "a/b;c"} {
		body := strings.Replace(string(im.Manifest), ocitest.LayerType, bad, 1)
		repo.PutManifest(t, "v1", ocitest.ImageType, []byte(body)).WantError(t, http.StatusBadRequest, "MANIFEST_INVALID")
		personOf(s, root).ecr(t, "PutImage", "repositoryName", "app", "imageManifest", body, "imageTag", "v1").Want(t, http.StatusBadRequest)
	}
	repo.Manifest(t, "v1").WantError(t, http.StatusNotFound, "MANIFEST_UNKNOWN")
	repo.Blob(t, ocitest.SHA256(im.Layers[0])).WantHeader(t, "Content-Type", "application/octet-stream")
	repo.PutManifest(t, "v1", ocitest.ImageType, im.Manifest).Want(t, http.StatusCreated)
}

// The two kinds of manifests that clients still push, and that ECR refuses too, are refused with the way out.
func TestRefusedManifestsNameTheWayOut(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	repo := root.CreateRepository(t, "app")
	layer := ocitest.Bytes(1, 100)
	repo.PutBlob(t, layer)
	repo.PutBlob(t, []byte("{}"))
	cache := func(mediaType string) string {
		return string(ocitest.Manifest{SchemaVersion: 2, MediaType: mediaType, Manifests: []ocitest.Descriptor{
			ocitest.Describe(ocitest.LayerType, layer), ocitest.Describe("application/vnd.buildkit.cacheconfig.v0", []byte("{}")),
		}}.JSON())
	}
	const artifact, list = "application/vnd.oci.artifact.manifest.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"
	for name, c := range map[string]struct{ mediaType, body, want string }{
		"artifact manifest": {artifact, `{"mediaType":"` + artifact + `","artifactType":"a/b","blobs":[]}`,
			"an image manifest with an artifactType"},
		"cache, OCI":    {ocitest.IndexType, cache(ocitest.IndexType), "image-manifest=true,oci-mediatypes=true"},
		"cache, Docker": {list, cache(list), "image-manifest=true,oci-mediatypes=true"},
	} {
		a := repo.PutManifest(t, "v1", c.mediaType, []byte(c.body)).WantError(t, http.StatusBadRequest, "MANIFEST_INVALID")
		if !strings.Contains(string(a.Body), c.want) {
			t.Errorf("%s: got %s, want a text with %q", name, a.Body, c.want)
		}
		a = personOf(s, root).ecr(t, "PutImage", "repositoryName", "app", "imageManifest", c.body, "imageTag", "v1")
		if a.Status != http.StatusBadRequest || !strings.Contains(string(a.Body), c.want) ||
			!strings.Contains(string(a.Body), "Invalid parameter at 'ImageManifest'") {
			t.Errorf("%s by PutImage: got %s, want a text with %q", name, a.Body, c.want)
		}
	}
}
