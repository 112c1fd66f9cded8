package fsblob_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/store/blob/blobtest"
	"github.com/ecrin-dev/ecrin/internal/store/blob/fsblob"
)

// While blobs are pinned none is deleted, by any store of the directory; commits and reads go on.
func TestPinnedBlobsAreNotDeleted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	stores := []blob.Store{mustOpen(t, dir), mustOpen(t, dir)}
	d := blobtest.Put(t, stores[0], []byte("kept")).Digest
	release, err := fsblob.Pin(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range stores {
		if err := s.Delete(ctx, d); !errors.Is(err, blob.ErrPinned) {
			t.Errorf("Delete of a pinned blob: got %v, want ErrPinned", err)
		}
		if _, err := s.Stat(ctx, d); err != nil {
			t.Errorf("Stat of a pinned blob: %v", err)
		}
	}
	blobtest.Put(t, stores[1], []byte("new"))
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := fsblob.Pin(ended, dir); !errors.Is(err, context.Canceled) {
		t.Errorf("a second pin with an ended context: got %v, want Canceled", err)
	}
	release()
	if err := stores[1].Delete(ctx, d); err != nil {
		t.Errorf("Delete after the release: %v", err)
	}
	if _, err := fsblob.Pin(ctx, t.TempDir()+"/absent"); err == nil {
		t.Error("pin of an absent directory: got nil, want an error")
	}
}

// Deletions of one store at the same time do not keep each other away.
func TestDeletionsAtTheSameTime(t *testing.T) {
	t.Parallel()
	s := mustOpen(t, t.TempDir())
	var done sync.WaitGroup
	for i := range 50 {
		d := blobtest.Put(t, s, blobtest.Bytes(uint64(i), 10)).Digest
		done.Go(func() {
			if err := s.Delete(ctx, d); err != nil {
				t.Errorf("Delete: %v", err)
			}
		})
	}
	done.Wait()
}
