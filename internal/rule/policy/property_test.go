package policy_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/ecrin-dev/ecrin/internal/rule/policy"
)

// member is a member of a JSON object, in the order of the text.
type member struct {
	key   string
	value string // JSON
}

// jsonObject draws an order of the members and white space between them.
func jsonObject(t *rapid.T, members []member) string {
	var out []string
	for _, m := range rapid.Permutation(members).Draw(t, "order") {
		key, err := json.Marshal(m.key)
		if err != nil {
			t.Fatal(err)
		}
		space := rapid.SampledFrom([]string{"", " ", "\n\t"})
		out = append(out, space.Draw(t, "space")+string(key)+space.Draw(t, "space")+":"+m.value)
	}
	return "{" + strings.Join(out, ",") + "}"
}

// oneOrMore draws one of the JSON values, or an array of some of them.
func oneOrMore(t *rapid.T, values ...string) string {
	some := rapid.SliceOfN(rapid.SampledFrom(values), 1, 4).Draw(t, "values")
	if len(some) == 1 && rapid.Bool().Draw(t, "single") {
		return some[0]
	}
	return "[" + strings.Join(some, " , ") + "]"
}

func drawStatement(t *rapid.T) string {
	effect := rapid.SampledFrom([]string{"Allow", "Deny"}).Draw(t, "effect")
	negate := func(element string) string {
		if (element != "Principal" || effect == "Deny") && rapid.Bool().Draw(t, "not") {
			return "Not" + element
		}
		return element
	}
	principal := `"*"`
	if rapid.Bool().Draw(t, "principal") {
		groups := []member{
			{"AWS", oneOrMore(t, `"*"`, `"111122223333"`, `"arn:aws:iam::111122223333:root"`, `"arn:aws:iam::111122223333:user/a/b"`)},
			{"Service", oneOrMore(t, `"codebuild.amazonaws.com"`, `"lambda.amazonaws.com"`)},
		}
		from := rapid.IntRange(0, 1).Draw(t, "from")
		principal = jsonObject(t, groups[from:rapid.IntRange(from+1, 2).Draw(t, "to")])
	}
	members := []member{
		{"Effect", `"` + effect + `"`},
		{negate("Principal"), principal},
		{negate("Action"), oneOrMore(t, `"*"`, `"ecr:*"`, `"ecr:PutImage"`, `"ECR:get?*"`)},
		{negate("Resource"), oneOrMore(t, `"*"`, `"arn:aws:ecr:*:*:*"`, `"arn:aws:ecr:eu-west-1:111122223333:repository/${aws:x}"`)},
	}
	if rapid.Bool().Draw(t, "sid") {
		sid, err := json.Marshal(rapid.String().Draw(t, "sid"))
		if err != nil {
			t.Fatal(err)
		}
		members = append(members, member{"Sid", string(sid)})
	}
	if rapid.Bool().Draw(t, "condition") {
		members = append(members, member{"Condition", jsonObject(t, []member{
			{"StringLikeIfExists", jsonObject(t, []member{
				{"aws:a", oneOrMore(t, `"a*"`, `7`, `true`, `""`)}, {"aws:b", "[]"}, {"aws:ResourceTag/ü", `"\u00e9\/\t\"\\"`}})},
			{"ForAllValues:NumericLessThan", jsonObject(t, []member{{"aws:n", oneOrMore(t, `1`, `"2"`, `1.50e+1`)}})},
			{"DateLessThan", jsonObject(t, []member{{"aws:d", oneOrMore(t, `"2026-01-01"`, `1700000000`)}})},
			{"Null", "{}"},
		})})
	}
	return jsonObject(t, members)
}

// Parse of the result of String returns an equal document, for which String returns the same text.
func TestParseReadsWhatStringWrote(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		statements := drawStatement(t)
		if rapid.Bool().Draw(t, "several") {
			statements = "[" + statements + strings.Repeat(","+drawStatement(t), rapid.IntRange(0, 2).Draw(t, "more")) + "]"
		}
		members := []member{{"Statement", statements}}
		if v := rapid.SampledFrom([]string{"", `"2008-10-17"`, `"2012-10-17"`}).Draw(t, "version"); v != "" {
			members = append(members, member{"Version", v})
		}
		if rapid.Bool().Draw(t, "id") {
			members = append(members, member{"Id", `"some id"`})
		}
		text := jsonObject(t, members)
		kind := rapid.SampledFrom([]policy.Kind{policy.Repository, policy.Registry}).Draw(t, "kind")
		d, err := policy.Parse(text, kind)
		if err != nil {
			t.Fatalf("Parse(%s): %v", text, err)
		}
		roundTrip(t, d)
		if got, want := compact(t, d.String()), compact(t, text); !reflect.DeepEqual(got, want) {
			t.Fatalf("the value of String differs:\n got %v\nwant %v", got, want)
		}
	})
}

// compact returns the JSON value of a policy, without the members that String leaves out.
func compact(t *rapid.T, text string) any {
	var v map[string]any
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("String is not JSON: %v", err)
	}
	all, ok := v["Statement"].([]any)
	if !ok {
		all = []any{v["Statement"]}
	}
	for _, s := range all {
		if s := s.(map[string]any); s["Sid"] == "" {
			delete(s, "Sid")
		}
	}
	return v
}

type failer interface {
	Fatalf(format string, args ...any)
}

func roundTrip(t failer, d *policy.Document) {
	written := d.String()
	again, err := policy.Parse(written, d.Kind)
	if err != nil {
		t.Fatalf("Parse of the result of String: %v\n%s", err, written)
	}
	if !reflect.DeepEqual(again, d) {
		t.Fatalf("Parse of the result of String differs:\n got %+v\nwant %+v\n%s", again, d, written)
	}
	if twice := again.String(); twice != written {
		t.Fatalf("String differs the second time:\n got %s\nwant %s", twice, written)
	}
}
