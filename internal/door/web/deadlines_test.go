package web

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/store/spool"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// deadlines is a ResponseWriter that keeps the deadlines that are set, and the sizes of the writes.
type deadlines struct {
	*httptest.ResponseRecorder
	reads, writes []time.Time
	sizes         []int
}

func (d *deadlines) SetReadDeadline(t time.Time) error  { d.reads = append(d.reads, t); return nil }
func (d *deadlines) SetWriteDeadline(t time.Time) error { d.writes = append(d.writes, t); return nil }
func (d *deadlines) Write(p []byte) (int, error) {
	d.sizes = append(d.sizes, len(p))
	return d.ResponseRecorder.Write(p)
}

func (d *deadlines) WriteHeader(status int) {
	if status >= 200 { // the recorder takes the first status for the last one
		d.ResponseRecorder.WriteHeader(status)
	}
}

func newDeadlines() *deadlines { return &deadlines{ResponseRecorder: httptest.NewRecorder()} }

var past = time.Unix(1, 0)

// after fails the test unless the last of n deadlines is at a time; the zero time means no deadline.
func after(t *testing.T, what string, all []time.Time, n int, want time.Time) {
	t.Helper()
	if len(all) != n || n > 0 && !all[n-1].Equal(want) {
		t.Errorf("%s: got the deadlines %v, want %d and the last one at %v", what, all, n, want)
	}
}

// body returns a body of a text for which a client has a minute, and 8 seconds before the minimum rate holds.
func newBody(d *deadlines, text string) *deadlineBody {
	return &deadlineBody{ReadCloser: io.NopCloser(strings.NewReader(text)), control: http.NewResponseController(d), timeout: time.Minute,
		begun: time.Now(), slowStart: 8 * time.Second}
}

// The deadline of a body moves with the bytes that arrive, in steps of an eighth, and is lifted at the end of the body.
func TestDeadlineOfABodyMoves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDeadlines()
		b, start := newBody(d, "abc"), time.Now()
		read := func(n int) {
			t.Helper()
			if got, err := io.ReadFull(b, make([]byte, n)); err != nil || got != n {
				t.Errorf("got %d bytes, %v, want %d", got, err, n)
			}
		}
		read(1)
		after(t, "at first", d.reads, 1, start.Add(time.Minute))
		time.Sleep(7500 * time.Millisecond)
		read(1)
		after(t, "an eighth later", d.reads, 1, start.Add(time.Minute))
		time.Sleep(time.Nanosecond)
		read(1)
		after(t, "more than an eighth later", d.reads, 2, time.Now().Add(time.Minute))
		b.leave()
		after(t, "left before its end", d.reads, 3, time.Now().Add(5*time.Second))
		if n, err := b.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("at the end: got %d bytes, %v", n, err)
		}
		after(t, "at the end", d.reads, 4, time.Time{})
		b.leave()
		after(t, "left after its end", d.reads, 4, time.Time{})

		short := newBody(newDeadlines(), "a")
		d = newDeadlines()
		short.timeout, short.control = time.Second, http.NewResponseController(d)
		short.leave()
		after(t, "left, with less patience", d.reads, 1, time.Now().Add(time.Second))
	})
}

// With a minimum rate, the deadline is that of the bytes that have arrived at it, unless the client is silent for too long before that.
func TestDeadlineOfABodyWithARate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDeadlines()
		b, start := newBody(d, strings.Repeat("x", 8<<20)), time.Now()
		if _, err := io.ReadFull(b, make([]byte, 16<<10)); err != nil {
			t.Fatal(err)
		}
		before := len(d.reads)
		b.keepRate()
		after(t, "after 16 KiB", d.reads, before+1, start.Add(9*time.Second))
		if _, err := io.ReadFull(b, make([]byte, 16<<10)); err != nil { // its deadline is extended before it is read
			t.Fatal(err)
		}
		b.extend()
		after(t, "a second more, no more than an eighth", d.reads, before+1, start.Add(9*time.Second))
		if _, err := io.ReadFull(b, make([]byte, 1<<10)); err != nil {
			t.Fatal(err)
		}
		b.extend()
		after(t, "after 33 KiB", d.reads, before+2, start.Add(8*time.Second+33*time.Second/16))
		if _, err := io.ReadFull(b, make([]byte, 2<<20)); err != nil {
			t.Fatal(err)
		}
		b.extend()
		after(t, "after 2 MiB", d.reads, before+3, start.Add(time.Minute))
	})
}

// A body that was interrupted stays so: no deadline is set after the one in the past, also at its end.
func TestInterruptedBodyStaysInterrupted(t *testing.T) {
	t.Parallel()
	d := newDeadlines()
	b := newBody(d, "abc")
	b.interrupt()
	after(t, "interrupted", d.reads, 1, past)
	b.keepRate()
	b.leave()
	if all, err := io.ReadAll(b); err != nil || string(all) != "abc" {
		t.Errorf("got %q, %v", all, err)
	}
	after(t, "read to its end", d.reads, 1, past)
}

// The deadline of an answer moves with what is written, in steps of an eighth, unless the answer was interrupted.
func TestDeadlineOfAnAnswerMoves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDeadlines()
		r, start := newRecorder(d, 8*time.Second), time.Now()
		r.WriteHeader(http.StatusEarlyHints)
		after(t, "hints", d.writes, 1, start.Add(8*time.Second))
		r.WriteHeader(http.StatusAccepted)
		time.Sleep(time.Second)
		_, _ = r.Write([]byte("a"))
		after(t, "an eighth later", d.writes, 1, start.Add(8*time.Second))
		time.Sleep(time.Nanosecond)
		_, _ = r.Write([]byte("b"))
		after(t, "more than an eighth later", d.writes, 2, time.Now().Add(8*time.Second))
		r.interrupt()
		time.Sleep(time.Minute)
		_, _ = r.Write([]byte("c"))
		after(t, "interrupted", d.writes, 3, past)
		if r.status != http.StatusAccepted || r.sent != 3 {
			t.Errorf("got status %d and %d bytes, want 202 and 3", r.status, r.sent)
		}
	})
}

// Long answers are written in pieces of 512 KiB, and short and empty ones at once; bytes make the status 200 unless there is one.
func TestAnswersAreWrittenInPieces(t *testing.T) {
	t.Parallel()
	const piece = 512 << 10
	for n, pieces := range map[int]int{0: 1, 1: 1, piece: 1, piece + 1: 2, 3 * piece: 3} {
		d := newDeadlines()
		r := newRecorder(d, time.Minute)
		if got, err := r.Write(make([]byte, n)); got != n || err != nil || len(d.sizes) != pieces || r.sent != int64(n) ||
			r.status != http.StatusOK {
			t.Errorf("%d bytes: got %d, %v, in pieces of %v, %d sent with status %d; want all, in %d pieces, with status 200", n, got, err,
				d.sizes, r.sent, r.status, pieces)
		}
		status := map[bool]int{true: http.StatusOK}[n > 0]
		for _, limit := range []int64{-1, int64(n), 10} {
			d, want := newDeadlines(), int64(n)
			r := newRecorder(struct {
				http.ResponseWriter
				io.ReaderFrom
			}{d, d.Body}, time.Minute)
			src := io.Reader(bytes.NewReader(make([]byte, n)))
			var limited *io.LimitedReader
			if limit >= 0 {
				limited = &io.LimitedReader{R: src, N: limit}
				src, want = limited, min(want, limit)
			}
			got, err := r.ReadFrom(src)
			if got != want || err != nil || r.sent != want || r.status != status {
				t.Errorf("%d bytes of a source, at most %d: got %d, %v, %d sent with status %d; want %d", n, limit, got, err, r.sent, r.status, want)
			}
			if limited != nil && limited.N != limit-want {
				t.Errorf("%d bytes of a source, at most %d: %d are left of the limit, want %d", n, limit, limited.N, limit-want)
			}
		}
	}
	r := newRecorder(&failingWriter{deadlines: newDeadlines(), left: 2}, time.Minute)
	if n, err := r.Write(make([]byte, 5*piece)); n != 2*piece || !errors.Is(err, os.ErrClosed) || r.sent != 2*piece {
		t.Errorf("to a client that goes: got %d, %v and %d sent, want two pieces and the error", n, err, r.sent)
	}
}

// failingWriter fails after some writes.
type failingWriter struct {
	*deadlines
	left int
}

func (f *failingWriter) Write(p []byte) (int, error) {
	if f.left--; f.left < 0 {
		return 0, os.ErrClosed
	}
	return len(p), nil
}

// idleConn is a connection of an address that only notes its end.
type idleConn struct {
	net.Conn
	address string
	closed  bool
}

func (c *idleConn) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(c.address))
}
func (c *idleConn) Close() error { c.closed = true; return nil }

// crowd adds connections of an address.
func crowd(t *testing.T, c *Connections, n int, address string, known bool, idle time.Duration) (all []*idleConn) {
	t.Helper()
	for i := range n {
		one := &idleConn{address: address}
		SetConnection(c.Context(t.Context(), one), known, idle+time.Duration(i)*time.Millisecond)
		all = append(all, one)
	}
	return all
}

func closed(all []*idleConn) (n int) {
	for _, c := range all {
		if c.closed {
			n++
		}
	}
	return n
}

// Several connections are closed at once, one in 64 of the limit and one: those of unknown callers first, the oldest among them first.
func TestSeveralConnectionsMakeRoom(t *testing.T) {
	t.Parallel()
	c := NewConnections(ConnectionLimits{Max: 128, MaxPerAddress: 1000, MaxIdle: 1000}, NewMetrics(), slog.New(slog.DiscardHandler))
	known := crowd(t, c, 64, "192.0.2.1:1", true, time.Hour)
	strangers := crowd(t, c, 64, "192.0.2.2:1", false, time.Second)
	crowd(t, c, 1, "192.0.2.3:1", true, 0)
	if closed(known) != 0 || closed(strangers) != 3 || closed(strangers[61:]) != 3 {
		t.Errorf("one more than 128: got %d known and %d unknown ones closed, %d of them the oldest, want the 3 oldest unknown ones",
			closed(known), closed(strangers), closed(strangers[61:]))
	}
	// The ended ones count until State is called: each further one closes three more.
	crowd(t, c, 20, "192.0.2.3:1", true, 0)
	if closed(known) != 0 || closed(strangers) != 63 {
		t.Errorf("21 more: got %d known and %d unknown ones closed, want 63 unknown ones", closed(known), closed(strangers))
	}
	crowd(t, c, 1, "192.0.2.3:1", true, 0)
	if closed(known) != 2 || closed(known[62:]) != 2 || closed(strangers) != 64 {
		t.Errorf("22 more: got %d known and %d unknown ones closed, want the last unknown one and the 2 oldest known ones", closed(known),
			closed(strangers))
	}
}

// A client with its number of connections takes none of others, and another one from a network of proxies has no such number.
func TestConnectionsOfAnAddressMakeRoomForThemselves(t *testing.T) {
	t.Parallel()
	c := NewConnections(ConnectionLimits{Max: 1000, MaxPerAddress: 3, MaxIdle: 1000,
		Proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}, NewMetrics(), slog.New(slog.DiscardHandler))
	others, mine := crowd(t, c, 3, "192.0.2.1:1", false, time.Hour), crowd(t, c, 3, "192.0.2.2:1", false, time.Minute)
	proxied := crowd(t, c, 9, "10.1.1.1:1", false, time.Hour)
	if closed(others)+closed(mine)+closed(proxied) != 0 {
		t.Errorf("at the limit: got %d, %d and %d closed, want none", closed(others), closed(mine), closed(proxied))
	}
	mapped := crowd(t, c, 1, "[::ffff:192.0.2.2]:1", false, 0)
	if closed(others) != 0 || closed(mine) != 1 || closed(mapped) != 0 || closed(proxied) != 0 {
		t.Errorf("one more: got %d of others, %d of mine and %d of a proxy closed, want one of mine", closed(others), closed(mine),
			closed(proxied))
	}
	for _, one := range append(mine, mapped...) {
		c.State(one, http.StateActive)
		c.State(one, http.StateClosed)
	}
	if n := len(c.byAddress); n != 1 {
		t.Errorf("after the end of all of an address: %d addresses are counted, want the other one", n)
	}
	if again := crowd(t, c, 3, "192.0.2.2:1", false, 0); closed(again) != 0 {
		t.Errorf("the next three of the address: got %d closed, want none", closed(again))
	}
}

// More idle connections of unknown callers than their limit are closed, whatever the other limits are; those of known callers and
// those with a request do not count.
func TestIdleStrangersAreBounded(t *testing.T) {
	t.Parallel()
	c := NewConnections(ConnectionLimits{Max: 1000, MaxPerAddress: 1000, MaxIdle: 64}, NewMetrics(), slog.New(slog.DiscardHandler))
	known := crowd(t, c, 100, "192.0.2.1:1", true, time.Hour)
	strangers := crowd(t, c, 64, "192.0.2.2:1", false, time.Hour)
	if closed(known)+closed(strangers) != 0 {
		t.Errorf("at the limit: got %d known and %d unknown ones closed, want none", closed(known), closed(strangers))
	}
	more := crowd(t, c, 3, "192.0.2.3:1", false, 0) // the count is taken for every third new connection
	if closed(known) != 0 || closed(strangers) != 2 || closed(more) != 0 {
		t.Errorf("three more: got %d known, %d unknown and %d new ones closed, want 2 unknown ones", closed(known), closed(strangers),
			closed(more))
	}
}

// A caller makes a connection known, but not an anonymous one.
func TestWhoMakesAConnectionKnown(t *testing.T) {
	t.Parallel()
	for kind, want := range map[identity.Kind]bool{identity.NoPrincipal: false, identity.Anonymous: false, identity.User: true,
		identity.Operator: true, identity.WebIdentity: true} {
		ev := &Event{conn: &connection{}}
		ev.Identify(identity.Caller{Kind: kind, ARN: "arn"})
		if got := ev.conn.known.Load(); got != want || ev.Caller.ARN != "arn" {
			t.Errorf("a caller of kind %d: got known %t, caller %+v, want %t", kind, got, ev.Caller, want)
		}
	}
	(&Event{}).Identify(identity.Caller{Kind: identity.User}) // without a connection
}

// A read or write of the client counts while it waits, and bytes move the time of the last progress.
func TestConnectionsKnowWhenTheyWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := &connection{}
		d := newDeadlines()
		b := newBody(d, "abc")
		b.conn = n
		b.ReadCloser = io.NopCloser(readerFunc(func(p []byte) (int, error) {
			if n.waits.Load() != 1 {
				t.Errorf("while it is read: %d reads wait, want 1", n.waits.Load())
			}
			time.Sleep(time.Second)
			return min(len(p), 1), nil
		}))
		for range 2 {
			if _, err := b.Read(make([]byte, 1)); err != nil || n.waits.Load() != 0 || n.progress.Load() != time.Now().UnixNano() {
				t.Errorf("after a read: %v, %d wait, progress at %d, want none, and progress now", err, n.waits.Load(), n.progress.Load())
			}
		}
		r := newRecorder(struct{ http.ResponseWriter }{writerFunc{d, func() {
			if n.waits.Load() != 1 {
				t.Errorf("while it is written: %d writes wait, want 1", n.waits.Load())
			}
			time.Sleep(time.Second)
		}}}, time.Minute)
		r.conn = n
		_, _ = r.Write([]byte("a"))
		if n.waits.Load() != 0 || n.progress.Load() != time.Now().UnixNano() {
			t.Errorf("after a write: %d wait, progress at %d, want none, and progress now", n.waits.Load(), n.progress.Load())
		}
		_, _ = r.ReadFrom(strings.NewReader("abc"))
		if n.waits.Load() != 0 || n.progress.Load() != time.Now().UnixNano() {
			t.Errorf("after a copy: %d wait, progress at %d, want none, and progress now", n.waits.Load(), n.progress.Load())
		}
		time.Sleep(time.Minute)
		n.begin()
		if n.stranger() || n.requests.Load() != 1 || n.progress.Load() != time.Now().UnixNano() {
			t.Errorf("in a request: got %d requests, idle %t, want 1 and progress now", n.requests.Load(), n.stranger())
		}
		time.Sleep(time.Minute)
		n.end()
		if !n.stranger() || n.requests.Load() != 0 || n.progress.Load() != time.Now().UnixNano() {
			t.Errorf("after a request: got %d requests, idle %t, want 0 and progress now", n.requests.Load(), n.stranger())
		}
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

type writerFunc struct {
	http.ResponseWriter
	before func()
}

func (w writerFunc) Write(p []byte) (int, error) { w.before(); return w.ResponseWriter.Write(p) }

// A line that may be frequent is written once in a second, with the number of those that were left out.
func TestOccasionalLinesCountTheOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var text bytes.Buffer
		l := newOccasionalLog(slog.New(slog.NewTextHandler(&text, nil)))
		for _, c := range []struct {
			more int
			wait time.Duration
			want string
		}{{0, 0, "text a=1$"}, {1, time.Second - 1, ""}, {0, 1, "a=1 left_out=2$"}, {0, time.Second, "text a=1$"}, {1, time.Second, "text a=1$"},
			{0, time.Second, "a=1 left_out=1$"}} {
			time.Sleep(c.wait)
			text.Reset()
			for range 1 + c.more {
				l.warn("text", "a", 1)
			}
			if got := strings.TrimSpace(text.String()); c.want == "" && got != "" || !regexp.MustCompile(c.want).MatchString(got) {
				t.Errorf("after %s: got %q, want %q", c.wait, got, c.want)
			}
		}
	})
}

// The text of the metrics is made once in a second, and has all metrics, with the bounds of the times of requests.
func TestMetricsAreMadeOnceInASecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := NewMetrics()
		m.observe(&Event{}, 200, time.Second, 5)
		first := string(m.current())
		m.observe(&Event{}, 200, time.Second, 5)
		time.Sleep(time.Second)
		if string(m.current()) != first {
			t.Error("a second later the text is another one")
		}
		time.Sleep(time.Nanosecond)
		later := string(m.current())
		if !strings.Contains(later, `status="200"} 2`) {
			t.Errorf("more than a second later: got\n%s\nwant two requests", later)
		}
		var bounds []string
		for _, b := range regexp.MustCompile(`ecrin_request_seconds_bucket\{[^}]*le="([^"]*)"`).FindAllStringSubmatch(later, -1) {
			bounds = append(bounds, b[1])
		}
		if got, want := strings.Join(bounds, " "), "0.0005 0.001 0.0025 0.005 0.01 0.025 0.05 0.1 0.25 0.5 1 2.5 5 10 30 120 +Inf"; got != want {
			t.Errorf("got the bounds %s, want %s", got, want)
		}
		for _, name := range []string{"ecrin_requests_in_flight", "ecrin_requests_total", "ecrin_sent_bytes_total", "ecrin_connections ",
			"ecrin_connections_refused_total", "ecrin_connections_evicted_total", "ecrin_file_descriptors_exhausted_total", "go_goroutines"} {
			if !strings.Contains(later, "\n"+name) {
				t.Errorf("the metrics do not have %s", name)
			}
		}
	})
}

// The places of large manifests are half of the processors, at least one, with 64 of a principal that wait for 30 seconds.
func TestPlacesOfManifests(t *testing.T) {
	t.Parallel()
	p := ManifestPlaces()
	if p.free != max(1, runtime.GOMAXPROCS(0)/2) || p.maxWaiting != 64 || p.patience != 30*time.Second {
		t.Errorf("got %d places, %d that wait for %s, want half of %d processors, 64 and 30 s", p.free, p.maxWaiting, p.patience,
			runtime.GOMAXPROCS(0))
	}
}

// After any number of requests nothing of their keys is left, whether they had a place or gave up.
func TestPlacesKeepNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := NewPlaces(2, 2, time.Second)
		var leave []func()
		for _, key := range []string{"a", "b"} {
			l, err := p.Enter(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			leave = append(leave, l)
		}
		for range 2 {
			go func() {
				if _, err := p.Enter(t.Context(), "a"); !errors.Is(err, fault.Unavailable) {
					t.Errorf("without a place: got %v, want Unavailable", err)
				}
			}()
		}
		synctest.Wait()
		if _, err := p.Enter(t.Context(), "a"); !errors.Is(err, fault.Throttled) {
			t.Errorf("the third of a key that may have two: got %v, want Throttled", err)
		}
		time.Sleep(time.Minute)
		for _, l := range leave {
			l()
		}
		if p.free != 2 || len(p.held) != 0 || len(p.waiting) != 0 {
			t.Errorf("afterwards %d are free, %v held and %d wait, want 2, none and none", p.free, p.held, len(p.waiting))
		}
	})
}

// A body is freed whatever its end is: the next one finds room. Its bytes can be asked for again.
func TestReceivedBodiesAreFreed(t *testing.T) {
	t.Parallel()
	s, err := spool.Open(t.TempDir(), spool.Options{MaxFiles: 1, MaxBytes: 100_000})
	if err != nil {
		t.Fatal(err)
	}
	receive := func(length int64, body io.Reader, maxBytes int64) (*Body, error) {
		return Receive(&http.Request{Body: io.NopCloser(body), ContentLength: length}, s, "owner", maxBytes)
	}
	for what, c := range map[string]struct {
		length int64
		body   io.Reader
		want   fault.Code
	}{
		"too long":         {-1, strings.NewReader(strings.Repeat("x", 90_001)), fault.RequestTooLarge},
		"not whole":        {90_000, io.MultiReader(strings.NewReader(strings.Repeat("x", 50_000)), brokenReader{}), fault.MalformedRequest},
		"short, not whole": {17_000, io.MultiReader(strings.NewReader("x"), brokenReader{}), fault.MalformedRequest},
		"shorter":          {10, io.MultiReader(strings.NewReader("x"), brokenReader{}), fault.MalformedRequest},
		"without room":     {150_000, strings.NewReader(strings.Repeat("x", 150_000)), fault.Unavailable},
	} {
		maxBytes := int64(90_000)
		if c.want == fault.Unavailable {
			maxBytes = 200_000 // more than the spool has
		}
		if b, err := receive(c.length, c.body, maxBytes); !errors.Is(err, c.want) {
			t.Errorf("a body that is %s: got %v, %v, want %s", what, b, err, c.want)
		}
		b, err := receive(80_000, strings.NewReader(strings.Repeat("y", 80_000)), 90_000)
		if err != nil {
			t.Fatalf("after a body that is %s: %v", what, err)
		}
		if err := b.Await(func() {}); err != nil {
			t.Error(err)
		}
		for range 2 {
			if all, err := b.Bytes(); err != nil || string(all) != strings.Repeat("y", 80_000) {
				t.Errorf("after a body that is %s: got %d bytes, %v", what, len(all), err)
			}
		}
		b.Close()
	}
	small, err := receive(3, strings.NewReader("abc"), 90_000)
	if err != nil || small.Await(nil) != nil || small.file != nil {
		t.Errorf("a small body: got %+v, %v, want it in memory", small, err)
	}
	small.Close()
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// Each digit of a request id is random, except for the version and a part of the variant.
func TestDigitsOfRequestIDs(t *testing.T) {
	t.Parallel()
	var seen [36]map[byte]bool
	for range 1000 {
		id := NewRequestID()
		for i := range seen {
			if seen[i] == nil {
				seen[i] = map[byte]bool{}
			}
			seen[i][id[i]] = true
		}
	}
	for i, digits := range seen {
		want := 16 // one of 1000 ids lacks a digit at a place once in 10^27 times
		switch i {
		case 8, 13, 14, 18, 23:
			want = 1
		case 19:
			want = 4
		}
		if len(digits) != want {
			t.Errorf("character %d of 1000 ids has %d values, want %d", i, len(digits), want)
		}
	}
}
