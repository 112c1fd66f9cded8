package rewrite

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// MirrorsDir is the folder of Mirrors.
const MirrorsDir = "mirrors"

// Mirrors returns settings of nodes with which images keep their names: the container runtime asks the proxy for the images of a registry
// before it asks that registry. hosts are the registries of private images, as they are in names. They are hosts.toml of containerd, for
// its folder of hosts, and registries.yaml of k3s and RKE2. Both have the password of auth.
//
// Source: containerd documentation, registry host configuration; k3s documentation, private registry configuration.
func (p Proxy) Mirrors(hosts []string, auth Auth) []File {
	type k3sMirror struct {
		Endpoint []string          `yaml:"endpoint"`
		Rewrite  map[string]string `yaml:"rewrite"`
	}
	k3s := struct {
		Mirrors map[string]k3sMirror `yaml:"mirrors"`
		Configs map[string]any       `yaml:"configs"`
	}{map[string]k3sMirror{}, map[string]any{
		p.Host: map[string]any{"auth": map[string]string{"username": auth.Username, "password": auth.Password}}}}
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte(auth.Username+":"+auth.Password))
	var files []File
	for _, host := range hosts {
		prefix := strings.TrimPrefix(p.at(host+"/x"), p.Host+"/")
		prefix = strings.TrimSuffix(prefix, "/x")
		server := host
		if host == Hub {
			server = "registry-1." + Hub
		}
		at := strconv.Quote("https://" + p.Host + "/v2/" + prefix)
		files = append(files, File{MirrorsDir + "/containerd/" + folder(host) + "/hosts.toml", fmt.Appendf(nil, `server = %s

[host.%s]
  capabilities = ["pull", "resolve"]
  override_path = true
  [host.%s.header]
    authorization = %s
`, strconv.Quote("https://"+server), at, at, strconv.Quote(basic))})
		k3s.Mirrors[host] = k3sMirror{[]string{"https://" + p.Host}, map[string]string{"^(.*)$": prefix + "/$1"}}
	}
	return append(files, File{MirrorsDir + "/k3s/registries.yaml", documents([]any{k3s})})
}

// folder returns the name that the folder of a host has for containerd: the colon before a port may be written as it is, or so that every
// system has such a folder.
func folder(host string) string {
	if name, port, ok := strings.Cut(host, ":"); ok {
		return name + "_" + port + "_"
	}
	return host
}

// MirrorHosts returns the registries of the images that are private, sorted, without the proxy and those that can have no name there.
func (p Proxy) MirrorHosts(images []Image, private func(Reference) bool) []string {
	all := map[string]bool{}
	for _, i := range images {
		if host := i.Registry(); host != p.Host && host != p.Vendor && p.Has(i.Reference) && private(i.Reference) {
			all[host] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}
