//go:build !linux && !darwin

package durable

import "errors"

// FreeBytes is not supported on this system. Errors: errors.ErrUnsupported, always.
func FreeBytes(string) (int64, error) { return 0, errors.ErrUnsupported }
