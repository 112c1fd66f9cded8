package clients_test

import (
	"strings"
	"testing"
)

// Manifests with an image of a vendor, by tag and by digest, are rewritten for the registry of a customer, which is one of ECR: all
// platforms are there with the same digests, and clients pull what kustomize has built.
func TestP20ImagesInTheRegistryOfACustomer(t *testing.T) {
	t.Parallel()
	server, err := namedServer()
	if err != nil {
		t.Fatal(err)
	}
	s := newSession(t, server)
	const repo = "vendor/rewritten"
	ref := s.repo(repo)
	img := s.pushImage(repo, "1.0")
	ecrin := func(args ...string) string { return s.cmd("ecrin", append(args, "--data", server.dir)...).ok() }
	ecrin("app", "create", "Rewritten", "--slug", "rewritten")
	ecrin("customer", "create", "rewritten", "Big", "--channel", "stable")
	ecrin("entitlement", "add", "rewritten", "--customer", "Big", "--repository", repo)
	write(t, s.path("license.yaml"), ecrin("license", "get", "rewritten", "Big"))
	write(t, s.path("key.pem"), ecrin("license", "key"))
	mkdir(t, s.home, "manifests")
	write(t, s.path("manifests/pod.yaml"), `{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [
  {name: a, image: "`+ref+`:1.0"}, {name: b, image: "`+ref+"@"+img.index.String()+`"}]}}`)
	own := server.host(account, otherRegion)
	s.cmd("ecrin", "rewrite", "manifests", "--license", "license.yaml", "--license-key", "key.pem", "--vendor-registry",
		server.host(account, region), "--registry", own+"/apps", "--output", "out", "--ca", server.bundle, "--egress-allow", "127.0.0.0/8").ok()
	// With a role, which only the registry's nodes and who installs may assume: no secret with a password is written.
	s.role("rewriter", map[string]any{"AWS": account}, "AmazonEC2ContainerRegistryPowerUser")
	s.awsOK("ecr", "create-repository", "--region", otherRegion, "--repository-name", "roles/"+repo)
	u := s.user("rewriting", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"`+
		roleARN("rewriter")+`"}}`) // the root user assumes no roles
	licensed := []string{"rewrite", s.path("manifests"), "--license", s.path("license.yaml"), "--license-key", s.path("key.pem"),
		"--vendor-registry", server.host(account, region), "--ca", server.bundle, "--egress-allow", "127.0.0.0/8"}
	u.cmd("ecrin", append(licensed, "--registry", own+"/roles", "--registry-role", roleARN("rewriter"), "--output", "byrole")...).ok()
	if got := s.cmd("skopeo", "inspect", "--creds", "AWS:"+server.password(t, account, otherRegion), "docker://"+own+"/roles/"+repo+
		":1.0").ok(); !strings.Contains(got, img.index.String()) {
		t.Errorf("by a role: got %s, want the digest %s", got, img.index)
	}
	if got := u.cmd("cat", "byrole/rendered/this-cluster/all.yaml").ok(); strings.Contains(got, "kind: Secret") ||
		!strings.Contains(got, own+"/roles/"+repo) {
		t.Errorf("by a role: the build is\n%s", got)
	}
	u.cmd("ecrin", append(licensed, "--registry", own+"/roles", "--registry-role", roleARN("nobody"), "--output", "none")...).prints(
		"copying to "+own, "was refused (AccessDenied)")
	built := s.cmd("cat", "out/rendered/this-cluster/all.yaml").ok()
	there := own + "/apps/" + repo
	for _, image := range []string{there + ":1.0", there + "@" + img.index.String()} {
		if !strings.Contains(built, "image: "+image+"\n") {
			t.Errorf("the build has no %s:\n%s", image, built)
		}
		creds := "AWS:" + server.password(t, account, otherRegion)
		got := s.cmd("skopeo", "inspect", "--creds", creds, "docker://"+image).ok()
		if !strings.Contains(got, img.index.String()) {
			t.Errorf("skopeo inspect %s: got %s, want the digest %s", image, got, img.index)
		}
		s.cmd("skopeo", "copy", "--all", "--preserve-digests", "--src-creds", creds, "docker://"+image, "oci:"+s.path("back")+":v1").ok()
	}
}
