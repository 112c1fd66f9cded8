package oidc

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/ecrin-dev/ecrin/internal/net/egress"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// The times of a token are compared with a leeway of five minutes, to the second.
func TestTimesOfATokenAtTheirEnds(t *testing.T) {
	t.Parallel()
	const now = 1_800_000_000
	for _, c := range []struct {
		exp, iat int64
		nbf      any
		want     error
	}{
		{now, now, nil, nil}, {now - 299, now, nil, nil}, {now - 300, now, nil, fault.ExpiredWebIdentity},
		{now, now + 300, nil, nil}, {now, now + 301, nil, fault.InvalidIdentityToken},
		{now, now, json.Number(fmt.Sprint(now + 300)), nil}, {now, now, json.Number(fmt.Sprint(now + 301)), fault.InvalidIdentityToken},
		{now, now, json.Number("0"), nil}, {now, now, "soon", fault.IDPRejectedClaim}, {now, now, json.Number("-1"), fault.IDPRejectedClaim},
		{now, now, json.Number("253402300799"), fault.InvalidIdentityToken}, {now, now, json.Number("253402300800"), fault.IDPRejectedClaim},
		{now, now, json.Number("1e999"), fault.IDPRejectedClaim},
	} {
		tok := &token{claims: map[string]any{}}
		if c.nbf != nil {
			tok.claims["nbf"] = c.nbf
		}
		err := tok.checkTime(Claims{Expiry: time.Unix(c.exp, 0), IssuedAt: time.Unix(c.iat, 0)}, time.Unix(now, 0))
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("exp %d, iat %d, nbf %v: got %v, want %v", c.exp-now, c.iat-now, c.nbf, err, c.want)
		}
	}
	at, present, err := (&token{claims: map[string]any{"x": json.Number("12.9")}}).time("x")
	if !at.Equal(time.Unix(12, 0)) || !present || err != nil {
		t.Errorf("12.9 seconds: got %v, %t, %v, want 12 seconds", at, present, err)
	}
}

// An issuer is an https address with a host and at most 255 characters, and nothing that could lead elsewhere.
func TestAddressesOfIssuers(t *testing.T) {
	t.Parallel()
	long := "https://issuer.test/" + strings.Repeat("a", 235)
	for issuer, want := range map[string]string{
		"https://issuer.test": "", "https://issuer.test:8443/a/b": "", long: "", long + "a": "at most 255 characters",
		"http://issuer.test": "begins with",
		"issuer.test":        "begins with", "": "begins with", "https://": "with a host", "https://:443/": "with a host",
		"https:///a":  "with a host",
		"https://a b": "with a host", "https://user@issuer.test": "neither",
		"https://issuer.test?a": "neither", "https://issuer.test#a": "neither",
		"https://issuer.test\\a": "neither",
	} {
		if err := checkIssuer(issuer); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want an error with %q", issuer, err, want)
		}
	}
}

// JSON is read strictly: one object, each name once, 16 levels.
func TestJSONOfATokenIsStrict(t *testing.T) {
	t.Parallel()
	nested := func(n int) string { return `{"a":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}` }
	for text, want := range map[string]string{
		`{}`: "", ` {"a":[1,"b",{"c":null}],"d":true} `: "", nested(16): "", nested(17): "deeper than 16", `{"a":1,"a":2}`: "the same name twice",
		`{"x":{"a":1,"a":2}}`: "the same name twice", `{"x":{"a":1},"a":2}`: "", `{}{}`: "follows", `{} x`: "follows", `{},`: "follows",
		`[]`: "not a JSON object", `"a"`: "not a JSON object", `null`: "not a JSON object", ``: "not JSON", `{`: "not JSON", `{"a"`: "not JSON",
		`{"a":`: "not JSON", `{"a":1`: "not JSON", `{"a":[1`: "not JSON", `{"a":[1}`: "not JSON", `{"a":[x]}`: "not JSON", `{1:2}`: "not JSON",
		"{\"a\":\"\xff\"}": "not UTF-8",
	} {
		got, err := decode([]byte(text))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) || (got == nil) != (want != "") {
			t.Errorf("%s: got %v, %v, want an error with %q", text, got, err, want)
		}
	}
}

// A time in the future is not within a period, after a clock was set back, and neither are the end of the period and no time.
func TestPeriodsEnd(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	for since, want := range map[time.Time]bool{now: true, now.Add(-time.Minute + 1): true, now.Add(-time.Minute): false, now.Add(1): false,
		{}: false} {
		if got := within(since, now, time.Minute); got != want {
			t.Errorf("since %v: got %t, want %t", since.Sub(now), got, want)
		}
	}
}

// Keys are used for ten minutes, also while the issuer fails, and an issuer is asked once in five seconds for a key that it has not.
func TestKeysInTheCache(t *testing.T) {
	t.Parallel()
	at := time.Unix(1_800_000_000, 0)
	s := &source{}
	check := func(what, kid string, now time.Time, known bool, want error) {
		t.Helper()
		k, err, got := s.look(kid, now)
		if got != known || !errors.Is(err, want) || (err == nil) != (want == nil) || (k.alg == "RS256") != (known && err == nil) {
			t.Errorf("%s: got %+v, %v, known %t, want known %t and %v", what, k, err, got, known, want)
		}
	}
	check("before any request", "a", at, false, nil)
	s.set(map[string]key{"a": {alg: "RS256"}}, nil, at)
	check("a key", "a", at, true, nil)
	check("another key, at once", "b", at.Add(5*time.Second-1), true, fault.InvalidIdentityToken)
	check("another key, later", "b", at.Add(5*time.Second), false, nil)
	check("a key, at its end", "a", at.Add(10*time.Minute-1), true, nil)
	check("a key, after its end", "a", at.Add(10*time.Minute), false, nil)
	down := fault.IDPCommunication.New("down")
	s.set(nil, down, at.Add(time.Minute))
	check("a key of an issuer that is down", "a", at.Add(time.Minute), true, nil)
	check("another key of it", "b", at.Add(time.Minute), true, fault.IDPCommunication)
	check("another key of it, later", "b", at.Add(time.Minute+5*time.Second), false, nil)
	s.set(map[string]key{}, nil, at.Add(2*time.Minute))
	check("a key that was withdrawn", "a", at.Add(2*time.Minute), true, fault.InvalidIdentityToken)
}

// Of a thousand issuers, the one that was asked the longest time ago makes room, whatever its place is.
func TestOldestIssuerMakesRoom(t *testing.T) {
	t.Parallel()
	at := time.Unix(1_800_000_000, 0)
	c := newCache(nil, func() time.Time { return at })
	for i := range maxSources {
		c.source(fmt.Sprint(i), []string{"B", "a"}).asked = at.Add(time.Duration((i+500)%maxSources) * time.Second)
	}
	first := c.source("7", []string{"a", "b"}) // the order and the case of thumbprints do not matter
	if len(c.sources) != maxSources {
		t.Errorf("an issuer again: got %d issuers, want %d", len(c.sources), maxSources)
	}
	if c.source("7", []string{"a"}) == first {
		t.Error("other thumbprints: got the source of the issuer with more of them")
	}
	if _, there := c.sources["500\na\nb"]; there || len(c.sources) != maxSources {
		t.Errorf("one more: got %d issuers, the oldest of them %t, want %d without it", len(c.sources), there, maxSources)
	}
}

// Tags have one value each, under one name, in an object or in claims of their own, and the keys that stay are those of both.
func TestTagsOfAToken(t *testing.T) {
	t.Parallel()
	object := func(members map[string]any) map[string]any { return map[string]any{claimTags: members} }
	for what, c := range map[string]struct {
		claims     map[string]any
		want       map[string]string
		transitive []string
		bad        bool
	}{
		"none": {map[string]any{"sub": "x"}, nil, nil, false},
		"an object": {object(map[string]any{"principal_tags": map[string]any{"a": "1", "b": []any{"2"}}}),
			map[string]string{"a": "1", "b": "2"}, nil, false},
		"an empty one": {object(map[string]any{"principal_tags": map[string]any{}}), nil, nil, false},
		"claims": {map[string]any{claimTagPrefix + "a": "1", claimTagPrefix + "b": []any{"2"}, claimTransitive: "a"},
			map[string]string{"a": "1", "b": "2"}, []string{"a"}, false},
		"both": {map[string]any{claimTags: map[string]any{"principal_tags": map[string]any{"a": "1"}, "transitive_tag_keys": []any{"a"}},
			claimTagPrefix + "b": "2", claimTransitive: []any{"b", "c"}}, map[string]string{"a": "1", "b": "2"}, []string{"a", "b", "c"}, false},
		"a tag twice": {map[string]any{claimTags: map[string]any{"principal_tags": map[string]any{"a": "1"}}, claimTagPrefix + "a": "1"},
			nil, nil, true},
		"two values":          {map[string]any{claimTagPrefix + "a": []any{"1", "2"}}, nil, nil, true},
		"no value":            {map[string]any{claimTagPrefix + "a": []any{}}, nil, nil, true},
		"a number":            {object(map[string]any{"principal_tags": map[string]any{"a": json.Number("1")}}), nil, nil, true},
		"a list of a number":  {map[string]any{claimTagPrefix + "a": []any{json.Number("1")}}, nil, nil, true},
		"no object":           {map[string]any{claimTags: "x"}, nil, nil, true},
		"no object of tags":   {object(map[string]any{"principal_tags": "x"}), nil, nil, true},
		"no list of keys":     {object(map[string]any{"transitive_tag_keys": json.Number("1")}), nil, nil, true},
		"no claim with keys":  {map[string]any{claimTransitive: json.Number("1")}, nil, nil, true},
		"a claim beside them": {map[string]any{claimTags + "/principal_tag": json.Number("1")}, nil, nil, false},
	} {
		got, err := (&token{claims: c.claims}).tags()
		if (err != nil) != c.bad || err != nil && !errors.Is(err, fault.IDPRejectedClaim) || !maps.Equal(got.Principal, c.want) ||
			!slices.Equal(got.Transitive, c.transitive) {
			t.Errorf("%s: got %+v, %v, want the tags %v, %v, and an error %t", what, got, err, c.want, c.transitive, c.bad)
		}
	}
}

// A failure of the network may be temporary. A refused address and a name that does not exist are neither, and keep their causes.
func TestWhichFailuresAreTemporary(t *testing.T) {
	t.Parallel()
	refused, unknown := &egress.RefusedError{}, &net.DNSError{Err: "no such host", IsNotFound: true}
	for _, c := range []struct {
		err       error
		temporary bool
	}{
		{refused, false}, {unknown, false}, {fmt.Errorf("dial: %w", unknown), false}, {&net.DNSError{Err: "timeout", IsTimeout: true}, true},
		{&net.OpError{Op: "dial", Err: errors.New("refused")}, true}, {io.ErrUnexpectedEOF, true}, {errors.New("a certificate"), false},
	} {
		if got := failure(c.err); !errors.Is(got, c.err) || errors.Is(got, errUnreachable) != c.temporary {
			t.Errorf("%v: got %v, want it as the cause, and temporary %t", c.err, got, c.temporary)
		}
	}
}

// An id that several keys of a set have identifies none of them, however many there are and whichever can be used.
func TestKeysWithTheSameID(t *testing.T) {
	t.Parallel()
	text := func(id string) string {
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		b, err := (&jose.JSONWebKey{Key: &private.PublicKey, KeyID: id}).MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	broken := `{"kid":"a","kty":"EC"}`
	for _, set := range [][]string{
		{text("a")}, {text("a"), text("a")}, {text("a"), text("a"), text("a")}, {text("a"), broken}, {broken, text("a")},
	} {
		keys, err := parseKeys([]byte(`{"keys":[` + strings.Join(append(set, text("b"), `{"kty":"EC"}`, `1`), ",") + `]}`))
		if _, ok := keys["a"]; err != nil || ok != (len(set) == 1) {
			t.Errorf("%d keys of an id: got it %t, %v, want %t", len(set), ok, err, len(set) == 1)
		}
		if _, ok := keys["b"]; !ok || len(keys) != map[bool]int{true: 2, false: 1}[len(set) == 1] {
			t.Errorf("%d keys of an id: got %d keys, want the key of another id", len(set), len(keys))
		}
	}
}

// A set may have 100 keys of each kind. One with more, and what is not a set, is refused as a whole.
func TestSetsOfKeysAtTheirLimit(t *testing.T) {
	t.Parallel()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	set := func(ecs, rsas int) []byte {
		var all jose.JSONWebKeySet
		for i := range ecs {
			all.Keys = append(all.Keys, jose.JSONWebKey{Key: &ec.PublicKey, KeyID: fmt.Sprint("ec", i)})
		}
		for i := range rsas {
			all.Keys = append(all.Keys, jose.JSONWebKey{Key: &private.PublicKey, KeyID: fmt.Sprint("rsa", i)})
		}
		text, err := json.Marshal(all)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	if keys, err := parseKeys(set(100, 100)); err != nil || len(keys) != 200 {
		t.Errorf("100 keys of each kind: got %d, %v, want all", len(keys), err)
	}
	for what, text := range map[string][]byte{
		"101 EC keys": set(101, 0), "101 RSA keys": set(1, 101), "an HTML page": []byte("<html>"), "nothing": nil, "a list": []byte(`[]`),
		"another form": []byte(`{"keys":{}}`),
	} {
		if keys, err := parseKeys(text); err == nil || keys != nil {
			t.Errorf("%s: got %d keys and %v, want an error", what, len(keys), err)
		}
	}
}

// A key is used with the algorithms of its kind and, if it names one, with that one alone.
func TestAlgorithmsOfKeys(t *testing.T) {
	t.Parallel()
	rsas := &rsa.PublicKey{}
	p256, p384 := &ecdsa.PublicKey{Curve: elliptic.P256()}, &ecdsa.PublicKey{Curve: elliptic.P384()}
	for _, c := range []struct {
		public any
		named  string
		alg    jose.SignatureAlgorithm
		fits   bool
	}{
		{rsas, "", jose.RS256, true}, {rsas, "", jose.RS512, true}, {rsas, "RS256", jose.RS256, true}, {rsas, "RS256", jose.RS512, false},
		{rsas, "", jose.ES256, false}, {rsas, "", jose.PS256, false}, {p256, "", jose.ES256, true}, {p256, "", jose.ES384, false},
		{p384, "", jose.ES384, true}, {p256, "ES256", jose.ES256, true}, {p256, "ES384", jose.ES256, false}, {p256, "", jose.RS256, false},
		{p256, "", jose.HS256, false}, {nil, "", jose.RS256, false},
	} {
		if err := (key{c.public, c.named}).fits(c.alg); (err == nil) != c.fits {
			t.Errorf("a %T for %q with %s: got %v, want it to fit %t", c.public, c.named, c.alg, err, c.fits)
		}
	}
}

// Each part of a token is read strictly before its signature is looked at, and the error says which part is wrong.
func TestPartsOfAToken(t *testing.T) {
	t.Parallel()
	of := func(header, claims string) string {
		b64 := base64.RawURLEncoding.EncodeToString
		return b64([]byte(header)) + "." + b64([]byte(claims)) + "." + b64([]byte("signature"))
	}
	const header, claims = `{"alg":"RS256","kid":"a"}`, `{"iss":"https://issuer.test"}`
	good := of(header, claims)
	if got, err := parse(good); err != nil || got.kid != "a" || got.claims["iss"] != "https://issuer.test" {
		t.Fatalf("a token: got %+v, %v", got, err)
	}
	for text, want := range map[string]string{
		of(header, `{"iss":"a","iss":"b"}`): "claims: an object has the same name twice", of(header, `[]`): "claims: it is not a JSON object",
		of(`{"alg":"RS256","alg":"RS256"}`, claims): "header: an object", of(`{"alg":"none","kid":"a"}`, claims): "is not accepted",
		of(`{"alg":"RS256"}`, claims): "no key id", of(`{"alg":"RS256","kid":"a","crit":[]}`, claims): "crit is not supported",
		of(`{"alg":"RS256","kid":"a","nonce":5}`, claims): "unmarshal nonce",
		of(`{"alg":"RS256","kid":"a","jwk":{}}`, claims):  "contains a key", good + ".": "4 parts", "a": "1 parts", good + "\n": "line ends",
		"!" + good: "part 1 is not base64url", good + "!": "part 3 is not base64url", strings.Repeat("a", maxToken+1): "more than 20000",
	} {
		if got, err := parse(text); got != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80s: got %+v, %v, want an error with %q", text, got, err, want)
		}
	}
}
