package lifecycle

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// The functions of this file check one value each. The sentences of ECR are those of the validator of JSON schemas that it uses.

// quoted returns a list of texts as the validator writes it: ["a","b"].
func quoted(all ...string) string {
	list := make([]string, len(all))
	for i, s := range all {
		list[i] = strconv.Quote(name.Clip(s))
	}
	return "[" + strings.Join(list, ",") + "]"
}

// typed refuses a value of another type.
func (p *parser) typed(n node, kind string) error {
	if n.kind == kind {
		return nil
	}
	article := "a "
	if strings.ContainsRune("aio", rune(kind[0])) {
		article = "an "
	}
	return p.fail(n, fmt.Sprintf("instance type (%s) does not match any allowed primitive type (allowed: %s)", n.kind, quoted(kind)),
		"must be %s", article+kind)
}

// fields holds the members of an object by name.
type fields map[string]node

// has reports whether a member is present.
func (f fields) has(member string) bool { _, ok := f[member]; return ok }

// fields reads an object with the required and optional members, whose names are separated by spaces, and no others.
func (p *parser) fields(n node, required, optional string) (fields, error) {
	if err := p.typed(n, "object"); err != nil {
		return nil, err
	}
	known := strings.Fields(required + " " + optional)
	f := fields{}
	for _, m := range n.members {
		if !slices.Contains(known, m.key) {
			return nil, p.fail(m.value, "object instance has properties which are not allowed by the schema: "+quoted(m.key),
				"unknown member; the members here are %s", strings.Join(known, ", "))
		}
		f[m.key] = m.value
	}
	var missing []string
	for _, r := range strings.Fields(required) {
		if !f.has(r) {
			missing = append(missing, r)
		}
	}
	if slices.Sort(missing); len(missing) > 0 {
		return nil, p.fail(n, "object has missing required properties ("+quoted(missing...)+")",
			"%s is missing", strings.Join(missing, ", "))
	}
	return f, nil
}

// list reads an array of least to most elements.
func (p *parser) list(n node, least, most int) ([]node, error) {
	if err := p.typed(n, "array"); err != nil {
		return nil, err
	}
	switch count := len(n.elements); {
	case count < least:
		return nil, p.fail(n, fmt.Sprintf("array is too short: must have at least %d elements but instance has %d elements", least, count),
			"must have at least %d elements", least)
	case count > most:
		return nil, p.fail(n, fmt.Sprintf("array is too long: must have at most %d elements but instance has %d elements", most, count),
			"must have at most %d elements, this has %d", most, count)
	}
	return n.elements, nil
}

// string reads a string of least to most characters.
func (p *parser) string(n node, least, most int) (string, error) {
	if err := p.typed(n, "string"); err != nil {
		return "", err
	}
	switch length := utf8.RuneCountInString(n.text); {
	case length < least:
		return "", p.fail(n, fmt.Sprintf("string %q is too short (length: %d, required minimum: %d)", name.Clip(n.text), length, least),
			"must have at least %d characters", least)
	case length > most:
		return "", p.fail(n, fmt.Sprintf("string %q is too long (length: %d, maximum allowed: %d)", name.Clip(n.text), length, most),
			"must have at most %d characters, this has %d", most, length)
	}
	return n.text, nil
}

// enum returns the index of a string in values.
func (p *parser) enum(n node, values ...string) (int, error) {
	if err := p.typed(n, "string"); err != nil {
		return 0, err
	}
	if i := slices.Index(values, n.text); i >= 0 {
		return i, nil
	}
	return 0, p.fail(n, fmt.Sprintf("instance value (%q) not found in enum (possible values: %s)", name.Clip(n.text), quoted(values...)),
		"must be one of %s", strings.Join(values, ", "))
}

// integer reads an integer of at least least.
func (p *parser) integer(n node, least int) (int, error) {
	if err := p.typed(n, "integer"); err != nil {
		return 0, err
	}
	i, err := strconv.ParseInt(n.text, 10, 32)
	switch {
	case strings.HasPrefix(n.text, "-") || err == nil && i < int64(least):
		return 0, p.fail(n, fmt.Sprintf("numeric instance is lower than the required minimum (minimum: %d, found: %s)",
			least, name.Clip(n.text)), "must be %d or more", least)
	case err != nil:
		return 0, p.fail(n, notAPolicy, "must be %d or less", math.MaxInt32)
	}
	return int(i), nil
}
