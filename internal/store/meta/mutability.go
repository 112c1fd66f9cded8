package meta

import (
	"strings"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Mutability says which existing tags of a repository may move to another image.
// Source: ECR API reference, PutImageTagMutability.
type Mutability struct {
	Mode    string   // one of the four modes below
	Filters []string // 1 to 5 wildcard patterns with the …WithExclusion modes, none otherwise
}

// The modes.
const (
	Mutable                = "MUTABLE"
	Immutable              = "IMMUTABLE"
	MutableWithExclusion   = "MUTABLE_WITH_EXCLUSION"
	ImmutableWithExclusion = "IMMUTABLE_WITH_EXCLUSION"
)

// Freezes reports whether the tag, once it exists, must stay on its image.
func (m Mutability) Freezes(t name.Tag) bool {
	switch m.Mode {
	case Immutable:
		return true
	case ImmutableWithExclusion:
		return !m.excepts(t)
	case MutableWithExclusion:
		return m.excepts(t)
	}
	return false
}

func (m Mutability) excepts(t name.Tag) bool {
	for _, f := range m.Filters {
		if matchWildcard(f, t.String()) {
			return true
		}
	}
	return false
}

// matchWildcard reports whether pattern matches the whole of s; "*" matches any characters, also none. It takes at
// most len(pattern) × len(s) steps: after a mismatch only the last star is tried again.
func matchWildcard(pattern, s string) bool {
	p, i, star, from := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, i
			p++
		case p < len(pattern) && pattern[p] == s[i]:
			p++
			i++
		case star >= 0:
			from++
			p, i = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
