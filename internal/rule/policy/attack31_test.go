package policy_test

import (
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/rule/policy"
)

// Attack 31: each row is a decision that an evaluator with a common mistake gets wrong. TestAttack31Decisions has the
// rows with one statement and without keys, TestEvaluate the rows with boundaries and sessions.
func TestAttack31(t *testing.T) {
	t.Parallel()
	const repo = "arn:aws:ecr:eu-west-1:111111111111:repository/"
	on := func(resource string) texts { return texts{identity: allow(`"ecr:*"`, resource, "")} }
	when := func(condition string) texts { return texts{identity: allow(`"ecr:*"`, "*", condition)} }
	unless := func(condition string) texts {
		return texts{identity: allow(`"ecr:*"`, "*", "") + `,{"Effect":"Deny","Action":"*","Resource":"*","Condition":` + condition + `}`}
	}
	for what, test := range map[string]struct {
		p    texts
		asks []requestCase
	}{
		"wildcards: ?* in the middle": {on(repo + "team/?*/web"), []requestCase{
			{alice, "", repo + "team/a/web", "", allowed}, {alice, "", repo + "team//web", "", implicit}, {alice, "",
				repo + "team/web", "", implicit}, {alice, "", repo + "team/a/b/web", "", allowed}}},
		"wildcards: *? at the end": {on(repo + "team*?"),
			[]requestCase{{alice, "", repo + "team", "", implicit}, {alice, "", repo + "teams", "", allowed}}},
		"wildcards: ? is one character, not one byte": {when(`{"StringLike":{"aws:PrincipalTag/a":"caf?"}}`),
			[]requestCase{{caller: alice, keys: "aws:PrincipalTag/a=café", want: allowed},
				{caller: alice, keys: "aws:PrincipalTag/a=caféé", want: implicit}}},
		"wildcards: in actions, folded": {texts{identity: allow(`"ECR:*GET?mage"`, "*", "")},
			[]requestCase{{caller: alice, want: allowed}, {alice, "ecr:BatchGetImages", "", "", implicit},
				{alice, "ecr:GetImage", "", "", allowed}}},
		"wildcards: of a request are letters": {on(repo + "team/web"),
			[]requestCase{{alice, "", repo + "team/*", "", implicit}, {alice, "", repo + "team/we?", "", implicit},
				{alice, "ecr:*", repo + "team/web", "", allowed}}},
		"wildcards: a deny with NotAction denies all but": {texts{identity: allow(`"ecr:*"`, "*", "") +
			`,{"Effect":"Deny","NotAction":["ecr:*Image*"],"Resource":"*"}`}, []requestCase{{caller: alice, want: allowed}, {alice,
			"ecr:ListTagsForResource", "", "", explicit}}},
		"wildcards: a deny with NotResource denies the rest": {texts{identity: allow(`"ecr:*"`, "*", "") +
			`,{"Effect":"Deny","Action":"*","NotResource":["` + repo + `team/*"]}`}, []requestCase{{caller: alice,
			want: allowed}, {alice, "", repo + "teams/web", "", explicit}, {alice, "ecr:GetAuthorizationToken", "*", "", explicit}}},

		"case: of condition keys and tag names": {unless(`{"StringEquals":{"AWS:resourcetag/ENV":"prod"}}`),
			[]requestCase{{caller: alice, keys: "aws:ResourceTag/env=prod", want: explicit},
				{caller: alice, keys: "aws:ResourceTag/env=PROD", want: allowed}}},
		"case: a key that is set twice has its last value": {unless(`{"StringEquals":{"aws:ResourceTag/env":"prod"}}`),
			[]requestCase{{caller: alice, keys: "aws:ResourceTag/Env=dev aws:ResourceTag/env=prod", want: explicit}}},
		"case: of truth values": {unless(`{"Bool":{"aws:SecureTransport":"False"}}`),
			[]requestCase{{caller: alice, keys: "aws:SecureTransport=false", want: explicit},
				{caller: alice, keys: "aws:SecureTransport=FALSE", want: explicit}, {caller: alice, keys: "aws:SecureTransport=true", want: allowed}}},
		"case: of resources": {texts{identity: allow(`"ecr:*"`, "*", "") +
			`,{"Effect":"Deny","Action":"*","Resource":"` + repo + `Team/*"}`}, []requestCase{{caller: alice, want: allowed}}},

		"NotPrincipal: a user of the same name in another account is denied": {texts{identity: pull,
			repository: pullBy("Allow", `"*"`) + "," + notBy("arn:aws:iam::111111111111:user/carol", owner)}, []requestCase{
			{caller: "arn:aws:iam::222222222222:user/carol", want: explicit}, {caller: "arn:aws:iam::111111111111:user/carol",
				want: allowed}, {caller: "arn:aws:iam::111111111111:user/x/carol", want: explicit}}},
		"NotPrincipal: the account does not exempt its users": {texts{identity: pull, repository: notBy(owner)},
			[]requestCase{{caller: alice, want: explicit}, {caller: session, want: explicit}, {caller: root, want: allowed}}},
		"NotPrincipal: a role does not exempt its sessions": {texts{identity: pull, repository: notBy(role, owner)},
			[]requestCase{{caller: session, want: explicit}}},
		"NotPrincipal: with *, no caller is denied": {texts{identity: pull,
			repository: `{"Effect":"Deny","NotPrincipal":"*","Action":"ecr:*"}`}, []requestCase{{caller: alice, want: allowed}}},
		"NotPrincipal: services and the anonymous are denied": {texts{repository: pullBy("Allow", `"*"`) + "," +
			notBy(alice, owner)}, []requestCase{{caller: "lambda.amazonaws.com", want: explicit}, {caller: "anonymous", want: explicit}}},

		"IfExists: an allow without the key": {when(`{"StringEqualsIfExists":{"aws:PrincipalTag/team":"web"}}`),
			[]requestCase{{caller: alice, want: allowed}, {caller: alice, keys: "aws:PrincipalTag/team=db", want: implicit},
				{caller: alice, keys: "aws:PrincipalTag/team=", want: implicit}}},
		"IfExists: guarded": {
			when(`{"StringEqualsIfExists":{"aws:PrincipalTag/team":"web"},"Null":{"aws:PrincipalTag/team":"false"}}`),
			[]requestCase{{caller: alice, want: implicit}, {caller: alice, keys: "aws:PrincipalTag/team=web", want: allowed}}},
		"IfExists: a deny that negates, without the key": {
			unless(`{"StringNotEqualsIfExists":{"aws:PrincipalTag/team":"web"}}`), []requestCase{{caller: alice, want: explicit},
				{caller: alice, keys: "aws:PrincipalTag/team=web", want: allowed}}},
		"a deny that negates, without the key": {unless(`{"StringNotEquals":{"aws:PrincipalTag/team":"web"}}`),
			[]requestCase{{caller: alice, want: explicit}}},
		"an allow that negates, without the key": {when(`{"StringNotEquals":{"aws:PrincipalTag/team":"web"}}`),
			[]requestCase{{caller: alice, want: allowed}}},
		"Null: the key has to be missing, an empty is not": {when(`{"Null":{"aws:TokenIssueTime":"true"}}`),
			[]requestCase{{caller: alice, want: allowed}, {caller: alice, keys: "aws:TokenIssueTime=", want: implicit}}},

		"ForAllValues: holds without the key, so that an allow is wide": {
			when(`{"ForAllValues:StringEquals":{"aws:TagKeys":["env"]}}`), []requestCase{{caller: alice, want: allowed},
				{caller: alice, keys: "aws:TagKeys=[env,x]", want: implicit}}},
		"ForAllValues: a deny without the key": {
			unless(`{"ForAllValues:StringEquals":{"aws:TagKeys":["env"]}}`), []requestCase{{caller: alice, want: explicit},
				{caller: alice, keys: "aws:TagKeys=[x]", want: allowed}}},
		"ForAllValues: negated, one value is enough to fail": {
			when(`{"ForAllValues:StringNotEquals":{"aws:TagKeys":["secret"]}}`), []requestCase{
				{caller: alice, keys: "aws:TagKeys=[a,secret]", want: implicit}, {caller: alice, keys: "aws:TagKeys=[a]", want: allowed}}},
		"ForAnyValue: without the key it never holds": {
			unless(`{"ForAnyValue:StringNotEquals":{"aws:TagKeys":["env"]}}`), []requestCase{{caller: alice, want: allowed},
				{caller: alice, keys: "aws:TagKeys=[env,x]", want: explicit}, {caller: alice, keys: "aws:TagKeys=[env]", want: allowed}}},
		"a key of several values without a set operator": {when(`{"StringLike":{"aws:TagKeys":"*"}}`),
			[]requestCase{{caller: alice, keys: "aws:TagKeys=[env]", want: implicit}}},

		"variables: a tag of * is a star": {on(repo + "${aws:PrincipalTag/team}/*"),
			[]requestCase{{caller: alice, keys: "aws:PrincipalTag/team=*", want: implicit},
				{caller: alice, keys: "aws:PrincipalTag/team=team", want: allowed}, {caller: alice,
					keys: "aws:PrincipalTag/team=te?m", want: implicit}}},
		"variables: a tag with colons stays in its part": {on(repo + "${aws:PrincipalTag/a}"),
			[]requestCase{{caller: alice, keys: "aws:PrincipalTag/a=team/web", want: allowed},
				{caller: alice, keys: "aws:PrincipalTag/a=x:repository/team/web", want: implicit}}},
		"variables: a variable in a value is plain text": {on(repo + "${aws:PrincipalTag/team}/*"),
			[]requestCase{{caller: alice, keys: "aws:PrincipalTag/team=${aws:username} aws:username=team", want: implicit}}},
		"variables: an empty tag is a value": {on(repo + "${aws:PrincipalTag/team}*"),
			[]requestCase{{caller: alice, keys: "aws:PrincipalTag/team=", want: allowed}, {caller: alice, want: implicit}}},
		"variables: a default is used": {on(repo + "${aws:PrincipalTag/team, 'team'}/*"),
			[]requestCase{{caller: alice, want: allowed}, {caller: alice, keys: "aws:PrincipalTag/team=db", want: implicit}}},
		"variables: a deny with one that has no value": {texts{identity: allow(`"ecr:*"`, "*", "") +
			`,{"Effect":"Deny","Action":"*","Resource":"` + repo + `${aws:PrincipalTag/team}/*"}`}, []requestCase{
			{caller: alice, want: allowed}, {caller: alice, keys: "aws:PrincipalTag/team=team", want: explicit}}},
		"variables: a list is no value": {on(repo + "${aws:TagKeys}/*"),
			[]requestCase{{caller: alice, keys: "aws:TagKeys=[team]", want: implicit}}},
		"variables: of the key that is compared": {
			when(`{"StringEquals":{"aws:PrincipalTag/a":"${aws:PrincipalTag/a}"}}`), []requestCase{
				{caller: alice, keys: "aws:PrincipalTag/a=x", want: allowed}, {caller: alice, want: implicit}}},

		"deny by the boundary, of what the owner's policy allows the user": {texts{boundary: allow(`"*"`, "*", "") + "," +
			noPull, repository: pullBy("Allow", aws(alice))}, []requestCase{{caller: alice, want: explicit}}},
		"deny by the session, of what the owner's policy allows the session": {texts{session: allow(`"*"`, "*", "") + "," +
			noPull, repository: pullBy("Allow", aws(session))}, []requestCase{{caller: session, want: explicit}}},
		"deny by the session, under a condition": {texts{identity: pull, session: pull + "," +
			strings.Replace(noPull, `"Action"`, `"Condition":{"Bool":{"aws:SecureTransport":false}},"Action"`, 1)}, []requestCase{
			{caller: session, keys: "aws:SecureTransport=false", want: explicit}, {caller: session,
				keys: "aws:SecureTransport=true", want: allowed}}},
		"a boundary that does not allow, across accounts": {texts{identity: pull, boundary: listOnly,
			repository: pullBy("Allow", `"*"`)}, []requestCase{{caller: "arn:aws:iam::222222222222:user/carol",
			want: implicit}, {caller: foreign, want: implicit}}},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			test.p.decide(t, test.asks...)
		})
	}
}

// Attack 31: each of several boundaries, and each of several levels of control policies, has to allow the request. Of
// several policies of an identity or a session, one is sufficient. The order of policies has no effect.
func TestAttack31SeveralPolicies(t *testing.T) {
	t.Parallel()
	one, two := texts{identity: pull}.compile(t).Identity, texts{identity: listOnly}.compile(t).Identity
	both := func(a, b []policy.Named) []policy.Named { return []policy.Named{a[0], b[0]} }
	for what, test := range map[string]struct {
		p    policy.Policies
		want policy.Verdict
	}{
		"two identity policies, the first allows":  {policy.Policies{Identity: both(one, two)}, allowed},
		"two identity policies, the second allows": {policy.Policies{Identity: both(two, one)}, allowed},
		"two session policies":                     {policy.Policies{Identity: one, Session: both(two, one)}, allowed},
		"two session policies, none allows":        {policy.Policies{Identity: one, Session: both(two, two)}, implicit},
		"two boundaries, the first allows":         {policy.Policies{Identity: one, Boundary: both(one, two)}, implicit},
		"two boundaries, the second allows":        {policy.Policies{Identity: one, Boundary: both(two, one)}, implicit},
		"two boundaries, both allow":               {policy.Policies{Identity: one, Boundary: both(one, one)}, allowed},
		"one level of two control policies":        {policy.Policies{Identity: one, SCP: [][]policy.Named{both(two, one)}}, allowed},
		"two levels, the first allows":             {policy.Policies{Identity: one, SCP: [][]policy.Named{one, two}}, implicit},
		"two levels, the last allows":              {policy.Policies{Identity: one, SCP: [][]policy.Named{two, one}}, implicit},
	} {
		if got := policy.Evaluate(&test.p, pullRequest(t, session)); got.Verdict != test.want {
			t.Errorf("%s: got %s, want %s", what, got.Verdict, test.want)
		}
	}
}
