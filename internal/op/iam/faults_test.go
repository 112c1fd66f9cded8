package iam_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/op/iam"
	"github.com/ecrin-dev/ecrin/internal/op/iam/iamtest"
	"github.com/ecrin-dev/ecrin/internal/store/meta/faultmeta"
	"github.com/ecrin-dev/ecrin/internal/test/faulttest"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// world is an account with one entity of each kind. Each call of a sweep has its own, so that lists do not grow from call to call.
type world struct {
	*fixture
	t                                                 *testing.T
	user, group, role, policy, profile, provider, key string
	person                                            identity.Caller // the user
}

func (w *fixture) world(t *testing.T, i int) *world {
	t.Helper()
	account, err := name.ParseAccount(fmt.Sprintf("3%011d", i))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.id.CreateAccount(t.Context(), account, ""); err != nil {
		t.Fatal(err)
	}
	apart := *w
	w = &apart
	w.root = w.rootOf(t, account)
	v := &world{fixture: w, t: t, user: fmt.Sprint("user", i), group: fmt.Sprint("group", i), role: fmt.Sprint("role", i),
		profile: fmt.Sprint("profile", i)}
	w.user(t, v.user)
	w.group(t, v.group)
	w.role(t, v.role)
	v.policy = do(t, w.CreatePolicy, w.root, iamtypes.CreatePolicyRequest{PolicyName: fmt.Sprint("policy", i), PolicyDocument: allowECR,
		Tags: []iamtypes.Tag{{Key: "a", Value: "1"}}}).Policy.Arn
	do(t, w.CreateInstanceProfile, w.root, iamtypes.CreateInstanceProfileRequest{InstanceProfileName: v.profile})
	v.provider = do(t, w.CreateOpenIDConnectProvider, w.root, iamtypes.CreateOpenIDConnectProviderRequest{
		Url: fmt.Sprintf("https://issuer%d.test", i), ClientIDList: []string{"a"}}).OpenIDConnectProviderArn
	v.key = do(t, w.CreateAccessKey, w.root, iamtypes.CreateAccessKeyRequest{UserName: v.user}).AccessKey.AccessKeyId
	if v.person, err = w.id.KeyCaller(t.Context(), v.key); err != nil {
		t.Fatal(err)
	}
	return v
}

const allowECR = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecr:*","Resource":"*"}]}`

// rights gives the user, the group and the role policies of each kind, a boundary and tags. The role trusts the user.
func (v *world) rights() *world {
	v.t.Helper()
	do(v.t, v.AddUserToGroup, v.root, iamtypes.AddUserToGroupRequest{UserName: v.user, GroupName: v.group})
	do(v.t, v.AddRoleToInstanceProfile, v.root, iamtypes.AddRoleToInstanceProfileRequest{RoleName: v.role, InstanceProfileName: v.profile})
	do(v.t, v.PutUserPolicy, v.root, iamtypes.PutUserPolicyRequest{UserName: v.user, PolicyName: "own", PolicyDocument: allowECR})
	do(v.t, v.PutGroupPolicy, v.root, iamtypes.PutGroupPolicyRequest{GroupName: v.group, PolicyName: "own", PolicyDocument: allowECR})
	do(v.t, v.PutRolePolicy, v.root, iamtypes.PutRolePolicyRequest{RoleName: v.role, PolicyName: "own", PolicyDocument: allowECR})
	do(v.t, v.AttachUserPolicy, v.root, iamtypes.AttachUserPolicyRequest{UserName: v.user, PolicyArn: v.policy})
	do(v.t, v.AttachGroupPolicy, v.root, iamtypes.AttachGroupPolicyRequest{GroupName: v.group, PolicyArn: v.policy})
	do(v.t, v.AttachRolePolicy, v.root, iamtypes.AttachRolePolicyRequest{RoleName: v.role, PolicyArn: v.policy})
	do(v.t, v.PutUserPermissionsBoundary, v.root, iamtypes.PutUserPermissionsBoundaryRequest{UserName: v.user, PermissionsBoundary: v.policy})
	do(v.t, v.PutRolePermissionsBoundary, v.root, iamtypes.PutRolePermissionsBoundaryRequest{RoleName: v.role, PermissionsBoundary: v.policy})
	tags := []iamtypes.Tag{{Key: "team", Value: "blue"}}
	do(v.t, v.UpdateAssumeRolePolicy, v.root, iamtypes.UpdateAssumeRolePolicyRequest{RoleName: v.role, PolicyDocument: v.trustsPerson()})
	do(v.t, v.TagUser, v.root, iamtypes.TagUserRequest{UserName: v.user, Tags: tags})
	do(v.t, v.TagRole, v.root, iamtypes.TagRoleRequest{RoleName: v.role, Tags: tags})
	do(v.t, v.TagOpenIDConnectProvider, v.root, iamtypes.TagOpenIDConnectProviderRequest{OpenIDConnectProviderArn: v.provider, Tags: tags})
	return v
}

// trustsPerson returns a trust policy that names the user. The answers about a role with it read the user.
func (v *world) trustsPerson() string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + v.person.ARN + `"},"Action":"sts:AssumeRole"}]}`
}

// call is an operation with its input.
func call[In, Out any](c identity.Caller, op iamtest.Operation[In, Out], in In) func() error {
	return func() error { _, err := op(context.Background(), c, &in); return err }
}

// all runs all calls.
func all(calls ...func() error) func() error {
	return func() error {
		var errs []error
		for _, one := range calls {
			errs = append(errs, one())
		}
		return errors.Join(errs...)
	}
}

// A change of IAM is whole or not made, and its answer says which, whatever statement fails.
func TestChangesFailWithTheStore(t *testing.T) {
	t.Parallel()
	tags := []iamtypes.Tag{{Key: "stage", Value: "test"}}
	for what, prepare := range map[string]func(v *world, i int) func() error{
		"CreateUser": func(v *world, i int) func() error {
			return call(v.root, v.CreateUser, iamtypes.CreateUserRequest{UserName: fmt.Sprint("new", i), Tags: tags, PermissionsBoundary: v.policy})
		},
		"UpdateUser": func(v *world, i int) func() error {
			return call(v.root, v.UpdateUser, iamtypes.UpdateUserRequest{UserName: v.user, NewUserName: fmt.Sprint("new", i), NewPath: "/new/"})
		},
		"DeleteUser": func(v *world, _ int) func() error {
			do(v.t, v.DeleteAccessKey, v.root, iamtypes.DeleteAccessKeyRequest{UserName: v.user, AccessKeyId: v.key})
			return call(v.root, v.DeleteUser, iamtypes.DeleteUserRequest{UserName: v.user})
		},
		"TagUser": func(v *world, _ int) func() error {
			return call(v.root, v.TagUser, iamtypes.TagUserRequest{UserName: v.user, Tags: tags})
		},
		"UntagUser": func(v *world, _ int) func() error {
			v.rights()
			return call(v.root, v.UntagUser, iamtypes.UntagUserRequest{UserName: v.user, TagKeys: []string{"team"}})
		},
		"CreateAccessKey": func(v *world, _ int) func() error {
			return call(v.root, v.CreateAccessKey, iamtypes.CreateAccessKeyRequest{UserName: v.user})
		},
		"UpdateAccessKey": func(v *world, _ int) func() error {
			return call(v.root, v.UpdateAccessKey, iamtypes.UpdateAccessKeyRequest{UserName: v.user, AccessKeyId: v.key, Status: "Inactive"})
		},
		"DeleteAccessKey": func(v *world, _ int) func() error {
			return call(v.root, v.DeleteAccessKey, iamtypes.DeleteAccessKeyRequest{UserName: v.user, AccessKeyId: v.key})
		},
		"PutUserPolicy": func(v *world, _ int) func() error {
			return call(v.root, v.PutUserPolicy, iamtypes.PutUserPolicyRequest{UserName: v.user, PolicyName: "new", PolicyDocument: allowECR})
		},
		"DeleteUserPolicy": func(v *world, _ int) func() error {
			v.rights()
			return call(v.root, v.DeleteUserPolicy, iamtypes.DeleteUserPolicyRequest{UserName: v.user, PolicyName: "own"})
		},
		"AttachUserPolicy": func(v *world, _ int) func() error {
			return call(v.root, v.AttachUserPolicy, iamtypes.AttachUserPolicyRequest{UserName: v.user, PolicyArn: v.policy})
		},
		"DetachUserPolicy": func(v *world, _ int) func() error {
			v.rights()
			return call(v.root, v.DetachUserPolicy, iamtypes.DetachUserPolicyRequest{UserName: v.user, PolicyArn: v.policy})
		},
		"PutUserPermissionsBoundary": func(v *world, _ int) func() error {
			return call(v.root, v.PutUserPermissionsBoundary, iamtypes.PutUserPermissionsBoundaryRequest{UserName: v.user,
				PermissionsBoundary: v.policy})
		},
		"DeleteUserPermissionsBoundary": func(v *world, _ int) func() error {
			v.rights()
			return call(v.root, v.DeleteUserPermissionsBoundary, iamtypes.DeleteUserPermissionsBoundaryRequest{UserName: v.user})
		},
		"CreateGroup": func(v *world, i int) func() error {
			return call(v.root, v.CreateGroup, iamtypes.CreateGroupRequest{GroupName: fmt.Sprint("new", i)})
		},
		"UpdateGroup": func(v *world, i int) func() error {
			return call(v.root, v.UpdateGroup, iamtypes.UpdateGroupRequest{GroupName: v.group, NewGroupName: fmt.Sprint("new", i)})
		},
		"DeleteGroup": func(v *world, _ int) func() error {
			return call(v.root, v.DeleteGroup, iamtypes.DeleteGroupRequest{GroupName: v.group})
		},
		"AddUserToGroup": func(v *world, _ int) func() error {
			return call(v.root, v.AddUserToGroup, iamtypes.AddUserToGroupRequest{UserName: v.user, GroupName: v.group})
		},
		"RemoveUserFromGroup": func(v *world, _ int) func() error {
			v.rights()
			return call(v.root, v.RemoveUserFromGroup, iamtypes.RemoveUserFromGroupRequest{UserName: v.user, GroupName: v.group})
		},
		"CreateRole": func(v *world, i int) func() error {
			return call(v.root, v.CreateRole, iamtypes.CreateRoleRequest{RoleName: fmt.Sprint("new", i), AssumeRolePolicyDocument: trustEC2,
				Tags: tags, PermissionsBoundary: v.policy})
		},
		"UpdateRole": func(v *world, _ int) func() error {
			return call(v.root, v.UpdateRole, iamtypes.UpdateRoleRequest{RoleName: v.role, Description: "new", MaxSessionDuration: new(int32(7200))})
		},
		"UpdateAssumeRolePolicy": func(v *world, _ int) func() error {
			return call(v.root, v.UpdateAssumeRolePolicy, iamtypes.UpdateAssumeRolePolicyRequest{RoleName: v.role, PolicyDocument: v.trustsPerson()})
		},
		"DeleteRole": func(v *world, _ int) func() error {
			return call(v.root, v.DeleteRole, iamtypes.DeleteRoleRequest{RoleName: v.role})
		},
		"CreatePolicy": func(v *world, i int) func() error {
			return call(v.root, v.CreatePolicy, iamtypes.CreatePolicyRequest{PolicyName: fmt.Sprint("new", i), PolicyDocument: allowECR})
		},
		"CreatePolicyVersion": func(v *world, _ int) func() error {
			return call(v.root, v.CreatePolicyVersion, iamtypes.CreatePolicyVersionRequest{PolicyArn: v.policy, PolicyDocument: allowECR,
				SetAsDefault: new(true)})
		},
		"SetDefaultPolicyVersion": func(v *world, _ int) func() error {
			do(v.t, v.CreatePolicyVersion, v.root, iamtypes.CreatePolicyVersionRequest{PolicyArn: v.policy, PolicyDocument: allowECR})
			return call(v.root, v.SetDefaultPolicyVersion, iamtypes.SetDefaultPolicyVersionRequest{PolicyArn: v.policy, VersionId: "v2"})
		},
		"DeletePolicyVersion": func(v *world, _ int) func() error {
			do(v.t, v.CreatePolicyVersion, v.root, iamtypes.CreatePolicyVersionRequest{PolicyArn: v.policy, PolicyDocument: allowECR})
			return call(v.root, v.DeletePolicyVersion, iamtypes.DeletePolicyVersionRequest{PolicyArn: v.policy, VersionId: "v2"})
		},
		"DeletePolicy": func(v *world, _ int) func() error {
			return call(v.root, v.DeletePolicy, iamtypes.DeletePolicyRequest{PolicyArn: v.policy})
		},
		"AddRoleToInstanceProfile": func(v *world, _ int) func() error {
			return call(v.root, v.AddRoleToInstanceProfile, iamtypes.AddRoleToInstanceProfileRequest{RoleName: v.role,
				InstanceProfileName: v.profile})
		},
		"AddClientIDToOpenIDConnectProvider": func(v *world, _ int) func() error {
			return call(v.root, v.AddClientIDToOpenIDConnectProvider, iamtypes.AddClientIDToOpenIDConnectProviderRequest{
				OpenIDConnectProviderArn: v.provider, ClientID: "b"})
		},
		"DeleteOpenIDConnectProvider": func(v *world, _ int) func() error {
			return call(v.root, v.DeleteOpenIDConnectProvider, iamtypes.DeleteOpenIDConnectProviderRequest{OpenIDConnectProviderArn: v.provider})
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := newFixture(t)
			faulttest.Sweep(t, faultmeta.In(w.dir), func(i int) faulttest.Call {
				run := prepare(w.world(t, i), i)
				return faulttest.Call{Do: run, State: faulttest.Changes(t, w.dir)}
			})
		})
	}
}

// What IAM answers is read whole, or the call fails, whatever statement fails.
func TestReadsFailWithTheStore(t *testing.T) {
	t.Parallel()
	for what, prepare := range map[string]func(v *world) func() error{
		"users": func(v *world) func() error {
			return all(call(v.root, v.GetUser, iamtypes.GetUserRequest{UserName: v.user}), call(v.person, v.GetUser, iamtypes.GetUserRequest{}),
				call(v.root, v.ListUsers, iamtypes.ListUsersRequest{}), call(v.root, v.ListUserTags, iamtypes.ListUserTagsRequest{UserName: v.user}),
				call(v.root, v.ListUserPolicies, iamtypes.ListUserPoliciesRequest{UserName: v.user}),
				call(v.root, v.GetUserPolicy, iamtypes.GetUserPolicyRequest{UserName: v.user, PolicyName: "own"}),
				call(v.root, v.ListAttachedUserPolicies, iamtypes.ListAttachedUserPoliciesRequest{UserName: v.user}),
				call(v.root, v.ListGroupsForUser, iamtypes.ListGroupsForUserRequest{UserName: v.user}))
		},
		"keys": func(v *world) func() error {
			return all(call(v.root, v.ListAccessKeys, iamtypes.ListAccessKeysRequest{UserName: v.user}),
				call(v.person, v.ListAccessKeys, iamtypes.ListAccessKeysRequest{}),
				call(v.root, v.GetAccessKeyLastUsed, iamtypes.GetAccessKeyLastUsedRequest{AccessKeyId: v.key}))
		},
		"groups": func(v *world) func() error {
			return all(call(v.root, v.GetGroup, iamtypes.GetGroupRequest{GroupName: v.group}),
				call(v.root, v.ListGroups, iamtypes.ListGroupsRequest{}),
				call(v.root, v.ListGroupPolicies, iamtypes.ListGroupPoliciesRequest{GroupName: v.group}),
				call(v.root, v.GetGroupPolicy, iamtypes.GetGroupPolicyRequest{GroupName: v.group, PolicyName: "own"}),
				call(v.root, v.ListAttachedGroupPolicies, iamtypes.ListAttachedGroupPoliciesRequest{GroupName: v.group}))
		},
		"roles": func(v *world) func() error {
			return all(call(v.root, v.GetRole, iamtypes.GetRoleRequest{RoleName: v.role}), call(v.root, v.ListRoles, iamtypes.ListRolesRequest{}),
				call(v.root, v.ListRoleTags, iamtypes.ListRoleTagsRequest{RoleName: v.role}),
				call(v.root, v.ListRolePolicies, iamtypes.ListRolePoliciesRequest{RoleName: v.role}),
				call(v.root, v.GetRolePolicy, iamtypes.GetRolePolicyRequest{RoleName: v.role, PolicyName: "own"}),
				call(v.root, v.ListAttachedRolePolicies, iamtypes.ListAttachedRolePoliciesRequest{RoleName: v.role}),
				call(v.root, v.ListInstanceProfilesForRole, iamtypes.ListInstanceProfilesForRoleRequest{RoleName: v.role}))
		},
		"policies": func(v *world) func() error {
			return all(call(v.root, v.GetPolicy, iamtypes.GetPolicyRequest{PolicyArn: v.policy}),
				call(v.root, v.ListPolicies, iamtypes.ListPoliciesRequest{Scope: "Local", OnlyAttached: new(true)}),
				call(v.root, v.ListPolicyVersions, iamtypes.ListPolicyVersionsRequest{PolicyArn: v.policy}),
				call(v.root, v.GetPolicyVersion, iamtypes.GetPolicyVersionRequest{PolicyArn: v.policy, VersionId: "v1"}),
				call(v.root, v.ListPolicyTags, iamtypes.ListPolicyTagsRequest{PolicyArn: v.policy}),
				call(v.root, v.ListEntitiesForPolicy, iamtypes.ListEntitiesForPolicyRequest{PolicyArn: v.policy}))
		},
		"profiles and providers": func(v *world) func() error {
			return all(call(v.root, v.GetInstanceProfile, iamtypes.GetInstanceProfileRequest{InstanceProfileName: v.profile}),
				call(v.root, v.ListInstanceProfiles, iamtypes.ListInstanceProfilesRequest{}),
				call(v.root, v.GetOpenIDConnectProvider, iamtypes.GetOpenIDConnectProviderRequest{OpenIDConnectProviderArn: v.provider}),
				call(v.root, v.ListOpenIDConnectProviders, iamtypes.ListOpenIDConnectProvidersRequest{}),
				call(v.root, v.ListOpenIDConnectProviderTags, iamtypes.ListOpenIDConnectProviderTagsRequest{OpenIDConnectProviderArn: v.provider}))
		},
		"the account": func(v *world) func() error {
			return all(call(v.root, v.ListAccountAliases, iamtypes.ListAccountAliasesRequest{}), call(v.root, v.GetAccountSummary, iam.None{}))
		},
		"the details of the account": func(v *world) func() error {
			return call(v.root, v.GetAccountAuthorizationDetails, iamtypes.GetAccountAuthorizationDetailsRequest{})
		},
		"simulations": func(v *world) func() error {
			return all(call(v.root, v.SimulatePrincipalPolicy, iamtypes.SimulatePrincipalPolicyRequest{PolicySourceArn: v.person.ARN,
				ActionNames: []string{"ecr:PutImage"}}),
				call(v.root, v.GetContextKeysForPrincipalPolicy, iamtypes.GetContextKeysForPrincipalPolicyRequest{PolicySourceArn: v.person.ARN}))
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := newFixture(t)
			faulttest.Sweep(t, faultmeta.In(w.dir), func(i int) faulttest.Call {
				return faulttest.Call{Do: prepare(w.world(t, i).rights())}
			})
		})
	}
}
