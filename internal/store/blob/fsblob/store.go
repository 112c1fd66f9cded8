// Package fsblob keeps blobs in a directory of a local file system.
//
//	DIR/sha256/ab/abcd…   a blob, under the hexadecimal digits of its digest
//	DIR/sha512/ab/abcd…
//	DIR/uploads/<id>      the bytes of an upload that is not committed
//	DIR/id                the id of the directory
//	DIR/pin               locked while a blob is deleted, and while the blobs are copied
//	DIR/quarantine/…      damaged blobs that were taken out: ALGORITHM-DIGITS.TIME, the time in nanoseconds
//
// A file below sha256 or sha512 is complete and durable from the moment it has its name. Several processes of
// one machine may use a directory concurrently: file locks guard uploads, and rename makes all other changes
// atomic.
// docs/design/blob-writing.md explains the way of writing, with figures.
package fsblob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"sync"

	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/store/durable"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// algorithms lists the algorithms in the order of the text of their digests.
var algorithms = []name.Algorithm{name.SHA256, name.SHA512}

// Only the server's user may read blobs. Packages above this one decide about rights.
const (
	dirMode  = 0o700
	fileMode = 0o600
)

// Store is a blob.Store over a directory. It holds no open file between calls and needs no Close.
type Store struct {
	dir string
	sys system

	// mu guards synced, the set of folders that this process has made durable.
	mu     sync.Mutex
	synced map[string]bool

	deleting sync.Mutex // held by the Delete that holds the lock of the pin file

	spare chan struct{} // one token for each large buffer that an upload holds beyond its first, see pump
}

var _ blob.Store = (*Store)(nil)

// Open opens a store in a directory, which it creates if it does not exist. Then the parent of dir must be
// writable.
func Open(dir string) (*Store, error) {
	return open(dir, newSystem())
}

func open(dir string, sys system) (*Store, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("opening the blob directory %s: %w", dir, err)
	}
	s := &Store{dir: abs, sys: sys, synced: map[string]bool{}, spare: make(chan struct{}, maxSpareBuffers)}
	for _, folder := range []string{s.algorithmDir(name.SHA256), s.algorithmDir(name.SHA512), s.uploadsDir()} {
		if err := s.sys.mkdirAll(folder, dirMode); err != nil {
			return nil, fmt.Errorf("opening the blob directory %s: %w", dir, err)
		}
	}
	return s, nil
}

func (s *Store) uploadsDir() string                          { return s.dir + "/uploads" }
func (s *Store) quarantineDir() string                       { return s.dir + "/quarantine" }
func (s *Store) algorithmDir(a name.Algorithm) string        { return s.dir + "/" + string(a) }
func (s *Store) prefixDir(a name.Algorithm, h string) string { return s.algorithmDir(a) + "/" + h[:2] }

// blobPath returns the path of a blob. It needs no check of the digits: a Digest is lower-case hexadecimal by
// its type. d must not be zero.
func (s *Store) blobPath(d name.Digest) string {
	h := d.Hex()
	return s.prefixDir(d.Algorithm(), h) + "/" + h
}

// Open implements blob.Store. It makes two system calls, open and fstat; the reader is an *os.File. A symbolic link is
// not followed, and a FIFO is not waited for.
func (s *Store) Open(_ context.Context, d name.Digest) (io.ReadSeekCloser, blob.Info, error) {
	if d == (name.Digest{}) {
		return nil, blob.Info{}, notFound(d)
	}
	f, err := s.sys.openRead(s.blobPath(d))
	if err != nil {
		if was, serr := s.Stat(context.Background(), d); errors.Is(serr, blob.ErrDamaged) {
			return nil, was, serr // a link or a socket
		}
		return nil, blob.Info{}, readError(d, err)
	}
	info, err := s.sys.fstat(f)
	if err == nil && !info.Mode().IsRegular() {
		f.Close()
		return nil, blobInfo(d, info), irregular(d, info)
	}
	if err != nil {
		f.Close()
		return nil, blob.Info{}, readError(d, err)
	}
	return f, blobInfo(d, info), nil
}

// Stat implements blob.Store.
func (s *Store) Stat(_ context.Context, d name.Digest) (blob.Info, error) {
	if d == (name.Digest{}) {
		return blob.Info{}, notFound(d)
	}
	info, err := s.sys.lstat(s.blobPath(d))
	if err != nil {
		return blob.Info{}, readError(d, err)
	}
	if !info.Mode().IsRegular() {
		return blobInfo(d, info), irregular(d, info)
	}
	return blobInfo(d, info), nil
}

// makePrefixDir creates the folder for blobs whose digits start as h does. A folder that exists is synced too,
// once per process, since a process that was killed may have created it without syncing it.
func (s *Store) makePrefixDir(a name.Algorithm, h string) error {
	dir := s.prefixDir(a, h)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.synced[dir] {
		return nil
	}
	if err := s.sys.mkdirAll(dir, dirMode); err != nil {
		return err
	}
	s.synced[dir] = true
	return nil
}

func blobInfo(d name.Digest, info fs.FileInfo) blob.Info {
	return blob.Info{Digest: d, Size: info.Size(), StoredAt: info.ModTime()}
}

func irregular(d name.Digest, info fs.FileInfo) error {
	return fmt.Errorf("reading blob %s, of mode %v: %w", d, info.Mode(), blob.ErrDamaged)
}

func notFound(d name.Digest) *fault.Error {
	return fault.BlobNotFound.New("blob %s is not stored", d)
}

func readError(d name.Digest, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return notFound(d)
	}
	return fmt.Errorf("reading blob %s: %w", d, err)
}

// writeError returns the error of a system call that writes: fault.Unavailable if the disk is full, otherwise
// err with what was being done.
func writeError(doing string, err error) error {
	if durable.IsFull(err) {
		return fault.Unavailable.New("the registry's disk is full: nothing of this request was stored").
			Because(fmt.Errorf("%s: %w", doing, err))
	}
	return fmt.Errorf("%s: %w", doing, err)
}
