package awswire

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/ecrin-dev/ecrin/internal/fault"
)

// Violation is one member of a request that breaks its constraint. It counts as fault.InvalidParameter.
type Violation struct {
	Member string // path with the names of the wire, such as tags.1.member.Key; list positions start at 1
	Reason string // such as: Member must not be null
}

// Error gives the text that ECR shows.
func (v *Violation) Error() string {
	return "Invalid parameter at '" + v.Member + "' failed to satisfy constraint: '" + v.Reason + "'"
}

// Unwrap gives the coded error, so that fault.From sees the meaning and the text.
func (v *Violation) Unwrap() error { return fault.InvalidParameter.New("%s", v.Error()) }

const notNull = "Member must not be null"

// StringRule is the constraint of one string shape. The zero rule accepts everything.
type StringRule struct {
	Min, Max int      // characters; Max 0 means no limit
	Pattern  *Pattern // nil accepts everything
	Enum     []string // nil accepts everything
}

// IntRule is the constraint of one number shape, both ends included.
type IntRule struct{ Min, Max int64 }

// SizeRule is the constraint of a list or map (elements) or a blob (bytes), both ends included; Max 0 means no limit.
type SizeRule struct{ Min, Max int }

// Broken says why s breaks the rule, or nothing.
func (r *StringRule) Broken(s string) string {
	if r.Min > 0 || r.Max > 0 {
		n := len(s)
		if n >= r.Min { // fewer bytes are fewer characters
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

// Broken says why n breaks the rule, or nothing.
func (r IntRule) Broken(n int64) string {
	switch {
	case n < r.Min:
		return fmt.Sprintf("Member must have value greater than or equal to %d", r.Min)
	case n > r.Max:
		return fmt.Sprintf("Member must have value less than or equal to %d", r.Max)
	}
	return ""
}

// Broken says why a size of n breaks the rule, or nothing.
func (r SizeRule) Broken(n int) string {
	switch {
	case n < r.Min:
		return fmt.Sprintf("Member must have length greater than or equal to %d", r.Min)
	case r.Max > 0 && n > r.Max:
		return fmt.Sprintf("Member must have length less than or equal to %d", r.Max)
	}
	return ""
}

// Checker collects the first violation of a request. Generated code uses it.
type Checker struct{ first *Violation }

// Err gives the first violation, or nil.
func (c *Checker) Err() error {
	if c.first == nil {
		return nil
	}
	return c.first
}

// Fail records why, unless it is empty or something was recorded before.
func (c *Checker) Fail(at, why string) {
	if why != "" && c.first == nil {
		c.first = &Violation{at, why}
	}
}

// Present demands a member that can be nil.
func (c *Checker) Present(at string, present bool) {
	if !present {
		c.Fail(at, notNull)
	}
}

// String checks a string that is there.
func (c *Checker) String(at, s string, r *StringRule) {
	if c.first == nil {
		c.Fail(at, r.Broken(s))
	}
}

// Optional checks a string of which "" means absent.
func (c *Checker) Optional(at, s string, r *StringRule) {
	if s != "" {
		c.String(at, s, r)
	}
}

// Int checks a number that is there.
func (c *Checker) Int(at string, n int64, r IntRule) { c.Fail(at, r.Broken(n)) }

// Size checks the size of a list, map or blob that is there.
func (c *Checker) Size(at string, n int, r SizeRule) { c.Fail(at, r.Broken(n)) }

// Elements, Keys and Values check what is in a list or map; AWS words these with the constraint in brackets.
const (
	Elements = "Member"
	Keys     = "Map keys"
	Values   = "Map value"
)

// Within checks one string inside a list or map. what is [Elements], [Keys] or [Values].
func (c *Checker) Within(at, what, s string, r *StringRule) {
	if c.first == nil {
		c.FailWithin(at, what, r.Broken(s))
	}
}

// FailWithin records why for something inside a list or map, unless why is empty.
func (c *Checker) FailWithin(at, what, why string) {
	if why != "" {
		c.Fail(at, what+" must satisfy constraint: ["+why+"]")
	}
}

// Item is the path of the i-th structure (from 0) of a list, with a dot at its end.
func Item(at string, i int) string { return at + "." + strconv.Itoa(i+1) + ".member." }

// Entry is the path of the structure under a key of a map, with a dot at its end.
func Entry(at, key string) string { return at + "." + key + ".value." }

// SortedKeys gives the keys of a map in order.
func SortedKeys[K ~string, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
