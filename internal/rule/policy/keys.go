package policy

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// Keys returns the condition keys that the document uses, in conditions and in policy variables, each once, as first
// written and in the order of the text.
func (d *Document) Keys() []string {
	var all []string
	seen := map[string]bool{}
	add := func(key string) {
		if folded := Fold(key); !seen[folded] {
			seen[folded] = true
			all = append(all, key)
		}
	}
	for i := range d.Statements {
		s := &d.Statements[i]
		for _, p := range s.Resource.Of {
			p.variables(add)
		}
		for _, c := range s.Conditions {
			for _, k := range c.Keys {
				add(k.Key)
				for _, v := range k.Values {
					v.Pattern.variables(add)
				}
			}
		}
	}
	return all
}

// Keys returns the condition keys that the policies use, each once, in lower case and sorted.
func (p *Policies) Keys() []string {
	seen := map[string]bool{}
	add := func(c *Compiled) {
		if c != nil && c.Document != nil {
			for _, key := range c.Document.Keys() {
				seen[Fold(key)] = true
			}
		}
	}
	sets := slices.Concat(p.RCP, p.SCP, [][]Named{p.Grants, p.Identity, p.Boundary, p.Session})
	for _, set := range sets {
		for _, n := range set {
			add(n.Policy)
		}
	}
	for _, c := range []*Compiled{p.Repository, p.Registry, p.Trust} {
		add(c)
	}
	return slices.Sorted(maps.Keys(seen))
}

// variables calls each with the key of every variable of the pattern, as written; Parts has the keys in lower case.
func (p Pattern) variables(each func(key string)) {
	rest := p.Text
	for _, part := range p.Parts {
		if part.Kind != Variable {
			continue
		}
		for {
			_, after, found := strings.Cut(rest, "${")
			if !found {
				return
			}
			inner, after, _ := cutVariable(after)
			rest = after
			if key, _, _ := strings.Cut(inner, ","); equalFold(key, part.Text) {
				each(key)
				break
			}
		}
	}
}

// Reads reports whether the test can compare with the given text: a decimal number, a date or seconds since 1970, true
// or false, base64, or an address, as the test requires. A test on texts can compare with every text.
func (t Test) Reads(text string) bool {
	f := families[t]
	v := Value{Text: text}
	return f == exactText || f == wildText || f != 0 && v.read(f) == ""
}

// ParseResource reads a resource policy of any service, as [ParseLimit] reads a repository policy: principals are
// required, and Resource may be absent. It is for policy simulations; only policies of ECR are stored.
//
// Errors: fault.InvalidParameter, with a [*Problem] as its cause.
func ParseResource(text string, limit int) (*Document, error) {
	p := parser{text: text, kind: Repository, rules: rules{name: "resource-based", principal: required, resource: optional}, limit: limit}
	d, err := p.document()
	if err != nil {
		return nil, fault.InvalidParameter.New("the %s policy cannot be read: %s", p.rules.name, err).Because(err)
	}
	return d, nil
}

// Span is the place of a statement in its text: of its first and of its last character.
type Span struct{ From, To Place }

// Place is a line and a column, both from 1; the column is in characters.
type Place struct{ Line, Column int }

// Spans returns the places of the statements of a policy in their order, or nil for a text that is not a policy.
func Spans(text string) []Span {
	p := parser{text: text, limit: len(text) + 1}
	root, err := p.tree()
	if err != nil {
		return nil
	}
	statement, ok := root.get("Statement")
	if !ok {
		return nil
	}
	var all []Span
	nodes, _ := statement.list()
	for _, n := range nodes {
		var raw json.RawMessage
		if json.NewDecoder(strings.NewReader(text[n.at:])).Decode(&raw) != nil {
			return nil
		}
		all = append(all, Span{placeOf(text, n.at), placeOf(text, n.at+len(raw)-1)})
	}
	return all
}

// placeOf returns the place of the byte at an offset.
func placeOf(text string, at int) Place {
	before := text[:at]
	line := before[strings.LastIndexByte(before, '\n')+1:]
	return Place{Line: strings.Count(before, "\n") + 1, Column: utf8.RuneCountInString(line) + 1}
}
