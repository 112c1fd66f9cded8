package clients_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"sync/atomic"
	"testing"
	"time"
)

// refusal matches the errors of clients that do not accept a certificate.
var refusal = regexp.MustCompile(`(?i)permitted subtree|not permitted|certificate`)

// impostor starts an HTTPS server with a certificate for a host that was signed by somebody who has the CA's key of a server, and
// returns its port and the number of requests that have reached it.
func impostor(t *testing.T, s *server, host string) (port string, requests *atomic.Int64) {
	t.Helper()
	var blocks [2]*pem.Block
	for i, name := range []string{"ca.pem", "ca-key.pem"} {
		content, err := os.ReadFile(filepath.Join(s.dir, "tls", name))
		if err != nil {
			t.Fatal(err)
		}
		blocks[i], _ = pem.Decode(content)
	}
	ca, err := x509.ParseCertificate(blocks[0].Bytes)
	if err != nil {
		t.Fatal(err)
	}
	caKey, err := x509.ParsePKCS8PrivateKey(blocks[1].Bytes)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, DNSNames: []string{host}}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	requests = new(atomic.Int64)
	front := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		http.Error(rw, "an impostor", http.StatusTeapot)
	}))
	front.Config.ErrorLog = log.New(io.Discard, "", 0)
	front.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der, ca.Raw}, PrivateKey: key}}}
	front.StartTLS()
	t.Cleanup(front.Close)
	_, port, err = net.SplitHostPort(front.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port, requests
}

// nodeGet is a program that gets a URL and prints the status.
const nodeGet = `require("https").get(process.argv[1], {agent: false}, r => { console.log(r.statusCode); r.resume() })`

// TestLeakedKeyOfTheCA: to every client that trusts the CA, a server with a certificate signed by the CA's key can pretend to be one
// of the installation's names, and no other name of AWS. The first is the control: the same client sends its request there. The docker
// engine is not among them: it accepts any certificate at a loopback address.
func TestLeakedKeyOfTheCA(t *testing.T) {
	first := rowSession(t)
	for host, reached := range map[string]bool{first.host(): true, foreignName: false} {
		for client, request := range map[string]func(s *session, at string) *call{
			"curl": func(s *session, at string) *call {
				return s.cmd("curl", "--silent", "--cacert", s.s.bundle, "https://"+at+"/")
			},
			"node": func(s *session, at string) *call {
				return s.cmd("node", "-e", nodeGet, "https://"+at+"/").with("NODE_EXTRA_CA_CERTS=" + s.s.bundle)
			},
			"openssl": func(s *session, at string) *call {
				return s.cmd("openssl", "s_client", "-quiet", "-verify_return_error", "-CAfile", s.s.bundle, "-servername", host,
					"-verify_hostname", host, "-connect", at).stdin("GET / HTTP/1.0\r\n\r\n")
			},
			"python": func(s *session, at string) *call {
				return s.cmd("python3", "-c", "import sys, urllib.request; urllib.request.urlopen(sys.argv[1])", "https://"+at+"/")
			},
			"aws": func(s *session, at string) *call {
				return s.cmd(awsCLIs()["2"], "--endpoint-url", "https://"+at, "ecr", "get-login-password").with("AWS_MAX_ATTEMPTS=1")
			},
			"skopeo": func(s *session, at string) *call {
				containersConfig(s)
				return s.cmd("skopeo", "inspect", "docker://"+at+"/a:b")
			},
			"crane": func(s *session, at string) *call { return s.cmd("crane", "digest", at+"/a:b") },
		} {
			t.Run(client+" "+host, func(t *testing.T) {
				t.Parallel()
				port, requests := impostor(t, first.s, host)
				stdout, stderr, err := request(newSession(t, first.s), net.JoinHostPort(host, port)).run()
				out := stdout + "\n" + stderr
				if got := requests.Load() > 0; got != reached {
					t.Errorf("a request reached a server with the certificate of %s: %v, want %v; the client ended with %v: %s",
						host, got, reached, err, out)
				}
				if !reached && (err == nil || client != "curl" && !refusal.MatchString(out)) { // curl is silent
					t.Errorf("the client ended with %v, and says %s, want an error about the certificate", err, out)
				}
			})
		}
	}
}

// TestNodeAcceptsTheCA: Node accepts the certificates of the server by its name and by its address.
func TestNodeAcceptsTheCA(t *testing.T) {
	s := rowSession(t)
	for _, host := range []string{s.host(), "localhost", "127.0.0.1"} {
		for client, c := range map[string]*call{
			"node": s.cmd("node", "-e", nodeGet, "https://"+host+"/readyz").
				with("NODE_EXTRA_CA_CERTS=" + s.s.bundle),
			"curl": s.cmd("curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}", "--cacert", s.s.bundle,
				"https://"+host+"/readyz"),
			"python": s.cmd("python3", "-c", "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).status)",
				"https://"+host+"/readyz"),
		} {
			if got := c.ok(); got != "200" {
				t.Errorf("%s, https://%s/readyz: got %s, want 200", client, host, got)
			}
		}
	}
}
