package web_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ecrin-dev/ecrin/internal/door/web"
	"github.com/ecrin-dev/ecrin/internal/store/spool"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// receiver is a server whose handler receives a body of up to 1 MiB and reports the result.
func receiver(t *testing.T, slowStart time.Duration, o spool.Options) (address string, results <-chan string) {
	t.Helper()
	files, err := spool.Open(t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	all := make(chan string, 100)
	s := web.NewServer(handler(func(w http.ResponseWriter, r *http.Request, _ *web.Event) {
		b, err := web.Receive(r, files, r.URL.Path, 1<<20)
		if err != nil {
			all <- fault.From(err).Code.String()
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		defer b.Close()
		content, err := b.Bytes()
		all <- fmt.Sprint(len(content), b.Size, b.Sum == sha256.Sum256(content), err)
	}), web.Options{Log: slog.New(slog.DiscardHandler), Metrics: web.NewMetrics(), Now: time.Now})
	s.SetSlowStart(slowStart)
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://"), all
}

func TestReceiveHashesBodiesOfAllSizes(t *testing.T) {
	t.Parallel()
	address, results := receiver(t, time.Minute, spool.Options{MaxFiles: 1, MaxBytes: 2 << 20})
	for _, n := range []int{1, 4096, 16<<10 - 1, 16 << 10, 16<<10 + 1, 100_000, 1 << 20, 1<<20 + 1} {
		for _, declared := range []bool{true, false} {
			var body io.Reader = strings.NewReader(strings.Repeat("b", n))
			if !declared {
				body = io.MultiReader(body) // chunked
			}
			resp, err := http.Post("http://"+address, "", body)
			if err == nil {
				resp.Body.Close()
			}
			want := fmt.Sprint(n, n, true, nil)
			if n > 1<<20 {
				want = "RequestTooLarge"
			}
			if got := <-results; got != want {
				t.Errorf("%d bytes, declared %v: got %s, want %s", n, declared, got, want)
			}
		}
	}
}

// begin sends the header of a POST of 1 MiB and the first bytes of the body.
func begin(t *testing.T, address, path string, first int) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", path, 1<<20,
		strings.Repeat("x", first)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// A byte now and then does not keep a body alive.
func TestReceiveEndsABodyBelowTheMinimumRate(t *testing.T) {
	t.Parallel()
	address, results := receiver(t, 200*time.Millisecond, spool.Options{MaxFiles: 1, MaxBytes: 2 << 20})
	for _, first := range []int{1, 20_000} {
		conn := begin(t, address, "/", first)
		stop := make(chan struct{})
		var trickle sync.WaitGroup
		trickle.Go(func() {
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-stop:
					return
				case <-tick.C:
					_, _ = conn.Write([]byte("x"))
				}
			}
		})
		select {
		case got := <-results:
			if got != "RequestTimeout" {
				t.Errorf("first %d bytes, then one in 20 ms: got %s, want RequestTimeout", first, got)
			}
		case <-time.After(20 * time.Second):
			t.Errorf("first %d bytes, then one in 20 ms: the body is still being read after 20s", first)
		}
		close(stop)
		trickle.Wait()
	}
}

// When files are short the sender who has most of them loses one at once, not when its next byte arrives.
func TestReceiveMakesRoomForOthers(t *testing.T) {
	t.Parallel()
	address, results := receiver(t, time.Minute, spool.Options{MaxFiles: 2, MaxBytes: 4 << 20})
	for range 3 {
		begin(t, address, "/attacker", 30_000)
	}
	if got := <-results; got != "RequestTimeout" {
		t.Errorf("the third body of two: got %s, want RequestTimeout for one", got)
	}
	resp, err := http.Post("http://"+address+"/honest", "", strings.NewReader(strings.Repeat("b", 100_000)))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	got := []string{<-results, <-results}
	if want := fmt.Sprint(100_000, 100_000, true, nil); resp.StatusCode != http.StatusOK || got[0] != want && got[1] != want {
		t.Errorf("an honest body beside them: got %d %q, want 200 %s", resp.StatusCode, got, want)
	}
}

// A length that is only declared costs no memory.
func TestReadBodyGrowsWithWhatArrives(t *testing.T) {
	// Not parallel: it measures the memory of the process.
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 100 {
		r := httptest.NewRequest(http.MethodPost, "/", io.MultiReader(strings.NewReader("short")))
		r.ContentLength = 1 << 20
		if got, err := web.ReadBody(r, 1<<20); err != nil || string(got) != "short" {
			t.Fatalf("got %q, %v; want the bytes that came", got, err)
		}
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 10<<20 {
		t.Errorf("100 bodies that declare 1 MiB and have 5 bytes: got %d bytes allocated, want less than 10 MiB", got)
	}
}

func TestPlacesAreSharedFairly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := web.NewPlaces(2, 3, time.Minute)
		enter := func(key string) func() {
			leave, err := p.Enter(t.Context(), key)
			if err != nil {
				t.Errorf("a place for %s: %v", key, err)
				return func() {}
			}
			return leave
		}
		one, two := enter("attacker"), enter("attacker") // nobody else waits
		var order []string
		var mu sync.Mutex
		var all sync.WaitGroup
		for _, key := range []string{"attacker", "attacker", "attacker", "honest"} {
			all.Go(func() {
				leave := enter(key)
				mu.Lock()
				order = append(order, key)
				mu.Unlock()
				leave()
			})
			synctest.Wait() // in this order
		}
		if _, err := p.Enter(t.Context(), "attacker"); !errors.Is(err, fault.Throttled) {
			t.Errorf("the fourth that waits of three: got %v, want Throttled", err)
		}
		one()
		all.Wait()
		if order[0] != "honest" {
			t.Errorf("the order of places: got %v, want the honest one first", order)
		}
		two()
	})
}

func TestWaitingForAPlaceEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := web.NewPlaces(1, 10, 30*time.Second)
		leave, err := p.Enter(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if _, err := p.Enter(t.Context(), "b"); !errors.Is(err, fault.Unavailable) || time.Since(start) != 30*time.Second {
			t.Errorf("a place that does not become free: got %v after %v, want Unavailable after 30s", err, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := p.Enter(ctx, "b"); !errors.Is(err, fault.RequestTimeout) {
			t.Errorf("a client that goes away: got %v, want RequestTimeout", err)
		}
		leave()
		if leave, err = p.Enter(t.Context(), "b"); err != nil {
			t.Fatalf("a free place: %v", err)
		}
		leave()
	})
}

// A body that waits for a place and is given up for others is refused as one that may be sent again; one whose client goes away is
// not; and neither keeps a place.
func TestABodyThatIsGivenUpWhileItWaits(t *testing.T) {
	t.Parallel()
	files := openSpool(t, spool.Options{MaxFiles: 1, MaxBytes: 1 << 20})
	p := web.NewPlaces(1, 1, time.Minute)
	receive := func(owner string, size int) *web.Body {
		t.Helper()
		b, err := web.Receive(httptest.NewRequest(http.MethodPut, "/", strings.NewReader(strings.Repeat("x", size))), files, owner, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	leave, err := p.Enter(t.Context(), "first")
	if err != nil {
		t.Fatal(err)
	}
	for what, want := range map[string]fault.Code{"given up": fault.Unavailable, "its client is gone": fault.RequestTimeout} {
		b := receive("a", 30_000)
		ctx, cancel := context.WithCancel(t.Context())
		loaded := make(chan error, 1)
		go func() {
			_, _, err := p.Load(ctx, b, "a")
			loaded <- err
		}()
		for p.Waiting() == 0 {
			runtime.Gosched()
		}
		if _, _, err := p.Load(t.Context(), receive("a", 10), "a"); !errors.Is(err, fault.Throttled) {
			t.Errorf("another body of a sender of whom one may wait: got %v, want Throttled", err)
		}
		if want == fault.Unavailable {
			receive("b", 30_000).Close() // there is one file
		} else {
			cancel()
		}
		if err := <-loaded; !errors.Is(err, want) {
			t.Errorf("a body that waits and is %s: got %v, want %s", what, err, want)
		}
		b.Close()
		cancel()
	}
	leave()
	all, leave, err := p.Load(t.Context(), receive("c", 30_000), "c")
	if err != nil || len(all) != 30_000 {
		t.Fatalf("afterwards: got %d bytes, %v, want all", len(all), err)
	}
	leave()
}
