// Package endpoint determines the registry or API that the host and path of a request name, and makes the host names
// and URIs of answers. It is pure.
package endpoint

import (
	"net"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Kind is what a host name stands for.
type Kind uint8

// The kinds of hosts.
const (
	Any      Kind = iota // all APIs and all registries: localhost, an IP address, any other name
	Registry             // one registry, for clients such as docker
	ECR                  // the ECR API of a region
	STS                  // the STS API, of a region or global
	IAM                  // the IAM API
)

// Host is a parsed Host header.
type Host struct {
	Kind     Kind
	Registry name.Registry // for Kind Registry: account and region; for ECR and STS: the region, if the name has one
	text     string        // as sent, lower case
	domain   string        // the domain of a Map that the name ends with, "" if there is none
	port     string        // with its colon, or ""
}

// Map holds the domains of an installation and its default registry.
type Map struct {
	domains []string
	def     name.Registry
}

// builtin are the domains that are always served: the domains of AWS, which some clients require, and localhost.
var builtin = []string{"amazonaws.com", "amazonaws.com.cn", "amazonaws.eu", "on.aws", "api.aws", "on.amazonwebservices.com.cn",
	"api.amazonwebservices.com.cn", "api.amazonwebservices.eu", "localhost"}

// NewMap returns a Map with the extra domains (such as "ecr.example.com", without a leading dot), the built-in domains
// and a default registry.
func NewMap(extra []string, def name.Registry) *Map {
	m := &Map{def: def}
	for _, d := range append(extra[:len(extra):len(extra)], builtin...) {
		m.domains = append(m.domains, strings.ToLower(strings.Trim(d, ".")))
	}
	return m
}

// Default returns the default registry: that of hosts of Kind Any when the path names no registry.
func (m *Map) Default() name.Registry { return m.def }

// Domains returns the domains, the configured ones first.
func (m *Map) Domains() []string { return m.domains }

// Own reports whether HOST or HOST:PORT is a name that only this installation has: a configured domain, or a name of a registry or API
// below one. The names of AWS and of localhost are not: others have them too.
func (m *Map) Own(hostport string) bool {
	host := strings.ToLower(hostport)
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(host, ".")
	for _, domain := range m.domains[:len(m.domains)-len(builtin)] {
		if slices.Contains(builtin, domain) {
			continue
		}
		if host == domain {
			return true
		}
		if strings.HasSuffix(host, "."+domain) {
			h, err := m.Parse(host)
			return err == nil && h.Kind != Any
		}
	}
	return false
}

// Parse reads a Host header. A name that has none of the known forms is of Kind Any. A name that resembles the name of
// a registry or API, but has a part that is not valid, is an error.
//
// Errors: fault.RegistryUnresolved.
func (m *Map) Parse(hostport string) (Host, error) {
	text := strings.ToLower(hostport)
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		host, port = strings.TrimSuffix(text, ":"), ""
	} else if port != "" {
		port = ":" + port
	}
	h := Host{text: text, port: port}
	for _, domain := range m.domains {
		front, ok := strings.CutSuffix(host, "."+domain)
		if !ok {
			continue
		}
		h.domain = domain
		return m.named(h, strings.Split(front, "."), hostport)
	}
	return h, nil
}

// named returns h with the kind and registry of the labels before the domain. Source: ECR user guide, endpoints; ECR
// service model, endpoint rules.
func (m *Map) named(h Host, labels []string, hostport string) (Host, error) {
	unresolved := fault.RegistryUnresolved.New("Could not resolve registry id from host %s", name.Clip(hostport))
	n := len(labels)
	region := func(s string) bool {
		r, err := name.ParseRegion(s)
		h.Registry.Region = r
		return err == nil
	}
	service := strings.TrimSuffix(labels[0], "-fips")
	switch {
	case n == 4 && labels[1] == "dkr" && (labels[2] == "ecr" || labels[2] == "ecr-fips"),
		n == 3 && (labels[1] == "dkr-ecr" || labels[1] == "dkr-ecr-fips"):
		account, err := name.ParseAccount(labels[0])
		if err != nil || !region(labels[n-1]) {
			return Host{}, unresolved
		}
		h.Kind, h.Registry.Account = Registry, account
	case n == 3 && labels[0] == "api" && (labels[1] == "ecr" || labels[1] == "ecr-fips"), n == 2 && service == "ecr":
		if !region(labels[n-1]) {
			return Host{}, unresolved
		}
		h.Kind = ECR
	case n == 1 && service == "sts", n == 2 && service == "sts" && region(labels[1]):
		h.Kind = STS
	case n == 1 && service == "iam", n == 2 && service == "iam" && region(labels[1]):
		h.Kind = IAM
		h.Registry.Region = name.Region{}
	case strings.Contains(strings.Join(labels, "."), "dkr"):
		return Host{}, unresolved
	}
	return h, nil
}

// Resolve returns the registry and repository that a path of the registry protocol names. On the host of a registry the
// whole path is the repository. On other hosts ACCOUNT/REGION/NAME names a repository of that registry, and every other
// path names a repository of the default registry.
//
// Errors: fault.RegistryUnresolved, fault.NameInvalid.
func (m *Map) Resolve(h Host, path string) (name.Registry, name.Repo, error) {
	reg := h.Registry
	if h.Kind != Registry {
		var err error
		if reg, path, err = name.CutRegistry(path); err != nil {
			return name.Registry{}, name.Repo{}, err
		}
		if reg == (name.Registry{}) {
			reg = m.def
		}
	}
	repo, err := name.ParseRepo(path)
	return reg, repo, err
}

// Base returns the registry of a request without a repository: /v2/ and /v2/_catalog.
func (m *Map) Base(h Host) name.Registry {
	if h.Kind == Registry {
		return h.Registry
	}
	return m.def
}

// URI returns the repositoryUri for a client that used the host h, so that the client can push to it.
func (m *Map) URI(h Host, r name.Registry, repo name.Repo) string {
	if h.Kind == Any {
		if r == m.def {
			return h.text + "/" + repo.String()
		}
		return h.text + "/" + r.String() + "/" + repo.String()
	}
	return m.RegistryHost(h, r) + "/" + repo.String()
}

// RegistryHost returns the host name of a registry in ECR's form, in the domain that the client used. A domain that AWS
// uses for APIs only is replaced by the registry domain of its partition. Where the host has no domain, amazonaws.com
// or amazonaws.com.cn is used, by the partition of the registry, because the AWS credential helpers accept no other
// domains.
func (m *Map) RegistryHost(h Host, r name.Registry) string {
	domain, port := h.domain, h.port
	switch domain {
	case "", "on.aws", "api.aws":
		domain = "amazonaws.com"
	case "on.amazonwebservices.com.cn", "api.amazonwebservices.com.cn":
		domain = "amazonaws.com.cn"
	case "api.amazonwebservices.eu":
		domain = "amazonaws.eu"
	}
	if h.Kind == Any {
		port = ""
		if r.Region.Partition() == "aws-cn" && h.domain == "" {
			domain = "amazonaws.com.cn"
		}
	}
	return RegistryName(r, domain) + port
}

// ProxyEndpoint returns the address at which a client that used the host h logs in to a registry, as a URL. It has the host
// of URI, so that a client that logs in there can push to that repositoryUri. Programs with the AWS SDK for Go get the result
// of RegistryHost: one of them is the credential helper of AWS, which accepts only host names in ECR's form, and whose
// User-Agent does not have its own name, because Go's net/http sends only the first value of that header. secure is whether
// the client used TLS.
//
// Source: amazon-ecr-credential-helper, ecr-login/api/client.go and factory.go.
func (m *Map) ProxyEndpoint(h Host, r name.Registry, secure bool, userAgent string) string {
	helper := strings.Contains(userAgent, "aws-sdk-go") || strings.Contains(userAgent, "amazon-ecr-credential-helper")
	if h.Kind != Any || h.text == "" || helper {
		return "https://" + m.RegistryHost(h, r)
	}
	if secure {
		return "https://" + h.text
	}
	return "http://" + h.text
}

// RegistryName returns the host name of a registry below a domain, as AWS makes it.
func RegistryName(r name.Registry, domain string) string {
	return r.Account.String() + ".dkr.ecr." + r.Region.String() + "." + domain
}

// String returns the host as the client sent it, in lower case.
func (h Host) String() string { return h.text }
