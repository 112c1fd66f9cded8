// Package semver reads semantic versions and ranges of them, and makes sort keys.
//
// Source: semver.org, Semantic Versioning 2.0.0. Two additions: a version may begin with "v", and a version of more than
// [MaxLength] bytes is not a version.
package semver

import (
	"cmp"
	"strings"
)

// MaxLength is the largest length of a version in bytes. A tag has at most 128.
const MaxLength = 255

// Version is a semantic version. The zero value is no version.
type Version struct {
	Major, Minor, Patch string   // decimal digits without leading zeros, of any size
	Pre                 []string // the identifiers of the pre-release; nil for a release
	Build               string   // the build metadata, which has no precedence; "" when absent
}

// Parse reads a version, with or without a leading "v". It returns false for all other texts.
func Parse(s string) (v Version, ok bool) {
	if len(s) > MaxLength {
		return Version{}, false
	}
	s = strings.TrimPrefix(s, "v")
	s, v.Build, ok = strings.Cut(s, "+")
	if ok && !identifiers(v.Build, false) {
		return Version{}, false
	}
	s, pre, ok := strings.Cut(s, "-")
	if ok {
		if !identifiers(pre, true) {
			return Version{}, false
		}
		v.Pre = strings.Split(pre, ".")
	}
	var rest string
	v.Major, rest, _ = strings.Cut(s, ".")
	v.Minor, v.Patch, _ = strings.Cut(rest, ".")
	if !number(v.Major) || !number(v.Minor) || !number(v.Patch) {
		return Version{}, false
	}
	return v, true
}

// identifiers reports whether s is a list of identifiers separated by dots. Those of a pre-release that are numbers
// have no leading zeros. Source: items 9 and 10.
func identifiers(s string, pre bool) bool {
	for id := range strings.SplitSeq(s, ".") {
		if id == "" || pre && digits(id) && !number(id) {
			return false
		}
		for i := range len(id) {
			if c := id[i]; !('0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '-') {
				return false
			}
		}
	}
	return true
}

// digits reports whether s consists of digits, at least one.
func digits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// number reports whether s is a decimal number without leading zeros.
func number(s string) bool { return digits(s) && (s == "0" || s[0] != '0') }

// String returns the version without a leading "v".
func (v Version) String() string {
	s := v.Major + "." + v.Minor + "." + v.Patch
	if v.Pre != nil {
		s += "-" + strings.Join(v.Pre, ".")
	}
	if v.Build != "" {
		s += "+" + v.Build
	}
	return s
}

// Compare returns -1, 0 or +1 as the precedence of a is lower than, equal to or higher than that of b. Source: item 11.
func Compare(a, b Version) int {
	if c := cmp.Or(compareNumbers(a.Major, b.Major), compareNumbers(a.Minor, b.Minor), compareNumbers(a.Patch, b.Patch)); c != 0 {
		return c
	}
	switch {
	case a.Pre == nil && b.Pre == nil:
		return 0
	case a.Pre == nil:
		return 1
	case b.Pre == nil:
		return -1
	}
	for i := range min(len(a.Pre), len(b.Pre)) {
		x, y := a.Pre[i], b.Pre[i]
		var c int
		switch nx, ny := digits(x), digits(y); {
		case nx && ny:
			c = compareNumbers(x, y)
		case nx:
			c = -1
		case ny:
			c = 1
		default:
			c = strings.Compare(x, y)
		}
		if c != 0 {
			return c
		}
	}
	return cmp.Compare(len(a.Pre), len(b.Pre))
}

// compareNumbers compares two decimal numbers without leading zeros.
func compareNumbers(a, b string) int {
	return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
}
