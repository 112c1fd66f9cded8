package console

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/ecrin-dev/ecrin/internal/door/look"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// editor is a text with what is wrong in it.
type editor struct {
	Label    string
	Text     string
	Lines    []editorLine
	Problems []problem
	Errors   int
	ReadOnly bool
}

// editorLine is a line of the text as it is drawn behind the field, with the marked part.
type editorLine struct {
	Number              int
	Class               string
	Before, Mark, After string
}

// problem is an error or a warning; Line is 0 for one of the whole text.
type problem struct {
	Line, Column int
	Error        bool
	Text         string
}

// maxUnseen is how many lines with characters that are not seen an editor warns of.
const maxUnseen = 20

// newEditor returns a text with problems as an editor. It warns of characters that are not seen or turn the direction, so that nobody reads
// a text for another one.
func newEditor(label, text string, problems []problem) editor {
	lines := strings.Split(text, "\n")
	problems = append(problems, unseenIn(lines)...)
	e := editor{Label: label, Text: text, Problems: problems}
	for i, line := range lines {
		l := editorLine{Number: i + 1, Before: line}
		for _, p := range problems {
			if p.Line != i+1 || l.Class != "" {
				continue
			}
			if l.Class = "wrn"; p.Error {
				l.Class = "err"
			}
			at := []rune(line)
			if start := p.Column - 1; start >= 0 && start < len(at) {
				l.Before, l.Mark = string(at[:start]), string(at[start:])
			}
		}
		l.Before, l.Mark = visible(l.Before), visible(l.Mark)
		e.Lines = append(e.Lines, l)
	}
	for _, p := range problems {
		if p.Error {
			e.Errors++
		}
	}
	return e
}

// unseenIn returns a warning for each of the first lines with a character that is not seen.
func unseenIn(lines []string) (all []problem) {
	for i, line := range lines {
		at := strings.IndexFunc(line, look.Unseen)
		if at < 0 {
			continue
		}
		c, _ := utf8.DecodeRuneInString(line[at:])
		all = append(all, problem{Line: i + 1, Column: utf8.RuneCountInString(line[:at]) + 1,
			Text: fmt.Sprintf("U+%04X is not seen, or changes the direction of the text.", c)})
		if len(all) == maxUnseen {
			break
		}
	}
	return all
}

// checkPolicy returns what is wrong in a policy of a kind, and the policy if it is valid. registry is that of a repository policy.
func checkPolicy(text string, kind policy.Kind, registry name.Registry) (*policy.Document, []problem) {
	d, err := policy.Parse(text, kind)
	if err != nil {
		var p *policy.Problem
		if errors.As(err, &p) {
			where := p.Reason
			if p.Path != "" {
				where = p.Path + ": " + p.Reason
			}
			return nil, []problem{{Line: p.Line, Column: p.Column, Error: true, Text: where + "."}}
		}
		return nil, []problem{{Error: true, Text: publicText(err)}}
	}
	var all []problem
	for _, w := range policy.Warnings(d, registry) {
		if w.Code == policy.WarnToken {
			continue // grants write the action, because platforms check that a policy has it
		}
		line, column := placeOf(text, w.Path)
		all = append(all, problem{Line: line, Column: column, Text: w.Path + ": " + w.Text + "."})
	}
	return d, all
}

// placeOf returns the line and the column of an element of a JSON text, such as Statement[0].Action[1]; 0 if it is not found.
func placeOf(text, path string) (line, column int) {
	d := json.NewDecoder(strings.NewReader(text))
	at := seek(d, strings.FieldsFunc(path, func(r rune) bool { return r == '.' || r == '[' || r == ']' }))
	if at < 0 {
		return 0, 0
	}
	for at < int64(len(text)) && strings.ContainsRune(" \t\r\n:,", rune(text[at])) {
		at++
	}
	before := text[:at]
	start := strings.LastIndexByte(before, '\n') + 1
	return strings.Count(before, "\n") + 1, len([]rune(before[start:])) + 1
}

// seek reads up to an element, and returns the offset before it; -1 if there is none. An index into what is no array is the element itself.
func seek(d *json.Decoder, path []string) int64 {
	if len(path) == 0 {
		return d.InputOffset()
	}
	before := d.InputOffset()
	t, err := d.Token()
	if err != nil {
		return -1
	}
	switch t {
	case json.Delim('{'):
		if path[0] == "0" {
			return seekIn(d, path[1:])
		}
		return seekIn(d, path)
	case json.Delim('['):
		n := 0
		for _, c := range path[0] {
			if c < '0' || c > '9' {
				return -1
			}
			n = n*10 + int(c-'0')
		}
		for i := 0; d.More(); i++ {
			if i == n {
				return seek(d, path[1:])
			}
			if skip(d) != nil {
				return -1
			}
		}
		return -1
	}
	return before
}

// seekIn continues inside of an object.
func seekIn(d *json.Decoder, path []string) int64 {
	for d.More() {
		key, err := d.Token()
		if err != nil || len(path) == 0 {
			return -1
		}
		if key == path[0] {
			return seek(d, path[1:])
		}
		if skip(d) != nil {
			return -1
		}
	}
	return -1
}

func skip(d *json.Decoder) error {
	var all json.RawMessage
	return d.Decode(&all)
}

// indented returns a JSON text in lines; a text that is no JSON stays.
func indented(text string) string {
	var b bytes.Buffer
	if json.Indent(&b, []byte(text), "", "  ") != nil {
		return text
	}
	return b.String()
}

// diffLine is a line of a comparison: with + if it is new, with - if it goes, else with a space.
type diffLine struct{ Sign, Text string }

// diff compares texts by lines. Texts beyond 1,000 lines are compared as wholes.
func diff(before, after string) (all []diffLine) {
	a, b := strings.Split(before, "\n"), strings.Split(after, "\n")
	if before == "" {
		a = nil
	}
	if after == "" {
		b = nil
	}
	if len(a) > 1000 || len(b) > 1000 {
		for _, l := range a {
			all = append(all, diffLine{"-", l})
		}
		for _, l := range b {
			all = append(all, diffLine{"+", l})
		}
		return all
	}
	common := make([][]int, len(a)+1) // lengths of the longest common lines of the rests
	for i := range common {
		common[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if common[i][j] = max(common[i+1][j], common[i][j+1]); a[i] == b[j] {
				common[i][j] = common[i+1][j+1] + 1
			}
		}
	}
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			all = append(all, diffLine{" ", a[i]})
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && common[i+1][j] >= common[i][j+1]:
			all = append(all, diffLine{"-", a[i]})
			i++
		default:
			all = append(all, diffLine{"+", b[j]})
			j++
		}
	}
	return around(all, 3)
}

// around keeps the changed lines with some before and after them.
func around(all []diffLine, near int) (out []diffLine) {
	for i, l := range all {
		window := all[max(0, i-near):min(len(all), i+near+1)]
		if l.Sign != " " || slices.ContainsFunc(window, func(o diffLine) bool { return o.Sign != " " }) {
			out = append(out, l)
		}
	}
	return out
}
