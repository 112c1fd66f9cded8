package policy_test

import (
	"strings"
	"testing"
)

// The examples of guides to policies, with registries as the resources: each with its policies and the resulting
// verdicts.
func TestExamples(t *testing.T) {
	t.Parallel()
	const (
		prefix = "arn:aws:ecr:eu-west-1:111111111111:repository/"
		push   = "ecr:PutImage"
		del    = "ecr:DeleteRepository"
		carol  = "arn:aws:iam::222222222222:user/carol"
		dave   = "arn:aws:iam::333333333333:user/dave"
	)
	everyone := func(effect, condition string) string {
		return strings.Replace(pullBy(effect, `"*"`), `"Action"`, `"Condition":`+condition+`,"Action"`, 1)
	}
	for what, test := range map[string]struct {
		p    texts
		asks []requestCase
	}{
		"identity: read all, write one team's, delete nothing of production": {
			texts{identity: allow(`["ecr:Get*","ecr:BatchGet*","ecr:Describe*","ecr:List*"]`, "*", "") + "," +
				allow(`"ecr:*"`, prefix+"team/*", "") +
				`,{"Effect":"Deny","Action":["ecr:*Delete*"],"Resource":"` + prefix + `*/production/*"}`},
			[]requestCase{
				{alice, "", prefix + "other/web", "", allowed}, {alice, push, prefix + "other/web", "", implicit}, {alice, push,
					prefix + "team/web", "", allowed},
				{alice, del, prefix + "team/web", "", allowed}, {alice, del, prefix + "team/production/web", "", explicit},
				{alice, "ecr:BatchDeleteImage", prefix + "team/production/web", "", explicit}, {alice, "ecr:GetAuthorizationToken", "*", "", allowed},
			}},
		"identity: a repository of one's own name": {
			texts{identity: allow(`"ecr:*"`, prefix+"home/${aws:username}/*", "")},
			[]requestCase{
				{alice, push, prefix + "home/alice/web", "aws:username=alice", allowed}, {alice, push, prefix + "home/bob/web",
					"aws:username=alice", implicit},
				{alice, push, prefix + "home/alice", "aws:username=alice", implicit}, {session, push, prefix + "home/alice/web", "", implicit},
			}},
		"cross-account: the owner allows an account, which allows one of its users": {
			texts{repository: pullBy("Allow", aws(other)), identity: allow(`"ecr:BatchGetImage"`, prefix+"team/*", "")},
			[]requestCase{
				{caller: carol, want: allowed}, {carol, push, "", "", implicit}, {carol, "", prefix + "prod/web", "",
					implicit}, {caller: dave, want: implicit},
				{caller: "arn:aws:iam::222222222222:root", want: allowed},
			}},
		"cross-account: without a policy of its own a user of the trusted account has nothing": {
			texts{repository: pullBy("Allow", aws(other))}, []requestCase{{caller: carol, want: implicit}, {caller: foreign, want: implicit}}},
		"cross-account role: assumed in the owner's account, it is one of the owner's": {
			texts{identity: pull}, []requestCase{{caller: session, want: allowed}, {session, push, "", "", implicit}}},
		"boundary: the most that identity policies can give": {
			texts{identity: allow(`["ecr:*","iam:CreateUser"]`, "*", ""), boundary: allow(`["ecr:*","s3:*"]`, "*", "")},
			[]requestCase{{alice, push, "", "", allowed}, {alice, "iam:CreateUser", "*", "", implicit}, {alice, "s3:GetObject", "*", "", implicit}}},
		"boundary: it does not limit an owner's policy that names the user, but limits one that names the account": {
			texts{identity: pull, boundary: allow(`"s3:*"`, "*", ""),
				repository: strings.Replace(pullBy("Allow", aws(alice)), "BatchGetImage", "PutImage", 1) + "," + pullBy("Allow", aws(owner))},
			[]requestCase{{alice, push, "", "", allowed}, {caller: alice, want: implicit}}},
		"session: what role and session policy both allow": {
			texts{identity: allow(`["ecr:BatchGetImage","ecr:PutImage"]`, "*", ""),
				session: allow(`["ecr:BatchGetImage","ecr:DeleteRepository"]`, "*", "")},
			[]requestCase{{caller: session, want: allowed}, {session, push, "", "", implicit}, {session, del, "", "", implicit}}},
		"session: a repository policy adds what names the session, not what names the role": {
			texts{session: listOnly, repository: pullBy("Allow", aws(session)) + `,{"Effect":"Allow","Principal":` + aws(role) +
				`,"Action":["ecr:PutImage","ecr:ListImages"]}`},
			[]requestCase{{caller: session, want: allowed}, {session, push, "", "", implicit}, {session, "ecr:ListImages", "", "", allowed}}},
		"identity, boundary and session: the intersection of all three": {
			texts{identity: allow(`["ecr:BatchGetImage","ecr:PutImage","ecr:ListImages"]`, "*", ""),
				boundary: allow(`["ecr:BatchGetImage","ecr:PutImage","ecr:DeleteRepository"]`, "*", ""),
				session:  allow(`["ecr:BatchGetImage","ecr:ListImages","ecr:DeleteRepository"]`, "*", "")},
			[]requestCase{{caller: session, want: allowed}, {session, push, "", "", implicit},
				{session, "ecr:ListImages", "", "", implicit}, {session, del, "", "", implicit}}},
		"NotPrincipal: all but one role session, which needs its role and account named too": {
			texts{identity: allow(`"*"`, "*", ""), repository: notBy(session, role, owner)},
			[]requestCase{{caller: session, want: allowed}, {caller: session + "2", want: explicit},
				{caller: alice, want: explicit}, {caller: root, want: allowed}, {caller: foreign, want: explicit}}},
		"instead of NotPrincipal: all but the roles of a condition": {
			texts{identity: pull, repository: everyone("Deny", `{"ArnNotLike":{"aws:PrincipalArn":["`+role+
				`","arn:aws:iam::111111111111:role/ops/*"]}}`)},
			[]requestCase{
				{caller: session, keys: "aws:PrincipalArn=" + role, want: allowed}, {caller: session,
					keys: "aws:PrincipalArn=arn:aws:iam::111111111111:role/ops/a/b", want: allowed},
				{caller: session, keys: "aws:PrincipalArn=" + role + "2", want: explicit}, {caller: alice,
					keys: "aws:PrincipalArn=" + alice, want: explicit}, {caller: "anonymous", want: explicit},
			}},
		"organization: its principals, and no others": {
			texts{identity: pull, repository: everyone("Allow", `{"StringEquals":{"aws:PrincipalOrgID":"o-a1b2c3"}}`)},
			[]requestCase{
				{caller: carol, keys: "aws:PrincipalOrgID=o-a1b2c3", want: allowed}, {caller: dave, keys: "aws:PrincipalOrgID=o-z9", want: implicit},
				{caller: dave, want: implicit}, {caller: "anonymous", want: implicit}, {caller: "lambda.amazonaws.com", want: implicit},
			}},
		"organization: one unit of it": {
			texts{identity: pull, repository: everyone("Allow", `{"ForAnyValue:StringLike":{"aws:PrincipalOrgPaths":"o-a1b2c3/r-1/ou-1/*"}}`)},
			[]requestCase{
				{caller: carol, keys: "aws:PrincipalOrgPaths=[o-a1b2c3/r-1/ou-1/]", want: allowed}, {caller: carol,
					keys: "aws:PrincipalOrgPaths=[o-a1b2c3/r-1/ou-1/ou-7/]", want: allowed},
				{caller: carol, keys: "aws:PrincipalOrgPaths=[o-a1b2c3/r-1/ou-2/]", want: implicit}, {caller: carol, want: implicit},
			}},
		"address: denied from outside, but not to services on behalf of the caller": {
			texts{identity: pull +
				`,{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"NotIpAddress":{"aws:SourceIp":["192.0.2.0/24","203.0.113.0/24"]},"Bool":{"aws:ViaAWSService":"false"}}}`},
			[]requestCase{
				{caller: alice, keys: "aws:SourceIp=192.0.2.200 aws:ViaAWSService=false", want: allowed}, {caller: alice,
					keys: "aws:SourceIp=198.51.100.1 aws:ViaAWSService=false", want: explicit},
				{caller: alice, keys: "aws:SourceIp=198.51.100.1 aws:ViaAWSService=true", want: allowed},
			}},
		"address: allowed from a range": {
			texts{identity: allow(`"ecr:*"`, "*", `{"IpAddress":{"aws:SourceIp":"192.0.2.0/24"}}`)},
			[]requestCase{{caller: alice, keys: "aws:SourceIp=192.0.2.1", want: allowed},
				{caller: alice, keys: "aws:SourceIp=192.0.3.1", want: implicit}, {caller: alice, want: implicit}}},
		"MFA: deletes need it, and long-term keys, which cannot have it, are denied too": {
			texts{identity: allow(`"ecr:*"`, "*", "") +
				`,{"Effect":"Deny","Action":"ecr:*Delete*","Resource":"*","Condition":{"BoolIfExists":{"aws:MultiFactorAuthPresent":"false"}}}`},
			[]requestCase{
				{alice, del, "", "aws:MultiFactorAuthPresent=true", allowed}, {alice, del, "", "aws:MultiFactorAuthPresent=false",
					explicit}, {alice, del, "", "", explicit}, {alice, push, "", "", allowed},
			}},
		"MFA: not older than an hour": {
			texts{identity: allow(`"ecr:*"`, "*",
				`{"Bool":{"aws:MultiFactorAuthPresent":"true"},"NumericLessThan":{"aws:MultiFactorAuthAge":"3600"}}`)},
			[]requestCase{
				{alice, del, "", "aws:MultiFactorAuthPresent=true aws:MultiFactorAuthAge=3599", allowed}, {alice, del, "",
					"aws:MultiFactorAuthPresent=true aws:MultiFactorAuthAge=3600", implicit},
				{alice, del, "", "aws:MultiFactorAuthPresent=true", implicit},
			}},
		"tags: the caller's project is the repository's": {
			texts{identity: allow(`"ecr:*"`, "*", `{"StringEquals":{"aws:ResourceTag/project":"${aws:PrincipalTag/project}"}}`)},
			[]requestCase{
				{alice, push, "", "aws:PrincipalTag/project=web aws:ResourceTag/project=web", allowed}, {alice, push, "",
					"aws:PrincipalTag/project=web aws:ResourceTag/project=db", implicit},
				{alice, push, "", "aws:PrincipalTag/project=web", implicit}, {alice, push, "", "aws:ResourceTag/project=web",
					implicit}, {alice, push, "", "", implicit},
			}},
		"tags: new repositories have a cost center, and no other tags than these": {
			texts{identity: allow(`"ecr:CreateRepository"`, "*",
				`{"StringLike":{"aws:RequestTag/cost-center":"?*"},"ForAllValues:StringEquals":{"aws:TagKeys":["cost-center","team"]}}`)},
			[]requestCase{
				{alice, "ecr:CreateRepository", "", "aws:RequestTag/cost-center=7 aws:TagKeys=[cost-center]", allowed}, {alice,
					"ecr:CreateRepository", "", "aws:RequestTag/cost-center=7 aws:TagKeys=[cost-center,team]", allowed},
				{alice, "ecr:CreateRepository", "", "aws:RequestTag/cost-center=7 aws:TagKeys=[cost-center,x]", implicit}, {alice,
					"ecr:CreateRepository", "", "aws:TagKeys=[team]", implicit},
				{alice, "ecr:CreateRepository", "", "aws:RequestTag/cost-center= aws:TagKeys=[cost-center]", implicit}, {alice,
					"ecr:CreateRepository", "", "", implicit},
			}},
		"tags: what is tagged as protected is not deleted, by anybody": {
			texts{identity: allow(`"ecr:*"`, "*", ""), scp: []string{allow(`"*"`, "*", "") +
				`,{"Effect":"Deny","Action":"ecr:*Delete*","Resource":"*","Condition":{"StringEqualsIgnoreCase":{"ecr:ResourceTag/protected":"yes"}}}`}},
			[]requestCase{{alice, del, "", "ecr:ResourceTag/Protected=YES", explicit},
				{root, del, "", "ecr:ResourceTag/protected=yes", explicit}, {root, del, "", "ecr:ResourceTag/protected=no",
					allowed}, {alice, del, "", "", allowed}}},
		"regions: all but two are denied, for every service that is not global": {
			texts{identity: allow(`"*"`, "*", ""), scp: []string{allow(`"*"`, "*", "") +
				`,{"Effect":"Deny","NotAction":["iam:*","sts:*"],"Resource":"*","Condition":{"StringNotEquals":{"aws:RequestedRegion":["eu-west-1","eu-central-1"]}}}`}},
			[]requestCase{{alice, push, "", "aws:RequestedRegion=eu-central-1", allowed},
				{alice, push, "", "aws:RequestedRegion=us-east-1", explicit}, {alice, "iam:CreateUser", "*",
					"aws:RequestedRegion=us-east-1", allowed}}},
		"time: a window": {
			texts{identity: allow(`"ecr:*"`, "*",
				`{"DateGreaterThanEquals":{"aws:CurrentTime":"2026-11-01T00:00:00Z"},"DateLessThan":{"aws:CurrentTime":"2026-12-01T00:00:00Z"}}`)},
			[]requestCase{{alice, push, "", "aws:CurrentTime=2026-11-30T23:59:59Z", allowed},
				{alice, push, "", "aws:CurrentTime=2026-12-01T00:00:00Z", implicit}, {alice, push, "",
					"aws:CurrentTime=2026-10-31T23:59:59Z", implicit}}},
		"revoked sessions: those from before are denied, later ones and users are not": {
			texts{identity: pull +
				`,{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"DateLessThan":{"aws:TokenIssueTime":"2026-11-01T10:00:00Z"}}}`},
			[]requestCase{{caller: session, keys: "aws:TokenIssueTime=2026-11-01T09:59:59Z", want: explicit},
				{caller: session, keys: "aws:TokenIssueTime=2026-11-01T10:00:00Z", want: allowed}, {caller: alice, want: allowed}}},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			test.p.decide(t, test.asks...)
		})
	}
}
