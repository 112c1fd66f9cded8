package policy

import "strings"

// String returns the document in the form of ECR: elements in a fixed order, two blanks for each level of objects,
// blanks around colons, arrays on one line. Values keep their order, and each remains a single value or an array, as
// written. Parse of the result returns an equal document.
//
// An empty Id, Sid or Condition has no effect and is left out. An absent Version remains absent. Source: ECR API
// reference, SetRepositoryPolicy, sample response.
func (d *Document) String() string {
	var w writer
	w.object(func() {
		w.optional("Version", string(d.Version))
		w.optional("Id", d.ID)
		w.key("Statement")
		w.list(!d.Single, len(d.Statements), func(i int) { w.statement(&d.Statements[i]) })
	})
	return w.String()
}

// writer writes JSON. Each key of an object begins a line; arrays do not increase the indent.
type writer struct {
	strings.Builder
	level int
	first bool // no key of the object has been written
}

func (w *writer) statement(s *Statement) {
	w.object(func() {
		w.optional("Sid", s.Sid)
		w.key("Effect")
		w.quote(string(s.Effect))
		if len(s.Principal.Groups) > 0 {
			w.key(not(s.Principal.Not) + "Principal")
			w.principals(s.Principal)
		}
		w.patterns("Action", s.Action)
		w.patterns("Resource", s.Resource)
		if len(s.Conditions) > 0 {
			w.key("Condition")
			w.conditions(s.Conditions)
		}
	})
}

func not(opposite bool) string {
	if opposite {
		return "Not"
	}
	return ""
}

func (w *writer) principals(p Principals) {
	if p.Bare {
		w.quote("*")
		return
	}
	w.object(func() {
		for _, g := range p.Groups {
			w.key(g.Type)
			w.list(g.List, len(g.Of), func(i int) { w.quote(g.Of[i].Text) })
		}
	})
}

func (w *writer) patterns(element string, p Patterns) {
	if len(p.Of) == 0 {
		return
	}
	w.key(not(p.Not) + element)
	w.list(p.List, len(p.Of), func(i int) { w.quote(p.Of[i].Text) })
}

func (w *writer) conditions(all []Condition) {
	w.object(func() {
		for _, c := range all {
			w.key(c.Operator.Text)
			w.object(func() {
				for _, k := range c.Keys {
					w.key(k.Key)
					w.list(k.List, len(k.Values), func(i int) {
						if v := k.Values[i]; v.Form == Quoted {
							w.quote(v.Text)
						} else {
							w.WriteString(v.Text)
						}
					})
				}
			})
		}
	})
}

// object writes braces around the output of body. An object without keys is "{ }".
func (w *writer) object(body func()) {
	w.WriteByte('{')
	w.level++
	w.first = true
	body()
	w.level--
	if w.first {
		w.WriteString(" }")
	} else {
		w.line()
		w.WriteByte('}')
	}
	w.first = false
}

func (w *writer) line() {
	w.WriteByte('\n')
	for range w.level {
		w.WriteString("  ")
	}
}

func (w *writer) key(k string) {
	if !w.first {
		w.WriteByte(',')
	}
	w.first = false
	w.line()
	w.quote(k)
	w.WriteString(" : ")
}

func (w *writer) optional(k, value string) {
	if value != "" {
		w.key(k)
		w.quote(value)
	}
}

// list writes n values as an array, or a single value without brackets. An array without values is "[ ]".
func (w *writer) list(isArray bool, n int, value func(i int)) {
	if !isArray {
		value(0)
		return
	}
	w.WriteByte('[')
	for i := range n {
		if i > 0 {
			w.WriteByte(',')
		}
		w.WriteByte(' ')
		value(i)
	}
	w.WriteString(" ]")
}

// quote writes a string with the minimum of escapes that JSON requires; encoding/json escapes more characters.
func (w *writer) quote(s string) {
	const hex = "0123456789ABCDEF"
	w.WriteByte('"')
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			w.WriteByte('\\')
			w.WriteRune(c)
		case c >= ' ':
			w.WriteRune(c)
		default:
			if i := strings.IndexRune("\b\t\n\f\r", c); i >= 0 {
				w.WriteByte('\\')
				w.WriteByte("btnfr"[i])
				continue
			}
			w.WriteString(`\u00`)
			w.WriteByte(hex[c>>4])
			w.WriteByte(hex[c&15])
		}
	}
	w.WriteByte('"')
}
