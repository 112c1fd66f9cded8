package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/ecrin-dev/ecrin/internal/rule/policy"
)

// drawTagPolicy draws an identity policy whose statements have conditions on the key app:tag, on others, or on none.
func drawTagPolicy(t *rapid.T) *policy.Compiled {
	operators := []string{"StringEquals", "StringNotEquals", "StringLike", "StringNotLike", "StringEqualsIgnoreCase", "NumericLessThan",
		"ArnLike", "Bool", "BinaryEquals"}
	values := map[string][]string{
		"NumericLessThan": {"5", "12"}, "Bool": {"true", "false"}, "BinaryEquals": {"MTIz", "dHJ1"},
		"": {"a*", "b", "*1", "?2", "A1", "a1", "${aws:username}*", "${aws:none}", "${aws:none, 'b'}", "arn:aws:a:b:c:*"},
	}
	var statements []string
	for range rapid.IntRange(1, 4).Draw(t, "statements") {
		operator := rapid.SampledFrom(operators).Draw(t, "operator")
		of := values[operator]
		if of == nil {
			of = values[""]
		}
		var list []string
		for _, v := range rapid.SliceOfN(rapid.SampledFrom(of), 1, 3).Draw(t, "values") {
			list = append(list, `"`+v+`"`)
		}
		full := rapid.SampledFrom([]string{"", "ForAnyValue:", "ForAllValues:"}).Draw(t, "over") + operator +
			rapid.SampledFrom([]string{"", "IfExists"}).Draw(t, "if exists")
		key := rapid.SampledFrom([]string{"app:tag", "App:Tag", "aws:username"}).Draw(t, "key")
		condition := `,"Condition":{"` + full + `":{"` + key + `":[` + strings.Join(list, ",") + `]}`
		if rapid.Bool().Draw(t, "null") {
			condition += `,"Null":{"app:tag":"false"}`
		}
		statements = append(statements, `{"Effect":"`+rapid.SampledFrom([]string{"Allow", "Deny"}).Draw(t, "effect")+
			`","Action":"*","Resource":"*"`+condition+`}}`)
	}
	d, err := policy.Parse(`{"Version":"2012-10-17","Statement":[`+strings.Join(statements, ",")+`]}`, policy.Identity)
	if err != nil {
		t.Fatal(err)
	}
	return policy.Compile(d, nil)
}

// Policies decide alike about all values of one class, as the only value of the key and in a list, and about a list as about
// one value of each of its classes.
func TestPoliciesDecideAlikeAboutAClass(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := &policy.Policies{Identity: []policy.Named{{Policy: drawTagPolicy(t)}}, Boundary: []policy.Named{{Policy: drawTagPolicy(t)}}}
		var base policy.Context
		if rapid.Bool().Draw(t, "user") {
			base.Set("aws:username", rapid.SampledFrom([]string{"a", "b"}).Draw(t, "name"))
		}
		classes := policy.ClassesOf(p, "App:Tag", &base)
		if classes == nil {
			t.Fatal("no classes, although no variable uses the key")
		}
		decide := func(set func(*policy.Context)) policy.Decision {
			c := base.Clone()
			set(&c)
			return policy.Evaluate(p, &policy.Request{Caller: policy.Caller{Kind: policy.User, ARN: "arn:aws:iam::111122223333:user/a"},
				Action: "ecr:BatchGetImage", Resource: "*", Context: &c})
		}
		values := []string{"a", "b", "a1", "A1", "b2", "1", "7", "13", "true", "123", "MTIz", "", "arn:aws:a:b:c:d", "arn:aws-cn:a:b:c:d",
			"x", "B", "y1"}
		list := rapid.SliceOfN(rapid.SampledFrom(values), 1, 12).Draw(t, "list")
		first := map[string]string{}
		var some []string
		for _, v := range list {
			class := classes.Of(v)
			if _, ok := first[class]; !ok {
				first[class] = v
				some = append(some, v)
			}
			one := decide(func(c *policy.Context) { c.Set("app:tag", v) })
			other := decide(func(c *policy.Context) { c.Set("app:tag", first[class]) })
			if one != other {
				t.Errorf("%q and %q of the class %q: got the decisions %+v and %+v", v, first[class], class, one, other)
			}
		}
		all := decide(func(c *policy.Context) { c.SetList("app:tag", list...) })
		if each := decide(func(c *policy.Context) { c.SetList("app:tag", some...) }); all != each {
			t.Errorf("the list %q and %q, one of each class: got the decisions %+v and %+v", list, some, all, each)
		}
	})
}

// Two requests with the same ID sort all values alike: the ID has the values of policy variables, and it tells apart lists,
// operators and patterns that look alike.
func TestClassesHaveAnID(t *testing.T) {
	t.Parallel()
	of := func(condition, user string, dependent ...string) *policy.Classes {
		text := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":{` + condition + `}}]}`
		d, err := policy.Parse(text, policy.Identity)
		if err != nil {
			t.Fatal(err)
		}
		var c policy.Context
		if user != "" {
			c.Set("aws:username", user)
		}
		return policy.ClassesOf(&policy.Policies{Identity: []policy.Named{{Policy: policy.Compile(d, nil)}}}, "app:tag", &c, dependent...)
	}
	ids := map[string]string{}
	for _, c := range []struct{ condition, user string }{
		{`"StringLike":{"app:tag":"a*"}`, ""}, {`"StringNotLike":{"app:tag":"a*"}`, ""}, {`"StringEquals":{"app:tag":"a*"}`, ""},
		{`"StringLike":{"app:tag":["a","*"]}`, ""}, {`"StringLike":{"app:tag":"${aws:username}*"}`, "a"},
		{`"StringLike":{"app:tag":"${aws:username}*"}`, "b"}, {`"StringLike":{"app:tag":"${aws:username}*"}`, ""},
		{`"StringLike":{"app:tag":"${aws:username, 'a'}*"}`, ""}, {`"StringLike":{"app:tag":"${aws:username}*"}`, "*"},
		{`"StringLike":{"app:tag":"**"}`, ""}, {`"StringLike":{"app:tag":["a","b"]}`, ""}, {`"StringLike":{"app:tag":"ab"}`, ""},
		{`"StringLike":{"app:tag":"a"},"StringEquals":{"app:tag":"b"}`, ""}, {`"NumericEquals":{"app:tag":"1"}`, ""},
		{`"NumericEquals":{"app:tag":"2"}`, ""}, {`"StringLike":{"aws:username":"a"}`, ""},
	} {
		id := of(c.condition, c.user).ID()
		if again := of(c.condition, c.user).ID(); again != id {
			t.Errorf("%s for %q: got the IDs %q and %q, want the same", c.condition, c.user, id, again)
		}
		what := fmt.Sprintf("%s for %q", c.condition, c.user)
		if other := ids[id]; other != "" && !(strings.Contains(what, "'a'") || strings.Contains(other, "'a'")) {
			t.Errorf("%s and %s have the same ID %q", what, other, id)
		}
		ids[id] = what
	}
	if got := of(`"StringEquals":{"aws:username":"${app:tag}"}`, "a"); got != nil {
		t.Error("a policy variable uses the key: got classes, want none")
	}
	if got := of(`"StringLike":{"app:tag":"${app:age}"}`, "a", "App:Size", "App:Age"); got != nil {
		t.Error("a policy variable uses a key that depends on the key: got classes, want none")
	}
	if a, b := of(`"StringLike":{"aws:username":"a"}`, ""), "x"; a.Of(b) != a.Of("y") {
		t.Error("no condition is on the key: got two classes, want one")
	}
}
