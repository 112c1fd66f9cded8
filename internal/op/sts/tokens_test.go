package sts_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/model/ststypes"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

func TestGetSessionToken(t *testing.T) {
	t.Parallel()
	w := newFixture(t, nil)
	user := w.user(t, w.root, "alice", statements(can("Allow", "ecr:DescribeRegistry", "*"), can("Allow", "iam:*", "*"),
		can("Allow", "sts:*", "*")))
	for _, c := range []struct {
		who   identity.Caller
		asked *int32
		want  time.Duration
	}{
		{user, nil, 12 * time.Hour},
		{user, new(int32(900)), 15 * time.Minute},
		{user, new(int32(129600)), 36 * time.Hour},
		{w.root, nil, time.Hour},
		{w.root, new(int32(900)), 15 * time.Minute},
		{w.root, new(int32(129600)), time.Hour},
	} {
		out := do(t, w.GetSessionToken, c.who, ststypes.GetSessionTokenRequest{DurationSeconds: c.asked})
		if got := out.Credentials.Expiration.Sub(w.at); got != c.want || *out.SessionTokenSize != 64 || *out.SessionTokenUtilization != 2 {
			t.Errorf("%s for %v s: got %s, token of %d (%d %%), want %s, 64 (2 %%)", c.who.ARN, c.asked, got,
				*out.SessionTokenSize, *out.SessionTokenUtilization, c.want)
		}
		session, err := w.signedBy(t, out.Credentials)
		if err != nil {
			t.Fatal(err)
		}
		if session.ARN != c.who.ARN || session.UserID != c.who.UserID || session.SessionKey != out.Credentials.AccessKeyId {
			t.Errorf("got the caller %+v, want %s, %s in the session", session, c.who.ARN, c.who.UserID)
		}
		w.wantMay(t, "the session", session, "ecr:DescribeRegistry", "!iam:ListUsers")
	}
	session := w.caller(t, do(t, w.GetSessionToken, user, ststypes.GetSessionTokenRequest{}).Credentials.AccessKeyId)
	w.wantMay(t, "a user's rights only", session, "!ecr:PutRegistryPolicy")
	arn := w.role(t, w.root, "target", statements(trusts(alice, "sts:AssumeRole", "")), "")
	do(t, w.iam.UpdateRole, w.root, iamtypes.UpdateRoleRequest{RoleName: "target", MaxSessionDuration: new(int32(7200))})
	role := w.in(t, session, ststypes.AssumeRoleRequest{RoleArn: arn, DurationSeconds: new(int32(7200))}) // no role chaining
	federated := w.caller(t, do(t, w.federate, user, ststypes.GetFederationTokenRequest{Name: "bob"}).Credentials.AccessKeyId)
	for _, who := range []identity.Caller{session, role, federated} {
		refuse(t, w.GetSessionToken, who, ststypes.GetSessionTokenRequest{}, fault.AccessDenied,
			"Cannot call GetSessionToken with session credentials")
		refuse(t, w.federate, who, ststypes.GetFederationTokenRequest{Name: "bob"}, fault.AccessDenied,
			"Cannot call GetFederationToken with session credentials")
		refuse(t, w.GetFederationToken, who, ststypes.GetFederationTokenRequest{Name: "bob"}, fault.AccessDenied,
			"Cannot call GetFederationToken with session credentials")
	}
	const mfa = "MultiFactorAuthentication failed with invalid MFA one time pass code."
	refuse(t, w.GetSessionToken, user, ststypes.GetSessionTokenRequest{SerialNumber: "GAHT12345678", TokenCode: "123456"},
		fault.AccessDenied, mfa)
	refuse(t, w.GetSessionToken, user, ststypes.GetSessionTokenRequest{TokenCode: "123456"}, fault.AccessDenied, mfa)
	refuse(t, w.GetSessionToken, user, ststypes.GetSessionTokenRequest{MinimumSessionTokenSize: new(int32(4096))},
		fault.Validation, "64 characters")
	operator := identity.Caller{Kind: identity.Operator, ARN: "arn:aws:iam:::operator"}
	refuse(t, w.GetSessionToken, operator, ststypes.GetSessionTokenRequest{}, fault.AccessDenied,
		"is not authorized to perform: sts:GetSessionToken")
	refuse(t, w.federate, operator, ststypes.GetFederationTokenRequest{Name: "bob"}, fault.AccessDenied,
		"is not authorized to perform: sts:GetFederationToken")

	// The sessions of a user end when the user is deleted.
	w.deleteUser(t, user, "alice", "own")
	w.wantEnded(t, "the user is deleted", session)
	w.wantEnded(t, "the user behind the federated one is deleted", federated)
}

func TestGetFederationToken(t *testing.T) {
	t.Parallel()
	w := newFixture(t, nil)
	user := w.user(t, w.root, "alice", statements(can("Allow", "ecr:Describe*", "*"), can("Allow", "iam:*", "*"),
		can("Allow", "sts:GetFederationToken", "arn:aws:sts::111122223333:federated-user/b*"),
		can("Allow", "sts:TagSession", "arn:aws:sts::111122223333:federated-user/bob")))
	in := ststypes.GetFederationTokenRequest{Name: "bob", Policy: statements(can("Allow", "ecr:*", "*"), can("Allow", "iam:*", "*"))}
	out := do(t, w.federate, user, in)
	if got := out.Credentials.Expiration.Sub(w.at); got != 12*time.Hour {
		t.Errorf("got a session of %s, want 12 h", got)
	}
	if want := (&ststypes.FederatedUser{FederatedUserId: "111122223333:bob",
		Arn: "arn:aws:sts::111122223333:federated-user/bob"}); !cmp.Equal(out.FederatedUser, want) || *out.PackedPolicySize != 2 {
		t.Errorf("got %+v, packed %d, want %+v, 2", out.FederatedUser, *out.PackedPolicySize, want)
	}
	bob, err := w.signedBy(t, out.Credentials)
	if err != nil {
		t.Fatal(err)
	}
	if bob.Kind != identity.FederatedUser || bob.ARN != out.FederatedUser.Arn || bob.UserID != out.FederatedUser.FederatedUserId {
		t.Errorf("got the caller %+v, want the federated user", bob)
	}
	w.wantMay(t, "both allow", bob, "ecr:DescribeRegistry", "!ecr:PutRegistryPolicy", "!iam:ListUsers")
	none := w.caller(t, do(t, w.federate, user, ststypes.GetFederationTokenRequest{Name: "bob"}).Credentials.AccessKeyId)
	w.wantMay(t, "without policy", none, "!ecr:DescribeRegistry")
	managed := []ststypes.PolicyDescriptorType{{Arn: "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly"}}
	w.wantMay(t, "a managed policy", w.caller(t, do(t, w.federate, user,
		ststypes.GetFederationTokenRequest{Name: "bob", PolicyArns: managed}).Credentials.AccessKeyId),
		"ecr:DescribeRepositories", "!ecr:DescribeRegistry")

	// A federated user of the root user has the rights of its session policy, for at most one hour.
	rooted := do(t, w.federate, w.root, ststypes.GetFederationTokenRequest{Name: "carol",
		Policy: statements(can("Allow", "ecr:*", "*")), DurationSeconds: new(int32(7200))})
	if got := rooted.Credentials.Expiration.Sub(w.at); got != time.Hour {
		t.Errorf("the root user's: got a session of %s, want 1 h", got)
	}
	w.wantMay(t, "the root user's", w.caller(t, rooted.Credentials.AccessKeyId), "ecr:PutRegistryPolicy", "!ecrin:ListTokens")

	// The principal tags are those of the user; session tags replace those with the same key.
	do(t, w.iam.TagUser, w.root, iamtypes.TagUserRequest{UserName: "alice", Tags: []iamtypes.Tag{{Key: "team", Value: "web"}}})
	byTag := statements(`{"Effect":"Allow","Action":"ecr:*","Resource":"*","Condition":{"StringEquals":{"aws:PrincipalTag/team":"web"}}}`)
	w.wantMay(t, "the user's tag", w.caller(t, do(t, w.federate, user,
		ststypes.GetFederationTokenRequest{Name: "bob", Policy: byTag}).Credentials.AccessKeyId), "ecr:DescribeRegistry")
	tags := []ststypes.Tag{{Key: "Team", Value: "core"}}
	w.wantMay(t, "the session's tag over it", w.caller(t,
		do(t, w.federate, user, ststypes.GetFederationTokenRequest{Name: "bob", Policy: byTag,
			Tags: tags}).Credentials.AccessKeyId), "!ecr:DescribeRegistry")

	do(t, w.federate, user, ststypes.GetFederationTokenRequest{Name: "bill"}) // sts:TagSession is needed for tags alone
	refuse(t, w.federate, user, ststypes.GetFederationTokenRequest{Name: "bill", Tags: tags}, fault.AccessDenied,
		"sts:TagSession on resource: arn:aws:sts::111122223333:federated-user/bill")
	refuse(t, w.federate, user, ststypes.GetFederationTokenRequest{Name: "carol"}, fault.AccessDenied,
		"sts:GetFederationToken on resource: arn:aws:sts::111122223333:federated-user/carol")
	refuse(t, w.federate, user, ststypes.GetFederationTokenRequest{Name: "bob", Tags: append(tags, tags...)},
		fault.InvalidParameter, "Duplicate tag keys")
	refuse(t, w.federate, user, ststypes.GetFederationTokenRequest{Name: "bob", Policy: "{}"}, fault.MalformedPolicyDocument, "Statement")
	refuse(t, w.federate, user, ststypes.GetFederationTokenRequest{Name: "bob", MinimumSessionTokenSize: new(int32(100))},
		fault.Validation, "64 characters")
	arn := w.role(t, w.root, "target", statements(trusts("*", "sts:*", "")), "")
	if _, err := w.assume(t.Context(), bob, &ststypes.AssumeRoleRequest{RoleArn: arn}); !errors.Is(err, fault.AccessDenied) {
		t.Errorf("a federated user assumes a role: got %v, want fault.AccessDenied", err)
	}
}

func TestContract58GetCallerIdentity(t *testing.T) {
	t.Parallel()
	w := newFixture(t, nil)
	user := w.user(t, w.root, "alice", statements(can("Deny", "*", "*"))) // cannot be denied
	id := do(t, w.iam.GetUser, w.root, iamtypes.GetUserRequest{UserName: "alice"}).User.UserId
	bob := w.user(t, w.root, "bob", "")
	arn := w.role(t, w.root, "target", statements(trusts(bob.ARN, "sts:*", "")), "")
	role := do(t, w.assume, bob, ststypes.AssumeRoleRequest{RoleArn: arn})
	federated := do(t, w.federate, w.root, ststypes.GetFederationTokenRequest{Name: "fred"})
	for what, c := range map[string]struct {
		who  identity.Caller
		want ststypes.GetCallerIdentityResponse
	}{
		"a root user": {w.root, ststypes.GetCallerIdentityResponse{UserId: "111122223333", Account: "111122223333", Arn: homeRoot}},
		"a user":      {user, ststypes.GetCallerIdentityResponse{UserId: id, Account: "111122223333", Arn: alice}},
		"a role session": {w.caller(t, role.Credentials.AccessKeyId), ststypes.GetCallerIdentityResponse{
			UserId: role.AssumedRoleUser.AssumedRoleId, Account: "111122223333", Arn: "arn:aws:sts::111122223333:assumed-role/target/work"}},
		"a federated user": {w.caller(t, federated.Credentials.AccessKeyId), ststypes.GetCallerIdentityResponse{
			UserId: "111122223333:fred", Account: "111122223333", Arn: "arn:aws:sts::111122223333:federated-user/fred"}},
		"the operator": {identity.Caller{Kind: identity.Operator, ARN: "arn:aws:iam:::operator", UserID: "operator"},
			ststypes.GetCallerIdentityResponse{UserId: "operator", Arn: "arn:aws:iam:::operator"}},
	} {
		if diff := cmp.Diff(&c.want, do(t, w.GetCallerIdentity, c.who, ststypes.GetCallerIdentityRequest{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
}

func TestGetAccessKeyInfo(t *testing.T) {
	t.Parallel()
	w := newFixture(t, nil)
	user := w.user(t, w.stranger, "alice", "")
	session := do(t, w.GetSessionToken, w.stranger, ststypes.GetSessionTokenRequest{}).Credentials.AccessKeyId
	do(t, w.iam.UpdateAccessKey, w.stranger, iamtypes.UpdateAccessKeyRequest{UserName: "alice", AccessKeyId: user.AccessKey,
		Status: "Inactive"})
	w.at = w.at.Add(2 * time.Hour)
	for what, c := range map[string]struct{ key, want string }{
		"one's own":               {w.root.AccessKey, "111122223333"},
		"of another account":      {w.stranger.AccessKey, "444455556666"},
		"inactive":                {user.AccessKey, "444455556666"},
		"of a session that ended": {session, "444455556666"},
	} {
		if got := do(t, w.GetAccessKeyInfo, w.root, ststypes.GetAccessKeyInfoRequest{AccessKeyId: c.key}).Account; got != c.want {
			t.Errorf("a key %s: got account %q, want %q", what, got, c.want)
		}
	}
	for _, key := range []string{"AKIAAAAAAAAAAAAAAAAA", "ASIAAAAAAAAAAAAAAAAA", strings.ToLower(w.root.AccessKey), identity.OperatorKeyID} {
		refuse(t, w.GetAccessKeyInfo, w.root, ststypes.GetAccessKeyInfoRequest{AccessKeyId: key}, fault.Validation, "is invalid")
	}
}
