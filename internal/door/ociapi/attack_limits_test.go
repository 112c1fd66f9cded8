package ociapi_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// hangUploads begins n uploads, sends the first bytes of each, and then sends nothing until then returns io.EOF. It
// returns when the server reads the bodies of all of them. ended receives the result of each.
//
// Each request expects 100 Continue, which the server sends when it first reads the body: then the upload is counted. The number of
// requests in flight does not show that.
func hangUploads(t *testing.T, repo ocitest.Repo, n int, then io.Reader, ended chan<- error) {
	t.Helper()
	for range n {
		location := repo.Begin(t)
		started, answered := make(chan struct{}), make(chan struct{})
		go func() {
			body := &startedReader{first: bytes.NewReader(make([]byte, 64<<10)), then: then, started: started}
			a, err := repo.Try(t.Context(), http.MethodPatch, location, body, "Expect", "100-continue")
			if err == nil && a.Status != http.StatusAccepted {
				err = fmt.Errorf("got %d %s", a.Status, a.Body)
			}
			ended <- err
			close(answered)
		}()
		select {
		case <-started:
		case <-answered: // refused: ended has the reason
		}
	}
}

// Row 33: the limit of concurrent uploads applies to a role, not to each session name, which the caller of AssumeRole
// chooses.
func TestUploadLimitCountsTheRoleOfAllSessions(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := personOf(s, s.Root(t))
	s.Root(t).CreateRepository(t, "team/app")
	root.role(t, "ci", may("ecr:*"))
	pusher := root.user(t, "pusher", may("sts:AssumeRole"))
	one := pusher.assume(t, "ci", "one", "").docker(t).Repo("team/app")
	two := pusher.assume(t, "ci", "two", "").docker(t).Repo("team/app")

	hang, release := io.Pipe()
	defer release.Close()
	ended := make(chan error, hanging)
	hangUploads(t, one, hanging/2, hang, ended)
	hangUploads(t, two, hanging-hanging/2, hang, ended)
	for session, repo := range map[string]ocitest.Repo{"one": one, "two": two} {
		a := repo.Do(t, http.MethodPatch, repo.Begin(t), []byte("x"))
		if a.Status != http.StatusTooManyRequests {
			t.Errorf("session %s, an upload above the limit of the role: got %d %s, want 429", session, a.Status, a.Body)
		}
	}
	root.docker(t).Repo("team/app").PutBlob(t, []byte("another principal"))
	release.Close()
	for range hanging {
		if err := <-ended; err != nil {
			t.Errorf("an upload that continued after a pause: %v", err)
		}
	}
}
