package iam

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
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

// onEntity resolves an entity of the caller's account by its name. If the entity does not exist, the value is zero, and
// the decision uses an ARN with the path that the entity would have.
func (s *Service) onEntity(ctx context.Context, req guard.Request, kind meta.EntityKind, entityName,
	path string) (guard.Target[meta.Entity], error) {
	found, err := s.meta.Entity(ctx, req.By.Account, kind, entityName)
	if errors.Is(err, fault.NoSuchEntity) {
		t := guard.On(meta.Entity{}, askOf(req, meta.Entity{Account: req.By.Account, Kind: kind, Name: entityName, Path: path}))
		t.Absent = err
		return t, nil
	}
	if err != nil {
		return guard.Target[meta.Entity]{}, err
	}
	return s.onFound(ctx, req, found)
}

// onFound resolves an entity that was found, with the condition keys of its boundary and tags.
func (s *Service) onFound(ctx context.Context, req guard.Request, e meta.Entity) (guard.Target[meta.Entity], error) {
	ask := askOf(req, e)
	if e.Boundary != "" {
		ask.Keys = append(ask.Keys, guard.ConditionKey{Name: boundaryKey, Values: []string{e.Boundary}})
	}
	tags, err := s.meta.EntityTags(ctx, e.ID)
	for key, value := range tags {
		ask.Keys = append(ask.Keys,
			guard.ConditionKey{Name: "aws:ResourceTag/" + key, Values: []string{value}},
			guard.ConditionKey{Name: "iam:ResourceTag/" + key, Values: []string{value}})
	}
	return guard.On(e, ask), err
}

// onNew resolves an entity to be made. The decision uses the path and name of the new entity, even if an entity with
// that name exists: the existing entity could be deleted before the operation makes the new one.
func onNew[T any](req guard.Request, kind meta.EntityKind, entityName, path string, value T) guard.Target[T] {
	return guard.On(value, askOf(req, meta.Entity{Account: req.By.Account, Kind: kind, Name: entityName, Path: path}))
}

// absence splits the error of a look-up. absent is an error of the request, which names an entity that does not exist
// or has an invalid name; failure is any other error.
func absence(err error) (absent, failure error) {
	for _, code := range []fault.Code{fault.NoSuchEntity, fault.InvalidInput, fault.Validation, fault.PolicyNotAttachable} {
		if errors.Is(err, code) {
			return err, nil
		}
	}
	return nil, err
}

// OnUser resolves the user that UserName names.
func OnUser[In interface{ GetUserName() string }](s *Service, ctx context.Context, req guard.Request,
	in In) (guard.Target[meta.Entity], error) {
	return s.onEntity(ctx, req, meta.User, in.GetUserName(), "")
}

// Changed is a user, group or role of which a policy is replaced, with what the request has seen of that policy.
type Changed struct {
	meta.Entity
	If guard.Precondition
}

func changed(req guard.Request, t guard.Target[meta.Entity], err error) (guard.Target[Changed], error) {
	return guard.Target[Changed]{Value: Changed{t.Value, req.If}, Asks: t.Asks, Absent: t.Absent}, err
}

// OnChangedUser is OnUser for an operation that replaces a policy of the user.
func OnChangedUser[In interface{ GetUserName() string }](s *Service, ctx context.Context, req guard.Request,
	in In) (guard.Target[Changed], error) {
	t, err := OnUser(s, ctx, req, in)
	return changed(req, t, err)
}

// OnChangedGroup is OnGroup for an operation that replaces a policy of the group.
func OnChangedGroup[In interface{ GetGroupName() string }](s *Service, ctx context.Context, req guard.Request,
	in In) (guard.Target[Changed], error) {
	t, err := OnGroup(s, ctx, req, in)
	return changed(req, t, err)
}

// OnChangedRole is OnRole for an operation that replaces a policy of the role.
func OnChangedRole[In interface{ GetRoleName() string }](s *Service, ctx context.Context, req guard.Request,
	in In) (guard.Target[Changed], error) {
	t, err := OnRole(s, ctx, req, in)
	return changed(req, t, err)
}

// OnUserOrCaller resolves the user that UserName names, or without UserName the caller. The value is zero for a root
// user.
func OnUserOrCaller(s *Service, ctx context.Context, req guard.Request, in *iamtypes.GetUserRequest) (guard.Target[meta.Entity], error) {
	t, err := s.onUserOrCaller(ctx, req, in.UserName)
	if in.UserName == "" && req.By.Kind != identity.User && req.By.Kind != identity.Root {
		t.Absent = mustNameUser()
	}
	return t, err
}

// onUserOrCaller resolves the user with a name, or for "" the caller. The value is zero for a caller that is not a
// user.
func (s *Service) onUserOrCaller(ctx context.Context, req guard.Request, userName string) (guard.Target[meta.Entity], error) {
	if userName != "" {
		return s.onEntity(ctx, req, meta.User, userName, "")
	}
	t := guard.On(meta.Entity{}, guard.Ask{Owner: req.Owner(), Region: req.Region, Resource: req.By.ARN})
	if req.By.Kind != identity.User {
		return t, nil
	}
	e, err := s.meta.EntityByID(ctx, req.By.Principal)
	if errors.Is(err, fault.NoSuchEntity) {
		t.Absent = err
		return t, nil
	}
	if err != nil {
		return t, err
	}
	return s.onFound(ctx, req, e) // with its tags, as if it was named
}

// OnNewUser resolves a user to be made. The value is its permissions boundary, zero for none.
func OnNewUser(s *Service, ctx context.Context, req guard.Request, in *iamtypes.CreateUserRequest) (guard.Target[ManagedPolicy], error) {
	return s.onNewBounded(ctx, req, meta.User, in.UserName, in.Path, in.PermissionsBoundary)
}

// OnNewRole resolves a role to be made. The value is its permissions boundary, zero for none.
func OnNewRole(s *Service, ctx context.Context, req guard.Request, in *iamtypes.CreateRoleRequest) (guard.Target[ManagedPolicy], error) {
	return s.onNewBounded(ctx, req, meta.Role, in.RoleName, in.Path, in.PermissionsBoundary)
}

func (s *Service) onNewBounded(ctx context.Context, req guard.Request, kind meta.EntityKind, entityName, path,
	boundary string) (t guard.Target[ManagedPolicy], err error) {
	t = onNew(req, kind, entityName, path, ManagedPolicy{})
	if boundary != "" {
		t.Value, err = s.boundaryPolicy(ctx, req.By.Account, boundary)
		t.Absent, err = absence(err)
	}
	return t, err
}

// OnGroup resolves the group that GroupName names.
func OnGroup[In interface{ GetGroupName() string }](s *Service, ctx context.Context, req guard.Request,
	in In) (guard.Target[meta.Entity], error) {
	return s.onEntity(ctx, req, meta.Group, in.GetGroupName(), "")
}

// OnNewGroup resolves a group to be made.
func OnNewGroup(_ *Service, _ context.Context, req guard.Request, in *iamtypes.CreateGroupRequest) (guard.Target[guard.Nothing], error) {
	return onNew(req, meta.Group, in.GroupName, in.Path, guard.Nothing{}), nil
}

// Membership is a group and a user, or an instance profile and a role.
type Membership struct{ Container, Member meta.Entity }

// OnMembership resolves a group and a user. The request needs the action on the group only.
// Source: service authorization reference of IAM, AddUserToGroup.
func OnMembership[In interface {
	GetGroupName() string
	GetUserName() string
}](s *Service, ctx context.Context, req guard.Request, in In) (guard.Target[Membership], error) {
	t, err := s.onMembership(ctx, req, meta.Group, in.GetGroupName(), meta.User, in.GetUserName())
	if err == nil && t.Value.Container.ID == "" { // of a user and a group that do not exist, IAM names the user
		var absent error
		_, err = s.meta.Entity(ctx, req.By.Account, meta.User, in.GetUserName())
		if absent, err = absence(err); absent != nil {
			t.Absent = absent
		}
	}
	return t, err
}

func (s *Service) onMembership(ctx context.Context, req guard.Request, kind meta.EntityKind, container string,
	memberKind meta.EntityKind, member string) (guard.Target[Membership], error) {
	in, err := s.onEntity(ctx, req, kind, container, "")
	t := guard.Target[Membership]{Value: Membership{Container: in.Value}, Asks: in.Asks, Absent: in.Absent}
	if err != nil || t.Absent != nil {
		return t, err
	}
	t.Value.Member, err = s.meta.Entity(ctx, req.By.Account, memberKind, member)
	t.Absent, err = absence(err)
	return t, err
}

// OnRole resolves the role that RoleName names.
func OnRole[In interface{ GetRoleName() string }](s *Service, ctx context.Context, req guard.Request,
	in In) (guard.Target[meta.Entity], error) {
	return s.onEntity(ctx, req, meta.Role, in.GetRoleName(), "")
}

// OnProfile resolves the instance profile that InstanceProfileName names.
func OnProfile[In interface{ GetInstanceProfileName() string }](s *Service, ctx context.Context, req guard.Request,
	in In) (guard.Target[meta.Entity], error) {
	return s.onEntity(ctx, req, meta.InstanceProfile, in.GetInstanceProfileName(), "")
}

// OnNewProfile resolves an instance profile to be made.
func OnNewProfile(_ *Service, _ context.Context, req guard.Request,
	in *iamtypes.CreateInstanceProfileRequest) (guard.Target[guard.Nothing], error) {
	return onNew(req, meta.InstanceProfile, in.InstanceProfileName, in.Path, guard.Nothing{}), nil
}

// OnProfileRole resolves an instance profile and a role. The request needs the action on the instance profile only.
func OnProfileRole[In interface {
	GetInstanceProfileName() string
	GetRoleName() string
}](s *Service, ctx context.Context, req guard.Request, in In) (guard.Target[Membership], error) {
	return s.onMembership(ctx, req, meta.InstanceProfile, in.GetInstanceProfileName(), meta.Role, in.GetRoleName())
}

// OnRenamedUser resolves a user that gets another name or path.
func OnRenamedUser(s *Service, ctx context.Context, req guard.Request, in *iamtypes.UpdateUserRequest) (guard.Target[meta.Entity], error) {
	return s.onRenamed(ctx, req, meta.User, in.UserName, in.NewUserName, in.NewPath)
}

// OnRenamedGroup resolves a group that gets another name or path.
func OnRenamedGroup(s *Service, ctx context.Context, req guard.Request,
	in *iamtypes.UpdateGroupRequest) (guard.Target[meta.Entity], error) {
	return s.onRenamed(ctx, req, meta.Group, in.GroupName, in.NewGroupName, in.NewPath)
}

// onRenamed resolves an entity that gets another name or path. The request needs the action on the old and on the new
// ARN.
// Source: IAM API reference, UpdateUser, UpdateGroup.
func (s *Service) onRenamed(ctx context.Context, req guard.Request, kind meta.EntityKind, entityName, newName,
	newPath string) (guard.Target[meta.Entity], error) {
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

// OnServiceRole resolves a service-linked role to be made. Its name is not known yet.
func OnServiceRole(_ *Service, _ context.Context, req guard.Request,
	in *iamtypes.CreateServiceLinkedRoleRequest) (guard.Target[guard.Nothing], error) {
	ask := askOf(req, meta.Entity{Account: req.By.Account, Kind: meta.Role, Path: "/aws-service-role/" + in.AWSServiceName + "/", Name: "*"})
	ask.Keys = []guard.ConditionKey{{Name: "iam:AWSServiceName", Values: []string{in.AWSServiceName}}}
	return guard.On(guard.Nothing{}, ask), nil
}

// OnNewPolicy resolves a managed policy to be made.
func OnNewPolicy(_ *Service, _ context.Context, req guard.Request, in *iamtypes.CreatePolicyRequest) (guard.Target[guard.Nothing], error) {
	return onNew(req, meta.ManagedPolicy, in.PolicyName, in.Path, guard.Nothing{}), nil
}

// OnPolicy resolves a managed policy by its ARN, of the account or of AWS.
func OnPolicy[In interface{ GetPolicyArn() string }](s *Service, ctx context.Context, req guard.Request,
	in In) (guard.Target[ManagedPolicy], error) {
	arn := in.GetPolicyArn()
	t := guard.On(ManagedPolicy{}, guard.Ask{Owner: req.Owner(), Region: req.Region, Resource: arn})
	var e meta.Entity
	if p, named, err := name.ParseEntityARN(arn); err == nil && named.Kind == name.IAMPolicy && p.Account == req.By.Account {
		found, err := s.onEntity(ctx, req, meta.ManagedPolicy, named.Name, named.Path)
		if err != nil {
			return t, err
		}
		t.Asks, e = found.Asks, found.Value
	}
	if t.Absent = policyARN(arn); t.Absent != nil {
		return t, nil
	}
	if m, ok := identity.ManagedPolicy(arn); ok {
		t.Value = ManagedPolicy{ARN: m.ARN, AWS: &m}
	} else if e.ID != "" && e.ARN() == arn {
		t.Value = ManagedPolicy{ARN: arn, Entity: e}
	} else {
		t.Absent = missingPolicy(arn, in)
	}
	return t, nil
}

// missingPolicy is the answer of an operation about a managed policy that does not exist. Source: answers of IAM.
func missingPolicy(arn string, in any) error {
	switch in := in.(type) {
	case *iamtypes.GetPolicyRequest, *iamtypes.DeletePolicyRequest:
		return fault.NoSuchEntity.New("Policy %s was not found.", name.Clip(arn))
	case *iamtypes.GetPolicyVersionRequest:
		return noVersion(arn, in.VersionId)
	case *iamtypes.SetDefaultPolicyVersionRequest:
		return noVersion(arn, in.VersionId)
	}
	return noPolicy(arn)
}

// OnNewProvider resolves an identity provider to be made.
func OnNewProvider(_ *Service, _ context.Context, req guard.Request,
	in *iamtypes.CreateOpenIDConnectProviderRequest) (guard.Target[guard.Nothing], error) {
	return onNew(req, meta.OIDCProvider, strings.TrimPrefix(in.Url, "https://"), "", guard.Nothing{}), nil
}

// OnProvider resolves an identity provider by its ARN.
func OnProvider[In interface{ GetOpenIDConnectProviderArn() string }](s *Service, ctx context.Context, req guard.Request,
	in In) (guard.Target[meta.Entity], error) {
	arn := in.GetOpenIDConnectProviderArn()
	_, named, err := name.ParseEntityARN(arn)
	if err != nil || named.Kind != name.OIDCProvider {
		named.Name = "" // the error of issuerIn has the reason
	}
	t, err := s.onEntity(ctx, req, meta.OIDCProvider, named.Name, "")
	if err != nil {
		return t, err
	}
	switch issuer, bad := issuerIn(req.By.Account, arn); {
	case bad != nil:
		t.Value, t.Absent = meta.Entity{}, bad
	case issuer == "" || t.Absent != nil:
		t.Value, t.Absent = meta.Entity{}, noProvider(arn)
	}
	return t, nil
}

// OnProviderOrNone resolves an identity provider by its ARN. The value is zero if the provider does not exist.
func OnProviderOrNone(s *Service, ctx context.Context, req guard.Request,
	in *iamtypes.DeleteOpenIDConnectProviderRequest) (guard.Target[meta.Entity], error) {
	t, err := OnProvider(s, ctx, req, in)
	if errors.Is(t.Absent, fault.NoSuchEntity) {
		t.Absent = nil
	}
	return t, err
}

// OnPolicySource resolves the user, group or role that a request names as the source of policies. The decision uses the
// ARN in the request.
func OnPolicySource[In interface{ GetPolicySourceArn() string }](s *Service, ctx context.Context, req guard.Request,
	in In) (guard.Target[meta.Entity], error) {
	t := guard.On(meta.Entity{}, guard.Ask{Owner: req.Owner(), Region: req.Region, Resource: in.GetPolicySourceArn()})
	var err error
	t.Value, err = s.policySource(ctx, req.By.Account, in.GetPolicySourceArn())
	t.Absent, err = absence(err)
	return t, err
}

const boundaryKey = "iam:PermissionsBoundary"

// bounded are the operations with the condition key iam:PermissionsBoundary. Its value is the boundary that the
// operation sets, or otherwise the current boundary of the user or role. Source: service authorization reference of
// IAM.
var bounded = map[string]bool{
	"CreateUser": true, "PutUserPermissionsBoundary": true, "DeleteUserPermissionsBoundary": true,
	"PutUserPolicy": true, "DeleteUserPolicy": true, "AttachUserPolicy": true, "DetachUserPolicy": true,
	"CreateRole": true, "PutRolePermissionsBoundary": true, "DeleteRolePermissionsBoundary": true,
	"PutRolePolicy": true, "DeleteRolePolicy": true, "AttachRolePolicy": true, "DetachRolePolicy": true,
}

// WithKeys returns the asks with the condition keys that follow from the members of a request: the tags of the request,
// the policy to be attached or detached, and the boundary of the user or role. Source: service authorization reference
// of IAM.
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
		keys := slices.Clone(asks[i].Keys) // several asks may share one slice
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
