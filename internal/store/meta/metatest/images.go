package metatest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/manifest"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// names checks what a reference leads to; "" for nothing.
func (w *World) names(r meta.Repository, ref name.Reference, want name.Digest) {
	w.Helper()
	h, err := w.Head(w.Ctx, r.ID, ref)
	if want == (name.Digest{}) {
		w.Want(err, fault.ImageNotFound, "Head(%s) in %s", ref, r.Name)
		return
	}
	if err != nil || h.Digest != want {
		w.Errorf("Head(%s) in %s: got %s, %v, want %s", ref, r.Name, h.Digest, err, want)
	}
}

// tags checks the tags of an image, and that it is listed by them as tagged or untagged and never as both.
func (w *World) tags(r meta.Repository, d name.Digest, want ...string) {
	w.Helper()
	im, err := w.Store.Image(w.Ctx, r.ID, d)
	w.Must(err)
	if !slices.Equal(im.Tags, want) {
		w.Errorf("tags of %s: got %q, want %q", d, im.Tags, want)
	}
	for state, listed := range map[meta.TagState]bool{meta.Any: true, meta.Tagged: len(want) > 0, meta.Untagged: len(want) == 0} {
		all, err := w.Images(w.Ctx, r.ID, state, meta.Position{}, 1000)
		w.Must(err)
		if got := slices.ContainsFunc(all, func(im meta.Image) bool { return im.Digest == d }); got != listed {
			w.Errorf("image %s with tags %q in the list of state %d: got %t, want %t", d, want, state, got, listed)
		}
	}
}

func testPutImage(w *World) {
	r := w.Repo("team/app")
	w.Blob(r, "config")
	w.Blob(r, "a layer")
	p := ImageOf("config", "a layer", "a layer")
	w.Push(r, As(p, "v1"))
	want := meta.ManifestHead{Digest: p.Digest, MediaType: manifest.OCIManifest, Size: int64(len(p.Body))}
	for _, ref := range []name.Reference{Tag("v1"), ByDigest(p.Digest)} {
		for range 2 { // read and kept
			got, err := w.Head(w.Ctx, r.ID, ref)
			w.Must(err)
			w.Equal(got, want, "Head(%s)", ref)
		}
	}
	body, err := w.Body(w.Ctx, p.Digest)
	w.Must(err)
	w.Equal(string(body), string(p.Body), "Body")
	_, err = w.Body(w.Ctx, Digest("nothing"))
	w.Want(err, fault.ImageNotFound, "a body that is not there")
	im, err := w.Store.Image(w.Ctx, r.ID, p.Digest)
	w.Must(err)
	w.Equal(im, meta.Image{ManifestHead: want, ArtifactType: configType, Bytes: int64(len("config" + "a layer")), PushedAt: im.PushedAt, Tags: []string{"v1"}}, "Image")
	if im.PushedAt.IsZero() {
		w.Error("PushedAt: got none")
	}
	// More tags, an old one, and none: the image stays as it is.
	for _, tags := range [][]string{{"v2", "v3"}, {"v1"}, nil} {
		w.Push(r, As(p, tags...))
	}
	w.tags(r, p.Digest, "v1", "v2", "v3")
	again, err := w.Store.Image(w.Ctx, r.ID, p.Digest)
	w.Must(err)
	w.Equal(again.PushedAt, im.PushedAt, "PushedAt after more tags")

	// All tags move, one after another.
	q := w.Image(r, "other")
	w.tags(r, q.Digest)
	w.Push(r, As(q, "v1", "v3"))
	w.tags(r, p.Digest, "v2")
	w.tags(r, q.Digest, "v1", "v3")
	w.Push(r, As(q, "v2"))
	w.tags(r, p.Digest)
	w.names(r, Tag("v2"), q.Digest)
	w.names(r, ByDigest(p.Digest), p.Digest)
	_, err = w.Store.Image(w.Ctx, r.ID, Digest("nothing"))
	w.Want(err, fault.ImageNotFound, "an image that is not there")
}

// A push that is refused leaves nothing behind.
func testPutImageRefuses(w *World) {
	r := w.Repo("team/app")
	w.Blob(r, "config")
	wrongSize := ImageOf("config")
	wrongSize.Manifest.Config.Size++
	child := ImageOf("never pushed")
	for what, test := range map[string]struct {
		put     meta.Put
		code    fault.Code
		missing []string
	}{
		"layers": {ImageOf("config", "one", "two"), fault.LayersNotFound, []string{Digest("one").String(), Digest("two").String()}},
		"config": {ImageOf("no config"), fault.LayersNotFound, []string{Digest("no config").String()}},
		"size":   {wrongSize, fault.ManifestInvalid, nil},
		"child":  {IndexOf(child), fault.ReferencedImagesNotFound, []string{child.Digest.String()}},
	} {
		err := w.PutImage(w.Ctx, r, As(test.put, "v1"))
		w.Want(err, test.code, "%s", what)
		var e *fault.Error
		if test.missing != nil && errors.As(err, &e) {
			w.Equal(e.Fields["digests"], any(test.missing), "%s: the digests that are missing", what)
		}
		w.names(r, Tag("v1"), name.Digest{})
		w.names(r, ByDigest(test.put.Digest), name.Digest{})
	}
	all, err := w.TagHistory(w.Ctx, r.ID, "", 0, 10)
	w.Must(err)
	w.Equal(len(all), 0, "moves in the history")
	// A second tag that is refused takes back the first.
	w.Must(w.SetMutability(w.Ctx, r, meta.Mutability{Mode: meta.Immutable}))
	p, q := w.Image(r, "config", "v2"), ImageOf("config2")
	w.Blob(r, "config2")
	w.Want(w.PutImage(w.Ctx, r, As(q, "v1", "v2")), fault.ImageTagAlreadyExists, "two tags, of which the second is taken")
	w.names(r, Tag("v1"), name.Digest{})
	w.names(r, Tag("v2"), p.Digest)
	w.names(r, ByDigest(q.Digest), name.Digest{})
}

func testRefuseSame(w *World) {
	r := w.RepoWith("team/app", meta.Mutability{Mode: meta.Immutable})
	p := w.Image(r, "config", "v1")
	strict := func(p meta.Put, tags ...string) error {
		p.RefuseSame = true
		return w.PutImage(w.Ctx, r, As(p, tags...))
	}
	err := strict(p, "v1")
	w.Want(err, fault.ImageAlreadyExists, "the same image under the same tag")
	if err != nil && !strings.Contains(err.Error(), fmt.Sprintf("Image with digest '%s' and tag 'v1' already exists in the repository with name 'team/app' in registry with id '%s'", p.Digest, Account)) {
		w.Errorf("the text differs from ECR's: %v", err)
	}
	w.Want(strict(p), fault.ImageAlreadyExists, "the same image without a tag")
	w.Want(strict(p, "v2"), 0, "the same image under a new tag")
	w.Blob(r, "other")
	w.Want(strict(ImageOf("other"), "v1"), fault.ImageTagAlreadyExists, "another image under an immutable tag")
	w.Want(w.PutImage(w.Ctx, r, As(p, "v1")), 0, "the same again as docker does it")
}

func testIndex(w *World) {
	r := w.Repo("team/app")
	small, large := w.Image(r, "s"), w.Image(r, "much larger")
	x := IndexOf(small, large, small)
	w.Push(r, As(x, "multi"))
	im, err := w.Store.Image(w.Ctx, r.ID, x.Digest)
	w.Must(err)
	w.Equal(im.Bytes, int64(len("much larger")), "Bytes of an index, those of its largest image")
	outer := IndexOf(x, small)
	w.Push(r, As(outer, "outer"))
	im, err = w.Store.Image(w.Ctx, r.ID, outer.Digest)
	w.Must(err)
	w.Equal(im.Bytes, int64(len("much larger")), "Bytes of an index of indexes")
	elsewhere := w.Repo("team/elsewhere")
	w.Want(w.PutImage(w.Ctx, elsewhere, x), fault.ReferencedImagesNotFound, "an index over images of another repository")
}

func testIndexDepth(w *World) {
	r := w.Repo("team/app")
	p := w.Image(r, "config")
	for range meta.MaxDepth {
		p = IndexOf(p)
		w.Push(r, p)
	}
	deeper := IndexOf(p)
	w.Want(w.PutImage(w.Ctx, r, deeper), fault.ManifestInvalid, "%d levels", meta.MaxDepth+1)
	w.names(r, ByDigest(deeper.Digest), name.Digest{})
}

func testQuotas(w *World) {
	r := w.Repo("team/app")
	p := w.Image(r, "config")
	var tags []string
	for i := range meta.MaxTagsPerImage - 5 {
		tags = append(tags, fmt.Sprint("t", i))
	}
	w.Push(r, As(p, tags...))
	won := race(w, 20, fault.LimitExceeded, func(i int) error {
		q := As(p, fmt.Sprint("more", i))
		q.Quotas = true
		return w.PutImage(w.Ctx, r, q)
	})
	w.Equal(won, 5, "tags that found room below the quota")
	q := As(p, "t0")
	q.Quotas = true
	w.Want(w.PutImage(w.Ctx, r, q), 0, "a tag that the image has")
	w.Want(w.PutImage(w.Ctx, r, As(p, "one-more")), 0, "one more without the quota")
}

func testMutability(w *World) {
	for _, test := range []struct {
		m      meta.Mutability
		tag    string
		frozen bool
	}{
		{meta.Mutability{Mode: meta.Mutable}, "v1", false},
		{meta.Mutability{Mode: meta.Immutable}, "v1", true},
		{meta.Mutability{Mode: meta.ImmutableWithExclusion, Filters: []string{"dev-*", "latest"}}, "v1", true},
		{meta.Mutability{Mode: meta.ImmutableWithExclusion, Filters: []string{"dev-*", "latest"}}, "dev-1", false},
		{meta.Mutability{Mode: meta.ImmutableWithExclusion, Filters: []string{"dev-*", "latest"}}, "latest", false},
		{meta.Mutability{Mode: meta.ImmutableWithExclusion, Filters: []string{"dev-*", "latest"}}, "latest2", true},
		{meta.Mutability{Mode: meta.MutableWithExclusion, Filters: []string{"v*.*"}}, "v1", false},
		{meta.Mutability{Mode: meta.MutableWithExclusion, Filters: []string{"v*.*"}}, "v1.0", true},
	} {
		repo := strings.ToLower(fmt.Sprintf("%s/%s/%d", strings.ReplaceAll(test.m.Mode, "_", "-"), test.tag, len(test.m.Filters)))
		r := w.RepoWith(repo, meta.Mutability{Mode: meta.Mutable})
		p, q := w.Image(r, "one", test.tag), w.Image(r, "two")
		w.Must(w.SetMutability(w.Ctx, r, test.m)) // r still says mutable: what counts is what is stored
		want, code := q.Digest, fault.Code(0)
		if test.frozen {
			want, code = p.Digest, fault.ImageTagAlreadyExists
		}
		w.Want(w.PutImage(w.Ctx, r, As(q, test.tag)), code, "moving %s under %+v", test.tag, test.m)
		w.names(r, Tag(test.tag), want)
		w.Want(w.PutImage(w.Ctx, r, As(q, "new")), 0, "a new tag under %+v", test.m)
		// A tag may be removed, and then made again.
		_, err := w.DeleteTag(w.Ctx, r, Tag(test.tag).Tag, name.Digest{}, false, Principal)
		w.Must(err)
		w.Want(w.PutImage(w.Ctx, r, As(q, test.tag)), 0, "%s again under %+v", test.tag, test.m)
	}
}

// Of 50 that put different images under one new immutable tag, one wins and the others are told.
func testImmutableTagRace(w *World) {
	r := w.RepoWith("team/app", meta.Mutability{Mode: meta.Immutable})
	const n = 50
	images := make([]meta.Put, n)
	for i := range images {
		images[i] = w.Image(r, fmt.Sprint("config", i))
	}
	winners := make([]bool, n)
	won := race(w, n, fault.ImageTagAlreadyExists, func(i int) error {
		err := w.PutImage(w.Ctx, r, As(images[i], "v1"))
		winners[i] = err == nil
		return err
	})
	w.Equal(won, 1, "pushes to one immutable tag that were acknowledged")
	w.names(r, Tag("v1"), images[max(0, slices.Index(winners, true))].Digest)
	moves, err := w.TagHistory(w.Ctx, r.ID, "v1", 0, n)
	w.Must(err)
	w.Equal(len(moves), 1, "moves in the history")
}

// 1,000 pushes of as many images move one tag: each is in the history, in one order, without a gap, and only the last
// image is tagged.
func testTagRaceHistory(w *World) {
	r := w.Repo("team/app")
	w.Blob(r, "config")
	const pushes, writers = 1000, 100
	race(w, writers, 0, func(i int) error {
		for j := range pushes / writers {
			if err := w.PutImage(w.Ctx, r, As(Variant(i*pushes+j, "config"), "hot")); err != nil {
				return err
			}
		}
		return nil
	})
	moves := checkHistory(w, r, "hot")
	seen := map[string]bool{}
	for _, m := range moves {
		seen[m.To] = true
	}
	if len(moves) != pushes || len(seen) != pushes {
		w.Errorf("got %d moves to %d images, want %d to as many", len(moves), len(seen), pushes)
	}
	tagged, err := w.Images(w.Ctx, r.ID, meta.Tagged, meta.Position{}, pushes)
	w.Must(err)
	untagged, err := w.Images(w.Ctx, r.ID, meta.Untagged, meta.Position{}, pushes)
	w.Must(err)
	if len(tagged) != 1 || len(untagged) != pushes-1 {
		w.Errorf("got %d tagged and %d untagged images, want 1 and %d", len(tagged), len(untagged), pushes-1)
	}
}

// wholeHistory reads the moves of a tag ("" for all), oldest first, in small pages.
func (w *World) wholeHistory(r meta.Repository, tag string) []meta.TagMove {
	w.Helper()
	var all []meta.TagMove
	for before := int64(0); ; {
		page, err := w.TagHistory(w.Ctx, r.ID, tag, before, 97)
		w.Must(err)
		if len(page) == 0 {
			slices.Reverse(all)
			return all
		}
		all = append(all, page...)
		before = page[len(page)-1].ID
	}
}

// checkHistory makes sure that the moves of a tag follow each other from nothing to where it is now.
func checkHistory(w *World, r meta.Repository, tag string) (moves []meta.TagMove) {
	w.Helper()
	moves = w.wholeHistory(r, tag)
	at, id := "", int64(0)
	for i, m := range moves {
		if m.From != at || m.To == m.From || m.ID <= id || m.Tag != tag {
			w.Errorf("move %d of %s: got %+v after %q with ID %d", i, tag, m, at, id)
		}
		at, id = m.To, m.ID
	}
	h, err := w.Head(w.Ctx, r.ID, Tag(tag))
	if err != nil && !errors.Is(err, fault.ImageNotFound) {
		w.Error(err)
	}
	w.Equal(h.Digest.String(), at, "where the history of %s ends", tag)
	return moves
}

func testReferrers(w *World) {
	r := w.Repo("team/app")
	p := w.Image(r, "config")
	w.Blob(r, "sig")
	a, b := ReferrerOf(p.Digest, "application/a", "sig"), ReferrerOf(p.Digest, "application/b", "sig")
	w.Push(r, As(a, "signature"))
	w.Push(r, b)
	w.Push(r, ReferrerOf(Digest("another subject, not there"), "application/a", "sig"))
	h, err := w.Head(w.Ctx, r.ID, Tag("signature"))
	w.Must(err)
	w.Equal(h.Subject, p.Digest, "the subject in Head")
	find := func(d name.Digest, types ...string) (found []string) {
		w.Helper()
		all, more, err := w.Referrers(w.Ctx, r.ID, d, types, "", 10)
		w.Must(err)
		w.Equal(more, false, "more referrers")
		for _, im := range all {
			w.Equal(im.Annotations, map[string]string{"type": im.ArtifactType}, "annotations of a referrer")
			w.Equal(im.Subject, d, "subject of a referrer")
			found = append(found, im.ArtifactType)
		}
		slices.Sort(found)
		return found
	}
	for _, test := range []struct{ types, want []string }{
		{nil, []string{"application/a", "application/b"}}, {[]string{"application/a"}, []string{"application/a"}},
		{[]string{"application/a", "application/b"}, []string{"application/a", "application/b"}}, {[]string{"application/c"}, nil},
	} {
		w.Equal(find(p.Digest, test.types...), test.want, "referrers of types %q", test.types)
	}
	w.Equal(find(Digest("unknown")), []string(nil), "referrers of an unknown subject")
	_, err = w.DeleteImage(w.Ctx, r, a.Digest, meta.AnyTags, Principal)
	w.Must(err)
	w.Equal(find(p.Digest), []string{"application/b"}, "referrers after one was deleted")
}

func testPulled(w *World) {
	r := w.Repo("team/app")
	p := w.Image(r, "config", "v1")
	pulled := func(at, want time.Time) {
		w.Helper()
		w.Must(w.SetPulled(w.Ctx, map[meta.PullKey]time.Time{
			{Repository: r.ID, Digest: p.Digest}: at, {Repository: r.ID, Digest: Digest("gone")}: at, {Repository: 1, Digest: p.Digest}: at,
		}))
		im, err := w.Store.Image(w.Ctx, r.ID, p.Digest)
		w.Must(err)
		w.Equal(im.PulledAt, want, "PulledAt after a pull at %s", at)
	}
	pulled(monday, monday)
	pulled(monday.Add(time.Hour), monday.Add(time.Hour))
	pulled(monday, monday.Add(time.Hour)) // flushed late
}
