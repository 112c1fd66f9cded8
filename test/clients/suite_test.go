package clients_test

import "testing"

// clients are the tested programs and libraries, each with its test on one server.
var clients = []struct {
	name string
	run  func(*session)
}{
	{"docker", docker},
	{"containerd", containerd},
	{"podman", podman},
	{"buildah", buildah},
	{"skopeo", skopeo},
	{"crane", crane},
	{"regctl", regctl},
	{"oras-go", orasGo},
	{"helm", helm},
	{"cosign", cosign},
	{"aws-cli-v1", awsV1},
	{"aws-cli-v2", awsV2},
	{"aws-sdk-go-v2", awsSDK},
	{"ecr-login-0.12", ecrLogin},
	{"ecr-login-0.6", ecrLoginDebian},
	{"ecr-credential-provider", kubeletProvider},
	{"cdk-assets", cdkAssets},
	{"replicated-lib", replicatedLib},
}

// TestPlain runs every client over plain HTTP on localhost:PORT.
func TestPlain(t *testing.T) {
	s, err := plainServer()
	if err != nil {
		t.Fatal(err)
	}
	runClients(t, s)
}

// TestNames runs every client over TLS under the real ECR host names, with no endpoint setting.
func TestNames(t *testing.T) {
	s, err := namedServer()
	if err != nil {
		t.Fatal(err)
	}
	runClients(t, s)
}

func runClients(t *testing.T, s *server) {
	t.Parallel()
	for _, c := range clients {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(newSession(t, s))
		})
	}
}
