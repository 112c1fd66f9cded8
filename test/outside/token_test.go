package outside_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/ecrin-dev/ecrin/internal/main/cli/credcmd"
	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/farside"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// docker asks the credential helper of docker for a registry, with the credentials of an account in the environment.
func docker(t *testing.T, a apptest.Account, dir, host string) (code int, username, secret, said string) {
	t.Helper()
	var out, errs bytes.Buffer
	variables := map[string]string{"AWS_ACCESS_KEY_ID": a.KeyID, "AWS_SECRET_ACCESS_KEY": a.Secret, "AWS_REGION": a.Region, "HOME": dir,
		"ECRIN_CREDENTIALS_CONFIG": filepath.Join(dir, "credentials.yaml"), "ECRIN_CREDENTIALS_CACHE": "off"}
	for key, value := range variables {
		t.Setenv(key, value)
	}
	code = credcmd.Named("docker-credential-ecrin")(t.Context(), credcmd.Options{In: strings.NewReader(host), Out: &out, Err: &errs,
		Getenv: os.Getenv}, []string{"get"})
	var got struct{ Username, Secret string }
	if code == 0 {
		if err := json.Unmarshal(out.Bytes(), &got); err != nil {
			t.Fatalf("the helper printed %s: %v", out.String(), err)
		}
	}
	return code, got.Username, got.Secret, out.String() + errs.String()
}

// Docker gets the token of a registry of ECR from an ecrin that has the integration, and has no credentials of AWS itself. The right to
// have a token is one of its own, and the password of another registry is shown to nobody.
func TestTokenOfAnIntegration(t *testing.T) {
	far := apptest.Start(t, apptest.Options{Config: func(c *config.Config) { c.StrictECR = "all" }})
	e := farside.NewECR(t, far)
	n := apptest.Start(t, apptest.Options{Config: e.Configure})
	there, root := far.Root(t), n.Root(t)
	im := ocitest.NewImage(1, 100)
	there.CreateRepository(t, "team/app").Push(t, "v1", im)
	one := add(t, n, ecrintypes.CreateIntegrationRequest{IntegrationName: "aws", Kind: "ECR", RemoteRegistryId: there.ID,
		RemoteRegion: there.Region, AwsAccessKeyId: there.KeyID, AwsSecretAccessKey: there.Secret})
	add(t, n, ecrintypes.CreateIntegrationRequest{IntegrationName: "oci", Kind: "OCI", RegistryHost: "registry.invalid", Username: "u",
		Password: "canary-password"})

	var got ecrintypes.GetIntegrationTokenResponse
	if err := call(t, n, "GetIntegrationToken", ecrintypes.IntegrationRequest{IntegrationName: "aws"}, &got); err != nil {
		t.Fatal(err)
	}
	host := there.ID + ".dkr.ecr." + there.Region + ".amazonaws.com"
	if got.Registry != host || got.Username != "AWS" || got.ExpiresAt.IsZero() {
		t.Errorf("the token is of %s for %s until %v, want %s", got.Registry, got.Username, got.ExpiresAt, host)
	}
	pull := func(username, password string) int {
		c := far.Root(t).Docker(t)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, far.URL+"/v2/team/app/manifests/v1", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth(username, password)
		answer, err := c.HTTP.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		return answer.StatusCode
	}
	if status := pull(got.Username, got.Password); status != http.StatusOK {
		t.Errorf("a pull with the token: got %d", status)
	}
	err := call(t, n, "GetIntegrationToken", ecrintypes.IntegrationRequest{IntegrationName: "oci"}, &got)
	if code(err) != "InvalidParameterException" || strings.Contains(err.Error(), "canary") {
		t.Errorf("the password of another registry: got %v", err)
	}

	// The credential helper of docker, as a user who may have the token, and as one who may only use the integration.
	dir := t.TempDir()
	write := func(match, integration string) {
		text := fmt.Sprintf("hosts:\n- match: %q\n  integration: %s\n  endpoint: %s\n", match, integration, n.URL)
		if err := os.WriteFile(filepath.Join(dir, "credentials.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	user := func(label, action string) apptest.Account {
		u := users(root, n)
		if _, err := u.CreateUser(t.Context(), &iam.CreateUserInput{UserName: &label}); err != nil {
			t.Fatal(err)
		}
		text := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"` + action + `","Resource":"` + one.Arn + `"}]}`
		if _, err := u.PutUserPolicy(t.Context(), &iam.PutUserPolicyInput{UserName: &label, PolicyName: aws.String("p"),
			PolicyDocument: &text}); err != nil {
			t.Fatal(err)
		}
		k, err := u.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: &label})
		if err != nil {
			t.Fatal(err)
		}
		a := root
		a.KeyID, a.Secret = *k.AccessKey.AccessKeyId, *k.AccessKey.SecretAccessKey
		return a
	}
	may, uses := user("may", "ecrin:GetIntegrationToken"), user("uses", "ecrin:UseIntegration")
	write(host, "aws")
	if status, username, password, said := docker(t, may, dir, host); status != 0 || pull(username, password) != http.StatusOK {
		t.Errorf("the helper: got %d, %s", status, said)
	}
	if status, _, _, said := docker(t, uses, dir, host); status == 0 || !strings.Contains(said, "ecrin:GetIntegrationToken") {
		t.Errorf("without the right: got %d, %s", status, said)
	}
	write("other.example.com", "aws")
	if status, _, _, said := docker(t, may, dir, "other.example.com"); status == 0 || !strings.Contains(said, "is of the registry") {
		t.Errorf("for another host: got %d, %s", status, said)
	}
	write(host, "none")
	if status, _, _, said := docker(t, may, dir, host); status == 0 {
		t.Errorf("an integration that does not exist: got %d, %s", status, said)
	}
}
