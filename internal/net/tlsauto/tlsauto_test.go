package tlsauto_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/net/tlsauto"
)

// clock is a time that a test advances.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// scope is what the CAs of most tests may issue certificates for.
var scope = tlsauto.Scope{DNS: []string{"test", "ecr.eu-west-1.amazonaws.com"},
	Addresses: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}

func open(t *testing.T, dir string, c *clock) *tlsauto.Authority {
	t.Helper()
	a, err := tlsauto.New(dir, tlsauto.Options{Scope: scope, Now: c.now})
	if err != nil {
		t.Fatalf("New(%s): %v", dir, err)
	}
	return a
}

// serve accepts connections and completes their handshakes until the test ends.
func serve(t *testing.T, get func(*tls.ClientHelloInfo) (*tls.Certificate, error)) string {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{GetCertificate: get})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				conn.(*tls.Conn).Handshake()
				conn.Close()
			})
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return l.Addr().String()
}

// handshake connects as a client that trusts only the CA, and returns the leaf that the server presents.
func handshake(t *testing.T, addr, serverName string, caPEM []byte, c *clock) (*x509.Certificate, error) {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(caPEM) {
		t.Fatalf("the CA is not PEM: %q", caPEM)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	d := tls.Dialer{Config: &tls.Config{ServerName: serverName, RootCAs: roots, Time: c.now}}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0], nil
}

func TestHandshakeByName(t *testing.T) {
	t.Parallel()
	c := newClock()
	a := open(t, t.TempDir(), c)
	addr := serve(t, a.GetCertificate)

	const host = "111111111111.dkr.ecr.eu-west-1.amazonaws.com"
	first, err := handshake(t, addr, host, a.CAPEM(), c)
	if err != nil {
		t.Fatalf("handshake for %s: %v", host, err)
	}
	if life := first.NotAfter.Sub(first.NotBefore); life > 7*24*time.Hour {
		t.Errorf("leaf lives %v, want 7 days at most", life)
	}
	again, err := handshake(t, addr, strings.ToUpper(host), a.CAPEM(), c)
	if err != nil || !again.Equal(first) {
		t.Errorf("second handshake: got another leaf or error %v, want the cached one", err)
	}
	if _, err := handshake(t, addr, "example.com", a.CAPEM(), c); err == nil {
		t.Error("handshake for example.com: got a certificate, want an error, as the name is not allowed")
	}
	if got := a.Cached(); got != 1 {
		t.Errorf("%d leaves cached after three handshakes for one allowed name, want 1", got)
	}
}

func TestHandshakeByAddress(t *testing.T) {
	t.Parallel()
	c := newClock()
	a := open(t, t.TempDir(), c)
	addr := serve(t, a.GetCertificate)
	// A Go client sends no server name if ServerName is an address, as RFC 6066 requires.
	leaf, err := handshake(t, addr, "127.0.0.1", a.CAPEM(), c)
	if err != nil {
		t.Fatalf("handshake for 127.0.0.1: %v", err)
	}
	if len(leaf.IPAddresses) != 1 || !leaf.IPAddresses[0].Equal(net.IPv4(127, 0, 0, 1)) || len(leaf.DNSNames) != 0 {
		t.Errorf("leaf is for %v %v, want 127.0.0.1 alone", leaf.IPAddresses, leaf.DNSNames)
	}
}

func TestLeafIsRenewedAtTwoThirds(t *testing.T) {
	t.Parallel()
	c := newClock()
	a := open(t, t.TempDir(), c)
	get := func() *x509.Certificate {
		t.Helper()
		cert, err := a.GetCertificate(&tls.ClientHelloInfo{ServerName: "registry.test"})
		if err != nil {
			t.Fatal(err)
		}
		return cert.Leaf
	}
	first := get()
	c.add(4 * 24 * time.Hour)
	if !get().Equal(first) {
		t.Error("after 4 days: a new leaf, want the first")
	}
	c.add(24 * time.Hour)
	second := get()
	if second.Equal(first) {
		t.Error("after 5 days: the first leaf, want a new one")
	}
	c.add(-5 * 24 * time.Hour)
	if got := get(); got.NotBefore.After(c.now()) {
		t.Errorf("clock set back: leaf is valid from %v, now is %v", got.NotBefore, c.now())
	}
}

func TestNamesRefused(t *testing.T) {
	t.Parallel()
	a := open(t, t.TempDir(), newClock())
	for _, host := range []string{
		".", "..", "a..b", "*.test", "-a.test", "a-.test", "a b", "a/b", "a:1", "é.test", "a\x00b", "127.0.0.1", "127.0.0.1.", "[::1]",
		strings.Repeat("a", 64) + ".test", strings.Repeat("a.", 127) + "abc",
	} {
		if _, err := a.GetCertificate(&tls.ClientHelloInfo{ServerName: host}); err == nil {
			t.Errorf("name %q: got a certificate, want an error", host)
		}
	}
	if got := a.Cached(); got != 0 {
		t.Errorf("%d leaves cached, want none", got)
	}
	if _, err := a.GetCertificate(&tls.ClientHelloInfo{}); err == nil {
		t.Error("no name and no connection: got a certificate, want an error")
	}
}

func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	c := newClock()
	a := open(t, t.TempDir(), c)
	get := func(host string) *x509.Certificate {
		t.Helper()
		cert, err := a.GetCertificate(&tls.ClientHelloInfo{ServerName: host})
		if err != nil {
			t.Fatal(err)
		}
		return cert.Leaf
	}
	first, second := get("h0.test"), get("h1.test")
	for i := 2; i < tlsauto.MaxLeafs+1; i++ {
		c.add(time.Second)
		get("h0.test") // stays in use
		get(fmt.Sprintf("h%d.test", i))
	}
	if got := a.Cached(); got != tlsauto.MaxLeafs {
		t.Errorf("%d leaves cached after %d names, want %d", got, tlsauto.MaxLeafs+1, tlsauto.MaxLeafs)
	}
	if !get("h0.test").Equal(first) {
		t.Error("the leaf in use was dropped")
	}
	if get("h1.test").Equal(second) {
		t.Error("the leaf unused for longest was kept")
	}
}

// A handshake for a cached name, and one for a name without a certificate, do not wait while leaves for other names are issued.
func TestCachedNamesDoNotWaitForOthers(t *testing.T) {
	t.Parallel()
	a := open(t, t.TempDir(), newClock())
	if _, err := a.GetCertificate(&tls.ClientHelloInfo{ServerName: "reg.test"}); err != nil {
		t.Fatal(err)
	}
	done := a.Busy()
	defer done()
	results := make(chan error, 2)
	go func() {
		_, err := a.GetCertificate(&tls.ClientHelloInfo{ServerName: "reg.test"})
		results <- err
		if _, err = a.GetCertificate(&tls.ClientHelloInfo{ServerName: "www.example.com"}); err == nil {
			err = errors.New("www.example.com has a certificate")
		} else {
			err = nil
		}
		results <- err
	}()
	for range 2 {
		select {
		case err := <-results:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(30 * time.Second):
			t.Fatal("a handshake waits for one that issues another leaf")
		}
	}
}

func TestCAOnDisk(t *testing.T) {
	t.Parallel()
	c := newClock()
	dir := filepath.Join(t.TempDir(), "tls")
	a := open(t, dir, c)
	for file, want := range map[string]os.FileMode{"": 0o700, "ca.pem": 0o644, "ca-key.pem": 0o600} {
		info, err := os.Stat(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("mode of %q is %o, want %o", file, got, want)
		}
	}
	if a.CAPath() != filepath.Join(dir, "ca.pem") {
		t.Errorf("CAPath() = %s", a.CAPath())
	}
	onDisk, err := os.ReadFile(a.CAPath())
	if err != nil || !bytes.Equal(onDisk, a.CAPEM()) {
		t.Errorf("CAPEM() is not the file's content (%v)", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 2 {
		t.Errorf("%d files in %s, want 2: %v", len(entries), dir, entries)
	}
	if b := open(t, dir, c); !bytes.Equal(a.CAPEM(), b.CAPEM()) {
		t.Error("the second opening made another CA")
	}
	// After a crash between the two files, the certificate is made from the existing key.
	if err := os.Remove(a.CAPath()); err != nil {
		t.Fatal(err)
	}
	b := open(t, dir, c)
	if _, err := handshake(t, serve(t, a.GetCertificate), "127.0.0.1", a.CAPEM(), c); err != nil {
		t.Error(err)
	}
	if _, err := handshake(t, serve(t, b.GetCertificate), "127.0.0.1", b.CAPEM(), c); err != nil {
		t.Errorf("after the certificate was lost: %v", err)
	}
}

func TestManyOpenOneEmptyFolder(t *testing.T) {
	t.Parallel()
	c := newClock()
	dir := filepath.Join(t.TempDir(), "tls")
	pems := make([]string, 8)
	var wg sync.WaitGroup
	for i := range pems {
		wg.Go(func() {
			a, err := tlsauto.New(dir, tlsauto.Options{Scope: scope, Now: c.now})
			if err != nil {
				t.Errorf("New: %v", err)
				return
			}
			pems[i] = string(a.CAPEM())
		})
	}
	wg.Wait()
	for i := range pems {
		if pems[i] != pems[0] {
			t.Errorf("opener %d has another CA than opener 0", i)
		}
	}
}

func TestBrokenCA(t *testing.T) {
	t.Parallel()
	c := newClock()
	other := t.TempDir()
	open(t, other, c)
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(other, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	secret := read("ca-key.pem")
	for name, tc := range map[string]struct{ file, content, want string }{
		"key of another CA":  {"ca-key.pem", secret, "does not belong"},
		"key cut off":        {"ca-key.pem", secret[:len(secret)/2], "reading ca-key.pem"},
		"key empty":          {"ca-key.pem", "", "reading ca-key.pem"},
		"certificate of CA2": {"ca.pem", read("ca.pem"), "does not belong"},
		"certificate empty":  {"ca.pem", "", "reading ca.pem"},
		"a key as CA":        {"ca.pem", secret, "reading ca.pem"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			open(t, dir, c)
			if err := os.WriteFile(filepath.Join(dir, tc.file), []byte(tc.content), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := tlsauto.New(dir, tlsauto.Options{Scope: scope, Now: c.now})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got error %v, want one with %q", err, tc.want)
			}
			for line := range strings.Lines(secret) {
				if strings.Contains(err.Error(), strings.TrimSpace(line)) {
					t.Errorf("the error holds a line of the key: %v", err)
				}
			}
		})
	}
}

func FuzzGetCertificate(f *testing.F) {
	for _, s := range []string{"a.test", "A.TEST.", "*.test", "xn--a", "1.2.3.4", "::1", "a\xffb", "_a.b"} {
		f.Add(s)
	}
	c := newClock()
	a, err := tlsauto.New(f.TempDir(), tlsauto.Options{Scope: scope, Now: c.now})
	if err != nil {
		f.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(a.CAPEM())
	f.Fuzz(func(t *testing.T, host string) {
		cert, err := a.GetCertificate(&tls.ClientHelloInfo{ServerName: host})
		if err != nil {
			return
		}
		if _, err := cert.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: host, CurrentTime: c.now()}); err != nil {
			t.Errorf("the leaf minted for %q does not verify for it: %v", host, err)
		}
	})
}

func BenchmarkGetCertificateCached(b *testing.B) {
	a, err := tlsauto.New(b.TempDir(), tlsauto.Options{Scope: scope})
	if err != nil {
		b.Fatal(err)
	}
	hello := &tls.ClientHelloInfo{ServerName: "111111111111.dkr.ecr.eu-west-1.amazonaws.com"}
	for b.Loop() {
		if _, err := a.GetCertificate(hello); err != nil {
			b.Fatal(err)
		}
	}
}
