package config

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/core/vendor"
)

// Shipping are the settings about what vendors ship to customers.
type Shipping struct {
	// LicenseEndpoint is the URL of this server for the installers of customers, which licences name. Default none: that of the request by
	// which a licence is fetched.
	LicenseEndpoint string `yaml:"license_endpoint"`
	// ProxyDomain is the host, HOST or HOST:PORT, at which customers pull images by the proxy, if their channel has none. Default none: that
	// of the request by which a licence or a release is fetched.
	ProxyDomain string `yaml:"proxy_domain"`
	// RegistryDomain is the same for images that the vendor has pushed here. Default none.
	RegistryDomain string `yaml:"registry_domain"`
	// CustomerRequests is how many requests a minute one licence may make at the registry, with all its tokens; as many may come at once.
	// Default 6000; 0 is no limit.
	CustomerRequests int `yaml:"customer_requests"`
}

func (s *Shipping) settings() []Setting {
	number := func(v string) (err error) { s.CustomerRequests, err = strconv.Atoi(v); return err }
	text := func(p *string) func(string) error { return func(v string) error { *p = v; return nil } }
	return []Setting{
		{"license-endpoint", "ECRIN_LICENSE_ENDPOINT",
			"the `URL` of this server that licences name, for updates; without one it is that of the request", s.LicenseEndpoint, "",
			text(&s.LicenseEndpoint)},
		{"proxy-domain", "ECRIN_PROXY_DOMAIN", "the `host` at which customers pull images by the proxy; without one it is that of the request",
			s.ProxyDomain, "", text(&s.ProxyDomain)},
		{"registry-domain", "ECRIN_REGISTRY_DOMAIN",
			"the `host` at which customers pull images that the vendor has pushed; without one it is that of the request", s.RegistryDomain, "",
			text(&s.RegistryDomain)},
		{"customer-requests", "ECRIN_CUSTOMER_REQUESTS", "`number` of requests a minute that one licence may make at the registry; 0 is no limit",
			strconv.Itoa(s.CustomerRequests), "", number},
	}
}

// check notes each setting that is wrong.
func (s *Shipping) check(note func(key string, err error)) {
	if u, err := url.Parse(s.LicenseEndpoint); s.LicenseEndpoint != "" && (err != nil || u.Scheme != "https" && u.Scheme != "http" ||
		u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil) {
		note("license_endpoint", fmt.Errorf("want a URL such as https://updates.example.com, got %q", s.LicenseEndpoint))
	}
	if s.CustomerRequests < 0 {
		note("customer_requests", fmt.Errorf("want a number of requests a minute, or 0, got %d", s.CustomerRequests))
	}
	for _, d := range []struct{ key, host string }{{"proxy_domain", s.ProxyDomain}, {"registry_domain", s.RegistryDomain}} {
		if d.host != "" && !vendor.IsDomain(d.host) {
			note(d.key, fmt.Errorf("want a host such as proxy.example.com, got %q", d.host))
		}
	}
}
