package iam_test

import (
	"regexp"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

func TestInstanceProfiles(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	got := do(t, w.CreateInstanceProfile, w.root, iamtypes.CreateInstanceProfileRequest{InstanceProfileName: "node",
		Path: "/k/", Tags: []iamtypes.Tag{{Key: "k", Value: "v"}}}).InstanceProfile
	if !regexp.MustCompile(`^AIPA[A-Z2-7]{17}$`).MatchString(got.InstanceProfileId) {
		t.Errorf("the unique id is %q, want AIPA and 17 of A-Z2-7", got.InstanceProfileId)
	}
	want := iamtypes.InstanceProfile{
		Path: "/k/", InstanceProfileName: "node", InstanceProfileId: got.InstanceProfileId,
		Arn:        "arn:aws:iam::111122223333:instance-profile/k/node",
		CreateDate: awswire.Time{Time: w.at}, Roles: []iamtypes.Role{}, Tags: []iamtypes.Tag{{Key: "k", Value: "v"}},
	}
	same(t, "CreateInstanceProfile", got, want)
	refuse(t, w.CreateInstanceProfile, w.root, iamtypes.CreateInstanceProfileRequest{InstanceProfileName: "x",
		Tags: []iamtypes.Tag{{Key: "aws:x"}}}, fault.InvalidInput, "reserved")
	// two keys here
	do(t, w.CreateInstanceProfile, w.root, iamtypes.CreateInstanceProfileRequest{InstanceProfileName: "cases",
		Tags: []iamtypes.Tag{{Key: "a"}, {Key: "A"}}})
	do(t, w.DeleteInstanceProfile, w.root, iamtypes.DeleteInstanceProfileRequest{InstanceProfileName: "cases"})

	r := w.role(t, "r")
	w.role(t, "other")
	add := iamtypes.AddRoleToInstanceProfileRequest{InstanceProfileName: "node", RoleName: "r"}
	do(t, w.AddRoleToInstanceProfile, w.root, add)
	r.MaxSessionDuration, r.RoleLastUsed = nil, nil // a profile shows neither
	want.Roles = []iamtypes.Role{r}
	same(t, "GetInstanceProfile", do(t, w.GetInstanceProfile, w.root,
		iamtypes.GetInstanceProfileRequest{InstanceProfileName: "node"}).InstanceProfile, want)
	for _, role := range []string{"r", "other"} {
		refuse(t, w.AddRoleToInstanceProfile, w.root, iamtypes.AddRoleToInstanceProfileRequest{InstanceProfileName: "node",
			RoleName: role}, fault.LimitExceeded, "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1")
	}
	want.Tags = nil
	same(t, "ListInstanceProfiles", do(t, w.ListInstanceProfiles, w.root,
		iamtypes.ListInstanceProfilesRequest{}).InstanceProfiles, []iamtypes.InstanceProfile{want})
	same(t, "ListInstanceProfilesForRole", do(t, w.ListInstanceProfilesForRole, w.root,
		iamtypes.ListInstanceProfilesForRoleRequest{RoleName: "r"}).InstanceProfiles, []iamtypes.InstanceProfile{want})
	same(t, "of another role", do(t, w.ListInstanceProfilesForRole, w.root,
		iamtypes.ListInstanceProfilesForRoleRequest{RoleName: "other"}), &iamtypes.ListInstanceProfilesForRoleResponse{
		InstanceProfiles: []iamtypes.InstanceProfile{}, IsTruncated: new(false),
	})

	refuse(t, w.DeleteInstanceProfile, w.root, iamtypes.DeleteInstanceProfileRequest{InstanceProfileName: "node"},
		fault.DeleteConflict, "must remove roles from instance profile first")
	refuse(t, w.RemoveRoleFromInstanceProfile, w.root,
		iamtypes.RemoveRoleFromInstanceProfileRequest{InstanceProfileName: "node", RoleName: "other"}, fault.NoSuchEntity)
	do(t, w.RemoveRoleFromInstanceProfile, w.root, iamtypes.RemoveRoleFromInstanceProfileRequest{InstanceProfileName: "node", RoleName: "r"})
	do(t, w.DeleteInstanceProfile, w.root, iamtypes.DeleteInstanceProfileRequest{InstanceProfileName: "node"})

	refuse(t, w.GetInstanceProfile, w.root, iamtypes.GetInstanceProfileRequest{InstanceProfileName: "node"},
		fault.NoSuchEntity, "node cannot be found")
	refuse(t, w.DeleteInstanceProfile, w.root, iamtypes.DeleteInstanceProfileRequest{InstanceProfileName: "node"}, fault.NoSuchEntity)
	refuse(t, w.AddRoleToInstanceProfile, w.root, add, fault.NoSuchEntity)
	refuse(t, w.RemoveRoleFromInstanceProfile, w.root,
		iamtypes.RemoveRoleFromInstanceProfileRequest{InstanceProfileName: "node", RoleName: "r"}, fault.NoSuchEntity)
	refuse(t, w.ListInstanceProfilesForRole, w.root, iamtypes.ListInstanceProfilesForRoleRequest{RoleName: "none"},
		fault.NoSuchEntity, "The role with name none cannot be found.")
}
