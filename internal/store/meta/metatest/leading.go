package metatest

import (
	"slices"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
)

// leading checks the tags that lead to an image.
func (fx *Fixture) leading(r meta.Repository, p meta.Put, want ...string) {
	fx.Helper()
	for range 2 { // the second answer may be a kept one
		got, err := fx.TagsLeadingTo(fx.Ctx, r.ID, p.Digest)
		fx.Must(err)
		got = slices.Clone(got)
		slices.Sort(got)
		fx.Equal(got, want, "tags that lead to %s", p.Digest)
	}
}

// The tags that lead to an image are its own and those of all indexes above it, on every level, as they are after each change
// of the repository and of others.
func testTagsLeadingTo(fx *Fixture) {
	r, other := fx.Repo("team/app"), fx.Repo("team/other")
	leaf := fx.Image(r, "leaf")
	chain := []meta.Put{leaf}
	for range meta.MaxDepth {
		top := IndexOf(chain[len(chain)-1])
		fx.Push(r, top)
		chain = append(chain, top)
	}
	fx.leading(r, leaf)
	top, middle := chain[meta.MaxDepth], chain[3]
	fx.Push(r, As(top, "top"))
	fx.leading(r, leaf, "top")
	fx.leading(r, middle, "top")
	fx.Push(r, As(middle, "middle", "middle-2"))
	fx.Push(r, As(leaf, "leaf"))
	fx.leading(r, leaf, "leaf", "middle", "middle-2", "top")
	fx.leading(r, chain[2], "middle", "middle-2", "top")
	fx.leading(r, chain[4], "top")
	fx.leading(r, top, "top")

	// A second way to the same image gives no tag twice.
	side := fx.Image(r, "side")
	wide := IndexOf(chain[1], chain[2], side)
	fx.Push(r, As(wide, "wide", "leaf-2"))
	fx.leading(r, leaf, "leaf", "leaf-2", "middle", "middle-2", "top", "wide")
	fx.leading(r, side, "leaf-2", "wide")

	// A tag that moves, one that is removed, an index that is deleted and one that is restored.
	fx.Push(r, As(side, "wide"))
	fx.leading(r, leaf, "leaf", "leaf-2", "middle", "middle-2", "top")
	fx.leading(r, side, "leaf-2", "wide")
	_, err := fx.DeleteTag(fx.Ctx, r, Tag("middle-2").Tag, middle.Digest, false, "p")
	fx.Must(err)
	fx.leading(r, leaf, "leaf", "leaf-2", "middle", "top")
	_, err = fx.DeleteImage(fx.Ctx, r, top.Digest, meta.AnyTags, "p")
	fx.Must(err)
	fx.leading(r, leaf, "leaf", "leaf-2", "middle")
	fx.leading(r, chain[4])
	fx.Must(fx.RestoreImage(fx.Ctx, r, top.Digest, nil, "p", false))
	fx.leading(r, chain[4])
	fx.Push(r, As(top, "again"))
	fx.leading(r, leaf, "again", "leaf", "leaf-2", "middle")

	// Tags of another repository do not lead here.
	fx.Image(other, "leaf", "elsewhere")
	fx.leading(other, leaf, "elsewhere")
	fx.leading(r, leaf, "again", "leaf", "leaf-2", "middle")
}
