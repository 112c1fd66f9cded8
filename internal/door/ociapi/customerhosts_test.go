package ociapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/main/client"
	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// put gives an application a host by the CLI's client, and returns the error.
func (s *shop) put(t *testing.T, app, host, account string) error {
	t.Helper()
	c, err := client.Open(s.Dir, "")
	if err != nil {
		t.Fatal(err)
	}
	return c.Call(t.Context(), "PutApplicationHost", &ecrintypes.ApplicationHostRequest{ApplicationSlug: app, Host: host, AccountId: account},
		&struct{}{})
}

// At a host of an application its customers pull what the vendor has pushed, with the challenge of that host; licences of other
// applications are refused there, on every path, and paths without an account are those of the vendor's account. When the host is taken
// away, it is a host as every other one.
func TestHostsOfApplications(t *testing.T) {
	t.Parallel()
	s := newShopWith(t, func(c *config.Config) { c.Anonymous = true })
	root := s.Root(t)
	im := ocitest.NewImage(1, 10)
	root.CreateRepository(t, "shop/api").Push(t, "1", im)
	license, _ := s.customer(t, "a", `{"repositories":["*"]}`)
	other, err := s.Meta().PutApplication(t.Context(), meta.Application{ID: "other-id", Account: s.app.Account, Slug: "other",
		Sealed: []byte("x")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	foreign := strings.Repeat("f", 27)
	if _, err := s.Meta().PutCustomer(t.Context(), meta.Customer{ID: "foreign", Application: other.ID, Account: s.app.Account, Name: "f",
		Sealed: []byte("x"), LicenseHash: identity.HashCustomerPassword(foreign), Details: "{}"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Meta().PutEntitlement(t.Context(), meta.Entitlement{ID: "of-foreign", Application: other.ID, Customer: "foreign",
		Rule: `{"repositories":["*"]}`}); err != nil {
		t.Fatal(err)
	}
	const host = "registry.vendor.example"
	do := func(host, path, password string) *ocitest.Answer {
		t.Helper()
		header := []string{"Host", host}
		if password != "" {
			header = append(header, "Authorization", basic("x", password))
		}
		return ocitest.Client{Base: s.URL, HTTP: s.HTTP}.Do(t, http.MethodGet, path, nil, header...)
	}
	check := func(what, host string, foreignWant int) {
		t.Helper()
		for path, wants := range map[string][2]int{"/v2/": {200, foreignWant}, "/v2/shop/api/manifests/1": {200, foreignWant},
			"/v2/shop/api/blobs/" + ocitest.SHA256(im.Layers[0]): {200, foreignWant}, "/v2/shop/api/tags/list": {200, foreignWant}} {
			for password, want := range map[string]int{license: wants[0], foreign: wants[1]} {
				if a := do(host, path, password); a.Status != want {
					t.Errorf("%s, %s at %s with %.3s…: got %d %s, want %d", what, path, host, password, a.Status, a.Body, want)
				}
			}
		}
	}
	check("before", host, 200)
	if err := s.put(t, "shop", "Registry.Vendor.Example.", ""); err != nil {
		t.Fatal(err)
	}
	check("with the host", host, 403)
	check("with the host at a port", host+":8443", 403)
	check("another host", "other.vendor.example", 200)
	want := `Bearer realm="http://` + host + `/v2/token",service="` + host + `",scope="repository:shop/api:pull"`
	if a := do(host, "/v2/shop/api/manifests/1", ""); a.Status != 401 || a.Header.Get("WWW-Authenticate") != want {
		t.Errorf("the challenge: got %d %q, want %q", a.Status, a.Header.Get("WWW-Authenticate"), want)
	}
	do(host, "/v2/token", license).Want(t, 200)
	do(host, "/v2/token", foreign).Want(t, 403)
	if err := s.put(t, "other", host, ""); err == nil || !strings.Contains(err.Error(), "another application has the host") {
		t.Errorf("one host for two applications: got %v", err)
	}
	pushed := ocitest.Client{Base: s.URL, HTTP: s.HTTP, Host: host, Password: root.Docker(t).Password}.Repo("shop/api")
	pushed.Push(t, "2", ocitest.NewImage(2, 20))
	do(host, "/v2/shop/api/manifests/2", license).Want(t, 200)
	if err := s.Meta().DeleteApplicationHost(t.Context(), s.app.ID, host); err != nil {
		t.Fatal(err)
	}
	check("after it was taken away", host, 200)
}

// Names that the operator has not allowed, and names of the installation itself, are those of no application.
func TestHostsThatAreNotOfApplications(t *testing.T) {
	s := newShopWith(t, func(c *config.Config) {
		c.Domains = []string{"registry.own.example"}
		c.ProxyDomain, c.LicenseEndpoint = "proxy.own.example:8443", "https://updates.own.example"
		c.ApplicationHosts = []string{c.Account + " allowed.example", "999999999999 others.example"}
	})
	root := s.Root(t)
	for key, value := range map[string]string{"AWS_ACCESS_KEY_ID": root.KeyID, "AWS_SECRET_ACCESS_KEY": root.Secret, "AWS_REGION": root.Region,
		"HOME": t.TempDir()} {
		t.Setenv(key, value)
	}
	account, err := client.OpenRemote(t.Context(), client.Remote{URL: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]string{"allowed.example": "", "images.allowed.example": "", "notallowed.example": "does not let",
		"others.example": "does not let", "images.vendor.example": "does not let", "allowed.example.attacker.example": "does not let"} {
		err := account.Call(t.Context(), "PutApplicationHost", &ecrintypes.ApplicationHostRequest{ApplicationSlug: "shop", Host: host},
			&struct{}{})
		if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s for an account: got %v, want %q", host, err, want)
		}
	}
	for _, host := range []string{"registry.own.example", "images.registry.own.example", "proxy.own.example", "updates.own.example",
		"localhost", "shop.localhost", s.app.Account.String() + ".dkr.ecr.us-east-1.amazonaws.com", "ecr.us-east-1.amazonaws.com", "api.aws",
		"127.0.0.1", "10.0.0.1", "single", "-a.example", "a..example", "images.vendor.example:443", "a.1", strings.Repeat("a", 64) + ".example"} {
		if err := s.put(t, "shop", host, ""); err == nil {
			t.Errorf("%s by the operator: got no error", host)
		}
	}
	if err := s.put(t, "shop", "images.vendor.example", ""); err != nil {
		t.Errorf("another name by the operator: got %v", err)
	}
}
