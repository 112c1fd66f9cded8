package sts_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/model/ststypes"
	"github.com/ecrin-dev/ecrin/internal/op/sts"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/faultmeta"
	"github.com/ecrin-dev/ecrin/internal/test/faulttest"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// No operation gives credentials or an answer when a statement of the store fails, and each succeeds again afterwards.
func TestOperationsFailWithTheStore(t *testing.T) {
	t.Parallel()
	for what, prepare := range map[string]func(t *testing.T, w *fixture, user identity.Caller, i int) func() error{
		"AssumeRole": func(t *testing.T, w *fixture, user identity.Caller, i int) func() error {
			own := do(t, w.iam.CreatePolicy, w.root, iamtypes.CreatePolicyRequest{PolicyName: fmt.Sprint("policy", i),
				PolicyDocument: statements(can("Allow", "*", "*"))})
			in := tagged("team", "web")
			in.RoleArn = w.role(t, w.root, fmt.Sprint("role", i), statements(trusts(user.ARN, "sts:*", "")), "")
			in.PolicyArns = []ststypes.PolicyDescriptorType{{Arn: own.Policy.Arn}}
			return func() error { _, err := w.assume(t.Context(), user, &in); return err }
		},
		"a role that assumes a role": func(t *testing.T, w *fixture, user identity.Caller, i int) func() error {
			first := w.role(t, w.root, fmt.Sprint("first", i), statements(trusts(user.ARN, "sts:*", "")), "")
			second := w.role(t, w.root, fmt.Sprint("second", i), statements(trusts(first, "sts:*", "")), "")
			in := transitive(tagged("team", "web"), "team")
			in.RoleArn = first
			session := w.in(t, user, in)
			return func() error {
				_, err := w.assume(t.Context(), session, &ststypes.AssumeRoleRequest{RoleArn: second})
				return err
			}
		},
		"GetSessionToken": func(t *testing.T, w *fixture, user identity.Caller, _ int) func() error {
			return func() error {
				_, err := w.GetSessionToken(t.Context(), user, &ststypes.GetSessionTokenRequest{})
				return err
			}
		},
		"GetFederationToken": func(t *testing.T, w *fixture, user identity.Caller, i int) func() error {
			own := do(t, w.iam.CreatePolicy, w.root, iamtypes.CreatePolicyRequest{PolicyName: fmt.Sprint("policy", i),
				PolicyDocument: statements(can("Allow", "*", "*"))})
			return func() error {
				_, err := w.federate(t.Context(), user, &ststypes.GetFederationTokenRequest{Name: "bob",
					PolicyArns: []ststypes.PolicyDescriptorType{{Arn: own.Policy.Arn}}})
				return err
			}
		},
		"GetAccessKeyInfo of a key": func(t *testing.T, w *fixture, user identity.Caller, i int) func() error {
			name := fmt.Sprint("other", i)
			do(t, w.iam.CreateUser, w.root, iamtypes.CreateUserRequest{UserName: name})
			key := do(t, w.iam.CreateAccessKey, w.root, iamtypes.CreateAccessKeyRequest{UserName: name}).AccessKey.AccessKeyId
			return w.info(t, user, key)
		},
		"GetAccessKeyInfo of a session": func(t *testing.T, w *fixture, user identity.Caller, _ int) func() error {
			return w.info(t, user, do(t, w.GetSessionToken, user, ststypes.GetSessionTokenRequest{}).Credentials.AccessKeyId)
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := newFixture(t, nil)
			faulttest.Sweep(t, faultmeta.In(w.dir), func(i int) faulttest.Call {
				user := w.user(t, w.root, fmt.Sprint("user", i), statements(can("Allow", "*", "*")))
				return faulttest.Call{Do: prepare(t, w, user, i)}
			})
		})
	}
}

func (w *fixture) info(t *testing.T, c identity.Caller, key string) func() error {
	return func() error {
		out, err := w.GetAccessKeyInfo(t.Context(), c, &ststypes.GetAccessKeyInfoRequest{AccessKeyId: key})
		if err == nil && out.Account != home.String() {
			t.Errorf("the account of %s is %q, want %s", key, out.Account, home)
		}
		return err
	}
}

// A web identity gets no credentials when a statement of the store fails.
func TestWebIdentityFailsWithTheStore(t *testing.T) {
	t.Parallel()
	k := newCluster(t)
	faulttest.Sweep(t, faultmeta.In(k.dir), func(i int) faulttest.Call {
		in := k.with(k.role(t, k.root, fmt.Sprint("puller", i), k.trust(byToken, ""), ""), k.issuer.Kubernetes("apps", "web"))
		return faulttest.Call{Do: func() error { _, err := k.web(t.Context(), nobody, &in); return err }}
	})
}

// A role that is stored without a maximum duration has that of one hour.
func TestRoleWithoutAMaximumDuration(t *testing.T) {
	t.Parallel()
	w, user, arn := trusting(t, "")
	e, err := w.meta.Entity(t.Context(), home, meta.Role, "target")
	if err == nil {
		_, err = w.meta.UpdateEntity(t.Context(), e, func(e *meta.Entity) error { e.MaxSession = 0; return nil })
	}
	if err != nil {
		t.Fatal(err)
	}
	out := do(t, w.assume, user, ststypes.AssumeRoleRequest{RoleArn: arn, DurationSeconds: new(int32(3600))})
	if got := out.Credentials.Expiration.Sub(w.at); got != time.Hour {
		t.Errorf("got a session of %s, want 1 h", got)
	}
	refuse(t, w.assume, user, ststypes.AssumeRoleRequest{RoleArn: arn, DurationSeconds: new(int32(3601))}, fault.Validation,
		"exceeds the MaxSessionDuration")
}

// The operations check the credentials of the caller themselves, also where no decision came before.
func TestTemporaryCredentialsGetNoTokens(t *testing.T) {
	t.Parallel()
	w, user, arn := trusting(t, "")
	role := w.in(t, user, ststypes.AssumeRoleRequest{RoleArn: arn})
	session := w.caller(t, do(t, w.GetSessionToken, user, ststypes.GetSessionTokenRequest{}).Credentials.AccessKeyId)
	federated := w.caller(t, do(t, w.GetFederationToken, user, ststypes.GetFederationTokenRequest{Name: "bob"}).Credentials.AccessKeyId)
	for what, c := range map[string]struct {
		by   identity.Caller
		text string
	}{
		"a session of a role":   {role, "with session credentials"},
		"a session of a user":   {session, "with session credentials"},
		"a federated user":      {federated, "with session credentials"},
		"the operator":          {identity.Caller{Kind: identity.Operator}, ""},
		"an anonymous caller":   {identity.Caller{Kind: identity.Anonymous}, ""},
		"a role without a key":  {identity.Caller{Kind: identity.RoleSession, Account: home}, "with session credentials"},
		"a guest without a key": {identity.Caller{Kind: identity.FederatedUser, Account: home}, "with session credentials"},
	} {
		t.Run(what, func(t *testing.T) {
			refuse(t, w.GetSessionToken, c.by, ststypes.GetSessionTokenRequest{}, fault.AccessDenied, c.text)
			refuse(t, w.GetFederationToken, c.by, ststypes.GetFederationTokenRequest{Name: "bob"}, fault.AccessDenied, c.text)
			_, err := sts.OnFederation(w.Service, t.Context(), guard.Request{By: c.by}, &ststypes.GetFederationTokenRequest{Name: "bob"})
			wantError(t, err, fault.AccessDenied, c.text)
		})
	}
}
