//go:build linux || darwin

package durable

import "golang.org/x/sys/unix"

// FreeBytes returns the space of dir's file system that users other than root can still use, in bytes.
func FreeBytes(dir string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return int64(s.Bavail) * int64(s.Bsize), nil
}
