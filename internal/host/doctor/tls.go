package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/host/trust"
	"github.com/ecrin-dev/ecrin/internal/net/tlsauto"
)

// expiresSoon is the remaining validity of a certificate below which there is a warning. Certificates that are
// renewed automatically are renewed earlier; see endsSoon for those of a private CA, which live for a week in all.
const expiresSoon = 7 * 24 * time.Hour

// endsSoon reports whether a certificate should have been renewed: a week before its end, or for a shorter life in its last quarter.
func endsSoon(leaf *x509.Certificate, now time.Time) bool {
	return leaf.NotAfter.Sub(now) < min(expiresSoon, leaf.NotAfter.Sub(leaf.NotBefore)/4)
}

// checkTLS checks the certificates that the server presents for its own name and for the ECR names that resolve
// to it.
func (d *doctor) checkTLS(ctx context.Context) []Check {
	if d.scheme == "http" {
		return []Check{{"TLS", Skip, "the server's address is http://", ""}}
	}
	if d.caErr != nil {
		return []Check{{"TLS", Fail, fmt.Sprintf("the CA %s cannot be read: %v", d.CAPath, d.caErr),
			"Copy the server's CA (tls/ca.pem in its data folder) to this machine, then: ecrin doctor --ca ca.pem"}}
	}
	var checks []Check
	for _, host := range d.registryHosts() {
		checks = append(checks, d.certificate(ctx, host))
	}
	return append(checks, d.privateCA()...)
}

// caEndsSoon is the remaining validity of a CA below which there is a warning: its successor has to be installed on every client.
const caEndsSoon = 60 * 24 * time.Hour

// privateCA checks the CAs of ecrin: that of the server, and those that clients of this machine trust. There is no check if
// there are none.
func (d *doctor) privateCA() []Check {
	c := Check{Name: "private CA", Status: OK}
	now := d.Now()
	if block, _ := pem.Decode(d.ca); block != nil {
		ca, err := x509.ParseCertificate(block.Bytes)
		if err != nil || !slices.Equal(ca.Subject.Organization, []string{tlsauto.Organization}) {
			return nil // a CA of the operator
		}
		scope, _ := tlsauto.ScopeOf(ca)
		switch {
		case tlsauto.Unconstrained(ca):
			c.Status, c.Detail = Warn, d.CAPath+" has no name constraints: whoever has its key can speak for every name to the clients that trust it"
			c.Fix = "Stop the server, delete ca.pem in the folder tls of its data folder, start it, then on every client: sudo ecrin trust install"
		case ca.NotAfter.Sub(now) < caEndsSoon:
			c.Status, c.Detail = Warn, fmt.Sprintf("%s ends in %.1f days", d.CAPath, ca.NotAfter.Sub(now).Hours()/24)
			c.Fix = "Start the server again, which renews it, then on every client: sudo ecrin trust install"
		default:
			c.Detail = fmt.Sprintf("%s can speak for %s and names below these, until %s", d.CAPath, strings.Join(scope.DNS, ", "),
				ca.NotAfter.Format(time.DateOnly))
		}
	}
	if c.Status != OK {
		return []Check{c}
	}
	installed, _ := trust.List(d.Root) // what cannot be read is not used by a client of this user either
	for _, i := range installed {
		problem := ""
		if tlsauto.Unconstrained(i.CA) {
			problem = "has no name constraints: whoever has its key can speak for every name to " + string(i.Target)
		} else if i.CA.NotAfter.Sub(now) < caEndsSoon {
			problem = fmt.Sprintf("ends in %.1f days", i.CA.NotAfter.Sub(now).Hours()/24)
		}
		if problem != "" {
			c.Status, c.Detail, c.Fix = Warn, i.Path+" "+problem, "Replace it by the server's CA: sudo ecrin trust install"
			return []Check{c}
		}
	}
	if c.Detail == "" {
		return nil
	}
	return []Check{c}
}

// registryHosts returns the names under which this machine can address images of the server's registry, the
// server's own name first.
func (d *doctor) registryHosts() []string {
	hosts := []string{d.host}
	for _, n := range d.names {
		if n.registry != d.host && slices.Contains(n.here, n.registry) {
			hosts = append(hosts, n.registry)
		}
	}
	return hosts
}

// certificate checks the certificate that the server presents for one name.
func (d *doctor) certificate(ctx context.Context, host string) Check {
	c := Check{Name: "TLS " + host}
	chain, err := d.chain(ctx, host)
	if err != nil {
		c.Status, c.Detail = Fail, fmt.Sprintf("no TLS connection: %v", err)
		c.Fix = fmt.Sprintf("See the server's response: openssl s_client -connect %s -servername %s", d.dial, host)
		return c
	}
	d.shown[host] = chain
	leaf, now := chain[0], d.Now()
	systemErr := verify(chain, host, d.Roots, now)
	var caErr error = errors.New("no CA given")
	if d.pool != nil {
		caErr = verify(chain, host, d.pool, now)
	}
	switch {
	case systemErr != nil && caErr != nil:
		c.Status = Fail
		c.Detail, c.Fix = d.explain(chain, host, systemErr, caErr)
	case endsSoon(leaf, now):
		c.Status = Warn
		c.Detail = fmt.Sprintf("the certificate ends in %.1f days", leaf.NotAfter.Sub(now).Hours()/24)
		c.Fix = renew + d.show(host)
	case systemErr != nil:
		c.Status = Warn
		c.Detail = fmt.Sprintf("the certificate (until %s) is signed by the CA %s, which this system does not trust",
			leaf.NotAfter.Format(time.DateOnly), d.CAPath)
		c.Fix = "Install it for the container tools, or with --for system for every program: sudo ecrin trust install --ca " +
			quote(d.CAPath) + " " + d.withPort(host)
	default:
		c.Status, c.Detail = OK, "the certificate is trusted by this system, until "+leaf.NotAfter.Format(time.DateOnly)
	}
	return c
}

const renew = "Renew the certificate (the server reads new files without a restart) and check its dates: "

// explain returns the reason why neither the system nor the CA accepts a certificate.
func (d *doctor) explain(chain []*x509.Certificate, host string, systemErr, caErr error) (detail, fix string) {
	leaf, now := chain[0], d.Now()
	var unknown x509.UnknownAuthorityError
	switch {
	case now.After(leaf.NotAfter):
		return "the certificate has ended on " + leaf.NotAfter.Format(time.DateOnly),
			renew + d.show(host)
	case now.Before(leaf.NotBefore):
		return "the certificate is valid only from " + leaf.NotBefore.Format(time.RFC3339),
			"Set the clock of this machine: sudo timedatectl set-ntp true"
	case leaf.VerifyHostname(host) != nil:
		return fmt.Sprintf("the certificate is for other names: %v", leaf.DNSNames),
			"Use one of those names, or give the server a certificate for this one (--tls=auto: list its domain in the configuration), and check its names: " + d.show(host)
	case d.pool != nil:
		return fmt.Sprintf("the certificate is not signed by the CA %s (%v) nor by a CA of the system", d.CAPath, caErr),
			"Copy the CA anew from the server (tls/ca.pem in its data folder), then: ecrin doctor --ca ca.pem"
	case errors.As(systemErr, &unknown):
		return "the certificate is signed by a CA that this system does not know: " + leaf.Issuer.String(),
			"Copy the server's CA (tls/ca.pem in its data folder) to this machine, then: sudo ecrin trust install --ca ca.pem"
	}
	return systemErr.Error(), "See the server's certificate: " + d.show(host)
}

// show returns the command that prints a certificate.
func (d *doctor) show(host string) string {
	return fmt.Sprintf("openssl s_client -connect %s -servername %s </dev/null | openssl x509 -noout -subject -dates -ext subjectAltName", d.dial, host)
}

// chain returns the certificates that the server presents for a name.
func (d *doctor) chain(ctx context.Context, host string) ([]*x509.Certificate, error) {
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	raw, err := d.Dial(ctx, "tcp", d.dial)
	if err != nil {
		return nil, err
	}
	defer raw.Close()
	// An invalid chain is returned too: verify checks it. Nothing is sent over the connection.
	conn := tls.Client(raw, &tls.Config{ServerName: host, InsecureSkipVerify: true})
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	return conn.ConnectionState().PeerCertificates, nil
}

// trusts reports whether the certificate that the server presents for host is signed by one of roots.
func (d *doctor) trusts(roots *x509.CertPool, host string) bool {
	chain := d.shown[host]
	return roots != nil && chain != nil && verify(chain, host, roots, d.Now()) == nil
}

func verify(chain []*x509.Certificate, host string, roots *x509.CertPool, now time.Time) error {
	o := x509.VerifyOptions{DNSName: host, Roots: roots, Intermediates: x509.NewCertPool(), CurrentTime: now}
	for _, c := range chain[1:] {
		o.Intermediates.AddCert(c)
	}
	_, err := chain[0].Verify(o)
	return err
}
