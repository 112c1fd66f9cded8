package iam_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/op/iam"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// late runs a request whose target was resolved before.
type late func() error

// resolve resolves the target of a request of the root user. The target must exist.
func resolve[In, T, Out any](
	t testing.TB, w *fixture,
	on func(*iam.Service, context.Context, guard.Request, *In) (guard.Target[T], error),
	run func(*iam.Service, context.Context, identity.Caller, T, *In) (*Out, error),
	in In,
) late {
	t.Helper()
	target, err := on(w.service, t.Context(), guard.Request{By: w.root}, &in)
	if err := errors.Join(err, target.Absent); err != nil {
		t.Fatalf("resolve %T %+v: %v", in, in, err)
	}
	return func() error {
		_, err := run(w.service, t.Context(), w.root, target.Value, &in)
		return err
	}
}

// everything returns all stored data of an entity: itself, its tags, policies, attachments, members and containers.
func (w *fixture) everything(t testing.TB, kind meta.EntityKind, entityName string) any {
	t.Helper()
	e, err := w.meta.Entity(t.Context(), home, kind, entityName)
	if err != nil {
		t.Fatal(err)
	}
	tags, err1 := w.meta.EntityTags(t.Context(), e.ID)
	inline, err2 := w.meta.Inlines(t.Context(), e.ID)
	attached, err3 := w.meta.Attachments(t.Context(), e.ID)
	members, err4 := w.meta.Members(t.Context(), e.ID)
	containers, err5 := w.meta.Containers(t.Context(), e.ID)
	keys, err6 := w.meta.AccessKeysOf(t.Context(), home, e.ID)
	versions, err7 := w.meta.PolicyVersions(t.Context(), e.ID)
	if err := errors.Join(err1, err2, err3, err4, err5, err6, err7); err != nil {
		t.Fatal(err)
	}
	return []any{e, tags, inline, attached, members, containers, keys, versions}
}

// refuseLate runs requests whose target was deleted. Each must fail and must not change the new entity of the same
// name.
func (w *fixture) refuseLate(t *testing.T, kind meta.EntityKind, entityName string, requests map[string]late) {
	t.Helper()
	before := w.everything(t, kind, entityName)
	for operation, act := range requests {
		wantCode(t, operation+" on what was deleted since", act(), fault.NoSuchEntity)
		same(t, "the namesake after "+operation, w.everything(t, kind, entityName), before)
	}
}

const administrator = "arn:aws:iam::aws:policy/AdministratorAccess"

func TestUserMadeAgainIsAnother(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	w.group(t, "g")
	// The new entity has the same policies and tags, so that each request could change something.
	furnish := func() {
		w.user(t, "u")
		do(t, w.TagUser, w.root, iamtypes.TagUserRequest{UserName: "u", Tags: []iamtypes.Tag{{Key: "k", Value: "v"}}})
		do(t, w.PutUserPolicy, w.root, iamtypes.PutUserPolicyRequest{UserName: "u", PolicyName: "p", PolicyDocument: pull})
		do(t, w.AttachUserPolicy, w.root, iamtypes.AttachUserPolicyRequest{UserName: "u", PolicyArn: administrator})
		do(t, w.PutUserPermissionsBoundary, w.root, iamtypes.PutUserPermissionsBoundaryRequest{UserName: "u", PermissionsBoundary: administrator})
	}
	unfurnish := func() {
		do(t, w.DeleteUserPolicy, w.root, iamtypes.DeleteUserPolicyRequest{UserName: "u", PolicyName: "p"})
		do(t, w.DetachUserPolicy, w.root, iamtypes.DetachUserPolicyRequest{UserName: "u", PolicyArn: administrator})
	}
	furnish()
	unfurnish()
	key := do(t, w.CreateAccessKey, w.root, iamtypes.CreateAccessKeyRequest{UserName: "u"}).AccessKey.AccessKeyId
	requests := map[string]late{
		"UpdateUser": resolve(t, w, iam.OnRenamedUser, (*iam.Service).UpdateUser,
			iamtypes.UpdateUserRequest{UserName: "u", NewPath: "/x/"}),
		"DeleteUser": resolve(t, w, iam.OnUser, (*iam.Service).DeleteUser, iamtypes.DeleteUserRequest{UserName: "u"}),
		"TagUser": resolve(t, w, iam.OnUser, (*iam.Service).TagUser,
			iamtypes.TagUserRequest{UserName: "u", Tags: []iamtypes.Tag{{Key: "k", Value: "lost"}}}),
		"UntagUser": resolve(t, w, iam.OnUser, (*iam.Service).UntagUser,
			iamtypes.UntagUserRequest{UserName: "u", TagKeys: []string{"k"}}),
		"CreateAccessKey": resolve(t, w, iam.OnKeyOwner, (*iam.Service).CreateAccessKey, iamtypes.CreateAccessKeyRequest{UserName: "u"}),
		"UpdateAccessKey": resolve(t, w, iam.OnOwnedKey, (*iam.Service).UpdateAccessKey,
			iamtypes.UpdateAccessKeyRequest{UserName: "u", AccessKeyId: key, Status: "Inactive"}),
		"DeleteAccessKey": resolve(t, w, iam.OnOwnedKey, (*iam.Service).DeleteAccessKey,
			iamtypes.DeleteAccessKeyRequest{UserName: "u", AccessKeyId: key}),
		"PutUserPolicy": resolve(t, w, iam.OnChangedUser, (*iam.Service).PutUserPolicy,
			iamtypes.PutUserPolicyRequest{UserName: "u", PolicyName: "more", PolicyDocument: pull}),
		"DeleteUserPolicy": resolve(t, w, iam.OnUser, (*iam.Service).DeleteUserPolicy,
			iamtypes.DeleteUserPolicyRequest{UserName: "u", PolicyName: "p"}),
		"AttachUserPolicy": resolve(t, w, iam.OnUserAttachment, (*iam.Service).AttachUserPolicy,
			iamtypes.AttachUserPolicyRequest{UserName: "u", PolicyArn: "arn:aws:iam::aws:policy/IAMFullAccess"}),
		"DetachUserPolicy": resolve(t, w, iam.OnUser, (*iam.Service).DetachUserPolicy,
			iamtypes.DetachUserPolicyRequest{UserName: "u", PolicyArn: administrator}),
		"PutUserBoundary": resolve(t, w, iam.OnUserBoundary, (*iam.Service).PutUserPermissionsBoundary,
			iamtypes.PutUserPermissionsBoundaryRequest{UserName: "u", PermissionsBoundary: "arn:aws:iam::aws:policy/IAMFullAccess"}),
		"DeleteUserBoundary": resolve(t, w, iam.OnUser, (*iam.Service).DeleteUserPermissionsBoundary,
			iamtypes.DeleteUserPermissionsBoundaryRequest{UserName: "u"}),
		"AddUserToGroup": resolve(t, w, iam.OnMembership, (*iam.Service).AddUserToGroup,
			iamtypes.AddUserToGroupRequest{UserName: "u", GroupName: "g"}),
	}
	do(t, w.DeleteAccessKey, w.root, iamtypes.DeleteAccessKeyRequest{UserName: "u", AccessKeyId: key})
	do(t, w.DeleteUser, w.root, iamtypes.DeleteUserRequest{UserName: "u"})
	furnish()
	w.refuseLate(t, meta.User, "u", requests)
}

func TestGroupMadeAgainIsAnother(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	w.user(t, "u")
	w.group(t, "g")
	add := iamtypes.AddUserToGroupRequest{GroupName: "g", UserName: "u"}
	requests := map[string]late{
		"UpdateGroup": resolve(t, w, iam.OnRenamedGroup, (*iam.Service).UpdateGroup,
			iamtypes.UpdateGroupRequest{GroupName: "g", NewPath: "/x/"}),
		"DeleteGroup":    resolve(t, w, iam.OnGroup, (*iam.Service).DeleteGroup, iamtypes.DeleteGroupRequest{GroupName: "g"}),
		"AddUserToGroup": resolve(t, w, iam.OnMembership, (*iam.Service).AddUserToGroup, add),
		"RemoveUserFromGroup": resolve(t, w, iam.OnMembership, (*iam.Service).RemoveUserFromGroup,
			iamtypes.RemoveUserFromGroupRequest{GroupName: "g", UserName: "u"}),
		"PutGroupPolicy": resolve(t, w, iam.OnChangedGroup, (*iam.Service).PutGroupPolicy,
			iamtypes.PutGroupPolicyRequest{GroupName: "g", PolicyName: "more", PolicyDocument: pull}),
		"DeleteGroupPolicy": resolve(t, w, iam.OnGroup, (*iam.Service).DeleteGroupPolicy,
			iamtypes.DeleteGroupPolicyRequest{GroupName: "g", PolicyName: "p"}),
		"AttachGroupPolicy": resolve(t, w, iam.OnGroupAttachment, (*iam.Service).AttachGroupPolicy,
			iamtypes.AttachGroupPolicyRequest{GroupName: "g", PolicyArn: "arn:aws:iam::aws:policy/IAMFullAccess"}),
		"DetachGroupPolicy": resolve(t, w, iam.OnGroup, (*iam.Service).DetachGroupPolicy,
			iamtypes.DetachGroupPolicyRequest{GroupName: "g", PolicyArn: administrator}),
	}
	do(t, w.DeleteGroup, w.root, iamtypes.DeleteGroupRequest{GroupName: "g"})
	w.group(t, "g")
	do(t, w.AddUserToGroup, w.root, add)
	do(t, w.PutGroupPolicy, w.root, iamtypes.PutGroupPolicyRequest{GroupName: "g", PolicyName: "p", PolicyDocument: pull})
	do(t, w.AttachGroupPolicy, w.root, iamtypes.AttachGroupPolicyRequest{GroupName: "g", PolicyArn: administrator})
	w.refuseLate(t, meta.Group, "g", requests)

	// The user of a membership is resolved, too.
	w.user(t, "again")
	add.UserName = "again"
	request := resolve(t, w, iam.OnMembership, (*iam.Service).AddUserToGroup, add)
	do(t, w.DeleteUser, w.root, iamtypes.DeleteUserRequest{UserName: "again"})
	w.user(t, "again")
	w.refuseLate(t, meta.User, "again", map[string]late{"AddUserToGroup": request})
}

func TestRoleMadeAgainIsAnother(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	w.role(t, "r")
	trust := iamtypes.UpdateAssumeRolePolicyRequest{RoleName: "r", PolicyDocument: strings.Replace(trustEC2, "Allow", "Deny", 1)}
	limit := iamtypes.PutRolePermissionsBoundaryRequest{RoleName: "r", PermissionsBoundary: "arn:aws:iam::aws:policy/IAMFullAccess"}
	requests := map[string]late{
		"UpdateRole": resolve(t, w, iam.OnRole, (*iam.Service).UpdateRole,
			iamtypes.UpdateRoleRequest{RoleName: "r", Description: "lost"}),
		"UpdateRoleDescription": resolve(t, w, iam.OnRole, (*iam.Service).UpdateRoleDescription,
			iamtypes.UpdateRoleDescriptionRequest{RoleName: "r", Description: "lost"}),
		"UpdateAssumeRolePolicy": resolve(t, w, iam.OnChangedRole, (*iam.Service).UpdateAssumeRolePolicy, trust),
		"DeleteRole":             resolve(t, w, iam.OnRole, (*iam.Service).DeleteRole, iamtypes.DeleteRoleRequest{RoleName: "r"}),
		"TagRole": resolve(t, w, iam.OnRole, (*iam.Service).TagRole,
			iamtypes.TagRoleRequest{RoleName: "r", Tags: []iamtypes.Tag{{Key: "k", Value: "lost"}}}),
		"UntagRole": resolve(t, w, iam.OnRole, (*iam.Service).UntagRole,
			iamtypes.UntagRoleRequest{RoleName: "r", TagKeys: []string{"k"}}),
		"PutRolePolicy": resolve(t, w, iam.OnChangedRole, (*iam.Service).PutRolePolicy,
			iamtypes.PutRolePolicyRequest{RoleName: "r", PolicyName: "more", PolicyDocument: pull}),
		"DeleteRolePolicy": resolve(t, w, iam.OnRole, (*iam.Service).DeleteRolePolicy,
			iamtypes.DeleteRolePolicyRequest{RoleName: "r", PolicyName: "p"}),
		"AttachRolePolicy": resolve(t, w, iam.OnRoleAttachment, (*iam.Service).AttachRolePolicy,
			iamtypes.AttachRolePolicyRequest{RoleName: "r", PolicyArn: limit.PermissionsBoundary}),
		"DetachRolePolicy": resolve(t, w, iam.OnRole, (*iam.Service).DetachRolePolicy,
			iamtypes.DetachRolePolicyRequest{RoleName: "r", PolicyArn: administrator}),
		"PutRoleBoundary": resolve(t, w, iam.OnRoleBoundary, (*iam.Service).PutRolePermissionsBoundary, limit),
		"DeleteRoleBoundary": resolve(t, w, iam.OnRole, (*iam.Service).DeleteRolePermissionsBoundary,
			iamtypes.DeleteRolePermissionsBoundaryRequest{RoleName: "r"}),
	}
	do(t, w.DeleteRole, w.root, iamtypes.DeleteRoleRequest{RoleName: "r"})
	w.role(t, "r")
	do(t, w.TagRole, w.root, iamtypes.TagRoleRequest{RoleName: "r", Tags: []iamtypes.Tag{{Key: "k", Value: "v"}}})
	do(t, w.PutRolePolicy, w.root, iamtypes.PutRolePolicyRequest{RoleName: "r", PolicyName: "p", PolicyDocument: pull})
	do(t, w.AttachRolePolicy, w.root, iamtypes.AttachRolePolicyRequest{RoleName: "r", PolicyArn: administrator})
	w.refuseLate(t, meta.Role, "r", requests)

	// A service-linked role is removed by an operation of its own.
	linked := do(t, w.CreateServiceLinkedRole, w.root,
		iamtypes.CreateServiceLinkedRoleRequest{AWSServiceName: "ecr.amazonaws.com"}).Role.RoleName
	remove := iamtypes.DeleteServiceLinkedRoleRequest{RoleName: linked}
	request := resolve(t, w, iam.OnRole, (*iam.Service).DeleteServiceLinkedRole, remove)
	do(t, w.DeleteServiceLinkedRole, w.root, remove)
	do(t, w.CreateServiceLinkedRole, w.root, iamtypes.CreateServiceLinkedRoleRequest{AWSServiceName: "ecr.amazonaws.com"})
	w.refuseLate(t, meta.Role, linked, map[string]late{"DeleteServiceLinkedRole": request})
}

// If the name or path of an entity changes after the decision, the request is decided again, because its ARN has
// changed.
func TestEntityRenamedMeanwhile(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	w.user(t, "u")
	w.group(t, "g")
	requests := map[string]late{
		"UpdateUser": resolve(t, w, iam.OnRenamedUser, (*iam.Service).UpdateUser,
			iamtypes.UpdateUserRequest{UserName: "u", NewUserName: "lost"}),
		"DeleteUser": resolve(t, w, iam.OnUser, (*iam.Service).DeleteUser, iamtypes.DeleteUserRequest{UserName: "u"}),
		"PutUserBoundary": resolve(t, w, iam.OnUserBoundary, (*iam.Service).PutUserPermissionsBoundary,
			iamtypes.PutUserPermissionsBoundaryRequest{UserName: "u", PermissionsBoundary: administrator}),
		"UpdateGroup": resolve(t, w, iam.OnRenamedGroup, (*iam.Service).UpdateGroup,
			iamtypes.UpdateGroupRequest{GroupName: "g", NewGroupName: "lost"}),
		"DeleteGroup": resolve(t, w, iam.OnGroup, (*iam.Service).DeleteGroup, iamtypes.DeleteGroupRequest{GroupName: "g"}),
	}
	do(t, w.UpdateUser, w.root, iamtypes.UpdateUserRequest{UserName: "u", NewPath: "/prod/"})
	do(t, w.UpdateGroup, w.root, iamtypes.UpdateGroupRequest{GroupName: "g", NewPath: "/prod/"})
	for operation, act := range requests {
		wantCode(t, operation+" of what has another path now", act(), fault.TargetChanged)
	}
}

func TestPolicyMadeAgainIsAnother(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	arn := w.policy(t, "", "p")
	more := func() {
		do(t, w.CreatePolicyVersion, w.root, iamtypes.CreatePolicyVersionRequest{PolicyArn: arn, PolicyDocument: pull})
	}
	more()
	requests := map[string]late{
		"DeletePolicy": resolve(t, w, iam.OnPolicy, (*iam.Service).DeletePolicy, iamtypes.DeletePolicyRequest{PolicyArn: arn}),
		"CreatePolicyVersion": resolve(t, w, iam.OnPolicy, (*iam.Service).CreatePolicyVersion,
			iamtypes.CreatePolicyVersionRequest{PolicyArn: arn, PolicyDocument: pull}),
		"DeletePolicyVersion": resolve(t, w, iam.OnPolicy, (*iam.Service).DeletePolicyVersion,
			iamtypes.DeletePolicyVersionRequest{PolicyArn: arn, VersionId: "v2"}),
		"SetDefaultPolicyVersion": resolve(t, w, iam.OnPolicy, (*iam.Service).SetDefaultPolicyVersion,
			iamtypes.SetDefaultPolicyVersionRequest{PolicyArn: arn, VersionId: "v2"}),
		"TagPolicy": resolve(t, w, iam.OnPolicy, (*iam.Service).TagPolicy,
			iamtypes.TagPolicyRequest{PolicyArn: arn, Tags: []iamtypes.Tag{{Key: "k", Value: "lost"}}}),
		"UntagPolicy": resolve(t, w, iam.OnPolicy, (*iam.Service).UntagPolicy,
			iamtypes.UntagPolicyRequest{PolicyArn: arn, TagKeys: []string{"k"}}),
	}
	do(t, w.DeletePolicyVersion, w.root, iamtypes.DeletePolicyVersionRequest{PolicyArn: arn, VersionId: "v2"})
	do(t, w.DeletePolicy, w.root, iamtypes.DeletePolicyRequest{PolicyArn: arn})
	w.policy(t, "", "p")
	more()
	do(t, w.TagPolicy, w.root, iamtypes.TagPolicyRequest{PolicyArn: arn, Tags: []iamtypes.Tag{{Key: "k", Value: "v"}}})
	w.refuseLate(t, meta.ManagedPolicy, "p", requests)
}

func TestInstanceProfileMadeAgainIsAnother(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	w.role(t, "r")
	makeProfile := func() {
		do(t, w.CreateInstanceProfile, w.root, iamtypes.CreateInstanceProfileRequest{InstanceProfileName: "p"})
	}
	makeProfile()
	add := iamtypes.AddRoleToInstanceProfileRequest{InstanceProfileName: "p", RoleName: "r"}
	requests := map[string]late{
		"DeleteInstanceProfile": resolve(t, w, iam.OnProfile, (*iam.Service).DeleteInstanceProfile,
			iamtypes.DeleteInstanceProfileRequest{InstanceProfileName: "p"}),
		"AddRoleToInstanceProfile": resolve(t, w, iam.OnProfileRole, (*iam.Service).AddRoleToInstanceProfile, add),
		"RemoveRoleFromInstanceProfile": resolve(t, w, iam.OnProfileRole, (*iam.Service).RemoveRoleFromInstanceProfile,
			iamtypes.RemoveRoleFromInstanceProfileRequest{InstanceProfileName: "p", RoleName: "r"}),
	}
	do(t, w.DeleteInstanceProfile, w.root, iamtypes.DeleteInstanceProfileRequest{InstanceProfileName: "p"})
	makeProfile()
	w.refuseLate(t, meta.InstanceProfile, "p", requests)

	// The role is resolved, too.
	request := resolve(t, w, iam.OnProfileRole, (*iam.Service).AddRoleToInstanceProfile, add)
	do(t, w.DeleteRole, w.root, iamtypes.DeleteRoleRequest{RoleName: "r"})
	w.role(t, "r")
	w.refuseLate(t, meta.Role, "r", map[string]late{"AddRoleToInstanceProfile": request})

	request = resolve(t, w, iam.OnProfileRole, (*iam.Service).RemoveRoleFromInstanceProfile,
		iamtypes.RemoveRoleFromInstanceProfileRequest{InstanceProfileName: "p", RoleName: "r"})
	do(t, w.DeleteRole, w.root, iamtypes.DeleteRoleRequest{RoleName: "r"})
	w.role(t, "r")
	do(t, w.AddRoleToInstanceProfile, w.root, add)
	w.refuseLate(t, meta.Role, "r", map[string]late{"RemoveRoleFromInstanceProfile": request})
}

func TestProviderMadeAgainIsAnother(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	const host = "idp.example"
	makeProvider := func() string {
		return do(t, w.CreateOpenIDConnectProvider, w.root, iamtypes.CreateOpenIDConnectProviderRequest{
			Url: "https://" + host, ClientIDList: []string{"a", "b"}, Tags: []iamtypes.Tag{{Key: "k", Value: "v"}},
		}).OpenIDConnectProviderArn
	}
	arn := makeProvider()
	requests := map[string]late{
		"AddClientID": resolve(t, w, iam.OnProvider, (*iam.Service).AddClientIDToOpenIDConnectProvider,
			iamtypes.AddClientIDToOpenIDConnectProviderRequest{OpenIDConnectProviderArn: arn, ClientID: "lost"}),
		"RemoveClientID": resolve(t, w, iam.OnProvider, (*iam.Service).RemoveClientIDFromOpenIDConnectProvider,
			iamtypes.RemoveClientIDFromOpenIDConnectProviderRequest{OpenIDConnectProviderArn: arn, ClientID: "a"}),
		"UpdateThumbprint": resolve(t, w, iam.OnProvider, (*iam.Service).UpdateOpenIDConnectProviderThumbprint,
			iamtypes.UpdateOpenIDConnectProviderThumbprintRequest{OpenIDConnectProviderArn: arn, ThumbprintList: []string{strings.Repeat("0", 40)}}),
		"Tag": resolve(t, w, iam.OnProvider, (*iam.Service).TagOpenIDConnectProvider,
			iamtypes.TagOpenIDConnectProviderRequest{OpenIDConnectProviderArn: arn, Tags: []iamtypes.Tag{{Key: "k", Value: "lost"}}}),
		"Untag": resolve(t, w, iam.OnProvider, (*iam.Service).UntagOpenIDConnectProvider,
			iamtypes.UntagOpenIDConnectProviderRequest{OpenIDConnectProviderArn: arn, TagKeys: []string{"k"}}),
	}
	remove := resolve(t, w, iam.OnProviderOrNone, (*iam.Service).DeleteOpenIDConnectProvider,
		iamtypes.DeleteOpenIDConnectProviderRequest{OpenIDConnectProviderArn: arn})
	do(t, w.DeleteOpenIDConnectProvider, w.root, iamtypes.DeleteOpenIDConnectProviderRequest{OpenIDConnectProviderArn: arn})
	makeProvider()
	w.refuseLate(t, meta.OIDCProvider, host, requests)

	before := w.everything(t, meta.OIDCProvider, host)
	if err := remove(); err != nil {
		t.Errorf("the deletion of a provider that is gone: %v, want success", err)
	}
	same(t, "the namesake after the deletion", w.everything(t, meta.OIDCProvider, host), before)
}

// A simulation uses the policies of the resolved principal, and not those of a later principal of the same name.
func TestSimulatedPrincipalMadeAgainIsAnother(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	const arn = "arn:aws:iam::111122223333:user/u"
	w.user(t, "u")
	in := iamtypes.SimulatePrincipalPolicyRequest{PolicySourceArn: arn, ActionNames: []string{"ecr:PutImage"}}
	target, err := iam.OnPolicySource(w.service, t.Context(), guard.Request{By: w.root}, &in)
	if err := errors.Join(err, target.Absent); err != nil {
		t.Fatal(err)
	}
	do(t, w.DeleteUser, w.root, iamtypes.DeleteUserRequest{UserName: "u"})
	w.user(t, "u")
	do(t, w.AttachUserPolicy, w.root, iamtypes.AttachUserPolicyRequest{UserName: "u", PolicyArn: administrator})
	out, err := w.service.SimulatePrincipalPolicy(t.Context(), w.root, target.Value, &in)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "the decision by the deleted user", out.EvaluationResults[0].EvalDecision, iamtypes.PolicyEvaluationDecisionTypeImplicitDeny)
	out = do(t, w.SimulatePrincipalPolicy, w.root, in)
	same(t, "the decision by the namesake", out.EvaluationResults[0].EvalDecision, iamtypes.PolicyEvaluationDecisionTypeAllowed)
}
