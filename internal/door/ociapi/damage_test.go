package ociapi_test

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// blobFile returns the path of the file of a blob in the data directory of a server.
func blobFile(s *apptest.Server, digest string) string {
	algorithm, hex, _ := strings.Cut(digest, ":")
	return filepath.Join(s.Dir, "blobs", algorithm, hex[:2], hex)
}

// quarantined returns the names of the files in the quarantine of a server.
func quarantined(t *testing.T, s *apptest.Server) (names []string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(s.Dir, "blobs", "quarantine", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range paths {
		names = append(names, filepath.Base(p))
	}
	return names
}

// metric returns the value of a metric without labels; "" if it does not exist.
func metric(t *testing.T, s *apptest.Server, name string) string {
	t.Helper()
	resp, err := s.HTTP.Get(s.URL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// A blob whose file does not have the recorded size is not served: the answer has neither the file nor the header with
// the digest. The file is moved to the quarantine, and a push of the blob replaces it.
func TestBlobOfAnotherSizeIsNotServed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		size int64
	}{{"truncated", 60_000}, {"empty", 0}, {"longer", 120_000}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := apptest.Start(t, apptest.Options{})
			repo := s.Root(t).CreateRepository(t, "team/app")
			content := ocitest.Bytes(1, 100_000)
			d := repo.PutBlob(t, content)
			if err := os.Truncate(blobFile(s, d), c.size); err != nil {
				t.Fatal(err)
			}
			a := repo.Do(t, http.MethodGet, repo.Path("/blobs/"+d), nil, "Range", "bytes=0-9")
			if a.Status != http.StatusInternalServerError || a.Header.Get("Docker-Content-Digest") != "" {
				t.Errorf("GET of a damaged blob: got %d with digest header %q, want 500 without", a.Status, a.Header.Get("Docker-Content-Digest"))
			}
			if got := quarantined(t, s); len(got) != 1 || !strings.Contains(got[0], strings.ReplaceAll(d, ":", "-")) {
				t.Errorf("the quarantine has %q, want the damaged blob", got)
			}
			if got := metric(t, s, "ecrin_damaged_blobs_total"); got != "1" {
				t.Errorf("ecrin_damaged_blobs_total is %q, want 1", got)
			}
			if log := s.Log.String(); !strings.Contains(log, `"msg":"a stored blob is damaged"`) || !strings.Contains(log, d) {
				t.Error("the log does not name the damaged blob")
			}

			// By the answer to HEAD, and to a mount, a client learns that it must send the bytes again.
			repo.Do(t, http.MethodGet, repo.Path("/blobs/"+d), nil).Want(t, http.StatusInternalServerError)
			repo.Do(t, http.MethodHead, repo.Path("/blobs/"+d), nil).Want(t, http.StatusNotFound)
			other := s.Root(t).CreateRepository(t, "team/other")
			other.Do(t, http.MethodPost, other.Path("/blobs/uploads/?mount="+d+"&from=team/app"), nil).Want(t, http.StatusAccepted)
			other.PutBlob(t, content)
			if got := repo.Blob(t, d).Want(t, http.StatusOK); !bytes.Equal(got.Body, content) {
				t.Error("after the push: the content of the blob differs")
			}
		})
	}
}

// A push of a blob that the registry already holds replaces the stored file, and with it a damage that was not
// detected.
func TestPushReplacesDamagedBlob(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	repo := s.Root(t).CreateRepository(t, "team/app")
	content := ocitest.Bytes(1, 100_000)
	d := repo.PutBlob(t, content)
	bad := bytes.Clone(content)
	bad[50_000] ^= 1
	if err := os.WriteFile(blobFile(s, d), bad, 0o600); err != nil {
		t.Fatal(err)
	}
	repo.Do(t, http.MethodPost, repo.Path("/blobs/uploads/?digest="+d), content).Want(t, http.StatusCreated)
	if got := repo.Blob(t, d); !bytes.Equal(got.Body, content) {
		t.Error("after the push: the damaged bytes are still served")
	}
}
