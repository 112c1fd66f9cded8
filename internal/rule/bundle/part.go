package bundle

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Part says what is in one file of a set.
type Part struct {
	Format    string   `json:"format"`
	Set       string   `json:"set"`
	Statement string   `json:"statement"` // the digest of its bytes
	Number    int      `json:"number"`    // from 1
	Of        int      `json:"of"`
	Members   []Member `json:"members"` // after PartPath and PartSigPath, in their order
}

// Encode returns the bytes that are signed.
//
// Errors: those of ParsePart.
func (p *Part) Encode() ([]byte, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	return json.MarshalIndent(p, "", " ")
}

// ParsePart parses the list of a part, whose signature the caller has verified.
//
// Errors: what is wrong with it.
func ParsePart(b []byte) (*Part, error) {
	var p Part
	err := decode(b, &p)
	if err == nil {
		err = p.check()
	}
	if err != nil {
		return nil, fmt.Errorf("the list of the part: %w", err)
	}
	return &p, nil
}

func (p *Part) check() error {
	switch {
	case p.Format != PartFormat:
		return fmt.Errorf("its format is %q, and this program reads %s", name.Clip(p.Format), PartFormat)
	case !validSet(p.Set):
		return errors.New("the set has no id")
	case p.Number < 1 || p.Number > p.Of || p.Of > MaxParts:
		return fmt.Errorf("it is part %d of %d", p.Number, p.Of)
	case len(p.Members) > MaxBlobs+MaxFiles+8:
		return errors.New("it has too many members")
	}
	if _, err := name.ParseDigest(p.Statement); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, m := range p.Members {
		if _, err := name.ParseDigest(m.Digest); err != nil {
			return err
		}
		if m.Size < 0 || m.Size > maxSize || m.Offset < 0 || m.Offset > maxSize || seen[m.Path] || !SafePath(m.Path) {
			return fmt.Errorf("the member %q is not valid", name.Clip(m.Path))
		}
		seen[m.Path] = true
		if strings.HasPrefix(m.Path, piecesFolder) != (m.Blob != "") {
			return fmt.Errorf("the piece %q is not valid", name.Clip(m.Path))
		}
		if m.Blob != "" {
			if _, err := name.ParseDigest(m.Blob); err != nil {
				return err
			}
		}
	}
	return nil
}

// reserved is what a part takes beside its members: the list and its signature with their headers, and the end.
const reserved = 1024 + End + 4*block + MaxSignature

// entry is the largest size of the list of a member in bytes: its names, its numbers and two digests.
func (m Member) entry() int64 { return int64(len(m.Path))*2 + 520 }

// Split divides the members of an archive into parts of at most size bytes. A member that fits in no part is cut into pieces, whose digests
// the caller sets.
//
// Errors: size is less than MinPart, or so small that the statement does not fit, or that there would be more than MaxParts parts.
func Split(s *Statement, statement, signature []byte, size int64) ([]Part, error) {
	if size < MinPart {
		return nil, fmt.Errorf("a part has at least %d bytes", MinPart)
	}
	var parts []Part
	left := int64(0)
	next := func() {
		parts = append(parts, Part{Format: PartFormat, Set: s.Set, Statement: Digest(statement), Number: len(parts) + 1})
		left = size - reserved
	}
	add := func(m Member) {
		last := &parts[len(parts)-1]
		last.Members = append(last.Members, m)
		left -= m.Space() + m.entry()
	}
	next()
	for _, m := range s.Members(statement, signature) {
		whole := m.Space() + m.entry()
		switch {
		case whole <= left:
			add(m)
			continue
		case !strings.HasPrefix(m.Path, "blobs/"):
			return nil, fmt.Errorf("%s does not fit in a first part of %d bytes", m.Path, size)
		case whole <= size-reserved:
			next()
			add(m)
			continue
		}
		for offset, n := int64(0), 1; offset < m.Size; n++ {
			piece := Member{Path: piecePath(m.Digest, n), Blob: m.Digest, Offset: offset}
			if left < 64<<10 {
				next()
			}
			piece.Size = min(m.Size-offset, (left-piece.entry()-8*block)/block*block)
			add(piece)
			offset += piece.Size
		}
	}
	if len(parts) > MaxParts {
		return nil, fmt.Errorf("there would be %d parts, more than %d", len(parts), MaxParts)
	}
	for i := range parts {
		parts[i].Of = len(parts)
	}
	return parts, nil
}

func piecePath(digest string, n int) string {
	text := strconv.Itoa(n)
	return piecesFolder + strings.Replace(digest, ":", "-", 1) + "." + strings.Repeat("0", max(0, 5-len(text))) + text
}

// Place is where a member, or a piece of a blob, is.
type Place struct {
	Part   int   // an index
	Member int   // an index, in Part.Members
	Offset int64 // in the blob
	Size   int64
}

// Arrange finds where each blob of a set is, by its digest, and checks that the parts are those of the set: each once and all there, with
// what the statement lists.
//
// Errors: what is wrong, with the numbers of the parts that are missing.
func Arrange(s *Statement, statement, signature []byte, parts []Part) (map[string][]Place, error) {
	if len(parts) == 0 {
		return nil, errors.New("there are no parts")
	}
	there, missing := map[int]bool{}, []string(nil)
	for _, p := range parts {
		switch {
		case p.Set != parts[0].Set || p.Set != s.Set || p.Statement != Digest(statement) || p.Of != parts[0].Of:
			return nil, fmt.Errorf("part %d is of the set %s, and not of the set %s", p.Number, p.Set, s.Set)
		case there[p.Number]:
			return nil, fmt.Errorf("part %d is there twice", p.Number)
		}
		there[p.Number] = true
	}
	for n := 1; n <= parts[0].Of; n++ {
		if !there[n] {
			missing = append(missing, strconv.Itoa(n))
		}
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("of the %d parts of the set %s, these are missing: %s", parts[0].Of, s.Set, strings.Join(missing, ", "))
	}
	wanted := map[string]Member{}
	for _, m := range s.Members(statement, signature) {
		wanted[m.Path] = m
	}
	places := map[string][]Place{}
	for i, p := range parts {
		for j, m := range p.Members {
			if m.Blob == "" {
				if wanted[m.Path] != m {
					return nil, fmt.Errorf("the member %s of part %d is not the one of the statement", m.Path, p.Number)
				}
				if places[m.Path] != nil {
					return nil, fmt.Errorf("the member %s is in two parts", m.Path)
				}
				places[m.Path] = []Place{{i, j, 0, m.Size}}
				continue
			}
			of := BlobPath(m.Blob)
			if _, ok := wanted[of]; !ok {
				return nil, fmt.Errorf("the piece %s of part %d is of no blob of the statement", m.Path, p.Number)
			}
			places[of] = append(places[of], Place{i, j, m.Offset, m.Size})
		}
	}
	for path, m := range wanted {
		pieces := places[path]
		slices.SortFunc(pieces, func(a, b Place) int {
			if a.Offset < b.Offset {
				return -1
			}
			return 1
		})
		at := int64(0)
		for _, one := range pieces {
			if one.Offset != at {
				return nil, fmt.Errorf("the pieces of %s do not make it", path)
			}
			at += one.Size
		}
		if at != m.Size || len(pieces) == 0 {
			return nil, fmt.Errorf("%s is not in the parts", path)
		}
	}
	return places, nil
}
