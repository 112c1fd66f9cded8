package upstream_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/net/egress"
	"github.com/ecrin-dev/ecrin/internal/net/upstream"
	"github.com/ecrin-dev/ecrin/internal/rule/manifest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// The canaries are credentials: only the right hosts may receive them, and no error may contain them.
const (
	user     = "canary-user"
	password = "canary-password"
)

// internet is a TLS server that plays several hosts, and records what each of them receives.
type internet struct {
	port  string
	guard *egress.Guard

	mu    sync.Mutex
	hosts map[string]http.HandlerFunc // by name, without the port
	got   map[string][]string         // requests of each host: method, URI, headers, body
}

// resolver resolves the names of the test. Every other name does not exist.
type resolver map[string]string

func (r resolver) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	if a, ok := r[host]; ok {
		return []netip.Addr{netip.MustParseAddr(a)}, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

var certificate = sync.OnceValues(func() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	now := time.Now()
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: now.Add(-time.Hour),
		NotAfter: now.Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		DNSNames: []string{"*.test", "*.dkr.ecr.eu-west-1.amazonaws.com"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
})

// newInternet starts the server. Every host has the address 127.0.0.1, the only one that the guard permits.
func newInternet(t testing.TB) *internet {
	t.Helper()
	n := &internet{hosts: map[string]http.HandlerFunc{}, got: map[string][]string{}}
	s := httptest.NewUnstartedServer(http.HandlerFunc(n.serve))
	c, err := certificate()
	if err != nil {
		t.Fatal(err)
	}
	s.TLS = &tls.Config{Certificates: []tls.Certificate{c}}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	_, n.port, err = net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	names := resolver{"loop.test": "127.0.0.2", "private.test": "10.0.0.1", "meta.test": "169.254.169.254"}
	for _, h := range []string{"registry", "auth", "cdn", "foreign", "api", "sts", "proxy"} {
		names[h+".test"] = "127.0.0.1"
	}
	names["111122223333.dkr.ecr.eu-west-1.amazonaws.com"] = "127.0.0.1"
	n.guard = egress.New(egress.Options{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, Roots: roots, Resolver: names})
	return n
}

func (n *internet) serve(w http.ResponseWriter, r *http.Request) {
	host, _, _ := strings.Cut(r.Host, ":")
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n", r.Method, r.RequestURI)
	for k, v := range r.Header {
		fmt.Fprintf(&b, "%s: %s\n", k, strings.Join(v, ", "))
		for _, one := range v { // what Basic hides
			if plain, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(one, "Basic ")); err == nil {
				b.Write(plain)
			}
		}
	}
	n.mu.Lock()
	n.got[host] = append(n.got[host], b.String())
	h := n.hosts[host]
	n.mu.Unlock()
	if h == nil {
		http.NotFound(w, r)
		return
	}
	h(w, r)
}

func (n *internet) host(name string, h http.HandlerFunc) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hosts[name+".test"] = h
}

// requests returns what a host has received.
func (n *internet) requests(host string) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]string(nil), n.got[host+".test"]...)
}

// lines returns method and URI of what a host has received.
func (n *internet) lines(host string) (lines []string) {
	for _, r := range n.requests(host) {
		line, _, _ := strings.Cut(r, "\n")
		lines = append(lines, line)
	}
	return lines
}

// checkCanaries fails the test if another host than the permitted ones has received a credential, or if err contains one.
func (n *internet) checkCanaries(t testing.TB, err error, permitted ...string) {
	t.Helper()
	if err != nil && strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), "canary") {
		t.Errorf("the error %#v contains a canary", err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
hosts:
	for host, all := range n.got {
		for _, p := range permitted {
			if host == p+".test" {
				continue hosts
			}
		}
		for _, r := range all {
			if strings.Contains(r, "canary") || strings.Contains(r, "Authorization") {
				t.Errorf("the host %s received credentials: %s", host, r)
			}
		}
	}
}

// quick are limits for tests.
var quick = upstream.Limits{Pause: time.Millisecond, MaxPause: 1500 * time.Millisecond, Attempts: 3}

func (n *internet) client(t testing.TB, l upstream.Limits) *upstream.Client {
	t.Helper()
	c := upstream.New(upstream.Options{Guard: n.guard, Limits: l})
	t.Cleanup(c.Close)
	return c
}

func (n *internet) addr(host string) string { return host + ".test:" + n.port }

// registry returns the registry of a host with the canaries as credentials.
func (n *internet) registry(t testing.TB, change ...func(*upstream.Endpoint, *upstream.Limits)) *upstream.Registry {
	t.Helper()
	e, l := upstream.Endpoint{Host: n.addr("registry"), Username: user, Password: secret.New(password)}, quick
	for _, f := range change {
		f(&e, &l)
	}
	r, err := n.client(t, l).Registry(e)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func anonymous(e *upstream.Endpoint, _ *upstream.Limits) {
	e.Username, e.Password = "", secret.String{}
}

// memory is a registry with one repository, which serves what it has and can be changed by hooks.
type memory struct {
	mu        sync.Mutex
	manifests map[string][]byte // by tag and digest
	blobs     map[string][]byte
	before    func(w http.ResponseWriter, r *http.Request) (done bool) // sees each request first; may be nil
}

func newMemory() *memory { return &memory{manifests: map[string][]byte{}, blobs: map[string][]byte{}} }

func (m *memory) add(tag string, im ocitest.Image) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.manifests[tag], m.manifests[im.Digest] = im.Manifest, im.Manifest
	for _, b := range append([][]byte{im.Config}, im.Layers...) {
		m.blobs[ocitest.SHA256(b)] = b
	}
}

func (m *memory) serve(w http.ResponseWriter, r *http.Request) {
	if m.before != nil && m.before(w, r) {
		return
	}
	m.mu.Lock()
	rest := strings.TrimPrefix(r.URL.Path, "/v2/team/app/")
	kind, ref, _ := strings.Cut(rest, "/")
	content, ok := m.blobs[ref]
	if kind == "manifests" {
		content, ok = m.manifests[ref]
	}
	m.mu.Unlock()
	switch {
	case r.URL.Path == "/v2/":
		return
	case !ok:
		answerError(w, http.StatusNotFound, "MANIFEST_UNKNOWN", "canary text of the other side")
		return
	case kind == "manifests":
		w.Header().Set("Content-Type", ocitest.ImageType)
	default:
		w.Header().Set("Content-Type", "application/octet-stream")
	}
	w.Header().Set("Docker-Content-Digest", ocitest.SHA256(content))
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(string(content)))
}

func answerError(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"errors": []any{map[string]string{"code": code, "message": message}}})
}

// requireBasic answers 401 to a request without the canaries.
func requireBasic(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if u, p, ok := r.BasicAuth(); !ok || u != user || p != password {
			w.Header().Set("WWW-Authenticate", `Basic realm="canary"`)
			answerError(w, http.StatusUnauthorized, "UNAUTHORIZED", "canary text")
			return
		}
		next(w, r)
	}
}

// want fails the test unless err has the reason, and neither a canary nor a text of the other side.
func want(t testing.TB, what string, err error, reason upstream.Reason) *upstream.Error {
	t.Helper()
	var e *upstream.Error
	if !errors.As(err, &e) || e.Reason != reason {
		t.Errorf("%s: got the error %v, want one with the reason %q", what, err, reason)
		return &upstream.Error{}
	}
	if text := fmt.Sprintf("%v %+v", err, e.Public); strings.Contains(text, "canary") {
		t.Errorf("%s: the error %q contains a text of the other side", what, text)
	}
	return e
}

func parse(t testing.TB, text string) name.Digest {
	t.Helper()
	d, err := name.ParseDigest(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// read reads a whole blob.
func read(t testing.TB, r *upstream.Registry, d string, o upstream.BlobOptions) ([]byte, error) {
	t.Helper()
	b, err := r.Blob(t.Context(), "team/app", parse(t, d), o)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	return io.ReadAll(b)
}

// pull pulls an image and its blobs.
func pull(t testing.TB, r *upstream.Registry, ref string) error {
	t.Helper()
	got, err := r.Manifest(t.Context(), "team/app", ref, upstream.ManifestOptions{})
	if err != nil {
		return err
	}
	m, err := manifest.Parse(got.Body, got.MediaType)
	if err != nil {
		return err
	}
	for _, b := range m.Blobs() {
		if _, err := read(t, r, b.Digest.String(), upstream.BlobOptions{Size: b.Size}); err != nil {
			return err
		}
	}
	return nil
}
