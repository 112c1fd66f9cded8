//go:build !linux

package cli

// unmapProgram does nothing: other systems are left to their own.
func unmapProgram() (unmapped int64, _ error) { return 0, nil }
