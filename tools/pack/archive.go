package pack

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

const (
	maxEntries  = 20_000 // maximum number of entries of an archive
	maxNameSize = 1024   // maximum bytes of an entry's name or link target; with maxEntries this limits the memory for names
	maxLinks    = 8      // maximum number of links that are followed to a file
)

// archive is a tar archive whose files were copied into the layout, each under the digest of its bytes. Names
// and links of the archive exist only in these maps.
type archive struct {
	l     *layout
	files map[string]content
	links map[string]string // from a name to a clean name, which may not exist
	sizes map[name.Digest]int64
	plain map[name.Digest]name.Digest // from a gzipped layer to its checked uncompressed form
}

type content struct {
	digest name.Digest
	size   int64
}

// readArchive reads the file once, from the beginning to the end, so that it may be a pipe.
func readArchive(ctx context.Context, file string, l *layout) (*archive, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	plain, _, err := gunzip(f)
	if err != nil {
		return nil, err
	}
	a := &archive{l: l, files: map[string]content{}, links: map[string]string{}, sizes: map[name.Digest]int64{},
		plain: map[name.Digest]name.Digest{}}
	entries := tar.NewReader(readerUntil(ctx, plain))
	for n := 0; ; n++ {
		header, err := entries.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, notATar(err)
		}
		if n == maxEntries {
			return nil, fault.LimitExceeded.New("the archive has more than %d entries", maxEntries)
		}
		if err := a.add(ctx, header, entries); err != nil {
			return nil, err
		}
	}
	if len(a.files) == 0 {
		return nil, fault.InvalidParameter.New("the file is not a tar archive, or it is empty")
	}
	return a, nil
}

// notATar returns fault.InvalidParameter for an error in the content of the archive; errors of the file and of
// the context stay as they are.
func notATar(err error) error {
	if errors.Is(err, tar.ErrHeader) || errors.Is(err, io.ErrUnexpectedEOF) || isGzipError(err) {
		return fault.InvalidParameter.New("the file is not a complete tar archive").Because(err)
	}
	return err
}

func isGzipError(err error) bool {
	return errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) || strings.HasPrefix(err.Error(), "flate: ")
}

var (
	gzipMagic = []byte{0x1f, 0x8b}
	zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}
)

// gunzip returns a reader of the uncompressed content of r, which may be gzipped. Errors:
// fault.InvalidParameter (zstd, or invalid gzip).
func gunzip(r io.Reader) (plain io.Reader, zipped bool, err error) {
	buffered := bufio.NewReaderSize(r, 64<<10)
	start, _ := buffered.Peek(4)
	switch {
	case bytes.HasPrefix(start, gzipMagic):
		plain, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, true, notATar(err)
		}
		return plain, true, nil
	case bytes.HasPrefix(start, zstdMagic):
		return nil, false, fault.InvalidParameter.New("zstd is not supported: decompress the file first")
	}
	return buffered, false, nil
}

// add adds one entry.
func (a *archive) add(ctx context.Context, h *tar.Header, r io.Reader) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	at, err := cleanName(h.Name)
	if err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return nil
	case tar.TypeReg:
		return a.addFile(ctx, at, h, r)
	case tar.TypeSymlink:
		if path.IsAbs(h.Linkname) {
			return fault.InvalidParameter.New("link %q points outside of the archive", name.Clip(at))
		}
		return a.addLink(at, path.Join(path.Dir(at), h.Linkname), h.Linkname)
	case tar.TypeLink:
		return a.addLink(at, h.Linkname, h.Linkname)
	}
	return fault.InvalidParameter.New("entry %q is neither file, directory nor link", name.Clip(at))
}

func (a *archive) addFile(ctx context.Context, at string, h *tar.Header, r io.Reader) error {
	for key := range h.PAXRecords {
		// A small sparse file may represent any number of zeros. No image builder writes sparse files.
		if strings.HasPrefix(key, "GNU.sparse.") {
			return fault.InvalidParameter.New("entry %q is a sparse file", name.Clip(at))
		}
	}
	algorithm := name.SHA256
	claimed, isBlob := digestOf(at)
	if isBlob {
		algorithm = claimed.Algorithm()
	}
	d, size, err := a.l.put(ctx, algorithm, r)
	if err != nil {
		return fmt.Errorf("reading entry %q: %w", name.Clip(at), notATar(err))
	}
	if isBlob {
		if err := sameDigest(d, claimed); err != nil {
			return err
		}
	}
	if err := a.free(at, content{d, size}, ""); err != nil {
		return err
	}
	a.files[at] = content{d, size}
	a.sizes[d] = size
	return nil
}

// digestOf returns the digest in a path of a layout; ok is false if the path is not that of a blob.
func digestOf(at string) (d name.Digest, ok bool) {
	rest, ok := strings.CutPrefix(at, "blobs/")
	if !ok {
		return d, false
	}
	d, err := name.ParseDigest(strings.Replace(rest, "/", ":", 1))
	return d, err == nil
}

func (a *archive) addLink(at, target, shown string) error {
	clean, err := cleanName(target)
	if err != nil {
		return fault.InvalidParameter.New("link %q points outside of the archive, to %q", name.Clip(at), name.Clip(shown))
	}
	if err := a.free(at, content{}, clean); err != nil {
		return err
	}
	a.links[at] = clean
	return nil
}

// free returns an error if the archive already has another entry of the same name: programs differ in which of
// two entries they use, so that a check could see other content than the user of the image.
func (a *archive) free(at string, c content, link string) error {
	file, isFile := a.files[at]
	target, isLink := a.links[at]
	if isFile && file != c || isLink && target != link {
		return fault.InvalidParameter.New("the archive has two entries named %q", name.Clip(at))
	}
	return nil
}

// cleanName returns an entry's name without "./" and a final slash. Errors: fault.InvalidParameter for a name
// that is empty, absolute, too long, or points outside of the archive, with slashes or backslashes.
func cleanName(s string) (string, error) {
	ok := len(s) <= maxNameSize && s != "" && s[0] != '/' && !strings.ContainsAny(s, "\\\x00")
	for part := range strings.SplitSeq(s, "/") {
		ok = ok && part != ".."
	}
	if !ok {
		return "", fault.InvalidParameter.New("the archive has an entry with the unsafe name %q", name.Clip(s))
	}
	return path.Clean(s), nil
}

// find follows links within the archive. Errors: fault.BlobNotFound, fault.InvalidParameter (a long chain or a
// cycle of links).
func (a *archive) find(at string) (content, error) {
	shown := at
	for range maxLinks {
		if c, ok := a.files[at]; ok {
			return c, nil
		}
		next, ok := a.links[at]
		if !ok {
			return content{}, fault.BlobNotFound.New("the archive lacks %q", name.Clip(shown))
		}
		at = next
	}
	return content{}, fault.InvalidParameter.New("the links from %q are too many, or a cycle", name.Clip(shown))
}

func (a *archive) file(at string) ([]byte, error) {
	c, err := a.find(at)
	if err != nil {
		return nil, err
	}
	return readSmall(a.l.root, blobName(c.digest))
}

// size returns the size of a file that was hashed when it was added. A file whose name has another algorithm
// was stored under that digest.
func (a *archive) size(_ context.Context, d name.Digest) (int64, error) {
	size, ok := a.sizes[d]
	if !ok {
		return 0, fault.BlobNotFound.New("the archive lacks %s", d)
	}
	return size, nil
}

func (a *archive) read(d name.Digest) ([]byte, error) { return readSmall(a.l.root, blobName(d)) }

func (a *archive) form() string { return "oci-archive" }

func (a *archive) close() {}
