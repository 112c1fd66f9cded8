package tlsauto

import (
	"crypto/x509"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// Scope is what a CA may issue certificates for. It is part of the CA's certificate, as name constraints (RFC 5280, 4.2.1.10), so
// that clients refuse certificates for anything else, whoever has the CA's key.
type Scope struct {
	DNS       []string       // subtrees: a name x stands for x and all names below it; in lower case, without a leading dot
	Addresses []netip.Prefix // ranges of addresses
}

// nothing is an address that no server has (RFC 6666). A certificate without any permitted address would be valid for all.
var nothing = netip.MustParsePrefix("100::/128")

// normal returns the scope sorted and without repetitions.
func (s Scope) normal() Scope {
	dns, addresses := slices.Clone(s.DNS), slices.Clone(s.Addresses)
	slices.Sort(dns)
	for i, p := range addresses {
		addresses[i] = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()).Masked()
	}
	slices.SortFunc(addresses, func(a, b netip.Prefix) int { return strings.Compare(a.String(), b.String()) })
	if len(addresses) == 0 {
		addresses = []netip.Prefix{nothing}
	}
	return Scope{DNS: slices.Compact(dns), Addresses: slices.Compact(addresses)}
}

// hasName reports whether a DNS name is in the scope.
func (s Scope) hasName(host string) bool {
	return slices.ContainsFunc(s.DNS, func(d string) bool { return host == d || strings.HasSuffix(host, "."+d) })
}

// hasAddress reports whether an address is in the scope.
func (s Scope) hasAddress(a netip.Addr) bool {
	return slices.ContainsFunc(s.Addresses, func(p netip.Prefix) bool { return p.Contains(a) })
}

// ranges returns the addresses in the form of package x509.
func (s Scope) ranges() []*net.IPNet {
	var all []*net.IPNet
	for _, p := range s.Addresses {
		all = append(all, &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())})
	}
	return all
}

// ScopeOf returns the scope of a CA's certificate. ok is false if the certificate has no name constraints for names or none for
// addresses; then it can speak for all of them.
func ScopeOf(ca *x509.Certificate) (s Scope, ok bool) {
	s.DNS = slices.Clone(ca.PermittedDNSDomains)
	for _, r := range ca.PermittedIPRanges {
		a, valid := netip.AddrFromSlice(r.IP)
		bits, _ := r.Mask.Size()
		if valid {
			s.Addresses = append(s.Addresses, netip.PrefixFrom(a, bits))
		}
	}
	return s.normal(), len(s.DNS) > 0 && len(s.Addresses) > 0
}

// equal reports whether two normal scopes are the same.
func (s Scope) equal(o Scope) bool {
	return slices.Equal(s.DNS, o.DNS) && slices.Equal(s.Addresses, o.Addresses)
}
