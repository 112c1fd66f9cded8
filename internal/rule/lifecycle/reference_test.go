package lifecycle_test

import (
	"regexp"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/lifecycle"
	"github.com/ecrin-dev/ecrin/internal/rule/semver"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// A second implementation of Evaluate, written from the description of the rules: slow and obvious.

type reference struct {
	policy *lifecycle.Policy
	images []lifecycle.Image
	now    time.Time
}

func refPattern(p lifecycle.Pattern, tag string) bool {
	if p.Prefix {
		return strings.HasPrefix(tag, p.Text)
	}
	return regexp.MustCompile(`^` + strings.ReplaceAll(regexp.QuoteMeta(p.Text), `\*`, `.*`) + `$`).MatchString(tag)
}

func refFilter(f *lifecycle.TagFilter, tag string) bool {
	if len(f.Patterns) > 0 && !slices.ContainsFunc(f.Patterns, func(p lifecycle.Pattern) bool { return refPattern(p, tag) }) {
		return false
	}
	if f.Regexp != nil && f.Regexp.FindString(tag) != tag {
		return false
	}
	if f.Range == nil {
		return true
	}
	v, ok := semver.Parse(tag)
	return ok && f.Range.Contains(v.Key()) &&
		(f.PreReleases == lifecycle.WithPreReleases || (f.PreReleases == lifecycle.OnlyPreReleases) == (v.Pre != nil))
}

// matching returns the tags of an image that the filter of a rule matches.
func matching(r *lifecycle.Rule, im *lifecycle.Image) (all []lifecycle.Tag) {
	for _, t := range im.Tags {
		if r.Tags == nil || refFilter(r.Tags, t.Name) {
			all = append(all, t)
		}
	}
	return all
}

func sees(r *lifecycle.Rule, im *lifecycle.Image) bool {
	if im.Class != r.Class || r.Status == lifecycle.Tagged && len(im.Tags) == 0 || r.Status == lifecycle.Untagged && len(im.Tags) > 0 {
		return false
	}
	anyTag := func(match func(tag string) bool) bool {
		return slices.ContainsFunc(im.Tags, func(t lifecycle.Tag) bool { return match(t.Name) })
	}
	for _, p := range r.Patterns {
		if !anyTag(func(tag string) bool { return refPattern(p, tag) }) {
			return false
		}
	}
	for _, f := range r.Exclude {
		if anyTag(func(tag string) bool { return refFilter(f, tag) }) {
			return false
		}
	}
	if r.Tags != nil && len(matching(r, im)) == 0 {
		return false
	}
	return !r.EveryTag || len(matching(r, im)) == len(im.Tags)
}

func refPushed(im *lifecycle.Image) time.Time {
	if !im.ActivatedAt.IsZero() {
		return im.ActivatedAt
	}
	return im.PushedAt
}

func refPulled(im *lifecycle.Image) time.Time {
	if im.PulledAt.IsZero() || im.PulledAt.Before(im.ActivatedAt) {
		return refPushed(im)
	}
	return im.PulledAt
}

// lastMove returns the last move of tags, or what counts as one.
func lastMove(im *lifecycle.Image, tags []lifecycle.Tag) (last time.Time) {
	for _, t := range tags {
		at := t.MovedAt
		if at.IsZero() {
			at = refPushed(im)
		}
		if at.After(last) {
			last = at
		}
	}
	if len(im.Tags) == 0 {
		last = im.UntaggedAt
		if last.IsZero() {
			last = refPushed(im)
		}
	}
	return last
}

// groups returns the groups of an image with its tags in them.
func groups(r *lifecycle.Rule, im *lifecycle.Image) map[string][]lifecycle.Tag {
	if r.Keep.Group == 0 {
		return map[string][]lifecycle.Tag{"": matching(r, im)}
	}
	all := map[string][]lifecycle.Tag{}
	for _, t := range matching(r, im) {
		g := r.Tags.Regexp.FindStringSubmatch(t.Name)[r.Keep.Group]
		all[g] = append(all[g], t)
	}
	return all
}

// before reports whether an image comes before another one in a group.
func before(r *lifecycle.Rule, group string, a, b *lifecycle.Image) bool {
	switch r.Keep.Order {
	case lifecycle.NewestPull:
		if x, y := refPulled(a), refPulled(b); !x.Equal(y) {
			return x.After(y)
		}
	case lifecycle.NewestTagMove:
		if x, y := lastMove(a, groups(r, a)[group]), lastMove(b, groups(r, b)[group]); !x.Equal(y) {
			return x.After(y)
		}
	case lifecycle.HighestVersion:
		highest := func(im *lifecycle.Image) (best semver.Version) {
			for i, t := range groups(r, im)[group] {
				if v, _ := semver.Parse(t.Name); i == 0 || semver.Compare(v, best) > 0 {
					best = v
				}
			}
			return best
		}
		if c := semver.Compare(highest(a), highest(b)); c != 0 {
			return c > 0
		}
	}
	if x, y := refPushed(a), refPushed(b); !x.Equal(y) {
		return x.After(y)
	}
	return a.Digest.String() > b.Digest.String()
}

// due reports whether the conditions of a rule hold for an image that it sees.
func (ref *reference) due(r *lifecycle.Rule, im *lifecycle.Image) bool {
	for _, a := range r.Older {
		at := map[lifecycle.Clock]time.Time{
			lifecycle.Pushed: refPushed(im), lifecycle.Pulled: refPulled(im), lifecycle.Archival: im.ArchivedAt,
			lifecycle.TagMoved: lastMove(im, matching(r, im)),
		}[a.Clock]
		if at.IsZero() || ref.now.Sub(at) <= time.Duration(a.Days)*24*time.Hour {
			return false
		}
	}
	if r.Keep == nil {
		return true
	}
	for group := range groups(r, im) {
		position := 1
		for i := range ref.images {
			other := &ref.images[i]
			_, in := groups(r, other)[group]
			if sees(r, other) && in && other.Digest != im.Digest && before(r, group, other, im) {
				position++
			}
		}
		if position <= r.Keep.Count {
			return false
		}
	}
	return true
}

// refVerdict is what the reference says about an image.
type refVerdict struct {
	Action lifecycle.Action
	Rule   string // that acts; without an action, the first one that sees the image
	Due    bool
}

func (ref *reference) evaluate() map[name.Digest]refVerdict {
	all := map[name.Digest]refVerdict{}
	rules := map[name.Digest]*lifecycle.Rule{}
	for i := range ref.images {
		im := &ref.images[i]
		all[im.Digest] = refVerdict{}
		for _, r := range ref.policy.Rules() {
			if sees(r, im) {
				rules[im.Digest] = r
				all[im.Digest] = refVerdict{Rule: r.Name(), Due: ref.due(r, im)}
				break
			}
		}
	}
	for _, action := range []lifecycle.Action{lifecycle.Expire, lifecycle.Archive} {
		for changed := true; changed; {
			changed = false
			for i := range ref.images {
				im := &ref.images[i]
				v := all[im.Digest]
				if v.Action != lifecycle.None || ref.protected(im) || !ref.free(im, action, all) {
					continue
				}
				subject, ok := all[im.Subject]
				switch refers := ok && im.Subject != im.Digest; {
				case refers && subject.Action == action && (action == lifecycle.Expire || im.Class == lifecycle.Standard):
					v = refVerdict{Action: action, Rule: subject.Rule}
				case (!refers || action == lifecycle.Archive && subject.Action == lifecycle.Expire) && v.Due && rules[im.Digest].Action == action:
					v.Action = action
				default:
					continue
				}
				all[im.Digest] = v
				changed = true
			}
		}
	}
	return all
}

func (ref *reference) protected(im *lifecycle.Image) bool {
	return im.Protection != 0 || slices.ContainsFunc(ref.policy.Protections(), func(f *lifecycle.TagFilter) bool {
		return slices.ContainsFunc(im.Tags, func(t lifecycle.Tag) bool { return refFilter(f, t.Name) })
	})
}

// free reports whether no index keeps an image from an action.
func (ref *reference) free(im *lifecycle.Image, action lifecycle.Action, all map[name.Digest]refVerdict) bool {
	for i := range ref.images {
		index := &ref.images[i]
		did := all[index.Digest].Action
		archived := did == lifecycle.Archive || index.Class == lifecycle.Archived
		if slices.Contains(index.Children, im.Digest) && did != lifecycle.Expire && (action == lifecycle.Expire || !archived) {
			return false
		}
	}
	return true
}

// order returns the digests in the order of a result.
func (ref *reference) order() (digests []name.Digest) {
	all := slices.Clone(ref.images)
	sort.Slice(all, func(i, j int) bool {
		if x, y := refPushed(&all[i]), refPushed(&all[j]); !x.Equal(y) {
			return x.Before(y)
		}
		return all[i].Digest.String() < all[j].Digest.String()
	})
	for _, im := range all {
		digests = append(digests, im.Digest)
	}
	return digests
}
