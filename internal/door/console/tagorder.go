package console

import (
	"cmp"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/rule/semver"
)

// tagged is a tag with the digest that it names.
type tagged struct {
	Tag, Digest string
	Moves       bool // it stands at the version that it points to, and will point to another

	version   semver.Version
	isVersion bool
}

// versionOf returns the semantic version that a tag names, with or without a v before it.
func versionOf(tag string) (semver.Version, bool) {
	return semver.Parse(strings.TrimPrefix(tag, "v"))
}

// byVersion sorts tags as people read them: the newest version first, pre-releases below their release. A tag that is no version, with the
// digest of one, stands above the newest version that it points to, such as latest and 1.4. All others come after, by name.
func byVersion(all []tagged) []tagged {
	newest := map[string]semver.Version{} // by digest
	for i := range all {
		v, ok := versionOf(all[i].Tag)
		if all[i].version, all[i].isVersion = v, ok; !ok {
			continue
		}
		if before, found := newest[all[i].Digest]; !found || semver.Compare(v, before) > 0 {
			newest[all[i].Digest] = v
		}
	}
	for i := range all {
		if all[i].isVersion {
			continue
		}
		all[i].version, all[i].Moves = newest[all[i].Digest], false
		if _, found := newest[all[i].Digest]; found {
			all[i].Moves = true
		}
	}
	rank := func(t tagged) int {
		if t.isVersion || t.Moves {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(all, func(a, b tagged) int {
		if c := cmp.Compare(rank(a), rank(b)); c != 0 || rank(a) == 1 {
			return cmp.Or(c, strings.Compare(a.Tag, b.Tag))
		}
		if c := semver.Compare(b.version, a.version); c != 0 {
			return c
		}
		if a.isVersion != b.isVersion {
			if b.isVersion {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Tag, b.Tag)
	})
	return all
}
