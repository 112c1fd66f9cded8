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

func account(fx *Fixture, id name.Account) meta.AccessKey {
	fx.Helper()
	k := Key(id, "AKIA"+id.String()+"KEY1")
	fx.Must(fx.CreateAccount(fx.Ctx, meta.Account{ID: id, Alias: "two", CreatedAt: monday}, k))
	return k
}

func testAccounts(fx *Fixture) {
	k := account(fx, other)
	fx.Want(fx.CreateAccount(fx.Ctx, meta.Account{ID: other}, Key(other, "AKIAOTHER")), fault.AccountAlreadyExists, "the same account again")
	_, err := fx.AccessKey(fx.Ctx, "AKIAOTHER")
	fx.Want(err, fault.AccessKeyNotFound, "the key of a refused account")
	want := meta.Account{ID: other, Alias: "two", CreatedAt: monday}
	got, err := fx.Account(fx.Ctx, other)
	fx.Must(err)
	fx.Equal(got, want, "Account")
	all, err := fx.Accounts(fx.Ctx)
	fx.Must(err)
	if len(all) != 2 || all[0].ID != Account || !all[0].Default {
		fx.Errorf("Accounts: got %+v, want %s as default and then %s", all, Account, other)
	}
	fx.Equal(all[1], want, "the second of Accounts")
	key, err := fx.AccessKey(fx.Ctx, k.ID)
	fx.Must(err)
	fx.Equal(key, k, "the account's first key")
	_, err = fx.Account(fx.Ctx, nowhere)
	fx.Want(err, fault.AccountNotFound, "an unknown account")
	_, err = fx.CreateRepository(fx.Ctx, meta.Repository{Registry: name.Registry{Account: nowhere, Region: london},
		Name: name.MustRepo("app"), Mutability: meta.Mutability{Mode: meta.Mutable}}, nil)
	fx.Want(err, fault.AccountNotFound, "a repository of an unknown account")
	fx.Want(fx.PutAccessKey(fx.Ctx, Key(nowhere, "AKIANOWHERE"), 2), fault.AccountNotFound, "a key of an unknown account")
	fx.Want(fx.PutToken(fx.Ctx, meta.Token{ID: "t", Account: nowhere, Region: london}, meta.Quota{}), fault.AccountNotFound,
		"a token of an unknown account")
}

// A registry is in use while it has a repository that is not deleted.
func testRegistriesInUse(fx *Fixture) {
	account(fx, other)
	inUse := func(what string, want ...name.Registry) {
		fx.Helper()
		got, err := fx.RegistriesInUse(fx.Ctx)
		fx.Must(err)
		fx.Equal(fmt.Sprint(got), fmt.Sprint(want), "%s", what)
	}
	inUse("without a repository")
	create := func(r name.Registry, repo string) meta.Repository {
		fx.Helper()
		n, err := name.ParseRepo(repo)
		fx.Must(err)
		made, err := fx.CreateRepository(fx.Ctx, meta.Repository{Registry: r, Name: n, Mutability: meta.Mutability{Mode: meta.Mutable}}, nil)
		fx.Must(err)
		return made
	}
	abroad := name.Registry{Account: other, Region: london}
	first := create(abroad, "app")
	create(Registry, "app")
	create(Registry, "app2")
	inUse("with three repositories in two registries", Registry, abroad)
	fx.Must(fx.DeleteRepository(fx.Ctx, first, false))
	inUse("after a deletion", Registry)
}

func testDeleteAccount(fx *Fixture) {
	fx.Want(fx.DeleteAccount(fx.Ctx, Account, true), fault.AccountNotEmpty, "the default account")
	fx.Want(fx.DeleteAccount(fx.Ctx, nowhere, true), fault.AccountNotFound, "an unknown account")
	reg := name.Registry{Account: other, Region: london}
	for round := range 3 { // the same names several times, within one tick of the clock
		k := account(fx, other)
		r, err := fx.CreateRepository(fx.Ctx, meta.Repository{Registry: reg, Name: name.MustRepo("app"),
			Mutability: meta.Mutability{Mode: meta.Mutable}, Encryption: meta.EncryptionAES256}, nil)
		fx.Must(err)
		token := meta.Token{ID: fmt.Sprint("token", round), Account: other, Region: london, AccessKey: k.ID, IssuedAt: monday,
			ExpiresAt: monday.Add(12 * time.Hour)}
		fx.Must(fx.PutToken(fx.Ctx, token, meta.Quota{}))
		fx.Must(fx.PutSetting(fx.Ctx, reg, meta.SettingBlobMounting, meta.Disabled))
		fx.Must(fx.PutUpload(fx.Ctx, r, meta.Upload{ID: fmt.Sprint("upload", round),
			Blob: blob.Upload{ID: "b", State: []byte("s")}, StartedAt: monday}, meta.Quota{}, 0))
		fx.Image(r, "one", "v1")
		for _, read := range []func() error{ // so that they are cached
			func() error { _, err := fx.Repository(fx.Ctx, reg, r.Name); return err },
			func() error { _, err := fx.AccessKey(fx.Ctx, k.ID); return err },
			func() error { _, err := fx.Token(fx.Ctx, token.ID); return err },
		} {
			fx.Must(read())
		}
		fx.Want(fx.DeleteAccount(fx.Ctx, other, false), fault.AccountNotEmpty, "an account with a repository")
		_, err = fx.AccessKey(fx.Ctx, k.ID)
		fx.Want(err, 0, "the key after a refused deletion")

		fx.Must(fx.DeleteAccount(fx.Ctx, other, true))
		_, err = fx.Account(fx.Ctx, other)
		fx.Want(err, fault.AccountNotFound, "the deleted account")
		_, err = fx.Repository(fx.Ctx, reg, r.Name)
		fx.Want(err, fault.RepositoryNotFound, "its repository")
		_, err = fx.AccessKey(fx.Ctx, k.ID)
		fx.Want(err, fault.AccessKeyNotFound, "its key")
		_, err = fx.Token(fx.Ctx, token.ID)
		fx.Want(err, fault.TokenNotFound, "its token")
		_, err = fx.Upload(fx.Ctx, r.ID, fmt.Sprint("upload", round))
		fx.Want(err, fault.UploadNotFound, "its upload")
		setting, err := fx.Setting(fx.Ctx, reg, meta.SettingBlobMounting)
		fx.Must(err)
		fx.Equal(setting, "", "its setting")
		fx.Want(fx.PutImage(fx.Ctx, r, As(ImageOf("one"), "v2")), fault.RepositoryNotFound, "a push to a repository that was read before")
	}
}

func testAccessKeys(fx *Fixture) {
	first, second := Key(Account, "AKIAEXAMPLEEXAMPLE01"), Key(Account, "AKIA0")
	second.CreatedAt = first.CreatedAt.Add(time.Second)
	fx.Must(fx.PutAccessKey(fx.Ctx, second, 2))
	fx.Want(fx.PutAccessKey(fx.Ctx, Key(Account, "AKIA2"), 2), fault.AccessKeyLimit, "a third key of at most two")
	another := Key(Account, "AKIA3")
	bob := meta.Entity{ID: "AIDABOB", Account: Account, Kind: meta.User, Name: "bob", Path: "/"}
	fx.Must(fx.CreateEntity(fx.Ctx, bob, nil, 10))
	another.Principal, another.SealedSecret = bob.ID, []byte{0, 0xff}
	another.CreatedAt = second.CreatedAt
	fx.Must(fx.PutAccessKey(fx.Ctx, another, 2))
	all, err := fx.AccessKeys(fx.Ctx, Account)
	fx.Must(err)
	fx.Equal(all, []meta.AccessKey{first, second, another}, "AccessKeys, oldest first and then by id")
	for _, active := range []bool{false, false, true, false} {
		fx.Must(fx.SetAccessKeyActive(fx.Ctx, second.ID, active))
		got, err := fx.AccessKey(fx.Ctx, second.ID)
		fx.Must(err)
		fx.Equal(got.Active, active, "Active after SetAccessKeyActive(%t)", active)
	}
	fx.Must(fx.DeleteAccessKey(fx.Ctx, second.ID))
	for what, err := range map[string]error{
		"turning on a deleted key": fx.SetAccessKeyActive(fx.Ctx, second.ID, true),
		"deleting a deleted key":   fx.DeleteAccessKey(fx.Ctx, second.ID),
	} {
		fx.Want(err, fault.AccessKeyNotFound, "%s", what)
	}
	_, err = fx.AccessKey(fx.Ctx, second.ID)
	fx.Want(err, fault.AccessKeyNotFound, "a deleted key")
	got, err := fx.AccessKey(fx.Ctx, first.ID)
	fx.Must(err)
	fx.Equal(got, first, "the other key")
}

func testAccessKeyLimitRace(fx *Fixture) {
	won := race(fx, 20, fault.AccessKeyLimit, func(i int) error {
		return fx.PutAccessKey(fx.Ctx, Key(Account, fmt.Sprint("AKIARACE", i)), 5)
	})
	fx.Equal(won, 4, "additional keys, of at most 5")
}

func testTokens(fx *Fixture) {
	end := monday.Add(12 * time.Hour)
	token := func(id string, issued, expires time.Time) meta.Token {
		k := meta.Token{ID: id, Account: Account, Principal: Principal, AccessKey: "AKIA", Region: london, IssuedAt: issued, ExpiresAt: expires}
		fx.Must(fx.PutToken(fx.Ctx, k, meta.Quota{}))
		return k
	}
	b, a, c := token("b", monday, end), token("a", monday, end), token("c", monday.Add(-time.Hour), end.Add(-time.Hour))
	got, err := fx.Token(fx.Ctx, "b")
	fx.Must(err)
	fx.Equal(got, b, "Token")
	_, err = fx.Token(fx.Ctx, "nosuch")
	fx.Want(err, fault.TokenNotFound, "an unknown token")
	for _, test := range []struct {
		at   time.Time
		want []meta.Token
	}{{monday, []meta.Token{c, a, b}}, {end.Add(-time.Hour), []meta.Token{a, b}}, {end, nil}} {
		all, err := fx.Tokens(fx.Ctx, Account, test.at)
		fx.Must(err)
		fx.Equal(all, test.want, "Tokens at %s", test.at)
	}
	// Tokens are kept for an hour after they have expired, not longer if they were just read.
	late := token("late", end.Add(24*time.Hour), end.Add(36*time.Hour))
	expired := func(at time.Time, limit, want int) {
		fx.Helper()
		n, err := fx.DeleteExpired(fx.Ctx, at, limit)
		fx.Must(err)
		fx.Equal(n, want, "tokens deleted at %s", at)
	}
	expired(end.Add(time.Hour), 10, 1) // c, which expired an hour earlier
	_, err = fx.Token(fx.Ctx, "b")
	fx.Want(err, 0, "a token that expired exactly an hour before")
	expired(end.Add(2*time.Hour), 1, 1)
	expired(end.Add(2*time.Hour), 1, 1)
	expired(end.Add(2*time.Hour), 1, 0)
	_, err = fx.Token(fx.Ctx, "b")
	fx.Want(err, fault.TokenNotFound, "a token that expired more than an hour before")
	_, err = fx.Token(fx.Ctx, late.ID)
	fx.Want(err, 0, "a valid token")
}

func testRevokeTokens(fx *Fixture) {
	account(fx, other)
	end := time.Now().Add(12 * time.Hour) // after the store's clock, which may be frozen
	for i, of := range []name.Account{Account, Account, Account, other} {
		k := meta.Token{ID: fmt.Sprint("t", i), Account: of, Region: london, IssuedAt: monday, ExpiresAt: end}
		fx.Must(fx.PutToken(fx.Ctx, k, meta.Quota{}))
		_, err := fx.Token(fx.Ctx, k.ID)
		fx.Must(err)
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
		n, err := fx.RevokeTokens(fx.Ctx, test.of, test.id)
		fx.Want(err, test.code, "RevokeTokens(%s, %q)", test.of, test.id)
		fx.Equal(n, test.want, "RevokeTokens(%s, %q)", test.of, test.id)
	}
	for i, revoked := range []bool{true, true, true, false} {
		k, err := fx.Token(fx.Ctx, fmt.Sprint("t", i))
		fx.Must(err)
		fx.Equal(!k.RevokedAt.IsZero(), revoked, "token %d revoked", i)
	}
}

func testSettings(fx *Fixture) {
	elsewhere := name.Registry{Account: Account, Region: london}
	check := func(reg name.Registry, setting, want string) {
		fx.Helper()
		got, err := fx.Setting(fx.Ctx, reg, setting)
		fx.Must(err)
		fx.Equal(got, want, "Setting(%s, %s)", reg, setting)
	}
	check(Registry, meta.SettingBlobMounting, "")
	for _, value := range []string{meta.Enabled, meta.Enabled, meta.Disabled} {
		fx.Must(fx.PutSetting(fx.Ctx, Registry, meta.SettingBlobMounting, value))
		check(Registry, meta.SettingBlobMounting, value)
		check(Registry, meta.SettingPolicyScope, "")
		check(elsewhere, meta.SettingBlobMounting, "")
	}
}
