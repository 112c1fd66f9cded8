package sts_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/model/ststypes"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// trusting returns an installation with the user alice and a role that trusts alice.
func trusting(t testing.TB, rights string) (w *fixture, user identity.Caller, arn string) {
	t.Helper()
	w = newFixture(t, nil)
	user = w.user(t, w.root, "alice", "")
	return w, user, w.role(t, w.root, "target", statements(trusts(alice, "sts:*", "")), rights)
}

const emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// signed authenticates a request that is signed with the credentials.
func (w *fixture) signed(t testing.TB, key, secret, token string) (identity.Caller, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://localhost:5100/", nil)
	if err != nil {
		t.Fatal(err)
	}
	c := aws.Credentials{AccessKeyID: key, SecretAccessKey: secret, SessionToken: token}
	if err := v4.NewSigner().SignHTTP(t.Context(), c, r, emptyHash, "sts", "us-east-1", w.at); err != nil {
		t.Fatal(err)
	}
	who, _, err := w.id.Authenticate(t.Context(), r, emptyHash)
	return who, err
}

func (w *fixture) signedBy(t testing.TB, c *ststypes.Credentials) (identity.Caller, error) {
	t.Helper()
	return w.signed(t, c.AccessKeyId, c.SecretAccessKey, c.SessionToken)
}

func TestAssumeRole(t *testing.T) {
	t.Parallel()
	w := newFixture(t, nil)
	user := w.user(t, w.root, "alice", "")
	role := do(t, w.iam.CreateRole, w.root, iamtypes.CreateRoleRequest{RoleName: "Target", Path: "/team/web/",
		AssumeRolePolicyDocument: statements(trusts(alice, "sts:AssumeRole", ""))}).Role
	out := do(t, w.assume, user, ststypes.AssumeRoleRequest{RoleArn: role.Arn, RoleSessionName: "work@home"})
	c := out.Credentials
	if len(c.AccessKeyId) != 20 || !strings.HasPrefix(c.AccessKeyId, "ASIA") || len(c.SecretAccessKey) != 40 {
		t.Errorf("got the access key %q with a secret of %d characters, want ASIA… and 40", c.AccessKeyId, len(c.SecretAccessKey))
	}
	want := &ststypes.AssumeRoleResponse{
		Credentials: &ststypes.Credentials{AccessKeyId: c.AccessKeyId, SecretAccessKey: c.SecretAccessKey,
			SessionToken: c.SessionToken, Expiration: awswire.Time{Time: w.at.Add(time.Hour)}},
		AssumedRoleUser: &ststypes.AssumedRoleUser{AssumedRoleId: role.RoleId + ":work@home",
			Arn: "arn:aws:sts::111122223333:assumed-role/Target/work@home"},
		SessionTokenSize:        new(int32(len(c.SessionToken))),
		SessionTokenUtilization: new(int32(2)),
	}
	if diff := cmp.Diff(want, out); diff != "" {
		t.Errorf("AssumeRole (-want +got):\n%s", diff)
	}
	who, err := w.signedBy(t, c)
	if err != nil {
		t.Fatal(err)
	}
	wantWho := identity.Caller{
		Kind: identity.RoleSession, Account: home, ARN: want.AssumedRoleUser.Arn, UserID: want.AssumedRoleUser.AssumedRoleId,
		Principal: role.RoleId, AccessKey: c.AccessKeyId, SessionKey: c.AccessKeyId,
	}
	if diff := cmp.Diff(wantWho, who, cmp.AllowUnexported(name.Account{})); diff != "" {
		t.Errorf("who the credentials are of (-want +got):\n%s", diff)
	}
	other := do(t, w.assume, user, ststypes.AssumeRoleRequest{RoleArn: role.Arn}).Credentials
	for what, c := range map[string][3]string{
		"no token":               {c.AccessKeyId, c.SecretAccessKey, ""},
		"another session's":      {c.AccessKeyId, c.SecretAccessKey, other.SessionToken},
		"another secret":         {c.AccessKeyId, other.SecretAccessKey, c.SessionToken},
		"a token that is longer": {c.AccessKeyId, c.SecretAccessKey, c.SessionToken + "A"},
		"a user's key with it":   {user.AccessKey, c.SecretAccessKey, c.SessionToken},
	} {
		if who, err := w.signed(t, c[0], c[1], c[2]); err == nil {
			t.Errorf("signed with %s: got %+v, want an error", what, who)
		}
	}
	w.at = c.Expiration.Time
	if _, err := w.signedBy(t, c); err == nil {
		t.Error("signed at the end of the session: got no error")
	} else {
		wantError(t, err, fault.ExpiredCredentials, "expired")
	}
}

func TestContract58Durations(t *testing.T) {
	t.Parallel()
	w, user, arn := trusting(t, statements(can("Allow", "sts:AssumeRole", "*")))
	do(t, w.iam.UpdateRole, w.root, iamtypes.UpdateRoleRequest{RoleName: "target", MaxSessionDuration: new(int32(7200))})
	second := w.role(t, w.root, "second", statements(trusts(arn, "sts:AssumeRole", "")), "")
	do(t, w.iam.UpdateRole, w.root, iamtypes.UpdateRoleRequest{RoleName: "second", MaxSessionDuration: new(int32(43200))})
	plain := w.role(t, w.root, "plain", statements(trusts(alice, "sts:AssumeRole", "")), "")
	session := w.in(t, user, ststypes.AssumeRoleRequest{RoleArn: arn})
	for _, c := range []struct {
		who     identity.Caller
		arn     string
		asked   *int32
		want    time.Duration // 0: refused
		refusal string
	}{
		{user, arn, nil, time.Hour, ""},
		{user, arn, new(int32(900)), 15 * time.Minute, ""},
		{user, arn, new(int32(7200)), 2 * time.Hour, ""},
		{user, arn, new(int32(7201)), 0, "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."},
		{user, plain, new(int32(3600)), time.Hour, ""},
		{user, plain, new(int32(3601)), 0, "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."},
		{session, second, nil, time.Hour, ""},
		{session, second, new(int32(3600)), time.Hour, ""},
		{session, second, new(int32(3601)), 0,
			"The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining"},
	} {
		in := ststypes.AssumeRoleRequest{RoleArn: c.arn, DurationSeconds: c.asked}
		if c.want == 0 {
			refuse(t, w.assume, c.who, in, fault.Validation, c.refusal)
			continue
		}
		if got := do(t, w.assume, c.who, in).Credentials.Expiration.Sub(w.at); got != c.want {
			t.Errorf("%s of %s for %v s: got %s, want %s", c.arn, c.who.ARN, c.asked, got, c.want)
		}
	}
	// The model refuses values that are out of range for every role, before the decision.
	for _, asked := range []int32{0, 899, 43201} {
		refuse(t, w.assume, user, ststypes.AssumeRoleRequest{RoleArn: arn, DurationSeconds: &asked}, fault.InvalidParameter, "urationSeconds")
	}
}

// A session has the rights that both its role and its session policies allow.
func TestContract58SessionPolicies(t *testing.T) {
	t.Parallel()
	w, user, arn := trusting(t, statements(can("Allow", "ecr:*", "*")))
	own := do(t, w.iam.CreatePolicy, w.root, iamtypes.CreatePolicyRequest{PolicyName: "describe",
		PolicyDocument: statements(can("Allow", "ecr:DescribeRegistry", "*"))}).Policy.Arn
	theirs := do(t, w.iam.CreatePolicy, w.stranger, iamtypes.CreatePolicyRequest{PolicyName: "theirs",
		PolicyDocument: statements(can("Allow", "*", "*"))}).Policy.Arn
	const pull = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly"
	arns := func(all ...string) (out []ststypes.PolicyDescriptorType) {
		for _, a := range all {
			out = append(out, ststypes.PolicyDescriptorType{Arn: a})
		}
		return out
	}
	long := statements(can("Allow", "ecr:"+strings.Repeat("a", 2048-len(statements(can("Allow", "ecr:", "*")))), "*"))
	for what, c := range map[string]struct {
		in     ststypes.AssumeRoleRequest
		may    []string
		packed int32 // 0: none
	}{
		"none": {ststypes.AssumeRoleRequest{},
			[]string{"ecr:DescribeRegistry", "ecr:PutRegistryPolicy", "!iam:ListUsers"}, 0},
		"inline": {ststypes.AssumeRoleRequest{Policy: statements(can("Allow", "ecr:Describe*", "*"))},
			[]string{"ecr:DescribeRegistry", "!ecr:PutRegistryPolicy"}, 2},
		"inline, more than the role has": {ststypes.AssumeRoleRequest{Policy: statements(can("Allow", "*", "*"))},
			[]string{"ecr:PutRegistryPolicy", "!iam:ListUsers"}, 2},
		"inline, that denies": {ststypes.AssumeRoleRequest{Policy: statements(can("Allow", "*", "*"),
			can("Deny", "ecr:Put*", "*"))}, []string{"ecr:DescribeRegistry", "!ecr:PutRegistryPolicy"}, 2},
		"inline with white space": {ststypes.AssumeRoleRequest{
			Policy: strings.ReplaceAll(statements(can("Allow", "*", "*")), ",", ",\n"+strings.Repeat(" ", 400))}, []string{
			"ecr:PutRegistryPolicy"}, 2},
		"inline, as long as can be": {ststypes.AssumeRoleRequest{Policy: long}, []string{"!ecr:DescribeRegistry"}, 25},
		"managed, of AWS": {ststypes.AssumeRoleRequest{PolicyArns: arns(pull)},
			[]string{"ecr:GetAuthorizationToken", "!ecr:DescribeRegistry"}, 1},
		"managed, of the account": {ststypes.AssumeRoleRequest{PolicyArns: arns(own)},
			[]string{"ecr:DescribeRegistry", "!ecr:GetAuthorizationToken"}, 1},
		"managed, two, one of them twice": {ststypes.AssumeRoleRequest{PolicyArns: arns(own, pull, own)},
			[]string{"ecr:DescribeRegistry", "ecr:GetAuthorizationToken", "!ecr:PutRegistryPolicy"}, 2},
		"inline and managed: one's enough": {ststypes.AssumeRoleRequest{Policy: statements(can("Allow", "ecr:PutRegistryPolicy",
			"*")), PolicyArns: arns(own)}, []string{"ecr:DescribeRegistry", "ecr:PutRegistryPolicy", "!ecr:GetAuthorizationToken"}, 2},
	} {
		c.in.RoleArn = arn
		out := do(t, w.assume, user, c.in)
		packed := int32(0)
		if out.PackedPolicySize != nil {
			packed = *out.PackedPolicySize
		}
		if packed != c.packed {
			t.Errorf("%s: got PackedPolicySize %d, want %d", what, packed, c.packed)
		}
		w.wantMay(t, what, w.caller(t, out.Credentials.AccessKeyId), c.may...)
	}
	var eleven []string
	for i := range 11 {
		p := do(t, w.iam.CreatePolicy, w.root, iamtypes.CreatePolicyRequest{PolicyName: fmt.Sprintf("p%d", i),
			PolicyDocument: statements(can("Allow", "*", "*"))})
		eleven = append(eleven, p.Policy.Arn)
	}
	do(t, w.assume, user, ststypes.AssumeRoleRequest{RoleArn: arn, PolicyArns: arns(eleven[:10]...)})
	do(t, w.assume, user, ststypes.AssumeRoleRequest{RoleArn: arn, PolicyArns: arns(append(eleven[:10:10], eleven[0])...)})
	for what, c := range map[string]struct {
		in   ststypes.AssumeRoleRequest
		code fault.Code
		text string
	}{
		"no JSON": {ststypes.AssumeRoleRequest{Policy: "{"}, fault.MalformedPolicyDocument, "line 1"},
		"an element of no policy": {ststypes.AssumeRoleRequest{Policy: "{\n\"Colour\":1}"}, fault.MalformedPolicyDocument,
			"line 2, column 1"},
		"a principal": {ststypes.AssumeRoleRequest{Policy: statements(trusts("*", "*", ""))},
			fault.MalformedPolicyDocument, "Principal"},
		"one character too long": {ststypes.AssumeRoleRequest{Policy: long + " "}, fault.Validation, "less than or equal to 2048"},
		"eleven":                 {ststypes.AssumeRoleRequest{PolicyArns: arns(eleven...)}, fault.Validation, "10"},
		"of another account": {ststypes.AssumeRoleRequest{PolicyArns: arns(theirs)}, fault.Validation,
			"does not exist or is not attachable"},
		"one that is not there": {ststypes.AssumeRoleRequest{PolicyArns: arns(own + "2")}, fault.Validation,
			"does not exist or is not attachable"},
		"one of AWS that is not": {ststypes.AssumeRoleRequest{PolicyArns: arns("arn:aws:iam::aws:policy/NoSuchThing")},
			fault.Validation, "does not exist or is not attachable"},
		"one of service-linked roles": {ststypes.AssumeRoleRequest{
			PolicyArns: arns("arn:aws:iam::aws:policy/aws-service-role/ECRReplicationServiceRolePolicy")}, fault.Validation, "not attachable"},
		"without ARN": {ststypes.AssumeRoleRequest{PolicyArns: arns("")}, fault.Validation, "not attachable"},
	} {
		c.in.RoleArn, c.in.RoleSessionName = arn, "work"
		t.Run(what, func(t *testing.T) { refuse(t, w.unasked, user, c.in, c.code, c.text) })
	}
	// A session policy that was deleted allows nothing.
	session := w.in(t, user, ststypes.AssumeRoleRequest{RoleArn: arn, PolicyArns: arns(own)})
	do(t, w.iam.DeletePolicy, w.root, iamtypes.DeletePolicyRequest{PolicyArn: own})
	w.wantMay(t, "without its session policy", session, "!ecr:DescribeRegistry")
}

func TestPackedPolicyTooLarge(t *testing.T) {
	t.Parallel()
	w, user, arn := trusting(t, "")
	tags := func(n int) ststypes.AssumeRoleRequest {
		in := ststypes.AssumeRoleRequest{RoleArn: arn}
		for i := range n {
			in.Tags = append(in.Tags, ststypes.Tag{Key: fmt.Sprintf("key-%02d", i), Value: strings.Repeat("v", 250)})
		}
		return in // 256 bytes for each
	}
	if got := *do(t, w.assume, user, tags(32)).PackedPolicySize; got != 100 {
		t.Errorf("8,192 bytes of tags: got PackedPolicySize %d, want 100", got)
	}
	refuse(t, w.assume, user, tags(33), fault.PackedPolicyTooLarge, "Packed size of session tags consumes 104% of allotted space.")
	in := tags(32)
	in.Policy = statements(can("Allow", "*", "*"))
	refuse(t, w.assume, user, in, fault.PackedPolicyTooLarge, "Packed policy consumes 102% of allotted space, please use smaller policy.")
}

func TestSessionTags(t *testing.T) {
	t.Parallel()
	w, user, arn := trusting(t,
		statements(`{"Effect":"Allow","Action":"ecr:*","Resource":"*","Condition":{"StringEquals":{"aws:PrincipalTag/team":"web","aws:PrincipalTag/cost":"7"}}}`))
	do(t, w.iam.TagRole, w.root, iamtypes.TagRoleRequest{RoleName: "target",
		Tags: []iamtypes.Tag{{Key: "team", Value: "db"}, {Key: "cost", Value: "7"}}})
	assume := func(in ststypes.AssumeRoleRequest) identity.Caller {
		in.RoleArn = arn
		return w.in(t, user, in)
	}
	w.wantMay(t, "with the role's tags", assume(ststypes.AssumeRoleRequest{}), "!ecr:DescribeRegistry")
	w.wantMay(t, "a session tag wins", assume(tagged("team", "web")), "ecr:DescribeRegistry")
	w.wantMay(t, "in any case", assume(tagged("TEAM", "web")), "ecr:DescribeRegistry")
	w.wantMay(t, "for worse, too", assume(tagged("team", "web", "cost", "8")), "!ecr:DescribeRegistry")
	many := func(n int) ststypes.AssumeRoleRequest {
		var pairs []string
		for i := range n {
			pairs = append(pairs, fmt.Sprint("k", i), "v")
		}
		return tagged(pairs...)
	}
	assume(many(50))
	assume(tagged(strings.Repeat("k", 128), strings.Repeat("v", 256), "empty", ""))
	for what, c := range map[string]struct {
		in   ststypes.AssumeRoleRequest
		text string
	}{
		"a key twice": {tagged("team", "a", "team", "b"),
			"Duplicate tag keys found. Please note that Tag keys are case insensitive."},
		"a key in two cases": {tagged("team", "a", "TEAM", "b"),
			"Duplicate tag keys found. Please note that Tag keys are case insensitive."},
		"a reserved key":                 {tagged("aws:x", "a"), "aws:"},
		"a reserved key in another case": {tagged("AWS:x", "a"), "aws:"},
		"51 tags":                        {many(51), "50"},
		"a long key":                     {tagged(strings.Repeat("k", 129), "v"), "128"},
		"a long value":                   {tagged("k", strings.Repeat("v", 257)), "256"},
		"no key":                         {tagged("", "v"), "ey"},
		"a transitive key of no tag": {transitive(tagged("team", "a"), "cost"),
			"The specified transitive tag key must be included in the requested tags."},
	} {
		c.in.RoleArn = arn
		t.Run(what, func(t *testing.T) { refuse(t, w.assume, user, c.in, fault.InvalidParameter, c.text) })
	}
}

// The session of the next role inherits the transitive tags, which cannot be set again, and the source identity.
// Source: IAM user guide, passing session tags; monitor and control actions taken with assumed roles.
func TestContract58RoleChaining(t *testing.T) {
	t.Parallel()
	w, user, first := trusting(t, statements(can("Allow", "sts:*", "*")))
	second := w.role(t, w.root, "second", statements(trusts(first, "sts:*", "")),
		statements(`{"Effect":"Allow","Action":"sts:*","Resource":"*"}`,
			`{"Effect":"Allow","Action":"ecr:*","Resource":"*","Condition":{"StringEquals":{"aws:PrincipalTag/team":"web"}}}`,
			`{"Effect":"Allow","Action":"ecr:DescribeRegistry","Resource":"*","Condition":{"StringEquals":{"aws:SourceIdentity":"Alice"}}}`))
	third := w.role(t, w.root, "third", statements(trusts(second, "sts:*", "")),
		statements(`{"Effect":"Allow","Action":"ecr:*","Resource":"*","Condition":{"StringEquals":{"aws:PrincipalTag/team":"web"}}}`))
	in := transitive(tagged("team", "web", "cost", "7"), "TEAM")
	in.RoleArn, in.SourceIdentity = first, "Alice"
	one := do(t, w.assume, user, in)
	if one.SourceIdentity != "Alice" {
		t.Errorf("got the source identity %q, want Alice", one.SourceIdentity)
	}
	session := w.caller(t, one.Credentials.AccessKeyId)
	next := do(t, w.assume, session, ststypes.AssumeRoleRequest{RoleArn: second})
	if next.SourceIdentity != "Alice" || next.PackedPolicySize == nil || *next.PackedPolicySize != 1 {
		t.Errorf("the next role: got source identity %q, PackedPolicySize %v, want Alice and 1", next.SourceIdentity, next.PackedPolicySize)
	}
	chained := w.caller(t, next.Credentials.AccessKeyId)
	w.wantMay(t, "the transitive tag", chained, "ecr:PutRegistryPolicy")
	w.wantMay(t, "the transitive tag, twice on", w.in(t, chained, ststypes.AssumeRoleRequest{RoleArn: third}), "ecr:PutRegistryPolicy")
	do(t, w.assume, session, ststypes.AssumeRoleRequest{RoleArn: second, SourceIdentity: "Alice"})

	again := tagged("Team", "db")
	again.RoleArn = second
	refuse(t, w.assume, session, again, fault.InvalidParameter, "transitive")
	refuse(t, w.assume, session, ststypes.AssumeRoleRequest{RoleArn: second, SourceIdentity: "Bob"}, fault.InvalidParameter,
		"cannot be changed")
	set := tagged("cost", "8")
	set.RoleArn = second
	do(t, w.assume, session, set)

	plain := tagged("team", "web")
	plain.RoleArn = first
	w.wantMay(t, "a tag that is not transitive", w.in(t, w.in(t, user, plain), ststypes.AssumeRoleRequest{RoleArn: second}),
		"!ecr:PutRegistryPolicy")

	// Inherited tags and source identities need the same rights: the next role's trust policy can deny them.
	for action, trust := range map[string]string{
		"sts:TagSession":        trusts(first, "sts:AssumeRole", "") + "," + trusts(first, "sts:SetSourceIdentity", ""),
		"sts:SetSourceIdentity": trusts(first, "sts:AssumeRole", "") + "," + trusts(first, "sts:TagSession", ""),
	} {
		do(t, w.iam.UpdateAssumeRolePolicy, w.root, iamtypes.UpdateAssumeRolePolicyRequest{RoleName: "second", PolicyDocument: statements(trust)})
		refuse(t, w.assume, session, ststypes.AssumeRoleRequest{RoleArn: second}, fault.AccessDenied,
			action+" on resource: "+second+" because no role trust policy")
	}
}

// A session has at most 50 tags, including inherited tags.
func TestInheritedTagsCount(t *testing.T) {
	t.Parallel()
	w, user, first := trusting(t, statements(can("Allow", "sts:*", "*")))
	second := w.role(t, w.root, "second", statements(trusts(first, "sts:*", "")), "")
	pairs := func(prefix string, n int) (out []string) {
		for i := range n {
			out = append(out, fmt.Sprint(prefix, i), "v")
		}
		return out
	}
	in := tagged(pairs("a", 20)...)
	for i := range 20 {
		in.TransitiveTagKeys = append(in.TransitiveTagKeys, fmt.Sprint("a", i))
	}
	in.RoleArn = first
	session := w.in(t, user, in)
	more := tagged(pairs("b", 30)...)
	more.RoleArn = second
	do(t, w.assume, session, more)
	more = tagged(pairs("b", 31)...)
	more.RoleArn = second
	refuse(t, w.assume, session, more, fault.InvalidParameter, "at most 50 tags")
}

func TestAssumeRoleRefusals(t *testing.T) {
	t.Parallel()
	w, user, arn := trusting(t, "")
	for what, c := range map[string]struct {
		in   ststypes.AssumeRoleRequest
		code fault.Code
		text string
	}{
		"a code of an MFA device": {ststypes.AssumeRoleRequest{SerialNumber: "arn:aws:iam::111122223333:mfa/alice",
			TokenCode: "123456"}, fault.AccessDenied, "MultiFactorAuthentication failed with invalid MFA one time pass code."},
		"a context": {ststypes.AssumeRoleRequest{ProvidedContexts: []ststypes.ProvidedContext{
			{ProviderArn: "arn:aws:iam::aws:contextProvider/IdentityCenter", ContextAssertion: "text"}}}, fault.Validation, "ProvidedContexts"},
		"a longer token":          {ststypes.AssumeRoleRequest{MinimumSessionTokenSize: new(int32(65))}, fault.Validation, "64 characters"},
		"a short session name":    {ststypes.AssumeRoleRequest{RoleSessionName: "x"}, fault.InvalidParameter, "oleSessionName"},
		"a session name's letter": {ststypes.AssumeRoleRequest{RoleSessionName: "a/b"}, fault.InvalidParameter, "oleSessionName"},
		"a long session name": {ststypes.AssumeRoleRequest{RoleSessionName: strings.Repeat("x", 65)},
			fault.InvalidParameter, "oleSessionName"},
	} {
		c.in.RoleArn = arn
		t.Run(what, func(t *testing.T) { refuse(t, w.assume, user, c.in, c.code, c.text) })
	}
	out := do(t, w.assume, user, ststypes.AssumeRoleRequest{RoleArn: arn, MinimumSessionTokenSize: new(int32(64)),
		RoleSessionName: strings.Repeat("x", 64)})
	if len(out.Credentials.SessionToken) < 64 {
		t.Errorf("got a token of %d characters, want at least 64", len(out.Credentials.SessionToken))
	}
}
