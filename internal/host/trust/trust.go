// Package trust configures the clients of a machine to accept a registry: it installs or removes a CA, or the
// permission to use plain HTTP, for docker, containerd, the containers tools (podman, skopeo, buildah) and the
// system store.
//
// Install and Uninstall return a [Plan], a list of actions, each with the equivalent shell command. A plan can
// be printed, so that administrators can check it or run the commands themselves, or executed with
// [Plan.Apply]. Making a plan only reads files.
package trust

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/word/lazyregexp"
)

// Target is a family of clients that share configuration.
type Target string

// The targets. System is the store that most other programs use (curl, Go programs, git). Unlike the others it
// is not limited to the named registries, and is therefore never selected by default.
const (
	Docker     Target = "docker"
	Containerd Target = "containerd"
	Containers Target = "containers"
	System     Target = "system"
)

// Targets lists all targets in the order of a plan.
var Targets = []Target{Docker, Containerd, Containers, System}

// ParseTarget reads the name of a target; podman, skopeo and buildah mean Containers.
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

// Detect returns the targets that are installed on the machine whose root folder is root, without System. An
// empty root means "/".
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

// Options select the CA, the registries and the clients.
type Options struct {
	Root      string   // the machine's root folder; "" means "/"
	Hosts     []string // HOST or HOST:PORT as in image names; see ParseHost
	CAPEM     []byte   // the CA certificate; required unless PlainHTTP. Uninstall without it removes only the CAs that ecrin created
	PlainHTTP bool     // the registry has no TLS: permit plain HTTP instead
	Targets   []Target
	OS        string // as runtime.GOOS; selects the system store. "" means linux
}

var hostPattern = lazyregexp.New(`^([a-z0-9_]([a-z0-9._-]*[a-z0-9_])?|\[[0-9a-f:]+\])(:[0-9]{1,5})?$`)

// ParseHost reads the address of a registry, in the form in which it begins an image name: HOST or HOST:PORT.
// The result is in lower case and safe as an element of a path.
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

// check returns the options with their defaults, after validating them.
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

// under returns the path of a file of the machine with the root folder root.
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
