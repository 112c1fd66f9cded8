//go:build unix

package cli

import (
	"os"
	"path/filepath"
	"syscall"
)

// anothers reports whether this process runs as root and a folder, or the first one above it that exists, belongs to another user.
func anothers(dir string) bool {
	if os.Geteuid() != 0 {
		return false // the system decides what this user may write
	}
	for {
		info, err := os.Stat(dir)
		if err == nil {
			s, ok := info.Sys().(*syscall.Stat_t)
			return ok && s.Uid != 0
		}
		above := filepath.Dir(dir)
		if above == dir {
			return false
		}
		dir = above
	}
}
