package ociapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// shop is a server with the application shop of its default account.
type shop struct {
	*apptest.Server
	app      meta.Application
	channels []meta.Channel
	clock    time.Time
}

func newShop(t *testing.T) *shop { return newShopWith(t, func(*config.Config) {}) }

func newShopWith(t *testing.T, change func(*config.Config)) *shop {
	t.Helper()
	s := &shop{clock: time.Now()}
	s.Server = apptest.Start(t, apptest.Options{Now: func() time.Time { return s.clock }, Config: change})
	account := s.Registry().Account
	var err error
	s.app, err = s.Meta().PutApplication(t.Context(), meta.Application{ID: "shop-id", Account: account, Slug: "shop", Sealed: []byte("x")},
		[]meta.Channel{{ID: "unstable-id", Slug: "unstable"}, {ID: "stable-id", Slug: "stable"}})
	if err != nil {
		t.Fatal(err)
	}
	if s.channels, err = s.Meta().Channels(t.Context(), s.app.ID); err != nil {
		t.Fatal(err)
	}
	return s
}

// customer makes a customer with entitlements, as JSON, and returns the id of its licence and what was stored.
func (s *shop) customer(t *testing.T, name string, rules ...string) (string, meta.Customer) {
	t.Helper()
	license := fmt.Sprintf("2HKXWE5CM7bqkR5T2s%09d", len(name)*1000+int(name[0]))
	c, err := s.Meta().PutCustomer(t.Context(), meta.Customer{ID: name, Application: s.app.ID, Account: s.app.Account, Name: name,
		Sealed: []byte("x"), LicenseHash: identity.HashCustomerPassword(license), Details: "{}"})
	if err != nil {
		t.Fatal(err)
	}
	for i, rule := range rules {
		if _, err := s.Meta().PutEntitlement(t.Context(), meta.Entitlement{ID: fmt.Sprintf("%s-%d", name, i), Application: s.app.ID,
			Customer: name, Rule: rule}); err != nil {
			t.Fatal(err)
		}
	}
	return license, c
}

// status returns the status of a request of a customer.
func (s *shop) status(t *testing.T, password, method, path string) (int, string) {
	t.Helper()
	a := ocitest.Client{Base: s.URL, HTTP: s.HTTP}.Do(t, method, path, nil, "Authorization", basic("anything", password))
	return a.Status, string(a.Body)
}

// What a customer may pull is not deleted, on docker's door and by the ECR API; what nobody may pull is.
func TestEntitledImagesAreNotDeleted(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	root := s.Root(t)
	repo := root.CreateRepository(t, "shop/api")
	image := ocitest.NewImage(2, 10)
	repo.Push(t, "1.0", image)
	repo.Push(t, "2.0", image)
	s.customer(t, "Big", `{"repositories":["shop/*"],"tags":["1.*"]}`)
	_, gone := s.customer(t, "Gone", `{"repositories":["shop/*"]}`)
	gone.ArchivedAt = s.clock
	if _, err := s.Meta().PutCustomer(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		ref  string
		want int
	}{{"1.0", 403}, {image.Digest, 403}, {"2.0", 202}, {"1.0", 403}, {image.Digest, 403}} {
		a := repo.Do(t, http.MethodDelete, repo.Path("/manifests/"+tt.ref), nil)
		if a.Status != tt.want || tt.want == 403 && !strings.Contains(string(a.Body), "Big of shop") || strings.Contains(string(a.Body), "Gone") {
			t.Errorf("DELETE of %s: got %d %s, want %d", tt.ref, a.Status, a.Body, tt.want)
		}
	}
	out, err := root.ECR().BatchDeleteImage(t.Context(), &ecr.BatchDeleteImageInput{RepositoryName: aws.String("shop/api"),
		ImageIds: []types.ImageIdentifier{{ImageTag: aws.String("1.0")}}})
	if err != nil || len(out.ImageIds) > 0 || len(out.Failures) != 1 ||
		!strings.Contains(aws.ToString(out.Failures[0].FailureReason), "Big of shop") {
		t.Errorf("BatchDeleteImage of 1.0: got %+v, %v, want a failure that names the customer", out, err)
	}
}

// Each customer sees exactly its own images, by tag, by the digest of an index, of an image in it and of its layers.
func TestP21CustomersPullWhatTheyAreEntitledTo(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	root := s.Root(t)
	repo := root.CreateRepository(t, "shop/api")
	two, three, child := ocitest.NewImage(2, 10, 20), ocitest.NewImage(3, 10, 30), ocitest.NewImage(4, 40)
	repo.Push(t, "2.1.0", two)
	repo.Push(t, "3.0.0", three)
	index := pushIndex(t, repo, "2.2.0", child)
	latest := ocitest.NewImage(5, 50)
	repo.Push(t, "latest", latest)
	a, _ := s.customer(t, "a", `{"repositories":["shop/*"],"versions":">=2 <3"}`)
	b, _ := s.customer(t, "bb", `{"repositories":["shop/api"],"tags":["latest"]}`)
	none, _ := s.customer(t, "none")
	other, _ := s.customer(t, "other", `{"repositories":["billing/*"]}`)
	layer := func(im ocitest.Image) string { return "blobs/" + ocitest.SHA256(im.Layers[len(im.Layers)-1]) }
	config := func(im ocitest.Image) string { return "blobs/" + ocitest.SHA256(im.Config) }
	for _, tt := range []struct {
		what string
		path string
		a, b int
	}{
		{"a tag in the range", "manifests/2.1.0", 200, 403},
		{"its digest", "manifests/" + two.Digest, 200, 403},
		{"its layer", layer(two), 200, 403},
		{"its config", config(two), 200, 403},
		{"a tag outside of the range", "manifests/3.0.0", 403, 403},
		{"its digest", "manifests/" + three.Digest, 403, 403},
		{"its layer", layer(three), 403, 403},
		{"an index", "manifests/2.2.0", 200, 403},
		{"the digest of the index", "manifests/" + index, 200, 403},
		{"an image in the index", "manifests/" + child.Digest, 200, 403},
		{"the layer of that image", layer(child), 200, 403},
		{"another tag", "manifests/latest", 403, 200},
		{"its digest", "manifests/" + latest.Digest, 403, 200},
		{"its layer", layer(latest), 403, 200},
		{"what is not there", "manifests/2.9.9", 404, 403},
		{"a layer that is not there", "blobs/" + ocitest.SHA256([]byte("nothing")), 403, 403},
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			for who, want := range map[string]int{a: tt.a, b: tt.b, none: 403, other: 403} {
				if got, body := s.status(t, who, method, "/v2/shop/api/"+tt.path); got != want {
					t.Errorf("%s, %s %s by %.40s: got %d %s, want %d", tt.what, method, tt.path, who, got, body, want)
				}
			}
		}
	}
	for who, missing := range map[string]string{none: "the licence has no entitlement for shop/api", other: "no entitlement for shop/api",
		a: "entitled to: shop/*, versions >=2 <3", b: "entitled to: shop/api, tags latest"} {
		_, body := s.status(t, who, http.MethodGet, "/v2/shop/api/manifests/3.0.0")
		var said struct{ Errors []struct{ Message string } }
		if err := json.Unmarshal([]byte(body), &said); err != nil || len(said.Errors) != 1 {
			t.Fatalf("got %s: %v", body, err)
		}
		if m := said.Errors[0].Message; !strings.Contains(m, "ecr:BatchGetImage") || !strings.HasSuffix(m, missing) {
			t.Errorf("a denial says %q, want what is missing: %s", m, missing)
		}
	}
	for _, c := range []struct{ method, path string }{{"POST", "/v2/shop/api/blobs/uploads/"}, {"PUT", "/v2/shop/api/manifests/2.5.0"},
		{"DELETE", "/v2/shop/api/manifests/2.1.0"}, {"GET", "/v2/_catalog"}} {
		if got, body := s.status(t, a, c.method, c.path); got != http.StatusForbidden {
			t.Errorf("%s %s by a customer: got %d %s, want 403", c.method, c.path, got, body)
		}
	}
}

// The licence is checked at each request: to the second of its end, and when it is archived, whatever was pulled before.
func TestP7ExpiredAndArchivedLicences(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	root := s.Root(t)
	root.CreateRepository(t, "shop/api").Push(t, "1", ocitest.NewImage(1, 10))
	license, c := s.customer(t, "a", `{"repositories":["shop/*"]}`)
	_, err := s.Meta().PutCustomerToken(t.Context(), meta.CustomerToken{Customer: "a", Name: "east",
		Hash: identity.HashCustomerPassword(identity.CustomerTokenPrefix + license)})
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, want int) {
		t.Helper()
		for _, password := range []string{license, identity.CustomerTokenPrefix + license} {
			for _, path := range []string{"/v2/", "/v2/shop/api/manifests/1"} {
				if got, body := s.status(t, password, http.MethodGet, path); got != want {
					t.Errorf("%s, %s by %.12s…: got %d %s, want %d", what, path, password, got, body, want)
				}
			}
		}
	}
	check("a new licence", 200)
	c.ExpiresAt = s.clock.Add(time.Hour).Truncate(time.Second)
	if c, err = s.Meta().PutCustomer(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	check("before its end", 200)
	s.clock = c.ExpiresAt.Add(-time.Second)
	check("a second before its end", 200)
	s.clock = c.ExpiresAt
	check("at its end", 401)
	c.ExpiresAt = time.Time{}
	if c, err = s.Meta().PutCustomer(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	check("without an end", 200)
	c.ArchivedAt = s.clock
	if _, err = s.Meta().PutCustomer(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	check("archived", 401)
}

func TestUnknownLicences(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	for _, password := range []string{strings.Repeat("a", 27), identity.CustomerTokenPrefix + strings.Repeat("b", 27)} {
		a := ocitest.Client{Base: s.URL, HTTP: s.HTTP}.Do(t, http.MethodGet, "/v2/", nil, "Authorization", basic("LICENSE_ID", password))
		if a.Status != http.StatusUnauthorized || a.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("%.12s…: got %d %s, want 401 with a challenge", password, a.Status, a.Body)
		}
	}
}

// A channel and a tag must be those of the same image and the same release.
func TestEntitlementToAChannel(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	root := s.Root(t)
	repo := root.CreateRepository(t, "shop/api")
	one, two := ocitest.NewImage(1, 10), ocitest.NewImage(2, 20)
	repo.Push(t, "1", one)
	repo.Push(t, "2", two)
	stable, _ := s.customer(t, "a", `{"repositories":["shop/*"],"channels":["stable-id"]}`)
	got := func(reference string) int {
		status, _ := s.status(t, stable, http.MethodGet, "/v2/shop/api/manifests/"+reference)
		return status
	}
	if got("1") != 403 || got(one.Digest) != 403 {
		t.Errorf("an image of no release: got %d and %d, want 403", got("1"), got(one.Digest))
	}
	release := func(tag string) int64 {
		r, err := s.Meta().PutRelease(t.Context(), meta.Release{Application: s.app.ID, Files: []byte("x"),
			Images: []meta.ReleaseImage{{Repository: "shop/api", Tag: tag}}})
		if err != nil {
			t.Fatal(err)
		}
		return r.Sequence
	}
	promote := func(release int64, c meta.Channel) meta.Promotion {
		all, err := s.Meta().Promote(t.Context(), meta.Promotion{Application: s.app.ID, Release: release, Label: "v"}, []meta.Channel{c}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return all[0]
	}
	promote(release("2"), s.channels[1]) // unstable: the ids are in order
	p := promote(release("1"), s.channels[0])
	if got("1") != 200 || got(one.Digest) != 200 || got("2") != 403 || got(two.Digest) != 403 {
		t.Errorf("of the channel: %d and %d, want 200; of another channel: %d and %d, want 403", got("1"), got(one.Digest), got("2"),
			got(two.Digest))
	}
	if _, err := s.Meta().Demote(t.Context(), p.Channel, p.Sequence, false); err != nil {
		t.Fatal(err)
	}
	if got("1") != 403 {
		t.Errorf("after the release was demoted: got %d, want 403", got("1"))
	}
}

// pushIndex pushes an image without a tag and an index of it, and returns the digest of the index.
func pushIndex(t *testing.T, repo ocitest.Repo, tag string, im ocitest.Image) string {
	t.Helper()
	repo.Push(t, "", im)
	body := ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.IndexType, Manifests: []ocitest.Descriptor{im.Descriptor()}}.JSON()
	repo.PutManifest(t, tag, ocitest.IndexType, body).Want(t, http.StatusCreated)
	return ocitest.SHA256(body)
}

// A lifecycle policy leaves what a customer may pull, with its children and referrers, and says why.
func TestLifecyclePoliciesLeaveEntitledImages(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	repo := s.Root(t).CreateRepository(t, "shop/api")
	for i, tag := range []string{"1.0", "1.1", "2.0", "3.0"} {
		repo.Push(t, tag, ocitest.NewImage(2, 10+i))
		s.clock = s.clock.Add(time.Second)
	}
	s.customer(t, "Big", `{"repositories":["shop/*"],"tags":["1.*"]}`)
	s.customer(t, "Twin", `{"repositories":["shop/*"],"tags":["1.*"]}`)
	s.customer(t, "Elsewhere", `{"repositories":["other/*"]}`)
	_, gone := s.customer(t, "Gone", `{"repositories":["shop/*"]}`)
	gone.ExpiresAt = s.clock.Add(-time.Hour)
	if _, err := s.Meta().PutCustomer(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	in := ecrintypes.TestLifecycleRequest{RepositoryName: "shop/api", LifecyclePolicyText: `{"rules":[{"rulePriority":1,
		"selection":{"tagStatus":"any","countType":"imageCountMoreThan","countNumber":1},"action":{"type":"expire"}}]}`}
	var out ecrintypes.TestLifecycleResponse
	s.Operator(t, "TestLifecycle", in, &out)
	if len(out.Results) != 3 || out.ExpiringImages != 1 || out.HeldImages != 2 {
		t.Fatalf("TestLifecycle: got %+v, want one image to expire and two held", out)
	}
	for i, want := range []string{"customers are entitled to it", "customers are entitled to it", "expires it"} {
		if got := out.Results[i]; !strings.Contains(got.Reason, want) {
			t.Errorf("image %v: got %q, want %q", got.ImageTags, got.Reason, want)
		}
	}
}

// Customers are among those who may pull, page by page, and only for who owns the repository.
func TestCustomersAreListedAsWhoMayPull(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	s.Root(t).CreateRepository(t, "shop/api")
	for _, called := range []string{"A", "B", "C"} {
		s.customer(t, called, `{"repositories":["shop/*"]}`)
	}
	s.customer(t, "None")
	one := int32(1)
	in := ecrintypes.ListRepositoryAccessRequest{RepositoryName: "shop/api", Permission: ecrintypes.PermissionPULL, MaxResults: &one}
	var got []string
	for more := true; more; more = in.NextToken != "" {
		var out ecrintypes.ListRepositoryAccessResponse
		s.Operator(t, "ListRepositoryAccess", in, &out)
		for _, a := range out.Access {
			if a.Kind == ecrintypes.AccessKindCUSTOMER {
				got = append(got, fmt.Sprint(a.Principal[strings.LastIndexByte(a.Principal, '/')+1:], a.Allowed, a.AccountId))
			}
		}
		in.NextToken = out.NextToken
	}
	if want := "[Atrue Btrue Ctrue Nonefalse]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
}
