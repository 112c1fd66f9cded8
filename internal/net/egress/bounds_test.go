package egress_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/net/egress"
)

// The ranges end where the registries of IANA say: the addresses beside them belong to the internet.
func TestAddressesBesideRefusedRangesMayBeDialled(t *testing.T) {
	t.Parallel()
	g := egress.New(egress.Options{})
	for _, a := range []string{
		"1.0.0.0", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0", "168.63.129.15",
		"168.63.129.17", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "191.255.255.255", "192.0.1.0",
		"192.0.3.0", "192.88.98.255", "192.88.100.0", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0",
		"198.51.99.255", "198.51.101.0", "203.0.112.255", "203.0.114.0", "223.255.255.255",
		"2001:200::", "2001:db7:ffff::1", "2001:db9::", "2600::1", "3ffe:ffff::1", "3fff:1000::",
		"64:ff9b::808:808", "2002:808:808::1", "2600::5efe:808:808",
		// not ISATAP: one octet of its mark differs
		"2600::100:5efe:a00:1", "2600::1:5efe:a00:1", "2600::5fe:a00:1", "2600::5eff:a00:1",
	} {
		if err := g.Check(netip.MustParseAddr(a)); err != nil {
			t.Errorf("%s: got %v, want no error", a, err)
		}
	}
	for _, a := range []string{"2600::200:5efe:a00:1", "2600::5efe:a00:1", "1fff::1", "4000::", "64:ff9b::1:0:0", "fd00:ec3::1",
		"2001:1ff:ffff::1", "3fff:fff:ffff::1"} {
		if err := g.Check(netip.MustParseAddr(a)); err == nil {
			t.Errorf("%s: got no error, want a refusal", a)
		}
	}
}

// An address that embeds an IPv4 address needs no permission of its own if the embedded one is allowed.
func TestAllowedAddressMayBeEmbedded(t *testing.T) {
	t.Parallel()
	g := egress.New(egress.Options{Allow: prefixes("10.1.0.0/16")})
	for a, want := range map[string]bool{
		"10.1.0.1": true, "::ffff:10.1.0.1": true, "64:ff9b::a01:1": true, "2002:a01:1::1": true, "2600::5efe:a01:1": true,
		"10.2.0.1": false, "::ffff:10.2.0.1": false, "64:ff9b::a02:1": false, "2002:a02:1::1": false, "2600::5efe:a02:1": false,
	} {
		if err := g.Check(netip.MustParseAddr(a)); (err == nil) != want {
			t.Errorf("%s with 10.1.0.0/16 allowed: got %v, want permission %t", a, err, want)
		}
	}
}

// anywhere is a resolver that returns the same address for every name.
type anywhere string

func (a anywhere) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return []netip.Addr{netip.MustParseAddr(string(a))}, nil
}

// Only names of letters, digits, hyphens, underscores and dots, of at most 253 characters, are resolved.
func TestNamesThatAreResolved(t *testing.T) {
	t.Parallel()
	c := egress.New(egress.Options{Resolver: anywhere("10.0.0.1")}).Client(egress.ClientOptions{})
	label := strings.Repeat("x", 63) + "."
	longest := label + label + label + strings.Repeat("x", 61)
	for _, host := range []string{"a", "az.test", "AZ.test", "b0.test", "9.test", "a-b.test", "a_b.test", "a.b.c9", "a.0xg", longest,
		longest + "."} {
		refused(t, c, "https://"+host+"/", "10.0.0.1 is private")
	}
	for _, host := range []string{"a!b.test", "a$b.test", "a'b.test", "a(b.test", "a*b.test", "a+b.test", "a,b.test", "a;b.test",
		"a=b.test", "a~b.test", "!", "a.9", "a.0x9", "a.0X9", ".", longest + "x", longest + "x."} {
		refused(t, c, "https://"+host+"/", "neither a host name nor an address")
	}
}

// Without a resolver in the options, the system resolves the names, and the result is checked.
func TestGuardUsesTheResolverOfTheSystem(t *testing.T) {
	t.Parallel()
	refused(t, egress.New(egress.Options{}).Client(egress.ClientOptions{}), "https://localhost/", "is loopback")
}

// A name with many addresses cannot make the guard dial more than eight.
func TestClientTriesEightAddressesOfAName(t *testing.T) {
	t.Parallel()
	port, roots := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })
	var closed []string // no server is at these addresses
	for i := range 8 {
		closed = append(closed, fmt.Sprintf("127.0.0.%d", 2+i))
	}
	resolver := &names{answers: map[string][][]string{"example.com": {append(closed[:7:7], "127.0.0.1"), append(closed, "127.0.0.1"), {}}}}
	c := egress.New(egress.Options{Allow: prefixes("127.0.0.0/8"), Roots: roots, Resolver: resolver}).Client(egress.ClientOptions{})
	if body, err := get(t, c, "https://example.com:"+port+"/"); err != nil || body != "hello" {
		t.Errorf("a server at the eighth address: got %q, %v, want hello", body, err)
	}
	body, err := get(t, c, "https://example.com:"+port+"/")
	if err == nil {
		t.Fatalf("a server at the ninth address: got %q, want an error", body)
	}
	for _, a := range closed {
		if !strings.Contains(err.Error(), a+":"+port) {
			t.Errorf("a server at the ninth address: got %v, want the failure of %s in it", err, a)
		}
	}
	if body, err := get(t, c, "https://example.com:"+port+"/"); err == nil || !strings.Contains(err.Error(), "it has no address") {
		t.Errorf("a name without an address: got %q, %v, want an error that says so", body, err)
	}
}

// Without limits in the options, a request ends after ten seconds, and a body of 1 MiB is the longest.
func TestClientHasLimitsByDefault(t *testing.T) {
	t.Parallel()
	port, roots := serve(t, func(w http.ResponseWriter, r *http.Request) {
		n := 1 << 20
		if r.URL.Path == "/longer" {
			n++
		}
		_, _ = w.Write(make([]byte, n))
	})
	g := egress.New(egress.Options{Allow: prefixes("127.0.0.1/32"), Roots: roots})
	c := g.Client(egress.ClientOptions{})
	if c.Timeout != 10*time.Second {
		t.Errorf("time limit: got %v, want 10s", c.Timeout)
	}
	if got := g.Client(egress.ClientOptions{Timeout: time.Minute}).Timeout; got != time.Minute {
		t.Errorf("time limit of the options: got %v, want 1m", got)
	}
	if body, err := get(t, c, "https://127.0.0.1:"+port+"/"); err != nil || len(body) != 1<<20 {
		t.Errorf("a body of 1 MiB: got %d bytes, %v, want all", len(body), err)
	}
	body, err := get(t, c, "https://127.0.0.1:"+port+"/longer")
	if err == nil || !strings.Contains(err.Error(), "longer than 1048576 bytes") || len(body) != 1<<20 {
		t.Errorf("a longer body: got %d bytes, %v, want 1 MiB and an error", len(body), err)
	}
	one := g.Client(egress.ClientOptions{MaxBytes: 1})
	if body, err := get(t, one, "https://127.0.0.1:"+port+"/"); err == nil || !strings.Contains(err.Error(), "longer than 1 bytes") ||
		len(body) != 1 {
		t.Errorf("a limit of one byte: got %d bytes, %v, want 1 and an error", len(body), err)
	}
	small := g.Client(egress.ClientOptions{MaxBytes: 1 << 20})
	r, err := small.Get("https://127.0.0.1:" + port + "/longer")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	single := make([]byte, 1) // a caller that reads single bytes is limited too
	n := 0
	for err == nil {
		var m int
		m, err = r.Body.Read(single)
		n += m
	}
	if n != 1<<20 || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("a longer body, read in single bytes: got %d bytes, %v, want 1 MiB and an error", n, err)
	}
}

// Errors say what was wrong with the response, without its text.
func TestErrorsNameTheKindOfTheFailure(t *testing.T) {
	t.Parallel()
	port, roots := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "https://%zz/")
		w.WriteHeader(http.StatusFound)
	})
	allow := prefixes("127.0.0.1/32")
	trusting := egress.ClientOptions{VerifyTLS: func(string, []*x509.Certificate, *x509.CertPool) error { return nil }}
	c := egress.New(egress.Options{Allow: allow}).Client(trusting)
	for url, want := range map[string]string{
		raw(t, ""):                             "the connection ended before the response",
		raw(t, "HTTP/1.1 200 OK\r\nDate: x"):   "the connection ended before the response",
		raw(t, "SSH-2.0-example\r\n"):          "the response is not valid HTTP",
		raw(t, "HTTP/1.1 200 OK\r\nx\r\n\r\n"): "the response is not valid HTTP",
		"https://127.0.0.1:" + port + "/":      "the response redirects to an invalid URL",
	} {
		if _, err := get(t, c, url); err == nil || !strings.HasPrefix(egress.Cause(err).Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		} else if ended := errors.Is(err, io.ErrUnexpectedEOF); ended != strings.HasPrefix(want, "the connection ended") {
			t.Errorf("%v: got io.ErrUnexpectedEOF %t", err, ended)
		}
	}
	_, err := get(t, c, reset(t))
	if n := net.Error(nil); !errors.As(egress.Cause(err), &n) || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a connection that is reset: got %v, want the error of the system", err)
	}
	if got := egress.Cause(io.EOF); got != io.EOF {
		t.Errorf("cause of an error without URL: got %v, want the error", got)
	}
	_, err = get(t, egress.New(egress.Options{Allow: allow, Roots: roots}).Client(egress.ClientOptions{}), "https://[::1]:"+port+"/")
	var r *egress.RefusedError
	if !errors.As(egress.Cause(err), &r) {
		t.Errorf("cause of %v: got %v, want RefusedError", err, egress.Cause(err))
	}
}

// reset starts a TLS server that reads a request and resets the connection.
func reset(t *testing.T) (url string) {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		raw := conn.(*tls.Conn).NetConn().(*net.TCPConn)
		if err := errors.Join(raw.SetLinger(0), raw.Close()); err != nil {
			t.Error(err)
		}
	}))
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL
}

// VerifyTLS gets the host without the dot of the root, the presented chain and the roots of the guard.
func TestVerifyTLSGetsHostChainAndRoots(t *testing.T) {
	t.Parallel()
	port, roots := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })
	var host string
	var chain []*x509.Certificate
	var got *x509.CertPool
	c := egress.New(egress.Options{Allow: prefixes("127.0.0.1/32"), Roots: roots, Resolver: anywhere("127.0.0.1")}).
		Client(egress.ClientOptions{VerifyTLS: func(h string, c []*x509.Certificate, r *x509.CertPool) error {
			host, chain, got = h, c, r
			return nil
		}})
	if _, err := get(t, c, "https://other.test.:"+port+"/"); err != nil {
		t.Fatal(err)
	}
	if host != "other.test" || len(chain) != 1 || got != roots {
		t.Errorf("got host %q, %d certificates, the guard's roots %t; want other.test, 1 and true", host, len(chain), got == roots)
	}
}

// Each request opens a connection of its own, which is checked, and requests no compression.
func TestEachRequestHasItsConnection(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	peers := map[string]int{}
	port, roots := serve(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		peers[r.RemoteAddr]++
		_, _ = io.WriteString(w, r.Header.Get("Accept-Encoding"))
	})
	c := egress.New(egress.Options{Allow: prefixes("127.0.0.1/32"), Roots: roots}).Client(egress.ClientOptions{})
	for range 3 {
		if coding, err := get(t, c, "https://127.0.0.1:"+port+"/"); err != nil || strings.Contains(coding, "gzip") {
			t.Errorf("got the content codings %q, %v, want none", coding, err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(peers) != 3 {
		t.Errorf("three requests by %d connections: %v, want 3", len(peers), peers)
	}
}

// closing is a body that records whether it was closed.
type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Close() error { c.closed = true; return nil }

func TestBodyOfARefusedRequestIsClosed(t *testing.T) {
	t.Parallel()
	body := &closing{Reader: strings.NewReader("hello")}
	_, err := egress.New(egress.Options{}).Client(egress.ClientOptions{}).Post("http://example.com/", "text/plain", body)
	var r *egress.RefusedError
	if !errors.As(err, &r) || !body.closed {
		t.Errorf("got %v, body closed %t; want RefusedError, true", err, body.closed)
	}
}

// A server that speaks something else, or an old TLS, gets no request, and the connection is closed.
func TestFailedHandshakeClosesTheConnection(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			done <- err
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "220 mail.example.com ESMTP\r\n")
		_, err = io.Copy(io.Discard, conn) // until the client closes
		done <- err
	}()
	t.Cleanup(func() { _ = l.Close() })
	c := egress.New(egress.Options{Allow: prefixes("127.0.0.1/32")}).Client(egress.ClientOptions{})
	if _, err := get(t, c, "https://"+l.Addr().String()+"/"); err == nil || !strings.Contains(err.Error(), "TLS with "+l.Addr().String()) {
		t.Errorf("a mail server: got %v, want an error of TLS with its address", err)
	}
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Error("the connection is open 30 s after the failed handshake")
	}

	old := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a request by TLS 1.1") }))
	old.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	old.Config.ErrorLog = nil
	old.StartTLS()
	t.Cleanup(old.Close)
	roots := x509.NewCertPool()
	roots.AddCert(old.Certificate())
	c = egress.New(egress.Options{Allow: prefixes("127.0.0.1/32"), Roots: roots}).Client(egress.ClientOptions{})
	if _, err := get(t, c, old.URL); err == nil || !strings.Contains(err.Error(), "protocol version") {
		t.Errorf("TLS 1.1: got %v, want an error of the protocol version", err)
	}
}
