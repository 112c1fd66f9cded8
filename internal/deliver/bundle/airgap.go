package bundle

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/ecrin-dev/ecrin/internal/net/upstream"
	"github.com/ecrin-dev/ecrin/internal/rule/bundle"
	"github.com/ecrin-dev/ecrin/internal/rule/manifest"
	"github.com/ecrin-dev/ecrin/internal/rule/rewrite"
	"github.com/ecrin-dev/ecrin/internal/store/durable"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// AirgapRequest is an airgap bundle to make: a release of an application on a channel. Of Spec, SavedImages, Format and UncompressedSize
// follow from the others.
type AirgapRequest struct {
	Spec       bundle.AirgapSpec
	ReleasedAt time.Time
	Images     []rewrite.Reference // as the release has written them
	Files      []rewrite.File      // of the release
}

// MadeAirgap is an airgap bundle that was made, or would be.
type MadeAirgap struct {
	Path    string      `json:"path"`
	Version string      `json:"versionLabel"`
	Images  []MadeImage `json:"images"`
	Sparse  []string    `json:"absentImagesOfIndexes,omitempty"`
	Blobs   int         `json:"blobs"`
	Bytes   int64       `json:"bytes"` // of all members
	Left    int         `json:"leftOutBlobs"`
}

// airgap is what an airgap bundle is made of.
type airgap struct {
	*content
	statement bundle.Airgap
	app       []byte
	links     map[string]name.Digest // members that name a digest
}

// appTime is the time of files in the archive of a release, so that the same files have the same bytes.
var appTime = time.Unix(0, 0)

// appArchive returns the files of a release as app.tar.gz.
func appArchive(files []rewrite.File) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, f := range files {
		if !bundle.SafePath(f.Path) {
			return nil, fmt.Errorf("%q is no path below the folder of the release", name.Clip(f.Path))
		}
		err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: f.Path, Size: int64(len(f.Data)), Mode: 0o644, ModTime: appTime})
		if err == nil {
			_, err = w.Write(f.Data)
		}
		if err != nil {
			return nil, err
		}
	}
	err := errors.Join(w.Close(), z.Close())
	if err == nil && b.Len() > bundle.MaxApp {
		err = fmt.Errorf("the files of the release have more than %d bytes", bundle.MaxApp)
	}
	return b.Bytes(), err
}

// airgap finds what an airgap bundle has.
func (m *Maker) airgap(ctx context.Context, r AirgapRequest) (*airgap, error) {
	f := finder{hosts: m.Hosts, source: m.Source, each: func(done, of int, _ string) {
		m.show(Progress{What: "reading manifests", Done: done, Of: of})
	}}
	c, err := f.find(ctx, r.Images)
	if err != nil {
		return nil, err
	}
	a := &airgap{content: c, links: map[string]name.Digest{}}
	if a.app, err = appArchive(r.Files); err != nil {
		return nil, err
	}
	a.statement = bundle.Airgap{Format: bundle.AirgapFormat, CreatedAt: m.Now().UTC().Truncate(time.Second), ReleasedAt: r.ReleasedAt.UTC(),
		Spec: r.Spec, App: bundle.Blob{Digest: bundle.Digest(a.app), Size: int64(len(a.app))}, Images: c.images}
	s := &a.statement.Spec
	s.Format = "docker"
	for _, one := range r.Images {
		s.SavedImages = append(s.SavedImages, one.String())
	}
	if err := a.link(ctx, m); err != nil {
		return nil, err
	}
	s.UncompressedSize = int64(len(a.app))
	for _, b := range append(slices.Clone(c.manifests), c.blobs...) {
		s.UncompressedSize += b.Size
	}
	for _, d := range a.links {
		s.UncompressedSize += int64(len(d.String()))
	}
	return a, a.statement.Check()
}

// link finds the links of the storage.
func (a *airgap) link(ctx context.Context, m *Maker) error {
	types := map[string]string{}
	for _, b := range a.manifests {
		types[b.Digest] = b.MediaType
	}
	body := func(digest string) ([]byte, error) { return m.manifestBody(ctx, a.content, digest) }
	return links(a.statement.Images, a.links, func(digest string) (*manifest.Manifest, error) {
		mediaType, ok := types[digest]
		if !ok {
			return nil, errAbsent
		}
		b, err := body(digest)
		if err != nil {
			return nil, err
		}
		return manifest.Parse(b, mediaType)
	})
}

// manifestBody returns the bytes of a manifest that was found.
func (m *Maker) manifestBody(ctx context.Context, c *content, digest string) ([]byte, error) {
	if b := c.bodies[digest]; b != nil {
		return b, nil
	}
	from := c.from[digest]
	reg, err := m.Hosts(ctx, from.Host)
	if err != nil {
		return nil, err
	}
	body, err := reg.Manifest(ctx, from.Repo, digest, upstream.ManifestOptions{})
	return body.Body, err
}

// links adds the members of the storage that are no blobs, of images whose manifests parsed returns. An image of an index for which it
// returns errAbsent is left out.
func links(images []bundle.Image, into map[string]name.Digest, parsed func(digest string) (*manifest.Manifest, error)) error {
	seen := map[string]bool{} // by repository and digest
	for _, i := range images {
		r, err := rewrite.ParseReference(i.Name)
		if err != nil {
			return err
		}
		repo := bundle.StorageRepository(r)
		tag := func(t string, d name.Digest) {
			for _, member := range bundle.StorageTag(repo, t, d) {
				into[member] = d
			}
		}
		var queue []string
		child := map[string]bool{}
		add := func(d string) {
			if !seen[repo+" "+d] {
				seen[repo+" "+d] = true
				queue = append(queue, d)
			}
		}
		for _, ref := range append(append([]bundle.Ref{i.Ref}, i.Referrers...), i.Tags...) {
			d, err := name.ParseDigest(ref.Digest)
			if err != nil {
				return err
			}
			add(ref.Digest)
			if ref.Tag != "" {
				tag(ref.Tag, d)
			}
		}
		if r.Tag != "" {
			d, err := name.ParseDigest(i.Digest)
			if err != nil {
				return err
			}
			tag(r.Tag, d)
		}
		for n := 0; n < len(queue); n++ {
			if n == maxManifests {
				return fmt.Errorf("%s has more than %d manifests", i.Name, maxManifests)
			}
			m, err := parsed(queue[n])
			if child[queue[n]] && errors.Is(err, errAbsent) {
				continue
			}
			if err != nil {
				return fmt.Errorf("%s: the manifest %s: %w", i.Name, queue[n], err)
			}
			d, err := name.ParseDigest(queue[n])
			if err != nil {
				return err
			}
			into[bundle.StorageManifest(repo, d)] = d
			for _, b := range m.Blobs() {
				into[bundle.StorageLayer(repo, b.Digest)] = b.Digest
			}
			for _, c := range m.Manifests {
				child[c.Digest.String()] = true
				add(c.Digest.String())
			}
		}
	}
	return nil
}

func (a *airgap) made(path string) *MadeAirgap {
	inside := map[string]bool{}
	for _, b := range append(slices.Clone(a.manifests), a.blobs...) {
		inside[b.Digest] = true
	}
	return &MadeAirgap{Path: path, Version: a.statement.Spec.VersionLabel, Images: a.shares(inside), Sparse: a.sparse, Blobs: len(inside),
		Bytes: a.statement.Spec.UncompressedSize, Left: len(a.left)}
}

// PlanAirgap finds what an airgap bundle would have. It writes nothing.
//
// Errors: those of the images; the images would have one name in the bundle.
func (m *Maker) PlanAirgap(ctx context.Context, r AirgapRequest) (*MadeAirgap, error) {
	a, err := m.airgap(ctx, r)
	if err != nil {
		return nil, err
	}
	return a.made(""), nil
}

// CreateAirgap makes an airgap bundle. It has its name when it is complete and synced; before, it is written to a file with the end
// PartialEnd, which a later call begins anew.
//
// Errors: those of PlanAirgap; the file is there already; the disk is full.
func (m *Maker) CreateAirgap(ctx context.Context, out string, r AirgapRequest) (*MadeAirgap, error) {
	if err := absent(out, false); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(out+PartialEnd, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := durable.TryLock(f); err != nil {
		return nil, fmt.Errorf("another process makes this bundle: %w", err)
	}
	a, err := m.airgap(ctx, r)
	if err == nil {
		err = m.writeAirgap(ctx, f, a)
	}
	if err == nil {
		err = durable.SyncData(f)
	}
	if err != nil {
		if durable.IsFull(err) {
			err = fmt.Errorf("there is no room for %s: %w", out, err)
		}
		return nil, errors.Join(err, os.Remove(out+PartialEnd))
	}
	return a.made(filepath.Clean(out)), durable.Rename(out+PartialEnd, out)
}

// writeAirgap writes the archive. What is inside is compressed already, so that the archive stores it as it is.
func (m *Maker) writeAirgap(ctx context.Context, f *os.File, a *airgap) error {
	statement, err := a.statement.Encode()
	if err != nil {
		return err
	}
	signature, err := m.Sign(ctx, bundle.OfAirgap, bundle.Digest(statement))
	if err != nil {
		return fmt.Errorf("signing the bundle: %w", err)
	}
	about, err := a.statement.File(statement, signature)
	if err != nil {
		return err
	}
	if free, err := durable.FreeBytes(filepath.Dir(f.Name())); err == nil && free < a.statement.Spec.UncompressedSize {
		return fmt.Errorf("%d bytes are needed and %d are free: %w", a.statement.Spec.UncompressedSize, free, syscall.ENOSPC)
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	z, err := gzip.NewWriterLevel(f, gzip.NoCompression)
	if err != nil {
		return err
	}
	w := tar.NewWriter(z)
	put := func(path string, size int64, from io.Reader) error {
		if err := w.WriteHeader(bundle.Member{Path: path, Size: size}.Header()); err != nil {
			return err
		}
		_, err := io.CopyBuffer(struct{ io.Writer }{w}, from, make([]byte, chunk))
		return err
	}
	small := func(path string, b []byte) error { return put(path, int64(len(b)), bytes.NewReader(b)) }
	if err := cmp.Or(small(bundle.AirgapPath, about), small(bundle.AppPath, a.app)); err != nil {
		return err
	}
	p := Progress{What: "writing", Of: len(a.manifests) + len(a.blobs), Size: a.statement.Spec.UncompressedSize}
	for _, b := range append(slices.Clone(a.manifests), a.blobs...) {
		if err := m.storeBlob(ctx, a, b, put, &p); err != nil {
			return err
		}
	}
	for _, member := range slices.Sorted(maps.Keys(a.links)) {
		if err := small(member, []byte(a.links[member].String())); err != nil {
			return err
		}
	}
	return errors.Join(w.Close(), z.Close())
}

// storeBlob writes a blob, which is compared with its digest.
func (m *Maker) storeBlob(ctx context.Context, a *airgap, b bundle.Blob, put func(string, int64, io.Reader) error, p *Progress) error {
	d, err := name.ParseDigest(b.Digest)
	if err != nil {
		return err
	}
	var from io.ReadCloser
	if b.MediaType != "" {
		body, err := m.manifestBody(ctx, a.content, b.Digest)
		if err != nil {
			return err
		}
		from = io.NopCloser(bytes.NewReader(body))
	} else {
		at := a.from[b.Digest]
		reg, err := m.Hosts(ctx, at.Host)
		if err != nil {
			return err
		}
		if from, err = reg.Blob(ctx, at.Repo, d, upstream.BlobOptions{Size: b.Size, CallerVerifies: true}); err != nil {
			return fmt.Errorf("the blob %s: %w", b.Digest, err)
		}
	}
	defer from.Close()
	h := newHash(b.Digest)
	advance := func(n int) {
		p.Bytes += int64(n)
		m.show(*p)
	}
	err = put(bundle.StorageBlob(d), b.Size, &counted{io.TeeReader(from, h), advance})
	if err == nil && sumOf(b.Digest, h) != b.Digest {
		err = errors.New("its registry has given other bytes: run the command again")
	}
	if err != nil {
		return fmt.Errorf("the blob %s: %w", b.Digest, err)
	}
	p.Done++
	return nil
}

// counted counts what is read.
type counted struct {
	io.Reader
	advance func(int)
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.advance(n)
	return n, err
}
