//go:build !unix

package durable

import "errors"

// RaiseFileLimit does nothing on this system. Errors: errors.ErrUnsupported, always.
func RaiseFileLimit() (soft, hard uint64, err error) { return 0, 0, errors.ErrUnsupported }

// IsOutOfFiles reports false on this system.
func IsOutOfFiles(error) bool { return false }
