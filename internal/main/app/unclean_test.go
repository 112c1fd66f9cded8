package app_test

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/main/app"
	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// A stop that ends requests is not a clean one: an upload may be between its bytes and their record, so that the next start compares all
// files with the records.
func TestStopThatEndsRequestsIsNotClean(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{Config: func(c *config.Config) { c.StopTimeout = time.Millisecond }})
	repo := s.Root(t).CreateRepository(t, "team/app")
	body, feed := io.Pipe()
	answered := make(chan error, 1)
	go func() {
		_, err := repo.Try(t.Context(), http.MethodPost, repo.Path("/blobs/uploads/?digest="+ocitest.SHA256([]byte("never"))), body)
		answered <- err
	}()
	for range 32 { // more than the buffers of the connection take: the server reads it
		if _, err := feed.Write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.End(); err == nil {
		t.Error("the stop with a request in flight: got no error")
	}
	feed.Close()
	<-answered
	running := filepath.Join(s.Dir, app.RunningFile)
	if _, err := os.Lstat(running); err != nil {
		t.Errorf("after a stop that has ended a request: got %v, want the file to stay", err)
	}
	next := apptest.Start(t, apptest.Options{Dir: s.Dir})
	if err := next.End(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(running); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after a clean stop: got %v, want no file", err)
	}
}
