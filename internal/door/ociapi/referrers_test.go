package ociapi_test

import (
	"net/http"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// A registry with the referrers API answers a request for the referrers of any digest with a list. A repository that does
// not exist, perhaps because the next push creates it, has no referrers; with referrers-404 the answer is that of ECR.
func TestReferrersOfAMissingRepositoryAreNone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		strict string
		create bool
		want   int
	}{
		"default":                       {want: http.StatusOK},
		"create on push":                {create: true, want: http.StatusOK},
		"other departures":              {strict: "page-100,status-405", want: http.StatusOK},
		"referrers-404":                 {strict: "referrers-404", want: http.StatusNotFound},
		"all, with create on push":      {strict: "all", create: true, want: http.StatusNotFound},
		"referrers-404, create on push": {strict: "referrers-404", create: true, want: http.StatusNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := apptest.Start(t, apptest.Options{Config: func(k *config.Config) {
				k.CreateOnPush = c.create
				if c.strict != "" {
					k.StrictECR = c.strict
				}
			}})
			repo := s.Root(t).Docker(t).Repo("team/none")
			path := repo.Path("/referrers/" + ocitest.SHA256([]byte("subject")) + "?artifactType=application/vnd.example")
			a := repo.Do(t, http.MethodGet, path, nil)
			if c.want == http.StatusNotFound {
				a.WantError(t, c.want, "NAME_UNKNOWN")
				return
			}
			a.Want(t, http.StatusOK).WantHeader(t, "Content-Type", ocitest.IndexType).WantHeader(t, "OCI-Filters-Applied", "artifactType")
			const none = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`
			if string(a.Body) != none {
				t.Errorf("got %s, want %s", a.Body, none)
			}
			repo.Do(t, http.MethodGet, repo.Path("/referrers/latest"), nil).WantError(t, http.StatusBadRequest, "DIGEST_INVALID")
			// The request creates nothing, and other reads still say that the repository does not exist.
			repo.Tags(t, "").WantError(t, http.StatusNotFound, "NAME_UNKNOWN")
		})
	}
}

// The list of a missing repository is only for callers who may pull there: others learn nothing about existence.
func TestReferrersOfAMissingRepositoryNeedThePermission(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	s.Root(t).CreateRepository(t, "team/app")
	bob := s.NewAccount(t, bobID).Docker(t)
	for _, name := range []string{"team/app", "team/none"} {
		path := "/v2/000000000000/us-east-1/" + name + "/referrers/" + ocitest.SHA256([]byte("subject"))
		bob.Do(t, http.MethodGet, path, nil).WantError(t, http.StatusForbidden, "DENIED")
	}
	client := ocitest.Client{Base: s.URL, HTTP: s.HTTP}
	client.Do(t, http.MethodGet, "/v2/team/none/referrers/"+ocitest.SHA256(nil), nil).Want(t, http.StatusUnauthorized)
}
