package policy

import (
	"strings"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Pattern is a text with wildcards and policy variables, split into parts.
type Pattern struct {
	Text  string // as written
	Parts []Part
}

// PartKind is the kind of a [Part]. The zero value is a literal.
type PartKind uint8

const (
	Literal  PartKind = iota // matches Text itself
	AnyOne                   // ? matches one character
	AnyRun                   // * matches any number of characters, also none
	Variable                 // ${Text}, or ${Text, 'Default'}; wildcards in its value are plain characters
)

// Part is a piece of a [Pattern].
type Part struct {
	Kind       PartKind
	Text       string // of a Literal: the characters; of a Variable: the condition key in lower case
	Default    string // of a Variable, for a request without the key
	HasDefault bool
}

// wildcards splits a text at * and ?. It does not recognize variables.
func wildcards(s string) Pattern {
	var c partList
	c.text(s, true)
	return Pattern{Text: s, Parts: c.parts}
}

// pattern splits the text of a node at its variables, if the version of the language has them, and at its wildcards, if
// wild is true.
func (p *parser) pattern(n node, wild bool) (Pattern, error) {
	var c partList
	rest := n.text
	for p.lang == Version2012 {
		before, after, found := strings.Cut(rest, "${")
		if !found {
			break
		}
		inner, after, found := cutVariable(after)
		if !found {
			return Pattern{}, p.fail(n, "a policy variable of %q has no closing brace", name.Clip(n.text))
		}
		c.text(before, wild)
		part, ok := readVariable(inner)
		if !ok {
			return Pattern{}, p.fail(n, "%q is not a policy variable", "${"+name.Clip(inner)+"}")
		}
		c.add(part)
		rest = after
	}
	c.text(rest, wild)
	return Pattern{Text: n.text, Parts: c.parts}, p.bound(n, c.parts)
}

// bound refuses patterns that a request could take too much work to match with.
func (p *parser) bound(n node, parts []Part) error {
	g := newGlob(parts, false)
	if p.stored || g.plain {
		return nil
	}
	if len(n.text) > maxPattern {
		return p.fail(n, "a text with wildcards or policy variables has at most %d bytes, this one has %d", maxPattern, len(n.text))
	}
	if p.work += g.worst(); p.work > maxDocumentWork {
		return p.fail(n, "the wildcards of the policy up to here would take too much work to match: use fewer ? between two *")
	}
	return nil
}

// cutVariable cuts s at the brace that closes a variable: the first brace outside the quotes of a default value.
func cutVariable(s string) (inner, after string, found bool) {
	quoted := false
	for i := range len(s) {
		switch {
		case s[i] == '\'':
			quoted = !quoted
		case s[i] == '}' && !quoted:
			return s[:i], s[i+1:], true
		}
	}
	return "", "", false
}

// readVariable reads the text between ${ and }. The variables ${*}, ${?} and ${$} stand for the plain characters.
// Source: IAM user guide, variables and tags.
func readVariable(s string) (Part, bool) {
	if s == "*" || s == "?" || s == "$" {
		return Part{Kind: Literal, Text: s}, true
	}
	key, fallback, has := strings.Cut(s, ",")
	v := Part{Kind: Variable, Text: Fold(key), HasDefault: has}
	if has {
		fallback = strings.TrimLeft(fallback, " ")
		if len(fallback) < 2 || fallback[0] != '\'' || fallback[len(fallback)-1] != '\'' {
			return v, false
		}
		v.Default = fallback[1 : len(fallback)-1]
	}
	return v, conditionKey(key, false) && !strings.ContainsAny(key+v.Default, "${}'")
}

// splitARN splits at the first five colons outside of variables.
func splitARN(s string) []string {
	var parts []string
	start := 0
	for i := 0; i < len(s) && len(parts) < 5; i++ {
		if strings.HasPrefix(s[i:], "${") {
			if inner, _, ok := cutVariable(s[i+2:]); ok {
				i += len("${") + len(inner)
			}
		} else if s[i] == ':' {
			parts = append(parts, s[start:i])
			start = i + 1
		}
	}
	return append(parts, s[start:])
}

// partList collects parts. It joins adjacent literals, and adjacent runs of *.
type partList struct{ parts []Part }

func (c *partList) add(p Part) {
	if n := len(c.parts); n > 0 && c.parts[n-1].Kind == p.Kind {
		switch p.Kind {
		case Literal:
			c.parts[n-1].Text += p.Text
			return
		case AnyRun:
			return
		}
	}
	c.parts = append(c.parts, p)
}

func (c *partList) text(s string, wild bool) {
	for s != "" {
		cut := len(s)
		if wild {
			if i := strings.IndexAny(s, "*?"); i >= 0 {
				cut = i
			}
		}
		if cut > 0 {
			c.add(Part{Kind: Literal, Text: s[:cut]})
			s = s[cut:]
			continue
		}
		if s[0] == '*' {
			c.add(Part{Kind: AnyRun})
		} else {
			c.add(Part{Kind: AnyOne})
		}
		s = s[1:]
	}
}
