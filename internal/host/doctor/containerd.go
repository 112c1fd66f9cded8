package doctor

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/host/trust/clientconf"
)

const certsDir = "/etc/containerd/certs.d"

// checkContainerd checks the settings of containerd for Kubernetes and for tools that read its host files.
func (d *doctor) checkContainerd(context.Context) []Check {
	file := filepath.Join(d.Root, "etc/containerd/config.toml")
	content, err := readMaybe(file)
	switch {
	case err != nil:
		return []Check{{"containerd", Skip, err.Error(), ""}}
	case content == nil && d.find("containerd") == "":
		return []Check{{"containerd", Skip, "containerd is not installed", ""}}
	}
	conf, err := d.containerdConfig(file, content)
	if err != nil {
		return []Check{{"containerd config", Fail, err.Error(), "Correct the file; this shows the error: containerd --config " +
			quote(file) + " config dump"}}
	}
	if conf.NoCRI {
		return []Check{{"containerd", Skip, "its Kubernetes plug-in is disabled in " + file, ""}}
	}
	var checks []Check
	needed := false
	for _, host := range d.registryHosts() {
		c, byItself := d.containerdHost(host, conf)
		checks = append(checks, c)
		needed = needed || !byItself
	}
	c := Check{"containerd config", OK, "reads " + strings.Join(conf.ConfigPaths, ", "), ""}
	switch {
	case len(conf.ConfigPaths) > 0:
	case !needed:
		c.Detail = "needs no host files for this server"
	default:
		c.Status, c.Detail = Warn, file+" sets no config_path, so that Kubernetes pulls do not see the host files"
		c.Fix = "Set config_path = \"" + certsDir + "\" in the registry table of the CRI plug-in, then: sudo systemctl restart containerd"
		if len(conf.Mirrors) > 0 {
			c.Fix = "Move the registry.mirrors table (" + strings.Join(conf.Mirrors, ", ") +
				") to host files, then set config_path = \"" + certsDir + "\" and: sudo systemctl restart containerd"
		}
	}
	return append([]Check{c}, checks...)
}

// containerdConfig reads config.toml and its imports, which are not followed further.
func (d *doctor) containerdConfig(file string, content []byte) (clientconf.Containerd, error) {
	conf, err := clientconf.ParseContainerd(content)
	if err != nil {
		return conf, fmt.Errorf("%s: %w", file, err)
	}
	for _, pattern := range conf.Imports {
		path := filepath.Join(filepath.Dir(file), pattern)
		if filepath.IsAbs(pattern) {
			path = filepath.Join(d.Root, pattern)
		}
		found, _ := filepath.Glob(path)
		for _, path := range found {
			content, err := os.ReadFile(path)
			if err != nil {
				continue
			}
			more, err := clientconf.ParseContainerd(content)
			if err != nil {
				return conf, fmt.Errorf("%s: %w", path, err)
			}
			conf.ConfigPaths = append(conf.ConfigPaths, more.ConfigPaths...)
			conf.Mirrors = append(conf.Mirrors, more.Mirrors...)
			conf.NoCRI = conf.NoCRI || more.NoCRI
		}
	}
	return conf, nil
}

// containerdHost checks the host files for one name. byItself reports whether containerd needs no host files
// for the server.
func (d *doctor) containerdHost(host string, conf clientconf.Containerd) (c Check, byItself bool) {
	image := d.withPort(host)
	c = Check{Name: "containerd for " + image, Status: OK}
	addr, err := netip.ParseAddr(host)
	switch {
	case host == "localhost" || err == nil && addr.IsLoopback():
		c.Detail = "needs no host files for loopback addresses"
		return c, true
	case d.trusts(d.Roots, host):
		c.Detail = "the system trusts its certificate"
		return c, true
	case d.scheme == "https" && d.shown[host] == nil:
		c.Status, c.Detail = Skip, "the server presented no certificate"
		return c, true
	}
	paths := conf.ConfigPaths
	if len(paths) == 0 {
		paths = []string{certsDir}
	}
	var why []string
	for _, path := range paths {
		for _, name := range []string{strings.Replace(image, ":", "_", 1) + "_", image, "_default"} {
			dir := filepath.Join(d.Root, path, name)
			if info, err := os.Stat(dir); err != nil || !info.IsDir() || !strings.Contains(image, ":") && strings.HasSuffix(name, "_") {
				continue
			}
			problem := d.hostFiles(dir, host)
			if problem == "" {
				c.Detail = "uses " + dir
				return c, false
			}
			why = append(why, problem)
		}
	}
	if c.Status, c.Detail = Fail, strings.Join(why, "; "); len(why) == 0 {
		c.Detail = "there is no folder for it in " + strings.Join(paths, ", ")
	}
	if d.scheme == "http" {
		c.Fix = "Let containerd use plain HTTP with it: sudo ecrin trust install --plain-http --for containerd " + image
	} else {
		c.Fix = d.installFor("containerd", image)
	}
	return c, false
}

// hostFiles returns the reason why the folder of a registry does not work; "" if it works.
func (d *doctor) hostFiles(dir, host string) (problem string) {
	file := filepath.Join(dir, "hosts.toml")
	content, err := readMaybe(file)
	if err != nil {
		return err.Error()
	}
	if content == nil { // as in docker: any CA in the folder
		if crts := matches(dir, "*.crt"); d.scheme == "http" || !d.trusts(poolOf(crts), host) {
			return dir + " has no hosts.toml, and no CA that signs the certificate"
		}
		return ""
	}
	hosts, err := clientconf.ParseHostsFile(content)
	if err != nil {
		return fmt.Sprintf("%s: %v", file, err)
	}
	for _, e := range append(hosts.Hosts, hosts.Server) {
		scheme, rest, ok := strings.Cut(e.URL, "://")
		if !ok {
			scheme, rest = "https", e.URL
		}
		if rest, _, _ = strings.Cut(rest, "/"); scheme != d.scheme || rest != d.withPort(host) && rest != d.dial && rest != d.addr {
			continue
		}
		if len(e.Capabilities) > 0 && (!slices.Contains(e.Capabilities, "pull") || !slices.Contains(e.Capabilities, "resolve")) {
			return file + " does not have the capabilities pull and resolve"
		}
		if scheme == "http" || e.SkipVerify {
			return ""
		}
		var cas []string
		for _, ca := range e.CA {
			if path := filepath.Join(dir, ca); !filepath.IsAbs(ca) {
				cas = append(cas, path)
				continue
			}
			cas = append(cas, filepath.Join(d.Root, ca))
		}
		if d.trusts(poolOf(cas), host) {
			return ""
		}
		return file + " names no CA that signs the certificate"
	}
	return file + " does not name " + d.scheme + "://" + d.withPort(host)
}
