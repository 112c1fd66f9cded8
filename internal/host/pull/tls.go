package pull

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// roots returns the authorities that are trusted, with those of the folder of the host, and a text that names these.
func (p *pulling) roots() (pool *x509.CertPool, extra string, err error) {
	var files []string
	if p.CertsDir != "" {
		files, _ = filepath.Glob(filepath.Join(p.CertsDir, p.via.host, "*.crt")) // a host that is no pattern has no folder
	}
	if len(files) == 0 && len(p.further) == 0 {
		return p.Roots, "", nil
	}
	if pool = p.Roots; pool == nil {
		if pool, err = x509.SystemCertPool(); err != nil {
			pool = x509.NewCertPool()
		}
	}
	pool = pool.Clone()
	for _, pem := range p.further {
		pool.AppendCertsFromPEM(pem) // it was parsed before
		extra = ", by hosts.toml of containerd"
	}
	for _, file := range files {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, "", fmt.Errorf("the authority in %s cannot be read: %w", file, err)
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, "", fmt.Errorf("%s has no certificate", file)
		}
	}
	if len(files) > 0 {
		extra = ", by " + filepath.Join(p.CertsDir, p.via.host)
	}
	return pool, extra, nil
}

// certificateProblem returns why a certificate is refused: its authority or its time, or its names. Both are "" for other errors.
func certificateProblem(err error) (authority, names string) {
	if e, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return e.Error(), ""
	}
	if e, ok := errors.AsType[x509.HostnameError](err); ok {
		return "", e.Error()
	}
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		return e.Error(), ""
	}
	return "", ""
}
