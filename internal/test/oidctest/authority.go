package oidctest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"testing"
	"time"
)

// authority creates a root, an intermediate authority and a server certificate for host. It returns the server
// certificate with its key, and all three certificates, the server's first. They are valid from a day ago to a
// year from now, for tests that move the clock.
func authority(t testing.TB, host string) (tls.Certificate, []*x509.Certificate) {
	t.Helper()
	var (
		issuer    *x509.Certificate
		issuerKey *ecdsa.PrivateKey
		key       *ecdsa.PrivateKey
		chain     []*x509.Certificate
		raw       [][]byte
	)
	for n, name := range []string{"test root", "test intermediate", host} {
		var err error
		if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			t.Fatal(err)
		}
		form := &x509.Certificate{
			SerialNumber: big.NewInt(int64(n + 1)), Subject: pkix.Name{CommonName: name},
			NotBefore: time.Now().AddDate(0, 0, -1), NotAfter: time.Now().AddDate(1, 0, 0), BasicConstraintsValid: true,
		}
		if n < 2 {
			form.IsCA, form.KeyUsage = true, x509.KeyUsageCertSign
		} else {
			form.KeyUsage, form.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
			if ip := net.ParseIP(host); ip != nil {
				form.IPAddresses = []net.IP{ip}
			} else {
				form.DNSNames = []string{host}
			}
		}
		if issuer == nil {
			issuer, issuerKey = form, key
		}
		made, err := x509.CreateCertificate(rand.Reader, form, issuer, key.Public(), issuerKey)
		if err != nil {
			t.Fatal(err)
		}
		certificate, err := x509.ParseCertificate(made)
		if err != nil {
			t.Fatal(err)
		}
		chain = append([]*x509.Certificate{certificate}, chain...)
		raw = append([][]byte{made}, raw...)
		issuer, issuerKey = certificate, key
	}
	return tls.Certificate{Certificate: raw, PrivateKey: key}, chain
}

func serverTLS(c tls.Certificate) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{c}, MinVersion: tls.VersionTLS12}
}
