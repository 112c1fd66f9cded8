package app_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/main/app"
	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// usedDirectory returns a data directory with one image, whose server has stopped.
func usedDirectory(t *testing.T) string {
	t.Helper()
	s := apptest.Start(t, apptest.Options{})
	s.Root(t).CreateRepository(t, "team/app").Push(t, "v1", ocitest.NewImage(1, 100))
	s.Stop(t)
	return s.Dir
}

// openNew is open with the permission to start a new installation.
func openNew(t *testing.T, dir string) (*app.App, error) {
	t.Helper()
	c := config.Default()
	c.Data, c.Listen = dir, []string{"127.0.0.1:0"}
	checked, err := c.Check()
	if err != nil {
		t.Fatal(err)
	}
	checked.New = true
	return app.New(t.Context(), checked, slog.New(slog.DiscardHandler), time.Now)
}

// copyFile copies one file of a data directory to another directory.
func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(to), 0o700)
	}
	if err == nil {
		err = os.WriteFile(to, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A data directory that has lost its database does not start as an empty registry without accounts. The start is
// refused, the directory is unchanged, and the error names the two possible actions.
func TestLostDatabaseIsNotANewRegistry(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		lose func(t *testing.T, dir string)
	}{
		{"missing", func(t *testing.T, dir string) { remove(t, filepath.Join(dir, "ecrin.db")) }},
		{"empty", func(t *testing.T, dir string) { truncate(t, filepath.Join(dir, "ecrin.db")) }},
		{"missing beside its log", func(t *testing.T, dir string) {
			if err := os.Rename(filepath.Join(dir, "ecrin.db"), filepath.Join(dir, "ecrin.db-wal")); err != nil {
				t.Fatal(err)
			}
		}},
		{"of another start", func(t *testing.T, dir string) {
			other := t.TempDir()
			a, err := open(t, other)
			if err == nil {
				err = a.Close()
			}
			if err != nil {
				t.Fatal(err)
			}
			copyFile(t, filepath.Join(other, "ecrin.db"), filepath.Join(dir, "ecrin.db"))
		}},
		{"missing, and the marker too", func(t *testing.T, dir string) {
			remove(t, filepath.Join(dir, "ecrin.db"))
			remove(t, filepath.Join(dir, "installation.json"))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := usedDirectory(t)
			c.lose(t, dir)
			before := list(t, dir)
			_, err := open(t, dir)
			if err == nil || !strings.Contains(err.Error(), "restore") || !strings.Contains(err.Error(), "--new") {
				t.Errorf("start: got %v, want an error that names both actions", err)
			}
			if after := list(t, dir); after != before {
				t.Errorf("the refused start changed the directory:\n%s\nwas\n%s", after, before)
			}
			remove(t, filepath.Join(dir, "ecrin.db-wal"))
			remove(t, filepath.Join(dir, "ecrin.db"))
			a, err := openNew(t, dir)
			if err != nil {
				t.Fatalf("start with the permission for a new installation: %v", err)
			}
			if err := a.Close(); err != nil {
				t.Fatal(err)
			}
			if a, err = open(t, dir); err != nil {
				t.Fatalf("the start after that: %v", err)
			}
			if err := a.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
}

func truncate(t *testing.T, path string) {
	t.Helper()
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
}

// list describes the files of a directory that contain data, without the lock and the files that SQLite creates for an
// open database.
func list(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || e.Name() == "lock" || strings.HasSuffix(path, "-shm") {
			return err
		}
		b, err := os.ReadFile(path)
		if len(b) > 0 || e.Name() == "ecrin.db" {
			all.WriteString(path + " " + ocitest.SHA256(b) + "\n")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

// A master key that the operator has put into an empty directory before the first start does not mean that data was
// lost.
func TestNewDirectoryWithAMasterKeyStarts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	copyFile(t, filepath.Join(usedDirectory(t), "master.key"), filepath.Join(dir, "master.key"))
	a, err := open(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
}

// After a clean stop the file of the database is complete without its log.
func TestCleanStopLeavesAWholeDatabaseFile(t *testing.T) {
	t.Parallel()
	dir := usedDirectory(t)
	if info, err := os.Stat(filepath.Join(dir, "ecrin.db-wal")); err == nil && info.Size() > 0 {
		t.Errorf("ecrin.db-wal has %d bytes after a clean stop", info.Size())
	}
	remove(t, filepath.Join(dir, "ecrin.db-wal"))
	remove(t, filepath.Join(dir, "ecrin.db-shm"))
	s := apptest.Start(t, apptest.Options{Dir: dir})
	s.Root(t).Docker(t).Repo("team/app").Manifest(t, "v1").Want(t, http.StatusOK)
}

// The marker of a directory contains the id of the installation and the version of the schema. A database of another
// installation is refused.
func TestMarkerNamesInstallationAndSchema(t *testing.T) {
	t.Parallel()
	dir := usedDirectory(t)
	var marker struct {
		Installation string `json:"installation"`
		Schema       int    `json:"schema"`
	}
	text, err := os.ReadFile(filepath.Join(dir, "installation.json"))
	if err == nil {
		err = json.Unmarshal(text, &marker)
	}
	if err != nil || len(marker.Installation) != 32 || marker.Schema < 5 {
		t.Fatalf("the marker: got %s, %v, want the id of an installation and the version of a schema", text, err)
	}
	other := usedDirectory(t)
	for _, file := range []string{"ecrin.db", "master.key"} {
		copyFile(t, filepath.Join(other, file), filepath.Join(dir, file))
	}
	if _, err := open(t, dir); err == nil || !strings.Contains(err.Error(), marker.Installation) {
		t.Errorf("start with the database of another installation: got %v, want an error that names %s", err, marker.Installation)
	}
	remove(t, filepath.Join(other, "installation.json")) // as with a program that did not write a marker
	a, err := open(t, other)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(other, "installation.json")); err != nil {
		t.Errorf("the marker was not written again: %v", err)
	}
}
