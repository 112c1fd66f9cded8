package policy_test

import (
	"slices"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/rule/policy"
)

// A policy variable without a value equals nothing: operators that negate hold against it, and the other operators do not.
// Source: IAM user guide, policy variables with no value.
func TestOperatorsOnAVariableWithoutAValue(t *testing.T) {
	t.Parallel()
	var c policy.Context
	c.Set("aws:ResourceTag/team", "web")
	c.Set("aws:SourceArn", "arn:aws:sns:eu-west-1:111111111111:topic")
	c.Set("aws:empty", "")
	c.SetList("aws:TagKeys", "env", "team")
	for _, test := range []struct {
		operator, key, values string
		want                  bool
	}{
		{"StringEquals", "aws:ResourceTag/team", `"${aws:x}"`, false},
		{"StringEqualsIgnoreCase", "aws:ResourceTag/team", `"${aws:x}"`, false},
		{"StringLike", "aws:ResourceTag/team", `"${aws:x}*"`, false},
		{"StringLike", "aws:ResourceTag/team", `"*${aws:x}"`, false},
		{"ArnEquals", "aws:SourceArn", `"arn:aws:sns:*:${aws:x}:*"`, false},
		{"ArnLike", "aws:SourceArn", `"arn:aws:sns:*:${aws:x}:*"`, false},
		{"StringNotEquals", "aws:ResourceTag/team", `"${aws:x}"`, true},
		{"StringNotEqualsIgnoreCase", "aws:ResourceTag/team", `"${aws:x}"`, true},
		{"StringNotLike", "aws:ResourceTag/team", `"${aws:x}*"`, true},
		{"StringNotLike", "aws:ResourceTag/team", `"*${aws:x}"`, true},
		{"ArnNotEquals", "aws:SourceArn", `"arn:aws:sns:*:${aws:x}:*"`, true},
		{"ArnNotLike", "aws:SourceArn", `"arn:aws:sns:*:${aws:x}:*"`, true},
		{"StringNotEqualsIfExists", "aws:ResourceTag/team", `"${aws:x}"`, true},
		{"ArnNotLikeIfExists", "aws:SourceArn", `"arn:aws:sns:*:${aws:x}:*"`, true},

		{"StringNotEquals", "aws:ResourceTag/team", `["${aws:x}","web"]`, false}, // the other value is equal
		{"StringNotEquals", "aws:ResourceTag/team", `["${aws:x}","db"]`, true},
		{"StringNotLike", "aws:ResourceTag/team", `["${aws:x}*","w*"]`, false},
		{"StringNotEquals", "aws:y", `"${aws:x}"`, true}, // the key has no value either

		{"ForAllValues:StringEquals", "aws:TagKeys", `"${aws:x}"`, false},
		{"ForAllValues:StringNotEquals", "aws:TagKeys", `"${aws:x}"`, true},
		{"ForAnyValue:StringNotLike", "aws:TagKeys", `"${aws:x}"`, true},
		{"ForAnyValue:StringEquals", "aws:TagKeys", `"${aws:x}"`, false},
		{"ForAllValues:StringNotEquals", "aws:TagKeys", `["${aws:x}","team"]`, false},

		{"StringNotEquals", "aws:ResourceTag/team", `"${aws:TagKeys}"`, true}, // a list gives a variable no value
		{"StringNotEquals", "aws:ResourceTag/team", `"${aws:x, 'web'}"`, false},
		{"StringNotEquals", "aws:ResourceTag/team", `"${aws:empty}"`, true}, // the empty text is a value
		{"StringNotEquals", "aws:empty", `"${aws:empty}"`, false},
		{"StringEquals", "aws:empty", `"${aws:empty}"`, true},
		{"StringNotEquals", "aws:empty", `"${aws:empty, 'x'}"`, false},
		{"StringLike", "aws:ResourceTag/team", `"*${aws:empty}*"`, true}, // it is at every place
		{"StringLike", "aws:ResourceTag/team", `"w*${aws:empty}*b"`, true},
		{"StringLike", "aws:ResourceTag/team", `"w*${aws:empty}x*b"`, false},
	} {
		condition := `{"` + test.operator + `":{"` + test.key + `":` + test.values + `}}`
		if got := holds(t, condition, &c); got != test.want {
			t.Errorf("%s: got %v, want %v", condition, got, test.want)
		}
	}
}

// A deny that compares the tags of the caller and of the resource denies a caller without the tag.
func TestAttack31DenyByATagThatTheCallerDoesNotHave(t *testing.T) {
	t.Parallel()
	const repo = "arn:aws:ecr:eu-west-1:111111111111:repository/"
	const all = `{"Effect":"Allow","Action":"ecr:*","Resource":"*"}`
	denyIf := func(condition string) texts {
		return texts{identity: all + `,{"Effect":"Deny","Action":"*","Resource":"*","Condition":` + condition + `}`}
	}
	teams := []requestCase{
		{caller: alice, keys: "aws:ResourceTag/team=web aws:PrincipalTag/team=web", want: allowed},
		{caller: alice, keys: "aws:ResourceTag/team=web aws:PrincipalTag/team=db", want: explicit},
		{caller: alice, keys: "aws:ResourceTag/team=web", want: explicit},
		{caller: alice, keys: "aws:PrincipalTag/team=web", want: explicit},
		{caller: alice, want: explicit},
		{caller: alice, keys: "aws:ResourceTag/team=web aws:PrincipalTag/team=", want: explicit},
		{caller: alice, keys: "aws:ResourceTag/team= aws:PrincipalTag/team=", want: allowed},
	}
	// Without the tag of the resource, IfExists holds.
	for what, test := range map[string]struct {
		p    texts
		asks []requestCase
	}{
		"StringNotEquals":           {denyIf(`{"StringNotEquals":{"aws:ResourceTag/team":"${aws:PrincipalTag/team}"}}`), teams},
		"StringNotEqualsIgnoreCase": {denyIf(`{"StringNotEqualsIgnoreCase":{"aws:ResourceTag/team":"${aws:PrincipalTag/team}"}}`), teams},
		"StringNotLike":             {denyIf(`{"StringNotLike":{"aws:ResourceTag/team":"${aws:PrincipalTag/team}"}}`), teams},
		"StringNotEqualsIfExists":   {denyIf(`{"StringNotEqualsIfExists":{"aws:ResourceTag/team":"${aws:PrincipalTag/team}"}}`), teams},
		"NotResource": {texts{identity: all + `,{"Effect":"Deny","Action":"*","NotResource":"` + repo +
			`${aws:PrincipalTag/team}/*"}`}, []requestCase{
			{caller: alice, keys: "aws:PrincipalTag/team=team", want: allowed}, {caller: alice, keys: "aws:PrincipalTag/team=db", want: explicit},
			{caller: alice, want: explicit}, {caller: alice, keys: "aws:PrincipalTag/team=", want: explicit}}},
		"NotResource with several patterns": {texts{identity: all + `,{"Effect":"Deny","Action":"*","NotResource":["` + repo +
			`${aws:PrincipalTag/team}/*","` + repo + `team/*"]}`}, []requestCase{
			{caller: alice, want: allowed}, {caller: alice, resource: repo + "other", want: explicit}}},
		"NotResource that allows": {texts{identity: `{"Effect":"Allow","Action":"*","NotResource":"` + repo +
			`${aws:PrincipalTag/team}/*"}`}, []requestCase{
			{caller: alice, keys: "aws:PrincipalTag/team=db", want: allowed}, {caller: alice, keys: "aws:PrincipalTag/team=team",
				want: implicit}, {caller: alice, want: implicit}}},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			test.p.decide(t, slices.Clone(test.asks)...)
		})
	}
}
