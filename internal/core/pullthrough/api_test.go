package pullthrough_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/smithy-go"

	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// wantCode fails the test unless err is the exception with a code.
func wantCode(t testing.TB, what string, err error, code string) {
	t.Helper()
	e, ok := errors.AsType[smithy.APIError](err)
	if !ok || e.ErrorCode() != code {
		t.Errorf("%s: got %v, want %s", what, err, code)
	}
}

func putSecret(t testing.TB, s *apptest.Server, name, value string) string {
	t.Helper()
	var out ecrintypes.SecretResponse
	s.Operator(t, "PutSecret", ecrintypes.PutSecretRequest{Name: name, SecretString: value}, &out)
	return out.Secret.Arn
}

// Each operation on rules succeeds, and has each error that it declares and that can occur.
func TestOperationsOnRules(t *testing.T) {
	t.Parallel()
	f := newFar(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusOK) })
	s := near(t, nil, nil, f)
	root := s.Root(t)
	c, ctx := root.ECR(), t.Context()
	create := func(prefix, url string, change func(*ecr.CreatePullThroughCacheRuleInput)) error {
		in := ecr.CreatePullThroughCacheRuleInput{EcrRepositoryPrefix: &prefix, UpstreamRegistryUrl: &url}
		if change != nil {
			change(&in)
		}
		_, err := c.CreatePullThroughCacheRule(ctx, &in)
		return err
	}
	credential := func(arn string) func(*ecr.CreatePullThroughCacheRuleInput) {
		return func(in *ecr.CreatePullThroughCacheRuleInput) { in.CredentialArn = &arn }
	}
	there := func(prefix string) func(*ecr.CreatePullThroughCacheRuleInput) {
		return func(in *ecr.CreatePullThroughCacheRuleInput) { in.UpstreamRepositoryPrefix = &prefix }
	}
	asK8s := func(in *ecr.CreatePullThroughCacheRuleInput) { in.UpstreamRegistry = "k8s" }
	byRole := func(in *ecr.CreatePullThroughCacheRuleInput) {
		in.CustomRoleArn = aws.String("arn:aws:iam::000000000000:role/x")
	}
	hub := putSecret(t, s, "ecr-pullthroughcache/hub", `{"username":"u","accessToken":"token-canary"}`)
	for prefix, url := range map[string]string{"k8s": "registry.k8s.io", "quay": "quay.io", "ecr-public": "public.ecr.aws", "own": f.Host} {
		if err := create(prefix, url, nil); err != nil {
			t.Errorf("a rule for %s: %v", url, err)
		}
	}
	if err := create("hub/", "registry-1.docker.io", credential(hub)); err != nil {
		t.Errorf("a rule with a secret: %v", err)
	}
	if err := create("ROOT", "ghcr.io", there("ROOT")); err != nil {
		t.Errorf("a rule for all repositories: %v", err)
	}
	region, other := root.Region, "111122223333"
	arn := func(account, region, rest string) string {
		return "arn:aws:secretsmanager:" + region + ":" + account + ":secret:ecr-pullthroughcache/" + rest
	}
	for what, one := range map[string]struct {
		err  error
		code string
	}{
		"a prefix twice":           {create("quay", "quay.io", nil), "PullThroughCacheRuleAlreadyExistsException"},
		"a prefix with a slash":    {create("hub", "quay.io", nil), "PullThroughCacheRuleAlreadyExistsException"},
		"a short prefix":           {create("q", "quay.io", nil), "InvalidParameterException"},
		"a long prefix":            {create(strings.Repeat("q", 31), "quay.io", nil), "InvalidParameterException"},
		"a URL with a path":        {create("p1", "quay.io/x", nil), "UnsupportedUpstreamRegistryException"},
		"a URL with a scheme":      {create("p1", "https://quay.io", nil), "UnsupportedUpstreamRegistryException"},
		"a URL with a user":        {create("p1", "u@quay.io", nil), "UnsupportedUpstreamRegistryException"},
		"a port that is none":      {create("p1", "quay.io:0", nil), "UnsupportedUpstreamRegistryException"},
		"another kind":             {create("p1", "quay.io", asK8s), "UnsupportedUpstreamRegistryException"},
		"an unknown secret":        {create("p1", "quay.io", credential(arn(root.ID, region, "none-AbCdEf"))), "SecretNotFoundException"},
		"another suffix":           {create("p1", "quay.io", credential(hub[:len(hub)-1]+"-")), "SecretNotFoundException"},
		"another account's secret": {create("p1", "quay.io", credential(arn(other, region, "hub-AbCdEf"))), "UnableToAccessSecretException"},
		"another region's secret": {create("p1", "quay.io", credential(arn(root.ID, "eu-west-3", "hub-AbCdEf"))),
			"UnableToAccessSecretException"},
		"a prefix there with ROOT": {create("ROOT", "quay.io", there("xx")), "InvalidParameterException"},
		"a role without ECR":       {create("p1", "quay.io", byRole), "InvalidParameterException"},
	} {
		wantCode(t, what, one.err, one.code)
	}
	m, err := s.Meta().Secret(ctx, s.Registry(), "ecr-pullthroughcache/hub")
	if err != nil || bytes.Contains(m.Sealed, []byte("token-canary")) {
		t.Errorf("the stored secret: got %q, %v, want it sealed", m.Sealed, err)
	}

	all, err := c.DescribePullThroughCacheRules(ctx, &ecr.DescribePullThroughCacheRulesInput{MaxResults: aws.Int32(4)})
	if err != nil || len(all.PullThroughCacheRules) != 4 || all.NextToken == nil {
		t.Fatalf("the first page of the rules: got %+v, %v, want four and a token", all, err)
	}
	next := ecr.DescribePullThroughCacheRulesInput{MaxResults: aws.Int32(4), NextToken: all.NextToken}
	rest, err := c.DescribePullThroughCacheRules(ctx, &next)
	if err != nil || len(rest.PullThroughCacheRules) != 2 || rest.NextToken != nil {
		t.Errorf("the second page: got %+v, %v, want two", rest, err)
	}
	one, err := c.DescribePullThroughCacheRules(ctx, &ecr.DescribePullThroughCacheRulesInput{EcrRepositoryPrefixes: []string{"hub"}})
	if err != nil || len(one.PullThroughCacheRules) != 1 || one.PullThroughCacheRules[0].UpstreamRegistry != types.UpstreamRegistryDockerHub ||
		aws.ToString(one.PullThroughCacheRules[0].CredentialArn) != hub ||
		one.PullThroughCacheRules[0].UpstreamRepositoryPrefix != nil {
		t.Errorf("the rule hub: got %+v, %v", one, err)
	}
	// A rule shows the upstream prefix that it was made with, since Terraform replaces a rule that shows another one than its file.
	one, err = c.DescribePullThroughCacheRules(ctx, &ecr.DescribePullThroughCacheRulesInput{EcrRepositoryPrefixes: []string{"ROOT"}})
	if err != nil || len(one.PullThroughCacheRules) != 1 || aws.ToString(one.PullThroughCacheRules[0].UpstreamRepositoryPrefix) != "ROOT" {
		t.Errorf("the rule for all repositories: got %+v, %v, want its upstream prefix ROOT", one, err)
	}
	_, err = c.DescribePullThroughCacheRules(ctx, &ecr.DescribePullThroughCacheRulesInput{EcrRepositoryPrefixes: []string{"none"}})
	wantCode(t, "describing an unknown rule", err, "PullThroughCacheRuleNotFoundException")
	_, err = c.DescribePullThroughCacheRules(ctx, &ecr.DescribePullThroughCacheRulesInput{NextToken: aws.String("x")})
	wantCode(t, "a wrong token", err, "InvalidParameterException")

	update := func(prefix string, arn *string) error {
		_, err := c.UpdatePullThroughCacheRule(ctx, &ecr.UpdatePullThroughCacheRuleInput{EcrRepositoryPrefix: &prefix, CredentialArn: arn})
		return err
	}
	if err := update("quay", &hub); err != nil {
		t.Errorf("updating a rule: %v", err)
	}
	wantCode(t, "updating an unknown rule", update("none", &hub), "PullThroughCacheRuleNotFoundException")
	wantCode(t, "updating nothing", update("quay", nil), "InvalidParameterException")
	wantCode(t, "updating with an unknown secret", update("quay", aws.String(arn(root.ID, region, "none-AbCdEf"))), "SecretNotFoundException")
	wantCode(t, "updating with a foreign secret", update("quay", aws.String(arn(other, region, "none-AbCdEf"))),
		"UnableToAccessSecretException")

	validate := func(prefix string) (*ecr.ValidatePullThroughCacheRuleOutput, error) {
		return c.ValidatePullThroughCacheRule(ctx, &ecr.ValidatePullThroughCacheRuleInput{EcrRepositoryPrefix: &prefix})
	}
	if v, err := validate("own"); err != nil || !v.IsValid {
		t.Errorf("validating: got %+v, %v, want valid", v, err)
	}
	f.serve(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
	if v, err := validate("own"); err != nil || v.IsValid || !strings.Contains(aws.ToString(v.Failure), f.Host) {
		t.Errorf("validating a refusal: got %+v, %v, want invalid with the host", v, err)
	}
	_, err = validate("none")
	wantCode(t, "validating an unknown rule", err, "PullThroughCacheRuleNotFoundException")

	// A secret that another master key has sealed.
	foreign := func(meta.Secret) []byte { return []byte("not sealed with the key of this installation") }
	if _, err := s.Meta().PutSecret(ctx, m, foreign); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "a secret that cannot be unsealed", create("p2", "quay.io", credential(hub)), "UnableToDecryptSecretValueException")
	wantCode(t, "updating with it", update("quay", &hub), "UnableToDecryptSecretValueException")

	remove := func(prefix string) error {
		_, err := c.DeletePullThroughCacheRule(ctx, &ecr.DeletePullThroughCacheRuleInput{EcrRepositoryPrefix: &prefix})
		return err
	}
	if err := remove("quay/"); err != nil {
		t.Errorf("deleting a rule: %v", err)
	}
	wantCode(t, "deleting it again", remove("quay"), "PullThroughCacheRuleNotFoundException")
	for i := range 45 {
		if err := create("many"+strings.Repeat("x", i%20)+string(rune('a'+i/20)), "quay.io", nil); err != nil {
			t.Fatalf("rule %d: %v", i, err)
		}
	}
	wantCode(t, "the 51st rule", create("more", "quay.io", nil), "LimitExceededException")
}

// With the departure known-upstreams, only registries that ECR knows are accepted.
func TestKnownUpstreamsOnly(t *testing.T) {
	t.Parallel()
	s := near(t, nil, func(c *config.Config) { c.StrictECR = "known-upstreams" })
	in := ecr.CreatePullThroughCacheRuleInput{EcrRepositoryPrefix: aws.String("own"), UpstreamRegistryUrl: aws.String("registry.example.com")}
	_, err := s.Root(t).ECR().CreatePullThroughCacheRule(t.Context(), &in)
	wantCode(t, "a registry that ECR does not know", err, "UnsupportedUpstreamRegistryException")
}

// The ECR API brings images and layers too, and says which image another registry did not give.
func TestPullThroughByTheECRAPI(t *testing.T) {
	t.Parallel()
	source, owner := open(t)
	im := ocitest.NewImage(1, 1000, 100_000)
	owner.CreateRepository(t, "team/app").Push(t, "v1", im)
	publish(t, owner, "team/app")
	f := before(t, source)
	s := near(t, nil, nil, f)
	root := s.Root(t)
	rule(t, root, "cache", f)
	c, repo, ctx := root.ECR(), "cache/team/app", t.Context()
	get := func(tag string) (*ecr.BatchGetImageOutput, error) {
		return c.BatchGetImage(ctx, &ecr.BatchGetImageInput{RepositoryName: &repo, ImageIds: []types.ImageIdentifier{{ImageTag: &tag}}})
	}
	_, err := get("none")
	wantCode(t, "a tag that does not exist there", err, "RepositoryNotFoundException")
	got, err := get("v1")
	if err != nil || len(got.Images) != 1 || aws.ToString(got.Images[0].ImageManifest) != string(im.Manifest) {
		t.Fatalf("BatchGetImage: got %+v, %v, want the image", got, err)
	}
	layer := ocitest.SHA256(im.Layers[0])
	link, err := c.GetDownloadUrlForLayer(ctx, &ecr.GetDownloadUrlForLayerInput{RepositoryName: &repo, LayerDigest: &layer})
	if err != nil {
		t.Fatalf("GetDownloadUrlForLayer: %v", err)
	}
	r, err := s.HTTP.Get(*link.DownloadUrl)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if body, err := io.ReadAll(r.Body); err != nil || !bytes.Equal(body, im.Layers[0]) {
		t.Errorf("the layer by its link: got %d bytes, %v, want %d", len(body), err, len(im.Layers[0]))
	}
	none := ocitest.SHA256([]byte("no layer"))
	_, err = c.GetDownloadUrlForLayer(ctx, &ecr.GetDownloadUrlForLayerInput{RepositoryName: &repo, LayerDigest: &none})
	wantCode(t, "a layer that no image names", err, "LayersNotFoundException")

	f.serve(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
	config := ocitest.SHA256(im.Config)
	_, err = c.GetDownloadUrlForLayer(ctx, &ecr.GetDownloadUrlForLayerInput{RepositoryName: &repo, LayerDigest: &config})
	wantCode(t, "a layer that is refused", err, "UnableToGetUpstreamLayerException")
	got, err = get("v2")
	if err != nil || len(got.Failures) != 1 || got.Failures[0].FailureCode != "UpstreamAccessDenied" {
		t.Errorf("an image that is refused: got %+v, %v, want UpstreamAccessDenied", got, err)
	}
	f.serve(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", ocitest.ImageType)
		w.Header().Set("Docker-Content-Digest", none)
		_, _ = w.Write(im.Manifest)
	})
	_, err = get("v3")
	wantCode(t, "an image with another digest than it says", err, "UnableToGetUpstreamImageException")
	f.serve(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	for range 3 {
		got, err = get("v4")
		if err != nil || len(got.Failures) != 1 || got.Failures[0].FailureCode != "UpstreamTooManyRequests" {
			t.Errorf("an image of a busy registry: got %+v, %v, want UpstreamTooManyRequests", got, err)
		}
	}
	before := len(f.all())
	if _, err = get("v5"); err != nil || len(f.all()) != before {
		t.Errorf("in the time of Retry-After: got %v and %d requests, want none", err, len(f.all())-before)
	}
	if got, err = get("v1"); err != nil || len(got.Images) != 1 {
		t.Errorf("what is stored: got %+v, %v", got, err)
	}
}
