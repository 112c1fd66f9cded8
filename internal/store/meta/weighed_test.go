package meta_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// The cost of a deletion counts the references of the image, also if the write finds more of them than were counted when it was
// queued. So a group has few deletions of images with many layers.
func TestDeletionsOfManyLayersShareNoGroup(t *testing.T) {
	t.Parallel()
	const layers = 900 // a group has at most two such images
	fx := metatest.NewFixture(t, open(t))
	r := fx.Repo("team/app")
	var contents []string
	for i := range layers {
		contents = append(contents, fmt.Sprint("layer", i))
	}
	var wg sync.WaitGroup
	for w := range 30 {
		wg.Go(func() {
			for i := w; i < layers; i += 30 {
				fx.Blob(r, contents[i])
			}
		})
	}
	wg.Wait()
	variant := 0
	large := func(tags ...string) meta.Put {
		variant++
		return metatest.As(metatest.Variant(variant, contents...), tags...)
	}
	pushed := func(tags ...string) meta.Put {
		p := large(tags...)
		fx.Push(r, p)
		return p
	}
	push := func(ctx context.Context, p meta.Put) error { return fx.PutImage(ctx, r, p) }
	deletion := func(d name.Digest) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := fx.DeleteImage(ctx, r, d, meta.AnyTags, "mallory")
			return err
		}
	}
	deleteTag := func(tag string) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := fx.DeleteTag(ctx, r, metatest.Tag(tag).Tag, name.Digest{}, true, "mallory")
			return err
		}
	}
	var images, tags, again, pushes, theirs, moves, behind []func(context.Context) error
	for i := range 3 {
		images = append(images, deletion(pushed().Digest))
		tag, other := fmt.Sprint("tag", i), fmt.Sprint("moved", i)
		pushed(tag)
		tags = append(tags, deleteTag(tag))
		deleted := pushed()
		fx.Must(deletion(deleted.Digest)(fx.Ctx))
		again = append(again, func(ctx context.Context) error { return push(ctx, deleted) })
		p := large()
		pushes = append(pushes, func(ctx context.Context) error { return push(ctx, p) })
		theirs = append(theirs, deletion(p.Digest))
		fx.Image(r, fmt.Sprint("small", i), other)
		q := large(other)
		moves = append(moves, func(ctx context.Context) error { return push(ctx, q) })
		behind = append(behind, deleteTag(other))
	}
	for _, c := range []struct {
		what   string
		writes []func(context.Context) error
		cost   int // at least, of a heavy write
		heavy  int // number of heavy writes, at least
	}{
		{"deletions of images", images, layers, 3},
		{"deletions of last tags", tags, layers, 3},
		{"pushes of deleted images", again, 2 * layers, 3},
		{"deletions behind the pushes of their images", append(pushes, theirs...), layers, 6},
		{"deletions of tags behind the moves of these tags", append(moves, behind...), layers, 6},
	} {
		release := fx.Hold()
		groups := fx.Groups()
		for _, write := range c.writes {
			n := fx.Waiting()
			wg.Go(func() {
				if err := write(by(t.Context(), "mallory")); err != nil {
					t.Errorf("%s: %v", c.what, err)
				}
			})
			for fx.Waiting() == n {
				runtime.Gosched()
			}
		}
		release()
		wg.Wait()
		heavy := 0
		for _, group := range groups() {
			sum := 0
			for _, cost := range group {
				if sum += cost; cost >= c.cost {
					heavy++
				}
			}
			if sum > meta.MaxGroupCost {
				t.Errorf("%s: a group of %d writes costs %d", c.what, len(group), sum)
			}
		}
		if heavy < c.heavy {
			t.Errorf("%s: got %d costs of at least %d in the groups %v, want %d", c.what, heavy, c.cost, groups(), c.heavy)
		}
	}
	wrong, err := fx.Count(t.Context(), `SELECT COUNT(*) FROM image_references r JOIN images i USING (repository, digest)
		WHERE (i.deleted_at > 0) <> (r.kind > 2)`)
	if fx.Must(err); wrong != 0 {
		t.Errorf("%d references have the kind of an image in the other state", wrong)
	}
}
