package app_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// Whatever the mode of the data directory that the operator has made, other users of the machine can read no file in it.
func TestFilesAreTheOwnersInAnOpenDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	check := func(when string) {
		t.Helper()
		n := 0
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil || path == dir {
				return err
			}
			info, err := e.Info()
			n++
			if err == nil && info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s: %s has mode %04o, want none for others", when, path, info.Mode().Perm())
			}
			return err
		})
		if err != nil || n < 10 {
			t.Errorf("%s: looked at %d files, %v", when, n, err)
		}
	}
	s := apptest.Start(t, apptest.Options{Dir: dir})
	s.Root(t).CreateRepository(t, "team/app").Push(t, "v1", ocitest.NewImage(1, 100))
	check("while it serves")
	s.Stop(t)
	check("after the stop")
	for _, old := range []string{"ecrin.db", "lock"} { // as an earlier version made them
		if err := os.Chmod(filepath.Join(dir, old), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	apptest.Start(t, apptest.Options{Dir: dir})
	check("after the next start")
}

// A master key that other users can read is no secret any more: it is refused, as ssh refuses such a key.
func TestTooOpenMasterKeyIsRefused(t *testing.T) {
	t.Parallel()
	for _, mode := range []fs.FileMode{0o644, 0o640, 0o604, 0o660, 0o610} {
		dir := usedDirectory(t)
		key := filepath.Join(dir, "master.key")
		if err := os.Chmod(key, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := open(t, dir); err == nil || !strings.Contains(err.Error(), "chmod 600 "+key) {
			t.Errorf("start with a master key of mode %04o: got %v, want an error that says chmod 600", mode, err)
		}
	}
}
