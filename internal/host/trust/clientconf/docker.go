// Package clientconf reads the settings in the configuration files of registry clients that concern access to a
// registry: docker's daemon and client, containerd and its host files, the AWS tools.
//
// The parsers have no side effects and skip unknown keys, so that files of newer clients can be read too. They
// store no secret, so that values of these types can be printed.
package clientconf

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/deliver/credential"
)

// DockerDaemon has the settings of /etc/docker/daemon.json that concern registries.
type DockerDaemon struct {
	InsecureRegistries []string `json:"insecure-registries"` // HOST, HOST:PORT or a CIDR
}

// ParseDockerDaemon reads daemon.json. An empty file is an empty configuration.
func ParseDockerDaemon(content []byte) (DockerDaemon, error) {
	var d DockerDaemon
	err := parseJSON(content, &d)
	return d, err
}

// Insecure reports whether the daemon accepts host over plain HTTP and with any certificate. addrs are the
// addresses that host resolves to; the daemon checks them too, and accepts loopback addresses without a
// setting.
func (d DockerDaemon) Insecure(host string, addrs []netip.Addr) bool {
	for _, a := range addrs {
		if a.Unmap().IsLoopback() {
			return true
		}
	}
	for _, entry := range d.InsecureRegistries {
		entry = strings.TrimPrefix(strings.TrimPrefix(entry, "https://"), "http://")
		if strings.EqualFold(entry, host) {
			return true
		}
		prefix, err := netip.ParsePrefix(entry)
		if err != nil {
			continue
		}
		for _, a := range addrs {
			if prefix.Contains(a.Unmap()) {
				return true
			}
		}
	}
	return false
}

// DockerClient has the settings of ~/.docker/config.json that concern credentials.
type DockerClient struct {
	Auths       map[string]struct{} `json:"auths"`       // keys only, since the values are credentials
	CredHelpers map[string]string   `json:"credHelpers"` // registry to the suffix of its helper
	CredsStore  string              `json:"credsStore"`  // suffix of the helper for all other registries
}

// ParseDockerClient reads config.json. An empty file is an empty configuration.
func ParseDockerClient(content []byte) (DockerClient, error) {
	var c DockerClient
	err := parseJSON(content, &c)
	return c, err
}

// Helper returns the suffix of the credential helper that docker calls for host, and whether credHelpers has an
// entry for host. Without a helper, the suffix is empty, and docker stores passwords in the file itself.
func (c DockerClient) Helper(host string) (suffix string, named bool) {
	if suffix, named = c.CredHelpers[host]; named {
		return suffix, true
	}
	return c.CredsStore, false
}

// HasAuth reports whether `docker login` stored an entry for host, under any of the keys that docker looks up.
func (c DockerClient) HasAuth(host string) bool {
	for key := range c.Auths {
		if credential.DockerKeyHost(key) == host {
			return true
		}
	}
	return false
}

func parseJSON(content []byte, into any) error {
	content = bytes.TrimPrefix(content, []byte("\ufeff")) // a byte order mark, which JSON does not allow
	if len(bytes.TrimSpace(content)) == 0 {
		return nil
	}
	if err := json.Unmarshal(content, into); err != nil {
		return fmt.Errorf("not a JSON object in docker's form: %w", err)
	}
	return nil
}
