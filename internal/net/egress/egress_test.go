package egress_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/net/egress"
)

// names is a resolver that returns the lists of addresses of a name in turn, and then always the last list.
type names struct {
	mu      sync.Mutex
	answers map[string][][]string
	asked   int
}

func (n *names) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked++
	rest := n.answers[host]
	if len(rest) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	if len(rest) > 1 {
		n.answers[host] = rest[1:]
	}
	var found []netip.Addr
	for _, a := range rest[0] {
		found = append(found, netip.MustParseAddr(a))
	}
	return found, nil
}

func (n *names) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked
}

func prefixes(texts ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, s := range texts {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

// serve starts a server on 127.0.0.1 whose certificate is valid for 127.0.0.1 and example.com, and returns its
// port.
func serve(t *testing.T, h http.HandlerFunc) (port string, roots *x509.CertPool) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = nil
	s.StartTLS()
	t.Cleanup(s.Close)
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	roots = x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return port, roots
}

func get(t *testing.T, c *http.Client, url string) (string, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := c.Do(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return string(body), err
}

// refused gets url, and checks that the guard refuses it with each of the texts in the error.
func refused(t *testing.T, c *http.Client, url string, wants ...string) {
	t.Helper()
	_, err := get(t, c, url)
	var r *egress.RefusedError
	if !errors.As(err, &r) {
		t.Errorf("GET %s: got %v, want RefusedError", url, err)
		return
	}
	for _, want := range wants {
		if !strings.Contains(r.Error(), want) {
			t.Errorf("GET %s: got %q, want %q in it", url, r, want)
		}
	}
}

func TestClientReachesAllowedAddresses(t *testing.T) {
	t.Parallel()
	port, roots := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })
	resolver := &names{answers: map[string][][]string{
		"example.com":     {{"::ffff:127.0.0.1"}},
		"example.com.":    {{"127.0.0.1"}},
		"two.example.com": {{"10.0.0.1", "127.0.0.1"}}, // the first may not be dialled, the second may
	}}
	for _, allow := range []string{"127.0.0.1/32", "127.0.0.0/8", "::ffff:127.0.0.0/104", "0.0.0.0/1"} {
		g := egress.New(egress.Options{Allow: prefixes(allow), Deny: prefixes("10.0.0.0/8"), Roots: roots, Resolver: resolver})
		for _, host := range []string{"127.0.0.1", "[::ffff:127.0.0.1]", "example.com", "EXAMPLE.com", "example.com."} {
			resolver.mu.Lock()
			resolver.answers[host] = [][]string{{"127.0.0.1"}}
			resolver.mu.Unlock()
			c := g.Client(egress.ClientOptions{})
			if strings.HasPrefix(host, "[") {
				c = g.Client(egress.ClientOptions{VerifyTLS: func(string, []*x509.Certificate, *x509.CertPool) error { return nil }})
			}
			body, err := get(t, c, "https://"+host+":"+port+"/")
			if err != nil || body != "hello" {
				t.Errorf("allow %s, GET %s: got %q, %v, want hello", allow, host, body, err)
			}
		}
	}
	c := egress.New(egress.Options{Allow: prefixes("127.0.0.1/32"), Roots: roots, Resolver: resolver}).Client(egress.ClientOptions{
		VerifyTLS: func(host string, chain []*x509.Certificate, _ *x509.CertPool) error {
			if host != "two.example.com" || len(chain) != 1 {
				return fmt.Errorf("got host %q and %d certificates", host, len(chain))
			}
			return nil
		}})
	if body, err := get(t, c, "https://two.example.com:"+port+"/"); err != nil || body != "hello" {
		t.Errorf("a name with a good and a bad address: got %q, %v, want hello", body, err)
	}
}

func TestClientVerifiesCertificates(t *testing.T) {
	t.Parallel()
	port, roots := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })
	resolver := &names{answers: map[string][][]string{"example.com": {{"127.0.0.1"}}, "other.test": {{"127.0.0.1"}}}}
	allow := prefixes("127.0.0.1/32")
	tests := []struct {
		name  string
		guard *egress.Guard
		o     egress.ClientOptions
		host  string
		want  string
	}{
		{"unknown authority", egress.New(egress.Options{Allow: allow, Roots: x509.NewCertPool(), Resolver: resolver}),
			egress.ClientOptions{}, "example.com", "unknown authority"},
		{"another host's", egress.New(egress.Options{Allow: allow, Roots: roots, Resolver: resolver}), egress.ClientOptions{},
			"other.test", "not other.test"},
		{"the caller refuses", egress.New(egress.Options{Allow: allow, Roots: roots, Resolver: resolver}),
			egress.ClientOptions{VerifyTLS: func(string, []*x509.Certificate, *x509.CertPool) error {
				return errors.New("no such thumbprint")
			}}, "example.com", "no such thumbprint"},
	}
	for _, test := range tests {
		if body, err := get(t, test.guard.Client(test.o), "https://"+test.host+":"+port+"/"); err == nil ||
			!strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %q, %v, want an error with %q", test.name, body, err, test.want)
		}
	}
}

// Attack row 15: addresses of the own machine and network, in all their forms, as literals and by name.
func TestAttack15InsideAddresses(t *testing.T) {
	t.Parallel()
	tests := []struct{ addr, want string }{
		{"127.0.0.1", "loopback (127.0.0.0/8)"}, {"127.255.255.254", "loopback"}, {"0.0.0.0", "unspecified"}, {"0.1.2.3", "unspecified"},
		{"10.1.2.3", "private (10.0.0.0/8)"}, {"172.16.0.1", "private"}, {"172.31.255.255", "private"}, {"192.168.1.1", "private"},
		{"100.64.0.1", "carrier-grade NAT"}, {"169.254.1.1", "link-local"}, {"169.254.169.254", "a metadata service"},
		{"169.254.170.2", "a metadata service"}, {"100.100.100.200", "a metadata service"}, {"168.63.129.16", "a metadata service"},
		{"192.0.0.192", "a metadata service"}, {"192.0.2.1", "documentation"}, {"198.18.0.1", "benchmarks"},
		{"224.0.0.1", "multicast"}, {"239.255.255.250", "multicast"}, {"240.0.0.1", "reserved"}, {"255.255.255.255", "reserved"},
		{"::", "unspecified"}, {"::1", "loopback"}, {"::7f00:1", "obsolete form"}, {"::ffff:127.0.0.1",
			"127.0.0.1 is loopback"}, {"::ffff:a9fe:a9fe", "a metadata service"},
		{"64:ff9b::7f00:1", "another form of 127.0.0.1, which is loopback"}, {"64:ff9b::a9fe:a9fe",
			"a metadata service"}, {"64:ff9b:1::1", "translation"},
		{"2002:7f00:1::", "another form of 127.0.0.1"}, {"2002:a00:1::1", "private (10.0.0.0/8)"}, {"2001:0:1::1", "reserved for protocols"},
		{"2600::5efe:a00:1", "another form of 10.0.0.1"}, {"2600::200:5efe:7f00:1", "another form of 127.0.0.1"},
		{"fd00:ec2::254", "a metadata service"}, {"fc00::1", "private"}, {"fe80::1", "link-local"}, {"febf::1",
			"link-local"}, {"fec0::1", "private"},
		{"ff02::1", "multicast"}, {"2001:db8::1", "documentation"}, {"4000::1", "outside of what is reachable"},
	}
	for _, test := range tests {
		resolver := &names{answers: map[string][][]string{"inside.test": {{test.addr}}}}
		c := egress.New(egress.Options{Resolver: resolver}).Client(egress.ClientOptions{})
		literal := test.addr
		if strings.Contains(literal, ":") {
			literal = "[" + literal + "]"
		}
		refused(t, c, "https://"+literal+"/", test.want, "egress_allow")
		refused(t, c, "https://inside.test/", `host "inside.test" is refused`, test.want, "egress_allow")
	}
}

// Attack row 15: an allowed range allows only its own addresses, and a denied range overrides it.
func TestAttack15AllowAndDeny(t *testing.T) {
	t.Parallel()
	g := egress.New(egress.Options{
		Allow: prefixes("10.1.0.0/16", "64:ff9b::/96", "1.1.1.0/24"),
		Deny:  prefixes("10.1.2.0/24", "::ffff:8.8.8.0/120", "2600::/16"),
	})
	c := g.Client(egress.ClientOptions{})
	refused(t, c, "https://10.2.0.1/", "private")
	refused(t, c, "https://10.1.2.3/", "denied", "egress_deny")
	refused(t, c, "https://8.8.8.8/", "denied", "egress_deny")
	refused(t, c, "https://[::ffff:8.8.8.8]/", "denied")
	refused(t, c, "https://[64:ff9b::808:808]/", "denied")
	refused(t, c, "https://[2600::1]/", "denied")
	refused(t, c, "https://[2002:a02:1::]/", "10.2.0.1")
}

// Attack row 15: a name that resolves to a permitted address when it is checked and to another address
// afterwards.
func TestAttack15Rebinding(t *testing.T) {
	t.Parallel()
	var served atomic.Int32
	port, roots := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		served.Add(1)
		_, _ = io.WriteString(w, "hello")
	})
	resolver := &names{answers: map[string][][]string{"example.com": {{"127.0.0.1"}, {"127.0.0.2"}}}}
	c := egress.New(egress.Options{Allow: prefixes("127.0.0.1/32"), Roots: roots, Resolver: resolver}).Client(egress.ClientOptions{})
	if body, err := get(t, c, "https://example.com:"+port+"/"); err != nil || body != "hello" {
		t.Fatalf("first request: got %q, %v, want hello", body, err)
	}
	if got := resolver.count(); got != 1 {
		t.Errorf("first request: the name was resolved %d times, want once: the checked address is dialled", got)
	}
	refused(t, c, "https://example.com:"+port+"/", "127.0.0.2 is loopback")
	if got := served.Load(); got != 1 {
		t.Errorf("the server received %d requests, want once", got)
	}
}

// Attack row 15: a public server that redirects to internal addresses.
func TestAttack15Redirects(t *testing.T) {
	t.Parallel()
	var port string
	var referers sync.Map
	port, roots := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if ref := r.Header.Get("Referer"); ref != "" {
			referers.Store(ref, true)
		}
		to := r.URL.Query().Get("to")
		if n := len(r.URL.Query().Get("more")); n > 0 {
			to = r.URL.Path + "?more=" + strings.Repeat("x", n-1)
		} else if to == "" {
			_, _ = io.WriteString(w, "hello")
			return
		}
		w.Header().Set("Location", to)
		w.WriteHeader(http.StatusFound)
	})
	resolver := &names{answers: map[string][][]string{"example.com": {{"127.0.0.1"}}, "inside.test": {{"10.0.0.1"}}}}
	c := egress.New(egress.Options{Allow: prefixes("127.0.0.1/32"), Roots: roots, Resolver: resolver}).Client(egress.ClientOptions{})
	base := "https://example.com:" + port + "/"
	refused(t, c, base+"?to=https://inside.test/", "10.0.0.1 is private")
	refused(t, c, base+"?to=https://169.254.169.254/latest/", "a metadata service")
	refused(t, c, base+"?to=http://example.com:"+port+"/", "not asked by https")
	refused(t, c, base+"?to=gopher://example.com/", "not asked by https")
	refused(t, c, base+"?to=https://example.com@127.0.0.1:"+port+"/", "user name")
	refused(t, c, "http://example.com:"+port+"/", "not asked by https")
	if body, err := get(t, c, base+"?more=xxx"); err != nil || body != "hello" {
		t.Errorf("three redirects: got %q, %v, want hello", body, err)
	}
	if _, err := get(t, c, base+"?more=xxxx"); err == nil || !strings.Contains(err.Error(), "more than 3 redirects") {
		t.Errorf("four redirects: got %v, want an error", err)
	}
	referers.Range(func(ref, _ any) bool {
		t.Errorf("the redirected request has a Referer: %v", ref)
		return true
	})
}

// Attack row 16: spellings of addresses that lists of forbidden texts miss.
func TestAttack16Spellings(t *testing.T) {
	t.Parallel()
	inside := [][]string{{"127.0.0.1"}}
	resolver := &names{answers: map[string][][]string{"localhost": inside, "localhost.": inside, "LOCALHOST": inside,
		"metadata.google.internal": {{"169.254.169.254"}},
		// addresses that a lenient resolver would return
		"2130706433": {{"8.8.8.8"}}, "0x7f.1": {{"8.8.8.8"}}, "0177.0.0.1": {{"8.8.8.8"}}, "127.1": {{"8.8.8.8"}}}}
	c := egress.New(egress.Options{Resolver: resolver}).Client(egress.ClientOptions{})
	for _, host := range []string{
		"2130706433", "0x7f000001", "0x7f.1", "0x7F.0x1", "017700000001", "0177.0.0.1", "127.1", "127.0.1", "127.0.0.1.",
		"127.000.000.001", "0", "1.0x", "a..0x7f",
		"localhost", "localhost.", "LOCALHOST", "metadata.google.internal", "example.com@127.0.0.1", "user:word@127.0.0.1",
		"[::1%25lo]", "[fe80::1%25eth0]", "[0:0:0:0:0:ffff:7f00:1]", "[::ffff:127.0.0.1]", "①②⑦.⓪.⓪.①",
	} {
		refused(t, c, "https://"+host+"/")
	}
	refused(t, c, "https://[2600::1%25eth0]/", "zone")
	if _, err := get(t, c, "https://nowhere.test/"); err == nil || !strings.Contains(err.Error(), "no such host") {
		t.Errorf("an unknown name: got %v, want the resolver's answer", err)
	}
}

// Attack row 16: no error contains text that the other side sent.
func TestAttack16NoAnswerInErrors(t *testing.T) {
	t.Parallel()
	const canary = "canary-51c0ffee"
	port, roots := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/location":
			w.Header().Set("Location", "https://%zz/"+canary)
			w.WriteHeader(http.StatusFound)
		default:
			_, _ = io.WriteString(w, strings.Repeat(canary, 100))
		}
	})
	resolver := &names{answers: map[string][][]string{"example.com": {{"127.0.0.1"}}}}
	c := egress.New(egress.Options{Allow: prefixes("127.0.0.1/32"), Roots: roots,
		Resolver: resolver}).Client(egress.ClientOptions{MaxBytes: 100})
	if _, err := get(t, c, "https://example.com:"+port+"/location"); err == nil || strings.Contains(err.Error(), canary) {
		t.Errorf("a bad redirect: got %v, want an error without the answer", err)
	}
	body, err := get(t, c, "https://example.com:"+port+"/")
	if err == nil || strings.Contains(err.Error(), canary) || !strings.Contains(err.Error(), "longer than 100 bytes") || len(body) != 100 {
		t.Errorf("a long answer: got %d bytes, %v, want 100 and an error without the answer", len(body), err)
	}

	for _, text := range []string{canary + "\r\n\r\n", "HTTP/1.1 " + canary + " OK\r\n\r\n", "HTTP/1.1 200 OK\r\n" + canary +
		"\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: " + canary + "\r\n\r\n", "SSH-2.0-" + canary + "\r\n", ""} {
		url := raw(t, text)
		c := egress.New(egress.Options{Allow: prefixes("127.0.0.1/32")}).Client(egress.ClientOptions{VerifyTLS: func(string,
			[]*x509.Certificate, *x509.CertPool) error {
			return nil
		}})
		if _, err := get(t, c, url); err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("answer %q: got %v, want an error without the answer", text, err)
		}
	}
}

// raw starts a TLS server that sends text on one connection.
func raw(t *testing.T, text string) (url string) {
	t.Helper()
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS() // creates the certificate
	certificates := s.TLS.Certificates
	s.Close()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: certificates, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = conn.Read(make([]byte, 1024)) // the request, which is ignored
		_, _ = io.WriteString(conn, text)
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return "https://" + l.Addr().String() + "/"
}

func TestClientRefusesPortsThatDoNotExist(t *testing.T) {
	t.Parallel()
	c := egress.New(egress.Options{Allow: prefixes("127.0.0.1/32")}).Client(egress.ClientOptions{})
	for _, port := range []string{"0", "65536", "99999999999999999999"} {
		_, err := get(t, c, "https://127.0.0.1:"+port+"/")
		if want := fmt.Sprintf("port %q is not a number from 1 to 65535", port); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("port %s: got %v, want %q", port, err, want)
		}
	}
}

func TestClientGivesUp(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	port, roots := serve(t, func(_ http.ResponseWriter, _ *http.Request) { <-release })
	t.Cleanup(func() { close(release) }) // runs before the server's cleanup
	c := egress.New(egress.Options{Allow: prefixes("127.0.0.1/32"), Roots: roots}).Client(egress.ClientOptions{Timeout: 50 * time.Millisecond})
	_, err := get(t, c, "https://127.0.0.1:"+port+"/secret-path")
	var n net.Error
	if !errors.As(err, &n) || !n.Timeout() {
		t.Errorf("a silent server: got %v, want a timeout", err)
	}
	if cause := egress.Cause(err); cause == nil || strings.Contains(cause.Error(), "secret-path") {
		t.Errorf("cause of %v: got %v, want the error without the URL", err, cause)
	}
}

// A proxy of the environment would dial addresses that the guard has not checked.
func TestClientUsesNoProxy(t *testing.T) {
	var asked atomic.Bool
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Store(true) }))
	t.Cleanup(proxy.Close)
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "ALL_PROXY"} {
		t.Setenv(name, proxy.URL)
	}
	resolver := &names{answers: map[string][][]string{"example.com": {{"10.0.0.1"}}}}
	refused(t, egress.New(egress.Options{Resolver: resolver}).Client(egress.ClientOptions{}), "https://example.com/")
	if asked.Load() {
		t.Error("the proxy of the environment was used")
	}
}
