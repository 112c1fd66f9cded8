package cli_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"github.com/ecrin-dev/ecrin/internal/main/client"
)

// launch starts the program on a new data directory.
func launch(t *testing.T) (p *process, data string) {
	t.Helper()
	program, err := exec.LookPath("ecrin")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	data = filepath.Join(dir, "data")
	p, err = startServer(program, dir, os.Environ(), "--data", data)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.cmd.ProcessState == nil {
			_ = p.cmd.Process.Kill() // the test has failed
			_ = p.cmd.Wait()
		}
	})
	return p, data
}

// A first start is ready soon. How soon is measured by the benchmark: the machine of a test may be busy.
func TestServeIsReadySoon(t *testing.T) {
	t.Parallel()
	best := time.Hour
	for range 5 {
		start := time.Now()
		p, _ := launch(t)
		best = min(best, time.Since(start))
		if err := p.end(); err != nil {
			t.Fatalf("the server ended with: %v", err)
		}
		if best < 10*time.Second {
			t.Logf("ready after %s", best.Round(time.Millisecond))
			return
		}
	}
	t.Errorf("the fastest of 5 starts took %s, want less than 10 seconds", best)
}

// After SIGTERM the program refuses new connections, finishes the requests in flight, and exits with code 0.
func TestServeFinishesRequestInFlight(t *testing.T) {
	t.Parallel()
	p, data := launch(t)
	c, err := api(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := push(t.Context(), data, "app", "", "seed"); err != nil {
		t.Fatal(err)
	}
	login, err := c.GetAuthorizationToken(t.Context(), &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		t.Fatal(err)
	}
	server, err := client.Find(data)
	if err != nil {
		t.Fatal(err)
	}
	first, second := bytes.Repeat([]byte("a"), 1<<20), []byte("the end")
	sum := sha256.New()
	sum.Write(first)
	sum.Write(second)
	body, feed := io.Pipe()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost,
		fmt.Sprintf("%s/v2/app/blobs/uploads/?digest=sha256:%x", server.URL, sum.Sum(nil)), body)
	if err != nil {
		t.Fatal(err)
	}
	r.ContentLength = int64(len(first) + len(second))
	r.Header.Set("Authorization", "Basic "+*login.AuthorizationData[0].AuthorizationToken)
	r.Header.Set("Content-Type", "application/octet-stream")
	r.Header.Set("Expect", "100-continue") // the body is sent when the handler reads it: the request is then in flight
	answered := make(chan error, 1)
	go func() {
		resp, err := http.DefaultClient.Do(r)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode != http.StatusCreated {
				err = fmt.Errorf("the upload was answered %s, want 201", resp.Status)
			}
		}
		answered <- err
	}()
	if _, err := feed.Write(first); err != nil { // returns when the transport has taken it
		t.Fatal(err)
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	waitRefused(t, server.Address)
	select {
	case err := <-answered:
		t.Fatalf("the request ended before its body: %v", err)
	default:
	}
	if _, err := feed.Write(second); err != nil {
		t.Fatal(err)
	}
	feed.Close()
	if err := <-answered; err != nil {
		t.Errorf("the request in flight: %v", err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("the program ended with %v, want exit code 0", err)
	}
	if _, err := client.Find(data); !errors.Is(err, client.ErrNotRunning) {
		t.Errorf("after the end, Find returns %v, want ErrNotRunning", err)
	}
}

// waitRefused returns when the address refuses connections.
func waitRefused(t *testing.T, address string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if errors.Is(err, syscall.ECONNREFUSED) {
			return
		}
		if err != nil && ctx.Err() != nil {
			t.Fatal("10 seconds after SIGTERM connections are still accepted")
		}
		if err == nil {
			conn.Close()
		}
	}
}
