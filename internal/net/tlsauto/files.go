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
)

// The names of a CA's files.
const (
	certFile = "ca.pem"
	keyFile  = "ca-key.pem"
)

// openCA reads the CA in dir, and creates the missing files.
//
// The key is created first, and a process that finds a key uses it; a certificate can be made from the key at
// any time. So neither a crash between the two files nor a second process leaves a certificate that does not
// match the key.
func openCA(dir string, now time.Time) (*ecdsa.PrivateKey, *x509.Certificate, []byte, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, nil, err
	}
	keyPEM, err := readOrMake(filepath.Join(dir, keyFile), 0o600, newKey)
	if err != nil {
		return nil, nil, nil, err
	}
	key, err := parseKey(keyPEM)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("reading %s: %w", keyFile, err)
	}
	caPEM, err := readOrMake(filepath.Join(dir, certFile), 0o644, func() ([]byte, error) { return newCA(key, now) })
	if err != nil {
		return nil, nil, nil, err
	}
	ca, err := parseCA(caPEM)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("reading %s: %w", certFile, err)
	}
	switch {
	case !key.PublicKey.Equal(ca.PublicKey):
		return nil, nil, nil, fmt.Errorf("%s does not belong to %s: restore the pair, or remove both files to create a new CA", keyFile, certFile)
	case now.After(ca.NotAfter):
		return nil, nil, nil, fmt.Errorf("%s has ended on %s: remove it to create a new one, and install that on the clients",
			certFile, ca.NotAfter.Format(time.DateOnly))
	}
	return key, ca, caPEM, nil
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
	if err := publish(path, content, mode); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return os.ReadFile(path)
}

// publish creates the file at path with the whole content, durably: temporary file, fsync, link, fsync of the
// folder. Unlike rename, link returns fs.ErrExist if the file exists.
func publish(path string, content []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if _, err := f.Write(content); err != nil {
		return err
	}
	if err := f.Chmod(mode); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
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

// newCA creates the certificate of key. Its name has a random part, so that people, and programs that look up a
// CA by name, can distinguish the CAs of two installations.
func newCA(key *ecdsa.PrivateKey, now time.Time) ([]byte, error) {
	number := serial()
	template := &x509.Certificate{
		SerialNumber: number,
		Subject: pkix.Name{
			Organization: []string{Organization},
			CommonName:   "ecrin private CA " + hex.EncodeToString(number.Bytes()[:4]),
		},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(caLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true, // it signs leaves only
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
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
