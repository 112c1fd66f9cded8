package doctor_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/doctor"
	"github.com/ecrin-dev/ecrin/internal/name"
	"github.com/ecrin-dev/ecrin/internal/tlsauto"
)

// world is a machine and a server that a test sets up, with nothing of the real machine but a loopback socket.
type world struct {
	t       *testing.T
	o       doctor.Options
	ca      *tlsauto.Authority
	names   map[string]string // what a resolver knows
	env     map[string]string
	answers map[string]string // of programs, by base name
	free    int64
	status  int           // of /readyz
	skew    time.Duration // of the server's clock
}

const (
	outside  = "192.0.2.10" // where the names of the tests lead: not loopback, for which clients make exceptions
	registry = "111111111111.dkr.ecr.eu-west-1.amazonaws.com"
)

// newWorld starts a server for https://reg.test:PORT (or http) whose certificates are as old as age.
func newWorld(t *testing.T, scheme string, age time.Duration) *world {
	t.Helper()
	w := &world{
		t: t, names: map[string]string{"reg.test": outside}, env: map[string]string{}, answers: map[string]string{},
		free: 100 << 30, status: http.StatusOK,
	}
	data := w.mkdir("data", 0o700)
	var err error
	w.ca, err = tlsauto.New(filepath.Join(data, "tls"), func(host string) bool { return host != "other.test" },
		func() time.Time { return time.Now().Add(-age) })
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Date", time.Now().Add(w.skew).UTC().Format(http.TimeFormat))
		rw.WriteHeader(w.status)
		fmt.Fprintln(rw, "starting\x1b[31m")
	}))
	s.Config.ErrorLog = nil
	s.TLS = &tls.Config{GetCertificate: w.ca.GetCertificate}
	if scheme == "https" {
		s.StartTLS()
		s.TLS.Certificates = nil // httptest's own would be taken first
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	addr := s.Listener.Addr().String()
	_, port, _ := net.SplitHostPort(addr)

	w.o = doctor.Options{
		URL: scheme + "://reg.test:" + port, Account: name.MustAccount("111111111111"), Region: name.MustRegion("eu-west-1"),
		DataDir: data, Root: w.mkdir("root", 0o755), Home: w.mkdir("home", 0o755), PathDirs: []string{w.mkdir("bin", 0o755)},
		Roots: x509.NewCertPool(), Timeout: 10 * time.Second,
		Lookup: func(_ context.Context, host string) ([]netip.Addr, error) {
			if ip, ok := w.names[host]; ok {
				return []netip.Addr{netip.MustParseAddr(ip)}, nil
			}
			return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
		},
		Dial: func(ctx context.Context, network, to string) (net.Conn, error) {
			if _, p, _ := net.SplitHostPort(to); p != port {
				return nil, fmt.Errorf("connection refused")
			}
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		},
		Command: func(_ context.Context, path string, _ ...string) (string, error) {
			return w.answers[filepath.Base(path)], nil
		},
		Free:   func(string) (int64, error) { return w.free, nil },
		Getenv: func(key string) string { return w.env[key] },
	}
	if scheme == "https" {
		w.o.CAPath = w.ca.CAPath()
	}
	return w
}

// addr is the server's host and port.
func (w *world) addr() string { _, a, _ := strings.Cut(w.o.URL, "://"); return a }

// port is the server's port with a colon before.
func (w *world) port() string { return w.addr()[strings.LastIndex(w.addr(), ":"):] }

// pointHere makes the ECR names of amazonaws.com lead to the server.
func (w *world) pointHere() {
	for _, n := range []string{registry, "api.ecr.eu-west-1.amazonaws.com", "ecr.eu-west-1.amazonaws.com", "sts.eu-west-1.amazonaws.com", "sts.amazonaws.com"} {
		w.names[n] = outside
	}
}

func (w *world) mkdir(name string, mode os.FileMode) string {
	w.t.Helper()
	dir := filepath.Join(w.t.TempDir(), name)
	if err := os.MkdirAll(dir, mode); err != nil {
		w.t.Fatal(err)
	}
	return dir
}

func (w *world) write(path, content string) {
	w.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) root(path, content string) {
	w.t.Helper()
	w.write(filepath.Join(w.o.Root, path), content)
}
func (w *world) home(path, content string) {
	w.t.Helper()
	w.write(filepath.Join(w.o.Home, path), content)
}

// program puts an executable on the PATH; answer is what it prints.
func (w *world) program(name, answer string) {
	w.t.Helper()
	path := filepath.Join(w.o.PathDirs[0], name)
	w.write(path, "")
	if err := os.Chmod(path, 0o755); err != nil {
		w.t.Fatal(err)
	}
	w.answers[name] = answer
}

// otherCA is a CA that has nothing to do with the server.
func (w *world) otherCA() string {
	w.t.Helper()
	a, err := tlsauto.New(w.t.TempDir(), func(string) bool { return true }, time.Now)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(a.CAPEM())
}

// run makes the checks, by name, and holds each to the rule that a bad one says what to do.
func (w *world) run() map[string]doctor.Check {
	w.t.Helper()
	checks := map[string]doctor.Check{}
	for _, c := range doctor.Run(w.t.Context(), w.o) {
		if _, twice := checks[c.Name]; twice {
			w.t.Errorf("two checks are named %q", c.Name)
		}
		checks[c.Name] = c
		if bad := c.Status == doctor.Warn || c.Status == doctor.Fail; c.Detail == "" || bad && c.Fix == "" || c.Status == doctor.OK && c.Fix != "" {
			w.t.Errorf("check is not complete: %+v", c)
		}
	}
	return checks
}

// expect fails the test unless the named check has the status, and its text the words.
func (w *world) expect(name string, status doctor.Status, words ...string) {
	w.t.Helper()
	checks := w.run()
	c, ok := checks[name]
	if !ok {
		w.t.Fatalf("there is no check %q in %v", name, checks)
	}
	if c.Status != status {
		w.t.Errorf("%s is %s, want %s: %s (%s)", name, c.Status, status, c.Detail, c.Fix)
	}
	for _, word := range words {
		if !strings.Contains(c.Detail+"\n"+c.Fix, word) {
			w.t.Errorf("%s says %q, %q, want it to have %q", name, c.Detail, c.Fix, word)
		}
	}
}
