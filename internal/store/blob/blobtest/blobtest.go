// Package blobtest is the suite that every blob.Store must pass, wrappers included.
package blobtest

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// sizes are lengths at and next to the sizes of the buffers that stores use.
var sizes = []int{
	0, 1, 4095, 4096, 32<<10 - 1, 32 << 10, 32<<10 + 1, 128<<10 - 1, 128 << 10, 128<<10 + 1, 160 << 10, 160<<10 + 1,
	256<<10 - 1, 256<<10 + 1, 1<<20 - 1, 1<<20 + 1, 5<<20 + 3,
}

// Run checks a Store against its contract. Each call of open returns a new, empty store.
func Run(t *testing.T, open func(t *testing.T) blob.Store) {
	for _, c := range []struct {
		name string
		test func(*testing.T, blob.Store)
	}{
		{"Sizes", testSizes},
		{"Chunks", testChunks},
		{"SHA512", testSHA512},
		{"Hash", testHash},
		{"OtherAlgorithmAtCommit", testOtherAlgorithm},
		{"Absent", testAbsent},
		{"WrongDigestKeepsUpload", testWrongDigest},
		{"CommitTwice", testCommitTwice},
		{"SameBlobAgain", testSameBlobAgain},
		{"ReaderFails", testReaderFails},
		{"ReaderFailsInCommit", testReaderFailsInCommit},
		{"ReaderPanics", testReaderPanics},
		{"OldStateAgain", testOldState},
		{"OddReaders", testOddReaders},
		{"Limit", testLimit},
		{"Cancelled", testCancelled},
		{"TwoWriters", testTwoWriters},
		{"AbortWhileWriting", testAbortWhileWriting},
		{"ManyWritersOfOneBlob", testManyWriters},
		{"CommitsOfOneUpload", testRacingCommits},
		{"AppendBesideCommit", testAppendBesideCommit},
		{"Abort", testAbort},
		{"Peek", testPeek},
		{"Attack29UnknownUpload", testUnknownUpload},
		{"List", testList},
		{"Stale", testStale},
		{"Delete", testDelete},
		{"DeleteWhileOpen", testDeleteWhileOpen},
		{"Quarantine", testQuarantine},
		{"Seek", testSeek},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.test(t, open(t))
		})
	}
}

// RunReopened checks the part of the contract that concerns two stores over the same data: after a restart, or
// on two nodes. Each call of open returns two such stores over new, empty data.
func RunReopened(t *testing.T, open func(t *testing.T) (before, after blob.Store)) {
	t.Run("UploadGoesOn", func(t *testing.T) {
		t.Parallel()
		before, after := open(t)
		data := Bytes(1, 700_001)
		u := begin(t, before, name.SHA256)
		for i, s := range []blob.Store{before, after, before, after} {
			part := data[i*150_000 : (i+1)*150_000]
			u = appendBytes(t, s, u, part)
		}
		commit(t, after, u, data[600_000:], SHA256(data))
		wantBlob(t, before, SHA256(data), data)
		wantBlob(t, after, SHA256(data), data)
	})
	t.Run("FailedTailIsOverwritten", func(t *testing.T) {
		t.Parallel()
		before, after := open(t)
		data := Bytes(2, 500_000)
		u := appendBytes(t, before, begin(t, before, name.SHA512), data[:1000])
		if _, err := before.Append(t.Context(), u, failing(Bytes(3, 300_000)), -1); !errors.Is(err, errReader) {
			t.Fatalf("Append of a failing reader: got %v, want its error", err)
		}
		u = appendBytes(t, after, u, data[1000:1500])
		commit(t, after, u, data[1500:], SHA512(data))
		wantBlob(t, before, SHA512(data), data)
	})
	t.Run("WritersExclude", func(t *testing.T) {
		t.Parallel()
		before, after := open(t)
		twoWriters(t, before, after)
	})
}

// Bytes returns n pseudo-random bytes that depend on seed only.
func Bytes(seed uint64, n int) []byte {
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	b := make([]byte, n)
	rand.NewChaCha8(key).Read(b)
	return b
}

// SHA256 returns the sha256 digest of b.
func SHA256(b []byte) name.Digest {
	sum := sha256.Sum256(b)
	return name.NewDigest(name.SHA256, sum[:])
}

// SHA512 returns the sha512 digest of b.
func SHA512(b []byte) name.Digest {
	sum := sha512.Sum512(b)
	return name.NewDigest(name.SHA512, sum[:])
}

// Put stores b, and fails the test if the store returns an error.
func Put(t *testing.T, s blob.Store, b []byte) blob.Info {
	t.Helper()
	return commit(t, s, begin(t, s, name.SHA256), b, SHA256(b))
}

var errReader = errors.New("the client went away")

// failing returns a reader that yields b and then errReader.
func failing(b []byte) io.Reader {
	return io.MultiReader(bytes.NewReader(b), iotest.ErrReader(errReader))
}

func begin(t *testing.T, s blob.Store, a name.Algorithm) blob.Upload {
	t.Helper()
	u, err := s.Begin(t.Context(), a)
	if err != nil {
		t.Fatalf("Begin(%s): %v", a, err)
	}
	if len(u.ID) != 32 || u.Size != 0 || len(u.State) > 4096 {
		t.Fatalf("Begin(%s): got ID %q, size %d and %d bytes of state, want 32 digits, 0 and at most 4096", a, u.ID, u.Size, len(u.State))
	}
	return u
}

func appendBytes(t *testing.T, s blob.Store, u blob.Upload, b []byte) blob.Upload {
	t.Helper()
	after, err := s.Append(t.Context(), u, bytes.NewReader(b), -1)
	if err != nil {
		t.Fatalf("Append of %d bytes at %d: %v", len(b), u.Size, err)
	}
	if after.ID != u.ID || after.Size != u.Size+int64(len(b)) || len(after.State) > 4096 {
		t.Fatalf("Append of %d bytes at %d: got ID %q, size %d, %d bytes of state, want ID %q, size %d, at most 4096",
			len(b), u.Size, after.ID, after.Size, len(after.State), u.ID, u.Size+int64(len(b)))
	}
	return after
}

// commit appends last (unless it is nil) and publishes the upload.
func commit(t *testing.T, s blob.Store, u blob.Upload, last []byte, d name.Digest) blob.Info {
	t.Helper()
	var r io.Reader
	if last != nil {
		r = bytes.NewReader(last)
	}
	before := time.Now().Add(-2 * time.Second) // clocks of stores may be coarse
	info, err := s.Commit(t.Context(), u, r, -1, d)
	if err != nil {
		t.Fatalf("Commit of %d and %d bytes as %s: %v", u.Size, len(last), d, err)
	}
	if info.Digest != d || info.Size != u.Size+int64(len(last)) || info.StoredAt.Before(before) {
		t.Fatalf("Commit of %d and %d bytes as %s: got %+v", u.Size, len(last), d, info)
	}
	return info
}

func wantBlob(t *testing.T, s blob.Store, d name.Digest, want []byte) {
	t.Helper()
	r, info, err := s.Open(t.Context(), d)
	if err != nil {
		t.Fatalf("Open(%s): %v", d, err)
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("reading %s: got %d bytes, %v, want %d bytes with that content", d, len(got), err, len(want))
	}
	stat, err := s.Stat(t.Context(), d)
	if err != nil || stat.Digest != d || stat.Size != int64(len(want)) || info.Digest != d || info.Size != stat.Size ||
		!info.StoredAt.Equal(stat.StoredAt) {
		t.Fatalf("Open returned %+v, Stat %+v, %v, want both %s with %d bytes", info, stat, err, d, len(want))
	}
}

func wantAbsent(t *testing.T, s blob.Store, d name.Digest) {
	t.Helper()
	wantCode(t, second(s.Stat(t.Context(), d)), fault.BlobNotFound, "Stat("+d.String()+")")
	r, _, err := s.Open(t.Context(), d)
	wantCode(t, err, fault.BlobNotFound, "Open("+d.String()+")")
	if r != nil {
		t.Errorf("Open(%s): got a reader with the error", d)
	}
}

func wantCode(t *testing.T, err error, want fault.Code, doing string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%s: got %v, want %s", doing, err, want)
	}
}

func second[T any](_ T, err error) error { return err }
