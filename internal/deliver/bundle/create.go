package bundle

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/bundle"
	"github.com/ecrin-dev/ecrin/internal/rule/rewrite"
	"github.com/ecrin-dev/ecrin/internal/store/durable"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Sign signs a document by its kind and digest.
type Sign func(ctx context.Context, kind bundle.Kind, digest string) (bundle.Signature, error)

// Request is a bundle to make.
type Request struct {
	Name        string // for people
	Images      []rewrite.Reference
	Files       []rewrite.File // of the release
	Application *bundle.Application
	Have        []*bundle.Inventory
	Bases       []bundle.Base // of Have
	PartSize    int64         // 0 for one file
	NoReferrers bool
	// NonDistributable includes layers that may not be distributed.
	NonDistributable bool
}

// Maker makes bundles.
type Maker struct {
	Hosts Hosts
	Sign  Sign
	Now   func() time.Time
	// Came returns the bundle in which a blob was sent before, for messages; "" if that is not known. nil knows none.
	Came func(digest string) string
	// Source returns the name under which an image is read; nil for its own.
	Source func(rewrite.Reference) rewrite.Reference
	// Each is called when something has advanced; nil for none.
	Each func(Progress)
}

// Progress is how far something is.
type Progress struct {
	What        string // such as "reading manifests"
	Done, Of    int    // of images or parts
	Bytes, Size int64
}

// Made is a bundle that was made, or would be.
type Made struct {
	Statement *bundle.Statement `json:"-"`
	Set       string            `json:"set"`
	Files     []MadeFile        `json:"files"`
	Images    []MadeImage       `json:"images"`
	Sparse    []string          `json:"absentImagesOfIndexes,omitempty"`
	Bytes     int64             `json:"bytes"`       // of all files
	Blobs     int               `json:"blobs"`       // inside
	Needed    int               `json:"neededBlobs"` // that the receiver has
	NeededIn  int64             `json:"neededBytes"`
	Left      int               `json:"leftOutBlobs"` // that may not be distributed
	LeftBytes int64             `json:"leftOutBytes"`
	Resumed   int64             `json:"resumedBytes"` // that were there before
}

// MadeFile is a file of a bundle.
type MadeFile struct {
	Path string `json:"path"`
	Size int64  `json:"size"`
}

// MadeImage is an image of a bundle.
type MadeImage struct {
	Name      string `json:"name"`
	Digest    string `json:"digest"`
	Bytes     int64  `json:"bytes"`
	Inside    int64  `json:"insideBytes"` // of Bytes, what no image before it has and the receivers do not have
	Referrers int    `json:"referrers"`
}

// plan is what is kept while a bundle is made, so that it can be continued.
type plan struct {
	Request   string            `json:"request"` // the digest of what was asked for
	Statement []byte            `json:"statement"`
	Signature []byte            `json:"signature"`
	Parts     []plannedPart     `json:"parts,omitempty"` // none for a whole archive
	From      map[string]origin `json:"from"`
	Files     map[string][]byte `json:"files,omitempty"`
	Images    []MadeImage       `json:"images"`
	Sparse    []string          `json:"sparse,omitempty"`

	parsed *bundle.Statement
	parts  []bundle.Part
	bodies map[string][]byte

	sizes     map[string]int64 // of the blobs inside; see index
	manifests map[string]bool
}

type plannedPart struct {
	List      []byte `json:"list"`
	Signature []byte `json:"signature"`
}

// digest identifies what is asked for.
func (r *Request) digest() (string, error) {
	short := *r
	short.Files, short.Have = nil, nil
	b, err := json.Marshal(struct {
		Request
		Digests []string
	}{short, fileDigests(r.Files)})
	return bundle.Digest(b), err
}

func fileDigests(all []rewrite.File) (digests []string) {
	for _, f := range all {
		digests = append(digests, f.Path+" "+bundle.Digest(f.Data))
	}
	return digests
}

// NewSet returns an id for a set.
func NewSet() string {
	var raw [15]byte
	rand.Read(raw[:])
	return strings.ToLower(base32.StdEncoding.EncodeToString(raw[:]))
}

// Plan finds what a bundle would have. It writes nothing.
//
// Errors: those of the images; the inventories are of no use.
func (m *Maker) Plan(ctx context.Context, r Request) (*Made, error) {
	p, err := m.plan(ctx, r, "")
	if err != nil {
		return nil, err
	}
	return p.made("", r.PartSize > 0), nil
}

// plan finds what a bundle has, and signs it unless request is "".
func (m *Maker) plan(ctx context.Context, r Request, request string) (*plan, error) {
	f := finder{hosts: m.Hosts, source: m.Source, noReferrers: r.NoReferrers, all: r.NonDistributable, each: func(done, of int, _ string) {
		m.show(Progress{What: "reading manifests", Done: done, Of: of})
	}}
	c, err := f.find(ctx, r.Images)
	if err != nil {
		return nil, err
	}
	c.addTags(r.Images)
	s := &bundle.Statement{Format: bundle.StatementFormat, Set: NewSet(), CreatedAt: m.Now().UTC().Truncate(time.Second), Name: r.Name,
		Application: r.Application, Images: c.images, Blobs: c.manifests, Left: c.left, Bases: r.Bases}
	if s.Images == nil {
		s.Images = []bundle.Image{}
	}
	p := &plan{Request: request, From: c.from, Files: map[string][]byte{}, Sparse: c.sparse, bodies: c.bodies, parsed: s}
	common := bundle.Common(r.Have)
	inside := map[string]bool{}
	for _, b := range c.blobs {
		if have, ok := common[b.Digest]; ok && have.Size == b.Size {
			from := have.From
			if m.Came != nil && from == "" {
				from = m.Came(b.Digest)
			}
			s.Needs = append(s.Needs, bundle.Need{Digest: b.Digest, Size: b.Size, At: have.At, From: from})
			delete(p.From, b.Digest)
			continue
		}
		inside[b.Digest] = true
		s.Blobs = append(s.Blobs, b)
	}
	for _, b := range s.Blobs {
		if b.MediaType != "" {
			inside[b.Digest] = true
		}
	}
	for _, f := range r.Files {
		s.Files = append(s.Files, bundle.File{Path: f.Path, Size: int64(len(f.Data)), Digest: bundle.Digest(f.Data)})
		p.Files[bundle.FilesFolder+f.Path] = f.Data
	}
	p.Images = c.shares(inside)
	if p.Statement, err = s.Encode(); err != nil {
		return nil, err
	}
	p.Signature = make([]byte, bundle.MaxSignature/4) // about its size, for a plan that is not signed
	if request != "" {
		if p.Signature, err = m.signed(ctx, bundle.OfStatement, p.Statement); err != nil {
			return nil, err
		}
	}
	if r.PartSize > 0 {
		if p.parts, err = bundle.Split(s, p.Statement, p.Signature, r.PartSize); err != nil {
			return nil, err
		}
		if request != "" {
			err = m.signParts(ctx, p)
		}
	}
	return p, err
}

// shares returns the images with what each adds to the bundle.
func (c *content) shares(inside map[string]bool) []MadeImage {
	sizes, counted := map[string]int64{}, map[string]bool{}
	for _, b := range append(slices.Clone(c.manifests), c.blobs...) {
		sizes[b.Digest] = b.Size
	}
	var all []MadeImage
	for _, i := range c.images {
		one := MadeImage{Name: i.Name, Digest: i.Digest, Bytes: i.Bytes, Referrers: len(i.Referrers) + len(i.Tags)}
		for _, d := range c.of[i.Name] {
			if inside[d] && !counted[d] {
				counted[d] = true
				one.Inside += sizes[d]
			}
		}
		all = append(all, one)
	}
	return all
}

func (m *Maker) signed(ctx context.Context, kind bundle.Kind, document []byte) ([]byte, error) {
	s, err := m.Sign(ctx, kind, bundle.Digest(document))
	if err != nil {
		return nil, fmt.Errorf("signing the %s: %w", kind, err)
	}
	return s.Encode()
}

// signParts sets the digests of the pieces, and signs the parts.
func (m *Maker) signParts(ctx context.Context, p *plan) error {
	if err := m.hashPieces(ctx, p); err != nil {
		return err
	}
	for _, part := range p.parts {
		list, err := part.Encode()
		if err != nil {
			return err
		}
		signature, err := m.signed(ctx, bundle.OfPart, list)
		if err != nil {
			return err
		}
		p.Parts = append(p.Parts, plannedPart{list, signature})
	}
	return nil
}

// hashPieces reads the blobs that were cut, for the digests of their pieces.
func (m *Maker) hashPieces(ctx context.Context, p *plan) error {
	for i := range p.parts {
		for j := range p.parts[i].Members {
			piece := &p.parts[i].Members[j]
			if piece.Blob == "" {
				continue
			}
			m.show(Progress{What: "hashing the pieces of a large layer", Done: i + 1, Of: len(p.parts)})
			from, err := m.open(ctx, p, *piece, 0)
			if err != nil {
				return err
			}
			h := sha256.New()
			n, err := io.Copy(h, from)
			from.Close()
			if err == nil && n != piece.Size {
				err = fmt.Errorf("the blob %s is shorter than its manifest says", piece.Blob)
			}
			if err != nil {
				return err
			}
			piece.Digest = name.NewDigest(name.SHA256, h.Sum(nil)).String()
		}
	}
	return nil
}

func (m *Maker) show(p Progress) {
	if m.Each != nil {
		m.Each(p)
	}
}

// PlanEnd and PartialEnd are the ends of the names of files while a bundle is made.
const (
	PlanEnd    = ".plan"
	PartialEnd = ".partial"
)

// ErrOtherPlan says that another bundle was begun in a file.
var ErrOtherPlan = errors.New("another bundle was begun there, with other images or options")

// Create makes a bundle, or continues one that was begun by the same request in the same file. Parts get names of their own, see PartName.
//
// Errors: those of Plan; ErrOtherPlan; the file is there already; the disk is full, after which the same call continues.
func (m *Maker) Create(ctx context.Context, out string, r Request, restart bool) (*Made, error) {
	request, err := r.digest()
	if err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(out+PlanEnd, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if err := durable.TryLock(lock); err != nil {
		return nil, fmt.Errorf("another process makes this bundle: %w", err)
	}
	p, err := readPlan(lock)
	if err == nil && p != nil && (restart || p.Request != request) {
		if !restart {
			return nil, fmt.Errorf("%w: %s%s", ErrOtherPlan, out, PlanEnd)
		}
		err = p.discard(out)
		p = nil
	}
	if err != nil {
		return nil, err
	}
	if p == nil {
		if err := absent(out, r.PartSize > 0); err != nil {
			return nil, errors.Join(err, os.Remove(out+PlanEnd))
		}
		if p, err = m.plan(ctx, r, request); err == nil {
			err = p.write(lock)
		}
		if err != nil {
			return nil, errors.Join(err, os.Remove(out+PlanEnd))
		}
	}
	made := p.made(out, len(p.parts) > 0)
	if made.Resumed, err = m.files(ctx, out, p, made); err != nil {
		return nil, err
	}
	return made, os.Remove(out + PlanEnd)
}

// absent returns an error if a file of a bundle is there.
func absent(out string, parts bool) error {
	if parts {
		out = PartName(out, 1)
	}
	if _, err := os.Lstat(out); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is there already", out)
	}
	return nil
}

// PartName returns the name of the file of a part, such as shop.part001.tar.
func PartName(out string, n int) string {
	return fmt.Sprintf("%s.part%03d.tar", strings.TrimSuffix(out, ".tar"), n)
}

func readPlan(f *os.File) (*plan, error) {
	b, err := io.ReadAll(io.LimitReader(f, 4*bundle.MaxDocument))
	if err != nil || len(b) == 0 {
		return nil, err
	}
	var p plan
	if json.Unmarshal(b, &p) != nil {
		return nil, nil // it was not written to its end: nothing was made by it
	}
	if p.parsed, err = bundle.ParseStatement(p.Statement); err != nil {
		return nil, err
	}
	for _, one := range p.Parts {
		part, err := bundle.ParsePart(one.List)
		if err != nil {
			return nil, err
		}
		p.parts = append(p.parts, *part)
	}
	return &p, nil
}

// write writes the plan into the locked file.
func (p *plan) write(f *os.File) error {
	b, err := json.Marshal(p)
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = f.WriteAt(b, 0)
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return fmt.Errorf("writing the plan: %w", err)
	}
	return nil
}

// discard removes the files that were made by a plan.
func (p *plan) discard(out string) error {
	for _, f := range p.made(out, len(p.parts) > 0).Files {
		for _, one := range []string{f.Path, f.Path + PartialEnd} {
			if err := os.Remove(one); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// made returns what the plan makes.
func (p *plan) made(out string, parts bool) *Made {
	m := &Made{Statement: p.parsed, Set: p.parsed.Set, Images: p.Images, Blobs: len(p.parsed.Blobs), Needed: len(p.parsed.Needs),
		Left: len(p.parsed.Left), Sparse: p.Sparse, Files: []MadeFile{}}
	_, m.NeededIn = p.parsed.Bytes()
	for _, b := range p.parsed.Left {
		m.LeftBytes += b.Size
	}
	if !parts {
		m.Files = []MadeFile{{filepath.Clean(out), sizeOf(p.parsed.Members(p.Statement, p.Signature))}}
	}
	for i, part := range p.parts {
		m.Files = append(m.Files, MadeFile{PartName(out, i+1), sizeOf(p.members(i)) + dry(p, part)})
	}
	for _, f := range m.Files {
		m.Bytes += f.Size
	}
	return m
}

// dry is about the size of the list of a part that is not signed.
func dry(p *plan, part bundle.Part) int64 {
	if len(p.Parts) > 0 {
		return 0
	}
	return int64(len(part.Members))*300 + 4096
}

func sizeOf(all []bundle.Member) int64 {
	n := int64(bundle.End)
	for _, m := range all {
		n += m.Space()
	}
	return n
}

// members returns the members of the file of a part, or of the whole archive.
func (p *plan) members(i int) []bundle.Member {
	if len(p.parts) == 0 {
		return p.parsed.Members(p.Statement, p.Signature)
	}
	if len(p.Parts) == 0 {
		return p.parts[i].Members
	}
	return partMembers(&p.parts[i], p.Parts[i].List, p.Parts[i].Signature)
}

func partMembers(p *bundle.Part, list, signature []byte) []bundle.Member {
	return append([]bundle.Member{
		{Path: bundle.PartPath, Size: int64(len(list)), Digest: bundle.Digest(list)},
		{Path: bundle.PartSigPath, Size: int64(len(signature)), Digest: bundle.Digest(signature)},
	}, p.Members...)
}
