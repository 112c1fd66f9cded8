package awswire

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Violation is an error: a member of a request that violates its constraint. It unwraps to fault.InvalidParameter.
type Violation struct {
	Member string // path of wire names, such as tags.1.member.Key; list positions start at 1
	Reason string // such as: Member must not be null
	// More holds the other violations of the request, at most maxViolations. The JSON protocol shows the first one alone.
	More []*Violation

	value *string     // nil for what is not one string
	rule  *StringRule // of a string in a list or map, whose whole constraint the query protocol shows
}

// maxViolations is how many violations of a request are recorded.
const maxViolations = 20

// Query returns the text of the query protocol for all violations, in the order of their members. values reports whether the
// text has the value of a member, which IAM leaves out and STS shows. Source: answers of IAM and STS.
func (v *Violation) Query(values func(member string) bool) string {
	all := append([]*Violation{v}, v.More...)
	slices.SortStableFunc(all, func(a, b *Violation) int { return strings.Compare(queryMember(a.Member), queryMember(b.Member)) })
	texts := make([]string, len(all))
	for i, v := range all {
		value := ""
		switch {
		case !values(v.Member):
		case v.Reason == notNull:
			value = "null "
		case v.value != nil:
			value = "'" + name.Clip(*v.value) + "' "
		}
		texts[i] = "Value " + value + "at '" + queryMember(v.Member) + "' failed to satisfy constraint: " + v.queryReason()
	}
	errors := "errors"
	if len(all) == 1 {
		errors = "error"
	}
	return fmt.Sprintf("%d validation %s detected: %s", len(all), errors, strings.Join(texts, "; "))
}

// queryMember returns a path in the spelling of the query protocol: the names begin with a small letter.
func queryMember(path string) string {
	parts := strings.Split(path, ".")
	for i, p := range parts {
		r, n := utf8.DecodeRuneInString(p)
		parts[i] = string(unicode.ToLower(r)) + p[n:]
	}
	return strings.Join(parts, ".")
}

func (v *Violation) queryReason() string {
	if v.rule != nil {
		what, _, _ := strings.Cut(v.Reason, " must satisfy constraint: ")
		return what + " must satisfy constraint: [" + strings.Join(v.rule.constraints(), ", ") + "]"
	}
	if text, ok := strings.CutPrefix(v.Reason, "must satisfy regular expression '"); ok {
		return "Member must satisfy regular expression pattern: " + strings.TrimSuffix(text, "'")
	}
	if strings.HasPrefix(v.Reason, enumReason) {
		return enumReason
	}
	return v.Reason
}

const enumReason = "Member must satisfy enum value set"

// constraints returns the texts of all constraints of the rule.
func (r *StringRule) constraints() []string {
	var all []string
	if r.Max > 0 {
		all = append(all, fmt.Sprintf("Member must have length less than or equal to %d", r.Max))
	}
	if r.Min > 0 || r.Max > 0 {
		all = append(all, fmt.Sprintf("Member must have length greater than or equal to %d", r.Min))
	}
	if r.Pattern != nil {
		all = append(all, "Member must satisfy regular expression pattern: "+r.Pattern.text)
	}
	if r.Enum != nil {
		all = append(all, enumReason+": ["+strings.Join(r.Enum, ", ")+"]")
	}
	return all
}

// Error returns the text of ECR for the violation.
func (v *Violation) Error() string {
	return "Invalid parameter at '" + v.Member + "' failed to satisfy constraint: '" + v.Reason + "'"
}

// Unwrap returns the violation as a coded error, so that fault.From finds code and text.
func (v *Violation) Unwrap() error { return fault.InvalidParameter.New("%s", v.Error()) }

const notNull = "Member must not be null"

// StringRule is the constraint of a string shape. The zero value accepts every string.
type StringRule struct {
	Min, Max int      // in characters; Max 0 means no limit
	Pattern  *Pattern // nil accepts everything
	Enum     []string // nil accepts everything
}

// IntRule is the constraint of a number shape. Both bounds are included.
type IntRule struct{ Min, Max int64 }

// SizeRule is the constraint of the size of a list or map (in elements) or of a blob (in bytes). Both bounds are
// included; Max 0 means no limit.
type SizeRule struct{ Min, Max int }

// Broken returns why s violates the rule, or "" if s satisfies it.
func (r *StringRule) Broken(s string) string {
	if r.Min > 0 || r.Max > 0 {
		n := len(s)
		if n >= r.Min { // with fewer bytes than Min there are fewer characters than Min
			n = utf8.RuneCountInString(s)
		}
		if why := (SizeRule{r.Min, r.Max}).Broken(n); why != "" {
			return why
		}
	}
	if r.Pattern != nil && !r.Pattern.Match(s) {
		return "must satisfy regular expression '" + r.Pattern.text + "'"
	}
	if r.Enum != nil && !slices.Contains(r.Enum, s) {
		return enumReason + ": [" + strings.Join(r.Enum, ", ") + "]"
	}
	return ""
}

// Broken returns why n violates the rule, or "" if n satisfies it.
func (r IntRule) Broken(n int64) string {
	switch {
	case n < r.Min:
		return fmt.Sprintf("Member must have value greater than or equal to %d", r.Min)
	case n > r.Max:
		return fmt.Sprintf("Member must have value less than or equal to %d", r.Max)
	}
	return ""
}

// Broken returns why the size n violates the rule, or "" if n satisfies it.
func (r SizeRule) Broken(n int) string {
	switch {
	case n < r.Min:
		return fmt.Sprintf("Member must have length greater than or equal to %d", r.Min)
	case r.Max > 0 && n > r.Max:
		return fmt.Sprintf("Member must have length less than or equal to %d", r.Max)
	}
	return ""
}

// Checker records the violations of a request. It is for generated code.
type Checker struct{ first *Violation }

// Err returns the first violation with the others as its More, or nil.
func (c *Checker) Err() error {
	if c.first == nil {
		return nil
	}
	return c.first
}

// Fail records a violation with the reason why, unless why is "".
func (c *Checker) Fail(at, why string) {
	if why != "" {
		c.record(&Violation{Member: at, Reason: why})
	}
}

// record records a violation, of a member the first one alone.
func (c *Checker) record(v *Violation) {
	switch {
	case c.first == nil:
		c.first = v
	case c.first.Member != v.Member && len(c.first.More) < maxViolations-1 &&
		!slices.ContainsFunc(c.first.More, func(other *Violation) bool { return other.Member == v.Member }):
		c.first.More = append(c.first.More, v)
	}
}

// Present records a violation if a required member is not present.
func (c *Checker) Present(at string, present bool) {
	if !present {
		c.Fail(at, notNull)
	}
}

// String checks a string that is present.
func (c *Checker) String(at, s string, r *StringRule) {
	if why := r.Broken(s); why != "" {
		c.record(&Violation{Member: at, Reason: why, value: &s})
	}
}

// Optional checks a string for which "" means absent.
func (c *Checker) Optional(at, s string, r *StringRule) {
	if s != "" {
		c.String(at, s, r)
	}
}

// Int checks a number that is present.
func (c *Checker) Int(at string, n int64, r IntRule) { c.Fail(at, r.Broken(n)) }

// Size checks the size of a list, map or blob that is present.
func (c *Checker) Size(at string, n int, r SizeRule) { c.Fail(at, r.Broken(n)) }

// The parts of lists and maps that [Checker.Within] checks. The texts of AWS for them have the constraint in brackets.
const (
	Elements = "Member"
	Keys     = "Map keys"
	Values   = "Map value"
)

// Within checks one string in a list or map. what is [Elements], [Keys] or [Values].
func (c *Checker) Within(at, what, s string, r *StringRule) {
	if why := r.Broken(s); why != "" {
		c.record(&Violation{Member: at, Reason: within(what, why), rule: r})
	}
}

// FailWithin is like Fail for a value in a list or map. what is [Elements], [Keys] or [Values].
func (c *Checker) FailWithin(at, what, why string) {
	if why != "" {
		c.Fail(at, within(what, why))
	}
}

func within(what, why string) string { return what + " must satisfy constraint: [" + why + "]" }

// Item returns the path of the i-th structure (from 0) of a list, with a dot at the end.
func Item(at string, i int) string { return at + "." + strconv.Itoa(i+1) + ".member." }

// Entry returns the path of the structure under a key of a map, with a dot at the end.
func Entry(at, key string) string { return at + "." + key + ".value." }

// SortedKeys returns the keys of a map in ascending order.
func SortedKeys[K ~string, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
