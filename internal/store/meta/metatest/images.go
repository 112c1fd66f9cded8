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

// names checks the digest of a reference; the zero Digest means that the image does not exist.
func (fx *Fixture) names(r meta.Repository, ref name.Reference, want name.Digest) {
	fx.Helper()
	h, err := fx.Head(fx.Ctx, r.ID, ref)
	if want == (name.Digest{}) {
		fx.Want(err, fault.ImageNotFound, "Head(%s) in %s", ref, r.Name)
		return
	}
	if err != nil || h.Digest != want {
		fx.Errorf("Head(%s) in %s: got %s, %v, want %s", ref, r.Name, h.Digest, err, want)
	}
}

// tags checks the tags of an image, and that it is listed as tagged or as untagged accordingly.
func (fx *Fixture) tags(r meta.Repository, d name.Digest, want ...string) {
	fx.Helper()
	im, err := fx.Store.Image(fx.Ctx, r.ID, d)
	fx.Must(err)
	if !slices.Equal(im.Tags, want) {
		fx.Errorf("tags of %s: got %q, want %q", d, im.Tags, want)
	}
	for state, listed := range map[meta.TagState]bool{meta.Any: true, meta.Tagged: len(want) > 0, meta.Untagged: len(want) == 0} {
		all, err := fx.Images(fx.Ctx, r.ID, state, meta.Position{}, 1000)
		fx.Must(err)
		if got := slices.ContainsFunc(all, func(im meta.Image) bool { return im.Digest == d }); got != listed {
			fx.Errorf("image %s with tags %q in the list of state %d: got %t, want %t", d, want, state, got, listed)
		}
	}
}

func testPutImage(fx *Fixture) {
	r := fx.Repo("team/app")
	fx.Blob(r, "config")
	fx.Blob(r, "a layer")
	p := ImageOf("config", "a layer", "a layer")
	fx.Push(r, As(p, "v1"))
	want := meta.ManifestHead{Digest: p.Digest, MediaType: manifest.OCIManifest, Size: int64(len(p.Body))}
	for _, ref := range []name.Reference{Tag("v1"), ByDigest(p.Digest)} {
		for range 2 { // from the database and from the cache
			got, err := fx.Head(fx.Ctx, r.ID, ref)
			fx.Must(err)
			fx.Equal(got, want, "Head(%s)", ref)
		}
	}
	body, err := fx.Body(fx.Ctx, p.Digest)
	fx.Must(err)
	fx.Equal(string(body), string(p.Body), "Body")
	_, err = fx.Body(fx.Ctx, Digest("nothing"))
	fx.Want(err, fault.ImageNotFound, "an unknown body")
	im, err := fx.Store.Image(fx.Ctx, r.ID, p.Digest)
	fx.Must(err)
	fx.Equal(im, meta.Image{ManifestHead: want, ArtifactType: configType, Bytes: int64(len("config" + "a layer")),
		PushedAt: im.PushedAt, Tags: []string{"v1"}}, "Image")
	if im.PushedAt.IsZero() {
		fx.Error("PushedAt: got none")
	}
	// Pushes with more tags, an existing tag and no tag do not change the image.
	for _, tags := range [][]string{{"v2", "v3"}, {"v1"}, nil} {
		fx.Push(r, As(p, tags...))
	}
	fx.tags(r, p.Digest, "v1", "v2", "v3")
	again, err := fx.Store.Image(fx.Ctx, r.ID, p.Digest)
	fx.Must(err)
	fx.Equal(again.PushedAt, im.PushedAt, "PushedAt after more tags")

	// All tags move, one after another.
	q := fx.Image(r, "other")
	fx.tags(r, q.Digest)
	fx.Push(r, As(q, "v1", "v3"))
	fx.tags(r, p.Digest, "v2")
	fx.tags(r, q.Digest, "v1", "v3")
	fx.Push(r, As(q, "v2"))
	fx.tags(r, p.Digest)
	fx.names(r, Tag("v2"), q.Digest)
	fx.names(r, ByDigest(p.Digest), p.Digest)
	_, err = fx.Store.Image(fx.Ctx, r.ID, Digest("nothing"))
	fx.Want(err, fault.ImageNotFound, "an unknown image")
}

// A refused push stores nothing.
func testPutImageRefuses(fx *Fixture) {
	r := fx.Repo("team/app")
	fx.Blob(r, "config")
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
		err := fx.PutImage(fx.Ctx, r, As(test.put, "v1"))
		fx.Want(err, test.code, "%s", what)
		var e *fault.Error
		if test.missing != nil && errors.As(err, &e) {
			fx.Equal(e.Fields["digests"], any(test.missing), "%s: the missing digests", what)
		}
		fx.names(r, Tag("v1"), name.Digest{})
		fx.names(r, ByDigest(test.put.Digest), name.Digest{})
	}
	all, err := fx.TagHistory(fx.Ctx, r.ID, "", 0, 10)
	fx.Must(err)
	fx.Equal(len(all), 0, "moves in the history")
	// If the second tag is refused, the first is not stored.
	fx.Must(fx.SetMutability(fx.Ctx, r, meta.Mutability{Mode: meta.Immutable}))
	p, q := fx.Image(r, "config", "v2"), ImageOf("config2")
	fx.Blob(r, "config2")
	fx.Want(fx.PutImage(fx.Ctx, r, As(q, "v1", "v2")), fault.ImageTagAlreadyExists, "two tags, of which the second exists")
	fx.names(r, Tag("v1"), name.Digest{})
	fx.names(r, Tag("v2"), p.Digest)
	fx.names(r, ByDigest(q.Digest), name.Digest{})
}

func testRefuseSame(fx *Fixture) {
	r := fx.RepoWith("team/app", meta.Mutability{Mode: meta.Immutable})
	p := fx.Image(r, "config", "v1")
	strict := func(p meta.Put, tags ...string) error {
		p.RefuseSame = true
		return fx.PutImage(fx.Ctx, r, As(p, tags...))
	}
	err := strict(p, "v1")
	fx.Want(err, fault.ImageAlreadyExists, "the same image under the same tag")
	if err != nil &&
		!strings.Contains(err.Error(),
			fmt.Sprintf("Image with digest '%s' and tag 'v1' already exists in the repository with name 'team/app' in registry with id '%s'", p.Digest, Account)) {
		fx.Errorf("the text differs from ECR's: %v", err)
	}
	fx.Want(strict(p), fault.ImageAlreadyExists, "the same image without a tag")
	fx.Want(strict(p, "v2"), 0, "the same image under a new tag")
	fx.Blob(r, "other")
	fx.Want(strict(ImageOf("other"), "v1"), fault.ImageTagAlreadyExists, "another image under an immutable tag")
	fx.Want(fx.PutImage(fx.Ctx, r, As(p, "v1")), 0, "the same image again without RefuseSame, as docker pushes it")
}

func testIndex(fx *Fixture) {
	r := fx.Repo("team/app")
	small, large := fx.Image(r, "s"), fx.Image(r, "much larger")
	x := IndexOf(small, large, small)
	fx.Push(r, As(x, "multi"))
	im, err := fx.Store.Image(fx.Ctx, r.ID, x.Digest)
	fx.Must(err)
	fx.Equal(im.Bytes, int64(len("much larger")), "Bytes of an index, those of its largest image")
	outer := IndexOf(x, small)
	fx.Push(r, As(outer, "outer"))
	im, err = fx.Store.Image(fx.Ctx, r.ID, outer.Digest)
	fx.Must(err)
	fx.Equal(im.Bytes, int64(len("much larger")), "Bytes of an index of indexes")
	elsewhere := fx.Repo("team/elsewhere")
	fx.Want(fx.PutImage(fx.Ctx, elsewhere, x), fault.ReferencedImagesNotFound, "an index over images of another repository")
}

func testIndexDepth(fx *Fixture) {
	r := fx.Repo("team/app")
	p := fx.Image(r, "config")
	for range meta.MaxDepth {
		p = IndexOf(p)
		fx.Push(r, p)
	}
	deeper := IndexOf(p)
	fx.Want(fx.PutImage(fx.Ctx, r, deeper), fault.ManifestInvalid, "%d levels", meta.MaxDepth+1)
	fx.names(r, ByDigest(deeper.Digest), name.Digest{})
}

func testQuotas(fx *Fixture) {
	r := fx.Repo("team/app")
	p := fx.Image(r, "config")
	var tags []string
	for i := range meta.MaxTagsPerImage - 5 {
		tags = append(tags, fmt.Sprint("t", i))
	}
	fx.Push(r, As(p, tags...))
	won := race(fx, 20, fault.LimitExceeded, func(i int) error {
		q := As(p, fmt.Sprint("more", i))
		q.Quotas = true
		return fx.PutImage(fx.Ctx, r, q)
	})
	fx.Equal(won, 5, "acknowledged tags below the quota")
	q := As(p, "t0")
	q.Quotas = true
	fx.Want(fx.PutImage(fx.Ctx, r, q), 0, "a tag that the image has")
	fx.Want(fx.PutImage(fx.Ctx, r, As(p, "one-more")), 0, "one more without the quota")
}

func testMutability(fx *Fixture) {
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
		r := fx.RepoWith(repo, meta.Mutability{Mode: meta.Mutable})
		p, q := fx.Image(r, "one", test.tag), fx.Image(r, "two")
		fx.Must(fx.SetMutability(fx.Ctx, r, test.m)) // r still has the old setting: the stored one counts
		want, code := q.Digest, fault.Code(0)
		if test.frozen {
			want, code = p.Digest, fault.ImageTagAlreadyExists
		}
		fx.Want(fx.PutImage(fx.Ctx, r, As(q, test.tag)), code, "moving %s under %+v", test.tag, test.m)
		fx.names(r, Tag(test.tag), want)
		fx.Want(fx.PutImage(fx.Ctx, r, As(q, "new")), 0, "a new tag under %+v", test.m)
		// A tag may be removed and created again.
		_, err := fx.DeleteTag(fx.Ctx, r, Tag(test.tag).Tag, name.Digest{}, false, Principal)
		fx.Must(err)
		fx.Want(fx.PutImage(fx.Ctx, r, As(q, test.tag)), 0, "%s again under %+v", test.tag, test.m)
	}
}

// Of 50 concurrent pushes of different images with one new immutable tag, one succeeds and the others are refused.
func testImmutableTagRace(fx *Fixture) {
	r := fx.RepoWith("team/app", meta.Mutability{Mode: meta.Immutable})
	const n = 50
	images := make([]meta.Put, n)
	for i := range images {
		images[i] = fx.Image(r, fmt.Sprint("config", i))
	}
	winners := make([]bool, n)
	won := race(fx, n, fault.ImageTagAlreadyExists, func(i int) error {
		err := fx.PutImage(fx.Ctx, r, As(images[i], "v1"))
		winners[i] = err == nil
		return err
	})
	fx.Equal(won, 1, "acknowledged pushes to one immutable tag")
	fx.names(r, Tag("v1"), images[max(0, slices.Index(winners, true))].Digest)
	moves, err := fx.TagHistory(fx.Ctx, r.ID, "v1", 0, n)
	fx.Must(err)
	fx.Equal(len(moves), 1, "moves in the history")
}

// 1,000 pushes of as many images move one tag: each move is in the history, in one order and without a gap, and only
// the last image is tagged.
func testTagRaceHistory(fx *Fixture) {
	r := fx.Repo("team/app")
	fx.Blob(r, "config")
	const pushes, writers = 1000, 100
	race(fx, writers, 0, func(i int) error {
		for j := range pushes / writers {
			if err := fx.PutImage(fx.Ctx, r, As(Variant(i*pushes+j, "config"), "hot")); err != nil {
				return err
			}
		}
		return nil
	})
	moves := checkHistory(fx, r, "hot")
	seen := map[string]bool{}
	for _, m := range moves {
		seen[m.To] = true
	}
	if len(moves) != pushes || len(seen) != pushes {
		fx.Errorf("got %d moves to %d images, want %d to as many", len(moves), len(seen), pushes)
	}
	tagged, err := fx.Images(fx.Ctx, r.ID, meta.Tagged, meta.Position{}, pushes)
	fx.Must(err)
	untagged, err := fx.Images(fx.Ctx, r.ID, meta.Untagged, meta.Position{}, pushes)
	fx.Must(err)
	if len(tagged) != 1 || len(untagged) != pushes-1 {
		fx.Errorf("got %d tagged and %d untagged images, want 1 and %d", len(tagged), len(untagged), pushes-1)
	}
}

// wholeHistory returns the moves of a tag ("" for all), oldest first, read in small pages.
func (fx *Fixture) wholeHistory(r meta.Repository, tag string) []meta.TagMove {
	fx.Helper()
	var all []meta.TagMove
	for before := int64(0); ; {
		page, err := fx.TagHistory(fx.Ctx, r.ID, tag, before, 97)
		fx.Must(err)
		if len(page) == 0 {
			slices.Reverse(all)
			return all
		}
		all = append(all, page...)
		before = page[len(page)-1].ID
	}
}

// checkHistory checks that the moves of a tag follow each other, from no image to its current one.
func checkHistory(fx *Fixture, r meta.Repository, tag string) (moves []meta.TagMove) {
	fx.Helper()
	moves = fx.wholeHistory(r, tag)
	at, id := "", int64(0)
	for i, m := range moves {
		if m.From != at || m.To == m.From || m.ID <= id || m.Tag != tag {
			fx.Errorf("move %d of %s: got %+v after %q with ID %d", i, tag, m, at, id)
		}
		at, id = m.To, m.ID
	}
	h, err := fx.Head(fx.Ctx, r.ID, Tag(tag))
	if err != nil && !errors.Is(err, fault.ImageNotFound) {
		fx.Error(err)
	}
	fx.Equal(h.Digest.String(), at, "the end of the history of %s", tag)
	return moves
}

func testReferrers(fx *Fixture) {
	r := fx.Repo("team/app")
	p := fx.Image(r, "config")
	fx.Blob(r, "sig")
	a, b := ReferrerOf(p.Digest, "application/a", "sig"), ReferrerOf(p.Digest, "application/b", "sig")
	fx.Push(r, As(a, "signature"))
	fx.Push(r, b)
	fx.Push(r, ReferrerOf(Digest("another subject, not stored"), "application/a", "sig"))
	h, err := fx.Head(fx.Ctx, r.ID, Tag("signature"))
	fx.Must(err)
	fx.Equal(h.Subject, p.Digest, "the subject in Head")
	find := func(d name.Digest, types ...string) (found []string) {
		fx.Helper()
		all, more, err := fx.Referrers(fx.Ctx, r.ID, d, types, "", 10)
		fx.Must(err)
		fx.Equal(more, false, "more referrers")
		for _, im := range all {
			fx.Equal(im.Annotations, map[string]string{"type": im.ArtifactType}, "annotations of a referrer")
			fx.Equal(im.Subject, d, "subject of a referrer")
			found = append(found, im.ArtifactType)
		}
		slices.Sort(found)
		return found
	}
	for _, test := range []struct{ types, want []string }{
		{nil, []string{"application/a", "application/b"}}, {[]string{"application/a"}, []string{"application/a"}},
		{[]string{"application/a", "application/b"}, []string{"application/a", "application/b"}}, {[]string{"application/c"}, nil},
	} {
		fx.Equal(find(p.Digest, test.types...), test.want, "referrers of types %q", test.types)
	}
	fx.Equal(find(Digest("unknown")), []string(nil), "referrers of an unknown subject")
	_, err = fx.DeleteImage(fx.Ctx, r, a.Digest, meta.AnyTags, Principal)
	fx.Must(err)
	fx.Equal(find(p.Digest), []string{"application/b"}, "referrers after one was deleted")
}

func testPulled(fx *Fixture) {
	r := fx.Repo("team/app")
	p := fx.Image(r, "config", "v1")
	pulled := func(at, want time.Time) {
		fx.Helper()
		fx.Must(fx.SetPulled(fx.Ctx, map[meta.PullKey]time.Time{
			{Repository: r.ID, Digest: p.Digest}: at, {Repository: r.ID, Digest: Digest("gone")}: at, {Repository: 1, Digest: p.Digest}: at,
		}))
		im, err := fx.Store.Image(fx.Ctx, r.ID, p.Digest)
		fx.Must(err)
		fx.Equal(im.PulledAt, want, "PulledAt after a pull at %s", at)
	}
	pulled(monday, monday)
	pulled(monday.Add(time.Hour), monday.Add(time.Hour))
	pulled(monday, monday.Add(time.Hour)) // recorded after a later pull
	pulled(monday.Add(2*time.Hour-time.Microsecond), monday.Add(time.Hour))
	pulled(monday.Add(2*time.Hour), monday.Add(2*time.Hour))
}
