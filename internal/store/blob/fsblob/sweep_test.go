package fsblob_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/store/blob/blobtest"
	"github.com/ecrin-dev/ecrin/internal/store/blob/fsblob"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// all returns what a sequence yields and its error, behind which it must yield nothing.
func all[V any](seq iter.Seq2[V, error]) (got []V, failed error) {
	for v, err := range seq {
		if failed != nil {
			return nil, fmt.Errorf("got %v and %v behind the error %v", v, err, failed)
		}
		if failed = err; err == nil {
			got = append(got, v)
		}
	}
	return got, failed
}

// scene is a directory with one stored blob, in which one operation is tried.
type scene struct {
	t      *testing.T
	dir    string
	whole  *fsblob.Store // without faults
	stored blob.Info
	bytes  []byte // of the stored blob
	u      blob.Upload
	data   []byte // the whole content of u
}

// begin sets an upload whose first bytes are accepted.
func (c *scene) begin(data []byte, accepted int) {
	c.data, c.u = data, begun(c.t, c.whole, string(data[:accepted]))
}

// leftover adds bytes to the file of the upload, as a call does that ends with its process.
func (c *scene) leftover() {
	f, err := os.OpenFile(filepath.Join(c.dir, "uploads", c.u.ID), os.O_WRONLY|os.O_APPEND, 0)
	if err == nil {
		_, err = f.WriteString("of a call that was killed")
		f.Close()
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *scene) commit(s blob.Store, want name.Digest) error {
	_, err := s.Commit(ctx, c.u, bytes.NewReader(c.data[c.u.Size:]), -1, want)
	if err == nil {
		err = serves(c.whole, want, c.data)
	}
	return err
}

func (c *scene) append(s blob.Store) error {
	u, err := s.Append(ctx, c.u, bytes.NewReader(c.data[c.u.Size:]), -1)
	if err == nil {
		_, err = c.whole.Commit(ctx, u, nil, -1, blobtest.SHA256(c.data))
	}
	if err == nil {
		err = serves(c.whole, blobtest.SHA256(c.data), c.data)
	}
	return err
}

// serves returns an error if a blob cannot be read or has other bytes.
func serves(s blob.Store, d name.Digest, want []byte) error {
	r, info, err := s.Open(ctx, d)
	if err != nil {
		return err
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	if err == nil && (!bytes.Equal(got, want) || info.Size != int64(len(want))) {
		err = fmt.Errorf("blob %s has %d bytes, of size %d, want %d", d, len(got), info.Size, len(want))
	}
	return err
}

func absent(s blob.Store, d name.Digest) error {
	if _, err := s.Stat(ctx, d); !errors.Is(err, fault.BlobNotFound) {
		return fmt.Errorf("blob %s: got %w, want BlobNotFound", d, err)
	}
	return nil
}

// operation is a call of a Store. try returns the error of the call, or says what is wrong after a call without one.
type operation struct {
	name    string
	prepare func(c *scene)
	try     func(c *scene, s blob.Store) error
	writes  bool // a full disk is fault.Unavailable
	deletes bool // the stored blob is absent afterwards
}

var large = blobtest.Bytes(5, 300_000) // more than the small and one large buffer

var operations = []operation{
	{name: "open", try: func(c *scene, s blob.Store) error { return serves(s, c.stored.Digest, c.bytes) }},
	{name: "stat", try: func(c *scene, s blob.Store) error {
		got, err := s.Stat(ctx, c.stored.Digest)
		if err == nil && got != c.stored {
			err = fmt.Errorf("Stat: got %+v, want %+v", got, c.stored)
		}
		return err
	}},
	{name: "list", prepare: func(c *scene) {
		blobtest.Put(c.t, c.whole, []byte("another blob"))
		blobtest.Put(c.t, c.whole, []byte("and another"))
	}, try: func(c *scene, s blob.Store) error {
		got, err := all(s.List(ctx, name.Digest{}))
		if err == nil && (len(got) != 3 || !slices.Contains(got, c.stored)) {
			err = fmt.Errorf("List: got %+v, want three blobs, among them %+v", got, c.stored)
		}
		return err
	}},
	{name: "stale", prepare: func(c *scene) {
		begun(c.t, c.whole, "another upload")
		c.begin(large, 100)
	}, try: func(c *scene, s blob.Store) error {
		got, err := all(s.Stale(ctx, time.Now().Add(time.Hour)))
		if err == nil && (len(got) != 2 || !slices.Contains(got, c.u.ID)) {
			err = fmt.Errorf("Stale: got %q, want two uploads, among them %q", got, c.u.ID)
		}
		return err
	}},
	{name: "peek", prepare: func(c *scene) { c.begin(large, 100) }, try: func(c *scene, s blob.Store) error {
		r, err := s.Peek(ctx, c.u)
		if err != nil {
			return err
		}
		return r.Close()
	}},
	{name: "delete", deletes: true, try: func(c *scene, s blob.Store) error {
		if err := s.Delete(ctx, c.stored.Digest); err != nil {
			return err
		}
		return absent(c.whole, c.stored.Digest)
	}},
	{name: "abort", prepare: func(c *scene) { c.begin(large, 100) }, try: func(c *scene, s blob.Store) error {
		err := s.Abort(ctx, c.u)
		if err == nil && len(c.uploads()) > 0 {
			err = fmt.Errorf("after Abort: the files %q are there", c.uploads())
		}
		return err
	}},
	{name: "first append", prepare: func(c *scene) { c.begin([]byte("small"), 0) }, try: (*scene).appendTo, writes: true},
	{name: "large first append", prepare: func(c *scene) { c.begin(large, 0) }, try: (*scene).appendTo, writes: true},
	{name: "later append", prepare: func(c *scene) { c.begin(large, 1000); c.leftover() }, try: (*scene).appendTo, writes: true},
	{name: "hash", prepare: func(c *scene) { c.begin(large, 299_000); c.leftover() }, try: func(c *scene, s blob.Store) error {
		u, got, err := s.Hash(ctx, c.u, name.SHA512)
		if err != nil {
			return err
		}
		if want := blobtest.SHA512(c.data[:299_000]); got != want {
			return fmt.Errorf("Hash: got %s, want %s", got, want)
		}
		_, err = c.whole.Commit(ctx, u, bytes.NewReader(c.data[299_000:]), -1, blobtest.SHA512(c.data))
		return err
	}},
	{name: "commit alone", prepare: func(c *scene) { c.begin(large, 0) }, try: func(c *scene, s blob.Store) error {
		return c.commit(s, blobtest.SHA256(c.data))
	}, writes: true},
	{name: "last bytes", prepare: func(c *scene) { c.begin(large, 1000); c.leftover() }, try: func(c *scene, s blob.Store) error {
		return c.commit(s, blobtest.SHA256(c.data))
	}, writes: true},
	{name: "other algorithm", prepare: func(c *scene) { c.begin(large, 299_000) }, try: func(c *scene, s blob.Store) error {
		return c.commit(s, blobtest.SHA512(c.data))
	}, writes: true},
	{name: "same blob again", prepare: func(c *scene) { c.begin(c.bytes, 10) }, try: func(c *scene, s blob.Store) error {
		return c.commit(s, c.stored.Digest)
	}, writes: true},
}

func (c *scene) appendTo(s blob.Store) error { return c.append(s) }

// uploads returns the files of uploads that have bytes.
func (c *scene) uploads() (names []string) {
	files, err := filepath.Glob(filepath.Join(c.dir, "uploads", "*"))
	if err != nil {
		c.t.Fatal(err)
	}
	for _, f := range files {
		if info, err := os.Stat(f); err != nil || info.Size() > 0 {
			names = append(names, f)
		}
	}
	return names
}

// Each call to the file system fails once in each operation. Then the error is reported, as one of the disk and not as an absent
// blob or upload; what was stored is there, nothing half-written is; no file stays open; and the next try of the same
// operation works.
func TestEachCallToTheFileSystemFails(t *testing.T) {
	t.Parallel()
	for _, op := range operations {
		t.Run(op.name, func(t *testing.T) {
			t.Parallel()
			for f := range fsblob.Faults {
				for n := 1; ; n++ {
					if !failOnce(t, op, n, f) {
						break
					}
				}
			}
		})
	}
}

// failOnce lets the nth call of an operation fail, and reports whether the operation makes so many calls.
func failOnce(t *testing.T, op operation, n int, f fsblob.Fault) (failed bool) {
	c := &scene{t: t, dir: t.TempDir(), bytes: []byte("stored before")}
	c.whole = mustOpen(t, c.dir)
	c.stored = blobtest.Put(t, c.whole, c.bytes)
	if op.prepare != nil {
		op.prepare(c)
	}
	before := used(c.dir)
	var calls fsblob.Calls
	s, err := fsblob.OpenFailing(c.dir, &calls)
	if err != nil {
		t.Fatal(err)
	}
	calls.Fail(n, f)
	err = op.try(c, s)
	_, call := calls.Made()
	if open := calls.Open(); len(open) > 0 || s.SpareBuffers() > 0 {
		t.Errorf("%s %d fails (%d): the files %q and %d buffers are in use", call, n, f, open, s.SpareBuffers())
	}
	if call == "" {
		if err != nil {
			t.Errorf("without a fault: %v", err)
		}
		return false
	}
	fail := func(format string, args ...any) {
		t.Helper()
		t.Errorf("%s, call %d, fails (%d): %s", call, n, f, fmt.Sprintf(format, args...))
	}
	if !errors.Is(err, fsblob.ErrInjected) || errors.Is(err, fault.BlobNotFound) || errors.Is(err, fault.UploadNotFound) {
		fail("got the error %v, want that of the file system", err)
	}
	if space := []string{"openFile", "writeAt", "truncate", "chtimes", "syncData", "syncDir", "mkdirAll", "renameDurably"}; op.writes &&
		f == fsblob.Before && slices.Contains(space, call) && !errors.Is(err, fault.Unavailable) {
		fail("got %v, want Unavailable, since the disk is full", err)
	}
	if !op.deletes {
		if err := serves(c.whole, c.stored.Digest, c.bytes); err != nil {
			fail("the blob that was stored before: %v", err)
		}
	}
	onlyWhole(t, c.dir)
	if got := used(c.dir); got > before && call != "renameDurably" {
		fail("the uploads have %d bytes, want at most the %d of before", got, before)
	}
	calls.Fail(0, f)
	again := op.try(c, s)
	if made, _ := calls.Made(); (call == "syncData" || call == "syncDir" || call == "mkdirAll") && !slices.Contains(made, call) {
		fail("the next try makes the calls %q, want %s again", made, call)
	}
	if call == "renameDurably" && f == fsblob.After && errors.Is(again, fault.UploadNotFound) {
		again = published(c)
	}
	if again != nil {
		fail("the next try: %v", again)
	}
	onlyWhole(t, c.dir)
	return true
}

// published returns an error unless the content of the upload is stored under one of its digests.
func published(c *scene) error {
	if err := serves(c.whole, blobtest.SHA256(c.data), c.data); err == nil {
		return nil
	}
	return serves(c.whole, blobtest.SHA512(c.data), c.data)
}

// onlyWhole checks that each file with the name of a blob has its bytes.
func onlyWhole(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "sha*", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		got := blobtest.SHA256(b)
		if strings.Contains(f, "/sha512/") {
			got = blobtest.SHA512(b)
		}
		if err != nil || got.Hex() != filepath.Base(f) {
			t.Errorf("%s has %d bytes of another digest, %v", f, len(b), err)
		}
	}
}

// A directory that cannot be prepared is not opened, and the next try works.
func TestAFolderOfTheDirectoryCannotBeMade(t *testing.T) {
	t.Parallel()
	for n := 1; ; n++ {
		dir := t.TempDir()
		var calls fsblob.Calls
		calls.Fail(n, fsblob.Before)
		_, err := fsblob.OpenFailing(dir, &calls)
		if _, failed := calls.Made(); failed == "" {
			if n != 4 || err != nil {
				t.Errorf("call %d without a fault: got %v", n, err)
			}
			return
		}
		if !errors.Is(err, fsblob.ErrInjected) {
			t.Errorf("call %d fails: got %v, want the error of the file system", n, err)
		}
		mustOpen(t, dir)
	}
}

// damaged stores a blob and cuts its file. It returns what Stat says of it then.
func damaged(t *testing.T, s blob.Store, dir string, data []byte) (was blob.Info, path string) {
	t.Helper()
	d := blobtest.Put(t, s, data).Digest
	path = filepath.Join(dir, "sha256", d.Hex()[:2], d.Hex())
	if err := os.Truncate(path, 3); err != nil {
		t.Fatal(err)
	}
	was, err := s.Stat(ctx, d)
	if err != nil {
		t.Fatal(err)
	}
	return was, path
}

// inQuarantine returns the contents of the files in quarantine.
func inQuarantine(t *testing.T, dir string) (all []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "quarantine", "*"))
	for _, f := range files {
		b, rerr := os.ReadFile(f)
		all, err = append(all, string(b)), errors.Join(err, rerr)
	}
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Each call of a quarantine fails once. The damaged bytes are in their place or in quarantine, and in quarantine when Quarantine
// says so; the next try takes them out if they are still there.
func TestEachCallOfAQuarantineFails(t *testing.T) {
	t.Parallel()
	for f := range fsblob.Faults {
		for n := 1; ; n++ {
			dir := t.TempDir()
			var calls fsblob.Calls
			s, err := fsblob.OpenFailing(dir, &calls)
			if err != nil {
				t.Fatal(err)
			}
			was, path := damaged(t, s, dir, []byte("whole bytes"))
			calls.Fail(n, f)
			moved, err := s.Quarantine(ctx, was)
			_, failed := calls.Made()
			if (failed == "") != (err == nil) || err != nil && !errors.Is(err, fsblob.ErrInjected) {
				t.Errorf("%s, call %d, fails (%d): got %v", failed, n, f, err)
			}
			_, gone := os.Stat(path)
			if kept := inQuarantine(t, dir); (gone != nil) != (len(kept) == 1) || moved && gone == nil {
				t.Errorf("%s, call %d, fails (%d): moved is %t, in its place %v, in quarantine %q", failed, n, f, moved, gone, kept)
			}
			calls.Fail(0, f)
			if _, err := s.Quarantine(ctx, was); err != nil {
				t.Errorf("the next try after %s: %v", failed, err)
			}
			if err := absent(s, was.Digest); err != nil || len(inQuarantine(t, dir)) != 1 {
				t.Errorf("after the next try after %s: %v, in quarantine %q", failed, err, inQuarantine(t, dir))
			}
			if failed == "" {
				if !moved {
					t.Error("without a fault: moved is false")
				}
				break
			}
		}
	}
}

// A Commit between the look at the damaged bytes and their way into quarantine is not lost, whichever call fails afterwards: its bytes
// are served, and Quarantine does not say that it has moved damaged ones. Without links there is another way.
func TestAQuarantineGivesAFreshBlobBack(t *testing.T) {
	t.Parallel()
	for _, second := range []bool{false, true} {
		for f := range fsblob.Faults {
			for n := 1; ; n++ {
				if !giveBack(t, n, f, second) {
					break
				}
			}
		}
	}
}

func giveBack(t *testing.T, n int, f fsblob.Fault, second bool) (failed bool) {
	dir, data := t.TempDir(), []byte("whole bytes")
	var calls fsblob.Calls
	s, err := fsblob.OpenFailing(dir, &calls)
	if err != nil {
		t.Fatal(err)
	}
	whole := mustOpen(t, dir)
	was, _ := damaged(t, s, dir, data)
	calls.Fail(0, f)
	calls.Meanwhile = func(call string) {
		made, _ := calls.Made()
		if call == "rename" && !slices.Contains(made, "rename") {
			blobtest.Put(t, whole, data)
			calls.Fail(n, f)
		}
		if call == "link" && second {
			blobtest.Put(t, whole, data)
		}
	}
	moved, err := s.Quarantine(ctx, was)
	_, call := calls.Made()
	if moved || (call == "" || call == "link") != (err == nil) || err != nil && !errors.Is(err, fsblob.ErrInjected) {
		t.Errorf("%s, call %d, fails (%d): got %t, %v", call, n, f, moved, err)
	}
	if call == "rename" && f == fsblob.After {
		return true // the disk has renamed the file, and says that it has not
	}
	if err := serves(whole, was.Digest, data); err != nil {
		t.Errorf("%s, call %d, fails (%d): the blob: %v", call, n, f, err)
	}
	if kept := inQuarantine(t, dir); call == "" && len(kept) > 0 {
		t.Errorf("without a fault: in quarantine %q, want nothing", kept)
	}
	return call != ""
}

// An upload that another process ends between opening and locking is not written: the file is a blob then, or removed.
func TestAnUploadThatEndsBeforeItIsLocked(t *testing.T) {
	t.Parallel()
	for what, end := range map[string]func(*scene) error{
		"commit": func(c *scene) error {
			_, err := c.whole.Commit(ctx, c.u, nil, -1, blobtest.SHA256(large[:100]))
			return err
		},
		"abort": func(c *scene) error { return c.whole.Abort(ctx, c.u) },
	} {
		c := &scene{t: t, dir: t.TempDir()}
		c.whole = mustOpen(t, c.dir)
		c.begin(large, 100)
		var calls fsblob.Calls
		s, err := fsblob.OpenFailing(c.dir, &calls)
		if err != nil {
			t.Fatal(err)
		}
		calls.Meanwhile = once(&calls, "tryLock", func() {
			if err := end(c); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		})
		if err := c.append(s); !errors.Is(err, fault.UploadConflict) {
			t.Errorf("Append while another process does %s: got %v, want UploadConflict", what, err)
		}
		onlyWhole(t, c.dir)
	}
}

// once returns a function for Meanwhile that acts before the first call of a name.
func once(calls *fsblob.Calls, name string, act func()) func(string) {
	return func(call string) {
		if call == name {
			calls.Meanwhile = nil
			act()
		}
	}
}

// Blobs and uploads that end while a folder is read are left out, and the others are listed.
func TestFilesThatEndWhileTheyAreListed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	whole := mustOpen(t, dir)
	var blobs []blob.Info // of one folder, in the order of List
	for i, prefix := 0, ""; len(blobs) < 3; i++ {
		data := []byte(fmt.Sprint(i))
		d := blobtest.SHA256(data)
		if prefix == "" {
			prefix = d.Hex()[:2]
		}
		if d.Hex()[:2] == prefix {
			blobs = append(blobs, blobtest.Put(t, whole, data))
		}
	}
	slices.SortFunc(blobs, func(a, b blob.Info) int { return strings.Compare(a.Digest.String(), b.Digest.String()) })
	ids := []string{begun(t, whole, "a").ID, begun(t, whole, "b").ID, begun(t, whole, "c").ID}
	slices.Sort(ids)
	var calls fsblob.Calls
	s, err := fsblob.OpenFailing(dir, &calls)
	if err != nil {
		t.Fatal(err)
	}
	calls.Meanwhile = once(&calls, "entryInfo", func() {
		if err := whole.Delete(ctx, blobs[0].Digest); err != nil {
			t.Error(err)
		}
	})
	if got, err := all(s.List(ctx, name.Digest{})); err != nil || !slices.Equal(got, blobs[1:]) {
		t.Errorf("List: got %+v, %v, want %+v", got, err, blobs[1:])
	}
	calls.Meanwhile = once(&calls, "entryInfo", func() {
		if err := whole.Abort(ctx, blob.Upload{ID: ids[0]}); err != nil {
			t.Error(err)
		}
	})
	if got, err := all(s.Stale(ctx, time.Now().Add(time.Hour))); err != nil || !slices.Equal(got, ids[1:]) {
		t.Errorf("Stale: got %q, %v, want %q", got, err, ids[1:])
	}
}
