package clients_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// containerdSocket starts the containerd of the run and returns the address of its socket.
var containerdSocket = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(workDir, "ctd")
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return "", err
	}
	socket := filepath.Join(dir, "s.sock")
	config := `version = 2
root = "` + dir + `/root"
state = "` + dir + `/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "` + socket + `"
`
	path := filepath.Join(dir, "config.toml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		return "", err
	}
	ready := func() error { return exec.Command("ctr", "--address", socket, "version").Run() }
	_, err := daemon(os.Environ(), ready, "containerd", "--config", path)
	return socket, err
})

func containerd(s *session) {
	t := s.t
	socket, err := containerdSocket()
	if err != nil {
		t.Fatal(err)
	}
	const repo = "clients/containerd"
	ref := s.repo(repo)
	img := s.pushImage(repo, "v1")

	ctr := func(args ...any) *call {
		return s.cmd("ctr", words("--address", socket, "--namespace", cgroupParent(), words(args...))...)
	}
	access := words(s.ifPlain("--plain-http"), "--user", "AWS:"+s.password())

	ctr("images", "pull", "--all-platforms", "--snapshotter", "native", access, ref+":v1").ok()
	if got := ctr("images", "list", "name=="+ref+":v1").ok(); !strings.Contains(got, img.index.String()) {
		t.Errorf("ctr images list: got %q, want %s", got, img.index)
	}
	id := "run-" + strings.NewReplacer(".", "-", ":", "-").Replace(s.host())
	got := ctr("run", "--rm", "--snapshotter", "native", ref+":v1", id).ok()
	if got != img.says {
		t.Errorf("ctr run: got %q, want %q", got, img.says)
	}

	ctr("images", "tag", ref+":v1", ref+":v2").ok()
	ctr("images", "push", access, ref+":v2").ok()
	s.s.wantManifest(t, repo, "v2", img.index)
}
