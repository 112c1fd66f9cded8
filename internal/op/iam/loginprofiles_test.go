package iam_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

const goodPassword = "correct-Horse-1"

// caller returns a user as the caller with a key.
func (w *fixture) caller(t testing.TB, userName string) identity.Caller {
	t.Helper()
	k := do(t, w.CreateAccessKey, w.root, iamtypes.CreateAccessKeyRequest{UserName: userName}).AccessKey
	c, err := w.id.KeyCaller(t.Context(), k.AccessKeyId)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestLoginProfile(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	w.user(t, "ann")
	yes, no := true, false
	missing := "Login Profile for User ann cannot be found."
	refuse(t, w.GetLoginProfile, w.root, iamtypes.GetLoginProfileRequest{UserName: "ann"}, fault.NoSuchEntity, missing)
	refuse(t, w.UpdateLoginProfile, w.root,
		iamtypes.UpdateLoginProfileRequest{UserName: "ann", Password: goodPassword}, fault.NoSuchEntity, missing)
	refuse(t, w.DeleteLoginProfile, w.root, iamtypes.DeleteLoginProfileRequest{UserName: "ann"}, fault.NoSuchEntity, missing)
	refuse(t, w.CreateLoginProfile, w.root, iamtypes.CreateLoginProfileRequest{UserName: "bob", Password: goodPassword}, fault.NoSuchEntity,
		"The user with name bob cannot be found.")
	refuse(t, w.CreateLoginProfile, w.root,
		iamtypes.CreateLoginProfileRequest{UserName: "ann"}, fault.Validation, "'password'", "must not be null")
	refuse(t, w.CreateLoginProfile, w.root,
		iamtypes.CreateLoginProfileRequest{Password: goodPassword}, fault.Validation, "Must specify userName")

	made := do(t, w.CreateLoginProfile, w.root, iamtypes.CreateLoginProfileRequest{UserName: "ann", Password: goodPassword,
		PasswordResetRequired: &yes})
	want := iamtypes.LoginProfile{UserName: "ann", CreateDate: awswire.Time{Time: w.at}, PasswordResetRequired: &yes}
	same(t, "CreateLoginProfile", made.LoginProfile, want)
	same(t, "GetLoginProfile", do(t, w.GetLoginProfile, w.root, iamtypes.GetLoginProfileRequest{UserName: "ann"}).LoginProfile, want)
	refuse(t, w.CreateLoginProfile, w.root, iamtypes.CreateLoginProfileRequest{UserName: "ann", Password: goodPassword},
		fault.EntityAlreadyExists, "Login Profile for user ann already exists.")
	if u := do(t, w.GetUser, w.root, iamtypes.GetUserRequest{UserName: "ann"}).User; u.PasswordLastUsed != nil {
		t.Errorf("GetUser: got PasswordLastUsed %v, want none before the first sign-in", u.PasswordLastUsed)
	}

	do(t, w.UpdateLoginProfile, w.root, iamtypes.UpdateLoginProfileRequest{UserName: "ann", PasswordResetRequired: &no})
	want.PasswordResetRequired = &no
	ann := w.caller(t, "ann")
	same(t, "GetLoginProfile of the caller", do(t, w.GetLoginProfile, ann, iamtypes.GetLoginProfileRequest{}).LoginProfile, want)

	refuse(t, w.DeleteUser, w.root, iamtypes.DeleteUserRequest{UserName: "ann"}, fault.DeleteConflict,
		"Cannot delete entity, must delete login profile first.")
	do(t, w.DeleteLoginProfile, w.root, iamtypes.DeleteLoginProfileRequest{UserName: "ann"})
	refuse(t, w.DeleteUser, w.root, iamtypes.DeleteUserRequest{UserName: "ann"}, fault.DeleteConflict, "access keys")
}

// Passwords are as strong as IAM wants them without a policy of the account.
func TestDefaultPasswordPolicy(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	do(t, w.CreateAccountAlias, w.root, iamtypes.CreateAccountAliasRequest{AccountAlias: "payments-2"})
	const one = "Password should meet 1 more of the following requirements: "
	const two = "Password should meet 2 more of the following requirements: "
	upper, lower := "Password should have at least one uppercase letter", "Password should have at least one lowercase letter"
	number, symbol := "Password should have at least one number", "Password should have at least one symbol"
	w.user(t, "ann")
	for password, want := range map[string]string{
		"aB3!efg":      "Password should have a minimum length of 8",
		"abcdefgh":     two + upper + ", " + number + ", " + symbol,
		"ABCDEFG1":     one + lower + ", " + symbol,
		"abcdefg~":     two + upper + ", " + number + ", " + symbol, // no symbol of the policy
		"abcdefg!":     one + upper + ", " + number,
		"ÄÖÜäöü12":     two + upper + ", " + lower + ", " + symbol,
		"payments-2":   "Password should not be the name of the account",
		"PAYMENTS-2":   "Password should not be the name of the account",
		"111122223333": two + upper + ", " + lower + ", " + symbol,
	} {
		refuse(t, w.CreateLoginProfile, w.root, iamtypes.CreateLoginProfileRequest{UserName: "ann", Password: password},
			fault.PasswordPolicyViolation, want)
	}
	for i, password := range []string{"abcdefG1", "abcdef1!", "ABCDEF1'", "größe G1", strings.Repeat("aB3!", 32)} {
		user := "user" + string(rune('0'+i))
		w.user(t, user)
		do(t, w.CreateLoginProfile, w.root, iamtypes.CreateLoginProfileRequest{UserName: user, Password: password})
	}
}

// A user changes the own password with the old one, which can be guessed a few times only.
func TestChangePassword(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	w.user(t, "ann")
	ann := w.caller(t, "ann")
	const other = "another-Horse-2"
	refuse(t, w.ChangePassword, w.root, iamtypes.ChangePasswordRequest{OldPassword: goodPassword, NewPassword: other}, fault.InvalidUserType)
	refuse(t, w.ChangePassword, ann, iamtypes.ChangePasswordRequest{OldPassword: goodPassword, NewPassword: other}, fault.NoSuchEntity,
		"Login Profile for User ann cannot be found.")
	yes := true
	do(t, w.CreateLoginProfile, w.root,
		iamtypes.CreateLoginProfileRequest{UserName: "ann", Password: goodPassword, PasswordResetRequired: &yes})
	refuse(t, w.ChangePassword, ann,
		iamtypes.ChangePasswordRequest{OldPassword: goodPassword, NewPassword: "weak"}, fault.PasswordPolicyViolation)
	refuse(t, w.ChangePassword, ann,
		iamtypes.ChangePasswordRequest{OldPassword: other, NewPassword: other}, fault.AccessDenied, "old password")
	do(t, w.ChangePassword, ann, iamtypes.ChangePasswordRequest{OldPassword: goodPassword, NewPassword: other})
	if p := do(t, w.GetLoginProfile, ann, iamtypes.GetLoginProfileRequest{}).LoginProfile; *p.PasswordResetRequired {
		t.Error("the password must still be changed after it was")
	}
	for range 4 {
		refuse(t, w.ChangePassword, ann, iamtypes.ChangePasswordRequest{OldPassword: goodPassword, NewPassword: other}, fault.AccessDenied)
	}
	refuse(t, w.ChangePassword, ann, iamtypes.ChangePasswordRequest{OldPassword: other, NewPassword: goodPassword}, fault.Throttled)
	// The administrator is not kept from helping.
	do(t, w.UpdateLoginProfile, w.root, iamtypes.UpdateLoginProfileRequest{UserName: "ann", Password: goodPassword})
}

// Of several passwords that are set at once, one is the first.
func TestLoginProfileIsCreatedOnce(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	w.user(t, "ann")
	var makers sync.WaitGroup
	made := make(chan error, 4)
	for range cap(made) {
		makers.Go(func() {
			_, err := w.CreateLoginProfile(t.Context(), w.root, &iamtypes.CreateLoginProfileRequest{UserName: "ann", Password: goodPassword})
			made <- err
		})
	}
	makers.Wait()
	ok := 0
	for range cap(made) {
		if err := <-made; err == nil {
			ok++
		} else {
			wantCode(t, "another CreateLoginProfile", err, fault.EntityAlreadyExists)
		}
	}
	if ok != 1 {
		t.Errorf("%d passwords were created, want 1", ok)
	}
}

// No file of the data directory contains a password.
func TestPasswordsAreStoredHashed(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	w.user(t, "ann")
	do(t, w.CreateLoginProfile, w.root, iamtypes.CreateLoginProfileRequest{UserName: "ann", Password: goodPassword})
	hashed := false
	err := filepath.WalkDir(w.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if bytes.Contains(content, []byte(goodPassword)) {
			t.Errorf("%s contains the password", path)
		}
		hashed = hashed || bytes.Contains(content, []byte("$argon2id$v=19$m=19456,t=2,p=1$"))
		return err
	})
	if err != nil || !hashed {
		t.Errorf("no file contains the hash, %v", err)
	}
}
