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
		for path, want := range map[string]int{"/v2/": http.StatusUnauthorized, "/v2/team/app/manifests/v1": want, "/v2/team/app/tags/list": http.StatusUnauthorized} {
			a := client.Do(t, http.MethodGet, path, nil, "Authorization", basic("", ""))
			if a.Status != want {
				t.Errorf("anonymous (%t), GET %s: got %d %s, want %d", on, path, a.Status, a.Body, want)
			}
		}
	}
}
