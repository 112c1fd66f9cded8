package clients_test

import (
	"encoding/base64"
	"strings"
	"testing"
)

// helm pulls the chart of a channel with a licence: its values have a pull secret, with which the image of the chart is pulled. When the
// customer is archived, helm gets 401. A chart below library/ needs no login where policies allow everyone.
func TestP17HelmPullsWithALicence(t *testing.T) {
	t.Parallel()
	server, err := startServerIn(t.TempDir(), "127.0.0.1:0", "--anonymous")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.stop)
	s := newSession(t, server)
	const repo, library = "shop/api", "library/greeting"
	server.createRepo(t, repo)
	server.createRepo(t, library)
	img := s.pushImage(repo, "1.0.0")
	ecrin := func(args ...string) string { return s.cmd("ecrin", append(args, "--data", server.dir)...).ok() }
	write(t, s.path("greeting/Chart.yaml"), "apiVersion: v2\nname: greeting\nversion: 1.2.3\ndescription: says hello\n")
	write(t, s.path("greeting/values.yaml"), "# what it says\nsay: hello\n")
	write(t, s.path("greeting/templates/secret.yaml"), "apiVersion: v1\nkind: Secret\nmetadata: {name: pull}\n"+
		"type: kubernetes.io/dockerconfigjson\ndata: {.dockerconfigjson: {{ .Values.global.ecrin.dockerconfigjson }}}\n")
	mkdir(t, s.home, "files")
	s.cmd("helm", "package", "greeting", "--destination", "files").ok()
	ecrin("app", "create", "Shop")
	ecrin("release", "create", "shop", s.path("files"))
	ecrin("release", "promote", "shop", "1", "stable", "--version", "1.0.0")
	out := strings.Fields(ecrin("customer", "create", "shop", "Big", "--channel", "stable"))
	license := out[len(out)-1]
	ecrin("entitlement", "add", "shop", "--customer", "Big", "--repository", "shop/*")

	c := newSession(t, server)
	chart, plain := "oci://"+c.host()+"/shop/stable/greeting", c.ifPlain("--plain-http")
	c.cmd("helm", words("registry", "login", c.host(), plain, "--username", "it@big.example", "--password-stdin")...).stdin(license).ok()
	mkdir(t, c.home, "pulled")
	c.cmd("helm", words("pull", plain, chart, "--version", "1.2.3", "--destination", "pulled")...).ok()
	if got := c.cmd("helm", words("show", "values", plain, chart)...).ok(); !strings.Contains(got, "# what it says") {
		t.Errorf("helm show values of the newest version: got %q, want the values of the chart", got)
	}
	_, rest, _ := strings.Cut(c.cmd("helm", "template", "x", "pulled/greeting-1.2.3.tgz").ok(), ".dockerconfigjson: ")
	config, err := base64.StdEncoding.DecodeString(strings.TrimRight(strings.Fields(rest)[0], "}"))
	if err != nil {
		t.Fatalf("the pull secret in the chart: %v in %q", err, rest)
	}
	write(t, c.path(".docker/config.json"), string(config))
	if got := c.cmd("crane", "digest", server.ref(repo)+":1.0.0").ok(); got != img.index.String() {
		t.Errorf("crane with the secret of the chart: got %s, want %s", got, img.index)
	}

	c.cmd("helm", words("registry", "login", c.host(), plain, "--username", "x", "--password-stdin")...).stdin(license).ok()
	ecrin("customer", "archive", "shop", "Big")
	if got := c.cmd("helm", words("pull", plain, chart, "--version", "1.2.3")...).fails(); !strings.Contains(got, "401") {
		t.Errorf("helm pull of an archived customer: got %q, want 401", got)
	}

	s.cmd("helm", words("registry", "login", s.host(), plain, "--username", "AWS", "--password-stdin")...).stdin(s.password()).ok()
	s.cmd("helm", words("push", plain, "files/greeting-1.2.3.tgz", "oci://"+server.ref("library"))...).ok()
	stranger := newSession(t, server)
	pull := words("pull", plain, "oci://"+c.host()+"/"+library, "--version", "1.2.3")
	stranger.cmd("helm", pull...).fails()
	s.aws("ecr", "set-repository-policy", "--repository-name", library, "--policy-text",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":["ecr:BatchGetImage",`+
			`"ecr:GetDownloadUrlForLayer"]}]}`).ok()
	stranger.cmd("helm", pull...).ok()
}
