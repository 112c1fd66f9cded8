package fsblob_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/store/blob/blobtest"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/ecrin-dev/ecrin/internal/word/slowtest"
)

// begun returns an upload with some bytes, or none.
func begun(t *testing.T, s blob.Store, bytes string) blob.Upload {
	t.Helper()
	u, err := s.Begin(ctx, name.SHA256)
	if err == nil && bytes != "" {
		u, err = s.Append(ctx, u, strings.NewReader(bytes), -1)
	}
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// A call that adds no bytes to an upload without bytes leaves no file.
func TestEmptyAppendLeavesNoFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := mustOpen(t, dir)
	fresh := begun(t, s, "")
	if got, err := s.Append(ctx, fresh, strings.NewReader(""), -1); err != nil || got.Size != 0 {
		t.Errorf("Append of nothing: got %+v, %v, want the same upload", got, err)
	}
	if files, err := os.ReadDir(filepath.Join(dir, "uploads")); err != nil || len(files) > 0 {
		t.Errorf("files of uploads: got %v, %v, want none", files, err)
	}
}

// An upload whose file was shortened is gone, whatever is called and however often; its lock is not kept.
func TestShortenedUploadIsGone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := mustOpen(t, dir)
	u := begun(t, s, "some bytes")
	if err := os.Truncate(filepath.Join(dir, "uploads", u.ID), 4); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := s.Append(ctx, u, strings.NewReader("more"), -1); !errors.Is(err, fault.UploadNotFound) {
			t.Errorf("Append: got %v, want UploadNotFound", err)
		}
		if _, err := s.Commit(ctx, u, nil, -1, blobtest.SHA256([]byte("some bytes"))); !errors.Is(err, fault.UploadNotFound) {
			t.Errorf("Commit: got %v, want UploadNotFound", err)
		}
		if _, _, err := s.Hash(ctx, u, name.SHA512); !errors.Is(err, fault.UploadNotFound) {
			t.Errorf("Hash: got %v, want UploadNotFound", err)
		}
	}
	if err := s.Abort(ctx, u); err != nil {
		t.Errorf("Abort: %v", err)
	}
}

// The first bytes of an upload are accepted only if the folder that has them is durable too.
func TestFolderOfUploadsCannotBeSynced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := mustOpen(t, dir)
	moves := readerFunc(func([]byte) (int, error) {
		return 0, errors.Join(os.Rename(filepath.Join(dir, "uploads"), filepath.Join(dir, "elsewhere")), io.EOF)
	})
	body := io.MultiReader(strings.NewReader("some"), eofOf{moves})
	if u, err := s.Append(ctx, begun(t, s, ""), body, -1); err == nil {
		t.Errorf("Append while the folder is moved: got %+v and no error", u)
	}
}

// eofOf reports the end of a reader that joins it with other errors.
type eofOf struct{ io.Reader }

func (r eofOf) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	if errors.Is(err, io.EOF) {
		err = io.EOF
	}
	return n, err
}

// The file of an upload that cannot be opened is an error of the server, and the upload is not reported as gone.
func TestUploadThatCannotBeOpened(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := mustOpen(t, dir)
	u := begun(t, s, "some")
	path := filepath.Join(dir, "uploads", u.ID)
	if err := errors.Join(os.Remove(path), os.Symlink(path, path)); err != nil {
		t.Fatal(err)
	}
	for what, call := range map[string]func() error{
		"Peek":   func() error { _, err := s.Peek(ctx, u); return err },
		"Append": func() error { _, err := s.Append(ctx, u, strings.NewReader("more"), -1); return err },
		"Commit": func() error { _, err := s.Commit(ctx, u, nil, -1, blobtest.SHA256([]byte("some"))); return err },
		"Abort":  func() error { return s.Abort(ctx, u) },
	} {
		if err := call(); err == nil || errors.Is(err, fault.UploadNotFound) {
			t.Errorf("%s: got %v, want an error of the file system", what, err)
		}
	}
}

// Damaged bytes are taken out under the digest and the time. A Commit at the same moment is not lost, whichever comes first, and
// its whole bytes are not taken for damaged ones.
func TestQuarantineBesideCommit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := mustOpen(t, dir)
	data := []byte("whole bytes")
	d := blobtest.SHA256(data)
	path := filepath.Join(dir, "sha256", d.Hex()[:2], d.Hex())
	long := time.Duration(slowtest.Rounds(300, 10_000)) * time.Millisecond
	// The calls come one after another or at the same time: what happens between them depends on the moment.
	for round, first := 0, time.Now(); round < 100 || time.Since(first) < long; round++ {
		blobtest.Put(t, s, data)
		if err := os.Truncate(path, 3); err != nil {
			t.Fatal(err)
		}
		was, err := s.Stat(ctx, d)
		if err != nil {
			t.Fatal(err)
		}
		u := begun(t, s, string(data))
		var both sync.WaitGroup
		var moved bool
		var quarantineErr, commitErr error
		start := make(chan struct{})
		wait := time.Duration(round%100) * time.Microsecond / 2
		both.Go(func() {
			<-start
			moved, quarantineErr = s.Quarantine(ctx, was)
		})
		both.Go(func() {
			<-start
			for began := time.Now(); time.Since(began) < wait; {
			}
			_, commitErr = s.Commit(ctx, u, nil, -1, d)
		})
		close(start)
		both.Wait()
		if err := errors.Join(quarantineErr, commitErr); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, data) {
			t.Fatalf("round %d: the blob is %q, %v, want %q", round, got, err, data)
		}
		files, err := filepath.Glob(filepath.Join(dir, "quarantine", "*"))
		if err != nil || (len(files) == 1) != moved || len(files) > 1 {
			t.Fatalf("round %d: in quarantine: %v, %v, want one file: %t", round, files, err, moved)
		}
		for _, f := range files {
			digits, ok := strings.CutPrefix(filepath.Base(f), "sha256-"+d.Hex()+".")
			at, err := strconv.ParseInt(digits, 10, 64)
			if age := time.Since(time.Unix(0, at)); !ok || err != nil || age < 0 || age > time.Hour {
				t.Errorf("round %d: the name in quarantine is %s, want the digest and the time in nanoseconds", round, f)
			}
			if got, err := os.ReadFile(f); err != nil || string(got) != "who" {
				t.Errorf("round %d: in quarantine: %q, %v, want the damaged bytes", round, got, err)
			}
			if err := os.Remove(f); err != nil {
				t.Fatal(err)
			}
		}
	}
}
