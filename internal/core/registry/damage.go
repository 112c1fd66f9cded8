package registry

import (
	"context"
	"errors"
	"fmt"

	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// ErrBytesLost is the error for a blob that is recorded in the metadata and whose bytes are missing or damaged. It is
// an internal error, not an error of the request. A push of the blob stores its bytes again.
var ErrBytesLost = errors.New("the bytes of a recorded blob are lost")

// DamagedBlobs returns the number of damaged blobs that this process has moved to the quarantine.
func (s *Service) DamagedBlobs() uint64 { return s.damaged.Load() }

// quarantine takes a blob with damaged bytes out of the store and logs that; cause says what is wrong with it.
// moved is false if the blob is absent or was pushed again.
func (s *Service) quarantine(ctx context.Context, was blob.Info, cause error) (moved bool, err error) {
	moved, err = s.blobs.Quarantine(context.WithoutCancel(ctx), was)
	if moved {
		s.damaged.Add(1)
		s.log.ErrorContext(ctx, "a stored blob is damaged", "digest", was.Digest.String(), "error", cause, "quarantined", true)
	}
	return moved, err
}

// SoundBlob returns the holding of a blob whose stored bytes have the recorded size.
//
// Errors: fault.BlobNotFound, also if the bytes are lost, so that the client sends them again.
func (s *Service) SoundBlob(ctx context.Context, r meta.Repository, d name.Digest) (meta.Holding, error) {
	h, err := s.meta.Holding(ctx, r.ID, d)
	if err != nil {
		return meta.Holding{}, err
	}
	return h, s.sound(ctx, h)
}

// sound checks that the stored bytes have the recorded size.
//
// Errors: fault.BlobNotFound.
func (s *Service) sound(ctx context.Context, h meta.Holding) error {
	info, err := s.blobs.Stat(ctx, h.Digest)
	if errors.Is(err, blob.ErrDamaged) || err == nil && info.Size != h.Size {
		err = fault.BlobNotFound.New("blob %s is unknown to this repository", h.Digest).
			Because(errors.Join(err, fmt.Errorf("its file has %d bytes, the record %d", info.Size, h.Size)))
	}
	return err
}
