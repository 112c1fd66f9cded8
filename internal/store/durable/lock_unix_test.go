//go:build unix

package durable_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/store/durable"
)

// A forked child shares the open file until it calls exec; Unlock releases the lock without waiting for that.
func TestUnlockWithAChildAboutToRun(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := durable.TryLock(f); err != nil {
		t.Fatal(err)
	}
	child, err := syscall.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(child)
	if err := errors.Join(durable.Unlock(f), f.Close()); err != nil {
		t.Fatal(err)
	}
	again, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if err := durable.TryLock(again); err != nil {
		t.Errorf("the lock is still held after Unlock: %v", err)
	}
}
