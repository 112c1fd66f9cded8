package pullthrough_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// A tag of the other registry that moves after a client has its manifest gives the client the layers of that manifest. If they are not
// there any more, it gets an error and no other bytes, and a client that asks by the new digest gets the new image.
func TestTagMovesBetweenManifestAndLayers(t *testing.T) {
	t.Parallel()
	source, owner := open(t)
	first, second := ocitest.NewImage(1, 50_000, 60_000), ocitest.NewImage(2, 50_000)
	there := owner.CreateRepository(t, "app")
	there.Push(t, "v1", first)
	publish(t, owner, "app")
	f := before(t, source)
	proxy, lost := f.handle, ocitest.SHA256(first.Layers[1])
	s := near(t, nil, nil, f)
	root := s.Root(t)
	rule(t, root, "cache", f)
	repo := root.Docker(t).Repo("cache/app")
	if got := repo.Manifest(t, "v1").Want(t, http.StatusOK); !bytes.Equal(got.Body, first.Manifest) {
		t.Fatal("the manifest is another one")
	}
	there.Push(t, "v1", second)
	f.serve(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, lost) { // collected there
			http.NotFound(w, r)
			return
		}
		proxy(w, r)
	})
	if got := repo.Blob(t, ocitest.SHA256(first.Layers[0])).Want(t, http.StatusOK); !bytes.Equal(got.Body, first.Layers[0]) {
		t.Error("a layer of the manifest is another one")
	}
	if got := repo.Blob(t, lost); got.Status == http.StatusOK {
		t.Errorf("a layer that is not there any more: got %d with %d bytes, want an error", got.Status, len(got.Body))
	}
	if got := repo.Manifest(t, second.Digest).Want(t, http.StatusOK); !bytes.Equal(got.Body, second.Manifest) {
		t.Error("the new image by its digest is another one")
	}
	if got := repo.Blob(t, ocitest.SHA256(second.Layers[0])).Want(t, http.StatusOK); !bytes.Equal(got.Body, second.Layers[0]) {
		t.Error("a layer of the new image is another one")
	}
}

// A registry that answers 429 is not asked before the time of Retry-After, for no image of the rule; then the image comes. What is stored
// is served meanwhile.
func TestRetryAfterOfTheOtherRegistryIsKept(t *testing.T) {
	t.Parallel()
	source, owner := open(t)
	im, other := ocitest.NewImage(1, 1000), ocitest.NewImage(2, 1000)
	there := owner.CreateRepository(t, "app")
	there.Push(t, "v1", im)
	there.Push(t, "v2", other)
	publish(t, owner, "app")
	f := before(t, source)
	proxy := f.handle
	var c clock
	s := near(t, c.now, nil, f)
	root := s.Root(t)
	rule(t, root, "cache", f)
	repo := root.Docker(t).Repo("cache/app")
	repo.Manifest(t, "v1").Want(t, http.StatusOK)
	repo.Blob(t, ocitest.SHA256(im.Layers[0])).Want(t, http.StatusOK)
	f.serve(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "1800")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	if got := repo.Manifest(t, "v2"); got.Status == http.StatusOK {
		t.Fatalf("an image that the other registry refuses: got %d", got.Status)
	}
	asked := len(f.all())
	for _, ref := range []string{"v2", "v3", other.Digest} {
		if got := repo.Manifest(t, ref); got.Status == http.StatusOK {
			t.Errorf("%s: got %d", ref, got.Status)
		}
	}
	repo.Manifest(t, "v1").Want(t, http.StatusOK)
	repo.Blob(t, ocitest.SHA256(im.Layers[0])).Want(t, http.StatusOK)
	c.add(25 * time.Minute)
	repo.Manifest(t, "v2")
	if got := len(f.all()) - asked; got != 0 {
		t.Errorf("the other registry was asked %d times before the time of Retry-After, want 0", got)
	}
	f.serve(proxy)
	c.add(6 * time.Minute)
	if got := repo.Manifest(t, "v2").Want(t, http.StatusOK); !bytes.Equal(got.Body, other.Manifest) {
		t.Error("the image after that time is another one")
	}
}
