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

	"github.com/ecrin-dev/ecrin/internal/host/doctor"
	"github.com/ecrin-dev/ecrin/internal/net/tlsauto"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// machine is a simulated machine with a server. Of the real machine, it uses only a loopback socket.
type machine struct {
	t       *testing.T
	o       doctor.Options
	ca      *tlsauto.Authority
	names   map[string]string // addresses by name
	env     map[string]string
	answers map[string]string // output of programs, by base name
	free    int64
	status  int           // of /readyz
	skew    time.Duration // of the server's clock
}

const (
	outside  = "192.0.2.10" // the address of the names of the tests: not loopback, for which clients make exceptions
	registry = "111111111111.dkr.ecr.eu-west-1.amazonaws.com"
)

// newMachine starts a server for https://reg.test:PORT (or http) whose certificates were issued age ago.
func newMachine(t *testing.T, scheme string, age time.Duration) *machine {
	t.Helper()
	m := &machine{
		t: t, names: map[string]string{"reg.test": outside}, env: map[string]string{}, answers: map[string]string{},
		free: 100 << 30, status: http.StatusOK,
	}
	data := m.mkdir("data", 0o700)
	var err error
	m.ca, err = tlsauto.New(filepath.Join(data, "tls"), tlsauto.Options{
		Scope: tlsauto.Scope{DNS: []string{"reg.test", "amazonaws.com", "localhost", "ecr.test"},
			Addresses: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix(outside + "/32")}},
		Now: func() time.Time { return time.Now().Add(-age) }})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Date", time.Now().Add(m.skew).UTC().Format(http.TimeFormat))
		rw.WriteHeader(m.status)
		if r.Method == http.MethodPost {
			fmt.Fprint(rw,
				"<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:iam::111111111111:root</Arn></GetCallerIdentityResult></GetCallerIdentityResponse>")
			return
		}
		fmt.Fprintln(rw, "starting\x1b[31m")
	}))
	s.Config.ErrorLog = nil
	s.TLS = &tls.Config{GetCertificate: m.ca.GetCertificate}
	if scheme == "https" {
		s.StartTLS()
		s.TLS.Certificates = nil // the certificate of httptest would be used first
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	addr := s.Listener.Addr().String()
	_, port, _ := net.SplitHostPort(addr)

	m.o = doctor.Options{
		URL: scheme + "://reg.test:" + port, Account: name.MustAccount("111111111111"), Region: name.MustRegion("eu-west-1"),
		DataDir: data, Root: m.mkdir("root", 0o755), Home: m.mkdir("home", 0o755), PathDirs: []string{m.mkdir("bin", 0o755)},
		Roots: x509.NewCertPool(), Timeout: 10 * time.Second,
		Lookup: func(_ context.Context, host string) ([]netip.Addr, error) {
			if ip, ok := m.names[host]; ok {
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
			return m.answers[filepath.Base(path)], nil
		},
		Helper: func(_ context.Context, _, host string) (string, error) {
			return `{"ServerURL":"` + host + `","Username":"AWS","Secret":"password"}`, nil
		},
		Free:   func(string) (int64, error) { return m.free, nil },
		Getenv: func(key string) string { return m.env[key] },
	}
	if scheme == "https" {
		m.o.CAPath = m.ca.CAPath()
	}
	return m
}

// addr returns the server's host and port.
func (m *machine) addr() string { _, a, _ := strings.Cut(m.o.URL, "://"); return a }

// port returns the server's port with a colon before it.
func (m *machine) port() string { return m.addr()[strings.LastIndex(m.addr(), ":"):] }

// pointHere makes the ECR names of amazonaws.com resolve to the server.
func (m *machine) pointHere() {
	for _, n := range []string{registry, "api.ecr.eu-west-1.amazonaws.com", "ecr.eu-west-1.amazonaws.com",
		"sts.eu-west-1.amazonaws.com", "sts.amazonaws.com"} {
		m.names[n] = outside
	}
}

func (m *machine) mkdir(name string, mode os.FileMode) string {
	m.t.Helper()
	dir := filepath.Join(m.t.TempDir(), name)
	if err := os.MkdirAll(dir, mode); err != nil {
		m.t.Fatal(err)
	}
	return dir
}

func (m *machine) write(path, content string) {
	m.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) root(path, content string) {
	m.t.Helper()
	m.write(filepath.Join(m.o.Root, path), content)
}
func (m *machine) home(path, content string) {
	m.t.Helper()
	m.write(filepath.Join(m.o.Home, path), content)
}

// program adds an executable to the PATH that prints answer.
func (m *machine) program(name, answer string) {
	m.t.Helper()
	path := filepath.Join(m.o.PathDirs[0], name)
	m.write(path, "")
	if err := os.Chmod(path, 0o755); err != nil {
		m.t.Fatal(err)
	}
	m.answers[name] = answer
}

// otherCA returns the path of a CA that is not the server's.
func (m *machine) otherCA() string {
	m.t.Helper()
	a, err := tlsauto.New(m.t.TempDir(), tlsauto.Options{})
	if err != nil {
		m.t.Fatal(err)
	}
	return string(a.CAPEM())
}

// run makes the checks and returns them by name. It checks that each bad one has an instruction.
func (m *machine) run() map[string]doctor.Check {
	m.t.Helper()
	checks := map[string]doctor.Check{}
	for _, c := range doctor.Run(m.t.Context(), m.o) {
		if _, twice := checks[c.Name]; twice {
			m.t.Errorf("two checks are named %q", c.Name)
		}
		checks[c.Name] = c
		if bad := c.Status == doctor.Warn || c.Status == doctor.Fail; c.Detail == "" || bad && c.Fix == "" ||
			c.Status == doctor.OK && c.Fix != "" {
			m.t.Errorf("check is not complete: %+v", c)
		}
	}
	return checks
}

// expect fails the test unless the named check has the status, and its texts contain the words.
func (m *machine) expect(name string, status doctor.Status, words ...string) {
	m.t.Helper()
	checks := m.run()
	c, ok := checks[name]
	if !ok {
		m.t.Fatalf("there is no check %q in %v", name, checks)
	}
	if c.Status != status {
		m.t.Errorf("%s is %s, want %s: %s (%s)", name, c.Status, status, c.Detail, c.Fix)
	}
	for _, word := range words {
		if !strings.Contains(c.Detail+"\n"+c.Fix, word) {
			m.t.Errorf("%s is %q, %q, want %q in it", name, c.Detail, c.Fix, word)
		}
	}
}
