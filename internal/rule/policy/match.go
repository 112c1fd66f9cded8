package policy

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// glob is a [Pattern] split at its runs: a text matches when its first chunk is a prefix of the text, its last chunk is
// a suffix, and the other chunks follow one another between them. The leftmost match of a chunk is as good as any later
// match, so that the matcher never goes back: its time is at most proportional to the length of the text times the
// length of the pattern.
type glob struct {
	chunks    [][]Part // without AnyRun; one chunk when there is no run, empty ones for runs at the ends
	fold      bool     // case-insensitive, as [Fold]
	variables bool     // the pattern has policy variables
	any       bool     // the pattern is *
	plain     bool     // the pattern is one Literal, or empty
	text      string   // of a plain pattern
}

func newGlob(parts []Part, fold bool) glob {
	g := glob{fold: fold}
	start := 0
	for i, p := range parts {
		g.variables = g.variables || p.Kind == Variable
		if p.Kind == AnyRun {
			g.chunks = append(g.chunks, parts[start:i:i])
			start = i + 1
		}
	}
	g.chunks = append(g.chunks, parts[start:])
	g.any = len(parts) == 1 && parts[0].Kind == AnyRun
	g.plain = len(parts) == 0 || len(parts) == 1 && parts[0].Kind == Literal
	if g.plain && len(parts) == 1 {
		g.text = parts[0].Text
	}
	return g
}

// outcome is the result of matching a pattern. The zero value is no match.
type outcome uint8

const (
	differs outcome = iota
	matches
	unknown // a policy variable of the pattern has no value and no default
)

func (o outcome) String() string { return [...]string{"differs", "matches", "unknown"}[o] }

// match returns whether the pattern matches the whole of s.
func (g *glob) match(s string, m *meter) outcome {
	switch {
	case g.variables && !g.known(m.keys):
		return unknown
	case g.matchKnown(s, m):
		return matches
	}
	return differs
}

// known reports whether all variables of the pattern have values.
func (g *glob) known(c *Context) bool {
	for _, chunk := range g.chunks {
		for i := range chunk {
			if _, ok := chunk[i].value(c); !ok {
				return false
			}
		}
	}
	return true
}

// matchKnown reports whether a pattern whose variables all have values matches the whole of s.
func (g *glob) matchKnown(s string, m *meter) bool {
	switch { // most patterns have one of these forms
	case g.any:
		return true
	case g.plain && !g.fold:
		return s == g.text
	case g.plain:
		return equalFold(g.text, s)
	}
	if len(s) > maxValue {
		m.exceed()
		return false
	}
	first, rest := g.chunks[0], g.chunks[1:]
	n := g.prefix(first, s, m)
	if n < 0 {
		return false
	}
	s = s[n:]
	if len(rest) == 0 {
		return s == ""
	}
	last := len(rest) - 1
	for _, chunk := range rest[:last] {
		if n = g.find(chunk, s, m); n < 0 {
			return false
		}
		s = s[n:]
	}
	return g.suffix(rest[last], s, m)
}

// prefix returns the number of bytes at the start of s that the chunk matches, or -1.
func (g *glob) prefix(chunk []Part, s string, m *meter) int {
	at := 0
	for i := range chunk {
		if chunk[i].Kind == AnyOne {
			if at == len(s) || !m.compare(0) {
				return -1
			}
			_, size := utf8.DecodeRuneInString(s[at:])
			at += size
			continue
		}
		text, _ := chunk[i].value(m.keys)
		if !m.compare(len(text)) {
			return -1
		}
		n := prefixLen(text, s[at:], g.fold)
		if n < 0 {
			return -1
		}
		at += n
	}
	return at
}

// find returns the end of the leftmost match of the chunk in s, or -1.
func (g *glob) find(chunk []Part, s string, m *meter) int {
	for at := 0; ; {
		if len(chunk) > 0 && chunk[0].Kind != AnyOne && !g.fold {
			text, _ := chunk[0].value(m.keys)
			skip := strings.Index(s[at:], text)
			if skip < 0 {
				m.compare(len(s) - at)
				return -1
			}
			if !m.compare(skip) {
				return -1
			}
			at += skip
		}
		if n := g.prefix(chunk, s[at:], m); n >= 0 {
			return at + n
		}
		if at == len(s) || m.exceeded() {
			return -1
		}
		_, size := utf8.DecodeRuneInString(s[at:])
		at += size
	}
}

// suffix reports whether the chunk matches the end of s.
func (g *glob) suffix(chunk []Part, s string, m *meter) bool {
	if len(chunk) == 0 {
		return true
	}
	runes := 0
	for i := range chunk {
		if chunk[i].Kind == AnyOne {
			runes++
			continue
		}
		text, _ := chunk[i].value(m.keys)
		runes += utf8.RuneCountInString(text)
	}
	at := len(s)
	for range runes {
		if at == 0 {
			return false
		}
		_, size := utf8.DecodeLastRuneInString(s[:at])
		at -= size
	}
	return m.compare(runes) && g.prefix(chunk, s[at:], m) == len(s)-at
}

// value returns the text of a part that is a Literal or a Variable, and whether it has one. A variable whose key is
// absent or has several values has its default value, if there is one.
func (p *Part) value(c *Context) (string, bool) {
	if p.Kind != Variable {
		return p.Text, true
	}
	if s, ok := c.text(p.Text); ok {
		return s, true
	}
	return p.Default, p.HasDefault
}

// prefixLen returns the number of bytes at the start of s that equal text, or -1.
func prefixLen(text, s string, fold bool) int {
	if !fold {
		if strings.HasPrefix(s, text) {
			return len(text)
		}
		return -1
	}
	if len(s) < len(text) {
		return -1
	}
	for i := range len(text) {
		if text[i] != s[i] && foldByte(text[i]) != foldByte(s[i]) {
			return -1
		}
	}
	return len(text)
}

// arnParts is the number of parts of an ARN. The last part may contain colons.
const arnParts = 6

// arnGlob matches an ARN part by part, so that a wildcard in one part never matches characters of another part. Only if
// the pattern has fewer parts does its last part match the whole rest of the ARN: arn:aws:ecr:* matches every ARN of
// ECR.
// Source: IAM user guide, ARN condition operators, and policy element Resource.
type arnGlob struct {
	all        bool // the pattern is *
	parts      []glob
	partitions partitions
}

func newARNGlob(parts []Part) arnGlob {
	if len(parts) == 1 && parts[0].Kind == AnyRun {
		return arnGlob{all: true}
	}
	g := arnGlob{partitions: partitionsOf(parts, false)}
	var segment []Part
	for _, p := range parts {
		for p.Kind == Literal && len(g.parts) < arnParts-1 {
			before, after, found := strings.Cut(p.Text, ":")
			if !found {
				break
			}
			if before != "" {
				segment = append(segment, Part{Kind: Literal, Text: before})
			}
			g.parts = append(g.parts, newGlob(segment, false))
			segment, p.Text = nil, after
		}
		if p.Kind != Literal || p.Text != "" {
			segment = append(segment, p)
		}
	}
	g.parts = append(g.parts, newGlob(slices.Clip(segment), false))
	return g
}

// match returns whether the pattern matches the ARN, or one of the other ARNs that the same thing has.
func (g *arnGlob) match(arn string, m *meter) outcome {
	if g.all {
		return matches
	}
	o := g.matchText(arn, m)
	if o == differs {
		for other := range g.partitions.others(arn) {
			if o = g.matchText(other, m); o != differs {
				return o
			}
		}
	}
	return o
}

func (g *arnGlob) matchText(arn string, m *meter) outcome {
	last := len(g.parts) - 1
	for i := range g.parts[:last] {
		at := strings.IndexByte(arn, ':')
		if at < 0 {
			return differs
		}
		if o := g.parts[i].match(arn[:at], m); o != matches {
			return o
		}
		arn = arn[at+1:]
	}
	return g.parts[last].match(arn, m)
}
