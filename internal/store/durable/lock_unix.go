//go:build unix

package durable

import (
	"os"

	"golang.org/x/sys/unix"
)

const errQuota = unix.EDQUOT

// TryLock takes the exclusive lock of f's open file without waiting. Unlock, or the end of the process,
// releases the lock. Two opens of one file exclude each other, within a process and between processes of one
// machine.
// Errors: ErrLocked.
func TryLock(f *os.File) error {
	for {
		switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err {
		case nil:
			return nil
		case unix.EINTR:
		case unix.EWOULDBLOCK:
			return ErrLocked
		default:
			return &os.PathError{Op: "flock", Path: f.Name(), Err: err}
		}
	}
}

// Unlock releases f's lock. Closing f alone does not release it while a child process that was forked in the
// meantime shares the open file, which it does until it calls exec.
func Unlock(f *os.File) error {
	if err := unix.Flock(int(f.Fd()), unix.LOCK_UN); err != nil {
		return &os.PathError{Op: "flock", Path: f.Name(), Err: err}
	}
	return nil
}
