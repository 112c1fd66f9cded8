package policy_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

func principalOf(t *testing.T, s string) policy.Principal {
	t.Helper()
	p, err := policy.ParsePrincipal(s)
	if err != nil {
		t.Fatalf("ParsePrincipal(%s): %v", s, err)
	}
	return p
}

func TestParseOnePrincipal(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]struct {
		kind policy.PrincipalKind
		text string
	}{
		owner: {policy.Account, root}, root: {policy.Account, root}, alice: {policy.User, alice}, role: {policy.Role, role},
		"arn:aws-cn:iam::111111111111:root": {policy.Account, "arn:aws-cn:iam::111111111111:root"},
		session:                             {policy.RoleSession, session}, fed: {policy.FederatedUser, fed}, "*": {policy.Anyone, "*"},
		"lambda.amazonaws.com": {policy.Service, "lambda.amazonaws.com"},
	} {
		if got := principalOf(t, s); got.Kind != want.kind || got.Text != want.text {
			t.Errorf("%s: got kind %d of %q, want kind %d of %q", s, got.Kind, got.Text, want.kind, want.text)
		}
		// The text is written into policies unchanged.
		d, _, _ := policy.Grant(nil, principalOf(t, s), policy.PullActions(), policy.PullSid)
		roundTrip(t, d)
	}
	for _, s := range []string{"", "1234", "alice", "arn:aws:iam::111111111111:*", "arn:aws:iam::111111111111:group/dev", "AIDAEXAMPLE"} {
		if _, err := policy.ParsePrincipal(s); !errors.Is(err, fault.InvalidParameter) ||
			!strings.Contains(fault.From(err).Public, `got "`+s+`"`) {
			t.Errorf("%q: got the error %v, want InvalidParameter with the value", s, err)
		}
	}
}

// A grant without an existing policy returns the policy that deployment platforms document, word by word.
func TestGrantOnNothing(t *testing.T) {
	t.Parallel()
	got, changed, warnings := policy.Grant(nil, principalOf(t, owner), policy.PullActions(), policy.PullSid)
	want, err := os.ReadFile("testdata/pull-account.want")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.TrimSuffix(string(want), "\n"), got.String()); diff != "" || !changed || warnings != nil {
		t.Errorf("changed %v, warnings %v, policy (-want +got):\n%s", changed, warnings, diff)
	}
	roundTrip(t, got)
}

// Each row adds a permission to some statements; want is the resulting statements, "" when they do not change.
func TestGrant(t *testing.T) {
	t.Parallel()
	const (
		pulls = `"Action":["ecr:BatchGetImage","ecr:ListImages"]`
		added = `{"Sid":"Ours","Effect":"Allow","Principal":{"AWS":"` + alice + `"},` + pulls + `}`
		bob   = bobARN
	)
	with := func(principal, rest string) string {
		return `{"Sid":"Ours","Effect":"Allow","Principal":` + principal + "," + rest + `}`
	}
	for what, test := range map[string]struct{ to, before, want string }{
		"joins our statement": {alice, with(aws(bob), pulls), with(`{"AWS":["`+bob+`","`+alice+`"]}`, pulls)},
		"joins an array":      {alice, with(`{"AWS":["`+bob+`"]}`, pulls), with(`{"AWS":["`+bob+`","`+alice+`"]}`, pulls)},
		"joins beside a service": {alice, with(`{"Service":"lambda.amazonaws.com"}`, pulls),
			with(`{"Service":"lambda.amazonaws.com","AWS":"`+alice+`"}`, pulls)},
		"a service joins": {"lambda.amazonaws.com", with(aws(bob), pulls),
			with(`{"AWS":"`+bob+`","Service":"lambda.amazonaws.com"}`, pulls)},
		"actions in another order": {alice, with(aws(bob), `"Action":["ecr:listimages","ecr:BatchGetImage"]`),
			with(`{"AWS":["`+bob+`","`+alice+`"]}`, `"Action":["ecr:listimages","ecr:BatchGetImage"]`)},
		"is there": {alice, added, ""},
		"is there with a token": {alice, with(aws(alice),
			`"Action":["ecr:BatchGetImage","ecr:ListImages","ecr:GetAuthorizationToken"]`), ""},
		"is there among others": {alice, with(`{"AWS":["`+bob+`","`+alice+`"]}`, pulls), ""},
		"is there in two statements": {alice, pullBy("Allow", aws(alice)) +
			`,{"Effect":"Allow","Principal":"*","Action":"ecr:List*","Resource":"*"}`, ""},
		"is there by a wildcard":          {alice, `{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"*"}`, ""},
		"is there by NotAction":           {alice, `{"Effect":"Allow","Principal":"*","NotAction":"ecr:PutImage"}`, ""},
		"account in digits":               {root, with(aws(owner), pulls), ""},
		"account delegates only":          {alice, `{"Effect":"Allow","Principal":{"AWS":"` + owner + `"},"Action":"ecr:*"}`, "+"},
		"half of the actions":             {alice, pullBy("Allow", aws(alice)), "+"},
		"all but by NotAction":            {alice, `{"Effect":"Allow","Principal":"*","NotAction":"ecr:ListImages"}`, "+"},
		"under a condition":               {alice, with(aws(alice), pulls+`,"Condition":{"Bool":{"aws:SecureTransport":true}}`), "+"},
		"on some resource":                {alice, with(aws(alice), pulls+`,"Resource":"arn:aws:ecr:*:*:repository/a"`), "+"},
		"on all but some resource":        {alice, with(aws(alice), pulls+`,"NotResource":"*"`), "+"},
		"our Sid, more actions":           {alice, with(aws(bob), `"Action":["ecr:BatchGetImage","ecr:ListImages","ecr:PutImage"]`), "+"},
		"our Sid, other actions":          {alice, with(aws(bob), `"Action":["ecr:BatchGetImage","ecr:PutImage"]`), "+"},
		"our Sid, NotAction":              {alice, with(aws(bob), `"NotAction":["ecr:BatchGetImage","ecr:ListImages"]`), "+"},
		"our Sid, denies":                 {bob, strings.Replace(with(aws(alice), pulls), "Allow", "Deny", 1), "+"},
		"another's statement stays as is": {alice, strings.Replace(with(aws(bob), pulls), "Ours", "Theirs", 1), "+"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			text := func(statements string) string {
				return `{"Version":"2008-10-17","Id":"x","Statement":[` + statements + `]}`
			}
			want := test.want
			if want == "+" {
				want = test.before + "," + strings.Replace(added, alice, test.to, 1)
			} else if want == "" {
				want = test.before
			}
			before := mustParse(t, text(test.before))
			old, to, actions := before.String(), principalOf(t, test.to), []string{"ecr:BatchGetImage", "ecr:ListImages"}
			got, changed, _ := policy.Grant(before, to, actions, "Ours")
			if diff := cmp.Diff(mustParse(t, text(want)).String(), got.String()); diff != "" || changed != (test.want != "") {
				t.Errorf("changed %v (-want +got):\n%s", changed, diff)
			}
			roundTrip(t, got)
			if diff := cmp.Diff(old, before.String()); diff != "" {
				t.Errorf("the policy that was there has changed (-want +got):\n%s", diff)
			}
			again, changed, _ := policy.Grant(got, to, actions, "Ours")
			if diff := cmp.Diff(got.String(), again.String()); diff != "" || changed {
				t.Errorf("a second time: changed %v (-first +second):\n%s", changed, diff)
			}
		})
	}
}

// Two grants on the same policy do not affect each other.
func TestGrantsAreApart(t *testing.T) {
	t.Parallel()
	actions := []string{"ecr:BatchGetImage"}
	d, _, _ := policy.Grant(nil, principalOf(t, "222222222222"), actions, "Ours")
	for _, account := range []string{"333333333333", "444444444444"} {
		d, _, _ = policy.Grant(d, principalOf(t, account), actions, "Ours")
	}
	one, _, _ := policy.Grant(d, principalOf(t, alice), actions, "Ours")
	want := one.String()
	two, _, _ := policy.Grant(d, principalOf(t, bobARN), actions, "Ours")
	if got := one.String(); got != want || two.String() != strings.Replace(want, alice, bobARN, 1) {
		t.Errorf("the first became %s\nwhen the second was %s", got, two)
	}
}

// A single statement that is not in an array becomes an array when a statement is added.
func TestGrantBesideSingleStatement(t *testing.T) {
	t.Parallel()
	before := mustParse(t, `{"Statement":`+pullBy("Deny", aws(other))+`}`)
	got, changed, _ := policy.Grant(before, principalOf(t, alice), policy.PushActions(), policy.PushSid)
	roundTrip(t, got)
	if !changed || len(got.Statements) != 2 || got.Single || !before.Single {
		t.Errorf("changed %v, got %s", changed, got)
	}
}

// Evaluate allows all granted actions, except ecr:GetAuthorizationToken, which is not an action on a repository.
func TestGrantIsEffective(t *testing.T) {
	t.Parallel()
	d, _, _ := policy.Grant(nil, principalOf(t, alice), policy.PullActions(), policy.PullSid)
	d, _, _ = policy.Grant(d, principalOf(t, role), policy.PullActions(), policy.PullSid)
	d, _, _ = policy.Grant(d, principalOf(t, alice), policy.PushActions(), policy.PushSid)
	p := &policy.Policies{Repository: policy.Compile(d, nil)}
	for _, action := range policy.PushActions() {
		for caller, want := range map[string]bool{alice: true, session: action == "ecr:BatchGetImage" ||
			action == "ecr:BatchCheckLayerAvailability", foreign: false} {
			r := pullRequest(t, caller)
			r.Action = action
			if got := policy.Evaluate(p, r); got.Allowed() != want {
				t.Errorf("%s by %s: got %s, want allowed %v", action, caller, got.Verdict, want)
			}
		}
	}
}

func TestGrantWarnsOfDenials(t *testing.T) {
	t.Parallel()
	const wins = ": a deny wins over every grant"
	for what, test := range map[string]struct{ to, statements, path, text string }{
		"everyone": {alice, pullBy("Deny", `"*"`), "Statement[0]", "denies ecr:BatchGetImage to " + alice + wins},
		"the account": {alice, listOnlyBy(bobARN) + "," + pullBy("Deny", aws(owner)), "Statement[1]",
			"denies ecr:BatchGetImage to " + alice + wins},
		"the role":           {role, pullBy("Deny", aws(role)), "Statement[0]", "denies ecr:BatchGetImage to " + role + wins},
		"the session's role": {session, pullBy("Deny", aws(role)), "Statement[0]", "denies ecr:BatchGetImage to " + session + wins},
		"all but others":     {alice, notBy(bobARN, root), "Statement[0]", "denies ecr:BatchGetImage, ecr:ListImages to " + alice + wins},
		"NotAction": {root, `{"Effect":"Deny","Principal":"*","NotAction":"ecr:ListImages"}`, "Statement[0]",
			"denies ecr:BatchGetImage to " + root + wins},
		"condition": {alice, strings.Replace(pullBy("Deny", `"*"`), `"Action"`,
			`"Condition":{"NotIpAddress":{"aws:SourceIp":"10.0.0.0/8"}},"Action"`, 1), "Statement[0]",
			"denies ecr:BatchGetImage to " + alice + ", under its conditions" + wins},
		"another user":    {alice, pullBy("Deny", aws(bobARN)), "", ""},
		"another account": {alice, pullBy("Deny", aws(other)), "", ""},
		"a user of it":    {root, pullBy("Deny", aws(alice)), "", ""},
		"spared":          {alice, notBy(alice, root), "", ""},
		"another action":  {alice, `{"Effect":"Deny","Principal":"*","Action":"ecr:PutImage"}`, "", ""},
		"the token alone": {alice, `{"Effect":"Deny","Principal":"*","Action":"ecr:GetAuthorizationToken"}`, "", ""},
	} {
		var want []policy.Warning
		if test.path != "" {
			want = []policy.Warning{{Code: policy.WarnDenied, Path: test.path, Text: test.text}}
		}
		d := mustParse(t, `{"Statement":[`+test.statements+`]}`)
		actions := []string{"ecr:BatchGetImage", "ecr:GetAuthorizationToken", "ecr:ListImages"}
		got, _, warnings := policy.Grant(d, principalOf(t, test.to), actions, "Ours")
		if diff := cmp.Diff(want, warnings); diff != "" {
			t.Errorf("%s: warnings (-want +got):\n%s", what, diff)
		}
		if _, _, again := policy.Grant(got, principalOf(t, test.to), actions, "Ours"); cmp.Diff(want, again) != "" {
			t.Errorf("%s: a second time the warnings are %+v, want %+v", what, again, want)
		}
	}
}

const bobARN = "arn:aws:iam::111111111111:user/bob"

func listOnlyBy(arn string) string {
	return `{"Effect":"Allow","Principal":` + aws(arn) + `,"Action":"ecr:ListImages"}`
}
