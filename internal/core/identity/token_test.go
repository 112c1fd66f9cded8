package identity_test

import (
	"bytes"
	"encoding/base64"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// token returns a docker password of the caller for us-east-1.
func (w *fixture) token(t *testing.T, c identity.Caller) string {
	t.Helper()
	p, _, err := w.IssueToken(t.Context(), c, east)
	if err != nil {
		t.Fatal(err)
	}
	return p.Reveal()
}

func TestToken(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	c := w.root(t, other)
	p, expires, err := w.IssueToken(t.Context(), c, east)
	if err != nil {
		t.Fatal(err)
	}
	if want := w.at.Add(12 * time.Hour); !expires.Equal(want) {
		t.Errorf("the token expires at %s, want %s", expires, want)
	}
	if !regexp.MustCompile(`^[A-Za-z0-9_.-]{150,400}$`).MatchString(p.Reveal()) {
		t.Errorf("the password is %q, want 150 to 400 of A-Z a-z 0-9 _ . -", p.Reveal())
	}
	got, err := w.TokenCaller(t.Context(), p.Reveal(), east)
	if err != nil {
		t.Fatal(err)
	}
	if got.Token == "" {
		t.Error("the caller of a token does not name the token")
	}
	got.Token = ""
	if diff := cmp.Diff(c, got, cmp.AllowUnexported(name.Account{})); diff != "" {
		t.Errorf("the token's caller (-want +got):\n%s", diff)
	}
	if again := w.token(t, c); again == p.Reveal() {
		t.Error("two tokens have the same text")
	}
}

// A token ends 12 hours after it was issued, to the second, also when it was used before.
func TestTokenLife(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	password := w.token(t, w.root(t, home))
	for _, c := range []struct {
		after time.Duration
		good  bool
	}{{0, true}, {11*time.Hour + 59*time.Minute + 59*time.Second, true}, {12 * time.Hour, false}, {100 * time.Hour,
		false}, {time.Hour, true}} {
		start := w.at
		w.at = start.Add(c.after)
		_, err := w.TokenCaller(t.Context(), password, east)
		w.at = start
		if (err == nil) != c.good {
			t.Errorf("after %s: got %v, want good %v", c.after, err, c.good)
		}
		if err != nil {
			wantCode(t, "a token past its end", err, fault.ExpiredCredentials)
			if got, want := fault.From(err).Public, "Your authorization token has expired. Reauthenticate and try again."; got != want {
				t.Errorf("text is %q, want %q", got, want)
			}
		}
	}
}

// A token that is revoked, or whose key or account is disabled or deleted, is refused at its next use.
func TestTokenEndsEarly(t *testing.T) {
	t.Parallel()
	for what, end := range map[string]func(*fixture, identity.Caller, identity.Caller) error{
		"revoked": func(w *fixture, _, used identity.Caller) error {
			_, err := w.meta.RevokeTokens(t.Context(), other, used.Token)
			return err
		},
		"all revoked": func(w *fixture, _, _ identity.Caller) error {
			_, err := w.meta.RevokeTokens(t.Context(), other, "")
			return err
		},
		"its key disabled": func(w *fixture, c, _ identity.Caller) error {
			return w.meta.SetAccessKeyActive(t.Context(), c.AccessKey, false)
		},
		"its key deleted": func(w *fixture, c, _ identity.Caller) error {
			return w.meta.DeleteAccessKey(t.Context(), c.AccessKey)
		},
		"its account deleted": func(w *fixture, _, _ identity.Caller) error {
			return w.meta.DeleteAccount(t.Context(), other, false)
		},
		"its account deleted and made again": func(w *fixture, _, _ identity.Caller) error {
			if err := w.meta.DeleteAccount(t.Context(), other, false); err != nil {
				return err
			}
			_, err := w.CreateAccount(t.Context(), other, "")
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := newFixture(t)
			c := w.root(t, other)
			password, bystander := w.token(t, c), w.token(t, w.root(t, home))
			used, err := w.TokenCaller(t.Context(), password, east)
			if err != nil {
				t.Fatal(err)
			}
			if err := end(w, c, used); err != nil {
				t.Fatal(err)
			}
			_, err = w.TokenCaller(t.Context(), password, east)
			wantCode(t, "the token", err, fault.ExpiredCredentials)
			if _, err := w.TokenCaller(t.Context(), bystander, east); err != nil {
				t.Errorf("the token of another account: %v", err)
			}
		})
	}
}

// RevokeTokens for one account does not revoke tokens of another account.
func TestRevokeAnothersToken(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	password := w.token(t, w.root(t, home))
	c, err := w.TokenCaller(t.Context(), password, east)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.meta.RevokeTokens(t.Context(), other, c.Token)
	wantCode(t, "RevokeTokens by another account", err, fault.TokenNotFound)
	if n, err := w.meta.RevokeTokens(t.Context(), other, ""); err != nil || n != 0 {
		t.Errorf("RevokeTokens of all of another account: got %d, %v, want 0", n, err)
	}
	if _, err := w.TokenCaller(t.Context(), password, east); err != nil {
		t.Errorf("the token afterwards: %v", err)
	}
}

func TestTokenRefused(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	password := w.token(t, w.root(t, home))
	_, err := w.TokenCaller(t.Context(), password, west)
	wantCode(t, "a token in another region", err, fault.ExpiredCredentials)

	for what, bad := range map[string]string{
		"empty": "", "short": "abc", "no base64": "!" + password, "padded": password +
			"=", "a secret key": "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY",
		"cut": password[:len(password)-4], "longer": password + "AAAA", "twice": password + password, "huge": strings.Repeat("A", 1<<20),
		"of another installation": func() string { v := newFixture(t); return v.token(t, v.root(t, home)) }(),
	} {
		_, err := w.TokenCaller(t.Context(), bad, east)
		wantCode(t, what, err, fault.TokenInvalid)
	}
	for i := range len(password) - 1 { // the last character may hold bits that are not used
		other := byte('A')
		if password[i] == other {
			other = 'B'
		}
		_, err := w.TokenCaller(t.Context(), password[:i]+string(other)+password[i+1:], east)
		if err == nil {
			t.Errorf("the token is good with character %d changed", i)
		}
	}
	if _, err := w.TokenCaller(t.Context(), password, east); err != nil {
		t.Errorf("the token itself: %v", err)
	}
}

// TokenCaller returns a caller for issued tokens only.
func FuzzTokenCaller(f *testing.F) {
	w := newFixture(f)
	p, _, err := w.IssueToken(f.Context(), w.root(f, home), east)
	if err != nil {
		f.Fatal(err)
	}
	sealed, err := base64.RawURLEncoding.DecodeString(p.Reveal())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(p.Reveal())
	f.Add(p.Reveal()[1:])
	f.Add("")
	f.Fuzz(func(t *testing.T, password string) {
		got, err := w.TokenCaller(t.Context(), password, east)
		if b, _ := base64.RawURLEncoding.DecodeString(password); err == nil && !bytes.Equal(b, sealed) {
			t.Errorf("TokenCaller(%q): got %+v, want an error", password, got)
		}
		if err != nil && got != (identity.Caller{}) {
			t.Errorf("TokenCaller(%q): got %+v with the error %v, want the zero Caller", password, got, err)
		}
	})
}

// A token has one spelling. Verified tokens are cached by their text, so with several spellings one token could fill
// the cache.
func TestTokenHasOneSpelling(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	text := w.token(t, w.root(t, home))
	if _, err := w.TokenCaller(t.Context(), text, east); err != nil {
		t.Fatal(err)
	}
	for _, other := range []string{text + "\n", "\r\n" + text, text[:20] + strings.Repeat("\n", 9) + text[20:]} {
		_, err := w.TokenCaller(t.Context(), other, east)
		wantCode(t, strconv.Quote(other), err, fault.TokenInvalid)
	}
}
