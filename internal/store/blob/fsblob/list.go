package fsblob

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// List implements blob.Store. It holds the names of one folder at a time, 1/256 of the blobs. Files whose name
// is not that of a blob of their folder are skipped.
func (s *Store) List(ctx context.Context, after name.Digest) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		for _, a := range algorithms {
			if a < after.Algorithm() {
				continue
			}
			folders, err := s.sys.readDir(s.algorithmDir(a))
			if err != nil {
				yield(blob.Info{}, fmt.Errorf("listing blobs: %w", err))
				return
			}
			for _, folder := range folders {
				prefix := folder.Name()
				if a == after.Algorithm() && prefix < after.Hex()[:2] || !folder.IsDir() || len(prefix) != 2 {
					continue
				}
				if !s.listFolder(ctx, a, prefix, after, yield) {
					return
				}
			}
		}
	}
}

// listFolder yields the blobs of one folder and reports whether to continue.
func (s *Store) listFolder(ctx context.Context, a name.Algorithm, prefix string, after name.Digest,
	yield func(blob.Info, error) bool) bool {
	if err := ctx.Err(); err != nil {
		yield(blob.Info{}, err)
		return false
	}
	entries, err := s.sys.readDir(s.prefixDir(a, prefix))
	if err != nil {
		yield(blob.Info{}, fmt.Errorf("listing blobs: %w", err))
		return false
	}
	for _, e := range entries {
		d, err := name.ParseDigest(string(a) + ":" + e.Name())
		if err != nil || d.Hex()[:2] != prefix || d.String() <= after.String() {
			continue
		}
		info, err := s.sys.entryInfo(e)
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted after the folder was read
		}
		if err != nil {
			yield(blob.Info{}, fmt.Errorf("listing blobs: %w", err))
			return false
		}
		if info.Mode().IsRegular() && !yield(blobInfo(d, info), nil) {
			return false
		}
	}
	return true
}

// Stale implements blob.Store. The IDs may include an upload that is being written, if its client has sent
// nothing for a long time; Abort then returns fault.UploadConflict.
func (s *Store) Stale(ctx context.Context, t time.Time) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		entries, err := s.sys.readDir(s.uploadsDir())
		if err != nil {
			yield("", fmt.Errorf("listing uploads: %w", err))
			return
		}
		for _, e := range entries {
			if err := ctx.Err(); err != nil {
				yield("", err)
				return
			}
			if !validID(e.Name()) {
				continue
			}
			info, err := s.sys.entryInfo(e)
			if errors.Is(err, fs.ErrNotExist) {
				continue // committed or aborted after the folder was read
			}
			if err != nil {
				yield("", fmt.Errorf("listing uploads: %w", err))
				return
			}
			if info.ModTime().Before(t) && !yield(e.Name(), nil) {
				return
			}
		}
	}
}
