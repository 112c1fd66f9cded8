package bundle

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/ecrin-dev/ecrin/internal/net/upstream"
	"github.com/ecrin-dev/ecrin/internal/rule/bundle"
	"github.com/ecrin-dev/ecrin/internal/store/durable"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// chunk is how many bytes are copied at once.
const chunk = 1 << 20

// newHash returns the hash of a digest.
func newHash(digest string) hash.Hash {
	if strings.HasPrefix(digest, string(name.SHA512)+":") {
		return sha512.New()
	}
	return sha256.New()
}

// sumOf returns the digest of what a hash of newHash has read.
func sumOf(digest string, h hash.Hash) string {
	algorithm, _, _ := strings.Cut(digest, ":")
	return name.NewDigest(name.Algorithm(algorithm), h.Sum(nil)).String()
}

// header returns the bytes before the content of a member.
func header(m bundle.Member) ([]byte, error) {
	var b bytes.Buffer
	err := tar.NewWriter(&b).WriteHeader(m.Header())
	return b.Bytes(), err
}

func padding(size int64) []byte { return make([]byte, (512-size%512)%512) }

// files writes the files of a plan that are not complete, and returns how many bytes were there before.
func (m *Maker) files(ctx context.Context, out string, p *plan, made *Made) (resumed int64, err error) {
	at := Progress{What: "writing", Of: len(made.Files), Size: made.Bytes}
	for i, f := range made.Files {
		if info, err := os.Lstat(f.Path); err == nil {
			if !info.Mode().IsRegular() || info.Size() != f.Size {
				return resumed, fmt.Errorf("%s is there already, and is not the file that was begun", f.Path)
			}
			resumed += f.Size // it was renamed when it was complete
			at.Bytes += f.Size
			at.Done++
			continue
		} else if !errors.Is(err, fs.ErrNotExist) {
			return resumed, err
		}
		w := &writer{m: m, p: p, members: p.members(i), progress: &at}
		n, err := w.file(ctx, f)
		resumed += n
		if err != nil {
			if durable.IsFull(err) {
				err = fmt.Errorf("there is no room for %s: %w\nrun the command again when there is: it continues", f.Path, err)
			}
			return resumed, err
		}
		at.Done++
		m.show(at)
	}
	return resumed, nil
}

// writer writes one file.
type writer struct {
	m        *Maker
	p        *plan
	members  []bundle.Member
	f        *os.File
	progress *Progress
	buffer   []byte
}

// file writes a file from where it ended before, and gives it its name. It returns how many bytes of before were right.
func (w *writer) file(ctx context.Context, made MadeFile) (kept int64, err error) {
	partial := made.Path + PartialEnd
	if w.f, err = os.OpenFile(partial, os.O_RDWR|os.O_CREATE, 0o644); err != nil {
		return 0, err
	}
	defer w.f.Close()
	w.buffer = make([]byte, chunk)
	next, inside, h, err := w.check(ctx)
	if err != nil {
		return 0, err
	}
	if kept, err = w.f.Seek(0, io.SeekCurrent); err != nil {
		return 0, err
	}
	if err := w.f.Truncate(kept); err != nil {
		return kept, err
	}
	if free, err := durable.FreeBytes(filepath.Dir(partial)); err == nil && free < made.Size-kept {
		return kept, fmt.Errorf("%d bytes are needed and %d are free in %s: %w", made.Size-kept, free, filepath.Dir(partial), syscall.ENOSPC)
	}
	w.advance(kept)
	for n := next; n < len(w.members); n++ {
		if err := w.member(ctx, w.members[n], inside, h); err != nil {
			return kept, err
		}
		inside, h = 0, nil
	}
	end, err := w.f.Seek(0, io.SeekCurrent)
	if err == nil && end != made.Size-bundle.End {
		err = fmt.Errorf("%s has %d bytes, and not %d", partial, end, made.Size)
	}
	if err == nil {
		_, err = w.f.Write(make([]byte, bundle.End))
	}
	if err == nil {
		err = durable.SyncData(w.f)
	}
	if err == nil {
		err = w.f.Close()
	}
	if err != nil {
		return kept, err
	}
	return kept, durable.Rename(partial, made.Path)
}

// check reads what is in the file, up to the first byte that is not the one of the plan. It returns the member to continue with, how many
// bytes of its content are there, and their hash; the file is at that place then.
func (w *writer) check(ctx context.Context) (next int, inside int64, h hash.Hash, err error) {
	start := int64(0) // of the member
	for n, m := range w.members {
		if ctx.Err() != nil {
			return 0, 0, nil, context.Cause(ctx)
		}
		head, err := header(m)
		if err != nil {
			return 0, 0, nil, err
		}
		again := func() (int, int64, hash.Hash, error) {
			_, err := w.f.Seek(start, io.SeekStart)
			return n, 0, nil, err
		}
		have := make([]byte, len(head))
		if _, err := io.ReadFull(w.f, have); err != nil || !bytes.Equal(have, head) {
			return again()
		}
		h := newHash(m.Digest)
		got, err := io.CopyBuffer(h, io.LimitReader(w.f, m.Size), w.buffer)
		if err != nil {
			return 0, 0, nil, err
		}
		if got < m.Size {
			if got == 0 || w.small(m) {
				return again()
			}
			return n, got, h, nil
		}
		if sumOf(m.Digest, h) != m.Digest {
			return again()
		}
		pad := make([]byte, len(padding(m.Size)))
		if _, err := io.ReadFull(w.f, pad); err != nil || bytes.ContainsFunc(pad, func(r rune) bool { return r != 0 }) {
			return again()
		}
		if start, err = w.f.Seek(0, io.SeekCurrent); err != nil {
			return 0, 0, nil, err
		}
	}
	return len(w.members), 0, nil, nil
}

// small reports whether a member is in memory, so that it is written at once.
func (w *writer) small(m bundle.Member) bool {
	return !strings.HasPrefix(m.Path, "blobs/") && m.Blob == "" || w.p.bodies[m.Digest] != nil
}

// member writes a member. inside bytes of its content, which h has read, are there.
func (w *writer) member(ctx context.Context, m bundle.Member, inside int64, h hash.Hash) error {
	if inside == 0 {
		head, err := header(m)
		if err != nil {
			return err
		}
		if _, err := w.f.Write(head); err != nil {
			return err
		}
		w.advance(int64(len(head)))
		h = newHash(m.Digest)
	}
	from, err := w.m.open(ctx, w.p, m, inside)
	if err != nil {
		return fmt.Errorf("%s: %w", m.Path, err)
	}
	defer from.Close()
	got := inside
	for got < m.Size {
		n, err := from.Read(w.buffer[:min(chunk, m.Size-got)])
		if n > 0 {
			h.Write(w.buffer[:n])
			if _, err := w.f.Write(w.buffer[:n]); err != nil {
				return err
			}
			got += int64(n)
			w.advance(int64(n))
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("%s: %w", m.Path, err)
		}
	}
	if got != m.Size || sumOf(m.Digest, h) != m.Digest {
		at, err := w.f.Seek(-got, io.SeekCurrent)
		if err == nil {
			err = w.f.Truncate(at)
		}
		return errors.Join(fmt.Errorf("%s has not the digest %s at its registry: run the command again, which reads it from its begin", m.Path,
			m.Digest), err)
	}
	pad := padding(m.Size)
	_, err = w.f.Write(pad)
	w.advance(int64(len(pad)))
	return err
}

func (w *writer) advance(n int64) {
	w.progress.Bytes += n
	w.m.show(*w.progress)
}

// open opens the content of a member from an offset on. The caller compares its digest.
func (m *Maker) open(ctx context.Context, p *plan, of bundle.Member, offset int64) (io.ReadCloser, error) {
	digest, size := of.Digest, of.Size
	var whole []byte
	switch {
	case of.Blob != "":
		digest, size, offset = of.Blob, p.size(of.Blob), of.Offset+offset
	case of.Path == bundle.LayoutPath:
		whole = []byte(bundle.Layout)
	case of.Path == bundle.StatementPath:
		whole = p.Statement
	case of.Path == bundle.SignaturePath:
		whole = p.Signature
	case of.Path == bundle.IndexPath:
		whole = p.parsed.Index()
	case of.Path == bundle.PartPath, of.Path == bundle.PartSigPath:
		for _, one := range p.Parts {
			for _, b := range [][]byte{one.List, one.Signature} {
				if bundle.Digest(b) == of.Digest {
					whole = b
				}
			}
		}
	case p.Files[of.Path] != nil:
		whole = p.Files[of.Path]
	case p.bodies[of.Digest] != nil:
		whole = p.bodies[of.Digest]
	}
	if whole != nil || size == 0 {
		return io.NopCloser(bytes.NewReader(whole[min(offset, int64(len(whole))):])), nil
	}
	from, ok := p.From[digest]
	d, err := name.ParseDigest(digest)
	if err != nil || !ok {
		return nil, fmt.Errorf("the plan does not say where %s is", digest)
	}
	reg, err := m.Hosts(ctx, from.Host)
	if err != nil {
		return nil, err
	}
	if p.isManifest(digest) {
		body, err := reg.Manifest(ctx, from.Repo, digest, upstream.ManifestOptions{})
		if err != nil {
			return nil, err
		}
		return io.NopCloser(bytes.NewReader(body.Body[min(offset, int64(len(body.Body))):])), nil
	}
	b, err := reg.Blob(ctx, from.Repo, d, upstream.BlobOptions{Size: size, Offset: offset, CallerVerifies: true})
	if err != nil {
		return nil, err
	}
	if of.Blob != "" {
		return struct {
			io.Reader
			io.Closer
		}{io.LimitReader(b, of.Offset+of.Size-offset), b}, nil
	}
	return b, nil
}

func (p *plan) isManifest(digest string) bool {
	p.index()
	return p.manifests[digest]
}

func (p *plan) size(digest string) int64 {
	p.index()
	return p.sizes[digest]
}

func (p *plan) index() {
	if p.sizes != nil {
		return
	}
	p.sizes, p.manifests = map[string]int64{}, map[string]bool{}
	for _, b := range p.parsed.Blobs {
		p.sizes[b.Digest] = b.Size
		if b.MediaType != "" {
			p.manifests[b.Digest] = true
		}
	}
}
