package hostcmd_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/host/doctor"
	"github.com/ecrin-dev/ecrin/internal/host/trust"
	"github.com/ecrin-dev/ecrin/internal/main/cli/hostcmd"
	"github.com/ecrin-dev/ecrin/internal/net/tlsauto"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// machine is a directory that replaces the root of a machine, and the result of Resolve.
type machine struct {
	t      *testing.T
	root   string
	server hostcmd.Server
	err    error // of Resolve
	inUse  []name.Registry
	tune   func(*doctor.Options)
}

// scope is what the CA of a machine may issue certificates for.
var scope = tlsauto.Scope{DNS: []string{"test", "ecr.eu-west-1.amazonaws.com"},
	Addresses: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}

func newMachine(t *testing.T) *machine {
	t.Helper()
	ca, err := tlsauto.New(filepath.Join(t.TempDir(), "tls"), tlsauto.Options{Scope: scope})
	if err != nil {
		t.Fatal(err)
	}
	return &machine{t: t, root: t.TempDir(), server: hostcmd.Server{
		URL: "https://127.0.0.1:5100", Account: "111111111111", Region: "eu-west-1", CAPath: ca.CAPath(), TLS: true,
		Domains: []string{"ecr.test"},
	}}
}

// run executes a command line and returns its output.
func (m *machine) run(args ...string) (stdout, stderr string, err error) {
	m.t.Helper()
	var out, errs bytes.Buffer
	o := hostcmd.Tuned(hostcmd.Options{
		Resolve: func(context.Context) (hostcmd.Server, error) { return m.server, m.err },
		InUse:   func(context.Context) ([]name.Registry, error) { return m.inUse, nil },
		Out:     &out, Err: &errs,
	}, m.tune)
	root := &cobra.Command{Use: "ecrin", SilenceErrors: true, SilenceUsage: true}
	root.AddCommand(hostcmd.NewTrustCommand(o), hostcmd.NewHostsCommand(o), hostcmd.NewDoctorCommand(o))
	root.SetArgs(args)
	err = root.ExecuteContext(m.t.Context())
	return out.String(), errs.String(), err
}

// must is run for command lines that must succeed.
func (m *machine) must(args ...string) (stdout, stderr string) {
	m.t.Helper()
	stdout, stderr, err := m.run(args...)
	if err != nil {
		m.t.Fatalf("ecrin %s: %v\n%s", strings.Join(args, " "), err, stderr)
	}
	return stdout, stderr
}

// files returns the files below dir of the machine's root.
func (m *machine) files(dir string) []string {
	m.t.Helper()
	var names []string
	entries, err := os.ReadDir(filepath.Join(m.root, dir))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		m.t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestTrustInstallAndRemove(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	out, _ := m.must("trust", "install", "--root", m.root, "--print")
	if len(m.files("etc")) != 0 {
		t.Error("--print changed the machine")
	}
	if !strings.Contains(out, "sudo tee "+m.root+"/etc/docker/certs.d/127.0.0.1:5100/ca.crt") {
		t.Errorf("--print shows\n%s", out)
	}
	if out, errs := m.must("trust", "install", "--root", m.root, "--for", "docker"); out != "" ||
		strings.Count(errs, "ecrin: docker: wrote") != 4 {
		t.Errorf("install says %q on stdout, and on stderr\n%s", out, errs)
	}
	want := []string{
		"111111111111.dkr.ecr.eu-west-1.amazonaws.com:5100", "111111111111.dkr.ecr.eu-west-1.ecr.test:5100", "127.0.0.1:5100", "localhost:5100",
	}
	if diff := cmp.Diff(want, m.files("etc/docker/certs.d")); diff != "" {
		t.Errorf("registries (-want +got):\n%s", diff)
	}
	if _, errs := m.must("trust", "install", "--root", m.root); !strings.Contains(errs, "nothing to change") { // docker is detected now
		t.Errorf("installing again says\n%s", errs)
	}
	if err := os.Remove(m.server.CAPath); err != nil {
		t.Fatal(err)
	}
	if _, errs := m.must("trust", "remove", "--root", m.root); strings.Count(errs, "ecrin: docker: removed") != 4 {
		t.Errorf("removing after the CA was lost says\n%s", errs)
	}
	if got := m.files("etc/docker/certs.d"); len(got) != 0 {
		t.Errorf("there is still %v", got)
	}
}

// The CA is installed for every registry in use, and removed for those that were in use when it was installed.
func TestTrustForEveryRegistryInUse(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.server.DataDir = t.TempDir()
	m.inUse = []name.Registry{
		{Account: name.MustAccount("222222222222"), Region: name.MustRegion("eu-west-1")},
		{Account: name.MustAccount("222222222222"), Region: name.MustRegion("cn-north-1")},
	}
	m.must("trust", "install", "--root", m.root, "--for", "docker")
	want := []string{
		"111111111111.dkr.ecr.eu-west-1.amazonaws.com:5100", "111111111111.dkr.ecr.eu-west-1.ecr.test:5100", "127.0.0.1:5100",
		"222222222222.dkr.ecr.cn-north-1.amazonaws.com.cn:5100", "222222222222.dkr.ecr.cn-north-1.ecr.test:5100",
		"222222222222.dkr.ecr.eu-west-1.amazonaws.com:5100", "222222222222.dkr.ecr.eu-west-1.ecr.test:5100", "localhost:5100",
	}
	if diff := cmp.Diff(want, m.files("etc/docker/certs.d")); diff != "" {
		t.Errorf("registries (-want +got):\n%s", diff)
	}
	other := filepath.Join(m.root, "etc/docker/certs.d/other.test/ca.crt")
	content, err := os.ReadFile("../../../host/trust/testdata/unconstrained-ca.pem")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.MkdirAll(filepath.Dir(other), 0o755), os.WriteFile(other, content, 0o644)); err != nil {
		t.Fatal(err)
	}
	m.inUse = nil
	m.must("trust", "remove", "--root", m.root, "--for", "docker")
	if diff := cmp.Diff([]string{"other.test"}, m.files("etc/docker/certs.d")); diff != "" {
		t.Errorf("after the removal (-want +got):\n%s", diff)
	}
}

func TestTrustJSON(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	for _, tc := range []struct {
		args []string
		done bool
	}{{[]string{"--print", "--json"}, false}, {[]string{"--json"}, true}, {[]string{"--print", "--json"}, true}} {
		out, _ := m.must(append([]string{"trust", "install", "--root", m.root, "--for", "skopeo", "reg.test"}, tc.args...)...)
		var plan trust.Plan
		if err := json.Unmarshal([]byte(out), &plan); err != nil || len(plan.Actions) != 1 {
			t.Fatalf("%v: %v\n%s", tc.args, err, out)
		}
		if a := plan.Actions[0]; a.Done != tc.done || a.Kind != trust.Write ||
			a.Path != filepath.Join(m.root, "etc/containers/certs.d/reg.test/ca.crt") {
			t.Errorf("%v: got %+v, want done %v", tc.args, a, tc.done)
		}
	}
}

func TestTrustPlainHTTP(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.server.URL, m.server.TLS, m.server.CAPath = "http://10.0.0.7", false, ""
	m.server.Domains = []string{"amazonaws.com", "ecr.test"}
	out, _ := m.must("trust", "install", "--print", "--root", m.root)
	if strings.Contains(out, "amazonaws.com") {
		t.Errorf("plain HTTP is permitted with Amazon's names:\n%s", out)
	}
	for _, want := range []string{"location = \"10.0.0.7\"", "[host.\"http://10.0.0.7\"]", "\"insecure-registries\"", "eu-west-1.ecr.test"} {
		if !strings.Contains(out, want) {
			t.Errorf("the script does not have %s:\n%s", want, out)
		}
	}
	_, errs := m.must("trust", "install", "--root", m.root, "--for", "docker", "reg.test:5100")
	if !strings.Contains(errs, "daemon.json") || !strings.Contains(errs, "systemctl reload docker") {
		t.Errorf("the instruction for docker is not shown:\n%s", errs)
	}
}

func TestTrustWithoutAServer(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	ca := m.server.CAPath
	m.server, m.err = hostcmd.Server{}, errors.New("no server here")
	m.must("trust", "install", "--root", m.root, "--for", "docker", "--ca", ca, "reg.test:5100")
	m.must("trust", "remove", "--root", m.root, "--for", "docker", "reg.test:5100")
	m.must("trust", "install", "--root", m.root, "--for", "containerd", "--plain-http", "reg.test:5100")
	for _, args := range [][]string{
		{"install", "--for", "docker"}, {"install", "--for", "docker", "reg.test"}, {"print"}, {"install", "--for", "docker", "--ca", ca},
	} {
		if _, _, err := m.run(append([]string{"trust"}, args...)...); !errors.Is(err, m.err) {
			t.Errorf("ecrin trust %v: got error %v, want that of looking for the server", args, err)
		}
	}
}

func TestTrustRefuses(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	for want, args := range map[string][]string{
		"name the clients with --for": {"install", "--root", m.root},
		"no clients are called":       {"install", "--root", m.root, "--for", "rkt"},
		"HOST or HOST:PORT":           {"install", "--root", m.root, "--for", "docker", "https://reg.test"},
		"reading the CA":              {"install", "--root", m.root, "--for", "docker", "--ca", filepath.Join(m.root, "none.pem"), "reg.test"},
		"unknown command":             {"install2"},
	} {
		_, _, err := m.run(append([]string{"trust"}, args...)...)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ecrin trust %v: got error %v, want one with %q", args, err, want)
		}
	}
	m.server.CAPath = ""
	if _, _, err := m.run("trust", "install", "--root", m.root, "--for", "docker"); err == nil ||
		!strings.Contains(err.Error(), "none to install") {
		t.Errorf("with a public certificate: got error %v", err)
	}
	if os.Getuid() == 0 {
		return // permissions do not stop root
	}
	if err := os.Chmod(m.root, 0o500); err != nil {
		t.Fatal(err)
	}
	if _, errs, err := m.run("trust", "install", "--root", m.root, "--for", "docker", "--plain-http=false"); err == nil ||
		!strings.Contains(errs, "sudo") {
		t.Errorf("without permission: error %v, and no hint in %q", err, errs)
	}
}

func TestTrustPrint(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	out, errs := m.must("trust", "print")
	want, err := os.ReadFile(m.server.CAPath)
	if err != nil || out != string(want) {
		t.Errorf("printed\n%s\nwant\n%s", out, want)
	}
	if _, fingerprint, _ := strings.Cut(strings.TrimSpace(errs), "fingerprint "); len(fingerprint) != 32*3-1 {
		t.Errorf("stderr has %q, want a SHA-256 fingerprint", errs)
	}
	m.server.CAPath = filepath.Join(filepath.Dir(m.server.CAPath), "ca-key.pem")
	if out, _, err := m.run("trust", "print"); err == nil || out != "" {
		t.Errorf("a file without a certificate first: printed %q, %v", out, err)
	}
}

func TestTrustShow(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	out, _ := m.must("trust", "show", "--root", m.root)
	for _, want := range []string{"ecrin private CA ", "signs for   https://127.0.0.1:5100", "ecr.eu-west-1.amazonaws.com, test",
		"127.0.0.0/8", "trusted by  no client"} {
		if !strings.Contains(out, want) {
			t.Errorf("before installing it shows\n%s\nwant %q", out, want)
		}
	}
	m.must("trust", "install", "--root", m.root, "--for", "docker", "reg.test:5100")
	out, errs := m.must("trust", "list", "--root", m.root)
	if strings.Count(out, "SHA-256") != 1 || !strings.Contains(out, "trusted by  docker for reg.test:5100") ||
		!strings.Contains(errs, "ca-key.pem") || strings.Contains(errs, "any site") {
		t.Errorf("with one CA it shows\n%s%s\nwant one CA, one client, and the warning what it means", out, errs)
	}
	old, err := os.ReadFile("../../../host/trust/testdata/unconstrained-ca.pem")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(m.root, "etc/docker/certs.d/old.test/ca.crt")
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, old, 0o644)); err != nil {
		t.Fatal(err)
	}
	out, errs = m.must("trust", "show", "--root", m.root)
	if !strings.Contains(out, "EVERY name") || !strings.Contains(errs, "any site") {
		t.Errorf("with a CA without constraints it shows\n%s%s\nwant a warning", out, errs)
	}
	out, _ = m.must("trust", "show", "--root", m.root, "--json")
	var list struct {
		Authorities []struct {
			Name, SHA256, Server string
			Constrained          bool
			Names, Addresses     []string
			TrustedBy            []trust.Installed
		}
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list.Authorities) != 2 ||
		!list.Authorities[0].Constrained || list.Authorities[0].Server != m.server.URL || len(list.Authorities[0].TrustedBy) != 1 ||
		list.Authorities[1].Constrained || len(list.Authorities[1].TrustedBy) != 1 || list.Authorities[1].TrustedBy[0].Host != "old.test" {
		t.Errorf("--json gives (%v)\n%s", err, out)
	}
	m.err = errors.New("no server here")
	if out, _ := m.must("trust", "show", "--root", m.root); strings.Contains(out, "signs for") {
		t.Errorf("without a server it shows\n%s", out)
	}
	if _, errs := m.must("trust", "show", "--root", t.TempDir()); !strings.Contains(errs, "trusts no CA") {
		t.Errorf("on an empty machine it says %q", errs)
	}
}

// serve starts a server for the doctor and makes its checks independent of the real machine.
func (m *machine) serve() {
	m.t.Helper()
	ca, err := tlsauto.New(filepath.Dir(m.server.CAPath), tlsauto.Options{Scope: scope})
	if err != nil {
		m.t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.TLS = &tls.Config{GetCertificate: ca.GetCertificate}
	s.StartTLS()
	s.TLS.Certificates = nil
	m.t.Cleanup(s.Close)
	m.server.URL = "https://" + s.Listener.Addr().String()
	m.tune = func(o *doctor.Options) {
		o.Root, o.Home, o.PathDirs = m.root, m.root, []string{}
		o.Getenv = func(string) string { return "" }
		o.Lookup = func(context.Context, string) ([]netip.Addr, error) { return nil, &net.DNSError{Err: "no such host"} }
	}
}

func TestDoctor(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.serve()
	out, _ := m.must("doctor")
	if !strings.Contains(out, "ok    ready") || !strings.Contains(out, " 0 failed") {
		t.Errorf("a working server is shown as\n%s", out)
	}
	out, _ = m.must("doctor", "--url", m.server.URL, "--ca", m.server.CAPath, "--region", "us-west-2", "--json")
	var report struct {
		OK     bool
		Checks []doctor.Check
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil || !report.OK || len(report.Checks) < 10 ||
		!strings.Contains(out, "us-west-2") {
		t.Errorf("--json gives (%v)\n%s", err, out)
	}

	m.server.URL = "https://127.0.0.1:1"
	out, _, err := m.run("doctor", "--timeout", "2s")
	if !errors.Is(err, hostcmd.ErrUnhealthy) || !strings.Contains(out, "FAIL  port") || !strings.HasSuffix(err.Error(), "checks failed") {
		t.Errorf("without a server: error %v, and\n%s", err, out)
	}
	if out, _, err = m.run("doctor", "--json"); !errors.Is(err, hostcmd.ErrUnhealthy) || !strings.Contains(out, "\"ok\": false") {
		t.Errorf("without a server, as JSON: error %v, and\n%s", err, out)
	}
	for _, args := range [][]string{{"--account", "1"}, {"--region", "x"}, {"more"}} {
		if _, _, err := m.run(append([]string{"doctor"}, args...)...); err == nil || errors.Is(err, hostcmd.ErrUnhealthy) {
			t.Errorf("doctor %v: got error %v, want one about the arguments", args, err)
		}
	}
	m.err = errors.New("no server here")
	if _, _, err := m.run("doctor"); !errors.Is(err, m.err) {
		t.Errorf("when the server cannot be found: got error %v", err)
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	for _, args := range [][]string{{"trust"}, {"trust", "install"}, {"trust", "remove"}, {"trust", "print"},
		{"trust", "show"}, {"hosts"}, {"doctor"}} {
		out, _ := m.must(append(args, "--help")...)
		for _, part := range []string{"Usage:", "Examples:", "ecrin " + strings.Join(args, " ")} {
			if !strings.Contains(out, part) {
				t.Errorf("help of %v has no %q:\n%s", args, part, out)
			}
		}
		for line := range strings.Lines(out) {
			if len(line) > 100 && !strings.Contains(line, "--") && !strings.Contains(line, "ecrin ") {
				t.Errorf("help of %v has a line of %d characters: %s", args, len(line), line)
			}
		}
	}
}
