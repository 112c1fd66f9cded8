package iam_test

import (
	"fmt"
	"regexp"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

func TestGroups(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	got := do(t, w.CreateGroup, w.root, iamtypes.CreateGroupRequest{GroupName: "Ops", Path: "/teams/"}).Group
	if !regexp.MustCompile(`^AGPA[A-Z2-7]{17}$`).MatchString(got.GroupId) {
		t.Errorf("the unique id is %q, want AGPA and 17 of A-Z2-7", got.GroupId)
	}
	want := iamtypes.Group{Path: "/teams/", GroupName: "Ops", GroupId: got.GroupId,
		Arn: "arn:aws:iam::111122223333:group/teams/Ops", CreateDate: awswire.Time{Time: w.at}}
	same(t, "CreateGroup", got, want)
	same(t, "ListGroups", do(t, w.ListGroups, w.root, iamtypes.ListGroupsRequest{}).Groups, []iamtypes.Group{want})
	same(t, "an empty group", do(t, w.GetGroup, w.root, iamtypes.GetGroupRequest{GroupName: "Ops"}), &iamtypes.GetGroupResponse{
		Group: want, Users: []iamtypes.User{}, IsTruncated: new(false),
	})
	refuse(t, w.GetGroup, w.stranger, iamtypes.GetGroupRequest{GroupName: "Ops"}, fault.NoSuchEntity,
		"The group with name Ops cannot be found.")

	alice, bob := w.user(t, "alice"), w.user(t, "bob")
	for _, name := range []string{"bob", "alice", "alice"} { // twice is no error
		do(t, w.AddUserToGroup, w.root, iamtypes.AddUserToGroupRequest{GroupName: "Ops", UserName: name})
	}
	same(t, "its users", do(t, w.GetGroup, w.root, iamtypes.GetGroupRequest{GroupName: "Ops"}).Users, []iamtypes.User{alice, bob})
	same(t, "the groups of a user", do(t, w.ListGroupsForUser, w.root,
		iamtypes.ListGroupsForUserRequest{UserName: "bob"}).Groups, []iamtypes.Group{want})

	w.group(t, "other")
	refuse(t, w.UpdateGroup, w.root, iamtypes.UpdateGroupRequest{GroupName: "Ops", NewGroupName: "Other"},
		fault.EntityAlreadyExists, "already exists")
	refuse(t, w.UpdateGroup, w.root, iamtypes.UpdateGroupRequest{GroupName: "none", NewGroupName: "x"}, fault.NoSuchEntity)
	do(t, w.UpdateGroup, w.root, iamtypes.UpdateGroupRequest{GroupName: "Ops", NewGroupName: "platform", NewPath: "/"})
	want.GroupName, want.Path, want.Arn = "platform", "/", "arn:aws:iam::111122223333:group/platform"
	same(t, "with another name", do(t, w.GetGroup, w.root, iamtypes.GetGroupRequest{GroupName: "platform"}), &iamtypes.GetGroupResponse{
		Group: want, Users: []iamtypes.User{alice, bob}, IsTruncated: new(false),
	})

	refuse(t, w.DeleteGroup, w.root, iamtypes.DeleteGroupRequest{GroupName: "platform"}, fault.DeleteConflict,
		"must remove users from group first")
	for _, name := range []string{"alice", "bob"} {
		do(t, w.RemoveUserFromGroup, w.root, iamtypes.RemoveUserFromGroupRequest{GroupName: "platform", UserName: name})
	}
	do(t, w.RemoveUserFromGroup, w.root, iamtypes.RemoveUserFromGroupRequest{GroupName: "platform", UserName: "bob"}) // not in it
	if err := w.meta.Attach(t.Context(), want.GroupId, readOnly, 10); err != nil {
		t.Fatal(err)
	}
	refuse(t, w.DeleteGroup, w.root, iamtypes.DeleteGroupRequest{GroupName: "platform"}, fault.DeleteConflict,
		"must detach all policies first")
	if err := w.meta.Detach(t.Context(), want.GroupId, readOnly); err != nil {
		t.Fatal(err)
	}
	do(t, w.DeleteGroup, w.root, iamtypes.DeleteGroupRequest{GroupName: "platform"})
	refuse(t, w.DeleteGroup, w.root, iamtypes.DeleteGroupRequest{GroupName: "platform"}, fault.NoSuchEntity,
		"The group with name platform cannot be found.")
	if again := w.group(t, "platform"); again.GroupId == want.GroupId {
		t.Errorf("the namesake has the unique id %s too", again.GroupId)
	}
}

func TestMembersOfNothing(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	w.user(t, "alice")
	w.group(t, "ops")
	do(t, w.CreateUser, w.stranger, iamtypes.CreateUserRequest{UserName: "eve"})
	for _, c := range []struct{ group, user, words string }{
		{"none", "alice", "The group with name none cannot be found."},
		{"ops", "none", "The user with name none cannot be found."},
		{"ops", "eve", "The user with name eve cannot be found."},
	} {
		refuse(t, w.AddUserToGroup, w.root, iamtypes.AddUserToGroupRequest{GroupName: c.group, UserName: c.user}, fault.NoSuchEntity, c.words)
		refuse(t, w.RemoveUserFromGroup, w.root, iamtypes.RemoveUserFromGroupRequest{GroupName: c.group, UserName: c.user},
			fault.NoSuchEntity, c.words)
	}
	refuse(t, w.ListGroupsForUser, w.root, iamtypes.ListGroupsForUserRequest{UserName: "eve"}, fault.NoSuchEntity,
		"The user with name eve cannot be found.")
}

func TestGroupsPerUser(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	w.user(t, "alice")
	w.user(t, "bob")
	for i := range 11 {
		name := fmt.Sprintf("g%02d", i)
		w.group(t, name)
		in := iamtypes.AddUserToGroupRequest{GroupName: name, UserName: "alice"}
		if i < 10 {
			do(t, w.AddUserToGroup, w.root, in)
		} else {
			refuse(t, w.AddUserToGroup, w.root, in, fault.LimitExceeded, "10")
		}
	}
	do(t, w.AddUserToGroup, w.root, iamtypes.AddUserToGroupRequest{GroupName: "g10", UserName: "bob"})
	do(t, w.RemoveUserFromGroup, w.root, iamtypes.RemoveUserFromGroupRequest{GroupName: "g00", UserName: "alice"})
	do(t, w.AddUserToGroup, w.root, iamtypes.AddUserToGroupRequest{GroupName: "g10", UserName: "alice"})
}
