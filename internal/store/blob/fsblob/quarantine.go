package fsblob

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/store/durable"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Quarantine implements blob.Store. Size and time of the file tell whether it is still the damaged one: a Commit sets
// the time.
func (s *Store) Quarantine(_ context.Context, was blob.Info) (moved bool, err error) {
	if was.Digest == (name.Digest{}) {
		return false, nil
	}
	path := s.blobPath(was.Digest)
	defer func() {
		if err != nil {
			err = fmt.Errorf("putting blob %s into quarantine: %w", was.Digest, err)
		}
	}()
	if err := durable.MkdirAll(s.quarantineDir(), dirMode); err != nil {
		return false, err
	}
	now, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !same(now, was) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	to := s.quarantineDir() + "/" + string(was.Digest.Algorithm()) + "-" + was.Digest.Hex() + "." +
		strconv.FormatInt(time.Now().UnixNano(), 10)
	if err := os.Rename(path, to); errors.Is(err, fs.ErrNotExist) {
		return false, nil // another call was faster
	} else if err != nil {
		return false, err
	}
	// A Commit may have stored whole bytes between Lstat and Rename: they go back, unless another Commit has come since.
	if got, err := os.Lstat(to); err == nil && !same(got, was) {
		if err := os.Link(to, path); err != nil && !errors.Is(err, fs.ErrExist) {
			return false, err
		}
		if err := os.Remove(to); err != nil {
			return false, err
		}
		return false, durable.SyncDir(filepath.Dir(path))
	}
	return true, errors.Join(durable.SyncDir(s.quarantineDir()), durable.SyncDir(filepath.Dir(path)))
}

// same reports whether a file is the one that an Info describes.
func same(f fs.FileInfo, i blob.Info) bool {
	return f.Size() == i.Size && f.ModTime().Equal(i.StoredAt)
}
