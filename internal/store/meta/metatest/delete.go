package metatest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

func testDeleteImage(fx *Fixture) {
	r := fx.Repo("team/app")
	p, bare := fx.Image(r, "one", "b", "a", "c"), fx.Image(r, "two")
	removed, err := fx.DeleteImage(fx.Ctx, r, p.Digest, meta.AnyTags, Principal)
	fx.Must(err)
	d := p.Digest.String()
	fx.Equal(removed, []meta.Removed{{Digest: d, Tag: "a"}, {Digest: d, Tag: "b"}, {Digest: d, Tag: "c"}}, "the removed pairs of the image")
	removed, err = fx.DeleteImage(fx.Ctx, r, bare.Digest, meta.AnyTags, Principal)
	fx.Must(err)
	fx.Equal(removed, []meta.Removed{{Digest: bare.Digest.String()}}, "the removed pairs of an untagged image")
	fx.names(r, Tag("a"), name.Digest{})
	fx.names(r, ByDigest(p.Digest), name.Digest{})
	for _, gone := range []name.Digest{p.Digest, Digest("never there")} {
		_, err = fx.DeleteImage(fx.Ctx, r, gone, meta.AnyTags, Principal)
		fx.Want(err, fault.ImageNotFound, "deleting %s", gone)
	}
	// Pushed again without tags it is untagged, whatever it was before, and has a new push time.
	fx.Push(r, As(p))
	fx.tags(r, p.Digest)
	fx.Push(r, As(p, "a"))
	fx.tags(r, p.Digest, "a")
}

func testDeleteTag(fx *Fixture) {
	r := fx.Repo("team/app")
	p, q := fx.Image(r, "one", "v1", "v2"), fx.Image(r, "two", "only")
	remove := func(tag string, only name.Digest, last bool) (meta.Removed, error) {
		return fx.DeleteTag(fx.Ctx, r, Tag(tag).Tag, only, last, Principal)
	}
	_, err := remove("nosuch", name.Digest{}, true)
	fx.Want(err, fault.ImageNotFound, "an unknown tag")
	_, err = remove("v1", q.Digest, true)
	fx.Want(err, fault.TargetChanged, "a tag with another image's digest")
	fx.tags(r, p.Digest, "v1", "v2")
	got, err := remove("v1", p.Digest, true)
	fx.Must(err)
	fx.Equal(got, meta.Removed{Digest: p.Digest.String(), Tag: "v1"}, "the removed pair")
	fx.tags(r, p.Digest, "v2")
	_, err = remove("v2", name.Digest{}, true)
	fx.Must(err)
	fx.names(r, ByDigest(p.Digest), name.Digest{}) // deleted with its last tag
	_, err = remove("only", name.Digest{}, false)
	fx.Must(err)
	fx.names(r, ByDigest(q.Digest), q.Digest) // stays without a tag
	fx.tags(r, q.Digest)
	_, err = remove("only", name.Digest{}, false)
	fx.Want(err, fault.ImageNotFound, "a tag that was removed")
	for _, tag := range []string{"v1", "v2", "only"} {
		if moves := checkHistory(fx, r, tag); len(moves) != 2 || moves[1].To != "" || moves[1].Principal != Principal {
			fx.Errorf("history of %s: got %+v, want its creation and its removal by %s", tag, moves, Principal)
		}
	}
}

// Two calls remove the two tags of an image concurrently: the second one removes the last tag, and the image with it.
func testLastTagRace(fx *Fixture) {
	r := fx.Repo("team/app")
	for round := range 10 {
		p := fx.Image(r, "config", "a", "b")
		race(fx, 2, 0, func(i int) error {
			_, err := fx.DeleteTag(fx.Ctx, r, Tag([]string{"a", "b"}[i]).Tag, name.Digest{}, true, Principal)
			return err
		})
		_, err := fx.Head(fx.Ctx, r.ID, ByDigest(p.Digest))
		fx.Want(err, fault.ImageNotFound, "round %d: an image without its last tag", round)
	}
}

func testDeleteReferenced(fx *Fixture) {
	r := fx.Repo("team/app")
	child := fx.Image(r, "config", "child")
	x, y := IndexOf(child), IndexOf(child, child)
	fx.Push(r, As(x, "x"))
	fx.Push(r, y)
	want := fmt.Sprintf("[%s]", x.Digest)
	_, err := fx.DeleteImage(fx.Ctx, r, child.Digest, meta.AnyTags, Principal)
	fx.Want(err, fault.ImageReferenced, "deleting an image of indexes")
	_, err = fx.DeleteTag(fx.Ctx, r, Tag("child").Tag, name.Digest{}, true, Principal)
	fx.Want(err, fault.ImageReferenced, "removing the last tag of an image of indexes")
	fx.tags(r, child.Digest, "child")
	_, err = fx.DeleteImage(fx.Ctx, r, y.Digest, meta.AnyTags, Principal)
	fx.Must(err)
	_, err = fx.DeleteImage(fx.Ctx, r, child.Digest, meta.AnyTags, Principal)
	var e *fault.Error
	if !errors.As(err, &e) || e.Public != "Requested image referenced by manifest list: "+want {
		fx.Errorf("deleting an image of one index: got %v, want the text of ECR with %s", err, want)
	}
	_, err = fx.DeleteTag(fx.Ctx, r, Tag("child").Tag, name.Digest{}, false, Principal)
	fx.Want(err, 0, "removing the tag alone")
	_, err = fx.DeleteTag(fx.Ctx, r, Tag("x").Tag, name.Digest{}, true, Principal)
	fx.Want(err, 0, "removing the index with its last tag")
	_, err = fx.DeleteImage(fx.Ctx, r, child.Digest, meta.AnyTags, Principal)
	fx.Want(err, 0, "deleting an image of no index any more")
	fx.Want(fx.PutImage(fx.Ctx, r, x), fault.ReferencedImagesNotFound, "the index again without its image")
	fx.Want(fx.RestoreImage(fx.Ctx, r, x.Digest, nil, Principal, false), fault.ReferencedImagesNotFound, "restoring it")
}

// A repository is never deleted with an image whose push was acknowledged before, except by force.
func testDeleteDuringPush(fx *Fixture) {
	for round := range 20 {
		r := fx.Repo(fmt.Sprint("team/app", round))
		fx.Blob(r, "config")
		var pushed, deleted error
		race(fx, 2, 0, func(i int) error {
			if i == 0 {
				pushed = fx.PutImage(fx.Ctx, r, As(ImageOf("config"), "v1"))
			} else {
				deleted = fx.DeleteRepository(fx.Ctx, r, false)
			}
			return nil
		})
		switch {
		case pushed == nil:
			fx.Want(deleted, fault.RepositoryNotEmpty, "round %d: deletion after an acknowledged push", round)
			fx.names(r, Tag("v1"), ImageOf("config").Digest)
		default:
			fx.Want(pushed, fault.RepositoryNotFound, "round %d: push after a deletion", round)
			fx.Want(deleted, 0, "round %d: deletion before a push", round)
		}
	}
}

// An acknowledged index has all its images, even if one of them is deleted at the same time.
func testDeleteChildDuringIndexPush(fx *Fixture) {
	r := fx.Repo("team/app")
	for round := range 20 {
		child := fx.Image(r, fmt.Sprint("config", round))
		var pushed, deleted error
		race(fx, 2, 0, func(i int) error {
			if i == 0 {
				pushed = fx.PutImage(fx.Ctx, r, IndexOf(child))
			} else {
				_, deleted = fx.DeleteImage(fx.Ctx, r, child.Digest, meta.AnyTags, Principal)
			}
			return nil
		})
		if pushed == nil {
			fx.Want(deleted, fault.ImageReferenced, "round %d: deletion after the index", round)
			fx.names(r, ByDigest(child.Digest), child.Digest)
		} else {
			fx.Want(pushed, fault.ReferencedImagesNotFound, "round %d: index after the deletion", round)
			fx.Want(deleted, 0, "round %d: deletion before the index", round)
		}
	}
}

func testRestore(fx *Fixture) {
	r := fx.RepoWith("team/app", meta.Mutability{Mode: meta.Immutable})
	p, q := fx.Image(r, "one", "v1"), fx.Image(r, "two", "v2")
	for _, im := range []meta.Put{p, q} {
		_, err := fx.DeleteImage(fx.Ctx, r, im.Digest, meta.AnyTags, Principal)
		fx.Must(err)
	}
	all, err := fx.DeletedImages(fx.Ctx, r.ID, 10)
	fx.Must(err)
	var got []string
	for _, im := range all {
		got = append(got, im.Digest.String())
		if im.DeletedAt.IsZero() {
			fx.Errorf("DeletedAt of %s: got none", im.Digest)
		}
	}
	slices.Sort(got)
	want := []string{p.Digest.String(), q.Digest.String()}
	slices.Sort(want)
	fx.Equal(got, want, "DeletedImages")
	mediaType, body, err := fx.DeletedImage(fx.Ctx, r.ID, p.Digest)
	fx.Must(err)
	fx.Equal([]string{mediaType, string(body)}, []string{p.Manifest.MediaType, string(p.Body)}, "DeletedImage")

	fx.Must(fx.RestoreImage(fx.Ctx, r, p.Digest, As(p, "v1", "v3").Tags, Principal, false))
	fx.tags(r, p.Digest, "v1", "v3")
	fx.Want(fx.RestoreImage(fx.Ctx, r, p.Digest, nil, Principal, false), fault.ImageNotFound, "an image that is not deleted")
	fx.Want(fx.RestoreImage(fx.Ctx, r, q.Digest, As(q, "v1").Tags, Principal, false), fault.ImageTagAlreadyExists,
		"with an immutable tag that exists")
	_, _, err = fx.DeletedImage(fx.Ctx, r.ID, q.Digest)
	fx.Want(err, 0, "an image that could not be restored")
	fx.Must(fx.RestoreImage(fx.Ctx, r, q.Digest, nil, Principal, false))
	fx.tags(r, q.Digest)
	if len(checkHistory(fx, r, "v1")) != 3 {
		fx.Error("history of v1: want creation, removal and creation")
	}
}

// The history contains every kind of move of a tag.
func testHistory(fx *Fixture) {
	r := fx.Repo("team/app")
	p, q := fx.Image(r, "one", "v1"), fx.Image(r, "two")
	step := func(err error) { fx.Helper(); fx.Must(err) }
	step(fx.PutImage(fx.Ctx, r, As(q, "v1")))
	step(fx.PutImage(fx.Ctx, r, As(q, "v1"))) // moves nothing
	_, err := fx.DeleteTag(fx.Ctx, r, Tag("v1").Tag, name.Digest{}, false, Principal)
	step(err)
	step(fx.PutImage(fx.Ctx, r, As(p, "v1")))
	_, err = fx.DeleteTag(fx.Ctx, r, Tag("v1").Tag, name.Digest{}, true, Principal)
	step(err)
	step(fx.RestoreImage(fx.Ctx, r, p.Digest, As(p, "v1").Tags, Principal, false))
	_, err = fx.DeleteImage(fx.Ctx, r, p.Digest, meta.AnyTags, Principal)
	step(err)
	step(fx.PutImage(fx.Ctx, r, As(p, "v1")))
	fx.Want(fx.PutImage(fx.Ctx, r, As(ImageOf("no such blob"), "v1")), fault.LayersNotFound, "a refused push")
	one, two := p.Digest.String(), q.Digest.String()
	var got [][2]string
	for _, m := range checkHistory(fx, r, "v1") {
		got = append(got, [2]string{m.From, m.To})
		if m.Principal != Principal || m.At.IsZero() {
			fx.Errorf("got %+v, want principal and time", m)
		}
	}
	fx.Equal(got, [][2]string{{"", one}, {one, two}, {two, ""}, {"", one}, {one, ""}, {"", one}, {one, ""}, {"", one}}, "moves of v1")
}

// Two repositories with the same blobs, images and tags do not affect each other.
func testIsolation(fx *Fixture) {
	r, s := fx.Repo("team/app"), fx.Repo("team/same")
	p := fx.Image(r, "config", "v1")
	fx.Image(s, "config", "v1", "v2")
	x := IndexOf(p)
	fx.Push(s, x)
	_, err := fx.DeleteImage(fx.Ctx, r, p.Digest, meta.AnyTags, Principal) // the index of the other repository does not count
	fx.Must(err)
	fx.names(s, Tag("v1"), p.Digest)
	fx.tags(s, p.Digest, "v1", "v2")
	fx.Equal(len(checkHistory(fx, s, "v1")), 1, "moves of v1 in the other repository")
	fx.holds(s, Digest("config"), 6, configType, true)
	fx.holds(r, Digest("config"), 6, configType, false)
	fx.Must(fx.DeleteRepository(fx.Ctx, r, true))
	fx.names(s, Tag("v2"), p.Digest)
}
