package trust

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// Installed is a file in which the clients of a machine find a CA that ecrin has made.
type Installed struct {
	Target Target            `json:"target"`
	Host   string            `json:"host,omitempty"` // HOST or HOST:PORT for which the CA is trusted; "" for every name
	Path   string            `json:"path"`
	CA     *x509.Certificate `json:"-"`
}

// List returns the CAs of ecrin that the clients of the machine with the root folder root trust: those of every installation, and
// earlier certificates of a CA too. An empty root means "/". The order is that of Targets, then by path.
//
// Errors: a file or folder that cannot be read; the result has the others.
func List(root string) ([]Installed, error) {
	var all []Installed
	var errs []error
	add := func(target Target, host, path string) {
		content, err := readMaybe(path)
		if err != nil {
			errs = append(errs, err)
		}
		for _, ca := range authorities(content) {
			all = append(all, Installed{target, host, path, ca})
		}
	}
	for _, of := range []struct {
		target Target
		dir    string
	}{{Docker, "etc/docker/certs.d"}, {Containerd, "etc/containerd/certs.d"}, {Containers, "etc/containers/certs.d"}} {
		hosts, err := os.ReadDir(under(root, of.dir))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		for _, host := range hosts {
			files, err := os.ReadDir(under(root, of.dir+"/"+host.Name()))
			if err != nil && host.IsDir() {
				errs = append(errs, err)
			}
			for _, f := range files {
				if ext := filepath.Ext(f.Name()); !f.IsDir() && (ext == ".crt" || ext == ".pem") {
					add(of.target, host.Name(), under(root, of.dir+"/"+host.Name()+"/"+f.Name()))
				}
			}
		}
	}
	for _, s := range stores {
		for _, path := range []string{under(root, s.dir+"/"+s.file), under(root, s.bundle)} {
			// Two systems have the same bundle.
			if !slices.ContainsFunc(all, func(i Installed) bool { return i.Path == path }) {
				add(System, "", path)
			}
		}
	}
	return all, errors.Join(errs...)
}

// authorities returns the CAs in a PEM file that ecrin has made.
func authorities(content []byte) []*x509.Certificate {
	var all []*x509.Certificate
	for {
		var block *pem.Block
		if block, content = pem.Decode(content); block == nil {
			return all
		}
		if block.Type == "CERTIFICATE" && madeByEcrin(block.Bytes) {
			if ca, err := x509.ParseCertificate(block.Bytes); err == nil {
				all = append(all, ca)
			}
		}
	}
}
