package meta_test

import (
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/audit"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
	"github.com/ecrin-dev/ecrin/internal/test/pgtest"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// If the connection is lost at the commit, the caller gets the real outcome, whether the server got the commit or
// not.
func TestConnectionIsLostAtCommit(t *testing.T) {
	t.Parallel()
	s := pgtest.Start(t)
	for _, c := range []struct {
		mode proxyMode
		want string // what is stored
	}{
		{dropBefore, "one"},   // the change runs again
		{holdBefore, "one"},   // the server's process waits for the commit and must be ended first
		{dropAfter, "one"},    // the change is stored and must not run again
		{refuseBefore, "one"}, // and the server cannot be reached for a while
		{refuseAfter, "one"},
	} {
		t.Run(string(c.mode), func(t *testing.T) {
			t.Parallel()
			p := newProxy(t, s.Socket())
			store := openWith(t, meta.PostgreSQL{URL: secret.New(p.url(database(t, s.NewDatabase(t)))), Dir: t.TempDir(),
				Now: time.Now, Timeout: 3 * time.Second})
			metatest.NewFixture(t, store)
			p.mode.Store(c.mode)
			l := line("L")
			runs := 0
			err := store.Write(audit.WithLine(t.Context(), l), func(tx *meta.Tx) error {
				runs++
				return setting("one", fine)(tx)
			})
			if err != nil {
				t.Errorf("got %v, want no error: the outcome can be found out", err)
			}
			if want := map[bool]int{true: 1, false: 2}[c.mode == dropAfter || c.mode == refuseAfter]; runs != want {
				t.Errorf("the write ran %d times, want %d", runs, want)
			}
			if got := stored(t, store); got != c.want {
				t.Errorf("stored: got %q, want %q", got, c.want)
			}
			if got := pendingLines(t, store); got != "L" || !l.Written() {
				t.Errorf("audit lines: got %q, written %t, want one", got, l.Written())
			}
		})
	}
}

// If the server cannot be reached after a lost commit, the error says neither success nor that nothing was stored.
func TestOutcomeIsUnknown(t *testing.T) {
	long(t)
	t.Parallel()
	s := pgtest.New(t)
	p := newProxy(t, s.Socket())
	name := database(t, s.NewDatabase(t))
	store := openWith(t, meta.PostgreSQL{URL: secret.New(p.url(name)), Dir: t.TempDir(), Now: time.Now, Timeout: 300 * time.Millisecond})
	metatest.NewFixture(t, store)
	for _, mode := range []proxyMode{stopBefore, stopAfter} {
		p.mode.Store(mode)
		l := line("L")
		err := store.Write(audit.WithLine(t.Context(), l), setting(string(mode), fine))
		if !errors.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "whether the change was stored is not known") {
			t.Errorf("%s: got %v, want Unavailable and a text that says so", mode, err)
		}
		if !l.Written() {
			t.Errorf("%s: the line counts as not written: it would be written twice if the change is stored", mode)
		}
		p.mode.Store(pass)
		for limit := time.Now().Add(30 * time.Second); store.Ping(t.Context()) != nil; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(limit) {
				t.Fatal("the store does not work again")
			}
		}
	}
	if got := stored(t, store); got != string(stopAfter) {
		t.Errorf("stored: got %q, want what was committed", got)
	}
}

// proxyMode is what a proxy does with the next COMMIT.
type proxyMode string

const (
	pass         proxyMode = "pass"
	dropBefore   proxyMode = "drop before"   // ends both connections instead of sending it
	holdBefore   proxyMode = "hold before"   // ends the client's connection; the server waits for more
	dropAfter    proxyMode = "drop after"    // sends it, waits for the answer, and ends both
	refuseBefore proxyMode = "refuse before" // like dropBefore, and takes no connections for half a second
	refuseAfter  proxyMode = "refuse after"
	stopBefore   proxyMode = "stop before" // like dropBefore, and takes no connections until the mode is set to pass
	stopAfter    proxyMode = "stop after"
)

// proxy forwards connections of a store to its server.
type proxy struct {
	dir, to string
	mode    atomic.Value // proxyMode
	closed  atomic.Int64 // no connections before this time, in nanoseconds
	tries   atomic.Int64
	ended   chan struct{}
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	dir, err := os.MkdirTemp("", "ecrin-px")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{dir: dir, to: to, ended: make(chan struct{})}
	p.mode.Store(pass)
	l, err := net.Listen("unix", filepath.Join(dir, ".s.PGSQL.5432"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = l.Close()
		close(p.ended)
		_ = os.RemoveAll(dir)
	})
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.tries.Add(1)
			go p.serve(c)
		}
	}()
	return p
}

func (p *proxy) url(database string) string {
	return "postgres://ecrin:" + pgtest.Password + "@/" + database + "?host=" + url.QueryEscape(p.dir)
}

func (p *proxy) serve(client net.Conn) {
	defer client.Close()
	mode := p.mode.Load().(proxyMode)
	if mode == pass && p.closed.Load() == 1<<62 {
		p.closed.Store(0)
	}
	if time.Now().UnixNano() < p.closed.Load() {
		return
	}
	server, err := net.Dial("unix", p.to)
	if err != nil {
		return
	}
	hold := false
	defer func() {
		_ = client.Close()
		if hold {
			<-p.ended
		}
		_ = server.Close()
	}()
	answers := make(chan struct{})
	var mute atomic.Bool
	go func() {
		defer close(answers)
		defer client.Close()
		b := make([]byte, 32<<10)
		for {
			n, err := server.Read(b)
			if err != nil || mute.Load() {
				return
			}
			if _, err := client.Write(b[:n]); err != nil {
				return
			}
		}
	}()
	b := make([]byte, 32<<10)
	for {
		n, err := client.Read(b)
		if err != nil {
			return
		}
		if strings.HasPrefix(string(b[:n]), "Q") && strings.Contains(string(b[:n]), "COMMIT\x00") {
			mode := p.mode.Load().(proxyMode)
			switch mode {
			case pass:
			case stopBefore, stopAfter:
				p.closed.Store(1 << 62)
			case refuseBefore, refuseAfter:
				p.closed.Store(time.Now().Add(500 * time.Millisecond).UnixNano())
				p.mode.Store(pass)
			default:
				p.mode.Store(pass)
			}
			switch mode {
			case dropBefore, refuseBefore, stopBefore:
				return
			case holdBefore:
				hold = true
				return
			case dropAfter, refuseAfter, stopAfter:
				mute.Store(true)
				_, _ = server.Write(b[:n])
				<-answers // an answer was received
				return
			}
		}
		if _, err := server.Write(b[:n]); err != nil && !errors.Is(err, io.EOF) {
			return
		}
	}
}
