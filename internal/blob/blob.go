// Package blob is the contract of blob storage: immutable bytes under their digest, and uploads that outlive requests.
//
// Rights never come from a blob. Whoever serves one has asked the metadata whether the caller's repository holds it.
package blob

import (
	"context"
	"io"
	"iter"
	"time"

	"github.com/ecrin-dev/ecrin/internal/name"
)

// Info describes a stored blob.
type Info struct {
	Digest   name.Digest
	Size     int64     // bytes
	StoredAt time.Time // of the last Commit, also of one that found the blob already there
}

// Upload is the whole state of an upload between two calls. It is a value: the store keeps nothing but the bytes, the
// caller keeps the Upload (durably, where the upload must outlive the process) and hands it back. Fields other than ID
// and Size belong to the store that made it.
type Upload struct {
	ID    string // 32 lower-case hexadecimal digits
	Size  int64  // bytes that were accepted; the next Append starts here
	State []byte // hash state and what else the store needs, at most 4 KiB; opaque
}

// Store keeps immutable bytes under their digest. All methods are safe for concurrent use.
//
// When Commit has returned nil the blob survives kill -9 and power loss. A reader sees a whole blob or
// fault.BlobNotFound, never a part.
type Store interface {
	// Open reads the whole blob. The reader is an *os.File, positioned at 0, where the store keeps files, so that the
	// kernel can send it; callers that want a part seek. Errors: fault.BlobNotFound.
	Open(ctx context.Context, d name.Digest) (io.ReadSeekCloser, Info, error)

	// Stat tells size and time. Errors: fault.BlobNotFound.
	Stat(ctx context.Context, d name.Digest) (Info, error)

	// Delete removes a blob; nil when it is already absent. Readers that have it open finish.
	Delete(ctx context.Context, d name.Digest) error

	// List yields all blobs by digest in ascending order of their text, those after the given one ("none" for all).
	List(ctx context.Context, after name.Digest) iter.Seq2[Info, error]

	// Begin starts an upload that will be hashed with the given algorithm. It touches no disk.
	Begin(ctx context.Context, a name.Algorithm) (Upload, error)

	// Append adds r's bytes at u.Size, hashing while it writes, and returns the state after them. When it has
	// returned nil the bytes survive kill -9 and power loss. When r fails, or the call does, nothing of it counts:
	// the Upload given is still good and a later Append at its size overwrites the rest.
	// limit is the most bytes taken from r; more is fault.SizeInvalid. limit < 0 is none.
	// Errors: fault.UploadConflict (another writer is at this upload now), fault.UploadNotFound (the bytes are gone),
	// fault.Unavailable (disk full), the error of r.
	Append(ctx context.Context, u Upload, r io.Reader, limit int64) (Upload, error)

	// Commit publishes the upload as want. last, when not nil, is appended first without a separate durable step
	// (limit as for Append). If want has another algorithm than Begin was given, the bytes are read once more.
	// When the blob exists already, the upload's bytes are dropped. After success the upload is gone; after an error
	// it stays as it was. Errors: fault.DigestInvalid (content has another digest), and those of Append.
	Commit(ctx context.Context, u Upload, last io.Reader, limit int64, want name.Digest) (Info, error)

	// Abort drops an upload; nil when it is already gone. Errors: fault.UploadConflict (another writer is at it now).
	Abort(ctx context.Context, u Upload) error

	// Stale yields the IDs of uploads whose bytes were last written before t, for the collector.
	Stale(ctx context.Context, t time.Time) iter.Seq2[string, error]
}
