package event

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// The limits of a pattern. With them and those of documents, no pattern takes longer than a fraction of a second for any
// document; docs/design/events.md has figures.
const (
	// maxPattern is the maximum length of a pattern, in characters. Source: EventBridge, quota "Event pattern size", 2,048,
	// which can be raised; 4,096 is the length that its API accepts.
	maxPattern = 4096
	// maxCombinations is the maximum number of patterns without $or that a pattern stands for. Matching does not expand
	// them, but a pattern with more is a mistake.
	maxCombinations = 1000
)

// Pattern is an event pattern: it selects events by their members. Source: EventBridge user guide, event patterns. A Pattern
// does not change, and is safe for concurrent use.
type Pattern struct {
	text string
	root group
}

// group is the pattern of an object. It matches an object for which all its fields match, and one alternative of each $or.
type group struct {
	fields []field
	ors    [][]group
}

// field is the pattern of one member: below if the member is an object, otherwise leaf.
type field struct {
	name  string
	below *group
	leaf  leaf
}

// leaf is the pattern of a member that is not an object. It matches if one of its tests matches one value of the member, or
// if absent is true and the member has no value.
type leaf struct {
	absent bool
	texts  map[string]bool
	tests  []test
}

// test reports whether a value, which is not an array or object, is selected.
type test func(n *node) bool

// envelopeKinds are the members of every event.
var envelopeKinds = map[string]kind{
	"version": isText, "id": isText, "detail-type": isText, "source": isText, "account": isText, "time": isText, "region": isText,
	"resources": isList, "detail": isObject,
}

// ParsePattern reads an event pattern.
//
// It accepts what EventBridge accepts, except patterns that cannot match an event: with another member at the top than
// events have, with a number where events have a text, and with the name of an operator as the name of a member.
//
// Errors: fault.InvalidParameter, with a *[Problem] as its cause.
func ParsePattern(s string) (*Pattern, error) {
	p, err := parsePattern(s)
	if err != nil {
		return nil, fault.InvalidParameter.New("the event pattern is not valid: %v", err).Because(err)
	}
	return p, nil
}

func parsePattern(s string) (*Pattern, error) {
	if n := utf8.RuneCountInString(s); n > maxPattern {
		return nil, problem("", "it has %d characters, at most %d are permitted: use wildcard or prefix in place of many values", n, maxPattern)
	}
	n, err := readNode(s)
	if err != nil {
		return nil, err
	}
	if n.kind != isObject {
		return nil, problem("", `it is %s: write an object, such as {"source": ["aws.ecr"]}`, n.kind)
	}
	root, err := readGroup(&n, "", true)
	if err != nil {
		return nil, err
	}
	if c := root.combinations(); c > maxCombinations {
		return nil, problem("", "its $or stand for more than %d combinations: write alternatives of one member as values of its array", maxCombinations)
	}
	return &Pattern{text: s, root: root}, nil
}

// String returns the pattern as it was written.
func (p *Pattern) String() string { return p.text }

// readGroup reads the pattern of an object. top is true for the event itself.
func readGroup(n *node, path string, top bool) (g group, err error) {
	if len(n.values) == 0 {
		if path == "" {
			return g, problem("", `it is empty: name a member, such as {"source": ["aws.ecr"]}`)
		}
		return g, problem(path, `the object is empty: name a member in it, or leave it out`)
	}
	for i, key := range n.names {
		at, v := memberPath(path, key), &n.values[i]
		if key == "$or" {
			or, err := readOr(v, at, top)
			if err != nil {
				return g, err
			}
			g.ors = append(g.ors, or)
			continue
		}
		f, err := readField(v, key, at, top)
		if err != nil {
			return g, err
		}
		g.fields = append(g.fields, f)
	}
	return g, nil
}

// readOr reads the value of a $or.
func readOr(n *node, path string, top bool) (or []group, err error) {
	if n.kind != isList || len(n.elements) < 2 {
		return nil, problem(path, `write an array of two or more objects, such as [{"source": ["ecrin"]}, {"detail-type": ["ECR Image Action"]}]`)
	}
	for i := range n.elements {
		e, at := &n.elements[i], elementPath(path, i)
		if e.kind != isObject {
			return nil, problem(at, `%s is %s: write an object, such as {"source": ["ecrin"]}`, e.source(), e.kind)
		}
		g, err := readGroup(e, at, top)
		if err != nil {
			return nil, err
		}
		or = append(or, g)
	}
	return or, nil
}

// readField reads the pattern of a member.
func readField(n *node, key, path string, top bool) (f field, err error) {
	f.name = key
	want, known := envelopeKinds[key]
	switch {
	case slices.Contains(operatorNames, key):
		return f, problem(path, `%s is an operator: write it within an array, as [{"%s": %s}]`, key, key, n.source())
	case top && !known:
		return f, problem(path, `an event has no such member: write one of version, id, detail-type, source, account, time, region, resources, `+
			`detail; what is in the detail goes below it, as {"detail": {"image-tag": ["1.0"]}}`)
	case n.kind == isObject && top && want != isObject:
		return f, problem(path, `the member is not an object: write an array of values, as ["text"]`)
	case n.kind == isObject:
		below, err := readGroup(n, path, false)
		f.below = &below
		return f, err
	case top && want == isObject:
		return f, problem(path, `the member is an object: write its members, as {"detail": {"image-tag": ["1.0"]}}`)
	case n.kind != isList:
		return f, problem(path, `%s is %s: write it within an array, as [%s]`, n.source(), n.kind, n.source())
	}
	f.leaf, err = readLeaf(n, path, top)
	return f, err
}

// readLeaf reads the array of the values of a member. onlyTexts is true for members that always have texts.
func readLeaf(n *node, path string, onlyTexts bool) (l leaf, err error) {
	if len(n.elements) == 0 {
		return l, problem(path, `the array is empty and matches nothing: write a value, or [{"exists": false}] for an absent member`)
	}
	for i := range n.elements {
		v, at := &n.elements[i], elementPath(path, i)
		switch {
		case v.kind == isText:
			if l.texts == nil {
				l.texts = map[string]bool{}
			}
			l.texts[v.text] = true
			continue
		case v.kind == isObject:
			t, absent, err := readOperator(v, at, onlyTexts)
			if err != nil {
				return l, err
			}
			if l.absent = l.absent || absent; t != nil {
				l.tests = append(l.tests, t)
			}
			continue
		case v.kind == isList:
			return l, problem(at, "an array in an array: write all values in one array")
		case onlyTexts:
			return l, problem(at, `%s is %s, and the member is always a text: write "%s"`, v.source(), v.kind, strings.Trim(v.source(), `"`))
		}
		l.tests = append(l.tests, equals(v))
	}
	return l, nil
}

// combinations returns how many patterns without $or the group stands for, at most maxCombinations+1.
func (g *group) combinations() int {
	all := 1
	multiply := func(n int) { all = min(all*n, maxCombinations+1) }
	for _, f := range g.fields {
		if f.below != nil {
			multiply(f.below.combinations())
		}
	}
	for _, or := range g.ors {
		sum := 0
		for i := range or {
			sum = min(sum+or[i].combinations(), maxCombinations+1)
		}
		multiply(sum)
	}
	return all
}

// Document is a JSON text that patterns are matched with: an encoded event. It is safe for concurrent use.
type Document struct{ root node }

// ReadDocument reads an encoded event. It accepts any object of at most 256 KB, 32 levels and 4,096 values, so that patterns
// can be tried with examples.
//
// Errors: fault.InvalidParameter, for texts that are not such an object.
func ReadDocument(s []byte) (Document, error) {
	if len(s) > maxDocument {
		return Document{}, fault.InvalidParameter.New("the event has %d bytes, at most %d are permitted", len(s), maxDocument)
	}
	n, err := readNode(string(s))
	if err != nil {
		return Document{}, fault.InvalidParameter.New("the event is not valid: %v", err).Because(err)
	}
	if n.kind != isObject {
		return Document{}, fault.InvalidParameter.New("the event is %s: write an object, not %s", n.kind, name.Clip(string(s)))
	}
	return Document{n}, nil
}

// Match reports whether the pattern selects the event. Each part of the pattern is compared at most once with each value of
// the event.
func (p *Pattern) Match(d Document) bool { return p.root.match(&d.root) }

// match reports whether the group matches an object; nil stands for an object without members.
func (g *group) match(n *node) bool {
	for i := range g.fields {
		f := &g.fields[i]
		v := n.member(f.name)
		if f.below != nil {
			if !f.below.matchBelow(v) {
				return false
			}
		} else if !f.leaf.match(v) {
			return false
		}
	}
	for _, or := range g.ors {
		if !slices.ContainsFunc(or, func(alternative group) bool { return alternative.match(n) }) {
			return false
		}
	}
	return true
}

// matchBelow reports whether the group matches the value of a member. Of an array, one element must match as a whole, so
// that two members are found in the same element. What is not an object has no members.
func (g *group) matchBelow(n *node) bool {
	switch {
	case n == nil:
	case n.kind == isObject:
		return g.match(n)
	case n.kind == isList && len(n.elements) > 0:
		for i := range n.elements {
			if g.matchBelow(&n.elements[i]) {
				return true
			}
		}
		return false
	}
	return g.match(nil)
}

// match reports whether the leaf matches the value of a member, nil if the event does not have it.
func (l *leaf) match(n *node) bool {
	matches, found := l.search(n)
	return matches || l.absent && !found
}

// search reports whether the leaf matches a value of n, and whether n has a value: itself or, of an array, its elements.
// Objects, empty arrays and nil have none.
func (l *leaf) search(n *node) (matches, found bool) {
	switch {
	case n == nil || n.kind == isObject:
		return false, false
	case n.kind != isList:
		return l.test(n), true
	}
	for i := range n.elements {
		m, f := l.search(&n.elements[i])
		if found = found || f; m {
			return true, true
		}
	}
	return false, found
}

func (l *leaf) test(n *node) bool {
	if n.kind == isText && l.texts[n.text] {
		return true
	}
	return slices.ContainsFunc(l.tests, func(t test) bool { return t(n) })
}
