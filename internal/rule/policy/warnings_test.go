package policy_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

func TestWarnings(t *testing.T) {
	t.Parallel()
	registry := name.Registry{Account: name.MustAccount(owner), Region: name.MustRegion("eu-west-1")}
	const everyone = `"Principal":"*",`
	const bob = `"Principal":{"AWS":"arn:aws:iam::111111111111:user/bob"},`
	const account = `"Principal":{"AWS":"111111111111"},`
	tests := []struct {
		kind       policy.Kind
		statements string
		want       []string // code and path
	}{
		{policy.Repository, `{"Effect":"Allow",` + bob + `"Action":["ecr:BatchGetImage","ecr:Get*"]}`, nil},
		{policy.Repository, `{"Effect":"Allow",` + everyone + `"Action":"ecr:BatchGetImage"}`, []string{"anyone Statement[0].Principal"}},
		{policy.Repository, `{"Effect":"Deny",` + everyone + `"Action":"ecr:BatchGetImage"}`, nil},
		{policy.ResourceControl, `{"Effect":"Allow",` + everyone + `"Action":"*","Resource":"*"}`, nil},

		{policy.Repository, `{"Effect":"Allow",` + bob + `"Action":["ecr:PutImage","ecr:getauthorizationtoken"]}`,
			[]string{"token-action Statement[0].Action[1]"}},
		{policy.Registry, `{"Effect":"Allow",` + bob + `"Action":"ecr:GetAuth*","Resource":"*"}`,
			[]string{"token-action Statement[0].Action[0]"}},
		{policy.Identity, `{"Effect":"Allow","Action":"ecr:GetAuthorizationToken","Resource":"*"}`, nil},
		{policy.Identity, `{"Effect":"Allow","Action":"ecr:GetAuthorizationToken","Resource":"arn:aws:ecr:*:*:repository/*"}`,
			[]string{"never-granted Statement[0].Action[0]"}},

		{policy.Repository, `{"Effect":"Allow",` + bob +
			`"Action":"ecr:*","Resource":["*","arn:aws:ecr:us-east-1:111111111111:repository/a"]}`, []string{
			"other-region Statement[0].Resource[1]"}},
		{policy.Registry, `{"Effect":"Deny",` + bob +
			`"Action":"ecr:*","NotResource":"arn:aws:ecr:eu-west-1:222222222222:repository/a"}`, []string{
			"other-account Statement[0].NotResource[0]"}},
		{policy.Identity,
			`{"Effect":"Allow","Action":"ecr:*","Resource":["arn:aws:ecr:eu-west-?:222222222222:repository/a","arn:aws:sqs:us-east-1::x"]}`, nil},

		{policy.Repository, `{"Effect":"Allow",` + bob + `"Action":"ecr:BatchGetImages"}`, []string{"unknown-action Statement[0].Action[0]"}},
		{policy.Repository, `{"Effect":"Allow",` + bob + `"NotAction":"ecr:Pull*"}`, []string{"unknown-action Statement[0].NotAction[0]"}},
		{policy.Identity, `{"Effect":"Allow","Action":["s3:Foo","ecr:ListImageReferrers"],"Resource":"*"}`,
			[]string{"unknown-action Statement[0].Action[1]"}},

		{policy.Repository, `{"Effect":"Allow",` + bob + `"Action":"ecr:PutImage"},{"Sid":"again","Effect":"Allow",` + bob +
			`"Action":"ecr:putimage"}`, []string{"unreachable Statement[1]"}},
		{policy.Repository, `{"Effect":"Allow",` + bob + `"Action":"ecr:Put*"},{"Effect":"Allow",` + bob +
			`"Action":["ecr:PutImage","ecr:PutLife*"]}`, []string{"unreachable Statement[1]"}},
		// the second statement allows, the first delegates
		{policy.Repository, `{"Effect":"Allow",` + account + `"Action":"ecr:*"},{"Effect":"Allow",` + bob + `"Action":"ecr:PutImage"}`, nil},
		{policy.Repository, `{"Effect":"Deny",` + account + `"Action":"ecr:*"},{"Effect":"Allow",` + bob +
			`"Action":"ecr:PutImage"}`, []string{"unreachable Statement[1]"}},
		{policy.Repository, `{"Effect":"Allow",` + bob + `"Action":"ecr:PutImage"},{"Effect":"Deny",` + everyone +
			`"Action":"*"}`, []string{"unreachable Statement[0]"}},
		{policy.Repository, `{"Effect":"Deny",` + everyone +
			`"Action":"*","Condition":{"Bool":{"aws:x":true}}},{"Effect":"Allow",` + bob + `"Action":"ecr:PutImage"}`, nil},
		{policy.Repository, `{"Effect":"Deny",` + everyone +
			`"Action":"*","Condition":{"Bool":{"aws:x":true}}},{"Effect":"Allow",` + bob +
			`"Action":"*","Condition":{"Bool":{"AWS:x":"true"}}}`, []string{"unreachable Statement[1]"}},
		{policy.Identity,
			`{"Effect":"Deny","Action":"ecr:Put?mage","Resource":"*"},{"Effect":"Allow","Action":"ecr:Put*mage","Resource":"*"}`, nil},
		{policy.Identity,
			`{"Effect":"Deny","Action":"ecr:*","Resource":"arn:aws:ecr:*:*:repository/${*}"},{"Effect":"Allow","Action":"ecr:*","Resource":"arn:aws:ecr:*:*:repository/*"}`, nil},
		{policy.Identity,
			`{"Effect":"Deny","Action":"ecr:*","Resource":"arn:aws:ecr:*:*:repository/*"},{"Effect":"Allow","Action":"ecr:*","Resource":"arn:aws:ecr:*:*:repository/a?${aws:x}"}`, nil},
		{policy.Identity,
			`{"Effect":"Deny","Action":"*","Resource":"*"},{"Effect":"Allow","Action":"ecr:*","Resource":"arn:aws:ecr:*:*:repository/a?${aws:x}"}`, []string{"unreachable Statement[1]"}},
		{policy.Identity, `{"Effect":"Deny","NotAction":"ecr:*","Resource":"*"},{"Effect":"Allow","Action":"ecr:PutImage","Resource":"*"}`, nil},
		{policy.Identity, `{"Effect":"Deny","NotAction":"ecr:*","Resource":"*"},{"Effect":"Allow","NotAction":"ecr:*","Resource":"*"}`,
			[]string{"unreachable Statement[1]"}},
		{policy.Identity, `{"Effect":"Deny","NotAction":"ecr:*","Resource":"*"},{"Effect":"Allow","Action":"ecr:*","Resource":"*"}`, nil},
		{policy.Identity, `{"Effect":"Deny","Action":"ecr:*","Resource":"*"},{"Effect":"Allow","NotAction":"ecr:*","Resource":"*"}`, nil},
		{policy.Identity, `{"Effect":"Deny","NotAction":"ecr:*","Resource":"*"},{"Effect":"Allow","NotAction":"ecr:Put*","Resource":"*"}`, nil},
		{policy.Repository, `{"Effect":"Deny","Not` + bob[1:] + `"Action":"ecr:*"},{"Effect":"Deny","Not` + bob[1:] + `"Action":"ecr:PutImage"}`,
			[]string{"unreachable Statement[1]"}},
		{policy.Repository, `{"Effect":"Deny","Not` + bob[1:] + `"Action":"ecr:*"},{"Effect":"Deny",` + bob + `"Action":"ecr:PutImage"}`, nil},
		{policy.Repository, `{"Effect":"Deny",` + bob + `"Action":"ecr:*"},{"Effect":"Deny","Not` + bob[1:] + `"Action":"ecr:PutImage"}`, nil},
		{policy.Repository, `{"Effect":"Deny","Not` + bob[1:] + `"Action":"ecr:*"},{"Effect":"Deny","Not` + account[1:] +
			`"Action":"ecr:PutImage"}`, nil},
		// A statement without a resource applies to the repository, and covers each statement with one.
		{policy.Repository, `{"Effect":"Allow",` + bob + `"Action":"ecr:*"},{"Effect":"Allow",` + bob + `"Action":"ecr:*","Resource":"*"}`,
			[]string{"unreachable Statement[1]"}},
		{policy.Repository, `{"Effect":"Allow",` + bob +
			`"Action":"ecr:*","Resource":"arn:aws:ecr:*:111111111111:repository/a*"},{"Effect":"Allow",` + bob + `"Action":"ecr:*"}`, nil},
	}
	for _, test := range tests {
		d, err := policy.Parse(`{"Version":"2012-10-17","Statement":[`+test.statements+`]}`, test.kind)
		if err != nil {
			t.Fatalf("%s: %v", test.statements, err)
		}
		var got []string
		for _, w := range policy.Warnings(d, registry) {
			got = append(got, string(w.Code)+" "+w.Path)
			if w.Text == "" || strings.HasSuffix(w.Text, ".") {
				t.Errorf("%s: the text of the warning is %q", test.statements, w.Text)
			}
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s policy %s (-want +got):\n%s", test.kind, test.statements, diff)
		}
	}
}

func TestWarningNamesNearestAction(t *testing.T) {
	t.Parallel()
	for wrong, want := range map[string]string{
		"ecr:BatchGetImages": "ecr:BatchGetImage", "ecr:pushimage": "ecr:PutImage", "ecr:DescribeRepository": "ecr:DescribeRepositories",
		"ecr:GetAuthToken": "ecr:GetAuthorizationToken", "ecr:DeleteRepo": "ecr:DeleteRepository",
	} {
		d := mustParse(t, statement(`"Action":"`+wrong+`"`))
		got := policy.Warnings(d, name.Registry{})
		if len(got) != 1 || got[0].Code != policy.WarnAction || !strings.HasSuffix(got[0].Text, `the nearest is "`+want+`"`) {
			t.Errorf("%s: got %+v, want a warning that names %s", wrong, got, want)
		}
	}
}

func TestActions(t *testing.T) {
	t.Parallel()
	all := policy.Actions()
	for _, action := range []string{"ecr:BatchGetImage", "ecr:ReplicateImage", "ecr:GetAuthorizationToken", "ecr:StartReplicationBackfill"} {
		if !slices.Contains(all, action) {
			t.Errorf("%s is missing", action)
		}
	}
	slices.Sort(all)
	if len(slices.Compact(all)) != len(policy.Actions()) || len(all) != 64 {
		t.Errorf("got %d actions, want 64 different ones", len(all))
	}
}
