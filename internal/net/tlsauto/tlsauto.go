// Package tlsauto provides the TLS certificates of a server: issued by a private CA, or read from files and
// reloaded when the files change.
//
// Both types have a method for tls.Config.GetCertificate. An [Authority] needs no setup: it creates its CA on
// first use, and a leaf for each name that clients request. A [Reloader] serves a certificate that another
// program renews.
package tlsauto

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Validity periods, and the size of the cache.
const (
	caLife   = 10 * 365 * 24 * time.Hour
	leafLife = 90 * 24 * time.Hour
	backdate = time.Hour // for clients whose clock is slow
	maxLeafs = 512       // about 2 KB each
)

// Organization is in the subject of every CA that ecrin creates. Package trust uses it to recognize the
// certificates that it may replace.
const Organization = "ecrin"

// Authority is a private CA with the leaves that it has issued. Its methods are safe for concurrent use.
type Authority struct {
	path    string
	caPEM   []byte
	ca      *x509.Certificate
	key     *ecdsa.PrivateKey
	allowed func(host string) bool
	now     func() time.Time

	mu     sync.Mutex
	leaves map[string]*leaf
}

// leaf is a cached certificate.
type leaf struct {
	cert  *tls.Certificate
	renew time.Time // time from which it is replaced
	used  time.Time // time of the last handshake
}

// New opens the CA in dir, and creates it on first use (dir with mode 0700, ca.pem, ca-key.pem with mode 0600).
//
// allowed reports whether a leaf may be issued for a host name. It gets names in lower case without a trailing
// dot. It is called in every handshake, and must be fast and safe for concurrent use. The CA is ECDSA P-256 and
// valid for ten years. It has no name constraints, since the names are configuration that may change after
// clients have installed the CA.
//
// Two processes that start with an empty dir at the same time use the same CA.
//
// Errors: the key does not match the certificate, the certificate is not a CA's or has expired, an error of the
// file system.
func New(dir string, allowed func(host string) bool, now func() time.Time) (*Authority, error) {
	key, ca, caPEM, err := openCA(dir, now())
	if err != nil {
		return nil, fmt.Errorf("opening the private CA in %s: %w", dir, err)
	}
	return &Authority{
		path:    filepath.Join(dir, certFile),
		caPEM:   caPEM,
		ca:      ca,
		key:     key,
		allowed: allowed,
		now:     now,
		leaves:  map[string]*leaf{},
	}, nil
}

// CAPEM returns the CA's certificate, for clients. The caller must not change it.
func (a *Authority) CAPEM() []byte { return a.caPEM }

// CAPath returns the path of the file with the content of [Authority.CAPEM].
func (a *Authority) CAPath() string { return a.path }

// GetCertificate returns the leaf for the requested name, or for the local IP address of the connection if the
// client sends no name (clients never send an IP address as a name). It is meant for tls.Config.GetCertificate.
//
// A leaf is valid for 90 days, or until the CA expires, and is replaced after two thirds of that. At most 512
// leaves are cached, since there may be many names (one for each account and region); the least recently used
// are dropped and issued again on request.
//
// Errors: the name is not a host name, or allowed returns false for it. Then no leaf is issued.
func (a *Authority) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	host, err := a.hostOf(hello)
	if err != nil {
		return nil, err
	}
	now := a.now()

	// Issuing takes well under a millisecond, and happens under the lock, so that concurrent handshakes for one
	// name share a leaf.
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.leaves[host]
	// After a clock was set back, a certificate that is not valid yet must not be used.
	if l == nil || !now.Before(l.renew) || now.Before(l.cert.Leaf.NotBefore) {
		if l, err = a.mint(host, now); err != nil {
			return nil, fmt.Errorf("issuing a certificate for %s: %w", host, err)
		}
		if len(a.leaves) >= maxLeafs && a.leaves[host] == nil {
			a.dropOldest()
		}
		a.leaves[host] = l
	}
	l.used = now
	return l.cert, nil
}

// hostOf returns the name or the IP address of the leaf for a handshake.
func (a *Authority) hostOf(hello *tls.ClientHelloInfo) (string, error) {
	if hello.ServerName == "" {
		return localIP(hello.Conn)
	}
	host := strings.TrimSuffix(strings.ToLower(hello.ServerName), ".")
	if !validHost(host) {
		return "", fmt.Errorf("the server name %q is no host name", clip(hello.ServerName))
	}
	if !a.allowed(host) {
		return "", fmt.Errorf("the server name %q is not one of this server's", clip(host))
	}
	return host, nil
}

// localIP returns the address that the client connected to. It is an address of this server, so that allowed is
// not called.
func localIP(conn net.Conn) (string, error) {
	if conn == nil {
		return "", errors.New("a client without a server name, without a connection")
	}
	addr, err := netip.ParseAddrPort(conn.LocalAddr().String())
	if err != nil {
		return "", fmt.Errorf("a client without a server name, on a connection without an IP address: %w", err)
	}
	return addr.Addr().Unmap().WithZone("").String(), nil
}

// validHost reports whether s is a DNS name in lower case. Underscores are permitted, since names in use have
// them; addresses are not, since clients may not send an address as a name (RFC 6066, section 3).
func validHost(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return true
}

// clip shortens a value from a client for an error text.
func clip(s string) string { return s[:min(len(s), 80)] }

// mint issues a leaf for a DNS name or an IP address.
func (a *Authority) mint(host string, now time.Time) (*leaf, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	start, end := now.Add(-backdate), now.Add(leafLife-backdate)
	if end.After(a.ca.NotAfter) {
		end = a.ca.NotAfter
	}
	if !end.After(now) {
		return nil, fmt.Errorf("the CA %s has ended on %s", a.path, a.ca.NotAfter.Format(time.DateOnly))
	}
	template := &x509.Certificate{
		SerialNumber: serial(),
		NotBefore:    start,
		NotAfter:     end,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{host}
	}
	if len(host) <= 64 { // maximum length of a common name; clients use only the alternative names
		template.Subject = pkix.Name{CommonName: host}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.ca, key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	// The chain includes the CA, so that `openssl s_client -showcerts` shows it to an administrator before it is
	// installed.
	cert := &tls.Certificate{Certificate: [][]byte{der, a.ca.Raw}, PrivateKey: key, Leaf: parsed}
	return &leaf{cert: cert, renew: now.Add(end.Sub(now) * 2 / 3)}, nil
}

// dropOldest removes the least recently used leaf. It reads every entry, which takes less time than issuing a
// leaf.
func (a *Authority) dropOldest() {
	var oldest string
	for host, l := range a.leaves {
		if oldest == "" || l.used.Before(a.leaves[oldest].used) {
			oldest = host
		}
	}
	delete(a.leaves, oldest)
}

// serial returns a random positive number of 127 bits. Source: RFC 5280, 4.1.2.2 (at most 20 octets, positive).
func serial() *big.Int {
	b := make([]byte, 16)
	rand.Read(b) // never fails
	b[0] &= 0x7f
	b[15] |= 1 // never zero
	return new(big.Int).SetBytes(b)
}
