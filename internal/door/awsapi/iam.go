package awsapi

import (
	"context"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/op/iam"
	"github.com/ecrin-dev/ecrin/internal/rule/endpoint"
)

// iamService is the IAM API. The action of every operation has its name. Source: service authorization reference of
// IAM.
var iamService = newService(iamtypes.Service, endpoint.IAM, iamtypes.Operations, iamtypes.Errors,
	iamOp("CreateUser", iam.OnNewUser, (*iam.Service).CreateUser),
	iamOp("GetUser", iam.OnUserOrCaller, (*iam.Service).GetUser),
	iamOp("ListUsers", iam.OnUsers, (*iam.Service).ListUsers),
	iamOp("UpdateUser", iam.OnRenamedUser, (*iam.Service).UpdateUser),
	iamOp("DeleteUser", iam.OnUser, (*iam.Service).DeleteUser),
	iamOp("TagUser", iam.OnUser, (*iam.Service).TagUser),
	iamOp("UntagUser", iam.OnUser, (*iam.Service).UntagUser),
	iamOp("ListUserTags", iam.OnUser, (*iam.Service).ListUserTags),
	iamOp("CreateAccessKey", iam.OnKeyOwner, (*iam.Service).CreateAccessKey),
	iamOp("ListAccessKeys", iam.OnKeyOwner, (*iam.Service).ListAccessKeys),
	iamOp("UpdateAccessKey", iam.OnOwnedKey, (*iam.Service).UpdateAccessKey),
	iamOp("DeleteAccessKey", iam.OnOwnedKey, (*iam.Service).DeleteAccessKey),
	iamOp("GetAccessKeyLastUsed", iam.OnKey, (*iam.Service).GetAccessKeyLastUsed),
	iamOp("ListMFADevices", iam.OnKeyOwner, (*iam.Service).ListMFADevices),
	iamOp("ListVirtualMFADevices", iam.OnAccount, (*iam.Service).ListVirtualMFADevices),
	iamOp("ListSSHPublicKeys", iam.OnKeyOwner, (*iam.Service).ListSSHPublicKeys),
	iamOp("ListSigningCertificates", iam.OnKeyOwner, (*iam.Service).ListSigningCertificates),
	iamOp("ListServiceSpecificCredentials", iam.OnServiceCredentials, (*iam.Service).ListServiceSpecificCredentials),
	iamOp("CreateLoginProfile", iam.OnLoginProfile, (*iam.Service).CreateLoginProfile),
	iamOp("GetLoginProfile", iam.OnLoginProfile, (*iam.Service).GetLoginProfile),
	iamOp("UpdateLoginProfile", iam.OnUser, (*iam.Service).UpdateLoginProfile),
	iamOp("DeleteLoginProfile", iam.OnLoginProfile, (*iam.Service).DeleteLoginProfile),
	iamOp("ChangePassword", iam.OnOwnPassword, (*iam.Service).ChangePassword),
	matching(iamOp("PutUserPolicy", iam.OnChangedUser, (*iam.Service).PutUserPolicy)),
	iamOp("GetUserPolicy", iam.OnUser, (*iam.Service).GetUserPolicy),
	iamOp("DeleteUserPolicy", iam.OnUser, (*iam.Service).DeleteUserPolicy),
	iamOp("ListUserPolicies", iam.OnUser, (*iam.Service).ListUserPolicies),
	iamOp("AttachUserPolicy", iam.OnUserAttachment, (*iam.Service).AttachUserPolicy),
	iamOp("DetachUserPolicy", iam.OnUser, (*iam.Service).DetachUserPolicy),
	iamOp("ListAttachedUserPolicies", iam.OnUser, (*iam.Service).ListAttachedUserPolicies),
	iamOp("PutUserPermissionsBoundary", iam.OnUserBoundary, (*iam.Service).PutUserPermissionsBoundary),
	iamOp("DeleteUserPermissionsBoundary", iam.OnUser, (*iam.Service).DeleteUserPermissionsBoundary),
	iamOp("ListGroupsForUser", iam.OnUser, (*iam.Service).ListGroupsForUser),

	iamOp("CreateGroup", iam.OnNewGroup, (*iam.Service).CreateGroup),
	iamOp("GetGroup", iam.OnGroup, (*iam.Service).GetGroup),
	iamOp("ListGroups", iam.OnGroups, (*iam.Service).ListGroups),
	iamOp("UpdateGroup", iam.OnRenamedGroup, (*iam.Service).UpdateGroup),
	iamOp("DeleteGroup", iam.OnGroup, (*iam.Service).DeleteGroup),
	iamOp("AddUserToGroup", iam.OnMembership, (*iam.Service).AddUserToGroup),
	iamOp("RemoveUserFromGroup", iam.OnMembership, (*iam.Service).RemoveUserFromGroup),
	matching(iamOp("PutGroupPolicy", iam.OnChangedGroup, (*iam.Service).PutGroupPolicy)),
	iamOp("GetGroupPolicy", iam.OnGroup, (*iam.Service).GetGroupPolicy),
	iamOp("DeleteGroupPolicy", iam.OnGroup, (*iam.Service).DeleteGroupPolicy),
	iamOp("ListGroupPolicies", iam.OnGroup, (*iam.Service).ListGroupPolicies),
	iamOp("AttachGroupPolicy", iam.OnGroupAttachment, (*iam.Service).AttachGroupPolicy),
	iamOp("DetachGroupPolicy", iam.OnGroup, (*iam.Service).DetachGroupPolicy),
	iamOp("ListAttachedGroupPolicies", iam.OnGroup, (*iam.Service).ListAttachedGroupPolicies),

	iamOp("CreateRole", iam.OnNewRole, (*iam.Service).CreateRole),
	iamOp("GetRole", iam.OnRole, (*iam.Service).GetRole),
	iamOp("ListRoles", iam.OnRoles, (*iam.Service).ListRoles),
	iamOp("UpdateRole", iam.OnRole, (*iam.Service).UpdateRole),
	iamOp("UpdateRoleDescription", iam.OnRole, (*iam.Service).UpdateRoleDescription),
	matching(iamOp("UpdateAssumeRolePolicy", iam.OnChangedRole, (*iam.Service).UpdateAssumeRolePolicy)),
	iamOp("DeleteRole", iam.OnRole, (*iam.Service).DeleteRole),
	iamOp("TagRole", iam.OnRole, (*iam.Service).TagRole),
	iamOp("UntagRole", iam.OnRole, (*iam.Service).UntagRole),
	iamOp("ListRoleTags", iam.OnRole, (*iam.Service).ListRoleTags),
	matching(iamOp("PutRolePolicy", iam.OnChangedRole, (*iam.Service).PutRolePolicy)),
	iamOp("GetRolePolicy", iam.OnRole, (*iam.Service).GetRolePolicy),
	iamOp("DeleteRolePolicy", iam.OnRole, (*iam.Service).DeleteRolePolicy),
	iamOp("ListRolePolicies", iam.OnRole, (*iam.Service).ListRolePolicies),
	iamOp("AttachRolePolicy", iam.OnRoleAttachment, (*iam.Service).AttachRolePolicy),
	iamOp("DetachRolePolicy", iam.OnRole, (*iam.Service).DetachRolePolicy),
	iamOp("ListAttachedRolePolicies", iam.OnRole, (*iam.Service).ListAttachedRolePolicies),
	iamOp("PutRolePermissionsBoundary", iam.OnRoleBoundary, (*iam.Service).PutRolePermissionsBoundary),
	iamOp("DeleteRolePermissionsBoundary", iam.OnRole, (*iam.Service).DeleteRolePermissionsBoundary),
	iamOp("CreateServiceLinkedRole", iam.OnServiceRole, (*iam.Service).CreateServiceLinkedRole),
	iamOp("DeleteServiceLinkedRole", iam.OnRole, (*iam.Service).DeleteServiceLinkedRole),
	iamOp("GetServiceLinkedRoleDeletionStatus", iam.OnRoles, (*iam.Service).GetServiceLinkedRoleDeletionStatus),
	iamOp("ListInstanceProfilesForRole", iam.OnRole, (*iam.Service).ListInstanceProfilesForRole),

	iamOp("CreatePolicy", iam.OnNewPolicy, (*iam.Service).CreatePolicy),
	iamOp("GetPolicy", iam.OnPolicy, (*iam.Service).GetPolicy),
	iamOp("ListPolicies", iam.OnPolicies, (*iam.Service).ListPolicies),
	iamOp("DeletePolicy", iam.OnPolicy, (*iam.Service).DeletePolicy),
	iamOp("CreatePolicyVersion", iam.OnPolicy, (*iam.Service).CreatePolicyVersion),
	iamOp("GetPolicyVersion", iam.OnPolicy, (*iam.Service).GetPolicyVersion),
	iamOp("ListPolicyVersions", iam.OnPolicy, (*iam.Service).ListPolicyVersions),
	iamOp("DeletePolicyVersion", iam.OnPolicy, (*iam.Service).DeletePolicyVersion),
	iamOp("SetDefaultPolicyVersion", iam.OnPolicy, (*iam.Service).SetDefaultPolicyVersion),
	iamOp("TagPolicy", iam.OnPolicy, (*iam.Service).TagPolicy),
	iamOp("UntagPolicy", iam.OnPolicy, (*iam.Service).UntagPolicy),
	iamOp("ListPolicyTags", iam.OnPolicy, (*iam.Service).ListPolicyTags),
	iamOp("ListEntitiesForPolicy", iam.OnPolicy, (*iam.Service).ListEntitiesForPolicy),

	iamOp("CreateInstanceProfile", iam.OnNewProfile, (*iam.Service).CreateInstanceProfile),
	iamOp("GetInstanceProfile", iam.OnProfile, (*iam.Service).GetInstanceProfile),
	iamOp("ListInstanceProfiles", iam.OnProfiles, (*iam.Service).ListInstanceProfiles),
	iamOp("DeleteInstanceProfile", iam.OnProfile, (*iam.Service).DeleteInstanceProfile),
	iamOp("AddRoleToInstanceProfile", iam.OnProfileRole, (*iam.Service).AddRoleToInstanceProfile),
	iamOp("RemoveRoleFromInstanceProfile", iam.OnProfileRole, (*iam.Service).RemoveRoleFromInstanceProfile),

	iamOp("TagInstanceProfile", iam.OnProfile, (*iam.Service).TagInstanceProfile),
	iamOp("UntagInstanceProfile", iam.OnProfile, (*iam.Service).UntagInstanceProfile),
	iamOp("ListInstanceProfileTags", iam.OnProfile, (*iam.Service).ListInstanceProfileTags),

	iamOp("CreateOpenIDConnectProvider", iam.OnNewProvider, (*iam.Service).CreateOpenIDConnectProvider),
	iamOp("GetOpenIDConnectProvider", iam.OnProvider, (*iam.Service).GetOpenIDConnectProvider),
	iamOp("ListOpenIDConnectProviders", iam.OnProviders, (*iam.Service).ListOpenIDConnectProviders),
	iamOp("DeleteOpenIDConnectProvider", iam.OnProviderOrNone, (*iam.Service).DeleteOpenIDConnectProvider),
	iamOp("AddClientIDToOpenIDConnectProvider", iam.OnProvider, (*iam.Service).AddClientIDToOpenIDConnectProvider),
	iamOp("RemoveClientIDFromOpenIDConnectProvider", iam.OnProvider, (*iam.Service).RemoveClientIDFromOpenIDConnectProvider),
	iamOp("UpdateOpenIDConnectProviderThumbprint", iam.OnProvider, (*iam.Service).UpdateOpenIDConnectProviderThumbprint),
	iamOp("TagOpenIDConnectProvider", iam.OnProvider, (*iam.Service).TagOpenIDConnectProvider),
	iamOp("UntagOpenIDConnectProvider", iam.OnProvider, (*iam.Service).UntagOpenIDConnectProvider),
	iamOp("ListOpenIDConnectProviderTags", iam.OnProvider, (*iam.Service).ListOpenIDConnectProviderTags),

	iamOp("CreateAccountAlias", iam.OnAccount, (*iam.Service).CreateAccountAlias),
	iamOp("ListAccountAliases", iam.OnAccount, (*iam.Service).ListAccountAliases),
	iamOp("DeleteAccountAlias", iam.OnAccount, (*iam.Service).DeleteAccountAlias),
	iamOp("GetAccountSummary", iam.OnAccount, (*iam.Service).GetAccountSummary),
	iamOp("GetAccountAuthorizationDetails", iam.OnAccount, (*iam.Service).GetAccountAuthorizationDetails),
	iamOp("GetContextKeysForCustomPolicy", iam.OnAccount, (*iam.Service).GetContextKeysForCustomPolicy),
	iamOp("GetContextKeysForPrincipalPolicy", iam.OnPolicySource, (*iam.Service).GetContextKeysForPrincipalPolicy),
	iamOp("SimulateCustomPolicy", iam.OnAccount, (*iam.Service).SimulateCustomPolicy),
	iamOp("SimulatePrincipalPolicy", iam.OnPolicySource, (*iam.Service).SimulatePrincipalPolicy),
)

// iamOp returns a row of IAM. The condition keys of its asks follow from the members of the input; see iam.WithKeys.
func iamOp[In, T, Out any, P interface {
	*In
	awswire.Input
}](name string, on func(*iam.Service, context.Context, guard.Request, *In) (guard.Target[T], error),
	run func(*iam.Service, context.Context, identity.Caller, T, *In) (*Out, error)) row {
	withKeys := func(s *iam.Service, ctx context.Context, req guard.Request, in *In) (guard.Target[T], error) {
		t, err := on(s, ctx, req, in)
		t.Asks = iam.WithKeys(name, t.Asks, P(in))
		return t, err
	}
	return row{name, operation{action: "iam:" + name, resolve: bind[iam.Service, In, T, Out, P](func(a *API) *iam.Service {
		return a.iam
	}, withKeys, run)}}
}
