package pack

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"strconv"
	"sync/atomic"

	"github.com/ecrin-dev/ecrin/internal/rule/manifest"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// layout is a layout directory that is being written. All access goes through an os.Root, so that no name can
// leave the directory. put and create are safe for concurrent use.
type layout struct {
	root   *os.Root
	dir    string
	serial atomic.Int64 // names of temporary files
	left   atomic.Int64 // bytes that may still be written
}

// createLayout creates dir, which must not exist or must be empty. maxBytes is the maximum number of bytes that
// may be written to it.
func createLayout(dir string, maxBytes int64) (*layout, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("making layout directory: %w", err)
	}
	if entries, err := os.ReadDir(dir); err != nil {
		return nil, fmt.Errorf("making layout directory: %w", err)
	} else if len(entries) > 0 {
		return nil, fault.InvalidParameter.New("the directory for the image layout is not empty: %s", dir)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("making layout directory: %w", err)
	}
	l := &layout{root: root, dir: dir}
	l.left.Store(maxBytes)
	for _, a := range []name.Algorithm{name.SHA256, name.SHA512} {
		if err := root.MkdirAll("blobs/"+string(a), 0o755); err != nil {
			root.Close()
			return nil, fmt.Errorf("making layout directory: %w", err)
		}
	}
	return l, nil
}

func (l *layout) close() { l.root.Close() }

// blobName returns the path of a blob in a layout.
func blobName(d name.Digest) string { return "blobs/" + string(d.Algorithm()) + "/" + d.Hex() }

func newHash(a name.Algorithm) hash.Hash {
	if a == name.SHA512 {
		return sha512.New()
	}
	return sha256.New()
}

// blobWriter writes one blob whose digest is not known yet.
type blobWriter struct {
	l         *layout
	file      *os.File
	temporary string
	algorithm name.Algorithm
	hash      hash.Hash
	n         int64
}

func (l *layout) create(a name.Algorithm) (*blobWriter, error) {
	temporary := "blobs/part-" + strconv.FormatInt(l.serial.Add(1), 10)
	f, err := l.root.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, fmt.Errorf("writing blob: %w", err)
	}
	return &blobWriter{l: l, file: f, temporary: temporary, algorithm: a, hash: newHash(a)}, nil
}

// Write writes p. Errors: fault.RequestTooLarge (the layout would exceed its limit).
func (w *blobWriter) Write(p []byte) (int, error) {
	if w.l.left.Add(-int64(len(p))) < 0 {
		return 0, fault.RequestTooLarge.New("the image has more bytes than the limit allows")
	}
	w.hash.Write(p)
	n, err := w.file.Write(p)
	w.n += int64(n)
	return n, err
}

// commit publishes the blob under its digest. After commit, the writer must not be used, even if there was an
// error.
func (w *blobWriter) commit() (d name.Digest, size int64, err error) {
	if err := w.file.Close(); err != nil {
		w.abort()
		return d, 0, fmt.Errorf("writing blob: %w", err)
	}
	d = name.NewDigest(w.algorithm, w.hash.Sum(nil))
	if err := w.l.root.Rename(w.temporary, blobName(d)); err != nil {
		w.abort()
		return d, 0, fmt.Errorf("writing blob: %w", err)
	}
	return d, w.n, nil
}

func (w *blobWriter) abort() {
	w.file.Close()
	w.l.root.Remove(w.temporary)
}

// put stores all bytes of r.
func (l *layout) put(ctx context.Context, a name.Algorithm, r io.Reader) (name.Digest, int64, error) {
	w, err := l.create(a)
	if err != nil {
		return name.Digest{}, 0, err
	}
	if _, err := io.CopyBuffer(w, readerUntil(ctx, r), make([]byte, 256<<10)); err != nil {
		w.abort()
		return name.Digest{}, 0, err
	}
	return w.commit()
}

// putJSON stores a document and returns its descriptor.
func (l *layout) putJSON(ctx context.Context, mediaType string, document any) (ocispec.Descriptor, error) {
	body, err := json.Marshal(document)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("encoding %s: %w", mediaType, err)
	}
	w, err := l.create(name.SHA256)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	if _, err := w.Write(body); err != nil {
		w.abort()
		return ocispec.Descriptor{}, err
	}
	d, size, err := w.commit()
	return describe(mediaType, d, size), err
}

func describe(mediaType string, d name.Digest, size int64) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.Digest(d.String()), Size: size}
}

// finish removes the blobs that the image does not refer to, and writes the two files of a layout directory.
func (l *layout) finish(image *Image) error {
	keep := map[string]bool{}
	for _, d := range image.Blobs {
		keep["blobs/"+string(d.Digest.Algorithm())+"/"+d.Digest.Encoded()] = true
	}
	err := fs.WalkDir(l.root.FS(), "blobs", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || keep[path] {
			return err
		}
		return l.root.Remove(path)
	})
	if err != nil {
		return fmt.Errorf("dropping unused blobs: %w", err)
	}
	l.root.Remove("blobs/" + string(name.SHA512)) // fails if the directory is not empty
	root := image.Root
	if image.Name != "" {
		root.Annotations = map[string]string{ocispec.AnnotationRefName: image.Name}
	}
	index := ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageIndex,
		Manifests: []ocispec.Descriptor{root},
	}
	return errors.Join(
		l.writeJSON(ocispec.ImageIndexFile, index),
		l.writeJSON(ocispec.ImageLayoutFile, ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion}),
	)
}

func (l *layout) writeJSON(file string, document any) error {
	body, err := json.Marshal(document)
	if err != nil {
		return fmt.Errorf("encoding %s: %w", file, err)
	}
	if err := l.root.WriteFile(file, body, 0o644); err != nil {
		return fmt.Errorf("writing %s: %w", file, err)
	}
	return nil
}

// openRegular opens a regular file. Other files, including links, are refused, since opening a pipe could block
// for ever.
//
// Errors: fault.BlobNotFound, fault.InvalidParameter (not a regular file).
func openRegular(root *os.Root, path string) (*os.File, error) {
	info, err := root.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fault.BlobNotFound.New("the image lacks %s", path)
	case err != nil:
		return nil, fault.InvalidParameter.New("%s of the image cannot be used", path).Because(err)
	case !info.Mode().IsRegular():
		return nil, fault.InvalidParameter.New("%s of the image is not a regular file", path)
	}
	f, err := root.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening %s of the image: %w", path, err)
	}
	return f, nil
}

// readSmall reads a regular file of at most manifest.MaxBytes.
//
// Errors: those of openRegular, fault.RequestTooLarge.
func readSmall(root *os.Root, path string) ([]byte, error) {
	f, err := openRegular(root, path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	body, err := io.ReadAll(io.LimitReader(f, manifest.MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s of the image: %w", path, err)
	}
	if len(body) > manifest.MaxBytes {
		return nil, fault.RequestTooLarge.New("%s of the image has more than %d bytes", path, manifest.MaxBytes)
	}
	return body, nil
}

// verifier is a blobSource for a complete layout; it reads every blob.
type verifier struct{ root *os.Root }

func (v verifier) size(ctx context.Context, d name.Digest) (int64, error) {
	f, err := openRegular(v.root, blobName(d))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	h := newHash(d.Algorithm())
	n, err := io.CopyBuffer(h, readerUntil(ctx, f), make([]byte, 256<<10))
	if err != nil {
		return 0, fmt.Errorf("reading blob: %w", err)
	}
	return n, sameDigest(name.NewDigest(d.Algorithm(), h.Sum(nil)), d)
}

func (v verifier) read(d name.Digest) ([]byte, error) { return readSmall(v.root, blobName(d)) }

// sameDigest returns fault.DigestInvalid if the digests differ.
func sameDigest(got, want name.Digest) error {
	if got != want {
		return fault.DigestInvalid.New("the content has the digest %s, not %s", got, want)
	}
	return nil
}

// readerUntil returns a reader of r that fails when ctx is done. It hides all other methods of r, so that every
// copy checks ctx.
func readerUntil(ctx context.Context, r io.Reader) io.Reader { return contextReader{ctx, r} }

type contextReader struct {
	ctx context.Context // of the copy for which the reader is used
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
