package fsblob

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/store/durable"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Delete implements blob.Store. The removal is durable when Delete returns, so that a blob that was reported as
// deleted does not reappear after a crash.
func (s *Store) Delete(_ context.Context, d name.Digest) error {
	if d == (name.Digest{}) {
		return nil
	}
	s.deleting.Lock()
	defer s.deleting.Unlock()
	pin, err := s.sys.lockPin(s.dir)
	if errors.Is(err, durable.ErrLocked) {
		return blob.ErrPinned
	}
	if err != nil {
		return fmt.Errorf("deleting blob %s: %w", d, err)
	}
	defer unlock(pin)
	path := s.blobPath(d)
	if err := s.sys.remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("deleting blob %s: %w", d, err)
	}
	// The folder is synced also if the blob is absent: the call that removed it may have failed before this.
	if err := s.sys.syncDir(filepath.Dir(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("deleting blob %s: %w", d, err)
	}
	return nil
}

// pinRetry is how often Pin tries again.
const pinRetry = 10 * time.Millisecond

// Pin makes all stores of the directory, also those of other processes, refuse to delete blobs until release is called or the
// process ends. It waits for a deletion that is running, and for another pin.
//
// Errors: the error of ctx; the directory cannot be written.
func Pin(ctx context.Context, dir string) (release func(), err error) {
	again := time.NewTicker(pinRetry)
	defer again.Stop()
	sys := newSystem()
	for {
		f, err := sys.lockPin(dir)
		if err == nil {
			return func() { unlock(f) }, nil
		}
		if !errors.Is(err, durable.ErrLocked) {
			return nil, fmt.Errorf("keeping the blobs from being deleted: %w", err)
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for another copy of the blobs: %w", ctx.Err())
		}
	}
}

// lockPin opens the pin file of a directory and locks it. Errors: durable.ErrLocked.
func (y *system) lockPin(dir string) (*os.File, error) {
	f, err := y.openFile(dir+"/pin", os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return nil, err
	}
	if err := y.tryLock(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
