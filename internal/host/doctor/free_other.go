//go:build !linux && !darwin

package doctor

import "errors"

// freeBytes is not supported on this system. Errors: errors.ErrUnsupported, always.
func freeBytes(string) (int64, error) { return 0, errors.ErrUnsupported }
