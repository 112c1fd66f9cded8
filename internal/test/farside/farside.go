// Package farside plays the registries on the other side of a server under test: ECR, as its clients see it, and any registry behind
// faults. All of them listen on 127.0.0.1 by TLS, with certificates of one authority.
package farside

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/main/config"
)

// Site is a server with names of its own on a port of 127.0.0.1.
type Site struct {
	Names   []string       // that its certificates have; its clients must be configured for them
	Address netip.AddrPort // where it listens
	CA      string         // PEM file of the authority

	mu     sync.Mutex
	lines  []string
	before func()
}

// Before makes each request call f before it is answered; nil for none.
func (s *Site) Before(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = f
}

// serve starts a site until the test ends.
func serve(t testing.TB, h http.Handler, names ...string) *Site {
	t.Helper()
	ca, err := authority()
	if err != nil {
		t.Fatal(err)
	}
	s := &Site{Names: names, CA: filepath.Join(t.TempDir(), "far.pem")}
	if err := os.WriteFile(s.CA, ca.pem, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Address = netip.MustParseAddrPort(l.Addr().String())
	server := &http.Server{
		ErrorLog:    log.New(io.Discard, "", 0),
		TLSConfig:   &tls.Config{GetCertificate: ca.certificate, NextProtos: []string{"http/1.1"}},
		ConnContext: withConn,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.mu.Lock()
			s.lines = append(s.lines, r.Method+" "+hostOf(r)+r.URL.Path)
			before := s.before
			s.mu.Unlock()
			if before != nil {
				before()
			}
			h.ServeHTTP(w, r)
		}),
	}
	done := make(chan error, 1)
	go func() { done <- server.ServeTLS(l, "", "") }()
	t.Cleanup(func() {
		_ = server.Close() // what it serves has ended, or is a fault
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("the far side: %v", err)
		}
	})
	return s
}

// Configure lets a server dial the site.
func (s *Site) Configure(c *config.Config) {
	c.EgressAllow = append(c.EgressAllow, "127.0.0.1/32")
	c.EgressCA = s.CA
	for _, n := range s.Names {
		c.EgressHosts = append(c.EgressHosts, n+"="+s.Address.String())
	}
}

// Environment has the settings of Configure for a server in another process, for all given sites.
func Environment(sites ...*Site) []string {
	var hosts []string
	for _, s := range sites {
		for _, n := range s.Names {
			hosts = append(hosts, n+"="+s.Address.String())
		}
	}
	return []string{"ECRIN_EGRESS_ALLOW=127.0.0.1/32", "ECRIN_EGRESS_CA=" + sites[0].CA, "ECRIN_EGRESS_HOSTS=" + strings.Join(hosts, ",")}
}

// Requests returns METHOD HOST/PATH of what the site received, in order, of the requests that contain a text.
func (s *Site) Requests(text string) (found []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, line := range s.lines {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}

// hostOf returns the host of a request in lower case, without the port.
func hostOf(r *http.Request) string {
	host, _, _ := strings.Cut(r.Host, ":")
	return strings.ToLower(host)
}

// testCA is the authority of all sites of the process.
type testCA struct {
	pem  []byte
	cert *x509.Certificate
	key  *ecdsa.PrivateKey

	mu     sync.Mutex
	issued map[string]*tls.Certificate
}

var authority = sync.OnceValues(func() (*testCA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "the far side"}, NotBefore: now.Add(-time.Hour),
		NotAfter: now.Add(240 * time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return &testCA{pem: text, cert: c, key: key, issued: map[string]*tls.Certificate{}}, nil
})

// certificate makes a certificate for the name that a client asks for, or for 127.0.0.1.
func (ca *testCA) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	name := hello.ServerName
	if c := ca.issued[name]; c != nil {
		return c, nil
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(int64(len(ca.issued) + 2)), Subject: pkix.Name{CommonName: "a far side"},
		NotBefore: ca.cert.NotBefore, NotAfter: ca.cert.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	if name != "" {
		c.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, ca.cert, &ca.key.PublicKey, ca.key)
	if err != nil {
		return nil, err
	}
	made := &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: ca.key}
	ca.issued[name] = made
	return made, nil
}
