package metatest

import (
	"github.com/ecrin-dev/ecrin/internal/store/meta"
)

// The bytes of a repository are told apart by who uses them, whatever the size of a page.
func testUsage(fx *Fixture) {
	account(fx, other)
	r, second := fx.Repo("app"), fx.Repo("second")
	fx.Image(r, "a", "v1")      // own
	fx.Image(r, "shared", "v2") // also in the second
	fx.Image(second, "shared")
	gone := fx.Image(r, "deleted one", "v3")
	fx.Blob(r, "unused blob")
	_, err := fx.DeleteImage(fx.Ctx, r, gone.Digest, meta.AnyTags, Principal)
	fx.Must(err)
	for _, limit := range []int{1, 2, 100} {
		var u meta.Usage
		for after := ""; ; {
			next, err := fx.AddUsage(fx.Ctx, r, after, limit, &u)
			fx.Must(err)
			if after = next; after == "" {
				break
			}
		}
		fx.Equal(u, meta.Usage{Blobs: 4, Own: int64(len("a")), Shared: int64(len("shared")), Kept: int64(len("deleted one")),
			Unused: int64(len("unused blob"))}, "the usage in pages of %d", limit)
	}
	if n, err := fx.CountImages(fx.Ctx, r.ID); err != nil || n != 2 {
		fx.Errorf("images: got %d, %v, want 2", n, err)
	}
}
