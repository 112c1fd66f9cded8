package policy_test

import (
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Attack 31: the time to match a pattern with many wildcards against a text that nearly matches is linear in their
// lengths: a matcher with exponential time would not finish, and the work of a matcher with quadratic time would be used
// up. TestMatchingIsBounded has the patterns and texts that are longer.
func TestAttack31WildcardsAreLinear(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 1900)
	for _, pattern := range []string{
		strings.Repeat("*a", 1000) + "b",
		"*" + strings.Repeat("a*", 1000) + "b*",
		strings.Repeat("*?", 1000) + "b",
		strings.Repeat("*a?", 600) + "*b",
		strings.Repeat("?*", 1000) + "ab",
	} {
		var c policy.Context
		c.Set("a:b", long)
		r := pullRequest(t, alice)
		r.Context = &c
		decide := func(what, statement string) {
			if got := policy.Evaluate(texts{identity: statement}.compile(t), r); got.Verdict != implicit || got.Excess {
				t.Errorf("%s %.20s…: got %+v, want an implicit denial by a policy", what, pattern, got)
			}
		}
		decide("StringLike", allow(`"*"`, "*", `{"StringLike":{"a:b":"`+pattern+`"}}`))
		r.Resource = "arn:aws:ecr:eu-west-1:111111111111:repository/" + long
		decide("Resource", allow(`"*"`, "arn:aws:ecr:*:*:repository/"+pattern, ""))
		r = pullRequest(t, alice)
		r.Action = "ecr:" + long
		decide("Action", allow(`"ecr:`+pattern+`"`, "*", ""))
	}
}

// Attack 31: each row is a decision that a matcher with a common mistake gets wrong.
func TestAttack31Decisions(t *testing.T) {
	t.Parallel()
	on := func(resource string) texts {
		return texts{identity: `{"Effect":"Allow","Action":"ecr:BatchGetImage","Resource":"` + resource + `"}`}
	}
	with := func(condition string) texts {
		return texts{identity: `{"Effect":"Allow","Action":"ecr:*","Resource":"*","Condition":` + condition + `}`}
	}
	const repo = "arn:aws:ecr:eu-west-1:111111111111:repository/"
	for what, test := range map[string]struct {
		p    texts
		want policy.Verdict
	}{
		"star takes a slash":           {on(repo + "*"), allowed},
		"?* needs one character":       {on(repo + "team/web?*"), implicit},
		"? takes exactly one":          {on(repo + "team/we?"), allowed},
		"no prefix match":              {on(repo + "team/we"), implicit},
		"names have case":              {on(repo + "Team/web"), implicit},
		"star does not leave its part": {on("arn:aws:ecr:*:repository/team/web*"), implicit},
		"star in the account":          {on("arn:aws:ecr:eu-west-1:*:repository/team/web"), allowed},
		"another region":               {on("arn:aws:ecr:us-east-1:111111111111:repository/team/web"), implicit},
		"short ARN":                    {on("arn:aws:ecr:*"), allowed},
		"user name that is not there":  {on(repo + "${aws:username}/*"), implicit},
		"user name that is not there, not": {texts{identity: `{"Effect":"Allow","Action":"*","NotResource":"` + repo +
			`${aws:username}/*"}`}, implicit},
		"escaped star":              {on(repo + "team/${*}"), implicit},
		"NotResource":               {texts{identity: `{"Effect":"Allow","Action":"*","NotResource":"` + repo + `team/*"}`}, implicit},
		"NotResource of others":     {texts{identity: `{"Effect":"Allow","Action":"*","NotResource":"` + repo + `prod/*"}`}, allowed},
		"NotAction":                 {texts{identity: `{"Effect":"Allow","NotAction":"ECR:batchget*","Resource":"*"}`}, implicit},
		"action in another case":    {texts{identity: `{"Effect":"Allow","Action":"ECR:bATCHgETiMAGE","Resource":"*"}`}, allowed},
		"action of another service": {texts{identity: `{"Effect":"Allow","Action":"ecr-public:*","Resource":"*"}`}, implicit},
		"missing key":               {with(`{"StringEquals":{"aws:PrincipalOrgID":"o-1"}}`), implicit},
		"missing key of a set":      {with(`{"ForAllValues:StringEquals":{"aws:TagKeys":"env"}}`), allowed},
		"missing key of a set, guarded": {
			with(`{"ForAllValues:StringEquals":{"aws:TagKeys":"env"},"Null":{"aws:TagKeys":"false"}}`), implicit},
		"deny with IfExists and missing key": {texts{identity: pull +
			`,{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"BoolIfExists":{"aws:MultiFactorAuthPresent":"false"}}}`}, explicit},
		"deny with missing key": {texts{identity: pull +
			`,{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"Bool":{"aws:MultiFactorAuthPresent":"false"}}}`}, allowed},
		"deny by the boundary":          {texts{identity: pull, boundary: pull + "," + noPull}, explicit},
		"deny by the session":           {texts{repository: pullBy("Allow", aws(alice)), session: noPull}, explicit},
		"statement that denies nothing": {texts{identity: pull + `,{"Effect":"Deny","NotAction":"ecr:*","Resource":"*"}`}, allowed},
	} {
		if got := policy.Evaluate(test.p.compile(t), pullRequest(t, alice)); got.Verdict != test.want {
			t.Errorf("%s: got %s, want %s", what, got.Verdict, test.want)
		}
	}
}

// An action without a resource is allowed by * alone. A listing of all repositories is allowed by a pattern that
// matches the * of its resource.
func TestResourceOfRequest(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		pattern, resource string
		want              bool
	}{
		{"*", "*", true},
		{"arn:aws:ecr:*:*:repository/*", "*", false},
		{"arn:aws:ecr:*", "*", false},
		{"arn:aws:ecr:*:*:repository/*", "arn:aws:ecr:eu-west-1:111111111111:repository/*", true},
		{"arn:aws:ecr:*:*:repository/team/*", "arn:aws:ecr:eu-west-1:111111111111:repository/*", false},
	} {
		p := texts{identity: `{"Effect":"Allow","Action":"*","Resource":"` + test.pattern + `"}`}.compile(t)
		r := pullRequest(t, alice)
		r.Resource = test.resource
		if got := policy.Evaluate(p, r).Allowed(); got != test.want {
			t.Errorf("%s on %s: got %v, want %v", test.pattern, test.resource, got, test.want)
		}
	}
}

// tenStatements returns the policies of a user and of a repository, with ten statements that have conditions and
// wildcards, and a request.
func tenStatements(t testing.TB) (*policy.Policies, *policy.Request) {
	identity := pull
	for _, more := range []string{
		`{"Effect":"Allow","Action":["ecr:Describe*","ecr:List*"],"Resource":"*"}`,
		`{"Effect":"Allow","Action":"ecr:*","Resource":"arn:aws:ecr:*:*:repository/${aws:username}/*"}`,
		`{"Effect":"Deny","Action":"ecr:*","Resource":"*","Condition":{"NotIpAddress":{"aws:SourceIp":["10.0.0.0/8","203.0.113.0/24"]}}}`,
		`{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":"false"}}}`,
		`{"Effect":"Deny","Action":"ecr:Batch*","Resource":"arn:aws:ecr:*:*:repository/prod/*","Condition":{"DateGreaterThan":{"aws:CurrentTime":"2027-01-01"}}}`,
		`{"Effect":"Allow","Action":"ecr:PutImage","Resource":"*","Condition":{"NumericLessThan":{"aws:MultiFactorAuthAge":"3600"}}}`,
		`{"Effect":"Deny","Action":"ecr:BatchGetImage","Resource":"*","Condition":{"ForAnyValue:StringLike":{"aws:TagKeys":["secret*","x*"]}}}`,
		`{"Effect":"Allow","Action":"ecr:*Image","Resource":"*","Condition":{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:user/eng/*"}}}`,
	} {
		identity += "," + more
	}
	p := texts{identity: identity, repository: pullBy("Allow", aws(other))}.compile(t)
	r := &policy.Request{
		Caller: policy.Caller{Kind: policy.User, Account: name.MustAccount(owner), ARN: alice, UniqueID: "AIDAEXAMPLE"},
		Action: "ecr:BatchGetImage", Resource: webARN, ResourceAccount: name.MustAccount(owner), Context: &policy.Context{},
	}
	for key, value := range map[string]string{
		"aws:PrincipalArn": alice, "aws:PrincipalAccount": owner, "aws:username": "alice", "aws:userid": "AIDAEXAMPLE",
		"aws:SecureTransport": "true", "aws:RequestedRegion": "eu-west-1", "aws:ResourceAccount": owner, "aws:PrincipalType": "User",
		"aws:SourceIp": "203.0.113.7", "aws:CurrentTime": "2026-03-01T12:00:00Z", "aws:MultiFactorAuthAge": "30",
	} {
		r.Context.Set(key, value)
	}
	r.Context.SetList("aws:TagKeys", "env", "team")
	return p, r
}

func TestEvaluateDoesNotAllocate(t *testing.T) {
	p, r := tenStatements(t)
	if got := policy.Evaluate(p, r); !got.Allowed() {
		t.Fatalf("got %+v, want allowed", got)
	}
	if allocations := testing.AllocsPerRun(100, func() { policy.Evaluate(p, r) }); allocations != 0 {
		t.Errorf("an evaluation allocates %v times, want 0", allocations)
	}
}

func BenchmarkEvaluate10Statements(b *testing.B) {
	p, r := tenStatements(b)
	b.ReportAllocs()
	for b.Loop() {
		policy.Evaluate(p, r)
	}
}
