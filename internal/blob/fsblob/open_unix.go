//go:build unix

package fsblob

import (
	"os"

	"golang.org/x/sys/unix"
)

// openRead is os.Open without the attempt to poll, which a regular file refuses: measured, 1.3 of 4 µs.
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
