package semver

import "strings"

// The bytes between the parts of a key. Their order, ! before the characters of identifiers, and - before ~, is that of
// the precedence.
const (
	endOfText  = "!" // after an alphanumeric identifier, so that a is before ab
	preRelease = "-" // after the numbers of a pre-release
	release    = "~" // after the numbers of a release
	numeric    = "0" // before a numeric identifier, which has a lower precedence than
	alpha      = "1" // before an alphanumeric identifier
)

// Key returns the sort key of a version: a text of printable ASCII characters, of at most three times the length of the
// version and 9 bytes more. The order of keys by bytes is the order of precedence of their versions, and versions have equal
// keys if and only if their precedence is equal. A database can sort and search by keys. The form of keys does not change.
func (v Version) Key() string {
	var b strings.Builder
	b.Grow(3*(len(v.Major)+len(v.Minor)+len(v.Patch)) + 9)
	writeNumbers(&b, v.Major, v.Minor, v.Patch)
	if v.Pre == nil {
		b.WriteString(release)
		return b.String()
	}
	b.WriteString(preRelease)
	for _, id := range v.Pre {
		if digits(id) {
			b.WriteString(numeric)
			writeNumbers(&b, id)
		} else {
			b.WriteString(alpha)
			b.WriteString(id)
			b.WriteString(endOfText)
		}
	}
	return b.String()
}

// writeNumbers writes each number after the count of its digits, of two hexadecimal digits.
func writeNumbers(b *strings.Builder, numbers ...string) {
	const hex = "0123456789abcdef"
	for _, n := range numbers {
		b.WriteByte(hex[len(n)>>4])
		b.WriteByte(hex[len(n)&15])
		b.WriteString(n)
	}
}

// Key returns the sort key of a tag, or "" if the tag is not a version. See [Version.Key].
func Key(tag string) string {
	// Most tags are no versions; this finds out for most of them without a Version.
	if digit := strings.TrimPrefix(tag, "v"); digit == "" || digit[0] < '0' || digit[0] > '9' {
		return ""
	}
	v, ok := Parse(tag)
	if !ok {
		return ""
	}
	return v.Key()
}

// IsPreRelease reports whether a key is that of a pre-release.
func IsPreRelease(key string) bool { return key != "" && !strings.HasSuffix(key, release) }
