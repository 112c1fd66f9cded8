package ociapi_test

import (
	"net/http"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
)

// A host without a registry in its name serves all regions, so its version check accepts a token of any region. A
// request for a repository needs a token of the region of the repository, and a host of a registry one of the region of
// the registry.
func TestLoginOfAnotherRegion(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	home := s.Root(t)
	home.CreateRepository(t, "app")
	away := home.In("eu-west-1")
	away.CreateRepository(t, "app")

	docker := away.Docker(t)
	docker.Do(t, http.MethodGet, "/v2/", nil).Want(t, http.StatusOK)
	docker.Do(t, http.MethodGet, "/v2/000000000000/eu-west-1/app/tags/list", nil).Want(t, http.StatusOK)
	docker.Do(t, http.MethodGet, "/v2/app/tags/list", nil).WantError(t, http.StatusForbidden, "DENIED")
	docker.Do(t, http.MethodGet, "/v2/_catalog", nil).WantError(t, http.StatusForbidden, "DENIED")
	docker.Host = "000000000000.dkr.ecr.us-east-1.amazonaws.com"
	docker.Do(t, http.MethodGet, "/v2/", nil).WantError(t, http.StatusForbidden, "DENIED")
}
