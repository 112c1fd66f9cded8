// Package blob defines the contract of blob storage: immutable bytes under their digest, and uploads that
// outlive requests.
//
// A stored blob gives no right to read it. Before a caller serves a blob, it checks in the metadata that the
// repository of the request holds the blob.
package blob

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// ErrDamaged is the error if what is stored under a digest is not a file of bytes. The Info beside it is for Quarantine.
var ErrDamaged = errors.New("the stored blob is not a regular file")

// ErrPinned is the error of Delete while a copy of the store is being made.
var ErrPinned = errors.New("the blobs are being copied: none is deleted meanwhile")

// Info describes a stored blob.
type Info struct {
	Digest   name.Digest
	Size     int64     // bytes
	StoredAt time.Time // of the last Commit, also when the blob was already stored
}

// Upload is the whole state of an upload between two calls. It is a value: the store keeps only the bytes, and
// the caller keeps the Upload (durably, if the upload must outlive the process) and passes it to the next call.
// Fields other than ID and Size belong to the store that made the Upload.
type Upload struct {
	ID    string // 32 lower-case hexadecimal digits
	Size  int64  // bytes accepted so far; the next Append starts at this offset
	State []byte // hash state and other data of the store, at most 4 KiB; opaque to the caller
}

// Peeked reads the bytes of an upload that grows.
type Peeked interface {
	io.ReaderAt
	io.Closer
}

// Store keeps immutable bytes under their digest. All methods are safe for concurrent use.
//
// When Commit has returned nil, the blob survives kill -9 and power loss. A reader sees a whole blob or
// fault.BlobNotFound, never a part of a blob.
type Store interface {
	// Open opens a blob for reading, positioned at 0. If the store keeps blobs in files, the reader is an
	// *os.File, so that the kernel can send it. Callers that need a part of the blob use Seek. Errors:
	// fault.BlobNotFound, ErrDamaged.
	Open(ctx context.Context, d name.Digest) (io.ReadSeekCloser, Info, error)

	// Stat returns the size and the time of a blob. Errors: fault.BlobNotFound, ErrDamaged.
	Stat(ctx context.Context, d name.Digest) (Info, error)

	// Delete removes a blob. It returns nil if the blob is already absent. Readers that are open can read to the
	// end. Errors: ErrPinned.
	Delete(ctx context.Context, d name.Digest) error

	// Quarantine takes a damaged blob out of the store: Open no longer finds it, a Commit stores it anew, and its
	// bytes are kept for examination. was is the Info that Open or Stat returned for the damaged bytes. moved is
	// false if the blob is absent, or if it has been stored again since then.
	Quarantine(ctx context.Context, was Info) (moved bool, err error)

	// List yields the blobs whose digests come after the given digest (the zero Digest: all blobs), in ascending
	// order of the digests' text.
	List(ctx context.Context, after name.Digest) iter.Seq2[Info, error]

	// Begin starts an upload that will be hashed with the given algorithm. It does not access the disk.
	Begin(ctx context.Context, a name.Algorithm) (Upload, error)

	// Append adds the bytes of r at u.Size, hashing while it writes, and returns the new state. When it has
	// returned nil, the bytes survive kill -9 and power loss. When it returns an error, none of the bytes count:
	// u is still valid, and a later Append overwrites them.
	// limit is the maximum number of bytes to read from r; negative means no limit.
	// Errors: fault.SizeInvalid (r has more than limit bytes), fault.UploadConflict (another call is writing
	// this upload), fault.UploadNotFound (the bytes are gone), fault.Unavailable (the disk is full), the error
	// of r.
	Append(ctx context.Context, u Upload, r io.Reader, limit int64) (Upload, error)

	// Hash returns the digest of the bytes accepted so far with an algorithm. If the state of the upload does not have the
	// hash, Hash reads all bytes, and returns a new state that has it: with that state no later call reads them again, and
	// Append continues the hash. Otherwise it returns u, without access to the disk. Errors: fault.UploadConflict,
	// fault.UploadNotFound, the error of ctx.
	Hash(ctx context.Context, u Upload, a name.Algorithm) (Upload, name.Digest, error)

	// Commit publishes the upload as blob want. If last is not nil, its bytes are appended first, without a
	// separate durable step (limit as for Append). If want has another algorithm than Begin and Hash were given, the
	// bytes are read and hashed again. If the blob is already stored, the bytes of the upload replace it, since the stored
	// bytes may have been damaged. After
	// success the upload no longer exists; after an error it is unchanged. Errors: fault.DigestInvalid (the
	// content has another digest), and those of Append.
	Commit(ctx context.Context, u Upload, last io.Reader, limit int64, want name.Digest) (Info, error)

	// Peek opens the bytes of an upload while another call appends or commits them: what that call has written so far is read, and
	// ReadAt returns io.EOF at its end. The bytes may be wrong until the call succeeds; then all of them can be read. Errors:
	// fault.UploadNotFound (no call has begun to write).
	Peek(ctx context.Context, u Upload) (Peeked, error)

	// Abort drops an upload. It returns nil if the upload no longer exists. Errors: fault.UploadConflict
	// (another call is writing the upload).
	Abort(ctx context.Context, u Upload) error

	// Stale yields the IDs of the uploads whose bytes were last written before t. The garbage collector uses it.
	Stale(ctx context.Context, t time.Time) iter.Seq2[string, error]
}
