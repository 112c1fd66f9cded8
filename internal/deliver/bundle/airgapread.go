package bundle

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/ecrin-dev/ecrin/internal/rule/bundle"
	"github.com/ecrin-dev/ecrin/internal/rule/manifest"
	"github.com/ecrin-dev/ecrin/internal/store/durable"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Airgap is an airgap bundle that is open: its statement is verified, and nothing else was read. Close it.
type Airgap struct {
	Statement *bundle.Airgap
	KeyID     string

	path string
	f    *os.File
	z    *gzip.Reader
	r    *tar.Reader
	left int64 // bytes of members that may follow
}

// OpenAirgap opens an airgap bundle, and verifies the signature of its statement.
//
// Errors: the file is no airgap bundle, is not signed, or by a key that is not trusted or revoked.
func OpenAirgap(path string, keys *bundle.Keys) (*Airgap, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	a := &Airgap{path: path, f: f}
	if err := a.open(keys); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	return a, nil
}

func (a *Airgap) open(keys *bundle.Keys) (err error) {
	if a.z, err = gzip.NewReader(a.f); err != nil {
		return fmt.Errorf("it is no airgap bundle: %w", err)
	}
	a.r = tar.NewReader(a.z)
	h, err := a.r.Next()
	if err != nil || h.Name != bundle.AirgapPath || h.Typeflag != tar.TypeReg {
		return fmt.Errorf("it is no airgap bundle: it does not begin with %s", bundle.AirgapPath)
	}
	if h.Size > bundle.MaxAirgap {
		return fmt.Errorf("%s has %d bytes, more than %d", bundle.AirgapPath, h.Size, bundle.MaxAirgap)
	}
	about, err := io.ReadAll(a.r)
	if err != nil {
		return fmt.Errorf("%s: %w", bundle.AirgapPath, damaged(err))
	}
	a.Statement, a.KeyID, err = bundle.OpenAirgap(about, keys)
	return err
}

// damaged says of the error of a reader of an archive what it means.
func damaged(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the file is truncated")
	}
	return fmt.Errorf("the file is damaged: %w", err)
}

// Close closes the file.
func (a *Airgap) Close() { a.f.Close() }

// Unpacked are the contents of an airgap bundle in a folder, all verified.
type Unpacked struct {
	Statement *bundle.Airgap
	App       []byte // app.tar.gz
	Blobs     int
	Bytes     int64 // of them

	folder    string
	manifests map[string]bundle.Blob // by digest
	sizes     map[string]int64       // of blobs
}

// Unpack verifies all of the bundle and writes its blobs into a folder, which it makes, or empties before. If it fails, the folder is
// removed. It can be called once.
//
// Errors: a member is none of an airgap bundle, is there twice, or has other bytes than its digest says; something is missing, or is there
// and belongs to no image; the bundle is larger than its statement says; the disk is full; that of ctx.
func (a *Airgap) Unpack(ctx context.Context, folder string, each func(Progress)) (*Unpacked, error) {
	if err := os.RemoveAll(folder); err != nil {
		return nil, err
	}
	if err := os.Mkdir(folder, 0o700); err != nil {
		return nil, err
	}
	u := &Unpacked{Statement: a.Statement, folder: folder, manifests: map[string]bundle.Blob{}, sizes: map[string]int64{}}
	err := a.unpack(ctx, u, each)
	if err != nil {
		if durable.IsFull(err) {
			err = fmt.Errorf("there is no room to unpack it in %s: %w", folder, err)
		}
		return nil, errors.Join(fmt.Errorf("%s: %w", filepath.Base(a.path), err), os.RemoveAll(folder))
	}
	return u, nil
}

const maxLinks = 1_000_000 // members that name a digest

func (a *Airgap) unpack(ctx context.Context, u *Unpacked, each func(Progress)) error {
	need := a.Statement.Spec.UncompressedSize - a.Statement.App.Size
	if free, err := durable.FreeBytes(u.folder); err == nil && free < need {
		return fmt.Errorf("%d bytes are needed and %d are free: %w", need, free, syscall.ENOSPC)
	}
	a.left = a.Statement.Spec.UncompressedSize
	p := Progress{What: "unpacking", Size: a.left}
	found := map[string]name.Digest{}
	for n := 0; ; n++ {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		h, err := a.r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return damaged(err)
		}
		if a.left -= h.Size; h.Typeflag != tar.TypeReg || h.Size < 0 || a.left < 0 {
			if a.left < 0 {
				return fmt.Errorf("it has more than the %d bytes that its statement says", a.Statement.Spec.UncompressedSize)
			}
			return fmt.Errorf("%q is no file: an airgap bundle has no folders, links and devices", name.Clip(h.Name))
		}
		if n == 0 {
			if h.Name != bundle.AppPath || h.Size != a.Statement.App.Size {
				return fmt.Errorf("after %s there is %q, and not the %s of its statement", bundle.AirgapPath, name.Clip(h.Name), bundle.AppPath)
			}
			if u.App, err = io.ReadAll(a.r); err != nil {
				return damaged(err)
			}
			if bundle.Digest(u.App) != a.Statement.App.Digest {
				return fmt.Errorf("%s is damaged, or that of another bundle", bundle.AppPath)
			}
			continue
		}
		if err := a.member(h, u, found); err != nil {
			return err
		}
		if p.Bytes = p.Size - a.left; each != nil {
			each(p)
		}
	}
	if u.App == nil {
		return damaged(io.ErrUnexpectedEOF)
	}
	if n, err := io.Copy(io.Discard, io.LimitReader(a.z, 1<<20)); err != nil || n == 1<<20 {
		return errors.New("there is something after its last member, or the file is truncated")
	}
	if err := u.complete(found); err != nil {
		return err
	}
	if a.left != 0 {
		return fmt.Errorf("it has %d bytes less than its statement says", a.left)
	}
	return nil
}

// member reads a member that is a blob, or names a digest.
func (a *Airgap) member(h *tar.Header, u *Unpacked, found map[string]name.Digest) error {
	if d, ok := bundle.ParseStorageBlob(h.Name); ok {
		if _, twice := u.sizes[d.String()]; twice {
			return fmt.Errorf("the blob %s is there twice", d)
		}
		u.sizes[d.String()] = h.Size
		u.Blobs++
		u.Bytes += h.Size
		return a.blob(d, u)
	}
	if !strings.HasPrefix(h.Name, bundle.StorageFolder+"repositories/") || !strings.HasSuffix(h.Name, "/link") {
		return fmt.Errorf("%q is no member of an airgap bundle", name.Clip(h.Name))
	}
	if _, twice := found[h.Name]; twice || len(found) == maxLinks || h.Size > 200 {
		return fmt.Errorf("%q is there twice, or there are too many of its kind, or it is too large", name.Clip(h.Name))
	}
	text, err := io.ReadAll(a.r)
	if err != nil {
		return damaged(err)
	}
	d, err := name.ParseDigest(string(text))
	if err != nil {
		return fmt.Errorf("%q: %w", name.Clip(h.Name), err)
	}
	found[h.Name] = d
	return nil
}

// blob writes a blob and compares it with its digest.
func (a *Airgap) blob(d name.Digest, u *Unpacked) error {
	f, err := os.OpenFile(u.path(d.String()), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	h := newHash(d.String())
	read := &failing{Reader: a.r}
	_, err = io.CopyBuffer(io.MultiWriter(struct{ io.Writer }{f}, h), read, make([]byte, chunk))
	if err = errors.Join(err, f.Close()); read.err != nil {
		return damaged(read.err)
	}
	if err == nil && sumOf(d.String(), h) != d.String() {
		err = fmt.Errorf("the blob %s is damaged: its bytes have another digest", d)
	}
	return err
}

// failing remembers the error of a reader, so that it is told from that of a writer.
type failing struct {
	io.Reader
	err error
}

func (f *failing) Read(p []byte) (int, error) {
	n, err := f.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		f.err = err
	}
	return n, err
}

// path returns the file of a blob.
func (u *Unpacked) path(digest string) string {
	return filepath.Join(u.folder, strings.Replace(digest, ":", "-", 1))
}

// complete checks that all that the images consist of is there, with the links that follow from them, and nothing else.
func (u *Unpacked) complete(found map[string]name.Digest) error {
	want, used := map[string]name.Digest{}, map[string]bool{}
	types := map[string]string{}
	for _, i := range u.Statement.Images {
		for _, ref := range append(append([]bundle.Ref{i.Ref}, i.Referrers...), i.Tags...) {
			types[ref.Digest] = ref.MediaType
		}
	}
	err := links(u.Statement.Images, want, func(digest string) (*manifest.Manifest, error) {
		size, ok := u.sizes[digest]
		if !ok {
			return nil, errAbsent
		}
		if size > manifest.MaxBytes {
			return nil, fmt.Errorf("it has more than %d bytes", manifest.MaxBytes)
		}
		body, err := os.ReadFile(u.path(digest))
		if err != nil {
			return nil, err
		}
		m, err := manifest.Parse(body, types[digest])
		if err != nil {
			return nil, err
		}
		for _, b := range m.Blobs() {
			if have, ok := u.sizes[b.Digest.String()]; !ok || b.Size >= 0 && have != b.Size {
				return nil, fmt.Errorf("its blob %s is not inside", b.Digest)
			}
			used[b.Digest.String()] = true
		}
		u.manifests[digest] = bundle.Blob{Digest: digest, Size: size, MediaType: m.MediaType}
		used[digest] = true
		for _, c := range m.Manifests {
			if types[c.Digest.String()] == "" {
				types[c.Digest.String()] = c.MediaType
			}
		}
		return m, nil
	})
	if errors.Is(err, errAbsent) {
		return fmt.Errorf("it is not complete: %w", err)
	}
	if err != nil {
		return err
	}
	for digest := range u.sizes {
		if !used[digest] {
			return fmt.Errorf("the blob %s belongs to none of its images", digest)
		}
	}
	if !maps.Equal(want, found) {
		return errors.New("its repositories are not those of its statement: it is damaged, or has parts of another bundle")
	}
	return nil
}

// Remove removes the folder.
func (u *Unpacked) Remove() error { return os.RemoveAll(u.folder) }

// typed implements contents.
func (u *Unpacked) typed(digest string) (bundle.Blob, bool) {
	if b, ok := u.manifests[digest]; ok {
		return b, true
	}
	size, ok := u.sizes[digest]
	return bundle.Blob{Digest: digest, Size: size}, ok
}

// body implements contents.
func (u *Unpacked) body(b bundle.Blob) ([]byte, error) {
	body, err := os.ReadFile(u.path(b.Digest))
	if err == nil && digestOf(b.Digest, body) != b.Digest {
		err = fmt.Errorf("the manifest %s was changed after it was unpacked", b.Digest)
	}
	return body, err
}

// open implements contents.
func (u *Unpacked) open(digest string, offset int64) (io.ReadCloser, error) {
	f, err := os.Open(u.path(digest))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the blob %s was removed after it was unpacked", digest)
	}
	if err == nil {
		_, err = f.Seek(offset, io.SeekStart)
	}
	return f, err
}

// Also is a further place of an image in a registry.
type Also struct {
	Image           string // its whole name in the bundle
	Repository, Tag string // Tag "" for its digest alone
}

// Push pushes the images, and some to further places: first all content, then the tags. What is there already is not sent.
//
// Errors: two images would get one name; those of the registry.
func (u *Unpacked) Push(ctx context.Context, t Target, more ...Also) (*Imported, error) {
	x := &importer{c: u, t: t, size: u.Bytes}
	if err := x.place(u.Statement.Images); err != nil {
		return nil, err
	}
	for _, also := range more {
		for _, i := range u.Statement.Images {
			if i.Name == also.Image {
				x.images = append(x.images, placed{i, also.Repository, also.Tag})
			}
		}
	}
	out := &Imported{Name: u.Statement.Spec.AppSlug, Images: []ImportedImage{}, Bytes: u.Bytes}
	var err error
	if out.Images, err = x.found(ctx); err != nil || t.DryRun {
		return out, err
	}
	err = x.push(ctx)
	out.Sent = x.sent
	return out, err
}
