package outside_test

import (
	"testing"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
)

// TestAStoredSecretGoesToNoOtherHost: who changes an integration cannot have its secret, or a token that is got with it, sent to
// another host without giving the secret again.
func TestAStoredSecretGoesToNoOtherHost(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	for _, in := range []ecrintypes.CreateIntegrationRequest{
		{IntegrationName: "oci", Kind: "OCI", RegistryHost: "registry.invalid", Username: "u", Password: "p",
			TokenHosts: []string{"token.invalid"}},
		{IntegrationName: "aws", Kind: "ECR", RemoteRegistryId: "111122223333", RemoteRegion: "eu-west-1", AwsAccessKeyId: "AKIAAAAAAAAAAAAAAAAA",
			AwsSecretAccessKey: "x"},
		{IntegrationName: "git", Kind: "GIT", Provider: "github", Url: "https://git.invalid", Username: "u", Password: "p"},
	} {
		add(t, s, in)
	}
	const refused = "InvalidParameterException"
	for what, c := range map[string]struct {
		in   ecrintypes.UpdateIntegrationRequest
		want string
	}{
		"another host": {ecrintypes.UpdateIntegrationRequest{IntegrationName: "oci", RegistryHost: "evil.invalid"}, refused},
		"another token host": {ecrintypes.UpdateIntegrationRequest{IntegrationName: "oci", TokenHosts: []string{"token.invalid", "evil.invalid"}},
			refused},
		"another host for ECR": {ecrintypes.UpdateIntegrationRequest{IntegrationName: "aws", RegistryHost: "evil.invalid"}, refused},
		"another URL":          {ecrintypes.UpdateIntegrationRequest{IntegrationName: "git", Url: "https://evil.invalid"}, refused},
		"the same hosts": {ecrintypes.UpdateIntegrationRequest{IntegrationName: "oci", RegistryHost: "registry.invalid",
			TokenHosts: []string{"token.invalid"}}, ""},
		"with the secret": {ecrintypes.UpdateIntegrationRequest{IntegrationName: "git", Url: "https://new.invalid",
			Username: "u", Password: "p"}, ""},
		"a region whose host follows": {ecrintypes.UpdateIntegrationRequest{IntegrationName: "aws", RemoteRegion: "eu-west-2"}, ""},
	} {
		if err := call(t, s, "UpdateIntegration", c.in, &ecrintypes.IntegrationResponse{}); code(err) != c.want {
			t.Errorf("%s: got %v, want %q", what, err, c.want)
		}
	}
}
