package web

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// origin returns the address of the client, and whether its connection uses TLS. If the request comes from one of
// proxies, the client is the last address in X-Forwarded-For that is not one of proxies: the addresses before it can be
// forged. If a value is not an address, origin returns the proxy that added it. X-Forwarded-Proto of a trusted proxy
// replaces the state of the connection.
func origin(r *http.Request, proxies []netip.Prefix) (netip.Addr, bool) {
	from, trusted := proxied(r, proxies)
	secure := r.TLS != nil
	if !trusted {
		return from, secure
	}
	if proto := r.Header.Values("X-Forwarded-Proto"); len(proto) > 0 {
		_, last, _ := cutLast(proto[len(proto)-1])
		secure = strings.EqualFold(last, "https")
	}
	hops := strings.Join(r.Header.Values("X-Forwarded-For"), ",")
	for hops != "" && within(from, proxies) {
		var last string
		hops, last, _ = cutLast(hops)
		hop, err := netip.ParseAddr(strings.Trim(last, "[]"))
		if err != nil { // some proxies append the port of the client
			with, err := netip.ParseAddrPort(last)
			if err != nil {
				break
			}
			hop = with.Addr()
		}
		from = hop.Unmap().WithZone("")
	}
	return from, secure
}

// proxied returns the address of the connection's other end, and whether it is one of proxies.
func proxied(r *http.Request, proxies []netip.Prefix) (netip.Addr, bool) {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	from := peer.Addr().Unmap().WithZone("")
	return from, err == nil && within(from, proxies)
}

// cutLast splits a comma-separated list before its last element.
func cutLast(list string) (before, last string, more bool) {
	i := strings.LastIndexByte(list, ',')
	if i < 0 {
		return "", strings.TrimSpace(list), false
	}
	return list[:i], strings.TrimSpace(list[i+1:]), true
}

// within reports whether one of the ranges contains a.
func within(a netip.Addr, all []netip.Prefix) bool {
	return slices.ContainsFunc(all, func(p netip.Prefix) bool { return p.Contains(a) })
}
