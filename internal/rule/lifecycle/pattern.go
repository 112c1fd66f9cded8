package lifecycle

import "strings"

// Pattern matches tags by wildcards. The zero value matches the empty text only.
type Pattern struct {
	Text   string // as written
	Prefix bool   // Text is a prefix, in which * is a plain character
	pieces []string
}

// wildcard returns the pattern of a text in which * is any run of characters, also none.
func wildcard(text string) Pattern { return Pattern{Text: text, pieces: strings.Split(text, "*")} }

// prefixPattern returns the pattern of the tags that begin with a text, in which * is a plain character.
func prefixPattern(text string) Pattern {
	return Pattern{Text: text, Prefix: true, pieces: []string{text, ""}}
}

// prefix returns the text with which every match begins.
func (p Pattern) prefix() string {
	if len(p.pieces) == 0 {
		return ""
	}
	return p.pieces[0]
}

// Match reports whether the pattern matches the whole of s. Each piece between two * is searched once, leftmost, so that the
// work is linear in the length of s for a piece.
func (p Pattern) Match(s string) bool {
	last := len(p.pieces) - 1
	if last < 1 {
		return s == p.prefix()
	}
	s, ok := strings.CutPrefix(s, p.pieces[0])
	if !ok {
		return false
	}
	for _, piece := range p.pieces[1:last] {
		i := strings.Index(s, piece)
		if i < 0 {
			return false
		}
		s = s[i+len(piece):]
	}
	return strings.HasSuffix(s, p.pieces[last])
}
