package awsapi_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"
)

const (
	pullPolicy = `{"Version":"2012-10-17","Statement":[{"Sid":"pull","Effect":"Allow","Principal":{"AWS":"` + otherAccount +
		`"},"Action":"ecr:BatchGetImage"}]}`
	expireAll = `{"rules":[{"rulePriority":1,"description":"keep few images of the repository","selection":{"tagStatus":"any",` +
		`"countType":"imageCountMoreThan","countNumber":5},"action":{"type":"expire"}}]}`
	kmsKey  = "arn:aws:kms:us-east-1:" + home + ":key/1"
	roleARN = "arn:aws:iam::" + home + ":role/"
)

// codeOf returns the name of the exception of an error of the client; "" for another error or none.
func codeOf(err error) string {
	if e := smithy.APIError(nil); errors.As(err, &e) {
		return e.ErrorCode()
	}
	return ""
}

// The client of aws-sdk-go-v2 can create, change, list and delete creation templates with all their members.
func TestCreationTemplates(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.account(otherAccount)
	s.role("maker", allow("*"))
	c, ctx := s.ecr(), t.Context()
	made, err := c.CreateRepositoryCreationTemplate(ctx, &ecr.CreateRepositoryCreationTemplateInput{
		Prefix: aws.String("team/"), Description: aws.String("for the team"), AppliedFor: []types.RCTAppliedFor{"CREATE_ON_PUSH", "REPLICATION"},
		ImageTagMutability: types.ImageTagMutabilityImmutableWithExclusion,
		ImageTagMutabilityExclusionFilters: []types.ImageTagMutabilityExclusionFilter{
			{FilterType: types.ImageTagMutabilityExclusionFilterTypeWildcard, Filter: aws.String("dev-*")}},
		EncryptionConfiguration: &types.EncryptionConfigurationForRepositoryCreationTemplate{EncryptionType: types.EncryptionTypeAes256},
		RepositoryPolicy:        aws.String(pullPolicy), LifecyclePolicy: aws.String(expireAll), CustomRoleArn: aws.String(roleARN + "maker"),
		ResourceTags: []types.Tag{{Key: aws.String("b"), Value: aws.String("2")}, {Key: aws.String("a"), Value: aws.String("1")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	v := made.RepositoryCreationTemplate
	if *made.RegistryId != home || *v.Prefix != "team/" || v.CreatedAt.IsZero() || !v.CreatedAt.Equal(*v.UpdatedAt) ||
		fmt.Sprint(v.AppliedFor) != "[REPLICATION CREATE_ON_PUSH]" || *v.ResourceTags[0].Key != "a" || *v.LifecyclePolicy != expireAll ||
		!strings.Contains(*v.RepositoryPolicy, `"pull"`) || *v.CustomRoleArn != roleARN+"maker" ||
		v.ImageTagMutability != types.ImageTagMutabilityImmutableWithExclusion || *v.ImageTagMutabilityExclusionFilters[0].Filter != "dev-*" {
		t.Errorf("CreateRepositoryCreationTemplate: got %+v", v)
	}

	changed, err := c.UpdateRepositoryCreationTemplate(ctx, &ecr.UpdateRepositoryCreationTemplateInput{Prefix: aws.String("team"),
		RepositoryPolicy: aws.String(""), ImageTagMutability: types.ImageTagMutabilityMutable})
	if err != nil {
		t.Fatal(err)
	}
	v = changed.RepositoryCreationTemplate
	if v.RepositoryPolicy != nil || v.LifecyclePolicy == nil || v.ImageTagMutability != types.ImageTagMutabilityMutable ||
		len(v.ImageTagMutabilityExclusionFilters) != 0 || *v.Description != "for the team" || len(v.ResourceTags) != 2 || len(v.AppliedFor) != 2 {
		t.Errorf("UpdateRepositoryCreationTemplate of a policy and the mutability: got %+v, want the other members as before", v)
	}
	s.must("UpdateRepositoryCreationTemplate", object("prefix", "team", "lifecyclePolicy", "", "resourceTags", []any{}, "appliedFor",
		[]string{"PULL_THROUGH_CACHE"}))

	changed, err = c.UpdateRepositoryCreationTemplate(ctx, &ecr.UpdateRepositoryCreationTemplateInput{Prefix: aws.String("team"),
		Description: aws.String("")})
	if v = changed.RepositoryCreationTemplate; err != nil || v.Description != nil || *v.CustomRoleArn != roleARN+"maker" {
		t.Errorf("an update with the description \"\": got %+v, %v, want none, and the role as before", v, err)
	}
	changed, err = c.UpdateRepositoryCreationTemplate(ctx, &ecr.UpdateRepositoryCreationTemplateInput{Prefix: aws.String("team"),
		CustomRoleArn: aws.String("")})
	if v = changed.RepositoryCreationTemplate; err != nil || v.CustomRoleArn != nil {
		t.Errorf("an update with the role \"\": got %+v, %v, want none", v, err)
	}

	for _, prefix := range []string{"ROOT", "other"} {
		s.must("CreateRepositoryCreationTemplate", object("prefix", prefix, "appliedFor", []string{"CREATE_ON_PUSH"}))
	}
	var names []string
	pages := ecr.NewDescribeRepositoryCreationTemplatesPaginator(c, &ecr.DescribeRepositoryCreationTemplatesInput{MaxResults: aws.Int32(2)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range page.RepositoryCreationTemplates {
			names = append(names, fmt.Sprintf("%s %v %d %t", *one.Prefix, one.AppliedFor, len(one.ResourceTags), one.LifecyclePolicy != nil))
		}
	}
	want := []string{"ROOT [CREATE_ON_PUSH] 0 false", "other [CREATE_ON_PUSH] 0 false", "team/ [PULL_THROUGH_CACHE] 0 false"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("all templates (-want +got):\n%s", diff)
	}
	for size, more := range map[int32]bool{2: true, 3: false, 4: false} {
		page, err := c.DescribeRepositoryCreationTemplates(ctx, &ecr.DescribeRepositoryCreationTemplatesInput{MaxResults: &size})
		if err != nil || len(page.RepositoryCreationTemplates) != min(int(size), 3) || (page.NextToken != nil) != more {
			t.Errorf("a page of %d: got %+v, %v, want one that says that there are more: %t", size, page, err, more)
		}
	}
	some, err := c.DescribeRepositoryCreationTemplates(ctx, &ecr.DescribeRepositoryCreationTemplatesInput{
		Prefixes: []string{"team", "none", "team/"}})
	if err != nil || len(some.RepositoryCreationTemplates) != 1 {
		t.Errorf("templates by prefix: got %+v, %v, want one", some, err)
	}
	gone, err := c.DeleteRepositoryCreationTemplate(ctx, &ecr.DeleteRepositoryCreationTemplateInput{Prefix: aws.String("team")})
	if err != nil || *gone.RepositoryCreationTemplate.Prefix != "team/" {
		t.Errorf("DeleteRepositoryCreationTemplate: got %+v, %v", gone, err)
	}
	_, err = c.DeleteRepositoryCreationTemplate(ctx, &ecr.DeleteRepositoryCreationTemplateInput{Prefix: aws.String("team")})
	if e := (*types.TemplateNotFoundException)(nil); !errors.As(err, &e) {
		t.Errorf("deletion of a deleted template: got %v, want TemplateNotFoundException", err)
	}
}

func TestCreationTemplatesAreRefused(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.account(otherAccount)
	s.role("maker", allow("*"))
	push := []string{"CREATE_ON_PUSH"}
	s.must("CreateRepositoryCreationTemplate", object("prefix", "team", "appliedFor", push))
	for text, members := range map[string][]any{
		"'prefix'":                              {"prefix", "Team"},
		"'appliedFor'":                          {"appliedFor", []string{}},
		"KMS":                                   {"encryptionConfiguration", map[string]string{"encryptionType": "AES256", "kmsKey": kmsKey}},
		"only AES256":                           {"encryptionConfiguration", map[string]string{"encryptionType": "KMS"}},
		"imageTagMutabilityExclusionFilters":    {"imageTagMutability", "IMMUTABLE_WITH_EXCLUSION"},
		"'Invalid repository policy provided'":  {"repositoryPolicy", "{}"},
		"'Principal not found'":                 {"repositoryPolicy", strings.ReplaceAll(pullPolicy, otherAccount, "999999999999")},
		"Lifecycle policy validation failure":   {"lifecyclePolicy", `{"rules":[]}` + strings.Repeat(" ", 100)},
		"given twice":                           {"resourceTags", append(tagList(1), tagList(1)...)},
		"at most 50":                            {"resourceTags", tagList(51)},
		"must be the ARN of a role":             {"customRoleArn", "arn:aws:iam::" + home + ":user/x"},
		"a role of the account " + home:         {"customRoleArn", "arn:aws:iam::" + otherAccount + ":role/x"},
		"'customRoleArn' failed to satisfy con": {"customRoleArn", roleARN + "none"},
		"the role does not exist":               {"customRoleArn", roleARN + "path/maker"},
	} {
		for _, operation := range []string{"CreateRepositoryCreationTemplate", "UpdateRepositoryCreationTemplate"} {
			prefix := map[string]string{"CreateRepositoryCreationTemplate": "new", "UpdateRepositoryCreationTemplate": "team"}[operation]
			s.wantError(operation, object(append([]any{"prefix", prefix, "appliedFor", push}, members...)...), "InvalidParameterException", text)
		}
	}
	s.wantError("CreateRepositoryCreationTemplate", `{"prefix":"new"}`, "InvalidParameterException", "'appliedFor'")
	s.wantError("CreateRepositoryCreationTemplate", object("prefix", "team/", "appliedFor", push), "TemplateAlreadyExistsException", "'team/'")
	s.wantError("UpdateRepositoryCreationTemplate", `{"prefix":"new"}`, "TemplateNotFoundException", "'new'")
	s.wantError("DeleteRepositoryCreationTemplate", `{"prefix":"new"}`, "TemplateNotFoundException", "'new'")
	s.wantError("DeleteRepositoryCreationTemplate", `{"prefix":"/"}`, "InvalidParameterException", "'prefix'")
	s.wantError("DescribeRepositoryCreationTemplates", `{"nextToken":"x"}`, "InvalidParameterException", "token")
	s.wantError("DescribeRepositoryCreationTemplates", `{"prefixes":["a"],"maxResults":1}`, "InvalidParameterException", "maxResults")
	s.wantError("DescribeRepositoryCreationTemplates", object("prefixes", make([]string, 101)), "InvalidParameterException", "'prefixes")
	for i := range 99 {
		s.must("CreateRepositoryCreationTemplate", object("prefix", fmt.Sprint("p", i), "appliedFor", push))
	}
	s.wantError("CreateRepositoryCreationTemplate", object("prefix", "last", "appliedFor", push), "LimitExceededException", "100")
	if got := len(list(s.must("DescribeRepositoryCreationTemplates", `{"maxResults":1000}`), "repositoryCreationTemplates")); got != 100 {
		t.Errorf("got %d templates, want 100", got)
	}
}

// Whoever puts something into a template needs the permission to do the same to the repositories that it can make.
func TestCreationTemplateNeedsTheRightsOfItsContents(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.account(otherAccount)
	s.role("maker", allow("*"))
	push := []string{"CREATE_ON_PUSH"}
	templates := []string{"ecr:CreateRepositoryCreationTemplate", "ecr:UpdateRepositoryCreationTemplate"}
	key := s.user("admin", allow(templates...))
	set := func(operation, prefix string, members ...any) answer {
		return s.send(raw{key: key, target: ecrTarget + operation,
			body: object(append([]any{"prefix", prefix, "appliedFor", push}, members...)...)})
	}
	for i, c := range []struct {
		members  []any
		action   string
		resource string
	}{
		{nil, "ecr:CreateRepository", "repository/p0/*"},
		{[]any{"repositoryPolicy", pullPolicy}, "ecr:SetRepositoryPolicy", "repository/p1/*"},
		{[]any{"lifecyclePolicy", expireAll}, "ecr:PutLifecyclePolicy", "repository/p2/*"},
		{[]any{"customRoleArn", roleARN + "maker"}, "iam:PassRole", roleARN + "maker"},
	} {
		prefix := fmt.Sprint("p", i)
		granted := append([]string{"ecr:CreateRepository"}, templates...)
		if i == 0 {
			granted = templates
		}
		s.setInlinePolicy("admin", allow(granted...))
		set("CreateRepositoryCreationTemplate", prefix, c.members...).want(t, c.action, 400, "AccessDeniedException",
			"not authorized to perform: "+c.action+" on resource: ")
		if a := set("CreateRepositoryCreationTemplate", prefix, c.members...); !strings.Contains(a.Message, c.resource) {
			t.Errorf("%s: got %s, want a denial on %s", c.action, a, c.resource)
		}
		s.setInlinePolicy("admin", allow(append(granted, c.action)...))
		if a := set("CreateRepositoryCreationTemplate", prefix, c.members...); a.Status != 200 {
			t.Errorf("with %s: got %s, want 200", c.action, a)
		}
		// An update that does not name the member keeps it, and so needs the same permission.
		s.setInlinePolicy("admin", allow(granted...))
		update := "UpdateRepositoryCreationTemplate"
		set(update, prefix, "description", "x").want(t, "an update of "+c.action, 400, "AccessDeniedException", c.action)
		if i > 0 {
			if a := set(update, prefix, c.members[0], ""); a.Status != 200 {
				t.Errorf("an update that removes the %s: got %s, want 200", c.members[0], a)
			}
		}
	}
	// Temporary credentials, which cannot call IAM, can pass a role.
	s.setInlinePolicy("admin", allow("ecr:*", "iam:PassRole"))
	whole := key
	key = s.mustQuery(key, "sts", "GetSessionToken")
	if a := set("CreateRepositoryCreationTemplate", "by-session", "customRoleArn", roleARN+"maker"); a.Status != 200 {
		t.Errorf("a template with a role by temporary credentials: got %s, want 200", a)
	}
	key = whole
	// The role may be passed only to ECR, and the tags are those of the request.
	s.setInlinePolicy("admin", object("Version", "2012-10-17", "Statement", []any{
		map[string]any{"Effect": "Allow", "Action": templates, "Resource": "*"},
		map[string]any{"Effect": "Allow", "Action": "iam:PassRole", "Resource": "*",
			"Condition": map[string]any{"StringEquals": map[string]string{"iam:PassedToService": "ecr.amazonaws.com"}}},
		map[string]any{"Effect": "Allow", "Action": "ecr:CreateRepository", "Resource": "arn:aws:ecr:*:*:repository/*",
			"Condition": map[string]any{"StringEquals": map[string]string{"aws:RequestTag/key-0": "value"}}}}))
	for value, want := range map[string]int{"value": 200, "other": 400} {
		if a := set("CreateRepositoryCreationTemplate", "tagged-"+value, "customRoleArn", roleARN+"maker", "resourceTags",
			[]any{map[string]string{"Key": "key-0", "Value": value}}); a.Status != want {
			t.Errorf("a template with the tag %s: got %s, want %d", value, a, want)
		}
	}
	// An update has the tags that the template keeps.
	s.must("CreateRepositoryCreationTemplate", object("prefix", "others", "appliedFor", push, "resourceTags", tagList(1)))
	for prefix, want := range map[string]int{"tagged-value": 200, "others": 400} {
		if a := set("UpdateRepositoryCreationTemplate", prefix, "description", "x"); a.Status != want {
			t.Errorf("an update of %s, which keeps its tags: got %s, want %d", prefix, a, want)
		}
	}
}

// Whoever names a role in a pull through cache rule needs iam:PassRole for it.
func TestCacheRuleNeedsPassRole(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.account(otherAccount)
	s.role("maker", allow("*"))
	rules := []string{"ecr:CreatePullThroughCacheRule", "ecr:UpdatePullThroughCacheRule"}
	key := s.user("admin", allow(rules...))
	set := func(operation string, members ...any) answer {
		return s.send(raw{key: key, target: ecrTarget + operation, body: object(append([]any{"ecrRepositoryPrefix", "far"}, members...)...)})
	}
	host := "111122223333.dkr.ecr.eu-west-1.amazonaws.com"
	for operation, members := range map[string][]any{
		"CreatePullThroughCacheRule": {"upstreamRegistryUrl", host, "customRoleArn", roleARN + "maker"},
		"UpdatePullThroughCacheRule": {"customRoleArn", roleARN + "maker"},
	} {
		set(operation, members...).want(t, operation, 400, "AccessDeniedException",
			"not authorized to perform: iam:PassRole on resource: "+roleARN+"maker")
	}
	s.setInlinePolicy("admin", allow(append(rules, "iam:PassRole")...))
	if a := set("CreatePullThroughCacheRule", "upstreamRegistryUrl", host, "customRoleArn", roleARN+"maker"); a.Status != 200 {
		t.Errorf("with iam:PassRole: got %s, want 200", a)
	}
	if a := set("UpdatePullThroughCacheRule", "customRoleArn", roleARN+"maker"); a.Status != 200 {
		t.Errorf("an update with iam:PassRole: got %s, want 200", a)
	}
}

// A push by the operations of ECR creates its repository with all settings of the template.
func TestPushCreatesARepositoryByTemplate(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.account(otherAccount)
	s.role("maker", allow("*"))
	s.wantError("InitiateLayerUpload", `{"repositoryName":"team/app"}`, "RepositoryNotFoundException", "'team/app'")
	s.must("CreateRepositoryCreationTemplate", object("prefix", "team", "appliedFor", []string{"CREATE_ON_PUSH"},
		"imageTagMutability", "IMMUTABLE", "repositoryPolicy", pullPolicy, "lifecyclePolicy", expireAll,
		"customRoleArn", roleARN+"maker", "resourceTags", []any{map[string]string{"Key": "team", "Value": "a"}}))
	s.must("CreateRepositoryCreationTemplate", object("prefix", "ROOT", "appliedFor", []string{"PULL_THROUGH_CACHE", "REPLICATION"}))
	s.wantError("InitiateLayerUpload", `{"repositoryName":"app"}`, "RepositoryNotFoundException", "'app'")
	s.wantError("BatchCheckLayerAvailability", object("repositoryName", "team/app", "layerDigests", []string{digestOf("x")}),
		"RepositoryNotFoundException", "'team/app'")
	s.image("team/app", "a", "v1")
	r := list(s.must("DescribeRepositories", `{"repositoryNames":["team/app"]}`), "repositories")[0]
	if r["imageTagMutability"] != "IMMUTABLE" {
		t.Errorf("the repository: got %v, want IMMUTABLE", r)
	}
	if text := s.must("GetRepositoryPolicy", `{"repositoryName":"team/app"}`)["policyText"].(string); !strings.Contains(text, otherAccount) {
		t.Errorf("the policy of the repository: got %s", text)
	}
	tags := list(s.must("ListTagsForResource", object("resourceArn", r["repositoryArn"])), "tags")
	if got := fmt.Sprint(tags); got != "[map[Key:team Value:a]]" {
		t.Errorf("the resource tags of the repository: got %s", got)
	}
	// PutImage creates it too.
	s.push("team/empty", index())
	s.must("DescribeRepositories", `{"repositoryNames":["team/empty"]}`)

	// Without the role that resource tags need, nothing is created.
	s.must("CreateRepositoryCreationTemplate", object("prefix", "bare", "appliedFor", []string{"CREATE_ON_PUSH"}, "resourceTags", tagList(1)))
	s.wantError("InitiateLayerUpload", `{"repositoryName":"bare/app"}`, "InvalidParameterException", "customRoleArn")
	s.wantError("DescribeRepositories", `{"repositoryNames":["bare/app"]}`, "RepositoryNotFoundException", "")
}

// Templates belong to one account in one region.
func TestTemplateOfAnotherAccountIsNotFound(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	other := s.account(otherAccount)
	s.must("CreateRepositoryCreationTemplate", object("prefix", "team", "appliedFor", []string{"CREATE_ON_PUSH"}))
	_, err := s.sdk(other).DeleteRepositoryCreationTemplate(t.Context(),
		&ecr.DeleteRepositoryCreationTemplateInput{Prefix: aws.String("team")})
	if got := codeOf(err); got != "TemplateNotFoundException" {
		t.Errorf("the template of another account: got %v, want TemplateNotFoundException", err)
	}
	regional := s.send(raw{key: s.key, region: "eu-west-1", target: ecrTarget + "DescribeRepositoryCreationTemplates", body: `{}`})
	if want := `{"registryId":"` + home + `","repositoryCreationTemplates":[]}`; regional.Body != want {
		t.Errorf("in another region: got %s, want %s", regional, want)
	}
}

// The first layer of a push by the ECR API creates the repository of a template for pushes, and of no other.
func TestLayersOfAPushCreateTheRepository(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	for prefix, use := range map[string]string{"team": "CREATE_ON_PUSH", "copies": "REPLICATION"} {
		s.must("CreateRepositoryCreationTemplate", object("prefix", prefix, "appliedFor", []string{use}, "imageTagMutability", "IMMUTABLE"))
	}
	s.image("team/app", "a", "v1")
	out := s.must("DescribeRepositories", object("repositoryNames", []string{"team/app"}))
	if got := summarize(list(out, "repositories"), "imageTagMutability"); len(got) != 1 || got[0] != "IMMUTABLE" {
		t.Errorf("the repository: got %v, want that of the template", out)
	}
	for _, repo := range []string{"copies/app", "other"} {
		s.wantError("InitiateLayerUpload", object("repositoryName", repo), "RepositoryNotFoundException", repo)
	}
}
