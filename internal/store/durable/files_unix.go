//go:build unix

package durable

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// RaiseFileLimit raises the number of file descriptors that the process may have, its soft limit, to the hard one, and returns both
// as they are then.
func RaiseFileLimit() (soft, hard uint64, err error) {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 0, 0, fmt.Errorf("reading the limit of file descriptors: %w", err)
	}
	if l.Cur < l.Max {
		raised := l
		raised.Cur = l.Max
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &raised); err != nil {
			return uint64(l.Cur), uint64(l.Max), fmt.Errorf("raising the limit of file descriptors from %d to %d: %w", l.Cur, l.Max, err)
		}
		l = raised
	}
	return uint64(l.Cur), uint64(l.Max), nil
}

// IsOutOfFiles reports whether err means that the process or the machine has no free file descriptor.
func IsOutOfFiles(err error) bool { return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) }
