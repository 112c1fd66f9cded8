// Package egress guards outgoing connections to addresses that another party chose: those of identity
// providers, upstream registries and webhooks.
//
// A list of forbidden names is not enough, since an address has many spellings and a name can change between
// the check and the dial. The guard resolves the name, checks the resulting addresses, and dials only an
// address that it has checked. It does so for each connection, so that redirects are checked too.
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

// Resolver resolves a name to addresses; *net.Resolver implements it.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Options configure a Guard. The zero value refuses every address that is not public, and trusts the system's
// certificates.
type Options struct {
	Allow    []netip.Prefix // ranges that may be dialled despite a rule: the setting egress_allow
	Deny     []netip.Prefix // ranges that may never be dialled, even if Allow has them: the setting egress_deny
	Roots    *x509.CertPool // trusted certificate authorities; nil means the system's
	Resolver Resolver       // nil means the system's resolver

	// Hosts are the addresses of names, in lower case, that are not resolved; port 0 means that of the URL. They are checked like the
	// others. This is the setting egress_hosts.
	Hosts map[string]netip.AddrPort

	// Plain reports whether a host, HOST or HOST:PORT in lower case, has no TLS and is asked by http; nil for none. Servers set none: only who
	// runs a command for a registry of their own does.
	Plain func(host string) bool

	// Marker is sent in LoopHeader of each request, so that a request that leads back to this installation is recognised there; "" for none.
	Marker string
}

// LoopHeader has the marker of the installation that sends a request. An installation that receives its own one answers 508, with the
// header, and the client gets a *RefusedError whose Loop is true.
const LoopHeader = "Ecrin-Loop"

// Guard decides which addresses may be dialled. It is immutable, and safe for concurrent use.
type Guard struct {
	allow, deny []netip.Prefix
	roots       *x509.CertPool
	resolver    Resolver
	hosts       map[string]netip.AddrPort
	marker      string
	plain       func(host string) bool
}

// Scheme returns http for a host of Options.Plain, else https. host is HOST or HOST:PORT in lower case.
func (g *Guard) Scheme(host string) string {
	if g.plain != nil && g.plain(host) {
		return "http"
	}
	return "https"
}

// New returns a guard with the given options.
func New(o Options) *Guard {
	g := &Guard{allow: unmap(o.Allow), deny: unmap(o.Deny), roots: o.Roots, resolver: o.Resolver, hosts: o.Hosts, marker: o.Marker,
		plain: o.Plain}
	if g.resolver == nil {
		g.resolver = net.DefaultResolver
	}
	return g
}

// ClientOptions are the limits of a client.
type ClientOptions struct {
	Timeout  time.Duration // for a request, its redirects and reading the response; 0 means ten seconds
	MaxBytes int64         // maximum size of a response body, beyond which reading fails; 0 means 1 MiB

	// VerifyTLS returns nil if chain (leaf first, as presented, at least one certificate) is valid for host.
	// roots are the guard's; nil means the system's. If VerifyTLS is nil, the chain is verified by roots, host
	// and time, as usual in TLS.
	VerifyTLS func(host string, chain []*x509.Certificate, roots *x509.CertPool) error
}

const (
	maxRedirects  = 3
	maxAddresses  = 8 // maximum number of addresses of a name that are tried
	maxHeader     = 64 << 10
	dialTimeout   = 3 * time.Second  // for each address
	maxDial       = 20 * time.Second // of Transport: for the name, all addresses and the handshake
	maxIdle       = 30 * time.Second // of Transport: after this time an unused connection is closed
	maxIdleConns  = 4                // of Transport: unused connections to one host
	defaultTotal  = 10 * time.Second
	defaultMaxLen = 1 << 20
)

// Client returns a client for https URLs whose connections pass the guard. It follows at most three redirects,
// never to http; ignores proxy settings of the environment; opens a new connection for each request, so that
// each is checked; and requests no compression, so that MaxBytes limits the bytes on the wire. Errors contain
// no part of the response's header or body, but they contain the requested URL, and after a redirect the URL of
// the redirect: see [Cause].
func (g *Guard) Client(o ClientOptions) *http.Client {
	if o.Timeout <= 0 {
		o.Timeout = defaultTotal
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = defaultMaxLen
	}
	base := g.base(o.VerifyTLS)
	base.DisableKeepAlives, base.ResponseHeaderTimeout = true, o.Timeout
	return &http.Client{
		Transport: &transport{base: base, max: o.MaxBytes, marker: g.marker, guard: g},
		Timeout:   o.Timeout,
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects {
				return fmt.Errorf("more than %d redirects", maxRedirects)
			}
			r.Header.Del("Referer") // the first URL may contain a secret
			return nil
		},
	}
}

// Transport returns a transport for https URLs whose connections pass the guard, for long transfers: it limits
// neither the time of a request nor the size of a body, which the context and the reader of the body must do. It
// follows no redirects, ignores proxy settings of the environment and requests no compression. A connection may
// serve several requests to the host for which it was opened: its address has been checked and does not change.
// Errors contain no part of the response's header or body, and no URL.
func (g *Guard) Transport() http.RoundTripper {
	base := g.base(nil)
	base.IdleConnTimeout, base.MaxIdleConnsPerHost = maxIdle, maxIdleConns
	return &transport{base: base, max: -1, marker: g.marker, guard: g}
}

// Dial connects to a host, a name or an address, and a port, for protocols that are not HTTP. The connection is not encrypted, and
// has no limit of time after it is open.
//
// Errors: *RefusedError, and those of the resolver and of the network.
func (g *Guard) Dial(ctx context.Context, host, port string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, maxDial)
	defer cancel()
	return g.dial(ctx, host, port)
}

// base returns a transport that dials through the guard.
func (g *Guard) base(verify func(string, []*x509.Certificate, *x509.CertPool) error) *http.Transport {
	return &http.Transport{
		DialTLSContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, maxDial) // a dial may outlive the request that began it
			defer cancel()
			conn, err := g.dialTLS(ctx, address, verify)
			if err != nil {
				return nil, &dialError{err}
			}
			return conn, nil
		},
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) { // of Options.Plain
			host, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, &dialError{err}
			}
			conn, err := g.Dial(ctx, host, port)
			if err != nil {
				return nil, &dialError{err}
			}
			return conn, nil
		},
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeader,
	}
}

// Cause removes the URL from a client's error, since the URL may contain a secret or may be chosen by the other
// side.
func Cause(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// dial resolves host and connects to the first of its addresses that may be dialled and that accepts the
// connection.
func (g *Guard) dial(ctx context.Context, host, port string) (net.Conn, error) {
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 {
		return nil, fmt.Errorf("port %q is not a number from 1 to 65535", port)
	}
	set, isSet := g.hosts[strings.ToLower(strings.TrimSuffix(host, "."))]
	addresses := []netip.Addr{set.Addr().Unmap()}
	if isSet {
		if set.Port() != 0 {
			number = uint64(set.Port())
		}
		err = g.check(host, addresses[0])
	} else {
		addresses, err = g.addresses(ctx, host)
	}
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: dialTimeout, KeepAlive: -1}
	var failures []error
	for _, a := range addresses {
		// The address is a literal, so that it is not resolved again.
		conn, err := dialer.DialContext(ctx, "tcp", netip.AddrPortFrom(a, uint16(number)).String())
		if err == nil {
			return conn, nil
		}
		failures = append(failures, err)
	}
	return nil, errors.Join(failures...)
}

// addresses returns the addresses of host that may be dialled, at least one.
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

// isName reports whether host is a name and not a number: some resolvers read 2130706433, 0x7f.1 and 127.1 as
// addresses.
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

func (g *Guard) dialTLS(ctx context.Context, address string,
	verify func(string, []*x509.Certificate, *x509.CertPool) error) (net.Conn, error) {
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
		c.InsecureSkipVerify = true // verify below replaces the standard verification, in each handshake
		c.VerifyConnection = func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 {
				return errors.New("no certificate was presented")
			}
			return verify(name, s.PeerCertificates, g.roots)
		}
	}
	conn := tls.Client(raw, c)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close() // the handshake's error is returned
		return nil, fmt.Errorf("TLS with %s: %w", address, err)
	}
	return conn, nil
}
