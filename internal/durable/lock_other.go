//go:build !unix

package durable

import (
	"errors"
	"os"
)

var errQuota = errors.New("no quota on this system")

// TryLock is not to be had on this system: a server needs a Unix.
func TryLock(*os.File) error { return errors.ErrUnsupported }

// Unlock has nothing to release.
func Unlock(*os.File) error { return nil }
