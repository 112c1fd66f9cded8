package fsblob

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/blob"
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
	if err := s.sys.mkdirAll(s.quarantineDir(), dirMode); err != nil {
		return false, err
	}
	now, err := s.sys.lstat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !same(now, was) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	to := s.quarantineDir() + "/" + string(was.Digest.Algorithm()) + "-" + was.Digest.Hex() + "." +
		strconv.FormatInt(time.Now().UnixNano(), 10)
	if err := s.sys.rename(path, to); errors.Is(err, fs.ErrNotExist) {
		return false, nil // another call was faster
	} else if err != nil {
		return false, err
	}
	// A Commit may have stored whole bytes between Lstat and Rename. They go back, and so does what cannot be examined.
	if got, err := s.sys.lstat(to); err != nil || !same(got, was) {
		return false, errors.Join(err, s.putBack(to, path))
	}
	return true, errors.Join(s.sys.syncDir(s.quarantineDir()), s.sys.syncDir(filepath.Dir(path)))
}

// putBack gives a file in quarantine the path of its blob again. If another Commit has come since, that one's file stays.
func (s *Store) putBack(from, path string) error {
	if err := s.sys.link(from, path); err != nil && !errors.Is(err, fs.ErrExist) {
		return s.sys.renameDurably(from, path) // the file system may have no links
	}
	if err := s.sys.remove(from); err != nil {
		return err
	}
	return s.sys.syncDir(filepath.Dir(path))
}

// same reports whether a file is the one that an Info describes.
func same(f fs.FileInfo, i blob.Info) bool {
	return f.Size() == i.Size && f.ModTime().Equal(i.StoredAt)
}
