package metatest

import (
	"errors"
	"slices"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// Clients can send strings that not every database can store. Such strings are not found, have a position in lists, and
// are stored or refused without an effect on other writes.
func testTexts(fx *Fixture) {
	r := fx.Repo("team/app")
	for _, tag := range []string{"a", "b", "bb", "c"} {
		fx.Image(r, "config", tag)
	}
	ann := plain(meta.User, "ann")
	fx.Must(fx.CreateEntity(fx.Ctx, ann, nil, 9))
	for _, odd := range []string{"\x00", "b\x00", "b\xff", "b\xc3", "\xff", "b\U0010FFFF", "ä"} {
		_, err := fx.AccessKey(fx.Ctx, odd)
		fx.Want(err, fault.AccessKeyNotFound, "key %q", odd)
		_, err = fx.Token(fx.Ctx, odd)
		fx.Want(err, fault.TokenNotFound, "token %q", odd)
		_, err = fx.Entity(fx.Ctx, Account, meta.User, odd)
		fx.Want(err, fault.NoSuchEntity, "user %q", odd)
		var want []string
		for _, tag := range []string{"a", "b", "bb", "c"} {
			if tag > odd {
				want = append(want, tag)
			}
		}
		tags, err := fx.Tags(fx.Ctx, r.ID, odd, 10)
		fx.Must(err)
		fx.Equal(tags, want, "tags after %q", odd)
		users, err := fx.Entities(fx.Ctx, Account, meta.User, odd, "", 10)
		fx.Must(err)
		fx.Equal(len(users), 0, "users below the path %q", odd)
		_, err = fx.Repositories(fx.Ctx, Registry, odd, 10)
		fx.Must(err)
		_, err = fx.Images(fx.Ctx, r.ID, meta.Any, meta.Position{Digest: odd}, 10)
		fx.Must(err)

		err = fx.PutEntityTags(fx.Ctx, ann.ID, map[string]string{"k": "v", "z": odd}, 9)
		if err != nil && !errors.Is(err, fault.InvalidParameter) {
			fx.Errorf("a tag with the value %q: got %v, want no error or InvalidParameter", odd, err)
		}
		kept, err := fx.EntityTags(fx.Ctx, ann.ID)
		fx.Must(err)
		if stored := len(kept) == 2 && kept["z"] == odd; !stored && len(kept) != 0 {
			fx.Errorf("a tag with the value %q: got %q, want both tags of the write or none", odd, kept)
		}
		fx.Must(fx.RemoveEntityTags(fx.Ctx, ann.ID, []string{"k", "z"}))
	}
	if tags, err := fx.Tags(fx.Ctx, r.ID, "", 10); err != nil || !slices.Equal(tags, []string{"a", "b", "bb", "c"}) {
		fx.Errorf("after all: got %q, %v", tags, err)
	}
}
