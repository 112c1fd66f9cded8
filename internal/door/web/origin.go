package web

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// origin tells where a request comes from, and whether its connection is by TLS. A trusted proxy is asked by its headers:
// of the addresses in X-Forwarded-For the last that is not itself a trusted proxy is the client, since what stands before it
// anybody can write. Header values that cannot be read end the search at the proxy.
func origin(r *http.Request, proxies []netip.Prefix) (netip.Addr, bool) {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	from, secure := peer.Addr().Unmap().WithZone(""), r.TLS != nil
	if err != nil || !within(from, proxies) {
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
		if err != nil { // some proxies add the client's port
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

// cutLast cuts the last element off a list with commas.
func cutLast(list string) (before, last string, more bool) {
	i := strings.LastIndexByte(list, ',')
	if i < 0 {
		return "", strings.TrimSpace(list), false
	}
	return list[:i], strings.TrimSpace(list[i+1:]), true
}

func within(a netip.Addr, all []netip.Prefix) bool {
	return slices.ContainsFunc(all, func(p netip.Prefix) bool { return p.Contains(a) })
}
