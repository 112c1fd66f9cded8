package ociapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// bearerToken requests a token as clients do: by the realm, service and scope of the challenge to a request for path.
func bearerToken(t *testing.T, c ocitest.Client, path string) string {
	t.Helper()
	without := c
	without.Password = ""
	challenge := without.Do(t, http.MethodGet, path, nil).Want(t, http.StatusUnauthorized).Header.Get("Www-Authenticate")
	values := map[string]string{}
	for _, pair := range strings.Split(strings.TrimPrefix(challenge, "Bearer "), `",`) {
		key, value, _ := strings.Cut(pair, `="`)
		values[key] = strings.TrimSuffix(value, `"`)
	}
	if !strings.HasPrefix(challenge, "Bearer ") || values["realm"] != c.Base+"/v2/token" {
		t.Fatalf("the challenge is %q, want Bearer with the realm %s/v2/token", challenge, c.Base)
	}
	var out struct {
		Token       string
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
	}
	c.Do(t, http.MethodGet, "/v2/token?"+ocitest.Query("service", values["service"], "scope", values["scope"]), nil).
		Want(t, http.StatusOK).WantHeader(t, "Cache-Control", "no-store").JSON(t, &out)
	if out.Token == "" || out.Token != out.AccessToken || out.ExpiresIn < 60 {
		t.Errorf("the token is %+v, want the same token twice and at least 60 s", out)
	}
	return out.Token
}

// A registry that admits anonymous clients answers /v2/ with a Bearer challenge, whose token endpoint needs no
// credentials. The token allows what the policies allow to everyone. A denial is then 403, because the client has no
// other credentials.
func TestAnonymousPullWithBearerToken(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{Config: func(c *config.Config) { c.Anonymous = true }})
	root := s.Root(t)
	image := ocitest.NewImage(1, 10)
	root.CreateRepository(t, "team/app").Push(t, "v1", image)
	root.CreateRepository(t, "team/private").Push(t, "v1", image)
	personOf(s, root).ecr(t, "SetRepositoryPolicy", "repositoryName", "team/app", "policyText",
		document(`{"Effect":"Allow","Principal":"*","Action":["ecr:BatchGetImage","ecr:GetDownloadUrlForLayer"]}`)).Want(t, http.StatusOK)
	client := ocitest.Client{Base: s.URL, HTTP: s.HTTP}
	for _, path := range []string{"/v2/", "/v2/team/private/manifests/v1"} {
		token := "Bearer " + bearerToken(t, client, path)
		for path, want := range map[string]int{
			"/v2/": http.StatusOK, "/v2/team/app/manifests/v1": http.StatusOK, "/v2/team/app/blobs/" +
				ocitest.SHA256(image.Layers[0]): http.StatusOK,
			"/v2/team/app/tags/list": http.StatusForbidden, "/v2/team/private/manifests/v1": http.StatusForbidden,
			"/v2/_catalog": http.StatusForbidden,
		} {
			a := client.Do(t, http.MethodGet, path, nil, "Authorization", token).Want(t, want)
			if want == http.StatusForbidden {
				a.WantError(t, want, "DENIED")
			}
		}
		client.Do(t, http.MethodPost, "/v2/team/app/blobs/uploads/", nil, "Authorization", token).WantError(t, http.StatusForbidden, "DENIED")
		client.Do(t, http.MethodPost, "/v2/token", nil).Want(t, http.StatusMethodNotAllowed)
	}
	client.Do(t, http.MethodPost, "/v2/team/private/blobs/uploads/", nil).WantHeader(t, "Www-Authenticate",
		fmt.Sprintf(`Bearer realm="%s/v2/token",service="%s",scope="repository:team/private:pull,push"`, s.URL,
			strings.TrimPrefix(s.URL, "http://")))
}

// A client with credentials gets a token with its own rights from the token endpoint, and its credentials are still
// accepted as Basic. Credentials that are not valid get no token.
func TestLoginWithBearerToken(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{Config: func(c *config.Config) { c.Anonymous = true }})
	repo := s.Root(t).CreateRepository(t, "team/app")
	repo.Push(t, "v1", ocitest.NewImage(1, 10))
	away := s.Root(t).In("eu-west-1").Docker(t)
	client := ocitest.Client{Base: s.URL, HTTP: s.HTTP}
	token := "Bearer " + bearerToken(t, repo.Client, "/v2/team/app/manifests/v1")
	for _, path := range []string{"/v2/", "/v2/team/app/manifests/v1", "/v2/team/app/tags/list", "/v2/_catalog"} {
		client.Do(t, http.MethodGet, path, nil, "Authorization", token).Want(t, http.StatusOK)
		repo.Do(t, http.MethodGet, path, nil).Want(t, http.StatusOK)
	}
	client.Do(t, http.MethodPost, "/v2/team/app/blobs/uploads/", nil, "Authorization", token).Want(t, http.StatusAccepted)
	client.Do(t, http.MethodGet, "/v2/team/app/tags/list", nil, "Authorization",
		"Bearer "+bearerToken(t, away, "/v2/")).WantError(t, http.StatusForbidden, "DENIED")
	for authorization, want := range map[string]int{
		basic("AWS", "x"): http.StatusBadRequest, basic("AWS", ""): http.StatusBadRequest, basic("ann", repo.Password): http.StatusUnauthorized,
		"Bearer x": http.StatusUnauthorized, "Bearer": http.StatusUnauthorized, "Basic": http.StatusUnauthorized,
	} {
		client.Do(t, http.MethodGet, "/v2/token", nil, "Authorization", authorization).Want(t, want)
	}
}

// Without anonymous callers there is no token endpoint, Bearer tokens are not accepted, and the challenge is that of ECR.
func TestNoBearerWithoutAnonymous(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	repo := s.Root(t).CreateRepository(t, "team/app")
	repo.Do(t, http.MethodGet, "/v2/token", nil).Want(t, http.StatusNotFound)
	client := ocitest.Client{Base: s.URL, HTTP: s.HTTP}
	for _, authorization := range []string{"", "Bearer anonymous", "Bearer " + repo.Password} {
		for _, path := range []string{"/v2/", "/v2/token", "/v2/team/app/tags/list"} {
			a := client.Do(t, http.MethodGet, path, nil, "Authorization", authorization).Want(t, http.StatusUnauthorized)
			if got := a.Header.Get("Www-Authenticate"); !strings.HasPrefix(got, "Basic ") {
				t.Errorf("GET %s: the challenge is %q, want Basic", path, got)
			}
		}
	}
}
