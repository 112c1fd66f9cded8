package iam

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/fault"
	"github.com/ecrin-dev/ecrin/internal/guard"
	"github.com/ecrin-dev/ecrin/internal/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/identity"
	"github.com/ecrin-dev/ecrin/internal/meta"
	"github.com/ecrin-dev/ecrin/internal/name"
)

// OnAccount resolves the caller's account, for operations that have no resource.
func OnAccount[In any](_ *Service, _ context.Context, req guard.Request, _ In) (guard.Target[guard.Nothing], error) {
	return guard.OnCaller(req), nil
}

// onAll resolves all entities of a kind of the caller's account, for listings.
func onAll(req guard.Request, kind meta.EntityKind) (guard.Target[guard.Nothing], error) {
	return guard.On(guard.Nothing{}, askOf(req, meta.Entity{Account: req.By.Account, Kind: kind, Name: "*"})), nil
}

// OnUsers resolves the users of the caller's account.
func OnUsers[In any](_ *Service, _ context.Context, req guard.Request, _ In) (guard.Target[guard.Nothing], error) {
	return onAll(req, meta.User)
}

// OnGroups resolves the groups of the caller's account.
func OnGroups[In any](_ *Service, _ context.Context, req guard.Request, _ In) (guard.Target[guard.Nothing], error) {
	return onAll(req, meta.Group)
}

// OnRoles resolves the roles of the caller's account.
func OnRoles[In any](_ *Service, _ context.Context, req guard.Request, _ In) (guard.Target[guard.Nothing], error) {
	return onAll(req, meta.Role)
}

// OnPolicies resolves the managed policies of the caller's account.
func OnPolicies[In any](_ *Service, _ context.Context, req guard.Request, _ In) (guard.Target[guard.Nothing], error) {
	return onAll(req, meta.ManagedPolicy)
}

// OnProfiles resolves the instance profiles of the caller's account.
func OnProfiles[In any](_ *Service, _ context.Context, req guard.Request, _ In) (guard.Target[guard.Nothing], error) {
	return onAll(req, meta.InstanceProfile)
}

// OnProviders resolves the identity providers of the caller's account.
func OnProviders[In any](_ *Service, _ context.Context, req guard.Request, _ In) (guard.Target[guard.Nothing], error) {
	return onAll(req, meta.OIDCProvider)
}

func askOf(req guard.Request, e meta.Entity) guard.Ask {
	return guard.Ask{Owner: req.Owner(), Region: req.Region, Resource: e.ARN()}
}

// onEntity resolves an entity of the caller's account by its name. One that does not exist is asked about by the path that it
// would have.
func (s *Service) onEntity(ctx context.Context, req guard.Request, kind meta.EntityKind, entityName, path string) (guard.Target[meta.Entity], error) {
	e := meta.Entity{Account: req.By.Account, Kind: kind, Name: entityName, Path: path}
	found, err := s.meta.Entity(ctx, req.By.Account, kind, entityName)
	if errors.Is(err, fault.NoSuchEntity) {
		t := guard.On(meta.Entity{}, askOf(req, e))
		t.Absent = err
		return t, nil
	}
	if err != nil {
		return guard.Target[meta.Entity]{}, err
	}
	ask := askOf(req, found)
	if found.Boundary != "" {
		ask.Keys = append(ask.Keys, guard.ConditionKey{Name: boundaryKey, Values: []string{found.Boundary}})
	}
	tags, err := s.meta.EntityTags(ctx, found.ID)
	for key, value := range tags {
		ask.Keys = append(ask.Keys,
			guard.ConditionKey{Name: "aws:ResourceTag/" + key, Values: []string{value}},
			guard.ConditionKey{Name: "iam:ResourceTag/" + key, Values: []string{value}})
	}
	return guard.On(found, ask), err
}

// askedPath is the path that an input gives a new entity; "" for an input without one.
func askedPath(in any) string {
	if v, ok := in.(interface{ GetPath() string }); ok {
		return v.GetPath()
	}
	return ""
}

// OnUser resolves the user that UserName names, without it the caller.
func OnUser[In interface{ GetUserName() string }](s *Service, ctx context.Context, req guard.Request, in In) (guard.Target[meta.Entity], error) {
	if user := in.GetUserName(); user != "" {
		return s.onEntity(ctx, req, meta.User, user, askedPath(in))
	}
	if req.By.Kind == identity.User { // with its tags, as if it was named
		return s.onEntity(ctx, req, meta.User, req.By.ARN[strings.LastIndexByte(req.By.ARN, '/')+1:], "")
	}
	return guard.On(meta.Entity{}, guard.Ask{Owner: req.Owner(), Region: req.Region, Resource: req.By.ARN}), nil
}

// OnGroup resolves the group that GroupName names.
func OnGroup[In interface{ GetGroupName() string }](s *Service, ctx context.Context, req guard.Request, in In) (guard.Target[meta.Entity], error) {
	return s.onEntity(ctx, req, meta.Group, in.GetGroupName(), askedPath(in))
}

// OnRole resolves the role that RoleName names.
func OnRole[In interface{ GetRoleName() string }](s *Service, ctx context.Context, req guard.Request, in In) (guard.Target[meta.Entity], error) {
	return s.onEntity(ctx, req, meta.Role, in.GetRoleName(), askedPath(in))
}

// OnProfile resolves the instance profile that InstanceProfileName names.
func OnProfile[In interface{ GetInstanceProfileName() string }](s *Service, ctx context.Context, req guard.Request, in In) (guard.Target[meta.Entity], error) {
	return s.onEntity(ctx, req, meta.InstanceProfile, in.GetInstanceProfileName(), askedPath(in))
}

// OnRenamedUser resolves a user that gets another name or path.
func OnRenamedUser(s *Service, ctx context.Context, req guard.Request, in *iamtypes.UpdateUserRequest) (guard.Target[meta.Entity], error) {
	return s.onRenamed(ctx, req, meta.User, in.UserName, in.NewUserName, in.NewPath)
}

// OnRenamedGroup resolves a group that gets another name or path.
func OnRenamedGroup(s *Service, ctx context.Context, req guard.Request, in *iamtypes.UpdateGroupRequest) (guard.Target[meta.Entity], error) {
	return s.onRenamed(ctx, req, meta.Group, in.GroupName, in.NewGroupName, in.NewPath)
}

// onRenamed resolves an entity that gets another name or path: the right is needed on what it is and on what it will be.
// Source: IAM API reference, UpdateUser, UpdateGroup.
func (s *Service) onRenamed(ctx context.Context, req guard.Request, kind meta.EntityKind, entityName, newName, newPath string) (guard.Target[meta.Entity], error) {
	t, err := s.onEntity(ctx, req, kind, entityName, "")
	if err != nil || newName == "" && newPath == "" {
		return t, err
	}
	e := t.Value
	if e.ID == "" {
		e = meta.Entity{Account: req.By.Account, Kind: kind, Name: entityName}
	}
	if newName != "" {
		e.Name = newName
	}
	if newPath != "" {
		e.Path = newPath
	}
	after := askOf(req, e)
	after.Keys = t.Asks[0].Keys // it keeps its tags
	t.Asks = append(t.Asks, after)
	return t, nil
}

// OnServiceRole resolves a service-linked role to be made, before its name is known.
func OnServiceRole(_ *Service, _ context.Context, req guard.Request, in *iamtypes.CreateServiceLinkedRoleRequest) (guard.Target[guard.Nothing], error) {
	ask := askOf(req, meta.Entity{Account: req.By.Account, Kind: meta.Role, Path: "/aws-service-role/" + in.AWSServiceName + "/", Name: "*"})
	ask.Keys = []guard.ConditionKey{{Name: "iam:AWSServiceName", Values: []string{in.AWSServiceName}}}
	return guard.On(guard.Nothing{}, ask), nil
}

// OnNewPolicy resolves the name of a managed policy to be made.
func OnNewPolicy(s *Service, ctx context.Context, req guard.Request, in *iamtypes.CreatePolicyRequest) (guard.Target[meta.Entity], error) {
	return s.onEntity(ctx, req, meta.ManagedPolicy, in.PolicyName, in.Path)
}

// OnPolicy resolves a managed policy by its ARN.
func OnPolicy[In interface{ GetPolicyArn() string }](s *Service, ctx context.Context, req guard.Request, in In) (guard.Target[meta.Entity], error) {
	arn := in.GetPolicyArn()
	if p, e, err := name.ParseEntityARN(arn); err == nil && e.Kind == name.IAMPolicy && p.Account == req.By.Account {
		return s.onEntity(ctx, req, meta.ManagedPolicy, e.Name, e.Path)
	}
	return guard.On(meta.Entity{}, guard.Ask{Owner: req.Owner(), Region: req.Region, Resource: arn}), nil
}

// OnNewProvider resolves the address of an identity provider to be made.
func OnNewProvider(s *Service, ctx context.Context, req guard.Request, in *iamtypes.CreateOpenIDConnectProviderRequest) (guard.Target[meta.Entity], error) {
	return s.onEntity(ctx, req, meta.OIDCProvider, strings.TrimPrefix(in.Url, "https://"), "")
}

// OnProvider resolves an identity provider by its ARN.
func OnProvider[In interface{ GetOpenIDConnectProviderArn() string }](s *Service, ctx context.Context, req guard.Request, in In) (guard.Target[meta.Entity], error) {
	_, e, err := name.ParseEntityARN(in.GetOpenIDConnectProviderArn())
	if err != nil || e.Kind != name.OIDCProvider {
		e.Name = "" // the operation refuses the ARN
	}
	return s.onEntity(ctx, req, meta.OIDCProvider, e.Name, "")
}

// OnKeyOwner resolves the user that an access key belongs to. A key of another account is as unknown as one that does not
// exist.
func OnKeyOwner(s *Service, ctx context.Context, req guard.Request, in *iamtypes.GetAccessKeyLastUsedRequest) (guard.Target[meta.AccessKey], error) {
	k, err := s.meta.AccessKey(ctx, in.AccessKeyId)
	if err == nil && k.Account == req.By.Account {
		if e, err := s.meta.EntityByID(ctx, k.Principal); err == nil {
			return guard.On(k, askOf(req, e)), nil
		}
		return guard.On(k, guard.Ask{Owner: req.Owner(), Region: req.Region, Resource: identity.RootARN(req.By.Account)}), nil
	}
	if err != nil && !errors.Is(err, fault.AccessKeyNotFound) {
		return guard.Target[meta.AccessKey]{}, err
	}
	return guard.On(meta.AccessKey{}, askOf(req, meta.Entity{Account: req.By.Account, Kind: meta.User, Name: "*"})), nil
}

// OnPolicySource resolves the user, group or role whose policies a simulation is about.
func OnPolicySource[In interface{ GetPolicySourceArn() string }](_ *Service, _ context.Context, req guard.Request, in In) (guard.Target[guard.Nothing], error) {
	return guard.On(guard.Nothing{}, guard.Ask{Owner: req.Owner(), Region: req.Region, Resource: in.GetPolicySourceArn()}), nil
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

// WithKeys adds the condition keys that every operation of IAM with the same members has: the resource tags of the request,
// which policy is attached, and which boundary the user or role has. Source: service authorization reference of IAM.
func WithKeys(operation string, asks []guard.Ask, in any) []guard.Ask {
	asks = guard.WithRequestTags(asks, in)
	policyARN, boundary := "", ""
	if v, ok := in.(interface{ GetPolicyArn() string }); ok {
		policyARN = v.GetPolicyArn()
	}
	if v, ok := in.(interface{ GetPermissionsBoundary() string }); ok {
		boundary = v.GetPermissionsBoundary()
	}
	for i := range asks {
		keys := slices.Clone(asks[i].Keys) // several asks may have the same ones
		if policyARN != "" {
			keys = append(keys, guard.ConditionKey{Name: "iam:PolicyARN", Values: []string{policyARN}})
		}
		if boundary != "" || !bounded[operation] {
			keys = slices.DeleteFunc(keys, func(k guard.ConditionKey) bool { return k.Name == boundaryKey })
		}
		if boundary != "" {
			keys = append(keys, guard.ConditionKey{Name: boundaryKey, Values: []string{boundary}})
		}
		asks[i].Keys = keys
	}
	return asks
}
