package clients_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestBackgroundPage runs the commands of docs/background.md as they are written there, in their order, with real clients: a cache of
// another registry, replication, a lifecycle policy, and the commands that show what they do.
func TestBackgroundPage(t *testing.T) {
	t.Parallel()
	const page = "docs/background.md"
	text, err := os.ReadFile(filepath.Join(treeRoot, page))
	if err != nil {
		t.Fatal(err)
	}
	steps, reasons := readmeSteps(t, string(text))
	if len(reasons) > 0 {
		t.Errorf("blocks of the page are not run: %q", reasons)
	}
	u := newReader(t, page)
	loadImage(u.session, "background-image:latest")
	here, other := freePort(t), freePort(t)
	written := strings.NewReplacer("localhost:5100", "localhost:"+here, "127.0.0.1:5443", "127.0.0.1:"+other, "localhost:5443",
		"localhost:"+other, "docker tag alpine", "docker tag background-image")
	for _, s := range steps {
		if t.Failed() {
			return // what follows needs what has failed
		}
		if !s.block {
			continue // a command that is mentioned
		}
		u.ran++
		s.code = written.Replace(s.code)
		switch {
		case strings.HasPrefix(s.code, "ecrin serve --data other"):
			u.serveBeside(s, "other", other)
		case strings.HasPrefix(s.code, "ecrin serve"):
			u.env = append(u.env, "ECRIN_LISTEN=127.0.0.1:"+here)
			u.serveBeside(s, "ecrin-data", here)
		default:
			u.shell(s, s.code, true)
		}
	}
	if u.ran < 35 {
		t.Errorf("ran %d commands, want the 35 and more of the page", u.ran)
	}
	// docker has the layers from the push to the other registry; another client gets them through the cache.
	password := strings.TrimSpace(u.shell(step{code: "the password"}, "aws ecr get-login-password", false))
	u.cmd("skopeo", "copy", "--quiet", "--src-tls-verify=false", "--src-creds", "AWS:"+password,
		"docker://localhost:"+here+"/cache/base/app:1.0", "oci:pulled:1.0").ok()
	id := strings.TrimPrefix(strings.TrimSpace(u.cmd("docker", "inspect", "--format", "{{.Id}}", "background-image").ok()), "sha256:")
	if _, err := os.Stat(u.path("pulled/blobs/sha256/" + id)); err != nil {
		t.Errorf("the image that came through the cache has not the configuration of the one that was pushed: %v", err)
	}
}

// serveBeside starts a server as a command says, and waits until it answers. It runs until the test ends.
func (u *reader) serveBeside(s step, data, port string) {
	u.t.Helper()
	ready := func() error {
		if _, err := os.Stat(filepath.Join(u.path(data), "serve.json")); err != nil {
			return err
		}
		c, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err != nil {
			return err
		}
		_ = c.Close()
		resp, err := http.Get("http://127.0.0.1:" + port + "/readyz") // a server for TLS answers 400
		if err != nil {
			return err
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusBadRequest {
			return errors.New(resp.Status)
		}
		return nil
	}
	stop, err := daemon(u.env, ready, "sh", "-c", `cd "$1" && exec `+s.code, "sh", u.home)
	if err != nil {
		u.t.Errorf("%s:%d: `%s`: %v", u.page, s.line, s.code, err)
		return
	}
	u.t.Cleanup(stop)
}

// freePort returns a port that nothing listens on now.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
}
