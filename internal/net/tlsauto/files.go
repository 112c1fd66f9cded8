package tlsauto

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/durable"
)

// The names of a CA's files.
const (
	certFile = "ca.pem"
	keyFile  = "ca-key.pem"
)

// files are the files of a CA in a directory.
type files struct{ dir string }

func (f files) cert() string { return filepath.Join(f.dir, certFile) }

// open reads the CA, and creates the missing files.
//
// The key is created first, and a process that finds a key uses it; a certificate can be made from the key at
// any time. So neither a crash between the two files nor a second process leaves a certificate that does not
// match the key.
func (f files) open(scope Scope, now time.Time) (*authority, error) {
	if err := durable.MkdirAll(f.dir, 0o700); err != nil {
		return nil, err
	}
	keyPEM, err := readOrMake(filepath.Join(f.dir, keyFile), 0o600, newKey)
	if err != nil {
		return nil, err
	}
	key, err := parseKey(keyPEM)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", keyFile, err)
	}
	caPEM, err := readOrMake(f.cert(), 0o644, func() ([]byte, error) { return newCA(key, newSubject(), scope, now) })
	if err != nil {
		return nil, err
	}
	ca, err := parseCA(caPEM)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", certFile, err)
	}
	if !key.PublicKey.Equal(ca.PublicKey) {
		return nil, fmt.Errorf("%s does not belong to %s: restore the pair, or remove both files to create a new CA", keyFile, certFile)
	}
	return &authority{key: key, cert: ca, pem: caPEM}, nil
}

// renew replaces the certificate of a CA by one with the same key and subject, the constraints of scope, and a new life.
func (f files) renew(old *authority, scope Scope, now time.Time) (*authority, error) {
	caPEM, err := newCA(old.key, old.cert.Subject, scope, now)
	if err != nil {
		return nil, err
	}
	ca, err := parseCA(caPEM)
	if err != nil {
		return nil, err
	}
	if err := durable.WriteFile(f.cert(), caPEM, 0o644); err != nil {
		return nil, err
	}
	return &authority{key: old.key, cert: ca, pem: caPEM}, nil
}

// readOrMake returns the content of the file at path. If there is no file, it creates one with the result of
// create. If another process creates the file first, it returns that content.
func readOrMake(path string, mode fs.FileMode, create func() ([]byte, error)) ([]byte, error) {
	content, err := os.ReadFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return content, err
	}
	if content, err = create(); err != nil {
		return nil, err
	}
	if err := durable.CreateFile(path, content, mode); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return os.ReadFile(path)
}

func newKey() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// newSubject returns the name of a new CA. It has a random part, so that people, and programs that look up a CA by name, can
// distinguish the CAs of two installations.
func newSubject() pkix.Name {
	return pkix.Name{
		Organization: []string{Organization},
		CommonName:   "ecrin private CA " + hex.EncodeToString(serial().Bytes()[:4]),
	}
}

// newCA creates a certificate of key with name constraints. Errors: a name of the scope that is no DNS name.
func newCA(key *ecdsa.PrivateKey, subject pkix.Name, scope Scope, now time.Time) ([]byte, error) {
	template := &x509.Certificate{
		SerialNumber:                serial(),
		Subject:                     subject,
		NotBefore:                   now.Add(-backdate),
		NotAfter:                    now.Add(caLife),
		KeyUsage:                    x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		ExtKeyUsage:                 []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, // no certificates for clients, mail or code
		BasicConstraintsValid:       true,
		IsCA:                        true,
		MaxPathLenZero:              true, // it signs leaves only
		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         scope.DNS,
		PermittedIPRanges:           scope.ranges(),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	made := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if _, err := parseCA(made); err != nil { // package x509 also makes certificates with constraints that it does not read
		return nil, err
	}
	return made, nil
}

// parseKey reads a PKCS #8 key. Its errors contain no part of the key.
func parseKey(content []byte) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode(content)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, errors.New("no PEM block PRIVATE KEY")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("not a PKCS #8 private key")
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("the key is a %T, not an ECDSA key", key)
	}
	return ec, nil
}

func parseCA(content []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(content)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("no PEM block CERTIFICATE")
	}
	ca, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	if !ca.IsCA || ca.KeyUsage&x509.KeyUsageCertSign == 0 {
		return nil, errors.New("the certificate is not a CA's")
	}
	return ca, nil
}
