package egress_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/net/egress"
)

// closeIdle closes the idle connections of a transport, so that its server can be closed.
func closeIdle(t *testing.T, r http.RoundTripper) http.RoundTripper {
	t.Helper()
	t.Cleanup(r.(interface{ CloseIdleConnections() }).CloseIdleConnections)
	return r
}

// A transport uses a connection again, and passes a body that is longer than a client's limit.
func TestTransportKeepsConnections(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	peers := map[string]int{}
	port, roots := serve(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		peers[r.RemoteAddr]++
		mu.Unlock()
		_, _ = w.Write(make([]byte, 3<<20))
	})
	resolver := &names{answers: map[string][][]string{"example.com": {{"127.0.0.1"}, {"10.0.0.1"}}}}
	g := egress.New(egress.Options{Allow: prefixes("127.0.0.1/32"), Roots: roots, Resolver: resolver})
	c := &http.Client{Transport: closeIdle(t, g.Transport())}
	for range 3 {
		if body, err := get(t, c, "https://example.com:"+port+"/"); err != nil || len(body) != 3<<20 {
			t.Fatalf("got %d bytes, %v, want 3 MiB", len(body), err)
		}
	}
	mu.Lock()
	if len(peers) != 1 {
		t.Errorf("three requests by %d connections: %v, want 1", len(peers), peers)
	}
	mu.Unlock()
	// A new connection is checked: the name has another address by now.
	c = &http.Client{Transport: closeIdle(t, g.Transport())}
	refused(t, c, "https://example.com:"+port+"/", "10.0.0.1 is private")
	refused(t, c, "http://example.com:"+port+"/", "not asked by https")
}

// Only the hosts that who runs the command has named are asked by http, and their addresses are checked like others.
func TestPlainHostsAreAskedByHTTP(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("plain")) }))
	t.Cleanup(s.Close)
	_, port, _ := strings.Cut(strings.TrimPrefix(s.URL, "http://"), ":")
	resolver := &names{answers: map[string][][]string{"own.example.com": {{"127.0.0.1"}}, "far.example.com": {{"10.0.0.1"}}}}
	plain := func(host string) bool { return host == "own.example.com:"+port || host == "far.example.com" }
	g := egress.New(egress.Options{Allow: prefixes("127.0.0.1/32"), Resolver: resolver, Plain: plain})
	for _, c := range []*http.Client{g.Client(egress.ClientOptions{}), {Transport: closeIdle(t, g.Transport())}} {
		if body, err := get(t, c, "http://own.example.com:"+port+"/"); err != nil || body != "plain" {
			t.Errorf("got %q, %v", body, err)
		}
		refused(t, c, "https://own.example.com:"+port+"/", "not asked by http")
		refused(t, c, "http://own.example.com:1/", "not asked by https")
		refused(t, c, "http://far.example.com/", "10.0.0.1 is private")
	}
}

// A transport follows no redirect, and an error of its does not quote the response.
func TestTransportFollowsNoRedirect(t *testing.T) {
	t.Parallel()
	port, roots := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/long" {
			w.Header().Set("X-Canary", strings.Repeat("canary", 20<<10))
			return
		}
		http.Redirect(w, r, "https://127.0.0.1:1/", http.StatusTemporaryRedirect)
	})
	g := egress.New(egress.Options{Allow: prefixes("127.0.0.1/32"), Roots: roots})
	transport := closeIdle(t, g.Transport())
	for path, want := range map[string]int{"/": http.StatusTemporaryRedirect, "/long": 0} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://127.0.0.1:"+port+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := transport.RoundTrip(r)
		switch {
		case want == 0 && (err == nil || strings.Contains(err.Error(), "canary")):
			t.Errorf("a header of 120 KiB: got %v, want an error without the header", err)
		case want != 0 && err != nil:
			t.Errorf("%s: got %v, want the status %d", path, err, want)
		case want != 0:
			_, err = io.Copy(io.Discard, answer.Body)
			if err = errors.Join(err, answer.Body.Close()); err != nil || answer.StatusCode != want {
				t.Errorf("%s: got the status %d, %v, want %d", path, answer.StatusCode, err, want)
			}
		}
	}
}

// A name with an address of its own is not looked up, its address is checked, and its certificate must be for the name.
func TestHosts(t *testing.T) {
	t.Parallel()
	port, roots := serve(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Host) })
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	local := netip.MustParseAddr("127.0.0.1")
	hosts := map[string]netip.AddrPort{
		"example.com": netip.AddrPortFrom(local, uint16(number)), "other.example": netip.AddrPortFrom(local, uint16(number)),
		"private.example": netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), 0),
		"same.example":    netip.AddrPortFrom(local, 0),
	}
	g := egress.New(egress.Options{Allow: prefixes("127.0.0.1/32"), Roots: roots, Resolver: &names{}, Hosts: hosts})
	c := &http.Client{Transport: closeIdle(t, g.Transport())}
	for _, host := range []string{"example.com", "EXAMPLE.com.", "example.com:1"} {
		if body, err := get(t, c, "https://"+host+"/"); err != nil || !strings.EqualFold(body, host) {
			t.Errorf("%s: got %q, %v, want the server at its address", host, body, err)
		}
	}
	if body, err := get(t, c, "https://other.example/"); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a name that the certificate lacks: got %q, %v, want an error about it", body, err)
	}
	if body, err := get(t, c, "https://same.example:"+port+"/"); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("the port of the URL: got %q, %v, want an error about the certificate there", body, err)
	}
	refused(t, c, "https://private.example/", "10.0.0.1 is private")
	strict := egress.New(egress.Options{Roots: roots, Resolver: &names{}, Hosts: hosts})
	refused(t, &http.Client{Transport: closeIdle(t, strict.Transport())}, "https://example.com/", "127.0.0.1 is loopback")
}
