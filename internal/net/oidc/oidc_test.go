package oidc_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ecrin-dev/ecrin/internal/net/egress"
	"github.com/ecrin-dev/ecrin/internal/net/oidc"
	"github.com/ecrin-dev/ecrin/internal/test/oidctest"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// clock is a time that a test advances.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Now()} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// registered returns a function that finds the same provider for every issuer.
func registered(p oidc.Provider) func(string) (oidc.Provider, error) {
	return func(string) (oidc.Provider, error) { return p, nil }
}

func provider(i *oidctest.Issuer) oidc.Provider {
	return oidc.Provider{URL: i.URL(), ClientIDs: []string{oidctest.Audience}}
}

// with returns a copy of claims with changes; a nil value removes a claim.
func with(claims map[string]any, changes map[string]any) map[string]any {
	c := maps.Clone(claims)
	for name, v := range changes {
		if c[name] = v; v == nil {
			delete(c, name)
		}
	}
	return c
}

// fails checks that err has the code, and that its public text contains text.
func fails(t *testing.T, what string, err error, code fault.Code, text string) {
	t.Helper()
	if !errors.Is(err, code) {
		t.Errorf("%s: got %v, want %v", what, err, code)
	} else if got := fault.From(err).Public; !strings.Contains(got, text) {
		t.Errorf("%s: got the text %q, want %q in it", what, got, text)
	}
}

const noKey = "Couldn't retrieve verification key from your identity provider, please reference AssumeRoleWithWebIdentity documentation for requirements"

func TestVerify(t *testing.T) {
	t.Parallel()
	i := oidctest.Start(t, oidctest.Options{Path: "/id/ABC"})
	v := oidc.New(i.Guard(), time.Now)
	bare := strings.TrimPrefix(i.URL(), "https://")
	at := func(c map[string]any, name string) time.Time { return time.Unix(c[name].(int64), 0).UTC() }

	kubernetes := i.Kubernetes("prod", "builder")
	github := i.GitHub("acme/app", "refs/heads/main")
	several := with(i.Claims("u-1"), map[string]any{"aud": []string{"a", "b"}, "azp": oidctest.Audience,
		"amr": []string{"mfa", "pwd"}, "email_verified": true})
	tagged := with(i.Claims("u-2"), map[string]any{"https://aws.amazon.com/tags": map[string]any{
		"principal_tags": map[string]any{"Project": []string{"Automation"}, "Team": "Core"}, "transitive_tag_keys": []string{"Project"}}})
	flat := with(i.Claims("u-3"), map[string]any{"https://aws.amazon.com/tags/principal_tags/Project": "Automation",
		"https://aws.amazon.com/tags/transitive_tag_keys": []string{"Project"}})
	strs := func(c map[string]any, names ...string) map[string]string {
		m := map[string]string{"iss": i.URL(), "sub": c["sub"].(string)}
		for _, name := range names {
			m[name] = c[name].(string)
		}
		return m
	}
	tests := []struct {
		name   string
		claims map[string]any
		want   oidc.Claims
	}{
		{"kubernetes", kubernetes, oidc.Claims{Subject: "system:serviceaccount:prod:builder",
			Audience: []string{oidctest.Audience}, Strings: strs(kubernetes)}},
		{"github", github, oidc.Claims{Subject: "repo:acme/app:ref:refs/heads/main", Audience: []string{oidctest.Audience},
			Strings: strs(github, "aud", "repository", "ref", "ref_type", "event_name", "actor", "run_id", "runner_environment")}},
		{"several audiences", several, oidc.Claims{Subject: "u-1", Audience: []string{"a", "b"}, Azp: oidctest.Audience,
			AMR: []string{"mfa", "pwd"}, Strings: strs(several, "azp")}},
		{"tags", tagged, oidc.Claims{Subject: "u-2", Audience: []string{oidctest.Audience}, Strings: strs(tagged, "aud"),
			Tags: oidc.Tags{Principal: map[string]string{"Project": "Automation", "Team": "Core"}, Transitive: []string{"Project"}}}},
		{"flat tags", flat, oidc.Claims{Subject: "u-3", Audience: []string{oidctest.Audience},
			Strings: strs(flat, "aud", "https://aws.amazon.com/tags/principal_tags/Project"),
			Tags:    oidc.Tags{Principal: map[string]string{"Project": "Automation"}, Transitive: []string{"Project"}}}},
	}
	for _, test := range tests {
		test.want.Issuer, test.want.Expiry, test.want.IssuedAt = bare, at(test.claims, "exp"), at(test.claims, "iat")
		p := provider(i)
		if test.name == "tags" {
			p.URL = bare // a form that some callers store
		}
		asked := ""
		got, err := v.Verify(t.Context(), i.Mint(test.claims), func(issuer string) (oidc.Provider, error) {
			asked = issuer
			return p, nil
		})
		if err != nil {
			t.Errorf("%s: got %v, want the claims", test.name, err)
			continue
		}
		if d := cmp.Diff(test.want, got); d != "" {
			t.Errorf("%s: claims differ (-want +got):\n%s", test.name, d)
		}
		if asked != i.URL() {
			t.Errorf("%s: looked for the issuer %q, want %q", test.name, asked, i.URL())
		}
	}
	if got := i.Requests(); got != 2 {
		t.Errorf("the issuer received %d requests for %d tokens, want 2: discovery and keys", got, len(tests))
	}
}

func TestVerifyAlgorithms(t *testing.T) {
	t.Parallel()
	i := oidctest.Start(t, oidctest.Options{})
	algs := []string{"RS256", "RS384", "RS512", "ES256", "ES384", "ES512"}
	var kids []string
	for _, alg := range algs {
		kids = append(kids, i.Rotate(alg))
	}
	v := oidc.New(i.Guard(), time.Now)
	for n, alg := range algs {
		text := i.Sign(map[string]any{"alg": alg, "kid": kids[n]}, i.Claims("someone"), kids[n])
		if c, err := v.Verify(t.Context(), text, registered(provider(i))); err != nil || c.Subject != "someone" {
			t.Errorf("%s: got %q, %v, want someone", alg, c.Subject, err)
		}
	}
}

func TestVerifyRefusesClaims(t *testing.T) {
	t.Parallel()
	i := oidctest.Start(t, oidctest.Options{})
	now := time.Now()
	v := oidc.New(i.Guard(), func() time.Time { return now })
	sec := func(d time.Duration) any { return now.Add(d).Unix() }
	tags := func(v any) map[string]any { return map[string]any{"https://aws.amazon.com/tags": v} }
	type set = map[string]any
	tests := []struct {
		name    string
		changes set
		code    fault.Code // 0 means accepted
		text    string
	}{
		{"expired within the leeway", set{"exp": sec(-299 * time.Second)}, 0, ""},
		{"expired", set{"exp": sec(-301 * time.Second)}, fault.ExpiredWebIdentity,
			fmt.Sprintf("Token expired: current date/time %d must be before the expiration date/time %d", now.Unix(), now.Unix()-301)},
		{"a fraction of a second", set{"exp": float64(now.Unix()) + 60.5}, 0, ""},
		{"not yet, within the leeway", set{"nbf": sec(299 * time.Second)}, 0, ""},
		{"not yet", set{"nbf": sec(302 * time.Second)}, fault.InvalidIdentityToken, "not valid yet"},
		{"issued soon", set{"iat": sec(299 * time.Second)}, 0, ""},
		{"issued later", set{"iat": sec(302 * time.Second)}, fault.InvalidIdentityToken, "issued in the future"},
		{"no exp", set{"exp": nil}, fault.InvalidIdentityToken, "Missing a required claim: exp"},
		{"no iat", set{"iat": nil}, fault.InvalidIdentityToken, "Missing a required claim: iat"},
		{"no sub", set{"sub": nil}, fault.InvalidIdentityToken, "Missing a required claim: sub"},
		{"empty sub", set{"sub": ""}, fault.InvalidIdentityToken, "Missing a required claim: sub"},
		{"sub is a list", set{"sub": []string{"a"}}, fault.InvalidIdentityToken, "Missing a required claim: sub"},
		{"no aud", set{"aud": nil}, fault.InvalidIdentityToken, "Missing a required claim: aud"},
		{"no audience", set{"aud": []string{}}, fault.InvalidIdentityToken, "Missing a required claim: aud"},
		{"exp as text", set{"exp": "4000000000"}, fault.IDPRejectedClaim, "exp"},
		{"exp beyond all time", set{"exp": 1e300}, fault.IDPRejectedClaim, "exp"},
		{"exp before all time", set{"exp": -1}, fault.IDPRejectedClaim, "exp"},
		{"nbf as text", set{"nbf": "0"}, fault.IDPRejectedClaim, "nbf"},
		{"another audience", set{"aud": "sts.example.com"}, fault.InvalidIdentityToken, "Incorrect token audience"},
		{"azp does not help a single audience", set{"aud": "sts.example.com", "azp": oidctest.Audience},
			fault.InvalidIdentityToken, "Incorrect token audience"},
		{"several audiences without azp", set{"aud": []string{oidctest.Audience, "b"}}, fault.InvalidIdentityToken, "Incorrect token audience"},
		{"several audiences for another party", set{"aud": []string{oidctest.Audience, "b"}, "azp": "b"},
			fault.InvalidIdentityToken, "Incorrect token audience"},
		{"azp is a list", set{"azp": []string{"a"}}, fault.IDPRejectedClaim, "azp"},
		{"amr is a number", set{"amr": 1}, fault.IDPRejectedClaim, "amr"},
		{"no tags", tags(set{}), 0, ""},
		{"tags are a list", tags([]any{set{}}), fault.IDPRejectedClaim, "https://aws.amazon.com/tags"},
		{"a tag of two values", tags(set{"principal_tags": set{"a": []string{"b", "c"}}}), fault.IDPRejectedClaim, "https://aws.amazon.com/tags"},
		{"a tag of no value", tags(set{"principal_tags": set{"a": []string{}}}), fault.IDPRejectedClaim, "https://aws.amazon.com/tags"},
		{"a tag twice", set{"https://aws.amazon.com/tags": set{"principal_tags": set{"a": "b"}},
			"https://aws.amazon.com/tags/principal_tags/a": "c"}, fault.IDPRejectedClaim, "tags"},
		{"transitive keys are a number", tags(set{"transitive_tag_keys": 1}), fault.IDPRejectedClaim, "https://aws.amazon.com/tags"},
	}
	for _, test := range tests {
		_, err := v.Verify(t.Context(), i.Mint(with(i.Claims("someone"), test.changes)), registered(provider(i)))
		if test.code == 0 {
			if err != nil {
				t.Errorf("%s: got %v, want it accepted", test.name, err)
			}
			continue
		}
		fails(t, test.name, err, test.code, test.text)
	}
	_, err := v.Verify(t.Context(), i.Mint(i.Claims("someone")), registered(oidc.Provider{URL: i.URL()}))
	fails(t, "a provider without clients", err, fault.InvalidIdentityToken, "Incorrect token audience")
}

func TestVerifyIssuers(t *testing.T) {
	t.Parallel()
	i := oidctest.Start(t, oidctest.Options{})
	v := oidc.New(i.Guard(), time.Now)
	unknown := fault.InvalidIdentityToken.New("No OpenIDConnect provider found in your account for %s", i.URL())
	_, err := v.Verify(t.Context(), i.Mint(i.Claims("someone")), func(string) (oidc.Provider, error) { return oidc.Provider{}, unknown })
	if err != error(unknown) {
		t.Errorf("an unknown issuer: got %v, want the error of the search", err)
	}
	_, err = v.Verify(t.Context(), i.Mint(i.Claims("someone")), registered(oidc.Provider{URL: i.URL() + "/other"}))
	fails(t, "another provider", err, fault.InvalidIdentityToken, "not that of the identity provider")
	for _, issuer := range []any{"http" + strings.TrimPrefix(i.URL(), "https"), "ftp://a.example.com",
		"accounts.example.com", "https://", "https://user@a.example.com", "https://a.example.com?b", "https://a.example.com#b",
		"https://a.example.com\\b", "https://a b", "https://a.example.com/" + strings.Repeat("x", 300)} {
		_, err := v.Verify(t.Context(), i.Mint(with(i.Claims("someone"), map[string]any{"iss": issuer})),
			func(found string) (oidc.Provider, error) {
				t.Errorf("issuer %q: looked up as %q, want it refused before the lookup", issuer, found)
				return oidc.Provider{}, unknown
			})
		fails(t, fmt.Sprintf("issuer %q", issuer), err, fault.InvalidIdentityToken, "the token's issuer is not accepted")
	}
	_, err = v.Verify(t.Context(), i.Mint(with(i.Claims("someone"), map[string]any{"iss": nil})), registered(provider(i)))
	fails(t, "no issuer", err, fault.InvalidIdentityToken, "Missing a required claim: iss")
	if got := i.Requests(); got != 0 {
		t.Errorf("the issuer received %d requests, want none", got)
	}
}

// Failures of the requests to a provider, with the resulting error. No text for the client contains the cause,
// and no error contains text that the provider sent.
func TestVerifyProviderFailures(t *testing.T) {
	t.Parallel()
	const canary = "canary-51c0ffee"
	status := func(n int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, canary, n) }
	}
	text := func(s string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, s) }
	}
	cut := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, `{"keys":[],"a":"`+canary)
	}
	tests := []struct {
		name, path string
		answer     http.HandlerFunc
		code       fault.Code
	}{
		{"discovery is missing", oidctest.Discovery, status(404), fault.InvalidIdentityToken},
		{"discovery is down", oidctest.Discovery, status(503), fault.IDPCommunication},
		{"discovery is busy", oidctest.Discovery, status(429), fault.IDPCommunication},
		{"discovery breaks off", oidctest.Discovery, func(http.ResponseWriter, *http.Request) {
			panic(http.ErrAbortHandler)
		}, fault.IDPCommunication},
		{"discovery breaks off in its middle", oidctest.Discovery, cut, fault.IDPCommunication},
		{"keys break off in their middle", oidctest.Keys, cut, fault.IDPCommunication},
		{"discovery is not JSON", oidctest.Discovery, text(canary), fault.InvalidIdentityToken},
		{"discovery is endless", oidctest.Discovery, text(`{"issuer":"` + strings.Repeat(canary, 100_000) + `"}`), fault.InvalidIdentityToken},
		{"discovery names another issuer", oidctest.Discovery,
			text(`{"issuer":"https://a.example.com/` + canary + `","jwks_uri":"https://127.0.0.1/"}`), fault.InvalidIdentityToken},
		{"keys are not named", oidctest.Discovery, nil, fault.InvalidIdentityToken},
		{"keys over http", oidctest.Discovery, nil, fault.InvalidIdentityToken},
		{"keys inside", oidctest.Discovery, nil, fault.InvalidIdentityToken},
		{"keys redirect inside", oidctest.Keys, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://169.254.169.254/"+canary, http.StatusFound)
		}, fault.InvalidIdentityToken},
		{"keys are missing", oidctest.Keys, status(404), fault.InvalidIdentityToken},
		{"keys are down", oidctest.Keys, status(500), fault.IDPCommunication},
		{"keys are not JSON", oidctest.Keys, text(canary), fault.InvalidIdentityToken},
		{"no keys", oidctest.Keys, text(`{"keys":[]}`), fault.InvalidIdentityToken},
		{"keys are deep", oidctest.Keys, text(`{"keys":` + strings.Repeat("[", 100_000)), fault.InvalidIdentityToken},
	}
	for _, test := range tests {
		i := oidctest.Start(t, oidctest.Options{})
		if test.answer == nil {
			uri := map[string]string{"keys are not named": "", "keys over http": "http" + strings.TrimPrefix(i.URL(), "https") +
				"/keys", "keys inside": "https://10.0.0.1/" + canary}[test.name]
			test.answer = text(`{"issuer":"` + i.URL() + `","jwks_uri":"` + uri + `"}`)
		}
		i.Answer(test.path, test.answer)
		_, err := oidc.New(i.Guard(), time.Now).Verify(t.Context(), i.Mint(i.Claims("someone")), registered(provider(i)))
		want := noKey
		if test.code == fault.IDPCommunication {
			want = "the identity provider cannot be reached, or does not answer; try again later"
		}
		fails(t, test.name, err, test.code, want)
		if err != nil && strings.Contains(err.Error(), canary) {
			t.Errorf("%s: the error contains text that the provider sent: %v", test.name, err)
		}
	}

	i := oidctest.Start(t, oidctest.Options{})
	_, err := oidc.New(egress.New(egress.Options{Roots: i.Roots()}), time.Now).Verify(t.Context(),
		i.Mint(i.Claims("someone")), registered(provider(i)))
	fails(t, "the guard refuses", err, fault.InvalidIdentityToken, noKey)
	if err != nil && !strings.Contains(err.Error(), "egress_allow") {
		t.Errorf("the guard refuses: got %v, want its reason in the error chain", err)
	}
}

func TestVerifyKeysOnAnotherHost(t *testing.T) {
	t.Parallel()
	i, other := oidctest.Start(t, oidctest.Options{}), oidctest.Start(t, oidctest.Options{})
	i.Answer(oidctest.Discovery, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, i.URL(), other.URL()+oidctest.Keys)
	})
	p := provider(i)
	p.Thumbprints = []string{i.Thumbprint(), other.Thumbprint()}
	text := other.Mint(with(other.Claims("someone"), map[string]any{"iss": i.URL()}))
	if c, err := oidc.New(oidctest.Guard(x509.NewCertPool()), time.Now).Verify(t.Context(), text,
		registered(p)); err != nil || c.Subject != "someone" {
		t.Errorf("got %q, %v, want someone", c.Subject, err)
	}
}

// hosts is a resolver that knows some names.
type hosts map[string]string

func (h hosts) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	if a, ok := h[host]; ok {
		return []netip.Addr{netip.MustParseAddr(a)}, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

// A name that does not resolve gets the error of a name whose address is refused: by a difference, whoever registers a provider
// could find out which names a private network has.
func TestUnknownNameLooksLikeRefusedAddress(t *testing.T) {
	t.Parallel()
	i := oidctest.Start(t, oidctest.Options{})
	v := oidc.New(egress.New(egress.Options{Resolver: hosts{"private.example": "10.0.0.1"}}), time.Now)
	for _, name := range []string{"unknown.example", "private.example"} {
		p := oidc.Provider{URL: "https://" + name, ClientIDs: []string{oidctest.Audience}}
		_, err := v.Verify(t.Context(), i.Mint(with(i.Claims("someone"), map[string]any{"iss": p.URL})), registered(p))
		fails(t, name, err, fault.InvalidIdentityToken, noKey)
	}
}
