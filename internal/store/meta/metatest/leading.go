package metatest

import (
	"fmt"
	"slices"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/name"
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

// byLength sorts tags by their length. It counts the tags that it has sorted.
type byLength struct {
	id     string
	sorted int
}

func (b *byLength) ID() string { return b.id }

func (b *byLength) Of(tag string) string {
	b.sorted++
	return fmt.Sprint(len(tag))
}

// Of many tags that lead to an image there is one of each class, after each change of the tags. Few tags are not sorted. The
// result is kept for each way to sort.
func testSomeTagsLeadingTo(fx *Fixture) {
	r := fx.Repo("team/app")
	leaf := fx.Image(r, "leaf")
	top := IndexOf(leaf)
	fx.Push(r, As(top, "a", "bb", "cc"))
	some := func(what string, c *byLength, lengths []int, wantMany bool) {
		fx.Helper()
		tags, many, err := fx.SomeTagsLeadingTo(fx.Ctx, r.ID, leaf.Digest, func() meta.TagClasses {
			if c == nil {
				return nil
			}
			return c
		})
		fx.Must(err)
		var got []int
		for _, t := range tags {
			got = append(got, len(t))
		}
		slices.Sort(got)
		fx.Equal(got, lengths, "%s: the lengths of the tags", what)
		fx.Equal(many, wantMany, "%s: many", what)
	}
	c := &byLength{id: "one"}
	some("few tags", c, []int{1, 2, 2}, false)
	fx.Equal(c.sorted, 0, "tags that were sorted of few")
	total := 3
	for _, n := range []int{40, 5000} { // kept whole, and too many for that
		for from := 0; from < n; from += 1000 {
			var tags []string
			for i := range min(1000, n-from) {
				tags = append(tags, fmt.Sprintf("n%d-%05d", n, from+i))
			}
			fx.Push(r, As(top, tags...))
		}
		total += n
		want := map[int][]int{40: {1, 2, 9}, 5000: {1, 2, 9, 11}}[n]
		for _, id := range []string{"one", "two"} {
			c := &byLength{id: id}
			for range 3 {
				some(fmt.Sprint(total, " tags"), c, want, true)
			}
			fx.Equal(c.sorted, total, "tags that were sorted in three calls of %d", total)
		}
		c := &byLength{id: "three"}
		fx.Push(r, As(top, "another-tag-than-all-before"))
		some("after a push", c, append(slices.Clone(want), 27), true)
		_, err := fx.DeleteTag(fx.Ctx, r, Tag("another-tag-than-all-before").Tag, name.Digest{}, false, "p")
		fx.Must(err)
		some("after its deletion", c, want, true)
	}
	all, err := fx.TagsLeadingTo(fx.Ctx, r.ID, leaf.Digest)
	fx.Must(err)
	fx.Equal(len(all), total, "all tags")
	lengths := make([]int, 0, total)
	for _, t := range all {
		lengths = append(lengths, len(t))
	}
	slices.Sort(lengths)
	some("without classes", nil, lengths, true)
}
