package web_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/door/web"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// counted returns the value of a metric without labels, -1 if there is none.
func counted(m *web.Metrics, metric string) (n int) {
	w := httptest.NewRecorder()
	web.Fresh(m)
	m.ServeHTTP(w, nil)
	_, rest, ok := strings.Cut(w.Body.String(), "\n"+metric+" ")
	if _, err := fmt.Sscan(rest, &n); !ok || err != nil {
		return -1
	}
	return n
}

// A connection is closed for others only if it waits for the client, or for its next request, for longer than its caller may.
func TestWhichConnectionsAreIdle(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		known           bool
		requests, waits int32
		age             time.Duration
		want            bool
	}{
		{false, 0, 0, 0, true},
		{false, 1, 1, 200 * time.Millisecond, true}, {false, 1, 1, 50 * time.Millisecond, false}, {false, 1, 0, time.Hour, false},
		{true, 1, 1, 6 * time.Second, true}, {true, 1, 1, 4 * time.Second, false}, {true, 1, 0, time.Hour, false},
		{true, 0, 0, 11 * time.Second, true}, {true, 0, 0, 9 * time.Second, false},
	} {
		if got := web.IdleAt(c.known, c.requests, c.waits, c.age); got != c.want {
			t.Errorf("%+v: got idle %t", c, got)
		}
	}
}

// closable is one end of a connection; it knows whether it was closed.
type closable struct {
	net.Conn
	closed bool
}

func (c *closable) Close() error { c.closed = true; return c.Conn.Close() }

func (c *closable) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.1:4000"))
}

// open adds a connection, which has done nothing for a time.
func openOne(t *testing.T, c *web.Connections, known bool, idle time.Duration) *closable {
	t.Helper()
	one, two := net.Pipe()
	t.Cleanup(func() { one.Close(); two.Close() })
	conn := &closable{Conn: one}
	web.SetConnection(c.Context(t.Context(), conn), known, idle)
	return conn
}

// Connections of unknown callers are closed before those of known ones, and those that have done nothing for longest first. If
// none is idle, the new one is closed.
func TestWhichConnectionsMakeRoom(t *testing.T) {
	t.Parallel()
	for what, l := range map[string]web.ConnectionLimits{
		"in all":     {Max: 4, MaxPerAddress: 100, MaxIdle: 100},
		"by address": {Max: 100, MaxPerAddress: 4, MaxIdle: 100},
		"of a proxy": {Max: 4, MaxPerAddress: 1, MaxIdle: 100, Proxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}},
	} {
		metrics := web.NewMetrics()
		c := web.NewConnections(l, metrics, slog.New(slog.DiscardHandler))
		known, young, old := openOne(t, c, true, time.Hour), openOne(t, c, false, time.Second), openOne(t, c, false, time.Minute)
		busy := openOne(t, c, true, 0)
		want := func(step string, closed ...*closable) {
			t.Helper()
			for i, conn := range []*closable{known, young, old, busy} {
				if want := contains(closed, conn); conn.closed != want {
					t.Errorf("%s, %s: connection %d: got closed %t, want %t", what, step, i, conn.closed, want)
				}
			}
		}
		want("at the limit")
		openOne(t, c, true, 0)
		want("one more", old)
		openOne(t, c, true, 0)
		want("two more", old, young)
		openOne(t, c, true, 0)
		want("three more", old, young, known)
		if last := openOne(t, c, true, 0); !last.closed {
			t.Errorf("%s: a new connection beside busy ones is open, want it closed", what)
		}
		want("four more", old, young, known)
		if got := [3]int{counted(metrics, "ecrin_connections_evicted_total"), counted(metrics, "ecrin_connections_refused_total"),
			counted(metrics, "ecrin_connections")}; got != [3]int{3, 1, 8} {
			t.Errorf("%s: got %d evicted, refused and open, want 3, 1 and 8", what, got)
		}
		c.State(old, http.StateIdle)
		c.State(old, http.StateClosed)
		c.State(old, http.StateClosed)
		c.State(young, http.StateHijacked)
		if got := counted(metrics, "ecrin_connections"); got != 6 {
			t.Errorf("%s: after two have ended: got %d open, want 6", what, got)
		}
	}
}

func contains(all []*closable, one *closable) bool {
	for _, c := range all {
		if c == one {
			return true
		}
	}
	return false
}

// shortListener fails for want of a file descriptor.
type shortListener struct{ net.Listener }

func (shortListener) Accept() (net.Conn, error) {
	return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
}

// Want of file descriptors is counted and logged, and idle connections make room, except those that have just come.
func TestListenerWithoutFileDescriptors(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	metrics := web.NewMetrics()
	c := web.NewConnections(web.ConnectionLimits{Max: 10, MaxPerAddress: 10, MaxIdle: 100}, metrics,
		slog.New(slog.NewTextHandler(&log, nil)))
	young, old := openOne(t, c, false, 0), openOne(t, c, false, time.Minute)
	l := c.Listener(shortListener{})
	for range 2 {
		if _, err := l.Accept(); !errors.Is(err, syscall.EMFILE) {
			t.Errorf("got %v, want the error of the system", err)
		}
	}
	if young.closed || !old.closed {
		t.Errorf("got the young one closed %t, the old one %t; want false, true", young.closed, old.closed)
	}
	if got := counted(metrics, "ecrin_file_descriptors_exhausted_total"); got != 2 {
		t.Errorf("got %d times counted, want 2", got)
	}
	if got := strings.Count(log.String(), "no free file descriptor"); got != 1 {
		t.Errorf("got %d lines within a second, want 1:\n%s", got, log.String())
	}
}

// The counters of other packages are in the metrics with their values.
func TestMetricsOfOtherPackages(t *testing.T) {
	t.Parallel()
	m := web.NewMetrics()
	m.Count("ecrin_one_total", "One.", func() uint64 { return 7 })
	m.CountOf("ecrin_two_total", "Two.", "kind", "a", func() uint64 { return 8 })
	if got := counted(m, "ecrin_one_total"); got != 7 {
		t.Errorf("a counter: got %d, want 7", got)
	}
	if got := counted(m, `ecrin_two_total{kind="a"}`); got != 8 {
		t.Errorf("a counter with a label: got %d, want 8", got)
	}
}

// The line of a request has its status, its level and its duration, also if the handler writes nothing or a failure.
func TestLinesOfRequests(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = "@"
	if _, line := serve(t, func(http.ResponseWriter, *http.Request, *web.Event) {}, r); line["status"] != 200.0 ||
		line["level"] != "INFO" || line["remote"] != "@" || line["error"] != nil || line["caller"] != nil {
		t.Errorf("a handler that writes nothing: got %v, want status 200 at level INFO from @", line)
	}
	for status, level := range map[int]string{499: "INFO", 500: "ERROR"} {
		if _, line := serve(t, func(w http.ResponseWriter, _ *http.Request, _ *web.Event) {
			w.WriteHeader(http.StatusContinue)
			w.WriteHeader(status)
			w.WriteHeader(http.StatusOK) // too late
		}, httptest.NewRequest(http.MethodGet, "/", nil)); line["level"] != level || line["status"] != float64(status) {
			t.Errorf("status %d: got %v, want level %s", status, line, level)
		}
	}
	var log bytes.Buffer
	at := time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)
	metrics := web.NewMetrics()
	s := web.NewServer(handler(func(_ http.ResponseWriter, _ *http.Request, ev *web.Event) {
		at = at.Add(1500 * time.Microsecond)
		ev.Err = fmt.Errorf("opening: %w", syscall.EMFILE)
	}), web.Options{Log: slog.New(slog.NewTextHandler(&log, nil)), Metrics: metrics, Now: func() time.Time { return at }})
	s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	if !strings.Contains(log.String(), "took_ms=1.5 ") || counted(metrics, "ecrin_file_descriptors_exhausted_total") != 1 {
		t.Errorf("got %s, want 1.5 ms and a counted want of file descriptors", log.String())
	}
}

func TestRequestIDs(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	seen := map[string]bool{}
	s := web.NewServer(handler(func(_ http.ResponseWriter, _ *http.Request, ev *web.Event) {
		if !form.MatchString(ev.RequestID) || seen[ev.RequestID] {
			t.Errorf("got the request id %q, seen before %t; want a new UUID of version 4", ev.RequestID, seen[ev.RequestID])
		}
		seen[ev.RequestID] = true
	}), web.Options{Log: slog.New(slog.DiscardHandler), Metrics: web.NewMetrics(), Now: time.Now})
	for range 1000 {
		s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	}
}

func TestGoneIsOnlyAClientThatDisconnected(t *testing.T) {
	t.Parallel()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	wrapped := fault.Internal.New("x").Because(context.Canceled)
	for _, c := range []struct {
		ctx  context.Context
		err  error
		want bool
	}{{ended, wrapped, true}, {ended, errors.New("x"), false}, {ended, nil, false}, {t.Context(), wrapped, false}} {
		if got := web.Gone(c.ctx, c.err); got != c.want {
			t.Errorf("the context ended with %v, %v: got %t, want %t", c.ctx.Err(), c.err, got, c.want)
		}
	}
}
