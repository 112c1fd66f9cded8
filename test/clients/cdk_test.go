package clients_test

import (
	"path/filepath"
	"strings"
	"testing"
)

// cdkAssets publishes a container image as the AWS CDK does when it deploys: it finds the repository and its address, looks for the
// image, logs in at the endpoint of the authorization token, builds, tags and pushes with docker.
func cdkAssets(s *session) {
	t := s.t
	withEngine(s)
	containersConfig(s) // for skopeo
	const repo, base = "clients/cdk-assets", "clients/cdk-base"
	asset := "plain" // cdk-assets names the image in the engine by it, and tests share the engine
	if !s.s.plain {
		asset = "names"
	}
	ref := s.repo(repo)

	// The image of the Dockerfile is in the registry, so that the build needs no other.
	s.repo(base)
	img := loadImage(s, s.s.ref(base)+":v1")
	dir := mkdir(t, s.home, "cdk.out", "asset")
	write(t, filepath.Join(dir, "Dockerfile"), "FROM "+s.s.ref(base)+":v1\nLABEL asset=true\n")
	manifest := toJSON(t, map[string]any{"version": "36.0.0", "files": map[string]any{}, "dockerImages": map[string]any{
		asset: map[string]any{
			"source":       map[string]any{"directory": "asset"},
			"destinations": map[string]any{"here": map[string]string{"region": region, "repositoryName": repo, "imageTag": "asset-1"}},
		}}})
	write(t, s.path("cdk.out/assets.json"), manifest)
	publish := func(s *session) *call {
		return s.cmd("cdk-assets", "publish", "--verbose", "--path", s.path("cdk.out")).with("NODE_EXTRA_CA_CERTS=" + s.s.bundle)
	}
	publish(s).ok()
	digest, status := s.s.manifest(t, repo, "asset-1")
	if status != 200 {
		t.Fatalf("after cdk-assets publish, the manifest asset-1 of %s has status %d, want 200", repo, status)
	}
	if got := s.cmd("docker", "run", "--rm", "--network", "none", ref+":asset-1").ok(); got != img.says {
		t.Errorf("the published image prints %q, want %q", got, img.says)
	}

	// Once more: the image is there, and is neither built nor pushed again.
	out := publish(s).all()
	if again, _ := s.s.manifest(t, repo, "asset-1"); again != digest || strings.Contains(out, "docker push") {
		t.Errorf("the second publish changed %s to %s, or pushed: %s", digest, again, out)
	}

	// A repository that does not exist is an error that names it.
	write(t, s.path("cdk.out/assets.json"), strings.ReplaceAll(manifest, repo, "clients/cdk-none"))
	if out := publish(s).fails(); !strings.Contains(out, "clients/cdk-none") {
		t.Errorf("cdk-assets publish to a missing repository printed %q, want its name", out)
	}
}

// TestCDKAssetsByRole publishes with a user's key and the role of the manifest, as a bootstrapped account does.
func TestCDKAssetsByRole(t *testing.T) {
	root := rowSession(t)
	const repo = "cdk/assets"
	ref := root.repo(repo)
	user := root.user("cdk-deploy", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"`+
		roleARN("cdk-image-publishing")+`"}}`)
	root.role("cdk-image-publishing", map[string]any{"AWS": userARN(account, "cdk-deploy")}, "AmazonEC2ContainerRegistryPowerUser")
	withEngine(user)
	img := loadImage(user, ref+":base")
	mkdir(t, user.home, "cdk.out", "asset")
	write(t, user.path("cdk.out/asset/Dockerfile"), "FROM "+ref+":base\n")
	write(t, user.path("cdk.out/assets.json"), toJSON(t, map[string]any{"version": "36.0.0", "dockerImages": map[string]any{
		"by-role": map[string]any{
			"source": map[string]any{"directory": "asset"},
			"destinations": map[string]any{"here": map[string]string{"region": region, "repositoryName": repo, "imageTag": "asset-1",
				"assumeRoleArn": roleARN("cdk-image-publishing")}},
		}}}))
	user.cmd("cdk-assets", "publish", "--path", user.path("cdk.out")).with("NODE_EXTRA_CA_CERTS=" + root.s.bundle).ok()
	if _, status := root.s.manifest(t, repo, "asset-1"); status != 200 {
		t.Errorf("after cdk-assets publish with a role, the manifest asset-1 has status %d, want 200", status)
	}
	if got := user.cmd("docker", "run", "--rm", "--network", "none", ref+":asset-1").ok(); got != img.says {
		t.Errorf("the published image prints %q, want %q", got, img.says)
	}
}
