package gitrepo_test

import (
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/ecrin-dev/ecrin/internal/net/egress"
	"github.com/ecrin-dev/ecrin/internal/net/gitrepo"
	"github.com/ecrin-dev/ecrin/internal/test/gittest"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

func git(t testing.TB, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "GIT_AUTHOR_NAME=p", "GIT_AUTHOR_EMAIL=p@x",
		"GIT_COMMITTER_NAME=p", "GIT_COMMITTER_EMAIL=p@x")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// bare makes a bare repository NAME.git in a folder; with a commit of a file on main if begun.
func bare(t testing.TB, root string, begun bool) string {
	t.Helper()
	dir := filepath.Join(root, "c.git")
	git(t, root, "init", "-q", "--bare", "-b", "main", dir)
	git(t, dir, "config", "http.receivepack", "true")
	if begun {
		commit(t, dir, "README.md", "x")
	}
	return dir
}

// commit adds a file to the main branch of a bare repository.
func commit(t testing.TB, dir, path, content string) {
	t.Helper()
	tree := t.TempDir()
	git(t, tree, "clone", "-q", dir, ".")
	if err := os.MkdirAll(filepath.Dir(filepath.Join(tree, path)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tree, path), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	git(t, tree, "add", "-A")
	git(t, tree, "commit", "-q", "-m", "x")
	git(t, tree, "push", "-q", "origin", "HEAD:main")
}

// served is a repository behind git http-backend and TLS, which asks for a password.
type served struct {
	guard  *egress.Guard
	at     gitrepo.Location
	dir    string
	status atomic.Int32 // answered in its place, unless 0
}

const password = "canary-token-0123456789"

func serve(t testing.TB, begun bool) *served {
	t.Helper()
	root := t.TempDir()
	s := &served{dir: bare(t, root, begun)}
	program := filepath.Join(git(t, root, "--exec-path"), "git-http-backend")
	backend := &cgi.Handler{Path: program, Env: []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER=ci"},
		Stderr: io.Discard, Logger: log.New(io.Discard, "", 0)}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, got, _ := r.BasicAuth()
		switch {
		case s.status.Load() != 0:
			w.Header().Set("Location", "https://elsewhere.invalid/")
			w.WriteHeader(int(s.status.Load()))
		case got != password:
			w.WriteHeader(http.StatusUnauthorized)
		default:
			backend.ServeHTTP(w, r)
		}
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	s.guard = egress.New(egress.Options{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, Roots: roots})
	s.at = location(t, server.URL+"/c.git")
	return s
}

func location(t testing.TB, text string) gitrepo.Location {
	t.Helper()
	at, err := gitrepo.ParseLocation(text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func (s *served) remote() *gitrepo.Remote {
	return gitrepo.New(s.guard, s.at, gitrepo.Access{Username: "ci", Password: secret.New(password)})
}

// exercise adds, changes and removes files in folders, and compares with what git has.
func exercise(t *testing.T, r *gitrepo.Remote, dir string) {
	t.Helper()
	push := func(changes map[string][]byte) {
		t.Helper()
		tree, err := r.Fetch(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer tree.Close()
		id, err := r.Push(t.Context(), tree, changes, gitrepo.Commit{Author: "e<c>rin", Email: "e@x\n", Message: "m", At: time.Unix(1e9, 0)})
		if err != nil {
			t.Fatal(err)
		}
		if got := git(t, dir, "rev-parse", "main"); got != id {
			t.Fatalf("main: got %s, want %s", got, id)
		}
		if head, err := r.Head(t.Context()); err != nil || head != id {
			t.Fatalf("Head: got %s and %v, want %s", head, err, id)
		}
		again, err := r.Fetch(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer again.Close()
		for path, content := range changes {
			want := ""
			if content != nil {
				want = gitrepo.BlobID(content)
			}
			if got, err := again.File(path); err != nil || got != want {
				t.Errorf("%s: got %s and %v, want %s", path, got, err, want)
			}
		}
		git(t, dir, "fsck", "--strict")
	}
	push(map[string][]byte{"a/b/c.yaml": []byte("1"), "a/b.yaml": []byte("2"), "a-b/x": []byte("3"), "top": []byte("4")})
	push(map[string][]byte{"a/b/c.yaml": []byte("5"), "top": nil})
	push(map[string][]byte{"a/b/c.yaml": nil, "a-b/x": nil})
	if got := git(t, dir, "ls-tree", "-r", "--name-only", "main"); !strings.HasSuffix(got, "a/b.yaml") || strings.Contains(got, "a-b") {
		t.Errorf("got the files %q, want a/b.yaml of them", got)
	}
	if got := git(t, dir, "log", "-1", "--format=%an <%ae> %s", "main"); got != "ecrin <e@x> m" {
		t.Errorf("got the commit %q", got)
	}
}

func TestHTTPS(t *testing.T) {
	t.Parallel()
	for name, begun := range map[string]bool{"with a commit": true, "empty": false} {
		for _, filter := range []string{"true", "false"} {
			t.Run(name+", filter "+filter, func(t *testing.T) {
				t.Parallel()
				s := serve(t, begun)
				git(t, s.dir, "config", "uploadpack.allowFilter", filter)
				exercise(t, s.remote(), s.dir)
			})
		}
	}
}

func TestLocal(t *testing.T) {
	t.Parallel()
	for name, begun := range map[string]bool{"with a commit": true, "empty": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := bare(t, t.TempDir(), begun)
			exercise(t, gitrepo.New(nil, location(t, "file://"+dir), gitrepo.Access{}), dir)
			git(t, dir, "gc", "-q") // packed objects and references
			exercise(t, gitrepo.New(nil, location(t, "file://"+dir), gitrepo.Access{}), dir)
		})
	}
}

// Each failure of the other side is of its kind, and its text has no secret.
func TestFaults(t *testing.T) {
	t.Parallel()
	want := func(what string, err error, reason gitrepo.Reason, text string) {
		t.Helper()
		if !gitrepo.Is(err, reason) || !strings.Contains(err.Error(), text) || strings.Contains(err.Error(), password) {
			t.Errorf("%s: got %v, want %s with %q", what, err, reason, text)
		}
	}
	s := serve(t, true)
	_, err := gitrepo.New(s.guard, s.at, gitrepo.Access{Username: "ci", Password: secret.New("wrong")}).Fetch(t.Context())
	want("a wrong token", err, gitrepo.Denied, "401")
	for status, reason := range map[int32]gitrepo.Reason{403: gitrepo.Denied, 404: gitrepo.Missing, 302: gitrepo.Invalid, 200: gitrepo.Invalid,
		429: gitrepo.Away, 500: gitrepo.Away} {
		s.status.Store(status)
		_, err := s.remote().Fetch(t.Context())
		want(fmt.Sprint("the status ", status), err, reason, fmt.Sprint(status))
	}
	s.status.Store(0)
	other := s.at
	other.Branch = "other"
	_, err = gitrepo.New(s.guard, other, gitrepo.Access{Username: "ci", Password: secret.New(password)}).Fetch(t.Context())
	want("no branch", err, gitrepo.Missing, "no branch other")
	_, err = gitrepo.New(egress.New(egress.Options{}), s.at, gitrepo.Access{}).Head(t.Context())
	want("a private address", err, gitrepo.Away, "egress_allow")
	gone := s.at
	gone.Port = "1"
	_, err = gitrepo.New(s.guard, gone, gitrepo.Access{}).Head(t.Context())
	want("nothing listens", err, gitrepo.Away, "cannot be reached")
	_, err = gitrepo.New(nil, location(t, "file:///nowhere/c.git"), gitrepo.Access{}).Fetch(t.Context())
	want("no local repository", err, gitrepo.Missing, "no bare repository")

	change := map[string][]byte{"a": []byte("1")}
	local := gitrepo.New(nil, location(t, "file://"+s.dir), gitrepo.Access{})
	for name, r := range map[string]*gitrepo.Remote{"https": s.remote(), "local": local} {
		tree, err := r.Fetch(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		commit(t, s.dir, "other-"+name, "x")
		head := git(t, s.dir, "rev-parse", "main")
		_, err = r.Push(t.Context(), tree, change, gitrepo.Commit{At: time.Now()})
		want(name+": another push came first", err, gitrepo.Diverged, "another push")
		if got := git(t, s.dir, "rev-parse", "main"); got != head {
			t.Errorf("%s: main has moved to %s by a push that was refused", name, got)
		}
	}
	hook := filepath.Join(s.dir, "hooks", "update")
	if err := os.WriteFile(hook, []byte("#!/bin/sh\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	tree, err := s.remote().Fetch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.remote().Push(t.Context(), tree, change, gitrepo.Commit{At: time.Now()})
	want("a hook refuses", err, gitrepo.Rejected, "hook declined")
	_, err = s.remote().Push(t.Context(), tree, map[string][]byte{"README.md/x": []byte("1")}, gitrepo.Commit{At: time.Now()})
	want("a file is in the way of a folder", err, gitrepo.Invalid, "is a file")
}

// A last commit with large files is refused before they are unpacked, unless the server leaves them out.
func TestLargeFiles(t *testing.T) {
	t.Parallel()
	s := serve(t, true)
	git(t, s.dir, "config", "uploadpack.allowFilter", "false")
	commit(t, s.dir, "LARGE", strings.Repeat("a", 17<<20)) // some kilobytes in a pack
	if _, err := s.remote().Fetch(t.Context()); !gitrepo.Is(err, gitrepo.TooLarge) || !strings.Contains(err.Error(), "allowFilter") {
		t.Errorf("got %v, want %s", err, gitrepo.TooLarge)
	}
	git(t, s.dir, "config", "uploadpack.allowFilter", "true")
	exercise(t, s.remote(), s.dir)
}

func TestSSH(t *testing.T) {
	t.Parallel()
	key, user := gittest.NewKey(t)
	otherKey, _ := gittest.NewKey(t)
	_, host := gittest.NewKey(t)
	_, otherHost := gittest.NewKey(t)
	address := gittest.ServeSSH(t, host, user.PublicKey())
	known := knownhosts.Line([]string{address}, host.PublicKey()) + "\n"
	wrong := knownhosts.Line([]string{address}, otherHost.PublicKey())
	nowhere := location(t, "ssh://git@"+address+"/nowhere/c.git")
	guard := egress.New(egress.Options{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}})
	for name, begun := range map[string]bool{"with a commit": true, "empty": false} {
		dir := bare(t, t.TempDir(), begun)
		at := location(t, "ssh://git@"+address+dir)
		t.Run(name, func(t *testing.T) {
			r := gitrepo.New(guard, at, gitrepo.Access{Key: secret.New(key), KnownHosts: known})
			exercise(t, r, dir)
			git(t, dir, "branch", "dev", "main")
			if got, err := r.Branches(t.Context()); err != nil || !slices.Equal(got, []string{"dev", "main"}) {
				t.Errorf("the branches: got %q and %v, want dev and main", got, err)
			}
		})
		for what, c := range map[string]struct {
			access gitrepo.Access
			at     gitrepo.Location
			reason gitrepo.Reason
		}{
			"another key":       {gitrepo.Access{Key: secret.New(otherKey), KnownHosts: known}, at, gitrepo.Denied},
			"another host key":  {gitrepo.Access{Key: secret.New(key), KnownHosts: wrong}, at, gitrepo.Denied},
			"no known host":     {gitrepo.Access{Key: secret.New(key)}, at, gitrepo.Denied},
			"no key":            {gitrepo.Access{KnownHosts: known}, at, gitrepo.Denied},
			"no such directory": {gitrepo.Access{Key: secret.New(key), KnownHosts: known}, nowhere, gitrepo.Missing},
		} {
			if _, err := gitrepo.New(guard, c.at, c.access).Fetch(t.Context()); !gitrepo.Is(err, c.reason) {
				t.Errorf("%s: got %v, want %s", what, err, c.reason)
			}
		}
	}
}
