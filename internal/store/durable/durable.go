// Package durable writes files so that they survive kill -9 and power loss.
//
// A new file becomes durable by the following steps. No other package of the program performs them itself:
//
//	openat(dir/tmp, O_CREAT|O_EXCL)   create the file under a temporary name
//	pwrite(fd, …)                     its bytes
//	sync_file_range(fd, WRITE)        optional, Linux: start writing early, so that the next step is shorter
//	fdatasync(fd)                     bytes and length are on the disk
//	rename(dir/tmp, dir/name)         readers see the whole file or no file; link instead, where no file may be replaced
//	fsync(dir)                        the name is on the disk
//
// A new directory is mkdir and fsync of its parent.
//
// After fdatasync has failed, the data that it covered is lost even if a second call succeeds: the kernel may
// have dropped the pages and marked them clean. Callers truncate the file to the length that was synced before,
// and write again.
package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// ErrLocked is the error of TryLock when another open file has the lock.
var ErrLocked = errors.New("file is locked")

// WriteFile replaces the content of the file at path by data, durably. Readers see either the whole old or the
// whole new content. Concurrent calls for one path are safe; the last rename wins.
func WriteFile(path string, data []byte, perm fs.FileMode) error {
	return place(path, data, perm, os.Rename)
}

// Rename renames a file, whose bytes the caller has synced, and makes the new name durable. If the directory
// cannot be synced after the rename itself (a broken disk), Rename returns an error and the file has its new
// name.
func Rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(to))
}

// MkdirAll creates dir and its missing parents and makes each name durable. It also syncs the parent of a
// directory that exists, since the process that created the directory may have been killed before its sync.
func MkdirAll(dir string, perm fs.FileMode) error {
	err := os.Mkdir(dir, perm)
	if errors.Is(err, fs.ErrNotExist) {
		if err := MkdirAll(filepath.Dir(dir), perm); err != nil {
			return err
		}
		err = os.Mkdir(dir, perm)
	}
	if err != nil {
		if info, statErr := os.Stat(dir); statErr != nil || !info.IsDir() {
			return err
		}
	}
	return SyncDir(filepath.Dir(dir))
}

// SyncDir makes the entries of a directory durable: those created, renamed and removed before the call.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("syncing a directory: %w", err)
	}
	return nil
}

// IsFull reports whether err means that there is no space: the disk or the quota is full, or the file has
// reached the largest size that the file system or the process allows.
func IsFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, errQuota) || errors.Is(err, syscall.EFBIG)
}
