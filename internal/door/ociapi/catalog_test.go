package ociapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// One answer has all repositories in their order, also if they are more than one query of the store returns, and a list if there are none.
func TestCatalogOfManyRepositories(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	docker := s.Root(t).Docker(t)
	catalog := func() (names []string) {
		t.Helper()
		var all map[string][]string
		a := docker.Do(t, http.MethodGet, "/v2/_catalog", nil).Want(t, http.StatusOK)
		if err := json.Unmarshal(a.Body, &all); err != nil || len(all) != 1 || all["repositories"] == nil {
			t.Fatalf("got %s, %v, want a list of repositories", a.Body, err)
		}
		return all["repositories"]
	}
	if got := catalog(); len(got) != 0 {
		t.Errorf("without a repository: got %q", got)
	}
	var want []string
	var all sync.WaitGroup
	for i := range 1001 {
		want = append(want, fmt.Sprintf("team/app-%04d", i))
		n, err := name.ParseRepo(want[i])
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			r := meta.Repository{Registry: s.Registry(), Name: n, CreatedAt: time.Now(), Mutability: meta.Mutability{Mode: meta.Mutable},
				Encryption: meta.EncryptionAES256}
			if _, err := s.Meta().CreateRepository(t.Context(), r, nil); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := catalog(); !slices.Equal(got, want) {
		t.Errorf("got %d repositories, want %d, in order and each once", len(got), len(want))
	}
}
