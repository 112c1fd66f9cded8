package clients_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
)

// TestAnonymousPull checks that clients without credentials pull from a repository that is open to everyone, that they are
// denied another one, and that a login still gives the permissions of the caller.
func TestAnonymousPull(t *testing.T) {
	t.Parallel()
	server, err := startServerIn(t.TempDir(), "127.0.0.1:0", "--anonymous")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.stop)
	s := newSession(t, server)
	const open, private = "anonymous/open", "anonymous/private"
	server.createRepo(t, open)
	server.createRepo(t, private)
	img := s.pushImage(open, "v1")
	s.pushImage(private, "v1")
	everyone := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":["ecr:BatchGetImage","ecr:GetDownloadUrlForLayer"]}}`
	if _, err := server.sdk(t, account, region).SetRepositoryPolicy(t.Context(),
		&ecr.SetRepositoryPolicyInput{RepositoryName: aws.String(open), PolicyText: &everyone}); err != nil {
		t.Fatal(err)
	}

	t.Run("docker", func(t *testing.T) {
		c := withEngine(newSession(t, server))
		c.cmd("docker", "pull", server.ref(open)+":v1").ok()
		if got := c.cmd("docker", "pull", server.ref(private)+":v1").fails(); !strings.Contains(got, "denied") {
			t.Errorf("docker pull of a private repository: got %q, want denied", got)
		}
		dockerLogin(c)
		c.cmd("docker", "pull", server.ref(private)+":v1").ok()
		c.cmd("docker", "tag", server.ref(private)+":v1", server.ref(private)+":v2").ok()
		dockerPush(c, server.ref(private)+":v2")
		c.cmd("docker", "login", "--username", "AWS", "--password", "wrong", c.host()).fails()
	})
	t.Run("podman", func(t *testing.T) {
		c := newSession(t, server)
		containersConfig(c)
		write(t, c.path("auth.json"), "{}") // podman does not start if $REGISTRY_AUTH_FILE does not exist
		c.cmd("podman", "pull", plainSwitch, server.ref(open)+":v1").ok()
		c.cmd("podman", "pull", plainSwitch, server.ref(private)+":v1").fails()
		c.cmd("podman", "login", plainSwitch, "--username", "AWS", "--password-stdin", c.host()).stdin(c.password()).ok()
		c.cmd("podman", "pull", plainSwitch, server.ref(private)+":v1").ok()
	})
	t.Run("skopeo", func(t *testing.T) {
		c := newSession(t, server)
		containersConfig(c)
		if got := c.cmd("skopeo", "inspect", plainSwitch, "docker://"+server.ref(open)+":v1").ok(); !strings.Contains(got, img.index.String()) {
			t.Errorf("skopeo inspect: got %s, want the digest %s", got, img.index)
		}
		c.cmd("skopeo", "copy", "--all", "--preserve-digests", "--src-tls-verify=false", "docker://"+server.ref(open)+":v1",
			"oci:"+c.path("back")+":v1").ok()
		c.cmd("skopeo", "inspect", plainSwitch, "docker://"+server.ref(private)+":v1").fails()
		c.cmd("skopeo", "login", plainSwitch, "--username", "AWS", "--password-stdin", c.host()).stdin(c.password()).ok()
		c.cmd("skopeo", "inspect", plainSwitch, "docker://"+server.ref(private)+":v1").ok()
	})
	t.Run("crane", func(t *testing.T) {
		c := newSession(t, server)
		c.cmd("crane", "validate", "--remote", server.ref(open)+":v1").ok()
		c.cmd("crane", "digest", server.ref(private)+":v1").fails()
		c.storeLogin(c.password())
		c.cmd("crane", "validate", "--remote", server.ref(private)+":v1").ok()
		c.cmd("crane", "copy", server.ref(private)+":v1", server.ref(open)+":v2").ok()
	})
	t.Run("containerd", func(t *testing.T) {
		c := newSession(t, server)
		socket, err := containerdSocket()
		if err != nil {
			t.Fatal(err)
		}
		pull := []string{"--address", socket, "--namespace", cgroupParent(), "images", "pull", "--plain-http",
			"--all-platforms", "--snapshotter", "native"}
		c.cmd("ctr", append(slices.Clone(pull), server.ref(open)+":v1")...).ok()
		c.cmd("ctr", append(slices.Clone(pull), server.ref(private)+":v1")...).fails()
		c.cmd("ctr", append(slices.Clone(pull), "--user", "AWS:"+c.password(), server.ref(private)+":v1")...).ok()
	})
}
