package egress

import (
	"fmt"
	"net/netip"
	"slices"
)

// rule is a range of addresses that is refused unless it is allowed. If several rules match an address, the
// first is used.
type rule struct {
	name   string
	prefix netip.Prefix
}

// rules are the ranges of the own machine, of private networks, and of addresses that are not globally
// reachable.
// Source: IANA's registries of special-purpose IPv4 and IPv6 addresses; the addresses of metadata services are
// from the documentation of the cloud providers.
var rules = []rule{
	{"a metadata service", netip.MustParsePrefix("169.254.169.254/32")},
	{"a metadata service", netip.MustParsePrefix("169.254.170.2/32")},
	{"a metadata service", netip.MustParsePrefix("169.254.170.23/32")},
	{"a metadata service", netip.MustParsePrefix("100.100.100.200/32")},
	{"a metadata service", netip.MustParsePrefix("168.63.129.16/32")},
	{"a metadata service", netip.MustParsePrefix("192.0.0.192/32")},
	{"a metadata service", netip.MustParsePrefix("fd00:ec2::/32")},
	{"a metadata service", netip.MustParsePrefix("fd20:ce::254/128")},
	{"unspecified", netip.MustParsePrefix("0.0.0.0/8")},
	{"private", netip.MustParsePrefix("10.0.0.0/8")},
	{"carrier-grade NAT", netip.MustParsePrefix("100.64.0.0/10")},
	{"loopback", netip.MustParsePrefix("127.0.0.0/8")},
	{"link-local", netip.MustParsePrefix("169.254.0.0/16")},
	{"private", netip.MustParsePrefix("172.16.0.0/12")},
	{"reserved for protocols", netip.MustParsePrefix("192.0.0.0/24")},
	{"reserved for documentation", netip.MustParsePrefix("192.0.2.0/24")},
	{"a relay into 6to4", netip.MustParsePrefix("192.88.99.0/24")},
	{"private", netip.MustParsePrefix("192.168.0.0/16")},
	{"reserved for benchmarks", netip.MustParsePrefix("198.18.0.0/15")},
	{"reserved for documentation", netip.MustParsePrefix("198.51.100.0/24")},
	{"reserved for documentation", netip.MustParsePrefix("203.0.113.0/24")},
	{"multicast", netip.MustParsePrefix("224.0.0.0/4")},
	{"reserved", netip.MustParsePrefix("240.0.0.0/4")},
	{"unspecified", netip.MustParsePrefix("::/128")},
	{"loopback", netip.MustParsePrefix("::1/128")},
	{"an IPv4 address in an obsolete form", netip.MustParsePrefix("::/96")},
	{"local translation to IPv4", netip.MustParsePrefix("64:ff9b:1::/48")},
	{"discarded", netip.MustParsePrefix("100::/64")},
	{"reserved for protocols", netip.MustParsePrefix("2001::/23")}, // includes Teredo, which embeds an IPv4 address
	{"reserved for documentation", netip.MustParsePrefix("2001:db8::/32")},
	{"reserved for documentation", netip.MustParsePrefix("3fff::/20")},
	{"private", netip.MustParsePrefix("fc00::/7")},
	{"link-local", netip.MustParsePrefix("fe80::/10")},
	{"private", netip.MustParsePrefix("fec0::/10")},
	{"multicast", netip.MustParsePrefix("ff00::/8")},
}

var (
	globalUnicast = netip.MustParsePrefix("2000::/3")
	nat64         = netip.MustParsePrefix("64:ff9b::/96")
	sixToFour     = netip.MustParsePrefix("2002::/16")
)

// find returns the rule that refuses a, an unmapped address; false if there is none.
func find(a netip.Addr) (rule, bool) {
	for _, r := range rules {
		if r.prefix.Contains(a) {
			return r, true
		}
	}
	if a.Is6() && !globalUnicast.Contains(a) && !nat64.Contains(a) {
		return rule{"outside of what is reachable", netip.PrefixFrom(a, a.BitLen())}, true
	}
	return rule{}, false
}

// embedded returns the IPv4 address to which a translator would forward packets for a; false if a embeds none.
// Source: RFC 6052 (NAT64), RFC 3056 (6to4), RFC 5214 (ISATAP).
func embedded(a netip.Addr) (netip.Addr, bool) {
	if !a.Is6() {
		return netip.Addr{}, false
	}
	b := a.As16()
	switch {
	case nat64.Contains(a):
		return netip.AddrFrom4([4]byte(b[12:16])), true
	case sixToFour.Contains(a):
		return netip.AddrFrom4([4]byte(b[2:6])), true
	case b[8]&^0x02 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe:
		return netip.AddrFrom4([4]byte(b[12:16])), true
	}
	return netip.Addr{}, false
}

// RefusedError is the error for an address or a name that the guard does not dial. Its text is for the operator
// of the server: it contains the address that a name resolves to.
type RefusedError struct {
	Host    string     // as in the URL
	Addr    netip.Addr // zero when the name itself is refused
	Rule    string     // why it is refused
	Setting string     // the setting that can change the decision or made it; empty if there is none
	Loop    bool       // the request has arrived at the installation that sent it
}

// Error returns a text with the address, the rule and the setting.
func (e *RefusedError) Error() string {
	text := fmt.Sprintf("host %q is refused: ", e.Host)
	if e.Addr.IsValid() {
		text += e.Addr.String() + " is "
	}
	text += e.Rule
	switch e.Setting {
	case settingAllow:
		text += "; " + settingAllow + " can allow it"
	case settingDeny:
		text += "; " + settingDeny + " lists its range"
	case settingDNS:
		text += "; if the name has another address in the DNS, " + settingDNS + " makes the server ask there"
	}
	return text
}

const (
	settingAllow = "egress_allow"
	settingDeny  = "egress_deny"
	settingDNS   = "egress_dns"
)

// check returns nil if host may be dialled at a, an unmapped address.
func (g *Guard) check(host string, a netip.Addr) error {
	if a.Zone() != "" {
		return &RefusedError{Host: host, Addr: a, Rule: "bound to one link by its zone"}
	}
	inner, hidden := embedded(a)
	if in(g.deny, a) || hidden && in(g.deny, inner) {
		return &RefusedError{Host: host, Addr: a, Rule: "in a denied range", Setting: settingDeny}
	}
	if in(g.allow, a) {
		return nil
	}
	if r, bad := find(a); bad {
		return &RefusedError{Host: host, Addr: a, Rule: r.name + " (" + r.prefix.String() + ")", Setting: settingAllow}
	}
	if hidden && !in(g.allow, inner) {
		if r, bad := find(inner); bad {
			return &RefusedError{Host: host, Addr: a, Rule: "another form of " + inner.String() + ", which is " + r.name + " (" +
				r.prefix.String() + ")", Setting: settingAllow}
		}
	}
	return nil
}

func in(prefixes []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}

// unmap converts prefixes of IPv4-mapped addresses to IPv4, since addresses are compared in that form only.
func unmap(prefixes []netip.Prefix) []netip.Prefix {
	plain := make([]netip.Prefix, 0, len(prefixes))
	for _, p := range prefixes {
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		plain = append(plain, p.Masked())
	}
	return plain
}
