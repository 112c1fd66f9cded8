package blob_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/store/blob/blobtest"
	"github.com/ecrin-dev/ecrin/internal/store/blob/fsblob"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

func open(t *testing.T, dir string) blob.Store {
	t.Helper()
	s, err := fsblob.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// While the directory is in its place, a placed store is a store like others.
func TestPlaced(t *testing.T) {
	t.Parallel()
	blobtest.Run(t, func(t *testing.T) blob.Store { return blob.Placed(open(t, t.TempDir()), func() error { return nil }) })
}

// While something else is in the place of the directory, nothing is changed there, and no blob is said to be absent.
func TestNothingIsChangedElsewhere(t *testing.T) {
	t.Parallel()
	moved := errors.New("moved")
	var elsewhere error
	plain := open(t, t.TempDir())
	s := blob.Placed(plain, func() error { return elsewhere })
	ctx := t.Context()
	store := func(s blob.Store, text string) (blob.Info, error) {
		u, err := s.Begin(ctx, name.SHA256)
		if err != nil {
			return blob.Info{}, err
		}
		return s.Commit(ctx, u, strings.NewReader(text), -1, blobtest.SHA256([]byte(text)))
	}
	kept, err := store(s, "kept")
	if err != nil {
		t.Fatal(err)
	}
	half, err := s.Begin(ctx, name.SHA256)
	if err == nil {
		half, err = s.Append(ctx, half, strings.NewReader("half"), -1)
	}
	if err != nil {
		t.Fatal(err)
	}
	elsewhere = moved
	absent := blobtest.SHA256([]byte("absent"))
	for what, call := range map[string]func() error{
		"Commit":     func() error { _, err := store(s, "new"); return err },
		"Append":     func() error { _, err := s.Append(ctx, half, strings.NewReader("more"), -1); return err },
		"Delete":     func() error { return s.Delete(ctx, kept.Digest) },
		"Quarantine": func() error { _, err := s.Quarantine(ctx, kept); return err },
		"Abort":      func() error { return s.Abort(ctx, half) },
		"Open":       func() error { _, _, err := s.Open(ctx, absent); return err },
		"Stat":       func() error { _, err := s.Stat(ctx, absent); return err },
		"List":       func() error { return first(s.List(ctx, name.Digest{})) },
		"Stale":      func() error { return first(s.Stale(ctx, time.Now().Add(time.Hour))) },
	} {
		if err := call(); !errors.Is(err, moved) || errors.Is(err, fault.BlobNotFound) {
			t.Errorf("%s: got %v, want %v", what, err, moved)
		}
	}
	elsewhere = nil
	n := 0
	for info, err := range plain.List(context.Background(), name.Digest{}) {
		if n++; err != nil || info.Digest != kept.Digest {
			t.Errorf("got %v, %v, want the blob that was stored before", info, err)
		}
	}
	if u, err := s.Append(ctx, half, strings.NewReader("more"), -1); err != nil || u.Size != 8 || n != 1 {
		t.Errorf("back: got %d bytes, %v, and %d blobs, want 8 and 1", u.Size, err, n)
	}
}

// first returns the first error of a list.
func first[T any](all func(func(T, error) bool)) (err error) {
	all(func(_ T, one error) bool {
		err = one
		return err == nil
	})
	return err
}
