// Package trust makes the clients of a machine accept a registry: it installs or removes a CA, or the permission to use
// plain HTTP, for docker, containerd, the containers tools (podman, skopeo, buildah) and the system store.
//
// Everything is first a [Plan]: a list of actions, each with the shell line that does the same. A plan can be printed,
// so that people see what would happen or do it themselves, or carried out with [Plan.Apply]. Making a plan only reads.
package trust

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Target is a family of clients that share configuration.
type Target string

// The targets. System is the store that most other programs use (curl, Go programs, git); unlike the others it is not
// limited to the named registries, which is why nobody gets it without asking.
const (
	Docker     Target = "docker"
	Containerd Target = "containerd"
	Containers Target = "containers"
	System     Target = "system"
)

// Targets are all targets in the order in which plans have them.
var Targets = []Target{Docker, Containerd, Containers, System}

// ParseTarget reads a target's name; podman, skopeo and buildah stand for Containers.
func ParseTarget(s string) (Target, error) {
	switch s {
	case "podman", "skopeo", "buildah":
		return Containers, nil
	}
	if t := Target(s); slices.Contains(Targets, t) {
		return t, nil
	}
	return "", fmt.Errorf("no clients are called %q: use docker, containerd, containers (podman, skopeo, buildah) or system", s)
}

// Detect lists the targets that the machine under root has, System excepted. root "" is "/".
func Detect(root string) []Target {
	var found []Target
	for _, c := range []struct {
		target Target
		paths  []string
	}{
		{Docker, []string{"etc/docker", "usr/bin/dockerd", "usr/local/bin/dockerd"}},
		{Containerd, []string{"etc/containerd", "usr/bin/containerd", "usr/local/bin/containerd"}},
		{Containers, []string{"etc/containers", "usr/bin/podman", "usr/bin/skopeo", "usr/bin/buildah"}},
	} {
		if slices.ContainsFunc(c.paths, func(p string) bool { return exists(under(root, p)) }) {
			found = append(found, c.target)
		}
	}
	return found
}

// Options say what to trust, and where.
type Options struct {
	Root      string   // the machine's root folder; "" is "/"
	Hosts     []string // HOST or HOST:PORT as image names have it; see ParseHost
	CAPEM     []byte   // the CA certificate; needed unless PlainHTTP. Removal without it removes only what ecrin marked
	PlainHTTP bool     // the registry has no TLS: permit that instead
	Targets   []Target
	OS        string // as runtime.GOOS has it; decides about the system store. "" is linux
}

var hostPattern = regexp.MustCompile(`^([a-z0-9_]([a-z0-9._-]*[a-z0-9_])?|\[[0-9a-f:]+\])(:[0-9]{1,5})?$`)

// ParseHost reads the address of a registry as it stands before the first slash of an image's name, in lower case:
// HOST or HOST:PORT. The result is safe as one element of a path.
func ParseHost(s string) (string, error) {
	host := strings.ToLower(s)
	if len(host) > 260 || !hostPattern.MatchString(host) || strings.Contains(host, "..") {
		return "", fmt.Errorf("a registry is HOST or HOST:PORT without a scheme or a path, got %q", s[:min(len(s), 80)])
	}
	if _, port, ok := strings.Cut(host[strings.LastIndex(host, "]")+1:], ":"); ok {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return "", fmt.Errorf("the port of a registry is 1 to 65535, got %q", host)
		}
	}
	return host, nil
}

// check gives the options in their final form.
func (o Options) check() (Options, *x509.Certificate, error) {
	if o.OS == "" {
		o.OS = "linux"
	}
	var hosts []string
	for _, h := range o.Hosts {
		host, err := ParseHost(h)
		if err != nil {
			return o, nil, err
		}
		if !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	o.Hosts = hosts
	if len(o.CAPEM) == 0 {
		return o, nil, nil
	}
	block, _ := pem.Decode(o.CAPEM)
	if block == nil || block.Type != "CERTIFICATE" {
		return o, nil, errors.New("the CA is not a certificate in PEM form")
	}
	ca, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return o, nil, fmt.Errorf("reading the CA: %w", err)
	}
	if !ca.IsCA {
		return o, nil, fmt.Errorf("the certificate %q is not a CA's", ca.Subject)
	}
	o.CAPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: block.Bytes})
	return o, ca, nil
}

// under is a path of the machine as this process reaches it.
func under(root, path string) string {
	if root == "" {
		root = "/"
	}
	return filepath.Join(root, path)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
