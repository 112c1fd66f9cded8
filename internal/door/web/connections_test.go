package web_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/door/web"
)

// limited is a server with limits of connections; a request to /known is by a user. It tells how many connections are open.
func limited(t *testing.T, l web.ConnectionLimits, handle func(w http.ResponseWriter, r *http.Request)) (*httptest.Server, *web.Metrics) {
	t.Helper()
	log, metrics := slog.New(slog.DiscardHandler), web.NewMetrics()
	s := web.NewServer(handler(func(w http.ResponseWriter, r *http.Request, ev *web.Event) {
		if r.URL.Path == "/known" {
			ev.Identify(identity.Caller{Kind: identity.User})
		}
		if handle != nil {
			handle(w, r)
		}
	}), web.Options{Log: log, Metrics: metrics, Now: time.Now})
	s.SetWriteTimeout(500 * time.Millisecond)
	connections := web.NewConnections(l, metrics, log)
	server := httptest.NewUnstartedServer(s)
	server.Config.ConnState, server.Config.ConnContext = connections.State, connections.Context
	server.Start()
	t.Cleanup(server.Close)
	return server, metrics
}

func connect(t *testing.T, s *httptest.Server) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// ask sends a GET on an open connection and reads the answer.
func ask(conn net.Conn, path string) error {
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// Whoever opens many connections and does nothing loses them to those who come after, also from the same address; a connection on
// which a caller is known stays.
func TestIdleConnectionsMakeRoomForOthers(t *testing.T) {
	t.Parallel()
	for name, l := range map[string]web.ConnectionLimits{
		"in all":     {Max: 20, MaxPerAddress: 1000, MaxIdle: 1000},
		"by address": {Max: 1000, MaxPerAddress: 20, MaxIdle: 1000},
		"idle alone": {Max: 1000, MaxPerAddress: 1000, MaxIdle: 20},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, metrics := limited(t, l, nil)
			known := connect(t, s)
			if err := ask(known, "/known"); err != nil {
				t.Fatal(err)
			}
			for range 60 {
				connect(t, s)
			}
			for deadline := time.Now().Add(30 * time.Second); ; { // until the server has seen the end of those that it closed
				conn, err := net.Dial("tcp", s.Listener.Addr().String())
				if err == nil {
					err = ask(conn, "/")
				}
				if err == nil && open(metrics) <= 25 {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("a client after 60 idle connections: got %v and %d connections, want an answer and about 20", err, open(metrics))
				}
			}
			if err := ask(known, "/known"); err != nil {
				t.Errorf("the connection of a known caller: %v", err)
			}
		})
	}
}

// open is how many connections the metrics count.
func open(m *web.Metrics) (n int) {
	w := httptest.NewRecorder()
	m.ServeHTTP(w, nil)
	_, rest, _ := strings.Cut(w.Body.String(), "\necrin_connections ")
	_, _ = fmt.Sscan(rest, &n)
	return n
}

// A client that does not read its answer is disconnected, whether the bytes come from memory or from a file.
func TestReadersThatStallAreDisconnected(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "blob")
	if err := os.WriteFile(path, make([]byte, 64<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, from := range []string{"/memory", "/file"} {
		ended := make(chan struct{})
		s, _ := limited(t, web.ConnectionLimits{Max: 10, MaxPerAddress: 10, MaxIdle: 10}, func(w http.ResponseWriter, r *http.Request) {
			defer close(ended)
			if r.URL.Path == "/file" {
				http.ServeFile(w, r, path)
				return
			}
			_, _ = w.Write(make([]byte, 64<<20))
		})
		conn := connect(t, s)
		if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", from); err != nil {
			t.Fatal(err)
		}
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			t.Fatalf("%s: the handler still writes after 20s with a deadline of 500ms", from)
		}
	}
}

// A client that reads slowly, and longer than the deadline of one write, gets all.
func TestReadersThatAreSlowGetAll(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "blob")
	const size = 24 << 20
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	s, _ := limited(t, web.ConnectionLimits{Max: 10, MaxPerAddress: 10, MaxIdle: 10}, func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, path)
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var got int64
	for err == nil {
		<-tick.C
		var n int64
		n, err = io.CopyN(io.Discard, resp.Body, 512<<10)
		got += n
	}
	if got != size {
		t.Errorf("got %d bytes, %v; want %d", got, err, size)
	}
}

// fileWriter is a ResponseWriter that notes from what package http would send.
type fileWriter struct {
	http.ResponseWriter
	files, others int
}

func (f *fileWriter) ReadFrom(src io.Reader) (int64, error) {
	limited, ok := src.(*io.LimitedReader)
	if _, file := limited.R.(*os.File); ok && file {
		f.files++
	} else {
		f.others++
	}
	return io.Copy(struct{ io.Writer }{f.ResponseWriter}, src)
}

// Package http sees the file itself in every piece, so that it can have the kernel send it.
func TestFilesAreSentByTheKernel(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "blob")
	const size = 3<<20 + 5
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	s := web.NewServer(handler(func(w http.ResponseWriter, r *http.Request, _ *web.Event) {
		f, err := os.Open(path)
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		http.ServeContent(w, r, "", time.Time{}, f)
	}), web.Options{Log: slog.New(slog.DiscardHandler), Metrics: web.NewMetrics(), Now: time.Now})
	to := httptest.NewRecorder()
	w := &fileWriter{ResponseWriter: to}
	s.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if to.Body.Len() != size || w.files < 2 || w.others > 0 {
		t.Errorf("got %d bytes, %d pieces of the file, %d of something else; want %d, several, none", to.Body.Len(), w.files, w.others, size)
	}
}
