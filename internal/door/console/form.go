package console

import (
	"net/url"
	"slices"
	"strings"
)

// field is a field of a form.
type field struct {
	Name, Label, Value string
	Kind               string // "" for a line of text; secret, area, select, check, radio or ticks
	Help, Placeholder  string
	Options            []option // of select, radio and ticks
	Required           bool
	Plain              bool // words of people, in the face of the page
}

// option is one of the values of a field.
type option struct {
	Value, Text string
	On          bool
}

// fieldset is a part of a form.
type fieldset struct {
	Legend, Help string
	Fields       []field
}

// filled returns the parts of a form with the values of a form that was sent, except secrets: those are typed again.
func filled(all []fieldset, sent url.Values) []fieldset {
	if sent == nil {
		return all
	}
	for _, set := range all {
		for i := range set.Fields {
			f := &set.Fields[i]
			switch {
			case f.Kind == "secret":
			case f.Options != nil:
				for j := range f.Options {
					f.Options[j].On = slices.Contains(sent[f.Name], f.Options[j].Value)
				}
			default:
				f.Value = sent.Get(f.Name)
			}
		}
	}
	return all
}

// value returns a value of the form that was sent, without blanks around it.
func (x *request) value(name string) string { return strings.TrimSpace(x.form.Get(name)) }

// yes returns whether a box was ticked; nil if not.
func (x *request) yes(name string) *bool {
	if x.form.Get(name) == "" {
		return nil
	}
	return some(true)
}

// choices returns options of names, in their order, with one chosen; before them comes none, unless its text is "".
func choices(none, chosen string, names ...string) (all []option) {
	if none != "" {
		all = append(all, option{Text: none, On: chosen == ""})
	}
	for _, n := range names {
		all = append(all, option{Value: n, Text: n, On: n == chosen})
	}
	return all
}
