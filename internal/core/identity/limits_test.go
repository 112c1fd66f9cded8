package identity

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// fill adds values under other keys to a cache until it has n.
func fill[K comparable, V any](cache map[K]V, n int, key func(i int) K) {
	for i := 0; len(cache) < n; i++ {
		var v V
		cache[key(i)] = v
	}
}

// Each cache has a maximum number of values: the next value empties it first.
func TestCachesAreBounded(t *testing.T) {
	t.Parallel()
	dir, at := t.TempDir(), time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)
	now := func() time.Time { return at }
	ring, err := LoadKeyring(dir, "", true)
	if err != nil {
		t.Fatal(err)
	}
	store, err := meta.OpenSQLite(t.Context(), dir, now)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	s := New(store, ring, now, Options{})
	account := name.MustAccount("111122223333")
	if _, err := s.CreateAccount(t.Context(), account, ""); err != nil {
		t.Fatal(err)
	}
	text := func(i int) string { return fmt.Sprint("other ", i) }
	for what, test := range map[string]struct {
		max  int
		fill func(n int)
		add  func() error
		size func() int
	}{
		"secrets": {1025, func(n int) { fill(s.secrets, n, text) }, func() error {
			k := s.newKey("AKIA", account, account.String())
			_, err := s.secretOf(k.AccessKey)
			return err
		}, func() int { return len(s.secrets) }},
		"tokens": {4096, func(n int) { fill(s.tokens, n, text) }, func() error {
			password, _, err := s.IssueToken(t.Context(), Caller{Account: account}, name.MustRegion("us-east-1"))
			if err != nil {
				return err
			}
			_, err = s.open(password.Reveal())
			return err
		}, func() int { return len(s.tokens) }},
		"sessions": {4096, func(n int) { fill(s.sessions, n, text) }, func() error {
			c, err := s.IssueSession(t.Context(), Caller{}, meta.Session{Account: account, Principal: account.String()}, time.Hour)
			if err != nil {
				return err
			}
			_, err = s.openSessionToken(c.Token.Reveal())
			return err
		}, func() int { return len(s.sessions) }},
		"subjects": {8192, func(n int) { fill(s.subjects, n, func(i int) subjectKey { return subjectKey{text(i), ""} }) }, func() error {
			_, err := s.Subject(t.Context(), Caller{Principal: account.String()})
			return err
		}, func() int { return len(s.subjects) }},
		"documents": {2048, func(n int) {
			fill(s.documents, n, func(i int) documentKey { return documentKey{policy.Identity, text(i)} })
		}, func() error {
			_, err := s.Compile(policy.Identity, meta.BoundPolicy{
				Text: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`})
			return err
		}, func() int { return len(s.documents) }},
	} {
		for before, want := range map[int]int{test.max - 1: test.max, test.max: 1} {
			clear(s.secrets)
			clear(s.tokens)
			clear(s.sessions)
			clear(s.subjects)
			clear(s.documents)
			test.fill(before)
			if err := test.add(); err != nil {
				t.Errorf("%s: %v", what, err)
			}
			if got := test.size(); got != want {
				t.Errorf("%s: one more than %d gives %d, want %d", what, before, got, want)
			}
		}
	}
}

// The parameters of a stored hash are used within their limits alone, and a hash with others than the present ones is old.
func TestParametersOfStoredHashes(t *testing.T) {
	t.Parallel()
	b64 := func(n int) string { return base64.RawStdEncoding.EncodeToString(make([]byte, n)) }
	of := func(memory, passes, lanes, sum int) string {
		return fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$%s$%s", memory, passes, lanes, b64(16), b64(sum))
	}
	for text, old := range map[string]bool{
		of(19456, 2, 1, 32): false, of(8, 1, 1, 16): true, of(65536, 10, 1, 64): true, of(19455, 2, 1, 32): true, of(19456, 3, 1, 32): true,
		of(19456, 2, 1, 31): true,
	} {
		h, err := parseHash(text)
		if err != nil || h.old() != old {
			t.Errorf("%s: got old %t, %v, want %t", text, h.old(), err, old)
		}
	}
	good := of(19456, 2, 1, 32)
	for _, text := range []string{
		"", of(7, 2, 1, 32), of(65537, 2, 1, 32), of(19456, 0, 1, 32), of(19456, 11, 1, 32), of(19456, 2, 0, 32), of(19456, 2, 2, 32),
		of(19456, 2, 1, 15), of(19456, 2, 1, 65), "x" + good, good + "$", good + "!", strings.Replace(good, "argon2id", "argon2i", 1),
		strings.Replace(good, "v=19", "v=18", 1), strings.Replace(good, "m=", "n=", 1), strings.Replace(good, b64(16), "!", 1),
	} {
		if h, err := parseHash(text); err == nil {
			t.Errorf("%q: got %+v, want an error", text, h)
		}
	}
	if one, again := newHash(secret.New("a")), newHash(secret.New("a")); one == again {
		t.Error("two hashes of one password have the same salt")
	}
}

// A password waits ten seconds for a place, and is then refused; after each call nothing of its holder is left.
func TestHashingWaitsForAWhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, hold := newHasher(), make(chan struct{})
		for i := range 2 {
			go func() {
				if err := h.do(t.Context(), fmt.Sprint("other ", i), func() { <-hold }); err != nil {
					t.Errorf("a call with a place: %v", err)
				}
			}()
		}
		synctest.Wait()
		start := time.Now()
		err := h.do(t.Context(), "late", func() { t.Error("the work of a call without a place runs") })
		if waited := time.Since(start); !errors.Is(err, fault.Throttled) || waited != 10*time.Second {
			t.Errorf("without a place: got %v after %s, want Throttled after 10 s", err, waited)
		}
		close(hold)
		synctest.Wait()
		ran := false
		if err := h.do(t.Context(), "late", func() { ran = true }); err != nil || !ran {
			t.Errorf("after the others: got %v, ran %t", err, ran)
		}
		if len(h.held) != 0 || len(h.places) != 0 {
			t.Errorf("after all calls %v are held in %d places, want none", h.held, len(h.places))
		}
	})
}

// An attempt that one of its keys refuses is not counted under the others, and one that is taken back twice counts once.
func TestRefusedAttemptsAreNotCounted(t *testing.T) {
	t.Parallel()
	var a attempts
	at := time.Unix(0, 0).Add(1000 * AttemptWindow)
	one, both := []attemptLimit{{"one", 1}}, []attemptLimit{{"two", 1}, {"one", 1}}
	two := []attemptLimit{{"two", 1}}
	for i, step := range []struct {
		limits []attemptLimit
		want   bool
	}{{one, true}, {both, false}, {two, true}, {two, false}} {
		if got := a.take(at, step.limits); got != step.want {
			t.Errorf("attempt %d: got %t, want %t", i, got, step.want)
		}
	}
	a.forgive(at, two)
	a.forgive(at, two)
	if !a.take(at, two) || a.take(at, two) {
		t.Error("after an attempt was taken back twice: want one more attempt and no second one")
	}
}

// Addresses are counted as they are, but all of an IPv6 network as one, and an IPv4 address in its IPv6 form as the IPv4 address.
func TestAddressesAsTheyAreCounted(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"192.0.2.7": "192.0.2.7", "::ffff:192.0.2.7": "192.0.2.7", "2001:db8::1": "2001:db8::/64", "2001:db8::2:3:4:5": "2001:db8::/64",
		"2001:db8:0:1::1": "2001:db8:0:1::/64",
	} {
		if got := AddressKey(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}

// A value for the operator is accepted once, within a minute, by the process that issued it. Values that have expired are not kept.
func TestOperatorValuesAreAcceptedOnce(t *testing.T) {
	t.Parallel()
	var o, other onceValues
	at := time.UnixMilli(1_800_000_000_000)
	use := func(what, value string, at time.Time, want bool) {
		t.Helper()
		if got := o.use(value, at); got != want {
			t.Errorf("%s: got %t, want %t", what, got, want)
		}
	}
	first, second := o.issue(at), o.issue(at)
	if first == second {
		t.Errorf("two values are equal: %s", first)
	}
	use("another process's value", other.issue(at), at, false)
	changed := []byte(first)
	changed[20] ^= 1
	use("a changed value", string(changed), at, false)
	use("a longer value", first+"AAAA", at, false)
	use("a shorter value", first[:len(first)-4], at, false)
	use("no value", "", at, false)
	use("a value in another spelling", first+"\n", at, false)
	use("a value", first, at, true)
	use("the value again", first, at, false)
	late := at.Add(time.Minute)
	use("the value again at its last moment", first, late.Add(-time.Millisecond), false)
	use("a value after a minute", second, late, false)
	third, fourth := o.issue(at), o.issue(late)
	use("a value at its last moment", third, late.Add(-time.Millisecond), true)
	use("a later value", fourth, late, true)
	if len(o.used) != 1 {
		t.Errorf("%d values are kept, want the one that has not expired", len(o.used))
	}
}

// A key file that others can read, write or search is refused, whoever they are.
func TestKeyFileIsPrivate(t *testing.T) {
	t.Parallel()
	for _, mode := range []os.FileMode{0o600, 0o400, 0o640, 0o620, 0o610, 0o604, 0o602, 0o601} {
		dir := t.TempDir()
		if _, err := LoadKeyring(dir, "", true); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir+"/master.key", mode); err != nil {
			t.Fatal(err)
		}
		k, err := LoadKeyring(dir, "", true)
		if private := mode&0o077 == 0; private != (err == nil) || private != (k != nil) {
			t.Errorf("with mode %04o: got %v, want an error %t", mode, err, !private)
		}
	}
}

// A sealed value that is cut is an error, whatever is left of it.
func TestSealedValuesThatAreCut(t *testing.T) {
	t.Parallel()
	k, err := newKeyring(make([]byte, masterBytes))
	if err != nil {
		t.Fatal(err)
	}
	sealed := sealWith(k.seal, nil, "context")
	if b, err := openWith(k.seal, sealed, "context"); err != nil || len(b) != 0 {
		t.Errorf("the whole value: got %q, %v", b, err)
	}
	for n := range sealed {
		if b, err := openWith(k.seal, sealed[:n], "context"); err == nil {
			t.Errorf("%d bytes of %d: got %q, want an error", n, len(sealed), b)
		}
	}
}
