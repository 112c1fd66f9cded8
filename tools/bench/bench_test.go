package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestMain lets the test binary run as the servers that bench starts from its own program.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && !strings.HasPrefix(os.Args[1], "-") {
		if err := run(os.Args[1:]); err != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func TestClientReadsAnswers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, text string
		isHead     bool
		status     int
		body       int64
		head       string
		location   string
	}{
		{"length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", false, 200, 5, "", ""},
		{"chunks", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", false, 200, 5, "", ""},
		{"head", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true, 200, 0, "", ""},
		{"no content", "HTTP/1.1 204 No Content\r\n\r\n", false, 204, 0, "", ""},
		{"created", "HTTP/1.1 201 Created\r\nlocation: /v2/x\r\nContent-Length: 0\r\n\r\n", false, 201, 0, "", "/v2/x"},
		{"error", "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone", false, 404, 4, "none", ""},
	} {
		in := bufio.NewReader(strings.NewReader(c.text + "next"))
		client := &client{in: in, sink: make([]byte, 3)}
		a, err := client.read(c.isHead)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if a.status != c.status || a.body != c.body || string(a.head) != c.head || a.location != c.location {
			t.Errorf("%s: got %+v (head %q), want %+v", c.name, a, a.head, c)
		}
		if rest, _ := io.ReadAll(in); string(rest) != "next" {
			t.Errorf("%s: after the response there is %q, want %q", c.name, rest, "next")
		}
	}
}

func FuzzClientRead(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), false)
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"), false)
	f.Add([]byte("HTTP/1.1 404 No\r\nContent-Length: -9\r\n\r\n"), true)
	f.Fuzz(func(t *testing.T, text []byte, isHead bool) {
		c := &client{in: bufio.NewReader(bytes.NewReader(text)), sink: make([]byte, 64)}
		a, err := c.read(isHead)
		if err == nil && (a.body < 0 || a.body > int64(len(text))) {
			t.Errorf("read(%q): body of %d bytes in %d bytes", text, a.body, len(text))
		}
	})
}

func TestLoad(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got, err := io.ReadAll(r.Body)
		if err != nil || r.URL.Path == "/missing" {
			http.Error(w, "not here", http.StatusNotFound)
			return
		}
		_, _ = w.Write(got)
	}))
	defer server.Close()
	d := &door{process: &process{name: "test", address: strings.TrimPrefix(server.URL, "http://")}}
	o, err := load(d.dial, 4, 50*time.Millisecond, http.StatusOK, func(int) stream {
		return again(append(d.request("PUT", "/", 5), "hello"...))
	})
	if err != nil || o.requests == 0 || o.rate() <= 0 || o.at(.5) <= 0 || o.at(.99) < o.at(.5) || len(o.waits) != o.requests {
		t.Errorf("load: %d requests, p50 %v, p99 %v: %v", o.requests, o.at(.5), o.at(.99), err)
	}
	_, err = load(d.dial, 2, time.Second, http.StatusOK, func(int) stream { return again(d.request("GET", "/missing", 0)) })
	if err == nil || !strings.Contains(err.Error(), "status 404, not 200: not here") {
		t.Errorf("load of a missing page: got %v, want the status and the body", err)
	}
}

func TestChunksArriveWhole(t *testing.T) {
	t.Parallel()
	want := randomBytes(9, 100_001)
	client, server := net.Pipe()
	go func() {
		d := &door{process: &process{address: "h"}}
		_, _ = client.Write(d.request("PATCH", "/", -1))
		_, _ = io.Copy(struct{ io.Writer }{client}, &chunks{rest: want})
		client.Close()
	}()
	r, err := http.ReadRequest(bufio.NewReader(server))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r.Body); err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %d bytes, want the same %d: %v", len(got), len(want), err)
	}
}

func TestProc(t *testing.T) {
	t.Parallel()
	got, err := cpuOf([]byte("12 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 30 12 0 0 20"))
	if want := 420 * time.Millisecond; err != nil || got != want {
		t.Errorf("cpuOf: got %v, %v, want %v", got, err, want)
	}
	if _, err := cpuOf([]byte("12 (a) S 1")); err == nil {
		t.Error("cpuOf of a short line: got no error")
	}
	if got := memoryOf("Name:\tx\nVmHWM:\t  2048 kB\nVmRSS:\t 1024 kB\n", "VmHWM"); got != 2 {
		t.Errorf("memoryOf: got %v MB, want 2", got)
	}
}

func TestMedian(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in   []float64
		want float64
	}{{nil, 0}, {[]float64{7}, 7}, {[]float64{9, 1, 5}, 5}, {[]float64{4, 1, 2, 3}, 2.5}} {
		if got := median(c.in); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("median(%v): got %v, want %v", c.in, got, c.want)
		}
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	m := map[string]measures{"ecrin": {{Value: 90, CPU: 2000, Memory: 50}}, "peer": {{Value: 100}},
		"uneven": {{Value: 90}, {Value: 10}, {Value: 80}}, "even": {{Value: 40}, {Value: 40}, {Value: 40}}}
	for _, c := range []struct {
		target target
		ok     bool
		text   string
	}{
		{target{peer: "peer", of: value, goal: 0.9}, true, "≥ 0.9 ×"},
		{target{peer: "peer", of: value, goal: 1.5}, false, "≥ 1.5 ×"},
		{target{peer: "peer", of: value, less: true, goal: 0.8}, false, "≤ 0.8 ×"},
		{target{of: cpu, less: true, goal: 2, unit: "ms CPU"}, true, "≤ 2 ms CPU"},
		{target{of: memory, what: "idle", less: true, goal: 40, unit: "MB"}, false, "idle ≤ 40 MB"},
		{target{peer: "absent", of: value, goal: 1}, false, "≥ 1 ×"},
		{target{of: limited, less: true, goal: 0, unit: "× 429"}, true, "0 × 429"},
		{target{who: "absent", of: limited, less: true, goal: 0, unit: "× 429"}, false, "0 × 429"},
		{target{who: "uneven", peer: "even", of: value, goal: 1.5}, true, "≥ 1.5 ×"},
		{target{who: "uneven", peer: "even", of: value, what: "worst round", worst: true, goal: 1.5}, false, "worst round ≥ 1.5 ×"},
	} {
		if l := c.target.judge("row", "ms", m); l.OK != c.ok || l.Target != c.text {
			t.Errorf("judge(%s to %q): got %q ok %v, want %q ok %v", l.Unit, l.Peer, l.Target, l.OK, c.text, c.ok)
		}
	}
}

// The table has the form of docs/design/speed.md: a line for each peer, with the figures that have a target, and bold misses.
func TestTableOfTargets(t *testing.T) {
	t.Parallel()
	r := &report{Rounds: 3, Details: map[string]map[string]measures{}, units: map[string]string{}}
	r.add(row{name: "GET", unit: "req/s", targets: []target{
		{peer: "distribution", of: value, goal: 5}, {peer: "distribution", of: p99, what: "p99", less: true, goal: 1, unit: "ms"},
		{of: memory, what: "resident", less: true, goal: 60, unit: "MB"}, {peer: "bare", of: value, goal: 0.65},
	}}, map[string]measures{
		"ecrin":        {{Value: 34_812, CPU: 37.2, P99: 3.14159, Memory: 75}, {Value: 34_100, CPU: 37, P99: 3.1, Memory: 75}},
		"distribution": {{Value: 6280, CPU: 272, P99: 6}, {Value: 4280, CPU: 272, P99: 6}}, "bare": {{Value: 82_900}, {Value: 82_900}},
	})
	r.add(row{name: "beside", unit: "req/s", targets: []target{{who: "same address", peer: "alone", of: value, goal: 0.5}}},
		map[string]measures{"alone": {{Value: 100}}, "same address": {{Value: 60}}})
	r.add(row{name: "tool", unit: "s", targets: []target{{who: "push, ecrin", peer: "push, other", of: value, less: true, goal: 1}}},
		map[string]measures{"push, ecrin": {{Value: 1}}, "push, other": {{Value: 2}}})
	r.skip(row{name: "absent"}, errNotHere)
	want := [][]string{
		{"case", "ecrin", "peer", "ratio", "target"},
		{"GET", "34,500/s, 37.1 µs CPU, p99 3.12 ms, **resident 75 MB**", "distribution 5,280/s [4,280..6,280], 272 µs CPU, p99 6 ms",
			"6.53 ×, p99 0.52 ×", "≥ 5 ×, p99 ≤ 1 ×, resident ≤ 60 MB"},
		{"GET", "34,500/s, 37.1 µs CPU", "bare 82,900/s", "**0.416 ×**", "≥ 0.65 ×"},
		{"beside, same address", "60/s", "alone 100/s", "0.6 ×", "≥ 0.5 ×"},
		{"tool, push", "1 s", "other 2 s", "0.5 ×", "≤ 1 ×"},
		{"absent", "not run: not here", "", "", ""},
	}
	if got := r.targets(); !reflect.DeepEqual(got, want) {
		t.Errorf("table of targets:\ngot  %q\nwant %q", got, want)
	}
	for _, c := range []struct {
		v    float64
		want string
	}{{0, "0"}, {0.1234, "0.123"}, {97.4, "97.4"}, {999.4, "999"}, {1081, "1,080"}, {1_800_000, "1,800,000"}} {
		if got := figure(c.v); got != c.want {
			t.Errorf("figure(%v): got %s, want %s", c.v, got, c.want)
		}
	}
}

// The functions that are repeated in this process do what the name of their row says.
func TestRepeated(t *testing.T) {
	t.Parallel()
	b := &bench{length: time.Millisecond}
	for name, what := range map[string]func() error{"decision": decision(), "signature": signature()} {
		m, err := b.repeat(what)(t.Context())
		if err != nil || m.Value <= 0 || m.CPU <= 0 {
			t.Errorf("%s: got %+v, %v, want a rate and no error", name, m, err)
		}
	}
	broken := errors.New("broken")
	if _, err := b.repeat(func() error { return broken })(t.Context()); !errors.Is(err, broken) {
		t.Errorf("a function that fails: got %v, want its error", err)
	}
}

// TestBench runs all of bench on small data, if the other servers are installed.
func TestBench(t *testing.T) {
	if path, err := distributionPath(); testing.Short() || err != nil || path == "" || os.Getenv("ECRIN_SLOW") == "" {
		t.Skip("set ECRIN_SLOW=1 and run tools/clients/install distribution")
	}
	const rows = "tag, one|8 uploads|ten|start|PostgreSQL, one|TLS|an image|beside (pulls|bodies|denials)"
	if err := run([]string{"-quick", "-dir", t.TempDir(), "-rows", rows}); err != nil {
		t.Error(err)
	}
}
