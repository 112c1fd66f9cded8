package awsapi

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/awswire"
	"github.com/ecrin-dev/ecrin/internal/endpoint"
	"github.com/ecrin-dev/ecrin/internal/fault"
	"github.com/ecrin-dev/ecrin/internal/iam"
	"github.com/ecrin-dev/ecrin/internal/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/identity"
	"github.com/ecrin-dev/ecrin/internal/meta"
)

// iamService: every action has the name of its operation. Source: service authorization reference of IAM.
var iamService = newService(iamtypes.Service, endpoint.IAM, iamtypes.Operations, iamtypes.Errors,
	iamOp("CreateUser", onUser, (*iam.Service).CreateUser),
	iamOp("GetUser", onUser, (*iam.Service).GetUser),
	iamOp("ListUsers", onAll(meta.User), (*iam.Service).ListUsers),
	iamOp("UpdateUser", renamed(meta.User, "UserName", "NewUserName"), (*iam.Service).UpdateUser),
	iamOp("DeleteUser", onUser, (*iam.Service).DeleteUser),
	iamOp("TagUser", onUser, (*iam.Service).TagUser),
	iamOp("UntagUser", onUser, (*iam.Service).UntagUser),
	iamOp("ListUserTags", onUser, (*iam.Service).ListUserTags),
	iamOp("CreateAccessKey", onUser, (*iam.Service).CreateAccessKey),
	iamOp("ListAccessKeys", onUser, (*iam.Service).ListAccessKeys),
	iamOp("UpdateAccessKey", onUser, (*iam.Service).UpdateAccessKey),
	iamOp("DeleteAccessKey", onUser, (*iam.Service).DeleteAccessKey),
	iamOp("GetAccessKeyLastUsed", onKeyOwner, (*iam.Service).GetAccessKeyLastUsed),
	iamOp("PutUserPolicy", onUser, (*iam.Service).PutUserPolicy),
	iamOp("GetUserPolicy", onUser, (*iam.Service).GetUserPolicy),
	iamOp("DeleteUserPolicy", onUser, (*iam.Service).DeleteUserPolicy),
	iamOp("ListUserPolicies", onUser, (*iam.Service).ListUserPolicies),
	iamOp("AttachUserPolicy", onUser, (*iam.Service).AttachUserPolicy),
	iamOp("DetachUserPolicy", onUser, (*iam.Service).DetachUserPolicy),
	iamOp("ListAttachedUserPolicies", onUser, (*iam.Service).ListAttachedUserPolicies),
	iamOp("PutUserPermissionsBoundary", onUser, (*iam.Service).PutUserPermissionsBoundary),
	iamOp("DeleteUserPermissionsBoundary", onUser, (*iam.Service).DeleteUserPermissionsBoundary),
	iamOp("ListGroupsForUser", onUser, (*iam.Service).ListGroupsForUser),

	iamOp("CreateGroup", onGroup, (*iam.Service).CreateGroup),
	iamOp("GetGroup", onGroup, (*iam.Service).GetGroup),
	iamOp("ListGroups", onAll(meta.Group), (*iam.Service).ListGroups),
	iamOp("UpdateGroup", renamed(meta.Group, "GroupName", "NewGroupName"), (*iam.Service).UpdateGroup),
	iamOp("DeleteGroup", onGroup, (*iam.Service).DeleteGroup),
	iamOp("AddUserToGroup", onGroup, (*iam.Service).AddUserToGroup),
	iamOp("RemoveUserFromGroup", onGroup, (*iam.Service).RemoveUserFromGroup),
	iamOp("PutGroupPolicy", onGroup, (*iam.Service).PutGroupPolicy),
	iamOp("GetGroupPolicy", onGroup, (*iam.Service).GetGroupPolicy),
	iamOp("DeleteGroupPolicy", onGroup, (*iam.Service).DeleteGroupPolicy),
	iamOp("ListGroupPolicies", onGroup, (*iam.Service).ListGroupPolicies),
	iamOp("AttachGroupPolicy", onGroup, (*iam.Service).AttachGroupPolicy),
	iamOp("DetachGroupPolicy", onGroup, (*iam.Service).DetachGroupPolicy),
	iamOp("ListAttachedGroupPolicies", onGroup, (*iam.Service).ListAttachedGroupPolicies),

	iamOp("CreateRole", onRole, (*iam.Service).CreateRole),
	iamOp("GetRole", onRole, (*iam.Service).GetRole),
	iamOp("ListRoles", onAll(meta.Role), (*iam.Service).ListRoles),
	iamOp("UpdateRole", onRole, (*iam.Service).UpdateRole),
	iamOp("UpdateRoleDescription", onRole, (*iam.Service).UpdateRoleDescription),
	iamOp("UpdateAssumeRolePolicy", onRole, (*iam.Service).UpdateAssumeRolePolicy),
	iamOp("DeleteRole", onRole, (*iam.Service).DeleteRole),
	iamOp("TagRole", onRole, (*iam.Service).TagRole),
	iamOp("UntagRole", onRole, (*iam.Service).UntagRole),
	iamOp("ListRoleTags", onRole, (*iam.Service).ListRoleTags),
	iamOp("PutRolePolicy", onRole, (*iam.Service).PutRolePolicy),
	iamOp("GetRolePolicy", onRole, (*iam.Service).GetRolePolicy),
	iamOp("DeleteRolePolicy", onRole, (*iam.Service).DeleteRolePolicy),
	iamOp("ListRolePolicies", onRole, (*iam.Service).ListRolePolicies),
	iamOp("AttachRolePolicy", onRole, (*iam.Service).AttachRolePolicy),
	iamOp("DetachRolePolicy", onRole, (*iam.Service).DetachRolePolicy),
	iamOp("ListAttachedRolePolicies", onRole, (*iam.Service).ListAttachedRolePolicies),
	iamOp("PutRolePermissionsBoundary", onRole, (*iam.Service).PutRolePermissionsBoundary),
	iamOp("DeleteRolePermissionsBoundary", onRole, (*iam.Service).DeleteRolePermissionsBoundary),
	iamOp("CreateServiceLinkedRole", onServiceRole, (*iam.Service).CreateServiceLinkedRole),
	iamOp("DeleteServiceLinkedRole", onRole, (*iam.Service).DeleteServiceLinkedRole),
	iamOp("GetServiceLinkedRoleDeletionStatus", onAll(meta.Role), (*iam.Service).GetServiceLinkedRoleDeletionStatus),
	iamOp("ListInstanceProfilesForRole", onRole, (*iam.Service).ListInstanceProfilesForRole),

	iamOp("CreatePolicy", onPolicy, (*iam.Service).CreatePolicy),
	iamOp("GetPolicy", onPolicy, (*iam.Service).GetPolicy),
	iamOp("ListPolicies", onAll(meta.ManagedPolicy), (*iam.Service).ListPolicies),
	iamOp("DeletePolicy", onPolicy, (*iam.Service).DeletePolicy),
	iamOp("CreatePolicyVersion", onPolicy, (*iam.Service).CreatePolicyVersion),
	iamOp("GetPolicyVersion", onPolicy, (*iam.Service).GetPolicyVersion),
	iamOp("ListPolicyVersions", onPolicy, (*iam.Service).ListPolicyVersions),
	iamOp("DeletePolicyVersion", onPolicy, (*iam.Service).DeletePolicyVersion),
	iamOp("SetDefaultPolicyVersion", onPolicy, (*iam.Service).SetDefaultPolicyVersion),
	iamOp("TagPolicy", onPolicy, (*iam.Service).TagPolicy),
	iamOp("UntagPolicy", onPolicy, (*iam.Service).UntagPolicy),
	iamOp("ListPolicyTags", onPolicy, (*iam.Service).ListPolicyTags),
	iamOp("ListEntitiesForPolicy", onPolicy, (*iam.Service).ListEntitiesForPolicy),

	iamOp("CreateInstanceProfile", onProfile, (*iam.Service).CreateInstanceProfile),
	iamOp("GetInstanceProfile", onProfile, (*iam.Service).GetInstanceProfile),
	iamOp("ListInstanceProfiles", onAll(meta.InstanceProfile), (*iam.Service).ListInstanceProfiles),
	iamOp("DeleteInstanceProfile", onProfile, (*iam.Service).DeleteInstanceProfile),
	iamOp("AddRoleToInstanceProfile", onProfile, (*iam.Service).AddRoleToInstanceProfile),
	iamOp("RemoveRoleFromInstanceProfile", onProfile, (*iam.Service).RemoveRoleFromInstanceProfile),

	iamOp("CreateOpenIDConnectProvider", onProvider, (*iam.Service).CreateOpenIDConnectProvider),
	iamOp("GetOpenIDConnectProvider", onProvider, (*iam.Service).GetOpenIDConnectProvider),
	iamOp("ListOpenIDConnectProviders", onAll(meta.OIDCProvider), (*iam.Service).ListOpenIDConnectProviders),
	iamOp("DeleteOpenIDConnectProvider", onProvider, (*iam.Service).DeleteOpenIDConnectProvider),
	iamOp("AddClientIDToOpenIDConnectProvider", onProvider, (*iam.Service).AddClientIDToOpenIDConnectProvider),
	iamOp("RemoveClientIDFromOpenIDConnectProvider", onProvider, (*iam.Service).RemoveClientIDFromOpenIDConnectProvider),
	iamOp("UpdateOpenIDConnectProviderThumbprint", onProvider, (*iam.Service).UpdateOpenIDConnectProviderThumbprint),
	iamOp("TagOpenIDConnectProvider", onProvider, (*iam.Service).TagOpenIDConnectProvider),
	iamOp("UntagOpenIDConnectProvider", onProvider, (*iam.Service).UntagOpenIDConnectProvider),
	iamOp("ListOpenIDConnectProviderTags", onProvider, (*iam.Service).ListOpenIDConnectProviderTags),

	iamOp("CreateAccountAlias", onIAM, (*iam.Service).CreateAccountAlias),
	iamOp("ListAccountAliases", onIAM, (*iam.Service).ListAccountAliases),
	iamOp("DeleteAccountAlias", onIAM, (*iam.Service).DeleteAccountAlias),
	iamOp("GetAccountSummary", onIAM, (*iam.Service).GetAccountSummary),
	iamOp("GetAccountAuthorizationDetails", onIAM, (*iam.Service).GetAccountAuthorizationDetails),
	iamOp("GetContextKeysForCustomPolicy", onIAM, (*iam.Service).GetContextKeysForCustomPolicy),
	iamOp("GetContextKeysForPrincipalPolicy", onPolicySource, (*iam.Service).GetContextKeysForPrincipalPolicy),
	iamOp("SimulateCustomPolicy", onIAM, (*iam.Service).SimulateCustomPolicy),
	iamOp("SimulatePrincipalPolicy", onPolicySource, (*iam.Service).SimulatePrincipalPolicy),
)

// iamOp makes a row of IAM, whose condition keys are the same for all operations that have their members.
func iamOp[In any, Out any, P interface {
	*In
	awswire.Input
}](operationName string, on target, run func(*iam.Service, context.Context, identity.Caller, *In) (*Out, error)) row {
	return op[In, Out, P](operationName, "iam:"+operationName, withIAMKeys(operationName, tagged(on)), func(a *API, c *call, in *In) (*Out, error) {
		return run(a.iam, c.ctx, c.caller, in)
	})
}

// onIAM is for actions on the caller's account that have no resource.
func onIAM(_ *API, c *call, _ awswire.Input) ([]identity.Access, error) {
	return one(identity.Access{Account: c.caller.Account, Region: c.region, Resource: "*"}, nil)
}

// onAll is for listings of a kind.
func onAll(kind meta.EntityKind) target {
	return func(_ *API, c *call, _ awswire.Input) ([]identity.Access, error) {
		return one(iamAccess(c, meta.Entity{Account: c.caller.Account, Kind: kind, Name: "*"}), nil)
	}
}

func iamAccess(c *call, e meta.Entity) identity.Access {
	return identity.Access{Account: c.caller.Account, Region: c.region, Resource: e.ARN()}
}

// onEntity is for actions on the entity that a member names: with its path when it exists, and its tags.
func onEntity(a *API, c *call, kind meta.EntityKind, entityName, path string) ([]identity.Access, error) {
	e := meta.Entity{Account: c.caller.Account, Kind: kind, Name: entityName, Path: path}
	found, err := a.registry.Meta().Entity(c.ctx, c.caller.Account, kind, entityName)
	if errors.Is(err, fault.NoSuchEntity) {
		return one(iamAccess(c, e), nil)
	}
	if err != nil {
		return nil, err
	}
	access := iamAccess(c, found)
	if found.Boundary != "" {
		access.Keys = append(access.Keys, identity.ConditionKey{Name: boundaryKey, Values: []string{found.Boundary}})
	}
	tags, err := a.registry.Meta().EntityTags(c.ctx, found.ID)
	for key, value := range tags {
		access.Keys = append(access.Keys,
			identity.ConditionKey{Name: "aws:ResourceTag/" + key, Values: []string{value}},
			identity.ConditionKey{Name: "iam:ResourceTag/" + key, Values: []string{value}})
	}
	return one(access, err)
}

// onUser is for actions on the user that UserName names, without it on the caller.
func onUser(a *API, c *call, in awswire.Input) ([]identity.Access, error) {
	if user := member(in, "UserName"); user != "" {
		return onEntity(a, c, meta.User, user, member(in, "Path"))
	}
	if c.caller.Kind == identity.User { // with its tags, as if it was named
		return onEntity(a, c, meta.User, c.caller.ARN[strings.LastIndexByte(c.caller.ARN, '/')+1:], "")
	}
	return one(identity.Access{Account: c.caller.Account, Region: c.region, Resource: c.caller.ARN}, nil)
}

func onGroup(a *API, c *call, in awswire.Input) ([]identity.Access, error) {
	return onEntity(a, c, meta.Group, member(in, "GroupName"), member(in, "Path"))
}

// renamed is for giving a user or group another name or path: the right is needed on what it is and on what it will be.
// Source: IAM API reference, UpdateUser, UpdateGroup.
func renamed(kind meta.EntityKind, from, to string) target {
	return func(a *API, c *call, in awswire.Input) ([]identity.Access, error) {
		all, err := onEntity(a, c, kind, member(in, from), "")
		newName, newPath := member(in, to), member(in, "NewPath")
		if err != nil || newName == "" && newPath == "" {
			return all, err
		}
		e := meta.Entity{Account: c.caller.Account, Kind: kind, Name: member(in, from)}
		if found, err := a.registry.Meta().Entity(c.ctx, c.caller.Account, kind, e.Name); err == nil {
			e = found
		} else if !errors.Is(err, fault.NoSuchEntity) {
			return nil, err
		}
		if newName != "" {
			e.Name = newName
		}
		if newPath != "" {
			e.Path = newPath
		}
		after := iamAccess(c, e)
		after.Keys = all[0].Keys // it keeps its tags
		return append(all, after), nil
	}
}

func onRole(a *API, c *call, in awswire.Input) ([]identity.Access, error) {
	return onEntity(a, c, meta.Role, member(in, "RoleName"), member(in, "Path"))
}

func onProfile(a *API, c *call, in awswire.Input) ([]identity.Access, error) {
	return onEntity(a, c, meta.InstanceProfile, member(in, "InstanceProfileName"), member(in, "Path"))
}

// onServiceRole is for making a service-linked role, before its name is known.
func onServiceRole(_ *API, c *call, in awswire.Input) ([]identity.Access, error) {
	service := member(in, "AWSServiceName")
	access := iamAccess(c, meta.Entity{Account: c.caller.Account, Kind: meta.Role, Path: "/aws-service-role/" + service + "/", Name: "*"})
	access.Keys = []identity.ConditionKey{{Name: "iam:AWSServiceName", Values: []string{service}}}
	return one(access, nil)
}

// onPolicy is for actions on a managed policy, by its ARN or, to make one, by its name.
func onPolicy(a *API, c *call, in awswire.Input) ([]identity.Access, error) {
	arn := member(in, "PolicyArn")
	if arn == "" {
		return onEntity(a, c, meta.ManagedPolicy, member(in, "PolicyName"), member(in, "Path"))
	}
	prefix := "arn:aws:iam::" + c.caller.Account.String() + ":policy/"
	if path, ok := strings.CutPrefix(arn, prefix); ok {
		i := strings.LastIndexByte(path, '/') + 1
		return onEntity(a, c, meta.ManagedPolicy, path[i:], "/"+path[:i])
	}
	return one(identity.Access{Account: c.caller.Account, Region: c.region, Resource: arn}, nil)
}

// onProvider is for actions on an identity provider, by its ARN or, to make one, by its address.
func onProvider(a *API, c *call, in awswire.Input) ([]identity.Access, error) {
	_, host, _ := strings.Cut(member(in, "OpenIDConnectProviderArn"), ":oidc-provider/")
	if host == "" {
		host = strings.TrimPrefix(member(in, "Url"), "https://")
	}
	return onEntity(a, c, meta.OIDCProvider, host, "")
}

// onKeyOwner is for actions on an access key: on the user it belongs to. A key of another account, or of none, is the account's
// own business to be told nothing about.
func onKeyOwner(a *API, c *call, in awswire.Input) ([]identity.Access, error) {
	k, err := a.registry.Meta().AccessKey(c.ctx, member(in, "AccessKeyId"))
	if err == nil && k.Account == c.caller.Account {
		if e, err := a.registry.Meta().EntityByID(c.ctx, k.Principal); err == nil {
			return one(iamAccess(c, e), nil)
		}
		return one(identity.Access{Account: c.caller.Account, Region: c.region, Resource: identity.RootARN(c.caller.Account)}, nil)
	}
	if err != nil && !errors.Is(err, fault.AccessKeyNotFound) {
		return nil, err
	}
	return one(iamAccess(c, meta.Entity{Account: c.caller.Account, Kind: meta.User, Name: "*"}), nil)
}

// onPolicySource is for simulations: on the user, group or role whose policies they are about.
func onPolicySource(_ *API, c *call, in awswire.Input) ([]identity.Access, error) {
	return one(identity.Access{Account: c.caller.Account, Region: c.region, Resource: member(in, "PolicySourceArn")}, nil)
}

const boundaryKey = "iam:PermissionsBoundary"

// bounded are the operations whose condition key iam:PermissionsBoundary is the boundary that the user or role has, or in those
// that set one, gets. Source: service authorization reference of IAM.
var bounded = map[string]bool{
	"CreateUser": true, "PutUserPermissionsBoundary": true, "DeleteUserPermissionsBoundary": true,
	"PutUserPolicy": true, "DeleteUserPolicy": true, "AttachUserPolicy": true, "DetachUserPolicy": true,
	"CreateRole": true, "PutRolePermissionsBoundary": true, "DeleteRolePermissionsBoundary": true,
	"PutRolePolicy": true, "DeleteRolePolicy": true, "AttachRolePolicy": true, "DetachRolePolicy": true,
}

// withIAMKeys adds the condition keys of IAM that delegated administration is built on: which policy is attached, and which
// boundary the user or role has. Source: service authorization reference of IAM.
func withIAMKeys(operationName string, on target) target {
	return func(a *API, c *call, in awswire.Input) ([]identity.Access, error) {
		all, err := on(a, c, in)
		if err != nil {
			return nil, err
		}
		for i := range all {
			all[i].Keys = slices.Clone(all[i].Keys) // several accesses may have the same ones
			if arn := member(in, "PolicyArn"); arn != "" {
				all[i].Keys = append(all[i].Keys, identity.ConditionKey{Name: "iam:PolicyARN", Values: []string{arn}})
			}
			arn := member(in, "PermissionsBoundary")
			if arn != "" || !bounded[operationName] {
				all[i].Keys = slices.DeleteFunc(all[i].Keys, func(k identity.ConditionKey) bool { return k.Name == boundaryKey })
			}
			if arn != "" {
				all[i].Keys = append(all[i].Keys, identity.ConditionKey{Name: boundaryKey, Values: []string{arn}})
			}
		}
		return all, nil
	}
}
