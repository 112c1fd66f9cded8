package fsblob_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/store/blob/blobtest"
	"github.com/ecrin-dev/ecrin/internal/store/blob/fsblob"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

var ctx = context.Background()

// openErr calls fsblob.Open, for helpers that have no testing.TB.
func openErr(dir string) (*fsblob.Store, error) { return fsblob.Open(dir) }

func mustOpen(t testing.TB, dir string) *fsblob.Store {
	t.Helper()
	s, err := fsblob.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestContract(t *testing.T) {
	t.Parallel()
	blobtest.Run(t, func(t *testing.T) blob.Store { return mustOpen(t, t.TempDir()) })
	blobtest.RunReopened(t, func(t *testing.T) (before, after blob.Store) {
		dir := t.TempDir()
		return mustOpen(t, dir), mustOpen(t, dir)
	})
}

// The layout of the directory is stable, since backups and other tools read it.
func TestLayout(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new", "blobs")
	s := mustOpen(t, dir)
	d := blobtest.Put(t, s, []byte("hello")).Digest
	u, err := s.Begin(ctx, name.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	if u, err = s.Append(ctx, u, strings.NewReader("some"), -1); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"sha256/" + d.Hex()[:2] + "/" + d.Hex(): "hello",
		"uploads/" + u.ID:                       "some",
	} {
		got, err := os.ReadFile(filepath.Join(dir, path))
		if err != nil || string(got) != want {
			t.Errorf("%s: got %q, %v, want %q", path, got, err, want)
		}
	}
}

// The reader is an *os.File, so that the kernel sends it without a copy.
func TestOpenGivesFile(t *testing.T) {
	t.Parallel()
	s := mustOpen(t, t.TempDir())
	r, _, err := s.Open(ctx, blobtest.Put(t, s, []byte("hello")).Digest)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, ok := r.(*os.File); !ok {
		t.Errorf("Open gives a %T, want *os.File", r)
	}
}

// A failed call leaves no file of an upload without bytes, and no additional bytes of an upload with bytes.
func TestFailuresLeaveNoBytes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := mustOpen(t, dir)
	fresh, err := s.Begin(ctx, name.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	begun, err := s.Append(ctx, fresh, strings.NewReader("some"), -1)
	if err != nil {
		t.Fatal(err)
	}
	if fresh, err = s.Begin(ctx, name.SHA256); err != nil {
		t.Fatal(err)
	}
	for _, u := range []blob.Upload{fresh, begun} {
		if _, err := s.Append(ctx, u, bytes.NewReader(make([]byte, 300_000)), 200_000); !errors.Is(err, fault.SizeInvalid) {
			t.Fatalf("Append beyond the limit: got %v, want SizeInvalid", err)
		}
		if _, err := s.Commit(ctx, u, bytes.NewReader(make([]byte, 300_000)), -1, blobtest.SHA256(nil)); !errors.Is(err, fault.DigestInvalid) {
			t.Fatalf("Commit as another digest: got %v, want DigestInvalid", err)
		}
	}
	files, err := os.ReadDir(filepath.Join(dir, "uploads"))
	if err != nil || len(files) != 1 || files[0].Name() != begun.ID {
		t.Fatalf("files of uploads: got %v, %v, want %s alone", files, err, begun.ID)
	}
	if info, err := files[0].Info(); err != nil || info.Size() != 4 {
		t.Errorf("the upload with bytes: got %d, %v, want 4", info.Size(), err)
	}
}

// A blob whose file was truncated is replaced by the next push of it.
func TestTruncatedBlobIsReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := mustOpen(t, dir)
	data := blobtest.Bytes(1, 10_000)
	d := blobtest.Put(t, s, data).Digest
	path := filepath.Join(dir, "sha256", d.Hex()[:2], d.Hex())
	if err := os.Truncate(path, 5000); err != nil {
		t.Fatal(err)
	}
	blobtest.Put(t, s, data)
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, data) {
		t.Errorf("after the push: got %d bytes, %v, want %d", len(got), err, len(data))
	}
}

// A push of a stored blob sets its time anew, so that the garbage collector's grace period starts again. The
// time of a blob is that of its Commit, however old its bytes are.
func TestCommitSetsTime(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := mustOpen(t, dir)
	d := blobtest.Put(t, s, []byte("hello")).Digest
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(filepath.Join(dir, "sha256", d.Hex()[:2], d.Hex()), old, old); err != nil {
		t.Fatal(err)
	}
	blobtest.Put(t, s, []byte("hello")) // checks StoredAt
	if info, err := s.Stat(ctx, d); err != nil || time.Since(info.StoredAt) > time.Minute {
		t.Errorf("StoredAt after a second push: got %v, %v, want now", info.StoredAt, err)
	}

	u, err := s.Begin(ctx, name.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	if u, err = s.Append(ctx, u, strings.NewReader("aged"), -1); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(filepath.Join(dir, "uploads", u.ID), old, old); err != nil {
		t.Fatal(err)
	}
	info, err := s.Commit(ctx, u, nil, -1, blobtest.SHA256([]byte("aged")))
	if err != nil || time.Since(info.StoredAt) > time.Minute {
		t.Errorf("StoredAt of an old upload: got %v, %v, want now", info.StoredAt, err)
	}
}

// Files in the directory that the store did not write are not listed as blobs.
func TestListPassesForeignFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := mustOpen(t, dir)
	d := blobtest.Put(t, s, []byte("hello")).Digest
	other := strings.Repeat("ab", 32)
	for _, path := range []string{
		"sha256/lost+found", "sha256/README", "sha256/zz", "sha256/" + d.Hex()[:2] + "/notes", "sha256/" + other, "sha256/cd/" + other,
		"sha256/ab/" + strings.ToUpper(other), "uploads/notes",
	} {
		full := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "sha256", "ab", other), 0o700); err != nil { // a folder named like a blob
		t.Fatal(err)
	}
	var got []name.Digest
	for info, err := range s.List(ctx, name.Digest{}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, info.Digest)
	}
	if len(got) != 1 || got[0] != d {
		t.Errorf("List: got %v, want %s alone", got, d)
	}
	for id, err := range s.Stale(ctx, time.Now().Add(time.Hour)) {
		t.Errorf("Stale: got %q, %v, want none", id, err)
	}
}

// Attack 33: more concurrent uploads than there are spare buffers, all stopped in the middle of a large body.
// Memory is bounded, each upload has a buffer to continue with, and all uploads complete.
func TestAttack33ManySlowUploads(t *testing.T) {
	t.Parallel()
	s := mustOpen(t, t.TempDir())
	const uploads = 120
	var halfway, done sync.WaitGroup
	halfway.Add(uploads)
	for i := range uploads {
		done.Go(func() {
			data := blobtest.Bytes(uint64(i), 600_000)
			stop := readerFunc(func([]byte) (int, error) {
				halfway.Done()
				halfway.Wait()
				if got := s.SpareBuffers(); got > fsblob.MaxSpareBuffers {
					t.Errorf("spare buffers in use: got %d, want at most %d", got, fsblob.MaxSpareBuffers)
				}
				return 0, nil
			})
			r := &sequence{[]readerFunc{bytes.NewReader(data[:500_000]).Read, stop, bytes.NewReader(data[500_000:]).Read}}
			u, err := s.Begin(ctx, name.SHA256)
			if err == nil {
				_, err = s.Commit(ctx, u, r, -1, blobtest.SHA256(data))
			}
			if err != nil {
				t.Errorf("upload %d: %v", i, err)
			}
		})
	}
	done.Wait()
	if got := s.SpareBuffers(); got != 0 {
		t.Errorf("spare buffers in use after the last upload: got %d, want 0", got)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// sequence reads each of its readers until it yields no bytes or an error, and then continues with the next.
type sequence struct{ parts []readerFunc }

func (s *sequence) Read(b []byte) (int, error) {
	n, err := s.parts[0](b)
	if (n == 0 || err != nil) && len(s.parts) > 1 {
		s.parts, err = s.parts[1:], nil
	}
	return n, err
}

func TestForeignState(t *testing.T) {
	t.Parallel()
	s := mustOpen(t, t.TempDir())
	u, err := s.Begin(ctx, name.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	if u, err = s.Append(ctx, u, strings.NewReader("some"), -1); err != nil {
		t.Fatal(err)
	}
	changed := bytes.Clone(u.State)
	changed[len("sha256\x00")] ^= 1 // the mark of the hash
	for _, state := range [][]byte{nil, {}, []byte("sha256"), []byte("sha256\x00"), []byte("md5\x00abc"), changed,
		append(bytes.Clone(u.State), u.State...), u.State[:len(u.State)-1], append(u.State[:len(u.State):len(u.State)], 0)} {
		bad := u
		bad.State = state
		if _, err := s.Append(ctx, bad, strings.NewReader("more"), -1); err == nil {
			t.Errorf("Append with state %q: got nil, want an error", state)
		}
		if _, err := s.Commit(ctx, bad, nil, -1, blobtest.SHA256([]byte("some"))); err == nil {
			t.Errorf("Commit with state %q: got nil, want an error", state)
		}
	}
	if _, _, err := s.Hash(ctx, u, "md5"); err == nil {
		t.Error("Hash(md5) of an upload with bytes: got nil, want an error")
	}
	if _, err := s.Commit(ctx, u, nil, -1, blobtest.SHA256([]byte("some"))); err != nil {
		t.Errorf("Commit with the right state: %v", err)
	}
	if _, err := s.Begin(ctx, "md5"); err == nil {
		t.Error("Begin(md5): got nil, want an error")
	}
	fresh, err := s.Begin(ctx, name.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Hash(ctx, fresh, "md5"); err == nil {
		t.Error("Hash(md5): got nil, want an error")
	}
}

// Once an upload has been hashed with another algorithm, its bytes are not read again for that: neither for the digest nor at
// the end. The test replaces them meanwhile, which changes no result.
func TestBytesAreHashedOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := mustOpen(t, dir)
	data := blobtest.Bytes(1, 300_000)
	u, err := s.Begin(ctx, name.SHA256)
	if err == nil {
		u, err = s.Append(ctx, u, bytes.NewReader(data), -1)
	}
	if err == nil {
		u, _, err = s.Hash(ctx, u, name.SHA512)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "uploads", u.ID), make([]byte, len(data)), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, got, err := s.Hash(ctx, u, name.SHA512); err != nil || got != blobtest.SHA512(data) {
			t.Errorf("Hash again: got %s and %v, want the digest of the bytes before they were replaced", got, err)
		}
	}
	if _, err := s.Commit(ctx, u, nil, -1, blobtest.SHA512([]byte("wrong"))); !errors.Is(err, fault.DigestInvalid) {
		t.Errorf("Commit as another digest: got %v, want DigestInvalid", err)
	}
	if _, err := s.Commit(ctx, u, nil, -1, blobtest.SHA512(data)); err != nil {
		t.Errorf("Commit: got %v, want no error: the state has the digest", err)
	}
}

// With any bytes as the state, no call panics and no wrong blob is published.
func FuzzState(f *testing.F) {
	s := mustOpen(f, f.TempDir())
	for _, a := range []name.Algorithm{name.SHA256, name.SHA512} {
		u, err := s.Begin(ctx, a)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(u.State)
		f.Add(append(bytes.Clone(u.State), u.State...))
		f.Add(append(bytes.Clone(u.State), "sha512\x00sha\x07"...))
	}
	f.Add([]byte("sha256\x00sha\x03"))
	f.Fuzz(func(t *testing.T, state []byte) {
		u, err := s.Begin(ctx, name.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		u.State = state
		after, err := s.Append(ctx, u, strings.NewReader("some"), -1)
		if err != nil {
			return
		}
		d := blobtest.SHA256([]byte("some"))
		if _, err := s.Commit(ctx, after, nil, -1, d); err == nil && !bytes.HasPrefix(state, []byte("sha256\x00")) &&
			!bytes.HasPrefix(state, []byte("sha512\x00")) {
			t.Errorf("Commit after the state %q: got nil", state)
		}
		s.Abort(ctx, after)
		s.Delete(ctx, d)
	})
}

func TestOpenFails(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := fsblob.Open(file); err == nil {
		t.Error("Open of a file: got nil, want an error")
	}
}

// The id of a directory stays, also for processes that ask for it at the same time, and another directory has another one.
func TestID(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var all [8]string
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() {
			var err error
			if all[i], err = fsblob.ID(dir); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, id := range all {
		if id == "" || id != all[0] {
			t.Errorf("got the ids %q, want one", all)
			break
		}
	}
	if other, err := fsblob.ID(t.TempDir()); err != nil || other == all[0] {
		t.Errorf("another directory: got %q, %v", other, err)
	}
	if id, err := fsblob.ID(dir + "/none"); err == nil {
		t.Errorf("a directory that does not exist: got %q, want an error", id)
	}
	odd := t.TempDir()
	if err := os.Mkdir(filepath.Join(odd, "id"), 0o700); err != nil {
		t.Fatal(err)
	}
	if id, err := fsblob.ID(odd); err == nil {
		t.Errorf("an id that cannot be read: got %q, want an error", id)
	}
}
