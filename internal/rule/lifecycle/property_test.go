package lifecycle_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ecrin-dev/ecrin/internal/rule/lifecycle"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

var (
	tagPool = []string{"a-1", "a-2", "a-3", "ab-1", "ab-2", "b-1", "b-2", "main", "1.0.0", "v1.0.1", "1.1.0-rc.1", "1.1.0-rc.2",
		"v1.1.0", "2.0.0", "2.0.0-a",
		"1.0.0-a", "latest", "x"}
	patternPool = []string{"a", "b-", "a*", "b*", "*-1", "a*-*", "*", "main", "1.*", "*a*", "v*.*.*", "x", "2*0"}
	filterPool  = []string{
		`{"patterns":["a*","*-1"]}`, `{"patterns":["*"]}`, `{"regexp":"([a-z]+)-([0-9])"}`, `{"regexp":"(a)?.*"}`, `{"semver":"*"}`,
		`{"semver":">=1 <2","preReleases":"exclude"}`, `{"semver":"*","preReleases":"only"}`, `{"semver":"*","regexp":"v?([0-9]+).*"}`,
		`{"patterns":["*1*"],"regexp":".*(.)","semver":"1.x || >=2.0.0-a"}`,
	}
)

// drawImages draws images with tags, times, edges and protections. Edges need not be possible ones.
func drawImages(t *rapid.T) []lifecycle.Image {
	n := rapid.IntRange(0, 10).Draw(t, "images")
	tags := rapid.Permutation(tagPool).Draw(t, "tags")
	// Times are half days, so that many are equal, or exactly a number of days ago.
	at := func(label string, zero bool, days int) time.Time {
		low := 0
		if zero {
			low = -days
		}
		half := rapid.IntRange(low, 2*days).Draw(t, label)
		if half < 0 {
			return time.Time{}
		}
		return now.Add(-time.Duration(half) * 12 * time.Hour)
	}
	var all []lifecycle.Image
	for i := range n {
		im := lifecycle.Image{Digest: digest(fmt.Sprint("image", i)), Bytes: int64(1) << i, PushedAt: at("pushed", false, 8),
			PulledAt: at("pulled", true, 8)}
		for range rapid.IntRange(0, 3).Draw(t, "count of tags") {
			if len(tags) > 0 {
				im.Tags = append(im.Tags, lifecycle.Tag{Name: tags[0], MovedAt: at("moved", true, 8)})
				tags = tags[1:]
			}
		}
		if len(im.Tags) == 0 {
			im.UntaggedAt = at("untagged", true, 8)
		}
		if rapid.IntRange(0, 4).Draw(t, "class") == 0 {
			im.Class, im.ArchivedAt = lifecycle.Archived, at("archived", true, 120)
		}
		if rapid.IntRange(0, 4).Draw(t, "activated") == 0 {
			im.ActivatedAt = at("activated at", false, 8)
		}
		if rapid.IntRange(0, 7).Draw(t, "protection") == 0 {
			im.Protection = lifecycle.Protection(rapid.IntRange(1, 7).Draw(t, "which"))
		}
		other := func() name.Digest { return digest(fmt.Sprint("image", rapid.IntRange(0, n).Draw(t, "other"))) }
		if rapid.IntRange(0, 3).Draw(t, "index") == 0 {
			for range rapid.IntRange(1, 3).Draw(t, "children") {
				im.Children = append(im.Children, other())
			}
		}
		if rapid.IntRange(0, 3).Draw(t, "referrer") == 0 {
			im.Subject = other()
		}
		all = append(all, im)
	}
	return all
}

// drawPolicy draws a policy of ECR, an extension, or both.
func drawPolicy(t *rapid.T) *lifecycle.Policy {
	var ecr, extension *lifecycle.Policy
	which := rapid.IntRange(0, 3).Draw(t, "documents")
	if which != 1 {
		ecr = mustParse(t, drawECR(t))
	}
	if which != 0 {
		extension = mustExtend(t, drawExtension(t))
	}
	return lifecycle.Join(extension, ecr)
}

func drawECR(t *rapid.T) string {
	patterns := rapid.Permutation(patternPool).Draw(t, "patterns")
	condition := func(class string) string {
		if class != "" {
			return class + since("Transitioned", rapid.IntRange(90, 100).Draw(t, "days"))
		}
		if rapid.Bool().Draw(t, "by count") {
			return count(rapid.IntRange(1, 4).Draw(t, "count"))
		}
		return since("Pushed", rapid.IntRange(1, 5).Draw(t, "days"))
	}
	action := func(class string) string {
		if class == "" && rapid.IntRange(0, 2).Draw(t, "archive") == 0 {
			return archive
		}
		return `{"type":"expire"}`
	}
	var rules []string
	priority := 0
	add := func(selection, class string) {
		priority += rapid.IntRange(1, 3).Draw(t, "gap")
		if class == "" && rapid.IntRange(0, 4).Draw(t, "by pull") == 0 {
			rules = append(rules, ecrRuleWith(priority, selection+since("Pulled", rapid.IntRange(1, 5).Draw(t, "days")), archive))
			return
		}
		rules = append(rules, ecrRuleWith(priority, selection+condition(class), action(class)))
	}
	for range rapid.IntRange(0, 4).Draw(t, "rules with patterns") {
		n := rapid.IntRange(1, 2).Draw(t, "list")
		class := rapid.SampledFrom([]string{"", "", archived}).Draw(t, "class")
		selection := tagged(patterns[:n]...)
		if rapid.IntRange(0, 3).Draw(t, "prefixes") == 0 {
			selection = strings.Replace(selection, "tagPatternList", "tagPrefixList", 1)
		}
		add(selection, class)
		patterns = patterns[n:]
	}
	for _, class := range []string{"", archived} {
		if rapid.Bool().Draw(t, "untagged") {
			add(untagged, class)
		}
	}
	for _, class := range []string{"", archived} {
		if rapid.Bool().Draw(t, "any") || len(rules) == 0 {
			add(anyTag, class)
		}
	}
	return ecrPolicy(rapid.Permutation(rules).Draw(t, "order of rules")...)
}

func drawExtension(t *rapid.T) string {
	var rules []string
	for i := range rapid.IntRange(1, 4).Draw(t, "rules of the extension") {
		selection, keep := `"tagStatus":"`+rapid.SampledFrom([]string{"tagged", "untagged", "any"}).Draw(t, "status")+`"`, ""
		filter := ""
		if strings.Contains(selection, `"tagged"`) && rapid.Bool().Draw(t, "filter") {
			filter = rapid.SampledFrom(filterPool).Draw(t, "tags")
			selection += `,"tags":` + filter + fmt.Sprintf(`,"everyTag":%v`, rapid.Bool().Draw(t, "every"))
		}
		if !strings.Contains(selection, "untagged") && rapid.IntRange(0, 2).Draw(t, "exclude") == 0 {
			selection += `,"exclude":[` + rapid.SampledFrom(filterPool).Draw(t, "excluded") + `]`
		}
		days := func(member string) string {
			return fmt.Sprintf(`"%s":%d`, member, rapid.IntRange(1, 5).Draw(t, "days"))
		}
		var ages []string
		for _, member := range []string{"pushed", "pulled", "tagMoved"} {
			if rapid.IntRange(0, 2).Draw(t, member) == 0 {
				ages = append(ages, days(member))
			}
		}
		action := rapid.SampledFrom([]string{"expire", "expire", "archive"}).Draw(t, "action")
		if rapid.IntRange(0, 4).Draw(t, "class") == 0 {
			selection += archived
			ages, action = append(ages, days("archived")), "expire"
		} else if len(ages) == 0 || rapid.Bool().Draw(t, "keep") {
			orders := []string{"pushed", "pulled", "tagMoved"}
			if strings.Contains(filter, "semver") {
				orders = append(orders, "version", "version")
			}
			keep = fmt.Sprintf(`,"keep":{"count":%d,"order":"%s"`, rapid.IntRange(1, 3).Draw(t, "count"), rapid.SampledFrom(orders).Draw(t, "by"))
			if strings.Contains(filter, "regexp") && rapid.Bool().Draw(t, "group") {
				keep += `,"group":"1"`
			}
			keep += "}"
		}
		conditions := keep
		if len(ages) > 0 {
			conditions += `,"daysSince":{` + strings.Join(ages, ",") + `}`
		}
		rules = append(rules, fmt.Sprintf(`{"priority":%d,"select":{%s}%s,"action":"%s"}`, i+1, selection, conditions, action))
	}
	text := `{"version":"ecrin-lifecycle-1","rules":[` + strings.Join(rules, ",") + `]`
	if rapid.IntRange(0, 3).Draw(t, "protect") == 0 {
		text += `,"protect":[` + rapid.SampledFrom(filterPool).Draw(t, "protected") + `]`
	}
	return text + "}"
}

func TestEvaluateEqualsTheReference(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		ref := &reference{drawPolicy(t), drawImages(t), now}
		r := evaluate(t, ref.policy, ref.images)
		want := ref.evaluate()
		var order []name.Digest
		var expire, archive lifecycle.Total
		for i := range r.Verdicts {
			v := &r.Verdicts[i]
			order = append(order, v.Image.Digest)
			got := refVerdict{Action: v.Action, Due: v.Due}
			if v.Rule != nil {
				got.Rule = v.Rule.Name()
			}
			if got != want[v.Image.Digest] {
				t.Errorf("image %v: got %+v (%s), want %+v", v.Image, got, v.Reason(), want[v.Image.Digest])
			}
			if held := v.Action == lifecycle.None && v.Due; held != (v.Hold != 0) {
				t.Errorf("image %v: got the hold %d, due %v, action %v", v.Image, v.Hold, v.Due, v.Action)
			}
			switch v.Action {
			case lifecycle.Expire:
				expire = lifecycle.Total{Images: expire.Images + 1, Bytes: expire.Bytes + v.Image.Bytes}
			case lifecycle.Archive:
				archive = lifecycle.Total{Images: archive.Images + 1, Bytes: archive.Bytes + v.Image.Bytes}
			}
		}
		if !slices.Equal(order, ref.order()) {
			t.Errorf("got the order %v, want %v", order, ref.order())
		}
		if r.Expire != expire || r.Archive != archive {
			t.Errorf("got the totals %v and %v, want %v and %v", r.Expire, r.Archive, expire, archive)
		}
	})
}

// Source: ECR user guide: an image is acted on by one rule, and rules of lower priority leave it alone.
func TestImagesThatAHigherRuleSeesAreLeftAlone(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p, all := drawPolicy(t), drawImages(t)
		r := evaluate(t, p, all)
		verdicts := map[name.Digest]*lifecycle.Verdict{}
		for i := range r.Verdicts {
			verdicts[r.Verdicts[i].Image.Digest] = &r.Verdicts[i]
		}
		for i := range r.Verdicts {
			v := &r.Verdicts[i]
			if v.Action == lifecycle.None {
				continue
			}
			if v.Image.Protection != 0 {
				t.Errorf("protected image %v: got the action %v", v.Image, v.Action)
			}
			of := v // the image whose rule acts
			for range all {
				subject := verdicts[of.Image.Subject]
				if subject == nil || subject == of || v.Action == lifecycle.Archive && subject.Action == lifecycle.Expire {
					break
				}
				if of = subject; of.Action != v.Action {
					t.Fatalf("referrer %v: got the action %v, its subject has %v", v.Image, v.Action, of.Action)
				}
			}
			for _, higher := range p.Rules() {
				if higher == v.Rule {
					break
				}
				if sees(higher, of.Image) {
					t.Errorf("image %v: got an action of %s, but %s sees it", v.Image, v.Rule.Name(), higher.Name())
				}
			}
			if !sees(v.Rule, of.Image) || v.Rule.Action != v.Action {
				t.Errorf("image %v: got the action %v of %s, which does not see it or has another action", v.Image, v.Action, v.Rule.Name())
			}
		}
	})
}

// execute carries out a result.
func execute(r *lifecycle.Result) (left []lifecycle.Image) {
	for _, v := range r.Verdicts {
		im := *v.Image
		switch v.Action {
		case lifecycle.Expire:
			continue
		case lifecycle.Archive:
			im.Class, im.ArchivedAt = lifecycle.Archived, now
		}
		left = append(left, im)
	}
	return left
}

func TestExecutionTwiceChangesNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := drawPolicy(t)
		first := evaluate(t, p, drawImages(t))
		second := evaluate(t, p, execute(first))
		for i := range second.Verdicts {
			if v := &second.Verdicts[i]; v.Action != lifecycle.None {
				t.Errorf("image %v: got the action %v in the second run: %s", v.Image, v.Action, v.Reason())
			}
		}
	})
}

func TestOrderOfImagesDoesNotMatter(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p, all := drawPolicy(t), drawImages(t)
		want := texts(evaluate(t, p, all))
		other := rapid.Permutation(all).Draw(t, "other order")
		for i := range other {
			other[i].Tags = rapid.Permutation(other[i].Tags).Draw(t, "order of tags")
			other[i].Children = rapid.Permutation(other[i].Children).Draw(t, "order of children")
		}
		if got := texts(evaluate(t, p, other)); !slices.Equal(got, want) {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

// texts returns all that a result says.
func texts(r *lifecycle.Result) []string {
	out := []string{fmt.Sprint(r.Expire, r.Archive)}
	for i := range r.Verdicts {
		v := &r.Verdicts[i]
		out = append(out, fmt.Sprint(v.Image.Digest, v.Action, v.Due, v.Hold, v.Other, v.Reason()))
	}
	return out
}
