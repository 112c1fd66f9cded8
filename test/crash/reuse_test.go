package crash_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"github.com/ecrin-dev/ecrin/internal/main/client"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
	"github.com/ecrin-dev/ecrin/internal/test/seedtest"
	"github.com/ecrin-dev/ecrin/internal/word/slowtest"
)

// reuseRounds returns the number of kills of the test of condemned blobs.
func reuseRounds() int { return slowtest.Soak(2, 6, 200) }

// reuse is what the clients of that test share.
type reuse struct {
	mu                        sync.Mutex
	images                    map[string]map[string]string // repository, tag, digest: acknowledged, and nobody has asked to delete them
	pushed, mounted, uploaded atomic.Int64
	refused, deleted          atomic.Int64
	collections               atomic.Int64
}

// TestKillWhilePushesReuseCondemnedBlobs: images of two repositories have few layers in common, most are deleted at once, and collections
// without any grace run all the time, so that pushes upload and mount blobs that are being collected. The server is killed again and
// again. After each kill everything that was acknowledged can be pulled; at the end, after everything was deleted, no blob is left.
func TestKillWhilePushesReuseCondemnedBlobs(t *testing.T) {
	bin, dir := program(t), t.TempDir()
	names := []string{"team/app", "team/base"}
	r := &reuse{images: map[string]map[string]string{names[0]: {}, names[1]: {}}}
	seed := seedtest.Seed(t)
	stops := seedtest.New(seed, 0)
	for round := range reuseRounds() {
		p := serve(t, bin, dir, "", "--gc-grace", "0s", "--gc-interval", "1s")
		s := apptest.Attach(t, dir)
		root := s.Root(t)
		repos := make([]ocitest.Repo, len(names))
		for i, name := range names {
			if round == 0 {
				root.CreateRepository(t, name)
			}
			repos[i] = root.Docker(t).Repo(name)
			checkImages(t, round, repos[i], r.images[name])
		}
		var clients sync.WaitGroup
		killed := make(chan struct{})
		acked := make(chan struct{})
		clients.Go(func() { r.collect(t, dir, killed) })
		for i := range 4 {
			clients.Go(func() { r.client(t, round, i, seed, repos, acked, killed) })
		}
		timeout := time.After(time.Minute)
		for range 5 + stops.IntN(40) {
			select {
			case <-acked:
			case <-timeout:
				t.Errorf("round %d: no push was acknowledged for a minute", round)
			}
		}
		p.kill()
		close(killed)
		clients.Wait()
		if t.Failed() {
			t.Logf("the server's log ends with\n%s", tail(p.log.String(), 5000))
			return
		}
	}
	serve(t, bin, dir, "", "--gc-interval", "0s")
	s := apptest.Attach(t, dir)
	for _, name := range names {
		checkImages(t, reuseRounds(), s.Root(t).Docker(t).Repo(name), r.images[name])
		if _, err := s.Root(t).ECR().DeleteRepository(t.Context(), &ecr.DeleteRepositoryInput{RepositoryName: &name, Force: true}); err != nil {
			t.Fatal(err)
		}
	}
	if left := collectAll(t, s, dir); left > 0 {
		t.Errorf("%d blobs are left on the disk, want none", left)
	}
	t.Logf("%d kills: %d pushes (%d blobs mounted, %d uploaded), %d refused, %d deletions, %d collections", reuseRounds(), r.pushed.Load(),
		r.mounted.Load(), r.uploaded.Load(), r.refused.Load(), r.deleted.Load(), r.collections.Load())
	if r.pushed.Load() == 0 || r.mounted.Load() == 0 || r.uploaded.Load() == 0 || r.deleted.Load() == 0 || r.collections.Load() == 0 {
		t.Error("the kills interrupted nothing")
	}
}

// collect runs collections without grace until the server is killed.
func (r *reuse) collect(t *testing.T, dir string, killed chan struct{}) {
	c, err := client.Open(dir, "")
	if err != nil {
		t.Errorf("opening a client: %v", err)
		return
	}
	in := ecrintypes.CollectStorageRequest{GraceSeconds: aws.Int64(0)}
	for {
		select {
		case <-killed:
			return
		default:
		}
		var out ecrintypes.CollectStorageResponse
		if err := c.Call(t.Context(), "CollectStorage", &in, &out); err != nil {
			return // killed
		}
		if in.NextToken = out.NextToken; in.NextToken == "" {
			r.collections.Add(1)
		}
	}
}

// client pushes images and deletes most of them, until the server is killed.
func (r *reuse) client(t *testing.T, round, number int, seed uint64, repos []ocitest.Repo, acked, killed chan struct{}) {
	random := seedtest.New(seed, uint64(1+4*round+number))
	for i := 0; ; i++ {
		select {
		case <-killed:
			return
		default:
		}
		which := random.IntN(2)
		repo, other := repos[which], repos[1-which]
		tag := fmt.Sprintf("r%d-c%d-%d", round, number, i)
		im := imageOf("config "+tag, random.Uint64N(8), random.Uint64N(8))
		switch r.push(t, repo, other, tag, im, random.IntN(2) == 0) {
		case http.StatusCreated:
			r.mu.Lock()
			r.images[repo.Name][tag] = ocitest.SHA256(im.Manifest)
			r.mu.Unlock()
			r.pushed.Add(1)
			select {
			case acked <- struct{}{}:
			case <-killed:
				return
			}
		case 0:
			return // killed
		default: // a layer was collected before the image named it
			r.refused.Add(1)
			continue
		}
		if i%12 == 0 {
			continue
		}
		r.mu.Lock()
		digest := r.images[repo.Name][tag]
		delete(r.images[repo.Name], tag)
		r.mu.Unlock()
		a, err := repo.Try(t.Context(), http.MethodDelete, repo.Path("/manifests/"+digest), nil)
		if err != nil || a.Status != http.StatusAccepted {
			return
		}
		r.deleted.Add(1)
	}
}

// push pushes an image as tryPush does. With mount, it asks for each blob to be mounted from another repository.
func (r *reuse) push(t *testing.T, repo, other ocitest.Repo, tag string, im ocitest.Image, mount bool) int {
	t.Helper()
	if !mount {
		r.uploaded.Add(1)
		return tryPush(t, repo, tag, im)
	}
	for _, content := range append([][]byte{im.Config}, im.Layers...) {
		digest := ocitest.SHA256(content)
		a, err := repo.Try(t.Context(), http.MethodPost, repo.Path("/blobs/uploads/?mount="+digest+"&from="+other.Name), nil)
		switch {
		case err != nil:
			return 0
		case a.Status == http.StatusCreated:
			r.mounted.Add(1)
			continue
		case a.Status != http.StatusAccepted:
			t.Errorf("%s: got %d %.300s, want 201 or 202", a.Asked, a.Status, a.Body)
			return 0
		}
		location := a.Location(t, "digest", digest)
		if a, err = repo.Try(t.Context(), http.MethodPut, location, bytes.NewReader(content)); err != nil {
			return 0
		}
		if a.Status != http.StatusCreated {
			t.Errorf("%s: got %d %.300s, want 201", a.Asked, a.Status, a.Body)
			return 0
		}
		r.uploaded.Add(1)
	}
	return tryManifest(t, repo, tag, im)
}

// collectAll runs a full collection without grace and returns how many blobs are left on the disk.
func collectAll(t *testing.T, s *apptest.Server, dir string) (left int) {
	t.Helper()
	collect := ecrintypes.CollectStorageRequest{GraceSeconds: aws.Int64(0), Full: aws.Bool(true)}
	for more := true; more; more = collect.NextToken != "" {
		var out ecrintypes.CollectStorageResponse
		s.Operator(t, "CollectStorage", &collect, &out)
		collect.NextToken = out.NextToken
	}
	for _, algorithm := range []string{"sha256", "sha512"} {
		err := filepath.WalkDir(filepath.Join(dir, "blobs", algorithm), func(_ string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				left++
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return left
}
