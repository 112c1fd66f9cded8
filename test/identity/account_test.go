package identity_test

import (
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
)

func account(t *testing.T, root actor) {
	do(t, root.iam.CreateAccountAlias, iam.CreateAccountAliasInput{AccountAlias: aws.String("acme-prod")})
	aliases := func(out *iam.ListAccountAliasesOutput) []string { return out.AccountAliases }
	wantPages(t, iam.NewListAccountAliasesPaginator(root.iam, &iam.ListAccountAliasesInput{}), aliases, 1, "acme-prod")
	do(t, root.iam.DeleteAccountAlias, iam.DeleteAccountAliasInput{AccountAlias: aws.String("acme-prod")})
	wantPages(t, iam.NewListAccountAliasesPaginator(root.iam, &iam.ListAccountAliasesInput{}), aliases, 1)
	_, err := root.iam.DeleteAccountAlias(t.Context(), &iam.DeleteAccountAliasInput{AccountAlias: aws.String("acme-prod")})
	wantError[*types.NoSuchEntityException](t, "DeleteAccountAlias twice", err, "acme-prod")

	root.user(t, "ada")
	do(t, root.iam.CreateUser, iam.CreateUserInput{UserName: aws.String("bea")})
	do(t, root.iam.CreateGroup, iam.CreateGroupInput{GroupName: aws.String("devs")})
	got := do(t, root.iam.GetAccountSummary, iam.GetAccountSummaryInput{}).SummaryMap
	for k, want := range map[types.SummaryKeyType]int32{"Users": 2, "Groups": 1, "Roles": 0, "UsersQuota": 5000,
		"AccountAccessKeysPresent": 1} {
		if n, ok := got[string(k)]; !ok || n != want {
			t.Errorf("GetAccountSummary: got %s = %d (%t), want %d", k, n, ok, want)
		}
	}
}

func details(t *testing.T, root actor) {
	own, shared := allow(pulls, "*"), allow(login, "*")
	arn := do(t, root.iam.CreatePolicy, iam.CreatePolicyInput{PolicyName: aws.String("shared"), PolicyDocument: &shared}).Policy.Arn
	do(t, root.iam.CreateUser, iam.CreateUserInput{UserName: aws.String("ada"), Tags: tags("a", "1")})
	do(t, root.iam.PutUserPolicy, iam.PutUserPolicyInput{UserName: aws.String("ada"), PolicyName: aws.String("own"), PolicyDocument: &own})
	do(t, root.iam.CreateGroup, iam.CreateGroupInput{GroupName: aws.String("devs")})
	do(t, root.iam.AddUserToGroup, iam.AddUserToGroupInput{GroupName: aws.String("devs"), UserName: aws.String("ada")})
	do(t, root.iam.AttachGroupPolicy, iam.AttachGroupPolicyInput{GroupName: aws.String("devs"), PolicyArn: arn})
	trusts := trust(`"AWS":"`+root.account+`"`, "sts:AssumeRole", "")
	do(t, root.iam.CreateRole, iam.CreateRoleInput{RoleName: aws.String("ci"), AssumeRolePolicyDocument: &trusts})
	do(t, root.iam.AttachRolePolicy, iam.AttachRolePolicyInput{RoleName: aws.String("ci"), PolicyArn: aws.String(readOnly)})

	var all iam.GetAccountAuthorizationDetailsOutput
	pages := 0
	for p := iam.NewGetAccountAuthorizationDetailsPaginator(root.iam,
		&iam.GetAccountAuthorizationDetailsInput{MaxItems: aws.Int32(2)}); p.HasMorePages(); pages++ {
		out, err := p.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		all.UserDetailList = append(all.UserDetailList, out.UserDetailList...)
		all.GroupDetailList = append(all.GroupDetailList, out.GroupDetailList...)
		all.RoleDetailList = append(all.RoleDetailList, out.RoleDetailList...)
		all.Policies = append(all.Policies, out.Policies...)
	}
	if pages != 3 || len(all.UserDetailList) != 1 || len(all.GroupDetailList) != 1 || len(all.RoleDetailList) != 1 || len(all.Policies) != 2 {
		t.Fatalf("got %d pages: %d users, %d groups, %d roles, %d policies; want 3: 1, 1, 1, 2",
			pages, len(all.UserDetailList), len(all.GroupDetailList), len(all.RoleDetailList), len(all.Policies))
	}
	u := all.UserDetailList[0]
	if len(u.UserPolicyList) != 1 || !slices.Equal(u.GroupList, []string{"devs"}) || len(u.Tags) != 1 {
		t.Fatalf("the user: got %+v, want one policy, the group devs, one tag", u)
	}
	wantDocument(t, "the user's policy", u.UserPolicyList[0].PolicyDocument, own)
	wantText(t, "the group's policy", all.GroupDetailList[0].AttachedManagedPolicies[0].PolicyArn, *arn)
	wantDocument(t, "the role's trust policy", all.RoleDetailList[0].AssumeRolePolicyDocument, trusts)
	wantDocument(t, "the managed policy", all.Policies[0].PolicyVersionList[0].Document, shared)
	wantText(t, "the policy of AWS", all.Policies[1].Arn, readOnly)
	filtered := do(t, root.iam.GetAccountAuthorizationDetails,
		iam.GetAccountAuthorizationDetailsInput{Filter: []types.EntityType{types.EntityTypeRole}})
	if len(filtered.UserDetailList)+len(filtered.GroupDetailList)+len(filtered.Policies) != 0 || len(filtered.RoleDetailList) != 1 {
		t.Errorf("with the filter Role: got %+v, want the role alone", filtered)
	}
}

func simulation(t *testing.T, root actor) {
	root.user(t, "ada")
	document := statement("Allow", pulls, "arn:aws:ecr:*:*:repository/team/*", `{"StringEquals":{"aws:RequestedRegion":"us-east-1"}}`)
	do(t, root.iam.PutUserPolicy, iam.PutUserPolicyInput{UserName: aws.String("ada"), PolicyName: aws.String("own"),
		PolicyDocument: &document})
	ada := aws.String(root.arn("user/ada"))
	keys := do(t, root.iam.GetContextKeysForPrincipalPolicy, iam.GetContextKeysForPrincipalPolicyInput{PolicySourceArn: ada}).ContextKeyNames
	if !slices.Equal(keys, []string{"aws:RequestedRegion"}) {
		t.Errorf("GetContextKeysForPrincipalPolicy: got %q, want aws:RequestedRegion", keys)
	}
	keys = do(t, root.iam.GetContextKeysForCustomPolicy,
		iam.GetContextKeysForCustomPolicyInput{PolicyInputList: []string{document}}).ContextKeyNames
	if !slices.Equal(keys, []string{"aws:RequestedRegion"}) {
		t.Errorf("GetContextKeysForCustomPolicy: got %q, want aws:RequestedRegion", keys)
	}
	region := []types.ContextEntry{{ContextKeyName: aws.String("aws:RequestedRegion"),
		ContextKeyType: types.ContextKeyTypeEnumString, ContextKeyValues: []string{"us-east-1"}}}
	team := "arn:aws:ecr:us-east-1:" + root.account + ":repository/team/app"
	texts := func(all []types.EvaluationResult) []string {
		return each(all, func(r types.EvaluationResult) *string {
			return aws.String(*r.EvalActionName + " " + string(r.EvalDecision))
		})
	}
	want := []string{"ecr:BatchGetImage allowed", "ecr:PutImage implicitDeny"}
	wantPages(t, iam.NewSimulatePrincipalPolicyPaginator(root.iam, &iam.SimulatePrincipalPolicyInput{
		PolicySourceArn: ada, ActionNames: []string{"ecr:BatchGetImage",
			"ecr:PutImage"}, ResourceArns: []string{team}, ContextEntries: region, MaxItems: aws.Int32(1),
	}), func(out *iam.SimulatePrincipalPolicyOutput) []string { return texts(out.EvaluationResults) }, 2, want...)
	out := do(t, root.iam.SimulatePrincipalPolicy, iam.SimulatePrincipalPolicyInput{PolicySourceArn: ada,
		ActionNames: []string{"ecr:BatchGetImage"}, ResourceArns: []string{team}})
	if got := out.EvaluationResults[0]; got.EvalDecision != types.PolicyEvaluationDecisionTypeImplicitDeny ||
		!slices.Equal(got.MissingContextValues, []string{"aws:RequestedRegion"}) {
		t.Errorf("without the region: got %s, missing %q; want implicitDeny, aws:RequestedRegion", got.EvalDecision, got.MissingContextValues)
	}

	deny := statement("Deny", "ecr:PutImage", "*", "")
	wantPages(t, iam.NewSimulateCustomPolicyPaginator(root.iam, &iam.SimulateCustomPolicyInput{
		PolicyInputList: []string{allow("ecr:*", "*"), deny}, ActionNames: []string{"ecr:BatchGetImage", "ecr:PutImage",
			"s3:GetObject"}, MaxItems: aws.Int32(2),
	}), func(out *iam.SimulateCustomPolicyOutput) []string { return texts(out.EvaluationResults) }, 2,
		"ecr:BatchGetImage allowed", "ecr:PutImage explicitDeny", "s3:GetObject implicitDeny")
	custom := do(t, root.iam.SimulateCustomPolicy, iam.SimulateCustomPolicyInput{PolicyInputList: []string{deny},
		ActionNames: []string{"ecr:PutImage"}})
	matched := custom.EvaluationResults[0].MatchedStatements
	if len(matched) != 1 || *matched[0].SourcePolicyId != "PolicyInputList.1" || matched[0].StartPosition == nil ||
		matched[0].StartPosition.Line != 1 {
		t.Errorf("the statement that denies: got %+v, want that of PolicyInputList.1 on line 1", matched)
	}
}
