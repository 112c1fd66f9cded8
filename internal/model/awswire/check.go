package awswire

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// Violation is an error: a member of a request that violates its constraint. It unwraps to fault.InvalidParameter.
type Violation struct {
	Member string // path of wire names, such as tags.1.member.Key; list positions start at 1
	Reason string // such as: Member must not be null
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
		return "Member must satisfy enum value set: [" + strings.Join(r.Enum, ", ") + "]"
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

// Checker records the first violation of a request. It is for generated code.
type Checker struct{ first *Violation }

// Err returns the first violation, or nil.
func (c *Checker) Err() error {
	if c.first == nil {
		return nil
	}
	return c.first
}

// Fail records a violation with the reason why, unless why is "" or a violation has been recorded before.
func (c *Checker) Fail(at, why string) {
	if why != "" && c.first == nil {
		c.first = &Violation{at, why}
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
	if c.first == nil {
		c.Fail(at, r.Broken(s))
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
	if c.first == nil {
		c.FailWithin(at, what, r.Broken(s))
	}
}

// FailWithin is like Fail for a value in a list or map. what is [Elements], [Keys] or [Values].
func (c *Checker) FailWithin(at, what, why string) {
	if why != "" {
		c.Fail(at, what+" must satisfy constraint: ["+why+"]")
	}
}

// Item returns the path of the i-th structure (from 0) of a list, with a dot at the end.
func Item(at string, i int) string { return at + "." + strconv.Itoa(i+1) + ".member." }

// Entry returns the path of the structure under a key of a map, with a dot at the end.
func Entry(at, key string) string { return at + "." + key + ".value." }

// SortedKeys returns the keys of a map in ascending order.
func SortedKeys[K ~string, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
