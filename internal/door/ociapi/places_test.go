package ociapi_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// A large manifest needs a place only while it is read: it can be pulled many more times than there are places, at the same time and
// one after another.
func TestLargeManifestsGiveTheirPlacesBack(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	repo := s.Root(t).CreateRepository(t, "app")
	im := ocitest.NewImage(1, 10)
	repo.PushBlobs(t, im)
	var m ocitest.Manifest
	if err := json.Unmarshal(im.Manifest, &m); err != nil {
		t.Fatal(err)
	}
	m.Annotations = map[string]string{"large": strings.Repeat("x", 300<<10)}
	large := m.JSON()
	repo.PutManifest(t, "v1", "application/vnd.oci.image.manifest.v1+json", large).Want(t, http.StatusCreated)
	for range 3 {
		var all sync.WaitGroup
		for range 6 {
			all.Go(func() {
				a, err := repo.Try(t.Context(), http.MethodGet, repo.Path("/manifests/v1"), nil)
				if err != nil || a.Status != http.StatusOK || !bytes.Equal(a.Body, large) {
					t.Errorf("got %+v, %v, want the manifest of %d bytes", a, err, len(large))
				}
			})
		}
		all.Wait()
	}
}

// The list of the tags of a repository is a list from the first: without tags, with one, and with several.
func TestTagListOfEachLength(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	repo := s.Root(t).CreateRepository(t, "app")
	for _, want := range []string{`[]`, `["a"]`, `["a","b"]`} {
		for _, query := range []string{"", "n=10"} {
			if got := strings.TrimSpace(string(repo.Tags(t, query).Want(t, http.StatusOK).Body)); got != `{"name":"app","tags":`+want+`}` {
				t.Errorf("with the query %q: got %s, want the tags %s", query, got, want)
			}
		}
		repo.Push(t, string("abc"[strings.Count(want, `"`)/2]), ocitest.NewImage(1, 10))
	}
}

// The answer to a push names the tags of its query, which a push by digest alone can have.
func TestAnswerNamesTheTagsOfTheQuery(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	repo := s.Root(t).CreateRepository(t, "app")
	im := ocitest.NewImage(1, 10)
	repo.PushBlobs(t, im)
	for reference, want := range map[string]string{im.Digest + "?tag=a&tag=b": "a b", im.Digest: "", "c": ""} {
		a := repo.PutManifest(t, reference, "application/vnd.oci.image.manifest.v1+json", im.Manifest).Want(t, http.StatusCreated)
		if got := strings.Join(a.Header.Values("OCI-Tag"), " "); got != want {
			t.Errorf("PUT of %s: got OCI-Tag %q, want %q", reference, got, want)
		}
	}
}
