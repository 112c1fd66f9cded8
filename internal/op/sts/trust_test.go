package sts_test

import (
	"errors"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/model/ststypes"
	"github.com/ecrin-dev/ecrin/internal/op/sts"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

const (
	alice     = "arn:aws:iam::111122223333:user/alice"
	homeRoot  = "arn:aws:iam::111122223333:root"
	awayRoot  = "arn:aws:iam::444455556666:root"
	awayAlice = "arn:aws:iam::444455556666:user/alice"
	target    = "arn:aws:iam::111122223333:role/target"

	noIdentity = "because no identity-based policy allows the sts:AssumeRole action"
	noTrust    = "because no role trust policy allows the sts:AssumeRole action"
)

// The trust policy of a role and the policies of the caller together decide whether the caller may assume the role.
// Source: IAM user guide, policy evaluation logic; roles terms and concepts; the confused deputy problem.
func TestContract58Trust(t *testing.T) {
	t.Parallel()
	allowed := statements(can("Allow", "sts:AssumeRole", target))
	external := `"StringEquals":{"sts:ExternalId":"deal-7"}`
	for what, c := range map[string]struct {
		away  bool   // the caller is of the other account
		own   string // the caller's policy
		trust string
		in    ststypes.AssumeRoleRequest
		deny  string // "" if the request is allowed
	}{
		"the user is named": {trust: statements(trusts(alice, "sts:AssumeRole", ""))},
		"the user is named, its own policy denies": {own: statements(can("Deny", "sts:*", "*")),
			trust: statements(trusts(alice, "sts:AssumeRole", "")), deny: "with an explicit deny in an identity-based policy"},
		"the user is named, the trust policy denies": {own: allowed,
			trust: statements(trusts(alice, "sts:AssumeRole", ""),
				trustStatement("Deny", "AWS", "*", "sts:AssumeRole", "")), deny: "with an explicit deny in the role trust policy"},
		"the account is named":               {trust: statements(trusts(homeRoot, "sts:AssumeRole", "")), deny: noIdentity},
		"the account is named by its digits": {trust: statements(trusts("111122223333", "sts:AssumeRole", "")), deny: noIdentity},
		"the account is named, the user may": {own: allowed, trust: statements(trusts(homeRoot, "sts:AssumeRole", ""))},
		"the account is named, the user may another role": {own: statements(can("Allow", "sts:AssumeRole", target+"2")),
			trust: statements(trusts(homeRoot, "sts:AssumeRole", "")), deny: noIdentity},
		"the user may, but nobody trusts it": {own: allowed,
			trust: statements(trusts(awayRoot, "sts:AssumeRole", "")), deny: noTrust},
		"everybody is trusted": {trust: statements(trusts("*", "sts:AssumeRole", ""))},
		"a service is trusted": {own: allowed,
			trust: statements(trustStatement("Allow", "Service", "ec2.amazonaws.com", "sts:AssumeRole", "")), deny: noTrust},
		"web identities are trusted": {own: allowed,
			trust: statements(trusts(alice, "sts:AssumeRoleWithWebIdentity", "")), deny: noTrust},
		"away: the user is named": {away: true,
			trust: statements(trusts(awayAlice, "sts:AssumeRole", "")), deny: noIdentity},
		"away: the user is named and may": {away: true, own: allowed,
			trust: statements(trusts(awayAlice, "sts:AssumeRole", ""))},
		"away: the account is named, the user may": {away: true, own: allowed,
			trust: statements(trusts(awayRoot, "sts:AssumeRole", ""))},
		"away: the user may, but is not trusted": {away: true, own: allowed,
			trust: statements(trusts(homeRoot, "sts:AssumeRole", "")), deny: noTrust},
		"away: everybody is trusted":               {away: true, trust: statements(trusts("*", "sts:AssumeRole", "")), deny: noIdentity},
		"away: everybody is trusted, the user may": {away: true, own: allowed, trust: statements(trusts("*", "sts:AssumeRole", ""))},
		"away: the owner denies": {away: true, own: allowed,
			trust: statements(trusts(awayAlice, "sts:AssumeRole", ""),
				trustStatement("Deny", "AWS", awayRoot, "sts:*", "")), deny: "with an explicit deny in the role trust policy"},
		"confused deputy: no external id": {away: true, own: allowed,
			trust: statements(trusts(awayRoot, "sts:AssumeRole", external)), deny: noTrust},
		"confused deputy: another external id": {away: true, own: allowed,
			trust: statements(trusts(awayRoot, "sts:AssumeRole", external)), in: ststypes.AssumeRoleRequest{ExternalId: "deal-8"}, deny: noTrust},
		"confused deputy: its case counts": {away: true, own: allowed,
			trust: statements(trusts(awayRoot, "sts:AssumeRole", external)), in: ststypes.AssumeRoleRequest{ExternalId: "Deal-7"}, deny: noTrust},
		"confused deputy: the external id": {away: true, own: allowed,
			trust: statements(trusts(awayRoot, "sts:AssumeRole", external)), in: ststypes.AssumeRoleRequest{ExternalId: "deal-7"}},
		"an external id that nobody asks for": {trust: statements(trusts(alice, "sts:AssumeRole", "")),
			in: ststypes.AssumeRoleRequest{ExternalId: "deal-8"}},
		"the session's name has to be the user's": {
			trust: statements(trusts(alice, "sts:AssumeRole", `"StringEquals":{"sts:RoleSessionName":"${aws:username}"}`)), deny: noTrust},
		"the session's name is the user's": {
			trust: statements(trusts(alice, "sts:AssumeRole", `"StringEquals":{"sts:RoleSessionName":"${aws:username}"}`)),
			in:    ststypes.AssumeRoleRequest{RoleSessionName: "alice"}},
		"MFA is asked for, which nobody has": {
			trust: statements(trusts(alice, "sts:AssumeRole", `"Bool":{"aws:MultiFactorAuthPresent":"true"}`)), deny: noTrust},
		"tags without TagSession": {trust: statements(trusts(alice, "sts:AssumeRole", "")),
			in: tagged("team", "web"), deny: "sts:TagSession"},
		"tags with TagSession": {trust: statements(trusts(alice, "sts:*", "")), in: tagged("team", "web")},
		"tags, the account trusted, no TagSession of its": {own: allowed, trust: statements(trusts(homeRoot, "sts:*", "")),
			in: tagged("team", "web"), deny: "because no identity-based policy allows the sts:TagSession action"},
		"a tag of another value": {
			trust: statements(trusts(alice, "sts:*", `"StringEquals":{"aws:RequestTag/team":"db"}`)), in: tagged("team", "web"), deny: noTrust},
		"a tag that is asked for": {
			trust: statements(trusts(alice, "sts:*", `"StringEquals":{"aws:RequestTag/Team":"web"}`)), in: tagged("team", "web")},
		"more tags than are allowed": {
			trust: statements(trusts(alice, "sts:*", `"ForAllValues:StringEquals":{"aws:TagKeys":["team"]}`)), in: tagged("team",
				"web", "cost", "1"), deny: noTrust},
		"a transitive tag that may not be": {
			trust: statements(trusts(alice, "sts:*", `"ForAllValues:StringEquals":{"sts:TransitiveTagKeys":["cost"]}`)),
			in:    transitive(tagged("team", "web", "cost", "1"), "team"), deny: noTrust},
		"a transitive tag that may be": {
			trust: statements(trusts(alice, "sts:*", `"ForAnyValue:StringEquals":{"sts:TransitiveTagKeys":["cost"]}`)),
			in:    transitive(tagged("team", "web", "cost", "1"), "cost")},
		"what a request does not have is absent": {trust: statements(trusts(alice, "sts:*",
			`"Null":{"aws:TagKeys":"true","sts:TransitiveTagKeys":"true","sts:SourceIdentity":"true","sts:ExternalId":"true"}`))},
		"a tag is present": {trust: statements(trusts(alice, "sts:*", `"Null":{"aws:TagKeys":"true"}`)),
			in: tagged("team", "web"), deny: noTrust},
		"a source identity without SetSourceIdentity": {trust: statements(trusts(alice, "sts:AssumeRole", "")),
			in: ststypes.AssumeRoleRequest{SourceIdentity: "Alice"}, deny: "sts:SetSourceIdentity"},
		"a source identity": {
			trust: statements(trusts(alice, "sts:*", `"StringLike":{"sts:SourceIdentity":"A*"}`)), in: ststypes.AssumeRoleRequest{
				SourceIdentity: "Alice"}},
		"another source identity than is trusted": {
			trust: statements(trusts(alice, "sts:*", `"StringLike":{"sts:SourceIdentity":"A*"}`)), in: ststypes.AssumeRoleRequest{
				SourceIdentity: "Bob"}, deny: noTrust},
		"a source identity has to be there": {
			trust: statements(trusts(alice, "sts:*", `"StringLike":{"sts:SourceIdentity":"*"}`)), deny: noTrust},
		"only the role's tag of the caller counts, missing": {
			trust: statements(trusts(alice, "sts:AssumeRole", `"StringEquals":{"aws:PrincipalTag/team":"web"}`)),
			in:    tagged("team", "web"), deny: noTrust},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := newFixture(t, nil)
			root := w.root
			if c.away {
				root = w.stranger
			}
			w.user(t, w.root, "alice", "") // so that trust policies can name it
			if c.away {
				w.user(t, w.stranger, "alice", c.own)
			} else if c.own != "" {
				do(t, w.iam.PutUserPolicy, root, iamtypes.PutUserPolicyRequest{UserName: "alice", PolicyName: "own", PolicyDocument: c.own})
			}
			keys := do(t, w.iam.ListAccessKeys, root, iamtypes.ListAccessKeysRequest{UserName: "alice"})
			who := w.caller(t, keys.AccessKeyMetadata[0].AccessKeyId)
			c.in.RoleArn = w.role(t, w.root, "target", c.trust, "")
			if c.deny != "" {
				refuse(t, w.assume, who, c.in, fault.AccessDenied, c.deny)
				return
			}
			out := do(t, w.assume, who, c.in)
			if got, want := out.AssumedRoleUser.Arn, "arn:aws:sts::111122223333:assumed-role/target/"+or(c.in.RoleSessionName, "work"); got != want {
				t.Errorf("got the ARN %s, want %s", got, want)
			}
		})
	}
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// tagged returns a request with tags, given as keys and values.
func tagged(pairs ...string) ststypes.AssumeRoleRequest {
	var in ststypes.AssumeRoleRequest
	for i := 0; i < len(pairs); i += 2 {
		in.Tags = append(in.Tags, ststypes.Tag{Key: pairs[i], Value: pairs[i+1]})
	}
	return in
}

func transitive(in ststypes.AssumeRoleRequest, keys ...string) ststypes.AssumeRoleRequest {
	in.TransitiveTagKeys = keys
	return in
}

// A denial does not show whether the role or its account exists. A malformed ARN of a role is a validation error.
func TestNoSuchRole(t *testing.T) {
	t.Parallel()
	w := newFixture(t, nil)
	poor := w.user(t, w.root, "poor", "")
	rich := w.user(t, w.root, "rich", statements(can("Allow", "*", "*")))
	out := do(t, w.iam.CreateRole, w.root, iamtypes.CreateRoleRequest{RoleName: "there", Path: "/team/",
		AssumeRolePolicyDocument: statements(trusts(awayRoot, "sts:AssumeRole", ""))})
	do(t, w.iam.CreateRole, w.root, iamtypes.CreateRoleRequest{RoleName: "open", Path: "/team/",
		AssumeRolePolicyDocument: statements(trusts("*", "sts:AssumeRole", ""))})
	for arn, text := range map[string][2]string{ // the error texts for poor and rich
		out.Role.Arn:                            {noTrust, noTrust},
		"arn:aws:iam::111122223333:role/open":   {noTrust, noTrust}, // the role that exists has a path
		"arn:aws:iam::111122223333:role/x/open": {noTrust, noTrust},
		"arn:aws:iam::111122223333:role/nobody": {noTrust, noTrust},
		"arn:aws:iam::444455556666:role/nobody": {noIdentity, noTrust},
		"arn:aws:iam::999999999999:role/nobody": {noIdentity, noTrust},
	} {
		for i, who := range []identity.Caller{poor, rich} {
			refuse(t, w.assume, who, ststypes.AssumeRoleRequest{RoleArn: arn}, fault.AccessDenied,
				"User: "+who.ARN+" is not authorized to perform: sts:AssumeRole on resource: "+arn+" "+text[i])
		}
	}
	for _, arn := range []string{"arn:aws:iam::111122223333:user/there", "arn:aws:iam::1111:role/there1",
		"arn:aws:sts::111122223333:role/there", "arn:aws:iam::111122223333:role/", "there-is-no-colon-in-it"} {
		refuse(t, w.assume, rich, ststypes.AssumeRoleRequest{RoleArn: arn}, fault.Validation, arn+" is invalid")
	}
}

// A root user cannot assume roles, and neither can the operator, which is no principal of an account.
func TestRolesOfRoots(t *testing.T) {
	t.Parallel()
	w := newFixture(t, nil)
	arn := w.role(t, w.root, "target", statements(trusts("*", "sts:*", "")), "")
	in := ststypes.AssumeRoleRequest{RoleArn: arn}
	refuse(t, w.assume, w.root, in, fault.AccessDenied, "Roles may not be assumed by root accounts.")
	refuse(t, w.assume, w.stranger, in, fault.AccessDenied, "Roles may not be assumed by root accounts.")
	session := do(t, w.GetSessionToken, w.root, ststypes.GetSessionTokenRequest{})
	refuse(t, w.assume, w.caller(t, session.Credentials.AccessKeyId), in, fault.AccessDenied, "Roles may not be assumed by root accounts.")
	refuse(t, w.assume, identity.Caller{Kind: identity.Operator, ARN: "arn:aws:iam:::operator"}, in, fault.AccessDenied, noIdentity)
}

// A session of a role can assume the same role only if the role's trust policy allows it.
// Source: IAM user guide, roles terms and concepts: role self-trust.
func TestSelfAssume(t *testing.T) {
	t.Parallel()
	w := newFixture(t, nil)
	user := w.user(t, w.root, "alice", "")
	arn := w.role(t, w.root, "target", statements(trusts(alice, "sts:AssumeRole", "")), statements(can("Allow", "sts:AssumeRole", "*")))
	session := w.in(t, user, ststypes.AssumeRoleRequest{RoleArn: arn})
	refuse(t, w.assume, session, ststypes.AssumeRoleRequest{RoleArn: arn}, fault.AccessDenied, noTrust)
	for what, principal := range map[string]string{"itself": arn, "its session": session.ARN, "its account": homeRoot} {
		do(t, w.iam.UpdateAssumeRolePolicy, w.root, iamtypes.UpdateAssumeRolePolicyRequest{
			RoleName: "target", PolicyDocument: statements(trusts(alice, "sts:AssumeRole", ""), trusts(principal, "sts:AssumeRole", "")),
		})
		if _, err := w.assume(t.Context(), session, &ststypes.AssumeRoleRequest{RoleArn: arn}); err != nil {
			t.Errorf("the role trusts %s: %v", what, err)
		}
	}
}

// Rights belong to a user or role and not to its name: a later user or role of the same name does not have them.
// Source: IAM user guide, policy element Principal.
func TestNamesakes(t *testing.T) {
	t.Parallel()
	w := newFixture(t, nil)
	first := w.user(t, w.root, "alice", "")
	trust := statements(trusts(alice, "sts:AssumeRole", ""))
	arn := w.role(t, w.root, "target", trust, statements(can("Allow", "ecr:DescribeRepositories", "*")))
	session := w.in(t, first, ststypes.AssumeRoleRequest{RoleArn: arn})
	w.wantMay(t, "the session", session, "ecr:DescribeRepositories")

	w.deleteUser(t, first, "alice", "")
	refuse(t, w.assume, w.user(t, w.root, "alice", ""), ststypes.AssumeRoleRequest{RoleArn: arn}, fault.AccessDenied, noTrust)
	w.wantMay(t, "the session does not need the user any more", session, "ecr:DescribeRepositories")

	do(t, w.iam.UpdateAssumeRolePolicy, w.root, iamtypes.UpdateAssumeRolePolicyRequest{RoleName: "target", PolicyDocument: trust})
	keys := do(t, w.iam.ListAccessKeys, w.root, iamtypes.ListAccessKeysRequest{UserName: "alice"})
	second := w.caller(t, keys.AccessKeyMetadata[0].AccessKeyId)
	do(t, w.assume, second, ststypes.AssumeRoleRequest{RoleArn: arn})

	do(t, w.iam.DeleteRolePolicy, w.root, iamtypes.DeleteRolePolicyRequest{RoleName: "target", PolicyName: "own"})
	do(t, w.iam.DeleteRole, w.root, iamtypes.DeleteRoleRequest{RoleName: "target"})
	refuse(t, w.assume, second, ststypes.AssumeRoleRequest{RoleArn: arn}, fault.AccessDenied, noTrust)
	refuse(t, w.unasked, second, ststypes.AssumeRoleRequest{RoleArn: arn, RoleSessionName: "late"}, fault.AccessDenied, noTrust)
	w.wantEnded(t, "the role is deleted", session)
	w.role(t, w.root, "target", trust, statements(can("Allow", "*", "*")))
	w.wantEnded(t, "the role has a namesake", session)
}

// If a role is replaced by another role of the same name after the decision, AssumeRole is denied, whatever principals
// the new role trusts.
func TestNamesakeBetweenDecisionAndSession(t *testing.T) {
	t.Parallel()
	w := newFixture(t, nil)
	user := w.user(t, w.root, "alice", "")
	in := ststypes.AssumeRoleRequest{RoleSessionName: "work"}
	in.RoleArn = w.role(t, w.root, "target", statements(trusts(alice, "sts:AssumeRole", "")), "")
	decided, err := sts.OnRole(w.Service, t.Context(), guard.Request{By: user}, &in)
	if err := w.allow(t.Context(), user, decided.Asks, err); err != nil {
		t.Fatal(err)
	}
	do(t, w.iam.DeleteRole, w.root, iamtypes.DeleteRoleRequest{RoleName: "target"})
	w.role(t, w.root, "target", statements(trusts("444455556666", "sts:AssumeRole", "")), statements(can("Allow", "*", "*")))
	if got, err := w.AssumeRole(t.Context(), user, decided.Value, &in); !errors.Is(err, fault.AccessDenied) {
		t.Errorf("a namesake that trusts others: got %+v, %v; want fault.AccessDenied", got, err)
	}
}

// wantEnded checks that a session is refused, in new requests and in requests that are already authenticated.
func (w *fixture) wantEnded(t testing.TB, what string, session identity.Caller) {
	t.Helper()
	if c, err := w.id.KeyCaller(t.Context(), session.AccessKey); !errors.Is(err, fault.ExpiredCredentials) {
		t.Errorf("%s: got the caller %+v, %v, want fault.ExpiredCredentials", what, c, err)
	}
	if err := w.ask(t.Context(), session, guard.Ask{Action: "ecr:DescribeRepositories", Owner: guard.OwnedBy(home),
		Resource: "*"}); err == nil {
		t.Errorf("%s: the session may go on, want an error", what)
	}
}

// A session expires at its time, and a clock that is set back does not extend it.
func TestClock(t *testing.T) {
	t.Parallel()
	w := newFixture(t, nil)
	user := w.user(t, w.root, "alice", "")
	arn := w.role(t, w.root, "target", statements(trusts(alice, "sts:AssumeRole", "")), "")
	start := w.at
	out := do(t, w.assume, user, ststypes.AssumeRoleRequest{RoleArn: arn, DurationSeconds: new(int32(900))})
	end := start.Add(15 * time.Minute)
	if got := out.Credentials.Expiration.Time; !got.Equal(end) {
		t.Fatalf("the session ends at %s, want %s", got, end)
	}
	for _, c := range []struct {
		what string
		at   time.Time
		good bool
	}{
		{"a second before the end", end.Add(-time.Second), true},
		{"at the end", end, false},
		{"an hour after the end", end.Add(time.Hour), false},
		{"back before the end", end.Add(-time.Second), true},
		{"back before the beginning", start.Add(-24 * time.Hour), true},
		{"at the end again", end, false},
	} {
		w.at = c.at
		_, err := w.id.KeyCaller(t.Context(), out.Credentials.AccessKeyId)
		if c.good && err != nil || !c.good && !errors.Is(err, fault.ExpiredCredentials) {
			t.Errorf("%s: got %v, want good %v", c.what, err, c.good)
		}
	}
}
