package policy_test

import (
	"testing"

	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// A grant allows its caller what a repository policy would, but never more than the boundary, the session policies, and the caller's own
// account, and never what a policy denies.
func TestGrantsAreLimited(t *testing.T) {
	t.Parallel()
	const alice = "arn:aws:iam::111122223333:user/alice"
	compiled := func(kind policy.Kind, text string) *policy.Compiled {
		d, err := policy.Parse(text, kind)
		if err != nil {
			t.Fatal(err)
		}
		return policy.Compile(d, nil)
	}
	grant := compiled(policy.Repository, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"`+alice+
		`"},"Action":"ecr:BatchGetImage"}]}`)
	all := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`
	none := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}`
	deny := `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"ecr:*","Resource":"*"}]}`
	own, other := name.MustAccount("111122223333"), name.MustAccount("444455556666")
	for _, c := range []struct {
		what  string
		p     policy.Policies
		owner name.Account
		want  bool
	}{
		{"in its account", policy.Policies{}, own, true},
		{"with a boundary that allows", policy.Policies{Boundary: []policy.Named{{Policy: compiled(policy.Boundary, all)}}}, own, true},
		{"with a boundary that does not", policy.Policies{Boundary: []policy.Named{{Policy: compiled(policy.Boundary, none)}}}, own, false},
		{"with a session policy that does not", policy.Policies{Session: []policy.Named{{Policy: compiled(policy.Session, none)}}}, own, false},
		{"with a deny", policy.Policies{Identity: []policy.Named{{Policy: compiled(policy.Identity, deny)}}}, own, false},
		{"with a control policy that does not allow", policy.Policies{SCP: [][]policy.Named{{{Policy: compiled(policy.ServiceControl, none)}}}},
			own, false},
		{"of another account that does not allow", policy.Policies{}, other, false},
		{"of another account that allows", policy.Policies{Identity: []policy.Named{{Policy: compiled(policy.Identity, all)}}}, other, true},
	} {
		c.p.Grants = []policy.Named{{Name: "grant", Policy: grant, Limited: true}}
		r := policy.Request{Caller: policy.Caller{Kind: policy.User, Account: own, ARN: alice}, Action: "ecr:BatchGetImage",
			Resource: "arn:aws:ecr:us-east-1:444455556666:repository/app", ResourceAccount: c.owner}
		d := policy.Evaluate(&c.p, &r)
		if d.Allowed() != c.want {
			t.Errorf("%s: got %+v, want allowed %v", c.what, d, c.want)
		}
		if d.Allowed() && d.Policy != "grant" {
			t.Errorf("%s: decided by %q, want the grant", c.what, d.Policy)
		}
		if w := policy.Explain(&c.p, &r); w.Decision != d {
			t.Errorf("%s: explained as %+v, decided as %+v", c.what, w.Decision, d)
		}
	}
}

// ByResource is true exactly of denials that a statement of the repository for the caller ends.
func TestByResource(t *testing.T) {
	t.Parallel()
	const alice = "arn:aws:iam::111122223333:user/alice"
	own := name.MustAccount("111122223333")
	named := func(kind policy.Kind, text string) []policy.Named {
		d, err := policy.Parse(text, kind)
		if err != nil {
			t.Fatal(err)
		}
		return []policy.Named{{Policy: policy.Compile(d, nil)}}
	}
	deny := named(policy.Identity, `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"ecr:*","Resource":"*"}]}`)
	all := named(policy.Identity, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`)
	other := name.MustAccount("444455556666")
	for _, c := range []struct {
		what  string
		p     policy.Policies
		owner name.Account
		want  bool
	}{
		{"no policy", policy.Policies{}, own, true},
		{"a deny", policy.Policies{Identity: deny}, own, false},
		{"allowed", policy.Policies{Identity: all}, own, false},
		{"another account, neither side allows", policy.Policies{}, other, false},
		{"another account, its own allows", policy.Policies{Identity: all}, other, true},
		{"a boundary", policy.Policies{Boundary: named(policy.Boundary,
			`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}`)}, own, false},
	} {
		r := policy.Request{Caller: policy.Caller{Kind: policy.User, Account: own, ARN: alice}, Action: "ecr:BatchGetImage",
			Resource: "arn:aws:ecr:us-east-1:444455556666:repository/app", ResourceAccount: c.owner}
		if got := policy.Explain(&c.p, &r).ByResource(); got != c.want {
			t.Errorf("%s: got %v, want %v", c.what, got, c.want)
		}
	}
}
