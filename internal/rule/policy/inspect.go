package policy

import (
	"slices"
	"strings"
)

// Mentions reports whether a condition or a policy variable of the document uses a condition key. Keys are
// case-insensitive. A key that ends with a slash, such as aws:PrincipalTag/, stands for all keys that begin with it.
func (d *Document) Mentions(key string) bool {
	key = Fold(key)
	is := func(folded string) bool {
		return folded == key || strings.HasSuffix(key, "/") && strings.HasPrefix(folded, key)
	}
	for i := range d.Statements {
		s := &d.Statements[i]
		if slices.ContainsFunc(s.Resource.Of, func(p Pattern) bool { return p.names(is) }) {
			return true
		}
		for _, c := range s.Conditions {
			for _, k := range c.Keys {
				if is(k.Folded) || slices.ContainsFunc(k.Values, func(v Value) bool { return v.Pattern.names(is) }) {
					return true
				}
			}
		}
	}
	return false
}

// variables returns the condition keys that policy variables of the document use, in lower case.
func (d *Document) variables() (all []string) {
	add := func(p Pattern) {
		for _, part := range p.Parts {
			if part.Kind == Variable {
				all = append(all, part.Text)
			}
		}
	}
	for i := range d.Statements {
		s := &d.Statements[i]
		for _, p := range s.Resource.Of {
			add(p)
		}
		for _, c := range s.Conditions {
			for _, k := range c.Keys {
				for _, v := range k.Values {
					add(v.Pattern)
				}
			}
		}
	}
	return all
}

// names reports whether is returns true for the key of a variable of the pattern.
func (p Pattern) names(is func(folded string) bool) bool {
	return slices.ContainsFunc(p.Parts, func(part Part) bool { return part.Kind == Variable && is(part.Text) })
}

// With returns a copy of the document in which the text of each principal is the text that rename returns for it, which
// may be the old text. [Document.String] shows the new texts; all other fields of the principals remain. The copy
// shares all other elements with the document.
func (d *Document) With(rename func(Principal) string) *Document {
	out := *d
	out.Statements = slices.Clone(d.Statements)
	for i := range out.Statements {
		groups := slices.Clone(out.Statements[i].Principal.Groups)
		for g := range groups {
			groups[g].Of = slices.Clone(groups[g].Of)
			for k := range groups[g].Of {
				groups[g].Of[k].Text = rename(groups[g].Of[k])
			}
		}
		out.Statements[i].Principal.Groups = groups
	}
	return &out
}

// Conditional reports whether the policy depends on more of a request than caller, action and resource: whether a
// statement has conditions or policy variables.
func (c *Compiled) Conditional() bool {
	return slices.ContainsFunc(c.statements, func(s statement) bool {
		return len(s.tests) > 0 || slices.ContainsFunc(s.resources, func(g arnGlob) bool {
			return slices.ContainsFunc(g.parts, func(part glob) bool { return part.variables })
		})
	})
}
