package policy

import (
	"cmp"
	"net/netip"
	"strconv"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/semver"
)

// test is a compiled condition operator with one key.
type test struct {
	key      string // lower-cased
	over     Over
	ifExists bool
	null     bool
	negate   bool // no value of the policy may match the value of the request
	family   family
	arn      bool
	order    order
	values   []Value
	globs    []textGlob // of the families exactText and wildText; same index as values
	arns     []arnGlob  // of the tests for ARNs
	source   *ConditionKey
	operator *Operator
}

// order is the required relation of a number or a time to the value of the policy.
type order uint8

const (
	equal order = iota
	less
	lessEqual
	greater
	greaterEqual
)

func (o order) holds(compared int) bool {
	switch o {
	case less:
		return compared < 0
	case lessEqual:
		return compared <= 0
	case greater:
		return compared > 0
	case greaterEqual:
		return compared >= 0
	}
	return compared == 0
}

// traits are the differences between the tests of one family.
type traits struct {
	negate, fold, arn bool
	order             order
}

var testTraits = map[Test]traits{
	StringNotEquals: {negate: true}, StringNotLike: {negate: true},
	StringEqualsIgnoreCase: {fold: true}, StringNotEqualsIgnoreCase: {fold: true, negate: true},
	NumericNotEquals: {negate: true}, DateNotEquals: {negate: true}, NotIPAddress: {negate: true},
	NumericLessThan: {order: less}, DateLessThan: {order: less},
	NumericLessThanEquals: {order: lessEqual}, DateLessThanEquals: {order: lessEqual},
	NumericGreaterThan: {order: greater}, DateGreaterThan: {order: greater},
	NumericGreaterThanEquals: {order: greaterEqual}, DateGreaterThanEquals: {order: greaterEqual},
	ArnEquals: {arn: true}, ArnLike: {arn: true},
	ArnNotEquals: {arn: true, negate: true}, ArnNotLike: {arn: true, negate: true},
}

func newTest(op *Operator, k *ConditionKey) test {
	is := testTraits[op.Test]
	t := test{
		key: k.Folded, over: op.Over, ifExists: op.IfExists, null: op.Test == Null, negate: is.negate, arn: is.arn,
		family: families[op.Test], order: is.order, values: k.Values, source: k, operator: op,
	}
	for _, v := range k.Values {
		switch {
		case is.arn:
			t.arns = append(t.arns, newARNGlob(v.Pattern.Parts))
		case t.family == exactText || t.family == wildText:
			t.globs = append(t.globs, textGlob{newGlob(v.Pattern.Parts, is.fold), partitionsOf(v.Pattern.Parts, is.fold)})
		}
	}
	return t
}

// holds reports whether the condition holds for the request.
//
// If the request does not have the key, IfExists and ForAllValues hold, ForAnyValue does not, and other operators hold
// if they negate. For a key with a list of values only an operator with a set prefix can hold. A value of the policy
// with a variable that has no value equals nothing, so that an operator that negates holds.
// Source: IAM user guide, condition operators, set operators, single-valued and multivalued keys, policy variables.
func (t *test) holds(m *meter) bool {
	g, ok := m.keys.find(t.key)
	if t.null {
		for i := range t.values {
			if t.values[i].Truth != ok {
				return true
			}
		}
		return false
	}
	switch {
	case !ok && t.ifExists:
		return true
	case !ok && t.over == OneValue:
		return t.negate
	case !ok || t.over != OneValue && g.empty():
		return t.over == AllValues
	case g.item == nil || g.item.list == nil:
		return t.holdsFor(&g, m)
	case t.over == OneValue:
		return false
	}
	for i := range g.item.list {
		value := contextValue{item: &item{one: g.item.list[i]}}
		if holds := t.holdsFor(&value, m); holds != (t.over == AllValues) {
			return holds
		}
	}
	return t.over == AllValues
}

// requires reports whether the condition holds only for requests in which the key has a value that matches one of the
// values of the policy.
func (t *test) requires(key string) bool {
	return t.key == key && !t.negate && !t.null && !t.ifExists && t.over != AllValues
}

// empty reports whether the only value is the empty text, which set operators treat as absent.
func (g *contextValue) empty() bool { return g.item != nil && g.item.list == nil && g.item.one == "" }

// holdsFor reports whether the condition holds for a single value.
func (t *test) holdsFor(g *contextValue, m *meter) bool { return t.matchesAny(g, m) != t.negate }

// matchesAny reports whether a single value matches one of the values of the policy.
func (t *test) matchesAny(g *contextValue, m *meter) bool {
	if !m.take(len(t.values)) {
		return false
	}
	if t.arn || t.family == exactText || t.family == wildText {
		return t.matchesPattern(g.text(), m)
	}
	for i := range t.values {
		if t.matchTyped(g, &t.values[i]) {
			return true
		}
	}
	return false
}

func (t *test) matchesPattern(s string, m *meter) bool {
	for i := range t.values {
		var o outcome
		if t.arn {
			o = t.arns[i].match(s, m)
		} else {
			o = t.globs[i].match(s, m)
		}
		if o == matches {
			return true
		}
	}
	return false
}

// matchTyped reports whether a single value matches a value of a family without patterns.
func (t *test) matchTyped(g *contextValue, v *Value) bool {
	switch t.family {
	case numeric:
		n, ok := g.number()
		return ok && t.order.holds(cmp.Compare(n, v.Number))
	case date:
		when, ok := g.time()
		return ok && t.order.holds(when.Compare(v.Time))
	case address:
		from, ok := g.address()
		return ok && v.Prefix.Contains(from)
	case version:
		key := semver.Key(g.text())
		return key != "" && v.Range.Contains(key)
	case binary:
		return g.text() == v.Text // the base64 is canonical, so that equal bytes have equal texts
	}
	s := g.text()
	return equalFold(strconv.FormatBool(v.Truth), s)
}

// number returns the value as a number. It excludes the forms that ParseFloat accepts besides decimal numbers.
func (g *contextValue) number() (float64, bool) {
	if g.item == nil {
		return float64(g.when.Unix()), !g.when.IsZero()
	}
	s := g.item.one
	if s == "" || len(s) > 64 {
		return 0, false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && c != '.' && c != '-' && c != '+' && c != 'e' && c != 'E' {
			return 0, false
		}
	}
	n, err := strconv.ParseFloat(s, 64)
	return n, err == nil
}

func (g *contextValue) time() (time.Time, bool) {
	if g.item == nil {
		return g.when, !g.when.IsZero()
	}
	return readDate(g.item.one)
}

func (g *contextValue) address() (netip.Addr, bool) {
	if g.item == nil {
		return g.from, g.from.IsValid()
	}
	a, err := netip.ParseAddr(g.item.one)
	return a.Unmap(), err == nil
}
