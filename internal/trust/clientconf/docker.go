// Package clientconf reads the configuration files of registry clients, as far as reaching one registry depends on them:
// docker's daemon and client, containerd and its host files, the AWS tools.
//
// The readers are pure and tolerant: they look at the few keys they know and skip the rest, since a file of a newer
// client must not stop a diagnosis. They keep no secret, so that a value of these types can be printed.
package clientconf

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
)

// DockerDaemon is what /etc/docker/daemon.json says about registries.
type DockerDaemon struct {
	InsecureRegistries []string `json:"insecure-registries"` // HOST, HOST:PORT or a CIDR
}

// ParseDockerDaemon reads daemon.json. An empty file is an empty configuration.
func ParseDockerDaemon(content []byte) (DockerDaemon, error) {
	var d DockerDaemon
	err := parseJSON(content, &d)
	return d, err
}

// Insecure says whether the daemon takes host over plain HTTP and with any certificate. addrs are the addresses that host
// resolves to; the daemon looks at them too, and takes loopback ones without being told.
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

// DockerClient is what ~/.docker/config.json says about credentials.
type DockerClient struct {
	Auths       map[string]struct{} `json:"auths"`       // the keys alone; the values are credentials
	CredHelpers map[string]string   `json:"credHelpers"` // registry to the helper's suffix
	CredsStore  string              `json:"credsStore"`  // the helper's suffix for all other registries
}

// ParseDockerClient reads config.json. An empty file is an empty configuration.
func ParseDockerClient(content []byte) (DockerClient, error) {
	var c DockerClient
	err := parseJSON(content, &c)
	return c, err
}

// Helper is the suffix of the credential helper that docker asks for host, and whether credHelpers names it. Without any
// helper it is empty, and docker keeps passwords in the file itself.
func (c DockerClient) Helper(host string) (suffix string, named bool) {
	if suffix, named = c.CredHelpers[host]; named {
		return suffix, true
	}
	return c.CredsStore, false
}

// HasAuth says whether `docker login` left an entry for host, under any of the keys that docker looks up.
func (c DockerClient) HasAuth(host string) bool {
	for key := range c.Auths {
		key = strings.TrimPrefix(strings.TrimPrefix(key, "https://"), "http://")
		if key, _, _ = strings.Cut(key, "/"); key == host {
			return true
		}
	}
	return false
}

func parseJSON(content []byte, into any) error {
	content = bytes.TrimPrefix(content, []byte("\ufeff")) // an editor's mark, which JSON does not have
	if len(bytes.TrimSpace(content)) == 0 {
		return nil
	}
	if err := json.Unmarshal(content, into); err != nil {
		return fmt.Errorf("not JSON as docker wants it: %w", err)
	}
	return nil
}
