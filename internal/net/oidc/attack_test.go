package oidc_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/net/oidc"
	"github.com/ecrin-dev/ecrin/internal/test/oidctest"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func asJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Attack row 18: a token contains or refers to a key of the attacker, under the id of a valid key.
func TestAttack18EmbeddedKey(t *testing.T) {
	t.Parallel()
	i, attacker := oidctest.Start(t, oidctest.Options{Algorithm: "RS256"}), oidctest.Start(t, oidctest.Options{Algorithm: "RS256"})
	visited := make(chan string, 10)
	attacker.Answer(oidctest.Keys, func(_ http.ResponseWriter, r *http.Request) { visited <- r.URL.Path })
	v := oidc.New(i.Guard(), newClock().now)
	jwk := attacker.JWK("key-1")
	for name, value := range map[string]any{
		"jwk": jwk, "x5c": []string{"MIIB"}, "jku": attacker.URL() + oidctest.Keys, "x5u": attacker.URL() +
			oidctest.Keys, "x5t": "abc", "unknown": "abc",
	} {
		// Signed by the attacker, then by the issuer itself: in both cases, key material in a token is not used.
		header := map[string]any{"alg": "RS256", "kid": "key-1", name: value}
		_, err := v.Verify(t.Context(), attacker.Sign(header, i.Claims("admin"), "key-1"), registered(provider(i)))
		fails(t, name+", signed by the attacker", err, fault.InvalidIdentityToken, "")
		_, err = v.Verify(t.Context(), i.Sign(header, i.Claims("someone"), "key-1"), registered(provider(i)))
		if name == "jwk" || name == "x5c" {
			fails(t, name+", signed by the issuer", err, fault.InvalidIdentityToken, "not a valid JWT")
		} else if err != nil {
			t.Errorf("%s, signed by the issuer: got %v, want it ignored", name, err)
		}
	}
	select {
	case path := <-visited:
		t.Errorf("the attacker's %s was requested", path)
	default:
	}
}

// Attack row 18: the algorithm is that of the issuer's key, not the one that the token names.
func TestAttack18Algorithms(t *testing.T) {
	t.Parallel()
	i := oidctest.Start(t, oidctest.Options{Algorithm: "RS256"})
	ec := i.Rotate("ES256")
	v := oidc.New(i.Guard(), newClock().now)
	claims := asJSON(t, i.Claims("admin"))
	for _, alg := range []string{"none", "None", "NONE", "nOnE", ""} {
		for _, signature := range []string{"", b64("x")} {
			text := b64(asJSON(t, map[string]any{"alg": alg, "kid": "key-1"})) + "." + b64(claims) + "." + signature
			_, err := v.Verify(t.Context(), text, registered(provider(i)))
			fails(t, "alg "+alg, err, fault.InvalidIdentityToken, "not a valid JWT")
		}
	}

	// The public key, which is not secret, used as a shared secret.
	der, err := x509.MarshalPKIXPublicKey(i.Signer("key-1").Public())
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range [][]byte{der, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}),
		[]byte(asJSON(t, i.JWK("key-1"))), nil} {
		for _, alg := range []string{"HS256", "RS256"} {
			signed := b64(asJSON(t, map[string]any{"alg": alg, "kid": "key-1"})) + "." + b64(claims)
			mac := hmac.New(sha256.New, secret)
			mac.Write([]byte(signed))
			_, err := v.Verify(t.Context(), signed+"."+b64(string(mac.Sum(nil))), registered(provider(i)))
			fails(t, alg+" by the public key", err, fault.InvalidIdentityToken, "")
		}
	}

	for _, test := range []struct{ alg, kid, signer string }{
		{"ES256", "key-1", ec}, {"ES256", "key-1", "key-1"}, {"RS256", ec, "key-1"}, {"RS256", ec, ec}, {"ES384", ec, ec}, {"ES512", ec, ec},
		{"RS384", "key-1", "key-1"}, {"PS256", "key-1", "key-1"}, {"EdDSA", "key-1", "key-1"}, {"dir", "key-1",
			"key-1"}, {"rs256", "key-1", "key-1"},
	} {
		text := i.Sign(map[string]any{"alg": test.alg, "kid": test.kid}, i.Claims("admin"), test.signer)
		_, err := v.Verify(t.Context(), text, registered(provider(i)))
		fails(t, "alg "+test.alg+", kid "+test.kid+", signed by "+test.signer, err, fault.InvalidIdentityToken, "")
	}
}

// Attack row 18: key ids that match no key, another key, or two keys.
func TestAttack18KeyIDs(t *testing.T) {
	t.Parallel()
	i := oidctest.Start(t, oidctest.Options{Algorithm: "RS256"})
	i.Rotate("RS256")
	attacker := oidctest.Start(t, oidctest.Options{Algorithm: "RS256"})
	double := attacker.JWK("key-1")
	double["kid"] = "double"
	honest := i.JWK("key-1")
	honest["kid"] = "double"
	third := i.JWK("key-2")
	third["kid"] = "double"
	for _, jwk := range []map[string]any{honest, double, third} {
		i.Publish(jwk)
	}
	v := oidc.New(i.Guard(), newClock().now)
	for name, kid := range map[string]any{"absent": nil, "empty": "", "unknown": "key-9", "another's": "key-2",
		"a path": "../key-1", "a number": 1, "a list": []string{"key-1"}, "double": "double"} {
		header := map[string]any{"alg": "RS256", "kid": kid}
		if kid == nil {
			delete(header, "kid")
		}
		_, err := v.Verify(t.Context(), i.Sign(header, i.Claims("admin"), "key-1"), registered(provider(i)))
		fails(t, "kid "+name, err, fault.InvalidIdentityToken, "")
	}
	_, err := v.Verify(t.Context(), i.Sign(map[string]any{"alg": "RS256", "kid": "key-1"}, i.Claims("someone"), "key-1"),
		registered(provider(i)))
	if err != nil {
		t.Errorf("the right kid: got %v, want it accepted", err)
	}
}

// Attack row 18: an issuer can sign only its own tokens.
func TestAttack18ForeignIssuer(t *testing.T) {
	t.Parallel()
	i, attacker := oidctest.Start(t, oidctest.Options{Algorithm: "RS256"}), oidctest.Start(t, oidctest.Options{Algorithm: "RS256"})
	v := oidc.New(i.Guard(), newClock().now)
	both := func(issuer string) (oidc.Provider, error) {
		p := map[string]oidc.Provider{i.URL(): provider(i), attacker.URL(): provider(attacker)}[issuer]
		p.Thumbprints = []string{i.Thumbprint(), attacker.Thumbprint()}
		return p, nil
	}
	_, err := v.Verify(t.Context(), attacker.Sign(map[string]any{"alg": "RS256", "kid": "key-1"}, i.Claims("admin"), "key-1"), both)
	fails(t, "the attacker's signature", err, fault.InvalidIdentityToken, "signature is not valid")
	// The attacker's issuer is registered, and its discovery document names the other issuer.
	attacker.Answer(oidctest.Discovery, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"issuer":"` + i.URL() + `","jwks_uri":"` + attacker.URL() + oidctest.Keys + `"}`))
	})
	_, err = v.Verify(t.Context(), attacker.Mint(attacker.Claims("admin")), both)
	fails(t, "the attacker's discovery document", err, fault.InvalidIdentityToken, noKey)
}

// Attack row 18: texts that two parsers could read differently, or that are costly to parse.
func TestAttack18Texts(t *testing.T) {
	t.Parallel()
	i := oidctest.Start(t, oidctest.Options{Algorithm: "RS256"})
	v := oidc.New(i.Guard(), newClock().now)
	good := i.Mint(i.Claims("someone"))
	if _, err := v.Verify(t.Context(), good, registered(provider(i))); err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(good, ".")
	header, claims, signature := parts[0], parts[1], parts[2]
	last := claims[len(claims)-1]
	bottomless := b64(strings.Repeat(`{"a":`, 2900))
	spare := signature[:len(signature)-1] + string(signature[len(signature)-1]+1) // 256 bytes leave four unused bits in the last digit
	const head = `{"alg":"RS256","kid":"key-1"}`
	sign := func(header string, more string) string { // with the issuer's own key, so that only the text is invalid
		body := strings.TrimSuffix(asJSON(t, i.Claims("someone")), "}")
		return i.SignText(header, body+more, "key-1")
	}
	if _, err := v.Verify(t.Context(), sign(head, `,"a":`+strings.Repeat("[", 16)+strings.Repeat("]", 16)+`}`),
		registered(provider(i))); err != nil {
		t.Fatalf("at the maximum depth: %v", err)
	}
	for name, text := range map[string]string{
		"empty":               "",
		"no signature":        header + "." + claims,
		"empty signature":     header + "." + claims + ".",
		"four parts":          good + ".x",
		"five parts":          header + "." + header + "." + header + "." + header + "." + header,
		"padded":              header + "." + claims + "." + signature + "==",
		"a line end":          header + ".\n" + claims + "." + signature,
		"a blank":             " " + good,
		"a null byte":         good + "\x00",
		"other alphabet":      header + "." + claims + ".+/+/",
		"changed claims":      header + "." + claims[:len(claims)-1] + string(last^1) + "." + signature,
		"other claims":        header + "." + b64(asJSON(t, i.Claims("admin"))) + "." + signature,
		"spare bits":          header + "." + claims + "." + spare,
		"too long":            sign(head, `,"a":"`+strings.Repeat("a", 15000)+`"}`),
		"deep":                sign(head, `,"a":`+strings.Repeat("[", 17)+strings.Repeat("]", 17)+`}`),
		"alg twice":           sign(`{"alg":"none","alg":"RS256","kid":"key-1"}`, "}"),
		"kid twice":           sign(`{"alg":"RS256","kid":"a","kid":"key-1"}`, "}"),
		"sub twice":           sign(head, `,"sub":"admin"}`),
		"sub twice, escaped":  sign(head, `,"\u0073ub":"admin"}`),
		"twice, below":        sign(head, `,"a":{"b":1,"b":2}}`),
		"something behind":    sign(head, "}{}"),
		"not UTF-8":           sign(head, ",\"a\":\"\xff\"}"),
		"bottomless":          header + "." + bottomless + "." + signature,
		"bottomless header":   bottomless + "." + claims + "." + signature,
		"a list":              header + "." + b64(`[]`) + "." + signature,
		"null":                header + "." + b64(`null`) + "." + signature,
		"JSON form":           `{"protected":"` + header + `","payload":"` + claims + `","signature":"` + signature + `"}`,
		"critical extension":  i.Sign(map[string]any{"alg": "RS256", "kid": "key-1", "crit": []string{"exp"}}, i.Claims("someone"), "key-1"),
		"payload not encoded": i.Sign(map[string]any{"alg": "RS256", "kid": "key-1", "b64": false}, i.Claims("someone"), "key-1"),
		"compressed":          i.Sign(map[string]any{"alg": "RS256", "kid": "key-1", "zip": "DEF"}, i.Claims("someone"), "key-1"),
	} {
		began := time.Now()
		_, err := v.Verify(t.Context(), text, registered(provider(i)))
		if !errors.Is(err, fault.InvalidIdentityToken) {
			t.Errorf("%s: got %v, want %v", name, err, fault.InvalidIdentityToken)
		}
		if spent := time.Since(began); spent > 10*time.Second {
			t.Errorf("%s: took %v, want less than 10 seconds", name, spent)
		}
	}
}

// FuzzVerify verifies any text. No input is signed with the issuer's key, so none may be accepted, and none may
// panic.
func FuzzVerify(f *testing.F) {
	i := oidctest.Start(f, oidctest.Options{Algorithm: "RS256"})
	good := i.Mint(i.Kubernetes("prod", "builder"))
	f.Add(good)
	f.Add(strings.ToLower(good))
	f.Add(i.Mint(i.GitHub("acme/app", "refs/heads/main")) + "A")
	f.Add(b64(`{"alg":"ES256","kid":"a"}`) + "." + b64(`{"iss":"https://a.example.com"}`) + "." + b64(strings.Repeat("x", 64)))
	f.Add(b64(`{"alg":"none"}`) + "." + b64(`{}`) + ".")
	f.Add("..")
	v := oidc.New(i.Guard(), newClock().now)
	minted := map[string]bool{good: true}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := v.Verify(t.Context(), text, func(issuer string) (oidc.Provider, error) {
			if issuer != i.URL() { // no issuer is contacted
				return oidc.Provider{}, fault.InvalidIdentityToken.New("No OpenIDConnect provider found in your account for %s", issuer)
			}
			return provider(i), nil
		})
		if err == nil && !minted[text] {
			t.Errorf("Verify(%q): got %+v, want an error", text, c)
		}
		if err != nil && minted[text] {
			t.Errorf("Verify of a good token: got %v, want it accepted", err)
		}
		if err != nil && fault.From(err).Code == fault.Internal {
			t.Errorf("Verify(%q): got %v, want an error with a code", text, err)
		}
	})
}
