package blobtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/ecrin-dev/ecrin/internal/word/slowtest"
)

// Each size is stored once by Commit alone, and once by Append and a Commit without bytes.
func testSizes(t *testing.T, s blob.Store) {
	for i, size := range sizes {
		data := Bytes(uint64(i), size)
		commit(t, s, begin(t, s, name.SHA256), data, SHA256(data))
		wantBlob(t, s, SHA256(data), data)

		data = Bytes(uint64(i+100), size)
		u := appendBytes(t, s, begin(t, s, name.SHA256), data)
		commit(t, s, u, nil, SHA256(data))
		wantBlob(t, s, SHA256(data), data)
	}
}

func testChunks(t *testing.T, s blob.Store) {
	data := Bytes(1, 2<<20)
	u := begin(t, s, name.SHA256)
	rest := data
	for _, size := range []int{0, 1, 63, 64, 65, 0, 32 << 10, 128 << 10, 300_000, 7} {
		u = appendBytes(t, s, u, rest[:size])
		rest = rest[size:]
	}
	commit(t, s, u, rest, SHA256(data))
	wantBlob(t, s, SHA256(data), data)
}

func testSHA512(t *testing.T, s blob.Store) {
	data := Bytes(2, 400_000)
	u := appendBytes(t, s, begin(t, s, name.SHA512), data[:111_111])
	commit(t, s, u, data[111_111:], SHA512(data))
	wantBlob(t, s, SHA512(data), data)
	wantAbsent(t, s, SHA256(data))
}

func testOtherAlgorithm(t *testing.T, s blob.Store) {
	data := Bytes(3, 333_333)
	u := appendBytes(t, s, begin(t, s, name.SHA256), data[:300_000])
	commit(t, s, u, data[300_000:], SHA512(data))
	wantBlob(t, s, SHA512(data), data)
	commit(t, s, begin(t, s, name.SHA512), data, SHA256(data))
	wantBlob(t, s, SHA256(data), data)
	u = appendBytes(t, s, begin(t, s, name.SHA256), data[:5])
	wantCode(t, second(s.Commit(t.Context(), u, nil, -1, SHA512(data))), fault.DigestInvalid, "Commit as another content's sha512")
}

// The digest of an upload with another algorithm than that of Begin is known from then on: the state of the upload has it,
// later bytes continue it, and Commit needs it.
func testHash(t *testing.T, s blob.Store) {
	hash := func(u blob.Upload, want name.Digest) blob.Upload {
		t.Helper()
		after, got, err := s.Hash(t.Context(), u, want.Algorithm())
		if err != nil || got != want || after.ID != u.ID || after.Size != u.Size {
			t.Errorf("Hash of %d bytes with %s: got %s, an upload of %d bytes and %v, want %s", u.Size, want.Algorithm(), got, after.Size, err, want)
		}
		return after
	}
	data := Bytes(5, 700_000)
	empty := begin(t, s, name.SHA256)
	for _, want := range []name.Digest{SHA256(nil), SHA512(nil)} {
		hash(empty, want)
	}
	u := appendBytes(t, s, empty, data[:300_000])
	if same := hash(u, SHA256(data[:300_000])); !bytes.Equal(same.State, u.State) {
		t.Error("Hash with the algorithm of Begin changed the state")
	}
	both := hash(u, SHA512(data[:300_000]))
	if bytes.Equal(both.State, u.State) {
		t.Error("Hash with another algorithm did not change the state")
	}
	if again := hash(both, SHA512(data[:300_000])); !bytes.Equal(again.State, both.State) {
		t.Error("a second Hash changed the state")
	}
	u = appendBytes(t, s, both, data[300_000:600_000])
	for _, want := range []name.Digest{SHA256(data[:600_000]), SHA512(data[:600_000])} {
		if same := hash(u, want); !bytes.Equal(same.State, u.State) {
			t.Errorf("Append did not continue the hash with %s", want.Algorithm())
		}
	}
	err := second(s.Commit(t.Context(), u, bytes.NewReader(data[600_000:]), -1, SHA512(data[1:])))
	wantCode(t, err, fault.DigestInvalid, "Commit as another sha512")
	commit(t, s, u, data[600_000:], SHA512(data))
	wantBlob(t, s, SHA512(data), data)
	_, _, err = s.Hash(t.Context(), both, name.SHA256)
	if err != nil {
		t.Errorf("Hash needs no bytes for an algorithm that the state has: got %v", err)
	}
	gone := appendBytes(t, s, begin(t, s, name.SHA256), data[:5])
	if err := s.Abort(t.Context(), gone); err != nil {
		t.Error(err)
	}
	_, _, err = s.Hash(t.Context(), gone, name.SHA512)
	wantCode(t, err, fault.UploadNotFound, "Hash of an upload that does not exist")
}

func testAbsent(t *testing.T, s blob.Store) {
	for _, d := range []name.Digest{SHA256(nil), SHA512([]byte("x")), {}} {
		wantAbsent(t, s, d)
		if err := s.Delete(t.Context(), d); err != nil {
			t.Errorf("Delete(%s) of an absent blob: got %v, want nil", d, err)
		}
	}
}

func testWrongDigest(t *testing.T, s blob.Store) {
	data := Bytes(4, 200_000)
	u := appendBytes(t, s, begin(t, s, name.SHA256), data[:150_000])
	for _, wrong := range []name.Digest{SHA256([]byte("other")), SHA256(data[:150_000]), {}} {
		err := second(s.Commit(t.Context(), u, bytes.NewReader(data[150_000:]), -1, wrong))
		wantCode(t, err, fault.DigestInvalid, "Commit as "+wrong.String())
		wantAbsent(t, s, wrong)
	}
	commit(t, s, u, data[150_000:], SHA256(data)) // the upload is unchanged: the bytes of the failed calls do not count
	wantBlob(t, s, SHA256(data), data)
}

func testCommitTwice(t *testing.T, s blob.Store) {
	data := Bytes(5, 1000)
	u := appendBytes(t, s, begin(t, s, name.SHA256), data)
	commit(t, s, u, nil, SHA256(data))
	wantCode(t, second(s.Commit(t.Context(), u, nil, -1, SHA256(data))), fault.UploadNotFound, "second Commit")
	wantCode(t, second(s.Append(t.Context(), u, bytes.NewReader(data), -1)), fault.UploadNotFound, "Append after Commit")
	wantBlob(t, s, SHA256(data), data)
}

func testSameBlobAgain(t *testing.T, s blob.Store) {
	data := Bytes(6, 50_000)
	for range 3 {
		u := appendBytes(t, s, begin(t, s, name.SHA256), data[:10])
		commit(t, s, u, data[10:], SHA256(data))
		wantBlob(t, s, SHA256(data), data)
		wantCode(t, second(s.Append(t.Context(), u, bytes.NewReader(data), -1)), fault.UploadNotFound, "Append after Commit")
	}
}

func testReaderFails(t *testing.T, s blob.Store) {
	data := Bytes(7, 600_000)
	for _, good := range []int{0, 1, 32 << 10, 160 << 10, 500_000} { // bytes before the reader's error
		u := begin(t, s, name.SHA256)
		for range 2 { // at 0, and after accepted bytes
			_, err := s.Append(t.Context(), u, failing(Bytes(8, good)), -1)
			if !errors.Is(err, errReader) {
				t.Fatalf("Append of a reader that fails after %d bytes: got %v, want its error", good, err)
			}
			u = appendBytes(t, s, u, data[u.Size:u.Size+1000])
		}
		commit(t, s, u, data[2000:], SHA256(data))
		wantBlob(t, s, SHA256(data), data)
		if err := s.Delete(t.Context(), SHA256(data)); err != nil {
			t.Fatal(err)
		}
	}
}

func testReaderFailsInCommit(t *testing.T, s blob.Store) {
	data := Bytes(9, 300_000)
	for _, start := range []int{0, 1000} {
		u := begin(t, s, name.SHA256)
		if start > 0 {
			u = appendBytes(t, s, u, data[:start])
		}
		// All bytes are there and correct, but the reader ends with an error: nothing may be published.
		err := second(s.Commit(t.Context(), u, failing(data[start:]), -1, SHA256(data)))
		if !errors.Is(err, errReader) {
			t.Fatalf("Commit at %d with a failing reader: got %v, want its error", start, err)
		}
		wantAbsent(t, s, SHA256(data))
		commit(t, s, u, data[start:], SHA256(data))
		wantBlob(t, s, SHA256(data), data)
		if err := s.Delete(t.Context(), SHA256(data)); err != nil {
			t.Fatal(err)
		}
	}
}

type panicking struct{ left io.Reader }

func (p panicking) Read(b []byte) (int, error) {
	n, err := p.left.Read(b)
	if err == io.EOF {
		panic("the reader panics")
	}
	return n, err
}

// A panic of the reader ends only its own request: the upload stays valid, and the next call can write it.
func testReaderPanics(t *testing.T, s blob.Store) {
	data := Bytes(10, 400_000)
	u := appendBytes(t, s, begin(t, s, name.SHA256), data[:10])
	for _, good := range []int{10, 350_000} {
		for _, call := range []func(io.Reader){
			func(r io.Reader) { s.Append(t.Context(), u, r, -1) },
			func(r io.Reader) { s.Commit(t.Context(), u, r, -1, SHA256(data)) },
		} {
			func() {
				defer func() {
					if recover() == nil {
						t.Error("the reader's panic was swallowed")
					}
				}()
				call(panicking{bytes.NewReader(Bytes(11, good))})
			}()
		}
	}
	commit(t, s, u, data[10:], SHA256(data))
	wantBlob(t, s, SHA256(data), data)
}

// A caller that could not store the newer state continues from the older state.
func testOldState(t *testing.T, s blob.Store) {
	data := Bytes(12, 200_000)
	old := appendBytes(t, s, begin(t, s, name.SHA256), data[:100])
	appendBytes(t, s, old, Bytes(13, 150_000))
	u := appendBytes(t, s, old, data[100:500])
	commit(t, s, u, data[500:], SHA256(data))
	wantBlob(t, s, SHA256(data), data)

	// This also holds when the new bytes are fewer than those that are overwritten.
	old = appendBytes(t, s, begin(t, s, name.SHA256), data[:100])
	appendBytes(t, s, old, Bytes(13, 150_000))
	commit(t, s, old, nil, SHA256(data[:100]))
	wantBlob(t, s, SHA256(data[:100]), data[:100])
}

// An Append that starts while a Commit ends must not write into the published blob.
func testAppendBesideCommit(t *testing.T, s blob.Store) {
	for i := range slowtest.Rounds(30, 300) {
		data := Bytes(uint64(i), 100+i)
		u := appendBytes(t, s, begin(t, s, name.SHA256), data)
		var others sync.WaitGroup
		for range 3 {
			others.Go(func() {
				for {
					_, err := s.Append(t.Context(), u, bytes.NewReader([]byte("more")), -1)
					if errors.Is(err, fault.UploadNotFound) {
						return
					}
					if err == nil {
						continue // the Append came first: the Commit overwrites its bytes
					}
					if !errors.Is(err, fault.UploadConflict) {
						t.Errorf("Append beside Commit: got %v, want UploadConflict or UploadNotFound", err)
						return
					}
				}
			})
		}
		for {
			_, err := s.Commit(t.Context(), u, nil, -1, SHA256(data))
			if err == nil {
				break
			}
			if !errors.Is(err, fault.UploadConflict) {
				t.Errorf("Commit beside Appends: got %v, want nil or UploadConflict", err)
				s.Abort(t.Context(), u)
				break
			}
		}
		others.Wait()
		wantBlob(t, s, SHA256(data), data)
	}
}

type emptyReads struct{}

func (emptyReads) Read([]byte) (int, error) { return 0, nil }

func testOddReaders(t *testing.T, s blob.Store) {
	data := Bytes(14, 170_000)
	for i, wrap := range []func(io.Reader) io.Reader{iotest.OneByteReader, iotest.HalfReader, iotest.DataErrReader} {
		d := SHA256(data)
		u, err := s.Append(t.Context(), begin(t, s, name.SHA256), wrap(bytes.NewReader(data[:40_000])), -1)
		if err != nil {
			t.Fatalf("Append from reader %d: %v", i, err)
		}
		if _, err := s.Commit(t.Context(), u, wrap(bytes.NewReader(data[40_000:])), -1, d); err != nil {
			t.Fatalf("Commit from reader %d: %v", i, err)
		}
		wantBlob(t, s, d, data)
		if err := s.Delete(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Append(t.Context(), begin(t, s, name.SHA256), emptyReads{}, -1); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("Append from a reader that gives nothing for ever: got %v, want io.ErrNoProgress", err)
	}
}

func testLimit(t *testing.T, s blob.Store) {
	for _, size := range []int{1, 100, 32 << 10, 128 << 10, 160 << 10, 400_000} {
		data := Bytes(15, size)
		u := appendBytes(t, s, begin(t, s, name.SHA256), []byte("before"))
		whole := append([]byte("before"), data...)
		limit := int64(size)
		for _, short := range []int64{0, limit / 2, limit - 1} {
			r := &counting{r: bytes.NewReader(data)}
			wantCode(t, second(s.Append(t.Context(), u, r, short)), fault.SizeInvalid, fmt.Sprintf("Append of %d bytes with limit %d", size, short))
			wantCode(t, second(s.Commit(t.Context(), u, bytes.NewReader(data), short, SHA256(whole))), fault.SizeInvalid,
				fmt.Sprintf("Commit of %d bytes with limit %d", size, short))
			if r.n > short+1 {
				t.Errorf("limit %d: got %d bytes read, want at most one more", short, r.n)
			}
		}
		if _, err := s.Append(t.Context(), u, bytes.NewReader(data), limit); err != nil {
			t.Fatalf("Append of %d bytes with limit %d: %v", size, limit, err)
		}
		if _, err := s.Commit(t.Context(), u, bytes.NewReader(data), limit, SHA256(whole)); err != nil {
			t.Fatalf("Commit of %d bytes with limit %d: %v", size, limit, err)
		}
		wantBlob(t, s, SHA256(whole), whole)
	}
}

type counting struct {
	r io.Reader
	n int64
}

func (c *counting) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	return n, err
}

func testCancelled(t *testing.T, s blob.Store) {
	data := Bytes(16, 700_000)
	u := appendBytes(t, s, begin(t, s, name.SHA256), data[:10])
	ctx, cancel := context.WithCancel(t.Context())
	half := io.MultiReader(bytes.NewReader(data[10:300_000]), call(cancel), bytes.NewReader(data[300_000:]))
	if _, err := s.Append(ctx, u, half, -1); !errors.Is(err, context.Canceled) {
		t.Fatalf("Append, cancelled on the way: got %v, want context.Canceled", err)
	}
	if _, err := s.Commit(ctx, u, bytes.NewReader(data[10:]), -1, SHA256(data)); !errors.Is(err, context.Canceled) {
		t.Fatalf("Commit, cancelled before: got %v, want context.Canceled", err)
	}
	if _, _, err := s.Hash(ctx, u, name.SHA512); !errors.Is(err, context.Canceled) {
		t.Errorf("Hash, cancelled before: got %v, want context.Canceled", err)
	}
	commit(t, s, u, data[10:], SHA256(data))
	wantBlob(t, s, SHA256(data), data)
}

// call is a reader without bytes that runs a function when it is read.
type call func()

func (f call) Read([]byte) (int, error) { f(); return 0, io.EOF }

func testTwoWriters(t *testing.T, s blob.Store) { twoWriters(t, s, s) }

// twoWriters calls each method of b while an Append of a is running.
func twoWriters(t *testing.T, a, b blob.Store) {
	data := Bytes(17, 300_000)
	for _, start := range []int{0, 1000} {
		u := begin(t, a, name.SHA256)
		if start > 0 {
			u = appendBytes(t, a, u, data[:start])
		}
		meanwhile := call(func() {
			wantCode(t, second(b.Append(t.Context(), u, bytes.NewReader(data), -1)), fault.UploadConflict, "Append beside an Append")
			wantCode(t, second(b.Commit(t.Context(), u, nil, -1, SHA256(data))), fault.UploadConflict, "Commit beside an Append")
		})
		after, err := a.Append(t.Context(), u, io.MultiReader(bytes.NewReader(data[start:200_000]), meanwhile,
			bytes.NewReader(data[200_000:])), -1)
		if err != nil {
			t.Fatalf("Append at %d, disturbed by others: %v", start, err)
		}
		commit(t, b, after, nil, SHA256(data))
		wantBlob(t, a, SHA256(data), data)
		if err := a.Delete(t.Context(), SHA256(data)); err != nil {
			t.Fatal(err)
		}
	}
}

// An Abort during a Commit either fails, or the Commit returns UploadNotFound. In no case are wrong bytes
// published.
func testAbortWhileWriting(t *testing.T, s blob.Store) {
	data := Bytes(18, 300_000)
	u := begin(t, s, name.SHA256)
	var abortErr error
	meanwhile := call(func() { abortErr = s.Abort(t.Context(), u) })
	_, err := s.Commit(t.Context(), u, io.MultiReader(bytes.NewReader(data[:200_000]), meanwhile,
		bytes.NewReader(data[200_000:])), -1, SHA256(data))
	if err == nil {
		wantBlob(t, s, SHA256(data), data)
		return
	}
	if abortErr != nil {
		t.Errorf("Commit beside an Abort that failed with %v: got %v, want nil", abortErr, err)
	}
	wantCode(t, err, fault.UploadNotFound, "Commit beside an Abort that succeeded")
	wantAbsent(t, s, SHA256(data))
}

func testManyWriters(t *testing.T, s blob.Store) {
	data := Bytes(19, 900_000)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			u, err := s.Begin(t.Context(), name.SHA256)
			if err == nil {
				_, err = s.Commit(t.Context(), u, bytes.NewReader(data), -1, SHA256(data))
			}
			if err != nil {
				t.Errorf("one of 16 commits of the same blob: %v", err)
			}
		})
	}
	wg.Wait()
	wantBlob(t, s, SHA256(data), data)
}

// Of several concurrent commits of one upload, exactly one succeeds.
func testRacingCommits(t *testing.T, s blob.Store) {
	data := Bytes(20, 200_000)
	for range 5 {
		u := appendBytes(t, s, begin(t, s, name.SHA256), data[:100])
		var wg sync.WaitGroup
		var mu sync.Mutex
		won := 0
		for range 6 {
			wg.Go(func() {
				_, err := s.Commit(t.Context(), u, bytes.NewReader(data[100:]), -1, SHA256(data))
				if err == nil {
					mu.Lock()
					won++
					mu.Unlock()
				} else if !errors.Is(err, fault.UploadConflict) && !errors.Is(err, fault.UploadNotFound) {
					t.Errorf("Commit beside others: got %v, want UploadConflict or UploadNotFound", err)
				}
			})
		}
		wg.Wait()
		if won != 1 {
			t.Errorf("6 commits of one upload: got %d that succeeded, want 1", won)
		}
		wantBlob(t, s, SHA256(data), data)
	}
}

func testAbort(t *testing.T, s blob.Store) {
	u := appendBytes(t, s, begin(t, s, name.SHA256), []byte("some"))
	for range 2 {
		if err := s.Abort(t.Context(), u); err != nil {
			t.Fatalf("Abort: %v", err)
		}
		wantCode(t, second(s.Append(t.Context(), u, bytes.NewReader(nil), -1)), fault.UploadNotFound, "Append after Abort")
		wantCode(t, second(s.Commit(t.Context(), u, nil, -1, SHA256([]byte("some")))), fault.UploadNotFound, "Commit after Abort")
	}
	if err := s.Abort(t.Context(), begin(t, s, name.SHA256)); err != nil {
		t.Errorf("Abort of an upload without bytes: %v", err)
	}
}

// Attack 29: an invalid upload ID is never used as a path.
func testUnknownUpload(t *testing.T, s blob.Store) {
	good := appendBytes(t, s, begin(t, s, name.SHA256), []byte("some"))
	for _, id := range []string{
		"", ".", "..", "../uploads/" + good.ID, "../../etc/passwd", "/etc/passwd", good.ID + "/", good.ID + "\x00", good.ID[:31], good.ID + "0",
		"ABCDEF0123456789ABCDEF0123456789", "0123456789abcdef0123456789abcde/", "0123456789abcdef0123456789abcdeg",
	} {
		for _, size := range []int64{0, 4} {
			u := blob.Upload{ID: id, Size: size, State: good.State}
			wantCode(t, second(s.Append(t.Context(), u, bytes.NewReader([]byte("x")), -1)), fault.UploadNotFound,
				fmt.Sprintf("Append to %q at %d", id, size))
			wantCode(t, second(s.Commit(t.Context(), u, nil, -1, SHA256(nil))), fault.UploadNotFound, fmt.Sprintf("Commit of %q at %d", id, size))
			if err := s.Abort(t.Context(), u); err != nil {
				t.Errorf("Abort of %q: got %v, want nil", id, err)
			}
		}
	}
	negative := good
	negative.Size = -1
	wantCode(t, second(s.Append(t.Context(), negative, bytes.NewReader(nil), -1)), fault.UploadNotFound, "Append at -1")
	beyond := good
	beyond.Size = 5
	wantCode(t, second(s.Append(t.Context(), beyond, bytes.NewReader(nil), -1)), fault.UploadNotFound, "Append at 5 of 4 bytes")
	commit(t, s, good, nil, SHA256([]byte("some")))
}

// The bytes of an upload can be read while they are written, and before the next call.
func testPeek(t *testing.T, s blob.Store) {
	peek := func(u blob.Upload) string {
		t.Helper()
		r, err := s.Peek(t.Context(), u)
		if err != nil {
			t.Fatalf("Peek: %v", err)
		}
		b := make([]byte, 1<<20)
		n, err := r.ReadAt(b, 0)
		if !errors.Is(err, io.EOF) {
			t.Errorf("ReadAt beyond the bytes that are written: got %v, want io.EOF", err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		return string(b[:n])
	}
	fresh := begin(t, s, name.SHA256)
	wantCode(t, second(s.Peek(t.Context(), fresh)), fault.UploadNotFound, "Peek before the first bytes")
	for _, id := range []string{"", "0", strings.Repeat("0", 32), "../" + fresh.ID, strings.ToUpper(fresh.ID[:31]) + "X"} {
		wantCode(t, second(s.Peek(t.Context(), blob.Upload{ID: id})), fault.UploadNotFound, "Peek of the upload "+id)
	}
	u := appendBytes(t, s, fresh, []byte("first "))
	if got := peek(u); got != "first " {
		t.Errorf("between two calls: got %q, want the first bytes", got)
	}
	data := Bytes(5, 900_000)
	rest := bytes.NewReader(data)
	later, err := s.Append(t.Context(), u, io.MultiReader(io.LimitReader(rest, 700_000), call(func() {
		// The buffers between the reader and the file hold less than 700,000 bytes.
		if got := peek(u); len(got) < 7 || !strings.HasPrefix("first "+string(data), got) {
			t.Errorf("while a call writes: got %d bytes, want some of those that it has read", len(got))
		}
	}), rest), -1)
	if err != nil {
		t.Fatal(err)
	}
	if got := peek(later); got != "first "+string(data) {
		t.Errorf("after the call: got %d bytes, want all %d", len(got), 6+len(data))
	}
	commit(t, s, later, nil, SHA256([]byte("first "+string(data))))
	wantCode(t, second(s.Peek(t.Context(), later)), fault.UploadNotFound, "Peek after Commit")
}
