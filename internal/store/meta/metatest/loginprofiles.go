package metatest

import (
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// A user has at most one password, which goes with it, and which a sign-in or a change of it must still find as it was.
func testLoginProfiles(fx *Fixture) {
	user := fx.entity(meta.User, "u")
	p := meta.LoginProfile{User: user.ID, Hash: "first", ResetRequired: true, CreatedAt: monday}
	_, err := fx.LoginProfile(fx.Ctx, user.ID)
	fx.Want(err, fault.NoSuchEntity, "a password before it is set")
	fx.Must(fx.CreateLoginProfile(fx.Ctx, p))
	fx.Want(fx.CreateLoginProfile(fx.Ctx, p), fault.EntityAlreadyExists, "a second password")
	fx.Want(fx.CreateLoginProfile(fx.Ctx, meta.LoginProfile{User: "AIDANOBODY"}), fault.NoSuchEntity, "the password of nobody")
	same := func(what string) {
		got, err := fx.LoginProfile(fx.Ctx, user.ID)
		fx.Must(err)
		fx.Equal(got, p, "%s", what)
	}
	same("LoginProfile")

	yes, no := true, false
	fx.Want(fx.UpdateLoginProfile(fx.Ctx, user.ID, "another", "second", nil), fault.NoSuchEntity, "a change of another password")
	same("after it")
	fx.Must(fx.UpdateLoginProfile(fx.Ctx, user.ID, "", "", &no))
	p.ResetRequired = false
	same("without a new password")
	fx.Must(fx.UpdateLoginProfile(fx.Ctx, user.ID, "first", "second", nil))
	p.Hash = "second"
	same("without a new flag")
	fx.Must(fx.UpdateLoginProfile(fx.Ctx, user.ID, "", "third", &yes))
	p.Hash, p.ResetRequired = "third", true
	same("with both")

	tuesday := monday.Add(24 * time.Hour)
	used := func(what string, want time.Time) {
		e, err := fx.EntityByID(fx.Ctx, user.ID)
		fx.Must(err)
		fx.Equal(e.LastUsedAt, want, "%s", what)
	}
	fx.Want(fx.PasswordUsed(fx.Ctx, user.ID, "second", "second", tuesday), fault.NoSuchEntity, "a sign-in with an old password")
	used("before a sign-in", time.Time{})
	fx.Must(fx.PasswordUsed(fx.Ctx, user.ID, "third", "fourth", tuesday))
	p.Hash = "fourth"
	same("after a sign-in")
	used("after a sign-in", tuesday)
	fx.Must(fx.PasswordUsed(fx.Ctx, user.ID, "fourth", "fourth", monday))
	used("an earlier sign-in that is recorded later", tuesday)

	fx.Want(fx.DeleteEntity(fx.Ctx, user), fault.DeleteConflict, "the deletion of a user with a password")
	fx.Must(fx.DeleteLoginProfile(fx.Ctx, user.ID))
	used("without a password", time.Time{})
	fx.Want(fx.DeleteLoginProfile(fx.Ctx, user.ID), fault.NoSuchEntity, "a password that is deleted")
	fx.Want(fx.UpdateLoginProfile(fx.Ctx, user.ID, "", "x", nil), fault.NoSuchEntity, "a change of it")
	fx.Must(fx.DeleteEntity(fx.Ctx, user))
}
