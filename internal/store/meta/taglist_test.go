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

// tagList is a repository's TagList, taken apart.
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

// After every change the kept list is what the database would answer.
func TestTagListFollowsEveryChange(t *testing.T) {
	t.Parallel()
	s := open(t)
	w := metatest.NewWorld(t, s)
	r, other := w.Repo("team/app"), w.Repo("team/other")
	images := []meta.Put{w.Image(r, "one"), w.Image(r, "two"), w.Image(r, "three")}
	w.Push(other, metatest.As(w.Image(other, "one"), "elsewhere"))
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 300 {
		p := images[random.IntN(len(images))]
		// Few names, some of them parts of others, so that they are made, moved and removed again and again.
		tag := []string{"a", "aa", "a-a", "b", "B", "latest", "1", "10", "1.0"}[random.IntN(9)]
		what := fmt.Sprintf("step %d: ", i)
		var err error
		switch random.IntN(8) {
		case 0:
			what += "delete tag " + tag
			_, _ = s.DeleteTag(t.Context(), r, metatest.Tag(tag).Tag, name.Digest{}, false, "test") // may not be there
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

// Whoever has made or removed a tag sees it so, whoever else reads and writes at the time.
func TestTagListIsNeverOld(t *testing.T) {
	t.Parallel()
	s := open(t)
	w := metatest.NewWorld(t, s)
	r := w.Repo("team/app")
	image := w.Image(r, "one")
	var wg sync.WaitGroup
	for worker := range 6 {
		wg.Go(func() {
			for i := range 40 {
				tag := fmt.Sprintf("w%d-%d", worker, i%5)
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

// A page of images has the tags that each image alone has, whichever images it shows.
func TestImagesHaveTheirTags(t *testing.T) {
	t.Parallel()
	s := open(t)
	w := metatest.NewWorld(t, s)
	r := w.Repo("team/app")
	for i := range 12 {
		p := w.Image(r, fmt.Sprint(i))
		for n := range i % 4 { // some have none
			w.Push(r, metatest.As(p, fmt.Sprintf("v%d-%d", i, n)))
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
