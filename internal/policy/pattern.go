package policy

import (
	"strings"

	"github.com/ecrin-dev/ecrin/internal/name"
)

// Pattern is a text that may hold wildcards and policy variables, cut into parts so that matching need not read it again.
type Pattern struct {
	Text  string // as written
	Parts []Part
}

// PartKind tells the parts of a [Pattern] apart. Its zero value is a literal.
type PartKind uint8

const (
	Literal  PartKind = iota // Text stands for itself
	AnyOne                   // ? stands for one character
	AnyRun                   // * stands for any characters, also none
	Variable                 // ${Text}, or ${Text, 'Default'}; no wildcard in its value counts as one
)

// Part is a piece of a [Pattern].
type Part struct {
	Kind       PartKind
	Text       string // of a Literal: the characters; of a Variable: the condition key, lower-cased
	Default    string // of a Variable, for a request without the key
	HasDefault bool
}

// wildcards cuts a text at * and ?; it knows no variables.
func wildcards(s string) Pattern {
	var c cutter
	c.text(s, true)
	return Pattern{Text: s, Parts: c.parts}
}

// pattern cuts a node's text at its variables, if the language has them, and at wildcards if they count there.
func (p *parser) pattern(n node, wild bool) (Pattern, error) {
	var c cutter
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
			return Pattern{}, p.fail(n, "%q is no policy variable", "${"+name.Clip(inner)+"}")
		}
		c.add(part)
		rest = after
	}
	c.text(rest, wild)
	return Pattern{Text: n.text, Parts: c.parts}, nil
}

// cutVariable splits at the brace that closes a variable: the first that is not within the quotes of a default value.
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

// readVariable reads what stands between ${ and }. Three variables stand for characters that have a meaning of their own.
// Source: IAM user guide, variables and tags.
func readVariable(s string) (Part, bool) {
	if s == "*" || s == "?" || s == "$" {
		return Part{Kind: Literal, Text: s}, true
	}
	key, fallback, has := strings.Cut(s, ",")
	v := Part{Kind: Variable, Text: strings.ToLower(key), HasDefault: has}
	if has {
		fallback = strings.TrimLeft(fallback, " ")
		if len(fallback) < 2 || fallback[0] != '\'' || fallback[len(fallback)-1] != '\'' {
			return v, false
		}
		v.Default = fallback[1 : len(fallback)-1]
	}
	return v, conditionKey(key) && !strings.ContainsAny(key+v.Default, "${}'")
}

// splitARN splits at the first five colons that stand outside of variables.
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

// cutter gathers parts; it joins literals that touch, and runs of *.
type cutter struct{ parts []Part }

func (c *cutter) add(p Part) {
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

func (c *cutter) text(s string, wild bool) {
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
