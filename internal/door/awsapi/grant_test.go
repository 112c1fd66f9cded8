package awsapi_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
)

func (s *server) grant(in ecrintypes.GrantRepositoryAccessRequest) ecrintypes.GrantRepositoryAccessResponse {
	s.t.Helper()
	var out ecrintypes.GrantRepositoryAccessResponse
	s.operator("GrantRepositoryAccess", &in, &out)
	return out
}

// policyOf returns the policy of a repository as GetRepositoryPolicy returns it, "" for none.
func (s *server) policyOf(repo string) string {
	s.t.Helper()
	a := s.call("GetRepositoryPolicy", object("repositoryName", repo))
	if a.Type == "RepositoryPolicyNotFoundException" {
		return ""
	}
	return s.must("GetRepositoryPolicy", object("repositoryName", repo))["policyText"].(string)
}

func TestGrantRepositoryAccess(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.repository("app")
	partner := s.account("111122223333")
	yes := true
	pull := ecrintypes.GrantRepositoryAccessRequest{RepositoryName: "app", Principal: "111122223333", Permission: ecrintypes.PermissionPULL}
	listing := object("registryId", home, "repositoryName", "app")
	listAsPartner := func() answer { return s.send(raw{key: partner, target: ecrTarget + "ListImages", body: listing}) }

	out := s.grant(pull)
	if !out.Changed || out.Applied || len(out.Warnings) > 0 || s.policyOf("app") != "" {
		t.Errorf("without apply: got %+v and the policy %q", out, s.policyOf("app"))
	}
	listAsPartner().want(t, "before the grant", 400, "AccessDeniedException", "because no resource-based policy allows")
	pull.Apply = &yes
	if out = s.grant(pull); !out.Changed || !out.Applied || out.PolicyText != s.policyOf("app") {
		t.Errorf("with apply: got %+v, the policy is %q", out, s.policyOf("app"))
	}
	if a := listAsPartner(); a.Status != 200 {
		t.Errorf("after the grant: got %s", a)
	}
	if out = s.grant(pull); out.Changed || out.Applied || out.PolicyText != s.policyOf("app") {
		t.Errorf("a second time: got %+v", out)
	}
	// Existing statements stay, and a Deny that overrides the grant is a warning.
	s.must("SetRepositoryPolicy", object("repositoryName", "app", "policyText",
		`{"Version":"2012-10-17","Statement":[{"Sid":"no","Effect":"Deny","Principal":{"AWS":"111122223333"},"Action":"ecr:PutImage"},{"Sid":"all","Effect":"Allow","Principal":"*","Action":"ecr:ListImages"}]}`))
	push := pull
	push.Permission = ecrintypes.PermissionPUSH
	out = s.grant(push)
	if !out.Applied || len(out.Warnings) != 2 || out.Warnings[0].Code != "denied" ||
		out.Warnings[0].Path != "Statement[0]" || out.Warnings[1].Code != "anyone" {
		t.Errorf("with a Deny: got %+v, want warnings denied and anyone", out)
	}
	for _, want := range []string{`"no"`, `"all"`, `"AllowPush"`} {
		if !strings.Contains(s.policyOf("app"), want) {
			t.Errorf("the policy has no statement %s: %s", want, s.policyOf("app"))
		}
	}
}

func TestGrantRepositoryAccessRefuses(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.repository("app")
	yes := true
	for _, c := range []struct {
		in   ecrintypes.GrantRepositoryAccessRequest
		want string
	}{
		{ecrintypes.GrantRepositoryAccessRequest{RepositoryName: "none", Principal: home, Permission: "PULL"}, "RepositoryNotFoundException: "},
		{ecrintypes.GrantRepositoryAccessRequest{RepositoryName: "app", RegistryId: "111122223333", Principal: home,
			Permission: "PULL"}, "RepositoryNotFoundException: "},
		{ecrintypes.GrantRepositoryAccessRequest{RepositoryName: "app", Principal: "nobody", Permission: "PULL"}, "InvalidParameterException: "},
		{ecrintypes.GrantRepositoryAccessRequest{RepositoryName: "app", Principal: home, Permission: "DELETE"}, "InvalidParameterException: "},
		{ecrintypes.GrantRepositoryAccessRequest{RepositoryName: "app", Principal: "444455556666", Permission: "PULL"},
			"InvalidParameterException: Invalid parameter at 'PolicyText' failed to satisfy constraint: 'Principal not found'"},
		{ecrintypes.GrantRepositoryAccessRequest{RepositoryName: "app", Principal: "arn:aws:iam::000000000000:role/none",
			Permission: "PUSH", Apply: &yes},
			"InvalidParameterException: Invalid parameter at 'PolicyText' failed to satisfy constraint: 'Principal not found'"},
	} {
		if got := s.operatorError("GrantRepositoryAccess", &c.in); !strings.HasPrefix(got, c.want) {
			t.Errorf("%+v: got %q, want %q", c.in, got, c.want)
		}
	}
	if p := s.policyOf("app"); p != "" {
		t.Errorf("after a refused grant: got the policy %s, want none", p)
	}
	// A policy of nearly the maximum length.
	long := `{"Version":"2012-10-17","Statement":{"Sid":"` + strings.Repeat("x", 10000) +
		`","Effect":"Allow","Principal":"*","Action":"ecr:ListImages"}}`
	s.must("SetRepositoryPolicy", object("repositoryName", "app", "policyText", long))
	before := s.policyOf("app")
	got := s.operatorError("GrantRepositoryAccess", &ecrintypes.GrantRepositoryAccessRequest{RepositoryName: "app",
		Principal: home, Permission: "PULL", Apply: &yes})
	if !strings.HasPrefix(got, "InvalidParameterException: ") || s.policyOf("app") != before {
		t.Errorf("a grant that makes the policy too long: got %q and the policy %.80s, want the old policy", got, s.policyOf("app"))
	}
	// A deleted user is shown by its id, which a new policy cannot have.
	alice := s.entity("AIDAALICE", meta.User, "alice", "", "")
	s.must("SetRepositoryPolicy", object("repositoryName", "app", "policyText",
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"`+alice+`"},"Action":"ecr:ListImages"}}`))
	if err := s.Meta().DeleteEntity(t.Context(), s.resolved(meta.User, "alice")); err != nil {
		t.Fatal(err)
	}
	got = s.operatorError("GrantRepositoryAccess", &ecrintypes.GrantRepositoryAccessRequest{RepositoryName: "app",
		Principal: home, Permission: "PULL"})
	if !strings.Contains(got, "names a user or role that was deleted") {
		t.Errorf("with a deleted user in the policy: got %q, want an error that names it", got)
	}
}

// A grant needs the permissions for the operations of ECR that do the same.
func TestGrantRepositoryAccessRights(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.repository("app")
	partner := s.account("111122223333")
	body := func(apply bool) string {
		return object("registryId", home, "repositoryName", "app", "principal", "111122223333", "permission", "PUSH", "apply", apply)
	}
	s.callEcrin(partner, "GrantRepositoryAccess", body(false)).want(t, "another account", 400, "AccessDeniedException",
		"perform: ecr:GetRepositoryPolicy on resource: "+appARN+" because")
	s.must("SetRepositoryPolicy", object("repositoryName", "app", "policyText",
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"ecr:GetRepositoryPolicy"}}`))
	if a := s.callEcrin(partner, "GrantRepositoryAccess", body(false)); a.Status != 200 {
		t.Errorf("a caller that may read the policy: got %s, want 200", a)
	}
	s.callEcrin(partner, "GrantRepositoryAccess", body(true)).want(t, "a caller that may not set it", 400,
		"AccessDeniedException", "perform: ecr:SetRepositoryPolicy on resource: "+appARN+" because")
	if strings.Contains(s.policyOf("app"), "AllowPush") {
		t.Error("a denied grant has changed the policy")
	}
	if a := s.callEcrin(s.key, "GrantRepositoryAccess",
		object("repositoryName", "app", "principal", "111122223333", "permission", "PUSH", "apply", true)); a.Status != 200 {
		t.Errorf("the owner: got %s, want 200", a)
	}
	if !strings.Contains(s.policyOf("app"), "AllowPush") {
		t.Error("the policy does not contain the grant of the owner")
	}
}

// No concurrent grant is lost.
func TestGrantRepositoryAccessAtOnce(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.repository("app")
	const n = 4
	for i := range n {
		s.account(fmt.Sprintf("11112222333%d", i))
	}
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			a := s.callEcrin(s.key, "GrantRepositoryAccess",
				object("repositoryName", "app", "principal", fmt.Sprintf("11112222333%d", i), "permission", "PULL", "apply", true))
			if a.Status != 200 {
				t.Errorf("grant %d: got %s", i, a)
			}
		})
	}
	all.Wait()
	for i := range n {
		if want := fmt.Sprintf("arn:aws:iam::11112222333%d:root", i); !strings.Contains(s.policyOf("app"), want) {
			t.Errorf("%s is missing in %s", want, s.policyOf("app"))
		}
	}
}
