package pull

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/host/trust/clientconf"
)

// mirror finds where containerd sends pulls of the host: to the first mirror of hosts.toml that has the image, else to the server that the
// file names, else to the host itself. Docker has mirrors for Docker Hub only. Source: containerd documentation, hosts.md.
func (p *pulling) mirror(ctx context.Context) (string, *failure) {
	p.via = p.ref
	if p.Containerd == "" {
		return "none", nil
	}
	file, content, err := p.hostsFile()
	again := "write the file anew: " + p.hostsCommand("")
	switch {
	case err != nil:
		return "", fail("the file of containerd for "+p.ref.host+" cannot be read: "+err.Error(), again)
	case file == "":
		return "none in " + p.Containerd, nil
	}
	conf, err := clientconf.ParseHostsFile(content)
	if err != nil {
		return "", fail(file+": "+err.Error(), again)
	}
	var said []string
	for _, m := range conf.Hosts {
		if len(m.Capabilities) > 0 && !slices.Contains(m.Capabilities, "pull") {
			continue
		}
		at, f := p.endpoint(file, m)
		if f != nil {
			return "", f
		}
		if at.base.Host == p.ref.host { // the registry itself, which gets the credential
			p.use(at)
			return strings.Join(append(said, p.ref.host+" itself is used"), "; ") + " (" + file + ")", nil
		}
		resp, err := at.get(ctx, p.ref.repo, p.ref.ref, p.ref.host)
		if err != nil {
			said = append(said, m.URL+" does not answer")
			continue
		}
		_ = resp.Body.Close() // the status is enough
		switch resp.StatusCode {
		case http.StatusOK:
			p.use(at)
			p.ns = p.ref.host
			return strings.Join(append(said, m.URL+" has the image, and is used"), "; ") + " (" + file + ")", nil
		case http.StatusUnauthorized, http.StatusForbidden:
			said = append(said, m.URL+" answers "+resp.Status+", for a mirror gets no credential of "+p.ref.host)
		default:
			said = append(said, m.URL+" answers "+resp.Status)
		}
	}
	if conf.Server.URL == "" || conf.Server.URL == "https://"+p.ref.host {
		if conf.Server.URL != "" {
			at, f := p.endpoint(file, conf.Server)
			if f != nil {
				return "", f
			}
			p.further = at.roots
		}
		return strings.Join(append(said, p.ref.host+" itself is used"), "; ") + " (" + file + ")", nil
	}
	at, f := p.endpoint(file, conf.Server)
	if f != nil {
		return "", f
	}
	resp, err := at.get(ctx, "", "", "")
	if err != nil {
		return "", fail(file+" sends pulls of "+p.ref.host+" to "+conf.Server.URL+", which does not answer: "+err.Error(), again)
	}
	_ = resp.Body.Close() // that it answers is enough
	p.use(at)
	return strings.Join(append(said, conf.Server.URL+" is used"), "; ") + " (" + file + ")", nil
}

// hostsCommand returns the command that writes hosts.toml of the host.
func (p *pulling) hostsCommand(more string) string {
	return "sudo ecrin credential containerd --host " + p.ref.host + more + " --write " + p.Containerd
}

// hostsFile returns the file of containerd for the host; "" if there is none.
func (p *pulling) hostsFile() (file string, content []byte, err error) {
	folders := []string{p.ref.host, "_default"}
	if host, port, err := net.SplitHostPort(p.ref.host); err == nil {
		folders = append([]string{host + "_" + port + "_"}, folders...)
	}
	for _, folder := range folders {
		file := filepath.Join(p.Containerd, folder, "hosts.toml")
		content, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		return file, content, err
	}
	return "", nil, nil
}

// place is an address that is used instead of the host.
type place struct {
	base  *url.URL
	roots [][]byte // PEM
	http  *http.Client
}

// endpoint reads an address of hosts.toml.
func (p *pulling) endpoint(file string, e clientconf.Endpoint) (place, *failure) {
	u, err := url.Parse(e.URL)
	if err == nil && u.Host == "" { // a host without a scheme
		u, err = url.Parse("https://" + e.URL)
	}
	if err != nil || u.Host == "" {
		return place{}, fail(file+" names "+quoted(e.URL)+", which is no address", "write the file anew: "+p.hostsCommand(""))
	}
	at := place{base: u}
	pool := p.Roots
	if len(e.CA) > 0 {
		if pool == nil {
			if pool, err = x509.SystemCertPool(); err != nil {
				pool = x509.NewCertPool()
			}
		}
		pool = pool.Clone()
	}
	for _, ca := range e.CA {
		if !filepath.IsAbs(ca) {
			ca = filepath.Join(filepath.Dir(file), ca)
		}
		pem, err := os.ReadFile(ca)
		if err != nil || !pool.AppendCertsFromPEM(pem) {
			return place{}, fail(file+" names the authority "+ca+", which is no file with certificates",
				"write the file anew, with the authority: "+p.hostsCommand(" --ca CA.pem"))
		}
		at.roots = append(at.roots, pem)
	}
	secure := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool, InsecureSkipVerify: e.SkipVerify} //nolint:gosec // as containerd does
	at.http = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{DialContext: p.Dial, Proxy: p.Proxy, DisableKeepAlives: true, TLSClientConfig: secure}}
	return at, nil
}

// get asks for a manifest, or with repo "" for /v2/.
func (a place) get(ctx context.Context, repo, ref, ns string) (*http.Response, error) {
	path := a.base.Scheme + "://" + a.base.Host + "/v2/"
	if repo != "" {
		path += repo + "/manifests/" + ref + "?ns=" + url.QueryEscape(ns)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", accept)
	return a.http.Do(req)
}

// use makes the next steps use an address.
func (p *pulling) use(at place) {
	p.via.host, p.further = at.base.Host, at.roots
	p.plain = at.base.Scheme == "http"
}

// proxy finds out whether a proxy of the environment applies, and whether it leads to the host.
func (p *pulling) proxy(ctx context.Context) (string, *failure) {
	if p.Proxy == nil {
		return "none", nil
	}
	scheme := "https"
	if p.plain {
		scheme = "http"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+p.via.host+"/", nil)
	if err != nil {
		return "", fail(err.Error(), "check the reference")
	}
	proxy, err := p.Proxy(req)
	if err != nil {
		return "", fail("the environment names a proxy that is none: "+err.Error(), "unset HTTPS_PROXY, or set it to http://HOST:PORT")
	}
	if proxy == nil {
		return "none", nil
	}
	past := "reach the registry without the proxy: export NO_PROXY=${NO_PROXY:+$NO_PROXY,}" + p.via.hostname() +
		" (for a daemon: systemctl edit docker or containerd, Environment=NO_PROXY=…); or mend the proxy"
	if p.plain || proxy.Scheme != "http" && proxy.Scheme != "https" { // SOCKS: the connection is tried by the next steps
		p.proxied = true
		return "by " + proxy.Redacted(), nil
	}
	status, err := p.tunnel(ctx, proxy)
	switch {
	case err != nil:
		return "", fail("the proxy "+proxy.Redacted()+", which the environment names, does not answer: "+err.Error(), past)
	case status == http.StatusProxyAuthRequired:
		return "", fail("the proxy "+proxy.Redacted()+" wants another user and password",
			past+", by HTTPS_PROXY=http://USER:PASSWORD@"+proxy.Host)
	case status != http.StatusOK:
		return "", fail("the proxy "+proxy.Redacted()+" does not connect to "+p.via.address()+": it answers "+http.StatusText(status), past)
	}
	p.proxied = true
	return "by " + proxy.Redacted() + ", which the environment names", nil
}

// tunnel asks a proxy for a connection to the host.
func (p *pulling) tunnel(ctx context.Context, proxy *url.URL) (status int, err error) {
	address := proxy.Host
	if proxy.Port() == "" {
		address = net.JoinHostPort(proxy.Hostname(), map[string]string{"http": "80", "https": "443"}[proxy.Scheme])
	}
	conn, err := p.Dial(ctx, "tcp", address)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }() // it was only tried
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline) // else a read waits for the step
	}
	if proxy.Scheme == "https" {
		secure := tls.Client(conn, &tls.Config{ServerName: proxy.Hostname(), RootCAs: p.Roots, MinVersion: tls.VersionTLS12})
		if err := secure.HandshakeContext(ctx); err != nil {
			return 0, err
		}
		conn = secure
	}
	to := p.via.address()
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: to}, Host: to, Header: http.Header{}}
	if u := proxy.User; u != nil {
		password, _ := u.Password()
		req.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(u.Username()+":"+password)))
	}
	if err := req.Write(conn); err != nil {
		return 0, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		return 0, err
	}
	_ = resp.Body.Close() // the status is enough
	return resp.StatusCode, nil
}
