package outside_test

import (
	"bufio"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
	"github.com/ecrin-dev/ecrin/internal/test/pgtest"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// programDir is the directory of the program that tests have built; "" for none.
var programDir string

// built builds the program, once for all tests.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "ecrin-outside")
	if err != nil {
		return "", err
	}
	programDir = dir
	program := filepath.Join(dir, "ecrin")
	build := exec.Command("go", "build", "-o", program, "github.com/ecrin-dev/ecrin/cmd/ecrin")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return string(out), err
	}
	return program, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if programDir != "" {
		_ = os.RemoveAll(programDir) // which the tests have made
	}
	os.Exit(code)
}

// process runs the program until kill is called, and waits until it is ready.
func process(t *testing.T, dir string, env ...string) (s *apptest.Server, kill func()) {
	t.Helper()
	program, err := built()
	if err != nil {
		t.Fatalf("building the program: %v, %s", err, program)
	}
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
	return apptest.Attach(t, dir), kill
}

// TestSourceIsKilledInMidBlob: the program that replicates and copies is killed while half of a layer is on its way, and runs again. The
// transfers go on by themselves and end; what had arrived is not sent again, and the destination has each image once.
func TestSourceIsKilledInMidBlob(t *testing.T) {
	t.Parallel()
	for database, url := range map[string]func(t *testing.T) string{
		"SQLite":     func(*testing.T) string { return "" },
		"PostgreSQL": func(t *testing.T) string { return pgtest.Start(t).NewDatabase(t) },
	} {
		t.Run(database, func(t *testing.T) {
			t.Parallel()
			far := apptest.Start(t, apptest.Options{})
			f := before(t, far)
			ca := filepath.Join(t.TempDir(), "ca.pem")
			if err := os.WriteFile(ca, f.pem, 0o600); err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			env := []string{"ECRIN_EGRESS_ALLOW=127.0.0.1/32", "ECRIN_EGRESS_CA=" + ca, "ECRIN_DATABASE=" + url(t)}
			n, kill := process(t, dir, env...)
			root := n.Root(t)
			in := byKey("branch", f, far.Root(t))
			in.ReplicatesTo = &ecrintypes.ReplicationTarget{RegistryId: *branch.RegistryId, Region: *branch.Region}
			add(t, n, in)
			im := ocitest.NewImage(1, 50_000, 8<<20)
			slow := ocitest.SHA256(im.Layers[1])
			held, asked := make(chan struct{}), make(chan struct{}, 100)
			var arrived atomic.Int64 // uploads of the slow layer that have arrived whole
			f.set(func(_ http.ResponseWriter, r *http.Request) bool {
				if (r.Method == http.MethodPut || r.Method == http.MethodPatch) && r.ContentLength == 8<<20 {
					half := io.LimitReader(r.Body, 4<<20)
					_, _ = io.Copy(io.Discard, half) // an error is that of the killed client
					asked <- struct{}{}
					<-held
					panic(http.ErrAbortHandler)
				}
				return false
			})
			root.CreateRepository(t, "team/app").Push(t, "v1", im)
			replicate(t, root, branch)
			root.Docker(t).Repo("team/app").Push(t, "v2", im)
			id := started(t, n, ecrintypes.CopyImageRequest{RepositoryName: "team/app", ImageTag: "v1", DestinationRepositoryName: "team/copy"})
			for range 2 { // the replication, and the copy
				select {
				case <-asked:
				case <-time.After(time.Minute):
					t.Fatal("the layer was not sent within a minute")
				}
			}
			kill()
			close(held)
			small := f.count("PUT", "/blobs/") + f.count("POST", "/blobs/uploads")
			f.set(func(_ http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodPut && strings.Contains(r.URL.RawQuery, strings.Replace(slow, ":", "%3A", 1)) {
					arrived.Add(1)
				}
				return false
			})
			n, _ = process(t, dir, env...)
			root = n.Root(t)
			complete(t, root, "team/app", im.Digest)
			if j := ended(t, n, id); j.State != ecrintypes.JobStateDONE {
				t.Errorf("the copy: got %s, want it done", shown(j))
			}
			pulls(t, far, "team/app", "v2", im)
			pulls(t, far, "team/copy", "v1", im)
			if got := arrived.Load(); got > 2 {
				t.Errorf("the layer that was on its way has arrived %d times in two repositories, want at most 2", got)
			}
			if got := f.count("PUT", "/blobs/") + f.count("POST", "/blobs/uploads") - small; got > 8 {
				t.Errorf("after the kill there were %d requests of uploads, want at most 8: what had arrived is there", got)
			}
			for _, repo := range []string{"team/app", "team/copy"} {
				if got := len(far.Root(t).Docker(t).Repo(repo).Manifest(t, im.Digest).Want(t, http.StatusOK).Body); got != len(im.Manifest) {
					t.Errorf("%s: the manifest there has %d bytes, want %d", repo, got, len(im.Manifest))
				}
			}
		})
	}
}

// With PostgreSQL at the source, an image, its moved tag and a copy on request arrive, also after the database was away.
func TestReplicationFromPostgreSQL(t *testing.T) {
	t.Parallel()
	database := pgtest.New(t)
	url := secret.New(database.NewDatabase(t))
	far := apptest.Start(t, apptest.Options{})
	f := before(t, far)
	n := near(t, func(c *config.Config) { c.Database = url }, f)
	in := byKey("branch", f, far.Root(t))
	in.ReplicatesTo = &ecrintypes.ReplicationTarget{RegistryId: *branch.RegistryId, Region: *branch.Region}
	add(t, n, in)
	root := n.Root(t)
	replicate(t, root, branch)
	repo := root.CreateRepository(t, "team/app")
	first, second := ocitest.NewImage(1, 1000, 300_000), ocitest.NewImage(2, 1000)
	repo.Push(t, "v1", first)
	complete(t, root, "team/app", first.Digest)
	pulls(t, far, "team/app", "v1", first)
	f.set(down)
	repo.Push(t, "v1", second)
	database.Restart(t)
	f.set(nil)
	eventually(t, "the moved tag", func() bool {
		return string(far.Root(t).Docker(t).Repo("team/app").Manifest(t, "v1").Body) == string(second.Manifest)
	})
	id := started(t, n, ecrintypes.CopyImageRequest{RepositoryName: "team/app", ImageTag: "v1", DestinationRepositoryName: "team/copy"})
	if j := ended(t, n, id); j.State != ecrintypes.JobStateDONE {
		t.Errorf("the copy: got %s, want it done", shown(j))
	}
	pulls(t, far, "team/copy", "v1", second)
}
