package outside_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// pushIndex pushes an index of images, which it pushes too, and returns its digest.
func pushIndex(t *testing.T, repo ocitest.Repo, tag string, children ...ocitest.Image) string {
	t.Helper()
	all := ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.IndexType}
	for _, im := range children {
		repo.Push(t, im.Digest, im)
		all.Manifests = append(all.Manifests, im.Descriptor())
	}
	body := all.JSON()
	repo.PutManifest(t, tag, ocitest.IndexType, body).Want(t, http.StatusCreated)
	return ocitest.SHA256(body)
}

// What the proxy has fetched for one customer is not there for another one: by tag, by the digests of an index, of an image in it, of its
// layers, in lists and as referrers. Of one repository each customer gets its own images alone.
func TestImagesOfOthersByTheProxy(t *testing.T) {
	t.Parallel()
	s := newShop(t, readPolicy, nil)
	repo := s.root.CreateRepository(t, "demo/one")
	child, other := ocitest.NewImage(1, 500, 900), ocitest.NewImage(2, 700)
	index := pushIndex(t, repo, "1.0", child)
	repo.Push(t, "2.0", other)
	_, all := s.customer(t, "shop", "all", "*")
	id, first := s.customer(t, "shop", "first")
	s.ok(t, "PutEntitlement", ecrintypes.PutEntitlementRequest{ApplicationSlug: "shop", CustomerId: id, ImageTags: []string{"1.*"},
		Repositories: []string{s.Host + "/demo/*"}}, nil)
	_, foreign := s.customer(t, "shop", "foreign", s.Host+"/others/*")
	_, none := s.customer(t, "shop", "none")
	layer := func(im ocitest.Image) string { return "blobs/" + ocitest.SHA256(im.Layers[0]) }
	for _, fetched := range []bool{false, true} {
		for _, c := range []struct {
			what, path       string
			first, forOthers int
		}{
			{"a tag", "manifests/1.0", 200, 403},
			{"the digest of an index", "manifests/" + index, 200, 403},
			{"an image of the index", "manifests/" + child.Digest, 200, 403},
			{"a layer of it", layer(child), 200, 403},
			{"its configuration", "blobs/" + ocitest.SHA256(child.Config), 200, 403},
			{"another tag", "manifests/2.0", 403, 403},
			{"its digest", "manifests/" + other.Digest, 403, 403},
			{"its layer", layer(other), 403, 403},
			{"the referrers of the other image", "referrers/" + other.Digest, 403, 403},
		} {
			for who, want := range map[string]int{first: c.first, foreign: c.forOthers, none: c.forOthers} {
				if !fetched && want == 200 {
					continue // what nobody has pulled by its tag has no tag here yet
				}
				for _, name := range []string{"aws/demo/one/", s.Host + "/demo/one/"} {
					if a := get(t, s.near, who, http.MethodGet, "proxy/shop/"+name+c.path); a.Status != want {
						t.Errorf("%s, %s, fetched before: %t: got %d %s, want %d", c.what, name, fetched, a.Status, a.Body, want)
					}
				}
			}
		}
		for _, path := range []string{"manifests/1.0", "manifests/2.0", "manifests/" + child.Digest, layer(child), layer(other),
			"blobs/" + ocitest.SHA256(child.Config)} {
			for _, name := range []string{"aws/demo/one/", s.Host + "/demo/one/"} {
				get(t, s.near, all, http.MethodGet, "proxy/shop/"+name+path).Want(t, 200)
			}
		}
	}
}

// A licence that has ended gets nothing, although the proxy has stored everything; another one goes on.
func TestEndOfALicenceWithEverythingFetched(t *testing.T) {
	t.Parallel()
	s := newShop(t, readPolicy, nil)
	im := ocitest.NewImage(1, 1000)
	s.root.CreateRepository(t, "demo/one").Push(t, "1", im)
	id, license := s.customer(t, "shop", "big", "*")
	_, other := s.customer(t, "shop", "other", "*")
	paths := []string{"proxy/shop/aws/demo/one/manifests/1", "proxy/shop/aws/demo/one/manifests/" + im.Digest,
		"proxy/shop/aws/demo/one/blobs/" + ocitest.SHA256(im.Layers[0]), "proxy/shop/aws/demo/one/tags/list", ""}
	for _, path := range paths {
		get(t, s.near, license, http.MethodGet, path).Want(t, 200)
	}
	s.ok(t, "UpdateCustomer", ecrintypes.UpdateCustomerRequest{ApplicationSlug: "shop", CustomerId: id,
		ExpiresAt: awswire.At(time.Now().Add(-24 * time.Hour))}, nil)
	for _, path := range paths {
		get(t, s.near, license, http.MethodGet, path).Want(t, 401)
	}
	get(t, s.near, other, http.MethodGet, paths[0]).Want(t, 200)
}

// Layers of a registry that is shared without storing are passed on: whole, each time, for who is entitled.
func TestLayersThatAreNotStored(t *testing.T) {
	t.Parallel()
	s := newShop(t, readPolicy, nil)
	im := ocitest.NewImage(1, 1000, 300_000)
	s.root.CreateRepository(t, "demo/one").Push(t, "1", im)
	yes := true
	s.ok(t, "ShareIntegration", ecrintypes.ShareIntegrationRequest{ApplicationSlug: "shop", IntegrationName: "aws", Uncached: &yes}, nil)
	_, license := s.customer(t, "shop", "big", "*")
	_, none := s.customer(t, "shop", "none")
	get(t, s.near, license, http.MethodGet, "proxy/shop/aws/demo/one/manifests/1").Want(t, 200)
	for range 2 {
		for _, layer := range im.Layers {
			path := "proxy/shop/aws/demo/one/blobs/" + ocitest.SHA256(layer)
			if a := get(t, s.near, license, http.MethodGet, path); a.Status != 200 || string(a.Body) != string(layer) {
				t.Errorf("a layer: got %d with %d bytes, want 200 with %d", a.Status, len(a.Body), len(layer))
			}
			get(t, s.near, none, http.MethodGet, path).Want(t, 403)
		}
	}
}

// A registry at a port has no name in paths but that of its integration.
func TestUpstreamAtAPortByTheNameOfItsIntegration(t *testing.T) {
	t.Parallel()
	there := apptest.Start(t, apptest.Options{})
	root := there.Root(t)
	im := ocitest.NewImage(1, 1000)
	root.CreateRepository(t, "team/app").Push(t, "v1", im)
	f := before(t, there)
	if !strings.Contains(f.Host, ":") {
		t.Fatalf("the other registry: got %s, want a host with a port", f.Host)
	}
	s := &shop{far: &far{near: near(t, nil, f)}}
	add(t, s.near, byKey("far", f, root))
	s.ok(t, "CreateApplication", ecrintypes.CreateApplicationRequest{ApplicationName: "Shop"}, nil)
	s.ok(t, "ShareIntegration", ecrintypes.ShareIntegrationRequest{ApplicationSlug: "shop", IntegrationName: "far"}, nil)
	_, license := s.customer(t, "shop", "big", f.Host+"/team/*")
	for _, path := range []string{"manifests/v1", "blobs/" + ocitest.SHA256(im.Layers[0])} {
		get(t, s.near, license, http.MethodGet, "proxy/shop/far/team/app/"+path).Want(t, 200)
	}
}

// Row P2: the link to ECR is tested with an image; with a wrong secret and a wrong image the answers are those of the other registry.
func TestP2TestOfARegistry(t *testing.T) {
	t.Parallel()
	s := newShop(t, readPolicy, nil)
	s.root.CreateRepository(t, "demo-apps/nginx").Push(t, "latest", ocitest.NewImage(1, 1000))
	if all := test(t, s.near, ecrintypes.TestIntegrationRequest{IntegrationName: "aws", Image: "demo-apps/nginx:latest"}); !all.Passed {
		t.Errorf("the image: got %s, want success", shown(all))
	}
	for image, code := range map[string]string{"demo-apps/nginx:none": "MANIFEST_UNKNOWN", "demo-apps/none:latest": "NAME_UNKNOWN"} {
		got := test(t, s.near, ecrintypes.TestIntegrationRequest{IntegrationName: "aws", Image: image})
		if one := last(t, got); got.Passed || one.Code != code || one.Cure == "" {
			t.Errorf("%s: got %s, want %s", image, shown(got), code)
		}
	}
	s.change(t, ecrintypes.UpdateIntegrationRequest{IntegrationName: "aws", AwsAccessKeyId: s.key, AwsSecretAccessKey: "wrong"})
	got := test(t, s.near, ecrintypes.TestIntegrationRequest{IntegrationName: "aws", Image: "demo-apps/nginx:latest"})
	if one := last(t, got); got.Passed || one.Code != "SignatureDoesNotMatch" {
		t.Errorf("a wrong secret: got %s, want the code of the other registry", shown(got))
	}
}

// Row P10: the policy has the second half alone, for repositories. The test says that the token is not allowed.
func TestP10PolicyWithoutTheToken(t *testing.T) {
	t.Parallel()
	s := newShop(t, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["ecr:BatchCheckLayerAvailability",
		"ecr:GetDownloadUrlForLayer","ecr:BatchGetImage"],"Resource":"arn:aws:ecr:*:*:repository/demo-apps/nginx"}]}`, nil)
	s.root.CreateRepository(t, "demo-apps/nginx").Push(t, "latest", ocitest.NewImage(1, 1000))
	got := test(t, s.near, ecrintypes.TestIntegrationRequest{IntegrationName: "aws", Image: "demo-apps/nginx:latest"})
	if one := last(t, got); got.Passed || one.Name != "GetAuthorizationToken" || !strings.Contains(one.Message, "ecr:GetAuthorizationToken") {
		t.Errorf("got %s, want that GetAuthorizationToken is not allowed", shown(got))
	}
	_, license := s.customer(t, "shop", "big", "*")
	get(t, s.near, license, http.MethodGet, "proxy/shop/aws/demo-apps/nginx/manifests/latest").Want(t, 502)
}

// The credentials of a customer are none on any other door, and write nowhere.
func TestCustomersOnOtherDoors(t *testing.T) {
	t.Parallel()
	s := newShop(t, readPolicy, func(c *config.Config) { c.RancherAPI = true })
	s.near.Root(t).CreateRepository(t, "shop/api").Push(t, "1", ocitest.NewImage(1, 1000))
	_, license := s.customer(t, "shop", "big", "*")
	client := ocitest.Client{Base: s.near.URL, HTTP: s.near.HTTP}
	for _, c := range []struct{ method, path string }{
		{http.MethodPost, "/"}, {http.MethodGet, "/v1"}, {http.MethodGet, "/v1/registries"}, {http.MethodGet, "/v3/apps"},
		{http.MethodGet, "/app-proxy/api/image-report"}, {http.MethodGet, "/layers/none"},
		{http.MethodPost, "/v2/shop/api/blobs/uploads/"}, {http.MethodPut, "/v2/shop/api/manifests/2"},
		{http.MethodDelete, "/v2/shop/api/manifests/1"}, {http.MethodPost, "/v2/proxy/shop/aws/x/blobs/uploads/"},
		{http.MethodDelete, "/v2/proxy/shop/aws/x/manifests/1"},
	} {
		for _, header := range []string{"Bearer " + license, license, license + ":" + license} {
			a := client.Do(t, c.method, c.path, nil, "Authorization", header)
			if a.Status < 400 || a.Status >= 500 {
				t.Errorf("%s %s with %.7s…: got %d %s, want a refusal", c.method, c.path, header, a.Status, a.Body)
			}
		}
		if path, ok := strings.CutPrefix(c.path, "/v2/"); ok {
			if a := get(t, s.near, license, c.method, path); a.Status != 403 && a.Status != 405 {
				t.Errorf("%s %s: got %d %s, want 403", c.method, path, a.Status, a.Body)
			}
		}
	}
}

// Row P6, the trail: each refused request has a line with its code, and the customer if it is known.
func TestP6RefusalsAreInTheTrail(t *testing.T) {
	t.Parallel()
	s := newShop(t, readPolicy, nil)
	s.root.CreateRepository(t, "demo-apps/nginx").Push(t, "1", ocitest.NewImage(1, 1000))
	id, license := s.customer(t, "shop", "big")
	s.ok(t, "CreateApplication", ecrintypes.CreateApplicationRequest{ApplicationName: "Other"}, nil)
	_, others := s.customer(t, "other", "big", "*")
	path := "proxy/shop/aws/demo-apps/nginx/manifests/1"
	for what, c := range map[string]struct {
		password string
		status   int
		has      []string
	}{
		"no licence":             {strings.Repeat("a", 27), 401, []string{"no customer has this licence"}},
		"another application":    {others, 403, []string{"customer/other/", "AccessDenied"}},
		"without an entitlement": {license, 403, []string{"customer/shop/" + id, "AccessDenied", "ecr:BatchGetImage"}},
	} {
		a := get(t, s.near, c.password, http.MethodGet, path).Want(t, c.status)
		var lines []string
		eventually(t, "a line of "+what, func() bool {
			var out ecrintypes.ListAuditEventsResponse
			s.ok(t, "ListAuditEvents", ecrintypes.ListAuditEventsRequest{RequestId: a.Header.Get("X-Amzn-Requestid")}, &out)
			lines = out.Events
			return len(lines) > 0
		})
		for _, want := range c.has {
			if !strings.Contains(lines[0], want) || strings.Contains(lines[0], c.password) {
				t.Errorf("%s: got %s, want %q and not the licence", what, lines[0], want)
			}
		}
	}
}
