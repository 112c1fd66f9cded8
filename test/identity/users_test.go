package identity_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/smithy-go"
)

func tags(pairs ...string) []types.Tag {
	var all []types.Tag
	for i := 0; i+1 < len(pairs); i += 2 {
		all = append(all, types.Tag{Key: &pairs[i], Value: &pairs[i+1]})
	}
	return all
}

func tagTexts(all []types.Tag) []string {
	return each(all, func(v types.Tag) *string { return aws.String(*v.Key + "=" + *v.Value) })
}

func users(t *testing.T, root actor) {
	made := do(t, root.iam.CreateUser, iam.CreateUserInput{UserName: aws.String("ada"), Path: aws.String("/dev/"),
		Tags: tags("team", "core")}).User
	wantText(t, "ARN", made.Arn, root.arn("user/dev/ada"))
	if !strings.HasPrefix(*made.UserId, "AIDA") || len(*made.UserId) != 21 || time.Since(*made.CreateDate).Abs() > time.Hour {
		t.Errorf("CreateUser: got id %q and date %v, want AIDA and 17 characters, and now", *made.UserId, made.CreateDate)
	}
	err := iam.NewUserExistsWaiter(root.iam).Wait(t.Context(), &iam.GetUserInput{UserName: aws.String("ada")}, time.Minute)
	if err != nil {
		t.Errorf("waiting for a user that exists: %v", err)
	}
	ada := aws.String("ada")
	if n := len(do(t, root.iam.ListMFADevices, iam.ListMFADevicesInput{UserName: ada}).MFADevices) +
		len(do(t, root.iam.ListSSHPublicKeys, iam.ListSSHPublicKeysInput{UserName: ada}).SSHPublicKeys) +
		len(do(t, root.iam.ListServiceSpecificCredentials, iam.ListServiceSpecificCredentialsInput{UserName: ada}).ServiceSpecificCredentials) +
		len(do(t, root.iam.ListSigningCertificates, iam.ListSigningCertificatesInput{UserName: ada}).Certificates) +
		len(do(t, root.iam.ListVirtualMFADevices, iam.ListVirtualMFADevicesInput{}).VirtualMFADevices); n != 0 {
		t.Errorf("credentials that no operation makes: got %d, want none", n)
	}
	// The waiter treats the error for a missing user as "not yet", and ends by its own limit.
	err = iam.NewUserExistsWaiter(root.iam, func(o *iam.UserExistsWaiterOptions) {
		o.MinDelay, o.MaxDelay = time.Millisecond, time.Millisecond
	}).
		Wait(t.Context(), &iam.GetUserInput{UserName: aws.String("absent")}, 20*time.Millisecond)
	if err == nil || errors.As(err, new(smithy.APIError)) {
		t.Errorf("waiting for a user that does not exist: got %v, want the waiter's own error", err)
	}

	got := do(t, root.iam.GetUser, iam.GetUserInput{UserName: aws.String("ada")}).User
	wantText(t, "GetUser", got.UserId, *made.UserId)
	wantText(t, "its path", got.Path, "/dev/")
	self := do(t, root.iam.GetUser, iam.GetUserInput{}).User
	wantText(t, "GetUser of the root user", self.Arn, root.arn("root"))

	for _, n := range []string{"bea", "cleo", "dan", "eve"} {
		do(t, root.iam.CreateUser, iam.CreateUserInput{UserName: &n})
	}
	list := func(out *iam.ListUsersOutput) []string {
		return each(out.Users, func(u types.User) *string { return u.UserName })
	}
	wantPages(t, iam.NewListUsersPaginator(root.iam, &iam.ListUsersInput{MaxItems: aws.Int32(2)}), list, 3, "ada", "bea", "cleo", "dan", "eve")
	wantPages(t, iam.NewListUsersPaginator(root.iam, &iam.ListUsersInput{PathPrefix: aws.String("/dev/")}), list, 1, "ada")

	do(t, root.iam.UpdateUser, iam.UpdateUserInput{UserName: aws.String("ada"), NewUserName: aws.String("Ada.L"),
		NewPath: aws.String("/ops/")})
	got = do(t, root.iam.GetUser, iam.GetUserInput{UserName: aws.String("Ada.L")}).User
	wantText(t, "after UpdateUser", got.Arn, root.arn("user/ops/Ada.L"))
	wantText(t, "the id after UpdateUser", got.UserId, *made.UserId)

	ada = aws.String("Ada.L")
	do(t, root.iam.TagUser, iam.TagUserInput{UserName: ada, Tags: tags("Mail", "a+b@example.com", "note", "größe: 5 + ü")})
	wantPages(t, iam.NewListUserTagsPaginator(root.iam, &iam.ListUserTagsInput{UserName: ada, MaxItems: aws.Int32(2)}),
		func(out *iam.ListUserTagsOutput) []string { return tagTexts(out.Tags) }, 2, "Mail=a+b@example.com", "note=größe: 5 + ü", "team=core")
	do(t, root.iam.UntagUser, iam.UntagUserInput{UserName: ada, TagKeys: []string{"note", "team"}})
	if got := tagTexts(do(t, root.iam.GetUser, iam.GetUserInput{UserName: ada}).User.Tags); len(got) != 1 || got[0] != "Mail=a+b@example.com" {
		t.Errorf("tags after UntagUser: got %q, want Mail alone", got)
	}

	limit := do(t, root.iam.CreatePolicy, iam.CreatePolicyInput{PolicyName: aws.String("limit"),
		PolicyDocument: aws.String(allow("ecr:*", "*"))}).Policy.Arn
	do(t, root.iam.PutUserPermissionsBoundary, iam.PutUserPermissionsBoundaryInput{UserName: ada, PermissionsBoundary: limit})
	b := do(t, root.iam.GetUser, iam.GetUserInput{UserName: ada}).User.PermissionsBoundary
	if b == nil || *b.PermissionsBoundaryArn != *limit || b.PermissionsBoundaryType != "Policy" {
		t.Errorf("the boundary: got %+v, want %s", b, *limit)
	}
	do(t, root.iam.DeleteUserPermissionsBoundary, iam.DeleteUserPermissionsBoundaryInput{UserName: ada})
	if got := do(t, root.iam.GetUser, iam.GetUserInput{UserName: ada}).User.PermissionsBoundary; got != nil {
		t.Errorf("the boundary after it was deleted: got %+v, want none", got)
	}

	do(t, root.iam.DeleteUser, iam.DeleteUserInput{UserName: ada})
	wantPages(t, iam.NewListUsersPaginator(root.iam, &iam.ListUsersInput{}), list, 1, "bea", "cleo", "dan", "eve")
}

func userPolicies(t *testing.T, root actor) {
	ada := root.user(t, "ada")
	user := aws.String("ada")
	document := `{"Version": "2012-10-17",` + "\n" +
		` "Statement": {"Sid": "a", "Effect": "Allow", "Action": "iam:GetUser", "Resource": "arn:aws:iam::*:user/${aws:username}"}}`
	_, err := ada.iam.GetUser(t.Context(), &iam.GetUserInput{})
	wantCode(t, "GetUser without a right", err, "AccessDenied", "is not authorized to perform: iam:GetUser on resource: "+
		root.arn("user/ada")+" because no identity-based policy allows the iam:GetUser action")
	do(t, root.iam.PutUserPolicy, iam.PutUserPolicyInput{UserName: user, PolicyName: aws.String("own"), PolicyDocument: &document})
	wantText(t, "GetUser of oneself", do(t, ada.iam.GetUser, iam.GetUserInput{}).User.UserName, "ada")
	got := do(t, root.iam.GetUserPolicy, iam.GetUserPolicyInput{UserName: user, PolicyName: aws.String("own")})
	wantDocument(t, "GetUserPolicy", got.PolicyDocument, document)
	wantText(t, "its user", got.UserName, "ada")
	for _, n := range []string{"more", "Even+more@home"} {
		do(t, root.iam.PutUserPolicy, iam.PutUserPolicyInput{UserName: user, PolicyName: &n, PolicyDocument: aws.String(allow("ecr:*", "*"))})
	}
	wantPages(t, iam.NewListUserPoliciesPaginator(root.iam, &iam.ListUserPoliciesInput{UserName: user, MaxItems: aws.Int32(2)}),
		func(out *iam.ListUserPoliciesOutput) []string { return out.PolicyNames }, 2, "Even+more@home", "more", "own")
	do(t, root.iam.DeleteUserPolicy, iam.DeleteUserPolicyInput{UserName: user, PolicyName: aws.String("own")})
	_, err = ada.iam.GetUser(t.Context(), &iam.GetUserInput{})
	wantCode(t, "GetUser after DeleteUserPolicy", err, "AccessDenied", "iam:GetUser")

	all := []string{readOnly, "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPowerUser",
		"arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryFullAccess"}
	for _, arn := range all {
		do(t, root.iam.AttachUserPolicy, iam.AttachUserPolicyInput{UserName: user, PolicyArn: &arn})
	}
	wantPages(t, iam.NewListAttachedUserPoliciesPaginator(root.iam,
		&iam.ListAttachedUserPoliciesInput{UserName: user, MaxItems: aws.Int32(2)}),
		func(out *iam.ListAttachedUserPoliciesOutput) []string {
			return each(out.AttachedPolicies, func(p types.AttachedPolicy) *string { return p.PolicyArn })
		}, 2, all[2], all[1], all[0])
	for _, arn := range all {
		do(t, root.iam.DetachUserPolicy, iam.DetachUserPolicyInput{UserName: user, PolicyArn: &arn})
	}
	if got := do(t, root.iam.ListAttachedUserPolicies,
		iam.ListAttachedUserPoliciesInput{UserName: user}); len(got.AttachedPolicies) != 0 || got.IsTruncated {
		t.Errorf("after DetachUserPolicy: got %+v, want none", got.AttachedPolicies)
	}
}

func accessKeys(t *testing.T, root actor) {
	user := aws.String("ada")
	ada := root.user(t, "ada")
	first := &ada.keys.AccessKeyID
	second := do(t, root.iam.CreateAccessKey, iam.CreateAccessKeyInput{UserName: user}).AccessKey
	if !strings.HasPrefix(*second.AccessKeyId, "AKIA") || len(*second.SecretAccessKey) != 40 || second.Status != types.StatusTypeActive {
		t.Errorf("CreateAccessKey: got %s, %s and a secret of %d characters, want AKIA…, Active and 40", *second.AccessKeyId,
			second.Status, len(*second.SecretAccessKey))
	}
	_, err := root.iam.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: user})
	wantError[*types.LimitExceededException](t, "a third key", err, "AccessKeysPerUser: 2")
	wantPages(t, iam.NewListAccessKeysPaginator(root.iam, &iam.ListAccessKeysInput{UserName: user, MaxItems: aws.Int32(1)}),
		func(out *iam.ListAccessKeysOutput) []string {
			return each(out.AccessKeyMetadata, func(k types.AccessKeyMetadata) *string { return k.AccessKeyId })
		}, 2, *first, *second.AccessKeyId)

	unused := do(t, root.iam.GetAccessKeyLastUsed, iam.GetAccessKeyLastUsedInput{AccessKeyId: second.AccessKeyId})
	wantText(t, "GetAccessKeyLastUsed", unused.UserName, "ada")
	wantText(t, "service of a key that was not used", unused.AccessKeyLastUsed.ServiceName, "N/A")
	if got := unused.AccessKeyLastUsed.LastUsedDate; got != nil {
		t.Errorf("a key that was not used was used at %v", got)
	}

	wantIdentity(t, ada, root.arn("user/ada"))
	set := iam.UpdateAccessKeyInput{UserName: user, AccessKeyId: first, Status: types.StatusTypeInactive}
	do(t, root.iam.UpdateAccessKey, set)
	wantNoIdentity(t, ada)
	set.Status = types.StatusTypeActive
	do(t, root.iam.UpdateAccessKey, set)
	wantIdentity(t, ada, root.arn("user/ada"))
	do(t, root.iam.DeleteAccessKey, iam.DeleteAccessKeyInput{UserName: user, AccessKeyId: first})
	wantNoIdentity(t, ada)
}

func groups(t *testing.T, root actor) {
	made := do(t, root.iam.CreateGroup, iam.CreateGroupInput{GroupName: aws.String("devs"), Path: aws.String("/eng/")}).Group
	wantText(t, "ARN", made.Arn, root.arn("group/eng/devs"))
	if !strings.HasPrefix(*made.GroupId, "AGPA") {
		t.Errorf("CreateGroup: got id %q, want AGPA…", *made.GroupId)
	}
	do(t, root.iam.UpdateGroup, iam.UpdateGroupInput{GroupName: aws.String("devs"), NewGroupName: aws.String("makers")})
	group := aws.String("makers")
	for _, n := range []string{"ops", "qa"} {
		do(t, root.iam.CreateGroup, iam.CreateGroupInput{GroupName: &n})
	}
	names := func(all []types.Group) []string { return each(all, func(g types.Group) *string { return g.GroupName }) }
	wantPages(t, iam.NewListGroupsPaginator(root.iam, &iam.ListGroupsInput{MaxItems: aws.Int32(2)}),
		func(out *iam.ListGroupsOutput) []string { return names(out.Groups) }, 2, "makers", "ops", "qa")

	ada := root.user(t, "ada")
	for _, u := range []string{"bea", "cleo"} {
		do(t, root.iam.CreateUser, iam.CreateUserInput{UserName: &u})
		do(t, root.iam.AddUserToGroup, iam.AddUserToGroupInput{GroupName: group, UserName: &u})
	}
	for _, g := range []string{"makers", "ops"} {
		do(t, root.iam.AddUserToGroup, iam.AddUserToGroupInput{GroupName: &g, UserName: aws.String("ada")})
	}
	wantPages(t, iam.NewGetGroupPaginator(root.iam, &iam.GetGroupInput{GroupName: group, MaxItems: aws.Int32(2)}),
		func(out *iam.GetGroupOutput) []string {
			wantText(t, "GetGroup", out.Group.GroupId, *made.GroupId)
			return each(out.Users, func(u types.User) *string { return u.UserName })
		}, 2, "ada", "bea", "cleo")
	wantPages(t, iam.NewListGroupsForUserPaginator(root.iam, &iam.ListGroupsForUserInput{UserName: aws.String("ada"), MaxItems: aws.Int32(1)}),
		func(out *iam.ListGroupsForUserOutput) []string { return names(out.Groups) }, 2, "makers", "ops")

	document := allow("iam:ListGroups", root.arn("group/*"))
	do(t, root.iam.PutGroupPolicy, iam.PutGroupPolicyInput{GroupName: group, PolicyName: aws.String("own"), PolicyDocument: &document})
	do(t, ada.iam.ListGroups, iam.ListGroupsInput{}) // allowed by the group's policy
	got := do(t, root.iam.GetGroupPolicy, iam.GetGroupPolicyInput{GroupName: group, PolicyName: aws.String("own")})
	wantDocument(t, "GetGroupPolicy", got.PolicyDocument, document)
	do(t, root.iam.PutGroupPolicy, iam.PutGroupPolicyInput{GroupName: group, PolicyName: aws.String("two"), PolicyDocument: &document})
	wantPages(t, iam.NewListGroupPoliciesPaginator(root.iam, &iam.ListGroupPoliciesInput{GroupName: group, MaxItems: aws.Int32(1)}),
		func(out *iam.ListGroupPoliciesOutput) []string { return out.PolicyNames }, 2, "own", "two")
	do(t, root.iam.RemoveUserFromGroup, iam.RemoveUserFromGroupInput{GroupName: group, UserName: aws.String("ada")})
	_, err := ada.iam.ListGroups(t.Context(), &iam.ListGroupsInput{})
	wantCode(t, "ListGroups after RemoveUserFromGroup", err, "AccessDenied",
		"because no identity-based policy allows the iam:ListGroups action")

	do(t, root.iam.AttachGroupPolicy, iam.AttachGroupPolicyInput{GroupName: group, PolicyArn: aws.String(readOnly)})
	wantPages(t, iam.NewListAttachedGroupPoliciesPaginator(root.iam, &iam.ListAttachedGroupPoliciesInput{GroupName: group}),
		func(out *iam.ListAttachedGroupPoliciesOutput) []string {
			return each(out.AttachedPolicies, func(p types.AttachedPolicy) *string { return p.PolicyName })
		}, 1, "AmazonEC2ContainerRegistryReadOnly")

	_, err = root.iam.DeleteGroup(t.Context(), &iam.DeleteGroupInput{GroupName: group})
	wantError[*types.DeleteConflictException](t, "DeleteGroup with all in it", err, "")
	do(t, root.iam.DetachGroupPolicy, iam.DetachGroupPolicyInput{GroupName: group, PolicyArn: aws.String(readOnly)})
	for _, p := range []string{"own", "two"} {
		do(t, root.iam.DeleteGroupPolicy, iam.DeleteGroupPolicyInput{GroupName: group, PolicyName: &p})
	}
	for _, u := range []string{"bea", "cleo"} {
		do(t, root.iam.RemoveUserFromGroup, iam.RemoveUserFromGroupInput{GroupName: group, UserName: &u})
	}
	do(t, root.iam.DeleteGroup, iam.DeleteGroupInput{GroupName: group})
	_, err = root.iam.GetGroup(t.Context(), &iam.GetGroupInput{GroupName: group})
	wantError[*types.NoSuchEntityException](t, "GetGroup after DeleteGroup", err, "makers")
}
