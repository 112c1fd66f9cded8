//go:build unix

package fsblob_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/store/blob/blobtest"
)

// Only a regular file is a blob: a symbolic link is not followed, a FIFO is not waited for, and a push of the blob puts the
// bytes in their place.
func TestOnlyRegularFilesAreBlobs(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "secret")
	data := blobtest.Bytes(1, 1000)
	if err := os.WriteFile(secret, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, make := range map[string]func(path string) error{
		"symbolic link":  func(path string) error { return os.Symlink(secret, path) },
		"dangling link":  func(path string) error { return os.Symlink(secret+".not", path) },
		"FIFO":           func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"socket or node": func(path string) error { return syscall.Mknod(path, syscall.S_IFSOCK|0o600, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := mustOpen(t, dir)
			d := blobtest.Put(t, s, data).Digest
			path := filepath.Join(dir, "sha256", d.Hex()[:2], d.Hex())
			if err := errors.Join(os.Remove(path), make(path)); err != nil {
				t.Skip(err)
			}
			r, was, err := s.Open(ctx, d)
			if !errors.Is(err, blob.ErrDamaged) || was.Digest != d {
				t.Errorf("Open: got %v, %+v, %v, want ErrDamaged and what it is", r, was, err)
			}
			if _, err := s.Stat(ctx, d); !errors.Is(err, blob.ErrDamaged) {
				t.Errorf("Stat: got %v, want ErrDamaged", err)
			}
			if moved, err := s.Quarantine(ctx, was); !moved || err != nil {
				t.Errorf("Quarantine: got %t, %v, want true", moved, err)
			}
			if err := make(path); err != nil {
				t.Fatal(err)
			}
			blobtest.Put(t, s, data)
			if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() {
				t.Errorf("after a push: got %v, %v, want a regular file", info, err)
			}
			if got, err := os.ReadFile(secret); err != nil || !bytes.Equal(got, data) {
				t.Errorf("the other file was changed: %v", err)
			}
		})
	}
}

// A program that the server starts does not inherit the files that are being read.
func TestReadersAreNotInherited(t *testing.T) {
	t.Parallel()
	s := mustOpen(t, t.TempDir())
	r, _, err := s.Open(ctx, blobtest.Put(t, s, []byte("some")).Digest)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if flags, err := unix.FcntlInt(r.(*os.File).Fd(), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("the flags of the descriptor: got %#x, %v, want FD_CLOEXEC among them", flags, err)
	}
}
