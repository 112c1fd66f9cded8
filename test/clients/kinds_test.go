package clients_test

import (
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

// The kinds of content that clients make besides plain OCI images. Each is pushed by the client that makes it,
// and read by another client.
func kindsSession(t *testing.T) *session {
	t.Helper()
	t.Parallel()
	s, err := plainServer()
	if err != nil {
		t.Fatal(err)
	}
	sh := newSession(t, s)
	containersConfig(sh)
	sh.storeLogin(sh.password())
	return sh
}

// TestSchema1 pushes the oldest kind of manifest, which has no configuration.
func TestSchema1(t *testing.T) {
	s := kindsSession(t)
	img := theImage(t)
	ref := s.repo("kinds/schema1")
	s.cmd("skopeo", "copy", "--format", "v2s1", "--dest-tls-verify=false", "oci:"+img.layout+":v1", "docker://"+ref+":old").ok()
	raw := s.cmd("skopeo", "inspect", "--raw", "--tls-verify=false", "docker://"+ref+":old").ok()
	if got := fromJSON[struct{ SchemaVersion int }](t, raw).SchemaVersion; got != 1 {
		t.Errorf("the pulled manifest has schemaVersion %d, want 1: %s", got, raw)
	}
	s.cmd("skopeo", "copy", "--src-tls-verify=false", "docker://"+ref+":old", "dir:"+s.path("back")).ok()
}

// TestDockerManifestList pushes a manifest list with docker's media types, made from images of a registry.
func TestDockerManifestList(t *testing.T) {
	s := kindsSession(t)
	img := theImage(t)
	const repo = "kinds/list"
	ref := s.repo(repo)
	s.cmd("skopeo", "copy", "--all", "--format", "v2s2", "--dest-tls-verify=false", "oci:"+img.layout+":v1", "docker://"+ref+":list").ok()
	raw := s.cmd("crane", "manifest", ref+":list").ok()
	list := fromJSON[struct {
		MediaType string
		Manifests []struct{ Digest digest.Digest }
	}](t, raw)
	if list.MediaType != "application/vnd.docker.distribution.manifest.list.v2+json" || len(list.Manifests) != 2 {
		t.Fatalf("got %s with %d manifests, want a docker manifest list of 2", list.MediaType, len(list.Manifests))
	}
	s.cmd("crane", "validate", "--remote", ref+":list").ok()
	// An image that a list refers to cannot be deleted before the list.
	child := ref + "@" + list.Manifests[0].Digest.String()
	if out := s.cmd("crane", "delete", child).fails(); !strings.Contains(out, "referenced by manifest list") {
		t.Errorf("deleting a child of a list: got %q, want ECR's text", out)
	}
	s.cmd("crane", "delete", ref+"@"+s.cmd("crane", "digest", ref+":list").ok()).ok()
	s.cmd("crane", "delete", child).ok()
	s.s.wantGone(t, repo, list.Manifests[0].Digest.String())
}

// TestSHA512 pushes an image all of whose digests are SHA-512.
func TestSHA512(t *testing.T) {
	s := kindsSession(t)
	img := theImage(t)
	ref := s.repo("kinds/sha512")
	s.cmd("regctl", "registry", "set", "--skip-check", "--tls", "disabled", s.host()).ok()
	s.cmd("regctl", "image", "copy", "ocidir://"+img.layout+":v1", ref+":v1").ok()
	s.cmd("regctl", "image", "mod", ref+":v1", "--digest-algo", "sha512", "--create", ref+":long").ok()
	got := s.cmd("regctl", "image", "digest", ref+":long").ok()
	if !strings.HasPrefix(got, "sha512:") {
		t.Errorf("regctl image digest: got %s, want a sha512 digest", got)
	}
	s.cmd("regctl", "image", "copy", ref+":long", "ocidir://"+s.path("back")+":v1").ok()
	if back := layoutDigest(t, s.path("back")); back.String() != got {
		t.Errorf("copied back: got %s, want %s", back, got)
	}
}

// TestZstd pushes layers with another compression. The image is used by this test only, since skopeo caches for
// the whole machine that a layer exists as zstd, and would use that layer where another test expects gzip.
func TestZstd(t *testing.T) {
	s := kindsSession(t)
	img := ownImage(t, 51)
	ref := s.repo("kinds/zstd")
	s.cmd("skopeo", "copy", "--format", "oci", "--dest-compress-format", "zstd", "--dest-tls-verify=false",
		"docker-archive:"+img.archive, "docker://"+ref+":z").ok()
	if raw := s.cmd("crane", "manifest", ref+":z").ok(); !strings.Contains(raw, "tar+zstd") {
		t.Errorf("crane manifest: got %s, want zstd layers", raw)
	}
	s.cmd("crane", "pull", "--format", "oci", ref+":z", s.path("back")).ok()
	layoutDigest(t, s.path("back"))
}

// TestAttestation attaches a signed statement and an SBOM to an image, and copies all of them to another
// repository.
func TestAttestation(t *testing.T) {
	s := kindsSession(t)
	ref, copied := s.repo("kinds/attested"), s.repo("kinds/attested-copy")
	img := s.pushImage("kinds/attested", "v1")
	image := ref + "@" + img.index.String()
	cosign := func(args ...string) *call { return s.cmd("cosign", args...).with("COSIGN_PASSWORD=") }
	cosign("generate-key-pair").ok()
	write(t, s.path("predicate.json"), `{"builder": "by hand"}`)
	cosign("sign", "--key", "cosign.key", "--tlog-upload=false", "--yes", image).ok()
	cosign("attest", "--key", "cosign.key", "--tlog-upload=false", "--yes", "--type", "custom", "--predicate", "predicate.json", image).ok()
	cosign("verify-attestation", "--key", "cosign.pub", "--insecure-ignore-tlog", "--type", "custom", image).ok()
	cosign("copy", ref+":v1", copied+":v1").ok()
	cosign("verify", "--key", "cosign.pub", "--insecure-ignore-tlog", copied+":v1").ok()
	cosign("verify-attestation", "--key", "cosign.pub", "--insecure-ignore-tlog", "--type", "custom", copied+":v1").ok()
	cosign("clean", "--force", "--type", "all", image).ok()
	cosign("verify", "--key", "cosign.pub", "--insecure-ignore-tlog", image).fails()
}

// TestManyTags lists more tags than fit on one page.
func TestManyTags(t *testing.T) {
	s := kindsSession(t)
	const repo = "kinds/many"
	ref := s.repo(repo)
	s.pushImage(repo, "t000")
	r := orasRepo(t, s.s, ref, s.password())
	d, err := r.Resolve(t.Context(), "t000")
	if err != nil {
		t.Fatal(err)
	}
	const n = 230
	for i := 1; i < n; i++ {
		if err := r.Tag(t.Context(), d, tagName(i)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []*call{
		s.cmd("crane", "ls", ref),
		s.cmd("skopeo", "list-tags", "--tls-verify=false", "docker://"+ref),
	} {
		out := c.ok()
		for i := range n {
			if strings.Count(out, tagName(i)) != 1 {
				t.Errorf("%s: tag %s is there %d times, want once", c, tagName(i), strings.Count(out, tagName(i)))
				break
			}
		}
	}
}

func tagName(i int) string {
	return "t" + string([]byte{byte('0' + i/100), byte('0' + i/10%10), byte('0' + i%10)})
}
