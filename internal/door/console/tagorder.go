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
	slices.SortStableFunc(all, compareTags)
	return all
}

// compareTags orders as byVersion says.
func compareTags(a, b tagged) int {
	rank := func(t tagged) int {
		if t.isVersion || t.Moves {
			return 0
		}
		return 1
	}
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
}

// key returns the place of a tag in its list, for following: the digest says where a tag stands that is no version itself.
func (t tagged) key() string {
	if t.Moves {
		return t.Tag + "@" + t.Digest
	}
	return t.Tag
}

// tagOfKey returns the tag of a key as it stands in the order of a list, which may have lost it since.
func tagOfKey(all []tagged, key string) (last tagged) {
	last.Tag, last.Digest, _ = strings.Cut(key, "@")
	last.version, last.isVersion = versionOf(last.Tag)
	for _, t := range all {
		if t.Tag == last.Tag {
			return t
		}
		if !last.isVersion && !last.Moves && t.isVersion && t.Digest == last.Digest { // the newest of them comes first
			last.version, last.Moves = t.version, true
		}
	}
	return last
}
