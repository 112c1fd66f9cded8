package registry_test

import (
	"fmt"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// The search for the sources of a mount reads and returns the same number of repositories whether no repository, some or
// many hold the blob: those that hold it, the oldest first, and then the destination.
func TestMountSourcesAreAsManyForAnyBlob(t *testing.T) {
	t.Parallel()
	c := newFixture(t, nil, registry.Quirks{})
	const want = 10
	d := digest("hello")
	var held []int64
	for holders := range want + 3 {
		if holders > 0 {
			repo, err := name.ParseRepo(fmt.Sprint("team/app", holders))
			if err != nil {
				t.Fatal(err)
			}
			r, err := c.CreateRepository(t.Context(), meta.Repository{Registry: home, Name: repo}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.PutBlob(t.Context(), r, text("hello"), d); err != nil {
				t.Fatal(err)
			}
			held = append(held, r.ID)
		}
		candidates, n, err := c.MountSources(t.Context(), c.repo, d)
		if err != nil || len(candidates) != want || n != min(holders, want) {
			t.Fatalf("with %d holders: got %d candidates, %d of them hold the blob, error %v; want %d and %d", holders,
				len(candidates), n, err, want, min(holders, want))
		}
		for i, r := range candidates {
			if i < n && r.ID != held[i] || i >= n && r.ID != c.repo.ID {
				t.Errorf("with %d holders, candidate %d is %s", holders, i, r.Name)
			}
		}
	}
}
