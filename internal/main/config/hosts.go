package config

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/word/lazyregexp"
)

// hostName is the form of a name in EgressHosts.
var hostName = lazyregexp.New(`^[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?$`)

// hosts parses NAME=ADDRESS and NAME=ADDRESS:PORT. The port is 0 if there is none.
func hosts(texts []string) (map[string]netip.AddrPort, error) {
	all := map[string]netip.AddrPort{}
	for _, s := range texts {
		host, address, _ := strings.Cut(s, "=")
		host = strings.ToLower(host)
		to, err := netip.ParseAddrPort(address)
		if a, err2 := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(address, "["), "]")); err != nil && err2 == nil {
			to, err = netip.AddrPortFrom(a, 0), nil
		}
		if _, twice := all[host]; err != nil || twice || !hostName.MatchString(host) {
			return nil, fmt.Errorf("want each name once, as NAME=ADDRESS or NAME=ADDRESS:PORT such as ecr.example.com=10.0.0.7, got %q", s)
		}
		all[host] = to
	}
	return all, nil
}

// nameServers parses ADDRESS and ADDRESS:PORT. The port is 53 if there is none.
func nameServers(texts []string) (all []netip.AddrPort, err error) {
	for _, s := range texts {
		to, err := netip.ParseAddrPort(s)
		if a, err2 := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")); err != nil && err2 == nil {
			to, err = netip.AddrPortFrom(a, 53), nil
		}
		if err != nil || to.Port() == 0 {
			return nil, fmt.Errorf("want the addresses of name servers, ADDRESS or ADDRESS:PORT such as 10.0.0.53, got %q", s)
		}
		all = append(all, to)
	}
	return all, nil
}
