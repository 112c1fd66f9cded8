package identity_test

import (
	"crypto/tls"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/net/tlsauto"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/oidctest"
)

// A pod's environment is sufficient for the CLI: the role, and a file with the token. Both the request to STS
// and the command itself use the real names, which a proxy forwards to the server. The issuer's certificate is
// of a private authority that the server is configured to trust.
func TestWebIdentityByCLI(t *testing.T) {
	t.Parallel()
	issuer := oidctest.Start(t, oidctest.Options{Present: 3})
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, rootOf(t, issuer), 0o600); err != nil {
		t.Fatal(err)
	}
	inst := newInstallation(t, apptest.Options{Config: func(c *config.Config) { dialsLocal(c); c.EgressCA = ca }})
	root := inst.account(t, "111122223333")
	app := root.push(t, "team/app")
	role := root.vouched(t, issuer)

	pod := newCLI(t, inst)
	proxy, authority := realNames(t, inst)
	token := filepath.Join(pod.home, "token")
	pod.door = nil
	pod.env = []string{
		"AWS_ROLE_ARN=" + role, "AWS_WEB_IDENTITY_TOKEN_FILE=" + token, "AWS_ROLE_SESSION_NAME=pod",
		"HTTPS_PROXY=" + proxy, "AWS_CA_BUNDLE=" + authority,
	}
	write := func(account string) {
		t.Helper()
		if err := os.WriteFile(token, []byte(issuer.Mint(issuer.Kubernetes("apps", account))), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("web")
	var who struct{ Arn string }
	pod.ok(&who, "sts", "get-caller-identity")
	if want := "arn:aws:sts::" + root.account + ":assumed-role/web/pod"; who.Arn != want {
		t.Errorf("get-caller-identity in the pod: got %s, want %s", who.Arn, want)
	}
	docker := inst.registry(root.account, pod.password())
	wantPull(t, docker.Repo("team/app"), app)
	pod.refused("because no identity-based policy allows the ecr:CreateRepository action", "ecr", "create-repository",
		"--repository-name", "team/new")
	write("other")
	if err := os.RemoveAll(filepath.Join(pod.home, ".aws")); err != nil { // the CLI's cache of credentials
		t.Fatal(err)
	}
	pod.refused("sts:AssumeRoleWithWebIdentity", "sts", "get-caller-identity")
}

// realNames makes the server reachable under every real name: it returns a proxy for HTTPS, and the file with
// the authority that signs the names' certificates.
func realNames(t *testing.T, inst *installation) (proxy, authority string) {
	t.Helper()
	names, err := tlsauto.New(filepath.Join(t.TempDir(), "tls"), tlsauto.Options{Scope: tlsauto.Scope{DNS: []string{"amazonaws.com"}}})
	if err != nil {
		t.Fatal(err)
	}
	server, err := url.Parse(inst.URL)
	if err != nil {
		t.Fatal(err)
	}
	// The Host header of the client is forwarded: it is signed, and selects the service.
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(server); r.Out.Host = r.In.Host }}
	front := httptest.NewUnstartedServer(forward)
	front.TLS = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: names.GetCertificate}
	front.StartTLS()
	t.Cleanup(front.Close)
	to := front.Listener.Addr().String()
	tunnel := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || !strings.HasSuffix(r.Host, ".amazonaws.com:443") {
			http.Error(rw, "only to real names", http.StatusForbidden)
			return
		}
		far, err := net.Dial("tcp", to)
		if err != nil {
			http.Error(rw, err.Error(), http.StatusBadGateway)
			return
		}
		defer far.Close()
		near, buffered, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			t.Errorf("the proxy: %v", err)
			return
		}
		defer near.Close()
		_, _ = io.WriteString(near, "HTTP/1.1 200 OK\r\n\r\n") // a client that closed the connection does not read it
		go func() {
			_, _ = io.Copy(far, buffered) // either side may close first
			_ = far.(*net.TCPConn).CloseWrite()
		}()
		_, _ = io.Copy(near, far)
	}))
	t.Cleanup(tunnel.Close)
	return tunnel.URL, names.CAPath()
}

// rootOf returns the issuer's root certificate, as it presents it.
func rootOf(t *testing.T, issuer *oidctest.Issuer) []byte {
	t.Helper()
	c, err := tls.Dial("tcp", strings.TrimPrefix(issuer.URL(), "https://"), &tls.Config{RootCAs: issuer.Roots(), ServerName: "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	chain := c.ConnectionState().PeerCertificates
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: chain[len(chain)-1].Raw})
}
