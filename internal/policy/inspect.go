package policy

import (
	"slices"
	"strings"
)

// Mentions tells whether a condition or a policy variable of the document names a condition key. Keys have no case; one
// that ends with a slash, such as aws:PrincipalTag/, stands for all that begin with it.
func (d *Document) Mentions(key string) bool {
	key = strings.ToLower(key)
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

// names tells whether a variable of the pattern has a key that is wanted.
func (p Pattern) names(is func(folded string) bool) bool {
	return slices.ContainsFunc(p.Parts, func(part Part) bool { return part.Kind == Variable && is(part.Text) })
}

// With copies the document and gives each principal another text: what rename answers, which may be the old one. The
// text is what [Document.String] shows; what the principal is remains as it was read. The copy shares all else.
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

// Conditional tells whether what the policy says depends on more of a request than caller, action and resource: whether
// a statement has conditions or policy variables.
func (c *Compiled) Conditional() bool {
	return slices.ContainsFunc(c.statements, func(s statement) bool {
		return len(s.tests) > 0 || slices.ContainsFunc(s.resources, func(g arnGlob) bool {
			return slices.ContainsFunc(g.parts, func(part glob) bool { return part.variables })
		})
	})
}
