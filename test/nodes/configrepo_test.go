package nodes_test

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/gittest"
	"github.com/ecrin-dev/ecrin/internal/test/pgtest"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// gitIn runs git in a folder and returns what it prints.
func gitIn(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "GIT_AUTHOR_NAME=person",
		"GIT_AUTHOR_EMAIL=person@example.com", "GIT_COMMITTER_NAME=person", "GIT_COMMITTER_EMAIL=person@example.com")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// gate holds one request of those that match, while others pass.
type gate struct {
	mu      sync.Mutex
	match   func(r *http.Request) bool // nil: nothing is held
	after   bool                       // it is held when it has been answered by git, before the answer is sent
	held    chan struct{}
	release chan struct{}
	let     func() // lets the request go on
}

// arm holds the next request that matches.
func (g *gate) arm(after bool, match func(*http.Request) bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.match, g.after, g.held, g.release = match, after, make(chan struct{}), make(chan struct{})
	release := g.release
	g.let = sync.OnceFunc(func() { close(release) })
}

func (g *gate) around(r *http.Request, next func()) {
	g.mu.Lock()
	hold := g.match != nil && g.match(r)
	if hold {
		g.match = nil
	}
	after, held, release := g.after, g.held, g.release
	g.mu.Unlock()
	switch {
	case hold && after:
		next()
		close(held)
		<-release
	case hold:
		close(held)
		<-release
		next()
	default:
		next()
	}
}

// kept are two servers of one database and a repository of git.
type kept struct {
	t    *testing.T
	gate gate
	dir  string // of the bare repository
	a    *apptest.Server

	startB func() *apptest.Server
}

// newKept starts the first server, whose account keeps its integrations in a repository. The second one, which startB starts, has a clock
// that is ahead by two minutes: for it, the job that the first works on has been left.
func newKept(t *testing.T) *kept {
	t.Helper()
	root := t.TempDir()
	k := &kept{t: t, dir: filepath.Join(root, "config.git")}
	gitIn(t, root, "init", "-q", "--bare", "-b", "main", k.dir)
	gitIn(t, k.dir, "config", "http.receivepack", "true")
	url, ca := gittest.ServeHTTPS(t, root, "ci", "git-password", k.gate.around)
	pem := filepath.Join(root, "ca.pem")
	if err := os.WriteFile(pem, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	database := secret.New(pgtest.Start(t).NewDatabase(t))
	start := func(dir string, now func() time.Time) *apptest.Server {
		return apptest.Start(t, apptest.Options{Dir: dir, Now: now, Config: func(c *config.Config) {
			c.Database, c.LogLevel, c.EgressAllow, c.EgressCA = database, "error", []string{"127.0.0.1/32"}, pem
		}})
	}
	k.a = start(t.TempDir(), time.Now)
	k.startB = func() *apptest.Server {
		dir := t.TempDir()
		key, err := os.ReadFile(filepath.Join(k.a.Dir, "master.key"))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "master.key"), key, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		return start(dir, func() time.Time { return time.Now().Add(2 * time.Minute) })
	}
	skip := true
	k.a.Operator(t, "PutConfigRepository", ecrintypes.PutConfigRepositoryRequest{Url: url + "/config.git", Username: "ci",
		Password: "git-password", Namespace: "delivery", SecretStore: "vault", SecretStoreKind: "ClusterSecretStore", SkipTest: &skip},
		&ecrintypes.ConfigRepositoryResponse{})
	k.add(k.a, "first")
	k.synced(k.a, "first")
	return k
}

func (k *kept) add(s *apptest.Server, label string) {
	k.t.Helper()
	s.Operator(k.t, "CreateIntegration", ecrintypes.CreateIntegrationRequest{IntegrationName: label, Kind: "OCI",
		RegistryHost: label + ".example.com", Username: "u", Password: "p"}, &ecrintypes.IntegrationResponse{})
}

func (k *kept) remove(s *apptest.Server, label string) {
	k.t.Helper()
	s.Operator(k.t, "DeleteIntegration", ecrintypes.IntegrationRequest{IntegrationName: label}, &ecrintypes.IntegrationResponse{})
}

func (k *kept) state(s *apptest.Server) ecrintypes.ConfigRepository {
	k.t.Helper()
	var out ecrintypes.ConfigRepositoryResponse
	s.Operator(k.t, "DescribeConfigRepository", ecrintypes.ConfigRepositoryRequest{}, &out)
	return out.ConfigRepository
}

// synced waits until all is written, without drift at any time, and compares the files with those of integrations.
func (k *kept) synced(s *apptest.Server, labels ...string) {
	k.t.Helper()
	end := time.Now().Add(time.Minute)
	var got ecrintypes.ConfigRepository
	for got = k.state(s); got.SyncStatus != "SYNCED" && time.Now().Before(end); got = k.state(s) {
		if len(got.Drift) > 0 {
			k.t.Fatalf("a file of a server is called that of somebody else: %+v", got.Drift)
		}
		time.Sleep(20 * time.Millisecond)
	}
	if got.SyncStatus != "SYNCED" || len(got.Drift) > 0 {
		k.t.Fatalf("after a minute: got %+v", got)
	}
	var want []string
	for _, label := range labels {
		want = append(want, "resources/all-runtimes-all-clusters/"+label+".registry-")
	}
	files := strings.Fields(gitIn(k.t, k.dir, "ls-tree", "-r", "--name-only", "main"))
	slices.Sort(want)
	if len(files) != 2*len(want) {
		k.t.Fatalf("the files are %v, want two of each of %v", files, labels)
	}
	for i, prefix := range want {
		if !strings.HasPrefix(files[2*i], prefix) || !strings.HasPrefix(files[2*i+1], prefix) {
			k.t.Fatalf("the files are %v, want two of each of %v", files, labels)
		}
	}
	if merges := gitIn(k.t, k.dir, "rev-list", "--merges", "main"); merges != "" {
		k.t.Errorf("the branch has the merges %s", merges)
	}
	gitIn(k.t, k.dir, "fsck", "--strict")
}

// arm holds the next request that matches, at most until the end of the test.
func (k *kept) arm(after bool, match func(*http.Request) bool) {
	k.gate.arm(after, match)
	k.t.Cleanup(k.gate.let)
}

func (k *kept) waitHeld() {
	k.t.Helper()
	select {
	case <-k.gate.held:
	case <-time.After(time.Minute):
		k.t.Fatal("no request was held within a minute")
	}
}

// ended waits until the first server works on no job of the kind: its attempt has ended.
func (k *kept) ended() {
	k.t.Helper()
	end := time.Now().Add(time.Minute)
	for time.Now().Before(end) {
		resp, err := k.a.HTTP.Get(k.a.URL + "/metrics")
		if err != nil {
			k.t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			k.t.Fatal(err)
		}
		if strings.Contains(string(text), `ecrin_jobs_running{kind="config_repository"} 0`) {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	k.t.Fatal("the attempt of the first server has not ended within a minute")
}

func isPush(r *http.Request) bool {
	return r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/git-receive-pack")
}

func isFetch(r *http.Request) bool {
	return r.Method == http.MethodGet && strings.Contains(r.URL.RawQuery, "git-upload-pack")
}

// Two servers write into one configuration repository at the same time: one is held at a request, the other takes its job, ends it, and
// the first goes on. All integrations are there once, and neither server takes a file of the other for that of somebody else.
func TestTwoServersSyncOneRepository(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what  string
		after bool
		match func(*http.Request) bool
	}{
		{"while it reads", false, isFetch},
		{"before its push arrives", false, isPush},
		{"after its push was taken", true, isPush},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			k := newKept(t)
			k.arm(c.after, c.match)
			k.add(k.a, "second")
			k.waitHeld()
			b := k.startB()
			k.add(b, "third")
			k.synced(b, "first", "second", "third")
			k.gate.let()
			k.ended()
			k.synced(b, "first", "second", "third")
			k.remove(b, "second")
			k.add(b, "fourth")
			k.synced(b, "first", "third", "fourth")
		})
	}
}

// An integration goes while the push that adds it is held: the push arrives later, and what it has added is removed by the next look.
func TestAPushArrivesAfterItsIntegrationHasGone(t *testing.T) {
	t.Parallel()
	k := newKept(t)
	k.arm(false, isPush)
	k.add(k.a, "second")
	k.waitHeld()
	b := k.startB()
	k.remove(b, "second")
	k.synced(b, "first")
	k.gate.let()
	k.ended()
	b.Operator(t, "SyncConfigRepository", ecrintypes.ConfigRepositoryRequest{}, &ecrintypes.ConfigRepositoryResponse{})
	k.synced(b, "first")
}

// An integration comes back while the push that removes it is held: its files stay.
func TestAnIntegrationComesBackBeforeItsRemoval(t *testing.T) {
	t.Parallel()
	k := newKept(t)
	k.arm(false, isPush)
	k.add(k.a, "second")
	k.waitHeld()
	k.gate.let()
	k.synced(k.a, "first", "second")
	k.arm(false, isPush)
	k.remove(k.a, "second")
	k.waitHeld()
	b := k.startB()
	k.add(b, "second")
	k.synced(b, "first", "second")
	k.gate.let()
	k.ended()
	b.Operator(t, "SyncConfigRepository", ecrintypes.ConfigRepositoryRequest{}, &ecrintypes.ConfigRepositoryResponse{})
	k.synced(b, "first", "second")
}
