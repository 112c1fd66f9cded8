package identity_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

var (
	password = secret.New("correct-Horse-1")
	wrong    = secret.New("another-Horse-2")
	desk     = netip.MustParseAddr("192.0.2.7")
)

// user makes a user of the other account, with a password unless hash is "".
func (w *fixture) user(t testing.TB, name, hash string) meta.Entity {
	t.Helper()
	e := meta.Entity{ID: "AIDA" + strings.ToUpper(name), Account: other, Kind: meta.User, Name: name, Path: "/", CreatedAt: w.at}
	if err := w.meta.CreateEntity(t.Context(), e, nil, 99); err != nil {
		t.Fatal(err)
	}
	if hash != "" {
		p := meta.LoginProfile{User: e.ID, Hash: hash, ResetRequired: true, CreatedAt: w.at}
		if err := w.meta.CreateLoginProfile(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	return e
}

// hashed returns a hash of password.
func (w *fixture) hashed(t testing.TB) string {
	t.Helper()
	hash, err := w.PasswordHash(t.Context(), w.root(t, other), password)
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

// A sign-in with the right password gives the user as the caller, and is recorded.
func TestSignIn(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	ann := w.user(t, "ann", w.hashed(t))
	got, err := w.SignIn(t.Context(), other, "ann", password, desk)
	if err != nil || got.Caller.Principal != ann.ID || got.Caller.Kind != identity.User || got.Caller.AccessKey != "" || !got.ResetRequired {
		t.Errorf("SignIn: got %+v, %v, want the user", got, err)
	}
	if e, err := w.meta.EntityByID(t.Context(), ann.ID); err != nil || !e.LastUsedAt.Equal(w.at) {
		t.Errorf("the last use of the password: got %v, %v, want %v", e.LastUsedAt, err, w.at)
	}
}

// What is wrong with a sign-in is not told: the account, the user, a missing password and a wrong one have the same error, and one hash
// is computed for each.
func TestSignInDoesNotTellWhatIsWrong(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	w.user(t, "bob", "")
	var first string
	var hashes atomic.Int32
	hash := w.hashed(t)
	w.user(t, "ann", hash)
	identity.AfterHash(w.Service, func() { hashes.Add(1) })
	for i, c := range []struct {
		what, user string
		password   secret.String
	}{
		{"a wrong password", "ann", wrong}, {"no password", "bob", password}, {"no user", "eve", password}, {"no name", "", password},
		{"an empty password", "ann", secret.New("")}, {"a huge password", "ann", secret.New(strings.Repeat("a", 1<<20))},
		{"an empty password of nobody", "eve", secret.New("")},
	} {
		hashes.Store(0)
		_, err := w.SignIn(t.Context(), other, c.user, c.password, netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}))
		wantCode(t, c.what, err, fault.AccessDenied)
		if n := hashes.Load(); n != 1 {
			t.Errorf("%s: %d hashes were computed, want 1", c.what, n)
		}
		if text := fault.From(err).Public; first == "" {
			first = text
		} else if text != first {
			t.Errorf("%s: got %q, want the text of the others, %q", c.what, text, first)
		}
	}
	_, err := w.SignIn(t.Context(), home, "ann", password, desk)
	wantCode(t, "another account", err, fault.AccessDenied)
}

// Failures are counted by user and address, by address, and by user, also if they happen at the same time. Other users at other
// addresses do not notice, and the count starts again after a quarter of an hour.
func TestSignInAttemptsAreBounded(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	hash := w.hashed(t)
	for _, user := range []string{"ann", "bob"} {
		w.user(t, user, hash)
	}
	var clients sync.WaitGroup
	var tried, throttled atomic.Int32
	for range 12 {
		clients.Go(func() {
			for {
				_, err := w.SignIn(t.Context(), other, "ann", wrong, desk)
				switch {
				case errors.Is(err, fault.AccessDenied):
					tried.Add(1)
				case errors.Is(err, fault.Throttled) && strings.Contains(err.Error(), "Too many attempts"):
					throttled.Add(1)
					return
				case !errors.Is(err, fault.Throttled):
					t.Errorf("SignIn: %v", err)
					return
				}
			}
		})
	}
	clients.Wait()
	if tried.Load() != 5 || throttled.Load() != 12 {
		t.Errorf("%d passwords were tried, want 5", tried.Load())
	}
	_, err := w.SignIn(t.Context(), other, "Ann", password, desk)
	wantCode(t, "the right password after five wrong ones", err, fault.Throttled)
	for what, c := range map[string]struct {
		user string
		from netip.Addr
	}{"another address": {"ann", netip.MustParseAddr("192.0.2.8")}, "another user": {"bob", desk}} {
		if _, err := w.SignIn(t.Context(), other, c.user, password, c.from); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	// All addresses of an IPv6 network count as one.
	for i := range 5 {
		_, err := w.SignIn(t.Context(), other, "ann", wrong, netip.MustParseAddr(fmt.Sprintf("2001:db8::%d", i)))
		wantCode(t, "a wrong password", err, fault.AccessDenied)
	}
	_, err = w.SignIn(t.Context(), other, "ann", password, netip.MustParseAddr("2001:db8::ffff"))
	wantCode(t, "another address of the network", err, fault.Throttled)

	w.at = w.at.Add(15 * time.Minute)
	if _, err := w.SignIn(t.Context(), other, "ann", password, desk); err != nil {
		t.Errorf("a quarter of an hour later: %v", err)
	}
}

// Successful sign-ins are not counted.
func TestSignInsAreNotFailures(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	w.user(t, "ann", w.hashed(t))
	for range 8 {
		if _, err := w.SignIn(t.Context(), other, "ann", password, desk); err != nil {
			t.Fatal(err)
		}
	}
}

// A stored hash with other parameters is verified with these, and replaced at the next sign-in. One whose parameters would take all
// memory is not computed.
func TestStoredHashes(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	b64 := base64.RawStdEncoding.EncodeToString
	sum := argon2.IDKey([]byte(password.Reveal()), []byte("salt-and-pepper!"), 1, 8<<10, 1, 32)
	ann := w.user(t, "ann", fmt.Sprintf("$argon2id$v=19$m=8192,t=1,p=1$%s$%s", b64([]byte("salt-and-pepper!")), b64(sum)))
	_, err := w.SignIn(t.Context(), other, "ann", wrong, desk)
	wantCode(t, "a wrong password", err, fault.AccessDenied)
	for range 2 {
		if _, err := w.SignIn(t.Context(), other, "ann", password, desk); err != nil {
			t.Fatal(err)
		}
	}
	if p, err := w.meta.LoginProfile(t.Context(), ann.ID); err != nil || !strings.HasPrefix(p.Hash, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("after the sign-in: got %s, %v, want the present parameters", p.Hash, err)
	}
	for i, hash := range []string{"$argon2id$v=19$m=4194304,t=2,p=1$c2FsdA$" + b64(sum), "$argon2id$v=19$m=19456,t=200,p=1$c2FsdA$" + b64(sum),
		"$argon2i$v=19$m=19456,t=2,p=1$c2FsdA$" + b64(sum), "plain", "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$"} {
		user := fmt.Sprint("u", i)
		w.user(t, user, hash)
		if _, err := w.SignIn(t.Context(), other, user, password, desk); err == nil || errors.Is(err, fault.AccessDenied) {
			t.Errorf("the stored hash %s: got %v, want an error of the server", hash, err)
		}
	}
}

// A password that is changed while a sign-in verifies it is not accepted.
func TestPasswordChangedDuringSignIn(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	ann := w.user(t, "ann", w.hashed(t))
	changed := errors.New("not changed")
	identity.AfterHash(w.Service, func() { changed = w.meta.UpdateLoginProfile(t.Context(), ann.ID, "", "another", nil) })
	_, err := w.SignIn(t.Context(), other, "ann", password, desk)
	wantCode(t, "SignIn", err, fault.AccessDenied)
	if changed != nil {
		t.Error(changed)
	}
}

// Two passwords are hashed at once, whoever asks, and a caller has four calls at most: the rest is refused without a hash.
func TestHashingIsBounded(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	mine, others := w.root(t, other), w.root(t, home)
	var running, most, refused atomic.Int32
	hold := make(chan struct{})
	identity.AfterHash(w.Service, func() {
		if n := running.Add(1); n > most.Load() {
			most.Store(n)
		}
		<-hold
		running.Add(-1)
	})
	var callers sync.WaitGroup
	hash := func(by identity.Caller) {
		callers.Go(func() {
			if _, err := w.PasswordHash(t.Context(), by, password); errors.Is(err, fault.Throttled) {
				refused.Add(1)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
	for range 10 {
		hash(mine)
	}
	for refused.Load() < 6 { // of the ten; the others hash and wait
		runtime.Gosched()
	}
	hash(others)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.PasswordHash(ended, others, password); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that has gone: got %v, want context.Canceled", err)
	}
	close(hold)
	callers.Wait()
	if most.Load() > 2 || refused.Load() != 6 {
		t.Errorf("%d passwords were hashed at once and %d refused, want 2 and 6", most.Load(), refused.Load())
	}
}
