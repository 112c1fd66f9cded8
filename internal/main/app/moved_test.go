package app_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// A running server whose data directory is moved, deleted or replaced, or whose database file is, acknowledges no write from
// then on and says why; it goes on when the directory is back. What it can still read is right.
func TestMovedDataDirectoryIsNoticedByTheNextWrite(t *testing.T) {
	t.Parallel()
	rename := func(t *testing.T, from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	for what, test := range map[string]struct {
		lose func(t *testing.T, dir string)
		back func(t *testing.T, dir string) // nil if it cannot be undone
	}{
		"moved": {
			func(t *testing.T, dir string) { rename(t, dir, dir+".moved") },
			func(t *testing.T, dir string) { rename(t, dir+".moved", dir) },
		},
		"moved, with an empty one in its place": {
			func(t *testing.T, dir string) {
				rename(t, dir, dir+".moved")
				if err := os.Mkdir(dir, 0o700); err != nil {
					t.Fatal(err)
				}
			},
			func(t *testing.T, dir string) {
				rename(t, dir, dir+".empty")
				rename(t, dir+".moved", dir)
			},
		},
		"moved, with a copy in its place": {
			func(t *testing.T, dir string) {
				rename(t, dir, dir+".moved")
				if err := os.CopyFS(dir, os.DirFS(dir+".moved")); err != nil {
					t.Fatal(err)
				}
			},
			func(t *testing.T, dir string) {
				rename(t, dir, dir+".copy")
				rename(t, dir+".moved", dir)
			},
		},
		"deleted": {func(t *testing.T, dir string) {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		}, nil},
		"without its database": {
			func(t *testing.T, dir string) { rename(t, filepath.Join(dir, "ecrin.db"), dir+".db") },
			func(t *testing.T, dir string) { rename(t, dir+".db", filepath.Join(dir, "ecrin.db")) },
		},
		"with another database": {
			func(t *testing.T, dir string) {
				rename(t, filepath.Join(dir, "ecrin.db"), dir+".db")
				copyFile(t, dir+".db", filepath.Join(dir, "ecrin.db"))
			},
			func(t *testing.T, dir string) { rename(t, dir+".db", filepath.Join(dir, "ecrin.db")) },
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := apptest.Start(t, apptest.Options{Dir: filepath.Join(t.TempDir(), "data")})
			repo := s.Root(t).CreateRepository(t, "team/app")
			im := ocitest.NewImage(1, 20_000)
			repo.Push(t, "before", im)
			api := s.Root(t).ECR()
			ready := func() (int, string) { return fetch(t, s.URL+"/readyz") }
			if status, text := ready(); status != http.StatusOK {
				t.Fatalf("before: /readyz is %d %s", status, text)
			}
			test.lose(t, s.Dir)
			for i := range 5 {
				a := repo.PutManifest(t, "after", ocitest.ImageType, im.Manifest)
				a.WantError(t, http.StatusServiceUnavailable, "UNAVAILABLE").WantHeader(t, "Retry-After", "1")
				if text := string(a.Body); !strings.Contains(text, "was moved, deleted or replaced") || strings.Contains(text, s.Dir) {
					t.Errorf("write %d: got %s, want the reason without a path", i, text)
				}
				blob := ocitest.Bytes(7, 5000) // the bytes come before the record
				repo.Do(t, http.MethodPost, repo.Path("/blobs/uploads/?digest="+ocitest.SHA256(blob)), blob).Want(t, http.StatusServiceUnavailable)
				other := "team/other"
				if _, err := api.CreateRepository(t.Context(), &ecr.CreateRepositoryInput{RepositoryName: &other}); err == nil {
					t.Error("CreateRepository succeeded")
				}
			}
			if status, text := ready(); status != http.StatusServiceUnavailable || !strings.Contains(text, "was moved, deleted or replaced") ||
				strings.Contains(text, s.Dir) {
				t.Errorf("/readyz is %d %s, want 503 with the reason and without a path", status, text)
			}
			if status, _ := fetch(t, s.URL+"/healthz"); status != http.StatusOK {
				t.Errorf("/healthz is %d, want 200", status)
			}
			for range 20 { // on several connections to the database
				if a := repo.Manifest(t, "before"); a.Status == http.StatusOK && string(a.Body) != string(im.Manifest) {
					t.Errorf("the pull got %s", a.Body)
				}
				if a := repo.Manifest(t, "after"); a.Status < 400 {
					t.Errorf("a pull of what was not stored: got %d", a.Status)
				}
			}
			if test.back == nil {
				if err := s.End(); err == nil || !strings.Contains(err.Error(), "was moved, deleted or replaced") {
					t.Errorf("the stop: got %v, want the reason", err)
				}
				return
			}
			test.back(t, s.Dir)
			repo.PutManifest(t, "again", ocitest.ImageType, im.Manifest).Want(t, http.StatusCreated)
			for begun := time.Now(); ; time.Sleep(20 * time.Millisecond) { // until the background work has succeeded again
				status, text := ready()
				if status == http.StatusOK {
					break
				}
				if time.Since(begun) > time.Minute {
					t.Fatalf("back: /readyz is %d %s", status, text)
				}
			}
			s.Restart(t)
			for tag, want := range map[string]int{"before": http.StatusOK, "again": http.StatusOK, "after": http.StatusNotFound} {
				repo.Manifest(t, tag).Want(t, want)
			}
			if n, err := repo.VerifyAll(t.Context()); err != nil || n != 2 {
				t.Errorf("after a restart: %d images are whole, %v, want 2", n, err)
			}
		})
	}
}
