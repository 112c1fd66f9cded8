package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/endpoint"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// domainNames are the names of the registries in use under one domain, by what they resolve to.
type domainNames struct {
	domain, registry         string // registry is that of the doctor's account and region, and also in one of the lists below
	here, elsewhere, missing []string
}

// all reports whether every name resolves to the server.
func (n domainNames) all() bool { return len(n.here) > 0 && len(n.elsewhere)+len(n.missing) == 0 }

// Limits of the look-ups of names, and of the names in one line of output. A server may have many accounts.
const (
	maxLookups     = 16
	maxListedNames = 40
)

// checkNames checks whether the server's own name resolves, and whether the ECR names resolve to it. Only
// clients that require ECR's names need the latter, so that it is no failure, unless the server's URL has such
// a name.
func (d *doctor) checkNames(ctx context.Context) []Check {
	own, err := d.lookup(ctx, d.host)
	checks := []Check{{"name " + d.host, OK, "is " + join(own), ""}}
	if err != nil || len(own) == 0 {
		checks[0] = Check{checks[0].Name, Fail, fmt.Sprintf("does not resolve: %v", err),
			fmt.Sprintf("Add the server's address to /etc/hosts: echo 'ADDRESS %s' | sudo tee -a /etc/hosts", d.host)}
	}
	d.own = own
	domains := slices.Clone(d.Domains)
	for _, always := range []string{"amazonaws.com", "localhost"} {
		if !slices.Contains(domains, always) {
			domains = append(domains, always)
		}
	}
	for _, domain := range domains {
		d.names = append(d.names, d.resolve(ctx, domain))
	}
	for _, n := range d.names {
		checks = append(checks, d.namesCheck(n))
	}
	return checks
}

// resolve looks up the names of all registries in use under a domain.
func (d *doctor) resolve(ctx context.Context, domain string) domainNames {
	n := domainNames{domain: domain, registry: d.registryHost(domain)}
	below := domain
	if domain == "amazonaws.com" && d.Region.Partition() == name.DefaultPartition {
		below = "" // a registry in another partition has its own domain
	}
	registries := append([]name.Registry{{Account: d.Account, Region: d.Region}}, d.InUse...)
	hosts := endpoint.HostNames(registries, below, d.IAMSTS)
	found := make([][]netip.Addr, len(hosts))
	var wg sync.WaitGroup
	free := make(chan struct{}, maxLookups)
	for i, host := range hosts {
		free <- struct{}{}
		wg.Go(func() {
			found[i], _ = d.lookup(ctx, host)
			<-free
		})
	}
	wg.Wait()
	for i, host := range hosts {
		switch {
		case d.isOwn(found[i]):
			n.here = append(n.here, host)
		case len(found[i]) == 0:
			n.missing = append(n.missing, host)
		default:
			n.elsewhere = append(n.elsewhere, host)
		}
	}
	return n
}

// listed joins names for a line of output.
func listed(names []string, separator string) string {
	if len(names) <= maxListedNames {
		return strings.Join(names, separator)
	}
	return strings.Join(names[:maxListedNames], separator) + fmt.Sprintf(" and %d more", len(names)-maxListedNames)
}

// leadsHere reports whether a name resolves to the server, and clients reach it there without a port.
func (d *doctor) leadsHere(ctx context.Context, host string) bool {
	addrs, _ := d.lookup(ctx, host)
	return d.isOwn(addrs) && d.scheme == "https" && d.port == "443"
}

// isOwn reports whether one of the addresses is the server's.
func (d *doctor) isOwn(addrs []netip.Addr) bool {
	return slices.ContainsFunc(addrs, func(a netip.Addr) bool { return slices.Contains(d.own, a) })
}

func (d *doctor) namesCheck(n domainNames) Check {
	c := Check{Name: "ECR names under " + n.domain, Status: OK, Detail: "all lead to the server"}
	if n.all() {
		return c
	}
	var parts []string
	if len(n.elsewhere) > 0 {
		parts = append(parts, "lead to another server (Amazon's?): "+listed(n.elsewhere, ", "))
	}
	if len(n.missing) > 0 {
		parts = append(parts, "do not resolve: "+listed(n.missing, ", "))
	}
	c.Status, c.Detail = Warn, strings.Join(parts, "; ")
	switch {
	case strings.HasSuffix(d.host, "."+n.domain):
		c.Status = Fail
	case len(n.here) == 0 && !slices.Contains(d.Domains, n.domain):
		c.Status = Skip // a domain that every server has, but that is not configured here
	}
	address := "ADDRESS"
	if len(d.own) > 0 {
		address = d.own[0].String()
	}
	names := slices.Concat(n.elsewhere, n.missing)
	write := "sudo ecrin hosts --write"
	if d.IAMSTS {
		write += " --with-iam-sts"
	}
	c.Fix = "For clients that require these names (docker-credential-ecr-login, older SDKs) point them here: " + write
	if len(names) <= maxListedNames {
		c.Fix += fmt.Sprintf(", or by hand: echo '%s %s' | sudo tee -a /etc/hosts", address, strings.Join(names, " "))
	}
	return c
}

func (d *doctor) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr.Unmap()}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	addrs, err := d.Lookup(ctx, host)
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	return addrs, err
}

func join(addrs []netip.Addr) string {
	var s []string
	for _, a := range addrs {
		s = append(s, a.String())
	}
	return strings.Join(s, ", ")
}

func (d *doctor) checkPort(ctx context.Context) []Check {
	conn, err := d.connect(ctx)
	if err != nil {
		return []Check{{"port", Fail, fmt.Sprintf("no connection to %s: %v", d.dial, err),
			"Start the server (ecrin serve), or open the port in the firewall, then try: nc -vz " + d.host + " " + d.port}}
	}
	conn.Close()
	return []Check{{"port", OK, d.dial + " accepts connections", ""}}
}

func (d *doctor) connect(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	return d.Dial(ctx, "tcp", d.dial)
}

// Differences between the clocks. SigV4 permits 15 minutes in either direction.
const (
	skewWarn = time.Minute
	skewFail = 5 * time.Minute
)

// checkReady requests the server's readiness and compares its clock.
func (d *doctor) checkReady(ctx context.Context) []Check {
	skipped := Check{"clock", Skip, "the server did not answer", ""}
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	// Any certificate is accepted, since it is checked separately, and since no secret is sent here.
	transport := &http.Transport{DialContext: d.Dial, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	url := d.scheme + "://" + d.dial + "/readyz"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return []Check{{"ready", Fail, err.Error(), "Give the server's address as http://HOST:PORT or https://HOST:PORT."}, skipped}
	}
	sent := d.Now()
	res, err := transport.RoundTrip(req)
	if err != nil {
		fix := "Read the server's log, then repeat the request: curl -k " + url
		var record tls.RecordHeaderError
		if errors.As(err, &record) || strings.Contains(err.Error(), "HTTP response to HTTPS client") {
			fix = "Use http:// in the server's address, or start the server with TLS: ecrin serve --tls=auto"
		}
		return []Check{{"ready", Fail, fmt.Sprintf("no answer from %s: %v", url, err), fix}, skipped}
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(res.Body, 300))
	ready := Check{"ready", OK, "the server is ready", ""}
	if res.StatusCode != http.StatusOK {
		detail := fmt.Sprintf("%s answers %d: %s", url, res.StatusCode, strings.Join(strings.Fields(string(body)), " "))
		ready = Check{"ready", Fail, detail, "Wait until the server has started and read its log; then repeat the request: curl -k " + url}
		if res.StatusCode == http.StatusNotFound || d.scheme == "http" && res.StatusCode == http.StatusBadRequest {
			ready.Fix = "Check that this is the address of ecrin, with the right scheme, and not of another program: curl -ki " + url
		}
	}
	return []Check{ready, d.clock(res.Header.Get("Date"), sent)}
}

// clock compares the Date header of a response with the local time. The header has whole seconds, so that a
// difference of one second is ignored.
func (d *doctor) clock(date string, sent time.Time) Check {
	theirs, err := http.ParseTime(date)
	if err != nil {
		return Check{"clock", Skip, "the server's response has no date", ""}
	}
	skew := theirs.Sub(sent).Round(time.Second)
	side := "ahead of"
	if skew < 0 {
		skew, side = -skew, "behind"
	}
	c := Check{"clock", OK, fmt.Sprintf("the server's clock is %v %s this machine's", skew, side), ""}
	if skew <= skewWarn {
		if skew <= time.Second {
			c.Detail = "the server's clock and this machine's agree"
		}
		return c
	}
	c.Status = Warn
	if skew > skewFail {
		c.Status = Fail
	}
	c.Detail += "; signed requests are refused from 15 minutes on"
	c.Fix = "Set the clock of the machine whose time is wrong: sudo timedatectl set-ntp true"
	return c
}
