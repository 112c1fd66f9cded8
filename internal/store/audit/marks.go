package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
)

// mark is a property of lines by which a search finds them without reading the others.
type mark int

const (
	refused mark = iota // lines that Query.OnlyDenied can select
	changed             // lines that Query.OnlyChanges can select
	marksOfFile
)

// maxMarks is how many lines of a file are marked. With more, a search that wants them reads the file, in which it finds many.
const maxMarks = 4096

// marks says where the marked lines of a file are. A line of a search has its mark; not each line with a mark is one of the search.
type marks struct {
	size int64 // the bytes of the file that were looked at, from its begin
	of   [marksOfFile]offsets
}

// offsets are where the lines with one mark begin, in order.
type offsets struct {
	Many bool    `json:"many"` // there are too many, and none is known
	At   []int64 `json:"at"`
}

// add looks at the whole lines that follow those that were looked at.
func (m *marks) add(text []byte) {
	for line := range bytes.Lines(text) {
		for k := range m.of {
			if of := &m.of[k]; !of.Many && marked(line, mark(k)) {
				if of.At = append(of.At, m.size); len(of.At) > maxMarks {
					*of = offsets{Many: true}
				}
			}
		}
		m.size += int64(len(line))
	}
}

// cut takes back the lines behind a size, to which the file was truncated.
func (m *marks) cut(size int64) {
	if m.size <= size {
		return
	}
	m.size = size
	for k := range m.of {
		at := m.of[k].At
		n, _ := slices.BinarySearch(at, size)
		m.of[k].At = slices.Clone(at[:n])
	}
}

// marked reports whether a line has a mark.
func marked(line []byte, k mark) bool {
	if k == changed {
		return bytes.Contains(line, []byte(`"readOnly":false`))
	}
	if bytes.Contains(line, []byte(`"eventName":"`+CountedTogether+`"`)) {
		return true
	}
	if !bytes.Contains(line, []byte(`"errorCode":`)) {
		return false
	}
	code, ok := member(line, "errorCode")
	return ok && denials[strings.TrimPrefix(strings.Trim(string(code), `"`), "Client.")]
}

// mark returns the mark that all lines of a query have; ok is false if there is none.
func (q *Query) mark() (k mark, ok bool) {
	switch {
	case q.OnlyDenied:
		return refused, true
	case q.OnlyChanges:
		return changed, true
	}
	return 0, false
}

// marksEnding is the end of the name of the file that has the marks of a file of the trail which is complete.
const marksEnding = ".marks"

// keptMarks is the content of such a file.
type keptMarks struct {
	Size    int64   `json:"size"` // of the file of the trail
	Refused offsets `json:"refused"`
	Changed offsets `json:"changed"`
}

// keep stores the marks of a file. They can be made again, so that an error changes nothing.
func (m *marks) keep(path string) {
	text, err := json.Marshal(keptMarks{m.size, m.of[refused], m.of[changed]})
	if err == nil {
		err = os.WriteFile(path+marksEnding, text, 0o600)
	}
	if err != nil {
		_ = os.Remove(path + marksEnding)
	}
}

// parseMarks reads kept marks of a file with a size. ok is false if the text is none, or of another size.
func parseMarks(text []byte, size int64) (m marks, ok bool) {
	var k keptMarks
	if json.Unmarshal(text, &k) != nil || k.Size != size || size <= 0 {
		return marks{}, false
	}
	m = marks{size: size, of: [marksOfFile]offsets{k.Refused, k.Changed}}
	for _, of := range m.of {
		before := int64(-1)
		for _, at := range of.At {
			if at <= before || at >= size || of.Many {
				return marks{}, false
			}
			before = at
		}
		if len(of.At) > maxMarks {
			return marks{}, false
		}
	}
	return m, true
}

// marksOf returns the marks of a file of a snapshot: those that are known, that are kept, or else made by reading it.
func (l *Log) marksOf(ctx context.Context, f file) (marks, error) {
	if f.marks.size == f.size {
		return f.marks, nil
	}
	m, ok := marks{}, false
	if text, err := os.ReadFile(f.path + marksEnding); err == nil {
		m, ok = parseMarks(text, f.size)
	}
	if !ok {
		in, err := os.Open(f.path)
		if err != nil {
			return m, err
		}
		defer in.Close()
		if err := blocks(ctx, in, 0, f.size, false, func(_ int64, block []byte) bool {
			m.add(block)
			return true
		}); err != nil {
			return m, err
		}
	}
	if err := l.take(ctx); err != nil {
		return m, err
	}
	defer l.give()
	for i, own := range l.files {
		if own.number == f.number && own.size == f.size && own.marks.size != f.size {
			if own.marks = m; !ok && i < len(l.files)-1 {
				m.keep(own.path)
			}
		}
	}
	return m, nil
}

// marked calls each with the marked lines between two offsets, one at a time as blocks does. done is false if the marks are not known.
func (l *Log) marked(ctx context.Context, f file, k mark, lo, hi int64, backward bool, each func(at int64, block []byte) bool) (
	done bool, err error) {
	m, err := l.marksOf(ctx, f)
	if errors.Is(err, os.ErrNotExist) {
		return true, nil // it was deleted meanwhile
	}
	if err != nil || m.of[k].Many {
		return false, err
	}
	at := m.of[k].At
	first, _ := slices.BinarySearch(at, lo)
	last, _ := slices.BinarySearch(at, hi)
	at = at[first:last]
	if len(at) == 0 {
		return true, nil
	}
	in, err := os.Open(f.path)
	if errors.Is(err, os.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer in.Close()
	for i := range at {
		if backward {
			i = len(at) - 1 - i
		}
		if err := ctx.Err(); err != nil {
			return true, context.Cause(ctx)
		}
		line, err := lineAt(in, at[i], hi)
		if err != nil {
			return true, err
		}
		if !each(at[i], line) {
			break
		}
	}
	return true, nil
}

// lineAt reads the line that begins at an offset, with its newline, up to the end of the file.
func lineAt(in *os.File, at, end int64) ([]byte, error) {
	for most := int64(4 << 10); ; most = min(4*most, blockBytes) {
		line := make([]byte, min(most, end-at))
		if _, err := in.ReadAt(line, at); err != nil {
			return nil, err
		}
		if i := bytes.IndexByte(line, '\n'); i >= 0 {
			return line[:i+1], nil
		}
		if int64(len(line)) == end-at || most == blockBytes {
			return line, nil
		}
	}
}
