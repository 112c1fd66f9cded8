package iam_test

import (
	"encoding/json"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

const replication = "replication.ecr.amazonaws.com"

func TestServiceLinkedRoles(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	for service, want := range map[string]struct{ role, policy string }{
		"pullthroughcache.ecr.amazonaws.com": {"AWSServiceRoleForECRPullThroughCache", "AWSECRPullThroughCache_ServiceRolePolicy"},
		replication:                          {"AWSServiceRoleForECRReplication", "ECRReplicationServiceRolePolicy"},
		"ecr.amazonaws.com":                  {"AWSServiceRoleForECRTemplate", "ECRTemplateServiceRolePolicy"},
	} {
		got := *do(t, w.CreateServiceLinkedRole, w.root, iamtypes.CreateServiceLinkedRoleRequest{AWSServiceName: service, Description: "d"}).Role
		text := decoded(t, got.AssumeRolePolicyDocument)
		if !strings.Contains(text, `"Service":"`+service+`"`) {
			t.Errorf("%s: the trust policy is %s, want the service in it", service, text)
		}
		same(t, service, got, iamtypes.Role{
			Path: "/aws-service-role/" + service + "/", RoleName: want.role, RoleId: got.RoleId, CreateDate: awswire.Time{Time: w.at},
			Arn:                      "arn:aws:iam::111122223333:role/aws-service-role/" + service + "/" + want.role,
			AssumeRolePolicyDocument: got.AssumeRolePolicyDocument, Description: "d", MaxSessionDuration: new(int32(3600)),
		})
		arns, err := w.meta.Attachments(t.Context(), got.RoleId)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "the policies of "+service, arns, []string{"arn:aws:iam::aws:policy/aws-service-role/" + want.policy})
		refuse(t, w.CreateServiceLinkedRole, w.root, iamtypes.CreateServiceLinkedRoleRequest{AWSServiceName: service},
			fault.InvalidInput, want.role+" has been taken in this account")
	}
	refuse(t, w.CreateServiceLinkedRole, w.root, iamtypes.CreateServiceLinkedRoleRequest{
		AWSServiceName: "lambda.amazonaws.com"}, fault.InvalidInput, "lambda.amazonaws.com")
	refuse(t, w.CreateServiceLinkedRole, w.stranger, iamtypes.CreateServiceLinkedRoleRequest{AWSServiceName: replication,
		CustomSuffix: "x"}, fault.InvalidInput, "Custom suffix is not allowed")
	do(t, w.CreateRole, w.stranger, iamtypes.CreateRoleRequest{RoleName: "AWSServiceRoleForECRReplication",
		AssumeRolePolicyDocument: trustEC2})
	refuse(t, w.CreateServiceLinkedRole, w.stranger, iamtypes.CreateServiceLinkedRoleRequest{AWSServiceName: replication},
		fault.InvalidInput, "has been taken")
	own := do(t, w.GetRole, w.stranger, iamtypes.GetRoleRequest{RoleName: "AWSServiceRoleForECRReplication"}).Role
	if arns, err := w.meta.Attachments(t.Context(), own.RoleId); err != nil || len(arns) != 0 {
		t.Errorf("a namesake that a person made has the policies %v, %v, want none", arns, err)
	}
}

// If the server stopped after it made a role without its policy, the next request completes the role.
func TestServiceLinkedRoleIsCompleted(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	in := iamtypes.CreateServiceLinkedRoleRequest{AWSServiceName: replication}
	id := do(t, w.CreateServiceLinkedRole, w.root, in).Role.RoleId
	const arn = "arn:aws:iam::aws:policy/aws-service-role/ECRReplicationServiceRolePolicy"
	if err := w.meta.Detach(t.Context(), id, arn); err != nil {
		t.Fatal(err)
	}
	refuse(t, w.CreateServiceLinkedRole, w.root, in, fault.InvalidInput)
	arns, err := w.meta.Attachments(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "its policies", arns, []string{arn})
}

// Of a service-linked role, only the description and the tags can be changed.
func TestServiceLinkedRoleIsProtected(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	want := *do(t, w.CreateServiceLinkedRole, w.root, iamtypes.CreateServiceLinkedRoleRequest{AWSServiceName: replication}).Role
	role := want.RoleName
	do(t, w.CreateInstanceProfile, w.root, iamtypes.CreateInstanceProfileRequest{InstanceProfileName: "p"})

	refuse(t, w.DeleteRole, w.root, iamtypes.DeleteRoleRequest{RoleName: role}, fault.UnmodifiableEntity, "protected role '"+role+"'")
	refuse(t, w.UpdateAssumeRolePolicy, w.root, iamtypes.UpdateAssumeRolePolicyRequest{RoleName: role,
		PolicyDocument: trustEC2}, fault.UnmodifiableEntity)
	refuse(t, w.UpdateRole, w.root, iamtypes.UpdateRoleRequest{RoleName: role, Description: "x",
		MaxSessionDuration: new(int32(7200))}, fault.UnmodifiableEntity)
	refuse(t, w.AddRoleToInstanceProfile, w.root, iamtypes.AddRoleToInstanceProfileRequest{RoleName: role,
		InstanceProfileName: "p"}, fault.UnmodifiableEntity)
	want.RoleLastUsed = &iamtypes.RoleLastUsed{}
	same(t, "after refusals", do(t, w.GetRole, w.root, iamtypes.GetRoleRequest{RoleName: role}).Role, want)

	do(t, w.UpdateRole, w.root, iamtypes.UpdateRoleRequest{RoleName: role, Description: "one"})
	want.Description = "one"
	same(t, "with a description", do(t, w.GetRole, w.root, iamtypes.GetRoleRequest{RoleName: role}).Role, want)
	do(t, w.UpdateRoleDescription, w.root, iamtypes.UpdateRoleDescriptionRequest{RoleName: role, Description: "two"})
	do(t, w.TagRole, w.root, iamtypes.TagRoleRequest{RoleName: role, Tags: []iamtypes.Tag{{Key: "k", Value: "v"}}})
	want.Description, want.Tags = "two", []iamtypes.Tag{{Key: "k", Value: "v"}}
	same(t, "with tags", do(t, w.GetRole, w.root, iamtypes.GetRoleRequest{RoleName: role}).Role, want)
}

func TestDeleteServiceLinkedRole(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	create := iamtypes.CreateServiceLinkedRoleRequest{AWSServiceName: replication}
	first := do(t, w.CreateServiceLinkedRole, w.root, create).Role
	w.role(t, "plain")
	refuse(t, w.DeleteServiceLinkedRole, w.root, iamtypes.DeleteServiceLinkedRoleRequest{RoleName: "plain"},
		fault.NoSuchEntity, "service-linked role with name plain")
	refuse(t, w.DeleteServiceLinkedRole, w.stranger, iamtypes.DeleteServiceLinkedRoleRequest{RoleName: first.RoleName}, fault.NoSuchEntity)

	task := do(t, w.DeleteServiceLinkedRole, w.root, iamtypes.DeleteServiceLinkedRoleRequest{RoleName: first.RoleName}).DeletionTaskId
	if want := `^task/aws-service-role/replication\.ecr\.amazonaws\.com/AWSServiceRoleForECRReplication/[0-9a-f-]{36,}$`; !regexp.MustCompile(want).MatchString(task) {
		t.Errorf("the task is %q, want it to match %s", task, want)
	}
	refuse(t, w.GetRole, w.root, iamtypes.GetRoleRequest{RoleName: first.RoleName}, fault.NoSuchEntity)
	refuse(t, w.DeleteServiceLinkedRole, w.root, iamtypes.DeleteServiceLinkedRoleRequest{RoleName: first.RoleName}, fault.NoSuchEntity)
	if got := do(t, w.GetServiceLinkedRoleDeletionStatus, w.root,
		iamtypes.GetServiceLinkedRoleDeletionStatusRequest{DeletionTaskId: task}); got.Status != "SUCCEEDED" || got.Reason != nil {
		t.Errorf("the deletion is %+v, want SUCCEEDED", got)
	}
	last := "0"
	if strings.HasSuffix(task, last) {
		last = "1"
	}
	for _, bad := range []string{
		"task", "task/aws-service-role/", task[:len(task)-1], task[:len(task)-1] + last, task +
			"0", strings.Replace(task, "Replication", "Template", 1), strings.TrimPrefix(task, "task"),
	} {
		refuse(t, w.GetServiceLinkedRoleDeletionStatus, w.root,
			iamtypes.GetServiceLinkedRoleDeletionStatusRequest{DeletionTaskId: bad}, fault.NoSuchEntity)
	}
	refuse(t, w.GetServiceLinkedRoleDeletionStatus, w.stranger,
		iamtypes.GetServiceLinkedRoleDeletionStatusRequest{DeletionTaskId: task}, fault.NoSuchEntity)
	if again := do(t, w.CreateServiceLinkedRole, w.root, create).Role; again.RoleId == first.RoleId {
		t.Errorf("the role made again has the unique id %s too", again.RoleId)
	}
}

// Every operation that changes a role refuses a service-linked one, whose state stays. The exceptions are those of IAM: description and
// tags, and the deletion of its own kind.
func TestNoOperationChangesAServiceLinkedRole(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	role := do(t, w.CreateServiceLinkedRole, w.root, iamtypes.CreateServiceLinkedRoleRequest{AWSServiceName: replication}).Role.RoleName
	do(t, w.CreateInstanceProfile, w.root, iamtypes.CreateInstanceProfileRequest{InstanceProfileName: "p"})
	const linked = "arn:aws:iam::aws:policy/aws-service-role/ECRReplicationServiceRolePolicy"
	const other = "arn:aws:iam::aws:policy/AdministratorAccess"
	before := do(t, w.GetAccountAuthorizationDetails, w.root, iamtypes.GetAccountAuthorizationDetailsRequest{}).RoleDetailList
	text := "Cannot perform the operation on the protected role '" + role + "' - this role is only modifiable by AWS"
	document := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`
	tried := map[string]func(){
		"AddRoleToInstanceProfile": func() {
			refuse(t, w.AddRoleToInstanceProfile, w.root, iamtypes.AddRoleToInstanceProfileRequest{RoleName: role, InstanceProfileName: "p"},
				fault.UnmodifiableEntity, text)
		},
		"AttachRolePolicy": func() {
			refuse(t, w.AttachRolePolicy, w.root, iamtypes.AttachRolePolicyRequest{RoleName: role, PolicyArn: other}, fault.UnmodifiableEntity, text)
		},
		"DetachRolePolicy": func() {
			refuse(t, w.DetachRolePolicy, w.root, iamtypes.DetachRolePolicyRequest{RoleName: role, PolicyArn: linked},
				fault.UnmodifiableEntity, text)
		},
		"PutRolePolicy": func() {
			refuse(t, w.PutRolePolicy, w.root, iamtypes.PutRolePolicyRequest{RoleName: role, PolicyName: "p", PolicyDocument: document},
				fault.UnmodifiableEntity, text)
		},
		"DeleteRolePolicy": func() {
			refuse(t, w.DeleteRolePolicy, w.root, iamtypes.DeleteRolePolicyRequest{RoleName: role, PolicyName: "p"}, fault.UnmodifiableEntity, text)
		},
		"PutRolePermissionsBoundary": func() {
			refuse(t, w.PutRolePermissionsBoundary, w.root, iamtypes.PutRolePermissionsBoundaryRequest{RoleName: role, PermissionsBoundary: other},
				fault.UnmodifiableEntity, text)
		},
		"DeleteRolePermissionsBoundary": func() {
			refuse(t, w.DeleteRolePermissionsBoundary, w.root, iamtypes.DeleteRolePermissionsBoundaryRequest{RoleName: role},
				fault.UnmodifiableEntity, text)
		},
		"UpdateRole": func() {
			refuse(t, w.UpdateRole, w.root, iamtypes.UpdateRoleRequest{RoleName: role, MaxSessionDuration: new(int32(7200))},
				fault.UnmodifiableEntity, text)
		},
		"UpdateAssumeRolePolicy": func() {
			refuse(t, w.UpdateAssumeRolePolicy, w.root, iamtypes.UpdateAssumeRolePolicyRequest{RoleName: role, PolicyDocument: trustEC2},
				fault.UnmodifiableEntity, text)
		},
		"DeleteRole": func() {
			refuse(t, w.DeleteRole, w.root, iamtypes.DeleteRoleRequest{RoleName: role}, fault.UnmodifiableEntity, text)
		},
	}
	exceptions := []string{"CreateRole", "UpdateRoleDescription", "TagRole", "UntagRole", "DeleteServiceLinkedRole",
		"RemoveRoleFromInstanceProfile"} // the role is in none
	for _, n := range iamtypes.OperationNames {
		in := reflect.TypeOf(iamtypes.Operations[n].Input()).Elem()
		if _, ok := in.FieldByName("RoleName"); !ok || strings.HasPrefix(n, "Get") || strings.HasPrefix(n, "List") ||
			slices.Contains(exceptions, n) {
			continue
		}
		if try := tried[n]; try != nil {
			try()
		} else {
			t.Errorf("%s is not tried on a service-linked role", n)
		}
	}
	same(t, "the role after all refusals",
		do(t, w.GetAccountAuthorizationDetails, w.root, iamtypes.GetAccountAuthorizationDetailsRequest{}).RoleDetailList, before)
}

// The policies of the service-linked roles have the statements of AWS, with their ids.
func TestPoliciesOfServiceLinkedRoles(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	for policy, sids := range map[string][]string{
		"AWSECRPullThroughCache_ServiceRolePolicy": {"ECR", "SecretsManager"}, "ECRReplicationServiceRolePolicy": {""},
		"ECRTemplateServiceRolePolicy": {"CreateRepositoryWithTemplate"},
	} {
		arn := "arn:aws:iam::aws:policy/aws-service-role/" + policy
		version := do(t, w.GetPolicy, w.root, iamtypes.GetPolicyRequest{PolicyArn: arn}).Policy.DefaultVersionId
		shown := do(t, w.GetPolicyVersion, w.root, iamtypes.GetPolicyVersionRequest{PolicyArn: arn, VersionId: version}).PolicyVersion
		text := decoded(t, shown.Document)
		var d struct{ Statement []struct{ Sid string } }
		if err := json.Unmarshal([]byte(text), &d); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range d.Statement {
			got = append(got, s.Sid)
		}
		same(t, policy, got, sids)
	}
}
