package meta_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// tagList returns the tags of a repository's TagList.
func tagList(t *testing.T, s *meta.Store, r meta.Repository) []string {
	t.Helper()
	list, err := s.TagList(t.Context(), r.ID)
	if err != nil {
		t.Error(err)
	}
	if len(list) == 0 {
		return []string{}
	}
	return strings.Split(string(list), `","`)
}

// After every change the cached list is the one that the database returns.
func TestTagListFollowsEveryChange(t *testing.T) {
	t.Parallel()
	s := open(t)
	fx := metatest.NewFixture(t, s)
	r, other := fx.Repo("team/app"), fx.Repo("team/other")
	images := []meta.Put{fx.Image(r, "one"), fx.Image(r, "two"), fx.Image(r, "three")}
	fx.Push(other, metatest.As(fx.Image(other, "one"), "elsewhere"))
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 300 {
		p := images[random.IntN(len(images))]
		// Few names, some of them parts of others, so that tags are created, moved and removed repeatedly.
		tag := []string{"a", "aa", "a-a", "b", "B", "latest", "1", "10", "1.0"}[random.IntN(9)]
		what := fmt.Sprintf("step %d: ", i)
		var err error
		switch random.IntN(8) {
		case 0:
			what += "delete tag " + tag
			_, _ = s.DeleteTag(t.Context(), r, metatest.Tag(tag).Tag, name.Digest{}, false, "test") // may not exist
		case 1:
			what += "delete image " + p.Digest.String()
			_, _ = s.DeleteImage(t.Context(), r, p.Digest, meta.AnyTags, "test")
		default:
			what += "put " + tag
			err = s.PutImage(t.Context(), r, metatest.As(p, tag))
		}
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		want, err := s.Tags(t.Context(), r.ID, "", -1)
		if err != nil {
			t.Fatal(err)
		}
		if got := tagList(t, s, r); !slices.Equal(got, want) {
			t.Fatalf("after %s: got %q, want %q", what, got, want)
		}
		if got := tagList(t, s, other); !slices.Equal(got, []string{"elsewhere"}) {
			t.Fatalf("after %s: the other repository has %q, want its own tag", what, got)
		}
	}
}

// A reader that begins after a tag was created or removed sees that, whatever others read and write at the same time.
func TestTagListIsNeverOld(t *testing.T) {
	t.Parallel()
	s := open(t)
	fx := metatest.NewFixture(t, s)
	r := fx.Repo("team/app")
	image := fx.Image(r, "one")
	var wg sync.WaitGroup
	for worker := range 6 {
		wg.Go(func() {
			for i := range 40 {
				tag := fmt.Sprintf("fx%d-%d", worker, i%5)
				if err := s.PutImage(t.Context(), r, metatest.As(image, tag)); err != nil {
					t.Error(err)
					return
				}
				if got := tagList(t, s, r); !slices.Contains(got, tag) {
					t.Errorf("after putting %s: got %q", tag, got)
				}
				if i%2 == 0 {
					continue
				}
				if _, err := s.DeleteTag(t.Context(), r, metatest.Tag(tag).Tag, name.Digest{}, false, "test"); err != nil {
					t.Error(err)
					return
				}
				if got := tagList(t, s, r); slices.Contains(got, tag) {
					t.Errorf("after deleting %s: got %q", tag, got)
				}
			}
		})
	}
	wg.Wait()
}

// In a page of images each image has the same tags as when it is read alone, whatever the page contains.
func TestImagesHaveTheirTags(t *testing.T) {
	t.Parallel()
	s := open(t)
	fx := metatest.NewFixture(t, s)
	r := fx.Repo("team/app")
	for i := range 12 {
		p := fx.Image(r, fmt.Sprint(i))
		for n := range i % 4 { // some images have no tag
			fx.Push(r, metatest.As(p, fmt.Sprintf("v%d-%d", i, n)))
		}
	}
	for _, state := range []meta.TagState{meta.Any, meta.Tagged, meta.Untagged} {
		for _, limit := range []int{1, 3, 100} {
			var after meta.Position
			count := 0
			for {
				page, err := s.Images(t.Context(), r.ID, state, after, limit)
				if err != nil {
					t.Fatal(err)
				}
				if len(page) == 0 {
					break
				}
				for _, im := range page {
					alone, err := s.Image(t.Context(), r.ID, im.Digest)
					if err != nil {
						t.Fatal(err)
					}
					if !slices.Equal(im.Tags, alone.Tags) {
						t.Errorf("state %d, pages of %d: image %s has tags %q, alone it has %q", state, limit, im.Digest, im.Tags, alone.Tags)
					}
					count++
				}
				last := page[len(page)-1]
				after = meta.Position{PushedAt: last.PushedAt.UnixMicro(), Digest: last.Digest.String()}
			}
			if want := []int{12, 9, 3}[state]; count != want {
				t.Errorf("state %d, pages of %d: got %d images, want %d", state, limit, count, want)
			}
		}
	}
}

func TestTagListInOrder(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		``: ``, `a`: `a`, `a","b`: `a","b`, `b","a`: `a","b`, `a","c","b","d`: `a","b","c","d`,
	} {
		if got := meta.InOrder(in); got != want {
			t.Errorf("InOrder(%q): got %q, want %q", in, got, want)
		}
	}
}
