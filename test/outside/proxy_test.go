package outside_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// readPolicy is the policy of a user who reads all repositories. Source: the read-only policy of AWS.
const readPolicy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["ecr:GetAuthorizationToken",
	"ecr:BatchCheckLayerAvailability","ecr:GetDownloadUrlForLayer","ecr:BatchGetImage"],"Resource":"*"}]}`

// shop is a vendor whose images are in a registry that answers as ECR does.
type shop struct {
	*far
	key, secret string
}

// newShop starts a vendor with the application shop, whose integration aws is that of a user with a policy there.
func newShop(t testing.TB, policy string, here func(*config.Config)) *shop {
	t.Helper()
	s := &shop{far: newFar(t, nil, here)}
	s.key, s.secret = s.user(t, "reader", policy)
	s.ok(t, "CreateApplication", ecrintypes.CreateApplicationRequest{ApplicationName: "Shop"}, nil)
	add(t, s.near, s.aws("aws"))
	s.ok(t, "ShareIntegration", ecrintypes.ShareIntegrationRequest{ApplicationSlug: "shop", IntegrationName: "aws"}, nil)
	return s
}

func (s *shop) aws(name string) ecrintypes.CreateIntegrationRequest {
	in := s.in(name)
	in.AwsAccessKeyId, in.AwsSecretAccessKey = s.key, s.secret
	return in
}

// ok calls an operation that must not fail.
func (s *shop) ok(t testing.TB, operation string, in, out any) {
	t.Helper()
	if out == nil {
		out = &struct{}{}
	}
	if err := call(t, s.near, operation, in, out); err != nil {
		t.Fatalf("%s: %v", operation, err)
	}
}

// customer makes a customer who may pull the repositories, and returns its id and that of its licence.
func (s *shop) customer(t testing.TB, app, label string, repositories ...string) (id, license string) {
	t.Helper()
	var made ecrintypes.CreateCustomerResponse
	s.ok(t, "CreateCustomer", ecrintypes.CreateCustomerRequest{ApplicationSlug: app, CustomerName: label}, &made)
	if len(repositories) > 0 {
		s.ok(t, "PutEntitlement", ecrintypes.PutEntitlementRequest{ApplicationSlug: app, CustomerId: made.Customer.CustomerId,
			Repositories: repositories}, nil)
	}
	return made.Customer.CustomerId, made.LicenseId
}

// basic returns the credentials of a customer.
func basic(password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte("anything:"+password))
}

// get answers a request of a customer; password "" is none.
func get(t testing.TB, s *apptest.Server, password, method, path string, header ...string) *ocitest.Answer {
	t.Helper()
	if password != "" {
		header = append(header, "Authorization", basic(password))
	}
	return ocitest.Client{Base: s.URL, HTTP: s.HTTP}.Do(t, method, "/v2/"+path, nil, header...)
}

// Row P5: the digest is that of ECR, the layers come from this server, and are there when ECR is gone.
func TestP5PullByTheProxy(t *testing.T) {
	t.Parallel()
	s := newShop(t, readPolicy, nil)
	repo := s.root.CreateRepository(t, "demo-apps/nginx")
	im := ocitest.NewImage(1, 1000, 300_000)
	repo.Push(t, "1", im)
	_, license := s.customer(t, "shop", "big", s.Host+"/demo-apps/*")
	for _, upstream := range []string{s.Host + "/demo-apps/nginx", "aws/demo-apps/nginx"} {
		path := "proxy/shop/" + upstream
		for range 2 {
			a := get(t, s.near, license, http.MethodGet, path+"/manifests/1")
			if a.Status != 200 || ocitest.SHA256(a.Body) != im.Digest || a.Header.Get("Docker-Content-Digest") != im.Digest {
				t.Fatalf("%s: got %d %s with the digest %s, want %s", path, a.Status, a.Body, a.Header.Get("Docker-Content-Digest"), im.Digest)
			}
			for _, layer := range append(im.Layers, im.Config) {
				a := get(t, s.near, license, http.MethodGet, path+"/blobs/"+ocitest.SHA256(layer))
				if a.Status != 200 || string(a.Body) != string(layer) || a.Header.Get("Location") != "" {
					t.Errorf("%s: a layer: got %d with %d bytes, want %d", path, a.Status, len(a.Body), len(layer))
				}
			}
		}
	}
}

// Row P6: without a login, with a licence that does not exist, and with that of another application.
func TestP6WhoMayNotPullByTheProxy(t *testing.T) {
	t.Parallel()
	s := newShop(t, readPolicy, nil)
	s.root.CreateRepository(t, "demo-apps/nginx").Push(t, "1", ocitest.NewImage(1, 1000))
	s.ok(t, "CreateApplication", ecrintypes.CreateApplicationRequest{ApplicationName: "Other"}, nil)
	_, mine := s.customer(t, "shop", "big", "*")
	_, others := s.customer(t, "other", "big", "*")
	_, none := s.customer(t, "shop", "none")
	path := "proxy/shop/" + s.Host + "/demo-apps/nginx/manifests/1"
	for _, fetched := range []bool{false, true} {
		for what, c := range map[string]struct {
			password, path string
			want           int
		}{
			"no login":                 {"", path, 401},
			"no licence":               {strings.Repeat("a", 27), path, 401},
			"of another application":   {others, path, 403},
			"not shared with it":       {others, strings.Replace(path, "/shop/", "/other/", 1), 403},
			"without an entitlement":   {none, path, 403},
			"another slug":             {mine, strings.Replace(path, "/shop/", "/other/", 1), 403},
			"no slug":                  {mine, strings.Replace(path, "/shop/", "/none/", 1), 403},
			"a host of no integration": {mine, "proxy/shop/registry.invalid/a/b/manifests/1", 403},
			"Docker Hub":               {mine, "proxy/shop/redis/manifests/1", 403},
			"what was fetched":         {mine, "proxy/aws/" + s.Host + "/demo-apps/nginx/manifests/1", 403},
			"the same with account and region": {mine, s.near.Running.Account + "/" + s.near.Running.Region + "/proxy/aws/" + s.Host +
				"/demo-apps/nginx/manifests/1", 403},
			"an address of this network": {mine, "proxy/shop/127.0.0.1/a/manifests/1", 403},
			"metadata":                   {mine, "proxy/shop/169.254.169.254/latest/manifests/1", 403},
			"localhost":                  {mine, "proxy/shop/localhost/a/manifests/1", 403},
			"an image that is not there": {mine, "proxy/shop/" + s.Host + "/demo-apps/none/manifests/1", 404},
			"a tag that is not there":    {mine, "proxy/shop/" + s.Host + "/demo-apps/nginx/manifests/2", 404},
			"a push":                     {mine, path, 403},
		} {
			method := http.MethodGet
			if what == "a push" {
				method = http.MethodPut
			}
			if a := get(t, s.near, c.password, method, c.path); a.Status != c.want || c.want == 401 && a.Header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s, fetched before: %t: got %d %s, want %d", what, fetched, a.Status, a.Body, c.want)
			}
		}
		get(t, s.near, mine, http.MethodGet, path).Want(t, 200)
	}
}

// Row P9: the user may read one repository only. The proxy answers 502 for another one, not 404 or 200.
func TestP9DenialOfTheUpstream(t *testing.T) {
	t.Parallel()
	f := newShop(t, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecr:GetAuthorizationToken","Resource":"*"},
		{"Effect":"Allow","Action":["ecr:BatchCheckLayerAvailability","ecr:GetDownloadUrlForLayer","ecr:BatchGetImage"],
		"Resource":"arn:aws:ecr:*:*:repository/repo1"}]}`, nil)
	for _, repo := range []string{"repo1", "repo2"} {
		f.root.CreateRepository(t, repo).Push(t, "1", ocitest.NewImage(1, 1000))
	}
	_, license := f.customer(t, "shop", "big", "*")
	for repo, want := range map[string]int{"repo1": 200, "repo2": 502} {
		if a := get(t, f.near, license, http.MethodGet, "proxy/shop/aws/"+repo+"/manifests/1"); a.Status != want {
			t.Errorf("%s: got %d %s, want %d", repo, a.Status, a.Body, want)
		}
	}
}

// Row P16: the registry is shared with another application alone.
func TestP16RegistryOfAnotherApplication(t *testing.T) {
	t.Parallel()
	s := newShop(t, readPolicy, nil)
	s.root.CreateRepository(t, "demo-apps/nginx").Push(t, "1", ocitest.NewImage(1, 1000))
	s.ok(t, "CreateApplication", ecrintypes.CreateApplicationRequest{ApplicationName: "Other"}, nil)
	licenses := map[string]string{}
	for _, app := range []string{"shop", "other"} {
		_, licenses[app] = s.customer(t, app, "big", "*")
	}
	check := func(what, app string, want int) {
		t.Helper()
		a := get(t, s.near, licenses[app], http.MethodGet, "proxy/"+app+"/"+s.Host+"/demo-apps/nginx/manifests/1")
		if a.Status != want {
			t.Errorf("%s, the application %s: got %d %s, want %d", what, app, a.Status, a.Body, want)
		}
	}
	check("shared with shop", "shop", 200)
	check("shared with shop", "other", 403)
	s.ok(t, "ShareIntegration", ecrintypes.ShareIntegrationRequest{ApplicationSlug: "other", IntegrationName: "aws"}, nil)
	s.ok(t, "UnshareIntegration", ecrintypes.SharedIntegrationRequest{ApplicationSlug: "shop", IntegrationName: "aws"}, nil)
	check("shared with other", "shop", 403)
	check("shared with other", "other", 200)
	s.ok(t, "ShareIntegration", ecrintypes.ShareIntegrationRequest{IntegrationName: "aws"}, nil)
	check("shared with all", "shop", 200)
}

// Row P18: a token that was rotated is refused at the next request, the other one goes on, and the last use is shown.
func TestP18RotatedTokens(t *testing.T) {
	t.Parallel()
	s := newShop(t, readPolicy, nil)
	s.root.CreateRepository(t, "demo-apps/nginx").Push(t, "1", ocitest.NewImage(1, 1000))
	id, license := s.customer(t, "shop", "big", "*")
	used := func() ecrintypes.Customer {
		var out ecrintypes.CustomerResponse
		s.ok(t, "DescribeCustomer", ecrintypes.CustomerRequest{ApplicationSlug: "shop", CustomerId: id}, &out)
		return out.Customer
	}
	token := func(operation, label string) string {
		t.Helper()
		var out ecrintypes.CustomerTokenResponse
		s.ok(t, operation, ecrintypes.CustomerTokenRequest{ApplicationSlug: "shop", CustomerId: id, TokenName: label}, &out)
		return out.Token
	}
	path := "proxy/shop/aws/demo-apps/nginx/manifests/1"
	east, west := token("CreateCustomerToken", "east"), token("CreateCustomerToken", "west")
	for _, k := range []string{east, west} {
		get(t, s.near, k, http.MethodGet, path).Want(t, 200)
	}
	fresh := token("RotateCustomerToken", "east")
	for k, want := range map[string]int{east: 401, west: 200, fresh: 200} {
		if a := get(t, s.near, k, http.MethodGet, path); a.Status != want {
			t.Errorf("after the rotation: got %d %s, want %d", a.Status, a.Body, want)
		}
	}
	eventually(t, "the last use of both tokens", func() bool {
		var out ecrintypes.ListCustomerTokensResponse
		s.ok(t, "ListCustomerTokens", ecrintypes.CustomerRequest{ApplicationSlug: "shop", CustomerId: id}, &out)
		return len(out.Tokens) == 2 && !slices.ContainsFunc(out.Tokens, func(k ecrintypes.CustomerToken) bool {
			return k.LastUsedAt == nil || k.LastAddress != "127.0.0.1"
		})
	})
	// The licence itself is a password too. What tokens did is not its use, and one of another form is none.
	if c := used(); c.LicenseUsedAt != nil || c.LicenseAddress != "" {
		t.Errorf("the last use of a licence that was not used: got %v from %q", c.LicenseUsedAt, c.LicenseAddress)
	}
	get(t, s.near, license, http.MethodGet, path).Want(t, 200)
	eventually(t, "the last use of the licence", func() bool {
		c := used()
		return c.LicenseUsedAt != nil && time.Since(c.LicenseUsedAt.Time) < time.Hour && c.LicenseAddress == "127.0.0.1"
	})
}

// Customers see in lists what they may pull, whatever parameters of pages they send.
func TestListsOfCustomers(t *testing.T) {
	t.Parallel()
	s := newShop(t, readPolicy, nil)
	here := s.near.Root(t).CreateRepository(t, "shop/api")
	for i, tag := range []string{"1.0", "2.0", "2.1"} {
		here.Push(t, tag, ocitest.NewImage(uint64(i+1), 1000))
	}
	files := []ecrintypes.ReleaseFile{{Path: "a.yaml", Content: "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec:\n  containers:\n" +
		"  - {name: a, image: " + s.Host + "/demo-apps/nginx:1}\n  - {name: b, image: ghcr.io/org/x:1}\n  - {name: c, image: " +
		strings.TrimPrefix(s.near.URL, "http://") + "/shop/api:2.0}\n"}}
	s.ok(t, "CreateRelease", ecrintypes.CreateReleaseRequest{ApplicationSlug: "shop", Files: files}, nil)
	_, all := s.customer(t, "shop", "all", "*")
	id, two := s.customer(t, "shop", "two")
	s.ok(t, "PutEntitlement", ecrintypes.PutEntitlementRequest{ApplicationSlug: "shop", CustomerId: id, Repositories: []string{"shop/*"},
		ImageTags: []string{"2.*"}}, nil)
	_, none := s.customer(t, "shop", "none")
	want := func(license, path, member string, status int, want ...string) {
		t.Helper()
		a := get(t, s.near, license, http.MethodGet, path)
		var got map[string]json.RawMessage
		var list []string
		_ = json.Unmarshal(a.Body, &got)
		_ = json.Unmarshal(got[member], &list)
		if a.Status != status || status == 200 && !slices.Equal(list, want) {
			t.Errorf("%s: got %d %s, want %d and %q", path, a.Status, a.Body, status, want)
		}
	}
	nginx := "proxy/shop/" + s.Host + "/demo-apps/nginx"
	want(all, "_catalog", "repositories", 403)
	s.ok(t, "PromoteRelease", ecrintypes.PromoteReleaseRequest{ApplicationSlug: "shop", Sequence: 1, ChannelIds: []string{"stable"}}, nil)
	want(all, "shop/api/tags/list?n=1&last=1.0", "tags", 200, "1.0", "2.0", "2.1")
	want(two, "shop/api/tags/list", "tags", 200, "2.0", "2.1")
	want(none, "shop/api/tags/list", "tags", 403)
	want(two, "shop/none/tags/list", "tags", 403)
	want(two, nginx+"/tags/list", "tags", 403)
	want(two, "_catalog", "repositories", 200, "shop/api")
	want(none, "_catalog", "repositories", 403)
	want("", "_catalog", "repositories", 401)

	// Of an image that was not fetched, and that no release names, the list is empty. No answer has the name under which it is stored.
	other := "proxy/shop/" + s.Host + "/demo-apps/other"
	layer := ocitest.NewImage(1, 1000).Digest
	if a := get(t, s.near, all, http.MethodGet, other+"/tags/list"); a.Status != 200 || string(a.Body) != `{"name":"`+other+`","tags":[]}` {
		t.Errorf("the tags of an image that was not fetched: got %d %q", a.Status, a.Body)
	}
	if a := get(t, s.near, all, http.MethodGet, other+"/blobs/"+layer); a.Status != 404 || strings.Contains(string(a.Body), "proxy/aws") ||
		!strings.Contains(string(a.Body), other) {
		t.Errorf("a layer of an image that was not fetched: got %d %s", a.Status, a.Body)
	}

	id, digest := s.customer(t, "shop", "a digest")
	s.ok(t, "PutEntitlement", ecrintypes.PutEntitlementRequest{ApplicationSlug: "shop", CustomerId: id, Repositories: []string{"shop/*"},
		ImageDigests: []string{ocitest.NewImage(2, 1000).Digest}}, nil)
	want(digest, "_catalog", "repositories", 200, "shop/api")
	id, present := s.customer(t, "shop", "what is there")
	s.ok(t, "PutEntitlement", ecrintypes.PutEntitlementRequest{ApplicationSlug: "shop", CustomerId: id, Repositories: []string{"*"},
		PresentOnly: new(true)}, nil)
	want(present, "_catalog", "repositories", 200, "shop/api")
	s.root.CreateRepository(t, "demo-apps/nginx").Push(t, "1", ocitest.NewImage(1, 1000))
	get(t, s.near, all, http.MethodGet, nginx+"/manifests/1").Want(t, 200)
	id, fetched := s.customer(t, "shop", "what was fetched")
	s.ok(t, "PutEntitlement", ecrintypes.PutEntitlementRequest{ApplicationSlug: "shop", CustomerId: id, PresentOnly: new(true),
		Repositories: []string{"*/demo-apps/nginx"}}, nil)
	want(fetched, "_catalog", "repositories", 200, nginx)
}

// A licence has a limit of requests, whose answer says when to come again. It is not that of others.
func TestRateOfALicence(t *testing.T) {
	t.Parallel()
	s := newShop(t, readPolicy, func(c *config.Config) { c.CustomerRequests = 5 })
	_, a := s.customer(t, "shop", "a", "*")
	_, b := s.customer(t, "shop", "b", "*")
	var last *ocitest.Answer
	for range 6 {
		last = get(t, s.near, a, http.MethodGet, "")
	}
	if last.Status != 429 || last.Header.Get("Retry-After") == "" {
		t.Errorf("the sixth request: got %d %s, want 429 with Retry-After", last.Status, last.Body)
	}
	get(t, s.near, b, http.MethodGet, "").Want(t, 200)
}

// What the proxy answers, logs and stores for the vendor has neither the key of the integration nor tokens of the registry.
func TestNoCredentialOfAnUpstreamIsShown(t *testing.T) {
	t.Parallel()
	s := newShop(t, readPolicy, nil)
	im := ocitest.NewImage(1, 1000)
	s.root.CreateRepository(t, "demo-apps/nginx").Push(t, "1", im)
	_, license := s.customer(t, "shop", "big", "*")
	for _, path := range []string{"manifests/1", "manifests/none", "blobs/" + ocitest.SHA256(im.Layers[0]), "referrers/" + im.Digest,
		"tags/list"} {
		a := get(t, s.near, license, http.MethodGet, "proxy/shop/aws/demo-apps/nginx/"+path)
		for _, text := range []string{string(a.Body), shown(a.Header)} {
			if strings.Contains(text, s.secret) || strings.Contains(text, s.key) || a.Header.Get("Location") != "" {
				t.Errorf("%s: got %d %s with %s", path, a.Status, a.Body, shown(a.Header))
			}
		}
	}
}
