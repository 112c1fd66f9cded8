package sts_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/model/ststypes"
	"github.com/ecrin-dev/ecrin/internal/net/oidc"
	"github.com/ecrin-dev/ecrin/internal/op/iam"
	"github.com/ecrin-dev/ecrin/internal/op/iam/iamtest"
	"github.com/ecrin-dev/ecrin/internal/op/sts"
	"github.com/ecrin-dev/ecrin/internal/rule/pagetoken"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
	"github.com/ecrin-dev/ecrin/internal/test/oidctest"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

var (
	home    = name.MustAccount("111122223333")
	foreign = name.MustAccount("444455556666")
)

// fixture is an installation of two accounts with their root users, and a clock that the test sets.
type fixture struct {
	*sts.Service
	iam            iamtest.Operations
	id             *identity.Service
	guard          *guard.Guard
	meta           *meta.Store
	dir            string // of the store
	at             time.Time
	root, stranger identity.Caller
}

// newFixture returns a fixture that can connect to the issuer, which may be nil.
func newFixture(t testing.TB, issuer *oidctest.Issuer) *fixture {
	t.Helper()
	w := &fixture{at: time.Now().Truncate(time.Second)} // the certificates of issuers are made for today
	dir := t.TempDir()
	w.dir = dir
	ring, err := identity.LoadKeyring(dir, "", true)
	if err != nil {
		t.Fatal(err)
	}
	metatest.Prepare(t, dir)
	if w.meta, err = meta.OpenSQLite(t.Context(), dir, w.now); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.meta.Close(); err != nil {
			t.Error(err)
		}
	})
	outward := oidctest.Guard(nil)
	if issuer != nil {
		outward = issuer.Guard()
	}
	w.id = identity.New(w.meta, ring, w.now, identity.Options{})
	mac := func(data []byte) []byte { return ring.MAC("iam pages", data) }
	w.iam = iamtest.New(iam.New(iam.Options{Meta: w.meta, Identity: w.id, Pages: pagetoken.New(mac), TaskMAC: mac, Now: w.now}))
	w.guard = guard.New(w.meta, w.id, w.now, guard.Options{})
	w.Service = sts.New(sts.Options{Meta: w.meta, Identity: w.id, Guard: w.guard, OIDC: oidc.New(outward, w.now)})
	if _, err := w.id.EnsureDefault(t.Context(), home); err != nil {
		t.Fatal(err)
	}
	if _, err := w.id.CreateAccount(t.Context(), foreign, ""); err != nil {
		t.Fatal(err)
	}
	w.root, w.stranger = w.rootOf(t, home), w.rootOf(t, foreign)
	return w
}

func (w *fixture) now() time.Time { return w.at }

func (w *fixture) rootOf(t testing.TB, account name.Account) identity.Caller {
	t.Helper()
	k, err := w.id.Credentials(t.Context(), account)
	if err != nil {
		t.Fatal(err)
	}
	return w.caller(t, k.ID)
}

// caller returns the caller to which an access key belongs.
func (w *fixture) caller(t testing.TB, key string) identity.Caller {
	t.Helper()
	c, err := w.id.KeyCaller(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// do runs an operation that must succeed.
func do[In, Out any](t testing.TB, op func(context.Context, identity.Caller, *In) (*Out, error), c identity.Caller, in In) *Out {
	t.Helper()
	out, err := op(t.Context(), c, &in)
	if err != nil {
		t.Fatalf("%T %+v: %v", in, in, err)
	}
	return out
}

// refuse runs an operation that must fail with a code and a text that contains the words.
func refuse[In, Out any](t testing.TB, op func(context.Context, identity.Caller, *In) (*Out, error), c identity.Caller,
	in In, want fault.Code, words string) {
	t.Helper()
	out, err := op(t.Context(), c, &in)
	if err == nil {
		t.Errorf("%T %+v: got %+v, want fault.%s", in, in, out, want)
		return
	}
	wantError(t, err, want, words)
}

func wantError(t testing.TB, err error, want fault.Code, words string) {
	t.Helper()
	if !errors.Is(err, want) || !strings.Contains(fault.From(err).Public, words) {
		t.Errorf("got %v, want fault.%s with %q", err, want, words)
	}
}

// statements returns a policy of the statements.
func statements(all ...string) string {
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(all, ",") + `]}`
}

// can returns a statement of an identity policy.
func can(effect, action, resource string) string {
	return `{"Effect":"` + effect + `","Action":"` + action + `","Resource":"` + resource + `"}`
}

// trusts returns a statement of a trust policy. principal is an ARN or *; condition is the content of Condition, or "".
func trusts(principal, action, condition string) string {
	return trustStatement("Allow", "AWS", principal, action, condition)
}

func trustStatement(effect, kind, principal, action, condition string) string {
	if condition != "" {
		condition = `,"Condition":{` + condition + `}`
	}
	return `{"Effect":"` + effect + `","Principal":{"` + kind + `":"` + principal + `"},"Action":"` + action + `"` + condition + `}`
}

// user makes a user with an inline policy, "" for none, in the account of a root user.
func (w *fixture) user(t testing.TB, root identity.Caller, userName, policy string) identity.Caller {
	t.Helper()
	do(t, w.iam.CreateUser, root, iamtypes.CreateUserRequest{UserName: userName})
	if policy != "" {
		do(t, w.iam.PutUserPolicy, root, iamtypes.PutUserPolicyRequest{UserName: userName, PolicyName: "own", PolicyDocument: policy})
	}
	out := do(t, w.iam.CreateAccessKey, root, iamtypes.CreateAccessKeyRequest{UserName: userName})
	return w.caller(t, out.AccessKey.AccessKeyId)
}

func (w *fixture) deleteUser(t testing.TB, c identity.Caller, userName, policy string) {
	t.Helper()
	root := w.root
	do(t, w.iam.DeleteAccessKey, root, iamtypes.DeleteAccessKeyRequest{UserName: userName, AccessKeyId: c.AccessKey})
	if policy != "" {
		do(t, w.iam.DeleteUserPolicy, root, iamtypes.DeleteUserPolicyRequest{UserName: userName, PolicyName: policy})
	}
	do(t, w.iam.DeleteUser, root, iamtypes.DeleteUserRequest{UserName: userName})
}

// role makes a role with an inline policy, "" for none, and returns its ARN.
func (w *fixture) role(t testing.TB, root identity.Caller, roleName, trust, policy string) string {
	t.Helper()
	out := do(t, w.iam.CreateRole, root, iamtypes.CreateRoleRequest{RoleName: roleName, AssumeRolePolicyDocument: trust})
	if policy != "" {
		do(t, w.iam.PutRolePolicy, root, iamtypes.PutRolePolicyRequest{RoleName: roleName, PolicyName: "own", PolicyDocument: policy})
	}
	return out.Role.Arn
}

// allow decides the asks of a request as the operation table does.
func (w *fixture) allow(ctx context.Context, c identity.Caller, all []guard.Ask, err error) error {
	if err != nil {
		return err
	}
	return w.guard.Decide(ctx, c, guard.Origin{}, new(guard.Record), all...)
}

// assume decides and runs AssumeRole.
func (w *fixture) assume(ctx context.Context, c identity.Caller, in *ststypes.AssumeRoleRequest) (*ststypes.AssumeRoleResponse, error) {
	if in.RoleSessionName == "" {
		in.RoleSessionName = "work"
	}
	if err := in.Validate(); err != nil {
		return nil, err
	}
	t, err := sts.OnRole(w.Service, ctx, guard.Request{By: c}, in)
	if err := w.allow(ctx, c, t.Asks, err); err != nil {
		return nil, err
	}
	return w.AssumeRole(ctx, c, t.Value, in)
}

// unasked runs AssumeRole without a decision.
func (w *fixture) unasked(ctx context.Context, c identity.Caller, in *ststypes.AssumeRoleRequest) (*ststypes.AssumeRoleResponse, error) {
	t, err := sts.OnRole(w.Service, ctx, guard.Request{By: c}, in)
	if err != nil {
		return nil, err
	}
	return w.AssumeRole(ctx, c, t.Value, in)
}

// federate decides and runs GetFederationToken.
func (w *fixture) federate(ctx context.Context, c identity.Caller,
	in *ststypes.GetFederationTokenRequest) (*ststypes.GetFederationTokenResponse, error) {
	t, err := sts.OnFederation(w.Service, ctx, guard.Request{By: c}, in)
	if err := w.allow(ctx, c, t.Asks, err); err != nil {
		return nil, err
	}
	return w.GetFederationToken(ctx, c, in)
}

// in assumes a role and returns the caller of the new session.
func (w *fixture) in(t testing.TB, c identity.Caller, in ststypes.AssumeRoleRequest) identity.Caller {
	t.Helper()
	return w.caller(t, do(t, w.assume, c, in).Credentials.AccessKeyId)
}

// may decides an action without a resource in the caller's account. It returns nil or a denial.
func (w *fixture) may(t testing.TB, c identity.Caller, action string, keys ...guard.ConditionKey) error {
	t.Helper()
	err := w.ask(t.Context(), c, guard.Ask{Action: action, Owner: guard.OwnedBy(c.Account), Resource: "*", Keys: keys})
	if err != nil && !errors.Is(err, fault.AccessDenied) {
		t.Fatalf("%s: %v", action, err)
	}
	return err
}

// wantMay checks that each action is allowed to the caller, or denied if it begins with !.
func (w *fixture) wantMay(t testing.TB, what string, c identity.Caller, actions ...string) {
	t.Helper()
	for _, a := range actions {
		action, denied := strings.CutPrefix(a, "!")
		if err := w.may(t, c, action); (err != nil) != denied {
			t.Errorf("%s: %s of %s: got %v, want denied %v", what, action, c.ARN, err, denied)
		}
	}
}

func (w *fixture) ask(ctx context.Context, c identity.Caller, a guard.Ask) error {
	return w.guard.Decide(ctx, c, guard.Origin{}, new(guard.Record), a)
}
