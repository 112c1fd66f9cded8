package durable_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/store/durable"
)

func TestWriteFileReplaces(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "key")
	for _, want := range []string{"first", "", "third, longer than the others"} {
		if err := durable.WriteFile(path, []byte(want), 0o600); err != nil {
			t.Fatalf("WriteFile(%q): %v", want, err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != want {
			t.Fatalf("after WriteFile(%q): got %q, %v", want, got, err)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode: got %v, %v, want 0600", info.Mode(), err)
	}
	wantNames(t, filepath.Dir(path), "key")
}

// The file holds the whole content of one of the parallel writers, and no temporary file is left.
func TestWriteFileParallel(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if err := durable.WriteFile(path, bytes.Repeat([]byte{byte('a' + i)}, 10_000), 0o644); err != nil {
				t.Errorf("writer %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	got, err := os.ReadFile(path)
	if err != nil || len(got) != 10_000 || !bytes.Equal(got, bytes.Repeat(got[:1], 10_000)) {
		t.Errorf("got %d bytes, %v, want 10000 equal ones", len(got), err)
	}
	wantNames(t, filepath.Dir(path), "f")
}

// Of the parallel creators of a file one succeeds, the others get fs.ErrExist, and the content is that of the first.
func TestCreateFileNeverReplaces(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "key")
	var wg sync.WaitGroup
	created := make([]bool, 8)
	for i := range created {
		wg.Go(func() {
			err := durable.CreateFile(path, bytes.Repeat([]byte{byte('a' + i)}, 10_000), 0o600)
			if err != nil && !errors.Is(err, fs.ErrExist) {
				t.Errorf("creator %d: got %v, want nil or fs.ErrExist", i, err)
			}
			created[i] = err == nil
		})
	}
	wg.Wait()
	got, err := os.ReadFile(path)
	if err != nil || len(got) != 10_000 {
		t.Fatalf("got %d bytes, %v, want 10000", len(got), err)
	}
	for i, done := range created {
		if done != (got[0] == byte('a'+i)) {
			t.Errorf("creator %d: created %v, but the file has the content of creator %d", i, done, got[0]-'a')
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode: got %v, %v, want 0600", info.Mode(), err)
	}
	wantNames(t, filepath.Dir(path), "key")
}

// When the target cannot be replaced, the temporary file is removed.
func TestWriteFileFailureLeavesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "taken")
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := durable.WriteFile(path, []byte("x"), 0o600); err == nil {
		t.Error("WriteFile over a directory: got nil, want an error")
	}
	wantNames(t, dir, "taken")
	if err := durable.WriteFile(filepath.Join(dir, "no", "such"), nil, 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("WriteFile in a missing directory: got %v, want fs.ErrNotExist", err)
	}
}

func TestMkdirAll(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	deep := filepath.Join(dir, "a", "b", "c")
	for range 2 {
		if err := durable.MkdirAll(deep, 0o700); err != nil {
			t.Fatalf("MkdirAll(%q): %v", deep, err)
		}
	}
	if info, err := os.Stat(deep); err != nil || !info.IsDir() {
		t.Errorf("Stat(%q): %v, %v", deep, info, err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := durable.MkdirAll(file, 0o700); !errors.Is(err, fs.ErrExist) {
		t.Errorf("MkdirAll over a file: got %v, want fs.ErrExist", err)
	}
	if err := durable.MkdirAll(filepath.Join(file, "x"), 0o700); err == nil {
		t.Error("MkdirAll below a file: got nil, want an error")
	}
}

func TestTryLock(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f")
	open := func() *os.File {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	a, b := open(), open()
	defer b.Close()
	if err := durable.TryLock(a); err != nil {
		t.Fatalf("first lock: %v", err)
	}
	if err := durable.TryLock(b); !errors.Is(err, durable.ErrLocked) {
		t.Fatalf("second lock: got %v, want ErrLocked", err)
	}
	a.Close()
	if err := durable.TryLock(b); err != nil {
		t.Fatalf("lock after the holder closed: %v", err)
	}
}

func TestSyncData(t *testing.T) {
	t.Parallel()
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	durable.StartWriteback(f, 0, 1<<20)
	if err := durable.SyncData(f); err != nil {
		t.Errorf("SyncData: %v", err)
	}
	f.Close()
	if err := durable.SyncData(f); err == nil {
		t.Error("SyncData of a closed file: got nil, want an error")
	}
}

func TestIsFull(t *testing.T) {
	t.Parallel()
	for _, err := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		wrapped := fmt.Errorf("doing: %w", &os.PathError{Op: "write", Path: "f", Err: err})
		if !durable.IsFull(wrapped) {
			t.Errorf("IsFull(%v): got false, want true", wrapped)
		}
	}
	for _, err := range []error{nil, syscall.EIO, fs.ErrNotExist} {
		if durable.IsFull(err) {
			t.Errorf("IsFull(%v): got true, want false", err)
		}
	}
}

func wantNames(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("names in the directory: got %q, want %q", got, want)
	}
}
