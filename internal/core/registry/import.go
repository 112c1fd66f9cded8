package registry

import (
	"context"
	"errors"
	"io"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Growing reads the bytes of a blob that arrives; see blob.Store.Peek.
type Growing = blob.Peeked

// Import stores a blob that arrives from another registry as an upload of the caller, under the same quotas. watch is called once,
// when bytes may be written, with a reader of what has been written, which it must close. The blob has the given size in bytes.
//
// Errors: those of BeginUpload and Complete, and of body.
func (s *Service) Import(ctx context.Context, by identity.Caller, r Repository, d name.Digest, size int64, body io.Reader,
	watch func(Growing)) error {
	u, err := s.BeginUpload(ctx, by, r, d.Algorithm())
	if err != nil {
		return err
	}
	in := &watched{r: body, open: func() error {
		seen, err := s.blobs.Peek(ctx, u.Blob)
		if err == nil {
			watch(seen)
		}
		return err
	}}
	if _, err := s.Complete(ctx, r, u, Chunk{Body: in, At: 0, Length: size}, d); err != nil {
		return errors.Join(err, s.Cancel(context.WithoutCancel(ctx), u))
	}
	return nil
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
