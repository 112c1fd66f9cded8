// Package pull makes the steps of a pull of one image from this machine, one after the other, and says which is the first that fails and
// what to do about it. It works with any registry: ecrin, Amazon ECR, or another one of the OCI distribution protocol.
package pull

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// The names of steps, in their order.
const (
	Reference  = "reference"
	Mirror     = "mirror"
	Proxy      = "proxy"
	Name       = "name"
	Connection = "connection"
	TLS        = "TLS"
	Registry   = "registry"
	Credential = "credential"
	Token      = "token"
	Permission = "permission"
	Image      = "image"
	Platform   = "platform"
	Layers     = "layers"
	Node       = "node"
)

// Step is one step of a pull.
type Step struct {
	Name    string `json:"name"`
	Passed  bool   `json:"passed"`
	Found   string `json:"found,omitempty"`   // what was found: addresses, a digest, who the caller is
	Problem string `json:"problem,omitempty"` // why it fails, with the text of the other side
	Cure    string `json:"cure,omitempty"`    // what to do about it: a command where one does it
}

// Options say which image is pulled and from where.
type Options struct {
	Image        string // HOST[:PORT]/REPOSITORY[:TAG][@DIGEST]
	Platform     string // OS/ARCH[/VARIANT]; "" for the first that the image has
	DockerConfig string // folder of config.json
	CertsDir     string // folder with HOST/*.crt for further authorities, as docker has it; "" for none
	Containerd   string // folder with HOST/hosts.toml, as containerd has it; "" for none
	Pod          *Pod   // whose credentials are used, instead of DockerConfig; nil for none
	Roots        *x509.CertPool
	Lookup       func(ctx context.Context, host string) ([]netip.Addr, error)
	Dial         func(ctx context.Context, network, address string) (net.Conn, error)
	Helper       func(ctx context.Context, program, input string) (string, error) // runs a credential helper
	Proxy        func(*http.Request) (*url.URL, error)
	Explain      func(ctx context.Context, requestID string) string // what the server says about a refused request; may be nil
}

// patience is how long one step may take.
const patience = 20 * time.Second

// pulling is one pull.
type pulling struct {
	Options
	steps []Step
	ref   reference
	aws   *awsHost // nil if the host has no name of ECR
	http  *http.Client
	base  string // scheme and host

	via     reference // its host is the one that is asked: that of ref, a mirror or a server of hosts.toml
	ns      string    // the host of ref, if a mirror is asked
	plain   bool      // the address of hosts.toml is one of plain HTTP
	further [][]byte  // PEM files of hosts.toml
	proxied bool

	user, password string
	authorization  string
	found          document
	facts          Facts
	offers         []offer // of the pull secrets of the pod
}

// step is how a step is made.
type step struct {
	name string
	do   func(ctx context.Context) (found string, failed *failure)
}

// Facts are what the steps have found out about an image, as far as they came.
type Facts struct {
	Digest    string   // of what the reference names: an index or a manifest
	Platforms []string // OS/ARCH[/VARIANT]; none if the image does not state them
	Size      int64    // bytes of the configuration and the layers for the platform
}

// Explain makes the steps, up to the first one that fails, which is the last one of the result.
func Explain(ctx context.Context, o Options) []Step {
	_, steps := Inspect(ctx, o)
	return steps
}

// Inspect is Explain, and returns what was found out about the image.
func Inspect(ctx context.Context, o Options) (Facts, []Step) {
	p := &pulling{Options: o}
	p.steps = p.explain(ctx)
	return p.facts, p.steps
}

func (p *pulling) explain(ctx context.Context) []Step {
	credential, token, node := p.credential, p.token, []step(nil)
	if p.Pod != nil {
		credential, token, node = p.podCredential, p.podToken, []step{{Node, p.node}}
	}
	for _, step := range append([]step{
		{Reference, p.parse}, {Mirror, p.mirror}, {Proxy, p.proxy}, {Name, p.resolve}, {Connection, p.connect}, {TLS, p.handshake},
		{Registry, p.ping}, {Credential, credential}, {Token, token}, {Image, p.manifest}, {Platform, p.platform}, {Layers, p.layers},
	}, node...) {
		stepCtx, cancel := context.WithTimeout(ctx, patience)
		found, f := step.do(stepCtx)
		cancel()
		one := Step{Name: step.name, Passed: f == nil, Found: found}
		if f != nil {
			one.Problem, one.Cure = f.problem, f.cure
			if f.step != "" {
				one.Name = f.step
			}
		}
		p.steps = append(p.steps, one)
		if f != nil {
			return p.steps
		}
	}
	return p.steps
}

// failure is why a step fails.
type failure struct{ step, problem, cure string }

func fail(problem, cure string) *failure { return &failure{problem: problem, cure: cure} }

func (p *pulling) resolve(ctx context.Context) (string, *failure) {
	host := p.via.hostname()
	if p.proxied {
		return "the proxy looks up " + host, nil
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return a.String(), nil
	}
	addrs, err := p.Lookup(ctx, host)
	if err != nil || len(addrs) == 0 {
		cure := "let DNS or the hosts file of this machine have " + host
		if p.aws != nil {
			cure = "if it is a name of an ecrin: sudo ecrin hosts --account " + p.aws.account + " --region " + p.aws.region +
				" --address ADDRESS --write; if it is one of Amazon ECR: look at the DNS of this machine"
		}
		return "", fail("the name "+host+" has no address", cure)
	}
	var texts []string
	for _, a := range addrs {
		texts = append(texts, a.Unmap().String())
	}
	return host + " is " + strings.Join(texts, ", "), nil
}

func (p *pulling) connect(ctx context.Context) (string, *failure) {
	if p.proxied {
		return "by the proxy to " + p.via.address(), nil
	}
	conn, err := p.Dial(ctx, "tcp", p.via.address())
	if err != nil {
		return "", fail("nothing accepts connections on "+p.via.address()+": "+err.Error(),
			"start the server, or open the port for this machine; ecrin listens on the addresses of its setting listen")
	}
	_ = conn.Close() // it was only tried
	return p.via.address(), nil
}

// handshake finds out whether the registry speaks TLS, and whether its certificate is trusted. Clients speak plain HTTP with registries of
// this machine.
func (p *pulling) handshake(ctx context.Context) (string, *failure) {
	roots, extra, err := p.roots()
	if err != nil {
		return "", fail(err.Error(), "mend the file, or write it again by sudo ecrin trust install "+p.via.host)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}, DialContext: p.Dial,
		Proxy: p.Proxy, DisableKeepAlives: true}
	p.http = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if p.plain {
		p.base = "http://" + p.via.host
		return "none: hosts.toml of containerd says plain HTTP", nil
	}
	p.base = "https://" + p.via.host
	resp, err := p.get(ctx, p.base+"/v2/", "")
	if err == nil {
		_ = resp.Body.Close() // only the connection matters
		return "trusted" + extra, nil
	}
	unknown, name := certificateProblem(err)
	switch {
	case unknown != "":
		return "", fail("the certificate of "+p.via.host+" is not trusted: "+unknown,
			"if it is an ecrin with a private authority: sudo ecrin trust install --ca CA.pem "+p.via.host+
				" (the server prints the file by ecrin trust print)")
	case name != "":
		return "", fail("the certificate is not for "+p.via.host+": "+name,
			"use a name that the certificate has, or let the server have a certificate for this one: settings domains and tls_regions of ecrin")
	case strings.Contains(err.Error(), "server gave HTTP response to HTTPS client") && !p.via.local():
		return "", fail("the registry speaks HTTP without TLS, which clients accept only from this machine",
			"let the server have TLS (ecrin serve --tls auto), or permit plain HTTP: sudo ecrin trust install --plain-http "+p.via.host)
	case strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		p.base = "http://" + p.via.host
		return "none: plain HTTP with this machine", nil
	}
	return "", fail("no TLS connection: "+err.Error(), "look at what listens on "+p.via.address())
}

// ping asks whether the host is a registry.
func (p *pulling) ping(ctx context.Context) (string, *failure) {
	resp, err := p.get(ctx, p.base+"/v2/", "")
	if err != nil {
		return "", fail("GET /v2/ fails: "+err.Error(), "look at the log of the server")
	}
	_ = resp.Body.Close() // only the header matters
	switch {
	case resp.StatusCode == http.StatusOK, resp.StatusCode == http.StatusUnauthorized && resp.Header.Get("WWW-Authenticate") != "":
		return "answers " + resp.Status, nil
	case resp.StatusCode >= 500:
		return "", fail("the registry answers "+resp.Status, "the server is not ready: "+p.base+"/readyz says why, if it is an ecrin")
	}
	return "", fail(p.via.host+" does not answer as a registry: GET /v2/ gives "+resp.Status, "check the host and the port of the reference")
}
