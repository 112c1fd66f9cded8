//go:build unix

package hosts

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// lockName is the name of the file in the directory of a hosts file that is locked while the hosts file is changed. Only its owner
// can open it, so that no other user can hold the lock. It is removed afterwards.
const lockName = ".ecrin-hosts.lock"

const (
	maxLockWait = 30 * time.Second
	lockPause   = 5 * time.Millisecond
)

// lock excludes other changes of the hosts file at path, in this process and in others, until unlock is called. Where the directory
// cannot be written to, as in a container, the hosts file itself is locked: there it is written in place and not replaced.
//
// Errors: those of the file system, usually fs.ErrPermission; another program holds the lock for 30 seconds.
func lock(path string) (unlock func(), err error) {
	name := filepath.Join(filepath.Dir(path), lockName)
	unlock, err = lockFile(name, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, func() { _ = os.Remove(name) })
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return lockFile(path, os.O_RDWR, func() {})
	}
	return unlock, err
}

// lockFile takes the lock of the file with a name. before is called before the lock is released.
func lockFile(name string, flags int, before func()) (unlock func(), err error) {
	for deadline := time.Now().Add(maxLockWait); ; time.Sleep(lockPause) {
		f, err := os.OpenFile(name, flags, 0o600)
		if err != nil {
			return nil, err
		}
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil && still(f, name) {
			return func() {
				before()
				f.Close()
			}, nil
		}
		f.Close()
		switch {
		case err != nil && !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR):
			return nil, &os.PathError{Op: "flock", Path: name, Err: err}
		case time.Now().After(deadline):
			return nil, fmt.Errorf("another program changes the hosts file: it has held the lock of %s for %s", name, maxLockWait)
		}
	}
}

// still reports whether an open file is the one with its name, and not one that was removed before it was locked.
func still(f *os.File, name string) bool {
	open, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(name)
	return err == nil && os.SameFile(open, named)
}
