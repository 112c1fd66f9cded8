package ociapi_test

import (
	"net/http"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// skopeo, podman and buildah without credentials send Basic with an empty user and an empty password after the
// challenge of the version check.
func TestAnonymousWithEmptyCredentials(t *testing.T) {
	t.Parallel()
	for on, want := range map[bool]int{false: http.StatusUnauthorized, true: http.StatusOK} {
		s := apptest.Start(t, apptest.Options{Config: func(c *config.Config) { c.Anonymous = on }})
		root := s.Root(t)
		root.CreateRepository(t, "team/app").Push(t, "v1", ocitest.NewImage(1, 10))
		personOf(s, root).ecr(t, "SetRepositoryPolicy", "repositoryName", "team/app", "policyText",
			document(`{"Effect":"Allow","Principal":"*","Action":"ecr:BatchGetImage"}`)).Want(t, http.StatusOK)
		client := ocitest.Client{Base: s.URL, HTTP: s.HTTP}
		for path, want := range map[string]int{"/v2/": http.StatusUnauthorized, "/v2/team/app/manifests/v1": want,
			"/v2/team/app/tags/list": http.StatusUnauthorized} {
			a := client.Do(t, http.MethodGet, path, nil, "Authorization", basic("", ""))
			if a.Status != want {
				t.Errorf("anonymous (%t), GET %s: got %d %s, want %d", on, path, a.Status, a.Body, want)
			}
		}
	}
}

// Anonymous callers pull, list and describe what policies allow to everyone. They push and delete only with a setting of
// its own, even where a policy allows everyone all actions.
func TestAnonymousWritesNeedASettingOfTheirOwn(t *testing.T) {
	t.Parallel()
	for write, want := range map[bool]struct{ begin, put, delete int }{false: {401, 401, 401}, true: {202, 201, 202}} {
		s := apptest.Start(t, apptest.Options{Config: func(c *config.Config) {
			c.Anonymous, c.AnonymousWrite, c.CreateOnPush = true, write, true
		}})
		root := s.Root(t)
		repo := root.CreateRepository(t, "app")
		im := ocitest.NewImage(1, 10)
		repo.Push(t, "v1", im)
		personOf(s, root).ecr(t, "SetRepositoryPolicy", "repositoryName", "app", "policyText",
			document(`{"Effect":"Allow","Principal":"*","Action":"ecr:*"}`)).Want(t, http.StatusOK)
		personOf(s, root).ecr(t, "PutRegistryPolicy", "policyText",
			document(`{"Effect":"Allow","Principal":"*","Action":"ecr:*","Resource":"*"}`)).Want(t, http.StatusOK)
		client := ocitest.Client{Base: s.URL, HTTP: s.HTTP}
		layer := ocitest.SHA256(im.Layers[0])
		for _, c := range []struct {
			method, path string
			body         []byte
			want         int
		}{
			{http.MethodGet, "manifests/v1", nil, 200}, {http.MethodHead, "manifests/" + im.Digest, nil, 200},
			{http.MethodGet, "blobs/" + layer, nil, 200}, {http.MethodHead, "blobs/" + layer, nil, 200},
			{http.MethodGet, "tags/list", nil, 200}, {http.MethodGet, "referrers/" + im.Digest, nil, 200},
			{http.MethodPost, "blobs/uploads/", nil, want.begin}, {http.MethodPost, "blobs/uploads/?mount=" + layer + "&from=app", nil, want.put},
			{http.MethodPost, "blobs/uploads/?digest=" + layer, im.Layers[0], want.put},
			{http.MethodPut, "manifests/v2", im.Manifest, want.put}, {http.MethodDelete, "manifests/v2", nil, want.delete},
		} {
			a := client.Do(t, c.method, "/v2/app/"+c.path, c.body, "Content-Type", ocitest.ImageType)
			if a.Status != c.want {
				t.Errorf("anonymous, writes %t, %s %s: got %d %s, want %d", write, c.method, c.path, a.Status, a.Body, c.want)
			}
			if challenge := a.Header.Get("WWW-Authenticate"); c.want == 401 && challenge == "" {
				t.Errorf("anonymous, %s %s: a refusal without a challenge", c.method, c.path)
			}
		}
		// A push creates no repository for a stranger without the setting.
		created := client.Do(t, http.MethodPost, "/v2/new/blobs/uploads/", nil).Status
		if created != want.begin {
			t.Errorf("anonymous, writes %t, a push to a new repository: got %d, want %d", write, created, want.begin)
		}
	}
}
