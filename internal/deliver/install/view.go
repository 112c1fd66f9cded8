package install

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/deliver/rewrite"
)

const renderedFile = rewrite.RenderedDir + "/all.yaml"

// maxView is the size of the largest file that is shown.
const maxView = 64 << 20

// Files returns the paths of the files of a version, sorted.
func (h *History) Files(sequence int64) ([]string, error) {
	if _, err := h.Version(sequence); err != nil {
		return nil, err
	}
	var all []string
	err := fs.WalkDir(os.DirFS(h.folder(sequence)), ".", func(name string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			all = append(all, name)
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the version %d has no files yet: run ecrin update check", sequence)
	}
	slices.Sort(all)
	return all, err
}

// Read returns a file of a version.
//
// Errors: there is no such file, or it leads out of the folder.
func (h *History) Read(sequence int64, name string) ([]byte, error) {
	root, err := os.OpenRoot(h.folder(sequence))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the version %d has no files yet: run ecrin update check", sequence)
	}
	if err != nil {
		return nil, err
	}
	defer root.Close()
	info, err := root.Stat(path.Clean(name))
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.IsDir() {
		return nil, fmt.Errorf("the version %d has no file %s", sequence, printable(name))
	}
	if err == nil && info.Size() > maxView {
		return nil, fmt.Errorf("%s has more than %d bytes", printable(name), maxView)
	}
	if err != nil {
		return nil, err
	}
	return root.ReadFile(path.Clean(name))
}

// Diff returns the differences of the releases of two versions, in the form of diff -u: without what is about the customer. With rendered
// they are those of what is applied.
func (h *History) Diff(from, to int64, rendered bool) (string, error) {
	all, err := h.Changes(from, to, rendered)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	for _, c := range all {
		out.WriteString(c.String())
	}
	return out.String(), nil
}

// FileChange is what differs between a file of two versions.
type FileChange struct {
	Path      string
	New, Gone bool   // only the version after, or before, has the file
	Note      string // in place of hunks: why there are none
	Hunks     []Hunk
}

// Hunk is a part of a file that differs, with three lines around it.
type Hunk struct {
	OldLine, OldLines int // the first line, from 1, and how many there are
	NewLine, NewLines int
	Lines             []DiffLine
}

// DiffLine is a line of a hunk. Mark is '+' for a new one, '-' for one that goes, else ' '.
type DiffLine struct {
	Mark byte
	Text string
}

// String returns the change in the form of diff -u.
func (c FileChange) String() string {
	var out strings.Builder
	fmt.Fprintf(&out, "--- a/%s\n+++ b/%s\n", c.Path, c.Path)
	if c.Note != "" {
		out.WriteString(c.Note + "\n")
	}
	for _, k := range c.Hunks {
		fmt.Fprintf(&out, "@@ -%d,%d +%d,%d @@\n", k.OldLine, k.OldLines, k.NewLine, k.NewLines)
		for _, l := range k.Lines {
			out.WriteString(string(l.Mark) + l.Text + "\n")
		}
	}
	return out.String()
}

// Changes returns what Diff shows, by file.
func (h *History) Changes(from, to int64, rendered bool) ([]FileChange, error) {
	a, err := h.compared(from, rendered)
	if err != nil {
		return nil, err
	}
	b, err := h.compared(to, rendered)
	if err != nil {
		return nil, err
	}
	var names []string
	for n := range a {
		names = append(names, n)
	}
	for n := range b {
		if _, ok := a[n]; !ok {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	var all []FileChange
	for _, n := range names {
		if bytes.Equal(a[n], b[n]) {
			continue
		}
		c := FileChange{Path: n}
		_, before := a[n]
		_, after := b[n]
		c.New, c.Gone = !before, !after
		c.Hunks, c.Note = unified(a[n], b[n])
		all = append(all, c)
	}
	return all, nil
}

func (h *History) compared(sequence int64, rendered bool) (map[string][]byte, error) {
	all, err := h.Files(sequence)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for _, name := range all {
		if rendered != (name == renderedFile) || !rendered && (!strings.HasPrefix(name, rewrite.UpstreamDir+"/") ||
			strings.HasPrefix(name, rewrite.UserDir+"/")) {
			continue
		}
		if files[name], err = h.Read(sequence, name); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// maxCells limits the work of a comparison: the product of the numbers of lines that differ.
const maxCells = 16 << 20

// unified returns the differences of two texts, or why they are not shown.
func unified(a, b []byte) (all []Hunk, note string) {
	if bytes.IndexByte(a, 0) >= 0 || bytes.IndexByte(b, 0) >= 0 {
		return nil, "the files differ, and are no texts"
	}
	x, y := lines(a), lines(b)
	begin := 0
	for begin < len(x) && begin < len(y) && x[begin] == y[begin] {
		begin++
	}
	end := 0
	for end < len(x)-begin && end < len(y)-begin && x[len(x)-1-end] == y[len(y)-1-end] {
		end++
	}
	mx, my := x[begin:len(x)-end], y[begin:len(y)-end]
	if len(mx)*len(my) > maxCells {
		return nil, fmt.Sprintf("the files differ in %d and %d lines", len(mx), len(my))
	}
	var edits []DiffLine
	for _, l := range x[:begin] {
		edits = append(edits, DiffLine{' ', l})
	}
	common := longest(mx, my)
	p, q := 0, 0
	for p < len(mx) || q < len(my) {
		switch {
		case p < len(mx) && q < len(my) && mx[p] == my[q]:
			edits = append(edits, DiffLine{' ', mx[p]})
			p, q = p+1, q+1
		case p < len(mx) && (q == len(my) || common[p+1][q] >= common[p][q+1]):
			edits = append(edits, DiffLine{'-', mx[p]})
			p++
		default:
			edits = append(edits, DiffLine{'+', my[q]})
			q++
		}
	}
	for _, l := range x[len(x)-end:] {
		edits = append(edits, DiffLine{' ', l})
	}
	const around = 3
	oldLine, newLine := 1, 1
	for at := 0; at < len(edits); {
		next := slices.IndexFunc(edits[at:], func(e DiffLine) bool { return e.Mark != ' ' })
		if next < 0 {
			break
		}
		from := max(at, at+next-around)
		oldLine, newLine = oldLine+from-at, newLine+from-at
		to, same := from, 0
		for to < len(edits) && (same <= 2*around || to <= at+next) {
			if same++; edits[to].Mark != ' ' {
				same = 0
			}
			to++
		}
		if same > around {
			to -= same - around
		}
		olds, news := 0, 0
		for _, e := range edits[from:to] {
			if e.Mark != '+' {
				olds++
			}
			if e.Mark != '-' {
				news++
			}
		}
		all = append(all, Hunk{oldLine, olds, newLine, news, slices.Clone(edits[from:to])})
		oldLine, newLine, at = oldLine+olds, newLine+news, to
	}
	return all, ""
}

func lines(text []byte) []string {
	if len(text) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

// longest returns the lengths of the longest common subsequences of what is left of two lists from each pair of places.
func longest(x, y []string) [][]int32 {
	all := make([][]int32, len(x)+1)
	for p := range all {
		all[p] = make([]int32, len(y)+1)
	}
	for p := len(x) - 1; p >= 0; p-- {
		for q := len(y) - 1; q >= 0; q-- {
			if x[p] == y[q] {
				all[p][q] = all[p+1][q+1] + 1
			} else {
				all[p][q] = max(all[p+1][q], all[p][q+1])
			}
		}
	}
	return all
}
