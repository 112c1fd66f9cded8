package races_test

import (
	"context"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// Names of the role and the user that the tests delete and create again.
const (
	roleName   = "deploy"
	userName   = "robot"
	renamed    = "machine" // name of the user after a rename
	policyName = "kept"
)

// ours holds the resource tags of the roles and users that the user of changer may change; theirs holds those of others.
var (
	ours   = []types.Tag{{Key: aws.String("team"), Value: aws.String("ours")}}
	theirs = []types.Tag{{Key: aws.String("team"), Value: aws.String("theirs")}}
)

// managed is the ARN of a managed policy.
const managed = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly"

// changer creates a user with all permissions of IAM on roles and users that have the tag team=ours.
func changer(t *testing.T, s *registry) actor {
	t.Helper()
	return s.user(t, "limited", statement("Allow", "iam:*", equals("iam:ResourceTag/team", "ours")+","+timed))
}

// trusting returns a trust policy that permits the principal to assume a role.
func trusting(principal string) *string {
	return document(grant("", principal, "sts:AssumeRole", timed))
}

// deleteRole deletes the role with its policies, if it exists.
func deleteRole(t *testing.T, api *iam.Client) {
	t.Helper()
	ctx, role := context.WithoutCancel(t.Context()), aws.String(roleName)
	if _, err := api.GetRole(ctx, &iam.GetRoleInput{RoleName: role}); code(err) == "NoSuchEntity" {
		return
	}
	for _, name := range do(t, api.ListRolePolicies, iam.ListRolePoliciesInput{RoleName: role}).PolicyNames {
		do(t, api.DeleteRolePolicy, iam.DeleteRolePolicyInput{RoleName: role, PolicyName: &name})
	}
	for _, p := range do(t, api.ListAttachedRolePolicies, iam.ListAttachedRolePoliciesInput{
		RoleName: role,
	}).AttachedPolicies {
		do(t, api.DetachRolePolicy, iam.DetachRolePolicyInput{RoleName: role, PolicyArn: p.PolicyArn})
	}
	do(t, api.DeleteRole, iam.DeleteRoleInput{RoleName: role})
}

// createRole creates the role. Unless bare is true, it has policies, with which it cannot be deleted.
func createRole(t *testing.T, api *iam.Client, tags []types.Tag, description string, trust *string, bare bool) {
	t.Helper()
	deleteRole(t, api)
	role := aws.String(roleName)
	do(t, api.CreateRole, iam.CreateRoleInput{
		RoleName: role, Tags: tags, Description: &description, AssumeRolePolicyDocument: trust,
		PermissionsBoundary: aws.String(managed),
	})
	if !bare {
		do(t, api.PutRolePolicy, iam.PutRolePolicyInput{
			RoleName: role, PolicyName: aws.String(policyName),
			PolicyDocument: document(statement("Allow", "ecr:ListImages", "")),
		})
		do(t, api.AttachRolePolicy, iam.AttachRolePolicyInput{RoleName: role, PolicyArn: aws.String(managed)})
	}
}

// roleState returns what IAM shows of the role and its policies.
func roleState(t *testing.T, api *iam.Client) string {
	t.Helper()
	role := aws.String(roleName)
	return call(t, api.GetRole, iam.GetRoleInput{RoleName: role}) +
		call(t, api.ListRolePolicies, iam.ListRolePoliciesInput{RoleName: role}) +
		call(t, api.GetRolePolicy, iam.GetRolePolicyInput{RoleName: role, PolicyName: aws.String(policyName)}) +
		call(t, api.ListAttachedRolePolicies, iam.ListAttachedRolePoliciesInput{RoleName: role})
}

// A permission on a role is not a permission on a new role with the same name: a request that was decided for the first
// role does not change, show or assume the second.
func TestRoleMadeAgain(t *testing.T) {
	t.Parallel()
	s := serve(t)
	api, u := s.root.iam, changer(t, s)
	role, everything := aws.String(roleName), document(statement("Allow", "*", ""))
	for _, request := range []struct {
		name string
		ask  func(t *testing.T) string
	}{
		{"GetRole", func(t *testing.T) string { return call(t, u.iam.GetRole, iam.GetRoleInput{RoleName: role}) }},
		{"DeleteRole", func(t *testing.T) string {
			return call(t, u.iam.DeleteRole, iam.DeleteRoleInput{RoleName: role})
		}},
		{"PutRolePolicy", func(t *testing.T) string {
			return call(t, u.iam.PutRolePolicy, iam.PutRolePolicyInput{
				RoleName: role, PolicyName: aws.String("more"), PolicyDocument: everything,
			})
		}},
		{"DeleteRolePolicy", func(t *testing.T) string {
			return call(t, u.iam.DeleteRolePolicy, iam.DeleteRolePolicyInput{
				RoleName: role, PolicyName: aws.String(policyName),
			})
		}},
		{"AttachRolePolicy", func(t *testing.T) string {
			return call(t, u.iam.AttachRolePolicy, iam.AttachRolePolicyInput{
				RoleName: role, PolicyArn: aws.String("arn:aws:iam::aws:policy/AdministratorAccess"),
			})
		}},
		{"DetachRolePolicy", func(t *testing.T) string {
			return call(t, u.iam.DetachRolePolicy, iam.DetachRolePolicyInput{
				RoleName: role, PolicyArn: aws.String(managed),
			})
		}},
		{"UpdateAssumeRolePolicy", func(t *testing.T) string {
			return call(t, u.iam.UpdateAssumeRolePolicy, iam.UpdateAssumeRolePolicyInput{
				RoleName: role, PolicyDocument: trusting(`{"AWS":"*"}`),
			})
		}},
		{"UpdateRole", func(t *testing.T) string {
			return call(t, u.iam.UpdateRole, iam.UpdateRoleInput{RoleName: role, MaxSessionDuration: aws.Int32(7200)})
		}},
		{"UpdateRoleDescription", func(t *testing.T) string {
			return call(t, u.iam.UpdateRoleDescription, iam.UpdateRoleDescriptionInput{
				RoleName: role, Description: aws.String("changed"),
			})
		}},
		{"PutRolePermissionsBoundary", func(t *testing.T) string {
			return call(t, u.iam.PutRolePermissionsBoundary, iam.PutRolePermissionsBoundaryInput{
				RoleName: role, PermissionsBoundary: aws.String("arn:aws:iam::aws:policy/AdministratorAccess"),
			})
		}},
		{"DeleteRolePermissionsBoundary", func(t *testing.T) string {
			return call(t, u.iam.DeleteRolePermissionsBoundary, iam.DeleteRolePermissionsBoundaryInput{RoleName: role})
		}},
		{"TagRole", func(t *testing.T) string {
			return call(t, u.iam.TagRole, iam.TagRoleInput{RoleName: role, Tags: ours})
		}},
		{"UntagRole", func(t *testing.T) string {
			return call(t, u.iam.UntagRole, iam.UntagRoleInput{RoleName: role, TagKeys: []string{"team"}})
		}},
		{"AssumeRole", func(t *testing.T) string {
			out, err := u.sts.AssumeRole(context.WithoutCancel(t.Context()), &sts.AssumeRoleInput{
				RoleArn: aws.String(u.arn("role/" + roleName)), RoleSessionName: aws.String("s"),
			})
			if err != nil {
				return code(err)
			}
			return *out.AssumedRoleUser.AssumedRoleId
		}},
	} {
		t.Run(request.name, func(t *testing.T) {
			bare := request.name == "DeleteRole"
			var answer, want, id string
			step(t, s.clock, func() {
				createRole(t, api, ours, "first", trusting(`{"AWS":"`+u.arn("user/limited")+`"}`), bare)
			}, func() string {
				answer = request.ask(t)
				return answer
			}, func() {
				createRole(t, api, theirs, mark, trusting(`{"Service":"lambda.amazonaws.com"}`), bare)
				want = roleState(t, api)
				id = aws.ToString(do(t, api.GetRole, iam.GetRoleInput{RoleName: role}).Role.RoleId)
			}, func(at string) {
				same(t, "the role made again, "+at, roleState(t, api), want)
				if strings.Contains(answer, mark) || strings.Contains(answer, id) {
					t.Errorf("the answer shows the second role, %s", at)
				}
			})
		})
	}
}

// deleteUser deletes the user, also if it was renamed, with its access keys and policies.
func deleteUser(t *testing.T, api *iam.Client) {
	t.Helper()
	for _, name := range []string{userName, renamed} {
		user := &name
		_, err := api.GetUser(context.WithoutCancel(t.Context()), &iam.GetUserInput{UserName: user})
		if code(err) == "NoSuchEntity" {
			continue
		}
		for _, k := range do(t, api.ListAccessKeys, iam.ListAccessKeysInput{UserName: user}).AccessKeyMetadata {
			do(t, api.DeleteAccessKey, iam.DeleteAccessKeyInput{UserName: user, AccessKeyId: k.AccessKeyId})
		}
		for _, p := range do(t, api.ListUserPolicies, iam.ListUserPoliciesInput{UserName: user}).PolicyNames {
			do(t, api.DeleteUserPolicy, iam.DeleteUserPolicyInput{UserName: user, PolicyName: &p})
		}
		attached := do(t, api.ListAttachedUserPolicies, iam.ListAttachedUserPoliciesInput{UserName: user})
		for _, p := range attached.AttachedPolicies {
			do(t, api.DetachUserPolicy, iam.DetachUserPolicyInput{UserName: user, PolicyArn: p.PolicyArn})
		}
		do(t, api.DeleteUser, iam.DeleteUserInput{UserName: user})
	}
}

func createUser(t *testing.T, api *iam.Client, tags []types.Tag, path string) {
	t.Helper()
	deleteUser(t, api)
	do(t, api.CreateUser, iam.CreateUserInput{UserName: aws.String(userName), Tags: tags, Path: &path})
}

// userState returns what IAM shows of the user and its policies.
func userState(t *testing.T, api *iam.Client) string {
	t.Helper()
	user := aws.String(userName)
	return call(t, api.GetUser, iam.GetUserInput{UserName: user}) +
		call(t, api.ListAccessKeys, iam.ListAccessKeysInput{UserName: user}) +
		call(t, api.ListUserPolicies, iam.ListUserPoliciesInput{UserName: user}) +
		call(t, api.ListAttachedUserPolicies, iam.ListAttachedUserPoliciesInput{UserName: user})
}

// A permission on a user is not a permission on a new user with the same name.
func TestUserMadeAgain(t *testing.T) {
	t.Parallel()
	s := serve(t)
	api, u := s.root.iam, changer(t, s)
	user, everything := aws.String(userName), document(statement("Allow", "*", ""))
	for _, request := range []struct {
		name string
		ask  func(t *testing.T) string
	}{
		{"GetUser", func(t *testing.T) string { return call(t, u.iam.GetUser, iam.GetUserInput{UserName: user}) }},
		{"DeleteUser", func(t *testing.T) string {
			return call(t, u.iam.DeleteUser, iam.DeleteUserInput{UserName: user})
		}},
		{"UpdateUser", func(t *testing.T) string {
			return call(t, u.iam.UpdateUser, iam.UpdateUserInput{UserName: user, NewUserName: aws.String(renamed)})
		}},
		{"CreateAccessKey", func(t *testing.T) string {
			return call(t, u.iam.CreateAccessKey, iam.CreateAccessKeyInput{UserName: user})
		}},
		{"PutUserPolicy", func(t *testing.T) string {
			return call(t, u.iam.PutUserPolicy, iam.PutUserPolicyInput{
				UserName: user, PolicyName: aws.String("more"), PolicyDocument: everything,
			})
		}},
		{"AttachUserPolicy", func(t *testing.T) string {
			return call(t, u.iam.AttachUserPolicy, iam.AttachUserPolicyInput{
				UserName: user, PolicyArn: aws.String(managed),
			})
		}},
		{"TagUser", func(t *testing.T) string {
			return call(t, u.iam.TagUser, iam.TagUserInput{UserName: user, Tags: ours})
		}},
	} {
		t.Run(request.name, func(t *testing.T) {
			var answer, want string
			step(t, s.clock, func() { createUser(t, api, ours, "/") }, func() string {
				answer = request.ask(t)
				return answer
			}, func() {
				createUser(t, api, theirs, "/"+mark+"/")
				want = userState(t, api)
			}, func(at string) {
				same(t, "the user made again, "+at, userState(t, api), want)
				if strings.Contains(answer, mark) {
					t.Errorf("the answer shows the second user, %s", at)
				}
			})
		})
	}
}
