package policy_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ecrin-dev/ecrin/internal/rule/policy"
)

func TestMentions(t *testing.T) {
	t.Parallel()
	const variable = `"Resource":"arn:aws:ecr:*:*:repository/${aws:PrincipalTag/Team}/${aws:UserName, 'x'}"`
	for _, test := range []struct {
		elements, key string
		want          bool
	}{
		{`"Condition":{"StringEquals":{"AWS:PrincipalOrgID":"o-1"}}`, "aws:PrincipalOrgId", true},
		{`"Condition":{"StringEquals":{"AWS:PrincipalOrgID":"aws:username"}}`, "aws:username", false},
		{`"Condition":{"StringEquals":{"ecr:ResourceTag/a":["b","${aws:PrincipalTag/a}"]}}`, "aws:principaltag/A", true},
		{`"Condition":{"StringEquals":{"ecr:ResourceTag/a":["b","${aws:PrincipalTag/a}"]}}`, "ecr:ResourceTag/a", true},
		{`"Condition":{"StringEquals":{"ecr:ResourceTag/a":["b","${aws:PrincipalTag/a}"]}}`, "aws:ResourceTag/a", false},
		{`"Condition":{"StringEquals":{"ecr:ResourceTag/a":"b"}}`, "ECR:resourcetag/", true},
		{`"Condition":{"StringEquals":{"ecr:ResourceTag/a":"b"}}`, "ecr:ResourceTag", false},
		{`"Condition":{"StringEquals":{"ecr:ResourceTag/ab":"b"}}`, "ecr:ResourceTag/a", false},
		{`"Condition":{"ArnLike":{"aws:SourceArn":"arn:aws:ecr:*:${aws:PrincipalAccount}:*"}}`, "aws:PrincipalAccount", true},
		{`"Condition":{"Bool":{"aws:SecureTransport":true}}`, "aws:SecureTransport", true},
		{variable, "aws:username", true},
		{variable, "aws:PrincipalTag/", true},
		{variable, "aws:x", false},
		{`"Action":"ecr:*"`, "aws:username", false},
	} {
		if got := mustParse(t, statement(test.elements)).Mentions(test.key); got != test.want {
			t.Errorf("%s mentions %s: got %v, want %v", test.elements, test.key, got, test.want)
		}
	}
	older := strings.Replace(statement(variable), "2012-10-17", "2008-10-17", 1)
	if mustParse(t, older).Mentions("aws:username") {
		t.Error("got a variable in version 2008-10-17, want none")
	}
}

func TestWith(t *testing.T) {
	t.Parallel()
	d := mustParse(t, statement(`"Principal":{"AWS":["`+alice+`","`+owner+`"],"Service":"codebuild.amazonaws.com"}`))
	before := d.String()
	got := d.With(func(p policy.Principal) string {
		if p.Kind == policy.User {
			return "AIDAEXAMPLE"
		}
		return p.Text
	})
	if diff := cmp.Diff(strings.Replace(before, alice, "AIDAEXAMPLE", 1), got.String()); diff != "" {
		t.Errorf("the copy (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(before, d.String()); diff != "" {
		t.Errorf("the original has changed (-want +got):\n%s", diff)
	}
	bare := mustParse(t, statement(`"Principal":"*"`))
	if diff := cmp.Diff(bare.String(), bare.With(func(p policy.Principal) string { return p.Text }).String()); diff != "" {
		t.Errorf("a copy of everyone (-want +got):\n%s", diff)
	}
}

func TestConditional(t *testing.T) {
	t.Parallel()
	for elements, want := range map[string]bool{
		`"Action":"ecr:*"`: false,
		`"Resource":"arn:aws:ecr:*:*:repository/team/*"`:                     false,
		`"Resource":["*","arn:aws:ecr:*:*:repository/${aws:username}/*"]`:    true,
		`"Resource":"arn:aws:ecr:*:*:repository/${aws:RequestedRegion}/*"`:   true,
		`"NotResource":"arn:aws:ecr:*:*:repository/${aws:PrincipalAccount}"`: true,
		`"Resource":"arn:aws:ecr:*:*:repository/${*}"`:                       false,
		`"Condition":{"Bool":{"aws:SecureTransport":true}}`:                  true,
		`"Condition":{"Bool":{}}`:                                            false,
		`"Condition":{}`:                                                     false,
	} {
		if got := policy.Compile(mustParse(t, statement(elements)), nil).Conditional(); got != want {
			t.Errorf("%s: got %v, want %v", elements, got, want)
		}
	}
}
