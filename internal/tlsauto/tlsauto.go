// Package tlsauto gives a server its TLS certificates: minted by a private CA of its own, or read from files and
// reloaded when they change.
//
// Both kinds are a method for tls.Config.GetCertificate. An [Authority] needs no setup: it makes its CA on first use and
// a leaf for each name that clients ask for. A [Reloader] serves a pair that somebody else renews.
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

// What a certificate lives, and how many are kept.
const (
	caLife   = 10 * 365 * 24 * time.Hour
	leafLife = 90 * 24 * time.Hour
	backdate = time.Hour // for clients whose clock is behind
	maxLeafs = 512       // at about 2 KB each
)

// Organization stands in the subject of every CA that ecrin makes. The trust package tells by it which certificates are
// ecrin's to replace.
const Organization = "ecrin"

// Authority is a private CA and the leaves it has minted. Its methods are safe for concurrent use.
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

// leaf is a certificate with what decides about its place in the cache.
type leaf struct {
	cert  *tls.Certificate
	renew time.Time // from then on a new one is minted
	used  time.Time // the last handshake
}

// New opens the CA in dir, which it makes on first use (dir with mode 0700, ca.pem, ca-key.pem with mode 0600).
//
// allowed tells for which host names a leaf may be minted; it gets lower-case names without a trailing dot and is called
// on every handshake, so it has to be quick and safe for concurrent use. The CA is ECDSA P-256, lives ten years and is
// not constrained to names, because the names are configuration that may change after clients have learned to trust it.
//
// Two processes that start in an empty dir at the same time end up with the same CA.
//
// Errors: a key that does not fit the certificate, a certificate that is no CA or is past its end, the file system's.
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

// CAPEM is the CA's certificate, for clients. The caller must not change it.
func (a *Authority) CAPEM() []byte { return a.caPEM }

// CAPath is the file that holds [Authority.CAPEM].
func (a *Authority) CAPath() string { return a.path }

// GetCertificate gives the leaf for the name that the client asks for, or for the connection's own IP address when it
// names none (clients never name an IP address). It is meant for tls.Config.GetCertificate.
//
// A leaf lives 90 days, or until the CA ends, and is replaced after two thirds of that. At most 512 are kept: the names
// may be many (each account and region is one), so the ones unused for longest are minted anew when asked for again.
//
// Errors: a name that is no host name, or that allowed refuses. No leaf is minted then.
func (a *Authority) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	host, err := a.hostOf(hello)
	if err != nil {
		return nil, err
	}
	now := a.now()

	// Minting takes well under a millisecond, so it is done under the lock: concurrent handshakes for one name then
	// need no further arrangement to share a leaf.
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.leaves[host]
	// A clock that was set back must not keep a certificate in use that is not valid yet.
	if l == nil || !now.Before(l.renew) || now.Before(l.cert.Leaf.NotBefore) {
		if l, err = a.mint(host, now); err != nil {
			return nil, fmt.Errorf("minting a certificate for %s: %w", host, err)
		}
		if len(a.leaves) >= maxLeafs && a.leaves[host] == nil {
			a.dropOldest()
		}
		a.leaves[host] = l
	}
	l.used = now
	return l.cert, nil
}

// hostOf is the name or IP address that the leaf will be for.
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

// localIP is the address that the client connected to. It is ours by nature, so allowed is not asked.
func localIP(conn net.Conn) (string, error) {
	if conn == nil {
		return "", errors.New("a client without a server name, on no connection")
	}
	addr, err := netip.ParseAddrPort(conn.LocalAddr().String())
	if err != nil {
		return "", fmt.Errorf("a client without a server name, on a connection without an IP address: %w", err)
	}
	return addr.Addr().Unmap().WithZone("").String(), nil
}

// validHost says whether s is a DNS name in lower case. Underscores are taken, since real names have them; addresses are
// not, since no client may send one as a name (RFC 6066, section 3).
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

// clip shortens a client's value for an error text.
func clip(s string) string { return s[:min(len(s), 80)] }

// mint makes and signs a leaf for one DNS name or IP address.
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
	if len(host) <= 64 { // the limit of a common name; clients read only the alternative names
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
	// The CA goes along so that `openssl s_client -showcerts` shows it to somebody who is about to trust it.
	cert := &tls.Certificate{Certificate: [][]byte{der, a.ca.Raw}, PrivateKey: key, Leaf: parsed}
	return &leaf{cert: cert, renew: now.Add(end.Sub(now) * 2 / 3)}, nil
}

// dropOldest makes room for one leaf. It looks at every entry, which costs less than the minting that follows.
func (a *Authority) dropOldest() {
	var oldest string
	for host, l := range a.leaves {
		if oldest == "" || l.used.Before(a.leaves[oldest].used) {
			oldest = host
		}
	}
	delete(a.leaves, oldest)
}

// serial is a random positive number of 127 bits. Source: RFC 5280, 4.1.2.2 (at most 20 octets, positive).
func serial() *big.Int {
	b := make([]byte, 16)
	rand.Read(b) // never fails
	b[0] &= 0x7f
	b[15] |= 1 // never zero
	return new(big.Int).SetBytes(b)
}
