package app

import (
	"crypto/tls"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/net/tlsauto"
	"github.com/ecrin-dev/ecrin/internal/rule/endpoint"
)

// maxCAAddresses limits the addresses of this machine in the certificate of the private CA, which is sent in every handshake.
const maxCAAddresses = 64

// secure sets the TLS configuration of the server.
func (a *App) secure(now func() time.Time) error {
	c := a.config
	switch c.TLS.Mode {
	case config.TLSAuto:
		served := a.served()
		authority, err := tlsauto.New(filepath.Join(c.Data, TLSFolder), tlsauto.Options{
			Scope:  tlsauto.Scope{DNS: served.Subtrees(), Addresses: a.addresses()},
			Advice: served.Advice, Now: now, Log: a.log,
		})
		if err != nil {
			return err
		}
		a.authority = authority
		a.http.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: authority.GetCertificate}
	case config.TLSFiles:
		files, err := tlsauto.NewReloader(c.TLS.Cert, c.TLS.Key, now, func(err error) {
			a.log.Error("the new certificate is not usable; the server keeps the old one", "error", err)
		})
		if err != nil {
			return err
		}
		a.http.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: files.GetCertificate}
	}
	return nil
}

// served returns the names for which the private CA may issue certificates: those of ECR, the domains of the configuration, the
// names that the server listens on, and the name of this machine.
func (a *App) served() endpoint.Served {
	c := a.config
	s := endpoint.Served{Regions: c.TLSRegions, IAMSTS: c.TLS.IAMSTS, Domains: slices.Clone(c.Domains)}
	for _, r := range c.HostRights {
		s.Domains = append(s.Domains, r.Domain)
	}
	for _, l := range c.Listen {
		if host, _, err := net.SplitHostPort(l); err == nil && tlsauto.ValidHost(strings.ToLower(host)) {
			s.Domains = append(s.Domains, host)
		}
	}
	if machine, err := os.Hostname(); err == nil && tlsauto.ValidHost(strings.ToLower(machine)) {
		s.Domains = append(s.Domains, machine)
	}
	return s
}

// addresses returns the addresses for which the private CA may issue certificates: those of the loopback interface, and those that
// the server listens on. For an unspecified address, these are the addresses that the machine has now.
func (a *App) addresses() []netip.Prefix {
	all := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	add := func(addr netip.Addr) {
		addr = addr.Unmap().WithZone("")
		one := netip.PrefixFrom(addr, addr.BitLen())
		switch {
		case addr.IsLoopback() || addr.IsUnspecified() || addr.IsLinkLocalUnicast() || slices.Contains(all, one):
		case len(all) == maxCAAddresses:
			a.log.Warn("this machine has too many addresses: the private CA does not issue certificates for all of them; use names",
				"address", addr)
		default:
			all = append(all, one)
		}
	}
	for _, l := range a.listeners {
		listens, err := netip.ParseAddrPort(l.Addr().String())
		if err != nil {
			continue
		}
		if !listens.Addr().IsUnspecified() {
			add(listens.Addr())
			continue
		}
		own, err := net.InterfaceAddrs()
		if err != nil {
			a.log.Warn("the addresses of this machine are not known: clients can use names only", "error", err)
		}
		for _, o := range own {
			if p, err := netip.ParsePrefix(o.String()); err == nil {
				add(p.Addr())
			}
		}
	}
	return all
}
