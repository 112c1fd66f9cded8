package clients_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
)

// dockerEngine starts the dockerd of the run and returns the value of DOCKER_HOST. It is used with both
// servers, and trusts the CA of the TLS server from its start.
var dockerEngine = sync.OnceValues(func() (host string, err error) {
	named, err := namedServer()
	if err != nil {
		return "", err
	}
	socket := filepath.Join(workDir, "docker.sock")
	ping := &http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}}}
	ready := func() error {
		resp, err := ping.Get("http://docker/_ping")
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("/_ping returns %s", resp.Status)
		}
		return nil
	}
	env := append(os.Environ(), "SSL_CERT_FILE="+named.bundle)
	_, err = daemon(env, ready, "dockerd",
		"--host", "unix://"+socket,
		"--data-root", filepath.Join(workDir, "docker"),
		"--exec-root", filepath.Join(workDir, "dx"),
		"--pidfile", filepath.Join(workDir, "dockerd.pid"),
		// vfs works everywhere, also if this folder is on an overlay; the images are small.
		"--storage-driver", "vfs",
		"--cgroup-parent", "/"+cgroupParent(),
		"--iptables=false", "--ip6tables=false", "--bridge=none",
	)
	return "unix://" + socket, err
})

// withEngine returns the session with DOCKER_HOST set.
func withEngine(s *session) *session {
	s.t.Helper()
	host, err := dockerEngine()
	if err != nil {
		s.t.Fatal(err)
	}
	s.env = append(s.env, "DOCKER_HOST="+host)
	return s
}

// loadImage loads a new image, which no other test has, into the docker engine, and tags it as ref.
func loadImage(s *session, ref string) *testImage {
	s.t.Helper()
	img := ownImage(s.t, engineSeed())
	s.cmd("docker", "load", "--input", img.archive).ok()
	s.cmd("docker", "tag", img.loaded, ref).ok()
	s.cmd("docker", "rmi", img.loaded).ok()
	return img
}

// engineSeed returns a new seed at each call, since each image of the docker engine has its own.
var engineSeed = func() func() byte {
	var mu sync.Mutex
	seed := byte(100)
	return func() byte {
		mu.Lock()
		defer mu.Unlock()
		seed++
		return seed
	}
}()

var digestLine = regexp.MustCompile(`digest: (sha256:[0-9a-f]{64}) size: [0-9]+`)

// dockerPush pushes and returns the digest that docker reports in its last line.
func dockerPush(s *session, ref string) digest.Digest {
	s.t.Helper()
	out := s.cmd("docker", "push", ref).ok()
	m := digestLine.FindStringSubmatch(out)
	if m == nil {
		s.t.Fatalf("docker push %s prints no digest: %s", ref, out)
	}
	return digest.Digest(m[1])
}

func dockerLogin(s *session) {
	s.t.Helper()
	out := s.cmd("docker", "login", "--username", "AWS", "--password-stdin", s.host()).stdin(s.password()).ok()
	if !strings.Contains(out, "Login Succeeded") {
		s.t.Fatalf("docker login printed %q, want Login Succeeded", out)
	}
}

func docker(s *session) {
	t := s.t
	withEngine(s)
	const repo = "clients/docker"
	ref := s.repo(repo)
	dockerLogin(s)

	img := loadImage(s, ref+":v1")
	pushed := dockerPush(s, ref+":v1")
	s.s.wantManifest(t, repo, "v1", pushed)

	// The image is removed from the engine, so that the pull transfers every layer.
	s.cmd("docker", "rmi", ref+":v1").ok()
	s.cmd("docker", "pull", ref+"@"+pushed.String()).ok()
	s.cmd("docker", "pull", ref+":v1").ok()
	if got := s.cmd("docker", "run", "--rm", "--network", "none", ref+":v1").ok(); got != img.says {
		t.Errorf("docker run %s:v1: got %q, want %q", ref, got, img.says)
	}

	write(t, s.path("context/Dockerfile"), "FROM "+ref+":v1\nRUN [\"/bin/busybox\", \"touch\", \"/built\"]\n")
	s.cmd("docker", "build", "--network", "none", "--tag", ref+":built", "context").ok()
	s.s.wantManifest(t, repo, "built", dockerPush(s, ref+":built"))
	s.cmd("docker", "rmi", ref+":built").ok()
	s.cmd("docker", "run", "--rm", "--network", "none", ref+":built", "/bin/busybox", "test", "-e", "/built").ok()

	// An index of two platforms, pushed by another client: docker pulls the image for this machine's platform.
	multi := s.pushImage(repo, "multi")
	s.cmd("docker", "pull", ref+":multi").ok()
	if got := s.cmd("docker", "image", "inspect", "--format", "{{.RepoDigests}}", ref+":multi").ok(); !strings.Contains(got,
		multi.index.String()) {
		t.Errorf("RepoDigests of %s:multi: got %s, want %s", ref, got, multi.index)
	}
	s.cmd("docker", "logout", s.host()).ok()
	if got := s.cmd("docker", "push", ref+":v1").fails(); !strings.Contains(got, "no basic auth credentials") {
		t.Errorf("docker push after logout: got %q, want no basic auth credentials", got)
	}
}

// TestDockerEngine checks that an image can be loaded and run in the engine, without a registry.
func TestDockerEngine(t *testing.T) {
	t.Parallel()
	s, err := plainServer()
	if err != nil {
		t.Fatal(err)
	}
	sh := withEngine(newSession(t, s))
	img := loadImage(sh, "engine-alone:v1")
	if got := sh.cmd("docker", "run", "--rm", "--network", "none", "engine-alone:v1").ok(); got != img.says {
		t.Errorf("docker run: got %q, want %q", got, img.says)
	}
}
