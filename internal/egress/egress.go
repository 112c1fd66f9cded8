// Package egress is the one guard for everything that dials out to an address that somebody else chose: an identity
// provider, an upstream, a webhook.
//
// A list of forbidden names does not help, for one address has many spellings and a name can change between the check and
// the dial. The guard resolves the name, checks the addresses themselves, and dials exactly one that it has checked. It
// does so for each request, so that redirects and later requests are checked like the first.
package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Resolver finds the addresses of a name; *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Options of a guard. The zero value refuses every address that is not public, and trusts the system's certificates.
type Options struct {
	Allow    []netip.Prefix // ranges that may be dialled although a rule refuses them: the setting egress_allow
	Deny     []netip.Prefix // ranges that may not be dialled, whatever allows them: the setting egress_deny
	Roots    *x509.CertPool // certificates to trust; nil: the system's
	Resolver Resolver       // nil: the machine's
}

// Guard decides which addresses may be dialled. It is safe for concurrent use and does not change.
type Guard struct {
	allow, deny []netip.Prefix
	roots       *x509.CertPool
	resolver    Resolver
}

// New makes a guard.
func New(o Options) *Guard {
	g := &Guard{allow: unmap(o.Allow), deny: unmap(o.Deny), roots: o.Roots, resolver: o.Resolver}
	if g.resolver == nil {
		g.resolver = net.DefaultResolver
	}
	return g
}

// ClientOptions are the limits of one kind of requests.
type ClientOptions struct {
	Timeout  time.Duration // for a request with its redirects and the reading of its answer; 0: ten seconds
	MaxBytes int64         // of an answer's body, beyond which reading it fails; 0: 1 MiB

	// VerifyTLS decides whether chain (leaf first, as presented, at least one) may speak for host; roots are the guard's, nil
	// for the system's. nil: by roots, host and time, as usual.
	VerifyTLS func(host string, chain []*x509.Certificate, roots *x509.CertPool) error
}

const (
	maxRedirects  = 3
	maxAddresses  = 8 // of one name that are tried
	maxHeader     = 64 << 10
	dialTimeout   = 3 * time.Second // for one address
	defaultTotal  = 10 * time.Second
	defaultMaxLen = 1 << 20
)

// Client makes a client for https addresses that goes through the guard. It follows at most three redirects, never to
// http; uses no proxy, whatever the environment says; keeps no connection, so that each request is checked; and asks for
// no compression, so that MaxBytes is what goes over the wire. Errors carry no part of an answer's head or body, but do
// carry the address that was asked, and after a redirect that address: see [Cause].
func (g *Guard) Client(o ClientOptions) *http.Client {
	if o.Timeout <= 0 {
		o.Timeout = defaultTotal
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = defaultMaxLen
	}
	base := &http.Transport{
		DialTLSContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			conn, err := g.dialTLS(ctx, address, o.VerifyTLS)
			if err != nil {
				return nil, &dialError{err}
			}
			return conn, nil
		},
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeader,
		ResponseHeaderTimeout:  o.Timeout,
	}
	return &http.Client{
		Transport: &transport{base: base, max: o.MaxBytes},
		Timeout:   o.Timeout,
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects {
				return fmt.Errorf("more than %d redirects", maxRedirects)
			}
			r.Header.Del("Referer") // the address asked first may hold a secret
			return nil
		},
	}
}

// Cause takes the address away from a client's error, which may hold a secret or was chosen by whoever answered.
func Cause(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// dial resolves host and dials the first of its addresses that may be dialled and answers.
func (g *Guard) dial(ctx context.Context, host, port string) (net.Conn, error) {
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 {
		return nil, fmt.Errorf("port %q is not one", port)
	}
	addresses, err := g.addresses(ctx, host)
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: dialTimeout, KeepAlive: -1}
	var failures []error
	for _, a := range addresses {
		// A literal address: nothing is resolved a second time.
		conn, err := dialer.DialContext(ctx, "tcp", netip.AddrPortFrom(a, uint16(number)).String())
		if err == nil {
			return conn, nil
		}
		failures = append(failures, err)
	}
	return nil, errors.Join(failures...)
}

// addresses gives those addresses of host that may be dialled, at least one.
func (g *Guard) addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		a = a.Unmap()
		if err := g.check(host, a); err != nil {
			return nil, err
		}
		return []netip.Addr{a}, nil
	}
	if !isName(host) {
		return nil, &RefusedError{Host: host, Rule: "neither a host name nor an address in its usual form"}
	}
	found, err := g.resolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, fmt.Errorf("resolving %q: %w", host, err)
	}
	var good []netip.Addr
	var refused error
	for _, a := range found {
		a = a.Unmap()
		if err := g.check(host, a); err != nil {
			if refused == nil {
				refused = err
			}
			continue
		}
		if len(good) < maxAddresses {
			good = append(good, a)
		}
	}
	switch {
	case len(good) > 0:
		return good, nil
	case refused != nil:
		return nil, refused
	}
	return nil, fmt.Errorf("resolving %q: it has no address", host)
}

// isName tells names from numbers: some resolvers read 2130706433, 0x7f.1 and 127.1 as addresses.
func isName(host string) bool {
	host = strings.TrimSuffix(host, ".")
	if host == "" || len(host) > 253 {
		return false
	}
	for _, c := range []byte(host) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_') {
			return false
		}
	}
	last := strings.ToLower(host[strings.LastIndexByte(host, '.')+1:])
	if hex, ok := strings.CutPrefix(last, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") != ""
	}
	return strings.Trim(last, "0123456789") != ""
}

func (g *Guard) dialTLS(ctx context.Context, address string, verify func(string, []*x509.Certificate, *x509.CertPool) error) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	raw, err := g.dial(ctx, host, port)
	if err != nil {
		return nil, err
	}
	name := strings.TrimSuffix(host, ".")
	c := &tls.Config{ServerName: name, RootCAs: g.roots, MinVersion: tls.VersionTLS12}
	if verify != nil {
		c.InsecureSkipVerify = true // verify below takes its place, in each handshake
		c.VerifyConnection = func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 {
				return errors.New("no certificate was presented")
			}
			return verify(name, s.PeerCertificates, g.roots)
		}
	}
	conn := tls.Client(raw, c)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close() // the error is the handshake's
		return nil, fmt.Errorf("TLS with %s: %w", address, err)
	}
	return conn, nil
}
