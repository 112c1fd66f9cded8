package outside_test

import (
	"bytes"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

func test(t testing.TB, s *apptest.Server, in ecrintypes.TestIntegrationRequest) ecrintypes.TestIntegrationResponse {
	t.Helper()
	var out ecrintypes.TestIntegrationResponse
	if err := call(t, s, "TestIntegration", in, &out); err != nil {
		t.Fatalf("TestIntegration: %v", err)
	}
	return out
}

// last returns the last step of a test.
func last(t testing.TB, r ecrintypes.TestIntegrationResponse) ecrintypes.IntegrationStep {
	t.Helper()
	if len(r.Steps) == 0 {
		t.Fatalf("a test without steps: %+v", r)
	}
	return r.Steps[len(r.Steps)-1]
}

// Every step of a test of an integration by key: who the caller is, the token, /v2/ and a manifest, and for each what breaks it alone.
func TestIntegrationByKey(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	im := ocitest.NewImage(1, 1000)
	root.CreateRepository(t, "team/app").Push(t, "v1", im)
	f := before(t, s)
	n := near(t, nil, f)
	made := add(t, n, byKey("far", f, root))
	if made.RegistryHost != f.Host || made.AwsAccessKeyId != root.KeyID {
		t.Errorf("the integration: got %+v", made)
	}
	all := test(t, n, ecrintypes.TestIntegrationRequest{IntegrationName: "far", Image: "team/app:v1"})
	if !all.Passed || len(all.Steps) != 4 || all.Steps[0].Found != "arn:aws:iam::"+root.ID+":root" || all.Steps[3].Found != im.Digest {
		t.Fatalf("a test that passes: got %s", shown(all))
	}
	for _, c := range []struct {
		what, image, step, code, cure string
		change                        ecrintypes.UpdateIntegrationRequest
	}{
		{"no such image", "team/app:none", "GET manifest", "MANIFEST_UNKNOWN", "check the name of the repository",
			ecrintypes.UpdateIntegrationRequest{}},
		{"a wrong secret", "", "GetCallerIdentity", "SignatureDoesNotMatch", "secret access key is wrong",
			ecrintypes.UpdateIntegrationRequest{AwsAccessKeyId: root.KeyID, AwsSecretAccessKey: "wrong"}},
		{"an unknown key", "", "GetCallerIdentity", "InvalidClientTokenId", "access key id is not known",
			ecrintypes.UpdateIntegrationRequest{AwsAccessKeyId: "AKIAAAAAAAAAAAAAAAAA", AwsSecretAccessKey: root.Secret}},
		{"an address that is refused", "", "GetCallerIdentity", "", "egress_allow",
			ecrintypes.UpdateIntegrationRequest{Endpoint: "https://10.1.2.3"}},
	} {
		if c.change.AwsAccessKeyId != "" || c.change.Endpoint != "" {
			c.change.IntegrationName = "far"
			if err := call(t, n, "UpdateIntegration", c.change, &ecrintypes.IntegrationResponse{}); err != nil {
				t.Fatalf("%s: %v", c.what, err)
			}
		}
		got := test(t, n, ecrintypes.TestIntegrationRequest{IntegrationName: "far", Image: c.image})
		if one := last(t, got); got.Passed || one.Name != c.step || one.Code != c.code || !strings.Contains(one.Cure, c.cure) ||
			one.Message == "" {
			t.Errorf("%s: got %s, want the step %s to fail with %q and %q", c.what, shown(got), c.step, c.code, c.cure)
		}
		var show ecrintypes.DescribeIntegrationsResponse
		if err := call(t, n, "DescribeIntegrations", ecrintypes.DescribeIntegrationsRequest{IntegrationName: "far"}, &show); err != nil ||
			!strings.Contains(show.Integrations[0].LastError, c.step) {
			t.Errorf("%s: the integration: got %s, %v, want its last error to name the step", c.what, shown(show), err)
		}
	}
}

// An integration by role: the role is assumed with the external id of its trust policy, and the steps say which of the two is missing.
func TestIntegrationByRole(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	f := before(t, s)
	n := near(t, nil, f)
	r := newReader(t, s, root)
	in := byKey("far", f, root)
	in.Kind, in.RegistryHost, in.StsEndpoint = "ECR", f.Host, f.URL // the protocol of ECR, at another address
	in.AwsAccessKeyId, in.AwsSecretAccessKey = r.keyID, r.secret
	in.RoleArn = r.roleARN
	add(t, n, in)
	want := func(what, step, code, cure string, passed bool) {
		t.Helper()
		got := test(t, n, ecrintypes.TestIntegrationRequest{IntegrationName: "far"})
		if one := last(t, got); got.Passed != passed || one.Name != step || one.Code != code || !strings.Contains(one.Cure, cure) {
			t.Errorf("%s: got %s, want %s %q %q", what, shown(got), step, code, cure)
		}
	}
	want("without the external id", "AssumeRole", "AccessDenied", "set the external id", false)
	if err := call(t, n, "UpdateIntegration", ecrintypes.UpdateIntegrationRequest{IntegrationName: "far", ExternalId: "right"},
		&ecrintypes.IntegrationResponse{}); err != nil {
		t.Fatal(err)
	}
	want("a role without permissions", "GetAuthorizationToken", "AccessDeniedException", "on the resource *", false)
	r.allow(t, "ecr:*")
	want("all is right", "GET /v2/", "", "", true)
}

// An OCI registry by password and anonymously, with the texts of a registry that refuses.
func TestIntegrationOCI(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	f := before(t, s)
	n := near(t, nil, f)
	add(t, n, ecrintypes.CreateIntegrationRequest{IntegrationName: "far", Kind: "OCI", RegistryHost: f.Host})
	got := test(t, n, ecrintypes.TestIntegrationRequest{IntegrationName: "far"})
	if one := last(t, got); got.Passed || one.Name != "GET /v2/" || !strings.Contains(one.Cure, "credentials") {
		t.Errorf("anonymous: got %s", shown(got))
	}
	if err := call(t, n, "UpdateIntegration", ecrintypes.UpdateIntegrationRequest{IntegrationName: "far", Username: "AWS",
		Password: root.Password(t)}, &ecrintypes.IntegrationResponse{}); err != nil {
		t.Fatal(err)
	}
	if got := test(t, n, ecrintypes.TestIntegrationRequest{IntegrationName: "far"}); !got.Passed {
		t.Errorf("by password: got %s", shown(got))
	}
	f.set(func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = w.Write([]byte(`{"errors":[{"code":"TOOMANYREQUESTS","message":"Rate exceeded, \u0007wait"}]}`))
		return true
	})
	got = test(t, n, ecrintypes.TestIntegrationRequest{IntegrationName: "far"})
	if one := last(t, got); one.Code != "TOOMANYREQUESTS" || one.Message != "Rate exceeded, wait" ||
		!strings.Contains(one.Cure, "tried again later") {
		t.Errorf("a registry that limits the rate: got %s", shown(got))
	}
}

// What is refused, with the member that is wrong.
func TestIntegrationRefusals(t *testing.T) {
	t.Parallel()
	n := near(t, nil)
	key := ecrintypes.CreateIntegrationRequest{IntegrationName: "far", Kind: "ECR", RemoteRegistryId: "111122223333",
		RemoteRegion: "eu-west-1", AwsAccessKeyId: "AKIAAAAAAAAAAAAAAAAA", AwsSecretAccessKey: "s"}
	for what, c := range map[string]struct {
		change func(*ecrintypes.CreateIntegrationRequest)
		want   string
	}{
		"no secret":                  {func(r *ecrintypes.CreateIntegrationRequest) { r.AwsSecretAccessKey = "" }, "awsAccessKeyId"},
		"no registry":                {func(r *ecrintypes.CreateIntegrationRequest) { r.RemoteRegistryId = "" }, "remoteRegistryId"},
		"an http endpoint":           {func(r *ecrintypes.CreateIntegrationRequest) { r.Endpoint = "http://x.invalid" }, "endpoint"},
		"a path":                     {func(r *ecrintypes.CreateIntegrationRequest) { r.StsEndpoint = "https://x.invalid/sts" }, "stsEndpoint"},
		"an ecrin without URL":       {func(r *ecrintypes.CreateIntegrationRequest) { r.Kind = "ECRIN" }, "endpoint"},
		"an external id alone":       {func(r *ecrintypes.CreateIntegrationRequest) { r.ExternalId = "xx" }, "externalId"},
		"a role that is a user":      {func(r *ecrintypes.CreateIntegrationRequest) { r.RoleArn = "arn:aws:iam::1:user/x" }, "roleArn"},
		"a key for an OCI registry":  {func(r *ecrintypes.CreateIntegrationRequest) { r.Kind = "OCI" }, "awsAccessKeyId"},
		"a password for ECR":         {func(r *ecrintypes.CreateIntegrationRequest) { r.Username, r.Password = "u", "p" }, "username"},
		"a host without an endpoint": {func(r *ecrintypes.CreateIntegrationRequest) { r.RegistryHost = "x.invalid" }, "endpoint"},
		"an unknown kind":            {func(r *ecrintypes.CreateIntegrationRequest) { r.Kind = "SVN" }, "kind"},
	} {
		in := key
		c.change(&in)
		err := call(t, n, "CreateIntegration", in, &ecrintypes.IntegrationResponse{})
		if code(err) != "InvalidParameterException" || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want a refusal of %s", what, err, c.want)
		}
	}
	if err := call(t, n, "CreateIntegration", key, &ecrintypes.IntegrationResponse{}); err != nil {
		t.Fatal(err)
	}
	if err := call(t, n, "CreateIntegration", key, &ecrintypes.IntegrationResponse{}); code(err) != "IntegrationAlreadyExistsException" {
		t.Errorf("the same name: got %v", err)
	}
}

// The secrets of an integration are in no file, log, answer or line of the trail of the server.
func TestSecretsOfIntegrationsAreNowhere(t *testing.T) {
	t.Parallel()
	const canary = "canary-of-an-integration"
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	f := before(t, s)
	n := near(t, nil, f)
	in := byKey("far", f, root)
	in.AwsSecretAccessKey, in.AwsSessionToken = canary, canary
	add(t, n, in)
	add(t, n, ecrintypes.CreateIntegrationRequest{IntegrationName: "oci", Kind: "OCI", RegistryHost: f.Host, Username: "u", Password: canary})
	for _, one := range []string{"far", "oci"} {
		if got := test(t, n, ecrintypes.TestIntegrationRequest{IntegrationName: one}); got.Passed || strings.Contains(shown(got), canary) {
			t.Errorf("the test of %s: got %s", one, shown(got))
		}
	}
	var list ecrintypes.DescribeIntegrationsResponse
	if err := call(t, n, "DescribeIntegrations", ecrintypes.DescribeIntegrationsRequest{}, &list); err != nil || len(list.Integrations) != 2 ||
		strings.Contains(shown(list), canary) {
		t.Errorf("DescribeIntegrations: got %s, %v", shown(list), err)
	}
	n.Stop(t)
	if strings.Contains(n.Log.String(), canary) {
		t.Error("the log contains a secret")
	}
	err := filepath.WalkDir(n.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(canary)) {
			t.Errorf("%s contains a secret", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
