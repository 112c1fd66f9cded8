package lifecycle_test

import (
	"context"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ecrin-dev/ecrin/internal/rule/lifecycle"
	"github.com/ecrin-dev/ecrin/internal/rule/semver"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// extended returns a document of the extension with rules.
func extended(rules ...string) string {
	return `{"version":"ecrin-lifecycle-1","rules":[` + strings.Join(rules, ",") + `]}`
}

// extRule returns a rule of the extension.
func extRule(selection, conditions string) string {
	return `{"priority":1,"select":{` + selection + `},` + conditions + `,"action":"expire"}`
}

func mustExtend(t fataler, text string) *lifecycle.Policy {
	t.Helper()
	p, err := lifecycle.ParseExtension(text)
	if err != nil {
		t.Fatalf("ParseExtension(%s): %v", text, err)
	}
	return p
}

func TestParseExtension(t *testing.T) {
	t.Parallel()
	p := mustExtend(t, `{"version":"ecrin-lifecycle-1","protect":[{"patterns":["a*b*c*d*"]}],"rules":[
		{"priority":7,"description":"é","action":"archive","daysSince":{"pushed":1,"pulled":2,"tagMoved":3},"select":{"tagStatus":"tagged",
			"storageClass":"standard","everyTag":true,"tags":{"patterns":["a","b*"],"regexp":"(?P<g>a|b).*","semver":"1.x","preReleases":"only"}},
			"keep":{"count":4,"order":"version","group":"g"}},
		{"priority":2,"action":"expire","select":{"tagStatus":"any","storageClass":"archive","exclude":[{"semver":"*"},{"patterns":["x"]}]},
			"daysSince":{"archived":5}},
		{"priority":3,"action":"expire","select":{"tagStatus":"untagged"},"keep":{"count":1,"order":"tagMoved"}}]}`)
	version := func(text string) *semver.Range {
		r, err := semver.ParseRange(text)
		if err != nil {
			t.Fatal(err)
		}
		return &r
	}
	patterns := func(all ...string) (out []lifecycle.Pattern) {
		for _, text := range all {
			out = append(out, lifecycle.Pattern{Text: text})
		}
		return out
	}
	want := []*lifecycle.Rule{
		{Priority: 2, Class: lifecycle.Archived, Exclude: []*lifecycle.TagFilter{{Range: version("*")}, {Patterns: patterns("x")}},
			Older: []lifecycle.Age{{lifecycle.Archival, 5}}, Action: lifecycle.Expire},
		{Priority: 3, Status: lifecycle.Untagged, Keep: &lifecycle.Keep{Count: 1, Order: lifecycle.NewestTagMove}, Action: lifecycle.Expire},
		{Priority: 7, Description: "é", Status: lifecycle.Tagged, EveryTag: true, Action: lifecycle.Archive,
			Tags: &lifecycle.TagFilter{Patterns: patterns("a", "b*"), Range: version("1.x"), PreReleases: lifecycle.OnlyPreReleases,
				Regexp: regexp.MustCompile(`^(?:(?P<g>a|b).*)$`)},
			Older: []lifecycle.Age{{lifecycle.Pushed, 1}, {lifecycle.Pulled, 2}, {lifecycle.TagMoved, 3}},
			Keep:  &lifecycle.Keep{Count: 4, Order: lifecycle.HighestVersion, Group: 1, Name: "g"}},
	}
	for _, r := range want {
		r.Document = lifecycle.Extension
	}
	texts := cmp.Options{
		cmpopts.IgnoreUnexported(lifecycle.Pattern{}, lifecycle.TagFilter{}),
		cmp.Comparer(func(a, b *regexp.Regexp) bool {
			return (a == nil) == (b == nil) && (a == nil || a.String() == b.String())
		}),
		cmp.Comparer(func(a, b semver.Range) bool { return a.String() == b.String() }),
	}
	if diff := cmp.Diff(want, p.Rules(), texts); diff != "" {
		t.Errorf("Rules: -want +got:\n%s", diff)
	}
	if diff := cmp.Diff([]*lifecycle.TagFilter{{Patterns: patterns("a*b*c*d*")}}, p.Protections(), texts); diff != "" {
		t.Errorf("Protections: -want +got:\n%s", diff)
	}
	if p = nil; p.Rules() != nil || p.Protections() != nil {
		t.Errorf("a nil policy: got %v and %v, want none", p.Rules(), p.Protections())
	}
}

func TestParseExtensionRefuses(t *testing.T) {
	t.Parallel()
	rule := extRule(`"tagStatus":"any"`, `"keep":{"count":1}`)
	tags := func(members string) string {
		return extended(extRule(`"tagStatus":"tagged","tags":{`+members+`}`, `"keep":{"count":1}`))
	}
	for _, c := range []struct{ name, text, want string }{
		{"not JSON", "{", "line 1, column 2: unexpected end of JSON input"},
		{"place", "{\n\n \"version\": \"é\", \"x\": 1}", `line 3, column 23: x: unknown member`},
		{"a policy of ECR", ecrPolicy(ecrRule(1, anyTag+count(1))), "version is missing"},
		{"version", `{"version":"2"}`, "version: must be one of ecrin-lifecycle-1"},
		{"no rules", `{"version":"ecrin-lifecycle-1"}`, "rules and protect are missing"},
		{"empty rules", extended(), "rules: must have at least 1 elements"},
		{"51 rules", extended(strings.Split(strings.TrimSuffix(strings.Repeat(rule+";", 51), ";"), ";")...), "rules: must have at most 50"},
		{"length", extended(rule) + strings.Repeat(" ", 30720), "at most 30720 characters"},
		{"equal priorities", extended(rule, rule), "rules[1].priority: another rule has the priority 1"},
		{"member of ECR", extended(strings.Replace(rule, "priority", "rulePriority", 1)), "rules[0].rulePriority: unknown member"},
		{"duplicate", extended(strings.Replace(rule, "{", `{"priority":2,`, 1)), `rules[0]: the member "priority" appears twice`},
		{"priority text", extended(strings.Replace(rule, ":1", `:"1"`, 1)), "rules[0].priority: must be an integer"},
		{"long description", extended(strings.Replace(rule, "{", `{"description":"`+strings.Repeat("é", 501)+`",`, 1)),
			"description: must have at most 500 characters, this has 501"},
		{"storageClass", extended(extRule(`"tagStatus":"any","storageClass":"ARCHIVE"`, `"keep":{"count":1}`)),
			"must be one of standard, archive"},
		{"pattern that is a number", tags(`"patterns":[1]`), "patterns[0]: must be a string"},
		{"regexp that is a number", tags(`"regexp":1`), "regexp: must be a string"},
		{"semver that is a number", tags(`"semver":1`), "semver: must be a string"},
		{"preReleases", tags(`"semver":"*","preReleases":true`), "preReleases: must be a string"},
		{"21 filters", extended(extRule(`"tagStatus":"any","exclude":[`+strings.Repeat(`{"patterns":["a"]},`, 20)+`{"patterns":["a"]}]`,
			`"keep":{"count":1}`)),
			"exclude: must have at most 20"},
		{"count 0", extended(extRule(`"tagStatus":"any"`, `"keep":{"count":0}`)), "keep.count: must be 1 or more"},
		{"order", extended(extRule(`"tagStatus":"any"`, `"keep":{"count":1,"order":"size"}`)), "keep.order: must be one of"},
		{"keep list", extended(extRule(`"tagStatus":"any"`, `"keep":[]`)), "keep: must be an object"},
		{"tagStatus", extended(extRule(`"tagStatus":"all"`, `"keep":{"count":1}`)), "tagStatus: must be one of"},
		{"action", extended(strings.Replace(rule, "expire", "transition", 1)), "rules[0].action: must be one of expire, archive"},
		{"no condition", extended(`{"priority":1,"select":{"tagStatus":"any"},"action":"expire"}`), "daysSince and keep are missing"},
		{"empty daysSince", extended(extRule(`"tagStatus":"any"`, `"daysSince":{}`)), "daysSince: must have one of"},
		{"0 days", extended(extRule(`"tagStatus":"any"`, `"daysSince":{"pulled":0}`)), "rules[0].daysSince.pulled: must be 1 or more"},
		{"archived of standard", extended(extRule(`"tagStatus":"any"`, `"daysSince":{"archived":1}`)), "needs the storageClass archive"},
		{"archive without archived", extended(extRule(`"tagStatus":"any","storageClass":"archive"`, `"daysSince":{"pushed":1}`)),
			"must have the member archived"},
		{"archive with keep", extended(extRule(`"tagStatus":"any","storageClass":"archive"`, `"daysSince":{"archived":1},"keep":{"count":1}`)),
			"keep: must be absent"},
		{"archive to archive", extended(strings.Replace(extRule(`"tagStatus":"any","storageClass":"archive"`, `"daysSince":{"archived":1}`),
			"expire", "archive", 1)), "action: must be expire"},
		{"tags with any", extended(extRule(`"tagStatus":"any","tags":{"patterns":["a"]}`, `"keep":{"count":1}`)), "unless tagStatus is tagged"},
		{"everyTag without tags", extended(extRule(`"tagStatus":"tagged","everyTag":true`, `"keep":{"count":1}`)), "needs the member tags"},
		{"everyTag text", extended(extRule(`"tagStatus":"tagged","everyTag":"yes"`, `"keep":{"count":1}`)), "everyTag: must be a boolean"},
		{"exclude with untagged", extended(extRule(`"tagStatus":"untagged","exclude":[{"patterns":["a"]}]`, `"keep":{"count":1}`)),
			"exclude: must be absent"},
		{"empty filter", tags(""), "patterns, regexp and semver are missing"},
		{"patterns empty", tags(`"patterns":[]`), "patterns: must have at least 1"},
		{"wildcards", tags(`"patterns":["*****"]`), "patterns[0]: a pattern has at most 4"},
		{"regexp", tags(`"regexp":"a("`), "regexp: is not a regular expression in the syntax of RE2: error parsing regexp: missing closing )"},
		{"regexp that leaves the group", tags(`"regexp":"a)|(b"`), "is not a regular expression"},
		{"regexp with look-ahead", tags(`"regexp":"(?=a)"`), "is not a regular expression"},
		{"large regexp", tags(`"regexp":"((a{30}){30})"`), "regexp: is too large"},
		{"large regexp of classes", tags(`"regexp":"(\\pL{100}){9}"`), "regexp: is too large"},
		{"large regexps together",
			`{"version":"ecrin-lifecycle-1","protect":[` + strings.TrimSuffix(strings.Repeat(`{"regexp":"a{300}b{10}"},`, 10), ",") + `]}`,
			"protect[7].regexp: is too large"},
		{"range", tags(`"semver":">=1.0.0 <two"`), `semver: is not a range of versions: "<two" is not a comparator`},
		{"preReleases without semver", tags(`"patterns":["a"],"preReleases":"only"`), "preReleases: needs the member semver"},
		{"version without semver", extended(extRule(`"tagStatus":"tagged"`, `"keep":{"count":1,"order":"version"}`)),
			"order: version needs the member semver"},
		{"group without regexp", extended(extRule(`"tagStatus":"tagged","tags":{"patterns":["a"]}`, `"keep":{"count":1,"group":"x"}`)),
			"needs the member regexp"},
		{"unknown group", extended(extRule(`"tagStatus":"tagged","tags":{"regexp":"(?P<a>x)"}`, `"keep":{"count":1,"group":"b"}`)),
			"group: must be the name"},
		{"group 2 of 1", extended(extRule(`"tagStatus":"tagged","tags":{"regexp":"(x)"}`, `"keep":{"count":1,"group":"2"}`)),
			"group: must be the name"},
		{"group 0", extended(extRule(`"tagStatus":"tagged","tags":{"regexp":"(x)"}`, `"keep":{"count":1,"group":"0"}`)),
			"group: must be the name"},
	} {
		_, err := lifecycle.ParseExtension(c.text)
		var p *lifecycle.Problem
		if !errors.Is(err, fault.InvalidParameter) || !errors.As(err, &p) || p.Line == 0 {
			t.Errorf("%s: got the error %v, want fault.InvalidParameter because of a Problem", c.name, err)
		} else if got := public(err); !strings.HasPrefix(got, "the lifecycle extension cannot be read: line ") || !strings.Contains(got,
			c.want) {
			t.Errorf("%s: got %q, want it to contain %q", c.name, got, c.want)
		}
	}
}

func TestExtension(t *testing.T) {
	t.Parallel()
	moved := func(all []lifecycle.Image, ages ...int) []lifecycle.Image {
		for i := range all {
			for j := range all[i].Tags {
				all[i].Tags[j].MovedAt = daysAgo(ages[0])
				ages = ages[1:]
			}
		}
		return all
	}
	pulled := func(all []lifecycle.Image, ages ...int) []lifecycle.Image {
		for i, age := range ages {
			if age >= 0 {
				all[i].PulledAt = daysAgo(age)
			}
		}
		return all
	}
	untaggedAt := func(all []lifecycle.Image, ages ...int) []lifecycle.Image {
		for i, age := range ages {
			all[i].UntaggedAt = daysAgo(age)
		}
		return all
	}
	for _, c := range []struct {
		name, rule string
		images     []lifecycle.Image
		want       string
	}{
		{"last pull", extRule(`"tagStatus":"any"`, `"daysSince":{"pulled":30}`), pulled(images("A 90: B 90: C 10: D 90:"), -1, 29, -1,
			31), "A D"},
		{"all conditions", extRule(`"tagStatus":"any"`, `"daysSince":{"pushed":30,"pulled":20},"keep":{"count":1}`),
			pulled(images("A 90: B 80: C 70: D 60:"), -1, 5, -1, -1), "A C"},
		{"regular expression for whole tags", extRule(`"tagStatus":"tagged","tags":{"regexp":"pr-[0-9]+"}`, `"daysSince":{"pushed":1}`),
			images("A 9:pr-1 B 9:xpr-1 C 9:pr-1x D 9:pr-12,keep E 9:"), "A D"},
		{"alternatives are for whole tags", extRule(`"tagStatus":"tagged","tags":{"regexp":"a|b"}`, `"daysSince":{"pushed":1}`),
			images("A 9:a B 9:b C 9:ax D 9:xb"), "A B"},
		{"exclusions", extRule(`"tagStatus":"any","exclude":[{"patterns":["release-*","stable"]},{"semver":"*"}]`, `"keep":{"count":1}`),
			images("A 9:release-1,x B 8: C 7:1.0.0 D 6:x2 E 5:stable F 4:y"), "B D"},
		{"every tag", extRule(`"tagStatus":"tagged","everyTag":true,"tags":{"patterns":["ci-*"]}`, `"daysSince":{"pushed":1}`),
			images("A 9:ci-1 B 9:ci-2,v1 C 9:ci-3,ci-4 D 9:"), "A C"},
		{"groups", extRule(`"tagStatus":"tagged","tags":{"regexp":"(?P<branch>.+)-[0-9]+"}`, `"keep":{"count":1,"group":"branch"}`),
			images("A 9:main-1 B 8:main-2 C 7:dev-1 D 6:dev-2 E 5:main-3,old-1 F 4:other G 3:main-4"), "A B C"},
		{"groups by number", extRule(`"tagStatus":"tagged","tags":{"regexp":"([a-z]+)-([0-9]+)"}`, `"keep":{"count":1,"group":"2"}`),
			images("A 9:a-1 B 8:b-1 C 7:c-2"), "A"},
		{"a capture without text", extRule(`"tagStatus":"tagged","tags":{"regexp":"(x)?y.*"}`, `"keep":{"count":1,"group":"1"}`),
			images("A 9:y1 B 8:y2 C 7:xy1"), "A"},
		{"an image twice in a group", extRule(`"tagStatus":"tagged","tags":{"regexp":"([a-z]+)[0-9]"}`, `"keep":{"count":2,"group":"1"}`),
			images("A 9:a1 B 8:a2 C 7:a3,a4,a5"), "A"},
		{"range of versions", extRule(`"tagStatus":"tagged","tags":{"semver":"<2"}`, `"daysSince":{"pushed":1}`),
			images("A 9:1.0.0 B 9:v1.9.0-rc.1 C 9:2.0.0-rc.1 D 9:2.0.0 E 9:1.0 F 9:latest"), "A B"},
		{"only pre-releases", extRule(`"tagStatus":"tagged","tags":{"semver":"*","preReleases":"only"}`, `"daysSince":{"pushed":1}`),
			images("A 9:1.0.0 B 9:v1.9.0-rc.1"), "B"},
		{"no pre-releases", extRule(`"tagStatus":"tagged","tags":{"semver":"*","preReleases":"exclude"}`, `"daysSince":{"pushed":1}`),
			images("A 9:1.0.0 B 9:v1.9.0-rc.1"), "A"},
		{"highest versions", extRule(`"tagStatus":"tagged","tags":{"semver":"*"}`, `"keep":{"count":2,"order":"version"}`),
			images("A 1:1.9.0 B 9:1.10.0 C 2:1.10.0-rc.1 D 8:1.9.9,1.2.3"), "A D"},
		{"highest version of each group", extRule(`"tagStatus":"tagged","tags":{"regexp":"v?([0-9]+)\\..*","semver":"*"}`,
			`"keep":{"count":1,"order":"version","group":"1"}`), images("A 1:1.9.0 B 9:1.10.0 C 2:v2.0.0-a D 8:2.0.0"), "A C"},
		{"last pulled", extRule(`"tagStatus":"any"`, `"keep":{"count":1,"order":"pulled"}`), pulled(images("A 9: B 8: C 7:"), 1, -1, -1),
			"B C"},
		{"tag moved", extRule(`"tagStatus":"tagged","tags":{"patterns":["a*"]}`, `"daysSince":{"tagMoved":7}`),
			moved(images("A 90:a1 B 90:a2 C 90:a3,a4 D 90:a5,b"), 8, 7, 90, 6, 9, 1), "D A"},
		{"untagged since", extRule(`"tagStatus":"untagged"`, `"daysSince":{"tagMoved":7}`), untaggedAt(images("A 90: B 90: C 90: D 5:"),
			8, 6), "A C"},
		{"last tagged", extRule(`"tagStatus":"tagged"`, `"keep":{"count":1,"order":"tagMoved"}`), moved(images("A 9:a B 8:b C 7:c"), 1, 5,
			4), "B C"},
		{"last tagged in a group", extRule(`"tagStatus":"tagged","tags":{"regexp":"(.)."}`,
			`"keep":{"count":1,"order":"tagMoved","group":"1"}`),
			moved(images("A 9:a1,b1 B 8:a2,b2"), 5, 1, 2, 6), ""},
		{"overlapping patterns", extRule(`"tagStatus":"tagged","tags":{"patterns":["a*","*1","a1"],"regexp":"(a).*"}`,
			`"keep":{"count":1,"group":"1"}`),
			images("A 9:a1 B 8:a2"), "A"},
	} {
		r := evaluate(t, mustExtend(t, extended(c.rule)), c.images)
		if got := acted(r, letters); !sameSet(strings.Fields(got), strings.Fields(c.want)) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestExtensionActsBeforeThePolicyOfECR(t *testing.T) {
	t.Parallel()
	extension := mustExtend(t, `{"version":"ecrin-lifecycle-1","protect":[{"patterns":["gold*"]}],"rules":[`+
		extRule(`"tagStatus":"tagged","tags":{"patterns":["keep-*"]}`, `"daysSince":{"pulled":365}`)+`]}`)
	ecr := mustParse(t, ecrPolicy(ecrRule(1, anyTag+count(1))))
	all := images("A 9:x B 8:keep-1 C 7:gold-1,y D 6:z E 400:keep-2")
	r := evaluate(t, lifecycle.Join(extension, ecr), all)
	checkReasons(t, r, []string{
		"extension rule 1 expires it: not pulled since it was pushed 400 days ago, more than 365 days",
		"rule 1 expires it: it is number 4, last pushed first, and the rule keeps 1",
		"kept by extension rule 1: not pulled since it was pushed 8 days ago, not more than 365 days",
		"rule 1 would expire it (it is number 2, last pushed first, and the rule keeps 1), but the extension protects one of its tags",
		"kept by rule 1: it is number 1, last pushed first, and the rule keeps 1",
	})
	if got := acted(evaluate(t, ecr, all), letters); got != "E A B C" {
		t.Errorf("without the extension: got %q, want E A B C", got)
	}
	only := mustExtend(t, `{"version":"ecrin-lifecycle-1","protect":[{"semver":">=1"}]}`)
	if got := acted(evaluate(t, lifecycle.Join(only, ecr), images("A 9:1.0.0 B 8:0.1.0 C 7:")), letters); got != "B" {
		t.Errorf("with a protection alone: got %q, want B", got)
	}
}

func TestReasonsOfTheExtension(t *testing.T) {
	t.Parallel()
	p := mustExtend(t, extended(extRule(`"tagStatus":"tagged","tags":{"regexp":"v?([0-9]+)\\..*","semver":"*"}`,
		`"daysSince":{"pushed":1,"tagMoved":3},"keep":{"count":1,"order":"version","group":"1"}`)))
	all := images("A 9:1.0.0 B 8:1.1.0 C 7:1.0.9")
	all[2].Tags[0].MovedAt = now.Add(-47 * time.Hour)
	all[0].ActivatedAt = daysAgo(8).Add(-time.Hour)
	checkReasons(t, evaluate(t, p, all), []string{
		`extension rule 1 expires it: restored from the archive 8 days ago, more than 1 day, and last tagged 8 days ago, more than 3 days, ` +
			`and it is number 3 of the group "1", highest version first, and the rule keeps 1`,
		`kept by extension rule 1: it is number 1 of the group "1", highest version first, and the rule keeps 1`,
		`kept by extension rule 1: last tagged 47 hours ago, not more than 3 days`,
	})
}

func TestReasonsOfAges(t *testing.T) {
	t.Parallel()
	p := mustExtend(t, extended(extRule(`"tagStatus":"any"`, `"daysSince":{"tagMoved":3}`)))
	all := images("A 9: B 8: C 7:x D 6:")
	all[1].UntaggedAt, all[3].UntaggedAt, all[2].Tags[0].MovedAt = daysAgo(2), daysAgo(4), daysAgo(5)
	checkReasons(t, evaluate(t, p, all), []string{
		"extension rule 1 expires it: pushed 9 days ago, more than 3 days",
		"kept by extension rule 1: untagged 2 days ago, not more than 3 days",
		"extension rule 1 expires it: last tagged 5 days ago, more than 3 days",
		"extension rule 1 expires it: untagged 4 days ago, more than 3 days",
	})
	p = mustParse(t, ecrPolicy(ecrRuleWith(1, anyTag+since("Pulled", 1), archive), ecrRule(2, anyTag+archived+since("Transitioned", 90))))
	all = images("A 9: B 8: C 7: D 6:")
	all[0].PulledAt, all[1].PulledAt, all[1].ActivatedAt, all[2].Class = daysAgo(5), daysAgo(9), daysAgo(8), lifecycle.Archived
	all[3].Class, all[3].ArchivedAt = lifecycle.Archived, now.Add(-25*time.Hour)
	checkReasons(t, evaluate(t, p, all), []string{
		"rule 1 archives it: last pulled 5 days ago, more than 1 day",
		"rule 1 archives it: not pulled since it was restored from the archive 8 days ago, more than 1 day",
		"kept by rule 2: archived at an unknown time",
		"kept by rule 2: archived 25 hours ago, not more than 90 days",
	})
}

// The examples of the design page are valid.
func TestExamplesOfThePage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../../docs/design/lifecycle.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := strings.Split(string(page), "```json\n")[1:]
	if len(examples) < 3 {
		t.Fatalf("got %d examples, want some", len(examples))
	}
	for _, e := range examples {
		text, _, _ := strings.Cut(e, "```")
		if strings.Contains(text, "rulePriority") {
			mustParse(t, text)
		} else {
			mustExtend(t, text)
		}
	}
}

// A long match ends with its context.
func TestEvaluateEndsWithItsContext(t *testing.T) {
	t.Parallel()
	p := mustExtend(t, extended(extRule(`"tagStatus":"tagged","tags":{"regexp":"(a?b?c?){60}(x|y)*z"}`, `"keep":{"count":1}`)))
	all := make([]lifecycle.Image, 20_000)
	for i := range all {
		tag := strings.Repeat("abc", 40) + strings.Repeat("0", i%5)
		all[i] = lifecycle.Image{Digest: digest(string(rune(i)) + "slow"), Tags: []lifecycle.Tag{{Name: tag}}, PushedAt: now}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if _, err := lifecycle.Evaluate(ctx, p, all, now); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Evaluate: got %v, want context.DeadlineExceeded", err)
	}
}
