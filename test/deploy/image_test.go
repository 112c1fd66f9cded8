package deploy_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/tools/pack"
)

// TestImageRunsUnderContainerd: the image starts under containerd as its own user with a read-only root, is ready by its
// own health check, and
// stops by a signal.
func TestImageRunsUnderContainerd(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Fatal("containerd needs root: run make clients as root")
	}
	dir := t.TempDir()
	layout := filepath.Join(dir, "image")
	image, err := pack.Build(t.Context(), layout, pack.Ecrin("ecrin.test/ecrin:1"), []pack.Binary{{Arch: runtime.GOARCH, Path: ecrin(t)}})
	if err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(dir, "image.tar")
	run(t, "tar", "-C", layout, "-cf", archive, ".")
	socket := startContainerd(t)
	ctr := func(args ...string) []string {
		return append([]string{client(t, "ctr"), "--address", socket, "--namespace", "deploy"}, args...)
	}
	run(t, ctr("image", "import", "--base-name", "ecrin.test/ecrin", "--snapshotter", "native", archive)...)
	ref := strings.TrimSpace(strings.Split(run(t, ctr("image", "list", "-q")...), "\n")[0])
	if got := run(t, ctr("image", "list")...); !strings.Contains(got, image.Root.Digest.String()) {
		t.Errorf("the imported image: got %q, want the digest %s", got, image.Root.Digest)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close() // its port is free for the server
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(data, pack.User, pack.User); err != nil {
		t.Fatal(err)
	}
	server := exec.Command(client(t, "ctr"), ctr("run", "--rm", "--read-only", "--net-host", "--snapshotter", "native",
		"--mount", "type=bind,src="+data+",dst=/data,options=rbind:rw", ref, "ecrin", "/ecrin", "serve", "--data", "/data",
		"--listen", address)[1:]...)
	var said strings.Builder
	server.Stdout, server.Stderr = &said, &said
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- server.Wait() }()
	healthy := func() error {
		text, err := try(ctr("task", "exec", "--exec-id", fmt.Sprint("check", time.Now().UnixNano()), "ecrin", "/ecrin", "healthcheck",
			"http://"+address+"/readyz")...)
		if err != nil {
			return fmt.Errorf("%w: %s", err, text)
		}
		return nil
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		if err = healthy(); err == nil || time.Now().After(end) {
			break
		}
	}
	if err != nil {
		t.Errorf("the health check: %v", err)
	}
	if info, err := os.Stat(filepath.Join(data, "master.key")); err != nil {
		t.Errorf("the data directory: %v", err)
	} else if s := info.Sys().(*syscall.Stat_t); s.Uid != pack.User {
		t.Errorf("the master key belongs to the user %d, want %d", s.Uid, pack.User)
	}
	run(t, ctr("task", "kill", "--signal", "SIGTERM", "ecrin")...)
	select {
	case err := <-stopped:
		if err != nil {
			t.Errorf("the container after SIGTERM: got %v, want a clean end", err)
		}
	case <-time.After(time.Minute):
		t.Error("the container runs a minute after SIGTERM")
		_ = server.Process.Kill() // ends the test
	}
	if t.Failed() {
		t.Log(said.String())
	}
}

// startContainerd starts a containerd without the Kubernetes part, and returns its socket.
func startContainerd(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ctd") // short: a socket has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // temporary
	socket := filepath.Join(dir, "s.sock")
	config := "version = 2\nroot = \"" + dir + "/root\"\nstate = \"" + dir + "/state\"\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n" +
		"[grpc]\n  address = \"" + socket + "\"\n"
	path := filepath.Join(dir, "config.toml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	daemon := exec.Command(client(t, "containerd"), "--config", path)
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = daemon.Process.Signal(syscall.SIGTERM) // it runs
		_ = daemon.Wait()
	})
	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		text, err := try(client(t, "ctr"), "--address", socket, "version")
		if err == nil {
			return socket
		}
		if time.Now().After(end) {
			t.Fatalf("containerd is not ready: %v: %s", err, text)
		}
	}
}
