package tlsauto_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/net/tlsauto"
)

// decode reads the certificate and the key of a CA as somebody does who has copied the directory.
func decode(t *testing.T, dir string) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	var blocks [2]*pem.Block
	for i, name := range []string{"ca.pem", "ca-key.pem"} {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		blocks[i], _ = pem.Decode(content)
	}
	ca, err := x509.ParseCertificate(blocks[0].Bytes)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.ParsePKCS8PrivateKey(blocks[1].Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return ca, key.(*ecdsa.PrivateKey)
}

// forge issues a leaf with the key of a CA and without its program.
func forge(t *testing.T, ca *x509.Certificate, key *ecdsa.PrivateKey, now time.Time, dns []string, ips ...net.IP) *x509.Certificate {
	t.Helper()
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(7), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, DNSNames: dns, IPAddresses: ips}
	der, err := x509.CreateCertificate(rand.Reader, template, ca, leafKey.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

// Whoever has the key of the CA can speak for its names only: Go and OpenSSL refuse leaves for others, and leaves below a CA that the
// key has signed.
func TestLeakedKeySpeaksForOwnNamesOnly(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open(t, dir, &clock{t: time.Now()}) // OpenSSL uses the time of the machine
	ca, key := decode(t, dir)
	now := time.Now()
	verifiers := map[string]func(leaf *x509.Certificate) error{"go": func(leaf *x509.Certificate) error {
		roots := x509.NewCertPool()
		roots.AddCert(ca)
		_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now})
		return err
	}}
	if openssl, err := exec.LookPath("openssl"); err == nil {
		verifiers["openssl"] = func(leaf *x509.Certificate) error {
			file := filepath.Join(t.TempDir(), "leaf.pem")
			if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw}), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := exec.CommandContext(t.Context(), openssl, "verify", "-CAfile", filepath.Join(dir, "ca.pem"),
				"-purpose", "sslserver", file).CombinedOutput()
			if err != nil && !bytes.Contains(out, []byte("permitted subtree violation")) {
				t.Errorf("openssl verify: %s", out)
			}
			return err
		}
	}
	for _, tc := range []struct {
		dns  []string
		ips  []net.IP
		want bool
	}{
		{dns: []string{"reg.test"}, want: true}, {dns: []string{"test"}, want: true},
		{dns: []string{"111111111111.dkr.ecr.eu-west-1.amazonaws.com"}, want: true},
		{dns: []string{"api.ecr.eu-west-1.amazonaws.com"}, want: true},
		{ips: []net.IP{net.IPv4(127, 0, 0, 1)}, want: true},
		{dns: []string{"s3.amazonaws.com"}}, {dns: []string{"sts.amazonaws.com"}}, {dns: []string{"amazonaws.com"}},
		{dns: []string{"*.amazonaws.com"}},
		{dns: []string{"111111111111.dkr.ecr.us-east-1.amazonaws.com"}}, {dns: []string{"www.example.com"}}, {dns: []string{"nottest"}},
		{dns: []string{"reg.test", "www.example.com"}}, {ips: []net.IP{net.IPv4(192, 0, 2, 1)}}, {ips: []net.IP{net.ParseIP("2001:db8::1")}},
	} {
		leaf := forge(t, ca, key, now, tc.dns, tc.ips...)
		for name, verify := range verifiers {
			if err := verify(leaf); (err == nil) != tc.want {
				t.Errorf("%s: a leaf for %v %v signed with the CA's key: got %v, want accepted %v", name, tc.dns, tc.ips, err, tc.want)
			}
		}
	}
	critical := slices.ContainsFunc(ca.Extensions, func(e pkix.Extension) bool {
		return e.Critical && e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 30})
	})
	if life := ca.NotAfter.Sub(ca.NotBefore); !critical || life > 2*366*24*time.Hour || !ca.MaxPathLenZero {
		t.Errorf("the CA lives %v, its constraints are critical: %v, it signs leaves only: %v", life, critical, ca.MaxPathLenZero)
	}
}

// A name outside of the scope gets no leaf, and a log line that has the advice, at most one in a second.
func TestNamesOutsideOfTheScopeAreLogged(t *testing.T) {
	t.Parallel()
	c := newClock()
	var log bytes.Buffer
	a, err := tlsauto.New(t.TempDir(), tlsauto.Options{Scope: scope, Now: c.now, Log: slog.New(slog.NewTextHandler(&log, nil)),
		Advice: func(host string) string { return "advice for " + host }})
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"www.example.com", "sts.amazonaws.com", "amazonaws.com", "ecr.us-east-1.amazonaws.com", "xtest"} {
		if _, err := a.GetCertificate(&tls.ClientHelloInfo{ServerName: host}); err == nil || !strings.Contains(err.Error(), "advice for "+host) {
			t.Errorf("GetCertificate(%s): got %v, want an error with the advice", host, err)
		}
	}
	if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `"advice for www.example.com"`) {
		t.Errorf("after five refusals in a second the log is\n%s, want one line with the advice", got)
	}
	c.add(2 * time.Second)
	a.GetCertificate(&tls.ClientHelloInfo{ServerName: strings.Repeat("a.", 100) + "example"})
	if got := log.String(); strings.Count(got, "\n") != 2 || !strings.Contains(got, "unlogged=4") {
		t.Errorf("after one more refusal the log is\n%s, want a second line that counts the four", got)
	}
	if got := a.Cached(); got != 0 {
		t.Errorf("%d leaves are cached, want none", got)
	}
}

// A client without a server name gets a leaf for the address that it connected to, if the server has been configured with it.
func TestAddressOutsideOfTheScope(t *testing.T) {
	t.Parallel()
	c := newClock()
	a, err := tlsauto.New(t.TempDir(), tlsauto.Options{Now: c.now,
		Scope: tlsauto.Scope{DNS: []string{"test"}, Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := handshake(t, serve(t, a.GetCertificate), "127.0.0.1", a.CAPEM(), c); err == nil {
		t.Error("an address outside of the scope: got a certificate, want none")
	}
}

// When the settings have changed or half of the life is over, the CA's certificate is renewed with the same key and subject: clients
// with the old certificate go on working.
func TestCertificateOfTheCAIsRenewed(t *testing.T) {
	t.Parallel()
	c := newClock()
	dir := t.TempDir()
	first := open(t, dir, c)
	wider := tlsauto.Scope{DNS: append([]string{"new.example"}, scope.DNS...), Addresses: scope.Addresses}
	second, err := tlsauto.New(dir, tlsauto.Options{Scope: wider, Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(first.CAPEM(), second.CAPEM()) {
		t.Fatal("with another scope the certificate is the old one")
	}
	addr := serve(t, second.GetCertificate)
	for _, tc := range []struct {
		what, host string
		ca         []byte
		want       bool
	}{
		{"the old certificate", "reg.test", first.CAPEM(), true}, {"the old certificate", "new.example", first.CAPEM(), false},
		{"the new certificate", "reg.test", second.CAPEM(), true}, {"the new certificate", "new.example", second.CAPEM(), true},
		{"both", "new.example", slices.Concat(first.CAPEM(), second.CAPEM()), true},
	} {
		if _, err := handshake(t, addr, tc.host, tc.ca, c); (err == nil) != tc.want {
			t.Errorf("a client with %s, for %s: got %v, want accepted %v", tc.what, tc.host, err, tc.want)
		}
	}
	if again := open(t, dir, c); bytes.Equal(again.CAPEM(), second.CAPEM()) {
		t.Error("with the first scope again, the certificate still permits the other names")
	}

	a := open(t, dir, c)
	old := a.CAPEM()
	addr = serve(t, a.GetCertificate)
	c.add(366 * 24 * time.Hour)
	if _, err := handshake(t, addr, "reg.test", old, c); err != nil {
		t.Errorf("a client with the certificate from before the renewal: %v", err)
	}
	if onDisk, err := os.ReadFile(a.CAPath()); err != nil || bytes.Equal(old, a.CAPEM()) || !bytes.Equal(onDisk, a.CAPEM()) {
		t.Errorf("after half of its life the certificate is not renewed, or not in the file: %v", err)
	}
	if _, err := handshake(t, addr, "reg.test", a.CAPEM(), c); err != nil {
		t.Errorf("a client with the renewed certificate: %v", err)
	}
}

// replace writes another certificate for the key of a CA.
func replace(t *testing.T, dir string, change func(*x509.Certificate)) {
	t.Helper()
	ca, key := decode(t, dir)
	template := &x509.Certificate{SerialNumber: big.NewInt(5), Subject: ca.Subject, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
		KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true}
	change(template)
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ca.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestReplacedCAWithoutCertSignIsRefused(t *testing.T) {
	t.Parallel()
	c := newClock()
	for name, change := range map[string]func(*x509.Certificate){
		"no CertSign":          func(ca *x509.Certificate) { ca.KeyUsage = x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature },
		"no CA":                func(ca *x509.Certificate) { ca.IsCA = false },
		"no basic constraints": func(ca *x509.Certificate) { ca.BasicConstraintsValid, ca.IsCA = false, false },
	} {
		dir := t.TempDir()
		open(t, dir, c)
		replace(t, dir, change)
		before, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tlsauto.New(dir, tlsauto.Options{Scope: scope, Now: c.now}); err == nil || !strings.Contains(err.Error(), "not a CA's") {
			t.Errorf("%s: got %v, want an error that says so", name, err)
		}
		if after, err := os.ReadFile(filepath.Join(dir, "ca.pem")); err != nil || !bytes.Equal(before, after) {
			t.Errorf("%s: the file was changed (%v)", name, err)
		}
	}
}

// A CA of an earlier version has no constraints. It stays in use, with a warning, and so do the clients that trust it; after the file
// was removed, its successor for the same key has constraints.
func TestCAOfAnEarlierVersionStaysWithAWarning(t *testing.T) {
	t.Parallel()
	c := newClock()
	dir := t.TempDir()
	open(t, dir, c)
	replace(t, dir, func(ca *x509.Certificate) { ca.NotAfter = c.now().Add(10 * 365 * 24 * time.Hour) })
	old, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	start := func() (*tlsauto.Authority, string) {
		t.Helper()
		var log bytes.Buffer
		a, err := tlsauto.New(dir, tlsauto.Options{Scope: scope, Now: c.now, Log: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		return a, log.String()
	}
	a, log := start()
	if !bytes.Equal(a.CAPEM(), old) || !strings.Contains(log, "no name constraints") || !strings.Contains(log, "ecrin trust install") {
		t.Errorf("it was replaced, or the log has no warning: %s", log)
	}
	addr := serve(t, a.GetCertificate)
	if _, err := handshake(t, addr, "reg.test", old, c); err != nil {
		t.Errorf("a name of the server: %v", err)
	}
	if _, err := handshake(t, addr, "www.example.com", old, c); err == nil {
		t.Error("another name: got a certificate, though the old CA permits it, want none")
	}
	if err := os.Remove(a.CAPath()); err != nil {
		t.Fatal(err)
	}
	b, log := start()
	ca, _ := decode(t, dir)
	if tlsauto.Unconstrained(ca) || strings.Contains(log, "no name constraints") {
		t.Errorf("the new certificate has no constraints; log: %s", log)
	}
	if _, err := handshake(t, serve(t, b.GetCertificate), "reg.test", b.CAPEM(), c); err != nil {
		t.Errorf("a client with the new certificate: %v", err)
	}
	c.add(11 * 365 * 24 * time.Hour)
	if err := os.WriteFile(b.CAPath(), old, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := tlsauto.New(dir, tlsauto.Options{Scope: scope, Now: c.now}); err == nil ||
		!strings.Contains(err.Error(), "has ended on 2036") {
		t.Errorf("after its end: got %v, want an error that names the day", err)
	}
}

// A certificate of the operator's own CA is used as it is: it is never renewed, leaves end with it, and names that it does not permit
// get none.
func TestCAOfTheOperatorIsKept(t *testing.T) {
	t.Parallel()
	c := newClock()
	dir := t.TempDir()
	open(t, dir, c)
	end := c.now().Add(48 * time.Hour)
	replace(t, dir, func(ca *x509.Certificate) {
		ca.Subject, ca.NotAfter = pkix.Name{CommonName: "Example CA"}, end
		ca.PermittedDNSDomains, ca.PermittedDNSDomainsCritical = []string{"reg.test"}, true
	})
	before, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	c.add(36 * time.Hour) // more than half of its life
	a := open(t, dir, c)
	if !bytes.Equal(a.CAPEM(), before) {
		t.Error("it was replaced")
	}
	leaf, err := handshake(t, serve(t, a.GetCertificate), "reg.test", a.CAPEM(), c)
	if err != nil || leaf.NotAfter.After(end.Truncate(time.Second)) {
		t.Fatalf("got leaf %v, %v, want one that ends at %v", leaf, err, end)
	}
	if _, err := a.GetCertificate(&tls.ClientHelloInfo{ServerName: "other.test"}); err == nil {
		t.Error("a name that the CA does not permit: got a leaf that clients refuse, want an error")
	}
	c.add(13 * time.Hour)
	if _, err := a.GetCertificate(&tls.ClientHelloInfo{ServerName: "reg.test"}); err == nil {
		t.Error("after the end of the CA: got a leaf, want an error")
	}
}

// A renewal that fails is logged, and the server starts with the certificate that there is.
func TestRenewalThatFails(t *testing.T) {
	t.Parallel()
	c := newClock()
	dir := t.TempDir()
	before := open(t, dir, c).CAPEM()
	var log bytes.Buffer
	a, err := tlsauto.New(dir, tlsauto.Options{Now: c.now,
		Scope: tlsauto.Scope{DNS: []string{"test", "no name"}, Addresses: scope.Addresses},
		Log:   slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil || !strings.Contains(log.String(), "could not be renewed") || !strings.Contains(log.String(), "no name") ||
		!bytes.Equal(a.CAPEM(), before) {
		t.Fatalf("got %v, and the log %s, want the old certificate and a line with the name", err, log.String())
	}
	if _, err := handshake(t, serve(t, a.GetCertificate), "reg.test", a.CAPEM(), c); err != nil {
		t.Error(err)
	}
	_, err = tlsauto.New(t.TempDir(), tlsauto.Options{Now: c.now, Scope: tlsauto.Scope{DNS: []string{"no name"}}})
	if err == nil {
		t.Error("a new CA for a name that is no DNS name: got no error")
	}
}
