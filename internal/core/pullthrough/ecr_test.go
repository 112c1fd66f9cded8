package pullthrough_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/farside"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// strictECR is another installation that answers as ECR does, with an index of two images, each of two layers, a signature of the index,
// and a user who may pull.
type strictECR struct {
	*farside.ECR
	images      []ocitest.Image
	index       []byte
	signature   []byte
	key, secret string // of the user
	root        apptest.Account
	iam         *iam.Client
}

const pullPolicy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Resource":"*","Action":["ecr:GetAuthorizationToken",
	"ecr:BatchGetImage","ecr:GetDownloadUrlForLayer","ecr:BatchCheckLayerAvailability"]}]}`

func newStrictECR(t *testing.T) *strictECR {
	t.Helper()
	s := apptest.Start(t, apptest.Options{Config: func(c *config.Config) { c.StrictECR = "all" }})
	e := &strictECR{root: s.Root(t)}
	repo := e.root.CreateRepository(t, "team/multi")
	var described []ocitest.Descriptor
	for i := range 2 {
		im := ocitest.NewImage(uint64(i+1), 300_000, 2000)
		repo.Push(t, fmt.Sprint("part", i), im)
		e.images = append(e.images, im)
		d := im.Descriptor()
		d.Platform = &ocitest.Platform{OS: "linux", Architecture: []string{"amd64", "arm64"}[i]}
		described = append(described, d)
	}
	e.index = ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.IndexType, Manifests: described}.JSON()
	repo.PutManifest(t, "multi", ocitest.IndexType, e.index).Want(t, http.StatusCreated)
	empty := []byte("{}")
	repo.PutBlob(t, empty)
	subject, config := ocitest.Describe(ocitest.IndexType, e.index), ocitest.Describe(ocitest.EmptyType, empty)
	e.signature = ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.ImageType, ArtifactType: "application/signature", Config: &config,
		Layers: []ocitest.Descriptor{config}, Subject: &subject}.JSON()
	repo.PutManifest(t, ocitest.SHA256(e.signature), ocitest.ImageType, e.signature).Want(t, http.StatusCreated)

	e.iam = iam.New(iam.Options{Region: e.root.Region, BaseEndpoint: &s.URL, HTTPClient: s.HTTP,
		Credentials: credentials.NewStaticCredentialsProvider(e.root.KeyID, e.root.Secret, "")})
	if _, err := e.iam.CreateUser(t.Context(), &iam.CreateUserInput{UserName: aws.String("mirror")}); err != nil {
		t.Fatal(err)
	}
	if _, err := e.iam.PutUserPolicy(t.Context(), &iam.PutUserPolicyInput{UserName: aws.String("mirror"), PolicyName: aws.String("pull"),
		PolicyDocument: aws.String(pullPolicy)}); err != nil {
		t.Fatal(err)
	}
	key, err := e.iam.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: aws.String("mirror")})
	if err != nil {
		t.Fatal(err)
	}
	e.key, e.secret = *key.AccessKey.AccessKeyId, *key.AccessKey.SecretAccessKey
	e.ECR = farside.NewECR(t, s)
	return e
}

// cache starts an installation with a rule for the prefix ecr.
func (e *strictECR) cache(t *testing.T, change func(*ecr.CreatePullThroughCacheRuleInput)) (*apptest.Server, apptest.Account) {
	t.Helper()
	s := apptest.Start(t, apptest.Options{Config: func(c *config.Config) {
		for _, one := range e.Sites() {
			one.Configure(c)
		}
	}})
	root := s.Root(t)
	arn := putSecret(t, s, "ecr-pullthroughcache/far", `{"accessKeyId":"`+e.key+`","secretAccessKey":"`+e.secret+`"}`)
	in := ecr.CreatePullThroughCacheRuleInput{EcrRepositoryPrefix: aws.String("ecr"), UpstreamRegistryUrl: &e.Host, CredentialArn: &arn}
	if change != nil {
		change(&in)
	}
	if _, err := root.ECR().CreatePullThroughCacheRule(t.Context(), &in); err != nil {
		t.Fatal(err)
	}
	return s, root
}

// pull pulls the index, its images with all blobs, and what refers to the index.
func (e *strictECR) pull(t *testing.T, repo ocitest.Repo) {
	t.Helper()
	if got := repo.Manifest(t, "multi").Want(t, http.StatusOK); !bytes.Equal(got.Body, e.index) {
		t.Errorf("the index: got %s, want %s", got.Body, e.index)
	}
	for i, im := range e.images {
		if got := repo.Manifest(t, im.Digest).Want(t, http.StatusOK); !bytes.Equal(got.Body, im.Manifest) {
			t.Errorf("image %d: got %s, want %s", i, got.Body, im.Manifest)
		}
		for j, b := range append([][]byte{im.Config}, im.Layers...) {
			if got := repo.Blob(t, ocitest.SHA256(b)).Want(t, http.StatusOK); !bytes.Equal(got.Body, b) {
				t.Errorf("image %d, blob %d: got %d other bytes, want %d", i, j, len(got.Body), len(b))
			}
		}
	}
	var list struct{ Manifests []ocitest.Descriptor }
	body := repo.Do(t, http.MethodGet, repo.Path("/referrers/"+ocitest.SHA256(e.index)), nil).Want(t, http.StatusOK).Body
	if err := json.Unmarshal(body, &list); err != nil || len(list.Manifests) != 1 || list.Manifests[0].Digest != ocitest.SHA256(e.signature) {
		t.Errorf("the referrers: got %s, %v, want the signature", body, err)
	}
	if got := repo.Manifest(t, ocitest.SHA256(e.signature)).Want(t, http.StatusOK); !bytes.Equal(got.Body, e.signature) {
		t.Errorf("the signature: got %s, want %s", got.Body, e.signature)
	}
}

// A complete image with several platforms and a signature comes from ECR by a key, or by a role that the key assumes; also through two
// levels of cache, while the rate is limited, and with tokens that end in the middle of the image. The second host, which has the layers,
// never gets the credentials: it would refuse the request.
func TestPullThroughFromECR(t *testing.T) {
	t.Parallel()
	e := newStrictECR(t)
	token := func() int { return len(e.Requests("POST api.ecr.")) }
	clean := func(what string) {
		t.Helper()
		e.Throttle(0, 0)
		e.EndTokens(0, 0)
		t.Logf("%s: %d tokens so far", what, token())
	}

	s, root := e.cache(t, nil)
	docker := root.Docker(t)
	e.pull(t, docker.Repo("ecr/team/multi"))
	if got := token(); got != 1 {
		t.Errorf("by a key: got %d tokens, want 1", got)
	}
	if got := len(e.Layers.Requests("GET ")); got != 6 {
		t.Errorf("got %d requests for blobs, want 6", got)
	}
	asked := len(e.Requests(""))
	e.pull(t, docker.Repo("ecr/team/multi"))
	if got := len(e.Requests("")); got != asked {
		t.Errorf("again: got %d requests to ECR, want none", got-asked)
	}

	// A second level: the other installation is the registry of the rule, by https.
	second := farside.NewProxy(t, "cache.test", s.URL, s.HTTP.Transport)
	end := apptest.Start(t, apptest.Options{Config: second.Configure})
	arn := putSecret(t, end, "ecr-pullthroughcache/middle", `{"username":"AWS","accessToken":"`+docker.Password+`"}`)
	last := end.Root(t)
	if _, err := last.ECR().CreatePullThroughCacheRule(t.Context(), &ecr.CreatePullThroughCacheRuleInput{
		EcrRepositoryPrefix: aws.String("far"), UpstreamRegistryUrl: aws.String("cache.test"), CredentialArn: &arn,
		UpstreamRepositoryPrefix: aws.String("ecr/team")}); err != nil {
		t.Fatal(err)
	}
	e.pull(t, last.Docker(t).Repo("far/multi"))
	if got := len(e.Requests("")); got != asked {
		t.Errorf("through a second cache: got %d requests to ECR, want none", got-asked)
	}

	e.Throttle(0.3, 1)
	_, root = e.cache(t, nil)
	e.pull(t, root.Docker(t).Repo("ecr/team/multi"))
	clean("throttled")
	for _, status := range []int{http.StatusForbidden, http.StatusUnauthorized} {
		_, root = e.cache(t, nil)
		before := token()
		e.EndTokens(3, status)
		e.pull(t, root.Docker(t).Repo("ecr/team/multi"))
		clean(fmt.Sprint("tokens that end with ", status))
		if got := token() - before; got < 3 {
			t.Errorf("tokens that end with %d: got %d tokens, want some", status, got)
		}
	}

	_, root = e.cache(t, nil)
	e.Throttle(1, 1)
	refused := root.Docker(t).Repo("ecr/team/multi")
	refused.Manifest(t, "multi").WantError(t, http.StatusTooManyRequests, "TOOMANYREQUESTS")
	asked = len(e.Requests(""))
	for range 5 {
		refused.Manifest(t, "multi").WantError(t, http.StatusTooManyRequests, "TOOMANYREQUESTS")
	}
	if got := len(e.Requests("")); got != asked {
		t.Errorf("after a refusal: got %d more requests to ECR, want none", got-asked)
	}
	clean("refused")
}

// A rule with customRoleArn pulls by the role, which the key of the secret assumes; the key alone has no right to pull.
func TestPullThroughFromECRByARole(t *testing.T) {
	t.Parallel()
	e := newStrictECR(t)
	if _, err := e.iam.PutUserPolicy(t.Context(), &iam.PutUserPolicyInput{UserName: aws.String("mirror"), PolicyName: aws.String("pull"),
		PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"*"}]}`)}); err != nil {
		t.Fatal(err)
	}
	role, err := e.iam.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: aws.String("puller"), AssumeRolePolicyDocument: aws.String(
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"AWS":"` + e.root.ID + `"}}]}`)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.iam.PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{RoleName: aws.String("puller"), PolicyName: aws.String("pull"),
		PolicyDocument: aws.String(pullPolicy)}); err != nil {
		t.Fatal(err)
	}
	_, plain := e.cache(t, nil)
	if got := plain.Docker(t).Repo("ecr/team/multi").Manifest(t, "multi"); got.Status == http.StatusOK {
		t.Errorf("without the role: got status %d", got.Status)
	}
	_, root := e.cache(t, func(in *ecr.CreatePullThroughCacheRuleInput) { in.CustomRoleArn = role.Role.Arn })
	e.pull(t, root.Docker(t).Repo("ecr/team/multi"))
	if got := len(e.Requests("POST sts.")); got != 1 {
		t.Errorf("got %d requests to STS, want 1: %q", got, e.Requests("POST "))
	}
	if got := strings.Join(e.Layers.Requests(""), "\n"); strings.Contains(got, "POST") {
		t.Errorf("the host of the layers got %s", got)
	}
}
