// Package iamtest runs the operations of IAM in tests: each resolves its target and calls the method of iam.Service,
// like the operation table but without a decision.
package iamtest

import (
	"context"
	"errors"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/op/iam"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// Operation resolves the target of a request and calls the method of iam.Service. It starts again if the target changes
// in between. Errors: Absent of the target, and those of the method.
type Operation[In, Out any] func(context.Context, identity.Caller, *In) (*Out, error)

// Operations are the operations of IAM, by their names in the API.
type Operations struct {
	CreateUser                     Operation[iamtypes.CreateUserRequest, iamtypes.CreateUserResponse]
	GetUser                        Operation[iamtypes.GetUserRequest, iamtypes.GetUserResponse]
	ListUsers                      Operation[iamtypes.ListUsersRequest, iamtypes.ListUsersResponse]
	UpdateUser                     Operation[iamtypes.UpdateUserRequest, iam.None]
	DeleteUser                     Operation[iamtypes.DeleteUserRequest, iam.None]
	TagUser                        Operation[iamtypes.TagUserRequest, iam.None]
	UntagUser                      Operation[iamtypes.UntagUserRequest, iam.None]
	ListUserTags                   Operation[iamtypes.ListUserTagsRequest, iamtypes.ListUserTagsResponse]
	CreateAccessKey                Operation[iamtypes.CreateAccessKeyRequest, iamtypes.CreateAccessKeyResponse]
	ListAccessKeys                 Operation[iamtypes.ListAccessKeysRequest, iamtypes.ListAccessKeysResponse]
	ListMFADevices                 Operation[iamtypes.ListMFADevicesRequest, iamtypes.ListMFADevicesResponse]
	ListVirtualMFADevices          Operation[iamtypes.ListVirtualMFADevicesRequest, iamtypes.ListVirtualMFADevicesResponse]
	ListSSHPublicKeys              Operation[iamtypes.ListSSHPublicKeysRequest, iamtypes.ListSSHPublicKeysResponse]
	ListSigningCertificates        Operation[iamtypes.ListSigningCertificatesRequest, iamtypes.ListSigningCertificatesResponse]
	ListServiceSpecificCredentials Operation[iamtypes.ListServiceSpecificCredentialsRequest,
		iamtypes.ListServiceSpecificCredentialsResponse]
	UpdateAccessKey                    Operation[iamtypes.UpdateAccessKeyRequest, iam.None]
	DeleteAccessKey                    Operation[iamtypes.DeleteAccessKeyRequest, iam.None]
	GetAccessKeyLastUsed               Operation[iamtypes.GetAccessKeyLastUsedRequest, iamtypes.GetAccessKeyLastUsedResponse]
	CreateLoginProfile                 Operation[iamtypes.CreateLoginProfileRequest, iamtypes.CreateLoginProfileResponse]
	GetLoginProfile                    Operation[iamtypes.GetLoginProfileRequest, iamtypes.GetLoginProfileResponse]
	UpdateLoginProfile                 Operation[iamtypes.UpdateLoginProfileRequest, iam.None]
	DeleteLoginProfile                 Operation[iamtypes.DeleteLoginProfileRequest, iam.None]
	ChangePassword                     Operation[iamtypes.ChangePasswordRequest, iam.None]
	PutUserPolicy                      Operation[iamtypes.PutUserPolicyRequest, iam.None]
	GetUserPolicy                      Operation[iamtypes.GetUserPolicyRequest, iamtypes.GetUserPolicyResponse]
	DeleteUserPolicy                   Operation[iamtypes.DeleteUserPolicyRequest, iam.None]
	ListUserPolicies                   Operation[iamtypes.ListUserPoliciesRequest, iamtypes.ListUserPoliciesResponse]
	AttachUserPolicy                   Operation[iamtypes.AttachUserPolicyRequest, iam.None]
	DetachUserPolicy                   Operation[iamtypes.DetachUserPolicyRequest, iam.None]
	ListAttachedUserPolicies           Operation[iamtypes.ListAttachedUserPoliciesRequest, iamtypes.ListAttachedUserPoliciesResponse]
	PutUserPermissionsBoundary         Operation[iamtypes.PutUserPermissionsBoundaryRequest, iam.None]
	DeleteUserPermissionsBoundary      Operation[iamtypes.DeleteUserPermissionsBoundaryRequest, iam.None]
	ListGroupsForUser                  Operation[iamtypes.ListGroupsForUserRequest, iamtypes.ListGroupsForUserResponse]
	CreateGroup                        Operation[iamtypes.CreateGroupRequest, iamtypes.CreateGroupResponse]
	GetGroup                           Operation[iamtypes.GetGroupRequest, iamtypes.GetGroupResponse]
	ListGroups                         Operation[iamtypes.ListGroupsRequest, iamtypes.ListGroupsResponse]
	UpdateGroup                        Operation[iamtypes.UpdateGroupRequest, iam.None]
	DeleteGroup                        Operation[iamtypes.DeleteGroupRequest, iam.None]
	AddUserToGroup                     Operation[iamtypes.AddUserToGroupRequest, iam.None]
	RemoveUserFromGroup                Operation[iamtypes.RemoveUserFromGroupRequest, iam.None]
	PutGroupPolicy                     Operation[iamtypes.PutGroupPolicyRequest, iam.None]
	GetGroupPolicy                     Operation[iamtypes.GetGroupPolicyRequest, iamtypes.GetGroupPolicyResponse]
	DeleteGroupPolicy                  Operation[iamtypes.DeleteGroupPolicyRequest, iam.None]
	ListGroupPolicies                  Operation[iamtypes.ListGroupPoliciesRequest, iamtypes.ListGroupPoliciesResponse]
	AttachGroupPolicy                  Operation[iamtypes.AttachGroupPolicyRequest, iam.None]
	DetachGroupPolicy                  Operation[iamtypes.DetachGroupPolicyRequest, iam.None]
	ListAttachedGroupPolicies          Operation[iamtypes.ListAttachedGroupPoliciesRequest, iamtypes.ListAttachedGroupPoliciesResponse]
	CreateRole                         Operation[iamtypes.CreateRoleRequest, iamtypes.CreateRoleResponse]
	GetRole                            Operation[iamtypes.GetRoleRequest, iamtypes.GetRoleResponse]
	ListRoles                          Operation[iamtypes.ListRolesRequest, iamtypes.ListRolesResponse]
	UpdateRole                         Operation[iamtypes.UpdateRoleRequest, iamtypes.UpdateRoleResponse]
	UpdateRoleDescription              Operation[iamtypes.UpdateRoleDescriptionRequest, iamtypes.UpdateRoleDescriptionResponse]
	UpdateAssumeRolePolicy             Operation[iamtypes.UpdateAssumeRolePolicyRequest, iam.None]
	DeleteRole                         Operation[iamtypes.DeleteRoleRequest, iam.None]
	TagRole                            Operation[iamtypes.TagRoleRequest, iam.None]
	UntagRole                          Operation[iamtypes.UntagRoleRequest, iam.None]
	ListRoleTags                       Operation[iamtypes.ListRoleTagsRequest, iamtypes.ListRoleTagsResponse]
	PutRolePolicy                      Operation[iamtypes.PutRolePolicyRequest, iam.None]
	GetRolePolicy                      Operation[iamtypes.GetRolePolicyRequest, iamtypes.GetRolePolicyResponse]
	DeleteRolePolicy                   Operation[iamtypes.DeleteRolePolicyRequest, iam.None]
	ListRolePolicies                   Operation[iamtypes.ListRolePoliciesRequest, iamtypes.ListRolePoliciesResponse]
	AttachRolePolicy                   Operation[iamtypes.AttachRolePolicyRequest, iam.None]
	DetachRolePolicy                   Operation[iamtypes.DetachRolePolicyRequest, iam.None]
	ListAttachedRolePolicies           Operation[iamtypes.ListAttachedRolePoliciesRequest, iamtypes.ListAttachedRolePoliciesResponse]
	PutRolePermissionsBoundary         Operation[iamtypes.PutRolePermissionsBoundaryRequest, iam.None]
	DeleteRolePermissionsBoundary      Operation[iamtypes.DeleteRolePermissionsBoundaryRequest, iam.None]
	CreateServiceLinkedRole            Operation[iamtypes.CreateServiceLinkedRoleRequest, iamtypes.CreateServiceLinkedRoleResponse]
	DeleteServiceLinkedRole            Operation[iamtypes.DeleteServiceLinkedRoleRequest, iamtypes.DeleteServiceLinkedRoleResponse]
	GetServiceLinkedRoleDeletionStatus Operation[iamtypes.GetServiceLinkedRoleDeletionStatusRequest,
		iamtypes.GetServiceLinkedRoleDeletionStatusResponse]
	ListInstanceProfilesForRole Operation[iamtypes.ListInstanceProfilesForRoleRequest,
		iamtypes.ListInstanceProfilesForRoleResponse]
	CreatePolicy                  Operation[iamtypes.CreatePolicyRequest, iamtypes.CreatePolicyResponse]
	GetPolicy                     Operation[iamtypes.GetPolicyRequest, iamtypes.GetPolicyResponse]
	ListPolicies                  Operation[iamtypes.ListPoliciesRequest, iamtypes.ListPoliciesResponse]
	DeletePolicy                  Operation[iamtypes.DeletePolicyRequest, iam.None]
	CreatePolicyVersion           Operation[iamtypes.CreatePolicyVersionRequest, iamtypes.CreatePolicyVersionResponse]
	GetPolicyVersion              Operation[iamtypes.GetPolicyVersionRequest, iamtypes.GetPolicyVersionResponse]
	ListPolicyVersions            Operation[iamtypes.ListPolicyVersionsRequest, iamtypes.ListPolicyVersionsResponse]
	DeletePolicyVersion           Operation[iamtypes.DeletePolicyVersionRequest, iam.None]
	SetDefaultPolicyVersion       Operation[iamtypes.SetDefaultPolicyVersionRequest, iam.None]
	TagPolicy                     Operation[iamtypes.TagPolicyRequest, iam.None]
	UntagPolicy                   Operation[iamtypes.UntagPolicyRequest, iam.None]
	ListPolicyTags                Operation[iamtypes.ListPolicyTagsRequest, iamtypes.ListPolicyTagsResponse]
	ListEntitiesForPolicy         Operation[iamtypes.ListEntitiesForPolicyRequest, iamtypes.ListEntitiesForPolicyResponse]
	CreateInstanceProfile         Operation[iamtypes.CreateInstanceProfileRequest, iamtypes.CreateInstanceProfileResponse]
	GetInstanceProfile            Operation[iamtypes.GetInstanceProfileRequest, iamtypes.GetInstanceProfileResponse]
	ListInstanceProfiles          Operation[iamtypes.ListInstanceProfilesRequest, iamtypes.ListInstanceProfilesResponse]
	DeleteInstanceProfile         Operation[iamtypes.DeleteInstanceProfileRequest, iam.None]
	AddRoleToInstanceProfile      Operation[iamtypes.AddRoleToInstanceProfileRequest, iam.None]
	RemoveRoleFromInstanceProfile Operation[iamtypes.RemoveRoleFromInstanceProfileRequest, iam.None]
	TagInstanceProfile            Operation[iamtypes.TagInstanceProfileRequest, iam.None]
	UntagInstanceProfile          Operation[iamtypes.UntagInstanceProfileRequest, iam.None]
	ListInstanceProfileTags       Operation[iamtypes.ListInstanceProfileTagsRequest, iamtypes.ListInstanceProfileTagsResponse]
	CreateOpenIDConnectProvider   Operation[iamtypes.CreateOpenIDConnectProviderRequest,
		iamtypes.CreateOpenIDConnectProviderResponse]
	GetOpenIDConnectProvider                Operation[iamtypes.GetOpenIDConnectProviderRequest, iamtypes.GetOpenIDConnectProviderResponse]
	ListOpenIDConnectProviders              Operation[iamtypes.ListOpenIDConnectProvidersRequest, iamtypes.ListOpenIDConnectProvidersResponse]
	DeleteOpenIDConnectProvider             Operation[iamtypes.DeleteOpenIDConnectProviderRequest, iam.None]
	AddClientIDToOpenIDConnectProvider      Operation[iamtypes.AddClientIDToOpenIDConnectProviderRequest, iam.None]
	RemoveClientIDFromOpenIDConnectProvider Operation[iamtypes.RemoveClientIDFromOpenIDConnectProviderRequest, iam.None]
	UpdateOpenIDConnectProviderThumbprint   Operation[iamtypes.UpdateOpenIDConnectProviderThumbprintRequest, iam.None]
	TagOpenIDConnectProvider                Operation[iamtypes.TagOpenIDConnectProviderRequest, iam.None]
	UntagOpenIDConnectProvider              Operation[iamtypes.UntagOpenIDConnectProviderRequest, iam.None]
	ListOpenIDConnectProviderTags           Operation[iamtypes.ListOpenIDConnectProviderTagsRequest,
		iamtypes.ListOpenIDConnectProviderTagsResponse]
	CreateAccountAlias             Operation[iamtypes.CreateAccountAliasRequest, iam.None]
	ListAccountAliases             Operation[iamtypes.ListAccountAliasesRequest, iamtypes.ListAccountAliasesResponse]
	DeleteAccountAlias             Operation[iamtypes.DeleteAccountAliasRequest, iam.None]
	GetAccountSummary              Operation[iam.None, iamtypes.GetAccountSummaryResponse]
	GetAccountAuthorizationDetails Operation[iamtypes.GetAccountAuthorizationDetailsRequest,
		iamtypes.GetAccountAuthorizationDetailsResponse]
	GetContextKeysForCustomPolicy    Operation[iamtypes.GetContextKeysForCustomPolicyRequest, iamtypes.GetContextKeysForPolicyResponse]
	GetContextKeysForPrincipalPolicy Operation[iamtypes.GetContextKeysForPrincipalPolicyRequest,
		iamtypes.GetContextKeysForPolicyResponse]
	SimulateCustomPolicy    Operation[iamtypes.SimulateCustomPolicyRequest, iamtypes.SimulatePolicyResponse]
	SimulatePrincipalPolicy Operation[iamtypes.SimulatePrincipalPolicyRequest, iamtypes.SimulatePolicyResponse]
}

// New returns the operations of a service.
func New(s *iam.Service) Operations {
	return Operations{
		CreateUser:                              bound(s, iam.OnNewUser, (*iam.Service).CreateUser),
		GetUser:                                 bound(s, iam.OnUserOrCaller, (*iam.Service).GetUser),
		ListUsers:                               bound(s, iam.OnUsers, (*iam.Service).ListUsers),
		UpdateUser:                              bound(s, iam.OnRenamedUser, (*iam.Service).UpdateUser),
		DeleteUser:                              bound(s, iam.OnUser, (*iam.Service).DeleteUser),
		TagUser:                                 bound(s, iam.OnUser, (*iam.Service).TagUser),
		UntagUser:                               bound(s, iam.OnUser, (*iam.Service).UntagUser),
		ListUserTags:                            bound(s, iam.OnUser, (*iam.Service).ListUserTags),
		CreateAccessKey:                         bound(s, iam.OnKeyOwner, (*iam.Service).CreateAccessKey),
		ListAccessKeys:                          bound(s, iam.OnKeyOwner, (*iam.Service).ListAccessKeys),
		ListMFADevices:                          bound(s, iam.OnKeyOwner, (*iam.Service).ListMFADevices),
		ListVirtualMFADevices:                   bound(s, iam.OnAccount, (*iam.Service).ListVirtualMFADevices),
		ListSSHPublicKeys:                       bound(s, iam.OnKeyOwner, (*iam.Service).ListSSHPublicKeys),
		ListSigningCertificates:                 bound(s, iam.OnKeyOwner, (*iam.Service).ListSigningCertificates),
		ListServiceSpecificCredentials:          bound(s, iam.OnServiceCredentials, (*iam.Service).ListServiceSpecificCredentials),
		UpdateAccessKey:                         bound(s, iam.OnOwnedKey, (*iam.Service).UpdateAccessKey),
		DeleteAccessKey:                         bound(s, iam.OnOwnedKey, (*iam.Service).DeleteAccessKey),
		GetAccessKeyLastUsed:                    bound(s, iam.OnKey, (*iam.Service).GetAccessKeyLastUsed),
		CreateLoginProfile:                      bound(s, iam.OnLoginProfile, (*iam.Service).CreateLoginProfile),
		GetLoginProfile:                         bound(s, iam.OnLoginProfile, (*iam.Service).GetLoginProfile),
		UpdateLoginProfile:                      bound(s, iam.OnUser, (*iam.Service).UpdateLoginProfile),
		DeleteLoginProfile:                      bound(s, iam.OnLoginProfile, (*iam.Service).DeleteLoginProfile),
		ChangePassword:                          bound(s, iam.OnOwnPassword, (*iam.Service).ChangePassword),
		PutUserPolicy:                           bound(s, iam.OnChangedUser, (*iam.Service).PutUserPolicy),
		GetUserPolicy:                           bound(s, iam.OnUser, (*iam.Service).GetUserPolicy),
		DeleteUserPolicy:                        bound(s, iam.OnUser, (*iam.Service).DeleteUserPolicy),
		ListUserPolicies:                        bound(s, iam.OnUser, (*iam.Service).ListUserPolicies),
		AttachUserPolicy:                        bound(s, iam.OnUserAttachment, (*iam.Service).AttachUserPolicy),
		DetachUserPolicy:                        bound(s, iam.OnUser, (*iam.Service).DetachUserPolicy),
		ListAttachedUserPolicies:                bound(s, iam.OnUser, (*iam.Service).ListAttachedUserPolicies),
		PutUserPermissionsBoundary:              bound(s, iam.OnUserBoundary, (*iam.Service).PutUserPermissionsBoundary),
		DeleteUserPermissionsBoundary:           bound(s, iam.OnUser, (*iam.Service).DeleteUserPermissionsBoundary),
		ListGroupsForUser:                       bound(s, iam.OnUser, (*iam.Service).ListGroupsForUser),
		CreateGroup:                             bound(s, iam.OnNewGroup, (*iam.Service).CreateGroup),
		GetGroup:                                bound(s, iam.OnGroup, (*iam.Service).GetGroup),
		ListGroups:                              bound(s, iam.OnGroups, (*iam.Service).ListGroups),
		UpdateGroup:                             bound(s, iam.OnRenamedGroup, (*iam.Service).UpdateGroup),
		DeleteGroup:                             bound(s, iam.OnGroup, (*iam.Service).DeleteGroup),
		AddUserToGroup:                          bound(s, iam.OnMembership, (*iam.Service).AddUserToGroup),
		RemoveUserFromGroup:                     bound(s, iam.OnMembership, (*iam.Service).RemoveUserFromGroup),
		PutGroupPolicy:                          bound(s, iam.OnChangedGroup, (*iam.Service).PutGroupPolicy),
		GetGroupPolicy:                          bound(s, iam.OnGroup, (*iam.Service).GetGroupPolicy),
		DeleteGroupPolicy:                       bound(s, iam.OnGroup, (*iam.Service).DeleteGroupPolicy),
		ListGroupPolicies:                       bound(s, iam.OnGroup, (*iam.Service).ListGroupPolicies),
		AttachGroupPolicy:                       bound(s, iam.OnGroupAttachment, (*iam.Service).AttachGroupPolicy),
		DetachGroupPolicy:                       bound(s, iam.OnGroup, (*iam.Service).DetachGroupPolicy),
		ListAttachedGroupPolicies:               bound(s, iam.OnGroup, (*iam.Service).ListAttachedGroupPolicies),
		CreateRole:                              bound(s, iam.OnNewRole, (*iam.Service).CreateRole),
		GetRole:                                 bound(s, iam.OnRole, (*iam.Service).GetRole),
		ListRoles:                               bound(s, iam.OnRoles, (*iam.Service).ListRoles),
		UpdateRole:                              bound(s, iam.OnRole, (*iam.Service).UpdateRole),
		UpdateRoleDescription:                   bound(s, iam.OnRole, (*iam.Service).UpdateRoleDescription),
		UpdateAssumeRolePolicy:                  bound(s, iam.OnChangedRole, (*iam.Service).UpdateAssumeRolePolicy),
		DeleteRole:                              bound(s, iam.OnRole, (*iam.Service).DeleteRole),
		TagRole:                                 bound(s, iam.OnRole, (*iam.Service).TagRole),
		UntagRole:                               bound(s, iam.OnRole, (*iam.Service).UntagRole),
		ListRoleTags:                            bound(s, iam.OnRole, (*iam.Service).ListRoleTags),
		PutRolePolicy:                           bound(s, iam.OnChangedRole, (*iam.Service).PutRolePolicy),
		GetRolePolicy:                           bound(s, iam.OnRole, (*iam.Service).GetRolePolicy),
		DeleteRolePolicy:                        bound(s, iam.OnRole, (*iam.Service).DeleteRolePolicy),
		ListRolePolicies:                        bound(s, iam.OnRole, (*iam.Service).ListRolePolicies),
		AttachRolePolicy:                        bound(s, iam.OnRoleAttachment, (*iam.Service).AttachRolePolicy),
		DetachRolePolicy:                        bound(s, iam.OnRole, (*iam.Service).DetachRolePolicy),
		ListAttachedRolePolicies:                bound(s, iam.OnRole, (*iam.Service).ListAttachedRolePolicies),
		PutRolePermissionsBoundary:              bound(s, iam.OnRoleBoundary, (*iam.Service).PutRolePermissionsBoundary),
		DeleteRolePermissionsBoundary:           bound(s, iam.OnRole, (*iam.Service).DeleteRolePermissionsBoundary),
		CreateServiceLinkedRole:                 bound(s, iam.OnServiceRole, (*iam.Service).CreateServiceLinkedRole),
		DeleteServiceLinkedRole:                 bound(s, iam.OnRole, (*iam.Service).DeleteServiceLinkedRole),
		GetServiceLinkedRoleDeletionStatus:      bound(s, iam.OnRoles, (*iam.Service).GetServiceLinkedRoleDeletionStatus),
		ListInstanceProfilesForRole:             bound(s, iam.OnRole, (*iam.Service).ListInstanceProfilesForRole),
		CreatePolicy:                            bound(s, iam.OnNewPolicy, (*iam.Service).CreatePolicy),
		GetPolicy:                               bound(s, iam.OnPolicy, (*iam.Service).GetPolicy),
		ListPolicies:                            bound(s, iam.OnPolicies, (*iam.Service).ListPolicies),
		DeletePolicy:                            bound(s, iam.OnPolicy, (*iam.Service).DeletePolicy),
		CreatePolicyVersion:                     bound(s, iam.OnPolicy, (*iam.Service).CreatePolicyVersion),
		GetPolicyVersion:                        bound(s, iam.OnPolicy, (*iam.Service).GetPolicyVersion),
		ListPolicyVersions:                      bound(s, iam.OnPolicy, (*iam.Service).ListPolicyVersions),
		DeletePolicyVersion:                     bound(s, iam.OnPolicy, (*iam.Service).DeletePolicyVersion),
		SetDefaultPolicyVersion:                 bound(s, iam.OnPolicy, (*iam.Service).SetDefaultPolicyVersion),
		TagPolicy:                               bound(s, iam.OnPolicy, (*iam.Service).TagPolicy),
		UntagPolicy:                             bound(s, iam.OnPolicy, (*iam.Service).UntagPolicy),
		ListPolicyTags:                          bound(s, iam.OnPolicy, (*iam.Service).ListPolicyTags),
		ListEntitiesForPolicy:                   bound(s, iam.OnPolicy, (*iam.Service).ListEntitiesForPolicy),
		CreateInstanceProfile:                   bound(s, iam.OnNewProfile, (*iam.Service).CreateInstanceProfile),
		GetInstanceProfile:                      bound(s, iam.OnProfile, (*iam.Service).GetInstanceProfile),
		ListInstanceProfiles:                    bound(s, iam.OnProfiles, (*iam.Service).ListInstanceProfiles),
		DeleteInstanceProfile:                   bound(s, iam.OnProfile, (*iam.Service).DeleteInstanceProfile),
		AddRoleToInstanceProfile:                bound(s, iam.OnProfileRole, (*iam.Service).AddRoleToInstanceProfile),
		RemoveRoleFromInstanceProfile:           bound(s, iam.OnProfileRole, (*iam.Service).RemoveRoleFromInstanceProfile),
		TagInstanceProfile:                      bound(s, iam.OnProfile, (*iam.Service).TagInstanceProfile),
		UntagInstanceProfile:                    bound(s, iam.OnProfile, (*iam.Service).UntagInstanceProfile),
		ListInstanceProfileTags:                 bound(s, iam.OnProfile, (*iam.Service).ListInstanceProfileTags),
		CreateOpenIDConnectProvider:             bound(s, iam.OnNewProvider, (*iam.Service).CreateOpenIDConnectProvider),
		GetOpenIDConnectProvider:                bound(s, iam.OnProvider, (*iam.Service).GetOpenIDConnectProvider),
		ListOpenIDConnectProviders:              bound(s, iam.OnProviders, (*iam.Service).ListOpenIDConnectProviders),
		DeleteOpenIDConnectProvider:             bound(s, iam.OnProviderOrNone, (*iam.Service).DeleteOpenIDConnectProvider),
		AddClientIDToOpenIDConnectProvider:      bound(s, iam.OnProvider, (*iam.Service).AddClientIDToOpenIDConnectProvider),
		RemoveClientIDFromOpenIDConnectProvider: bound(s, iam.OnProvider, (*iam.Service).RemoveClientIDFromOpenIDConnectProvider),
		UpdateOpenIDConnectProviderThumbprint:   bound(s, iam.OnProvider, (*iam.Service).UpdateOpenIDConnectProviderThumbprint),
		TagOpenIDConnectProvider:                bound(s, iam.OnProvider, (*iam.Service).TagOpenIDConnectProvider),
		UntagOpenIDConnectProvider:              bound(s, iam.OnProvider, (*iam.Service).UntagOpenIDConnectProvider),
		ListOpenIDConnectProviderTags:           bound(s, iam.OnProvider, (*iam.Service).ListOpenIDConnectProviderTags),
		CreateAccountAlias:                      bound(s, iam.OnAccount, (*iam.Service).CreateAccountAlias),
		ListAccountAliases:                      bound(s, iam.OnAccount, (*iam.Service).ListAccountAliases),
		DeleteAccountAlias:                      bound(s, iam.OnAccount, (*iam.Service).DeleteAccountAlias),
		GetAccountSummary:                       bound(s, iam.OnAccount, (*iam.Service).GetAccountSummary),
		GetAccountAuthorizationDetails:          bound(s, iam.OnAccount, (*iam.Service).GetAccountAuthorizationDetails),
		GetContextKeysForCustomPolicy:           bound(s, iam.OnAccount, (*iam.Service).GetContextKeysForCustomPolicy),
		GetContextKeysForPrincipalPolicy:        bound(s, iam.OnPolicySource, (*iam.Service).GetContextKeysForPrincipalPolicy),
		SimulateCustomPolicy:                    bound(s, iam.OnAccount, (*iam.Service).SimulateCustomPolicy),
		SimulatePrincipalPolicy:                 bound(s, iam.OnPolicySource, (*iam.Service).SimulatePrincipalPolicy),
	}
}

// bound returns the Operation of a method and the resolver of its target.
func bound[In, T, Out any](
	s *iam.Service,
	on func(*iam.Service, context.Context, guard.Request, *In) (guard.Target[T], error),
	run func(*iam.Service, context.Context, identity.Caller, T, *In) (*Out, error),
) Operation[In, Out] {
	return func(ctx context.Context, c identity.Caller, in *In) (out *Out, err error) {
		for range maxAttempts {
			t, err := on(s, ctx, guard.Request{By: c}, in)
			if err == nil {
				err = t.Absent
			}
			if err != nil {
				return nil, err
			}
			if out, err = run(s, ctx, c, t.Value, in); !errors.Is(err, fault.TargetChanged) {
				return out, err
			}
		}
		return nil, fault.TargetChanged.New("the target changed %d times", maxAttempts)
	}
}

const maxAttempts = 20
