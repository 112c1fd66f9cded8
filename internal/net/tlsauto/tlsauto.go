// Package tlsauto provides the TLS certificates of a server: issued by a private CA, or read from files and
// reloaded when the files change.
//
// Both types have a method for tls.Config.GetCertificate. An [Authority] needs no setup: it creates its CA on
// first use, and a leaf for each name that clients request. A [Reloader] serves a certificate that another
// program renews.
package tlsauto

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// Validity periods, and the size of the cache.
const (
	caLife      = 2 * 365 * 24 * time.Hour
	leafLife    = 7 * 24 * time.Hour
	backdate    = time.Hour   // for clients whose clock is slow
	maxLeafs    = 512         // about 2 KB each
	refusalTime = time.Second // at most one line about refused names in this time
	retryTime   = time.Hour   // after a renewal of the CA has failed
)

// Organization is in the subject of every CA that ecrin creates. Package trust uses it to recognize the
// certificates that it may replace.
const Organization = "ecrin"

// Options configure an [Authority].
type Options struct {
	Scope  Scope                    // the names and addresses to issue leaves for
	Advice func(host string) string // the end of a log line about a name outside of Scope; nil means none
	Now    func() time.Time         // nil means time.Now
	Log    *slog.Logger             // nil means no log
}

// authority is a CA at one time.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pem  []byte
}

// Authority is a private CA with the leaves that it has issued. Its methods are safe for concurrent use.
type Authority struct {
	files  files
	scope  Scope
	advice func(host string) string
	now    func() time.Time
	log    *slog.Logger

	// issuing is held while a leaf is issued or the CA is renewed, and is locked before mu. mu is held for moments only, so that a
	// handshake for a cached name does not wait for those that ask for new names, which anybody can.
	issuing sync.Mutex
	retry   time.Time // time before which the CA is not renewed again; issuing protects it

	mu       sync.Mutex
	ca       *authority // changed with both locks held
	leaves   map[string]*leaf
	logged   time.Time // of the last line about a refused name
	unlogged int       // refusals without a line since then
}

// leaf is a cached certificate.
type leaf struct {
	cert  *tls.Certificate
	renew time.Time // time from which it is replaced
	used  time.Time // time of the last handshake
}

// New opens the CA in dir, and creates it on first use (dir with mode 0700, ca.pem, ca-key.pem with mode 0600).
//
// The CA is ECDSA P-256, valid for two years, and has critical name constraints with the content of o.Scope, so that clients accept
// no leaf for another name, whoever signed it with the CA's key. The certificate is replaced by one with the same key and
// subject when half of its life is over and when o.Scope is not that of the file any more. Clients that have installed an earlier one
// go on working until that ends, with the names that it permits.
//
// A certificate that ecrin has not made is never replaced, and neither is one of an earlier version of ecrin without name
// constraints, which is logged: clients have to install its replacement, and the operator decides when.
//
// Two processes that start with an empty dir at the same time use the same key.
//
// Errors: the key does not match the certificate; the certificate is not a CA's, or has ended and is not replaced; o.Scope has a name
// that is not a DNS name; an error of the file system. A replacement that cannot be written is logged, and is no error.
func New(dir string, o Options) (*Authority, error) {
	a := &Authority{files: files{dir}, scope: o.Scope.normal(), advice: o.Advice, now: o.Now, log: o.Log, leaves: map[string]*leaf{}}
	if a.now == nil {
		a.now = time.Now
	}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	now := a.now()
	var err error
	if a.ca, err = a.files.open(a.scope, now); err != nil {
		return nil, fmt.Errorf("opening the private CA in %s: %w", dir, err)
	}
	a.renewCA(now)
	switch end := a.ca.cert.NotAfter; {
	case now.After(end):
		return nil, fmt.Errorf("opening the private CA in %s: %s has ended on %s: remove it to create a new one, and install that on the clients",
			dir, certFile, end.Format(time.DateOnly))
	case Unconstrained(a.ca.cert):
		a.log.Warn("the private CA was made by an earlier version and has no name constraints: whoever has its key can issue a certificate "+
			"for any name that clients accept; to replace it, stop the server, remove the file, start it, and run ecrin trust install on every client",
			"file", a.files.cert())
	}
	return a, nil
}

// Unconstrained reports whether a certificate is a CA of ecrin that has no name constraints, as those of earlier versions.
func Unconstrained(ca *x509.Certificate) bool {
	_, constrained := ScopeOf(ca)
	return own(ca) && !constrained
}

// own reports whether a CA was made by ecrin.
func own(ca *x509.Certificate) bool {
	return slices.Equal(ca.Subject.Organization, []string{Organization}) && bytes.Equal(ca.RawSubject, ca.RawIssuer)
}

// renewCA replaces the CA's certificate if that is due and permitted, see New. The caller holds issuing, or has the only reference.
func (a *Authority) renewCA(now time.Time) {
	scope, constrained := ScopeOf(a.ca.cert)
	half := a.ca.cert.NotBefore.Add(a.ca.cert.NotAfter.Sub(a.ca.cert.NotBefore) / 2)
	if !own(a.ca.cert) || !constrained || now.Before(a.retry) || scope.equal(a.scope) && now.Before(half) {
		return
	}
	renewed, err := a.files.renew(a.ca, a.scope, now)
	if err != nil {
		a.retry = now.Add(retryTime)
		a.log.Error("the certificate of the private CA could not be renewed; the old one stays in use", "file", a.files.cert(), "error", err)
		return
	}
	why := "half of its life is over"
	if !scope.equal(a.scope) {
		why = "the names that the server is configured to serve have changed"
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ca = renewed
	clear(a.leaves) // they were issued within the old scope, and have the old certificate in their chains
	a.log.Info("the certificate of the private CA was renewed, with the same key: clients that have installed the old one accept the names "+
		"in it until it ends; for new names, install it again (ecrin trust install)", "file", a.files.cert(), "why", why,
		"until", renewed.cert.NotAfter.Format(time.DateOnly), "names", a.scope.DNS)
}

// CAPEM returns the CA's certificate, for clients. The caller must not change it.
func (a *Authority) CAPEM() []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ca.pem
}

// CAPath returns the path of the file with the content of [Authority.CAPEM].
func (a *Authority) CAPath() string { return a.files.cert() }

// GetCertificate returns the leaf for the requested name, or for the local IP address of the connection if the
// client sends no name (clients never send an IP address as a name). It is meant for tls.Config.GetCertificate.
//
// A leaf is valid for seven days, or until the CA expires, and is replaced after two thirds of that. At most 512
// leaves are cached, since there may be many names (one for each account and region); the least recently used
// are dropped and issued again on request.
//
// Errors: the name is not a host name, or is outside of the scope. Then no leaf is issued, and a line is logged, at most one in a
// second.
func (a *Authority) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	host, err := a.hostOf(hello)
	if err != nil {
		return nil, err
	}
	now := a.now()
	if cert := a.cached(host, now); cert != nil {
		return cert, nil
	}
	a.issuing.Lock()
	defer a.issuing.Unlock()
	if cert := a.cached(host, now); cert != nil { // issued by a concurrent handshake
		return cert, nil
	}
	a.renewCA(now)
	l, err := a.mint(host, now)
	if err != nil {
		return nil, fmt.Errorf("issuing a certificate for %s: %w", host, err)
	}
	l.used = now
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.leaves) >= maxLeafs && a.leaves[host] == nil {
		a.dropOldest()
	}
	a.leaves[host] = l
	return l.cert, nil
}

// cached returns the leaf for a host; nil if there is none or it has to be replaced.
func (a *Authority) cached(host string, now time.Time) *tls.Certificate {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.leaves[host]
	// After a clock was set back, a certificate that is not valid yet must not be used.
	if l == nil || !now.Before(l.renew) || now.Before(l.cert.Leaf.NotBefore) {
		return nil
	}
	l.used = now
	return l.cert
}

// hostOf returns the name or the IP address of the leaf for a handshake.
func (a *Authority) hostOf(hello *tls.ClientHelloInfo) (string, error) {
	if hello.ServerName == "" {
		addr, err := localIP(hello.Conn)
		if err != nil {
			return "", err
		}
		if !a.scope.hasAddress(addr) {
			return "", a.refuse(addr.String(), "it is not an address that this machine had when the server started")
		}
		return addr.String(), nil
	}
	host := strings.TrimSuffix(strings.ToLower(hello.ServerName), ".")
	if !ValidHost(host) {
		return "", fmt.Errorf("the server name %q is no host name", clip(hello.ServerName))
	}
	if !a.scope.hasName(host) {
		advice := ""
		if a.advice != nil {
			advice = a.advice(host)
		}
		return "", a.refuse(host, advice)
	}
	return host, nil
}

// refuse returns the error for a host that gets no leaf, and logs it. Anybody can ask for names, so that there is at most one line in
// refusalTime; it has the number of refusals since the one before.
func (a *Authority) refuse(host, advice string) error {
	now := a.now()
	a.mu.Lock()
	defer a.mu.Unlock()
	if elapsed := now.Sub(a.logged); 0 <= elapsed && elapsed < refusalTime { // less than 0: the clock was set back
		a.unlogged++
	} else {
		a.log.Warn("a client asked for a certificate that the private CA does not issue", "name", clip(host), "advice", advice,
			"unlogged", a.unlogged)
		a.logged, a.unlogged = now, 0
	}
	return fmt.Errorf("%q is not a name of this server: %s", clip(host), advice)
}

// localIP returns the address that the client connected to.
func localIP(conn net.Conn) (netip.Addr, error) {
	if conn == nil {
		return netip.Addr{}, errors.New("a client without a server name, without a connection")
	}
	addr, err := netip.ParseAddrPort(conn.LocalAddr().String())
	if err != nil {
		return netip.Addr{}, fmt.Errorf("a client without a server name, on a connection without an IP address: %w", err)
	}
	return addr.Addr().Unmap().WithZone(""), nil
}

// ValidHost reports whether s is a DNS name in lower case, as certificates are issued for. Underscores are permitted, since names in
// use have them; addresses are not, since clients may not send an address as a name (RFC 6066, section 3).
func ValidHost(s string) bool {
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

// mint issues a leaf for a DNS name or an IP address. The caller holds issuing.
func (a *Authority) mint(host string, now time.Time) (*leaf, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	start, end := now.Add(-backdate), now.Add(leafLife-backdate)
	if last := a.ca.cert.NotAfter; end.After(last) {
		end = last
	}
	if !end.After(now) {
		return nil, fmt.Errorf("the CA %s has ended on %s", a.files.cert(), a.ca.cert.NotAfter.Format(time.DateOnly))
	}
	template := &x509.Certificate{
		SerialNumber: serial(),
		NotBefore:    start,
		NotAfter:     end,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if ip := net.ParseIP(host); ip != nil {
		// Without a common name: OpenSSL would compare an address there with the constraints for names.
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{host}
		if len(host) <= 64 { // maximum length of a common name; clients use only the alternative names
			template.Subject = pkix.Name{CommonName: host}
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.ca.cert, key.Public(), a.ca.key)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	// A certificate of the operator may have other constraints than the scope; clients would refuse the leaf without a reason.
	roots := x509.NewCertPool()
	roots.AddCert(a.ca.cert)
	if _, err := parsed.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now}); err != nil {
		return nil, a.refuse(host, fmt.Sprintf("the constraints of %s do not permit it: %v", a.files.cert(), err))
	}
	// The chain includes the CA, so that `openssl s_client -showcerts` shows it to an administrator before it is
	// installed.
	cert := &tls.Certificate{Certificate: [][]byte{der, a.ca.cert.Raw}, PrivateKey: key, Leaf: parsed}
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
