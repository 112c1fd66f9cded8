package metatest

import (
	"fmt"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

var (
	other   = name.MustAccount("444455556666")
	nowhere = name.MustAccount("999999999999")
	london  = name.MustRegion("eu-west-2")
	monday  = time.UnixMicro(1_700_000_000_000_001).UTC()
)

func account(w *World, id name.Account) meta.AccessKey {
	w.Helper()
	k := Key(id, "AKIA"+id.String()+"KEY1")
	w.Must(w.CreateAccount(w.Ctx, meta.Account{ID: id, Alias: "two", CreatedAt: monday}, k))
	return k
}

func testAccounts(w *World) {
	k := account(w, other)
	w.Want(w.CreateAccount(w.Ctx, meta.Account{ID: other}, Key(other, "AKIAOTHER")), fault.AccountAlreadyExists, "the same account again")
	_, err := w.AccessKey(w.Ctx, "AKIAOTHER")
	w.Want(err, fault.AccessKeyNotFound, "the key of a refused account")
	want := meta.Account{ID: other, Alias: "two", CreatedAt: monday}
	got, err := w.Account(w.Ctx, other)
	w.Must(err)
	w.Equal(got, want, "Account")
	all, err := w.Accounts(w.Ctx)
	w.Must(err)
	if len(all) != 2 || all[0].ID != Account || !all[0].Default {
		w.Errorf("Accounts: got %+v, want %s as default and then %s", all, Account, other)
	}
	w.Equal(all[1], want, "the second of Accounts")
	key, err := w.AccessKey(w.Ctx, k.ID)
	w.Must(err)
	w.Equal(key, k, "the account's first key")
	_, err = w.Account(w.Ctx, nowhere)
	w.Want(err, fault.AccountNotFound, "an account that is not there")
	_, err = w.CreateRepository(w.Ctx, meta.Repository{Registry: name.Registry{Account: nowhere, Region: london}, Name: name.MustRepo("app"), Mutability: meta.Mutability{Mode: meta.Mutable}}, nil)
	w.Want(err, fault.AccountNotFound, "a repository of an account that is not there")
	w.Want(w.PutAccessKey(w.Ctx, Key(nowhere, "AKIANOWHERE"), 2), fault.AccountNotFound, "a key of an account that is not there")
	w.Want(w.PutToken(w.Ctx, meta.Token{ID: "t", Account: nowhere, Region: london}), fault.AccountNotFound, "a token of an account that is not there")
}

func testDeleteAccount(w *World) {
	w.Want(w.DeleteAccount(w.Ctx, Account, true), fault.AccountNotEmpty, "the default account")
	w.Want(w.DeleteAccount(w.Ctx, nowhere, true), fault.AccountNotFound, "an account that is not there")
	reg := name.Registry{Account: other, Region: london}
	for round := range 3 { // the same names again and again, within one tick of the clock
		k := account(w, other)
		r, err := w.CreateRepository(w.Ctx, meta.Repository{Registry: reg, Name: name.MustRepo("app"), Mutability: meta.Mutability{Mode: meta.Mutable}, Encryption: meta.EncryptionAES256}, nil)
		w.Must(err)
		token := meta.Token{ID: fmt.Sprint("token", round), Account: other, Region: london, AccessKey: k.ID, IssuedAt: monday, ExpiresAt: monday.Add(12 * time.Hour)}
		w.Must(w.PutToken(w.Ctx, token))
		w.Must(w.PutSetting(w.Ctx, reg, meta.SettingBlobMounting, meta.Disabled))
		w.Must(w.PutUpload(w.Ctx, r, meta.Upload{ID: fmt.Sprint("upload", round), Blob: blob.Upload{ID: "b", State: []byte("s")}, StartedAt: monday}))
		w.Image(r, "one", "v1")
		for _, read := range []func() error{ // so that caches have them
			func() error { _, err := w.Repository(w.Ctx, reg, r.Name); return err },
			func() error { _, err := w.AccessKey(w.Ctx, k.ID); return err },
			func() error { _, err := w.Token(w.Ctx, token.ID); return err },
		} {
			w.Must(read())
		}
		w.Want(w.DeleteAccount(w.Ctx, other, false), fault.AccountNotEmpty, "an account with a repository")
		_, err = w.AccessKey(w.Ctx, k.ID)
		w.Want(err, 0, "the key after a refused deletion")

		w.Must(w.DeleteAccount(w.Ctx, other, true))
		_, err = w.Account(w.Ctx, other)
		w.Want(err, fault.AccountNotFound, "the deleted account")
		_, err = w.Repository(w.Ctx, reg, r.Name)
		w.Want(err, fault.RepositoryNotFound, "its repository")
		_, err = w.AccessKey(w.Ctx, k.ID)
		w.Want(err, fault.AccessKeyNotFound, "its key")
		_, err = w.Token(w.Ctx, token.ID)
		w.Want(err, fault.TokenNotFound, "its token")
		_, err = w.Upload(w.Ctx, r.ID, fmt.Sprint("upload", round))
		w.Want(err, fault.UploadNotFound, "its upload")
		setting, err := w.Setting(w.Ctx, reg, meta.SettingBlobMounting)
		w.Must(err)
		w.Equal(setting, "", "its setting")
		w.Want(w.PutImage(w.Ctx, r, As(ImageOf("one"), "v2")), fault.RepositoryNotFound, "a push that began before")
	}
}

func testAccessKeys(w *World) {
	first, second := Key(Account, "AKIAEXAMPLEEXAMPLE01"), Key(Account, "AKIA0")
	second.CreatedAt = first.CreatedAt.Add(time.Second)
	w.Must(w.PutAccessKey(w.Ctx, second, 2))
	w.Want(w.PutAccessKey(w.Ctx, Key(Account, "AKIA2"), 2), fault.AccessKeyLimit, "a third key of at most two")
	another := Key(Account, "AKIA3")
	bob := meta.Entity{ID: "AIDABOB", Account: Account, Kind: meta.User, Name: "bob", Path: "/"}
	w.Must(w.CreateEntity(w.Ctx, bob, nil, 10))
	another.Principal, another.SealedSecret = bob.ID, []byte{0, 0xff}
	another.CreatedAt = second.CreatedAt
	w.Must(w.PutAccessKey(w.Ctx, another, 2))
	all, err := w.AccessKeys(w.Ctx, Account)
	w.Must(err)
	w.Equal(all, []meta.AccessKey{first, second, another}, "AccessKeys, oldest first and then by id")
	for _, active := range []bool{false, false, true, false} {
		w.Must(w.SetAccessKeyActive(w.Ctx, second.ID, active))
		got, err := w.AccessKey(w.Ctx, second.ID)
		w.Must(err)
		w.Equal(got.Active, active, "Active after SetAccessKeyActive(%t)", active)
	}
	w.Must(w.DeleteAccessKey(w.Ctx, second.ID))
	for what, err := range map[string]error{
		"turning on a deleted key": w.SetAccessKeyActive(w.Ctx, second.ID, true),
		"deleting a deleted key":   w.DeleteAccessKey(w.Ctx, second.ID),
	} {
		w.Want(err, fault.AccessKeyNotFound, "%s", what)
	}
	_, err = w.AccessKey(w.Ctx, second.ID)
	w.Want(err, fault.AccessKeyNotFound, "a deleted key")
	got, err := w.AccessKey(w.Ctx, first.ID)
	w.Must(err)
	w.Equal(got, first, "the other key")
}

func testAccessKeyLimitRace(w *World) {
	won := race(w, 20, fault.AccessKeyLimit, func(i int) error {
		return w.PutAccessKey(w.Ctx, Key(Account, fmt.Sprint("AKIARACE", i)), 5)
	})
	w.Equal(won, 4, "keys beside the first, of at most 5")
}

func testTokens(w *World) {
	end := monday.Add(12 * time.Hour)
	token := func(id string, issued, expires time.Time) meta.Token {
		k := meta.Token{ID: id, Account: Account, Principal: Principal, AccessKey: "AKIA", Region: london, IssuedAt: issued, ExpiresAt: expires}
		w.Must(w.PutToken(w.Ctx, k))
		return k
	}
	b, a, c := token("b", monday, end), token("a", monday, end), token("c", monday.Add(-time.Hour), end.Add(-time.Hour))
	got, err := w.Token(w.Ctx, "b")
	w.Must(err)
	w.Equal(got, b, "Token")
	_, err = w.Token(w.Ctx, "nosuch")
	w.Want(err, fault.TokenNotFound, "a token that is not there")
	for _, test := range []struct {
		at   time.Time
		want []meta.Token
	}{{monday, []meta.Token{c, a, b}}, {end.Add(-time.Hour), []meta.Token{a, b}}, {end, nil}} {
		all, err := w.Tokens(w.Ctx, Account, test.at)
		w.Must(err)
		w.Equal(all, test.want, "Tokens at %s", test.at)
	}
	// A token a day after the end of the others lets them be forgotten, even if they were just read.
	late := token("late", end.Add(24*time.Hour), end.Add(36*time.Hour))
	_, err = w.Token(w.Ctx, "b")
	w.Want(err, 0, "a token that ended exactly a day before")
	token("later", end.Add(25*time.Hour), end.Add(37*time.Hour))
	_, err = w.Token(w.Ctx, "b")
	w.Want(err, fault.TokenNotFound, "a token that ended more than a day before")
	_, err = w.Token(w.Ctx, late.ID)
	w.Want(err, 0, "a good token")
}

func testRevokeTokens(w *World) {
	account(w, other)
	end := time.Now().Add(12 * time.Hour) // beyond the store's clock, which may stand
	for i, of := range []name.Account{Account, Account, Account, other} {
		k := meta.Token{ID: fmt.Sprint("t", i), Account: of, Region: london, IssuedAt: monday, ExpiresAt: end}
		w.Must(w.PutToken(w.Ctx, k))
		_, err := w.Token(w.Ctx, k.ID)
		w.Must(err)
	}
	for _, test := range []struct {
		of   name.Account
		id   string
		want int
		code fault.Code
	}{
		{other, "t0", 0, fault.TokenNotFound}, {Account, "t9", 0, fault.TokenNotFound},
		{Account, "t0", 1, 0}, {Account, "t0", 0, 0}, {Account, "", 2, 0}, {Account, "", 0, 0},
	} {
		n, err := w.RevokeTokens(w.Ctx, test.of, test.id)
		w.Want(err, test.code, "RevokeTokens(%s, %q)", test.of, test.id)
		w.Equal(n, test.want, "RevokeTokens(%s, %q)", test.of, test.id)
	}
	for i, revoked := range []bool{true, true, true, false} {
		k, err := w.Token(w.Ctx, fmt.Sprint("t", i))
		w.Must(err)
		w.Equal(!k.RevokedAt.IsZero(), revoked, "token %d revoked", i)
	}
}

func testSettings(w *World) {
	elsewhere := name.Registry{Account: Account, Region: london}
	check := func(reg name.Registry, setting, want string) {
		w.Helper()
		got, err := w.Setting(w.Ctx, reg, setting)
		w.Must(err)
		w.Equal(got, want, "Setting(%s, %s)", reg, setting)
	}
	check(Registry, meta.SettingBlobMounting, "")
	for _, value := range []string{meta.Enabled, meta.Enabled, meta.Disabled} {
		w.Must(w.PutSetting(w.Ctx, Registry, meta.SettingBlobMounting, value))
		check(Registry, meta.SettingBlobMounting, value)
		check(Registry, meta.SettingPolicyScope, "")
		check(elsewhere, meta.SettingBlobMounting, "")
	}
}
