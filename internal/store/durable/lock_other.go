//go:build !unix

package durable

import (
	"errors"
	"os"
)

var errQuota = errors.New("no quota on this system")

// TryLock is not supported on this system: a server needs a Unix. Errors: errors.ErrUnsupported, always.
func TryLock(*os.File) error { return errors.ErrUnsupported }

// Unlock does nothing on this system.
func Unlock(*os.File) error { return nil }
