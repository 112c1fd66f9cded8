package policy

import (
	"iter"
	"slices"
	"strconv"
)

// Classes sorts the values that a condition key can have into classes: the policies decide alike about all values of one
// class. So a decision about thousands of values needs one value of each class. A Classes is for one request, and not safe
// for concurrent use.
type Classes struct {
	tests []*test // of the key
	keys  *Context
	meter meter
}

// maxClassWork is the maximum work of sorting values, in the steps of a decision. After that, each value is a class of its
// own.
const maxClassWork = 16 * maxWork

// ClassesOf returns the classes of the values of a condition key, for requests whose other keys are those of c. It returns
// nil if a policy variable uses the key, or one of dependent, the keys whose values follow from its value: then each value can
// be a class of its own.
func ClassesOf(p *Policies, key string, c *Context, dependent ...string) *Classes {
	out := &Classes{keys: c, meter: meter{keys: c, left: maxClassWork}}
	key = Fold(key)
	keys := []string{key}
	for _, k := range dependent {
		keys = append(keys, Fold(k))
	}
	for policy := range p.all() {
		if slices.ContainsFunc(policy.variables, func(k string) bool { return slices.Contains(keys, k) }) {
			return nil
		}
		for i := range policy.statements {
			tests := policy.statements[i].tests
			for k := range tests {
				if tests[k].key == key && !tests[k].null {
					out.tests = append(out.tests, &tests[k])
				}
			}
		}
	}
	return out
}

// Of returns the class of a value: an arbitrary text.
func (c *Classes) Of(value string) string {
	own := "value " + value
	if value == "" || c.meter.exceeded() { // operators for sets treat the empty text as absent
		return own
	}
	class := make([]byte, 0, 16)
	for _, t := range c.tests {
		one := contextValue{item: &item{one: value}}
		class = strconv.AppendBool(class, t.matchesAny(&one, &c.meter))
	}
	if c.meter.exceeded() {
		return own
	}
	return string(class)
}

// ID returns a text that is the same for all Classes that sort all values alike: it contains the conditions on the key, with
// the values of the policy variables in them.
func (c *Classes) ID() string {
	var id []byte
	add := func(s string) {
		id = append(strconv.AppendInt(id, int64(len(s)), 10), ':')
		id = append(id, s...)
	}
	for _, t := range c.tests {
		add(t.operator.Text)
		id = append(strconv.AppendInt(id, int64(len(t.values)), 10), ' ')
		for i := range t.values {
			v := &t.values[i]
			if t.family != exactText && t.family != wildText {
				add(v.Text)
				continue
			}
			id = append(strconv.AppendInt(id, int64(len(v.Pattern.Parts)), 10), ' ')
			for k := range v.Pattern.Parts {
				part := &v.Pattern.Parts[k]
				text, known := part.value(c.keys)
				id = append(id, 'a'+byte(part.Kind))
				id = strconv.AppendBool(id, known)
				add(text)
			}
		}
	}
	return string(id)
}

// Mentions reports whether a policy uses a condition key, in conditions or in policy variables.
func (p *Policies) Mentions(key string) bool {
	key = Fold(key)
	reads := func(t test) bool { return t.key == key }
	for c := range p.all() {
		if slices.Contains(c.variables, key) ||
			slices.ContainsFunc(c.statements, func(s statement) bool { return slices.ContainsFunc(s.tests, reads) }) {
			return true
		}
	}
	return false
}

// all returns an iterator over all policies.
func (p *Policies) all() iter.Seq[*Compiled] {
	return func(yield func(*Compiled) bool) {
		for _, c := range []*Compiled{p.Repository, p.Registry, p.Trust} {
			if c != nil && !yield(c) {
				return
			}
		}
		for _, of := range slices.Concat(p.RCP, p.SCP, [][]Named{p.Grants, p.Identity, p.Boundary, p.Session}) {
			for i := range of {
				if of[i].Policy != nil && !yield(of[i].Policy) {
					return
				}
			}
		}
	}
}
