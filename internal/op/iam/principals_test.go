package iam_test

import (
	"testing"

	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// team returns a fixture with the user alice in the group devs and with the role build:
//
//	alice  inline own: ecr:BatchGetImage; managed Keys: compares the user name by a policy variable
//	devs   inline own: ecr:ListImages; managed AmazonEC2ContainerRegistryPullOnly
//	build  inline push: ecr:PutImage
func team(t *testing.T) *fixture {
	t.Helper()
	w := newFixture(t)
	w.user(t, "alice")
	w.group(t, "devs")
	w.role(t, "build")
	do(t, w.AddUserToGroup, w.root, iamtypes.AddUserToGroupRequest{UserName: "alice", GroupName: "devs"})
	put := policyOf(`{"Effect":"Allow","Action":"ecr:TagResource","Resource":"arn:aws:ecr:*:*:repository/${aws:username}","Condition":{"Bool":{"aws:SecureTransport":"true"}}}`)
	keys := do(t, w.CreatePolicy, w.root, iamtypes.CreatePolicyRequest{PolicyName: "Keys", PolicyDocument: put}).Policy.Arn
	do(t, w.PutUserPolicy, w.root, iamtypes.PutUserPolicyRequest{UserName: "alice", PolicyName: "own",
		PolicyDocument: policyOf(allow("ecr:BatchGetImage", "*"))})
	do(t, w.AttachUserPolicy, w.root, iamtypes.AttachUserPolicyRequest{UserName: "alice", PolicyArn: keys})
	do(t, w.PutGroupPolicy, w.root, iamtypes.PutGroupPolicyRequest{GroupName: "devs", PolicyName: "own",
		PolicyDocument: policyOf(allow("ecr:ListImages", "*"))})
	do(t, w.AttachGroupPolicy, w.root, iamtypes.AttachGroupPolicyRequest{GroupName: "devs", PolicyArn: pullOnly})
	do(t, w.PutRolePolicy, w.root, iamtypes.PutRolePolicyRequest{RoleName: "build", PolicyName: "push",
		PolicyDocument: policyOf(allow("ecr:PutImage", "*"))})
	return w
}

const (
	devs  = "arn:aws:iam::111122223333:group/devs"
	build = "arn:aws:iam::111122223333:role/build"
	keys  = "arn:aws:iam::111122223333:policy/Keys"
)

func TestSimulatePrincipalPolicyDecides(t *testing.T) {
	t.Parallel()
	w := team(t)
	inline := func(kind iamtypes.AttachmentType, who, policyName string) []iamtypes.PolicyIdentifier {
		return []iamtypes.PolicyIdentifier{{PolicyType: "inline",
			InlinePolicyIdentifier: &iamtypes.InlinePolicyIdentifierType{AttachmentType: kind, AttachmentName: who, PolicyName: policyName}}}
	}
	secure := []iamtypes.ContextEntry{{ContextKeyName: "aws:SecureTransport", ContextKeyType: "boolean", ContextKeyValues: []string{"true"}}}
	toAlice := policyOf(`{"Effect":"Allow","Principal":{"AWS":"` + alice + `"},"Action":"ecr:*"}`)
	const managed, resource = "AmazonEC2ContainerRegistryPullOnly of IAM Policy", "ResourcePolicy of Resource Policy"
	for _, c := range []struct {
		what, action, resource string
		in                     iamtypes.SimulatePrincipalPolicyRequest
		want                   iamtypes.PolicyEvaluationDecisionType
		matched                []string
	}{
		{"an inline policy of the user and a managed one of the group", "ecr:BatchGetImage", homeApp,
			iamtypes.SimulatePrincipalPolicyRequest{PolicySourceArn: alice}, "allowed",
			[]string{"user_alice_own of IAM Policy", managed}},
		{"an inline policy of the group, of the same name", "ecr:ListImages", homeApp,
			iamtypes.SimulatePrincipalPolicyRequest{PolicySourceArn: alice}, "allowed", []string{"group_devs_own of IAM Policy"}},
		{"neither", "ecr:PutImage", homeApp, iamtypes.SimulatePrincipalPolicyRequest{PolicySourceArn: alice}, "implicitDeny", nil},
		{"the user's name as a variable", "ecr:TagResource", "arn:aws:ecr:us-east-1:111122223333:repository/alice",
			iamtypes.SimulatePrincipalPolicyRequest{PolicySourceArn: alice, ContextEntries: secure}, "allowed", []string{"Keys of IAM Policy"}},
		{"another name", "ecr:TagResource", "arn:aws:ecr:us-east-1:111122223333:repository/bob",
			iamtypes.SimulatePrincipalPolicyRequest{PolicySourceArn: alice, ContextEntries: secure}, "implicitDeny", nil},
		{"the group itself", "ecr:ListImages", homeApp, iamtypes.SimulatePrincipalPolicyRequest{PolicySourceArn: devs},
			"allowed", []string{"group_devs_own of IAM Policy"}},
		{"the group has nothing of its users", "ecr:TagResource", "*",
			iamtypes.SimulatePrincipalPolicyRequest{PolicySourceArn: devs, ContextEntries: secure}, "implicitDeny", nil},
		{"a role", "ecr:PutImage", homeApp, iamtypes.SimulatePrincipalPolicyRequest{PolicySourceArn: build}, "allowed",
			[]string{"role_build_push of IAM Policy"}},
		{"a policy more", "ecr:PutImage", homeApp, iamtypes.SimulatePrincipalPolicyRequest{PolicySourceArn: alice,
			PolicyInputList: []string{policyOf(allow("ecr:Put*", "*"))}}, "allowed", []string{"PolicyInputList.1 of IAM Policy"}},
		{"a deny more", "ecr:ListImages", homeApp, iamtypes.SimulatePrincipalPolicyRequest{PolicySourceArn: alice,
			PolicyInputList: []string{policyOf(deny("*", "*"))}}, "explicitDeny", []string{"PolicyInputList.1 of IAM Policy"}},
		{"a boundary as if", "ecr:ListImages", homeApp, iamtypes.SimulatePrincipalPolicyRequest{PolicySourceArn: alice,
			PermissionsBoundaryPolicyInputList: []string{policyOf(allow("s3:*", "*"))}}, "implicitDeny", nil},
		{"without the inline policy of the group", "ecr:ListImages", homeApp,
			iamtypes.SimulatePrincipalPolicyRequest{PolicySourceArn: alice,
				PolicyExclusionList: inline("group", "devs", "own")}, "implicitDeny", nil},
		{"without that of the user", "ecr:ListImages", homeApp, iamtypes.SimulatePrincipalPolicyRequest{PolicySourceArn: alice,
			PolicyExclusionList: inline("user", "alice", "own")}, "allowed", []string{"group_devs_own of IAM Policy"}},
		{"without a managed one", "ecr:BatchGetImage", homeApp, iamtypes.SimulatePrincipalPolicyRequest{PolicySourceArn: alice,
			PolicyExclusionList: []iamtypes.PolicyIdentifier{{PolicyType: "aws-managed", PolicyArn: pullOnly}}}, "allowed",
			[]string{"user_alice_own of IAM Policy"}},
		{"within the account the resource policy is enough", "ecr:PutImage", homeApp,
			iamtypes.SimulatePrincipalPolicyRequest{PolicySourceArn: alice, ResourcePolicy: toAlice}, "allowed", []string{resource}},
		{"across accounts it is not", "ecr:PutImage", foreignApp,
			iamtypes.SimulatePrincipalPolicyRequest{PolicySourceArn: alice, ResourcePolicy: toAlice}, "implicitDeny", nil},
		{"across accounts both allow", "ecr:ListImages", foreignApp,
			iamtypes.SimulatePrincipalPolicyRequest{PolicySourceArn: alice, ResourcePolicy: toAlice}, "allowed", []string{resource,
				"group_devs_own of IAM Policy"}},
		{"alice with the policies of a role", "ecr:PutImage", foreignApp,
			iamtypes.SimulatePrincipalPolicyRequest{PolicySourceArn: build, CallerArn: alice,
				ResourcePolicy: toAlice}, "allowed", []string{resource, "role_build_push of IAM Policy"}},
		{"alice has only those", "ecr:ListImages", homeApp,
			iamtypes.SimulatePrincipalPolicyRequest{PolicySourceArn: build, CallerArn: alice}, "implicitDeny", nil},
		{"a user who does not exist", "ecr:PutImage", homeApp, iamtypes.SimulatePrincipalPolicyRequest{PolicySourceArn: build,
			CallerArn: "arn:aws:iam::111122223333:user/nobody"}, "allowed", []string{"role_build_push of IAM Policy"}},
		{"the name of a user who does not exist", "ecr:TagResource", "arn:aws:ecr:us-east-1:111122223333:repository/nobody",
			iamtypes.SimulatePrincipalPolicyRequest{PolicySourceArn: build, CallerArn: "arn:aws:iam::111122223333:user/path/nobody",
				PolicyInputList: []string{policyOf(allow("ecr:TagResource", "arn:aws:ecr:*:*:repository/${aws:username}"))}}, "allowed",
			[]string{"PolicyInputList.1 of IAM Policy"}},
		{"the account and the kind of a user of another account", "ecr:TagResource", "arn:aws:ecr:us-east-1:444455556666:repository/app",
			iamtypes.SimulatePrincipalPolicyRequest{PolicySourceArn: build, CallerArn: "arn:aws:iam::444455556666:user/carol",
				PolicyInputList: []string{policyOf(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{` +
					`"aws:PrincipalAccount":"444455556666","aws:PrincipalType":"User",` +
					`"aws:PrincipalArn":"arn:aws:iam::444455556666:user/carol"}}}`)}}, "allowed", []string{"PolicyInputList.1 of IAM Policy"}},
	} {
		c.in.ActionNames, c.in.ResourceArns = []string{c.action}, []string{c.resource}
		got := one(t, do(t, w.SimulatePrincipalPolicy, w.root, c.in))
		if got.EvalDecision != c.want {
			t.Errorf("%s: got %s, want %s", c.what, got.EvalDecision, c.want)
		}
		same(t, c.what+": sources", sourcesOf(got), c.matched)
	}
}

// The boundary of a user or role is evaluated, unless the request has another boundary or excludes it.
func TestSimulationWithBoundary(t *testing.T) {
	t.Parallel()
	w := team(t)
	do(t, w.PutUserPermissionsBoundary, w.root, iamtypes.PutUserPermissionsBoundaryRequest{UserName: "alice", PermissionsBoundary: pullOnly})
	ask := iamtypes.SimulatePrincipalPolicyRequest{PolicySourceArn: alice, ActionNames: []string{"ecr:ListImages"}}
	got := one(t, do(t, w.SimulatePrincipalPolicy, w.root, ask))
	if got.EvalDecision != "implicitDeny" || got.PermissionsBoundaryDecisionDetail == nil ||
		*got.PermissionsBoundaryDecisionDetail.AllowedByPermissionsBoundary {
		t.Errorf("outside of the boundary: got %s, %+v, want implicitDeny by it", got.EvalDecision, got.PermissionsBoundaryDecisionDetail)
	}
	ask.ActionNames = []string{"ecr:BatchGetImage"}
	got = one(t, do(t, w.SimulatePrincipalPolicy, w.root, ask))
	same(t, "sources within it", sourcesOf(got), []string{
		"user_alice_own of IAM Policy", "AmazonEC2ContainerRegistryPullOnly of IAM Policy",
		"AmazonEC2ContainerRegistryPullOnly of Permissions Boundary Policy",
	})
	for _, s := range got.MatchedStatements {
		if s.StartPosition == nil || *s.StartPosition.Line != 1 || s.EndPosition == nil {
			t.Errorf("the statement of %s is at %+v to %+v, want places on line 1", s.SourcePolicyId, s.StartPosition, s.EndPosition)
		}
	}
	ask.ActionNames = []string{"ecr:ListImages"}
	ask.PermissionsBoundaryPolicyInputList = []string{policyOf(allow("ecr:*", "*"))}
	if got := one(t, do(t, w.SimulatePrincipalPolicy, w.root, ask)); got.EvalDecision != "allowed" {
		t.Errorf("with another boundary: got %s, want allowed", got.EvalDecision)
	}
	ask.PermissionsBoundaryPolicyInputList = nil
	ask.PolicyExclusionList = []iamtypes.PolicyIdentifier{{PolicyType: "permission-boundary", PolicyArn: pullOnly}}
	if got := one(t, do(t, w.SimulatePrincipalPolicy, w.root, ask)); got.EvalDecision != "allowed" ||
		got.PermissionsBoundaryDecisionDetail != nil {
		t.Errorf("without the boundary: got %s, %+v, want allowed and nothing of a boundary", got.EvalDecision,
			got.PermissionsBoundaryDecisionDetail)
	}
}

// Simulations evaluate the control policies of the installation, but their results do not show them.
func TestSimulationWithControlPolicies(t *testing.T) {
	t.Parallel()
	w := team(t)
	text := policyOf(`{"Effect":"Deny","Action":"ecr:ListImages","Resource":"*","Condition":{"Null":{"aws:RequestTag/secret":"true"}}}`)
	if err := w.meta.PutControlPolicy(t.Context(), meta.ControlPolicy{Name: "NoList", Kind: meta.ServiceControl,
		Account: home, Text: text, UpdatedAt: w.at}); err != nil {
		t.Fatal(err)
	}
	ask := iamtypes.SimulatePrincipalPolicyRequest{PolicySourceArn: alice, ActionNames: []string{"ecr:ListImages", "ecr:BatchGetImage"}}
	out := do(t, w.SimulatePrincipalPolicy, w.root, ask)
	for i, want := range []bool{false, true} {
		r := out.EvaluationResults[i]
		if r.OrganizationsDecisionDetail == nil || *r.OrganizationsDecisionDetail.AllowedByOrganizations != want {
			t.Errorf("%s: got %+v by organizations, want %v", r.EvalActionName, r.OrganizationsDecisionDetail, want)
		}
		same(t, r.EvalActionName+": missing keys", r.MissingContextValues, []string{"aws:SecureTransport"})
	}
	if r := out.EvaluationResults[0]; r.EvalDecision != "explicitDeny" || len(r.MatchedStatements) != 0 {
		t.Errorf("got %s by %+v, want explicitDeny without statements", r.EvalDecision, r.MatchedStatements)
	}
	ask.PolicyExclusionList = []iamtypes.PolicyIdentifier{
		{PolicyType: "scp", PolicyArn: "arn:aws:organizations::111122223333:policy/service_control_policy/NoList"}}
	if r := do(t, w.SimulatePrincipalPolicy, w.root, ask).EvaluationResults[0]; r.EvalDecision != "allowed" {
		t.Errorf("without the control policy: got %s, want allowed", r.EvalDecision)
	}
	// Without the full access policy, the excluded policy is the only one of its level, and the level is not evaluated.
	if err := w.meta.PutControlPolicy(t.Context(), meta.ControlPolicy{Name: "FullAccess", Kind: meta.ServiceControl,
		Account: home, UpdatedAt: w.at}); err != nil {
		t.Fatal(err)
	}
	if r := do(t, w.SimulatePrincipalPolicy, w.root, ask).EvaluationResults[1]; r.EvalDecision != "allowed" {
		t.Errorf("without the only control policy of a level: got %s, want allowed", r.EvalDecision)
	}
	ask.PolicyExclusionList = nil
	if r := do(t, w.SimulatePrincipalPolicy, w.root, ask).EvaluationResults[1]; r.EvalDecision != "implicitDeny" {
		t.Errorf("with a level that allows nothing: got %s, want implicitDeny", r.EvalDecision)
	}
}

func TestSimulatePrincipalPolicyRefuses(t *testing.T) {
	t.Parallel()
	w := team(t)
	resource := policyOf(`{"Effect":"Allow","Principal":"*","Action":"ecr:*"}`)
	for _, c := range []struct {
		in    iamtypes.SimulatePrincipalPolicyRequest
		want  fault.Code
		words []string
	}{
		{iamtypes.SimulatePrincipalPolicyRequest{PolicySourceArn: "arn:aws:iam::111122223333:user/bob"}, fault.NoSuchEntity,
			[]string{"user", "bob"}},
		{iamtypes.SimulatePrincipalPolicyRequest{PolicySourceArn: "arn:aws:iam::111122223333:user/path/alice"}, fault.NoSuchEntity, nil},
		{iamtypes.SimulatePrincipalPolicyRequest{PolicySourceArn: "arn:aws:iam::444455556666:user/alice"}, fault.NoSuchEntity, nil},
		{iamtypes.SimulatePrincipalPolicyRequest{PolicySourceArn: "arn:aws:iam::111122223333:root"}, fault.InvalidInput, nil},
		{iamtypes.SimulatePrincipalPolicyRequest{PolicySourceArn: "arn:aws:iam::111122223333:policy/Keys"}, fault.InvalidInput, nil},
		{iamtypes.SimulatePrincipalPolicyRequest{PolicySourceArn: "arn:aws:sts::111122223333:assumed-role/build/s"}, fault.InvalidInput, nil},
		{iamtypes.SimulatePrincipalPolicyRequest{PolicySourceArn: "arn:aws:iam::111122223333:user/"}, fault.InvalidInput, nil},
		{iamtypes.SimulatePrincipalPolicyRequest{PolicySourceArn: build, ResourcePolicy: resource}, fault.InvalidInput, []string{"CallerArn"}},
		{iamtypes.SimulatePrincipalPolicyRequest{PolicySourceArn: devs, ResourcePolicy: resource}, fault.InvalidInput, []string{"CallerArn"}},
		{iamtypes.SimulatePrincipalPolicyRequest{PolicySourceArn: alice, PolicyInputList: []string{"{}"}}, fault.InvalidInput,
			[]string{"PolicyInputList.member.1", "line 1, column 1"}},
		{iamtypes.SimulatePrincipalPolicyRequest{PolicySourceArn: alice, PolicyExclusionList: []iamtypes.PolicyIdentifier{{}}},
			fault.InvalidInput, []string{"PolicyExclusionList.member.1"}},
		{iamtypes.SimulatePrincipalPolicyRequest{PolicySourceArn: alice,
			PolicyExclusionList: []iamtypes.PolicyIdentifier{{PolicyType: "inline", PolicyArn: keys}}}, fault.InvalidInput, nil},
		{iamtypes.SimulatePrincipalPolicyRequest{PolicySourceArn: alice,
			PolicyExclusionList: []iamtypes.PolicyIdentifier{{PolicyType: "user-managed"}}}, fault.InvalidInput, nil},
		{iamtypes.SimulatePrincipalPolicyRequest{PolicySourceArn: alice, Marker: "nonsense"}, fault.Validation, []string{"Marker"}},
	} {
		c.in.ActionNames = []string{"ecr:PutImage"}
		refuse(t, w.SimulatePrincipalPolicy, w.root, c.in, c.want, c.words...)
	}
	// The result for a user of another account is the same whether the user exists or not.
	do(t, w.CreateUser, w.stranger, iamtypes.CreateUserRequest{UserName: "carol", Tags: []iamtypes.Tag{{Key: "a", Value: "1"}}})
	tagged := policyOf(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"Null":{"aws:PrincipalTag/a":"false"}}}`)
	got := one(t, do(t, w.SimulateCustomPolicy, w.root, iamtypes.SimulateCustomPolicyRequest{
		PolicyInputList: []string{tagged}, ActionNames: []string{"ecr:PutImage"}, CallerArn: "arn:aws:iam::444455556666:user/carol",
	}))
	if got.EvalDecision != "implicitDeny" {
		t.Errorf("a tag of a user of another account: got %s, want implicitDeny", got.EvalDecision)
	}
}

func TestContextKeysForPrincipalPolicy(t *testing.T) {
	t.Parallel()
	w := team(t)
	more := policyOf(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:PrincipalOrgID":"o-1"}}}`)
	for _, c := range []struct {
		in   iamtypes.GetContextKeysForPrincipalPolicyRequest
		want []string
	}{
		{iamtypes.GetContextKeysForPrincipalPolicyRequest{PolicySourceArn: alice}, []string{"aws:username", "aws:SecureTransport"}},
		{iamtypes.GetContextKeysForPrincipalPolicyRequest{PolicySourceArn: alice, PolicyInputList: []string{more}},
			[]string{"aws:username", "aws:SecureTransport", "aws:PrincipalOrgID"}},
		{iamtypes.GetContextKeysForPrincipalPolicyRequest{PolicySourceArn: devs}, []string{}},
		{iamtypes.GetContextKeysForPrincipalPolicyRequest{PolicySourceArn: build, PolicyInputList: []string{more}},
			[]string{"aws:PrincipalOrgID"}},
	} {
		same(t, c.in.PolicySourceArn, do(t, w.GetContextKeysForPrincipalPolicy, w.root, c.in).ContextKeyNames, c.want)
	}
	do(t, w.AttachGroupPolicy, w.root, iamtypes.AttachGroupPolicyRequest{GroupName: "devs", PolicyArn: keys})
	do(t, w.PutRolePermissionsBoundary, w.root, iamtypes.PutRolePermissionsBoundaryRequest{RoleName: "build", PermissionsBoundary: keys})
	for _, arn := range []string{devs, build} {
		same(t, arn, do(t, w.GetContextKeysForPrincipalPolicy, w.root,
			iamtypes.GetContextKeysForPrincipalPolicyRequest{PolicySourceArn: arn}).ContextKeyNames, []string{"aws:username", "aws:SecureTransport"})
	}
	for arn, want := range map[string]fault.Code{
		"arn:aws:iam::111122223333:user/bob":   fault.NoSuchEntity,
		"arn:aws:iam::444455556666:user/alice": fault.NoSuchEntity,
		"arn:aws:iam::111122223333:root":       fault.InvalidInput,
	} {
		refuse(t, w.GetContextKeysForPrincipalPolicy, w.root, iamtypes.GetContextKeysForPrincipalPolicyRequest{PolicySourceArn: arn}, want)
	}
	refuse(t, w.GetContextKeysForPrincipalPolicy, w.root,
		iamtypes.GetContextKeysForPrincipalPolicyRequest{PolicySourceArn: alice, PolicyInputList: []string{"{}"}}, fault.InvalidInput, "line 1")
}
