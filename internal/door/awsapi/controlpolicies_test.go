package awsapi_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

const (
	scp = ecrintypes.ControlPolicyTypeSERVICE_CONTROL_POLICY
	rcp = ecrintypes.ControlPolicyTypeRESOURCE_CONTROL_POLICY
)

func (s *server) controlPolicies() []string {
	s.t.Helper()
	var out ecrintypes.ListControlPoliciesResponse
	s.operator("ListControlPolicies", &ecrintypes.ListControlPoliciesRequest{}, &out)
	all := []string{}
	for _, p := range out.ControlPolicies {
		has := "text"
		if p.PolicyText == "" {
			has = "no text"
		}
		all = append(all, strings.Join([]string{string(p.Type), p.AccountId, p.Name, has}, " "))
	}
	return all
}

// A control policy applies to the accounts that it names from the next call until it is deleted.
func TestControlPolicies(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.repository("app")
	bound := s.account("111122223333")
	calls := func(what, wantBound, wantHome string) {
		t.Helper()
		for _, c := range []struct{ who, want string }{{"111122223333", wantBound}, {home, wantHome}} {
			key := bound
			if c.who == home {
				key = s.key
			}
			a := s.send(raw{key: key, target: ecrTarget + "DescribeRepositories", body: `{}`})
			if c.want == "" && a.Status != 200 || c.want != "" && (a.Type != "AccessDeniedException" || !strings.HasSuffix(a.Message, c.want)) {
				t.Errorf("%s: account %s got %s, want %q", what, c.who, a, c.want)
			}
		}
	}
	put := func(p ecrintypes.PutControlPolicyRequest) {
		t.Helper()
		var out ecrintypes.PutControlPolicyResponse
		s.operator("PutControlPolicy", &p, &out)
		if got := out.ControlPolicy; got.Name != p.Name || got.Type != p.Type || got.AccountId != p.AccountId ||
			(got.PolicyText == "") != (p.PolicyText == "") {
			t.Errorf("PutControlPolicy %+v: got %+v", p, got)
		}
	}
	const (
		deny    = `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"ecr:DescribeRepositories","Resource":"*"}}`
		allow   = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"ecr:Describe*","Resource":"*"}}`
		denyAll = `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":"*","Action":"ecr:Describe*","Resource":"*"}}`
		implied = "because no service control policy allows the ecr:DescribeRepositories action"
	)
	calls("before", "", "")
	put(ecrintypes.PutControlPolicyRequest{Name: "no", Type: scp, AccountId: "111122223333", PolicyText: deny})
	calls("for one account",
		"with an explicit deny in a service control policy: arn:aws:organizations::111122223333:policy/service_control_policy/no", "")
	put(ecrintypes.PutControlPolicyRequest{Name: "no", Type: scp, AccountId: "111122223333", PolicyText: allow})
	calls("replaced", "", "")
	put(ecrintypes.PutControlPolicyRequest{Name: "all", Type: rcp, PolicyText: denyAll})
	const onResources = "with an explicit deny in a resource control policy: arn:aws:organizations::all:policy/resource_control_policy/all"
	calls("for all", onResources, onResources)
	s.operator("DeleteControlPolicy", &ecrintypes.DeleteControlPolicyRequest{Name: "all", Type: rcp},
		&ecrintypes.DeleteControlPolicyResponse{})
	calls("deleted", "", "")
	put(ecrintypes.PutControlPolicyRequest{Name: "FullAccess", Type: scp})
	calls("without full access", implied, implied)
	put(ecrintypes.PutControlPolicyRequest{Name: "describe", Type: scp, PolicyText: allow})
	calls("with a policy that allows", "", "")
	if diff := cmp.Diff([]string{
		"SERVICE_CONTROL_POLICY  FullAccess no text", "SERVICE_CONTROL_POLICY  describe text", "SERVICE_CONTROL_POLICY 111122223333 no text",
	}, s.controlPolicies()); diff != "" {
		t.Errorf("the control policies (-want +got):\n%s", diff)
	}
	s.operator("DeleteControlPolicy", &ecrintypes.DeleteControlPolicyRequest{Name: "describe", Type: scp},
		&ecrintypes.DeleteControlPolicyResponse{})
	calls("without it again", implied, implied)
	s.operator("DeleteControlPolicy", &ecrintypes.DeleteControlPolicyRequest{Name: "FullAccess", Type: scp},
		&ecrintypes.DeleteControlPolicyResponse{})
	calls("with full access again", "", "")
}

func TestControlPoliciesRefuse(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	text := func(n int, principal string) string {
		begin, end := `{"Version":"2012-10-17","Statement":{"Effect":"Deny",`+principal+`"Action":"ecr:`, `","Resource":"*"}}`
		return begin + strings.Repeat("x", n-len(begin)-len(end)) + end
	}
	const everyone = `"Principal":"*",`
	for _, c := range []struct {
		in   ecrintypes.PutControlPolicyRequest
		want string // "" for success
	}{
		{ecrintypes.PutControlPolicyRequest{Name: "a", Type: scp, PolicyText: text(10240, "")}, ""},
		{ecrintypes.PutControlPolicyRequest{Name: "a", Type: scp, PolicyText: text(10241, "")},
			"InvalidParameterException: the service control policy cannot be read"},
		{ecrintypes.PutControlPolicyRequest{Name: "a", Type: rcp, PolicyText: text(5120, everyone)}, ""},
		{ecrintypes.PutControlPolicyRequest{Name: "a", Type: rcp, PolicyText: text(5121, everyone)},
			"InvalidParameterException: the resource control policy cannot be read"},
		{ecrintypes.PutControlPolicyRequest{Name: "a", Type: rcp, PolicyText: text(500, "")}, "InvalidParameterException: "},
		{ecrintypes.PutControlPolicyRequest{Name: "a", Type: scp, PolicyText: text(500, everyone)}, "InvalidParameterException: "},
		{ecrintypes.PutControlPolicyRequest{Name: "a", Type: scp, PolicyText: "{"}, "InvalidParameterException: "},
		{ecrintypes.PutControlPolicyRequest{Name: "a", Type: scp}, "InvalidParameterException: Invalid parameter at 'policyText'"},
		{ecrintypes.PutControlPolicyRequest{Name: "FullAccess", Type: rcp, PolicyText: text(500, everyone)},
			"InvalidParameterException: Invalid parameter at 'policyText'"},
		{ecrintypes.PutControlPolicyRequest{Name: "a b", Type: scp, PolicyText: text(500, "")}, "InvalidParameterException: "},
		{ecrintypes.PutControlPolicyRequest{Name: "a", Type: "OTHER", PolicyText: text(500, "")}, "InvalidParameterException: "},
		{ecrintypes.PutControlPolicyRequest{Name: "a", Type: scp, AccountId: "111122223333", PolicyText: text(500, "")},
			"AccountNotFoundException: "},
	} {
		got := s.operatorError("PutControlPolicy", &c.in)
		if !strings.HasPrefix(got, c.want) || (got == "") != (c.want == "") {
			t.Errorf("%s %s %s %.80s: got %q, want %q", c.in.Type, c.in.AccountId, c.in.Name, c.in.PolicyText, got, c.want)
		}
	}
	for _, in := range []ecrintypes.DeleteControlPolicyRequest{{Name: "b", Type: scp},
		{Name: "a", Type: scp, AccountId: home}, {Name: "FullAccess", Type: rcp}} {
		if got := s.operatorError("DeleteControlPolicy", &in); !strings.HasPrefix(got, "ControlPolicyNotFoundException: ") {
			t.Errorf("DeleteControlPolicy %+v: got %q, want ControlPolicyNotFoundException", in, got)
		}
	}
	// Control policies belong to the operator: a root user cannot read or change them.
	for operation, body := range map[string]string{
		"ListControlPolicies": `{}`, "DeleteControlPolicy": `{"name":"a","type":"SERVICE_CONTROL_POLICY"}`,
		"PutControlPolicy": `{"name":"FullAccess","type":"SERVICE_CONTROL_POLICY","accountId":"000000000000"}`,
	} {
		s.callEcrin(s.key, operation, body).want(t, operation, 400, "AccessDeniedException", "is not authorized to perform: ecrin:"+operation)
	}
	if diff := cmp.Diff([]string{"RESOURCE_CONTROL_POLICY  a text", "SERVICE_CONTROL_POLICY  a text"}, s.controlPolicies()); diff != "" {
		t.Errorf("the control policies (-want +got):\n%s", diff)
	}
}
