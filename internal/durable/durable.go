// Package durable is the one place where files are made to survive kill -9 and power loss.
//
// A new file becomes durable in this order, and nothing else in the program does these steps itself:
//
//	openat(dir/tmp, O_CREAT|O_EXCL)   the file under a name that nobody reads
//	pwrite(fd, …)                     its bytes
//	sync_file_range(fd, WRITE)        optional, Linux: start the disk early, so that the next step is short
//	fdatasync(fd)                     bytes and length are on the disk
//	rename(dir/tmp, dir/name)         readers see all of it or nothing
//	fsync(dir)                        the name is on the disk
//
// A new directory is mkdir and fsync of its parent.
//
// After fdatasync has failed, what it covered is lost even if a second call succeeds: the kernel may have dropped the
// pages and marked them clean. Callers cut the file back to what was synced before and write again.
package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// ErrLocked is the answer of TryLock when somebody else has the lock.
var ErrLocked = errors.New("file is locked")

// WriteFile replaces the file at path by data, durably. Readers see the old or the new content, whole.
// Parallel writers of one path do not disturb each other; the last rename wins.
func WriteFile(path string, data []byte, perm fs.FileMode) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".tmp-*")
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
			err = fmt.Errorf("writing %s: %w", path, err)
		}
	}()
	if err := f.Chmod(perm); err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Sync(); err != nil { // not SyncData: the mode must be there too
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return Rename(f.Name(), path)
}

// Rename gives a file, whose bytes the caller has synced, its public name and makes that name durable. An error after
// the rename itself (the directory cannot be synced: a broken disk) leaves the file under its new name.
func Rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(to))
}

// MkdirAll makes dir and its missing parents, each one's name durable. A directory that exists is synced into its parent
// all the same: whoever made it may have been killed before that.
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

// SyncDir makes the names in a directory durable: those created, renamed and removed before the call.
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

// IsFull tells whether an error says that there is no room: disk, quota, or the largest file that the file system or
// the process may write.
func IsFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, errQuota) || errors.Is(err, syscall.EFBIG)
}
