package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"
)

// expiresSoon is what is left of a certificate when somebody should be told. Certificates that are renewed by themselves
// never get there.
const expiresSoon = 7 * 24 * time.Hour

// checkTLS looks at the certificates that the server shows for its own name and for the ECR names that lead to it.
func (d *doctor) checkTLS(ctx context.Context) []Check {
	if d.scheme == "http" {
		return []Check{{"TLS", Skip, "the server's address is http://", ""}}
	}
	if d.caErr != nil {
		return []Check{{"TLS", Fail, fmt.Sprintf("the CA %s cannot be read: %v", d.CAPath, d.caErr),
			"Copy the server's CA (tls/ca.pem in its data folder) to this machine and name it: ecrin doctor --ca ca.pem"}}
	}
	var checks []Check
	for _, host := range d.registryHosts() {
		checks = append(checks, d.certificate(ctx, host))
	}
	return checks
}

// registryHosts are the names by which images of the server's registry can be addressed from here, its own first.
func (d *doctor) registryHosts() []string {
	hosts := []string{d.host}
	for _, n := range d.names {
		if n.registry != d.host && slices.Contains(n.here, n.registry) {
			hosts = append(hosts, n.registry)
		}
	}
	return hosts
}

// certificate judges what the server shows for one name.
func (d *doctor) certificate(ctx context.Context, host string) Check {
	c := Check{Name: "TLS " + host}
	chain, err := d.chain(ctx, host)
	if err != nil {
		c.Status, c.Detail = Fail, fmt.Sprintf("no TLS connection: %v", err)
		c.Fix = fmt.Sprintf("See what the server says: openssl s_client -connect %s -servername %s", d.dial, host)
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
	case leaf.NotAfter.Sub(now) < expiresSoon:
		c.Status = Warn
		c.Detail = fmt.Sprintf("the certificate ends in %.1f days", leaf.NotAfter.Sub(now).Hours()/24)
		c.Fix = renew + d.show(host)
	case systemErr != nil:
		c.Status = Warn
		c.Detail = fmt.Sprintf("the certificate (until %s) is signed by the CA %s, which this system does not trust", leaf.NotAfter.Format(time.DateOnly), d.CAPath)
		c.Fix = "Let the container tools trust it, or with --for system every program: sudo ecrin trust install --ca " + quote(d.CAPath) + " " + d.withPort(host)
	default:
		c.Status, c.Detail = OK, "the certificate is trusted by this system, until "+leaf.NotAfter.Format(time.DateOnly)
	}
	return c
}

const renew = "Renew the certificate (the server takes new files without a restart) and see its dates: "

// explain says what is wrong with a certificate that neither the system nor the CA accepts.
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
			"Use one of those names, or give the server a certificate for this one (--tls=auto: list its domain in the configuration), and see its names: " + d.show(host)
	case d.pool != nil:
		return fmt.Sprintf("the certificate is not signed by the CA %s (%v) nor by one of the system's", d.CAPath, caErr),
			"Copy the CA anew from the server (tls/ca.pem in its data folder) and name it: ecrin doctor --ca ca.pem"
	case errors.As(systemErr, &unknown):
		return "the certificate is signed by a CA that this system does not know: " + leaf.Issuer.String(),
			"Copy the server's CA (tls/ca.pem in its data folder) to this machine, then: sudo ecrin trust install --ca ca.pem"
	}
	return systemErr.Error(), "See what the server shows: " + d.show(host)
}

// show is the command that prints a certificate.
func (d *doctor) show(host string) string {
	return fmt.Sprintf("openssl s_client -connect %s -servername %s </dev/null | openssl x509 -noout -subject -dates -ext subjectAltName", d.dial, host)
}

// chain is what the server shows for a name.
func (d *doctor) chain(ctx context.Context, host string) ([]*x509.Certificate, error) {
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	raw, err := d.Dial(ctx, "tcp", d.dial)
	if err != nil {
		return nil, err
	}
	defer raw.Close()
	// The chain is wanted even if it is bad: verify judges it. Nothing is sent over the connection.
	conn := tls.Client(raw, &tls.Config{ServerName: host, InsecureSkipVerify: true})
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	return conn.ConnectionState().PeerCertificates, nil
}

// trusts says whether the certificate that the server showed for host is signed by one of roots.
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
