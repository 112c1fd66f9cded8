//go:build unix

package fsblob

import (
	"os"

	"golang.org/x/sys/unix"
)

// openRead is os.Open without registering the file for polling, which always fails for a regular file and takes
// 1.3 of 4 µs (measured).
func openRead(path string) (*os.File, error) {
	for {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			return os.NewFile(uintptr(fd), path), nil
		}
		if err != unix.EINTR {
			return nil, &os.PathError{Op: "open", Path: path, Err: err}
		}
	}
}
