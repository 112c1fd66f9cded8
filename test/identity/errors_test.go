package identity_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	ststypes "github.com/aws/aws-sdk-go-v2/service/sts/types"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
)

// Programs distinguish errors by the SDK's types: each error of ecrin has its type, with a text that describes
// the cause.
func TestTypedErrors(t *testing.T) {
	t.Parallel()
	inst := newInstallation(t, apptest.Options{})
	root := inst.account(t, "111122223333")
	ada := root.user(t, "ada")
	trusts := trust(`"AWS":"`+root.account+`"`, "sts:AssumeRole", "")
	do(t, root.iam.CreateRole, iam.CreateRoleInput{RoleName: aws.String("ci"), AssumeRolePolicyDocument: &trusts})
	do(t, root.iam.PutUserPolicy, iam.PutUserPolicyInput{UserName: aws.String("ada"), PolicyName: aws.String("own"),
		PolicyDocument: aws.String(allow("sts:*", "*"))})
	linked := do(t, root.iam.CreateServiceLinkedRole, iam.CreateServiceLinkedRoleInput{AWSServiceName: aws.String("ecr.amazonaws.com")}).Role
	ours := do(t, root.iam.ListAttachedRolePolicies, iam.ListAttachedRolePoliciesInput{
		RoleName: linked.RoleName}).AttachedPolicies[0].PolicyArn
	stranger := inst.account(t, "444455556666")
	do(t, stranger.iam.CreatePolicy, iam.CreatePolicyInput{PolicyName: aws.String("theirs"), PolicyDocument: aws.String(allow("*", "*"))})

	ctx := t.Context()
	user := aws.String("ada")
	noSuch, exists, conflict := wantError[*types.NoSuchEntityException], wantError[*types.EntityAlreadyExistsException],
		wantError[*types.DeleteConflictException]
	malformed, limit, invalid := wantError[*types.MalformedPolicyDocumentException],
		wantError[*types.LimitExceededException], wantError[*types.InvalidInputException]
	fixed, unattachable := wantError[*types.UnmodifiableEntityException], wantError[*types.PolicyNotAttachableException]
	for _, c := range []struct {
		what  string
		is    func(*testing.T, string, error, string)
		words string
		call  func() error
	}{
		{"GetUser of a missing user", noSuch, "The user with name absent cannot be found.", func() error {
			_, err := root.iam.GetUser(ctx, &iam.GetUserInput{UserName: aws.String("absent")})
			return err
		}},
		{"AttachUserPolicy of another account's", noSuch, stranger.arn("policy/theirs"), func() error {
			_, err := root.iam.AttachUserPolicy(ctx, &iam.AttachUserPolicyInput{UserName: user,
				PolicyArn: aws.String(stranger.arn("policy/theirs"))})
			return err
		}},
		{"GetPolicy of another account's", noSuch, stranger.arn("policy/theirs"), func() error {
			_, err := root.iam.GetPolicy(ctx, &iam.GetPolicyInput{PolicyArn: aws.String(stranger.arn("policy/theirs"))})
			return err
		}},
		{"CreateUser twice", exists, "User with name ADA already exists.", func() error {
			_, err := root.iam.CreateUser(ctx, &iam.CreateUserInput{UserName: aws.String("ADA")})
			return err
		}},
		{"DeleteUser with a key", conflict, "Cannot delete entity", func() error {
			_, err := root.iam.DeleteUser(ctx, &iam.DeleteUserInput{UserName: user})
			return err
		}},
		{"CreateRole that trusts a user who is not there", malformed, "Invalid principal in policy", func() error {
			_, err := root.iam.CreateRole(ctx, &iam.CreateRoleInput{RoleName: aws.String("x"),
				AssumeRolePolicyDocument: aws.String(trust(`"AWS":"`+root.arn("user/absent")+`"`, "sts:AssumeRole", ""))})
			return err
		}},
		{"CreatePolicy with an invalid document", malformed, "line 1", func() error {
			_, err := root.iam.CreatePolicy(ctx, &iam.CreatePolicyInput{PolicyName: aws.String("x"),
				PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"allow","Action":"ecr:*","Resource":"*"}]}`)})
			return err
		}},
		{"PutUserPolicy that is too long", limit, "2048", func() error {
			_, err := root.iam.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: user, PolicyName: aws.String("x"),
				PolicyDocument: aws.String(allow("ecr:"+strings.Repeat("x", 2048), "*"))})
			return err
		}},
		{"CreateUser with tags of the service", invalid, "aws:", func() error {
			_, err := root.iam.CreateUser(ctx, &iam.CreateUserInput{UserName: aws.String("x"), Tags: tags("aws:x", "1")})
			return err
		}},
		{"CreateServiceLinkedRole twice", invalid, "has been taken", func() error {
			_, err := root.iam.CreateServiceLinkedRole(ctx, &iam.CreateServiceLinkedRoleInput{AWSServiceName: aws.String("ecr.amazonaws.com")})
			return err
		}},
		{"UpdateAssumeRolePolicy of a service-linked role", fixed, *linked.RoleName, func() error {
			_, err := root.iam.UpdateAssumeRolePolicy(ctx, &iam.UpdateAssumeRolePolicyInput{RoleName: linked.RoleName, PolicyDocument: &trusts})
			return err
		}},
		{"AttachUserPolicy of a service-linked role's", unattachable, "Cannot attach a Service Role Policy", func() error {
			_, err := root.iam.AttachUserPolicy(ctx, &iam.AttachUserPolicyInput{UserName: user, PolicyArn: ours})
			return err
		}},
		{"SimulateCustomPolicy of an invalid document", invalid, "PolicyInputList.member.1", func() error {
			_, err := root.iam.SimulateCustomPolicy(ctx, &iam.SimulateCustomPolicyInput{PolicyInputList: []string{`{}`},
				ActionNames: []string{"ecr:PutImage"}})
			return err
		}},
		{"AssumeRole with an invalid session policy", wantError[*ststypes.MalformedPolicyDocumentException], "line 1", func() error {
			_, err := ada.sts.AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: aws.String(root.arn("role/ci")),
				RoleSessionName: aws.String("me"), Policy: aws.String(`{"Statement":1}`)})
			return err
		}},
		{"GetFederationToken with more than fits", wantError[*ststypes.PackedPolicyTooLargeException], "", func() error {
			_, err := ada.sts.GetFederationToken(ctx, &sts.GetFederationTokenInput{Name: aws.String("guest"), Tags: manyTags()})
			return err
		}},
		{"DecodeAuthorizationMessage of another text", wantError[*ststypes.InvalidAuthorizationMessageException], "", func() error {
			_, err := ada.sts.DecodeAuthorizationMessage(ctx, &sts.DecodeAuthorizationMessageInput{EncodedMessage: aws.String("AAAA")})
			return err
		}},
	} {
		c.is(t, c.what, c.call(), c.words)
	}

	for _, c := range []struct {
		what, code, words string
		call              func() error
	}{
		{"a marker of another listing", "ValidationError", "Marker", func() error {
			page := do(t, root.iam.ListRoles, iam.ListRolesInput{MaxItems: aws.Int32(1)})
			_, err := root.iam.ListUsers(ctx, &iam.ListUsersInput{Marker: page.Marker})
			return err
		}},
		{"CreateOpenIDConnectProvider without TLS", "ValidationError", "Invalid Open ID Connect Provider URL", func() error {
			_, err := root.iam.CreateOpenIDConnectProvider(ctx, &iam.CreateOpenIDConnectProviderInput{Url: aws.String("http://tokens.example.com")})
			return err
		}},
		{"a page of 0", "ValidationError", "1 validation error detected: Value at 'maxItems' failed to satisfy constraint: ", func() error {
			_, err := root.iam.ListUsers(ctx, &iam.ListUsersInput{MaxItems: aws.Int32(0)})
			return err
		}},
		{"a name of other characters", "ValidationError",
			"1 validation error detected: Value at 'userName' failed to satisfy constraint: ", func() error {
				_, err := root.iam.CreateUser(ctx, &iam.CreateUserInput{UserName: aws.String("a b")})
				return err
			}},
		{"AssumeRole by a root user", "AccessDenied", "Roles may not be assumed by root accounts.", func() error {
			_, err := root.sts.AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: aws.String(root.arn("role/ci")), RoleSessionName: aws.String("me")})
			return err
		}},
		{"a session that is too long", "ValidationError", "MaxSessionDuration", func() error {
			_, err := ada.sts.AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: aws.String(root.arn("role/ci")),
				RoleSessionName: aws.String("me"), DurationSeconds: aws.Int32(7200)})
			return err
		}},
		{"an unknown key", "InvalidClientTokenId", "", func() error {
			_, err := inst.as(root.account, "AKIAIOSFODNN7EXAMPLE", "x", "").iam.ListUsers(ctx, &iam.ListUsersInput{})
			return err
		}},
		{"a wrong secret", "SignatureDoesNotMatch", "", func() error {
			_, err := inst.as(root.account, ada.keys.AccessKeyID, "x", "").iam.ListUsers(ctx, &iam.ListUsersInput{})
			return err
		}},
		{"no signature", "MissingAuthenticationToken", "", func() error {
			_, err := inst.as(root.account, "", "", "").iam.ListUsers(ctx, &iam.ListUsersInput{})
			return err
		}},
	} {
		wantCode(t, c.what, c.call(), c.code, c.words)
	}
}

// manyTags returns 50 tags of the maximum length.
func manyTags() []ststypes.Tag {
	var all []ststypes.Tag
	for i := range 50 {
		all = append(all, ststypes.Tag{Key: aws.String(fmt.Sprintf("%0128d", i)), Value: aws.String(strings.Repeat("v", 256))})
	}
	return all
}

// The last use of keys and roles is known after a restart too.
func TestLastUse(t *testing.T) {
	t.Parallel()
	inst := newInstallation(t, apptest.Options{})
	root := inst.account(t, "111122223333")
	ada := root.user(t, "ada")
	do(t, root.iam.PutUserPolicy, iam.PutUserPolicyInput{UserName: aws.String("ada"), PolicyName: aws.String("own"),
		PolicyDocument: aws.String(allow("sts:*", "*"))})
	role := do(t, root.iam.CreateRole, iam.CreateRoleInput{RoleName: aws.String("ci"),
		AssumeRolePolicyDocument: aws.String(trust(`"AWS":"`+root.account+`"`, "sts:AssumeRole", ""))}).Role
	got := do(t, ada.sts.AssumeRole, sts.AssumeRoleInput{RoleArn: role.Arn, RoleSessionName: aws.String("me")})
	wantIdentity(t, inst.session(root.account, got.Credentials), "arn:aws:sts::"+root.account+":assumed-role/ci/me")
	inst.Restart(t)
	wantIdentity(t, inst.session(root.account, got.Credentials), "arn:aws:sts::"+root.account+":assumed-role/ci/me")
	used := do(t, root.iam.GetAccessKeyLastUsed, iam.GetAccessKeyLastUsedInput{AccessKeyId: &ada.keys.AccessKeyID}).AccessKeyLastUsed
	wantText(t, "the service", used.ServiceName, "sts")
	wantText(t, "the region", used.Region, inst.Running.Region)
	if used.LastUsedDate == nil {
		t.Error("the key was never used")
	}
	last := do(t, root.iam.GetRole, iam.GetRoleInput{RoleName: role.RoleName}).Role.RoleLastUsed
	wantText(t, "the role's region", last.Region, inst.Running.Region)
	if last.LastUsedDate == nil {
		t.Error("the role was never used")
	}
}
