package identity_test

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/rule/sigv4"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

func TestEnsureDefault(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	if created, err := w.EnsureDefault(t.Context(), home); err != nil || created {
		t.Errorf("the second start: got created %v, %v, want false", created, err)
	}
	_, err := w.EnsureDefault(t.Context(), other)
	wantCode(t, "another default account", err, fault.InvalidParameter)
	if err != nil && !strings.Contains(err.Error(), "ecrin account create 111122223333") {
		t.Errorf("the error is %q, want one that says how to add the account", err)
	}
	stranger := identity.New(w.meta, newFixture(t).ring, w.now, identity.Options{})
	if _, err := stranger.EnsureDefault(t.Context(), home); err == nil || !strings.Contains(err.Error(), "master key is not the one") {
		t.Errorf("a start with another master key: got %v, want an error", err)
	}
}

// The default account is made beside other accounts, also while another process starts, and the master key is compared with the keys
// of any account.
func TestEnsureDefaultBesideOthers(t *testing.T) {
	t.Parallel()
	for what, sameKey := range map[string]bool{"the same master key": true, "another master key": false} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := newFixture(t)
			ring := w.ring
			if !sameKey {
				ring = newFixture(t).ring
			}
			store, err := meta.OpenSQLite(t.Context(), t.TempDir(), w.now)
			must(t, err)
			defer store.Close()
			first := identity.New(store, w.ring, w.now, identity.Options{})
			if _, err := first.CreateAccount(t.Context(), home, ""); err != nil { // the first account, but not the default account
				t.Fatal(err)
			}
			var once sync.Once
			second := identity.New(store, ring, func() time.Time { // called after the accounts were read and before one is made
				once.Do(func() {
					if created, err := first.EnsureDefault(t.Context(), other); err != nil || !created {
						t.Errorf("the first process: got %t, %v, want a new default account beside another account", created, err)
					}
				})
				return w.at
			}, identity.Options{})
			check := func(when string) {
				t.Helper()
				if created, err := second.EnsureDefault(t.Context(), other); created || (err == nil) != sameKey ||
					err != nil && !strings.Contains(err.Error(), "master key") {
					t.Errorf("%s: got %t, %v, want the account of the first process, and an error %t", when, created, err, !sameKey)
				}
			}
			check("at the same time")
			keys, err := store.AccessKeys(t.Context(), home)
			must(t, err)
			for _, k := range keys {
				must(t, store.DeleteAccessKey(t.Context(), k.ID))
			}
			check("with an account without keys")
			if keys, err = store.AccessKeys(t.Context(), other); err != nil || len(keys) != 1 {
				t.Fatalf("the keys of the default account: %v, %v, want one", keys, err)
			}
			must(t, store.DeleteAccessKey(t.Context(), keys[0].ID))
			sameKey = true // no secret is left that only one of the keys can open
			check("without any key")
		})
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	first, err := w.Credentials(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(first.ID, "AKIA") || len(first.ID) != 20 || len(first.Secret.Reveal()) != 40 {
		t.Errorf("key %s with a secret of %d characters, want AKIA and 16, and 40", first.ID, len(first.Secret.Reveal()))
	}
	second, err := w.CreateKey(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.CreateKey(t.Context(), other)
	wantCode(t, "a third key", err, fault.AccessKeyLimit)
	_, err = w.CreateAccount(t.Context(), other, "")
	wantCode(t, "the account again", err, fault.AccountAlreadyExists)
	if err := w.meta.SetAccessKeyActive(t.Context(), first.ID, false); err != nil {
		t.Fatal(err)
	}
	if got, err := w.Credentials(t.Context(), other); err != nil || got.ID != second.ID || got.Secret.Reveal() != second.Secret.Reveal() {
		t.Errorf("Credentials with the first key off: got %s, %v, want %s", got.ID, err, second.ID)
	}
	if err := w.meta.DeleteAccessKey(t.Context(), second.ID); err != nil {
		t.Fatal(err)
	}
	_, err = w.Credentials(t.Context(), other)
	wantCode(t, "Credentials without an active key", err, fault.AccessKeyNotFound)
	_, err = w.KeyCaller(t.Context(), first.ID)
	wantCode(t, "KeyCaller of an inactive key", err, fault.ExpiredCredentials)
	_, err = w.KeyCaller(t.Context(), second.ID)
	wantCode(t, "KeyCaller of a deleted key", err, fault.ExpiredCredentials)
}

// The database files contain no secret in the clear, and a sealed secret opens for its own key only.
func TestAttack34SecretsAreSealed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := newFixture(t)
	store, err := meta.OpenSQLite(t.Context(), dir, w.now)
	if err != nil {
		t.Fatal(err)
	}
	s := identity.New(store, w.ring, w.now, identity.Options{})
	a, err := s.CreateAccount(t.Context(), home, "")
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.CreateAccount(t.Context(), other, "")
	if err != nil {
		t.Fatal(err)
	}
	password, _, err := s.IssueToken(t.Context(), identity.Caller{Kind: identity.Root, Account: home, AccessKey: a.ID}, east)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(a.SealedSecret, []byte(a.Secret.Reveal())) {
		t.Error("the sealed secret holds the secret")
	}
	if err := store.DeleteAccessKey(t.Context(), b.ID); err != nil {
		t.Fatal(err)
	}
	b.SealedSecret = a.SealedSecret
	if err := store.PutAccessKey(t.Context(), b.AccessKey, identity.MaxKeys); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Credentials(t.Context(), other); err == nil {
		t.Error("a key opens with the sealed secret of another key")
	}
	if _, err := identity.New(store, newFixture(t).ring, w.now, identity.Options{}).Credentials(t.Context(),
		home); err == nil || !strings.Contains(err.Error(), "master key") {
		t.Errorf("with another master key: got %v, want an error that names the master key", err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{a.Secret.Reveal(), b.Secret.Reveal(), password.Reveal()} {
			if bytes.Contains(text, []byte(secret)) {
				t.Errorf("%s holds a secret in the clear", filepath.Base(f))
			}
		}
	}
}

// A secret that was opened before is not used once the key has another sealed secret.
func TestOpenedSecretsFollowTheStore(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	u, k := w.person(t, 1)
	_, another := w.person(t, 2)
	for range 2 {
		if got, err := w.UserCredentials(t.Context(), u); err != nil || got.Secret.Reveal() != k.Secret.Reveal() {
			t.Fatalf("got %s, %v, want the secret of the key", got.ID, err)
		}
	}
	must(t, w.meta.DeleteAccessKey(t.Context(), k.ID))
	k.SealedSecret = another.SealedSecret
	must(t, w.meta.PutAccessKey(t.Context(), k.AccessKey, identity.MaxKeys))
	if got, err := w.UserCredentials(t.Context(), u); err == nil || got.Secret.Reveal() != "" {
		t.Errorf("with the sealed secret of another key: got %s, %v, want an error", got.ID, err)
	}
}

func (w *fixture) sign(t *testing.T, key aws.Credentials, service string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "http://localhost:5100/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if key.AccessKeyID == identity.OperatorKeyID {
		once, _ := w.Prove("a challenge", "http://localhost:5100")
		r.Header.Set(identity.OnceHeader, once)
	}
	if err := v4.NewSigner().SignHTTP(t.Context(), key, r, sigv4.EmptyPayload, service, "us-east-1", w.at); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAuthenticate(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	k, err := w.Credentials(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	good := aws.Credentials{AccessKeyID: k.ID, SecretAccessKey: k.Secret.Reveal()}
	authenticateFor := func(service string, key aws.Credentials) (identity.Caller, error) {
		c, _, err := w.Authenticate(t.Context(), w.sign(t, key, service), sigv4.EmptyPayload)
		return c, err
	}
	authenticate := func(key aws.Credentials) (identity.Caller, error) { return authenticateFor("ecr", key) }
	want := identity.Caller{Kind: identity.Root, Account: other, ARN: "arn:aws:iam::111122223333:root",
		UserID: "111122223333", Principal: "111122223333", AccessKey: k.ID}
	if got, err := authenticate(good); err != nil || got != want {
		t.Errorf("the account's key: got %+v, %v, want %+v", got, err, want)
	}
	operator := aws.Credentials{AccessKeyID: identity.OperatorKeyID, SecretAccessKey: w.ring.OperatorSecret().Reveal()}
	for _, service := range []string{"ecr", "sts", "iam"} {
		_, err = authenticateFor(service, operator)
		wantCode(t, "the operator's key for "+service, err, fault.UnknownAccessKey)
	}
	if got, err := authenticateFor("ecrin", operator); err != nil || got.Kind != identity.Operator || got.ARN == "" {
		t.Errorf("the operator's key: got %+v, %v", got, err)
	}
	operator.SecretAccessKey = newFixture(t).ring.OperatorSecret().Reveal()
	_, err = authenticateFor("ecrin", operator)
	wantCode(t, "the operator of another installation", err, fault.SignatureMismatch)
	operator.SecretAccessKey = good.SecretAccessKey
	_, err = authenticateFor("ecrin", operator)
	wantCode(t, "the operator's id with an account's secret", err, fault.SignatureMismatch)
	session := good
	session.SessionToken = "x"
	_, err = authenticate(session)
	wantCode(t, "a session token", err, fault.UnknownAccessKey)
	if err := w.meta.SetAccessKeyActive(t.Context(), k.ID, false); err != nil {
		t.Fatal(err)
	}
	_, err = authenticate(good)
	wantCode(t, "an inactive key", err, fault.UnknownAccessKey)
	_, _, err = w.Authenticate(t.Context(), &http.Request{Method: "POST", URL: w.sign(t, good, "ecr").URL,
		Header: http.Header{}}, sigv4.EmptyPayload)
	wantCode(t, "no credentials", err, fault.MissingCredentials)
}

// The use of a key that could not be stored is stored by the next attempt.
func TestUsesOfAFailedWriteAreKept(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	k, err := w.Credentials(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	key := aws.Credentials{AccessKeyID: k.ID, SecretAccessKey: k.Secret.Reveal()}
	if _, _, err := w.Authenticate(t.Context(), w.sign(t, key, "ecr"), sigv4.EmptyPayload); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.FlushUsed(ended); err == nil {
		t.Fatal("a write with a context that has ended: got no error")
	}
	if err := w.FlushUsed(t.Context()); err != nil {
		t.Fatal(err)
	}
	all, err := w.meta.AccessKeysOf(t.Context(), other, other.String())
	if err != nil || len(all) != 1 || !all[0].Used.At.Equal(w.at) {
		t.Errorf("got %+v, %v, want a key with its last use at %s", all, err, w.at)
	}
}

// The operator gets the oldest active key of a user, never that of another principal.
func TestUserCredentials(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	u, first := w.person(t, 1)
	w.at = w.at.Add(time.Minute)
	second, err := w.CreateUserKey(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []identity.Key{first, second} {
		got, err := w.UserCredentials(t.Context(), u)
		if err != nil || got.ID != want.ID || got.Secret.Reveal() != want.Secret.Reveal() {
			t.Errorf("got %s, %v, want %s with its secret", got.ID, err, want.ID)
		}
		if err := w.meta.SetAccessKeyActive(t.Context(), want.ID, false); err != nil {
			t.Fatal(err)
		}
	}
	got, err := w.UserCredentials(t.Context(), u)
	wantCode(t, "without an active key", err, fault.AccessKeyNotFound)
	if err == nil || got.ID != "" || !strings.Contains(err.Error(), "--user-name user1") {
		t.Errorf("without an active key: got %s, %v, want an error that says how to make one", got.ID, err)
	}
}
