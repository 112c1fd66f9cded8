//go:build unix

package fsblob

import (
	"os"

	"golang.org/x/sys/unix"
)

// openRead opens a file for reading. It does not follow a symbolic link at the end of the path, and does not wait for
// the other side of a FIFO. It is without registering the file for polling, which always fails for a regular file and takes
// 1.3 of 4 µs (measured).
func openRead(path string) (*os.File, error) {
	for {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		if err == nil {
			// Package os would register a file that does not block.
			if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, 0); err != nil {
				unix.Close(fd)
				return nil, &os.PathError{Op: "fcntl", Path: path, Err: err}
			}
			return os.NewFile(uintptr(fd), path), nil
		}
		if err != unix.EINTR {
			return nil, &os.PathError{Op: "open", Path: path, Err: err}
		}
	}
}
