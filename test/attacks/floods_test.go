package attacks_test

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// wantPulls pulls an image n times as an honest client does beside an attack, on connections of its own: every pull succeeds, soon, and
// without being told to slow down.
func wantPulls(t *testing.T, p *process, n int) {
	t.Helper()
	repo := p.Root(t).Docker(t).Repo("team/app")
	var slowest time.Duration
	for range n {
		start := time.Now()
		repo.HTTP = ocitest.NewHTTP(t)
		repo.Manifest(t, "1.0").Want(t, http.StatusOK)
		slowest = max(slowest, time.Since(start))
	}
	t.Logf("slowest of %d pulls: %v", n, slowest)
	if slowest > 5*time.Second {
		t.Errorf("the slowest of %d pulls took %v, want less than 5s", n, slowest)
	}
}

func pushed(t *testing.T, p *process) {
	t.Helper()
	p.Root(t).CreateRepository(t, "team/app").Push(t, "1.0", ocitest.NewImage(1, 1000))
}

// Requests without a signature are refused by their header: the bodies that they bring are not read into memory.
func TestUnsignedBodiesCostNoMemory(t *testing.T) {
	p := serve(t, "")
	pushed(t, p)
	p.resetPeak(t)
	body := strings.Repeat("x", 1<<20)
	for _, kind := range []string{"application/x-amz-json-1.1", "application/x-www-form-urlencoded"} {
		var all sync.WaitGroup
		for range 1000 {
			conn := dial(t, p)
			all.Go(func() {
				_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
				// The server may answer and close before all is sent.
				_, _ = fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", kind,
					len(body), body[:len(body)-1])
			})
		}
		all.Wait()
	}
	wantPulls(t, p, 20)
	got := p.peak(t)
	t.Logf("2000 unsigned bodies of 1 MiB: %d MB", got)
	if got > maxMB {
		t.Errorf("2000 unsigned bodies of 1 MiB: got %d MB resident, want at most %d", got, maxMB)
	}
}

// Thousands of connections that pipeline requests and read nothing, or send nothing at all, stop nobody and cost little.
func TestConnectionsThatReadNothing(t *testing.T) {
	p := serve(t, "", "--max-connections-per-address", "1500")
	pushed(t, p)
	p.resetPeak(t)
	for _, path := range []string{"/metrics", "/v2/", "/"} {
		requests := strings.Repeat(fmt.Sprintf("GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path), 200)
		for range 800 {
			conn, err := net.Dial("tcp", p.Running.Address)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			_ = conn.SetDeadline(time.Now().Add(time.Second))
			_, _ = conn.Write([]byte(requests)) // the server reads them as long as it can answer
		}
	}
	wantPulls(t, p, 20)
	got := p.peak(t)
	t.Logf("2400 connections that read nothing: %d MB", got)
	if got > maxMB {
		t.Errorf("2400 connections that read nothing: got %d MB resident, want at most %d", got, maxMB)
	}
}
