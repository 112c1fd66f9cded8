package credential

import (
	"bytes"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// HostFile describes how a container runtime reaches a registry.
type HostFile struct {
	Host    string   // HOST or HOST:PORT, as in names of images
	Server  string   // URL of the registry; "" means https://HOST
	Mirrors []string // URLs that are tried before; a mirror is asked with ?ns=HOST
	CA      string   // path of the certificate authority; "" for those of the system
	Push    bool     // mirrors are pushed to as well
}

// Check returns an error if a URL is none of the form http(s)://HOST[:PORT][/PATH].
func (h HostFile) Check() error {
	for _, text := range append([]string{h.server()}, h.Mirrors...) {
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			return fmt.Errorf("got %q, want the URL https://HOST or https://HOST:PORT", oneLine(text))
		}
		if _, err := ParseHost(u.Host); err != nil {
			return err
		}
	}
	if strings.ContainsFunc(h.CA, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return fmt.Errorf("the path of the certificate authority %q has control characters", h.CA)
	}
	return nil
}

func (h HostFile) server() string {
	if h.Server == "" {
		return "https://" + h.Host
	}
	return h.Server
}

// Containerd returns hosts.toml of containerd, for the folder that is named after the host. Credentials do not belong there: containerd
// gets those for the host of the image from its client.
//
// Errors: those of Check.
func (h HostFile) Containerd() ([]byte, error) {
	if err := h.Check(); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "server = %s\n", strconv.Quote(h.server()))
	one := func(address string, capabilities ...string) {
		fmt.Fprintf(&b, "\n[host.%s]\n  capabilities = [\"%s\"]\n", strconv.Quote(address), strings.Join(capabilities, `", "`))
		if u, _ := url.Parse(address); h.CA != "" && u.Scheme == "https" { // Check has parsed it
			fmt.Fprintf(&b, "  ca = %s\n", strconv.Quote(h.CA))
		}
	}
	for _, mirror := range h.Mirrors {
		if h.Push {
			one(mirror, "pull", "resolve", "push")
		} else {
			one(mirror, "pull", "resolve")
		}
	}
	one(h.server(), "pull", "resolve", "push")
	return b.Bytes(), nil
}

// k3sRegistries is the file registries.yaml of k3s and RKE2.
// Source: k3s documentation, private registry configuration.
type k3sRegistries struct {
	Mirrors map[string]k3sMirror `yaml:"mirrors,omitempty"`
	Configs map[string]k3sConfig `yaml:"configs,omitempty"`
}

type k3sMirror struct {
	Endpoint []string `yaml:"endpoint"`
}

type k3sConfig struct {
	TLS k3sTLS `yaml:"tls"`
}

type k3sTLS struct {
	CAFile string `yaml:"ca_file"`
}

// K3s returns registries.yaml of k3s and RKE2 for some registries. It has no credentials, because k3s reads it when it starts, and tokens
// end 12 hours after that: the kubelet gets them by its credential provider.
//
// Errors: those of Check.
func K3s(all []HostFile) ([]byte, error) {
	r := k3sRegistries{Mirrors: map[string]k3sMirror{}, Configs: map[string]k3sConfig{}}
	for _, h := range all {
		if err := h.Check(); err != nil {
			return nil, err
		}
		r.Mirrors[h.Host] = k3sMirror{append(h.Mirrors[:len(h.Mirrors):len(h.Mirrors)], h.server())}
		for _, address := range r.Mirrors[h.Host].Endpoint {
			u, _ := url.Parse(address) // Check has parsed it
			if h.CA != "" && u.Scheme == "https" {
				r.Configs[u.Host] = k3sConfig{k3sTLS{h.CA}}
			}
		}
	}
	return yaml.Marshal(r)
}
