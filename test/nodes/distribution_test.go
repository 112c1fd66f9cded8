package nodes_test

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/farside"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
	"github.com/ecrin-dev/ecrin/internal/test/pgtest"
	"github.com/ecrin-dev/ecrin/internal/test/seedtest"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// distribution starts the registry of the distribution project, which tools/clients/install builds, and returns a client of it.
func distribution(t *testing.T) ocitest.Client {
	t.Helper()
	dir := os.Getenv("ECRIN_CLIENTS")
	if cache, err := os.UserCacheDir(); dir == "" && err == nil {
		dir = filepath.Join(cache, "ecrin", "clients")
	}
	found, err := filepath.Glob(filepath.Join(dir, "distribution-v3*[0-9]"))
	if err != nil || len(found) == 0 {
		t.Skip("distribution is not built: tools/clients/install distribution")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address, file := l.Addr().String(), filepath.Join(t.TempDir(), "distribution.yml")
	text := fmt.Sprintf("version: 0.1\nstorage: {filesystem: {rootdirectory: %q}}\nhttp: {addr: %s}\n", t.TempDir(), address)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(found[len(found)-1], "serve", file)
	cmd.Env = append(os.Environ(), "OTEL_TRACES_EXPORTER=none")
	_ = l.Close() // its port is free for the registry
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // an error means that it has ended
		_ = cmd.Wait()
	})
	c := ocitest.Client{Base: "http://" + address, HTTP: ocitest.NewHTTP(t)}
	deadline := time.Now().Add(time.Minute)
	for {
		if a, err := c.Try(t.Context(), http.MethodGet, "/v2/", nil); err == nil && a.Status == http.StatusOK {
			return c
		} else if time.Now().After(deadline) {
			t.Fatalf("distribution does not answer: %+v, %v", a, err)
		}
	}
}

// fill pushes an index of two images, each of two layers, to a repository.
func fill(t *testing.T, repo ocitest.Repo) (images []ocitest.Image, index []byte) {
	t.Helper()
	var all []ocitest.Descriptor
	for i := range 2 {
		im := ocitest.NewImage(uint64(i+1), 400_000, 3000)
		repo.Push(t, fmt.Sprint("part", i), im)
		d := im.Descriptor()
		d.Platform = &ocitest.Platform{OS: "linux", Architecture: []string{"amd64", "arm64"}[i]}
		images, all = append(images, im), append(all, d)
	}
	index = ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.IndexType, Manifests: all}.JSON()
	repo.PutManifest(t, "multi", ocitest.IndexType, index).Want(t, http.StatusCreated)
	return images, index
}

// pullAll pulls everything of a repository. An answer with the status 200 has the right bytes; the result is the number of others.
func pullAll(t *testing.T, repo ocitest.Repo, images []ocitest.Image, index []byte) (failed int) {
	t.Helper()
	get := func(path string, want []byte) {
		a, err := repo.Try(t.Context(), http.MethodGet, repo.Path(path), nil)
		switch {
		case err != nil: // the connection was cut
			failed++
		case a.Status != http.StatusOK:
			failed++
			if a.Status < 400 || a.Status == http.StatusInternalServerError {
				t.Errorf("%s: got %d %s, want 200 or an error that has a reason", path, a.Status, a.Body)
			}
		case !bytes.Equal(a.Body, want):
			t.Errorf("%s: got the status 200 and %d other bytes, want %d", path, len(a.Body), len(want))
		}
	}
	get("/manifests/multi", index)
	for _, im := range images {
		get("/manifests/"+im.Digest, im.Manifest)
		for _, b := range append([][]byte{im.Config}, im.Layers...) {
			get("/blobs/"+ocitest.SHA256(b), b)
		}
	}
	return failed
}

// A cache in front of distribution gives the whole image, or an error, whatever happens between them; then nothing wrong is stored, and
// the image can be pulled. On both databases, through a second cache.
func TestCacheOfDistribution(t *testing.T) {
	t.Parallel()
	upstream := distribution(t)
	const tag = "/manifests/multi"
	blob := "/blobs/" + ocitest.SHA256(ocitest.NewImage(1, 400_000, 3000).Layers[0])
	for database, url := range map[string]secret.String{"SQLite": secret.New(""), "PostgreSQL": secret.New(pgtest.Start(t).NewDatabase(t))} {
		t.Run(database, func(t *testing.T) {
			t.Parallel()
			far := farside.NewProxy(t, "far.test", upstream.Base, upstream.HTTP.Transport)
			var ahead time.Duration
			var mu sync.Mutex
			now := func() time.Time {
				mu.Lock()
				defer mu.Unlock()
				return time.Now().Add(ahead)
			}
			first := apptest.Start(t, apptest.Options{Dir: t.TempDir(), Now: now, Config: func(c *config.Config) {
				c.Database = url
				far.Configure(c)
			}})
			root := first.Root(t)
			cacheRule(t, root)
			docker := root.Docker(t)
			forget := func() { // failures are remembered for some seconds
				mu.Lock()
				defer mu.Unlock()
				ahead += time.Minute
			}
			for i, one := range []struct {
				text  string
				times int
				fault farside.Fault
				fails bool // not all can be pulled while it lasts
			}{
				{tag, -1, farside.Fault{Kind: farside.Cut, After: 10}, true},
				{tag, -1, farside.Fault{Kind: farside.Wrong, After: 20}, true},
				{tag, -1, farside.Fault{Kind: farside.HTML}, true},
				{tag, -1, farside.Fault{Kind: farside.Realm, To: "https://foreign.test/token"}, true},
				{tag, -1, farside.Fault{Kind: farside.Status, Status: 429, To: "20"}, true},
				{blob, 2, farside.Fault{Kind: farside.Cut, After: 100_000}, false},
				{blob, -1, farside.Fault{Kind: farside.Wrong, After: 399_999}, true},
				{blob, -1, farside.Fault{Kind: farside.Short, After: 1000}, true},
				{blob, -1, farside.Fault{Kind: farside.Long, After: 1000}, true},
				{blob, -1, farside.Fault{Kind: farside.HTML}, true},
				{blob, -1, farside.Fault{Kind: farside.Redirect, To: "https://169.254.169.254/latest"}, true},
				{blob, 2, farside.Fault{Kind: farside.Status, Status: 500}, false},
				{blob, 1, farside.Fault{Kind: farside.Slow, After: 399_990, Every: time.Millisecond}, false},
			} {
				name := fmt.Sprint("team/f", i)
				images, index := fill(t, upstream.Repo(name))
				repo := docker.Repo("cache/" + name)
				far.On("GET /v2/"+name+one.text, one.times, one.fault)
				if got := pullAll(t, repo, images, index); got > 0 != one.fails {
					t.Errorf("%s, %+v: got %d failures, want some: %v", one.text, one.fault, got, one.fails)
				}
				if far.Faults(one.fault.Kind) == 0 {
					t.Errorf("%s, %+v: it did not happen", one.text, one.fault)
				}
				far.Clear()
				forget()
				if got := pullAll(t, repo, images, index); got != 0 {
					t.Errorf("after %s, %+v: got %d failures, want none", one.text, one.fault, got)
				}
			}
			// The tag moves between the manifest and the layers: the image is that of the manifest.
			images, index := fill(t, upstream.Repo("team/moves"))
			far.On("GET /v2/team/moves"+blob, 1, farside.Fault{Kind: farside.Call, Do: func() {
				upstream.Repo("team/moves").Push(t, "multi", ocitest.NewImage(9, 100))
			}})
			if got := pullAll(t, docker.Repo("cache/team/moves"), images, index); got != 0 || far.Faults(farside.Call) != 1 {
				t.Errorf("a tag that moves: got %d failures, want none", got)
			}
			middle := farside.NewProxy(t, "middle.test", first.URL, first.HTTP.Transport)
			second := apptest.Start(t, apptest.Options{Config: middle.Configure})
			account := second.Root(t)
			cacheOf(t, second, account, "middle.test", "cache", docker.Password)
			if got := pullAll(t, account.Docker(t).Repo("cache/team/moves"), images, index); got != 0 {
				t.Errorf("through a second cache: got %d failures, want none", got)
			}
		})
	}
}

// A cache that fetches is killed by SIGKILL, again and again. Then the pull completes, and of few kills an upload is left over: of those
// that came before the place of the bytes was recorded, which takes some milliseconds. It expires as abandoned uploads do.
func TestKilledCacheOfDistribution(t *testing.T) {
	t.Parallel()
	rounds := 3
	if os.Getenv("ECRIN_SLOW") == "1" {
		rounds = 20
	}
	upstream := distribution(t)
	im := ocitest.NewImage(1, 4<<20)
	upstream.Repo("team/app").Push(t, "v1", im)
	far := farside.NewProxy(t, "far.test", upstream.Base, upstream.HTTP.Transport)
	program, dir, layer := built(t), t.TempDir(), ocitest.SHA256(im.Layers[0])
	random := seedtest.New(seedtest.Seed(t), 1)
	for round := range rounds + 1 {
		kill := process(t, program, dir, farside.Environment(far.Site)...)
		s := apptest.Attach(t, dir)
		root := s.Root(t)
		if round == 0 {
			cacheRule(t, root)
		}
		repo := root.Docker(t).Repo("cache/team/app")
		repo.Manifest(t, "v1").Want(t, http.StatusOK)
		if round == rounds {
			if got := repo.Blob(t, layer).Want(t, http.StatusOK); !bytes.Equal(got.Body, im.Layers[0]) {
				t.Errorf("the layer: got %d other bytes, want %d", len(got.Body), len(im.Layers[0]))
			}
			break
		}
		far.On("/blobs/"+layer, 1, farside.Fault{Kind: farside.Call, After: random.Int64N(4 << 20), Do: kill})
		if a, err := repo.Try(t.Context(), http.MethodGet, repo.Path("/blobs/"+layer), nil); err == nil && a.Status == http.StatusOK {
			t.Errorf("round %d: got %d bytes from a server that was killed before it had all", round, len(a.Body))
		}
		kill()
	}
	left, err := os.ReadDir(filepath.Join(dir, "blobs", "uploads"))
	if err != nil || len(left) > rounds/2 {
		t.Errorf("the uploads of %d killed fetches: got %d files, %v, want half of them at most", rounds, len(left), err)
	}
}
