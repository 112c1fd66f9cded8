package ociapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// Customers pull with Basic and with Bearer tokens, whether pulls without credentials are on or off. The challenge names realm, service and
// scope where it is Bearer. A token gives what its licence allows, and dies with it at the next request; who is no customer has none.
func TestBearerTokensOfCustomers(t *testing.T) {
	t.Parallel()
	for _, anonymous := range []bool{false, true} {
		s := newShopWith(t, func(c *config.Config) { c.Anonymous = anonymous })
		root := s.Root(t)
		root.CreateRepository(t, "shop/api").Push(t, "1", ocitest.NewImage(1, 10))
		root.CreateRepository(t, "other/api").Push(t, "1", ocitest.NewImage(2, 10))
		license, c := s.customer(t, "a", `{"repositories":["shop/*"]}`)
		second := identity.CustomerTokenPrefix + license
		_, err := s.Meta().PutCustomerToken(t.Context(), meta.CustomerToken{Customer: "a", Name: "east",
			Hash: identity.HashCustomerPassword(second)})
		if err != nil {
			t.Fatal(err)
		}
		client := ocitest.Client{Base: s.URL, HTTP: s.HTTP}
		do := func(path, authorization string) *ocitest.Answer {
			t.Helper()
			if authorization == "" {
				return client.Do(t, http.MethodGet, path, nil)
			}
			return client.Do(t, http.MethodGet, path, nil, "Authorization", authorization)
		}
		host := strings.TrimPrefix(s.URL, "http://")
		want := `Basic realm="https://` + host + `/",service="ecr.amazonaws.com"`
		if anonymous {
			want = `Bearer realm="` + s.URL + `/v2/token",service="` + host + `",scope="repository:shop/api:pull"`
		}
		if a := do("/v2/shop/api/manifests/1", ""); a.Status != 401 || a.Header.Get("WWW-Authenticate") != want {
			t.Errorf("anonymous %t, the challenge: got %d %q, want %q", anonymous, a.Status, a.Header.Get("WWW-Authenticate"), want)
		}
		tokens := map[string]string{}
		for _, password := range []string{license, second} {
			var out struct {
				Token, AccessToken string
				ExpiresIn          int `json:"expires_in"`
			}
			do("/v2/token?service="+host+"&scope=repository:shop/api:pull", basic("x", password)).Want(t, 200).JSON(t, &out)
			if out.Token == "" || out.ExpiresIn < 60 || out.ExpiresIn > 3600 {
				t.Errorf("anonymous %t: the token is %+v", anonymous, out)
			}
			tokens[password] = out.Token
		}
		check := func(what, token string, status int) {
			t.Helper()
			for path, denied := range map[string]int{"/v2/": status, "/v2/shop/api/manifests/1": status, "/v2/other/api/manifests/1": 403} {
				want := status
				if status == 200 {
					want = denied
				}
				if a := do(path, "Bearer "+token); a.Status != want || want == 401 && a.Header.Get("WWW-Authenticate") == "" {
					t.Errorf("anonymous %t, %s, %s: got %d %s, want %d", anonymous, what, path, a.Status, a.Body, want)
				}
			}
		}
		check("the token of a licence", tokens[license], 200)
		check("the token of a token", tokens[second], 200)
		if err := s.Meta().RotateCustomerToken(t.Context(), "a", "east", identity.HashCustomerPassword(second+"x")); err != nil {
			t.Fatal(err)
		}
		check("after the rotation", tokens[second], 401)
		check("the licence beside it", tokens[license], 200)
		c.ArchivedAt = s.clock
		if _, err := s.Meta().PutCustomer(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		check("an archived licence", tokens[license], 401)
		for what, c := range map[string]struct {
			authorization string
			want          int
		}{
			"a licence that has ended":                   {basic("x", license), 401},
			"a licence that does not exist":              {basic("x", strings.Repeat("a", 27)), 401},
			"a Bearer token that does not exist":         {"Bearer " + strings.Repeat("a", 27), 401},
			"an authorization token, with pulls for all": {basic("AWS", root.Docker(t).Password), map[bool]int{true: 200, false: 404}[anonymous]},
		} {
			if a := do("/v2/token?service=x", c.authorization); a.Status != c.want {
				t.Errorf("anonymous %t, %s: got %d %s, want %d", anonymous, what, a.Status, a.Body, c.want)
			}
		}
		if a := do("/v2/token", ""); a.Status != map[bool]int{true: 200, false: 401}[anonymous] {
			t.Errorf("anonymous %t, a token without credentials: got %d %s", anonymous, a.Status, a.Body)
		}
		if !anonymous { // an authorization token stays a password of Basic
			do("/v2/", "Bearer "+root.Docker(t).Password).Want(t, 401)
		}
	}
}
