package vendor

import (
	"context"
	"strings"
	"sync"

	"github.com/ecrin-dev/ecrin/internal/rule/endpoint"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/lazyregexp"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// HostRight lets an account give a domain, and the names below it, to its applications. It is a setting of the operator.
type HostRight struct {
	Account name.Account
	Domain  string // in lower case
}

// hostText is the form of host names of applications: names of two labels or more, the last of which is no number.
var hostText = lazyregexp.New(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`)

// Host is a host name of an application.
type Host = meta.ApplicationHost

// ParseHost returns a host name in the form in which it is stored. ok is false for what is none: addresses, names of one label, and names
// with a port.
func ParseHost(text string) (host string, ok bool) {
	host = strings.ToLower(strings.TrimSuffix(text, "."))
	return host, len(host) <= 253 && hostText.MatchString(host)
}

// below reports whether a host is a domain, or a name below it.
func below(host, domain string) bool { return host == domain || strings.HasSuffix(host, "."+domain) }

// AddHost gives an application a host name. at is the host of the request. Only the operator may give it a name that is not among those
// that the settings allow its account.
//
// Errors: fault.InvalidParameter (it is no host name, a name of the installation, or not allowed), and those of
// meta.Store.PutApplicationHost.
func (s *Service) AddHost(ctx context.Context, a meta.Application, text string, at endpoint.Host, operator bool, by string) (
	Host, error) {
	none := Host{}
	host, ok := ParseHost(text)
	if !ok {
		return none, invalid("host", "a host name such as images.example.com, without a port")
	}
	if s.installations(host, at) {
		return none, invalid("host", "%s is a name of the installation itself", host)
	}
	for _, r := range s.hostRights {
		operator = operator || r.Account == a.Account && below(host, r.Domain)
	}
	if !operator {
		return none, invalid("host", "the operator does not let this account use %s: see the setting application_hosts", host)
	}
	return s.meta.PutApplicationHost(ctx, Host{Host: host, Account: a.Account, Application: a.ID, CreatedBy: by})
}

// installations reports whether a host is a name of the installation: one of its domains or below it, the host of the request, or one that
// licences of all applications name.
func (s *Service) installations(host string, at endpoint.Host) bool {
	for _, d := range s.hosts.Domains() {
		if below(host, d) {
			return true
		}
	}
	_, endpoint, _ := strings.Cut(s.places.Endpoint, "://")
	for _, other := range []string{at.String(), endpoint, s.places.Proxy, s.places.Registry} {
		if bare, _ := split(strings.ToLower(other)); bare == host {
			return true
		}
	}
	return false
}

// hostNames are the host names of all applications, as they were at a generation of identities.
type hostNames struct {
	mu    sync.RWMutex
	known bool
	at    uint64
	all   map[string]Host
}

// HostOf returns the application that has the host of a request, HOST or HOST:PORT. ok is false if none has.
func (s *Service) HostOf(ctx context.Context, hostport string) (h Host, ok bool, err error) {
	now := s.meta.IdentityGeneration()
	s.names.mu.RLock()
	fresh, all := s.names.known && s.names.at == now, s.names.all
	s.names.mu.RUnlock()
	if !fresh {
		rows, err := s.meta.ApplicationHosts(ctx, "")
		if err != nil {
			return h, false, err
		}
		all = make(map[string]Host, len(rows))
		for _, r := range rows {
			all[r.Host] = r
		}
		s.names.mu.Lock()
		s.names.known, s.names.at, s.names.all = true, now, all
		s.names.mu.Unlock()
	}
	if len(all) == 0 {
		return h, false, nil
	}
	bare, _ := split(strings.ToLower(hostport))
	h, ok = all[strings.TrimSuffix(bare, ".")]
	return h, ok, nil
}
