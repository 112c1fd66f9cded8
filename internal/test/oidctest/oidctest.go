// Package oidctest is an identity provider for tests: it serves TLS on 127.0.0.1 with certificates of its own
// authority, publishes and withdraws keys, fails on request, and signs tokens with any header and claims.
package oidctest

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" // the API identifies certificates by SHA-1
	_ "crypto/sha256"
	_ "crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/net/egress"
)

// Audience is the audience of the tokens of [Issuer.Kubernetes] and [Issuer.GitHub].
const Audience = "sts.amazonaws.com"

// The paths, below the issuer's own path, of the issuer's documents.
const (
	Discovery = "/.well-known/openid-configuration"
	Keys      = "/keys"
)

// Options configure an issuer. By default it has no path, and presents its own certificate and that of the
// intermediate authority.
type Options struct {
	Path      string // begins with a slash; empty means none
	Present   int    // number of certificates that the server presents, of its own, the intermediate's and the root's; 0 means 2
	Host      string // the name in its certificate; empty means 127.0.0.1
	Algorithm string // of the first key; default ES256, whose keys are fast to generate
}

// Issuer is a running identity provider. It is safe for concurrent use.
type Issuer struct {
	t        testing.TB
	path     string
	server   *httptest.Server
	root     *x509.Certificate
	top      *x509.Certificate
	mu       sync.Mutex
	requests int
	current  string
	signers  map[string]signer
	order    []string // ids of the published keys, in order
	extra    []map[string]any
	answers  map[string]http.HandlerFunc
}

type signer struct {
	alg string
	key crypto.Signer
}

// Start runs an issuer with one key until the test ends.
func Start(t testing.TB, o Options) *Issuer {
	t.Helper()
	if o.Host == "" {
		o.Host = "127.0.0.1"
	}
	if o.Present == 0 {
		o.Present = 2
	}
	i := &Issuer{t: t, path: o.Path, signers: map[string]signer{}, answers: map[string]http.HandlerFunc{}}
	certificate, chain := authority(t, o.Host)
	certificate.Certificate = certificate.Certificate[:o.Present]
	i.root, i.top = chain[2], chain[o.Present-1]
	i.server = httptest.NewUnstartedServer(http.HandlerFunc(i.serve))
	i.server.Config.ErrorLog = log.New(io.Discard, "", 0) // some tests cause refused handshakes
	i.server.TLS = serverTLS(certificate)
	i.server.StartTLS()
	t.Cleanup(i.server.Close)
	i.Rotate(cmp.Or(o.Algorithm, "ES256"))
	return i
}

// URL returns the issuer's URL, as in its tokens.
func (i *Issuer) URL() string { return i.server.URL + i.path }

// Roots returns a pool with the issuer's authority.
func (i *Issuer) Roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(i.root)
	return pool
}

// Root returns the certificate of the issuer's authority, in DER.
func (i *Issuer) Root() []byte { return i.root.Raw }

// Guard returns a guard that allows 127.0.0.1 and trusts the issuer's authority.
func (i *Issuer) Guard() *egress.Guard { return Guard(i.Roots()) }

// Guard returns a guard that allows 127.0.0.1 and trusts roots.
func Guard(roots *x509.CertPool) *egress.Guard {
	return egress.New(egress.Options{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, Roots: roots})
}

// Thumbprint returns the thumbprint of the last certificate that the server presents.
func (i *Issuer) Thumbprint() string {
	sum := sha1.Sum(i.top.Raw)
	return hex.EncodeToString(sum[:])
}

// Requests returns the number of requests so far.
func (i *Issuer) Requests() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.requests
}

// Rotate publishes a new key for alg, uses it for later tokens, and returns its id. Older keys stay published.
func (i *Issuer) Rotate(alg string) (kid string) {
	i.t.Helper()
	s := signer{alg: alg}
	var err error
	switch alg {
	case "ES256":
		s.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		s.key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ES512":
		s.key, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	default:
		s.key, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		i.t.Fatal(err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	kid = fmt.Sprintf("key-%d", len(i.signers)+1)
	i.signers[kid] = s
	i.order = append(i.order, kid)
	i.current = kid
	return kid
}

// Withdraw removes a key from the published set. The issuer can still sign with the key.
func (i *Issuer) Withdraw(kid string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for n, have := range i.order {
		if have == kid {
			i.order = append(i.order[:n:n], i.order[n+1:]...)
			return
		}
	}
	i.t.Errorf("key %q is not published", kid)
}

// Publish adds an entry to the set of keys, without checking it.
func (i *Issuer) Publish(jwk map[string]any) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.extra = append(i.extra, jwk)
}

// JWK returns the public form of one of the issuer's keys.
func (i *Issuer) JWK(kid string) map[string]any {
	i.mu.Lock()
	defer i.mu.Unlock()
	return public(kid, i.signers[kid])
}

// Signer returns one of the issuer's private keys, for signatures in other forms than those of [Issuer.Sign].
func (i *Issuer) Signer(kid string) crypto.Signer {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.signers[kid].key
}

// Answer sets the handler of a path below the issuer's own path, such as [Discovery]; nil restores the default.
func (i *Issuer) Answer(path string, h http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.answers[path] = h
}

func (i *Issuer) serve(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	i.requests++
	set := []map[string]any{}
	for _, kid := range i.order {
		set = append(set, public(kid, i.signers[kid]))
	}
	set = append(set, i.extra...)
	var special http.HandlerFunc
	for path, h := range i.answers {
		if r.URL.Path == i.path+path {
			special = h
		}
	}
	i.mu.Unlock()
	switch {
	case special != nil:
		special(w, r)
	case r.URL.Path == i.path+Discovery:
		send(w, map[string]any{"issuer": i.URL(), "jwks_uri": i.URL() + Keys, "response_types_supported": []string{"id_token"}})
	case r.URL.Path == i.path+Keys:
		send(w, map[string]any{"keys": set})
	default:
		http.NotFound(w, r)
	}
}

func send(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // an error means that the client closed the connection
}

func public(kid string, s signer) map[string]any {
	jwk := map[string]any{"kid": kid, "use": "sig", "alg": s.alg}
	switch k := s.key.Public().(type) {
	case *rsa.PublicKey:
		jwk["kty"], jwk["n"], jwk["e"] = "RSA", encode(k.N.Bytes()), encode(big.NewInt(int64(k.E)).Bytes())
	case *ecdsa.PublicKey:
		point, _ := k.Bytes() // never fails for a generated key
		half := len(point) / 2
		jwk["kty"], jwk["crv"], jwk["x"], jwk["y"] = "EC", k.Curve.Params().Name, encode(point[1:1+half]), encode(point[1+half:])
	}
	return jwk
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// Claims returns the required claims of a token: issuer, subject, audience, and a validity of 15 minutes from
// now.
func (i *Issuer) Claims(subject string) map[string]any {
	now := time.Now()
	return map[string]any{"iss": i.URL(), "sub": subject, "aud": Audience, "iat": now.Unix(), "exp": now.Add(15 * time.Minute).Unix()}
}

// Kubernetes returns the claims of a service account's projected token.
func (i *Issuer) Kubernetes(namespace, account string) map[string]any {
	c := i.Claims("system:serviceaccount:" + namespace + ":" + account)
	c["aud"] = []string{Audience}
	c["nbf"] = c["iat"]
	c["kubernetes.io"] = map[string]any{
		"namespace":      namespace,
		"pod":            map[string]any{"name": account + "-0", "uid": "6a1c3b56-0a6d-4b0d-9c0b-5d4f7a0f1e11"},
		"serviceaccount": map[string]any{"name": account, "uid": "0e2d1f64-9d0b-4a53-8f0f-3f7f6f1c2b22"},
	}
	return c
}

// GitHub returns the claims of a workflow's token, for example GitHub("acme/app", "refs/heads/main").
func (i *Issuer) GitHub(repository, ref string) map[string]any {
	c := i.Claims("repo:" + repository + ":ref:" + ref)
	maps.Copy(c, map[string]any{"repository": repository, "ref": ref, "ref_type": "branch", "event_name": "push",
		"actor": "octo", "run_id": "42", "runner_environment": "github-hosted"})
	return c
}

// Mint returns a token with claims, signed with the current key.
func (i *Issuer) Mint(claims map[string]any) string {
	i.t.Helper()
	i.mu.Lock()
	kid := i.current
	alg := i.signers[kid].alg
	i.mu.Unlock()
	return i.Sign(map[string]any{"alg": alg, "kid": kid, "typ": "JWT"}, claims, kid)
}

// Sign returns a token with header and claims, signed with the key kid by the key's own algorithm, also if
// header names another.
func (i *Issuer) Sign(header, claims map[string]any, kid string) string {
	i.t.Helper()
	return i.SignText(string(i.marshal(header)), string(i.marshal(claims)), kid)
}

// SignText is like Sign, for header and claims as texts, which may be invalid JSON.
func (i *Issuer) SignText(header, claims, kid string) string {
	i.t.Helper()
	i.mu.Lock()
	s := i.signers[kid]
	i.mu.Unlock()
	signed := encode([]byte(header)) + "." + encode([]byte(claims))
	return signed + "." + encode(i.signature(s, signed))
}

func (i *Issuer) signature(s signer, text string) []byte {
	i.t.Helper()
	hash := map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}[s.alg[2:]]
	h := hash.New()
	_, _ = io.WriteString(h, text) // writing to a hash never fails
	if k, ok := s.key.(*ecdsa.PrivateKey); ok {
		r, v, err := ecdsa.Sign(rand.Reader, k, h.Sum(nil))
		if err != nil {
			i.t.Fatal(err)
		}
		size := (k.Curve.Params().BitSize + 7) / 8
		out := make([]byte, 2*size)
		r.FillBytes(out[:size])
		v.FillBytes(out[size:])
		return out
	}
	out, err := s.key.Sign(rand.Reader, h.Sum(nil), hash)
	if err != nil {
		i.t.Fatal(err)
	}
	return out
}

func (i *Issuer) marshal(v map[string]any) []byte {
	i.t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		i.t.Fatal(err)
	}
	return text
}
