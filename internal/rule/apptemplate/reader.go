package apptemplate

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// The largest file that is read, and what is read of it: an alias stands for all that it names, each time.
const (
	MaxFile     = 1 << 20 // bytes
	maxVisits   = 100_000 // values
	maxDepth    = 32
	maxFindings = 200
)

// Severity says whether a file can be used in spite of a finding.
type Severity string

// The severities.
const (
	Error   Severity = "error"   // it cannot
	Warning Severity = "warning" // it can
)

// Finding is something about a file that its author should know.
type Finding struct {
	Severity     Severity
	Line, Column int    // from 1; 0 for the whole file
	Path         string // of the value, such as services[0].image
	Text         string
}

// Failed reports whether a finding is an error.
func Failed(all []Finding) bool {
	return slices.ContainsFunc(all, func(f Finding) bool { return f.Severity == Error })
}

// reader reads the values of one file, and notes what is wrong with them.
type reader struct {
	findings []Finding
	left     int // values that may still be read
	full     bool
}

// parse returns the value of a file, nil for none.
func (r *reader) parse(text []byte) *yaml.Node {
	r.left = maxVisits
	if len(text) > MaxFile {
		r.note(Error, nil, "", "the file has more than %d bytes", MaxFile)
		return nil
	}
	var n yaml.Node
	if err := yaml.Unmarshal(text, &n); err != nil {
		r.broken(err)
		return nil
	}
	if len(n.Content) == 0 {
		return nil
	}
	return n.Content[0]
}

// broken notes an error of the YAML parser, whose text has the line.
func (r *reader) broken(err error) {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 0
	if rest, ok := strings.CutPrefix(text, "line "); ok {
		if number, after, ok := strings.Cut(rest, ": "); ok {
			if n, err := strconv.Atoi(number); err == nil {
				line, text = n, after
			}
		}
	}
	r.findings = append(r.findings, Finding{Severity: Error, Line: line, Column: min(line, 1), Text: "it is no YAML: " + text})
}

// note adds a finding at a value.
func (r *reader) note(s Severity, at *yaml.Node, path, format string, args ...any) {
	if len(r.findings) >= maxFindings {
		if !r.full {
			r.full = true
			r.findings = append(r.findings, Finding{Severity: Error, Text: "there are more findings, which are not shown"})
		}
		return
	}
	f := Finding{Severity: s, Path: path, Text: fmt.Sprintf(format, args...)}
	if at != nil {
		f.Line, f.Column = at.Line, at.Column
	}
	r.findings = append(r.findings, f)
}

// value is a value with its place in the file.
type value struct {
	r     *reader
	node  *yaml.Node // nil for one that is absent
	path  string
	depth int
}

// at returns a value: what it stands for if it is an alias. A null is absent.
func (r *reader) at(n *yaml.Node, path string, depth int) value {
	v := value{r: r, path: path, depth: depth}
	for n != nil && n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	r.left--
	switch {
	case n == nil || n.Kind == yaml.ScalarNode && (n.Tag == "!!null" || n.Tag == "!reset"): // !reset is of compose
	case r.left == 0:
		r.note(Error, n, path, "aliases make the file larger than %d values", maxVisits)
	case r.left < 0:
	case depth > maxDepth:
		r.note(Error, n, path, "values are nested deeper than %d", maxDepth)
	default:
		v.node = n
	}
	return v
}

// there reports whether the value is in the file.
func (v value) there() bool { return v.node != nil }

func (v value) fail(format string, args ...any) { v.r.note(Error, v.node, v.path, format, args...) }
func (v value) warn(format string, args ...any) { v.r.note(Warning, v.node, v.path, format, args...) }

// kind describes the value for messages.
func (v value) kind() string {
	switch {
	case v.node == nil:
		return "nothing"
	case v.node.Kind == yaml.MappingNode:
		return "a mapping"
	case v.node.Kind == yaml.SequenceNode:
		return "a list"
	}
	return strconv.Quote(name.Clip(v.node.Value))
}

// mapping is a mapping with its keys in their order.
type mapping struct {
	value
	keys   []string
	fields map[string]value
	lines  map[string]*yaml.Node // the keys themselves
}

// mapping reads a mapping, with the keys of those that << merges into it. known are the keys that it may have; nil for any.
func (v value) mapping(known []string) mapping {
	m := mapping{value: v, fields: map[string]value{}, lines: map[string]*yaml.Node{}}
	if v.there() && v.node.Kind != yaml.MappingNode {
		v.fail("must be a mapping, got %s", v.kind())
		m.node = nil
	}
	if m.there() {
		m.add(m.node, known, v.depth+1, false)
	}
	return m
}

// add adds the keys of a mapping; those of merged ones count only where there are none yet.
func (m *mapping) add(n *yaml.Node, known []string, depth int, merged bool) {
	var later []*yaml.Node
	here := map[string]bool{}
	for i := 0; i+1 < len(n.Content) && m.r.left > 0; i += 2 {
		key := n.Content[i]
		if key.Tag == "!!merge" {
			later = append(later, n.Content[i+1])
			continue
		}
		if key.Kind != yaml.ScalarNode {
			m.r.note(Error, key, m.path, "a key must be a word")
			continue
		}
		if here[key.Value] && !merged {
			m.r.note(Error, key, m.below(key.Value), "the key is there twice")
			continue
		}
		here[key.Value] = true
		if _, ok := m.fields[key.Value]; ok {
			continue
		}
		if known != nil && !slices.Contains(known, key.Value) {
			m.unknown(key, known)
			continue
		}
		m.keys = append(m.keys, key.Value)
		m.lines[key.Value] = key
		m.fields[key.Value] = m.r.at(n.Content[i+1], m.below(key.Value), depth)
	}
	for _, n := range later {
		all := []*yaml.Node{n}
		if n.Kind == yaml.SequenceNode {
			all = n.Content
		}
		for _, one := range all {
			if v := m.r.at(one, m.below("<<"), depth+1); v.there() && v.node.Kind == yaml.MappingNode {
				m.add(v.node, known, depth+1, true)
			} else if v.there() {
				v.fail("<< merges mappings only")
			}
		}
	}
}

func (m *mapping) below(key string) string {
	return strings.TrimPrefix(m.path+"."+name.Clip(key), ".")
}

// unknown warns of a key that templates do not have.
func (m *mapping) unknown(key *yaml.Node, known []string) {
	text := "the key is not known, and does nothing"
	if like := similar(key.Value, known); like != "" {
		text += ": did you mean " + like + "?"
	}
	m.r.note(Warning, key, m.below(key.Value), "%s", text)
}

// similar returns the known word that differs least from a word, by case or two letters; "" for none.
func similar(word string, known []string) string {
	best, least := "", 3
	for _, k := range known {
		if strings.EqualFold(k, word) || strings.EqualFold(k, strings.ReplaceAll(word, "-", "_")) {
			return k
		}
		if d := name.Distance(strings.ToLower(word), k); d < least && d*2 < len(k) {
			best, least = k, d
		}
	}
	return best
}

// get returns the value of a key; one that is absent keeps the place of the mapping.
func (m mapping) get(key string) value {
	if v, ok := m.fields[key]; ok {
		return v
	}
	return value{r: m.r, path: m.below(key)}
}

// need returns the value of a key, and notes an error if it is absent.
func (m mapping) need(key, why string) value {
	v := m.get(key)
	if m.there() && !v.there() {
		at := m.node
		if k := m.lines[key]; k != nil {
			at = k
		}
		m.r.note(Error, at, m.below(key), "is missing%s", why)
	}
	return v
}

// list reads a list.
func (v value) list() []value {
	if !v.there() {
		return nil
	}
	if v.node.Kind != yaml.SequenceNode {
		v.fail("must be a list, got %s", v.kind())
		return nil
	}
	var all []value
	for i, n := range v.node.Content {
		if v.r.left <= 0 {
			break
		}
		all = append(all, v.r.at(n, fmt.Sprintf("%s[%d]", v.path, i), v.depth+1))
	}
	return all
}

// text reads a scalar as it is written; "" if it is absent.
func (v value) text() string {
	if !v.there() {
		return ""
	}
	if v.node.Kind != yaml.ScalarNode {
		v.fail("must be a text, got %s", v.kind())
		return ""
	}
	return v.node.Value
}

// flag reads true or false; false if it is absent.
func (v value) flag() bool {
	if !v.there() {
		return false
	}
	if v.node.Kind != yaml.ScalarNode || v.node.Tag != "!!bool" {
		v.fail("must be true or false, got %s", v.kind())
		return false
	}
	return strings.EqualFold(v.node.Value, "true")
}

// number reads a whole number between two others; 0 if it is absent.
func (v value) number(least, most int) int {
	if !v.there() {
		return 0
	}
	n, err := strconv.Atoi(v.node.Value)
	if v.node.Kind != yaml.ScalarNode || err != nil || n < least || n > most {
		v.fail("must be a number from %d to %d, got %s", least, most, v.kind())
		return 0
	}
	return n
}

// words reads a list of texts, or one text.
func (v value) words() []string {
	if !v.there() {
		return nil
	}
	if v.node.Kind == yaml.ScalarNode {
		all, err := Words(v.node.Value)
		if err != nil {
			v.fail("%v", err)
		}
		return all
	}
	return v.texts()
}

// texts reads a list of texts.
func (v value) texts() []string {
	var all []string
	for _, one := range v.list() {
		all = append(all, one.text())
	}
	return all
}
