package bundle

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/rule/bundle"
	"github.com/ecrin-dev/ecrin/internal/rule/manifest"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// file is an archive that is open.
type file struct {
	f       *os.File
	path    string
	part    bundle.Part // of a whole archive: with all members, as part 1 of 1
	whole   bool
	members []bundle.Member // all in their order
	starts  []int64         // where the contents of members begin
	keyID   string

	statement, signature []byte // of a whole archive
}

// Opened is what one file of a bundle says of itself.
type Opened struct {
	Path   string
	Set    string
	Number int
	Of     int
	Whole  bool
	KeyID  string
	Bytes  int64
}

// openFile opens an archive and verifies its list: its signature, and that the file has exactly what is listed, apart from the contents.
func openFile(path string, keys *bundle.Keys) (*file, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	x := &file{f: f, path: path}
	if err := x.read(keys); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	return x, nil
}

// read reads the lists of an archive.
func (x *file) read(keys *bundle.Keys) error {
	info, err := x.f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("it is no file")
	}
	first, err := tar.NewReader(io.NewSectionReader(x.f, 0, info.Size())).Next()
	if err != nil {
		return errors.New("it is no bundle: it is no tar archive")
	}
	list, signature := bundle.PartPath, bundle.PartSigPath
	at := int64(0)
	if first.Name != bundle.PartPath {
		layout := bundle.Member{Path: bundle.LayoutPath, Size: int64(len(bundle.Layout)), Digest: bundle.Digest([]byte(bundle.Layout))}
		x.whole, x.members = true, []bundle.Member{layout}
		if at, err = x.at(layout, at); err != nil {
			return fmt.Errorf("it is no bundle of ecrin: %w", err)
		}
		list, signature = bundle.StatementPath, bundle.SignaturePath
	}
	document, at, err := x.document(list, bundle.MaxDocument, at, info.Size())
	if err != nil {
		return err
	}
	sig, _, err := x.document(signature, bundle.MaxSignature, at, info.Size())
	if err != nil {
		return err
	}
	kind := bundle.OfPart
	if x.whole {
		kind = bundle.OfStatement
	}
	if x.keyID, err = keys.Verify(kind, document, sig); err != nil {
		return err
	}
	if x.whole {
		s, err := bundle.ParseStatement(document)
		if err != nil {
			return err
		}
		x.statement, x.signature = document, sig
		x.part = bundle.Part{Format: bundle.PartFormat, Set: s.Set, Statement: bundle.Digest(document), Number: 1, Of: 1,
			Members: s.Members(document, sig)}
		x.members = x.part.Members
	} else {
		p, err := bundle.ParsePart(document)
		if err != nil {
			return err
		}
		x.part, x.members = *p, partMembers(p, document, sig)
	}
	if want := sizeOf(x.members); info.Size() != want {
		return fmt.Errorf("it has %d bytes, and its list says %d: it is truncated, or something was added", info.Size(), want)
	}
	at = 0
	x.starts = nil
	for _, m := range x.members {
		if at, err = x.at(m, at); err != nil {
			return err
		}
	}
	end := make([]byte, bundle.End)
	if _, err := x.f.ReadAt(end, at); err != nil || !zero(end) {
		return errors.New("there is something after its last member")
	}
	return nil
}

// at checks the header of a member at an offset, and returns the offset of the next one.
func (x *file) at(m bundle.Member, at int64) (int64, error) {
	head, err := header(m)
	if err != nil {
		return 0, err
	}
	have := make([]byte, len(head))
	if _, err := x.f.ReadAt(have, at); err != nil || !bytes.Equal(have, head) {
		found := "nothing that can be read"
		if h, err := tar.NewReader(io.NewSectionReader(x.f, at, 1<<20)).Next(); err == nil {
			found = fmt.Sprintf("%q of the type %q with %d bytes", name.Clip(h.Name), string(h.Typeflag), h.Size)
		}
		return 0, fmt.Errorf("where the member %s has to be, there is %s", m.Path, found)
	}
	pad := padding(m.Size)
	start := at + int64(len(head))
	if len(pad) > 0 {
		if _, err := x.f.ReadAt(pad, start+m.Size); err != nil || !zero(pad) {
			return 0, fmt.Errorf("the member %s is not followed by zeros", m.Path)
		}
	}
	x.starts = append(x.starts, start)
	return start + m.Size + int64(len(pad)), nil
}

func zero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }

// document reads a member whose size only its header says.
func (x *file) document(path string, limit, at, size int64) ([]byte, int64, error) {
	h, err := tar.NewReader(io.NewSectionReader(x.f, at, size-at)).Next()
	if err != nil || h.Name != path || h.Typeflag != tar.TypeReg {
		if path == bundle.SignaturePath || path == bundle.PartSigPath {
			return nil, 0, bundle.ErrUnsigned
		}
		return nil, 0, fmt.Errorf("it is no bundle of ecrin: it has no %s where that has to be", path)
	}
	if h.Size > limit {
		return nil, 0, fmt.Errorf("%s has %d bytes, more than %d", path, h.Size, limit)
	}
	m := bundle.Member{Path: path, Size: h.Size}
	next, err := x.at(m, at)
	if err != nil {
		return nil, 0, err
	}
	b := make([]byte, h.Size)
	if _, err := x.f.ReadAt(b, x.starts[len(x.starts)-1]); err != nil {
		return nil, 0, fmt.Errorf("it is truncated in %s", path)
	}
	return b, next, nil
}

// content returns the content of a member.
func (x *file) content(member int) *io.SectionReader {
	return io.NewSectionReader(x.f, x.starts[member], x.members[member].Size)
}

// verify hashes the contents of all members.
func (x *file) verify(ctx context.Context, advance func(int64)) error {
	buffer := make([]byte, chunk)
	for n, m := range x.members {
		h := newHash(m.Digest)
		from := x.content(n)
		for {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			got, err := from.Read(buffer)
			h.Write(buffer[:got])
			advance(int64(got))
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return fmt.Errorf("%s: reading %s: %w", filepath.Base(x.path), m.Path, err)
			}
		}
		if sumOf(m.Digest, h) != m.Digest {
			return fmt.Errorf("%s: %s is damaged: its bytes have not the digest %s", filepath.Base(x.path), m.Path, m.Digest)
		}
	}
	return nil
}

// Set is a bundle that is open: all its parts are there, of one set, and signed by a trusted key. Close it.
type Set struct {
	Statement *bundle.Statement
	KeyID     string

	files     []*file
	document  []byte // of the statement
	signature []byte
	places    map[string][]bundle.Place // by the names of members of a whole archive
	types     map[string]bundle.Blob    // by digest
}

// Open opens a bundle of all its parts, in any order. The contents of blobs are not read, see Verify.
//
// Errors: a file is no bundle, is not signed, or by a key that is not trusted or revoked, or differs from its list; parts are missing,
// there twice, or of different sets.
func Open(paths []string, keys *bundle.Keys) (*Set, error) {
	s := &Set{types: map[string]bundle.Blob{}}
	if err := s.read(paths, keys); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Set) read(paths []string, keys *bundle.Keys) (err error) {
	var parts []bundle.Part
	for _, path := range paths {
		x, err := openFile(path, keys)
		if err != nil {
			return err
		}
		s.files = append(s.files, x)
		parts = append(parts, x.part)
		if x.whole {
			s.document, s.signature, s.KeyID = x.statement, x.signature, x.keyID
		}
	}
	if len(paths) == 0 {
		return errors.New("there are no files")
	}
	if s.document == nil {
		if err := s.fromPart(keys); err != nil {
			return err
		}
	}
	if s.Statement, err = bundle.ParseStatement(s.document); err != nil {
		return err
	}
	if s.places, err = bundle.Arrange(s.Statement, s.document, s.signature, parts); err != nil {
		return err
	}
	for _, b := range s.Statement.Blobs {
		s.types[b.Digest] = b
	}
	return nil
}

// fromPart reads the statement in one of the parts.
func (s *Set) fromPart(keys *bundle.Keys) (err error) {
	read := func(x *file, path string) []byte {
		for n, m := range x.part.Members {
			if m.Path == path && m.Size <= bundle.MaxDocument {
				b, err := io.ReadAll(x.content(n + 2))
				if err == nil && bundle.Digest(b) == m.Digest {
					return b
				}
			}
		}
		return nil
	}
	for _, x := range s.files {
		if d := read(x, bundle.StatementPath); d != nil {
			s.document, s.signature = d, read(x, bundle.SignaturePath)
			if s.KeyID, err = keys.Verify(bundle.OfStatement, s.document, s.signature); err != nil {
				return fmt.Errorf("%s: the statement: %w", filepath.Base(x.path), err)
			}
			return nil
		}
	}
	x := s.files[0]
	return fmt.Errorf("of the %d parts of the set %s, the one with the statement is missing or damaged: that is part 1", x.part.Of, x.part.Set)
}

// Close closes the files.
func (s *Set) Close() {
	for _, x := range s.files {
		x.f.Close()
	}
}

// Files returns what the files say of themselves.
func (s *Set) Files() (all []Opened) {
	for _, x := range s.files {
		all = append(all, x.opened())
	}
	return all
}

func (x *file) opened() Opened {
	return Opened{Path: x.path, Set: x.part.Set, Number: x.part.Number, Of: x.part.Of, Whole: x.whole, KeyID: x.keyID,
		Bytes: sizeOf(x.members)}
}

// VerifyPart verifies one file alone: its signature, what it has, and the bytes of all members.
//
// Errors: those of Open for one file, and of the contents.
func VerifyPart(ctx context.Context, path string, keys *bundle.Keys) (Opened, error) {
	x, err := openFile(path, keys)
	if err != nil {
		return Opened{}, err
	}
	defer x.f.Close()
	return x.opened(), x.verify(ctx, func(int64) {})
}

// Verify reads everything and compares it with its digests, and checks that the manifests refer only to what is inside, needed or left out.
//
// Errors: the first that is wrong; that of ctx.
func (s *Set) Verify(ctx context.Context, each func(Progress)) error {
	p := Progress{What: "verifying", Of: len(s.files)}
	for _, x := range s.files {
		p.Size += sizeOf(x.members)
	}
	shown := int64(0)
	for _, x := range s.files {
		if err := x.verify(ctx, func(n int64) {
			if p.Bytes += n; each != nil && p.Bytes-shown > 8<<20 {
				shown = p.Bytes
				each(p)
			}
		}); err != nil {
			return err
		}
		p.Done++
	}
	for _, b := range s.Statement.Blobs {
		if at := s.places[b.Path()]; len(at) > 1 {
			if err := s.joined(ctx, b); err != nil {
				return err
			}
		}
	}
	return s.manifests()
}

// joined verifies a blob that is in pieces.
func (s *Set) joined(ctx context.Context, b bundle.Blob) error {
	from := s.Blob(b.Digest, 0)
	h := newHash(b.Digest)
	if _, err := io.CopyBuffer(h, from, make([]byte, chunk)); err != nil {
		return err
	}
	if sumOf(b.Digest, h) != b.Digest {
		return fmt.Errorf("the pieces of %s are not those of one layer", b.Digest)
	}
	return ctx.Err()
}

// manifests checks what the manifests refer to.
func (s *Set) manifests() error {
	sizes, left := map[string]int64{}, map[string]bool{}
	for _, b := range s.Statement.Blobs {
		sizes[b.Digest] = b.Size
	}
	for _, n := range s.Statement.Needs {
		sizes[n.Digest] = n.Size
	}
	for _, b := range s.Statement.Left {
		left[b.Digest] = true
	}
	for _, b := range s.Statement.Blobs {
		if b.MediaType == "" {
			continue
		}
		body, err := s.body(b)
		if err != nil {
			return err
		}
		m, err := manifest.Parse(body, b.MediaType)
		if err != nil {
			return fmt.Errorf("the manifest %s: %w", b.Digest, err)
		}
		for _, one := range m.Blobs() {
			if have, ok := sizes[one.Digest.String()]; !ok || one.Size >= 0 && have != one.Size {
				return fmt.Errorf("the blob %s of the manifest %s is neither inside nor needed", one.Digest, b.Digest)
			}
		}
	}
	return nil
}

// body returns the bytes of a manifest.
func (s *Set) body(b bundle.Blob) ([]byte, error) {
	if b.Size > manifest.MaxBytes {
		return nil, fmt.Errorf("the manifest %s has %d bytes, more than %d", b.Digest, b.Size, manifest.MaxBytes)
	}
	body, err := io.ReadAll(s.Blob(b.Digest, 0))
	if err == nil && digestOf(b.Digest, body) != b.Digest {
		err = fmt.Errorf("the manifest %s is damaged", b.Digest)
	}
	return body, err
}

func digestOf(like string, b []byte) string {
	h := newHash(like)
	h.Write(b)
	return sumOf(like, h)
}

// typed implements contents.
func (s *Set) typed(digest string) (bundle.Blob, bool) {
	b, ok := s.types[digest]
	return b, ok
}

// open implements contents.
func (s *Set) open(digest string, offset int64) (io.ReadCloser, error) {
	return io.NopCloser(s.Blob(digest, offset)), nil
}

// Blob returns the bytes of a blob inside from an offset on; none for another blob.
func (s *Set) Blob(digest string, offset int64) io.Reader {
	return s.member(bundle.BlobPath(digest), offset)
}

// member returns the bytes of a member of the whole archive from an offset on.
func (s *Set) member(path string, offset int64) io.Reader {
	var all []io.Reader
	for _, at := range s.places[path] {
		if offset >= at.Offset+at.Size {
			continue
		}
		x := s.files[at.Part]
		index := at.Member
		if !x.whole {
			index += 2 // the list and its signature
		}
		skip := max(0, offset-at.Offset)
		all = append(all, io.NewSectionReader(x.f, x.starts[index]+skip, at.Size-skip))
	}
	return io.MultiReader(all...)
}

// Extract writes the files of the release into a folder that is not there yet. After an error there is none.
//
// Errors: the folder is there; a file is damaged, or cannot be written.
func (s *Set) Extract(folder string) (err error) {
	if err := os.Mkdir(folder, 0o777); errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already: name a folder that is not, or remove it", folder)
	} else if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(folder))
		}
	}()
	root, err := os.OpenRoot(folder)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, f := range s.Statement.Files {
		b, err := io.ReadAll(s.member(bundle.FilesFolder+f.Path, 0))
		if err == nil && digestOf(f.Digest, b) != f.Digest {
			err = fmt.Errorf("the file %s is damaged", f.Path)
		}
		if dir := filepath.Dir(filepath.FromSlash(f.Path)); err == nil && dir != "." {
			err = root.MkdirAll(dir, 0o777)
		}
		if err == nil {
			err = root.WriteFile(filepath.FromSlash(f.Path), b, 0o666)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Join writes the whole archive, such as one of parts. It is verified while it is written.
//
// Errors: the file is there already; a part is damaged; the disk is full.
func (s *Set) Join(ctx context.Context, out string) error {
	if err := absent(out, false); err != nil {
		return err
	}
	p := &plan{Statement: s.document, Signature: s.signature, parsed: s.Statement}
	members := p.members(0)
	f, err := os.OpenFile(out+PartialEnd, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	err = s.join(ctx, f, members)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		return os.Rename(out+PartialEnd, out)
	}
	return errors.Join(err, os.Remove(out+PartialEnd))
}

func (s *Set) join(ctx context.Context, to io.Writer, members []bundle.Member) error {
	buffer := make([]byte, chunk)
	for _, m := range members {
		head, err := header(m)
		if err != nil {
			return err
		}
		if _, err := to.Write(head); err != nil {
			return err
		}
		h := newHash(m.Digest)
		if _, err := io.CopyBuffer(io.MultiWriter(to, h), s.member(m.Path, 0), buffer); err != nil {
			return err
		}
		if sumOf(m.Digest, h) != m.Digest {
			return fmt.Errorf("%s is damaged: its bytes have not the digest %s", m.Path, m.Digest)
		}
		if _, err := to.Write(padding(m.Size)); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	_, err := to.Write(make([]byte, bundle.End))
	return err
}

// label returns how messages name a set.
func label(s *bundle.Statement) string {
	parts := []string{s.Name}
	if a := s.Application; a != nil && a.Version != "" {
		parts = append(parts, a.Version)
	}
	return strings.Join(parts, " ") + " of " + s.CreatedAt.Format("2006-01-02") + " (set " + s.Set + ")"
}
