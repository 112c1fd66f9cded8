package fsblob_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/store/blob/blobtest"
	"github.com/ecrin-dev/ecrin/internal/store/durable"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

const mb = 1_000_000

// BenchmarkHash100MB measures hashing without the disk, the first lower bound of BenchmarkCommit100MB.
func BenchmarkHash100MB(b *testing.B) {
	data := blobtest.Bytes(1, 100*mb)
	b.SetBytes(100 * mb)
	for b.Loop() {
		sha256.Sum256(data)
	}
}

// BenchmarkWrite100MB measures a durable write without hashing, the second lower bound.
func BenchmarkWrite100MB(b *testing.B) {
	data := blobtest.Bytes(1, 100*mb)
	dir := b.TempDir()
	b.SetBytes(100 * mb)
	for b.Loop() {
		f, err := os.Create(filepath.Join(dir, "tmp"))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.CopyBuffer(struct{ io.Writer }{f}, struct{ io.Reader }{bytes.NewReader(data)}, make([]byte, 1<<20)); err != nil {
			b.Fatal(err)
		}
		if err := durable.SyncData(f); err != nil {
			b.Fatal(err)
		}
		f.Close()
		if err := durable.Rename(f.Name(), filepath.Join(dir, "blob")); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		os.Remove(filepath.Join(dir, "blob"))
		b.StartTimer()
	}
}

// BenchmarkCommit100MB should take at most 1.3 times as long as the slower of the two lower bounds.
func BenchmarkCommit100MB(b *testing.B) {
	data := blobtest.Bytes(1, 100*mb)
	benchmarkCommit(b, data, func(s blob.Store, u blob.Upload, d name.Digest) error {
		_, err := s.Commit(b.Context(), u, bytes.NewReader(data), -1, d)
		return err
	})
}

// BenchmarkAppend10MB stores the same content as ten durable chunks.
func BenchmarkAppend10MB(b *testing.B) {
	data := blobtest.Bytes(1, 100*mb)
	benchmarkCommit(b, data, func(s blob.Store, u blob.Upload, d name.Digest) (err error) {
		for i := range 10 {
			if u, err = s.Append(b.Context(), u, bytes.NewReader(data[i*10*mb:(i+1)*10*mb]), -1); err != nil {
				return err
			}
		}
		_, err = s.Commit(b.Context(), u, nil, -1, d)
		return err
	})
}

// BenchmarkHTTP100MB reads the content from a connection, as the server does. The figure includes the work of
// the client.
func BenchmarkHTTP100MB(b *testing.B) {
	data := blobtest.Bytes(1, 100*mb)
	benchmarkCommit(b, data, func(s blob.Store, u blob.Upload, d name.Digest) error {
		return putOverHTTP(b, s, u, data, d)
	})
}

func putOverHTTP(b *testing.B, s blob.Store, u blob.Upload, data []byte, d name.Digest) error {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := s.Commit(r.Context(), u, r.Body, -1, d); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	}))
	defer server.Close()
	resp, err := http.Post(server.URL, "application/octet-stream", bytes.NewReader(data))
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("put: %s", resp.Status)
	}
	return nil
}

// Benchmark1KB stores a small blob: two syncs take nearly all of the time.
func Benchmark1KB(b *testing.B) {
	data := blobtest.Bytes(1, 1024)
	benchmarkCommit(b, data, func(s blob.Store, u blob.Upload, d name.Digest) error {
		_, err := s.Commit(b.Context(), u, bytes.NewReader(data), -1, d)
		return err
	})
}

func benchmarkCommit(b *testing.B, data []byte, put func(blob.Store, blob.Upload, name.Digest) error) {
	s := mustOpen(b, b.TempDir())
	d := blobtest.SHA256(data)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		u, err := s.Begin(b.Context(), name.SHA256)
		if err != nil {
			b.Fatal(err)
		}
		if err := put(s, u, d); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := s.Delete(b.Context(), d); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// Benchmark32Parallel stores 32 blobs of 50 MB concurrently. Their content comes from one shared array, so that
// the memory of the process is the memory of the store; peak-MB is the largest resident size of the process.
func Benchmark32Parallel(b *testing.B) {
	const uploads, size = 32, 50 * mb
	common := blobtest.Bytes(1, size-1)
	digests := make([]name.Digest, uploads)
	for i := range digests {
		h := sha256.New()
		h.Write([]byte{byte(i)})
		h.Write(common)
		digests[i] = name.NewDigest(name.SHA256, h.Sum(nil))
	}
	s := mustOpen(b, b.TempDir())
	b.SetBytes(uploads * size)
	for b.Loop() {
		var wg sync.WaitGroup
		for i, d := range digests {
			wg.Go(func() {
				u, err := s.Begin(b.Context(), name.SHA256)
				if err == nil {
					_, err = s.Commit(b.Context(), u, io.MultiReader(bytes.NewReader([]byte{byte(i)}), bytes.NewReader(common)), -1, d)
				}
				if err != nil {
					b.Error(err)
				}
			})
		}
		wg.Wait()
		b.StopTimer()
		for _, d := range digests {
			if err := s.Delete(b.Context(), d); err != nil {
				b.Fatal(err)
			}
		}
		b.StartTimer()
	}
	if status, err := os.ReadFile("/proc/self/status"); err == nil {
		for line := range strings.Lines(string(status)) {
			var kb float64
			if n, _ := fmt.Sscanf(line, "VmHWM: %f kB", &kb); n == 1 {
				b.ReportMetric((kb*1024-size)/mb, "peak-MB")
			}
		}
	}
}

// BenchmarkOpen measures Open, the cost of a GET of a small blob in this package.
func BenchmarkOpen(b *testing.B) {
	s := mustOpen(b, b.TempDir())
	u, err := s.Begin(b.Context(), name.SHA256)
	if err != nil {
		b.Fatal(err)
	}
	data := blobtest.Bytes(1, 1024)
	info, err := s.Commit(b.Context(), u, bytes.NewReader(data), -1, blobtest.SHA256(data))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		r, _, err := s.Open(b.Context(), info.Digest)
		if err != nil {
			b.Fatal(err)
		}
		r.Close()
	}
}
