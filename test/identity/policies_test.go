package identity_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
)

func policies(t *testing.T, root actor) {
	document := allow(pulls, "*")
	made := do(t, root.iam.CreatePolicy, iam.CreatePolicyInput{
		PolicyName: aws.String("pull"), Path: aws.String("/ecr/"), PolicyDocument: &document, Description: aws.String("pulls"),
		Tags: tags("a", "1"),
	}).Policy
	arn := made.Arn
	wantText(t, "ARN", arn, root.arn("policy/ecr/pull"))
	if !strings.HasPrefix(*made.PolicyId, "ANPA") || *made.AttachmentCount != 0 || !made.IsAttachable || *made.DefaultVersionId != "v1" {
		t.Errorf("CreatePolicy: got %+v, want ANPA…, no attachment, attachable, v1", made)
	}
	if err := iam.NewPolicyExistsWaiter(root.iam).Wait(t.Context(), &iam.GetPolicyInput{PolicyArn: arn}, time.Minute); err != nil {
		t.Errorf("waiting for a policy that exists: %v", err)
	}
	for _, n := range []string{"admin", "push"} {
		do(t, root.iam.CreatePolicy, iam.CreatePolicyInput{PolicyName: &n, PolicyDocument: &document})
	}
	list := func(out *iam.ListPoliciesOutput) []string {
		return each(out.Policies, func(p types.Policy) *string { return p.PolicyName })
	}
	wantPages(t, iam.NewListPoliciesPaginator(root.iam,
		&iam.ListPoliciesInput{Scope: types.PolicyScopeTypeLocal, MaxItems: aws.Int32(2)}), list, 2, "admin", "pull", "push")
	ofAWS := do(t, root.iam.ListPolicies, iam.ListPoliciesInput{Scope: types.PolicyScopeTypeAws})
	if !slices.ContainsFunc(ofAWS.Policies, func(p types.Policy) bool { return *p.Arn == readOnly }) {
		t.Errorf("ListPolicies of AWS: got %q, want %s among them", list(ofAWS), readOnly)
	}

	do(t, root.iam.CreateUser, iam.CreateUserInput{UserName: aws.String("ada")})
	do(t, root.iam.CreateGroup, iam.CreateGroupInput{GroupName: aws.String("devs")})
	do(t, root.iam.CreateRole, iam.CreateRoleInput{RoleName: aws.String("ci"),
		AssumeRolePolicyDocument: aws.String(trust(`"AWS":"`+root.account+`"`, "sts:AssumeRole", ""))})
	do(t, root.iam.AttachUserPolicy, iam.AttachUserPolicyInput{UserName: aws.String("ada"), PolicyArn: arn})
	do(t, root.iam.AttachGroupPolicy, iam.AttachGroupPolicyInput{GroupName: aws.String("devs"), PolicyArn: arn})
	do(t, root.iam.AttachRolePolicy, iam.AttachRolePolicyInput{RoleName: aws.String("ci"), PolicyArn: arn})
	do(t, root.iam.PutUserPermissionsBoundary, iam.PutUserPermissionsBoundaryInput{UserName: aws.String("ada"), PermissionsBoundary: arn})
	got := do(t, root.iam.GetPolicy, iam.GetPolicyInput{PolicyArn: arn}).Policy
	wantText(t, "its description", got.Description, "pulls")
	if *got.AttachmentCount != 3 || *got.PermissionsBoundaryUsageCount != 1 || len(got.Tags) != 1 {
		t.Errorf("GetPolicy: got %d attachments, %d boundaries, tags %q; want 3, 1, a=1", *got.AttachmentCount,
			*got.PermissionsBoundaryUsageCount, tagTexts(got.Tags))
	}
	var entities []string
	for p := iam.NewListEntitiesForPolicyPaginator(root.iam,
		&iam.ListEntitiesForPolicyInput{PolicyArn: arn, PolicyUsageFilter: types.PolicyUsageTypePermissionsPolicy,
			MaxItems: aws.Int32(2)}); p.HasMorePages(); {
		out, err := p.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		entities = append(entities, each(out.PolicyGroups, func(g types.PolicyGroup) *string { return g.GroupName })...)
		entities = append(entities, each(out.PolicyUsers, func(u types.PolicyUser) *string { return u.UserName })...)
		entities = append(entities, each(out.PolicyRoles, func(r types.PolicyRole) *string { return r.RoleName })...)
	}
	slices.Sort(entities)
	if want := []string{"ada", "ci", "devs"}; !slices.Equal(entities, want) {
		t.Errorf("ListEntitiesForPolicy: got %q, want %q", entities, want)
	}

	do(t, root.iam.TagPolicy, iam.TagPolicyInput{PolicyArn: arn, Tags: tags("b", "2", "A", "3")})
	wantPages(t, iam.NewListPolicyTagsPaginator(root.iam, &iam.ListPolicyTagsInput{PolicyArn: arn, MaxItems: aws.Int32(2)}),
		func(out *iam.ListPolicyTagsOutput) []string { return tagTexts(out.Tags) }, 2, "A=3", "a=1", "b=2")
	do(t, root.iam.UntagPolicy, iam.UntagPolicyInput{PolicyArn: arn, TagKeys: []string{"A", "b"}})
	if got := tagTexts(do(t, root.iam.ListPolicyTags, iam.ListPolicyTagsInput{PolicyArn: arn}).Tags); !slices.Equal(got, []string{"a=1"}) {
		t.Errorf("after UntagPolicy: got %q, want a=1", got)
	}

	_, err := root.iam.DeletePolicy(t.Context(), &iam.DeletePolicyInput{PolicyArn: arn})
	wantError[*types.DeleteConflictException](t, "DeletePolicy of an attached policy", err, "")
	do(t, root.iam.DeletePolicy, iam.DeletePolicyInput{PolicyArn: aws.String(root.arn("policy/push"))})
	_, err = root.iam.GetPolicy(t.Context(), &iam.GetPolicyInput{PolicyArn: aws.String(root.arn("policy/push"))})
	wantError[*types.NoSuchEntityException](t, "GetPolicy after DeletePolicy", err, "policy/push")
}

func versions(t *testing.T, root actor) {
	document := func(n string) *string {
		return aws.String(`{"Version": "2012-10-17", "Statement": [{"Sid": "v` + n +
			`", "Effect": "Allow", "Action": "ecr:*", "Resource": "*"}]}`)
	}
	arn := do(t, root.iam.CreatePolicy, iam.CreatePolicyInput{PolicyName: aws.String("pull"), PolicyDocument: document("1")}).Policy.Arn
	for i, n := range []string{"2", "3", "4", "5"} {
		got := do(t, root.iam.CreatePolicyVersion, iam.CreatePolicyVersionInput{PolicyArn: arn, PolicyDocument: document(n),
			SetAsDefault: i == 1}).PolicyVersion
		if *got.VersionId != "v"+n || got.IsDefaultVersion != (i == 1) {
			t.Errorf("CreatePolicyVersion: got %s, default %t; want v%s, %t", *got.VersionId, got.IsDefaultVersion, n, i == 1)
		}
	}
	_, err := root.iam.CreatePolicyVersion(t.Context(), &iam.CreatePolicyVersionInput{PolicyArn: arn, PolicyDocument: document("6")})
	wantError[*types.LimitExceededException](t, "a sixth version", err, "")
	texts := func(out *iam.ListPolicyVersionsOutput) []string {
		return each(out.Versions, func(v types.PolicyVersion) *string {
			if v.IsDefaultVersion {
				return aws.String(*v.VersionId + "*")
			}
			return v.VersionId
		})
	}
	wantPages(t, iam.NewListPolicyVersionsPaginator(root.iam,
		&iam.ListPolicyVersionsInput{PolicyArn: arn, MaxItems: aws.Int32(2)}), texts, 3, "v5", "v4", "v3*", "v2", "v1")
	do(t, root.iam.SetDefaultPolicyVersion, iam.SetDefaultPolicyVersionInput{PolicyArn: arn, VersionId: aws.String("v4")})
	_, err = root.iam.DeletePolicyVersion(t.Context(), &iam.DeletePolicyVersionInput{PolicyArn: arn, VersionId: aws.String("v4")})
	wantError[*types.DeleteConflictException](t, "DeletePolicyVersion of the default version", err, "")
	for _, v := range []string{"v1", "v5"} {
		do(t, root.iam.DeletePolicyVersion, iam.DeletePolicyVersionInput{PolicyArn: arn, VersionId: &v})
	}
	wantPages(t, iam.NewListPolicyVersionsPaginator(root.iam, &iam.ListPolicyVersionsInput{PolicyArn: arn}), texts, 1, "v4*", "v3", "v2")
	got := do(t, root.iam.GetPolicyVersion, iam.GetPolicyVersionInput{PolicyArn: arn, VersionId: aws.String("v4")}).PolicyVersion
	wantDocument(t, "GetPolicyVersion", got.Document, *document("4"))
	next := do(t, root.iam.CreatePolicyVersion, iam.CreatePolicyVersionInput{PolicyArn: arn, PolicyDocument: document("6")}).PolicyVersion
	wantText(t, "the version after v5 was deleted", next.VersionId, "v6")
	ofAWS := do(t, root.iam.GetPolicy, iam.GetPolicyInput{PolicyArn: aws.String(readOnly)}).Policy
	text := do(t, root.iam.GetPolicyVersion, iam.GetPolicyVersionInput{PolicyArn: ofAWS.Arn,
		VersionId: ofAWS.DefaultVersionId}).PolicyVersion.Document
	if !strings.Contains(*text, "ecr%3ABatchGetImage") {
		t.Errorf("GetPolicyVersion of %s: got %q, want ecr:BatchGetImage in it", readOnly, *text)
	}
}

func providers(t *testing.T, root actor) {
	print := strings.Repeat("0123456789", 4)
	made := do(t, root.iam.CreateOpenIDConnectProvider, iam.CreateOpenIDConnectProviderInput{
		Url: aws.String("https://tokens.example.com/id/1"), ClientIDList: []string{"sts.amazonaws.com"},
		ThumbprintList: []string{print}, Tags: tags("a", "1"),
	})
	arn := made.OpenIDConnectProviderArn
	wantText(t, "ARN", arn, root.arn("oidc-provider/tokens.example.com/id/1"))
	do(t, root.iam.AddClientIDToOpenIDConnectProvider,
		iam.AddClientIDToOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn, ClientID: aws.String("second")})
	do(t, root.iam.RemoveClientIDFromOpenIDConnectProvider,
		iam.RemoveClientIDFromOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn, ClientID: aws.String("sts.amazonaws.com")})
	other := strings.Repeat("ab", 20)
	do(t, root.iam.UpdateOpenIDConnectProviderThumbprint,
		iam.UpdateOpenIDConnectProviderThumbprintInput{OpenIDConnectProviderArn: arn, ThumbprintList: []string{other}})
	got := do(t, root.iam.GetOpenIDConnectProvider, iam.GetOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn})
	wantText(t, "its URL", got.Url, "tokens.example.com/id/1")
	if !slices.Equal(got.ClientIDList, []string{"second"}) || !slices.Equal(got.ThumbprintList, []string{other}) || len(got.Tags) != 1 {
		t.Errorf("GetOpenIDConnectProvider: got %q, %q, %q; want second, %s, a=1", got.ClientIDList, got.ThumbprintList,
			tagTexts(got.Tags), other)
	}
	do(t, root.iam.TagOpenIDConnectProvider, iam.TagOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn, Tags: tags("b", "2")})
	wantPages(t, iam.NewListOpenIDConnectProviderTagsPaginator(root.iam,
		&iam.ListOpenIDConnectProviderTagsInput{OpenIDConnectProviderArn: arn, MaxItems: aws.Int32(1)}),
		func(out *iam.ListOpenIDConnectProviderTagsOutput) []string { return tagTexts(out.Tags) }, 2, "a=1", "b=2")
	do(t, root.iam.UntagOpenIDConnectProvider, iam.UntagOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn, TagKeys: []string{"a"}})
	if got := tagTexts(do(t, root.iam.ListOpenIDConnectProviderTags,
		iam.ListOpenIDConnectProviderTagsInput{OpenIDConnectProviderArn: arn}).Tags); !slices.Equal(got, []string{"b=2"}) {
		t.Errorf("after UntagOpenIDConnectProvider: got %q, want b=2", got)
	}
	list := do(t, root.iam.ListOpenIDConnectProviders, iam.ListOpenIDConnectProvidersInput{}).OpenIDConnectProviderList
	if len(list) != 1 || *list[0].Arn != *arn {
		t.Errorf("ListOpenIDConnectProviders: got %+v, want %s", list, *arn)
	}
	do(t, root.iam.DeleteOpenIDConnectProvider, iam.DeleteOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn})
	_, err := root.iam.GetOpenIDConnectProvider(t.Context(), &iam.GetOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn})
	wantError[*types.NoSuchEntityException](t, "GetOpenIDConnectProvider after it was deleted", err, *arn)
}
