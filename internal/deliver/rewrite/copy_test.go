package rewrite_test

import (
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/ecrin-dev/ecrin/internal/deliver/rewrite"
	"github.com/ecrin-dev/ecrin/internal/net/upstream"
	rule "github.com/ecrin-dev/ecrin/internal/rule/rewrite"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// index is an index of two platforms with a signature, in the form of referrers and in that of tags.
type index struct {
	digest     string
	platforms  []string // digests
	referrer   string
	size       int64 // of all blobs, each once
	signedTag  string
	signedDoes string
}

// pushIndex pushes an index under a tag.
func pushIndex(t *testing.T, repo ocitest.Repo, tag string, layer int) index {
	t.Helper()
	var x index
	m := ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.IndexType}
	add := func(im ocitest.Image) {
		repo.Push(t, "", im)
		for _, b := range append([][]byte{im.Config}, im.Layers...) {
			x.size += int64(len(b))
		}
	}
	for i := range 2 {
		im := ocitest.NewImage(uint64(100+i), layer)
		add(im)
		x.platforms = append(x.platforms, im.Digest)
		m.Manifests = append(m.Manifests, im.Descriptor())
	}
	body := m.JSON()
	x.digest = ocitest.SHA256(body)
	repo.PutManifest(t, tag, ocitest.IndexType, body).Want(t, http.StatusCreated)
	subject, empty := ocitest.Describe(ocitest.IndexType, body), []byte("{}")
	repo.PutBlob(t, empty)
	x.size += 2
	config := ocitest.Describe(ocitest.EmptyType, empty)
	signature := ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.ImageType,
		ArtifactType: "application/vnd.dev.cosign.artifact.sig.v1+json", Config: &config,
		Layers: []ocitest.Descriptor{config}, Subject: &subject}.JSON()
	x.referrer = ocitest.SHA256(signature)
	repo.PutManifest(t, x.referrer, ocitest.ImageType, signature).Want(t, http.StatusCreated)
	old := ocitest.NewImage(200, 30)
	add(old)
	x.signedTag = strings.Replace(x.digest, ":", "-", 1) + ".sig"
	x.signedDoes = old.Digest
	repo.PutManifest(t, x.signedTag, ocitest.ImageType, old.Manifest).Want(t, http.StatusCreated)
	return x
}

// target returns the registry of a customer, which is one of ECR that is used with a role.
func (s *site) target(t *testing.T) *upstream.Registry {
	t.Helper()
	key := s.user(t, "installer")
	users := s.iam(s.server.Root(t))
	trust := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"000000000000"},"Action":"sts:AssumeRole"}}`
	label, policy := "push", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"ecr:*","Resource":"*"}}`
	role, err := users.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: &label, AssumeRolePolicyDocument: &trust})
	if err == nil {
		_, err = users.PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{RoleName: &label, PolicyName: &label, PolicyDocument: &policy})
	}
	if err != nil {
		t.Fatal(err)
	}
	reg, err := s.client(t).Registry(upstream.Endpoint{Host: s.host, Kind: upstream.ECR, AWS: &upstream.AWS{
		Credentials: key.Retrieve, Roles: upstream.RolesOf(*role.Role.Arn, ""), Region: s.server.Registry().Region.String(),
		API: "https://" + s.host, STS: "https://" + s.host}})
	if err != nil {
		t.Fatal(err)
	}
	return reg
}

func (s *site) iam(a apptest.Account) *iam.Client {
	return iam.New(iam.Options{Region: a.Region, BaseEndpoint: &s.server.URL, HTTPClient: s.server.HTTP,
		Credentials: credentials.NewStaticCredentialsProvider(a.KeyID, a.Secret, "")})
}

// user makes a user that may assume roles and nothing else.
func (s *site) user(t *testing.T, label string) credentials.StaticCredentialsProvider {
	t.Helper()
	users := s.iam(s.server.Root(t))
	_, err := users.CreateUser(t.Context(), &iam.CreateUserInput{UserName: &label})
	policy := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"*"}}`
	if err == nil {
		_, err = users.PutUserPolicy(t.Context(), &iam.PutUserPolicyInput{UserName: &label, PolicyName: &label, PolicyDocument: &policy})
	}
	if err != nil {
		t.Fatal(err)
	}
	key, err := users.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: &label})
	if err != nil {
		t.Fatal(err)
	}
	return credentials.NewStaticCredentialsProvider(*key.AccessKey.AccessKeyId, *key.AccessKey.SecretAccessKey, "")
}

// copies returns what has to be copied for images, to a registry.
func copies(t *testing.T, l rule.Local, images ...string) []rule.Copy {
	t.Helper()
	in := rewrite.Input{Slug: "shop", Files: pods(images...), Local: &l}
	out, err := (&rewrite.Engine{}).Run(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return out.Copies
}

// transfer returns a transfer from the images of a vendor, which a token of it opens as a licence does.
func transfer(t *testing.T, from *site, to *upstream.Registry) *rewrite.Transfer {
	t.Helper()
	return &rewrite.Transfer{Sources: from.client(t), To: to, Proxy: rule.Proxy{Host: "proxy.example.com", Vendor: from.host, Slug: "shop"},
		License: rule.Auth{Username: "AWS", Password: from.server.Root(t).Password(t)}, Private: func(rule.Reference) bool { return true }}
}

func TestP20RegistryOfTheCustomerByRole(t *testing.T) {
	t.Parallel()
	from, own := newSite(t, nil), newSite(t, nil)
	x := pushIndex(t, from.server.Root(t).CreateRepository(t, "vendor/app"), "1.0", 5000)
	to := own.target(t)
	all := copies(t, rule.Local{Host: own.host, Namespace: "apps"}, from.host+"/vendor/app:1.0@"+x.digest, from.host+"/vendor/app:1.0")
	tr := transfer(t, from, to)
	plan, err := tr.Plan(t.Context(), all)
	if err != nil {
		t.Fatal(err)
	}
	if got := plan[0]; got.Size != x.size || got.Missing != x.size || got.Digest != x.digest || got.Manifests != 5 || got.Referrers != 2 {
		t.Errorf("plan: got %+v, want %d bytes of 5 manifests, of which 2 belong to another", got, x.size)
	}
	repo := own.server.Root(t).Docker(t).Repo("apps/vendor/app")
	repo.Manifest(t, x.digest).Want(t, http.StatusNotFound) // planning changes nothing
	var last rewrite.Progress
	tr.Each = func(p rewrite.Progress) { last = p }
	if _, err := tr.Run(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	if last.Done != 2 || last.Of != 2 || last.Bytes != x.size || last.Size != x.size {
		t.Errorf("progress: got %+v, want 2 images of %d bytes", last, x.size)
	}
	for _, d := range append(x.platforms, x.digest, x.referrer) {
		repo.Manifest(t, d).Want(t, http.StatusOK)
	}
	for tag, want := range map[string]string{"1.0": x.digest, x.signedTag: x.signedDoes} {
		if got := repo.Manifest(t, tag).Want(t, http.StatusOK).Header.Get("Docker-Content-Digest"); got != want {
			t.Errorf("%s is %s, want %s", tag, got, want)
		}
	}
	text := repo.Do(t, http.MethodGet, repo.Path("/referrers/"+x.digest), nil).Want(t, http.StatusOK).Body
	if !strings.Contains(string(text), x.referrer) {
		t.Errorf("the referrers are %s, want %s", text, x.referrer)
	}
	if plan, err = tr.Plan(t.Context(), all); err != nil || plan[0].Missing != 0 {
		t.Errorf("the plan afterwards: %+v, %v", plan, err)
	}
}

// A registry whose tags are immutable takes what it has already, and refuses another image with the reason.
func TestImmutableTagsThatAreRightPass(t *testing.T) {
	t.Parallel()
	from, own := newSite(t, nil), newSite(t, nil)
	x := pushIndex(t, from.server.Root(t).CreateRepository(t, "vendor/app"), "1.0", 100)
	name := "vendor/app"
	_, err := own.server.Root(t).ECR().CreateRepository(t.Context(), &ecr.CreateRepositoryInput{RepositoryName: &name,
		ImageTagMutability: types.ImageTagMutabilityImmutable})
	if err != nil {
		t.Fatal(err)
	}
	all := copies(t, rule.Local{Host: own.host}, from.host+"/vendor/app:1.0")
	tr := transfer(t, from, own.target(t))
	for range 2 {
		if _, err := tr.Run(t.Context(), all); err != nil {
			t.Fatal(err)
		}
	}
	from.server.Root(t).Docker(t).Repo("vendor/app").Push(t, "1.0", ocitest.NewImage(7, 10))
	if _, err := tr.Run(t.Context(), all); err == nil || !strings.Contains(err.Error(), "the tag 1.0 of vendor/app is immutable") {
		t.Errorf("another image: %v", err)
	}
	got := own.server.Root(t).Docker(t).Repo("vendor/app").Manifest(t, "1.0").Header.Get("Docker-Content-Digest")
	if got != x.digest {
		t.Errorf("1.0 is %s, want %s", got, x.digest)
	}
}

// A transfer that was interrupted sends only what is missing.
func TestTransferContinues(t *testing.T) {
	t.Parallel()
	var uploads, limit atomic.Int64
	limit.Store(3)
	own := newSite(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPost || !strings.Contains(r.URL.Path, "/blobs/uploads") {
			return false
		}
		if uploads.Add(1) > limit.Load() {
			w.WriteHeader(http.StatusForbidden)
			return true
		}
		return false
	})
	from := newSite(t, nil)
	x := pushIndex(t, from.server.Root(t).CreateRepository(t, "vendor/app"), "1.0", 5000)
	own.server.Root(t).CreateRepository(t, "vendor/app")
	all := copies(t, rule.Local{Host: own.host}, from.host+"/vendor/app:1.0")
	tr := transfer(t, from, own.target(t))
	if _, err := tr.Run(t.Context(), all); err == nil {
		t.Fatal("a copy whose uploads are refused: no error")
	}
	plan, err := tr.Plan(t.Context(), all)
	if err != nil || plan[0].Missing == 0 || plan[0].Missing >= x.size {
		t.Errorf("%+v, %v: want some of %d bytes missing", plan, err, x.size)
	}
	limit.Store(1000)
	uploads.Store(0)
	if _, err := tr.Run(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	if n := uploads.Load(); n != 7-3 { // two images and the old signature with a config and a layer each, and the empty config
		t.Errorf("%d uploads, want the 4 that were missing", n)
	}
}

// An image that fails does not end the others; errors name the images.
func TestTransferNamesWhatFails(t *testing.T) {
	t.Parallel()
	from, own := newSite(t, nil), newSite(t, nil)
	from.private(t, "vendor/app", "1", "2")
	all := copies(t, rule.Local{Host: own.host}, from.host+"/vendor/app:1", from.host+"/vendor/app:9", from.host+"/vendor/app:2",
		"10.0.0.1/a:1")
	tr := transfer(t, from, own.target(t))
	tr.Private = func(r rule.Reference) bool { return r.Host == from.host }
	_, err := tr.Run(t.Context(), all)
	if err == nil || !strings.Contains(err.Error(), from.host+"/vendor/app:9: ") || !strings.Contains(err.Error(), "10.0.0.1/a:1: ") ||
		strings.Contains(err.Error(), "app:2") {
		t.Errorf("got %v", err)
	}
	tags := own.server.Root(t).Docker(t).Repo("vendor/app").Tags(t, "").Want(t, http.StatusOK).Body
	if !slices.ContainsFunc([]string{`["1","2"]`, `["2","1"]`}, func(s string) bool { return strings.Contains(string(tags), s) }) {
		t.Errorf("the tags are %s, want 1 and 2", tags)
	}
}

// Images that the registry of the customer has elsewhere are copied within it, with its credentials, and are not asked for without them.
func TestTransferWithinTheRegistryOfTheCustomer(t *testing.T) {
	t.Parallel()
	own := newSite(t, nil)
	own.private(t, "shop/api", "1")
	l := rule.Local{Host: own.host, Namespace: "far"}
	all := copies(t, l, own.host+"/shop/api:1", own.host+"/far/there:1")
	tr := &rewrite.Transfer{Sources: own.client(t), To: own.target(t), Proxy: rule.Proxy{Host: "proxy.example.com", Slug: "shop"},
		Private: func(rule.Reference) bool { return true }}
	done, err := tr.Run(t.Context(), all)
	if err != nil || len(done) != 1 || done[0].To != own.host+"/far/shop/api:1" {
		t.Fatalf("got %+v, %v", done, err)
	}
	own.server.Root(t).Docker(t).Repo("far/shop/api").Manifest(t, "1").Want(t, http.StatusOK)
}
