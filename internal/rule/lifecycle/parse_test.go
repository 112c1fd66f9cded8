package lifecycle_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ecrin-dev/ecrin/internal/rule/lifecycle"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// ecrRule returns a rule with the members of a selection.
func ecrRule(priority int, selection string) string {
	return ecrRuleWith(priority, selection, `{"type":"expire"}`)
}

func ecrRuleWith(priority int, selection, action string) string {
	return fmt.Sprintf(`{"rulePriority":%d,"selection":{%s},"action":%s}`, priority, selection, action)
}

// ecrPolicy returns a policy of rules, long enough.
func ecrPolicy(rules ...string) string { return long(`{"rules":[` + strings.Join(rules, ",") + `]}`) }

// long appends white space up to the minimum length.
func long(s string) string { return s + strings.Repeat(" ", max(0, 100-len(s))) }

// The selections of ECR.
func tagged(patterns ...string) string {
	return fmt.Sprintf(`"tagStatus":"tagged","tagPatternList":["%s"]`, strings.Join(patterns, `","`))
}

const (
	untagged = `"tagStatus":"untagged"`
	anyTag   = `"tagStatus":"any"`
	archived = `,"storageClass":"archive"`
	archive  = `{"type":"transition","targetStorageClass":"archive"}`
)

func count(n int) string { return fmt.Sprintf(`,"countType":"imageCountMoreThan","countNumber":%d`, n) }

func since(event string, days int) string {
	return fmt.Sprintf(`,"countType":"sinceImage%s","countUnit":"days","countNumber":%d`, event, days)
}

func mustParse(t fataler, text string) *lifecycle.Policy {
	t.Helper()
	p, err := lifecycle.Parse(text)
	if err != nil {
		t.Fatalf("Parse(%s): %v", text, err)
	}
	return p
}

type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

func TestParse(t *testing.T) {
	t.Parallel()
	p := mustParse(t, ecrPolicy(
		ecrRuleWith(20, anyTag+since("Pulled", 90), archive),
		`{"rulePriority":3,"description":"é","selection":{"tagStatus":"tagged","tagPrefixList":["a*","b"]`+count(5)+
			`},"action":{"type":"expire"}}`,
		ecrRule(4, tagged("*-rc*", "x", "a*b*c*d*")+since("Pushed", 2147483647)),
		ecrRule(1, untagged+`,"storageClass":"standard"`+since("Pushed", 1)),
		ecrRule(7, untagged+archived+since("Transitioned", 90)),
		ecrRule(21, anyTag+archived+since("Transitioned", 365)),
	))
	var got []lifecycle.Rule
	for _, r := range p.Rules() {
		got = append(got, *r)
	}
	pattern := func(text string) lifecycle.Pattern { return lifecycle.Pattern{Text: text} }
	want := []lifecycle.Rule{
		{Priority: 1, Status: lifecycle.Untagged, Older: []lifecycle.Age{{lifecycle.Pushed, 1}}, Action: lifecycle.Expire},
		{Priority: 3, Description: "é", Status: lifecycle.Tagged, Patterns: []lifecycle.Pattern{{Text: "a*", Prefix: true}, {Text: "b",
			Prefix: true}},
			Keep: &lifecycle.Keep{Count: 5}, Action: lifecycle.Expire},
		{Priority: 4, Status: lifecycle.Tagged, Patterns: []lifecycle.Pattern{pattern("*-rc*"), pattern("x"), pattern("a*b*c*d*")},
			Older: []lifecycle.Age{{lifecycle.Pushed, 2147483647}}, Action: lifecycle.Expire},
		{Priority: 7, Status: lifecycle.Untagged, Class: lifecycle.Archived, Older: []lifecycle.Age{{lifecycle.Archival, 90}},
			Action: lifecycle.Expire},
		{Priority: 20, Older: []lifecycle.Age{{lifecycle.Pulled, 90}}, Action: lifecycle.Archive},
		{Priority: 21, Class: lifecycle.Archived, Older: []lifecycle.Age{{lifecycle.Archival, 365}}, Action: lifecycle.Expire},
	}
	for i := range want {
		want[i].Document = lifecycle.ECR
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(lifecycle.Pattern{})); diff != "" {
		t.Errorf("Parse: -want +got:\n%s", diff)
	}
}

const refusal = "Invalid parameter at 'LifecyclePolicyText' failed to satisfy constraint: 'Lifecycle policy validation failure: "

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	const notAPolicy = "Could not map policyString into LifecyclePolicy."
	const noAlternative = "instance failed to match exactly one schema (matched 0 out of 2)"
	ok := ecrRule(1, anyTag+count(1))
	for _, c := range []struct{ name, text, aws, ours string }{
		{"not JSON", "rules", notAPolicy, "line 1, column 1: invalid character 'r' looking for beginning of value"},
		{"incomplete", strings.TrimRight(ecrPolicy(ok), " }]") + strings.Repeat(" ", 40), notAPolicy, "unexpected end of JSON input"},
		{"trailing data", ecrPolicy(ok) + "{}", notAPolicy, "invalid character '{' after top-level value"},
		{"duplicate key", "{\n \"rules\":[],\"rules\":[" + ok + "]}", notAPolicy, `line 2, column 13: the member "rules" appears twice`},
		{"duplicate key of a rule", ecrPolicy(`{"rulePriority":1,"rulePriority":2}`), notAPolicy,
			`rules[0]: the member "rulePriority" appears twice`},
		{"deep", strings.Repeat("[", 3000) + strings.Repeat("]", 3000), notAPolicy, "line 1, column 8: [0][0]"},
		{"deeper than the decoder", strings.Repeat("[", 15000) + strings.Repeat("]", 15000), notAPolicy, "exceeded max depth"},
		{"deep member", ecrPolicy(`{"rulePriority":` + strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100) + "}"), notAPolicy,
			"nested deeper"},
		{"not UTF-8", "{\"rules\":\"\xff\"}", notAPolicy, "line 1, column 11: a byte that is not UTF-8"},
		{"half a pair", `{"rules":"\ud800"}`, notAPolicy, `has an escape \u that is not a character`},
		{"array", `[` + ok + `]`, notAPolicy, "line 1, column 1: must be an object"},
		{"null", "null", notAPolicy, "must be an object"},
		{"no rules", `{}`, `object has missing required properties (["rules"])`, "line 1, column 1: rules is missing"},
		{"unknown member", `{"rules":[` + ok + `],"x":1}`, `object instance has properties which are not allowed by the schema: ["x"]`,
			"x: unknown member"},
		{"rules null", `{"rules":null}`, `instance type (null) does not match any allowed primitive type (allowed: ["array"])`,
			"rules: must be an array"},
		{"rules empty", `{"rules":[]}`, "array is too short: must have at least 1 elements but instance has 0 elements",
			"rules: must have at least 1"},
		{"51 rules", `{"rules":[` + strings.Repeat(ok+",", 50) + ok + `]}`,
			"array is too long: must have at most 50 elements but instance has 51 elements", "rules"},
		{"rule text", `{"rules":["a"]}`, `instance type (string) does not match any allowed primitive type (allowed: ["object"])`,
			"line 1, column 11: rules[0]: must be an object"},
		{"empty rule", ecrPolicy(`{}`), `object has missing required properties (["action","rulePriority","selection"])`,
			"rules[0]: action, rulePriority, selection"},
		{"member of a rule", ecrPolicy(`{"rulePriority":1,"selection":{},"action":{},"ecrin":{}}`),
			`object instance has properties which are not allowed by the schema: ["ecrin"]`, "rules[0].ecrin: unknown member"},
		{"priority 0", ecrPolicy(ecrRule(0, anyTag+count(1))),
			"numeric instance is lower than the required minimum (minimum: 1, found: 0)", "rules[0].rulePriority"},
		{"priority of 20 digits", ecrPolicy(strings.Replace(ok, ":1,", ":99999999999999999999,", 1)), notAPolicy, "must be 2147483647 or less"},
		{"negative priority of 20 digits", ecrPolicy(strings.Replace(ok, ":1,", ":-99999999999999999999,", 1)),
			"numeric instance is lower than the required minimum (minimum: 1, found: -99999999999999999999)", "1 or more"},
		{"priority 1.0", ecrPolicy(strings.Replace(ok, ":1,", ":1.0,", 1)),
			`instance type (number) does not match any allowed primitive type (allowed: ["integer"])`,
			"rules[0].rulePriority: must be an integer"},
		{"priority text", ecrPolicy(strings.Replace(ok, ":1,", `:"1",`, 1)),
			`instance type (string) does not match any allowed primitive type (allowed: ["integer"])`,
			"rules[0].rulePriority: must be an integer"},
		{"description", ecrPolicy(strings.Replace(ok, `{`, `{"description":true,`, 1)),
			`instance type (boolean) does not match any allowed primitive type (allowed: ["string"])`, "rules[0].description: must be a string"},
		{"selection without members", ecrPolicy(ecrRule(1, "")),
			`object has missing required properties (["countNumber","countType","tagStatus"])`,
			"rules[0].selection: countNumber, countType, tagStatus"},
		{"selection with a member", ecrPolicy(ecrRule(1, anyTag+count(1)+`,"x":1`)),
			`object instance has properties which are not allowed by the schema: ["x"]`, "rules[0].selection.x: unknown member"},
		{"tagStatus", ecrPolicy(ecrRule(1, `"tagStatus":"ANY"`+count(1))),
			`instance value ("ANY") not found in enum (possible values: ["any","tagged","untagged"])`,
			"rules[0].selection.tagStatus: must be one of"},
		{"storageClass", ecrPolicy(ecrRule(1, anyTag+`,"storageClass":"cold"`+count(1))),
			`instance value ("cold") not found in enum (possible values: ["standard","archive"])`, "storageClass"},
		{"countNumber 0", ecrPolicy(ecrRule(1, anyTag+count(0))),
			"numeric instance is lower than the required minimum (minimum: 1, found: 0)", "countNumber"},
		{"countType", ecrPolicy(ecrRule(1, anyTag+since("Deleted", 1))), noAlternative, "rules[0].selection.countType: must be one of"},
		{"countUnit with a count", ecrPolicy(ecrRule(1, anyTag+count(1)+`,"countUnit":"days"`)), noAlternative, "countUnit: must be absent"},
		{"no countUnit", ecrPolicy(ecrRule(1, anyTag+`,"countType":"sinceImagePushed","countNumber":1`)), noAlternative,
			"countUnit is missing"},
		{"hours", ecrPolicy(ecrRule(1, anyTag+`,"countType":"sinceImagePushed","countNumber":1,"countUnit":"hours"`)),
			`instance value ("hours") not found in enum (possible values: ["days"])`, "countUnit"},
		{"archive with a count", ecrPolicy(ecrRule(1, anyTag+archived+count(1))), noAlternative, "storageClass: must be standard"},
		{"standard with Transitioned", ecrPolicy(ecrRule(1, anyTag+since("Transitioned", 90))), noAlternative, "storageClass must be archive"},
		{"Transitioned 89", ecrPolicy(ecrRule(1, anyTag+archived+since("Transitioned", 89))),
			"numeric instance is lower than the required minimum (minimum: 90, found: 89)", "countNumber: must be 90 or more"},
		{"Pulled with expire", ecrPolicy(ecrRule(1, anyTag+since("Pulled", 1))),
			"countType=SINCE_IMAGE_PULLED can only be used with the transition action.", "rules[0].action.type: must be transition"},
		{"Transitioned with transition", ecrPolicy(ecrRuleWith(1, anyTag+archived+since("Transitioned", 90), archive)),
			"countType=SINCE_IMAGE_TRANSITIONED can only be used with the expire action.", "rules[0].action.type: must be expire"},
		{"action text", ecrPolicy(ecrRuleWith(1, anyTag+count(1), `"expire"`)), noAlternative, "rules[0].action: must be an object"},
		{"action type", ecrPolicy(ecrRuleWith(1, anyTag+count(1), `{"type":"delete"}`)), noAlternative, "rules[0].action.type: must be one of"},
		{"target null with expire", ecrPolicy(ecrRuleWith(1, anyTag+count(1), `{"type":"expire","targetStorageClass":null}`)),
			noAlternative, "also as null"},
		{"transition without target", ecrPolicy(ecrRuleWith(1, anyTag+count(1), `{"type":"transition"}`)), noAlternative,
			"targetStorageClass is missing"},
		{"target standard", ecrPolicy(ecrRuleWith(1, anyTag+count(1), `{"type":"transition","targetStorageClass":"standard"}`)),
			noAlternative, "must be one of archive"},
		{"no list", ecrPolicy(ecrRule(1, `"tagStatus":"tagged"`+count(1))),
			"Must specify tagPrefixList or tagPatternList when tagStatus=TAGGED.", "rules[0].selection"},
		{"both lists", ecrPolicy(ecrRule(1, tagged("a")+`,"tagPrefixList":["a"]`+count(1))),
			"Only one of tagPrefixList and tagPatternList can be specified.", "tagPrefixList"},
		{"list with any", ecrPolicy(ecrRule(1, anyTag+`,"tagPrefixList":["a"]`+count(1))),
			"tagPrefixList and tagPatternList can only be specified when tagStatus=TAGGED.", "tagPrefixList: must be absent"},
		{"list null", ecrPolicy(ecrRule(1, anyTag+`,"tagPatternList":null`+count(1))),
			`instance type (null) does not match any allowed primitive type (allowed: ["array"])`, "tagPatternList: must be an array"},
		{"list empty", ecrPolicy(ecrRule(1, `"tagStatus":"tagged","tagPrefixList":[]`+count(1))),
			"array is too short: must have at least 1 elements but instance has 0 elements", "tagPrefixList"},
		{"pattern empty", ecrPolicy(ecrRule(1, tagged("")+count(1))), `string "" is too short (length: 0, required minimum: 1)`,
			"tagPatternList[0]"},
		{"pattern of 30 KB", ecrPolicy(ecrRule(1, tagged(strings.Repeat("a", 30000))+count(1))),
			`string "` + strings.Repeat("a", 80) + `…" is too long (length: 30000, maximum allowed: 128)`,
			"tagPatternList[0]: must have at most 128 characters"},
		{"5 wildcards", ecrPolicy(ecrRule(1, tagged("a*b*c*d*e*")+count(1))), "Tag patterns can have at most 4 wildcards.",
			"tagPatternList[0]"},
		{"equal priorities", ecrPolicy(ecrRule(1, tagged("a")+count(1)), ecrRule(1, untagged+count(1))),
			"Rule priorities must be unique.", "rules[1].rulePriority"},
		{"any first", ecrPolicy(ok, ecrRule(2, untagged+count(1))), "Rule for tagStatus=ANY must have the lowest priority per storage class",
			"rules[0].rulePriority: a rule with tagStatus any must have the highest number of its storage class; rule 2 has a higher one"},
		{"any twice", ecrPolicy(ok, ecrRule(2, anyTag+count(1))),
			"Rule for tagStatus=ANY must have the lowest priority per storage class", "rules[0]"},
		{"untagged twice", ecrPolicy(ecrRule(1, untagged+count(1)), ecrRule(2, untagged+since("Pushed", 1))),
			"Only one rule can select Untagged images per storage class.", "rules[1].selection.tagStatus: rule 1 selects untagged images too"},
		{"pattern twice", ecrPolicy(ecrRule(1, tagged("a", "b")+count(1)), ecrRule(2, tagged("c", "b")+count(1))),
			"Tag prefixes and patterns must be unique across rules per storage class.",
			`rules[1].selection.tagPatternList[1]: rule 1 has "b" too`},
	} {
		_, err := lifecycle.Parse(long(c.text))
		var p *lifecycle.Problem
		if !errors.Is(err, fault.InvalidParameter) || !errors.As(err, &p) {
			t.Errorf("%s: got the error %v, want fault.InvalidParameter because of a Problem", c.name, err)
			continue
		}
		public := fault.From(err).Public
		want := refusal + c.aws + "' (line "
		if !strings.HasPrefix(public, want) || !strings.HasSuffix(public, ")") || !strings.Contains(public[len(want)-len("(line "):], c.ours) {
			t.Errorf("%s: got\n%s\nwant\n%s… %s", c.name, public, want, c.ours)
		}
	}
}

// The limits of the service model are in characters, and its text comes before all others.
func TestParseLength(t *testing.T) {
	t.Parallel()
	ok := ecrRule(1, anyTag+count(1))
	text := func(characters int) string {
		s := `{"rules":[` + strings.Replace(ok, "{", `{"description":"",`, 1) + `]}`
		return strings.Replace(s, `n":"`, `n":"`+strings.Repeat("é", max(0, characters-len(s))), 1)
	}
	for n, want := range map[int]string{
		30720: "", 30721: "Member must have length less than or equal to 30720",
	} {
		_, err := lifecycle.Parse(text(n))
		if want != "" {
			want = "Invalid parameter at 'lifecyclePolicyText' failed to satisfy constraint: '" + want + "'"
		}
		if got := public(err); got != want {
			t.Errorf("Parse of %d characters: got %q, want %q", n, got, want)
		}
	}
	if _, err := lifecycle.Parse(strings.Repeat("é", 100)); !strings.HasPrefix(public(err), refusal) {
		t.Errorf("Parse of 100 characters: got %v, want the error for a text that is not JSON", err)
	}
	for _, c := range []struct{ text, want string }{
		{strings.Repeat("é", 99), "Member must have length greater than or equal to 100"},
		{"", "Member must have length greater than or equal to 100"},
	} {
		want := "Invalid parameter at 'lifecyclePolicyText' failed to satisfy constraint: '" + c.want + "'"
		if _, err := lifecycle.Parse(c.text); public(err) != want || !errors.Is(err, fault.InvalidParameter) {
			t.Errorf("Parse(%q): got %v, want %s", c.text, err, want)
		}
	}
}

func public(err error) string {
	if err == nil {
		return ""
	}
	return fault.From(err).Public
}

// What the grammar allows: one rule for any image in each storage class, equal patterns in different classes and lists, and a
// pattern twice in one rule.
func TestParseAllows(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		ecrPolicy(ecrRule(9, anyTag+count(1)), ecrRule(10, anyTag+archived+since("Transitioned", 90))),
		ecrPolicy(ecrRule(1, untagged+count(1)), ecrRule(2, untagged+archived+since("Transitioned", 90))),
		ecrPolicy(ecrRule(1, anyTag+count(1)), ecrRule(2, tagged("a")+archived+since("Transitioned", 90))),
		ecrPolicy(ecrRule(1, tagged("a")+count(1)), ecrRule(2, tagged("a")+archived+since("Transitioned", 90))),
		ecrPolicy(ecrRule(1, tagged("a")+count(1)), ecrRule(2, `"tagStatus":"tagged","tagPrefixList":["a"]`+count(1))),
		ecrPolicy(ecrRule(1, tagged("a", "a", "****")+count(1))),
		ecrPolicy(ecrRuleWith(1, anyTag+count(1), archive)),
		ecrPolicy(strings.Replace(ecrRule(1, anyTag+count(1)), "{", `{"description":"",`, 1)),
	} {
		mustParse(t, text)
	}
}

func TestPatternMatch(t *testing.T) {
	t.Parallel()
	if zero := (lifecycle.Pattern{}); zero.Match("a") || !zero.Match("") {
		t.Errorf("the zero pattern matches: got %v for a and %v for the empty text, want false and true", zero.Match("a"), zero.Match(""))
	}
	for _, c := range []struct{ pattern, yes, no string }{
		{"prod", "prod", "prod1 xprod Prod"},
		{"prod*", "prod prod1", "xprod pro"},
		{"*prod", "prod xprod", "prod1"},
		{"*a*b", "ab xaxb aab abb", "ba a b abc"},
		{"a*a", "aa aba", "a"},
		{"*test*1*2*3", "test123 xtestx1x2x3 test1223", "test12 test132"},
		{"a**b", "ab axb", "a b"},
		{"****", "a", ""},
	} {
		p := mustParse(t, ecrPolicy(ecrRule(1, tagged(c.pattern)+count(1)))).Rules()[0].Patterns[0]
		for _, tag := range strings.Fields(c.yes) {
			if !p.Match(tag) {
				t.Errorf("%q matches %q: got false, want true", c.pattern, tag)
			}
		}
		for _, tag := range strings.Fields(c.no) {
			if p.Match(tag) {
				t.Errorf("%q matches %q: got true, want false", c.pattern, tag)
			}
		}
	}
}
