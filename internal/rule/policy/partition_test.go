package policy_test

import (
	"testing"

	"github.com/ecrin-dev/ecrin/internal/rule/policy"
)

// A user or role of an installation is the same in all partitions. So a caller that chooses a region of another partition has
// the same rights: statements that deny still name the caller, or the thing that the request is about, and so do those that
// allow.
func TestPartitions(t *testing.T) {
	t.Parallel()
	const (
		aliceCN   = "arn:aws-cn:iam::111111111111:user/eng/alice"
		bobCN     = "arn:aws-cn:iam::111111111111:user/eng/bob"
		sessionCN = "arn:aws-cn:sts::111111111111:assumed-role/deployer/s1"
		roleCN    = "arn:aws-cn:iam::111111111111:role/deployer"
		fedCN     = "arn:aws-cn:sts::111111111111:federated-user/fed1"
		webCN     = "arn:aws-cn:ecr:cn-north-1:111111111111:repository/team/web"
	)
	deny := func(more string) texts {
		return texts{identity: allow(`"*"`, "*", "") + `,{"Effect":"Deny","Action":"*",` + more + `}`}
	}
	onRole := func(resource string) texts { return deny(`"Resource":"` + resource + `"`) }
	when := func(operator, value string) texts {
		return deny(`"Resource":"*","Condition":{"` + operator + `":{"aws:PrincipalArn":"` + value + `"}}`)
	}
	keys := func(arn string) string { return "aws:PrincipalArn=" + arn }
	for what, test := range map[string]struct {
		p    texts
		asks []requestCase
	}{
		"a repository's policy denies the user": {texts{identity: pull, repository: pullBy("Deny", aws(alice))}, []requestCase{
			{caller: aliceCN, want: explicit}, {caller: bobCN, want: allowed},
		}},
		"a repository's policy allows the user": {texts{repository: pullBy("Allow", aws(aliceCN))}, []requestCase{
			{caller: alice, want: allowed}, {caller: bobCN, want: implicit},
		}},
		"a repository's policy names the role": {texts{repository: pullBy("Allow", aws(role))}, []requestCase{
			{caller: sessionCN, want: allowed},
		}},
		"a repository's policy names a session": {texts{repository: pullBy("Allow", aws(sessionCN))}, []requestCase{
			{caller: session, want: allowed},
		}},
		"a repository's policy names fed1": {texts{repository: pullBy("Allow", aws(fed))}, []requestCase{
			{caller: fedCN, want: allowed},
		}},
		"NotPrincipal exempts the user": {texts{identity: pull, repository: notBy(aliceCN, owner)}, []requestCase{
			{caller: alice, want: allowed}, {caller: aliceCN, want: allowed}, {caller: bobCN, want: explicit},
		}},

		"a resource by its ARN": {onRole(role), []requestCase{
			{alice, "iam:DeleteRole", roleCN, "", explicit}, {alice, "iam:DeleteRole", role, "", explicit},
			{alice, "iam:DeleteRole", roleCN + "2", "", allowed},
		}},
		"a resource of another partition": {onRole(roleCN), []requestCase{
			{alice, "iam:DeleteRole", role, "", explicit}, {alice, "iam:DeleteRole", roleCN, "", explicit},
		}},
		"all of a partition": {onRole("arn:aws-cn:*"), []requestCase{
			{alice, "iam:DeleteRole", role, "", explicit}, {alice, "ecr:BatchGetImage", webARN, "", allowed},
			{alice, "ecr:BatchGetImage", webCN, "", explicit},
		}},
		"all but the default partition": {onRole("arn:aws-*:iam::*"), []requestCase{
			{alice, "iam:DeleteRole", role, "", explicit},
		}},
		"an ARN in some partitions": {when("ArnLike", "arn:aws-*n:iam::*:role/deployer"), []requestCase{
			{caller: session, keys: keys(role), want: explicit}, {caller: session, keys: keys(role + "2"), want: allowed},
		}},
		"some partitions, one of them the role's": {onRole("arn:aws-*v:iam::*"), []requestCase{
			{alice, "iam:DeleteRole", role, "", explicit}, {alice, "iam:DeleteRole", roleCN, "", explicit},
		}},
		"all partitions": {onRole("arn:*:iam::*:role/deployer"), []requestCase{
			{alice, "iam:DeleteRole", roleCN, "", explicit}, {alice, "iam:DeleteRole", role + "2", "", allowed},
		}},
		"a partition that does not exist": {onRole("arn:aws-moon:iam::*"), []requestCase{
			{alice, "iam:DeleteRole", role, "", allowed},
		}},
		"a variable in a resource": {onRole("arn:aws:iam::111111111111:user/${aws:username}"), []requestCase{
			{alice, "iam:DeleteUser", "arn:aws-cn:iam::111111111111:user/alice", "aws:username=alice", explicit},
		}},
		"all but a resource": {deny(`"NotResource":"` + role + `"`), []requestCase{
			{alice, "iam:DeleteRole", roleCN, "", allowed}, {alice, "iam:DeleteRole", roleCN + "2", "", explicit},
		}},
		"a repository has its partition": {onRole(webARN), []requestCase{
			{alice, "ecr:BatchGetImage", "arn:aws-cn:ecr:eu-west-1:111111111111:repository/team/web", "", allowed},
			{alice, "ecr:BatchGetImage", webARN, "", explicit},
		}},
		"a repository of other partitions": {onRole("arn:aws-cn:ecr:*:*:*"), []requestCase{
			{alice, "ecr:BatchGetImage", webCN, "", explicit}, {alice, "ecr:BatchGetImage", webARN, "", allowed},
		}},

		"ArnEquals": {when("ArnEquals", alice), []requestCase{
			{caller: aliceCN, keys: keys(aliceCN), want: explicit}, {caller: bobCN, keys: keys(bobCN), want: allowed},
		}},
		"ArnLike of a partition": {when("ArnLike", "arn:aws-cn:iam::*:user/eng/*"), []requestCase{
			{caller: alice, keys: keys(alice), want: explicit},
		}},
		"ArnNotEquals": {when("ArnNotEquals", alice), []requestCase{
			{caller: aliceCN, keys: keys(aliceCN), want: allowed}, {caller: bobCN, keys: keys(bobCN), want: explicit},
		}},
		"StringEquals": {when("StringEquals", alice), []requestCase{
			{caller: aliceCN, keys: keys(aliceCN), want: explicit}, {caller: bobCN, keys: keys(bobCN), want: allowed},
		}},
		"StringNotEquals": {when("StringNotEquals", aliceCN), []requestCase{
			{caller: alice, keys: keys(alice), want: allowed}, {caller: bobCN, keys: keys(bobCN), want: explicit},
		}},
		"StringLike": {when("StringLike", "arn:aws-*:iam::*:user/eng/alice"), []requestCase{
			{caller: alice, keys: keys(alice), want: explicit},
		}},
		"StringLike of a head": {when("StringLike", "arn:aws-cn:i*"), []requestCase{
			{caller: alice, keys: keys(alice), want: explicit},
		}},
		"StringEqualsIgnoreCase": {when("StringEqualsIgnoreCase", "ARN:AWS-CN:IAM::111111111111:USER/ENG/ALICE"), []requestCase{
			{caller: alice, keys: keys(alice), want: explicit},
		}},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			test.p.decide(t, test.asks...)
		})
	}
}

// A later user of the same name is another one in every partition.
func TestPartitionsAndUniqueIDs(t *testing.T) {
	t.Parallel()
	d, err := policy.Parse(`{"Version":"2012-10-17","Statement":[`+pullBy("Allow", aws(alice))+`]}`, policy.Repository)
	if err != nil {
		t.Fatal(err)
	}
	p := policy.Policies{Repository: policy.Compile(d, func(policy.Principal) (string, bool) { return "AIDAALICE", true })}
	for id, want := range map[string]policy.Verdict{"AIDAALICE": allowed, "AIDALATER": implicit, "": allowed} {
		r := pullRequest(t, "arn:aws-cn:iam::111111111111:user/eng/alice")
		r.Caller.UniqueID = id
		if got := policy.Evaluate(&p, r); got.Verdict != want {
			t.Errorf("a user with the id %q: got %s, want %s", id, got.Verdict, want)
		}
	}
}
