package registry

import (
	"context"
	"errors"
	"io"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Growing reads the bytes of a blob that arrives; see blob.Store.Peek.
type Growing = blob.Peeked

// Arriving is where the bytes of a blob that arrives are: also for another process with the same blob directory.
type Arriving struct {
	Upload string // the id of the upload
	Blob   string // that of its bytes
}

// Import stores a blob that arrives from another registry as an upload of the caller, under the same quotas. watch is called once,
// when bytes may be written, with a reader of what has been written, which it must close. The blob has the given size in bytes.
//
// Errors: those of BeginUpload and Complete, and of body.
func (s *Service) Import(ctx context.Context, by identity.Caller, r Repository, d name.Digest, size int64, body io.Reader,
	watch func(Arriving, Growing)) error {
	u, err := s.BeginUpload(ctx, by, r, d.Algorithm())
	if err != nil {
		return err
	}
	in := &watched{r: body, open: func() error {
		seen, err := s.blobs.Peek(ctx, u.Blob)
		if err == nil {
			watch(Arriving{u.ID, u.Blob.ID}, seen)
		}
		return err
	}}
	if _, err := s.complete(ctx, r, u, Chunk{Body: in, At: 0, Length: size}, d, s.meta.AddFetchedBlob); err != nil {
		return errors.Join(err, s.Cancel(context.WithoutCancel(ctx), u))
	}
	return nil
}

// PeekImport reads the bytes of a blob that another process imports.
//
// Errors: fault.UploadNotFound.
func (s *Service) PeekImport(ctx context.Context, a Arriving) (Growing, error) {
	return s.blobs.Peek(ctx, blob.Upload{ID: a.Blob})
}

// AbandonImport deletes what a process has left of an import when it was killed. It does nothing while that process writes.
//
// Errors: those of the stores.
func (s *Service) AbandonImport(ctx context.Context, a Arriving) error {
	if a.Upload == "" {
		return nil
	}
	switch err := s.blobs.Abort(ctx, blob.Upload{ID: a.Blob}); {
	case errors.Is(err, fault.UploadConflict):
		return nil
	case err != nil:
		return err
	}
	return s.meta.DeleteUpload(ctx, a.Upload)
}

// watched calls open before the first byte is read: the store has made the file of the upload then.
type watched struct {
	r    io.Reader
	open func() error
}

func (w *watched) Read(p []byte) (int, error) {
	if w.open != nil {
		open := w.open
		w.open = nil
		if err := open(); err != nil {
			return 0, err
		}
	}
	return w.r.Read(p)
}
