package awsapi_test

import (
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
)

// policyFor returns a repository policy that permits a principal to pull.
func policyFor(principal string) string {
	return `{"Version":"2012-10-17","Statement":[{"Sid":"Pull","Effect":"Allow","Principal":{"AWS":"` + principal +
		`"},"Action":["ecr:BatchGetImage","ecr:GetDownloadUrlForLayer"]}]}`
}

// Contract 5.5: principals that do not exist are refused. Others are bound, and shown by their unique id after they
// were deleted.
func TestContract55Principals(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.repository("app")
	for _, principal := range []string{
		"444455556666", "arn:aws:iam::444455556666:root", "arn:aws:iam::000000000000:user/nobody", "arn:aws:iam::000000000000:role/none",
		"arn:aws:sts::000000000000:assumed-role/none/s", "arn:aws:iam::444455556666:user/elsewhere",
	} {
		s.wantError("SetRepositoryPolicy", object("repositoryName", "app", "policyText", policyFor(principal)), "InvalidParameterException",
			"Invalid parameter at 'PolicyText' failed to satisfy constraint: 'Principal not found'")
	}
	s.wantError("GetRepositoryPolicy", object("repositoryName", "app"), "RepositoryPolicyNotFoundException", "")

	alice := s.entity("AIDAALICEALICEALICE00", meta.User, "alice", "", "")
	text := func() string {
		return s.must("GetRepositoryPolicy", object("repositoryName", "app"))["policyText"].(string)
	}
	set := s.must("SetRepositoryPolicy", object("repositoryName", "app", "policyText", policyFor(alice)))["policyText"].(string)
	if got := text(); got != set || !strings.Contains(got, `"`+alice+`"`) {
		t.Errorf("GetRepositoryPolicy: got %s, want the answer of SetRepositoryPolicy, %s", got, set)
	}
	if _, err := s.Meta().UpdateEntity(t.Context(), s.resolved(meta.User, "alice"), func(e *meta.Entity) error {
		e.Name, e.Path = "alicia", "/team/"
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if got, want := text(), "arn:aws:iam::000000000000:user/team/alicia"; !strings.Contains(got, want) {
		t.Errorf("after the user was renamed: got the policy %s, want %s in it", got, want)
	}
	if err := s.Meta().DeleteEntity(t.Context(), s.resolved(meta.User, "alicia")); err != nil {
		t.Fatal(err)
	}
	s.entity("AIDAALICEALICEALICE01", meta.User, "alice", "", "")
	if got := text(); !strings.Contains(got, `"AIDAALICEALICEALICE00"`) || strings.Contains(got, "arn:aws:iam") {
		t.Errorf("after the user was deleted: got the policy %s, want its unique id", got)
	}
	if got := s.must("DeleteRepositoryPolicy", object("repositoryName", "app"))["policyText"].(string); !strings.Contains(
		got, `"AIDAALICEALICEALICE00"`) {
		t.Errorf("DeleteRepositoryPolicy: got the policy %s", got)
	}
}

// Contract 5.5: a policy that would not permit its author to set the policy again needs force.
func TestContract55LockOut(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.repository("app")
	const locks = `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"ecr:SetRepositoryPolicy"}]}`
	s.wantError("SetRepositoryPolicy", object("repositoryName", "app", "policyText", locks), "InvalidParameterException",
		"Invalid parameter at 'PolicyText' failed to satisfy constraint: 'Invalid repository policy provided'")
	s.wantError("SetRepositoryPolicy", object("repositoryName", "app", "policyText", locks, "force", false),
		"InvalidParameterException", "force")
	s.must("SetRepositoryPolicy", object("repositoryName", "app", "policyText", locks, "force", true))
	s.wantError("SetRepositoryPolicy", object("repositoryName", "app", "policyText", locks, "force", true), "AccessDeniedException",
		"with an explicit deny in a resource-based policy")
	s.must("DeleteRepositoryPolicy", object("repositoryName", "app"))
	s.must("SetRepositoryPolicy", object("repositoryName", "app", "policyText", policyFor(home)))
}

// The operator can delete a policy that denies everything to all principals, including the root user.
func TestRemoveLockedPolicy(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.repository("app")
	const locks = `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"ecr:*"}]}`
	s.must("SetRepositoryPolicy", object("repositoryName", "app", "policyText", locks, "force", true))
	s.wantError("DeleteRepositoryPolicy", object("repositoryName", "app"), "AccessDeniedException", "explicit deny")
	var out ecrintypes.RemoveRepositoryPolicyResponse
	s.operator("RemoveRepositoryPolicy", &ecrintypes.RemoveRepositoryPolicyRequest{RepositoryName: "app"}, &out)
	if !strings.Contains(out.PolicyText, "Deny") {
		t.Errorf("RemoveRepositoryPolicy: got the policy %q", out.PolicyText)
	}
	s.wantError("GetRepositoryPolicy", object("repositoryName", "app"), "RepositoryPolicyNotFoundException", "")
	if got := s.operatorError("RemoveRepositoryPolicy",
		&ecrintypes.RemoveRepositoryPolicyRequest{RepositoryName: "app"}); !strings.HasPrefix(got, "RepositoryPolicyNotFoundException") {
		t.Errorf("a second time: got %q, want RepositoryPolicyNotFoundException", got)
	}
}

// An invalid policy is refused with the position of the error.
func TestPolicyPlace(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.repository("app")
	for text, place := range map[string]string{
		"{\n  \"Version\": \"2012-10-17\",\n  \"Statement\": [],\n}":                                  "(line ",
		policyFor(home) + policyFor(home):                                                             "(line 1, column ",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Permit","Principal":"*","Action":"ecr:*"}]}`: "(line 1, column 48: ",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"ecr:*",` +
			`"Condition":{"StringLooksLike":{"aws:x":"y"}}}]}`: "(line 1, column ",
	} {
		s.wantError("SetRepositoryPolicy", object("repositoryName", "app", "policyText", text), "InvalidParameterException",
			"'Invalid repository policy provided' "+place)
	}
}

// Contract 5.6: the registry policy and its two scopes.
func TestContract56RegistryPolicy(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.account("111122223333")
	const arn = "arn:aws:ecr:us-east-1:000000000000:repository/*"
	of := func(principal, actions string) string {
		return object("policyText", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"`+principal+
			`"},"Action":[`+actions+`],"Resource":"`+arn+`"}]}`)
	}
	s.wantError("GetRegistryPolicy", "{}", "RegistryPolicyNotFoundException",
		"Registry policy does not exist in the registry with id '000000000000'")
	s.wantError("DeleteRegistryPolicy", "{}", "RegistryPolicyNotFoundException", "")
	s.wantError("PutRegistryPolicy", of("444455556666", `"ecr:BatchGetImage"`), "InvalidParameterException", "'Principal not found'")
	s.wantError("PutRegistryPolicy", object("policyText", policyFor(home)), "InvalidParameterException", "'Invalid registry policy provided'")
	put := s.must("PutRegistryPolicy", of("111122223333", `"ecr:BatchGetImage","ecr:CreateRepository"`))
	if got := s.must("GetRegistryPolicy", "{}"); got["policyText"] != put["policyText"] || got["registryId"] != home {
		t.Errorf("GetRegistryPolicy: got %v, want the answer of PutRegistryPolicy, %v", got, put)
	}
	s.must("PutAccountSetting", object("name", "REGISTRY_POLICY_SCOPE", "value", "V1"))
	s.wantError("PutRegistryPolicy", of("111122223333", `"ecr:BatchGetImage"`), "InvalidParameterException",
		"'Invalid registry policy provided'")
	s.must("PutRegistryPolicy", of("111122223333", `"ecr:ReplicateImage","ecr:CreateRepository"`))
	s.must("DeleteRegistryPolicy", "{}")
	s.wantError("GetRegistryPolicy", "{}", "RegistryPolicyNotFoundException", "")
}

// A policy with which the caller could not set another one is stored only with force, which false is not.
func TestForceOfAPolicyThatLocksTheCallerOut(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.repository("app")
	out := `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"ecr:SetRepositoryPolicy"}]}`
	user := s.user("ann", allow("ecr:*"))
	set := func(more ...any) answer {
		return s.send(raw{key: user, target: ecrTarget + "SetRepositoryPolicy",
			body: object(append([]any{"repositoryName", "app", "policyText", out}, more...)...)})
	}
	for what, a := range map[string]answer{"without force": set(), "with force false": set("force", false)} {
		a.want(t, what, 400, "InvalidParameterException", "")
	}
	if a := set("force", true); a.Status != 200 {
		t.Errorf("with force: got %s, want 200", a)
	}
}
