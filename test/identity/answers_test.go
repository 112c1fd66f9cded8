package identity_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	ststypes "github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/aws/smithy-go"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
)

// answer is a call whose answer is known from AWS, word for word: its status, code and message, or 200.
type answer struct {
	want string
	call func() error
}

// calling returns a call of an operation.
func calling[In, Out, Opt any](t *testing.T, op func(context.Context, *In, ...func(*Opt)) (*Out, error), in In) func() error {
	return func() error {
		_, err := op(t.Context(), &in)
		return err
	}
}

// wantAnswers calls in order and compares the answers.
func wantAnswers(t *testing.T, all []answer) {
	t.Helper()
	for i, a := range all {
		got := "200"
		if err := a.call(); err != nil {
			var response *awshttp.ResponseError
			var api smithy.APIError
			if !errors.As(err, &response) || !errors.As(err, &api) {
				t.Fatalf("answer %d: got %v, want %s", i, err, a.want)
			}
			got = fmt.Sprintf("%d %s: %s", response.HTTPStatusCode(), api.ErrorCode(), api.ErrorMessage())
		}
		if got != a.want {
			t.Errorf("answer %d:\n got %s\nwant %s", i, got, a.want)
		}
	}
}

// wantMembers compares the members that an answer has.
func wantMembers(t *testing.T, what string, answer any, want string) {
	t.Helper()
	var got []string
	v := reflect.ValueOf(answer).Elem()
	for _, f := range reflect.VisibleFields(v.Type()) {
		if f.IsExported() && !v.FieldByIndex(f.Index).IsZero() {
			got = append(got, f.Name)
		}
	}
	if text := strings.Join(got, " "); text != want {
		t.Errorf("%s: got the members %s, want %s", what, text, want)
	}
}

// entities creates a user u, a group g, a role r, a policy p and an instance profile ip.
func (a actor) entities(t *testing.T) {
	t.Helper()
	do(t, a.iam.CreateUser, iam.CreateUserInput{UserName: aws.String("u")})
	do(t, a.iam.CreateGroup, iam.CreateGroupInput{GroupName: aws.String("g")})
	do(t, a.iam.CreateRole, iam.CreateRoleInput{
		RoleName: aws.String("r"), Description: aws.String("d"),
		AssumeRolePolicyDocument: aws.String(trust(`"AWS":"`+a.account+`"`, "sts:AssumeRole sts:TagSession", "")),
	})
	do(t, a.iam.CreatePolicy, iam.CreatePolicyInput{PolicyName: aws.String("p"), PolicyDocument: aws.String(allow("ecr:*", "*"))})
	do(t, a.iam.CreateInstanceProfile, iam.CreateInstanceProfileInput{InstanceProfileName: aws.String("ip")})
}

// Answers have the members that those of AWS have: what a client has just sent is not repeated, and an empty list of tags is
// there. Programs that compare what they set with what they read depend on both.
func TestMembersOfAnswers(t *testing.T) {
	t.Parallel()
	inst := newInstallation(t, apptest.Options{})
	root := inst.account(t, "111122223333")
	root.entities(t)

	policy := do(t, root.iam.CreatePolicy, iam.CreatePolicyInput{
		PolicyName: aws.String("p2"), PolicyDocument: aws.String(allow("ecr:*", "*")), Description: aws.String("d"),
	}).Policy
	wantMembers(t, "CreatePolicy", policy,
		"Arn AttachmentCount CreateDate DefaultVersionId IsAttachable Path PermissionsBoundaryUsageCount PolicyId PolicyName UpdateDate")
	if got := do(t, root.iam.GetPolicy, iam.GetPolicyInput{PolicyArn: policy.Arn}).Policy; got.Tags == nil ||
		aws.ToString(got.Description) != "d" {
		t.Errorf("GetPolicy: got the tags %v and the description %v, want an empty list and d", got.Tags, aws.ToString(got.Description))
	}
	if got := do(t, root.iam.GetPolicy, iam.GetPolicyInput{PolicyArn: aws.String(readOnly)}).Policy; got.Tags == nil {
		t.Error("GetPolicy of a policy of AWS: got no list of tags, want an empty one")
	}

	role := do(t, root.iam.CreateRole, iam.CreateRoleInput{
		RoleName: aws.String("r2"), Description: aws.String("d"),
		AssumeRolePolicyDocument: aws.String(trust(`"AWS":"111122223333"`, "sts:AssumeRole", "")),
	}).Role
	const short = "Arn CreateDate Path RoleId RoleName AssumeRolePolicyDocument"
	wantMembers(t, "CreateRole", role, short)
	wantMembers(t, "UpdateRoleDescription",
		do(t, root.iam.UpdateRoleDescription, iam.UpdateRoleDescriptionInput{RoleName: aws.String("r2"), Description: aws.String("e")}).Role,
		short+" Description")
	wantMembers(t, "GetRole", do(t, root.iam.GetRole, iam.GetRoleInput{RoleName: aws.String("r2")}).Role,
		short+" Description MaxSessionDuration RoleLastUsed")

	do(t, root.iam.AddRoleToInstanceProfile, iam.AddRoleToInstanceProfileInput{InstanceProfileName: aws.String("ip"),
		RoleName: aws.String("r")})
	profile := do(t, root.iam.GetInstanceProfile, iam.GetInstanceProfileInput{InstanceProfileName: aws.String("ip")}).InstanceProfile
	wantMembers(t, "the role of an instance profile", &profile.Roles[0], short)
	provider := do(t, root.iam.CreateOpenIDConnectProvider,
		iam.CreateOpenIDConnectProviderInput{Url: aws.String("https://tokens.example.com")})
	tags := do(t, root.iam.GetOpenIDConnectProvider, iam.GetOpenIDConnectProviderInput{
		OpenIDConnectProviderArn: provider.OpenIDConnectProviderArn}).Tags
	if profile.Tags == nil || tags == nil {
		t.Errorf("the tags of an instance profile and a provider: got %v and %v, want empty lists", profile.Tags, tags)
	}

	federation := do(t, root.sts.GetFederationToken, sts.GetFederationTokenInput{Name: aws.String("guest")})
	//lint:ignore SA1019 AWS still sends the member, and older clients read it
	if got := federation.PackedPolicySize; got == nil || *got != 0 {
		t.Errorf("PackedPolicySize without policies: got %v, want 0", got)
	}
}

// An entity that does not exist is named as AWS names it, and of two that do not exist the user is named first.
func TestTextsForWhatDoesNotExist(t *testing.T) {
	t.Parallel()
	inst := newInstallation(t, apptest.Options{})
	root := inst.account(t, "111122223333")
	root.entities(t)
	p, none, x := aws.String(root.arn("policy/p")), aws.String(root.arn("policy/none")), aws.String("x")
	u, g, r, ip := aws.String("u"), aws.String("g"), aws.String("r"), aws.String("ip")
	noVersion := func(policy *string, version string) string {
		return "404 NoSuchEntity: Policy " + *policy + " version " + version + " does not exist or is not attachable."
	}
	c := root.iam
	wantAnswers(t, []answer{
		{"404 NoSuchEntity: The user policy with name x cannot be found.",
			calling(t, c.DeleteUserPolicy, iam.DeleteUserPolicyInput{UserName: u, PolicyName: x})},
		{"404 NoSuchEntity: The group policy with name x cannot be found.",
			calling(t, c.DeleteGroupPolicy, iam.DeleteGroupPolicyInput{GroupName: g, PolicyName: x})},
		{"404 NoSuchEntity: The role policy with name x cannot be found.",
			calling(t, c.DeleteRolePolicy, iam.DeleteRolePolicyInput{RoleName: r, PolicyName: x})},
		{noVersion(p, "v9"), calling(t, c.DeletePolicyVersion, iam.DeletePolicyVersionInput{PolicyArn: p, VersionId: aws.String("v9")})},
		{noVersion(p, "v9"), calling(t, c.SetDefaultPolicyVersion, iam.SetDefaultPolicyVersionInput{PolicyArn: p, VersionId: aws.String("v9")})},
		{noVersion(p, "v9"), calling(t, c.GetPolicyVersion, iam.GetPolicyVersionInput{PolicyArn: p, VersionId: aws.String("v9")})},
		{noVersion(none, "v1"), calling(t, c.SetDefaultPolicyVersion,
			iam.SetDefaultPolicyVersionInput{PolicyArn: none, VersionId: aws.String("v1")})},
		{noVersion(none, "v1"), calling(t, c.GetPolicyVersion, iam.GetPolicyVersionInput{PolicyArn: none, VersionId: aws.String("v1")})},
		{"404 NoSuchEntity: Policy " + *none + " was not found.", calling(t, c.DeletePolicy, iam.DeletePolicyInput{PolicyArn: none})},
		{"404 NoSuchEntity: Policy " + *none + " was not found.", calling(t, c.GetPolicy, iam.GetPolicyInput{PolicyArn: none})},
		{"404 NoSuchEntity: The user with name nou cannot be found.",
			calling(t, c.RemoveUserFromGroup, iam.RemoveUserFromGroupInput{GroupName: aws.String("nog"), UserName: aws.String("nou")})},
		{"404 NoSuchEntity: The user with name nou cannot be found.",
			calling(t, c.AddUserToGroup, iam.AddUserToGroupInput{GroupName: aws.String("nog"), UserName: aws.String("nou")})},
		{"404 NoSuchEntity: The group with name nog cannot be found.",
			calling(t, c.AddUserToGroup, iam.AddUserToGroupInput{GroupName: aws.String("nog"), UserName: u})},
		{"200", calling(t, c.RemoveUserFromGroup, iam.RemoveUserFromGroupInput{GroupName: g, UserName: u})},
		{"404 NoSuchEntity: Role r in Instance Profile ip cannot be found.",
			calling(t, c.RemoveRoleFromInstanceProfile, iam.RemoveRoleFromInstanceProfileInput{InstanceProfileName: ip, RoleName: r})},
		{"400 ValidationError: Invalid ARN:  Could not be parsed!",
			calling(t, c.AttachRolePolicy, iam.AttachRolePolicyInput{RoleName: r, PolicyArn: aws.String("longpolicynamebutnoarn")})},
		{
			"403 AccessDenied: User: arn:aws:iam::111122223333:root is not authorized to perform iam:GetAccessKeyLastUsed on resource: access key AKIAIOSFODNN7EXAMPLE",
			calling(t, c.GetAccessKeyLastUsed, iam.GetAccessKeyLastUsedInput{AccessKeyId: aws.String("AKIAIOSFODNN7EXAMPLE")}),
		},
	})
}

const duplicateTags = "Duplicate tag keys found. Please note that Tag keys are case insensitive."

// Errors about tags, session tags and identity providers have the codes and texts of AWS.
func TestTextsForTagsAndProviders(t *testing.T) {
	t.Parallel()
	inst := newInstallation(t, apptest.Options{})
	root := inst.account(t, "111122223333")
	root.entities(t)
	u := aws.String("u")
	key := do(t, root.iam.CreateAccessKey, iam.CreateAccessKeyInput{UserName: u}).AccessKey
	user := inst.as(root.account, *key.AccessKeyId, *key.SecretAccessKey, "")
	admin := aws.String("arn:aws:iam::aws:policy/AdministratorAccess")
	do(t, root.iam.AttachUserPolicy, iam.AttachUserPolicyInput{UserName: u, PolicyArn: admin})
	do(t, root.iam.AttachRolePolicy, iam.AttachRolePolicyInput{RoleName: aws.String("r"), PolicyArn: admin})
	assume := func(tags []ststypes.Tag, transitive ...string) sts.AssumeRoleInput {
		return sts.AssumeRoleInput{RoleArn: aws.String(root.arn("role/r")), RoleSessionName: aws.String("ss"), Tags: tags,
			TransitiveTagKeys: transitive}
	}
	tag := func(k string) ststypes.Tag { return ststypes.Tag{Key: &k, Value: aws.String("1")} }
	session := inst.session(root.account, do(t, user.sts.AssumeRole, assume([]ststypes.Tag{tag("a")}, "a")).Credentials)

	provider := do(t, root.iam.CreateOpenIDConnectProvider,
		iam.CreateOpenIDConnectProviderInput{Url: aws.String("https://tokens.example.com")}).OpenIDConnectProviderArn
	var fifty []types.Tag
	for i := range 50 {
		fifty = append(fifty, types.Tag{Key: aws.String(fmt.Sprint(i)), Value: aws.String("")})
	}
	do(t, root.iam.TagOpenIDConnectProvider, iam.TagOpenIDConnectProviderInput{OpenIDConnectProviderArn: provider, Tags: fifty})
	var prints []string
	for _, c := range "abcdef" {
		prints = append(prints, strings.Repeat(string(c), 40))
	}
	c := root.iam
	wantAnswers(t, []answer{
		{"400 InvalidInput: " + duplicateTags, calling(t, c.TagUser, iam.TagUserInput{UserName: u, Tags: tags("a", "", "A", "")})},
		{"400 InvalidParameterValue: " + duplicateTags, calling(t, user.sts.AssumeRole, assume([]ststypes.Tag{tag("a"), tag("A")}))},
		{"400 InvalidParameterValue: The specified transitive tag key must be included in the requested tags.",
			calling(t, user.sts.AssumeRole, assume(nil, "zz"))},
		{
			"400 InvalidParameterValue: One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from the calling session.",
			calling(t, session.sts.AssumeRole, assume([]ststypes.Tag{tag("A")})),
		},
		{"409 LimitExceeded: The number of tags has reached the maximum limit.",
			calling(t, c.TagOpenIDConnectProvider, iam.TagOpenIDConnectProviderInput{OpenIDConnectProviderArn: provider, Tags: tags("x", "")})},
		{"400 InvalidInput: Thumbprint list must contain fewer than 5 entries.",
			calling(t, c.CreateOpenIDConnectProvider, iam.CreateOpenIDConnectProviderInput{
				Url: aws.String("https://example.com/a"), ThumbprintList: prints})},
		{"400 ValidationError: Invalid Open ID Connect Provider URL",
			calling(t, c.CreateOpenIDConnectProvider, iam.CreateOpenIDConnectProviderInput{Url: aws.String("example.org")})},
	})
}

// A wrong secret is refused with the text of AWS, by the services of both protocols.
func TestTextForWrongSecret(t *testing.T) {
	t.Parallel()
	inst := newInstallation(t, apptest.Options{})
	root := inst.account(t, "111122223333")
	wrong := inst.as(root.account, root.keys.AccessKeyID, strings.Repeat("x", 40), "")
	const text = "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. " +
		"Consult the service documentation for details."
	wantAnswers(t, []answer{
		{"403 SignatureDoesNotMatch: " + text, calling(t, wrong.sts.GetCallerIdentity, sts.GetCallerIdentityInput{})},
		{"400 InvalidSignatureException: " + text, calling(t, wrong.ecr.DescribeRepositories, ecr.DescribeRepositoriesInput{})},
	})
}

// One error of validation names all members that break their rules. STS shows their values, IAM does not.
func TestTextsForInvalidMembers(t *testing.T) {
	t.Parallel()
	inst := newInstallation(t, apptest.Options{})
	root := inst.account(t, "111122223333")
	root.entities(t)
	long := func(n int) string { return strings.Repeat("b", n) }
	wantAnswers(t, []answer{
		{
			"400 ValidationError: 1 validation error detected: Value 'Session1:2' at 'roleSessionName' failed to satisfy constraint: " +
				`Member must satisfy regular expression pattern: [\w+=,.@-]*`,
			calling(t, root.sts.AssumeRole, sts.AssumeRoleInput{RoleArn: aws.String(root.arn("role/r")), RoleSessionName: aws.String("Session1:2")}),
		},
		{
			"400 ValidationError: 1 validation error detected: Value at 'versionId' failed to satisfy constraint: " +
				`Member must satisfy regular expression pattern: v[1-9][0-9]*(\.[A-Za-z0-9-]*)?`,
			calling(t, root.iam.SetDefaultPolicyVersion, iam.SetDefaultPolicyVersionInput{
				PolicyArn: aws.String(root.arn("policy/p")), VersionId: aws.String("wrong")}),
		},
		{
			"400 ValidationError: 3 validation errors detected: Value at 'clientIDList' failed to satisfy constraint: Member must satisfy constraint: " +
				"[Member must have length less than or equal to 255, Member must have length greater than or equal to 1]; Value at 'thumbprintList' " +
				"failed to satisfy constraint: Member must satisfy constraint: [Member must have length less than or equal to 40, Member must have " +
				"length greater than or equal to 40]; Value at 'url' failed to satisfy constraint: Member must have length less than or equal to 255",
			calling(t, root.iam.CreateOpenIDConnectProvider, iam.CreateOpenIDConnectProviderInput{
				Url: aws.String(long(256)), ThumbprintList: []string{long(41)}, ClientIDList: []string{long(256)},
			}),
		},
		{
			"400 ValidationError: 1 validation error detected: Value at 'status' failed to satisfy constraint: Member must satisfy enum value set",
			calling(t, root.iam.UpdateAccessKey, iam.UpdateAccessKeyInput{UserName: aws.String("u"),
				AccessKeyId: aws.String("AKIAAAAAAAAAAAAAAAAA"), Status: "Foo"}),
		},
	})
}

// A policy that is refused is answered with the sentence of AWS, which programs look for, and the place in a second line.
func TestTextsForPolicyDocuments(t *testing.T) {
	t.Parallel()
	inst := newInstallation(t, apptest.Options{})
	root := inst.account(t, "111122223333")
	root.entities(t)
	const bucket = `"arn:aws:s3:::example_bucket"`
	head := `{"Version":"2012-10-17","Statement":{"Effect":"Allow",`
	of := func(action, resource, more string) string {
		return head + `"Action":` + action + `,"Resource":` + resource + more + `}}`
	}
	create := func(text string) error {
		_, err := root.iam.CreatePolicy(t.Context(), &iam.CreatePolicyInput{PolicyName: aws.String("refused"), PolicyDocument: &text})
		return err
	}
	update := func(text string) error {
		_, err := root.iam.UpdateAssumeRolePolicy(t.Context(), &iam.UpdateAssumeRolePolicyInput{RoleName: aws.String("r"), PolicyDocument: &text})
		return err
	}
	session := func(text string) error {
		_, err := root.sts.GetFederationToken(t.Context(), &sts.GetFederationTokenInput{Name: aws.String("guest"), Policy: &text})
		return err
	}
	principal := `"Principal":{"AWS":"` + root.account + `"}`
	const onlySTS = "AssumeRole policy may only specify STS AssumeRole actions."
	for _, c := range []struct {
		want string
		set  func(string) error
		text string
	}{
		{"Syntax errors in policy.", create, "no json"},
		{"Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.", create, of(`"invalid"`, bucket, "")},
		{"Actions/Condition can contain only one colon.", create, of(`"a:b:c"`, bucket, "")},
		{"Vendor s* is not valid", create, of(`"s*:Get"`, bucket, "")},
		{"Policy statement must contain actions.", create, head + `"Resource":` + bucket + `}}`},
		{"Policy statement must contain resources.", create, head + `"Action":"s3:ListBucket"}}`},
		{"Policy document should not specify a principal.", create, of(`"s3:*"`, bucket, ","+principal)},
		{`Resource adf must be in ARN format or "*".`, create, of(`"s3:*"`, `["adf"]`, "")},
		{"Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*",
			create, of(`"s3:*"`, bucket, `,"Sid":"a_b"`)},
		{"Policy document must be version 2012-10-17 or greater.", create,
			`{"Statement":{"Effect":"Allow","Action":"s3:*","Resource":` + bucket + `}}`},
		{"Resource arn:aws:s3:us-east-1::example_bucket can not contain region information.", create,
			of(`"s3:*"`, `"arn:aws:s3:us-east-1::example_bucket"`, "")},
		{"IAM resource arn:aws:iam:us-east-1::x cannot contain region information.", create, of(`"s3:*"`, `"arn:aws:iam:us-east-1::x"`, "")},
		{"The policy failed legacy parsing", create, of(`"s3:*"`, `"arn:aws::::example_bucket"`, "")},
		{onlySTS, update, head + principal + `,"Action":"sts:BadAssumeRole"}}`},
		{onlySTS, update, head + principal + `,"Action":"s3:GetObject"}}`},
		{"Has prohibited field Resource", update, head + principal + `,"Action":"sts:AssumeRole","Resource":"*"}}`},
		{"This policy contains invalid Json", update, `{"a":1,}`},
		{`Partition "bsd" is not valid for resource "arn:bsd:s3:::example_bucket".`, create, of(`"s3:*"`, `"arn:bsd:s3:::example_bucket"`, "")},
		{"Statement IDs (SID) in a single policy must be unique.", create, `{"Version":"2012-10-17","Statement":[{"Sid":"a","Effect":"Allow",` +
			`"Action":"s3:*","Resource":"*"},{"Sid":"a","Effect":"Allow","Action":"s3:*","Resource":"*"}]}`},
		{"Condition can contain only one colon.", update, head + principal + `,"Action":"sts:AssumeRoleWithWebIdentity",` +
			`"Condition":{"StringEquals":{"https://oidc.example.com/id/X:sub":"a"}}}}`},
		{"The policy is not in the valid JSON format.", session, "no json"},
	} {
		var api smithy.APIError
		err := c.set(c.text)
		if !errors.As(err, &api) || api.ErrorCode() != "MalformedPolicyDocument" && api.ErrorCode() != "MalformedPolicyDocumentException" {
			t.Errorf("%s: got %v, want MalformedPolicyDocument", c.text, err)
			continue
		}
		got, place, placed := strings.Cut(api.ErrorMessage(), "\n")
		if got != c.want || placed && !strings.HasPrefix(place, "At line 1, column ") {
			t.Errorf("%s:\n got %s, then %q\nwant %s, then the place", c.text, got, place, c.want)
		}
	}
	for i, text := range []string{
		of(`"s3:*"`, bucket, `,"Condition":{"a":{}}`),
		of(`"s3:*"`, bucket, `,"Condition":{"StringEqualsIfExists":{"a":"asf"}}`),
		of(`"s3:*"`, `"arn:aws:fdsasf"`, ""),
		of(`"service-prefix:action-name"`, `"*"`, ""),
	} {
		name := fmt.Sprint("accepted", i)
		made := do(t, root.iam.CreatePolicy, iam.CreatePolicyInput{PolicyName: &name, PolicyDocument: &text}).Policy
		version := do(t, root.iam.GetPolicyVersion, iam.GetPolicyVersionInput{PolicyArn: made.Arn, VersionId: aws.String("v1")}).PolicyVersion
		wantDocument(t, name, version.Document, text)
	}
	for _, action := range []string{"sts:*", "sts:AssumeRole*", "sts:SetSourceIdentity", "sts:SetContext"} {
		if err := update(head + principal + `,"Action":"` + action + `"}}`); err != nil {
			t.Errorf("a trust policy with %s: %v", action, err)
		}
	}
}

// Operations without a signature that ecrin does not have are unknown, not unsigned.
func TestAssumeRoleWithSAMLIsUnknown(t *testing.T) {
	t.Parallel()
	inst := newInstallation(t, apptest.Options{})
	root := inst.account(t, "111122223333")
	arn := aws.String(root.arn("role/r"))
	_, err := inst.as(root.account, "", "", "").sts.AssumeRoleWithSAML(t.Context(), &sts.AssumeRoleWithSAMLInput{
		PrincipalArn: arn, RoleArn: arn, SAMLAssertion: aws.String("AAAA"),
	})
	wantCode(t, "AssumeRoleWithSAML", err, "InvalidAction", "AssumeRoleWithSAML")
}
