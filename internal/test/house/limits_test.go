package house_test

import (
	"go/scanner"
	"go/token"
	"strings"
	"testing"
	"unicode/utf8"
)

// The limits of a file. docs/design/house-rules.md says them too, which TestHouseRulesPage checks.
const (
	maxLines    = 600 // what is longer has more than one job
	maxColumns  = 140 // a tab counts as one
	longLiteral = 100 // columns of a string literal that may make a line longer: it is not broken for its length
)

func TestFilesStaySmall(t *testing.T) {
	t.Parallel()
	walk(t, func(path string) {
		text := read(t, path)
		if generated(text) {
			return
		}
		if n := strings.Count(text, "\n"); n > maxLines {
			t.Errorf("%s: got %d lines, want at most %d", path, n, maxLines)
		}
		for i, line := range strings.Split(text, "\n") {
			if n := utf8.RuneCountInString(line); n > maxColumns && longestLiteral(text, i+1) < longLiteral {
				t.Errorf("%s:%d: got %d columns, want at most %d", path, i+1, n, maxColumns)
			}
		}
	})
}

// generated tells whether a program has written the file.
func generated(text string) bool {
	first, _, _ := strings.Cut(text, "\n")
	return strings.HasPrefix(first, "// Code generated ")
}

// longestLiteral is how many columns the longest string literal has that stands on a line, counted on that line.
func longestLiteral(text string, line int) (columns int) {
	fset := token.NewFileSet()
	file := fset.AddFile("", -1, len(text))
	var s scanner.Scanner
	s.Init(file, []byte(text), nil, 0)
	for {
		pos, tok, literal := s.Scan()
		if tok == token.EOF {
			return columns
		}
		first := file.Line(pos)
		if first > line {
			return columns
		}
		if tok == token.STRING {
			if parts := strings.Split(literal, "\n"); line-first < len(parts) {
				columns = max(columns, utf8.RuneCountInString(parts[line-first]))
			}
		}
	}
}
