package iam_test

import (
	"regexp"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

const readOnly = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly"

func TestCreateUser(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	got := *do(t, w.CreateUser, w.root, iamtypes.CreateUserRequest{
		UserName: "Alice", Path: "/dev/ops/", PermissionsBoundary: readOnly,
		Tags: []iamtypes.Tag{{Key: "team", Value: "a"}, {Key: "Stage", Value: ""}},
	}).User
	if !regexp.MustCompile(`^AIDA[A-Z2-7]{17}$`).MatchString(got.UserId) {
		t.Errorf("the unique id is %q, want AIDA and 17 of A-Z2-7", got.UserId)
	}
	want := iamtypes.User{
		Path: "/dev/ops/", UserName: "Alice", UserId: got.UserId, Arn: "arn:aws:iam::111122223333:user/dev/ops/Alice",
		CreateDate:          awswire.Time{Time: w.at},
		PermissionsBoundary: &iamtypes.AttachedPermissionsBoundary{PermissionsBoundaryType: "Policy", PermissionsBoundaryArn: readOnly},
		Tags:                []iamtypes.Tag{{Key: "Stage", Value: ""}, {Key: "team", Value: "a"}},
	}
	same(t, "CreateUser", got, want)
	same(t, "GetUser", do(t, w.GetUser, w.root, iamtypes.GetUserRequest{UserName: "Alice"}).User, want)
	want.PermissionsBoundary, want.Tags = nil, nil
	same(t, "ListUsers", do(t, w.ListUsers, w.root, iamtypes.ListUsersRequest{}).Users, []iamtypes.User{want})

	plain := w.user(t, "bob")
	same(t, "a plain user", plain, iamtypes.User{
		Path: "/", UserName: "bob", UserId: plain.UserId, Arn: "arn:aws:iam::111122223333:user/bob", CreateDate: awswire.Time{Time: w.at},
	})
	if plain.UserId == got.UserId {
		t.Errorf("two users have the unique id %s", got.UserId)
	}
}

func TestCreateUserRefused(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	w.user(t, "Alice")
	for _, c := range []struct {
		what  string
		in    iamtypes.CreateUserRequest
		want  fault.Code
		words string
	}{
		{"the same name", iamtypes.CreateUserRequest{UserName: "Alice"}, fault.EntityAlreadyExists, "User with name Alice already exists."},
		{"another case", iamtypes.CreateUserRequest{UserName: "aLICE", Path: "/x/"}, fault.EntityAlreadyExists, "already exists"},
		{"a tag twice", iamtypes.CreateUserRequest{UserName: "x", Tags: []iamtypes.Tag{{Key: "a"}, {Key: "A"}}},
			fault.InvalidInput, "Duplicate tag keys"},
		{"a reserved tag", iamtypes.CreateUserRequest{UserName: "x", Tags: []iamtypes.Tag{{Key: "AWS:a"}}}, fault.InvalidInput, "reserved"},
		{"a boundary that is not there", iamtypes.CreateUserRequest{UserName: "x",
			PermissionsBoundary: "arn:aws:iam::111122223333:policy/none"}, fault.NoSuchEntity, "policy/none does not exist"},
		{"a boundary of another account", iamtypes.CreateUserRequest{UserName: "x",
			PermissionsBoundary: "arn:aws:iam::444455556666:policy/none"}, fault.NoSuchEntity, "does not exist"},
		{"a boundary for services", iamtypes.CreateUserRequest{UserName: "x",
			PermissionsBoundary: "arn:aws:iam::aws:policy/aws-service-role/ECRReplicationServiceRolePolicy"},
			fault.PolicyNotAttachable, "service-linked"},
	} {
		t.Log(c.what)
		refuse(t, w.CreateUser, w.root, c.in, c.want, c.words)
	}
	if got := do(t, w.ListUsers, w.root, iamtypes.ListUsersRequest{}).Users; len(got) != 1 {
		t.Errorf("after refusals there are %d users, want 1: %+v", len(got), got)
	}
	w.user(t, "x") // the refused requests have not stored the name
}

// Names are unique without regard to case, and found with it.
func TestCaseOfNames(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	w.user(t, "Alice")
	w.group(t, "Ops")
	w.role(t, "Deploy")
	do(t, w.CreateInstanceProfile, w.root, iamtypes.CreateInstanceProfileRequest{InstanceProfileName: "Node"})
	refuse(t, w.GetUser, w.root, iamtypes.GetUserRequest{UserName: "alice"}, fault.NoSuchEntity, "The user with name alice cannot be found.")
	refuse(t, w.GetGroup, w.root, iamtypes.GetGroupRequest{GroupName: "ops"}, fault.NoSuchEntity, "The group with name ops cannot be found.")
	refuse(t, w.GetRole, w.root, iamtypes.GetRoleRequest{RoleName: "deploy"}, fault.NoSuchEntity, "The role with name deploy cannot be found.")
	refuse(t, w.GetInstanceProfile, w.root, iamtypes.GetInstanceProfileRequest{InstanceProfileName: "node"},
		fault.NoSuchEntity, "node cannot be found.")
	refuse(t, w.CreateGroup, w.root, iamtypes.CreateGroupRequest{GroupName: "OPS"}, fault.EntityAlreadyExists, "already exists")
	refuse(t, w.CreateRole, w.root, iamtypes.CreateRoleRequest{RoleName: "DEPLOY", AssumeRolePolicyDocument: trustEC2},
		fault.EntityAlreadyExists, "already exists")
	refuse(t, w.CreateInstanceProfile, w.root, iamtypes.CreateInstanceProfileRequest{InstanceProfileName: "NODE"},
		fault.EntityAlreadyExists, "already exists")

	// Entities of another kind or another account can have the same name.
	w.user(t, "ops")
	w.group(t, "alice")
	do(t, w.CreateUser, w.stranger, iamtypes.CreateUserRequest{UserName: "Alice"})
	do(t, w.UpdateUser, w.root, iamtypes.UpdateUserRequest{UserName: "Alice", NewUserName: "alice"}) // its own name in another case
	do(t, w.GetUser, w.root, iamtypes.GetUserRequest{UserName: "alice"})
}

// A request without a name returns the caller.
func TestGetUserItself(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	alice := w.user(t, "alice")
	c := w.callerOf(t, "alice")
	same(t, "a user", do(t, w.GetUser, c, iamtypes.GetUserRequest{}).User, alice)
	same(t, "the root user", do(t, w.GetUser, w.root, iamtypes.GetUserRequest{}).User, iamtypes.User{
		Path: "/", UserName: "root", UserId: "111122223333", Arn: "arn:aws:iam::111122223333:root", CreateDate: awswire.Time{Time: w.at},
	})
	c.SessionKey = "ASIAEXAMPLE"
	same(t, "a user with temporary credentials", do(t, w.GetUser, c, iamtypes.GetUserRequest{}).User, alice)
	for _, kind := range []identity.Kind{identity.RoleSession, identity.FederatedUser, identity.Operator} {
		refuse(t, w.GetUser, identity.Caller{Kind: kind, Account: home}, iamtypes.GetUserRequest{}, fault.Validation, "Must specify userName")
	}
	do(t, w.UpdateUser, w.root, iamtypes.UpdateUserRequest{UserName: "alice", NewUserName: "alicia"})
	if got := do(t, w.GetUser, c, iamtypes.GetUserRequest{}).User.UserName; got != "alicia" {
		t.Errorf("after a change of its name the user is %q, want alicia", got)
	}
}

// callerOf makes an access key of a user and returns the caller with this key.
func (w *fixture) callerOf(t testing.TB, userName string) identity.Caller {
	t.Helper()
	k := do(t, w.CreateAccessKey, w.root, iamtypes.CreateAccessKeyRequest{UserName: userName}).AccessKey
	c, err := w.id.KeyCaller(t.Context(), k.AccessKeyId)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A user that gets another name and path keeps its id, keys, groups, policies and tags.
func TestRenamedUser(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	before := *do(t, w.CreateUser, w.root, iamtypes.CreateUserRequest{UserName: "alice",
		Tags: []iamtypes.Tag{{Key: "k", Value: "v"}}, PermissionsBoundary: readOnly}).User
	w.user(t, "bob")
	w.group(t, "ops")
	do(t, w.AddUserToGroup, w.root, iamtypes.AddUserToGroupRequest{GroupName: "ops", UserName: "alice"})
	key := do(t, w.CreateAccessKey, w.root, iamtypes.CreateAccessKeyRequest{UserName: "alice"}).AccessKey.AccessKeyId
	if err := w.meta.Attach(t.Context(), before.UserId, readOnly, 10); err != nil {
		t.Fatal(err)
	}

	refuse(t, w.UpdateUser, w.root, iamtypes.UpdateUserRequest{UserName: "alice", NewUserName: "BOB"},
		fault.EntityAlreadyExists, "already exists")
	refuse(t, w.UpdateUser, w.root, iamtypes.UpdateUserRequest{UserName: "carol", NewUserName: "dave"}, fault.NoSuchEntity,
		"The user with name carol cannot be found.")
	do(t, w.UpdateUser, w.root, iamtypes.UpdateUserRequest{UserName: "alice", NewUserName: "alicia", NewPath: "/people/"})

	want := before
	want.UserName, want.Path, want.Arn = "alicia", "/people/", "arn:aws:iam::111122223333:user/people/alicia"
	same(t, "the user afterwards", do(t, w.GetUser, w.root, iamtypes.GetUserRequest{UserName: "alicia"}).User, want)
	refuse(t, w.GetUser, w.root, iamtypes.GetUserRequest{UserName: "alice"}, fault.NoSuchEntity)
	if got := do(t, w.ListAccessKeys, w.root, iamtypes.ListAccessKeysRequest{UserName: "alicia"}).AccessKeyMetadata; len(
		got) != 1 || got[0].AccessKeyId != key {
		t.Errorf("the keys afterwards are %+v, want %s", got, key)
	}
	if got := do(t, w.ListGroupsForUser, w.root, iamtypes.ListGroupsForUserRequest{UserName: "alicia"}).Groups; len(
		got) != 1 || got[0].GroupName != "ops" {
		t.Errorf("the groups afterwards are %+v, want ops", got)
	}
	if got, err := w.meta.Attachments(t.Context(), want.UserId); err != nil || len(got) != 1 {
		t.Errorf("the attached policies afterwards are %v, %v, want one", got, err)
	}
	c, err := w.id.KeyCaller(t.Context(), key)
	if err != nil || c.ARN != want.Arn || c.UserID != want.UserId {
		t.Errorf("its key signs for %s, %s, %v, want %s", c.ARN, c.UserID, err, want.Arn)
	}

	do(t, w.UpdateUser, w.root, iamtypes.UpdateUserRequest{UserName: "alicia"}) // nothing to change
	same(t, "the user after no change", do(t, w.GetUser, w.root, iamtypes.GetUserRequest{UserName: "alicia"}).User, want)
}

// A user can be deleted if it has no keys, groups and policies. A later user of the same name is another user.
func TestDeleteUser(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	first := w.user(t, "alice")
	w.group(t, "ops")
	deleted := iamtypes.DeleteUserRequest{UserName: "alice"}

	key := do(t, w.CreateAccessKey, w.root, iamtypes.CreateAccessKeyRequest{UserName: "alice"}).AccessKey.AccessKeyId
	refuse(t, w.DeleteUser, w.root, deleted, fault.DeleteConflict, "Cannot delete entity, must delete access keys first.")
	do(t, w.DeleteAccessKey, w.root, iamtypes.DeleteAccessKeyRequest{UserName: "alice", AccessKeyId: key})

	do(t, w.AddUserToGroup, w.root, iamtypes.AddUserToGroupRequest{GroupName: "ops", UserName: "alice"})
	refuse(t, w.DeleteUser, w.root, deleted, fault.DeleteConflict, "Cannot delete entity, must remove users from group first.")
	do(t, w.RemoveUserFromGroup, w.root, iamtypes.RemoveUserFromGroupRequest{GroupName: "ops", UserName: "alice"})

	if err := w.meta.Attach(t.Context(), first.UserId, readOnly, 10); err != nil {
		t.Fatal(err)
	}
	refuse(t, w.DeleteUser, w.root, deleted, fault.DeleteConflict, "Cannot delete entity, must detach all policies first.")
	if err := w.meta.Detach(t.Context(), first.UserId, readOnly); err != nil {
		t.Fatal(err)
	}

	do(t, w.TagUser, w.root, iamtypes.TagUserRequest{UserName: "alice", Tags: []iamtypes.Tag{{Key: "k", Value: "v"}}})
	refuse(t, w.DeleteUser, w.stranger, deleted, fault.NoSuchEntity) // another account's root user has no such user
	do(t, w.DeleteUser, w.root, deleted)
	refuse(t, w.DeleteUser, w.root, deleted, fault.NoSuchEntity, "The user with name alice cannot be found.")

	w.at = w.at.Add(time.Hour)
	again := do(t, w.CreateUser, w.root, iamtypes.CreateUserRequest{UserName: "alice"}).User
	if again.UserId == first.UserId || len(again.Tags) != 0 || !again.CreateDate.Equal(w.at) {
		t.Errorf("the namesake is %+v, want a new id, no tags and its own date; the first was %s", again, first.UserId)
	}
}
