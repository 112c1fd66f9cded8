package gitrepo

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
)

// maxTree limits the bytes of one folder and of a commit, and maxDepth the folders within each other.
const (
	maxTree  = 8 << 20
	maxDepth = 32
)

// entry is a line of a tree.
type entry struct {
	mode filemode.FileMode
	name string
	id   plumbing.Hash
}

func (e entry) isDir() bool { return e.mode == filemode.Dir }

// key is what the lines of a tree are sorted by: a folder as if its name ended with a slash.
func (e entry) key() string {
	if e.isDir() {
		return e.name + "/"
	}
	return e.name
}

// object is a new object of a commit.
type object struct {
	kind    plumbing.ObjectType
	id      plumbing.Hash
	content []byte
}

func newObject(kind plumbing.ObjectType, content []byte) object {
	return object{kind, plumbing.ComputeHash(kind, content), content}
}

// made is a commit and the objects that it needs beside those that are stored.
type made struct {
	id      plumbing.Hash
	objects []object
}

// BlobID returns the id that a content has in a repository.
func BlobID(content []byte) string {
	return plumbing.ComputeHash(plumbing.BlobObject, content).String()
}

// File returns the id of the content of a file, "" if the tree has no such path. What is not a regular file, such as a folder or a link,
// has an id that no content has.
func (t *Tree) File(path string) (string, error) {
	if t.root.IsZero() {
		return "", nil
	}
	at := t.root
	parts := strings.Split(path, "/")
	for i, part := range parts {
		all, err := t.list(at)
		if err != nil {
			return "", err
		}
		n := slices.IndexFunc(all, func(e entry) bool { return e.name == part })
		switch {
		case n < 0:
			return "", nil
		case i == len(parts)-1 && all[n].mode.IsRegular():
			return all[n].id.String(), nil
		case i == len(parts)-1:
			return all[n].mode.String() + " " + all[n].id.String(), nil
		case !all[n].isDir():
			return all[n].mode.String() + " " + all[n].id.String(), nil
		}
		at = all[n].id
	}
	return "", nil
}

// list returns the lines of a stored tree.
func (t *Tree) list(id plumbing.Hash) ([]entry, error) {
	if id.IsZero() {
		return nil, nil
	}
	if all, ok := t.read[id]; ok {
		return all, nil
	}
	o, err := t.objects.EncodedObject(plumbing.TreeObject, id)
	if err != nil {
		return nil, fail(Invalid, err, "the repository has no folder %s", id)
	}
	b, err := readAll(o, maxTree)
	if err != nil {
		return nil, err
	}
	all, err := parseTree(b)
	if err != nil {
		return nil, fail(Invalid, err, "the folder %s of the repository cannot be read", id)
	}
	t.read[id] = all
	return all, nil
}

func parseTree(b []byte) (all []entry, err error) {
	for len(b) > 0 {
		mode, rest, ok := bytes.Cut(b, []byte(" "))
		label, rest, ok2 := bytes.Cut(rest, []byte{0})
		if !ok || !ok2 || len(rest) < 20 || len(label) == 0 {
			return nil, errors.New("a line of it is not complete")
		}
		e := entry{name: string(label), id: plumbing.Hash(rest[:20])}
		if e.mode, err = filemode.New(string(mode)); err != nil {
			return nil, err
		}
		all, b = append(all, e), rest[20:]
	}
	return all, nil
}

func encodeTree(all []entry) []byte {
	slices.SortFunc(all, func(a, b entry) int { return cmp.Compare(a.key(), b.key()) })
	var out bytes.Buffer
	for _, e := range all {
		fmt.Fprintf(&out, "%o %s\x00", uint32(e.mode), e.name)
		out.Write(e.id[:])
	}
	return out.Bytes()
}

// commit returns a commit of changes on top of the tree.
func (t *Tree) commit(changes map[string][]byte, c Commit) (made, error) {
	var m made
	root, err := t.change(&m, t.root, changes, 0)
	if err != nil {
		return m, err
	}
	if root.IsZero() {
		empty := newObject(plumbing.TreeObject, nil)
		m.objects, root = append(m.objects, empty), empty.id
	}
	var text bytes.Buffer
	fmt.Fprintf(&text, "tree %s\n", root)
	if !t.head.IsZero() {
		fmt.Fprintf(&text, "parent %s\n", t.head)
	}
	who := fmt.Sprintf("%s <%s> %d +0000", strings.Map(plain, c.Author), strings.Map(plain, c.Email), c.At.Unix())
	fmt.Fprintf(&text, "author %s\ncommitter %s\n\n%s\n", who, who, strings.TrimRight(c.Message, "\n"))
	o := newObject(plumbing.CommitObject, text.Bytes())
	m.id, m.objects = o.id, append(m.objects, o)
	return m, nil
}

// plain removes what has a meaning in the line of an author.
func plain(r rune) rune {
	if r < ' ' || r == '<' || r == '>' || r == 0x7f {
		return -1
	}
	return r
}

// change returns the id of a tree with changes, whose paths begin at it; zero if nothing is left in it.
func (t *Tree) change(m *made, id plumbing.Hash, changes map[string][]byte, depth int) (plumbing.Hash, error) {
	if depth > maxDepth {
		return id, fail(TooLarge, nil, "a path has more than %d folders", maxDepth)
	}
	stored, err := t.list(id)
	if err != nil {
		return id, err
	}
	all := slices.Clone(stored)
	below := map[string]map[string][]byte{}
	for path, content := range changes {
		first, rest, deeper := strings.Cut(path, "/")
		if deeper {
			if below[first] == nil {
				below[first] = map[string][]byte{}
			}
			below[first][rest] = content
			continue
		}
		if content == nil {
			all = place(all, entry{name: first})
			continue
		}
		blob := newObject(plumbing.BlobObject, content)
		m.objects = append(m.objects, blob)
		all = place(all, entry{filemode.Regular, first, blob.id})
	}
	for folder, inner := range below {
		at := plumbing.ZeroHash
		if n := slices.IndexFunc(all, func(e entry) bool { return e.name == folder }); n >= 0 {
			if !all[n].isDir() {
				return id, fail(Invalid, nil, "%s is a file in the repository, not a folder", folder)
			}
			at = all[n].id
		}
		changed, err := t.change(m, at, inner, depth+1)
		if err != nil {
			return id, err
		}
		all = place(all, entry{filemode.Dir, folder, changed})
	}
	if len(all) == 0 {
		return plumbing.ZeroHash, nil
	}
	o := newObject(plumbing.TreeObject, encodeTree(all))
	m.objects = append(m.objects, o)
	return o.id, nil
}

// place puts a line into a tree, instead of one with its name; one with the id zero removes it.
func place(all []entry, e entry) []entry {
	all = slices.DeleteFunc(all, func(old entry) bool { return old.name == e.name })
	if e.id.IsZero() {
		return all
	}
	return append(all, e)
}
