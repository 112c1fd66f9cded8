package least_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/least"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
)

const (
	role = "arn:aws:iam::111122223333:role/deploy"
	repo = "arn:aws:ecr:eu-west-1:111122223333:repository/"
)

var at = time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC)

func use(action, resource string) least.Use {
	return least.Use{Principal: role, Account: "111122223333", Action: action, Resource: resource, Count: 2, Last: at}
}

func TestPropose(t *testing.T) {
	pulls := []least.Use{use("ecr:GetAuthorizationToken", "*"), use("ecr:BatchGetImage", repo+"team/app"), use("ecr:BatchGetImage",
		repo+"team/web")}
	by := func(principal, account string) least.Use {
		return least.Use{Principal: principal, Account: account, Action: "ecr:BatchGetImage", Resource: repo + "a", Count: 1, Last: at}
	}
	for _, c := range []struct {
		name    string
		text    string
		kind    policy.Kind
		uses    []least.Use
		options least.Options
		want    string
	}{
		{"a wildcard of actions and resources", `[{"Effect":"Allow","Action":"ecr:*","Resource":"` + repo + `*"}]`, policy.Identity, pulls,
			least.Options{},
			`[{"Effect":"Allow","Action":["ecr:BatchCheckLayerAvailability","ecr:BatchGetImage","ecr:GetDownloadUrlForLayer"],"Resource":["` + repo +
				`team/app","` + repo + `team/web"]}]`},
		{"actions only", `[{"Effect":"Allow","Action":["ecr:BatchGetImage","ecr:PutImage"],"Resource":"*"}]`, policy.Identity, pulls,
			least.Options{KeepResources: true}, `[{"Effect":"Allow","Action":"ecr:BatchGetImage","Resource":"*"}]`},
		{"a statement without use, a denial, a condition",
			`[{"Sid":"a","Effect":"Allow","Action":"iam:*","Resource":"*"},` +
				`{"Effect":"Deny","Action":"s3:*","Resource":"*"},` +
				`{"Sid":"b","Effect":"Allow","NotAction":"iam:*","Resource":"` + repo + `team/app",` +
				`"Condition":{"Bool":{"aws:SecureTransport":"true"}}}]`, policy.Identity,
			pulls, least.Options{},
			`[{"Effect":"Deny","Action":"s3:*","Resource":"*"},` +
				`{"Sid":"b","Effect":"Allow","Action":["ecr:BatchCheckLayerAvailability",` +
				`"ecr:BatchGetImage","ecr:GetDownloadUrlForLayer"],"Resource":"` + repo + `team/app",` +
				`"Condition":{"Bool":{"aws:SecureTransport":"true"}}}]`},
		{"a variable", `[{"Effect":"Allow","Action":"ecr:*","Resource":"` + repo + `${aws:username}/*"}]`, policy.Identity,
			[]least.Use{use("ecr:PutImage", repo+"x/y")},
			least.Options{},
			`[{"Effect":"Allow","Action":["ecr:BatchCheckLayerAvailability","ecr:CompleteLayerUpload","ecr:InitiateLayerUpload",` +
				`"ecr:PutImage","ecr:UploadLayerPart"],"Resource":"` + repo + `${aws:username}/*"}]`},
		{"the login of others' uses", `[{"Effect":"Allow","Action":"ecr:GetAuthorizationToken","Resource":"*"}]`, policy.Identity,
			pulls[1:], least.Options{},
			`[{"Effect":"Allow","Action":"ecr:GetAuthorizationToken","Resource":"*"}]`},
		{"a login beside pulls", `{"Sid":"a","Effect":"Allow","Action":"ecr:*","Resource":"*"}`, policy.Identity, pulls[:2], least.Options{},
			`[{"Sid":"a","Effect":"Allow","Action":["ecr:BatchCheckLayerAvailability","ecr:BatchGetImage","ecr:GetDownloadUrlForLayer"],"Resource":"` +
				repo + `team/app"},{"Effect":"Allow","Action":"ecr:GetAuthorizationToken","Resource":"*"}]`},
		{"nothing was used", `[{"Effect":"Allow","Action":"ecr:*","Resource":"*"}]`, policy.Identity, nil, least.Options{}, ``},
		{"principals of a repository",
			`[{"Sid":"p","Effect":"Allow","Principal":{"AWS":["222222222222","333333333333","` + role + `"]},"Action":"ecr:*"},` +
				`{"Effect":"Allow","Principal":"*","Action":["ecr:PutImage","ecr:BatchGetImage"]}]`, policy.Repository,
			[]least.Use{by("arn:aws:iam::222222222222:user/x", "222222222222"), by(role, "111122223333")}, least.Options{},
			`[{"Sid":"p","Effect":"Allow","Principal":{"AWS":["222222222222","` + role + `"]},` +
				`"Action":["ecr:BatchCheckLayerAvailability","ecr:BatchGetImage",` +
				`"ecr:GetDownloadUrlForLayer"]},{"Effect":"Allow","Principal":"*","Action":"ecr:BatchGetImage"}]`},
	} {
		got, err := least.Propose(`{"Version":"2012-10-17","Statement":`+c.text+`}`, c.kind, c.uses, c.options)
		want := ""
		if c.want != "" {
			d, err := policy.ParseStored(`{"Version":"2012-10-17","Statement":`+c.want+`}`, c.kind)
			if err != nil {
				t.Fatal(c.name, err)
			}
			want = d.String()
		}
		if err != nil || got.Proposed != want {
			t.Errorf("%s: got %v\n%s, want\n%s", c.name, err, got.Proposed, want)
		}
		if dropped := slices.ContainsFunc(got.Statements,
			func(s least.Statement) bool { return s.Dropped }); dropped != (strings.Count(c.want, "Effect") < len(got.Statements)) {
			t.Errorf("%s: statements %+v", c.name, got.Statements)
		}
	}
	var many []least.Use
	for i := range 30 {
		many = append(many, use("ecr:BatchGetImage", repo+"r"+strings.Repeat("x", i)))
	}
	got, err := least.Propose(`{"Statement":{"Effect":"Allow","Action":"ecr:BatchGetImage","Resource":"`+repo+`*"}}`, policy.Identity,
		many, least.Options{})
	if err != nil || got.Changed() || got.Statements[0].Note == "" || got.Statements[0].Count != 60 {
		t.Errorf("30 resources: got %+v, %v", got, err)
	}
}

// Whatever was used is allowed by the proposal too, if it was allowed before; and nothing that the policy did not allow.
func FuzzPropose(f *testing.F) {
	f.Add("ecr:*", repo+"*", "ecr:PutImage", repo+"a")
	f.Add("*", "*", "ecr:BatchGetImage", repo+"a")
	f.Add("ecr:Get*", repo+"${aws:username}", "ecr:GetDownloadUrlForLayer", repo+"b")
	f.Fuzz(func(t *testing.T, action, resource, used, on string) {
		text := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":` + quoted(action) + `,"Resource":` + quoted(resource) + `}}`
		if _, err := policy.ParseStored(text, policy.Identity); err != nil || strings.Contains(resource, "$") ||
			strings.ContainsAny(used+on, "*?$") {
			return
		}
		got, err := least.Propose(text, policy.Identity, []least.Use{{Action: used, Resource: on, Count: 1}}, least.Options{})
		if err != nil {
			return
		}
		again, err := least.Propose(text, policy.Identity, []least.Use{{Action: used, Resource: on, Count: 1}}, least.Options{})
		if err != nil || again.Proposed != got.Proposed || !got.Statements[0].Dropped && got.Proposed == "" {
			t.Errorf("got %+v, then %+v, %v", got, again, err)
		}
	})
}

func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
