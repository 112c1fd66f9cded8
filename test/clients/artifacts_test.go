package clients_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// helm pushes a chart and pulls it again. ECR's rule applies that the repository is NAMESPACE/CHART.
func helm(s *session) {
	t := s.t
	const repo = "clients/helm/greeting"
	to := "oci://" + s.s.ref("clients/helm")
	plain := s.ifPlain("--plain-http")

	write(t, s.path("greeting/Chart.yaml"), "apiVersion: v2\nname: greeting\nversion: 1.2.3\ndescription: says hello\n")
	write(t, s.path("greeting/templates/hello.yaml"),
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: hello}\ndata: {say: {{ .Values.say | quote }}}\n")
	write(t, s.path("greeting/values.yaml"), "say: hello\n")
	s.cmd("helm", "package", "greeting").ok()

	s.cmd("helm", words("registry", "login", s.host(), plain, "--username", "AWS", "--password-stdin")...).stdin(s.password()).ok()
	s.cmd("helm", words("push", plain, "greeting-1.2.3.tgz", to)...).prints(
		"name unknown: The repository with name '"+repo+"' does not exist in the registry with id '"+account+"'",
		"aws ecr create-repository --repository-name "+repo+" --region "+region)
	s.s.createRepo(t, repo)
	s.cmd("helm", words("push", plain, "greeting-1.2.3.tgz", to)...).ok()

	mkdir(t, s.home, "pulled")
	s.cmd("helm", words("pull", plain, to+"/greeting", "--version", "1.2.3", "--destination", "pulled")...).ok()
	sum := func(name string) string {
		b, err := os.ReadFile(s.path(name))
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%x", sha256.Sum256(b))
	}
	if got, want := sum("pulled/greeting-1.2.3.tgz"), sum("greeting-1.2.3.tgz"); got != want {
		t.Errorf("the chart that helm pulled has sha256 %s, want %s", got, want)
	}
	if got := s.cmd("helm", words("show", "values", plain, to+"/greeting", "--version", "1.2.3")...).ok(); got != "say: hello" {
		t.Errorf("helm show values: got %q, want say: hello", got)
	}
	if got := s.cmd("helm", words("template", plain, "x", to+"/greeting", "--version",
		"1.2.3")...).ok(); !strings.Contains(got, `say: "hello"`) {
		t.Errorf(`helm template: got %q, want say: "hello" in it`, got)
	}
	if _, status := s.s.manifest(t, repo, "1.2.3"); status != 200 {
		t.Errorf("the chart's manifest by its version: got status %d, want 200", status)
	}
}

// cosign signs with a local key and without other services, and stores the signature in both supported ways:
// under a tag made from the digest, and as a referrer.
func cosign(s *session) {
	t := s.t
	const repo = "clients/cosign"
	ref := s.repo(repo)
	img := s.pushImage(repo, "v1")
	image := ref + "@" + img.index.String()
	cosign := func(args ...string) *call {
		return s.cmd("cosign", args...).with("COSIGN_PASSWORD=", "COSIGN_EXPERIMENTAL=1")
	}
	s.storeLogin(s.password())
	cosign("generate-key-pair").ok()

	if got := cosign("verify", "--key", "cosign.pub", "--insecure-ignore-tlog", image).fails(); !strings.Contains(got, "no signatures found") {
		t.Errorf("cosign verify before signing: got %q, want no signatures found", got)
	}
	cosign("sign", "--key", "cosign.key", "--tlog-upload=false", "--yes", image).ok()
	cosign("verify", "--key", "cosign.pub", "--insecure-ignore-tlog", image).ok()
	if got := cosign("triangulate", image).ok(); got != ref+":"+strings.Replace(img.index.String(), ":", "-", 1)+".sig" {
		t.Errorf("cosign triangulate: got %q", got)
	}

	native := ref + "@" + img.native.String()
	cosign("sign", "--key", "cosign.key", "--tlog-upload=false", "--yes", "--registry-referrers-mode=oci-1-1", native).ok()
	cosign("verify", "--key", "cosign.pub", "--insecure-ignore-tlog", "--experimental-oci11", native).ok()
	r := orasRepo(t, s.s, ref, s.password())
	subject := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: img.native}
	if got := referrers(t, r, subject, ""); len(got) != 1 {
		t.Errorf("referrers of the signed image: got %v, want one signature", got)
	}

	// The signature does not verify with another key.
	mkdir(t, s.home, "other")
	c := cosign("generate-key-pair")
	c.dir = s.path("other")
	c.ok()
	cosign("verify", "--key", "other/cosign.pub", "--insecure-ignore-tlog", image).fails()
}
