package guard_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/faultmeta"
	"github.com/ecrin-dev/ecrin/internal/test/faulttest"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// A policy that is stored and cannot be parsed could have denied the request: the decision is an error.
func TestUnreadablePolicyFailsTheDecision(t *testing.T) {
	t.Parallel()
	const unreadable = `{"Version":"2012-10-17","Statement":`
	reg := name.Registry{Account: home, Region: region}
	for what, spoil := range map[string]func(f *fixture, a *access){
		"repository policy": func(f *fixture, a *access) {
			r, err := f.meta.Repository(f.t.Context(), reg, a.repo)
			f.must(err)
			f.must(f.meta.SetPolicy(f.t.Context(), r, meta.BoundPolicy{Text: unreadable}))
		},
		"registry policy": func(f *fixture, _ *access) {
			f.must(f.meta.PutRegistryPolicy(f.t.Context(), reg, meta.BoundPolicy{Text: unreadable}))
		},
		"trust policy": func(_ *fixture, a *access) { a.Trust = &meta.BoundPolicy{Text: unreadable} },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.repository(home, "app", "")
			_, user := f.user(home, "user", allow("*", "*"))
			a := pull(home, "app")
			f.decide("before", user, a, "")
			spoil(f, &a)
			ask := f.resolved(a)
			if err := f.authorize(user, a); err == nil || errors.Is(err, fault.AccessDenied) {
				t.Errorf("Decide: got %v, want an error that is no denial", err)
			}
			if ok, err := f.guard.Allowed(t.Context(), user, a.From, ask); ok || err == nil {
				t.Errorf("Allowed: got %t, %v, want an error", ok, err)
			}
			if _, why, err := f.guard.Explain(t.Context(), user.ARN, a.From, ask); err == nil {
				t.Errorf("Explain: got %v, want an error", why.Verdict)
			}
			if _, why, err := f.guard.Reconsider(t.Context(), guard.Recorded{Caller: user, From: a.From, Ask: ask}); err == nil {
				t.Errorf("Reconsider: got %v, want an error", why.Verdict)
			}
		})
	}
}

// Explanations and questions fail with the store, and are answered again afterwards.
func TestExplanationsFailWithTheStore(t *testing.T) {
	t.Parallel()
	for what, ask := range map[string]func(f *fixture, u meta.Entity, a guard.Ask) error{
		"Explain": func(f *fixture, u meta.Entity, a guard.Ask) error {
			_, why, err := f.guard.Explain(f.t.Context(), u.ARN(), guard.Origin{}, a)
			return errors.Join(err, allowedBy(why))
		},
		"Reconsider": func(f *fixture, u meta.Entity, a guard.Ask) error {
			_, why, err := f.guard.Reconsider(f.t.Context(), guard.Recorded{At: f.at, Ask: a,
				Caller: identity.Caller{Kind: identity.User, Account: home, Principal: u.ID, ARN: u.ARN()}})
			return errors.Join(err, allowedBy(why))
		},
		"Allowed": func(f *fixture, u meta.Entity, a guard.Ask) error {
			ok, err := f.guard.Allowed(f.t.Context(),
				identity.Caller{Kind: identity.User, Account: home, Principal: u.ID, ARN: u.ARN()}, guard.Origin{}, a)
			if err == nil && !ok {
				f.t.Error("Allowed says no without an error")
			}
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			faulttest.Sweep(t, faultmeta.In(f.dir), func(i int) faulttest.Call {
				repo := fmt.Sprint("team/app-", i)
				f.repository(home, repo, grant("*", "ecr:*"))
				u := f.entity(home, meta.User, fmt.Sprint("user", i), nil)
				f.inline(u, conditional(`{"StringEquals":{"aws:ResourceTag/team":"edge"}}`))
				a := f.resolved(pull(home, repo))
				return faulttest.Call{Do: func() error { return ask(f, u, a) }}
			})
		})
	}
}

func allowedBy(why policy.Why) error {
	if !why.Allowed() {
		return errors.New("it is not allowed")
	}
	return nil
}

// Allowed answers no, without an error, where Decide returns a denial, whatever the denial's cause is.
func TestAllowedIsNoForEveryDenial(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.repository(home, "app", "")
	_, with := f.user(home, "with", allow("*", "*"))
	_, without := f.user(home, "without", "")
	root := identity.Caller{Kind: identity.Root, Account: home, ARN: identity.RootARN(home), Principal: home.String()}
	plain, push := f.resolved(pull(home, "app")), f.resolved(pull(home, "app"))
	push.Action = "ecr:PutImage"
	for what, c := range map[string]struct {
		by   identity.Caller
		ask  guard.Ask
		want bool
	}{
		"a user with the permission":      {with, plain, true},
		"a user without":                  {without, plain, false},
		"nobody":                          {identity.Caller{Kind: identity.NoPrincipal}, plain, false},
		"an anonymous push":               {identity.Caller{Kind: identity.Anonymous}, push, false},
		"the operator at a repository":    {identity.Caller{Kind: identity.Operator}, plain, false},
		"the operator at its own actions": {identity.Caller{Kind: identity.Operator}, guard.Ask{Action: "ecrin:X", Resource: "*"}, true},
		"an action of root by a user": {with, guard.Ask{Action: "ecrin:CreateAccessKey", Owner: guard.OwnedBy(home),
			Resource: "*", Reserved: guard.ForRoot}, false},
		"an action of root by root": {root, guard.Ask{Action: "ecrin:CreateAccessKey", Owner: guard.OwnedBy(home),
			Resource: "*", Reserved: guard.ForRoot}, true},
		"an action of the operator by root": {root, guard.Ask{Action: "ecrin:X", Owner: guard.OwnedBy(home),
			Resource: "*", Reserved: guard.ForOperator}, false},
	} {
		got, err := f.guard.Allowed(t.Context(), c.by, guard.Origin{}, c.ask)
		if err != nil || got != c.want {
			t.Errorf("%s: got %t, %v, want %t", what, got, err, c.want)
		}
		if err := f.guard.Decide(t.Context(), c.by, guard.Origin{}, new(guard.Record), c.ask); (err == nil) != c.want ||
			err != nil && !errors.Is(err, fault.AccessDenied) {
			t.Errorf("%s: the decision is %v, want allowed: %t", what, err, c.want)
		}
	}
}

// Of the callers that policies allow everything, only temporary credentials of users cannot call IAM and STS.
func TestWhichCredentialsMayCallIAMAndSTS(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	user, byKey := f.user(home, "user", allow("*", "*"))
	role := f.entity(home, meta.Role, "role", nil)
	f.inline(role, allow("*", "*"))
	of := func(kind meta.SessionKind, principal string) identity.Caller {
		v := meta.Session{Account: home, Kind: kind, Principal: principal}
		if kind == meta.FederatedSession {
			v.Policies = []string{allow("*", "*")}
		}
		return f.session(v)
	}
	root := identity.Caller{Kind: identity.Root, Account: home, ARN: identity.RootARN(home), Principal: home.String()}
	const refused = "cannot call it"
	for action, want := range map[string][2]string{ // of a session of a user, of a federated user
		"iam:ListUsers": {refused, refused}, "sts:GetSessionToken": {refused, refused}, "iam:AssumeRole": {"", refused},
		"sts:TagSession": {"", refused}, "sts:SetSourceIdentity": {"", refused}, "ecr:CreateRepository": {"", ""},
		"ecrin:ExplainRequest": {"", ""},
	} {
		a := access{Ask: guard.Ask{Action: action, Owner: guard.OwnedBy(home), Region: region, Resource: "*"}}
		f.decide(action+" by the key of a user", byKey, a, "")
		f.decide(action+" by the root user", root, a, "")
		f.decide(action+" by a session of a role", of(meta.RoleSession, role.ID), a, "")
		f.decide(action+" by a session of a user", of(meta.UserSession, user.ID), a, want[0])
		f.decide(action+" by a session of the root user", of(meta.UserSession, home.String()), a, want[0])
		f.decide(action+" by a federated user", of(meta.FederatedSession, user.ID), a, want[1])
	}
}

// A registry policy for all resources does not allow a token, and that of a repository counts for actions of ecrin on it too.
func TestWhichResourcePoliciesApply(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, user := f.user(home, "user", "")
	reg := name.Registry{Account: home, Region: region}
	f.must(f.meta.PutRegistryPolicy(t.Context(), reg, meta.BoundPolicy{
		Text: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}]}`}))
	token := access{Ask: guard.Ask{Action: "ecr:GetAuthorizationToken", Owner: guard.OwnedBy(home), Region: region, Resource: "*"}}
	f.decide("a token by the registry policy", user, token, "no identity-based policy allows the ecr:GetAuthorizationToken action")
	describe := token
	describe.Action = "ecr:DescribeRegistry"
	f.decide("another action by the registry policy", user, describe, "")
	describe.Region = name.Region{}
	f.decide("without a region there is no registry", user, describe, "no identity-based policy allows")
	users := token
	users.Action = "iam:ListUsers"
	f.decide("an action of IAM by the registry policy", user, users, "no identity-based policy allows the iam:ListUsers action")

	f.must(f.meta.PutRegistryPolicy(t.Context(), reg, meta.BoundPolicy{}))
	f.repository(home, "app", "")
	r, err := f.meta.Repository(t.Context(), reg, repoNamed("app"))
	f.must(err)
	f.must(f.meta.SetPolicy(t.Context(), r, meta.BoundPolicy{Text: grant("*", "*")}))
	for action, want := range map[string]string{
		"ecr:BatchGetImage": "", "ecrin:RestoreImage": "", "iam:ListUsers": "no identity-based policy",
	} {
		a := pull(home, "app")
		a.Action = action
		f.decide(action+" by the repository policy", user, a, want)
	}
}

// A request whose target changes is decided again, up to a limit; any other error ends it.
func TestSettled(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	other := errors.New("other")
	for what, c := range map[string]struct {
		changes int
		end     error
		want    error
		calls   int
	}{
		"at once":      {0, nil, nil, 1},
		"later":        {3, nil, nil, 4},
		"an error":     {3, other, other, 4},
		"at the last":  {19, nil, nil, 20},
		"changed ever": {1000, nil, fault.Unavailable, 20},
	} {
		calls := 0
		err := f.guard.Settled(t.Context(), func() error {
			if calls++; calls <= c.changes {
				return fault.TargetChanged.New("changed")
			}
			return c.end
		})
		if !errors.Is(err, c.want) || calls != c.calls {
			t.Errorf("%s: got %v after %d calls, want %v after %d", what, err, calls, c.want, c.calls)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.guard.Settled(ctx, func() error { return nil }); err != nil {
		t.Errorf("an attempt that succeeds: got %v", err)
	}
}
