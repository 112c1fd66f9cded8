package ociapi_test

import (
	"net/http"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// when returns a policy that allows actions under a condition, and a login without one.
func when(condition string, actions ...string) string {
	pull := `{"Effect":"Allow","Action":["ecr:BatchGetImage","ecr:GetDownloadUrlForLayer","ecr:PutImage","ecr:BatchDeleteImage"],"Resource":"*","Condition":` + condition + `}`
	return document(statement("Allow", "Action", append([]string{"ecr:GetAuthorizationToken"}, actions...)), pull)
}

// Contract 5.1: aws:SourceIp is the address of the client, also behind trusted proxies. Other proxies cannot set it.
func TestContract51SourceAddress(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		proxies   []string
		forwarded string
		proto     string
		address   int // status with a policy for 203.0.113.0/24
		secure    int // status with a policy for TLS
	}{
		{"no proxy", nil, "", "", 403, 403},
		{"a client that claims to be one", nil, "203.0.113.5", "https", 403, 403},
		{"a trusted proxy", []string{"127.0.0.0/8"}, "203.0.113.5", "https", 200, 200},
		{"a trusted proxy, another client", []string{"127.0.0.1"}, "198.51.100.5", "http", 403, 403},
		{"a trusted proxy, a forged address in front", []string{"127.0.0.1"}, "203.0.113.5, 198.51.100.5", "https, http", 403, 403},
		{"another proxy is trusted", []string{"10.0.0.0/8"}, "203.0.113.5", "https", 403, 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := apptest.Start(t, apptest.Options{Config: func(f *config.Config) { f.TrustedProxies = c.proxies }})
			root := s.Root(t)
			repo := root.CreateRepository(t, "app")
			im := ocitest.NewImage(1, 10)
			repo.Push(t, "v1", im)
			near := personOf(s, root).user(t, "near", when(`{"IpAddress":{"aws:SourceIp":"203.0.113.0/24"}}`))
			safe := personOf(s, root).user(t, "safe", when(`{"Bool":{"aws:SecureTransport":"true"}}`))
			var header []string
			if c.forwarded != "" {
				header = []string{"X-Forwarded-For", c.forwarded, "X-Forwarded-Proto", c.proto}
			}
			near.docker(t).Do(t, http.MethodGet, "/v2/app/manifests/v1", nil, header...).Want(t, c.address)
			safe.docker(t).Do(t, http.MethodGet, "/v2/app/manifests/v1", nil, header...).Want(t, c.secure)
		})
	}
}

// Contract 5.1: condition keys contain the current resource tags of a repository.
func TestContract51ResourceTag(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	root.CreateRepository(t, "app").Push(t, "v1", ocitest.NewImage(1, 10))
	admin := personOf(s, root)
	user := admin.user(t, "user", when(`{"StringEquals":{"ecr:ResourceTag/team":"web","aws:ResourceTag/team":"web"}}`)).docker(t).Repo("app")
	user.Manifest(t, "v1").WantError(t, 403, "DENIED")
	admin.ecr(t, "TagResource", "resourceArn", arnOf("app"), "tags", []map[string]string{{"Key": "team", "Value": "web"}}).Want(t, 200)
	user.Manifest(t, "v1").Want(t, 200)
	admin.ecr(t, "UntagResource", "resourceArn", arnOf("app"), "tagKeys", []string{"team"}).Want(t, 200)
	user.Manifest(t, "v1").WantError(t, 403, "DENIED")
}

// Policies can restrict tags and digests by the condition keys ecrin:ImageTag and ecrin:ImageDigest.
func TestImageKeys(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	repo := root.CreateRepository(t, "app")
	admin := personOf(s, root)
	released, secret := ocitest.NewImage(1, 10), ocitest.NewImage(2, 10)
	repo.Push(t, "release-1", released)
	repo.Push(t, "secret", secret)
	child := ocitest.NewImage(3, 10)
	repo.PushBlobs(t, child)
	repo.PutManifest(t, child.Digest, ocitest.ImageType, child.Manifest).Want(t, 201)
	index := ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.IndexType,
		Manifests: []ocitest.Descriptor{ocitest.Describe(ocitest.ImageType, child.Manifest)}}.JSON()
	repo.PutManifest(t, "release-2", ocitest.IndexType, index).Want(t, 201)

	user := admin.user(t, "user", when(`{"ForAnyValue:StringLike":{"ecrin:ImageTag":"release-*"}}`))
	own := user.docker(t).Repo("app")
	for reference, want := range map[string]int{
		"release-1": 200, "release-2": 200, "secret": 403, "none": 403, "release-9": 404,
		released.Digest: 200, secret.Digest: 403, child.Digest: 200, ocitest.SHA256(index): 200, ocitest.SHA256([]byte("none")): 403,
	} {
		own.Manifest(t, reference).Want(t, want)
		own.Do(t, http.MethodHead, own.Path("/manifests/"+reference), nil).Want(t, want)
	}
	// In the ECR API each image that the request names must be allowed.
	user.ecr(t, "BatchGetImage", "repositoryName", "app", "imageIds",
		[]map[string]string{{"imageTag": "release-1"}, {"imageDigest": child.Digest}}).Want(t, 200)
	user.ecr(t, "BatchGetImage", "repositoryName", "app", "imageIds",
		[]map[string]string{{"imageTag": "release-1"}, {"imageTag": "secret"}}).Want(t, 400)
	user.ecr(t, "BatchDeleteImage", "repositoryName", "app", "imageIds", []map[string]string{{"imageTag": "secret"}}).Want(t, 400)
	own.Do(t, http.MethodDelete, own.Path("/manifests/secret"), nil).Want(t, 403)

	// In a push the tag in the path and each tag in the query must be allowed.
	own.PutManifest(t, "release-3", ocitest.ImageType, released.Manifest).Want(t, 201)
	own.PutManifest(t, "latest", ocitest.ImageType, released.Manifest).WantError(t, 403, "DENIED")
	own.PutManifest(t, released.Digest+"?tag=release-4", ocitest.ImageType, released.Manifest).Want(t, 201)
	own.PutManifest(t, released.Digest+"?tag=latest", ocitest.ImageType, released.Manifest).WantError(t, 403, "DENIED")
	own.PutManifest(t, released.Digest+"?tag=release-4&tag=latest", ocitest.ImageType, released.Manifest).WantError(t, 403, "DENIED")
	own.PutManifest(t, "release-5?tag=latest", ocitest.ImageType, released.Manifest).WantError(t, 403, "DENIED")
	repo.Manifest(t, "latest").WantError(t, 404, "MANIFEST_UNKNOWN")

	// A deletion by digest deletes every tag of an image, so each must be allowed. Otherwise a caller that may set one
	// tag could delete any image by tagging it.
	repo.PutManifest(t, "release-6", ocitest.ImageType, secret.Manifest).Want(t, 201)
	own.Manifest(t, secret.Digest).Want(t, 200)
	own.Do(t, http.MethodDelete, own.Path("/manifests/"+secret.Digest), nil).Want(t, 403)
	user.ecr(t, "BatchDeleteImage", "repositoryName", "app", "imageIds", []map[string]string{{"imageDigest": secret.Digest}}).Want(t, 400)
	guarded := admin.user(t, "guarded", document(statement("Allow", "Action", []string{"ecr:GetAuthorizationToken", "ecr:BatchDeleteImage"}),
		`{"Effect":"Deny","Action":"ecr:BatchDeleteImage","Resource":"*","Condition":{"StringEquals":{"ecrin:ImageTag":"secret"}}}`))
	guarded.docker(t).Repo("app").Do(t, http.MethodDelete, own.Path("/manifests/"+secret.Digest), nil).Want(t, 403)
	guarded.ecr(t, "BatchDeleteImage", "repositoryName", "app", "imageIds", []map[string]string{{"imageDigest": secret.Digest}}).Want(t, 400)
	repo.Manifest(t, "secret").Want(t, 200)
	own.Do(t, http.MethodDelete, own.Path("/manifests/release-6"), nil).Want(t, 202)
	own.Do(t, http.MethodDelete, own.Path("/manifests/"+released.Digest), nil).Want(t, 202)

	// An image by digest has also the tags of the indexes that refer to it.
	exact := admin.user(t, "exact", when(`{"StringEquals":{"ecrin:ImageDigest":"`+secret.Digest+`"}}`)).docker(t).Repo("app")
	exact.Manifest(t, secret.Digest).Want(t, 200)
	exact.Manifest(t, "secret").Want(t, 200)
	exact.Manifest(t, "release-2").WantError(t, 403, "DENIED")
}

// For an image by digest, ecrin:ImageTag has all its tags. A Deny for one of them applies, and an Allow for one of them
// suffices, also with operators for single values.
func TestImageKeysOfSeveralTags(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	repo := root.CreateRepository(t, "app")
	im := ocitest.NewImage(1, 10)
	for _, tag := range []string{"a", "public", "secret"} {
		repo.Push(t, tag, im)
	}
	admin := personOf(s, root)
	allowed := admin.user(t, "allowed", when(`{"StringEquals":{"ecrin:ImageTag":"public"}}`)).docker(t).Repo("app")
	denied := admin.user(t, "denied", document(statement("Allow", "Action", []string{"ecr:*"}),
		`{"Effect":"Deny","Action":"ecr:BatchGetImage","Resource":"*","Condition":{"StringLike":{"ecrin:ImageTag":"sec*"}}}`)).docker(t).Repo("app")
	all := admin.user(t, "all",
		when(`{"ForAllValues:StringLike":{"ecrin:ImageTag":["a","public"]},"Null":{"ecrin:ImageTag":"false"}}`)).docker(t).Repo("app")
	for _, c := range []struct {
		who       ocitest.Repo
		reference string
		want      int
	}{
		{allowed, "public", 200}, {allowed, "secret", 403}, {allowed, im.Digest, 200},
		{denied, "public", 200}, {denied, "secret", 403}, {denied, im.Digest, 403},
		{all, "public", 200}, {all, "secret", 403}, {all, im.Digest, 200},
	} {
		if got := c.who.Manifest(t, c.reference); got.Status != c.want {
			t.Errorf("%s: got %d %s, want %d", c.reference, got.Status, got.Body, c.want)
		}
	}
}

// An image below an index in an index has the tags of both: a Deny on one of them holds on every level, and an Allow by tag
// reaches all that is below the tag.
func TestImageKeysOfNestedIndexes(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	repo := root.CreateRepository(t, "app")
	admin := personOf(s, root)
	leaf := ocitest.NewImage(1, 10)
	repo.PushBlobs(t, leaf)
	repo.PutManifest(t, leaf.Digest, ocitest.ImageType, leaf.Manifest).Want(t, 201)
	// Three levels: only the outermost index has a tag.
	digests, mediaType, body := []string{leaf.Digest}, ocitest.ImageType, leaf.Manifest
	for range 3 {
		body = ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.IndexType,
			Manifests: []ocitest.Descriptor{ocitest.Describe(mediaType, body)}}.JSON()
		mediaType = ocitest.IndexType
		repo.PutManifest(t, ocitest.SHA256(body), mediaType, body).Want(t, 201)
		digests = append(digests, ocitest.SHA256(body))
	}
	allowed := admin.user(t, "allowed", when(`{"StringEquals":{"ecrin:ImageTag":"secret-1"}}`)).docker(t).Repo("app")
	denied := admin.user(t, "denied", document(statement("Allow", "Action", []string{"ecr:*"}),
		`{"Effect":"Deny","Action":"ecr:BatchGetImage","Resource":"*","Condition":{"StringLike":{"ecrin:ImageTag":"secret-*"}}}`)).docker(t).Repo("app")
	check := func(when string, allow, deny int) {
		t.Helper()
		for level, digest := range digests {
			if got := allowed.Manifest(t, digest); got.Status != allow {
				t.Errorf("%s, level %d, who may pull the tag: got %d, want %d", when, level, got.Status, allow)
			}
			if got := denied.Manifest(t, digest); got.Status != deny {
				t.Errorf("%s, level %d, to whom the tag is denied: got %d, want %d", when, level, got.Status, deny)
			}
		}
	}
	check("without a tag", 403, 200)
	repo.PutManifest(t, "secret-1", mediaType, body).Want(t, 201)
	check("with a tag", 200, 403)
	repo.Do(t, http.MethodDelete, repo.Path("/manifests/secret-1"), nil).Want(t, 202)
	check("after the tag was deleted", 403, 200)
}
