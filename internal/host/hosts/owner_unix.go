//go:build unix

package hosts

import (
	"os"
	"syscall"
)

// keepOwner gives f the owner of the file at path. A missing file has none.
func keepOwner(f *os.File, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return nil
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return f.Chown(int(s.Uid), int(s.Gid))
	}
	return nil
}
