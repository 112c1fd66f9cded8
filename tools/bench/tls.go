package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// certificate is one for 127.0.0.1 and localhost, which ecrin and nginx serve alike, so that both do the same cryptography.
type certificate struct {
	cert, key string      // paths of PEM files
	client    *tls.Config // trusts it
}

// makeCertificate writes a new certificate with a key on P-256, as Let's Encrypt and ecrin's own CA issue them.
func makeCertificate(dir string) (*certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench"}, IsCA: true,
		BasicConstraintsValid: true,
		NotBefore:             time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		DNSNames:    []string{"localhost"},
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	c := &certificate{cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem")}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, errors.New("the new certificate cannot be read")
	}
	c.client = &tls.Config{RootCAs: pool, ServerName: "127.0.0.1"}
	return c, errors.Join(os.WriteFile(c.cert, text, 0o600),
		os.WriteFile(c.key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600))
}

// pair returns the certificate of all servers with TLS, which it makes once.
func (b *bench) pair() (*certificate, error) {
	if b.certificate != nil {
		return b.certificate, nil
	}
	c, err := makeCertificate(b.dir)
	b.certificate = c
	return c, err
}

// openSecure starts ecrin and nginx with TLS, unless they are running, and stores the content of the rows.
func (b *bench) openSecure(ctx context.Context) error {
	if b.secure.process != nil {
		return nil
	}
	c, err := b.pair()
	if err != nil {
		return err
	}
	data := filepath.Join(b.dir, "secure-data")
	p, err := b.startEcrinWith(ctx, data, "", c)
	if err != nil {
		return err
	}
	*b.secure = door{process: p}
	root, err := b.readAccount(ctx, data)
	if err != nil {
		return err
	}
	if err := b.secure.login(ctx, root); err != nil {
		return err
	}
	if err := b.secure.api(ctx, root, "CreateRepository", map[string]string{"repositoryName": few}, &struct{}{}); err != nil {
		return err
	}
	if err := b.content(b.secure); err != nil {
		return err
	}
	address, err := freeAddress()
	if err != nil {
		return err
	}
	dir := filepath.Join(b.dir, "secure-nginx")
	if err := b.writeStatic(dir); err != nil {
		return err
	}
	text := fmt.Sprintf("%s ssl; ssl_certificate %s; ssl_certificate_key %s", address, c.cert, c.key)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, nginxConfig, dir, text), 0o600); err != nil {
		return err
	}
	cmd := exec.Command(nginxPath(), "-e", "stderr", "-p", dir, "-c", file)
	p, err = startSecure(ctx, dir, nginx, address, "/", c.client, cmd)
	b.secureStatic.process = p
	return err
}

// Names of static files that nginx serves.
const (
	manifestFile = "/manifest.json"
	bigFile      = "/blob"
	mediumFile   = "/medium"
)

// writeStatic writes the files of a static server to dir/static.
func (b *bench) writeStatic(dir string) error {
	dir = filepath.Join(dir, "static")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, body := range map[string][]byte{
		"index.html": []byte("ready\n"), manifestFile: imageManifest(0), bigFile: b.big, mediumFile: b.medium,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), body, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// staticRows compare ecrin with a static file server: manifests, and blobs of two sizes, with and without TLS.
func (b *bench) staticRows() (rows []row) {
	for _, mode := range []struct {
		name          string
		ecrin, static *door
		prepare       func(context.Context) error
	}{{"", b.ecrin, b.static, nil}, {" over TLS", b.secure, b.secureStatic, b.openSecure}} {
		if mode.prepare != nil && nginxPath() == "" {
			continue
		}
		rows = append(rows, row{name: fmt.Sprintf("manifest GET by tag%s and static file, %d connections", mode.name, connections), unit: "req/s",
			prepare: mode.prepare, contenders: []contender{
				{name: "ecrin", run: b.get(mode.ecrin, connections, manifestOf(mode.ecrin, few, fewTags))},
				{name: staticName(), run: b.get(mode.static, connections, fixed(mode.static, manifestFile))},
			}, targets: []target{{peer: staticName(), of: value, goal: 0.65}}})
		for _, blob := range []struct {
			body []byte
			file string
		}{{b.medium, mediumFile}, {b.big, bigFile}} {
			for _, n := range []int{1, 4, 8} {
				rows = append(rows, row{name: fmt.Sprintf("blob GET %d MB%s, %s", len(blob.body)/1e6, mode.name, streams(n)), unit: "GB/s",
					prepare: mode.prepare, contenders: []contender{
						{name: "ecrin", run: b.download(mode.ecrin, n, blob.body, "/v2/"+few+"/blobs/"+digestOf(blob.body))},
						{name: staticName(), run: b.download(mode.static, n, blob.body, blob.file)},
					}, targets: []target{{peer: staticName(), of: value, goal: 1},
						{peer: staticName(), of: p50, what: "p50", less: true, goal: 1, unit: "ms"},
						{peer: staticName(), of: p99, what: "p99", less: true, goal: 1, unit: "ms"}}})
			}
		}
	}
	return rows
}

func streams(n int) string {
	if n == 1 {
		return "one stream"
	}
	return fmt.Sprintf("%d streams", n)
}

// download reads a large body repeatedly on n connections.
func (b *bench) download(d *door, n int, body []byte, path string) func(context.Context) (measure, error) {
	return func(context.Context) (measure, error) {
		m, err := b.loadFor(b.length*2/3, d, n, http.StatusOK, func(int) stream { return again(d.request(http.MethodGet, path, 0)) })
		m.Value *= float64(len(body)) / 1e9
		return m, err
	}
}
