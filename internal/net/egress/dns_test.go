package egress_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/ecrin-dev/ecrin/internal/net/egress"
	"github.com/ecrin-dev/ecrin/internal/test/dnstest"
)

func lookup(t testing.TB, host string, servers ...netip.AddrPort) (string, error) {
	t.Helper()
	found, err := egress.NameServers(servers).LookupNetIP(t.Context(), "ip", host)
	return strings.Trim(fmt.Sprint(found), "[]"), err
}

// TestNameServers: addresses of both kinds and by aliases are found, names that the hosts file has are asked too, and what does not exist
// is such an error.
func TestNameServers(t *testing.T) {
	t.Parallel()
	s := dnstest.Start(t, "127.0.0.1:0", map[string][]string{
		"both.example.com": {"192.0.2.1", "2001:db8::1"}, "six.example.com": {"2001:db8::6"}, "alias.example.com": {"two.example.com"},
		"two.example.com": {"both.example.com"}, "round.example.com": {"round.example.com"}, "empty.example.com": nil,
		"localhost": {"192.0.2.9"}, // which every hosts file has
	})
	for host, want := range map[string]string{"both.example.com": "192.0.2.1 2001:db8::1", "BOTH.example.com.": "192.0.2.1 2001:db8::1",
		"six.example.com": "2001:db8::6", "alias.example.com": "192.0.2.1 2001:db8::1", "localhost": "192.0.2.9"} {
		if got, err := lookup(t, host, s.Address); got != want || err != nil {
			t.Errorf("%s: got %q, %v, want %q", host, got, err, want)
		}
	}
	for _, host := range []string{"none.example.com", "empty.example.com", "round.example.com", strings.Repeat("a.", 200)} {
		_, err := lookup(t, host, s.Address)
		if dns, ok := errors.AsType[*net.DNSError](err); !ok || !dns.IsNotFound {
			t.Errorf("%s: got %v, want that it is not found", host, err)
		}
	}
}

// TestNameServersThatFail: the next server is asked after a refusal, a failure or no server at all; a name that does not exist is not asked
// again; and an answer that is too long for UDP comes by TCP.
func TestNameServersThatFail(t *testing.T) {
	t.Parallel()
	names := map[string][]string{"a.example.com": {"192.0.2.1"}}
	good, bad, long := dnstest.Start(t, "127.0.0.1:0", names), dnstest.Start(t, "127.0.0.1:0", names), dnstest.Start(t, "127.0.0.1:0", names)
	for _, code := range []dnsmessage.RCode{dnsmessage.RCodeServerFailure, dnsmessage.RCodeRefused} {
		bad.Fail(code)
		if got, err := lookup(t, "a.example.com", bad.Address, good.Address); got != "192.0.2.1" || err != nil {
			t.Errorf("after %s: got %q, %v", code, got, err)
		}
	}
	nothing, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := netip.MustParseAddrPort(nothing.LocalAddr().String())
	_ = nothing.Close()
	if got, err := lookup(t, "a.example.com", closed, good.Address); got != "192.0.2.1" || err != nil {
		t.Errorf("after no server: got %q, %v", got, err)
	}
	_, err = lookup(t, "a.example.com", bad.Address)
	if dns, ok := errors.AsType[*net.DNSError](err); !ok || dns.IsNotFound || !dns.IsTemporary || !strings.Contains(err.Error(), "Refused") {
		t.Errorf("one server that refuses: got %v, want a passing failure", err)
	}
	before := len(good.Asked())
	if _, err := lookup(t, "none.example.com", good.Address, bad.Address); err == nil || len(good.Asked())-before != 2 {
		t.Errorf("a name that does not exist: got %v after %d questions, want 2", err, len(good.Asked())-before)
	}
	long.Truncate()
	if got, err := lookup(t, "a.example.com", long.Address); got != "192.0.2.1" || err != nil || len(long.Asked()) != 4 {
		t.Errorf("a truncated answer: got %q, %v, by %v", got, err, long.Asked())
	}
}

// TestNameServersPastForgeries: what has another id or question is passed over; the answer after it counts.
func TestNameServersPastForgeries(t *testing.T) {
	t.Parallel()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go func() {
		buffer := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buffer[:n]) != nil {
				continue
			}
			reply := func(id uint16, host, address string) {
				q := m.Questions[0]
				q.Name = dnsmessage.MustNewName(host)
				out := dnsmessage.Message{Header: dnsmessage.Header{ID: id, Response: true}, Questions: []dnsmessage.Question{q}}
				if q.Type == dnsmessage.TypeA {
					out.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class},
						Body: &dnsmessage.AResource{A: netip.MustParseAddr(address).As4()}}}
				}
				b, _ := out.Pack()
				_, _ = conn.WriteTo(b, from)
			}
			reply(m.ID+1, "a.example.com.", "192.0.2.66")
			reply(m.ID, "b.example.com.", "192.0.2.66")
			_, _ = conn.WriteTo([]byte("no message"), from)
			reply(m.ID, "a.example.com.", "192.0.2.1")
		}
	}()
	if got, err := lookup(t, "a.example.com", netip.MustParseAddrPort(conn.LocalAddr().String())); got != "192.0.2.1" || err != nil {
		t.Errorf("got %q, %v, want 192.0.2.1", got, err)
	}
}

// TestLoop: each request has the marker; an answer 508 with it is a refusal that says so, and without it an answer like others.
func TestLoop(t *testing.T) {
	t.Parallel()
	var status int
	var back, got string
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Get(egress.LoopHeader)
		w.Header().Set(egress.LoopHeader, back)
		w.WriteHeader(status)
	}))
	defer server.Close()
	roots := server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	g := egress.New(egress.Options{Allow: prefixes("127.0.0.1/32"), Roots: roots, Marker: "abc"})
	for _, client := range []*http.Client{g.Client(egress.ClientOptions{}), {Transport: g.Transport()}} {
		status, back = http.StatusLoopDetected, "abc"
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.Do(r)
		if refused, ok := errors.AsType[*egress.RefusedError](err); !ok || !refused.Loop || !strings.Contains(err.Error(), "egress_dns") {
			t.Errorf("with the marker: got %v, want a refusal as a loop", err)
		}
		if got != "abc" || r.Header.Get(egress.LoopHeader) != "" {
			t.Errorf("the request had the marker %q, and was changed to %v", got, r.Header)
		}
		for _, c := range []struct {
			status int
			back   string
		}{{http.StatusLoopDetected, ""}, {http.StatusLoopDetected, "abd"}, {http.StatusOK, "abc"}} {
			status, back = c.status, c.back
			answer, err := client.Do(r)
			if err != nil || answer.StatusCode != c.status {
				t.Errorf("%+v: got %v, %v, want the answer", c, answer, err)
				continue
			}
			_ = answer.Body.Close()
		}
	}
}

// FuzzNameServerAnswer: no message makes the resolver fail otherwise than by an error.
func FuzzNameServerAnswer(f *testing.F) {
	q := dnsmessage.Question{Name: dnsmessage.MustNewName("a.example.com."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: 7, Response: true}, Questions: []dnsmessage.Question{q}}
	m.Answers = []dnsmessage.Resource{
		{Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class}, Body: &dnsmessage.CNAMEResource{CNAME: q.Name}},
		{Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class}, Body: &dnsmessage.AResource{A: [4]byte{192, 0, 2, 1}}}}
	b, err := m.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, message []byte) {
		found, _, is, err := egress.Answer(message, 7, q)
		if len(found) > 0 && (!is || err != nil) {
			t.Errorf("got %v, %v, %v", found, is, err)
		}
	})
}
