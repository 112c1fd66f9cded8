package meta

import "github.com/ecrin-dev/ecrin/internal/word/name"

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
		if name.Matches(f, t.String()) {
			return true
		}
	}
	return false
}
