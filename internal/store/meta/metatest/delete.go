package metatest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

func testDeleteImage(w *World) {
	r := w.Repo("team/app")
	p, bare := w.Image(r, "one", "b", "a", "c"), w.Image(r, "two")
	removed, err := w.DeleteImage(w.Ctx, r, p.Digest, meta.AnyTags, Principal)
	w.Must(err)
	d := p.Digest.String()
	w.Equal(removed, []meta.Removed{{Digest: d, Tag: "a"}, {Digest: d, Tag: "b"}, {Digest: d, Tag: "c"}}, "what was removed with the image")
	removed, err = w.DeleteImage(w.Ctx, r, bare.Digest, meta.AnyTags, Principal)
	w.Must(err)
	w.Equal(removed, []meta.Removed{{Digest: bare.Digest.String()}}, "what was removed with an untagged image")
	w.names(r, Tag("a"), name.Digest{})
	w.names(r, ByDigest(p.Digest), name.Digest{})
	for _, gone := range []name.Digest{p.Digest, Digest("never there")} {
		_, err = w.DeleteImage(w.Ctx, r, gone, meta.AnyTags, Principal)
		w.Want(err, fault.ImageNotFound, "deleting %s", gone)
	}
	// Pushed again it is untagged, whatever it was before, and counts as pushed now.
	w.Push(r, As(p))
	w.tags(r, p.Digest)
	w.Push(r, As(p, "a"))
	w.tags(r, p.Digest, "a")
}

func testDeleteTag(w *World) {
	r := w.Repo("team/app")
	p, q := w.Image(r, "one", "v1", "v2"), w.Image(r, "two", "only")
	remove := func(tag string, only name.Digest, last bool) (meta.Removed, error) {
		return w.DeleteTag(w.Ctx, r, Tag(tag).Tag, only, last, Principal)
	}
	_, err := remove("nosuch", name.Digest{}, true)
	w.Want(err, fault.ImageNotFound, "a tag that is not there")
	_, err = remove("v1", q.Digest, true)
	w.Want(err, fault.TargetChanged, "a tag with another image's digest")
	w.tags(r, p.Digest, "v1", "v2")
	got, err := remove("v1", p.Digest, true)
	w.Must(err)
	w.Equal(got, meta.Removed{Digest: p.Digest.String(), Tag: "v1"}, "what was removed")
	w.tags(r, p.Digest, "v2")
	_, err = remove("v2", name.Digest{}, true)
	w.Must(err)
	w.names(r, ByDigest(p.Digest), name.Digest{}) // gone with its last tag
	_, err = remove("only", name.Digest{}, false)
	w.Must(err)
	w.names(r, ByDigest(q.Digest), q.Digest) // stays without one
	w.tags(r, q.Digest)
	_, err = remove("only", name.Digest{}, false)
	w.Want(err, fault.ImageNotFound, "a tag that was removed")
	for _, tag := range []string{"v1", "v2", "only"} {
		if moves := checkHistory(w, r, tag); len(moves) != 2 || moves[1].To != "" || moves[1].Principal != Principal {
			w.Errorf("history of %s: got %+v, want its making and its removal by %s", tag, moves, Principal)
		}
	}
}

// Two that remove the two tags of an image at once: the second removes the last tag, and the image with it.
func testLastTagRace(w *World) {
	r := w.Repo("team/app")
	for round := range 10 {
		p := w.Image(r, "config", "a", "b")
		race(w, 2, 0, func(i int) error {
			_, err := w.DeleteTag(w.Ctx, r, Tag([]string{"a", "b"}[i]).Tag, name.Digest{}, true, Principal)
			return err
		})
		_, err := w.Head(w.Ctx, r.ID, ByDigest(p.Digest))
		w.Want(err, fault.ImageNotFound, "round %d: an image without its last tag", round)
	}
}

func testDeleteReferenced(w *World) {
	r := w.Repo("team/app")
	child := w.Image(r, "config", "child")
	x, y := IndexOf(child), IndexOf(child, child)
	w.Push(r, As(x, "x"))
	w.Push(r, y)
	want := fmt.Sprintf("[%s]", x.Digest)
	_, err := w.DeleteImage(w.Ctx, r, child.Digest, meta.AnyTags, Principal)
	w.Want(err, fault.ImageReferenced, "deleting an image of indexes")
	_, err = w.DeleteTag(w.Ctx, r, Tag("child").Tag, name.Digest{}, true, Principal)
	w.Want(err, fault.ImageReferenced, "removing the last tag of an image of indexes")
	w.tags(r, child.Digest, "child")
	_, err = w.DeleteImage(w.Ctx, r, y.Digest, meta.AnyTags, Principal)
	w.Must(err)
	_, err = w.DeleteImage(w.Ctx, r, child.Digest, meta.AnyTags, Principal)
	var e *fault.Error
	if !errors.As(err, &e) || e.Public != "Requested image referenced by manifest list: "+want {
		w.Errorf("deleting an image of one index: got %v, want the text of ECR with %s", err, want)
	}
	_, err = w.DeleteTag(w.Ctx, r, Tag("child").Tag, name.Digest{}, false, Principal)
	w.Want(err, 0, "removing the tag alone")
	_, err = w.DeleteTag(w.Ctx, r, Tag("x").Tag, name.Digest{}, true, Principal)
	w.Want(err, 0, "removing the index with its last tag")
	_, err = w.DeleteImage(w.Ctx, r, child.Digest, meta.AnyTags, Principal)
	w.Want(err, 0, "deleting an image of no index any more")
	w.Want(w.PutImage(w.Ctx, r, x), fault.ReferencedImagesNotFound, "the index again without its image")
	w.Want(w.RestoreImage(w.Ctx, r, x.Digest, nil, Principal), fault.ReferencedImagesNotFound, "taking back its deletion")
}

// A repository is never deleted together with an image that was acknowledged before, unless by force.
func testDeleteBesidePush(w *World) {
	for round := range 20 {
		r := w.Repo(fmt.Sprint("team/app", round))
		w.Blob(r, "config")
		var pushed, deleted error
		race(w, 2, 0, func(i int) error {
			if i == 0 {
				pushed = w.PutImage(w.Ctx, r, As(ImageOf("config"), "v1"))
			} else {
				deleted = w.DeleteRepository(w.Ctx, r, false)
			}
			return nil
		})
		switch {
		case pushed == nil:
			w.Want(deleted, fault.RepositoryNotEmpty, "round %d: deletion after a push that was acknowledged", round)
			w.names(r, Tag("v1"), ImageOf("config").Digest)
		default:
			w.Want(pushed, fault.RepositoryNotFound, "round %d: push after a deletion", round)
			w.Want(deleted, 0, "round %d: deletion before a push", round)
		}
	}
}

// An index that was acknowledged has all its images, whoever deletes one of them at the time.
func testChildBesideIndex(w *World) {
	r := w.Repo("team/app")
	for round := range 20 {
		child := w.Image(r, fmt.Sprint("config", round))
		var pushed, deleted error
		race(w, 2, 0, func(i int) error {
			if i == 0 {
				pushed = w.PutImage(w.Ctx, r, IndexOf(child))
			} else {
				_, deleted = w.DeleteImage(w.Ctx, r, child.Digest, meta.AnyTags, Principal)
			}
			return nil
		})
		if pushed == nil {
			w.Want(deleted, fault.ImageReferenced, "round %d: deletion after the index", round)
			w.names(r, ByDigest(child.Digest), child.Digest)
		} else {
			w.Want(pushed, fault.ReferencedImagesNotFound, "round %d: index after the deletion", round)
			w.Want(deleted, 0, "round %d: deletion before the index", round)
		}
	}
}

func testRestore(w *World) {
	r := w.RepoWith("team/app", meta.Mutability{Mode: meta.Immutable})
	p, q := w.Image(r, "one", "v1"), w.Image(r, "two", "v2")
	for _, im := range []meta.Put{p, q} {
		_, err := w.DeleteImage(w.Ctx, r, im.Digest, meta.AnyTags, Principal)
		w.Must(err)
	}
	all, err := w.DeletedImages(w.Ctx, r.ID, 10)
	w.Must(err)
	var got []string
	for _, im := range all {
		got = append(got, im.Digest.String())
		if im.DeletedAt.IsZero() {
			w.Errorf("DeletedAt of %s: got none", im.Digest)
		}
	}
	slices.Sort(got)
	want := []string{p.Digest.String(), q.Digest.String()}
	slices.Sort(want)
	w.Equal(got, want, "DeletedImages")
	mediaType, body, err := w.DeletedImage(w.Ctx, r.ID, p.Digest)
	w.Must(err)
	w.Equal([]string{mediaType, string(body)}, []string{p.Manifest.MediaType, string(p.Body)}, "DeletedImage")

	w.Must(w.RestoreImage(w.Ctx, r, p.Digest, As(p, "v1", "v3").Tags, Principal))
	w.tags(r, p.Digest, "v1", "v3")
	w.Want(w.RestoreImage(w.Ctx, r, p.Digest, nil, Principal), fault.ImageNotFound, "an image that is not deleted")
	w.Want(w.RestoreImage(w.Ctx, r, q.Digest, As(q, "v1").Tags, Principal), fault.ImageTagAlreadyExists, "under an immutable tag that is taken")
	_, _, err = w.DeletedImage(w.Ctx, r.ID, q.Digest)
	w.Want(err, 0, "an image whose restoring was refused")
	w.Must(w.RestoreImage(w.Ctx, r, q.Digest, nil, Principal))
	w.tags(r, q.Digest)
	if len(checkHistory(w, r, "v1")) != 3 {
		w.Error("history of v1: want its making, its removal, and its making again")
	}
}

// Every way that a tag can take is in its history.
func testHistory(w *World) {
	r := w.Repo("team/app")
	p, q := w.Image(r, "one", "v1"), w.Image(r, "two")
	step := func(err error) { w.Helper(); w.Must(err) }
	step(w.PutImage(w.Ctx, r, As(q, "v1")))
	step(w.PutImage(w.Ctx, r, As(q, "v1"))) // moves nothing
	_, err := w.DeleteTag(w.Ctx, r, Tag("v1").Tag, name.Digest{}, false, Principal)
	step(err)
	step(w.PutImage(w.Ctx, r, As(p, "v1")))
	_, err = w.DeleteTag(w.Ctx, r, Tag("v1").Tag, name.Digest{}, true, Principal)
	step(err)
	step(w.RestoreImage(w.Ctx, r, p.Digest, As(p, "v1").Tags, Principal))
	_, err = w.DeleteImage(w.Ctx, r, p.Digest, meta.AnyTags, Principal)
	step(err)
	step(w.PutImage(w.Ctx, r, As(p, "v1")))
	w.Want(w.PutImage(w.Ctx, r, As(ImageOf("no such blob"), "v1")), fault.LayersNotFound, "a push that is refused")
	one, two := p.Digest.String(), q.Digest.String()
	var got [][2]string
	for _, m := range checkHistory(w, r, "v1") {
		got = append(got, [2]string{m.From, m.To})
		if m.Principal != Principal || m.At.IsZero() {
			w.Errorf("got %+v, want who and when", m)
		}
	}
	w.Equal(got, [][2]string{{"", one}, {one, two}, {two, ""}, {"", one}, {one, ""}, {"", one}, {one, ""}, {"", one}}, "moves of v1")
}

// Two repositories with the same blobs, images and tags know nothing of each other.
func testIsolation(w *World) {
	r, s := w.Repo("team/app"), w.Repo("team/same")
	p := w.Image(r, "config", "v1")
	w.Image(s, "config", "v1", "v2")
	x := IndexOf(p)
	w.Push(s, x)
	_, err := w.DeleteImage(w.Ctx, r, p.Digest, meta.AnyTags, Principal) // the index of the other repository does not count
	w.Must(err)
	w.names(s, Tag("v1"), p.Digest)
	w.tags(s, p.Digest, "v1", "v2")
	w.Equal(len(checkHistory(w, s, "v1")), 1, "moves of v1 in the other repository")
	w.holds(s, Digest("config"), 6, configType, true)
	w.holds(r, Digest("config"), 6, configType, false)
	w.Must(w.DeleteRepository(w.Ctx, r, true))
	w.names(s, Tag("v2"), p.Digest)
}
