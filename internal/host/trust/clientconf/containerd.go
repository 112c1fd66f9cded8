package clientconf

import (
	"fmt"
	"path/filepath"
	"slices"

	"github.com/BurntSushi/toml"
)

// registryPlugins are the plug-ins of containerd that pull images for Kubernetes, in releases 1 (config version
// 1 and 2) and 2.
var registryPlugins = []string{"cri", "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images"}

// Containerd has the settings of containerd's config.toml that concern registries.
type Containerd struct {
	ConfigPaths []string // folders that contain a folder per registry; empty if unset
	Imports     []string // further files, as patterns, relative to the file's folder unless absolute
	Mirrors     []string // registries in the old registry.mirrors table, which cannot be used together with config_path
	NoCRI       bool     // the plug-in that pulls images for Kubernetes is disabled, as in docker's containerd package
}

// ParseContainerd reads config.toml. An empty file is an empty configuration.
func ParseContainerd(content []byte) (Containerd, error) {
	var c Containerd
	root, err := parseTOML(content)
	if err != nil {
		return c, err
	}
	c.Imports = texts(root["imports"])
	c.NoCRI = slices.ContainsFunc(texts(root["disabled_plugins"]), func(s string) bool { return slices.Contains(registryPlugins, s) })
	for _, plugin := range registryPlugins {
		registry := table(table(table(root["plugins"])[plugin])["registry"])
		if path, ok := registry["config_path"].(string); ok && path != "" {
			c.ConfigPaths = append(c.ConfigPaths, filepath.SplitList(path)...)
		}
		for host := range table(registry["mirrors"]) {
			c.Mirrors = append(c.Mirrors, host)
		}
	}
	slices.Sort(c.Mirrors)
	return c, nil
}

// HostsFile is a hosts.toml: the addresses that containerd uses for one registry.
type HostsFile struct {
	Server Endpoint   // the registry itself; tried last
	Hosts  []Endpoint // tried before Server, in the file's order
}

// Endpoint is one address that containerd tries.
type Endpoint struct {
	URL          string
	CA           []string // files, relative to the folder of hosts.toml unless absolute
	SkipVerify   bool
	Capabilities []string // empty means pull, resolve and push
}

// ParseHostsFile reads a hosts.toml.
func ParseHostsFile(content []byte) (HostsFile, error) {
	var h HostsFile
	var keys toml.MetaData
	root := map[string]any{}
	keys, err := toml.Decode(string(content), &root)
	if err != nil {
		return h, fmt.Errorf("not TOML: %w", err)
	}
	server, _ := root["server"].(string)
	h.Server = endpoint(server, root)
	hosts := table(root["host"])
	for _, key := range keys.Keys() { // keys are in the file's order, unlike those of a map
		if len(key) < 2 || key[0] != "host" {
			continue
		}
		known := slices.ContainsFunc(h.Hosts, func(e Endpoint) bool { return e.URL == key[1] })
		if fields, ok := hosts[key[1]].(map[string]any); ok && !known {
			h.Hosts = append(h.Hosts, endpoint(key[1], fields))
		}
	}
	return h, nil
}

func endpoint(url string, fields map[string]any) Endpoint {
	skip, _ := fields["skip_verify"].(bool)
	return Endpoint{URL: url, CA: texts(fields["ca"]), SkipVerify: skip, Capabilities: texts(fields["capabilities"])}
}

func parseTOML(content []byte) (map[string]any, error) {
	root := map[string]any{}
	if _, err := toml.Decode(string(content), &root); err != nil {
		return nil, fmt.Errorf("not TOML: %w", err)
	}
	return root, nil
}

// table returns v if it is a table, and an empty table otherwise.
func table(v any) map[string]any {
	t, _ := v.(map[string]any)
	return t
}

// texts returns v as a list of strings: in several places, containerd accepts a string as a list of one.
func texts(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		var list []string
		for _, e := range v {
			if s, ok := e.(string); ok {
				list = append(list, s)
			}
		}
		return list
	}
	return nil
}
