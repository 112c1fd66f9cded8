package crash_test

import (
	"bytes"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
	"github.com/ecrin-dev/ecrin/internal/test/seedtest"
)

// TestKillDuringCollection: collections without any grace run beside pushes and deletions of images with common layers, and the
// server is killed. After each kill every image that was acknowledged and not deleted is complete; at the end, after everything was
// deleted, no blob is left on the disk.
func TestKillDuringCollection(t *testing.T) {
	bin, dir := program(t), t.TempDir()
	images := map[string]string{} // tag to digest, of acknowledged images that nobody has asked to delete
	var mu sync.Mutex
	pushed, refused, deleted := 0, 0, 0
	seed := seedtest.Seed(t)
	stops := seedtest.New(seed, 0)
	for round := range rounds() {
		p := serve(t, bin, dir, "", "--gc-grace", "0s", "--gc-interval", "1s")
		s := apptest.Attach(t, dir)
		var repo ocitest.Repo
		if round == 0 {
			repo = s.Root(t).CreateRepository(t, "team/app")
		} else {
			repo = s.Root(t).Docker(t).Repo("team/app")
		}
		checkImages(t, round, repo, images)
		var clients sync.WaitGroup
		acked, killed := make(chan struct{}), make(chan struct{})
		for client := range 4 {
			clients.Go(func() {
				random := seedtest.New(seed, uint64(1+4*round+client))
				for i := 0; ; i++ {
					select {
					case <-killed:
						return
					default:
					}
					// A few layers, so that a deleted image and a new one have some in common.
					im := imageOf(fmt.Sprintf("config %d-%d-%d", round, client, i), random.Uint64N(30), random.Uint64N(30))
					tag := fmt.Sprintf("r%d-c%d-%d", round, client, i)
					switch status := tryPush(t, repo, tag, im); status {
					case http.StatusCreated:
						mu.Lock()
						images[tag] = ocitest.SHA256(im.Manifest)
						pushed++
						mu.Unlock()
						select {
						case acked <- struct{}{}:
						case <-killed:
							return
						}
					case 0:
						return // killed
					default: // a layer was collected before the image named it
						mu.Lock()
						refused++
						mu.Unlock()
						continue
					}
					if i%3 == 0 {
						continue
					}
					mu.Lock()
					digest := images[tag]
					delete(images, tag)
					mu.Unlock()
					a, err := repo.Try(t.Context(), http.MethodDelete, repo.Path("/manifests/"+digest), nil)
					if err != nil || a.Status != http.StatusAccepted {
						return
					}
					mu.Lock()
					deleted++
					mu.Unlock()
				}
			})
		}
		for range 20 + stops.IntN(60) { // the first collection of a process begins at once, the next ones each second
			<-acked
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
	repo := s.Root(t).Docker(t).Repo("team/app")
	checkImages(t, rounds(), repo, images)
	var in ecrintypes.VerifyStorageRequest
	for more := true; more; more = in.NextToken != "" {
		var out ecrintypes.VerifyStorageResponse
		s.Operator(t, "VerifyStorage", &in, &out)
		if len(out.Damages) > 0 {
			t.Errorf("damages: %+v", out.Damages)
		}
		in.NextToken = out.NextToken
	}
	name := "team/app"
	if _, err := s.Root(t).ECR().DeleteRepository(t.Context(), &ecr.DeleteRepositoryInput{RepositoryName: &name, Force: true}); err != nil {
		t.Fatal(err)
	}
	left := collectAll(t, s, dir)
	if left > 0 || pushed == 0 || deleted == 0 {
		t.Errorf("%d blobs are left on the disk after %d pushes and %d deletions, want none after some", left, pushed, deleted)
	}
	t.Logf("%d kills: %d pushes, %d refused, %d deletions, %d images kept", rounds(), pushed, refused, deleted, len(images))
}

// checkImages reads every image with its blobs.
func checkImages(t *testing.T, round int, repo ocitest.Repo, images map[string]string) {
	t.Helper()
	for tag, digest := range images {
		if err := repo.Verify(t.Context(), tag); err != nil {
			t.Errorf("after kill %d: %s, acknowledged as %s: %v", round, tag, digest, err)
		}
	}
}

// imageOf returns an image with a config of its own and one layer of few for each seed.
func imageOf(config string, seeds ...uint64) ocitest.Image {
	im := ocitest.Image{Config: []byte(config)}
	described := ocitest.Describe(ocitest.ConfigType, im.Config)
	m := ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.ImageType, Config: &described}
	for _, seed := range seeds {
		layer := ocitest.Bytes(seed, 20_000)
		im.Layers, m.Layers = append(im.Layers, layer), append(m.Layers, ocitest.Describe(ocitest.LayerType, layer))
	}
	im.Manifest = m.JSON()
	im.Digest = ocitest.SHA256(im.Manifest)
	return im
}

// tryPush pushes an image as clients do, which do not upload a blob that is there, and returns the status of its manifest; 0 if the
// server was killed.
func tryPush(t *testing.T, repo ocitest.Repo, tag string, im ocitest.Image) int {
	t.Helper()
	send := func(method, path string, body []byte, header ...string) *ocitest.Answer {
		a, err := repo.Try(t.Context(), method, path, bytes.NewReader(body), header...)
		if err != nil {
			return nil
		}
		return a
	}
	for _, content := range append([][]byte{im.Config}, im.Layers...) {
		digest := ocitest.SHA256(content)
		a := send(http.MethodHead, repo.Path("/blobs/"+digest), nil)
		if a != nil && a.Status == http.StatusOK {
			continue
		}
		if a != nil {
			a = send(http.MethodPost, repo.Path("/blobs/uploads/?digest="+digest), content)
		}
		if a == nil {
			return 0
		}
		if a.Status != http.StatusCreated {
			t.Errorf("%s: got %d %.300s, want 201", a.Asked, a.Status, a.Body)
			return 0
		}
	}
	return tryManifest(t, repo, tag, im)
}

// tryManifest pushes the manifest of an image and returns the status; 0 if the server was killed.
func tryManifest(t *testing.T, repo ocitest.Repo, tag string, im ocitest.Image) int {
	t.Helper()
	a, err := repo.Try(t.Context(), http.MethodPut, repo.Path("/manifests/"+tag), bytes.NewReader(im.Manifest),
		"Content-Type", ocitest.ImageType)
	if err != nil {
		return 0
	}
	if a.Status != http.StatusCreated && !bytes.Contains(a.Body, []byte("required for pushing image")) {
		t.Errorf("%s: got %d %.300s, want 201 or the refusal of a missing layer", a.Asked, a.Status, a.Body)
	}
	return a.Status
}
