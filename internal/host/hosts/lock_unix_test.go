//go:build unix

package hosts_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/host/hosts"
)

// Changes of one hosts file at the same time take turns, whether the file is replaced or written in place: none reads what another
// is about to change, and the file has one whole block at the end.
func TestUpdatesTakeTurns(t *testing.T) {
	t.Parallel()
	const before = "127.0.0.1 localhost\n"
	blocks := []string{block(t, "a.test"), block(t, strings.Repeat("b", 60)+".test", "c.test", "d.test"), block(t, "e.test", "f.test")}
	for what, failure := range map[string]error{"replaced": nil, "in place": syscall.EBUSY} {
		dir := t.TempDir()
		path := filepath.Join(dir, "hosts")
		if err := os.WriteFile(path, []byte(before), 0o644); err != nil {
			t.Fatal(err)
		}
		var inside, together atomic.Int32
		rename := func(from, to string) error {
			if inside.Add(1) > 1 {
				together.Add(1)
			}
			defer inside.Add(-1)
			if _, err := os.ReadDir(dir); err != nil || failure != nil {
				return &os.LinkError{Op: "rename", Old: from, New: to, Err: failure}
			}
			return os.Rename(from, to)
		}
		var runs sync.WaitGroup
		for i := range 6 {
			runs.Go(func() {
				for n := range 10 {
					if _, err := hosts.UpdateWith(path, blocks[(i+n)%len(blocks)], rename); err != nil {
						t.Errorf("%s: %v", what, err)
						return
					}
				}
			})
		}
		runs.Wait()
		got, err := os.ReadFile(path)
		whole := false
		for _, b := range blocks {
			whole = whole || string(got) == before+b
		}
		if err != nil || !whole || together.Load() != 0 {
			t.Errorf("%s: %d changes at the same time as another; got the file %q, %v, want one whole block", what, together.Load(), got, err)
		}
		if entries, _ := os.ReadDir(dir); len(entries) != 1 {
			t.Errorf("%s: files were left behind: %v", what, entries)
		}
	}
}
