package oidc_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/net/oidc"
	"github.com/ecrin-dev/ecrin/internal/test/oidctest"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// patient returns claims that stay valid longer than a test moves the clock.
func patient(i *oidctest.Issuer) map[string]any {
	return with(i.Claims("someone"), map[string]any{"iat": time.Now().Add(-5 * time.Hour).Unix(), "exp": time.Now().Add(5 * time.Hour).Unix()})
}

func TestKeyRotation(t *testing.T) {
	t.Parallel()
	i := oidctest.Start(t, oidctest.Options{})
	c := newClock()
	v := oidc.New(i.Guard(), c.now)
	verify := func(text string) error {
		_, err := v.Verify(t.Context(), text, registered(provider(i)))
		return err
	}
	requests := func(when string, want int) {
		t.Helper()
		if got := i.Requests(); got != want {
			t.Errorf("%s: the issuer received %d requests, want %d", when, got, want)
		}
	}
	first := i.Mint(patient(i))
	if err := verify(first); err != nil {
		t.Fatalf("first key: %v", err)
	}
	i.Rotate("ES256")
	second := i.Mint(patient(i))
	fails(t, "a new key at once", verify(second), fault.InvalidIdentityToken, noKey)
	requests("a new key at once", 2)
	c.add(5 * time.Second)
	if err := verify(second); err != nil {
		t.Errorf("a new key after a pause: got %v, want it accepted", err)
	}
	requests("a new key after a pause", 4)

	i.Withdraw("key-1")
	if err := verify(first); err != nil {
		t.Errorf("a withdrawn key that is still kept: got %v, want it accepted", err)
	}
	i.Rotate("RS256")
	c.add(5 * time.Second)
	if err := verify(i.Mint(patient(i))); err != nil {
		t.Errorf("a third key: got %v, want it accepted", err)
	}
	fails(t, "a withdrawn key when the set was read again", verify(first), fault.InvalidIdentityToken, noKey)
	requests("a third key", 6)

	i.Withdraw("key-2")
	c.add(10*time.Minute - 5*time.Second)
	if err := verify(second); err != nil {
		t.Errorf("a withdrawn key within its age: got %v, want it accepted", err)
	}
	c.add(5 * time.Second)
	fails(t, "a withdrawn key beyond its age", verify(second), fault.InvalidIdentityToken, noKey)
	requests("a withdrawn key beyond its age", 8)
	c.add(-time.Hour)
	if err := verify(i.Mint(patient(i))); err != nil {
		t.Errorf("a clock set back: got %v, want it accepted", err)
	}
	requests("a clock set back, which makes keys old", 10)
}

// While an issuer is down, its keys are used until their maximum age, and the issuer is not requested for each
// token.
func TestKeysWhileTheIssuerIsDown(t *testing.T) {
	t.Parallel()
	i := oidctest.Start(t, oidctest.Options{})
	c := newClock()
	v := oidc.New(i.Guard(), c.now)
	verify := func(text string) error {
		_, err := v.Verify(t.Context(), text, registered(provider(i)))
		return err
	}
	known := i.Mint(patient(i))
	if err := verify(known); err != nil {
		t.Fatal(err)
	}
	i.Answer(oidctest.Discovery, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	i.Rotate("ES256")
	unknown := i.Mint(patient(i))
	c.add(5 * time.Second)
	for range 3 {
		fails(t, "an unknown key", verify(unknown), fault.IDPCommunication, "try again later")
	}
	if got := i.Requests(); got != 3 {
		t.Errorf("the issuer received %d requests, want 3", got)
	}
	if err := verify(known); err != nil {
		t.Errorf("a known key: got %v, want it accepted", err)
	}
	c.add(10 * time.Minute)
	fails(t, "a known key beyond its age", verify(known), fault.IDPCommunication, "try again later")
	i.Answer(oidctest.Discovery, nil)
	c.add(5 * time.Second)
	for name, text := range map[string]string{"known": known, "unknown": unknown} {
		if err := verify(text); err != nil {
			t.Errorf("the %s key when the issuer is back: got %v, want it accepted", name, err)
		}
	}
}

func TestManyTokensAskOnce(t *testing.T) {
	t.Parallel()
	i := oidctest.Start(t, oidctest.Options{})
	v := oidc.New(i.Guard(), newClock().now)
	text := i.Mint(i.Claims("someone"))
	var wait sync.WaitGroup
	for n := range 40 {
		wait.Go(func() {
			if n%2 == 0 {
				if _, err := v.Verify(t.Context(), text, registered(provider(i))); err != nil {
					t.Errorf("a good token among many: %v", err)
				}
				return
			}
			bad := i.Sign(map[string]any{"alg": "RS256", "kid": fmt.Sprintf("unknown-%d", n)}, i.Claims("someone"), "key-1")
			if _, err := v.Verify(t.Context(), bad, registered(provider(i))); !errors.Is(err, fault.InvalidIdentityToken) {
				t.Errorf("an unknown key among many: got %v, want %v", err, fault.InvalidIdentityToken)
			}
		})
	}
	wait.Wait()
	if got := i.Requests(); got != 2 {
		t.Errorf("the issuer received %d requests, want 2", got)
	}
}

// A cancelled call does not prevent the next request to the issuer, and a call that waits for another's request
// can be cancelled.
func TestCallersThatLeave(t *testing.T) {
	t.Parallel()
	i := oidctest.Start(t, oidctest.Options{})
	v := oidc.New(i.Guard(), newClock().now)
	text := i.Mint(i.Claims("someone"))
	entered, release := make(chan struct{}), make(chan struct{})
	i.Answer(oidctest.Keys, func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-release
		_, _ = io.WriteString(w, `{"keys":[`+asJSON(t, i.JWK("key-1"))+`]}`)
	})
	gone, leave := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := v.Verify(gone, text, registered(provider(i)))
		done <- err
	}()
	<-entered
	leave()
	if _, err := v.Verify(gone, text, registered(provider(i))); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that waited: got %v, want %v", err, context.Canceled)
	}
	close(release)
	if err := <-done; err != nil {
		t.Errorf("the caller whose request ended: got %v, want the result stored for later callers", err)
	}
	if _, err := v.Verify(t.Context(), text, registered(provider(i))); err != nil || i.Requests() != 2 {
		t.Errorf("a later caller: got %v after %d requests, want it accepted after 2", err, i.Requests())
	}
}

func TestSetsOfKeys(t *testing.T) {
	t.Parallel()
	i := oidctest.Start(t, oidctest.Options{Algorithm: "RS256"})
	change := func(name string, v any) map[string]any {
		jwk := i.JWK("key-1")
		jwk["kid"] = "changed"
		if jwk[name] = v; v == nil {
			delete(jwk, name)
		}
		return jwk
	}
	tests := []struct {
		name string
		jwk  map[string]any
		good bool
	}{
		{"as it is", change("x", nil), true},
		{"without an algorithm", change("alg", nil), true},
		{"without a use", change("use", nil), true},
		{"to verify", change("key_ops", []string{"verify"}), true},
		{"to encrypt", change("use", "enc"), false},
		{"to wrap", change("key_ops", []string{"wrapKey"}), false},
		{"for another algorithm", change("alg", "RS512"), false},
		{"for PSS", change("alg", "PS256"), false},
		{"without its id", change("kid", nil), false},
		{"without a modulus", change("n", nil), false},
		{"of an unknown kind", change("kty", "quantum"), false},
		{"as a shared secret", map[string]any{"kty": "oct", "kid": "changed", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA"}, false},
	}
	for _, test := range tests {
		set := oidctest.Start(t, oidctest.Options{}) // is to publish the key of i
		set.Publish(test.jwk)
		text := i.Sign(map[string]any{"alg": "RS256", "kid": "changed"}, set.Claims("someone"), "key-1")
		_, err := oidc.New(set.Guard(), time.Now).Verify(t.Context(), text, registered(provider(set)))
		if test.good && err != nil {
			t.Errorf("a key %s: got %v, want it accepted", test.name, err)
		}
		if !test.good && !errors.Is(err, fault.InvalidIdentityToken) {
			t.Errorf("a key %s: got %v, want %v", test.name, err, fault.InvalidIdentityToken)
		}
	}
}

// Keys that are too short to be secure are refused, and keys so long that they only cost time.
func TestKeyLengths(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		primes, bits int
		good         bool
	}{{2, 512, false}, {2, 1024, true}, {4, 1024, true}, {5, 1024, false}} {
		i := oidctest.Start(t, oidctest.Options{})
		k := newRSA(t, test.primes, test.bits)
		i.Publish(map[string]any{"kid": "sized", "kty": "RSA", "n": b64(string(k.n.Bytes())), "e": "AQAB"})
		text := b64(`{"alg":"RS256","kid":"sized"}`) + "." + b64(asJSON(t, i.Claims("someone")))
		_, err := oidc.New(i.Guard(), time.Now).Verify(t.Context(), text+"."+b64(k.sign(text)), registered(provider(i)))
		what := fmt.Sprintf("a key of %d bits", k.n.BitLen())
		if test.good && err != nil {
			t.Errorf("%s: got %v, want it accepted", what, err)
		}
		if !test.good {
			fails(t, what, err, fault.InvalidIdentityToken, noKey)
		}
	}
}

// bareRSA is an RSA key of any length. Long keys have many small primes, which are faster to find.
type bareRSA struct{ n, d *big.Int }

func newRSA(t *testing.T, primes, bits int) bareRSA {
	t.Helper()
	e, one := big.NewInt(65537), big.NewInt(1)
	for {
		n, phi := big.NewInt(1), big.NewInt(1)
		for range primes {
			p, err := rand.Prime(rand.Reader, bits)
			if err != nil {
				t.Fatal(err)
			}
			n.Mul(n, p)
			phi.Mul(phi, new(big.Int).Sub(p, one))
		}
		if d := new(big.Int).ModInverse(e, phi); d != nil {
			return bareRSA{n, d}
		}
	}
}

// sign returns an RS256 signature (RFC 8017, section 8.2.1).
func (k bareRSA) sign(text string) string {
	sum := sha256.Sum256([]byte(text))
	info := append([]byte{0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05,
		0x00, 0x04, 0x20}, sum[:]...)
	size := (k.n.BitLen() + 7) / 8
	padded := "\x00\x01" + strings.Repeat("\xff", size-3-len(info)) + "\x00" + string(info)
	m := new(big.Int).SetBytes([]byte(padded))
	return string(m.Exp(m, k.d, k.n).FillBytes(make([]byte, size)))
}

func TestNumberOfKeys(t *testing.T) {
	t.Parallel()
	i := oidctest.Start(t, oidctest.Options{})
	many := oidctest.Start(t, oidctest.Options{})
	for n := range 99 {
		jwk := i.JWK("key-1")
		jwk["kid"] = fmt.Sprint("more-", n)
		many.Publish(jwk)
	}
	if _, err := oidc.New(many.Guard(), time.Now).Verify(t.Context(), many.Mint(many.Claims("someone")),
		registered(provider(many))); err != nil {
		t.Errorf("100 keys: got %v, want them accepted", err)
	}
	jwk := i.JWK("key-1")
	jwk["kid"] = "one too many"
	many.Publish(jwk)
	_, err := oidc.New(many.Guard(), time.Now).Verify(t.Context(), many.Mint(many.Claims("someone")), registered(provider(many)))
	fails(t, "101 keys", err, fault.InvalidIdentityToken, noKey)
}

// The provider's certificates are accepted by authority, or by the thumbprint of the last certificate that is
// presented.
func TestThumbprints(t *testing.T) {
	t.Parallel()
	const another = "0123456789abcdef0123456789abcdef01234567"
	tests := []struct {
		name    string
		options oidctest.Options
		roots   bool // trust the issuer's authority
		prints  func(i *oidctest.Issuer) []string
		good    bool
	}{
		{"by authority", oidctest.Options{}, true, nil, true},
		{"by authority, whatever the thumbprints", oidctest.Options{}, true, func(*oidctest.Issuer) []string { return []string{another} }, true},
		{"by nothing", oidctest.Options{}, false, nil, false},
		{"another thumbprint", oidctest.Options{}, false, func(*oidctest.Issuer) []string { return []string{another} }, false},
		{"the intermediate's", oidctest.Options{}, false, func(i *oidctest.Issuer) []string { return []string{another, i.Thumbprint()} }, true},
		{"in capitals", oidctest.Options{}, false, func(i *oidctest.Issuer) []string { return []string{strings.ToUpper(i.Thumbprint())} }, true},
		{"the root's, presented", oidctest.Options{Present: 3}, false, func(i *oidctest.Issuer) []string {
			return []string{i.Thumbprint()}
		}, true},
		{"the server's own, alone", oidctest.Options{Present: 1}, false, func(i *oidctest.Issuer) []string {
			return []string{i.Thumbprint()}
		}, true},
		{"of another host", oidctest.Options{Host: "a.example.com"}, false, func(i *oidctest.Issuer) []string {
			return []string{i.Thumbprint()}
		}, false},
		{"by authority, of another host", oidctest.Options{Host: "a.example.com"}, true, func(i *oidctest.Issuer) []string {
			return []string{i.Thumbprint()}
		}, false},
	}
	for _, test := range tests {
		i := oidctest.Start(t, test.options)
		guard, p := oidctest.Guard(x509.NewCertPool()), provider(i)
		if test.roots {
			guard = i.Guard()
		}
		if test.prints != nil {
			p.Thumbprints = test.prints(i)
		}
		_, err := oidc.New(guard, time.Now).Verify(t.Context(), i.Mint(i.Claims("someone")), registered(p))
		if test.good && err != nil {
			t.Errorf("%s: got %v, want it accepted", test.name, err)
		}
		if !test.good {
			fails(t, test.name, err, fault.InvalidIdentityToken, noKey)
		}
	}

	i := oidctest.Start(t, oidctest.Options{})
	c := newClock()
	c.add(2 * 366 * 24 * time.Hour)
	p := provider(i)
	p.Thumbprints = []string{i.Thumbprint()}
	text := i.Mint(with(i.Claims("someone"), map[string]any{"exp": c.now().Add(time.Hour).Unix()}))
	_, err := oidc.New(oidctest.Guard(x509.NewCertPool()), c.now).Verify(t.Context(), text, registered(p))
	fails(t, "a certificate past its end", err, fault.InvalidIdentityToken, noKey)
}

// A thumbprint that one account trusts does not count for another account.
func TestThumbprintsAreApart(t *testing.T) {
	t.Parallel()
	i := oidctest.Start(t, oidctest.Options{})
	v := oidc.New(oidctest.Guard(x509.NewCertPool()), newClock().now)
	trusting := provider(i)
	trusting.Thumbprints = []string{i.Thumbprint()}
	text := i.Mint(i.Claims("someone"))
	if _, err := v.Verify(t.Context(), text, registered(trusting)); err != nil {
		t.Fatal(err)
	}
	_, err := v.Verify(t.Context(), text, registered(provider(i)))
	fails(t, "an account without the thumbprint", err, fault.InvalidIdentityToken, noKey)
	if _, err := v.Verify(t.Context(), text, registered(trusting)); err != nil {
		t.Errorf("the account with the thumbprint, after the other: got %v, want it accepted", err)
	}
}

// The number of issuers whose state is kept is limited; the issuer with the oldest request is removed.
func TestIssuersAreForgotten(t *testing.T) {
	t.Parallel()
	i := oidctest.Start(t, oidctest.Options{})
	i.Answer(oidctest.Discovery, http.NotFound)
	c := newClock()
	v := oidc.New(i.Guard(), c.now)
	text := i.Mint(i.Claims("someone"))
	verify := func(n int) (asked bool) {
		before := i.Requests()
		p := provider(i)
		p.Thumbprints = []string{fmt.Sprintf("%040x", n)}
		if _, err := v.Verify(t.Context(), text, registered(p)); !errors.Is(err, fault.InvalidIdentityToken) {
			t.Fatalf("got %v, want %v", err, fault.InvalidIdentityToken)
		}
		return i.Requests() > before
	}
	for n := range 1001 {
		c.add(time.Millisecond)
		verify(n)
	}
	if verify(1) {
		t.Error("the second of 1001 issuers was requested again, want it cached")
	}
	if !verify(0) {
		t.Error("the first of 1001 issuers was not requested again, want it removed from the cache")
	}
}
