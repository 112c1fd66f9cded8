package hosts_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/host/hosts"
)

// A file that cannot be replaced, as a mount in a container, is written in place, whether it becomes longer or shorter; any other failure
// leaves it as it is.
func TestUpdateInPlace(t *testing.T) {
	t.Parallel()
	const before = "127.0.0.1 localhost\n"
	for _, failure := range []error{syscall.EBUSY, syscall.EXDEV, fs.ErrPermission, syscall.ENOSPC, syscall.EIO} {
		dir := t.TempDir()
		path := filepath.Join(dir, "hosts")
		if err := os.WriteFile(path, []byte(before), 0o644); err != nil {
			t.Fatal(err)
		}
		was, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		refuse := func(from, to string) error { return &os.LinkError{Op: "rename", Old: from, New: to, Err: failure} }
		inPlace := failure != syscall.ENOSPC && failure != syscall.EIO
		for _, b := range []string{block(t, "a.test", "b.test"), block(t, "c.test"), ""} {
			changed, err := hosts.UpdateWith(path, b, refuse)
			got, _ := os.ReadFile(path)
			want := before
			if inPlace {
				want += b
			}
			if wantChanged := inPlace || b == ""; string(got) != want || changed && !inPlace || (err == nil) != wantChanged {
				t.Errorf("%v: got %v, %v, and the file %q, want %q", failure, changed, err, got, want)
			}
		}
		if is, err := os.Stat(path); err != nil || !os.SameFile(was, is) {
			t.Errorf("%v: the file was replaced: %v", failure, err)
		}
		if entries, _ := os.ReadDir(dir); len(entries) != 1 {
			t.Errorf("%v: files were left behind: %v", failure, entries)
		}
	}
}

func TestUpdateOfANewFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "hosts")
	b := block(t, "a.test")
	changed, err := hosts.Update(path, b)
	got, _ := os.ReadFile(path)
	info, statErr := os.Stat(path)
	if !changed || err != nil || string(got) != b || statErr != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("got %v, %v, %q, mode %v, want the block alone, with mode 0644", changed, err, got, info.Mode())
	}
	if err := os.WriteFile(path, []byte("# end of ecrin\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if changed, err := hosts.Update(path, b); changed || err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a file with half a block: got %v, %v, want an error that names the file", changed, err)
	}
}

func TestTextOfABlock(t *testing.T) {
	t.Parallel()
	longest := strings.Repeat("a.", 126) + "a"
	want := "# begin of ecrin: written by ecrin hosts, which also removes it\n" +
		"192.0.2.10\ta.test\n192.0.2.10\t" + longest + "\n# end of ecrin\n"
	if got := block(t, "a.test", longest); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	// A file with half a block has no lines that are ecrin's.
	got := hosts.Elsewhere([]byte("# end of ecrin\n203.0.113.1 a.test\n"), addr, []string{"a.test"})
	if len(got) != 1 {
		t.Errorf("in a file with half a block: got %q, want the line", got)
	}
}
