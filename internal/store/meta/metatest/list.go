package metatest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// pages reads a list in pages of several sizes and compares it with want. after returns the key of the next page from
// the last element of a page; its zero value is the start.
func pages[T any, K any](fx *Fixture, what string, want []T, list func(after K, limit int) ([]T, error), after func(T) K) {
	fx.Helper()
	for _, limit := range []int{1, 2, 3, 7, len(want) + 1} {
		var got []T
		var key K
		for {
			page, err := list(key, limit)
			fx.Must(err)
			if len(page) > limit {
				fx.Fatalf("%s by %d: got a page of %d", what, limit, len(page))
			}
			got = append(got, page...)
			if len(page) == 0 || len(got) > len(want)+limit {
				break
			}
			key = after(page[len(page)-1])
		}
		fx.Equal(got, want, "%s by %d", what, limit)
	}
}

func testRepositoryPages(fx *Fixture) {
	var want []string
	for _, n := range []string{"aa", "a-b", "a.b", "a/b", "a_b", "ab", "b0", "z/z/z", "z0"} {
		fx.Repo(n)
		want = append(want, n)
	}
	slices.Sort(want)
	fx.Must(fx.DeleteRepository(fx.Ctx, fx.Repo("gone"), false))
	list := func(reg name.Registry) func(string, int) ([]string, error) {
		return func(after string, limit int) (names []string, err error) {
			all, err := fx.Repositories(fx.Ctx, reg, after, limit)
			for _, r := range all {
				names = append(names, r.Name.String())
			}
			return names, err
		}
	}
	same := func(s string) string { return s }
	pages(fx, "Repositories", want, list(Registry), same)
	pages(fx, "Repositories of another region", nil, list(name.Registry{Account: Account, Region: london}), same)
}

// The order is that of bytes, whatever the locale of the database is.
func testTagPages(fx *Fixture) {
	r := fx.Repo("team/app")
	want := []string{"0", "1.0", "1.10", "1.9", "A", "Z", "_", "_a", "a", "a-b", "a.b", "aB", "a_b", "ab", "b", "latest"}
	slices.Sort(want)
	fx.Image(r, "config", want...)
	fx.Image(fx.Repo("team/second"), "config", "second")
	list := func(after string, limit int) ([]string, error) { return fx.Tags(fx.Ctx, r.ID, after, limit) }
	pages(fx, "Tags", want, list, func(s string) string { return s })
	all, err := list("", -1)
	fx.Must(err)
	fx.Equal(all, want, "all Tags")
	whole, err := fx.TagList(fx.Ctx, r.ID)
	fx.Must(err)
	fx.Equal(string(whole), strings.Join(want, `","`), "TagList")
	all, err = list("latest", -1)
	fx.Must(err)
	fx.Equal(all, []string{}, "Tags after the last")
}

// crowd fills a repository with images of no, one and several tags, deletes some of them, and returns the others in
// the order of lists.
func crowd(fx *Fixture, r meta.Repository) []meta.Image {
	fx.Helper()
	for i := range 14 {
		var tags []string
		for j := range i % 4 {
			tags = append(tags, fmt.Sprintf("t%d-%d", i, j))
		}
		p := fx.Image(r, fmt.Sprint("config", i), tags...)
		if i%5 == 4 {
			_, err := fx.DeleteImage(fx.Ctx, r, p.Digest, meta.AnyTags, Principal)
			fx.Must(err)
		}
	}
	fx.Image(fx.Repo("team/second"), "config", "second")
	all, err := fx.Images(fx.Ctx, r.ID, meta.Any, meta.Position{}, 100)
	fx.Must(err)
	if !slices.IsSortedFunc(all, func(a, b meta.Image) int {
		return cmp.Or(a.PushedAt.Compare(b.PushedAt), cmp.Compare(a.Digest.String(), b.Digest.String()))
	}) {
		fx.Error("Images is not in the order of time and digest")
	}
	fx.Equal(len(all), 12, "images")
	return all
}

func inState(s meta.TagState, tags []string) bool {
	return s == meta.Any || (s == meta.Tagged) == (len(tags) > 0)
}

func testImagePages(fx *Fixture) {
	r := fx.Repo("team/app")
	all := crowd(fx, r)
	for _, state := range []meta.TagState{meta.Any, meta.Tagged, meta.Untagged} {
		var want []meta.Image
		for _, im := range all {
			if inState(state, im.Tags) {
				want = append(want, im)
			}
		}
		pages(fx, fmt.Sprint("Images of state ", state), want,
			func(after meta.Position, limit int) ([]meta.Image, error) {
				return fx.Images(fx.Ctx, r.ID, state, after, limit)
			},
			func(im meta.Image) meta.Position {
				return meta.Position{PushedAt: im.PushedAt.UnixMicro(), Digest: im.Digest.String()}
			})
	}
}

func testImageIDPages(fx *Fixture) {
	r := fx.Repo("team/app")
	all := crowd(fx, r)
	for _, state := range []meta.TagState{meta.Any, meta.Tagged, meta.Untagged} {
		var want []meta.ImageID
		for _, im := range all {
			at := meta.Position{PushedAt: im.PushedAt.UnixMicro(), Digest: im.Digest.String()}
			if !inState(state, im.Tags) {
				continue
			}
			if len(im.Tags) == 0 {
				want = append(want, meta.ImageID{Position: at})
			}
			for _, at.Tag = range im.Tags {
				want = append(want, meta.ImageID{Position: at})
			}
		}
		pages(fx, fmt.Sprint("ImageIDs of state ", state), want,
			func(after meta.Position, limit int) ([]meta.ImageID, error) {
				return fx.ImageIDs(fx.Ctx, r.ID, state, after, limit)
			},
			func(id meta.ImageID) meta.Position { return id.Position })
	}
}

func testReferrerPages(fx *Fixture) {
	r := fx.Repo("team/app")
	subject := fx.Image(r, "config").Digest
	fx.Blob(r, "sig")
	var all, some []string
	for i := range 12 {
		kind := fmt.Sprint("application/k", i%3)
		p := ReferrerOf(subject, kind, "sig", "config")
		p = put(map[string]any{
			"schemaVersion": 2, "mediaType": p.Manifest.MediaType, "artifactType": kind, "config": descriptor{configType, Digest("sig").String(), 3},
			"layers": []descriptor{}, "subject": descriptor{p.Manifest.MediaType, subject.String(),
				1}, "annotations": map[string]string{"n": fmt.Sprint(i)},
		})
		fx.Push(r, p)
		all = append(all, p.Digest.String())
		if i%3 == 1 {
			some = append(some, p.Digest.String())
		}
	}
	slices.Sort(all)
	slices.Sort(some)
	for _, test := range []struct{ types, want []string }{{nil, all}, {[]string{"application/k1"}, some},
		{[]string{"application/none"}, nil}} {
		pages(fx, fmt.Sprintf("Referrers of types %q", test.types), test.want, func(after string, limit int) (digests []string, err error) {
			found, more, err := fx.Referrers(fx.Ctx, r.ID, subject, test.types, after, limit)
			for _, im := range found {
				digests = append(digests, im.Digest.String())
			}
			if left := len(test.want) > 0 && after < test.want[len(test.want)-1] &&
				(len(found) == 0 || digests[len(digests)-1] < test.want[len(test.want)-1]); more != left {
				fx.Errorf("Referrers of types %q after %q by %d: got more = %t, want %t", test.types, after, limit, more, left)
			}
			return digests, err
		}, func(s string) string { return s })
	}
}

func testHistoryPages(fx *Fixture) {
	r := fx.Repo("team/app")
	p, q := fx.Image(r, "one", "a", "b"), fx.Image(r, "two")
	for i := range 6 {
		fx.Push(r, As([]meta.Put{q, p}[i%2], "a"))
	}
	fx.Image(fx.Repo("team/second"), "one", "a")
	for tag, count := range map[string]int{"": 8, "a": 7, "b": 1, "c": 0} {
		all, err := fx.TagHistory(fx.Ctx, r.ID, tag, 0, 100)
		fx.Must(err)
		fx.Equal(len(all), count, "moves of %q", tag)
		if !slices.IsSortedFunc(all, func(x, y meta.TagMove) int { return cmp.Compare(y.ID, x.ID) }) {
			fx.Errorf("moves of %q are not in the order of their IDs, latest first", tag)
		}
		pages(fx, fmt.Sprintf("TagHistory of %q", tag), all,
			func(before int64, limit int) ([]meta.TagMove, error) {
				return fx.TagHistory(fx.Ctx, r.ID, tag, before, limit)
			},
			func(m meta.TagMove) int64 { return m.ID })
	}
}
