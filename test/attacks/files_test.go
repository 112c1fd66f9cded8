package attacks_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// The start raises the soft limit of file descriptors to the hard one and says so.
func TestStartRaisesTheLimitOfFileDescriptors(t *testing.T) {
	p := serve(t, "ulimit -Sn 100 && ulimit -Hn 2000")
	for _, want := range []string{`"file_descriptors":2000`, `"file_descriptors_hard":2000`, `"connections":1500`} {
		logs(t, p, want)
	}
	logs(t, serve(t, "ulimit -n 100"), "few file descriptors")
}

// logs checks that the log of a server contains a text. It comes through a pipe, a moment later than the line on standard output.
func logs(t *testing.T, p *process, want string) {
	t.Helper()
	for begun := time.Now(); !strings.Contains(p.log.String(), want); time.Sleep(5 * time.Millisecond) {
		if time.Since(begun) > 10*time.Second {
			t.Errorf("the log at the start does not contain %s:\n%s", want, p.log)
			return
		}
	}
}

// With few file descriptors, connections that do nothing and readers that stall give way: a request is answered, or told by 503 to
// come again, and never fails with 500. It is logged and counted.
func TestFewFileDescriptors(t *testing.T) {
	p := serve(t, "ulimit -n 80", "--max-connections", "10000")
	root := p.Root(t)
	repo := root.CreateRepository(t, "team/app")
	repo.Push(t, "1.0", ocitest.NewImage(1, 1000))
	big := repo.PutBlob(t, ocitest.Bytes(2, 8<<20))
	header := fmt.Sprintf("GET %s HTTP/1.1\r\nHost: x\r\nAuthorization: Basic %s\r\n\r\n", repo.Path("/blobs/"+big),
		basic("AWS", root.Password(t)))
	for i := range 150 {
		conn := dial(t, p)
		if i%2 == 0 {
			_, _ = io.WriteString(conn, header) // a reader that stalls: a connection and a file
		}
	}
	statuses := map[int]int{}
	var mu sync.Mutex
	var all sync.WaitGroup
	begun := time.Now()
	answered := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return statuses[http.StatusOK] > 0
	}
	for range 4 {
		all.Go(func() {
			client := ocitest.NewHTTP(t)
			client.Timeout = 30 * time.Second
			for i := 0; i < 5 || !answered() && time.Since(begun) < time.Minute; i++ {
				if i >= 5 {
					time.Sleep(500 * time.Millisecond) // readers that stall give way in time
				}
				r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.URL+repo.Path("/blobs/"+big), nil)
				if err != nil {
					t.Error(err)
					return
				}
				r.SetBasicAuth("AWS", repo.Password)
				status := 0
				if resp, err := client.Do(r); err == nil {
					status = resp.StatusCode
					_, _ = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
					if status == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") == "" {
						t.Error("503 without Retry-After")
					}
				}
				client.CloseIdleConnections()
				mu.Lock()
				statuses[status]++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	t.Logf("answers by status (0: none): %v", statuses)
	for status := range statuses {
		if status != 0 && status != http.StatusOK && status != http.StatusServiceUnavailable {
			t.Errorf("got the status %d, want 200 or 503; all: %v", status, statuses)
		}
	}
	if statuses[http.StatusOK] == 0 {
		t.Errorf("answers by status: got %v, want some with 200", statuses)
	}
	lines := strings.Count(p.log.String(), "no free file descriptor")
	t.Logf("lines about file descriptors: %d", lines)
	if lines == 0 {
		t.Errorf("the log does not say that there was no file descriptor:\n%s", tail(p.log.String()))
	}
	if strings.Contains(p.log.String(), `"status":500`) {
		t.Errorf("a request failed with 500:\n%s", tail(p.log.String()))
	}
}

func tail(s string) string { return s[max(0, len(s)-2000):] }
