//go:build linux || darwin

package doctor

import "golang.org/x/sys/unix"

// freeBytes is the disk space that users other than root can still fill in dir's file system.
func freeBytes(dir string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return int64(s.Bavail) * int64(s.Bsize), nil
}
