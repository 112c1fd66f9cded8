package ociapi_test

import (
	"net/http"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// An index whose images are not all in the repository is refused as by ECR, and accepted by both APIs with a setting.
func TestSparseIndexesNeedASetting(t *testing.T) {
	t.Parallel()
	there, missing := ocitest.NewImage(1, 10), ocitest.NewImage(2, 10)
	index := func(more ...ocitest.Descriptor) []byte {
		return ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.IndexType,
			Manifests: append(more, there.Descriptor(), missing.Descriptor())}.JSON()
	}
	for on, want := range map[bool]struct{ put, api int }{false: {http.StatusNotFound, 400}, true: {http.StatusCreated, 200}} {
		s := apptest.Start(t, apptest.Options{Config: func(c *config.Config) { c.SparseIndexes = on }})
		root := s.Root(t)
		repo := root.CreateRepository(t, "app")
		repo.Push(t, "there", there)
		repo.PutManifest(t, "v1", ocitest.IndexType, index()).Want(t, want.put)
		personOf(s, root).ecr(t, "PutImage", "repositoryName", "app", "imageManifest",
			string(index(there.Descriptor())), "imageTag", "v2").Want(t, want.api)
		if !on {
			continue
		}
		repo.Manifest(t, "v1").Want(t, http.StatusOK)
		repo.Manifest(t, missing.Digest).WantError(t, http.StatusNotFound, "MANIFEST_UNKNOWN")
		repo.Push(t, missing.Digest, missing)
		repo.Manifest(t, missing.Digest).Want(t, http.StatusOK)
		// Layers are needed as before.
		image := ocitest.NewImage(3, 10)
		repo.PutManifest(t, "v3", ocitest.ImageType, image.Manifest).WantError(t, http.StatusNotFound, "MANIFEST_BLOB_UNKNOWN")
	}
}
