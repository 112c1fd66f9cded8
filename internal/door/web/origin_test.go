package web_test

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/door/web"
)

func TestOrigin(t *testing.T) {
	t.Parallel()
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, tt := range []struct {
		name, remote string
		forwarded    []string
		proto        string
		tls          bool
		want         string
		secure       bool
	}{
		{name: "direct", remote: "192.0.2.1:4000", want: "192.0.2.1"},
		{name: "direct by TLS", remote: "192.0.2.1:4000", tls: true, want: "192.0.2.1", secure: true},
		{name: "a client that claims another address", remote: "192.0.2.1:4000", forwarded: []string{"203.0.113.9"},
			proto: "https", want: "192.0.2.1"},
		{name: "one proxy", remote: "10.1.1.1:4000", forwarded: []string{"203.0.113.9"}, proto: "https", want: "203.0.113.9", secure: true},
		{name: "one proxy, http before it", remote: "10.1.1.1:4000", forwarded: []string{"203.0.113.9"}, proto: "http",
			tls: true, want: "203.0.113.9"},
		{name: "two proxies", remote: "10.1.1.1:4000", forwarded: []string{"203.0.113.9, 10.2.2.2"}, want: "203.0.113.9"},
		{name: "two headers", remote: "10.1.1.1:4000", forwarded: []string{"203.0.113.9", "10.2.2.2"}, want: "203.0.113.9"},
		{name: "a forged address in front", remote: "10.1.1.1:4000", forwarded: []string{"127.0.0.1, 203.0.113.9"}, want: "203.0.113.9"},
		{name: "forged trusted addresses in front", remote: "10.1.1.1:4000", forwarded: []string{"10.9.9.9, 203.0.113.9"}, want: "203.0.113.9"},
		{name: "no header of the proxy", remote: "10.1.1.1:4000", want: "10.1.1.1"},
		{name: "nonsense", remote: "10.1.1.1:4000", forwarded: []string{"203.0.113.9, nonsense"}, want: "10.1.1.1"},
		{name: "six", remote: "[fd00::1]:4000", forwarded: []string{"[2001:db8::7]"}, want: "2001:db8::7"},
		{name: "four in six", remote: "[::ffff:10.1.1.1]:4000", forwarded: []string{"::ffff:203.0.113.9"}, want: "203.0.113.9"},
		{name: "with a port", remote: "10.1.1.1:4000", forwarded: []string{"203.0.113.9:5123"}, want: "203.0.113.9"},
		{name: "six with a port", remote: "10.1.1.1:4000", forwarded: []string{"[2001:db8::7]:5123, 10.2.2.2"}, want: "2001:db8::7"},
		{name: "no address", remote: "@", want: "invalid IP"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(http.MethodGet, "/v2/", nil)
			r.RemoteAddr = tt.remote
			for _, f := range tt.forwarded {
				r.Header.Add("X-Forwarded-For", f)
			}
			if tt.proto != "" {
				r.Header.Set("X-Forwarded-Proto", tt.proto)
			}
			if tt.tls {
				r.TLS = &tls.ConnectionState{}
			}
			from, secure := web.Origin(r, proxies)
			if from.String() != tt.want || secure != tt.secure {
				t.Errorf("origin = %s, secure %v; want %s, %v", from, secure, tt.want, tt.secure)
			}
		})
	}
}
