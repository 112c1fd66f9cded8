package clients_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Customers pull the image of a private registry by the proxy of their vendor, with the clients that they have: by tag and by digest, all
// platforms, and run it. What they are not entitled to, and what they pull without a licence, is refused. A containerd with the mirrors
// that ecrin rewrite writes pulls the image by the name that it has in that registry.
func TestP5ClientsPullByTheProxy(t *testing.T) {
	t.Parallel()
	upstream, err := startServerIn(t.TempDir(), "127.0.0.1:0", "--tls=auto", "--domain", "up.example.test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(upstream.stop)
	server, err := startServerIn(t.TempDir(), "127.0.0.1:0", "--egress-allow", "127.0.0.1", "--egress-ca", upstream.bundle,
		"--egress-hosts", "up.example.test="+upstream.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.stop)
	s := newSession(t, server)
	containersConfig(s)
	img := theImage(t)
	there := upstream.root(t, account)
	aws := func(args ...string) string {
		return s.cmd("aws", append([]string{"ecr", "--endpoint-url", upstream.url}, args...)...).with("AWS_CA_BUNDLE="+upstream.bundle,
			"AWS_ACCESS_KEY_ID="+there["AWS_ACCESS_KEY_ID"], "AWS_SECRET_ACCESS_KEY="+there["AWS_SECRET_ACCESS_KEY"], "AWS_REGION="+region).ok()
	}
	password := strings.TrimSpace(aws("get-login-password"))
	for _, repo := range []string{"demo/app", "demo/other"} {
		aws("create-repository", "--repository-name", repo)
		s.cmd("skopeo", "copy", "--all", "--dest-tls-verify=false", "--dest-creds", "AWS:"+password, "oci:"+img.layout+":v1",
			"docker://"+strings.Replace(upstream.address, "127.0.0.1", "localhost", 1)+"/"+repo+":1.0").ok()
	}
	ecrin := func(args ...string) string { return s.cmd("ecrin", append(args, "--data", server.dir)...).ok() }
	ecrin("app", "create", "Shop")
	write(t, s.path("secret"), password)
	ecrin("integration", "add", "up", "--kind", "oci", "--registry-host", "up.example.test", "--username", "AWS", "--secret-file",
		s.path("secret"))
	ecrin("app", "registry", "add", "up", "--app", "shop")
	out := strings.Fields(ecrin("customer", "create", "shop", "Big", "--channel", "stable"))
	license := out[len(out)-1]
	ecrin("entitlement", "add", "shop", "--customer", "Big", "--repository", "up.example.test/demo/app")

	ref, other := server.ref("proxy/shop/up.example.test/demo/app"), server.ref("proxy/shop/up.example.test/demo/other")
	tag, digest := ref+":1.0", ref+"@"+img.index.String()
	t.Run("skopeo", func(t *testing.T) {
		c := newSession(t, server)
		containersConfig(c)
		creds := []string{plainSwitch, "--creds", "any:" + license}
		if got := c.cmd("skopeo", words("inspect", creds, "docker://"+tag)...).ok(); !strings.Contains(got, img.index.String()) {
			t.Errorf("skopeo inspect: got %s, want the digest %s", got, img.index)
		}
		c.cmd("skopeo", "copy", "--all", "--preserve-digests", "--src-tls-verify=false", "--src-creds", "any:"+license, "docker://"+digest,
			"oci:"+c.path("pulled")+":v1").ok()
		if got := c.cmd("skopeo", words("inspect", creds, "docker://"+other+":1.0")...).fails(); !strings.Contains(got, "denied") {
			t.Errorf("skopeo inspect without an entitlement: got %q, want denied", got)
		}
		c.cmd("skopeo", "inspect", plainSwitch, "docker://"+tag).fails()
		c.cmd("skopeo", "inspect", plainSwitch, "--creds", "any:2HKXWE5CM7bqkR5T2sMadeUp0000", "docker://"+tag).fails()
	})
	t.Run("crane", func(t *testing.T) {
		c := newSession(t, server)
		c.storeLogin(license)
		c.cmd("crane", "validate", "--remote", tag).ok()
		c.cmd("crane", "digest", other+":1.0").fails()
	})
	t.Run("docker", func(t *testing.T) {
		c := withEngine(newSession(t, server))
		c.cmd("docker", "login", "--username", "anything", "--password-stdin", c.host()).stdin(license).ok()
		c.cmd("docker", "pull", tag).ok()
		c.cmd("docker", "pull", digest).ok()
		if got := c.cmd("docker", "pull", other+":1.0").fails(); !strings.Contains(got, "denied") {
			t.Errorf("docker pull without an entitlement: got %q, want denied", got)
		}
	})
	t.Run("ctr", func(t *testing.T) {
		c := newSession(t, server)
		socket, err := containerdSocket()
		if err != nil {
			t.Fatal(err)
		}
		ctr := func(args ...any) *call {
			return c.cmd("ctr", words("--address", socket, "--namespace", cgroupParent(), words(args...))...)
		}
		pull := words("images", "pull", "--all-platforms", "--snapshotter", "native")
		ctr(pull, "--plain-http", "--user", "any:"+license, tag).ok()
		if got := ctr("images", "list", "name=="+tag).ok(); !strings.Contains(got, img.index.String()) {
			t.Errorf("ctr images list: got %q, want %s", got, img.index)
		}
		id := "proxy-" + strings.NewReplacer(".", "-", ":", "-").Replace(c.host())
		if got := ctr("run", "--rm", "--snapshotter", "native", tag, id).ok(); got != img.says {
			t.Errorf("ctr run: got %q, want %q", got, img.says)
		}
		ctr(pull, "--plain-http", "--user", "any:"+license, other+":1.0").fails()

		// The mirrors keep the name of the image.
		write(t, c.path("license.yaml"), ecrin("license", "get", "shop", "Big"))
		write(t, c.path("key.pem"), ecrin("license", "key"))
		mkdir(t, c.home, "manifests")
		write(t, c.path("manifests/pod.yaml"), `{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [
  {name: a, image: "up.example.test/demo/app:1.0"}]}}`)
		c.cmd("ecrin", "rewrite", "manifests", "--license", "license.yaml", "--license-key", "key.pem", "--mirrors",
			"--proxy", c.host(), "--all-private", "--output", "out").ok()
		hosts := filepath.Join(c.home, "out", "mirrors", "containerd")
		file := filepath.Join(hosts, "up.example.test", "hosts.toml")
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		// The proxy of this test has no TLS.
		write(t, file, strings.ReplaceAll(string(text), "https://"+c.host(), "http://"+c.host()))
		ctr(pull, "--hosts-dir", hosts, "up.example.test/demo/app:1.0").ok()
		if got := ctr("images", "list", "name==up.example.test/demo/app:1.0").ok(); !strings.Contains(got, img.index.String()) {
			t.Errorf("by a mirror: got %q, want %s", got, img.index)
		}
	})
}
