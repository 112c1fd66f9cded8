package web_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/door/web"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// Row 33: a client that declares a body and does not send it is disconnected, also if the handler refused the request
// without reading the body, in which case package http reads the rest before it answers. The attack needs no
// credentials.
func TestAttack33SilentClients(t *testing.T) {
	t.Parallel()
	read := make(chan error, 8)
	s := web.NewServer(handler(func(w http.ResponseWriter, r *http.Request, _ *web.Event) {
		if r.URL.Path == "/refused" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, err := io.ReadAll(r.Body)
		read <- err
		w.WriteHeader(http.StatusRequestTimeout)
	}), web.Options{Log: slog.New(slog.DiscardHandler), Metrics: web.NewMetrics(), Now: time.Now})
	s.SetIdleTimeout(100 * time.Millisecond)
	server := httptest.NewServer(s)
	defer server.Close()
	for path, status := range map[string]int{"/refused": http.StatusUnauthorized, "/read": http.StatusRequestTimeout} {
		for _, c := range []string{"Content-Length: 10\r\n\r\n", "Content-Length: 10\r\n\r\n12345",
			"Transfer-Encoding: chunked\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n5\r\n123"} {
			conn, err := net.Dial("tcp", strings.TrimPrefix(server.URL, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := fmt.Fprintf(conn, "PATCH %s HTTP/1.1\r\nHost: localhost\r\n%s", path, c); err != nil {
				t.Fatal(err)
			}
			if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			r := bufio.NewReader(conn)
			resp, err := http.ReadResponse(r, nil)
			if err != nil || resp.StatusCode != status {
				t.Errorf("%s, %q: got %+v, %v; want %d", path, c, resp, err, status)
				continue
			}
			resp.Body.Close()
			if rest, err := io.ReadAll(r); err != nil {
				t.Errorf("%s, %q: after the answer: got %q, %v; want a closed connection", path, c, rest, err)
			}
			if path == "/read" {
				if err := <-read; !errors.Is(err, fault.RequestTimeout) {
					t.Errorf("%q: the handler read %v, want RequestTimeout", c, err)
				}
			}
		}
	}
}

// A body that takes longer than the time without bytes arrives whole, as long as bytes come.
func TestBodiesThatAreSlowArriveWhole(t *testing.T) {
	t.Parallel()
	read := make(chan string, 1)
	s := web.NewServer(handler(func(_ http.ResponseWriter, r *http.Request, _ *web.Event) {
		all, err := io.ReadAll(r.Body)
		read <- fmt.Sprint(len(all), err)
	}), web.Options{Log: slog.New(slog.DiscardHandler), Metrics: web.NewMetrics(), Now: time.Now})
	s.SetIdleTimeout(5 * time.Second)
	server := httptest.NewServer(s)
	defer server.Close()
	conn, err := net.Dial("tcp", strings.TrimPrefix(server.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprint(conn, "PATCH / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 14\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for range 14 {
		<-tick.C
		if _, err := conn.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if got := <-read; got != "14 <nil>" {
		t.Errorf("14 bytes in 7 s: got %s, want all", got)
	}
}
