package identity_test

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
)

func roles(t *testing.T, root actor) {
	document := trust(`"AWS":"`+root.account+`"`, "sts:AssumeRole", "")
	made := do(t, root.iam.CreateRole, iam.CreateRoleInput{
		RoleName: aws.String("puller"), Path: aws.String("/ci/"), AssumeRolePolicyDocument: &document,
		Description:        aws.String("pulls <all> & more"),
		MaxSessionDuration: aws.Int32(7200), Tags: tags("team", "core"), PermissionsBoundary: aws.String(readOnly),
	}).Role
	wantText(t, "ARN", made.Arn, root.arn("role/ci/puller"))
	wantDocument(t, "CreateRole", made.AssumeRolePolicyDocument, document)
	if !strings.HasPrefix(*made.RoleId, "AROA") {
		t.Errorf("CreateRole: got id %q, want AROA…", *made.RoleId)
	}
	role := made.RoleName
	if err := iam.NewRoleExistsWaiter(root.iam).Wait(t.Context(), &iam.GetRoleInput{RoleName: role}, time.Minute); err != nil {
		t.Errorf("waiting for a role that exists: %v", err)
	}
	got := do(t, root.iam.GetRole, iam.GetRoleInput{RoleName: role}).Role
	wantDocument(t, "GetRole", got.AssumeRolePolicyDocument, document)
	wantText(t, "its description", got.Description, "pulls <all> & more")
	wantText(t, "its boundary", got.PermissionsBoundary.PermissionsBoundaryArn, readOnly)
	if *got.MaxSessionDuration != 7200 || len(got.Tags) != 1 || got.RoleLastUsed == nil || got.RoleLastUsed.LastUsedDate != nil {
		t.Errorf("GetRole: got %d seconds, tags %q, last used %+v; want 7200, team=core, never", *got.MaxSessionDuration,
			tagTexts(got.Tags), got.RoleLastUsed)
	}

	for _, n := range []string{"admin", "pusher"} {
		do(t, root.iam.CreateRole, iam.CreateRoleInput{RoleName: &n, AssumeRolePolicyDocument: &document})
	}
	wantPages(t, iam.NewListRolesPaginator(root.iam, &iam.ListRolesInput{MaxItems: aws.Int32(2)}),
		func(out *iam.ListRolesOutput) []string {
			return each(out.Roles, func(r types.Role) *string { return r.RoleName })
		}, 2, "admin", "puller", "pusher")

	do(t, root.iam.UpdateRole, iam.UpdateRoleInput{RoleName: role, Description: aws.String("second"), MaxSessionDuration: aws.Int32(3600)})
	after := do(t, root.iam.UpdateRoleDescription, iam.UpdateRoleDescriptionInput{RoleName: role, Description: aws.String("third")}).Role
	wantText(t, "UpdateRoleDescription", after.Description, "third")
	if got := *do(t, root.iam.GetRole, iam.GetRoleInput{RoleName: role}).Role.MaxSessionDuration; got != 3600 {
		t.Errorf("after UpdateRole: got %d seconds, want 3600", got)
	}
	second := trust(`"Service":"ec2.amazonaws.com"`, "sts:AssumeRole", "")
	do(t, root.iam.UpdateAssumeRolePolicy, iam.UpdateAssumeRolePolicyInput{RoleName: role, PolicyDocument: &second})
	wantDocument(t, "after UpdateAssumeRolePolicy", do(t, root.iam.GetRole,
		iam.GetRoleInput{RoleName: role}).Role.AssumeRolePolicyDocument, second)

	do(t, root.iam.TagRole, iam.TagRoleInput{RoleName: role, Tags: tags("stage", "prod", "empty", "")})
	wantPages(t, iam.NewListRoleTagsPaginator(root.iam, &iam.ListRoleTagsInput{RoleName: role, MaxItems: aws.Int32(2)}),
		func(out *iam.ListRoleTagsOutput) []string { return tagTexts(out.Tags) }, 2, "empty=", "stage=prod", "team=core")
	do(t, root.iam.UntagRole, iam.UntagRoleInput{RoleName: role, TagKeys: []string{"stage", "empty"}})
	if got := tagTexts(do(t, root.iam.ListRoleTags, iam.ListRoleTagsInput{RoleName: role}).Tags); len(got) != 1 {
		t.Errorf("after UntagRole: got %q, want team alone", got)
	}

	do(t, root.iam.DeleteRolePermissionsBoundary, iam.DeleteRolePermissionsBoundaryInput{RoleName: role})
	if got := do(t, root.iam.GetRole, iam.GetRoleInput{RoleName: role}).Role.PermissionsBoundary; got != nil {
		t.Errorf("after DeleteRolePermissionsBoundary: got %+v, want none", got)
	}
	do(t, root.iam.PutRolePermissionsBoundary, iam.PutRolePermissionsBoundaryInput{RoleName: role, PermissionsBoundary: aws.String(readOnly)})
	wantText(t, "after PutRolePermissionsBoundary", do(t, root.iam.GetRole,
		iam.GetRoleInput{RoleName: role}).Role.PermissionsBoundary.PermissionsBoundaryArn, readOnly)
	do(t, root.iam.DeleteRole, iam.DeleteRoleInput{RoleName: role})
	_, err := root.iam.GetRole(t.Context(), &iam.GetRoleInput{RoleName: role})
	wantError[*types.NoSuchEntityException](t, "GetRole after DeleteRole", err, "puller")
}

func rolePolicies(t *testing.T, root actor) {
	role := aws.String("puller")
	do(t, root.iam.CreateRole, iam.CreateRoleInput{RoleName: role,
		AssumeRolePolicyDocument: aws.String(trust(`"AWS":"`+root.account+`"`, "sts:AssumeRole", ""))})
	document := statement("Allow", pulls, "arn:aws:ecr:*:*:repository/team/*", `{"StringLike":{"aws:PrincipalTag/team":"100%+core"}}`)
	for _, n := range []string{"own", "two"} {
		do(t, root.iam.PutRolePolicy, iam.PutRolePolicyInput{RoleName: role, PolicyName: &n, PolicyDocument: &document})
	}
	got := do(t, root.iam.GetRolePolicy, iam.GetRolePolicyInput{RoleName: role, PolicyName: aws.String("own")})
	wantDocument(t, "GetRolePolicy", got.PolicyDocument, document)
	wantPages(t, iam.NewListRolePoliciesPaginator(root.iam, &iam.ListRolePoliciesInput{RoleName: role, MaxItems: aws.Int32(1)}),
		func(out *iam.ListRolePoliciesOutput) []string { return out.PolicyNames }, 2, "own", "two")
	do(t, root.iam.DeleteRolePolicy, iam.DeleteRolePolicyInput{RoleName: role, PolicyName: aws.String("own")})
	_, err := root.iam.GetRolePolicy(t.Context(), &iam.GetRolePolicyInput{RoleName: role, PolicyName: aws.String("own")})
	wantError[*types.NoSuchEntityException](t, "GetRolePolicy after DeleteRolePolicy", err, "own")

	do(t, root.iam.AttachRolePolicy, iam.AttachRolePolicyInput{RoleName: role, PolicyArn: aws.String(readOnly)})
	wantPages(t, iam.NewListAttachedRolePoliciesPaginator(root.iam, &iam.ListAttachedRolePoliciesInput{RoleName: role}),
		func(out *iam.ListAttachedRolePoliciesOutput) []string {
			return each(out.AttachedPolicies, func(p types.AttachedPolicy) *string { return p.PolicyArn })
		}, 1, readOnly)
	do(t, root.iam.DetachRolePolicy, iam.DetachRolePolicyInput{RoleName: role, PolicyArn: aws.String(readOnly)})
	_, err = root.iam.DetachRolePolicy(t.Context(), &iam.DetachRolePolicyInput{RoleName: role, PolicyArn: aws.String(readOnly)})
	wantError[*types.NoSuchEntityException](t, "DetachRolePolicy twice", err, readOnly)
}

func serviceLinked(t *testing.T, root actor) {
	made := do(t, root.iam.CreateServiceLinkedRole, iam.CreateServiceLinkedRoleInput{
		AWSServiceName: aws.String("replication.ecr.amazonaws.com")}).Role
	wantText(t, "ARN", made.Arn, root.arn("role/aws-service-role/replication.ecr.amazonaws.com/AWSServiceRoleForECRReplication"))
	_, err := root.iam.DeleteRole(t.Context(), &iam.DeleteRoleInput{RoleName: made.RoleName})
	wantError[*types.UnmodifiableEntityException](t, "DeleteRole of a service-linked role", err, "AWSServiceRoleForECRReplication")
	task := do(t, root.iam.DeleteServiceLinkedRole, iam.DeleteServiceLinkedRoleInput{RoleName: made.RoleName}).DeletionTaskId
	if got := do(t, root.iam.GetServiceLinkedRoleDeletionStatus,
		iam.GetServiceLinkedRoleDeletionStatusInput{DeletionTaskId: task}).Status; got != types.DeletionTaskStatusTypeSucceeded {
		t.Errorf("GetServiceLinkedRoleDeletionStatus: got %s, want SUCCEEDED", got)
	}
	_, err = root.iam.GetRole(t.Context(), &iam.GetRoleInput{RoleName: made.RoleName})
	wantError[*types.NoSuchEntityException](t, "GetRole of a deleted service-linked role", err, "")
}

func instanceProfiles(t *testing.T, root actor) {
	role, profile := aws.String("node"), aws.String("nodes")
	do(t, root.iam.CreateRole, iam.CreateRoleInput{RoleName: role,
		AssumeRolePolicyDocument: aws.String(trust(`"Service":"ec2.amazonaws.com"`, "sts:AssumeRole", ""))})
	made := do(t, root.iam.CreateInstanceProfile, iam.CreateInstanceProfileInput{InstanceProfileName: profile,
		Path: aws.String("/k8s/")}).InstanceProfile
	wantText(t, "ARN", made.Arn, root.arn("instance-profile/k8s/nodes"))
	if err := iam.NewInstanceProfileExistsWaiter(root.iam).Wait(t.Context(),
		&iam.GetInstanceProfileInput{InstanceProfileName: profile}, time.Minute); err != nil {
		t.Errorf("waiting for an instance profile that exists: %v", err)
	}
	do(t, root.iam.TagInstanceProfile, iam.TagInstanceProfileInput{InstanceProfileName: profile, Tags: tags("stage", "prod", "team", "core")})
	do(t, root.iam.UntagInstanceProfile, iam.UntagInstanceProfileInput{InstanceProfileName: profile, TagKeys: []string{"stage"}})
	left := do(t, root.iam.ListInstanceProfileTags, iam.ListInstanceProfileTagsInput{InstanceProfileName: profile}).Tags
	if got := tagTexts(left); len(got) != 1 || got[0] != "team=core" {
		t.Errorf("ListInstanceProfileTags: got %q, want team=core alone", got)
	}
	do(t, root.iam.AddRoleToInstanceProfile, iam.AddRoleToInstanceProfileInput{InstanceProfileName: profile, RoleName: role})
	got := do(t, root.iam.GetInstanceProfile, iam.GetInstanceProfileInput{InstanceProfileName: profile}).InstanceProfile
	if len(got.Roles) != 1 || *got.Roles[0].RoleName != "node" || *got.InstanceProfileId != *made.InstanceProfileId {
		t.Errorf("GetInstanceProfile: got %+v, want the role node", got)
	}
	do(t, root.iam.CreateInstanceProfile, iam.CreateInstanceProfileInput{InstanceProfileName: aws.String("more")})
	do(t, root.iam.AddRoleToInstanceProfile, iam.AddRoleToInstanceProfileInput{InstanceProfileName: aws.String("more"), RoleName: role})
	names := func(all []types.InstanceProfile) []string {
		return each(all, func(p types.InstanceProfile) *string { return p.InstanceProfileName })
	}
	wantPages(t, iam.NewListInstanceProfilesPaginator(root.iam, &iam.ListInstanceProfilesInput{MaxItems: aws.Int32(1)}),
		func(out *iam.ListInstanceProfilesOutput) []string { return names(out.InstanceProfiles) }, 2, "more", "nodes")
	wantPages(t, iam.NewListInstanceProfilesForRolePaginator(root.iam,
		&iam.ListInstanceProfilesForRoleInput{RoleName: role, MaxItems: aws.Int32(1)}),
		func(out *iam.ListInstanceProfilesForRoleOutput) []string { return names(out.InstanceProfiles) }, 2, "more", "nodes")
	_, err := root.iam.DeleteInstanceProfile(t.Context(), &iam.DeleteInstanceProfileInput{InstanceProfileName: profile})
	wantError[*types.DeleteConflictException](t, "DeleteInstanceProfile with a role", err, "")
	do(t, root.iam.RemoveRoleFromInstanceProfile, iam.RemoveRoleFromInstanceProfileInput{InstanceProfileName: profile, RoleName: role})
	do(t, root.iam.DeleteInstanceProfile, iam.DeleteInstanceProfileInput{InstanceProfileName: profile})
	_, err = root.iam.GetInstanceProfile(t.Context(), &iam.GetInstanceProfileInput{InstanceProfileName: profile})
	wantError[*types.NoSuchEntityException](t, "GetInstanceProfile after it was deleted", err, "nodes")
}
