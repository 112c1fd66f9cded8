package sts_test

import (
	"context"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/model/ststypes"
	"github.com/ecrin-dev/ecrin/internal/op/sts"
	"github.com/ecrin-dev/ecrin/internal/test/oidctest"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

const (
	byToken    = "sts:AssumeRoleWithWebIdentity"
	webNoTrust = "because no role trust policy allows the sts:AssumeRoleWithWebIdentity action"
)

// cluster is a fixture with an issuer that is registered in an account.
type cluster struct {
	*fixture
	issuer   *oidctest.Issuer
	host     string // the host of the issuer, as in condition keys
	provider string // the ARN of the provider
}

func newCluster(t testing.TB) *cluster {
	t.Helper()
	k := &cluster{issuer: oidctest.Start(t, oidctest.Options{Path: "/id/ABC"})}
	k.fixture = newFixture(t, k.issuer)
	k.host = strings.TrimPrefix(k.issuer.URL(), "https://")
	k.provider = k.register(t, k.root)
	return k
}

func (k *cluster) register(t testing.TB, root identity.Caller) string {
	t.Helper()
	return do(t, k.iam.CreateOpenIDConnectProvider, root, iamtypes.CreateOpenIDConnectProviderRequest{
		Url: k.issuer.URL(), ClientIDList: []string{oidctest.Audience},
	}).OpenIDConnectProviderArn
}

// trust returns a trust policy for the provider. ISS in condition is replaced by the issuer.
func (k *cluster) trust(action, condition string) string {
	return statements(trustStatement("Allow", "Federated", k.provider, action, strings.ReplaceAll(condition, "ISS", k.host)))
}

// web decides and runs AssumeRoleWithWebIdentity. The token in the request determines the caller.
func (w *fixture) web(ctx context.Context, _ identity.Caller,
	in *ststypes.AssumeRoleWithWebIdentityRequest) (*ststypes.AssumeRoleWithWebIdentityResponse, error) {
	if in.RoleSessionName == "" {
		in.RoleSessionName = "ecr-credential-provider"
	}
	if err := in.Validate(); err != nil {
		return nil, err
	}
	c, t, err := sts.WebIdentity(w.Service, ctx, guard.Request{}, in)
	if err := w.allow(ctx, c, t.Asks, err); err != nil {
		return nil, err
	}
	return w.AssumeRoleWithWebIdentity(ctx, c, t.Value, in)
}

func (k *cluster) with(arn string, claims map[string]any) ststypes.AssumeRoleWithWebIdentityRequest {
	return ststypes.AssumeRoleWithWebIdentityRequest{RoleArn: arn, WebIdentityToken: k.issuer.Mint(claims)}
}

var nobody identity.Caller

// Who has an issuer can make any number of subjects, and any number of roles: they count together in quotas, and take turns
// together, but not with the principals of the account.
func TestSubjectsOfAnAccountShareItsLimits(t *testing.T) {
	t.Parallel()
	k := newCluster(t)
	k.register(t, k.stranger)
	key := func(root identity.Caller, role, subject string) string {
		t.Helper()
		arn := k.role(t, root, role, k.trust(byToken, `"StringEquals":{"ISS:aud":"sts.amazonaws.com"}`), "")
		in := k.with(arn, k.issuer.Kubernetes("apps", subject))
		in.RoleSessionName = "web"
		who, _, err := sts.WebIdentity(k.Service, t.Context(), guard.Request{}, &in)
		if err != nil {
			t.Fatal(err)
		}
		return who.LimitKey()
	}
	first, second, other := key(k.root, "one", "web"), key(k.root, "two", "batch"), key(k.stranger, "one", "web")
	if first != second {
		t.Errorf("two subjects of one account have the keys %q and %q, want the same", first, second)
	}
	if first == other || first == k.root.LimitKey() {
		t.Errorf("got the key %q, that of another account is %q and that of the root user %q: want others", first, other, k.root.LimitKey())
	}
}

func TestAssumeRoleWithWebIdentity(t *testing.T) {
	t.Parallel()
	k := newCluster(t)
	role := do(t, k.iam.CreateRole, k.root, iamtypes.CreateRoleRequest{RoleName: "puller", Path: "/k8s/",
		AssumeRolePolicyDocument: k.trust(byToken,
			`"StringEquals":{"ISS:sub":"system:serviceaccount:apps:web","ISS:aud":"sts.amazonaws.com"}`)}).Role
	do(t, k.iam.PutRolePolicy, k.root, iamtypes.PutRolePolicyRequest{RoleName: "puller", PolicyName: "own",
		PolicyDocument: statements(can("Allow", "ecr:*", "*"))})
	in := k.with(role.Arn, k.issuer.Kubernetes("apps", "web"))
	in.RoleSessionName = "web"
	who, asked, err := sts.WebIdentity(k.Service, t.Context(), guard.Request{}, &in)
	const sub = "system:serviceaccount:apps:web"
	if want := (identity.Caller{Kind: identity.WebIdentity, ARN: k.provider, UserID: k.provider + ":sts.amazonaws.com:" +
		sub, Limited: "web identities of 111122223333"}); err != nil || who != want || len(asked.Asks) != 1 {
		t.Fatalf("WebIdentity: got %+v, %d accesses, %v, want %+v and one", who, len(asked.Asks), err, want)
	}
	out := do(t, k.web, nobody, in)
	want := &ststypes.AssumeRoleWithWebIdentityResponse{
		Credentials: &ststypes.Credentials{AccessKeyId: out.Credentials.AccessKeyId,
			SecretAccessKey: out.Credentials.SecretAccessKey, SessionToken: out.Credentials.SessionToken, Expiration: awswire.Time{
				Time: k.at.Add(time.Hour)}},
		AssumedRoleUser: &ststypes.AssumedRoleUser{AssumedRoleId: role.RoleId + ":web",
			Arn: "arn:aws:sts::111122223333:assumed-role/puller/web"},
		SubjectFromWebIdentityToken: sub, Provider: k.provider, Audience: "sts.amazonaws.com",
		SessionTokenSize: new(int32(64)), SessionTokenUtilization: new(int32(2)),
	}
	if diff := cmp.Diff(want, out); diff != "" {
		t.Errorf("AssumeRoleWithWebIdentity (-want +got):\n%s", diff)
	}
	session, err := k.signedBy(t, out.Credentials)
	if err != nil || session.ARN != want.AssumedRoleUser.Arn {
		t.Errorf("the credentials are of %q, %v, want %q", session.ARN, err, want.AssumedRoleUser.Arn)
	}
	k.wantMay(t, "the session", session, "ecr:DescribeRegistry", "!iam:ListUsers")

	in.Policy, in.DurationSeconds = statements(can("Allow", "ecr:Describe*", "*")), new(int32(900))
	out = do(t, k.web, nobody, in)
	if got := out.Credentials.Expiration.Sub(k.at); got != 15*time.Minute || *out.PackedPolicySize != 2 {
		t.Errorf("got a session of %s, packed %d, want 15 min, 2", got, *out.PackedPolicySize)
	}
	k.wantMay(t, "with a session policy", k.caller(t, out.Credentials.AccessKeyId), "ecr:DescribeRegistry", "!ecr:PutRegistryPolicy")
	in.DurationSeconds = new(int32(3601))
	refuse(t, k.web, nobody, in, fault.Validation, "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	in.DurationSeconds, in.Policy = nil, "{"
	refuse(t, k.web, nobody, in, fault.MalformedPolicyDocument, "line 1")
	in.Policy, in.ProviderId = "", "www.amazon.com"
	refuse(t, k.web, nobody, in, fault.Validation, "ProviderId")
	in.ProviderId, in.RoleArn = "", "arn:aws:iam::111122223333:user/alice"
	refuse(t, k.web, nobody, in, fault.Validation, "is invalid")
	in.RoleArn = role.Arn
	for _, other := range []identity.Caller{{}, k.root, {Kind: identity.WebIdentity, ARN: k.provider, UserID: who.UserID + "2"}} {
		_, asked, err := sts.WebIdentity(k.Service, t.Context(), guard.Request{}, &in)
		if err != nil {
			t.Fatal(err)
		}
		_, err = k.AssumeRoleWithWebIdentity(t.Context(), other, asked.Value, &in)
		wantError(t, err, fault.AccessDenied, byToken)
	}
	in.RoleArn = "arn:aws:iam::111122223333:role/k8s/nobody"
	refuse(t, k.web, nobody, in, fault.AccessDenied, "User: "+k.provider+" is not authorized to perform: "+byToken+
		" on resource: "+in.RoleArn+" "+webNoTrust)
}

// A trust policy can check the claims of a token.
func TestTrustOfTokens(t *testing.T) {
	t.Parallel()
	k := newCluster(t)
	pod := func(changes map[string]any) map[string]any {
		c := k.issuer.Kubernetes("apps", "web")
		maps.Copy(c, changes)
		return c
	}
	is := func(claim, value string) string { return `"StringEquals":{"ISS:` + claim + `":"` + value + `"}` }
	const sub = "system:serviceaccount:apps:web"
	for what, c := range map[string]struct {
		condition string
		claims    map[string]any
		denied    bool
	}{
		"no condition":            {"", pod(nil), false},
		"the service account":     {is("sub", sub), pod(nil), false},
		"another service account": {is("sub", sub), k.issuer.Kubernetes("apps", "web2"), true},
		"another namespace":       {is("sub", sub), k.issuer.Kubernetes("apps2", "web"), true},
		"any of the namespace": {`"StringLike":{"ISS:sub":"system:serviceaccount:apps:*"}`,
			k.issuer.Kubernetes("apps", "db"), false},
		"not of the namespace": {`"StringLike":{"ISS:sub":"system:serviceaccount:apps:*"}`,
			k.issuer.Kubernetes("apps2", "db"), true},
		"the audience":            {is("aud", "sts.amazonaws.com"), pod(nil), false},
		"another audience":        {is("aud", "vault"), pod(nil), true},
		"a key of another issuer": {`"StringEquals":{"oidc.example.com:sub":"` + sub + `"}`, pod(nil), true},
		"the provider": {
			`"StringLike":{"aws:FederatedProvider":"arn:aws:iam::111122223333:oidc-provider/*"}`, pod(nil), false},
		"the session's name":     {`"StringEquals":{"sts:RoleSessionName":"ecr-credential-provider"}`, pod(nil), false},
		"another session's name": {`"StringEquals":{"sts:RoleSessionName":"web"}`, pod(nil), true},
		"amr": {`"ForAnyValue:StringLike":{"ISS:amr":"authenticated"}`,
			pod(map[string]any{"amr": []string{"x", "authenticated"}}), false},
		"amr of others": {`"ForAnyValue:StringLike":{"ISS:amr":"authenticated"}`,
			pod(map[string]any{"amr": []string{"unauthenticated"}}), true},
		"no amr": {`"ForAnyValue:StringLike":{"ISS:amr":"authenticated"}`, pod(nil), true},
		"azp":    {is("azp", "app"), pod(map[string]any{"azp": "app"}), false},
		"no azp": {is("azp", "app"), pod(nil), true},
		"several audiences: the party's": {is("aud", "sts.amazonaws.com"),
			pod(map[string]any{"aud": []string{"a", "b"}, "azp": "sts.amazonaws.com"}), false},
		"several audiences: all of them": {`"ForAnyValue:StringEquals":{"ISS:oaud":"b"}`,
			pod(map[string]any{"aud": []string{"a", "b"}, "azp": "sts.amazonaws.com"}), false},
		"several audiences: one of them": {is("aud", "a"),
			pod(map[string]any{"aud": []string{"a", "b"}, "azp": "sts.amazonaws.com"}), true},
		"a claim":                  {is("repository", "acme/app"), k.issuer.GitHub("acme/app", "refs/heads/main"), false},
		"a claim of another value": {is("repository", "acme/app"), k.issuer.GitHub("acme/app2", "refs/heads/main"), true},
		"a branch": {`"StringLike":{"ISS:sub":"repo:acme/app:ref:refs/heads/*"}`,
			k.issuer.GitHub("acme/app", "refs/pull/7/merge"), true},
		"a claim that looks like the subject":  {is("sub", sub), pod(map[string]any{"sub": "evil-one", "Sub": sub, "SUB": sub}), true},
		"a claim that looks like the audience": {is("aud", "vault"), pod(map[string]any{"AUD": "vault"}), true},
		"a claim that looks like azp":          {is("azp", "app"), pod(map[string]any{"Azp": "app"}), true},
		"a claim that looks like amr":          {is("amr", "app"), pod(map[string]any{"Amr": "app"}), true},
		"a claim in two cases is none": {is("repository", "acme/app"),
			pod(map[string]any{"repository": "evil/app", "Repository": "acme/app"}), true},
		"a claim that is no text is none": {is("run", "42"), pod(map[string]any{"run": 42}), true},
		"a claim cannot name a key of AWS": {`"StringEquals":{"aws:PrincipalTag/team":"web"}`,
			pod(map[string]any{"aws:PrincipalTag/team": "web", "/aws:PrincipalTag/team": "web"}), true},
		"a claim cannot name another issuer's": {is("8443:sub", sub), pod(map[string]any{"8443:sub": sub}), true},
		"a source identity needs its right":    {"", pod(map[string]any{"https://aws.amazon.com/source_identity": "Alice"}), true},
		"session tags need their right": {"",
			pod(map[string]any{"https://aws.amazon.com/tags": map[string]any{"principal_tags": map[string]any{"team": []string{"web"}}}}), true},
		"tags of nothing":                       {"", pod(map[string]any{"https://aws.amazon.com/tags": map[string]any{}}), false},
		"only deny statements that fit count":   {is("sub", sub) + `,"Bool":{"aws:MultiFactorAuthPresent":"true"}`, pod(nil), true},
		"a subject with the wildcard of a glob": {is("sub", sub), k.issuer.Claims("system:serviceaccount:*"), true},
	} {
		t.Run(what, func(t *testing.T) {
			roleName := "r" + strings.Map(func(r rune) rune {
				if r < 'A' {
					return '-'
				}
				return r
			}, what)
			in := k.with(k.role(t, k.root, roleName, k.trust(byToken, c.condition), ""), c.claims)
			if c.denied {
				refuse(t, k.web, nobody, in, fault.AccessDenied, "because no role trust policy allows")
				return
			}
			do(t, k.web, nobody, in)
		})
	}
	// Another provider, a user or an account in the trust policy is not this provider; a deny holds for web identities, too.
	for what, c := range map[string]struct{ trust, text string }{
		"the provider of another account": {statements(trustStatement("Allow", "Federated",
			strings.Replace(k.provider, "111122223333", "444455556666", 1), byToken, "")), webNoTrust},
		"the account":    {statements(trusts(homeRoot, byToken, "")), webNoTrust},
		"for AssumeRole": {statements(trustStatement("Allow", "Federated", k.provider, "sts:AssumeRole", "")), webNoTrust},
		"a deny": {statements(trustStatement("Allow", "Federated", k.provider, byToken, ""),
			trustStatement("Deny", "AWS", "*", byToken, "")), "with an explicit deny in the role trust policy"},
	} {
		in := k.with(k.role(t, k.root, "other-"+strings.ReplaceAll(what, " ", "-"), c.trust, ""), k.issuer.Kubernetes("apps", "web"))
		t.Run(what, func(t *testing.T) { refuse(t, k.web, nobody, in, fault.AccessDenied, c.text) })
	}
}

// Invalid tokens, and tokens of unknown providers, are refused whatever principals the role trusts.
func TestTokens(t *testing.T) {
	t.Parallel()
	k := newCluster(t)
	arn := k.role(t, k.root, "puller", k.trust(byToken, ""), "")
	good := func() map[string]any { return k.issuer.Kubernetes("apps", "web") }
	changed := func(name string, v any) map[string]any {
		c := good()
		c[name] = v
		return c
	}
	for what, c := range map[string]struct {
		claims map[string]any
		code   fault.Code
		text   string
	}{
		"another audience": {changed("aud", "vault"), fault.InvalidIdentityToken, "Incorrect token audience"},
		"past its end":     {changed("exp", k.at.Add(-time.Hour).Unix()), fault.ExpiredWebIdentity, "expired"},
		"an issuer nobody knows": {changed("iss", "https://oidc.example.com"), fault.InvalidIdentityToken,
			"No OpenIDConnect provider found in your account for https://oidc.example.com"},
		"the issuer, longer": {changed("iss", k.issuer.URL()+"/"), fault.InvalidIdentityToken,
			"No OpenIDConnect provider found in your account"},
		"no subject": {changed("sub", ""), fault.InvalidIdentityToken, "sub"},
		"a bad tag": {changed("https://aws.amazon.com/tags",
			map[string]any{"principal_tags": map[string]any{"aws:team": "web"}}), fault.IDPRejectedClaim, "aws:"},
		"a tag's letter": {changed("https://aws.amazon.com/tags",
			map[string]any{"principal_tags": map[string]any{"te\tam": "web"}}), fault.IDPRejectedClaim, "tags"},
		"a tag in two cases": {changed("https://aws.amazon.com/tags",
			map[string]any{"principal_tags": map[string]any{"team": "web", "Team": "db"}}), fault.IDPRejectedClaim, "Duplicate"},
		"a transitive key of no tag": {changed("https://aws.amazon.com/tags",
			map[string]any{"transitive_tag_keys": []string{"team"}}), fault.IDPRejectedClaim,
			"transitive"},
		"a source identity's letter": {changed("https://aws.amazon.com/source_identity", "a b"), fault.IDPRejectedClaim, "ourceIdentity"},
	} {
		t.Run(what, func(t *testing.T) { refuse(t, k.web, nobody, k.with(arn, c.claims), c.code, c.text) })
	}
	refuse(t, k.web, nobody, ststypes.AssumeRoleWithWebIdentityRequest{RoleArn: arn, WebIdentityToken: "not.a.token"},
		fault.InvalidIdentityToken, "")
	refuse(t, k.web, nobody, ststypes.AssumeRoleWithWebIdentityRequest{RoleArn: "arn:aws:iam::999999999999:role/puller",
		WebIdentityToken: k.issuer.Mint(good())}, fault.InvalidIdentityToken, "No OpenIDConnect provider found in your account")

	// A role of an account that has not registered the issuer, even when it trusts the provider of the one that has.
	away := k.role(t, k.stranger, "puller", k.trust(byToken, ""), "")
	const unknown = "No OpenIDConnect provider found in your account for "
	refuse(t, k.web, nobody, k.with(away, good()), fault.InvalidIdentityToken, unknown+k.issuer.URL())
	k.register(t, k.stranger)
	refuse(t, k.web, nobody, k.with(away, good()), fault.AccessDenied, webNoTrust)

	// A new key of the issuer is fetched, and a withdrawn key becomes invalid after some time.
	old := k.with(arn, good())
	do(t, k.web, nobody, old)
	k.issuer.Rotate("ES256")
	k.at = k.at.Add(time.Minute)
	do(t, k.web, nobody, k.with(arn, good()))
	k.issuer.Withdraw("key-1")
	k.at = k.at.Add(11 * time.Minute)
	do(t, k.web, nobody, k.with(arn, good()))
	refuse(t, k.web, nobody, old, fault.InvalidIdentityToken, "verification key")

	// After the provider is deleted, its tokens start no new sessions.
	before := do(t, k.web, nobody, k.with(arn, good()))
	do(t, k.iam.DeleteOpenIDConnectProvider, k.root, iamtypes.DeleteOpenIDConnectProviderRequest{OpenIDConnectProviderArn: k.provider})
	refuse(t, k.web, nobody, k.with(arn, good()), fault.InvalidIdentityToken, unknown+k.issuer.URL())
	k.caller(t, before.Credentials.AccessKeyId)
}

// The subject and the audience of the token, its session tags and its source identity are condition keys in the
// session.
func TestClaimsOfSessions(t *testing.T) {
	t.Parallel()
	k := newCluster(t)
	when := func(action, condition string) string {
		return `{"Effect":"Allow","Action":"` + action + `","Resource":"*","Condition":{"StringEquals":{` +
			strings.ReplaceAll(condition, "ISS", k.host) + `}}}`
	}
	arn := k.role(t, k.root, "puller", k.trust("sts:*",
		`"StringEquals":{"aws:RequestTag/team":"web","sts:SourceIdentity":"Alice"},"ForAllValues:StringEquals":{"sts:TransitiveTagKeys":"team"}`), statements(
		when("ecr:DescribeRegistry", `"ISS:sub":"system:serviceaccount:apps:web"`), when("ecr:PutRegistryPolicy",
			`"ISS:sub":"system:serviceaccount:apps:db"`),
		when("ecr:GetRegistryPolicy", `"ISS:aud":"sts.amazonaws.com"`), when("ecr:DescribeRepositories",
			`"aws:FederatedProvider":"`+k.provider+`"`),
		when("ecr:CreateRepository", `"aws:PrincipalTag/team":"web"`), when("ecr:ListImages",
			`"aws:SourceIdentity":"Alice"`), when("ecr:PutImage", `"ISS:namespace":"apps"`), can("Allow", "sts:*", "*")))
	second := k.role(t, k.root, "second", statements(trusts(arn, "sts:*", "")),
		statements(when("ecr:CreateRepository", `"aws:PrincipalTag/team":"web"`),
			when("ecr:DescribeRegistry", `"ISS:sub":"system:serviceaccount:apps:web"`)))
	claims := k.issuer.Kubernetes("apps", "web")
	claims["namespace"] = "apps"
	claims["https://aws.amazon.com/tags"] = map[string]any{"principal_tags": map[string]any{"team": []string{"web"}},
		"transitive_tag_keys": []string{"team"}}
	claims["https://aws.amazon.com/source_identity"] = "Alice"
	out := do(t, k.web, nobody, k.with(arn, claims))
	if out.SourceIdentity != "Alice" || out.PackedPolicySize == nil {
		t.Errorf("got source identity %q, PackedPolicySize %v, want Alice and some", out.SourceIdentity, out.PackedPolicySize)
	}
	session := k.caller(t, out.Credentials.AccessKeyId)
	k.wantMay(t, "the session", session, "ecr:DescribeRegistry", "!ecr:PutRegistryPolicy", "ecr:GetRegistryPolicy",
		"ecr:DescribeRepositories", "ecr:CreateRepository", "ecr:ListImages", "!ecr:PutImage")
	next := k.in(t, session, ststypes.AssumeRoleRequest{RoleArn: second})
	k.wantMay(t, "the next role has the transitive tag and not the claims", next, "ecr:CreateRepository", "!ecr:DescribeRegistry")
	refuse(t, k.assume, session, ststypes.AssumeRoleRequest{RoleArn: second, DurationSeconds: new(int32(3601))},
		fault.Validation, "1 hour session limit")
}

// A token for one client has no condition key with its original audiences.
func TestTokenOfOneAudience(t *testing.T) {
	t.Parallel()
	k := newCluster(t)
	for present, refused := range map[string]bool{"true": false, "false": true} {
		arn := k.role(t, k.root, "puller-"+present, k.trust(byToken, `"Null":{"ISS:oaud":"`+present+`"}`), "")
		in := k.with(arn, k.issuer.Kubernetes("apps", "web"))
		if refused {
			refuse(t, k.web, nobody, in, fault.AccessDenied, webNoTrust)
			continue
		}
		do(t, k.web, nobody, in)
	}
}
