package policy

import (
	"encoding/base64"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/semver"
	"github.com/ecrin-dev/ecrin/internal/word/lazyregexp"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Condition is one operator of a statement's Condition element with the keys that it tests. All keys must pass the
// test.
type Condition struct {
	Operator Operator
	Keys     []ConditionKey // may be empty: such a condition always holds
}

// ConditionKey is a condition key and the values that it is compared with. One of the values must match; with an
// operator that negates, none of them may match.
type ConditionKey struct {
	Key    string // as written
	Folded string // in lower case: condition keys are case-insensitive, and so are names of tags in them
	List   bool   // written as an array
	Values []Value
}

// Operator is a condition operator, such as ForAllValues:StringLikeIfExists.
type Operator struct {
	Text     string // as written
	Over     Over
	Test     Test
	IfExists bool
}

// Over is how an operator treats a key with several values. The zero value is for keys with one value.
type Over uint8

const (
	OneValue  Over = iota
	AllValues      // ForAllValues: every value of the request must match
	AnyValue       // ForAnyValue: at least one must
)

// Test is the comparison of an operator, without set prefix and IfExists.
type Test string

// The tests. Source: IAM user guide, condition operators.
const (
	StringEquals              Test = "StringEquals"
	StringNotEquals           Test = "StringNotEquals"
	StringEqualsIgnoreCase    Test = "StringEqualsIgnoreCase"
	StringNotEqualsIgnoreCase Test = "StringNotEqualsIgnoreCase"
	StringLike                Test = "StringLike"
	StringNotLike             Test = "StringNotLike"
	NumericEquals             Test = "NumericEquals"
	NumericNotEquals          Test = "NumericNotEquals"
	NumericLessThan           Test = "NumericLessThan"
	NumericLessThanEquals     Test = "NumericLessThanEquals"
	NumericGreaterThan        Test = "NumericGreaterThan"
	NumericGreaterThanEquals  Test = "NumericGreaterThanEquals"
	DateEquals                Test = "DateEquals"
	DateNotEquals             Test = "DateNotEquals"
	DateLessThan              Test = "DateLessThan"
	DateLessThanEquals        Test = "DateLessThanEquals"
	DateGreaterThan           Test = "DateGreaterThan"
	DateGreaterThanEquals     Test = "DateGreaterThanEquals"
	Bool                      Test = "Bool"
	BinaryEquals              Test = "BinaryEquals"
	IPAddress                 Test = "IpAddress"
	NotIPAddress              Test = "NotIpAddress"
	ArnEquals                 Test = "ArnEquals"
	ArnLike                   Test = "ArnLike"
	ArnNotEquals              Test = "ArnNotEquals"
	ArnNotLike                Test = "ArnNotLike"
	Null                      Test = "Null"

	// VersionInRange is of ecrin, and for the policies of customers alone. A value of the request is a semantic version, with or without
	// a v before it, and those of the policy are ranges such as ">=1.2 <2".
	VersionInRange Test = "VersionInRange"
)

// family is the type of the values of a test.
type family uint8

const (
	exactText family = iota + 1 // text with variables, in which wildcards are plain characters
	wildText                    // text with variables and wildcards
	numeric
	date
	truth
	binary
	address
	version
)

// families holds every test. The tests for ARNs do the same with Equals as with Like.
var families = map[Test]family{
	StringEquals: exactText, StringNotEquals: exactText,
	StringEqualsIgnoreCase: exactText, StringNotEqualsIgnoreCase: exactText,
	StringLike: wildText, StringNotLike: wildText,
	NumericEquals: numeric, NumericNotEquals: numeric,
	NumericLessThan: numeric, NumericLessThanEquals: numeric, NumericGreaterThan: numeric, NumericGreaterThanEquals: numeric,
	DateEquals: date, DateNotEquals: date,
	DateLessThan: date, DateLessThanEquals: date, DateGreaterThan: date, DateGreaterThanEquals: date,
	Bool: truth, Null: truth,
	BinaryEquals: binary,
	IPAddress:    address, NotIPAddress: address,
	VersionInRange: version,
	ArnEquals:      wildText, ArnLike: wildText, ArnNotEquals: wildText, ArnNotLike: wildText,
}

// Form is how a value was written.
type Form uint8

const (
	Quoted      Form = iota // a JSON string
	BareNumber              // a JSON number
	BareBoolean             // true or false
)

// Value is a value of a condition key. Text and Form are as written; the test decides which of the other fields is set.
type Value struct {
	Text    string
	Form    Form
	Pattern Pattern      // String and Arn tests
	Number  float64      // Numeric tests
	Time    time.Time    // Date tests, UTC
	Truth   bool         // Bool and Null
	Binary  []byte       // BinaryEquals
	Prefix  netip.Prefix // IpAddress tests; a single address is a prefix of full length
	Range   semver.Range // VersionInRange
}

// conditions reads a Condition element. An element without operators has no effect and is read as absent.
func (p *parser) conditions(n node) ([]Condition, error) {
	if n.shape != object {
		return nil, p.fail(n, "must be an object, is %s", n.shape)
	}
	var all []Condition
	for _, m := range n.members {
		op, ok := readOperator(m.key)
		if families[op.Test] == version && !p.rules.versions {
			ok = false
		}
		if empty := m.value.shape == object && len(m.value.members) == 0; !ok && empty && p.rules.loose {
			op, ok = Operator{Text: m.key}, true // without keys no operator tests anything
		}
		if !ok {
			return nil, p.problem(m.at, n.path, "unknown condition operator %q", name.Clip(m.key))
		}
		if m.value.shape != object {
			return nil, p.fail(m.value, "must be an object, is %s", m.value.shape)
		}
		c := Condition{Operator: op}
		seen := map[string]bool{}
		for _, m := range m.value.members {
			folded := Fold(m.key)
			if p.kind == Trust && !p.stored && strings.Contains(m.key, "://") { // no request has such a key. Source: answers of IAM
				return nil, inWords(p.problem(m.at, m.value.path,
					"the keys of an identity provider begin with its URL without https://, got %q", name.Clip(m.key)),
					"Condition can contain only one colon.")
			}
			if !conditionKey(m.key, p.rules.loose) {
				return nil, p.problem(m.at, m.value.path, "%q is not a condition key", name.Clip(m.key))
			}
			if seen[folded] {
				return nil, p.problem(m.at, m.value.path, "the key %q appears twice, in another case", name.Clip(m.key))
			}
			seen[folded] = true
			k, err := p.conditionValues(m, families[op.Test])
			if err != nil {
				return nil, err
			}
			k.Folded = folded
			c.Keys = append(c.Keys, k)
		}
		all = append(all, c)
	}
	return all, nil
}

// readOperator splits an operator into its parts. Null has neither IfExists nor a set prefix.
func readOperator(s string) (Operator, bool) {
	op := Operator{Text: s}
	if rest, ok := strings.CutPrefix(s, "ForAllValues:"); ok {
		op.Over, s = AllValues, rest
	} else if rest, ok := strings.CutPrefix(s, "ForAnyValue:"); ok {
		op.Over, s = AnyValue, rest
	}
	s, op.IfExists = strings.CutSuffix(s, "IfExists")
	op.Test = Test(s)
	if op.Test == Null && op.Text != s {
		return op, false
	}
	return op, families[op.Test] != 0
}

var keyPattern = lazyregexp.New(`^[A-Za-z0-9][A-Za-z0-9._/-]*:[^\x00-\x20]+( +[^\x00-\x20]+)*$`)

var loosePattern = lazyregexp.New(`^[^\x00-\x20:]+( +[^\x00-\x20:]+)*$`)

// conditionKey reports whether s has the form of a condition key, such as aws:SourceIp or aws:ResourceTag/Cost Center.
// It does not check that the key exists: a request may have keys that ecrin does not know.
// A loose key is one that IAM accepts too: any printable text. No request has it if it has no colon.
func conditionKey(s string, loose bool) bool {
	return len(s) <= 512 && (keyPattern.MatchString(s) || loose && loosePattern.MatchString(s))
}

// conditionValues reads a value or an array of values. An empty array is allowed, as in IAM: no value of a request
// matches it.
func (p *parser) conditionValues(m member, f family) (ConditionKey, error) {
	all, list := m.value.list()
	k := ConditionKey{Key: m.key, List: list}
	for _, n := range all {
		v := Value{Text: n.text}
		switch n.shape {
		case text:
		case number:
			v.Form = BareNumber
		case boolean:
			v.Form = BareBoolean
		default:
			return k, p.fail(n, "must be a string, a number or a boolean, is %s", n.shape)
		}
		if f == exactText || f == wildText {
			var err error
			if v.Pattern, err = p.pattern(n, f == wildText); err != nil {
				return k, err
			}
		} else if want := v.read(f); want != "" {
			return k, p.fail(n, "must be %s, is %q", want, name.Clip(n.text))
		}
		k.Values = append(k.Values, v)
	}
	return k, nil
}

// read sets the field of a family without variables. It returns "", or a description of the valid values if v.Text is
// not one of them.
func (v *Value) read(f family) (want string) {
	ok := false
	switch f {
	case numeric:
		want = "a number"
		var err error
		v.Number, err = strconv.ParseFloat(v.Text, 64)
		ok = err == nil && numberPattern.MatchString(v.Text) && !math.IsInf(v.Number, 0)
	case date:
		want = "a date such as 2026-01-31T00:00:00Z, or seconds since 1970"
		v.Time, ok = readDate(v.Text)
	case truth:
		want = "true or false"
		v.Truth = equalFold(v.Text, "true")
		ok = v.Truth || equalFold(v.Text, "false")
	case binary:
		want = "base64"
		var err error
		v.Binary, err = base64.StdEncoding.Strict().DecodeString(v.Text)
		ok = err == nil
	case version:
		want = "a range of versions such as >=1.2 <2"
		var err error
		v.Range, err = semver.ParseRange(v.Text)
		ok = err == nil
	case address:
		want = "an IP address or a range such as 203.0.113.0/24"
		v.Prefix, ok = readPrefix(v.Text)
	}
	if ok {
		return ""
	}
	return want
}

// numberPattern excludes the forms that ParseFloat accepts besides decimal numbers.
var numberPattern = lazyregexp.New(`^[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)

// dateLayouts are the forms of ISO 8601 that IAM documents, from the most to the least precise. A time without a zone
// is in UTC.
// Source: W3C note on date and time formats.
var dateLayouts = []string{
	time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04Z07:00", "2006-01-02T15:04", "2006-01-02", "2006-01", "2006",
}

// maxSeconds is the last second of the year 9999, the last year that a date can express, in seconds since 1970.
const maxSeconds = 253402300799

// readDate reads a date or seconds since 1970. Four digits are read as a year.
func readDate(s string) (time.Time, bool) {
	for _, layout := range dateLayouts {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), true
		}
	}
	seconds, err := strconv.ParseInt(s, 10, 64)
	if err != nil || seconds < 0 || seconds > maxSeconds {
		return time.Time{}, false
	}
	return time.Unix(seconds, 0).UTC(), true
}

// readPrefix reads an address or a range. Bits beyond the length of a range are ignored. An IPv4 address in the form of
// IPv6 becomes an IPv4 address, which is the form of the addresses in requests.
func readPrefix(s string) (netip.Prefix, bool) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), a.Zone() == ""
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, false
	}
	if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	return p.Masked(), true
}
