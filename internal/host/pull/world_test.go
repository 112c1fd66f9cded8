package pull_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"golang.org/x/net/http/httpproxy"
)

// ecrHost is a name of ECR for the registry of the world.
const ecrHost = "000000000000.dkr.ecr.us-east-1.amazonaws.com"

func (w *world) config() string { return filepath.Join(w.DockerConfig, "config.json") }

func (w *world) write(file, content string) {
	w.t.Helper()
	err := os.MkdirAll(filepath.Dir(file), 0o755)
	if err == nil {
		err = os.WriteFile(file, []byte(content), 0o600)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// hostsTOML writes the file of containerd for example.com.
func (w *world) hostsTOML(content string) {
	w.t.Helper()
	w.write(filepath.Join(w.Containerd, "example.com", "hosts.toml"), content)
}

// rename pulls by another host.
func (w *world) rename(host string) {
	w.Image = host + "/team/app:1.0"
	w.login(w.root)
}

// certificate makes a certificate for names, which is its own authority.
func certificate(t testing.TB, names ...string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: names, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// lookup reads the hosts file.
func (w *world) lookup(_ context.Context, host string) (found []netip.Addr, err error) {
	for line := range strings.Lines(w.hosts) {
		fields := strings.Fields(line)
		for i, f := range fields {
			if i > 0 && f == host {
				found = append(found, netip.MustParseAddr(fields[0]))
			}
		}
	}
	if len(found) == 0 {
		err = errors.New("no such host")
	}
	return found, err
}

// dial connects to the front, and to proxies at their own addresses.
func (w *world) dial(ctx context.Context, network, address string) (net.Conn, error) {
	switch {
	case strings.HasPrefix(address, "away.test:"), w.stopped.Load():
		return nil, errors.New("connection refused")
	case !strings.HasPrefix(address, "127.0.0.1:"):
		address = w.front.Listener.Addr().String()
	}
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

// fromEnvironment reads the variables of the world as net/http reads those of the process.
func (w *world) fromEnvironment(r *http.Request) (*url.URL, error) {
	c := httpproxy.Config{HTTPSProxy: w.env["HTTPS_PROXY"], NoProxy: w.env["NO_PROXY"]}
	return c.ProxyFunc()(r.URL)
}

// proxy starts a proxy that has a user, or none for "", and answers CONNECT with a status. It returns its URL, without the user.
func (w *world) proxy(user string, status int) string {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = l.Close() }) // the test has ended
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go w.tunnel(conn, user, status)
		}
	}()
	return "http://" + l.Addr().String()
}

func (w *world) tunnel(conn net.Conn, user string, status int) {
	defer func() { _ = conn.Close() }() // the client may have closed it
	reader := bufio.NewReader(conn)
	r, err := http.ReadRequest(reader)
	if err != nil {
		return
	}
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte(user))
	if user != "" && r.Header.Get("Proxy-Authorization") != want {
		status = http.StatusProxyAuthRequired
	}
	if _, err := conn.Write(fmt.Appendf(nil, "HTTP/1.1 %d x\r\n\r\n", status)); err != nil || status != http.StatusOK {
		return
	}
	far, err := w.dial(context.Background(), "tcp", r.Host)
	if err != nil {
		return
	}
	defer func() { _ = far.Close() }()          // the transfer has ended
	go func() { _, _ = io.Copy(far, reader) }() // until one of both ends
	_, _ = io.Copy(conn, far)
}

// follow does what a cure says: the commands in it are taken from its text and run. Those of docker and the aws CLI are done by the SDK,
// what a person has to do at a server or with an image by the test.
func (w *world) follow(cure string) {
	w.t.Helper()
	for _, c := range []struct {
		text *regexp.Regexp
		do   func(m []string)
	}{
		{regexp.MustCompile(`HTTPS_PROXY=(http://)USER:PASSWORD@(\S+)`), func(m []string) { w.env["HTTPS_PROXY"] = m[1] + "me:right@" + m[2] }},
		{regexp.MustCompile(`export NO_PROXY=\S+`), func(m []string) {
			out, err := exec.CommandContext(w.t.Context(), "sh", "-c", m[0]+`; printf %s "$NO_PROXY"`).Output()
			if err != nil {
				w.t.Fatalf("%s: %v", m[0], err)
			}
			w.env["NO_PROXY"] = string(out)
		}},
		{regexp.MustCompile(`unset (\w+)`), func(m []string) { delete(w.env, m[1]) }},
		{regexp.MustCompile(`sudo ecrin (hosts .*) --write`), func(m []string) {
			w.hosts += "\n" + w.cli(strings.Fields(strings.ReplaceAll(m[1], "ADDRESS", "127.0.0.1"))...)
		}},
		{regexp.MustCompile(`hosts file of this machine have (\S+)`), func(m []string) { w.hosts += "\n127.0.0.1 " + m[1] }},
		{regexp.MustCompile(`sudo ecrin (trust install [^(]*)`), func(m []string) {
			root := w.t.TempDir()
			w.cli(append(strings.Fields(strings.ReplaceAll(m[1], "CA.pem", w.ca)), "--for", "docker", "--root", root)...)
			w.CertsDir = filepath.Join(root, "etc/docker/certs.d")
		}},
		{regexp.MustCompile(`sudo ecrin (credential containerd .*)`),
			func(m []string) { w.cli(strings.Fields(strings.ReplaceAll(m[1], "CA.pem", w.ca))...) }},
		{regexp.MustCompile(`ecrin (policy [^;]+)`), func(m []string) { w.cli(append(strings.Fields(m[1]), "--data", w.server.Dir)...) }},
		{regexp.MustCompile(`aws ecr get-login-password(?: --region (\S+))? \| docker login --username AWS --password-stdin (\S+)`),
			func(m []string) {
				host, _, _ := strings.Cut(w.Image, "/")
				account := w.root
				if m[1] != "" {
					account = account.In(m[1])
				}
				if m[2] != host {
					w.t.Fatalf("the login is for %s, want %s", m[2], host)
				}
				w.login(account)
			}},
		{regexp.MustCompile(`aws ecr create-repository --repository-name (\S+)`), func(m []string) {
			if _, err := w.root.ECR().CreateRepository(w.t.Context(), &ecr.CreateRepositoryInput{RepositoryName: aws.String(m[1])}); err != nil {
				w.t.Fatal(err)
			}
			repo := w.repo
			repo.Name = m[1]
			repo.Push(w.t, "1.0", w.image)
		}},
		{regexp.MustCompile(`use a tag that exists, such as (\S+),`), func(m []string) {
			w.Image = w.Image[:strings.LastIndexByte(w.Image, ':')+1] + m[1]
		}},
		{regexp.MustCompile(`pull one of (\S+)`), func(m []string) { w.Platform = m[1] }},
		{regexp.MustCompile(`push the image again`), func([]string) { w.repo.PutBlob(w.t, w.image.Layers[1]) }},
		{regexp.MustCompile(`begin it with the host of the registry`), func([]string) { w.Image = "example.com/" + w.Image }},
		{regexp.MustCompile(`a tag has letters`), func([]string) { w.Image = "example.com/team/app:1.0" }},
		{regexp.MustCompile(`use a name that the certificate has`), func([]string) { w.Image = "example.com/team/app:1.0" }},
		{regexp.MustCompile(`start the server`), func([]string) { w.stopped.Store(false) }},
		{regexp.MustCompile(`check the host and the port`), func([]string) { w.page.Store(false) }},
	} {
		if m := c.text.FindStringSubmatch(cure); m != nil {
			c.do(m)
			return
		}
	}
	w.t.Fatalf("the cure %q says nothing that could be done", cure)
}
