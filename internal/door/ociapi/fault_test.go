package ociapi_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// eventually waits until is returns true.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(20 * time.Second)
	for !is() {
		if time.Now().After(deadline) {
			t.Fatalf("timeout while waiting: %s", what)
		}
		<-tick.C
	}
}

// half sends the head of a request and part of its body on a new connection, and disconnects.
func half(t *testing.T, r ocitest.Repo, method, path, header string, part []byte) {
	t.Helper()
	address := strings.TrimPrefix(r.Base, "http://")
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Basic %s\r\n%s\r\n", method, path, address,
		base64.StdEncoding.EncodeToString([]byte("AWS:"+r.Password)), header)
	if err == nil {
		_, err = conn.Write(part)
	}
	if err = errors.Join(err, conn.Close()); err != nil {
		t.Fatal(err)
	}
}

// uploadBytes returns the number of bytes of all unfinished uploads.
func uploadBytes(t *testing.T, s *apptest.Server) (n int64) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(s.Dir, "blobs", "uploads"), func(_ string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			n += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// If a client disconnects in the middle of a body, the upload has the same offset as before, the bytes of the chunk are
// deleted, and the goroutines of the request end.
func TestClientGone(t *testing.T) { // not parallel: it counts goroutines
	s := apptest.Start(t, apptest.Options{})
	repo := s.Root(t).CreateRepository(t, "team/app")
	content := ocitest.Bytes(1, 900_000)
	d := ocitest.SHA256(content)
	im := ocitest.NewImage(2, 10)
	repo.PushBlobs(t, im)
	location := repo.Begin(t)
	repo.Do(t, http.MethodPatch, location, content[:100_000]).Want(t, http.StatusAccepted)
	s.HTTP.CloseIdleConnections()
	before := runtime.NumGoroutine()
	answered := func() int { return strings.Count(s.Log.String(), `"msg":"request"`) }
	done := answered()
	rest := content[100_000:]
	for _, sent := range []int{0, 1, 40_000, 500_000} {
		length := fmt.Sprintf("Content-Length: %d\r\n", len(rest))
		half(t, repo, http.MethodPatch, location, length, rest[:sent])
		half(t, repo, http.MethodPatch, location, length+fmt.Sprintf("Content-Range: 100000-%d\r\n", len(content)-1), rest[:sent])
		half(t, repo, http.MethodPatch, location, "Transfer-Encoding: chunked\r\n", append(fmt.Appendf(nil, "%x\r\n", len(rest)), rest[:sent]...))
		half(t, repo, http.MethodPut, location+"?digest="+d, length, rest[:sent])
		half(t, repo, http.MethodPost, repo.Path("/blobs/uploads/?digest="+d),
			fmt.Sprintf("Content-Length: %d\r\n", len(content)), content[:sent])
	}
	half(t, repo, http.MethodPut, repo.Path("/manifests/v1"),
		fmt.Sprintf("Content-Type: %s\r\nContent-Length: %d\r\n", ocitest.ImageType, len(im.Manifest)), im.Manifest[:100])
	eventually(t, "the requests of gone clients to end", func() bool { return answered() == done+21 })
	eventually(t, "goroutines of gone clients to end", func() bool { return runtime.NumGoroutine() <= before })
	if log := s.Log.String(); strings.Contains(log, `"status":5`) {
		t.Errorf("the log has a status 5xx for a client that disconnected: %.600s", log[strings.Index(log, `"status":5`)-300:])
	}
	if got := uploadBytes(t, s); got != 100_000 {
		t.Errorf("unfinished uploads have %d bytes, want the 100000 that were accepted", got)
	}
	repo.Do(t, http.MethodGet, location, nil).Want(t, http.StatusNoContent).WantHeader(t, "Range", "0-99999")
	repo.Blob(t, d).WantError(t, http.StatusNotFound, "BLOB_UNKNOWN")
	repo.Manifest(t, "v1").WantError(t, http.StatusNotFound, "MANIFEST_UNKNOWN")
	repo.Do(t, http.MethodPut, location+"?digest="+d, rest).Want(t, http.StatusCreated)
	if got := repo.Blob(t, d); !bytes.Equal(got.Body, content) {
		t.Error("the content of the blob differs")
	}
	if got := uploadBytes(t, s); got != 0 {
		t.Errorf("unfinished uploads have %d bytes after the last was completed, want 0", got)
	}
}

// A body that is shorter or longer than declared does not change the upload. Bytes after the Content-Length are the
// next request, not part of the blob.
func TestBodyOfAnotherLength(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	repo := s.Root(t).CreateRepository(t, "team/app")
	address := strings.TrimPrefix(repo.Base, "http://")
	location := repo.Begin(t)
	auth := "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("AWS:"+repo.Password)) + "\r\n"
	send := func(header, body string, end bool) string {
		t.Helper()
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := fmt.Fprintf(conn, "PATCH %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n%s%s\r\n%s", location, address,
			auth, header, body); err != nil {
			t.Fatal(err)
		}
		if end {
			if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
		}
		answer, err := io.ReadAll(conn)
		if err != nil {
			t.Fatal(err)
		}
		return string(answer)
	}
	for _, c := range []struct{ name, header, body, want, stands string }{
		{"shorter", "Content-Length: 10\r\n", "12345", "HTTP/1.1 400 ", "0-0"},
		{"shorter than the range", "Transfer-Encoding: chunked\r\nContent-Range: 0-9\r\n", "5\r\n12345\r\n0\r\n\r\n", "HTTP/1.1 400 ", "0-0"},
		{"longer than the range", "Transfer-Encoding: chunked\r\nContent-Range: 0-3\r\n", "5\r\n12345\r\n0\r\n\r\n", "HTTP/1.1 400 ", "0-0"},
		{"no end of chunks", "Transfer-Encoding: chunked\r\n", "5\r\n12345\r\n", "HTTP/1.1 400 ", "0-0"},
		{"a bad chunk", "Transfer-Encoding: chunked\r\n", "xyz\r\n", "HTTP/1.1 400 ", "0-0"},
		// chunked takes precedence: RFC 9112, 6.3
		{"both lengths", "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "5\r\n12345\r\n0\r\n\r\n", "HTTP/1.1 202 ", "0-4"},
		{"longer", "Content-Length: 5\r\n", "67890ABCDE", "HTTP/1.1 202 ", "0-9"},
	} {
		if got := send(c.header, c.body, c.stands == "0-0"); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: got %.200q, want %s", c.name, got, c.want)
		}
		repo.Do(t, http.MethodGet, location, nil).Want(t, http.StatusNoContent).WantHeader(t, "Range", c.stands)
	}
	repo.Do(t, http.MethodPut, location+"?digest="+ocitest.SHA256([]byte("1234567890")), nil).Want(t, http.StatusCreated)
}
