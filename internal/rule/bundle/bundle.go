// Package bundle has the form of bundles, which carry images to where no network reaches: a signed statement of what is inside, its parts,
// and signed inventories of what a receiver has.
//
// A bundle is a tar archive that is an OCI image layout. All functions are pure: package deliver/bundle reads and writes files.
package bundle

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/ecrin-dev/ecrin/internal/rule/rewrite"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// The formats of documents. They change when an older reader would read a document in another way.
const (
	StatementFormat = "ecrin.dev/bundle/v1"
	PartFormat      = "ecrin.dev/bundle-part/v1"
	InventoryFormat = "ecrin.dev/inventory/v1"
)

// The members of an archive that are not blobs.
const (
	LayoutPath    = "oci-layout"
	IndexPath     = "index.json"
	StatementPath = "ecrin/statement.json"
	SignaturePath = "ecrin/statement.sig"
	PartPath      = "ecrin/part.json"
	PartSigPath   = "ecrin/part.sig"
	FilesFolder   = "ecrin/files/"
	piecesFolder  = "ecrin/pieces/"
)

// Layout is the content of LayoutPath. Source: OCI image layout specification.
const Layout = `{"imageLayoutVersion":"1.0.0"}`

// The limits of a bundle.
const (
	MaxDocument  = 256 << 20 // bytes of a statement, of the list of a part, and of an inventory
	MaxSignature = 16 << 10  // bytes of a signature with its keys
	MaxBlobs     = 200_000   // inside, needed and left out
	MaxImages    = 10_000
	MaxFiles     = 10_000
	MaxFileBytes = 64 << 20 // of all files of the release
	MaxParts     = 10_000
	MinPart      = 1 << 20 // bytes of a part, in Split
	maxSize      = 8 << 40 // bytes of a blob
	maxText      = 1024    // bytes of a name
)

// Statement says what is in a set: one archive, or several parts.
type Statement struct {
	Format      string       `json:"format"`
	Set         string       `json:"set"` // a random id
	CreatedAt   time.Time    `json:"createdAt"`
	Name        string       `json:"name"` // for people
	Application *Application `json:"application,omitempty"`
	Images      []Image      `json:"images"`
	Blobs       []Blob       `json:"blobs"`           // that are inside, in the order of the archive: manifests first
	Needs       []Need       `json:"needs,omitempty"` // that the receiver has to have
	Left        []Blob       `json:"left,omitempty"`  // layers that may not be distributed and are not inside
	Files       []File       `json:"files,omitempty"` // of the release, in the order of the archive
	Bases       []Base       `json:"bases,omitempty"` // the inventories that say what the receivers have
}

// Application is the version of an application that a set has.
type Application struct {
	Slug            string `json:"slug"`
	ChannelID       string `json:"channelId,omitempty"`
	ChannelName     string `json:"channelName,omitempty"`
	ChannelSequence int64  `json:"channelSequence,omitempty"`
	Sequence        int64  `json:"sequence,omitempty"`
	Version         string `json:"version,omitempty"`
}

// Image is an image with a name, and what belongs to it.
type Image struct {
	Name string `json:"name"` // HOST/REPOSITORY:TAG or HOST/REPOSITORY@DIGEST
	Ref
	Bytes     int64 `json:"bytes"`               // of its blobs and those of what belongs to it, each once
	Referrers []Ref `json:"referrers,omitempty"` // signatures and others, each after its subject
	Tags      []Ref `json:"tags,omitempty"`      // signatures that are kept under tags of the repository
}

// Ref names a manifest of the set.
type Ref struct {
	Digest       string `json:"digest"`
	MediaType    string `json:"mediaType"`
	ArtifactType string `json:"artifactType,omitempty"`
	Tag          string `json:"tag,omitempty"` // in Image.Tags
}

// Blob is content by its digest.
type Blob struct {
	Digest    string `json:"digest"`
	Size      int64  `json:"size"`
	MediaType string `json:"mediaType,omitempty"` // of manifests
}

// Path returns the name of a blob in the archive.
func (b Blob) Path() string { return BlobPath(b.Digest) }

// BlobPath returns the name of a blob in an image layout.
func BlobPath(digest string) string { return "blobs/" + strings.Replace(digest, ":", "/", 1) }

// Need is a blob that the receiver has to have.
type Need struct {
	Digest string   `json:"digest"`
	Size   int64    `json:"size"`
	At     []string `json:"at,omitempty"`   // repositories of receivers that had it
	From   string   `json:"from,omitempty"` // the bundle in which it came, for people; "" if that is not known
}

// File is a file of a release.
type File struct {
	Path   string `json:"path"` // relative, with slashes
	Size   int64  `json:"size"`
	Digest string `json:"digest"`
}

// Base is an inventory that a set was made against.
type Base struct {
	Digest    string    `json:"digest"` // of the signed bytes
	Receiver  string    `json:"receiver"`
	CreatedAt time.Time `json:"createdAt"`
	KeyID     string    `json:"keyId"`
}

// Digest returns the digest of bytes, by SHA-256.
func Digest(b []byte) string {
	h := sha256.Sum256(b)
	return name.NewDigest(name.SHA256, h[:]).String()
}

// Encode returns the bytes that are signed.
//
// Errors: those of Check.
func (s *Statement) Encode() ([]byte, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	return json.MarshalIndent(s, "", " ")
}

// ParseStatement parses a statement, whose signature the caller has verified.
//
// Errors: what is wrong with it.
func ParseStatement(b []byte) (*Statement, error) {
	var s Statement
	if err := decode(b, &s); err != nil {
		return nil, fmt.Errorf("the statement of the bundle: %w", err)
	}
	if err := s.Check(); err != nil {
		return nil, fmt.Errorf("the statement of the bundle: %w", err)
	}
	return &s, nil
}

// decode parses JSON of one value with known members only.
func decode(b []byte, into any) error {
	if len(b) > MaxDocument {
		return fmt.Errorf("it has more than %d bytes", MaxDocument)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is something after the document")
	}
	return nil
}

// Check reports what is wrong with a statement.
func (s *Statement) Check() error {
	switch {
	case s.Format != StatementFormat:
		return fmt.Errorf("its format is %q, and this program reads %s", name.Clip(s.Format), StatementFormat)
	case !validSet(s.Set):
		return errors.New("the set has no id")
	case !text(s.Name):
		return errors.New("the set has no name")
	case len(s.Images) > MaxImages:
		return fmt.Errorf("there are more than %d images", MaxImages)
	case len(s.Blobs)+len(s.Needs)+len(s.Left) > MaxBlobs:
		return fmt.Errorf("there are more than %d blobs", MaxBlobs)
	case len(s.Files) > MaxFiles:
		return fmt.Errorf("there are more than %d files", MaxFiles)
	}
	if a := s.Application; a != nil && (!text(a.Slug) || len(a.Version) > maxText || a.Sequence < 0 || a.ChannelSequence < 0) {
		return errors.New("the application is not valid")
	}
	seen, manifests := map[string]bool{}, map[string]string{}
	once := func(digest string, size int64) error {
		if _, err := name.ParseDigest(digest); err != nil {
			return err
		}
		switch {
		case size < 0 || size > maxSize:
			return fmt.Errorf("the blob %s has %d bytes", digest, size)
		case seen[digest]:
			return fmt.Errorf("the blob %s is there twice", digest)
		}
		seen[digest] = true
		return nil
	}
	for _, b := range s.Blobs {
		if err := once(b.Digest, b.Size); err != nil {
			return err
		}
		if b.MediaType != "" {
			manifests[b.Digest] = b.MediaType
		}
	}
	for _, n := range s.Needs {
		if err := once(n.Digest, n.Size); err != nil {
			return err
		}
		if len(n.From) > maxText || len(n.At) > 64 {
			return fmt.Errorf("the blob %s that is needed is not valid", n.Digest)
		}
	}
	for _, b := range s.Left {
		if err := once(b.Digest, b.Size); err != nil {
			return err
		}
	}
	names := map[string]bool{}
	for _, i := range s.Images {
		if err := i.check(manifests); err != nil {
			return err
		}
		if names[i.Name] {
			return fmt.Errorf("the image %s is there twice", i.Name)
		}
		names[i.Name] = true
	}
	return s.checkFiles()
}

func (i *Image) check(manifests map[string]string) error {
	if _, err := i.reference(); err != nil {
		return err
	}
	if err := i.known(i.Ref, manifests); err != nil {
		return err
	}
	for _, one := range i.Referrers {
		if err := i.known(one, manifests); err != nil {
			return err
		}
	}
	for _, one := range i.Tags {
		if _, err := name.ParseTag(one.Tag); err != nil {
			return err
		}
		if err := i.known(one, manifests); err != nil {
			return err
		}
	}
	return nil
}

func (i *Image) known(r Ref, manifests map[string]string) error {
	if r.MediaType == "" || manifests[r.Digest] != r.MediaType {
		return fmt.Errorf("the manifest %s of %s is not inside", name.Clip(r.Digest), i.Name)
	}
	return nil
}

func (s *Statement) checkFiles() error {
	seen, total := map[string]bool{}, int64(0)
	for _, f := range s.Files {
		if _, err := name.ParseDigest(f.Digest); err != nil {
			return err
		}
		switch {
		case !SafePath(f.Path):
			return fmt.Errorf("%q is no path below the folder of the release", name.Clip(f.Path))
		case seen[f.Path]:
			return fmt.Errorf("the file %q is there twice", f.Path)
		case f.Size < 0 || f.Size > MaxFileBytes-total:
			return fmt.Errorf("the files have more than %d bytes", MaxFileBytes)
		}
		seen[f.Path] = true
		total += f.Size
	}
	return nil
}

// SafePath reports whether a path of a file is below the folder that it is relative to, on all systems.
func SafePath(p string) bool {
	return p != "" && p != "." && len(p) <= maxText && utf8.ValidString(p) && !path.IsAbs(p) && path.Clean(p) == p &&
		p != ".." && !strings.HasPrefix(p, "../") && !strings.ContainsAny(p, `\:`) && !strings.ContainsFunc(p, unicode.IsControl)
}

func text(s string) bool {
	return s != "" && len(s) <= maxText && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// validSet reports whether s is an id of a set.
func validSet(s string) bool {
	return len(s) >= 16 && len(s) <= 64 && strings.Trim(s, "0123456789abcdefghijklmnopqrstuvwxyz") == ""
}

// ociIndex and ociDescriptor are what index.json has. Source: OCI image specification.
type ociIndex struct {
	SchemaVersion int             `json:"schemaVersion"`
	MediaType     string          `json:"mediaType"`
	Manifests     []ociDescriptor `json:"manifests"`
}

type ociDescriptor struct {
	MediaType    string            `json:"mediaType"`
	Digest       string            `json:"digest"`
	Size         int64             `json:"size"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
}

// Index returns the content of index.json, which follows from the statement.
func (s *Statement) Index() []byte {
	sizes := map[string]int64{}
	for _, b := range s.Blobs {
		sizes[b.Digest] = b.Size
	}
	x := ociIndex{SchemaVersion: 2, MediaType: "application/vnd.oci.image.index.v1+json", Manifests: []ociDescriptor{}}
	add := func(r Ref, as string) {
		d := ociDescriptor{MediaType: r.MediaType, Digest: r.Digest, Size: sizes[r.Digest], ArtifactType: r.ArtifactType}
		if as != "" {
			d.Annotations = map[string]string{"io.containerd.image.name": as, "org.opencontainers.image.ref.name": as}
		}
		x.Manifests = append(x.Manifests, d)
	}
	unnamed := map[string]bool{}
	for _, i := range s.Images {
		add(i.Ref, i.Name)
		r, _ := rewrite.ParseReference(i.Name)
		for _, one := range i.Tags {
			add(one, r.Name()+":"+one.Tag)
		}
		for _, one := range i.Referrers {
			if !unnamed[one.Digest] {
				unnamed[one.Digest] = true
				add(one, "")
			}
		}
	}
	b, err := json.Marshal(x)
	if err != nil {
		panic("bundle: an index of texts has JSON: " + err.Error())
	}
	return b
}

// Member is a member of an archive.
type Member struct {
	Path   string `json:"path"`
	Size   int64  `json:"size"`
	Digest string `json:"digest"`
	Blob   string `json:"blob,omitempty"`   // of a piece: the digest of the blob
	Offset int64  `json:"offset,omitempty"` // of a piece: where it begins in the blob
}

// Members returns the members of a whole archive in their order, for the bytes of the statement and of its signature.
func (s *Statement) Members(statement, signature []byte) []Member {
	index := s.Index()
	all := []Member{
		{Path: LayoutPath, Size: int64(len(Layout)), Digest: Digest([]byte(Layout))},
		{Path: StatementPath, Size: int64(len(statement)), Digest: Digest(statement)},
		{Path: SignaturePath, Size: int64(len(signature)), Digest: Digest(signature)},
		{Path: IndexPath, Size: int64(len(index)), Digest: Digest(index)},
	}
	for _, f := range s.Files {
		all = append(all, Member{Path: FilesFolder + f.Path, Size: f.Size, Digest: f.Digest})
	}
	for _, b := range s.Blobs {
		all = append(all, Member{Path: b.Path(), Size: b.Size, Digest: b.Digest})
	}
	return all
}

// Header returns the header of a member, the same one for each archive.
func (m Member) Header() *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: m.Path, Size: m.Size, Mode: 0o644, ModTime: time.Unix(0, 0)}
}

const block = 512 // bytes of a block of a tar archive

// Space returns the bytes that a member takes in an archive.
func (m Member) Space() int64 {
	if len(m.Path) <= 99 && m.Size < 8<<30 {
		return block + padded(m.Size) // one header
	}
	var n counter
	w := tar.NewWriter(&n)
	if err := w.WriteHeader(m.Header()); err != nil {
		return 8*block + padded(m.Size)
	}
	return int64(n) + padded(m.Size)
}

func padded(n int64) int64 { return (n + block - 1) / block * block }

// End is how many bytes of an archive are after its last member.
const End = 2 * block

type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// Bytes returns the bytes of the blobs inside, and of those that are needed.
func (s *Statement) Bytes() (inside, needed int64) {
	for _, b := range s.Blobs {
		inside += b.Size
	}
	for _, n := range s.Needs {
		needed += n.Size
	}
	return inside, needed
}
