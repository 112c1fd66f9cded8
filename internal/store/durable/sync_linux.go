package durable

import (
	"os"

	"golang.org/x/sys/unix"
)

// SyncData waits until the bytes and the length of f are on the disk. Times and mode need not be on the disk
// yet.
func SyncData(f *os.File) error {
	var err error
	for {
		if err = unix.Fdatasync(int(f.Fd())); err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return &os.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
	}
	return nil
}

// StartWriteback asks the kernel to start writing n bytes at offset off to the disk, and returns at once. It
// guarantees nothing: SyncData is still needed, but takes less time. Errors are ignored, since SyncData returns
// them again.
func StartWriteback(f *os.File, off, n int64) {
	_ = unix.SyncFileRange(int(f.Fd()), off, n, unix.SYNC_FILE_RANGE_WRITE)
}
