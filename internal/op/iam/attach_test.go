package iam_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

func TestAttachPolicies(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	b, a := w.policy(t, "/team/", "b"), w.policy(t, "/", "a")
	for _, h := range w.holders(t) {
		for _, arn := range []string{b, a, pullOnly, a} { // twice is no error
			if err := h.attach("x", arn); err != nil {
				t.Fatalf("attach %s to the %s: %v", arn, h.what, err)
			}
		}
		all := []iamtypes.AttachedPolicy{{PolicyName: "AmazonEC2ContainerRegistryPullOnly", PolicyArn: pullOnly},
			{PolicyName: "a", PolicyArn: a}, {PolicyName: "b", PolicyArn: b}}
		for _, size := range []int32{0, 1, 2} {
			got := []iamtypes.AttachedPolicy{}
			for marker := ""; ; {
				page, next, err := h.attached("x", "", marker, size)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, page...)
				if marker = next; marker == "" {
					break
				}
			}
			same(t, fmt.Sprintf("policies of the %s in pages of %d", h.what, size), got, all)
		}
		for prefix, want := range map[string][]iamtypes.AttachedPolicy{"/": all, "/team/": all[2:], "/none/": {}} {
			got, _, err := h.attached("x", prefix, "", 0)
			if err != nil {
				t.Fatal(err)
			}
			same(t, "policies of the "+h.what+" below "+prefix, got, want)
		}
		if err := h.detach("x", a); err != nil {
			t.Errorf("detach %s from the %s: %v", a, h.what, err)
		}
		got, _, err := h.attached("x", "", "", 0)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "policies of the "+h.what+" after one was detached", got, slices.Delete(slices.Clone(all), 1, 2))
		_, _, err = h.attached("x", "", "nonsense", 0)
		wantCode(t, "a wrong marker of the "+h.what, err, fault.Validation)
		_, _, err = h.attached("nobody", "", "", 0)
		wantCode(t, "policies of a "+h.what+" that is not there", err, fault.NoSuchEntity)
	}
}

func TestAttachPoliciesRefuses(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	theirs := do(t, w.CreatePolicy, w.stranger, iamtypes.CreatePolicyRequest{PolicyName: "p", PolicyDocument: pull}).Policy.Arn
	own := w.policy(t, "", "p")
	for _, h := range w.holders(t) {
		for _, c := range []struct {
			who, arn       string
			attach, detach fault.Code
		}{
			{"x", theirs, fault.NoSuchEntity, fault.NoSuchEntity},
			{"x", "arn:aws:iam::111122223333:policy/none", fault.NoSuchEntity, fault.NoSuchEntity},
			{"x", "arn:aws:iam::aws:policy/None", fault.NoSuchEntity, fault.NoSuchEntity},
			{"x", serviceLinked, fault.PolicyNotAttachable, fault.NoSuchEntity},
			{"x", "arn:aws:iam::aws:policy/ECRReplicationServiceRolePolicy", fault.PolicyNotAttachable, fault.NoSuchEntity},
			{"x", "arn:aws:iam::111122223333:user/x", fault.InvalidInput, fault.InvalidInput},
			{"nobody", own, fault.NoSuchEntity, fault.NoSuchEntity},
		} {
			wantCode(t, "attach "+c.arn+" to the "+h.what+" "+c.who, h.attach(c.who, c.arn), c.attach)
			wantCode(t, "detach "+c.arn+" from the "+h.what+" "+c.who, h.detach(c.who, c.arn), c.detach)
		}
		wantCode(t, "detach what is not attached to the "+h.what, h.detach("x", own), fault.NoSuchEntity)
	}
}

// Source: IAM user guide, IAM and STS quotas.
func TestMostAttachedPolicies(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	var arns []string
	for i := range 11 {
		arns = append(arns, w.policy(t, "", fmt.Sprintf("p%d", i)))
	}
	for _, h := range w.holders(t) {
		for _, arn := range arns[:10] {
			if err := h.attach("x", arn); err != nil {
				t.Fatal(err)
			}
		}
		wantCode(t, "the eleventh policy of the "+h.what, h.attach("x", arns[10]), fault.LimitExceeded)
		if err := h.attach("x", arns[0]); err != nil {
			t.Errorf("one that the %s has: %v", h.what, err)
		}
		if err := h.detach("x", arns[0]); err != nil {
			t.Fatal(err)
		}
		if err := h.attach("x", arns[10]); err != nil {
			t.Errorf("after one of the %s was detached: %v", h.what, err)
		}
	}
}

// Policies of service-linked roles cannot be attached to other roles. Source: IAM user guide, using service-linked
// roles.
func TestServiceLinkedRolesKeepTheirPolicies(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	arn := w.policy(t, "", "p")
	role := do(t, w.CreateServiceLinkedRole, w.root, iamtypes.CreateServiceLinkedRoleRequest{
		AWSServiceName: "replication.ecr.amazonaws.com"}).Role.RoleName
	refuse(t, w.AttachRolePolicy, w.root, iamtypes.AttachRolePolicyRequest{RoleName: role, PolicyArn: arn}, fault.UnmodifiableEntity, role)
	refuse(t, w.DetachRolePolicy, w.root, iamtypes.DetachRolePolicyRequest{RoleName: role, PolicyArn: serviceLinked},
		fault.UnmodifiableEntity, role)
	refuse(t, w.PutRolePolicy, w.root, iamtypes.PutRolePolicyRequest{RoleName: role, PolicyName: "p", PolicyDocument: pull},
		fault.UnmodifiableEntity, role)
	refuse(t, w.DeleteRolePolicy, w.root, iamtypes.DeleteRolePolicyRequest{RoleName: role, PolicyName: "p"}, fault.UnmodifiableEntity, role)
	refuse(t, w.PutRolePermissionsBoundary, w.root, iamtypes.PutRolePermissionsBoundaryRequest{RoleName: role,
		PermissionsBoundary: arn}, fault.UnmodifiableEntity, role)
	refuse(t, w.DeleteRolePermissionsBoundary, w.root, iamtypes.DeleteRolePermissionsBoundaryRequest{RoleName: role},
		fault.UnmodifiableEntity, role)
}

func TestListEntitiesForPolicy(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	arn := w.policy(t, "", "p")
	holders := w.holders(t)
	do(t, w.CreateUser, w.root, iamtypes.CreateUserRequest{UserName: "y", Path: "/team/", PermissionsBoundary: arn})
	do(t, w.CreateUser, w.root, iamtypes.CreateUserRequest{UserName: "unrelated"})
	for _, h := range holders {
		if err := h.attach("x", arn); err != nil {
			t.Fatal(err)
		}
	}
	if err := holders[0].setBoundary("x", arn); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		in   iamtypes.ListEntitiesForPolicyRequest
		want []string
	}{
		{iamtypes.ListEntitiesForPolicyRequest{}, []string{"group x", "user x", "user y", "role x"}},
		{iamtypes.ListEntitiesForPolicyRequest{EntityFilter: "User"}, []string{"user x", "user y"}},
		{iamtypes.ListEntitiesForPolicyRequest{EntityFilter: "Group"}, []string{"group x"}},
		{iamtypes.ListEntitiesForPolicyRequest{EntityFilter: "Role"}, []string{"role x"}},
		{iamtypes.ListEntitiesForPolicyRequest{EntityFilter: "AWSManagedPolicy"}, nil},
		{iamtypes.ListEntitiesForPolicyRequest{EntityFilter: "LocalManagedPolicy"}, nil},
		{iamtypes.ListEntitiesForPolicyRequest{PathPrefix: "/team/"}, []string{"user y"}},
		{iamtypes.ListEntitiesForPolicyRequest{PolicyUsageFilter: "PermissionsBoundary"}, []string{"user x", "user y"}},
		{iamtypes.ListEntitiesForPolicyRequest{PolicyUsageFilter: "PermissionsPolicy"}, []string{"group x", "user x", "role x"}},
	} {
		for _, size := range []int32{1000, 1} {
			c.in.PolicyArn, c.in.MaxItems, c.in.Marker = arn, &size, ""
			var got []string
			for {
				out := do(t, w.ListEntitiesForPolicy, w.root, c.in)
				for _, g := range out.PolicyGroups {
					got = append(got, "group "+g.GroupName)
				}
				for _, u := range out.PolicyUsers {
					got = append(got, "user "+u.UserName)
				}
				for _, r := range out.PolicyRoles {
					got = append(got, "role "+r.RoleName)
				}
				if !*out.IsTruncated {
					break
				}
				c.in.Marker = out.Marker
			}
			same(t, fmt.Sprintf("entities for %+v in pages of %d", c.in, size), got, c.want)
		}
	}
	x := do(t, w.GetUser, w.root, iamtypes.GetUserRequest{UserName: "x"}).User
	got := do(t, w.ListEntitiesForPolicy, w.root, iamtypes.ListEntitiesForPolicyRequest{PolicyArn: arn, EntityFilter: "User",
		PolicyUsageFilter: "PermissionsPolicy"})
	same(t, "the user", got.PolicyUsers, []iamtypes.PolicyUser{{UserName: "x", UserId: x.UserId}})
	same(t, "entities of a policy of AWS that nobody has",
		*do(t, w.ListEntitiesForPolicy, w.root, iamtypes.ListEntitiesForPolicyRequest{PolicyArn: pullOnly}),
		iamtypes.ListEntitiesForPolicyResponse{
			PolicyGroups: []iamtypes.PolicyGroup{}, PolicyUsers: []iamtypes.PolicyUser{}, PolicyRoles: []iamtypes.PolicyRole{},
			IsTruncated: new(false),
		})
	refuse(t, w.ListEntitiesForPolicy, w.root, iamtypes.ListEntitiesForPolicyRequest{PolicyArn: arn, Marker: "nonsense"},
		fault.Validation, "Marker")
}
