package clients_test

import (
	"os"
	"strings"

	"github.com/opencontainers/go-digest"
)

// containersConfig gives podman, buildah and skopeo a separate storage. Its limits, runtime and cgroup manager
// work without systemd and inside other containers.
func containersConfig(s *session) {
	s.t.Helper()
	conf := write(s.t, s.path("containers.conf"), `[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
`)
	storage := write(s.t, s.path("storage.conf"), `[storage]
driver = "vfs"
graphroot = "`+s.path("graph")+`"
runroot = "`+s.path("runroot")+`"
`)
	registries := write(s.t, s.path("registries.conf"), "unqualified-search-registries = []\n")
	s.env = append(s.env, "CONTAINERS_CONF="+conf, "CONTAINERS_STORAGE_CONF="+storage,
		"CONTAINERS_REGISTRIES_CONF="+registries)
}

// plainSwitch is the option of podman, buildah and skopeo for plain HTTP.
const plainSwitch = "--tls-verify=false"

func podman(s *session) {
	t := s.t
	containersConfig(s)
	const repo = "clients/podman"
	ref := s.repo(repo)
	img := s.pushImage(repo, "v1")
	plain := s.ifPlain(plainSwitch)

	out := s.cmd("podman", words("login", plain, "--username", "AWS", "--password-stdin", s.host())...).stdin(s.password()).ok()
	if !strings.Contains(out, "Login Succeeded") {
		t.Errorf("podman login printed %q, want Login Succeeded!", out)
	}
	s.cmd("podman", words("pull", plain, ref+":v1")...).ok()
	digests := s.cmd("podman", "image", "inspect", "--format", "{{.RepoDigests}}", ref+":v1").ok()
	if !strings.Contains(digests, img.index.String()) || !strings.Contains(digests, img.native.String()) {
		t.Errorf("RepoDigests of %s:v1: got %s, want %s and %s", ref, digests, img.index, img.native)
	}
	// Not `podman run` in one command: podman 4.3 sometimes misses the end of a container, and then waits 20 s
	// for it.
	name := s.cmd("podman", "run", "--detach", "--network", "none", "--cgroup-parent", "/"+cgroupParent(), ref+":v1",
		"/bin/busybox", "sleep", "600").ok()
	if got := s.cmd("podman", "exec", name, "/bin/busybox", "cat", "/etc/says").ok(); got != img.says {
		t.Errorf("podman exec: got %q, want %q", got, img.says)
	}
	s.cmd("podman", "rm", "--force", "--time", "0", name).ok()

	s.cmd("podman", "tag", ref+":v1", ref+":v2").ok()
	s.cmd("podman", words("push", plain, "--digestfile", "pushed", ref+":v2")...).ok()
	s.s.wantManifest(t, repo, "v2", s.digestFile("pushed"))
	s.cmd("podman", "rmi", "--all", "--force").ok()
	s.cmd("podman", words("pull", plain, ref+"@"+s.digestFile("pushed").String())...).ok()
	s.cmd("podman", "logout", s.host()).ok()
	if got := s.cmd("podman", words("pull", plain, ref+":v1")...).fails(); !strings.Contains(got, "unauthorized") &&
		!strings.Contains(got, "Not Authorized") {
		t.Errorf("podman pull after logout: got %q, want an authorization error", got)
	}
}

func buildah(s *session) {
	t := s.t
	containersConfig(s)
	const repo = "clients/buildah"
	ref := s.repo(repo)
	s.pushImage(repo, "v1")
	plain := s.ifPlain(plainSwitch)

	s.cmd("buildah", words("login", plain, "--username", "AWS", "--password-stdin", s.host())...).stdin(s.password()).ok()
	write(t, s.path("context/Dockerfile"), "FROM "+ref+":v1\nRUN [\"/bin/busybox\", \"touch\", \"/built\"]\n")
	s.cmd("buildah", words("bud", "--isolation", "chroot", plain, "--tag", ref+":built", "context")...).ok()
	s.cmd("buildah", words("push", plain, "--digestfile", "pushed", ref+":built")...).ok()
	pushed := s.digestFile("pushed")
	s.s.wantManifest(t, repo, "built", pushed)

	s.cmd("buildah", "rmi", "--all", "--force").ok()
	s.cmd("buildah", words("pull", plain, ref+"@"+pushed.String())...).ok()
	container := s.cmd("buildah", "from", "--pull-never", ref+"@"+pushed.String()).ok()
	s.cmd("buildah", "run", "--isolation", "chroot", container, "/bin/busybox", "test", "-e", "/built").ok()
	s.cmd("buildah", "rm", container).ok()
}

// skopeo copies an index with all its platforms to the registry and back, byte for byte.
func skopeo(s *session) {
	t := s.t
	containersConfig(s)
	img := theImage(t)
	const repo = "clients/skopeo"
	ref := "docker://" + s.repo(repo)
	plain := s.ifPlain(plainSwitch)

	s.cmd("skopeo", words("login", plain, "--username", "AWS", "--password-stdin", s.host())...).stdin(s.password()).ok()
	s.cmd("skopeo", words("copy", "--all", "--preserve-digests", s.ifPlain("--dest-tls-verify=false"),
		"oci:"+img.layout+":v1", ref+":v1")...).ok()
	s.s.wantManifest(t, repo, "v1", img.index)

	s.cmd("skopeo", words("copy", "--all", "--preserve-digests", s.ifPlain("--src-tls-verify=false"),
		ref+":v1", "oci:"+s.path("back")+":v1")...).ok()
	if got := layoutDigest(t, s.path("back")); got != img.index {
		t.Errorf("skopeo copy back: got %s, want %s", got, img.index)
	}
	s.cmd("skopeo", words("copy", "--all", "--preserve-digests", s.ifPlain("--src-tls-verify=false", "--dest-tls-verify=false"),
		ref+":v1", ref+":v2")...).ok()

	tags := fromJSON[struct{ Tags []string }](t, s.cmd("skopeo", words("list-tags", plain, ref)...).ok()).Tags
	if strings.Join(tags, " ") != "v1 v2" {
		t.Errorf("skopeo list-tags: got %v, want [v1 v2]", tags)
	}
	about := fromJSON[struct{ Digest digest.Digest }](t, s.cmd("skopeo", words("inspect", plain, ref+":v2")...).ok())
	if about.Digest != img.index {
		t.Errorf("skopeo inspect: got %s, want %s", about.Digest, img.index)
	}

	// skopeo deletes by the digest of the tag, so that the image is deleted with both tags.
	s.cmd("skopeo", words("delete", plain, ref+":v2")...).ok()
	s.s.wantGone(t, repo, img.index.String())
	s.s.wantGone(t, repo, "v1")
}

// digestFile reads the digest that --digestfile wrote.
func (s *session) digestFile(name string) digest.Digest {
	s.t.Helper()
	raw, err := os.ReadFile(s.path(name))
	if err != nil {
		s.t.Fatal(err)
	}
	d, err := digest.Parse(strings.TrimSpace(string(raw)))
	if err != nil {
		s.t.Fatalf("--digestfile wrote %q: %v", raw, err)
	}
	return d
}
