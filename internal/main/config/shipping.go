package config

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/vendor"
	"github.com/ecrin-dev/ecrin/internal/word/name"
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
	// ApplicationHosts lists which names accounts may give to their applications, ACCOUNT DOMAIN: the domain and the names below it. Default
	// none: then the operator alone can do it.
	ApplicationHosts []string `yaml:"application_hosts"`
	// LicenseWarning is how long before its end an event tells that a licence ends. Default 336h, two weeks; 0 tells only of the end.
	LicenseWarning time.Duration `yaml:"license_warning"`
	// InactiveAfter is the time without a sign of it after which an event tells that an installation of a customer is inactive. Default 24h;
	// 0 is never.
	InactiveAfter time.Duration `yaml:"instance_inactive_after"`
}

func (s *Shipping) settings(list func(*[]string) func(string) error) []Setting {
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
		{"application-hosts", "ECRIN_APPLICATION_HOSTS",
			"comma-separated `names` that accounts may give to their applications, ACCOUNT DOMAIN: the domain and what is below it",
			strings.Join(s.ApplicationHosts, ","), "", list(&s.ApplicationHosts)},
		{"license-warning", "ECRIN_LICENSE_WARNING", "how long before its end an event tells about a licence, a `duration`; 0 for none",
			s.LicenseWarning.String(), "", duration(&s.LicenseWarning)},
		{"instance-inactive-after", "ECRIN_INSTANCE_INACTIVE_AFTER",
			"`duration` after which an event tells that an installation of a customer was not seen; 0 for none", s.InactiveAfter.String(), "",
			duration(&s.InactiveAfter)},
	}
}

// check notes each setting that is wrong, and returns the names that accounts may give to their applications.
func (s *Shipping) check(note func(key string, err error)) []vendor.HostRight {
	if u, err := url.Parse(s.LicenseEndpoint); s.LicenseEndpoint != "" && (err != nil || u.Scheme != "https" && u.Scheme != "http" ||
		u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil) {
		note("license_endpoint", fmt.Errorf("want a URL such as https://updates.example.com, got %q", s.LicenseEndpoint))
	}
	if s.CustomerRequests < 0 {
		note("customer_requests", fmt.Errorf("want a number of requests a minute, or 0, got %d", s.CustomerRequests))
	}
	for key, d := range map[string]time.Duration{"license_warning": s.LicenseWarning, "instance_inactive_after": s.InactiveAfter} {
		if d != 0 && d < time.Minute {
			note(key, fmt.Errorf("want at least 1m, or 0, got %s", d))
		}
	}
	for _, d := range []struct{ key, host string }{{"proxy_domain", s.ProxyDomain}, {"registry_domain", s.RegistryDomain}} {
		if d.host != "" && !vendor.IsDomain(d.host) {
			note(d.key, fmt.Errorf("want a host such as proxy.example.com, got %q", d.host))
		}
	}
	rights, err := hostRights(s.ApplicationHosts)
	note("application_hosts", err)
	return rights
}

// hostRights parses which names accounts may give to their applications: ACCOUNT DOMAIN, each domain once.
func hostRights(texts []string) (all []vendor.HostRight, err error) {
	for _, s := range texts {
		f := strings.Fields(s)
		bad := fmt.Errorf("want ACCOUNT DOMAIN, each domain for one account, got %q", s)
		if len(f) != 2 {
			return nil, bad
		}
		var one vendor.HostRight
		var ok bool
		if one.Account, err = name.ParseAccount(f[0]); err != nil {
			return nil, bad
		}
		if one.Domain, ok = vendor.ParseHost(f[1]); !ok {
			return nil, bad
		}
		for _, had := range all {
			if had.Domain == one.Domain {
				return nil, bad
			}
		}
		all = append(all, one)
	}
	return all, nil
}
