package iam_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/op/iam"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// furnished returns a fixture with one entity of each kind, and with policies of each kind.
func furnished(t *testing.T) (w *fixture, arn string) {
	t.Helper()
	w = newFixture(t)
	arn = w.policy(t, "/team/", "p")
	do(t, w.CreatePolicyVersion, w.root, iamtypes.CreatePolicyVersionRequest{PolicyArn: arn, PolicyDocument: push})
	for _, h := range w.holders(t) {
		for _, err := range []error{h.attach("x", arn), h.put("x", "in", pull)} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	do(t, w.AttachUserPolicy, w.root, iamtypes.AttachUserPolicyRequest{UserName: "x", PolicyArn: pullOnly})
	do(t, w.PutUserPermissionsBoundary, w.root, iamtypes.PutUserPermissionsBoundaryRequest{UserName: "x", PermissionsBoundary: arn})
	do(t, w.TagUser, w.root, iamtypes.TagUserRequest{UserName: "x", Tags: []iamtypes.Tag{{Key: "a", Value: "1"}}})
	do(t, w.AddUserToGroup, w.root, iamtypes.AddUserToGroupRequest{UserName: "x", GroupName: "x"})
	do(t, w.CreateInstanceProfile, w.root, iamtypes.CreateInstanceProfileRequest{InstanceProfileName: "x"})
	do(t, w.AddRoleToInstanceProfile, w.root, iamtypes.AddRoleToInstanceProfileRequest{InstanceProfileName: "x", RoleName: "x"})
	return w, arn
}

func TestAccountAuthorizationDetails(t *testing.T) {
	t.Parallel()
	w, arn := furnished(t)
	at := awswire.At(w.at)
	got := do(t, w.GetAccountAuthorizationDetails, w.root, iamtypes.GetAccountAuthorizationDetailsRequest{})
	u := do(t, w.GetUser, w.root, iamtypes.GetUserRequest{UserName: "x"}).User
	g := do(t, w.GetGroup, w.root, iamtypes.GetGroupRequest{GroupName: "x"}).Group
	r := do(t, w.GetRole, w.root, iamtypes.GetRoleRequest{RoleName: "x"}).Role
	profile := do(t, w.GetInstanceProfile, w.root, iamtypes.GetInstanceProfileRequest{InstanceProfileName: "x"}).InstanceProfile
	profile.Tags = nil // listings do not show them
	p := do(t, w.GetPolicy, w.root, iamtypes.GetPolicyRequest{PolicyArn: arn}).Policy
	a := do(t, w.GetPolicy, w.root, iamtypes.GetPolicyRequest{PolicyArn: pullOnly}).Policy
	inline := do(t, w.GetUserPolicy, w.root, iamtypes.GetUserPolicyRequest{UserName: "x", PolicyName: "in"}).PolicyDocument
	ins := []iamtypes.PolicyDetail{{PolicyName: "in", PolicyDocument: inline}}
	own := iamtypes.AttachedPolicy{PolicyName: "p", PolicyArn: arn}
	version := func(of, id string) iamtypes.PolicyVersion {
		return *do(t, w.GetPolicyVersion, w.root, iamtypes.GetPolicyVersionRequest{PolicyArn: of, VersionId: id}).PolicyVersion
	}
	detail := func(p *iamtypes.Policy, versions ...iamtypes.PolicyVersion) iamtypes.ManagedPolicyDetail {
		return iamtypes.ManagedPolicyDetail{
			PolicyName: p.PolicyName, PolicyId: p.PolicyId, Arn: p.Arn, Path: p.Path, DefaultVersionId: p.DefaultVersionId,
			AttachmentCount:               p.AttachmentCount,
			PermissionsBoundaryUsageCount: p.PermissionsBoundaryUsageCount, IsAttachable: p.IsAttachable, Description: p.Description,
			CreateDate: p.CreateDate, UpdateDate: p.UpdateDate, PolicyVersionList: versions,
		}
	}
	same(t, "details", *got, iamtypes.GetAccountAuthorizationDetailsResponse{
		UserDetailList: []iamtypes.UserDetail{{
			Path: "/", UserName: "x", UserId: u.UserId, Arn: u.Arn, CreateDate: at, UserPolicyList: ins, GroupList: []string{"x"},
			AttachedManagedPolicies: []iamtypes.AttachedPolicy{own, {PolicyName: a.PolicyName, PolicyArn: pullOnly}},
			PermissionsBoundary:     u.PermissionsBoundary, Tags: u.Tags,
		}},
		GroupDetailList: []iamtypes.GroupDetail{{
			Path: "/", GroupName: "x", GroupId: g.GroupId, Arn: g.Arn, CreateDate: at, GroupPolicyList: ins,
			AttachedManagedPolicies: []iamtypes.AttachedPolicy{own},
		}},
		RoleDetailList: []iamtypes.RoleDetail{{
			Path: "/", RoleName: "x", RoleId: r.RoleId, Arn: r.Arn, CreateDate: at, AssumeRolePolicyDocument: r.AssumeRolePolicyDocument,
			InstanceProfileList: []iamtypes.InstanceProfile{profile}, RolePolicyList: ins,
			AttachedManagedPolicies: []iamtypes.AttachedPolicy{own}, RoleLastUsed: r.RoleLastUsed,
		}},
		Policies: []iamtypes.ManagedPolicyDetail{detail(p, version(arn, "v2"), version(arn, "v1")),
			detail(a, version(pullOnly, a.DefaultVersionId))},
		IsTruncated: new(false),
	})
	if *p.AttachmentCount != 3 || *p.PermissionsBoundaryUsageCount != 1 || *a.AttachmentCount != 1 {
		t.Errorf("got %d attachments, %d boundaries and %d attachments of AWS's, want 3, 1 and 1", *p.AttachmentCount,
			*p.PermissionsBoundaryUsageCount, *a.AttachmentCount)
	}
	theirs := do(t, w.GetAccountAuthorizationDetails, w.stranger, iamtypes.GetAccountAuthorizationDetailsRequest{})
	same(t, "those of an account without anything", *theirs, iamtypes.GetAccountAuthorizationDetailsResponse{
		UserDetailList: []iamtypes.UserDetail{}, GroupDetailList: []iamtypes.GroupDetail{}, RoleDetailList: []iamtypes.RoleDetail{},
		Policies: []iamtypes.ManagedPolicyDetail{}, IsTruncated: new(false),
	})
}

func TestAccountAuthorizationDetailsPages(t *testing.T) {
	t.Parallel()
	w, arn := furnished(t)
	w.user(t, "y")
	do(t, w.AttachUserPolicy, w.root, iamtypes.AttachUserPolicyRequest{UserName: "y",
		PolicyArn: "arn:aws:iam::aws:policy/AdministratorAccess"})
	users, aws := []string{"user x", "user y"}, []string{"policy arn:aws:iam::aws:policy/AdministratorAccess", "policy " + pullOnly}
	for _, c := range []struct {
		filter []iamtypes.EntityType
		want   []string
	}{
		{nil, slices.Concat(users, []string{"group x", "role x", "policy " + arn}, aws)},
		{[]iamtypes.EntityType{"User"}, users},
		{[]iamtypes.EntityType{"Role", "Group"}, []string{"group x", "role x"}},
		{[]iamtypes.EntityType{"LocalManagedPolicy"}, []string{"policy " + arn}},
		{[]iamtypes.EntityType{"AWSManagedPolicy", "User"}, slices.Concat(users, aws)},
	} {
		for _, size := range []int32{1, 2, 3, 1000} {
			in := iamtypes.GetAccountAuthorizationDetailsRequest{Filter: c.filter, MaxItems: &size}
			var got []string
			for {
				out := do(t, w.GetAccountAuthorizationDetails, w.root, in)
				before := len(got)
				for _, u := range out.UserDetailList {
					got = append(got, "user "+u.UserName)
				}
				for _, g := range out.GroupDetailList {
					got = append(got, "group "+g.GroupName)
				}
				for _, r := range out.RoleDetailList {
					got = append(got, "role "+r.RoleName)
				}
				for _, p := range out.Policies {
					got = append(got, "policy "+p.Arn)
				}
				if n := len(got) - before; n > int(size) || n == 0 {
					t.Fatalf("a page of %d has %d", size, n)
				}
				if !*out.IsTruncated {
					break
				}
				in.Marker = out.Marker
			}
			same(t, fmt.Sprintf("details of %v in pages of %d", c.filter, size), got, c.want)
		}
	}
	marker := do(t, w.GetAccountAuthorizationDetails, w.root, iamtypes.GetAccountAuthorizationDetailsRequest{MaxItems: new(int32(1))}).Marker
	refuse(t, w.GetAccountAuthorizationDetails, w.root,
		iamtypes.GetAccountAuthorizationDetailsRequest{Marker: marker, Filter: []iamtypes.EntityType{"User"}}, fault.Validation, "Marker")
	refuse(t, w.GetAccountAuthorizationDetails, w.stranger, iamtypes.GetAccountAuthorizationDetailsRequest{Marker: marker},
		fault.Validation, "Marker")
}

func TestAccountSummary(t *testing.T) {
	t.Parallel()
	w, _ := furnished(t)
	w.user(t, "y")
	do(t, w.CreateOpenIDConnectProvider, w.root, iamtypes.CreateOpenIDConnectProviderRequest{Url: "https://oidc.example"})
	got := do(t, w.GetAccountSummary, w.root, iam.None{}).SummaryMap
	for key, want := range map[iamtypes.SummaryKeyType]int32{
		"Users": 2, "Groups": 1, "Roles": 1, "Policies": 1, "PolicyVersionsInUse": 2, "InstanceProfiles": 1, "Providers": 1,
		"AccountAccessKeysPresent": 1,
		"UsersQuota":               5000, "PoliciesQuota": 1500, "PolicySizeQuota": 6144, "UserPolicySizeQuota": 2048,
		"AccessKeysPerUserQuota":       identity.MaxKeys,
		"AttachedPoliciesPerUserQuota": 10, "VersionsPerPolicyQuota": 5, "AssumeRolePolicySizeQuota": 2048, "MFADevices": 0,
		"AccountMFAEnabled": 0,
	} {
		if n, ok := got[key]; !ok || n != want {
			t.Errorf("%s: got %d, %v, want %d", key, n, ok, want)
		}
	}
	// The model's enumeration lists every key.
	if n := len(slices.Collect(maps.Keys(got))); n != 34 {
		t.Errorf("got %d keys, want the model's 34", n)
	}
	keys := do(t, w.ListAccessKeys, w.root, iamtypes.ListAccessKeysRequest{}).AccessKeyMetadata
	do(t, w.DeleteAccessKey, w.root, iamtypes.DeleteAccessKeyRequest{AccessKeyId: keys[0].AccessKeyId})
	theirs := do(t, w.GetAccountSummary, w.root, iam.None{}).SummaryMap
	if theirs["AccountAccessKeysPresent"] != 0 {
		t.Errorf("without a root key: got %d present, want 0", theirs["AccountAccessKeysPresent"])
	}
}
