//go:build unix

package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
)

// Root writes no profile into a folder of another user, such as with sudo and that user's HOME: the user could not read the files, and
// links in the folder could lead root to files of the system.
func TestRootWritesNoProfileForAnotherUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("the test runs as root only")
	}
	s := apptest.Start(t, apptest.Options{})
	home, secret := t.TempDir(), filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(secret, []byte("of root\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(home, 12345, 12345); err != nil {
		t.Fatal(err)
	}
	write := func() {
		t.Helper()
		code, out, errs := in(t, home, "env", "--write", "--profile", "p", "--data", s.Dir)
		if code != 1 || out != "" || !strings.Contains(errs, "belongs to another user") || !strings.Contains(errs, "without --write") {
			t.Errorf("env --write: got %d, %q, %s, want a refusal that tells what to do", code, out, errs)
		}
	}
	write()
	if entries, err := os.ReadDir(home); err != nil || len(entries) > 0 {
		t.Errorf("the folder has %v, %v, want nothing", entries, err)
	}
	folder := filepath.Join(home, ".aws")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(folder, 12345, 12345); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, filepath.Join(folder, "config")); err != nil {
		t.Fatal(err)
	}
	write()
	if text, err := os.ReadFile(secret); err != nil || string(text) != "of root\n" {
		t.Errorf("the file that a link leads to: got %q, %v", text, err)
	}
}
