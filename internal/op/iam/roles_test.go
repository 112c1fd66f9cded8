package iam_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

func TestCreateRole(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	got := do(t, w.CreateRole, w.root, iamtypes.CreateRoleRequest{
		RoleName: "deploy", Path: "/ci/", AssumeRolePolicyDocument: trustEC2, Description: "for + the 50% of us",
		MaxSessionDuration:  new(int32(7200)),
		PermissionsBoundary: readOnly, Tags: []iamtypes.Tag{{Key: "k", Value: "v"}},
	}).Role
	if !regexp.MustCompile(`^AROA[A-Z2-7]{17}$`).MatchString(got.RoleId) {
		t.Errorf("the unique id is %q, want AROA and 17 of A-Z2-7", got.RoleId)
	}
	if text := decoded(t, got.AssumeRolePolicyDocument); text != trustEC2 {
		t.Errorf("the trust policy is %q, want %q", text, trustEC2)
	}
	want := iamtypes.Role{
		Path: "/ci/", RoleName: "deploy", RoleId: got.RoleId, Arn: "arn:aws:iam::111122223333:role/ci/deploy",
		CreateDate:               awswire.Time{Time: w.at},
		AssumeRolePolicyDocument: got.AssumeRolePolicyDocument,
		PermissionsBoundary:      &iamtypes.AttachedPermissionsBoundary{PermissionsBoundaryType: "Policy", PermissionsBoundaryArn: readOnly},
		Tags:                     []iamtypes.Tag{{Key: "k", Value: "v"}},
	}
	same(t, "CreateRole", got, want)
	want.Description, want.MaxSessionDuration = "for + the 50% of us", new(int32(7200))
	want.RoleLastUsed = &iamtypes.RoleLastUsed{}
	same(t, "GetRole", do(t, w.GetRole, w.root, iamtypes.GetRoleRequest{RoleName: "deploy"}).Role, want)

	at := w.at.Add(time.Minute)
	if err := w.meta.SetUsed(t.Context(), nil, map[string]meta.Use{got.RoleId: {At: at, Region: "eu-west-1", Service: "ecr"}}); err != nil {
		t.Fatal(err)
	}
	want.RoleLastUsed = &iamtypes.RoleLastUsed{LastUsedDate: &awswire.Time{Time: at}, Region: "eu-west-1"}
	same(t, "GetRole of a used one", do(t, w.GetRole, w.root, iamtypes.GetRoleRequest{RoleName: "deploy"}).Role, want)

	want.PermissionsBoundary, want.Tags, want.RoleLastUsed = nil, nil, nil
	same(t, "ListRoles", do(t, w.ListRoles, w.root, iamtypes.ListRolesRequest{}).Roles, []iamtypes.Role{want})
	if got := *w.role(t, "plain").MaxSessionDuration; got != 3600 {
		t.Errorf("a role without a longest session has %d s, want 3600", got)
	}
	refuse(t, w.GetRole, w.stranger, iamtypes.GetRoleRequest{RoleName: "deploy"}, fault.NoSuchEntity,
		"The role with name deploy cannot be found.")
}

// trusts returns a trust policy for a principal.
func trusts(principal string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + principal + `"},"Action":"sts:AssumeRole"}]}`
}

// The same trust policies are refused when a role is made and when it is changed.
func TestTrustPolicyRefused(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	w.role(t, "there")
	w.group(t, "ops")
	w.user(t, "alice")
	long := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRole","Condition":{"StringEquals":{"sts:ExternalId":"`
	const tail = `"}}}]}`
	fits := long + strings.Repeat("x", 2048-len(long)-len(tail)) + tail
	for _, c := range []struct {
		what, text string
		want       fault.Code
		words      []string
	}{
		{"no JSON", `{"Version":`, fault.MalformedPolicyDocument, []string{"line 1, column"}},
		{"a place", "{\n  \"Statement\": [{\"Effect\": \"Permit\"}]}", fault.MalformedPolicyDocument, []string{"line 2", "Statement[0].Effect"}},
		{"an action of another service", strings.ReplaceAll(trustEC2, "sts:AssumeRole", "ecr:PutImage"),
			fault.MalformedPolicyDocument, []string{"line 1", "Action"}},
		{"a resource", strings.ReplaceAll(trustEC2, `"Action"`, `"Resource": "*", "Action"`), fault.MalformedPolicyDocument,
			[]string{"Resource"}},
		{"no principal", `{"Statement":[{"Effect":"Allow","Action":"sts:AssumeRole"}]}`, fault.MalformedPolicyDocument, []string{"rincipal"}},
		{"a user that does not exist", trusts("arn:aws:iam::111122223333:user/none"), fault.MalformedPolicyDocument,
			[]string{`Invalid principal in policy: "AWS":"arn:aws:iam::111122223333:user/none"`}},
		{"a user with another path", trusts("arn:aws:iam::111122223333:user/x/alice"), fault.MalformedPolicyDocument,
			[]string{`Invalid principal in policy`}},
		{"a role that does not exist", trusts("arn:aws:iam::444455556666:role/none"), fault.MalformedPolicyDocument,
			[]string{`Invalid principal in policy: "AWS":"arn:aws:iam::444455556666:role/none"`}},
		{"an account that does not exist", trusts("999999999999"), fault.MalformedPolicyDocument,
			[]string{`Invalid principal in policy: "AWS":"999999999999"`}},
		{"a group", trusts("arn:aws:iam::111122223333:group/ops"), fault.MalformedPolicyDocument, []string{"line 1"}},
		{"one character too long", strings.Replace(fits, "xx", "xxx", 1), fault.LimitExceeded,
			[]string{"Cannot exceed quota for ACLSizePerRole: 2048"}},
		{"too long and wrong", strings.Replace(fits, "xx", "xxx", 1) + "}", fault.MalformedPolicyDocument, []string{"line 1"}},
	} {
		t.Log(c.what)
		refuse(t, w.CreateRole, w.root, iamtypes.CreateRoleRequest{RoleName: "new", AssumeRolePolicyDocument: c.text}, c.want, c.words...)
		refuse(t, w.UpdateAssumeRolePolicy, w.root, iamtypes.UpdateAssumeRolePolicyRequest{RoleName: "there",
			PolicyDocument: c.text}, c.want, c.words...)
	}
	if got := decoded(t, do(t, w.GetRole, w.root, iamtypes.GetRoleRequest{RoleName: "there"}).Role.AssumeRolePolicyDocument); got != trustEC2 {
		t.Errorf("after refusals the trust policy is %s, want %s", got, trustEC2)
	}
	// White space between words does not count.
	do(t, w.CreateRole, w.root, iamtypes.CreateRoleRequest{RoleName: "new", AssumeRolePolicyDocument: strings.ReplaceAll(fits, ",", ",\n   ")})
}

func TestCreateRoleRefused(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	w.role(t, "there")
	for _, c := range []struct {
		in    iamtypes.CreateRoleRequest
		want  fault.Code
		words string
	}{
		{iamtypes.CreateRoleRequest{RoleName: "There"}, fault.EntityAlreadyExists, "Role with name There already exists."},
		{iamtypes.CreateRoleRequest{RoleName: "x", Path: "/aws-service-role/ecr.amazonaws.com/"}, fault.InvalidInput, "reserved"},
		{iamtypes.CreateRoleRequest{RoleName: "x", Path: "/aws-reserved/sso/"}, fault.InvalidInput, "reserved"},
		{iamtypes.CreateRoleRequest{RoleName: "x", Tags: []iamtypes.Tag{{Key: "a"}, {Key: "a"}}}, fault.InvalidInput, "Duplicate"},
		{iamtypes.CreateRoleRequest{RoleName: "x", PermissionsBoundary: "arn:aws:iam::aws:policy/None"}, fault.NoSuchEntity, "does not exist"},
		{iamtypes.CreateRoleRequest{RoleName: "x",
			PermissionsBoundary: "arn:aws:iam::aws:policy/aws-service-role/ECRTemplateServiceRolePolicy"},
			fault.PolicyNotAttachable, "service-linked"},
	} {
		c.in.AssumeRolePolicyDocument = trustEC2
		refuse(t, w.CreateRole, w.root, c.in, c.want, c.words)
	}
}

// A trust policy applies to the principals that it named when it was set, and shows their current names.
func TestTrustPolicyIsBound(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	alice := w.user(t, "alice")
	text := trusts(alice.Arn)
	do(t, w.CreateRole, w.root, iamtypes.CreateRoleRequest{RoleName: "deploy", AssumeRolePolicyDocument: text})
	shown := func() string {
		return decoded(t, do(t, w.GetRole, w.root, iamtypes.GetRoleRequest{RoleName: "deploy"}).Role.AssumeRolePolicyDocument)
	}
	if got := shown(); got != text {
		t.Errorf("the trust policy is %s, want %s", got, text)
	}
	do(t, w.UpdateUser, w.root, iamtypes.UpdateUserRequest{UserName: "alice", NewUserName: "alicia"})
	if got := shown(); !strings.Contains(got, `"arn:aws:iam::111122223333:user/alicia"`) || strings.Contains(got, "/alice") {
		t.Errorf("after a change of the name the trust policy is %s, want alicia in it", got)
	}
	do(t, w.DeleteUser, w.root, iamtypes.DeleteUserRequest{UserName: "alicia"})
	namesake := w.user(t, "alicia")
	if got := shown(); !strings.Contains(got, `"`+alice.UserId+`"`) || strings.Contains(got, "alicia") ||
		strings.Contains(got, namesake.UserId) {
		t.Errorf("after a namesake took the place the trust policy is %s, want %s in it", got, alice.UserId)
	}
	do(t, w.UpdateAssumeRolePolicy, w.root, iamtypes.UpdateAssumeRolePolicyRequest{RoleName: "deploy", PolicyDocument: trusts(namesake.Arn)})
	if got := shown(); got != trusts(namesake.Arn) {
		t.Errorf("the new trust policy is %s, want %s", got, trusts(namesake.Arn))
	}
	e, err := w.meta.Entity(t.Context(), home, meta.Role, "deploy")
	if err != nil {
		t.Fatal(err)
	}
	same(t, "who the trust policy is bound to", e.Trust.IDs, map[string]string{namesake.Arn: namesake.UserId})
}

// Without a description in the request, the description stays. Without a maximum session duration, it becomes that of a
// new role, as in IAM.
func TestUpdateRole(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	want := do(t, w.CreateRole, w.root, iamtypes.CreateRoleRequest{RoleName: "r", AssumeRolePolicyDocument: trustEC2,
		Description: "old", MaxSessionDuration: new(int32(43200))}).Role
	want.RoleLastUsed, want.Description, want.MaxSessionDuration = &iamtypes.RoleLastUsed{}, "old", new(int32(43200))
	check := func(what string) {
		t.Helper()
		same(t, what, do(t, w.GetRole, w.root, iamtypes.GetRoleRequest{RoleName: "r"}).Role, want)
	}
	do(t, w.UpdateRole, w.root, iamtypes.UpdateRoleRequest{RoleName: "r", Description: "new"})
	want.Description = "new"
	want.MaxSessionDuration = new(int32(3600))
	check("after another description")
	do(t, w.UpdateRole, w.root, iamtypes.UpdateRoleRequest{RoleName: "r", MaxSessionDuration: new(int32(4000))})
	want.MaxSessionDuration = new(int32(4000))
	check("after another longest session")
	got := do(t, w.UpdateRoleDescription, w.root, iamtypes.UpdateRoleDescriptionRequest{RoleName: "r"})
	want.Description = ""
	short := want
	short.MaxSessionDuration, short.RoleLastUsed = nil, nil
	same(t, "UpdateRoleDescription", *got.Role, short)
	check("without description")
	refuse(t, w.UpdateRole, w.root, iamtypes.UpdateRoleRequest{RoleName: "none"}, fault.NoSuchEntity,
		"The role with name none cannot be found.")
	refuse(t, w.UpdateRoleDescription, w.root, iamtypes.UpdateRoleDescriptionRequest{RoleName: "none"}, fault.NoSuchEntity)
	refuse(t, w.UpdateAssumeRolePolicy, w.root, iamtypes.UpdateAssumeRolePolicyRequest{RoleName: "none",
		PolicyDocument: trustEC2}, fault.NoSuchEntity)
}

func TestDeleteRole(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	first := w.role(t, "r")
	deleted := iamtypes.DeleteRoleRequest{RoleName: "r"}
	if err := w.meta.Attach(t.Context(), first.RoleId, readOnly, 10); err != nil {
		t.Fatal(err)
	}
	refuse(t, w.DeleteRole, w.root, deleted, fault.DeleteConflict, "Cannot delete entity, must detach all policies first.")
	if err := w.meta.Detach(t.Context(), first.RoleId, readOnly); err != nil {
		t.Fatal(err)
	}
	if err := w.meta.PutInline(t.Context(), first.RoleId, meta.Inline{Name: "p", Text: "{}"}, 10240); err != nil {
		t.Fatal(err)
	}
	refuse(t, w.DeleteRole, w.root, deleted, fault.DeleteConflict, "Cannot delete entity, must delete policies first.")
	if err := w.meta.DeleteInline(t.Context(), first.RoleId, "p"); err != nil {
		t.Fatal(err)
	}
	do(t, w.CreateInstanceProfile, w.root, iamtypes.CreateInstanceProfileRequest{InstanceProfileName: "p"})
	do(t, w.AddRoleToInstanceProfile, w.root, iamtypes.AddRoleToInstanceProfileRequest{InstanceProfileName: "p", RoleName: "r"})
	refuse(t, w.DeleteRole, w.root, deleted, fault.DeleteConflict, "Cannot delete entity, must remove roles from instance profile first.")
	do(t, w.RemoveRoleFromInstanceProfile, w.root, iamtypes.RemoveRoleFromInstanceProfileRequest{InstanceProfileName: "p", RoleName: "r"})
	do(t, w.DeleteRole, w.root, deleted)
	refuse(t, w.DeleteRole, w.root, deleted, fault.NoSuchEntity, "The role with name r cannot be found.")
	if again := w.role(t, "r"); again.RoleId == first.RoleId {
		t.Errorf("the namesake has the unique id %s too", again.RoleId)
	}
}
