package fsblob

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/store/durable"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// validID reports whether an upload's ID may be used as the name of a file.
func validID(id string) bool {
	ok := len(id) == 32
	for i := 0; ok && i < len(id); i++ {
		ok = '0' <= id[i] && id[i] <= '9' || 'a' <= id[i] && id[i] <= 'f'
	}
	return ok
}

// Begin implements blob.Store.
func (s *Store) Begin(_ context.Context, a name.Algorithm) (blob.Upload, error) {
	h, err := newHasher(a)
	if err != nil {
		return blob.Upload{}, err
	}
	var id [16]byte
	rand.Read(id[:]) // never returns an error
	return blob.Upload{ID: hex.EncodeToString(id[:]), State: h.state()}, nil
}

// Append implements blob.Store.
func (s *Store) Append(ctx context.Context, u blob.Upload, r io.Reader, limit int64) (after blob.Upload, err error) {
	f, err := s.lockUpload(u)
	if err != nil {
		return blob.Upload{}, err
	}
	defer func() { f.release(err == nil && after.Size > 0) }()
	h, err := parseState(u.State)
	if err != nil {
		return blob.Upload{}, fmt.Errorf("resuming upload %s: %w", u.ID, err)
	}
	n, err := s.pump(ctx, f, h, r, limit)
	if err != nil {
		return blob.Upload{}, err
	}
	if n == 0 {
		return u, nil
	}
	if err := s.sys.syncData(f.File); err != nil {
		return blob.Upload{}, writeError("syncing an upload", err)
	}
	if u.Size == 0 { // also if the file exists: the call that created it may have failed before this sync
		if err := s.sys.syncDir(s.uploadsDir()); err != nil {
			return blob.Upload{}, writeError("syncing an upload", err)
		}
	}
	return blob.Upload{ID: u.ID, Size: u.Size + n, State: h.state()}, nil
}

// Commit implements blob.Store. StoredAt is the time of the last Commit of a blob, so that the garbage collector's
// grace period starts again. There is one exception to the contract: if the folder of the blob cannot be synced after
// the rename (a broken disk), Commit returns an error although the blob is whole and the upload no longer exists.
func (s *Store) Commit(ctx context.Context, u blob.Upload, last io.Reader, limit int64, want name.Digest) (info blob.Info, err error) {
	if want == (name.Digest{}) {
		return blob.Info{}, fault.DigestInvalid.New("no digest was given for the upload")
	}
	f, err := s.lockUpload(u)
	if err != nil {
		return blob.Info{}, err
	}
	defer func() { f.release(err == nil && info.Digest == want) }() // after a panic of last, the upload is not kept

	all, err := s.hashesFor(u, want.Algorithm())
	if err != nil {
		return blob.Info{}, err
	}
	size := u.Size
	if last != nil {
		n, err := s.pump(ctx, f, all, last, limit)
		if err != nil {
			return blob.Info{}, err
		}
		size += n
	}
	h, ok := all.of(want.Algorithm())
	if !ok {
		if h, err = s.rehash(ctx, f.File, size, want.Algorithm()); err != nil {
			return blob.Info{}, err
		}
	}
	if got := h.digest(); got != want {
		return blob.Info{}, fault.DigestInvalid.New("the content of the upload has the digest %s, not %s", got, want)
	}
	info, err = s.publish(f, want)
	if err != nil {
		return blob.Info{}, writeError("publishing blob "+want.String(), err)
	}
	return info, nil
}

// Peek implements blob.Store.
func (s *Store) Peek(_ context.Context, u blob.Upload) (blob.Peeked, error) {
	if !validID(u.ID) {
		return nil, uploadGone(u.ID)
	}
	f, err := s.sys.openFile(s.uploadsDir()+"/"+u.ID, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, uploadGone(u.ID)
	}
	if err != nil {
		return nil, fmt.Errorf("reading an upload: %w", err)
	}
	return f, nil
}

// Hash implements blob.Store.
func (s *Store) Hash(ctx context.Context, u blob.Upload, a name.Algorithm) (after blob.Upload, d name.Digest, err error) {
	all, err := s.hashesFor(u, a)
	if err != nil {
		return blob.Upload{}, name.Digest{}, err
	}
	if h, ok := all.of(a); ok {
		return u, h.digest(), nil
	}
	f, err := s.lockUpload(u)
	if err != nil {
		return blob.Upload{}, name.Digest{}, err
	}
	defer f.release(true)
	h, err := s.rehash(ctx, f.File, u.Size, a)
	if err != nil {
		return blob.Upload{}, name.Digest{}, err
	}
	u.State = append(all, h).state()
	return u, h.digest(), nil
}

// hashesFor restores the upload's hashes. For an upload without bytes, it returns a new hash with algorithm want.
func (s *Store) hashesFor(u blob.Upload, want name.Algorithm) (hashes, error) {
	if u.Size == 0 {
		h, err := newHasher(want)
		return hashes{h}, err
	}
	all, err := parseState(u.State)
	if err != nil {
		return nil, fmt.Errorf("resuming upload %s: %w", u.ID, err)
	}
	return all, nil
}

// publish renames the locked upload to the blob d. A blob that is already stored is replaced: its bytes may have
// been damaged since they were written, and to read and hash them would take longer than to sync the new ones.
func (s *Store) publish(f *uploadFile, d name.Digest) (blob.Info, error) {
	path, now := s.blobPath(d), time.Now()
	if err := s.makePrefixDir(d.Algorithm(), d.Hex()); err != nil {
		return blob.Info{}, err
	}
	if err := s.sys.chtimes(f.Name(), time.Time{}, now); err != nil {
		return blob.Info{}, err
	}
	if err := s.sys.syncData(f.File); err != nil {
		return blob.Info{}, err
	}
	info, err := s.sys.fstat(f.File)
	if err != nil {
		return blob.Info{}, err
	}
	f.moved = true // also if Rename fails, since the file may have its new name then
	return blobInfo(d, info), s.sys.renameDurably(f.Name(), path)
}

// Abort implements blob.Store. Errors: fault.UploadConflict while another call writes the upload.
func (s *Store) Abort(_ context.Context, u blob.Upload) error {
	f, _, err := s.lockFile(u.ID, os.O_RDWR)
	if errors.Is(err, fault.UploadNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock(f)
	if err := s.sys.remove(f.Name()); err != nil {
		return fmt.Errorf("dropping upload %s: %w", u.ID, err)
	}
	return nil
}

// uploadFile is the file of an upload while its lock is held. Only the holder of the lock changes the file or
// its path.
type uploadFile struct {
	*os.File
	sys   *system
	start int64 // number of accepted bytes: the Size of the Upload
	moved bool  // the file may have left its path, and must not be touched again
}

// lockUpload opens the file of an upload, locks it and truncates it to u.Size. If u has no bytes yet, the file
// is created. Errors: fault.UploadConflict, fault.UploadNotFound.
func (s *Store) lockUpload(u blob.Upload) (*uploadFile, error) {
	if u.Size < 0 {
		return nil, uploadGone(u.ID)
	}
	flags := os.O_RDWR
	if u.Size == 0 {
		flags |= os.O_CREATE
	}
	f, length, err := s.lockFile(u.ID, flags)
	if err != nil {
		return nil, err
	}
	if length < u.Size {
		unlock(f)
		return nil, uploadGone(u.ID).Because(fmt.Errorf("the file has %d bytes, the upload %d", length, u.Size))
	}
	if length > u.Size { // bytes of a call that failed
		if err := s.sys.truncate(f, u.Size); err != nil {
			unlock(f)
			return nil, writeError("opening an upload", err)
		}
	}
	return &uploadFile{File: f, sys: &s.sys, start: u.Size}, nil
}

// lockFile opens the file of an upload, locks it and returns its length. Errors: fault.UploadConflict,
// fault.UploadNotFound.
func (s *Store) lockFile(id string, flags int) (_ *os.File, length int64, err error) {
	if !validID(id) {
		return nil, 0, uploadGone(id)
	}
	f, err := s.sys.openFile(s.uploadsDir()+"/"+id, flags, fileMode)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, uploadGone(id)
	}
	if err != nil {
		return nil, 0, writeError("opening an upload", err)
	}
	defer func() {
		if err != nil {
			unlock(f)
		}
	}()
	if err := s.sys.tryLock(f); errors.Is(err, durable.ErrLocked) {
		return nil, 0, uploadBusy(id)
	} else if err != nil {
		return nil, 0, fmt.Errorf("locking an upload: %w", err)
	}
	info, err := s.sys.fstat(f)
	if err != nil {
		return nil, 0, fmt.Errorf("opening an upload: %w", err)
	}
	// Between open and lock, the previous holder of the lock may have finished: then this file was removed or is
	// a blob now, and must not be written.
	if there, err := s.sys.stat(f.Name()); err != nil || !os.SameFile(info, there) {
		return nil, 0, uploadBusy(id).Because(err)
	}
	return f, info.Size(), nil
}

// unlock unlocks the file of an upload and closes it. Errors are ignored: the bytes to keep have been synced
// before.
func unlock(f *os.File) {
	durable.Unlock(f)
	f.Close()
}

func uploadGone(id string) *fault.Error {
	return fault.UploadNotFound.New("upload %q is not known", name.Clip(id))
}

func uploadBusy(id string) *fault.Error {
	return fault.UploadConflict.New("another request is writing upload %s", id)
}

// release unlocks the file. If keep is false, it first removes the bytes of the failed call, so that a full
// disk has space again. Errors of that are ignored: the next writer truncates the file again, and the garbage
// collector finds uploads that are not resumed.
func (f *uploadFile) release(keep bool) {
	if !keep && !f.moved {
		if f.start == 0 {
			f.sys.remove(f.Name())
		} else {
			f.sys.truncate(f.File, f.start)
		}
	}
	unlock(f.File)
}

// rehash reads the upload again and hashes it with another algorithm.
func (s *Store) rehash(ctx context.Context, f *os.File, size int64, a name.Algorithm) (hasher, error) {
	h, err := newHasher(a)
	if err != nil {
		return hasher{}, err
	}
	b := largeBuffers.Get().(*[]byte)
	defer largeBuffers.Put(b)
	for off := int64(0); off < size; {
		if err := ctx.Err(); err != nil {
			return hasher{}, err
		}
		n, err := s.sys.readAt(f, (*b)[:min(size-off, int64(len(*b)))], off)
		if err != nil && !(errors.Is(err, io.EOF) && off+int64(n) == size) {
			return hasher{}, fmt.Errorf("reading an upload: %w", err)
		}
		h.Write((*b)[:n])
		off += int64(n)
	}
	return h, nil
}
