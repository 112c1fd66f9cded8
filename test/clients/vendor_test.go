package clients_test

import (
	"strings"
	"testing"
)

// Customers of a vendor pull with the id of their licence, and with a token, by the clients that they have. A licence that has ended, and
// an image without an entitlement, are refused.
func TestCustomersPullWithTheirLicence(t *testing.T) {
	t.Parallel()
	server, err := startServerIn(t.TempDir(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.stop)
	s := newSession(t, server)
	const mine, other = "shop/api", "billing/api"
	server.createRepo(t, mine)
	server.createRepo(t, other)
	img := s.pushImage(mine, "1.0.0")
	s.pushImage(other, "1.0.0")
	ecrin := func(args ...string) string { return s.cmd("ecrin", append(args, "--data", server.dir)...).ok() }
	ecrin("app", "create", "Shop")
	s.cmd("ecrin", "release", "init", s.path("files"), "--name", "Shop", "--image", server.ref(mine)+":1.0.0").ok()
	ecrin("release", "create", "shop", s.path("files"))
	ecrin("release", "promote", "shop", "1", "stable", "--version", "1.0.0")
	last := func(out string) string {
		lines := strings.Fields(out)
		return lines[len(lines)-1]
	}
	license := last(ecrin("customer", "create", "shop", "Big", "--channel", "stable"))
	ecrin("entitlement", "add", "shop", "--customer", "Big", "--repository", "shop/*", "--channel", "stable")
	token := last(ecrin("customer", "token", "create", "shop", "Big", "east"))

	t.Run("docker", func(t *testing.T) {
		c := withEngine(newSession(t, server))
		c.cmd("docker", "login", "--username", "LICENSE_ID", "--password-stdin", c.host()).stdin(license).ok()
		c.cmd("docker", "pull", server.ref(mine)+":1.0.0").ok()
		if got := c.cmd("docker", "pull", server.ref(other)+":1.0.0").fails(); !strings.Contains(got, "denied") {
			t.Errorf("docker pull without an entitlement: got %q, want denied", got)
		}
	})
	t.Run("skopeo", func(t *testing.T) {
		c := newSession(t, server)
		containersConfig(c)
		for _, password := range []string{license, token} {
			got := c.cmd("skopeo", "inspect", plainSwitch, "--creds", "it@big.example:"+password, "docker://"+server.ref(mine)+":1.0.0").ok()
			if !strings.Contains(got, img.index.String()) {
				t.Errorf("skopeo inspect: got %s, want the digest %s", got, img.index)
			}
			c.cmd("skopeo", "copy", "--all", "--preserve-digests", "--src-tls-verify=false", "--src-creds", "x:"+password,
				"docker://"+server.ref(mine)+":1.0.0", "oci:"+c.path("back"+password[:4])+":v1").ok()
			c.cmd("skopeo", "inspect", plainSwitch, "--creds", "x:"+password, "docker://"+server.ref(other)+":1.0.0").fails()
		}
	})
	t.Run("crane", func(t *testing.T) {
		c := newSession(t, server)
		c.storeLogin(license)
		c.cmd("crane", "validate", "--remote", server.ref(mine)+":1.0.0").ok()
		c.cmd("crane", "digest", server.ref(other)+":1.0.0").fails()
	})
}
