package tlsauto_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/net/tlsauto"
)

// A CA for names alone permits no address: without any address among its constraints it would permit all of them.
func TestCAWithoutAddressesPermitsNone(t *testing.T) {
	t.Parallel()
	c := newClock()
	dir := t.TempDir()
	if _, err := tlsauto.New(dir, tlsauto.Options{Scope: tlsauto.Scope{DNS: []string{"test"}}, Now: c.now}); err != nil {
		t.Fatal(err)
	}
	ca, key := decode(t, dir)
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	for _, ip := range []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(8, 8, 8, 8), net.ParseIP("2001:db8::1")} {
		if _, err := forge(t, ca, key, c.now(), nil, ip).Verify(x509.VerifyOptions{Roots: roots, CurrentTime: c.now()}); err == nil {
			t.Errorf("a leaf for %v is accepted", ip)
		}
	}
	if tlsauto.Unconstrained(ca) {
		t.Error("it counts as one without constraints")
	}
}

// A CA that limits only names, or only addresses, can speak for all of the other kind.
func TestHalfConstrainedCAIsUnconstrained(t *testing.T) {
	t.Parallel()
	c := newClock()
	loopback := &net.IPNet{IP: net.IPv4(127, 0, 0, 0).To4(), Mask: net.CIDRMask(8, 32)}
	for what, tc := range map[string]struct {
		dns     []string
		ranges  []*net.IPNet
		subject pkix.Name
		want    bool
	}{
		"names":        {[]string{"test"}, nil, pkix.Name{Organization: []string{"ecrin"}}, true},
		"addresses":    {nil, []*net.IPNet{loopback}, pkix.Name{Organization: []string{"ecrin"}}, true},
		"both":         {[]string{"test"}, []*net.IPNet{loopback}, pkix.Name{Organization: []string{"ecrin"}}, false},
		"another's CA": {nil, nil, pkix.Name{Organization: []string{"Example"}}, false},
	} {
		dir := t.TempDir()
		open(t, dir, c)
		replace(t, dir, func(ca *x509.Certificate) {
			ca.PermittedDNSDomains, ca.PermittedIPRanges, ca.Subject = tc.dns, tc.ranges, tc.subject
		})
		ca, _ := decode(t, dir)
		if got := tlsauto.Unconstrained(ca); got != tc.want {
			t.Errorf("with constraints for %s: Unconstrained is %v, want %v", what, got, tc.want)
		}
		if s, ok := tlsauto.ScopeOf(ca); ok != (what == "both") || what == "both" && (!slices.Equal(s.DNS, tc.dns) || len(s.Addresses) != 1) {
			t.Errorf("with constraints for %s: ScopeOf is %v, %v", what, s, ok)
		}
	}
}

// The order of the scope, repetitions and the bits after a range's prefix do not matter: the certificate stays.
func TestSameScopeKeepsTheCertificate(t *testing.T) {
	t.Parallel()
	c := newClock()
	dir := t.TempDir()
	first, err := tlsauto.New(dir, tlsauto.Options{Now: c.now, Scope: tlsauto.Scope{DNS: []string{"a.test", "b.test", "c.test"},
		Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("127.0.0.0/8")}}})
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	second, err := tlsauto.New(dir, tlsauto.Options{Now: c.now, Log: slog.New(slog.NewTextHandler(&log, nil)),
		Scope: tlsauto.Scope{DNS: []string{"c.test", "a.test", "b.test", "c.test"},
			Addresses: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8"), netip.MustParsePrefix("10.9.9.9/8"), netip.MustParsePrefix("::1/128")}}})
	if err != nil || !bytes.Equal(first.CAPEM(), second.CAPEM()) || log.Len() > 0 {
		t.Errorf("got %v and the log %q, want the same certificate and no line", err, log.String())
	}
}

// The log says why the certificate of the CA was renewed.
func TestRenewalIsLoggedWithItsReason(t *testing.T) {
	t.Parallel()
	c := newClock()
	dir := t.TempDir()
	open(t, dir, c)
	start := func(s tlsauto.Scope) string {
		t.Helper()
		var log bytes.Buffer
		if _, err := tlsauto.New(dir, tlsauto.Options{Scope: s, Now: c.now, Log: slog.New(slog.NewTextHandler(&log, nil))}); err != nil {
			t.Fatal(err)
		}
		return log.String()
	}
	other := tlsauto.Scope{DNS: append([]string{"new.example"}, scope.DNS...), Addresses: scope.Addresses}
	if got := start(other); !strings.Contains(got, "have changed") || !strings.Contains(got, "new.example") {
		t.Errorf("with other names the log is %q", got)
	}
	c.add(366 * 24 * time.Hour)
	if got := start(other); !strings.Contains(got, "half of its life") || strings.Contains(got, "have changed") {
		t.Errorf("after a year the log is %q", got)
	}
}

// Each refusal of a certificate says its reason.
func TestReasonsOfRefusals(t *testing.T) {
	t.Parallel()
	c := newClock()
	dir := t.TempDir()
	a := open(t, dir, c)
	far, near := net.Pipe()
	defer far.Close()
	defer near.Close()
	for _, tc := range []struct {
		hello tls.ClientHelloInfo
		want  string
	}{
		{tls.ClientHelloInfo{ServerName: "a b"}, "is no host name"}, {tls.ClientHelloInfo{ServerName: "127.0.0.1"}, "is no host name"},
		{tls.ClientHelloInfo{}, "without a connection"}, {tls.ClientHelloInfo{Conn: near}, "without an IP address"},
		{tls.ClientHelloInfo{ServerName: "www.example.com"}, "not a name of this server"},
		{tls.ClientHelloInfo{Conn: at{near, "192.0.2.1:443"}}, "not an address that this machine had"},
	} {
		if _, err := a.GetCertificate(&tc.hello); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q: got %v, want an error with %q", tc.hello.ServerName, err, tc.want)
		}
	}
	if _, err := a.GetCertificate(&tls.ClientHelloInfo{Conn: at{near, "[::ffff:127.0.0.1]:443"}}); err != nil {
		t.Errorf("an IPv4 address in the form of IPv6: %v", err)
	}
	end := c.now().Add(time.Hour)
	replace(t, dir, func(ca *x509.Certificate) { ca.Subject, ca.NotAfter = pkix.Name{CommonName: "Example CA"}, end })
	a = open(t, dir, c)
	c.add(2 * time.Hour)
	if _, err := a.GetCertificate(&tls.ClientHelloInfo{ServerName: "reg.test"}); err == nil || !strings.Contains(err.Error(), "has ended on") {
		t.Errorf("after the end of the CA: got %v, want an error that says so", err)
	}
}

// at is a connection with another local address.
type at struct {
	net.Conn
	addr string
}

func (a at) LocalAddr() net.Addr { return addr(a.addr) }

type addr string

func (addr) Network() string  { return "tcp" }
func (a addr) String() string { return string(a) }

func TestValidHost(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{
		"a": true, "a.test": true, "a_b.test": true, "0.test": true, "xn--a.test": true, strings.Repeat("a", 63) + ".test": true,
		strings.Repeat("a.", 126) + "a": true, strings.Repeat("a.", 126) + "aa": false,
		"": false, "A.test": false, "a..b": false, "-a": false, "a-": false, "1.2.3.4": false, "::1": false, strings.Repeat("a", 64): false,
	} {
		if got := tlsauto.ValidHost(host); got != want {
			t.Errorf("ValidHost(%q): got %v, want %v", host, got, want)
		}
	}
}

func TestFolderThatCannotBeMade(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := tlsauto.New(file, tlsauto.Options{Scope: scope}); err == nil || !strings.Contains(err.Error(), file) ||
		!strings.Contains(err.Error(), "mkdir") {
		t.Errorf("a file in place of the folder: got %v, want an error of the making of the folder", err)
	}
}
