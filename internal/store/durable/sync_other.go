//go:build !linux

package durable

import "os"

// SyncData waits until the bytes and the length of f are on the disk.
func SyncData(f *os.File) error { return f.Sync() }

// StartWriteback does nothing here: only Linux has a call for it.
func StartWriteback(*os.File, int64, int64) {}
