package tlsauto_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/net/tlsauto"
)

// The error for a file of the CA that cannot be read is that of the file system.
func TestFilesThatCannotBeRead(t *testing.T) {
	t.Parallel()
	c := newClock()
	for _, file := range []string{"ca.pem", "ca-key.pem"} {
		dir := t.TempDir()
		open(t, dir, c)
		path := filepath.Join(dir, file)
		if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
			t.Fatal(err)
		}
		if _, err := tlsauto.New(dir, tlsauto.Options{Scope: scope, Now: c.now}); !errors.Is(err, syscall.EISDIR) {
			t.Errorf("a folder in place of %s: got %v, want the error of reading a folder", file, err)
		}
	}
}

// A CA that cannot be made leaves no certificate, so that the next start, with other names, makes it.
func TestCAThatCannotBeMadeLeavesNoFile(t *testing.T) {
	t.Parallel()
	c := newClock()
	dir := t.TempDir()
	if _, err := tlsauto.New(dir, tlsauto.Options{Now: c.now, Scope: tlsauto.Scope{DNS: []string{"no name"}}}); err == nil ||
		strings.Contains(err.Error(), "PEM") {
		t.Errorf("a name that is no DNS name: got %v, want an error of making the certificate", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "ca.pem")); !os.IsNotExist(err) {
		t.Errorf("a certificate that could not be made: got %v, want no file", err)
	}
	open(t, dir, c)
}

// A renewed certificate that cannot be stored is not used, and the renewal is tried again after an hour.
func TestRenewalThatCannotBeStored(t *testing.T) {
	t.Parallel()
	c := newClock()
	dir := t.TempDir()
	var log bytes.Buffer
	a, err := tlsauto.New(dir, tlsauto.Options{Scope: scope, Now: c.now, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	before := a.CAPEM()
	inTheWay := filepath.Join(a.CAPath(), "file")
	if err := errors.Join(os.Remove(a.CAPath()), os.MkdirAll(inTheWay, 0o700)); err != nil {
		t.Fatal(err)
	}
	c.add(366 * 24 * time.Hour)
	get := func(host string) {
		t.Helper()
		if _, err := a.GetCertificate(&tls.ClientHelloInfo{ServerName: host}); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	get("a.test")
	get("b.test")
	if n := strings.Count(log.String(), "could not be renewed"); n != 1 || !bytes.Equal(a.CAPEM(), before) {
		t.Errorf("got %d lines about the renewal and another certificate %t, want one line and the old certificate", n,
			!bytes.Equal(a.CAPEM(), before))
	}
	c.add(time.Hour - time.Second)
	get("c.test")
	if n := strings.Count(log.String(), "could not be renewed"); n != 1 {
		t.Errorf("within the hour: got %d lines, want no other attempt", n)
	}
	if err := os.RemoveAll(a.CAPath()); err != nil {
		t.Fatal(err)
	}
	c.add(time.Second)
	get("d.test")
	onDisk, err := os.ReadFile(a.CAPath())
	if err != nil || bytes.Equal(onDisk, before) || !bytes.Equal(onDisk, a.CAPEM()) {
		t.Errorf("after the hour: got %v and a new certificate %t, want a new one in the file and in use", err, !bytes.Equal(onDisk, before))
	}
}

// The certificates say what they are for and how long, and a leaf has its name, the short ones also as common name.
func TestFieldsOfTheCertificates(t *testing.T) {
	t.Parallel()
	c := newClock()
	dir := t.TempDir()
	a := open(t, dir, c)
	now := c.now()
	ca, _ := decode(t, dir)
	server := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	if ca.KeyUsage != x509.KeyUsageCertSign|x509.KeyUsageCRLSign || !slices.Equal(ca.ExtKeyUsage, server) || !ca.BasicConstraintsValid ||
		!ca.IsCA || ca.MaxPathLen != 0 || !ca.MaxPathLenZero || !ca.PermittedDNSDomainsCritical {
		t.Errorf("the CA: got %+v, want a CA that signs certificates of servers alone, with critical constraints", ca)
	}
	if !ca.NotBefore.Equal(now.Add(-time.Hour)) || !ca.NotAfter.Equal(now.Add(730*24*time.Hour)) {
		t.Errorf("the CA is valid from %s to %s, want an hour before %s and 730 days after it", ca.NotBefore, ca.NotAfter, now)
	}
	long := strings.Repeat("a", 60) + ".test" // 65 characters
	seen := map[string]bool{ca.SerialNumber.String(): true}
	for host, commonName := range map[string]string{"reg.test": "reg.test", long[1:]: long[1:], long: "", "": ""} {
		hello := &tls.ClientHelloInfo{ServerName: host}
		if host == "" {
			far, near := net.Pipe()
			defer far.Close()
			defer near.Close()
			hello.Conn = at{near, "127.0.0.9:443"}
		}
		got, err := a.GetCertificate(hello)
		if err != nil {
			t.Fatal(err)
		}
		leaf := got.Leaf
		if leaf.KeyUsage != x509.KeyUsageDigitalSignature || !slices.Equal(leaf.ExtKeyUsage, server) || leaf.IsCA {
			t.Errorf("the leaf of %q: got %+v, want the certificate of a server", host, leaf)
		}
		if !leaf.NotBefore.Equal(now.Add(-time.Hour)) || !leaf.NotAfter.Equal(now.Add(7*24*time.Hour-time.Hour)) {
			t.Errorf("the leaf of %q is valid from %s to %s, want seven days from an hour before %s", host, leaf.NotBefore, leaf.NotAfter, now)
		}
		if leaf.Subject.CommonName != commonName {
			t.Errorf("the leaf of %q has the common name %q, want %q", host, leaf.Subject.CommonName, commonName)
		}
		if byName := slices.Equal(leaf.DNSNames, []string{host}) && len(leaf.IPAddresses) == 0; byName != (host != "") {
			t.Errorf("the leaf of %q has the names %q and the addresses %v", host, leaf.DNSNames, leaf.IPAddresses)
		}
		if host == "" && (len(leaf.DNSNames) > 0 || len(leaf.IPAddresses) != 1 || leaf.IPAddresses[0].String() != "127.0.0.9") {
			t.Errorf("the leaf of an address has the names %q and the addresses %v", leaf.DNSNames, leaf.IPAddresses)
		}
		if n := leaf.SerialNumber; n.Sign() <= 0 || n.BitLen() > 127 || seen[n.String()] {
			t.Errorf("the leaf of %q has the serial number %s, want another positive one of at most 127 bits", host, n)
		}
		seen[leaf.SerialNumber.String()] = true
		if len(got.Certificate) != 2 || !bytes.Equal(got.Certificate[1], ca.Raw) {
			t.Errorf("the leaf of %q comes with %d certificates, want it and the CA", host, len(got.Certificate))
		}
	}
}

// A leaf does not outlive the CA, and is replaced after two thirds of the time that is left.
func TestLeafEndsWithTheCA(t *testing.T) {
	t.Parallel()
	c := newClock()
	dir := t.TempDir()
	open(t, dir, c)
	end := c.now().Add(3 * time.Hour)
	replace(t, dir, func(ca *x509.Certificate) { ca.Subject.Organization, ca.NotAfter = []string{"Example"}, end })
	a := open(t, dir, c)
	get := func() *tls.Certificate {
		t.Helper()
		got, err := a.GetCertificate(&tls.ClientHelloInfo{ServerName: "reg.test"})
		if err != nil {
			t.Fatal(err)
		}
		if !got.Leaf.NotAfter.Equal(end) {
			t.Errorf("the leaf ends at %s, want the end of the CA, %s", got.Leaf.NotAfter, end)
		}
		return got
	}
	first := get()
	c.add(2*time.Hour - time.Second)
	if get() != first {
		t.Error("the leaf was replaced before two thirds of its time")
	}
	c.add(time.Second)
	if get() == first {
		t.Error("the leaf was not replaced after two thirds of its time")
	}
}

// The check of the files of a pair follows a clock that was set back, and a pair that is as it was is not read again.
func TestReloaderAfterTheClockWasSetBack(t *testing.T) {
	t.Parallel()
	c := newClock()
	first, second := newPair(t, c), newPair(t, c)
	f := newFiles(t, first)
	f.write("tls.crt", second.cert)
	f.write("tls.key", second.key)
	f.c.add(-time.Second + time.Nanosecond)
	f.serves("after the clock was set back by less than a second", first)
	f.c.add(-time.Nanosecond)
	f.serves("after the clock was set back by a second", second)
	f.write("tls.crt", first.cert)
	f.write("tls.key", first.key)
	f.serves("at once after it", second)
	f.c.add(time.Second - time.Nanosecond)
	f.serves("within the second", second)
	f.c.add(time.Nanosecond)
	f.serves("a second later", first)
}
