//go:build !unix

package client

// ended returns false: this system does not say.
func ended(int) bool { return false }
