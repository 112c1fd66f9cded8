package lifecycle

import (
	"regexp"
	"slices"

	"github.com/ecrin-dev/ecrin/internal/rule/semver"
)

// PreReleases says which versions a range of a filter selects.
type PreReleases uint8

const (
	WithPreReleases PreReleases = iota
	WithoutPreReleases
	OnlyPreReleases
)

// TagFilter matches tags, in the extension. All of its conditions must hold for one tag.
type TagFilter struct {
	Patterns    []Pattern      // one of them must match; empty matches all tags
	Regexp      *regexp.Regexp // must match the whole tag; nil matches all tags
	prefix      string         // with which all matches of Regexp begin
	Range       *semver.Range  // must contain the version that the tag is; nil matches all tags
	PreReleases PreReleases    // with Range
}

// match reports whether the filter matches a tag. key is its [semver.Key]; it is used with Range only.
func (f *TagFilter) match(tag, key string) bool {
	if len(f.Patterns) > 0 && !slices.ContainsFunc(f.Patterns, func(p Pattern) bool { return p.Match(tag) }) {
		return false
	}
	return f.matchRest(tag, key)
}

// matchRest is match without the patterns.
func (f *TagFilter) matchRest(tag, key string) bool {
	if f.Range != nil {
		if !f.Range.Contains(key) || f.PreReleases != WithPreReleases && (f.PreReleases == OnlyPreReleases) != semver.IsPreRelease(key) {
			return false
		}
	}
	return f.Regexp == nil || f.Regexp.MatchString(tag)
}
