package nodes_test

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/farside"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
	"github.com/ecrin-dev/ecrin/internal/test/pgtest"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// source starts another installation that gives an image of a layer to everyone, behind a proxy with the name far.test.
func source(t *testing.T, layer int) (ocitest.Image, *farside.Proxy) {
	t.Helper()
	s := apptest.Start(t, apptest.Options{Config: func(c *config.Config) { c.Anonymous = true }})
	root := s.Root(t)
	im, name := ocitest.NewImage(1, layer), "team/app"
	root.CreateRepository(t, name).Push(t, "v1", im)
	everyone := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":["ecr:BatchGetImage",
		"ecr:GetDownloadUrlForLayer"]}]}`
	if _, err := root.ECR().SetRepositoryPolicy(t.Context(), &ecr.SetRepositoryPolicyInput{RepositoryName: &name, PolicyText: &everyone,
		Force: true}); err != nil {
		t.Fatal(err)
	}
	return im, farside.NewProxy(t, "far.test", s.URL, s.HTTP.Transport)
}

// twoDirs makes data directories for two processes, with one master key and one blob directory.
func twoDirs(t *testing.T) (dirs [2]string, blobs string) {
	t.Helper()
	blobs = t.TempDir()
	for i := range dirs {
		dirs[i] = t.TempDir()
		err := os.Symlink(blobs, filepath.Join(dirs[i], "blobs"))
		if err == nil {
			err = os.WriteFile(filepath.Join(dirs[i], "master.key"), []byte("YSBtYXN0ZXIga2V5IGZvciB0aGlzIHRlc3QgYWxvbmU="), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dirs, blobs
}

func cacheRule(t *testing.T, a apptest.Account) {
	t.Helper()
	prefix, host := "cache", "far.test"
	if _, err := a.ECR().CreatePullThroughCacheRule(t.Context(), &ecr.CreatePullThroughCacheRuleInput{EcrRepositoryPrefix: &prefix,
		UpstreamRegistryUrl: &host}); err != nil {
		t.Fatal(err)
	}
}

// cacheOf makes a rule for the prefix cache, of the repositories with a prefix in another installation.
func cacheOf(t *testing.T, s *apptest.Server, a apptest.Account, host, there, password string) {
	t.Helper()
	var out ecrintypes.SecretResponse
	s.Operator(t, "PutSecret", ecrintypes.PutSecretRequest{Name: "ecr-pullthroughcache/" + there,
		SecretString: `{"username":"AWS","accessToken":"` + password + `"}`}, &out)
	prefix := "cache"
	if _, err := a.ECR().CreatePullThroughCacheRule(t.Context(), &ecr.CreatePullThroughCacheRuleInput{EcrRepositoryPrefix: &prefix,
		UpstreamRegistryUrl: &host, UpstreamRepositoryPrefix: &there, CredentialArn: &out.Secret.Arn}); err != nil {
		t.Fatal(err)
	}
}

// begin asks for a layer of cache/team/app and reads its first bytes.
func begin(t *testing.T, docker ocitest.Client, layer string) (first []byte, rest io.ReadCloser, err error) {
	r, err := http.NewRequestWithContext(t.Context(), "GET", docker.Base+docker.Repo("cache/team/app").Path("/blobs/"+layer), nil)
	if err != nil {
		return nil, nil, err
	}
	r.SetBasicAuth("AWS", docker.Password)
	got, err := docker.HTTP.Do(r)
	if err != nil {
		return nil, nil, err
	}
	first = make([]byte, 1000)
	_, err = io.ReadFull(got.Body, first)
	return first, got.Body, err
}

// The clients of two processes with one database and one blob directory pull one image at the same time: the other registry gets one
// request for its manifest and one for its layer. All of them get the bytes while they arrive: the other registry sends the second half of
// the layer only after each client has some of the first.
func TestOneFetchForTwoProcesses(t *testing.T) {
	t.Parallel()
	const clients = 20 // of each process
	im, far := source(t, 4<<20)
	url := secret.New(pgtest.Start(t).NewDatabase(t))
	dirs, blobs := twoDirs(t)
	var nodes [2]*apptest.Server
	for i, dir := range dirs {
		nodes[i] = apptest.Start(t, apptest.Options{Dir: dir, Config: func(c *config.Config) {
			c.Database = url
			far.Configure(c)
		}})
	}
	root := nodes[0].Root(t)
	cacheRule(t, root)
	password := root.Password(t)
	layer := ocitest.SHA256(im.Layers[0])
	var begun, all sync.WaitGroup
	begun.Add(2 * clients)
	far.On("GET /v2/team/app/blobs/"+layer, -1, farside.Fault{Kind: farside.Call, After: 3 << 20, Do: begun.Wait})
	for i := range 2 * clients {
		s := nodes[i%2]
		docker := ocitest.Client{Base: s.URL, HTTP: s.HTTP, Password: password}
		all.Go(func() {
			started := sync.OnceFunc(begun.Done)
			defer started()
			if a, err := docker.Try(t.Context(), "GET", docker.Repo("cache/team/app").Path("/manifests/v1"), nil); err != nil ||
				!bytes.Equal(a.Body, im.Manifest) {
				t.Errorf("the manifest: got %+v, %v", a, err)
				return
			}
			first, rest, err := begin(t, docker, layer)
			if err != nil {
				t.Errorf("the first bytes: %v", err)
				return
			}
			defer rest.Close()
			started()
			more, err := io.ReadAll(rest)
			if err != nil || !bytes.Equal(append(first, more...), im.Layers[0]) {
				t.Errorf("the layer: got %d bytes, %v", 1000+len(more), err)
			}
		})
	}
	all.Wait()
	for _, text := range []string{"/manifests/", "/blobs/"} {
		if got := far.Requests(text); len(got) != 1 {
			t.Errorf("requests with %s to the other registry: got %d, want 1: %q", text, len(got), got)
		}
	}
	// What does not exist there is asked for once, and both processes know it.
	far.On("/v2/team/none/", -1, farside.Fault{Kind: farside.Status, Status: http.StatusNotFound})
	for i := range 4 {
		s := nodes[i%2]
		ocitest.Client{Base: s.URL, HTTP: s.HTTP, Password: password}.Repo("cache/team/none").Manifest(t, "v1").Want(t, http.StatusNotFound)
	}
	if got := far.Requests("/v2/team/none/"); len(got) != 1 {
		t.Errorf("an image that does not exist there: got %d requests, want 1: %q", len(got), got)
	}
	noUploads(t, blobs)
}

func noUploads(t *testing.T, blobs string) {
	t.Helper()
	left, err := os.ReadDir(filepath.Join(blobs, "uploads"))
	if err != nil || len(left) > 0 {
		t.Errorf("the uploads: got %d files, %v, want none", len(left), err)
	}
}

// A process that fetches is killed by SIGKILL. The clients of the other one, which have the beginning of the layer, get the rest within a
// bounded time, and nothing is left of the killed process.
func TestFetchOfAKilledProcessIsTakenOver(t *testing.T) {
	t.Parallel()
	im, far := source(t, 4<<20)
	program := built(t)
	url := pgtest.Start(t).NewDatabase(t)
	dirs, blobs := twoDirs(t)
	var nodes [2]*apptest.Server
	var kill [2]func()
	for i, dir := range dirs {
		kill[i] = process(t, program, dir, append(farside.Environment(far.Site), "ECRIN_DATABASE="+url)...)
		nodes[i] = apptest.Attach(t, dir)
	}
	root := nodes[0].Root(t)
	cacheRule(t, root)
	password := root.Password(t)
	on := func(i int) ocitest.Client {
		return ocitest.Client{Base: nodes[i].URL, HTTP: nodes[i].HTTP, Password: password}
	}
	layer := ocitest.SHA256(im.Layers[0])
	release := make(chan struct{})
	defer sync.OnceFunc(func() { close(release) })()
	far.On("GET /v2/team/app/blobs/"+layer, 1, farside.Fault{Kind: farside.Call, After: 3 << 20, Do: func() { <-release }})
	on(0).Repo("cache/team/app").Manifest(t, "v1").Want(t, http.StatusOK)
	_, first, err := begin(t, on(0), layer)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	head, second, err := begin(t, on(1), layer) // the bytes that the first process has
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if got := len(far.Requests("/blobs/")); got != 1 {
		t.Fatalf("before the first process is killed: got %d requests for the layer, want 1", got)
	}
	kill[0]()
	killed := time.Now()
	rest, err := io.ReadAll(second)
	if err != nil || !bytes.Equal(append(head, rest...), im.Layers[0]) {
		t.Errorf("the layer from the other process: got %d bytes, %v", 1000+len(rest), err)
	}
	took := time.Since(killed)
	if t.Logf("the other process had the layer after %s", took); took > time.Minute {
		t.Errorf("the other process took %s, want at most a minute", took)
	}
	if got := len(far.Requests("/blobs/")); got != 2 {
		t.Errorf("got %d requests for the layer, want 2", got)
	}
	noUploads(t, blobs)
}

// built builds the program.
func built(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "ecrin")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "github.com/ecrin-dev/ecrin/cmd/ecrin")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the program: %v\n%s", err, out)
	}
	return program
}

// process runs the program until kill is called, and waits until it is ready.
func process(t *testing.T, program, dir string, env ...string) (kill func()) {
	t.Helper()
	log := &apptest.Buffer{}
	cmd := exec.Command(program, "serve", "--data", dir, "--listen", "127.0.0.1:0")
	cmd.Env, cmd.Stderr = append(os.Environ(), env...), log
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	kill = sync.OnceFunc(func() {
		_ = cmd.Process.Kill() // SIGKILL; an error means that it has ended
		_ = cmd.Wait()
	})
	t.Cleanup(kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.Contains(line, "ecrin is ready") {
		t.Fatalf("the program printed %q, %v\n%s", line, err, log)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }() // it prints until it ends
	return kill
}
