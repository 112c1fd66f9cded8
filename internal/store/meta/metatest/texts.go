package metatest

import (
	"errors"
	"slices"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// Texts that a client can send and not every database can keep are found nowhere, have their place in lists, and are stored or
// refused, without harm to other writes.
func testTexts(w *World) {
	r := w.Repo("team/app")
	for _, tag := range []string{"a", "b", "bb", "c"} {
		w.Image(r, "config", tag)
	}
	ann := plain(meta.User, "ann")
	w.Must(w.CreateEntity(w.Ctx, ann, nil, 9))
	for _, odd := range []string{"\x00", "b\x00", "b\xff", "b\xc3", "\xff", "b\U0010FFFF", "ä"} {
		_, err := w.AccessKey(w.Ctx, odd)
		w.Want(err, fault.AccessKeyNotFound, "key %q", odd)
		_, err = w.Token(w.Ctx, odd)
		w.Want(err, fault.TokenNotFound, "token %q", odd)
		_, err = w.Entity(w.Ctx, Account, meta.User, odd)
		w.Want(err, fault.NoSuchEntity, "user %q", odd)
		var want []string
		for _, tag := range []string{"a", "b", "bb", "c"} {
			if tag > odd {
				want = append(want, tag)
			}
		}
		tags, err := w.Tags(w.Ctx, r.ID, odd, 10)
		w.Must(err)
		w.Equal(tags, want, "tags after %q", odd)
		users, err := w.Entities(w.Ctx, Account, meta.User, odd, "", 10)
		w.Must(err)
		w.Equal(len(users), 0, "users below the path %q", odd)
		_, err = w.Repositories(w.Ctx, Registry, odd, 10)
		w.Must(err)
		_, err = w.Images(w.Ctx, r.ID, meta.Any, meta.Position{Digest: odd}, 10)
		w.Must(err)

		err = w.PutEntityTags(w.Ctx, ann.ID, map[string]string{"k": "v", "z": odd}, 9)
		if err != nil && !errors.Is(err, fault.InvalidParameter) {
			w.Errorf("a tag with the value %q: got %v, want it stored or InvalidParameter", odd, err)
		}
		kept, err := w.EntityTags(w.Ctx, ann.ID)
		w.Must(err)
		if stored := len(kept) == 2 && kept["z"] == odd; !stored && len(kept) != 0 {
			w.Errorf("a tag with the value %q: got %q, want both tags of the write or none", odd, kept)
		}
		w.Must(w.RemoveEntityTags(w.Ctx, ann.ID, []string{"k", "z"}))
	}
	if tags, err := w.Tags(w.Ctx, r.ID, "", 10); err != nil || !slices.Equal(tags, []string{"a", "b", "bb", "c"}) {
		w.Errorf("after all: got %q, %v", tags, err)
	}
}
