package awsapi_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRepositories(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	const name = `{"repositoryName":"team/app"}`
	made := s.must("CreateRepository", name)["repository"].(map[string]any)
	host := strings.TrimPrefix(s.url, "http://")
	want := map[string]any{
		"repositoryArn": "arn:aws:ecr:us-east-1:000000000000:repository/team/app", "registryId": home,
		"repositoryName": "team/app", "repositoryUri": host + "/team/app", "createdAt": made["createdAt"], "imageTagMutability": "MUTABLE",
		"imageScanningConfiguration": map[string]any{"scanOnPush": false}, "encryptionConfiguration": map[string]any{"encryptionType": "AES256"},
	}
	if diff := cmp.Diff(want, made); diff != "" {
		t.Errorf("CreateRepository (-want +got):\n%s", diff)
	}
	if at := made["createdAt"].(float64); at < 1.7e9 || at > 4e9 {
		t.Errorf("createdAt is %v, want seconds since 1970", at)
	}
	shown := s.must("DescribeRepositories", `{"repositoryNames":["team/app"]}`)
	if diff := cmp.Diff([]any{want}, shown["repositories"]); diff != "" {
		t.Errorf("DescribeRepositories (-want +got):\n%s", diff)
	}
	s.wantError("CreateRepository", name, "RepositoryAlreadyExistsException",
		"The repository with name 'team/app' already exists in the registry with id '000000000000'")
	missing := "The repository with name 'team/none' does not exist in the registry with id '000000000000'"
	s.wantError("DescribeRepositories", `{"repositoryNames":["team/app","team/none"]}`, "RepositoryNotFoundException", missing)

	m := s.image("team/app", "one", "latest")
	s.wantError("DeleteRepository", name, "RepositoryNotEmptyException",
		"The repository with name 'team/app' in registry with id '000000000000' cannot be deleted because it still contains images")
	gone := s.must("DeleteRepository", `{"repositoryName":"team/app","force":true}`)["repository"]
	if diff := cmp.Diff(want, gone); diff != "" {
		t.Errorf("DeleteRepository (-want +got):\n%s", diff)
	}
	s.wantError("DeleteRepository", name, "RepositoryNotFoundException", "'team/app' does not exist")

	// The name can be used again immediately, and the new repository does not contain the images and layers of the old.
	s.must("CreateRepository", name)
	if got := s.must("ListImages", name)["imageIds"]; len(got.([]any)) != 0 {
		t.Errorf("images of a new repository with the same name: got %v, want none", got)
	}
	s.wantError("PutImage", object("repositoryName", "team/app", "imageManifest", m), "LayersNotFoundException", "do not exist")
}

// Every operation on an unknown repository returns the same error.
func TestRepositoryNotFound(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	const upload, d = "6f1c1bd4-0cf8-4a4e-9f2e-3d6f3a6e8f10", "sha256:" + "00000000000000000000000000000000000000000000000000000000000000aa"
	arn := "arn:aws:ecr:us-east-1:000000000000:repository/none"
	for operation, members := range map[string][]any{
		"DeleteRepository": {}, "GetRepositoryPolicy": {}, "DeleteRepositoryPolicy": {}, "ListImages": {}, "DescribeImages": {},
		"InitiateLayerUpload":           {},
		"PutImageTagMutability":         {"imageTagMutability", "IMMUTABLE"},
		"PutImageScanningConfiguration": {"imageScanningConfiguration", map[string]bool{"scanOnPush": true}},
		"SetRepositoryPolicy":           {"policyText", openPolicy},
		"BatchGetImage":                 {"imageIds", ids("", "a")},
		"BatchDeleteImage":              {"imageIds", ids("", "a")},
		"PutImage":                      {"imageManifest", "{}"},
		"ListImageReferrers":            {"subjectId", map[string]string{"imageDigest": d}},
		"UploadLayerPart":               {"uploadId", upload, "partFirstByte", 0, "partLastByte", 0, "layerPartBlob", "YQ=="},
		"CompleteLayerUpload":           {"uploadId", upload, "layerDigests", []string{d}},
		"BatchCheckLayerAvailability":   {"layerDigests", []string{d}},
		"GetDownloadUrlForLayer":        {"layerDigest", d},
	} {
		s.wantError(operation, object(append(members, "repositoryName", "none")...), "RepositoryNotFoundException",
			"The repository with name 'none' does not exist in the registry with id '000000000000'")
	}
	for operation, members := range map[string][]any{
		"ListTagsForResource": {}, "TagResource": {"tags", []any{}}, "UntagResource": {"tagKeys", []string{"a"}},
	} {
		s.wantError(operation, object(append(members, "resourceArn", arn)...), "RepositoryNotFoundException", "'none' does not exist")
	}
}

// The error for an invalid value names the member and the rule.
func TestInvalidParameters(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.repository("app")
	for _, c := range []struct{ operation, body, text string }{
		{"CreateRepository", `{}`, "'repositoryName'"},
		{"CreateRepository", `{"repositoryName":"A"}`, "'repositoryName'"},
		{"CreateRepository", `{"repositoryName":"../../etc"}`, "must satisfy regular expression"},
		{"CreateRepository", `{"repositoryName":"a//b"}`, "must satisfy regular expression"},
		{"CreateRepository", `{"repositoryName":"app2","registryId":"1234567890123"}`, "'registryId'"},
		{"CreateRepository", `{"repositoryName":"app2","registryId":"12345678901"}`, "'registryId'"},
		{"CreateRepository", `{"repositoryName":"app2","imageTagMutability":"SOMETIMES"}`, "'imageTagMutability'"},
		{"CreateRepository", `{"repositoryName":"app2","encryptionConfiguration":{"encryptionType":"KMS"}}`, "'encryptionConfiguration'"},
		{"CreateRepository", `{"repositoryName":"app2","imageTagMutability":"IMMUTABLE_WITH_EXCLUSION"}`,
			"Invalid parameter at 'imageTagMutabilityExclusionFilters' failed to satisfy constraint: 'ImageTagMutabilityExclusionFilters can't be null when imageTagMutability is set as IMMUTABLE_WITH_EXCLUSION'"},
		{"PutImageTagMutability",
			`{"repositoryName":"app","imageTagMutability":"IMMUTABLE","imageTagMutabilityExclusionFilters":[{"filterType":"WILDCARD","filter":"a*"}]}`,
			"ImageTagMutabilityExclusionFilters must be null"},
		{"PutImageTagMutability",
			`{"repositoryName":"app","imageTagMutability":"MUTABLE_WITH_EXCLUSION","imageTagMutabilityExclusionFilters":[{"filterType":"WILDCARD","filter":"a b"}]}`, "filter"},
		{"PutImageTagMutability", object("repositoryName", "app", "imageTagMutability", "MUTABLE_WITH_EXCLUSION",
			"imageTagMutabilityExclusionFilters", slices.Repeat([]any{map[string]string{"filterType": "WILDCARD", "filter": "a"}},
				6)), "less than or equal to 5"},
		{"ListImages", `{"repositoryName":"app","maxResults":0}`, "Member must have value greater than or equal to 1"},
		{"ListImages", `{"repositoryName":"app","maxResults":1001}`,
			"Invalid parameter at 'maxResults' failed to satisfy constraint: 'Member must have value less than or equal to 1000'"},
		{"DescribeImages", `{"repositoryName":"app","maxResults":1001}`, "'maxResults'"},
		{"DescribeImages", `{"repositoryName":"app","maxResults":5,"imageIds":[{"imageTag":"a"}]}`, "cannot be used with imageIds"},
		{"DescribeRepositories", `{"maxResults":1001}`, "'maxResults'"},
		{"DescribeRepositories", `{"maxResults":5,"repositoryNames":["app"]}`, "cannot be used with repositoryNames"},
		{"ListImageReferrers", `{"repositoryName":"app","maxResults":51,"subjectId":{"imageDigest":"` + digestOf("a") + `"}}`, "'maxResults'"},
		{"ListImageReferrers", `{"repositoryName":"app","subjectId":{"imageDigest":"sha256:abc"}}`, "subjectId.imageDigest"},
		{"ListImages", `{"repositoryName":"app","filter":{"tagStatus":"SOME"}}`, "enum value set"},
		{"BatchGetImage", `{"repositoryName":"app","imageIds":[]}`, "'imageIds'"},
		{"BatchGetImage", object("repositoryName", "app", "imageIds", ids(slices.Repeat([]string{"", "a"}, 101)...)),
			"less than or equal to 100"},
		{"BatchDeleteImage", object("repositoryName", "app", "imageIds", ids(slices.Repeat([]string{"", "a"}, 101)...)),
			"less than or equal to 100"},
		{"PutImage", `{"repositoryName":"app","imageManifest":""}`, "'imageManifest'"},
		{"PutImage", `{"repositoryName":"app","imageManifest":"{}","imageTag":"` + strings.Repeat("a", 129) + `"}`, "'imageTag'"},
		{"PutImage", `{"repositoryName":"app","imageManifest":"{}","imageTag":"a/b"}`, "'imageTag'"},
		{"PutImage", `{"repositoryName":"app","imageManifest":"{}","imageDigest":"latest"}`, "'imageDigest'"},
		{"UploadLayerPart", part("app", "not-a-uuid", 0, "a"), "'uploadId'"},
		{"ListTagsForResource", `{"resourceArn":"app"}`, "Invalid parameter at 'resourceArn' failed to satisfy constraint: 'Invalid ARN'"},
		{"ListTagsForResource", `{"resourceArn":"arn:aws:ecr:eu-west-1:000000000000:repository/app"}`, "'resourceArn'"},
		{"SetRepositoryPolicy", `{"repositoryName":"app","policyText":"` + strings.Repeat("a", 10241) + `"}`, "less than or equal to 10240"},
	} {
		s.wantError(c.operation, c.body, "InvalidParameterException", c.text)
	}
}

// Pages of every size return each repository once and in order.
func TestDescribeRepositoriesPages(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	var want []string
	for i := range 5 {
		n := fmt.Sprintf("team/app%d", i)
		s.repository(n)
		want = append(want, n)
	}
	for _, size := range []int{1, 2, 4, 5, 1000} {
		got := s.walk("DescribeRepositories", "repositories", size, nil)
		if diff := cmp.Diff(want, summarize(got, "repositoryName")); diff != "" {
			t.Errorf("pages of %d (-want +got):\n%s", size, diff)
		}
	}
}

// walk reads all pages of a listing, each with up to size entries. members are names and values of further members of
// the input.
func (s *server) walk(operation, result string, size int, members []any) []map[string]any {
	s.t.Helper()
	var all []map[string]any
	in := append([]any{"maxResults", size}, members...)
	for pages := 0; ; pages++ {
		out := s.must(operation, object(in...))
		page := list(out, result)
		all = append(all, page...)
		token, more := out["nextToken"]
		if !more {
			return all
		}
		if len(page) != size || pages > 200 {
			s.t.Fatalf("%s: page %d has %d of %d entries and a nextToken", operation, pages, len(page), size)
		}
		in = append([]any{"maxResults", size, "nextToken", token}, members...)
	}
}

func TestResourceTags(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.must("CreateRepository", `{"repositoryName":"app","tags":[{"Key":"b","Value":"1"},{"Key":"a","Value":""}]}`)
	arn := "arn:aws:ecr:us-east-1:000000000000:repository/app"
	tags := func() []string {
		return summarize(list(s.must("ListTagsForResource", object("resourceArn", arn)), "tags"), "Key", "Value")
	}
	if diff := cmp.Diff([]string{"a ", "b 1"}, tags()); diff != "" {
		t.Errorf("tags of CreateRepository (-want +got):\n%s", diff)
	}
	tag := func(pairs ...string) string {
		all := []any{}
		for i := 0; i < len(pairs); i += 2 {
			all = append(all, map[string]string{"Key": pairs[i], "Value": pairs[i+1]})
		}
		return object("resourceArn", arn, "tags", all)
	}
	s.must("TagResource", tag("b", "2", "Stufe é", strings.Repeat("ü", 256)))
	s.must("UntagResource", object("resourceArn", arn, "tagKeys", []string{"a", "never there"}))
	if diff := cmp.Diff([]string{"Stufe é " + strings.Repeat("ü", 256), "b 2"}, tags()); diff != "" {
		t.Errorf("tags after changes (-want +got):\n%s", diff)
	}
	for _, c := range []struct{ key, value, text string }{
		{"", "1", "1 to 128"}, {strings.Repeat("k", 129), "1", "1 to 128"}, {"k", strings.Repeat("v", 257), "more than 256"},
		{"aws:team", "1", "reserved"}, {"AWS:team", "1", "reserved"},
	} {
		s.wantError("TagResource", tag(c.key, c.value), "InvalidTagParameterException", c.text)
	}
	s.wantError("TagResource", tag("k", "1", "k", "2"), "InvalidTagParameterException", "given twice")

	var many []string
	for i := range 49 {
		many = append(many, fmt.Sprintf("k%d", i), "v")
	}
	s.wantError("TagResource", tag(many...), "TooManyTagsException", "at most 50")
	if got := len(tags()); got != 2 {
		t.Errorf("after a refused TagResource: got %d tags, want 2 as before", got)
	}
	s.must("TagResource", tag(many[:96]...)) // 50 in all
	s.wantError("CreateRepository", object("repositoryName", "app2", "tags", tagList(51)), "TooManyTagsException", "at most 50")
	s.must("CreateRepository", object("repositoryName", "app2", "tags", tagList(50)))
}

func tagList(n int) []map[string]string {
	var all []map[string]string
	for i := range n {
		all = append(all, map[string]string{"Key": fmt.Sprint("k", i), "Value": "v"})
	}
	return all
}

const openPolicy = `{"Statement":[{"Principal":"*","Action":["ecr:BatchGetImage","ecr:GetDownloadUrlForLayer"],"Effect":"Allow","Sid":"pull"}],"Version":"2012-10-17"}`

func TestRepositoryPolicy(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.repository("app")
	const none = "Repository policy does not exist for the repository with name 'app' in the registry with id '000000000000'"
	s.wantError("GetRepositoryPolicy", `{"repositoryName":"app"}`, "RepositoryPolicyNotFoundException", none)
	s.wantError("DeleteRepositoryPolicy", `{"repositoryName":"app"}`, "RepositoryPolicyNotFoundException", none)

	// The policy is returned in normal form: elements in their order, spaces around colons, arrays on one line.
	want := map[string]any{"registryId": home, "repositoryName": "app", "policyText": `{
  "Version" : "2012-10-17",
  "Statement" : [ {
    "Sid" : "pull",
    "Effect" : "Allow",
    "Principal" : "*",
    "Action" : [ "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer" ]
  } ]
}`}
	for _, got := range []map[string]any{
		s.must("SetRepositoryPolicy", object("repositoryName", "app", "policyText", openPolicy)),
		s.must("GetRepositoryPolicy", `{"repositoryName":"app"}`),
	} {
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("policy (-want +got):\n%s", diff)
		}
	}
	for _, bad := range []string{`{`, `[]`, `{}`, `{"Statement":[]}`, strings.ReplaceAll(openPolicy, "Allow", "Maybe"),
		strings.ReplaceAll(openPolicy, `"ecr:Batch`, `"s3:Batch`)} {
		s.wantError("SetRepositoryPolicy", object("repositoryName", "app", "policyText", bad), "InvalidParameterException",
			"Invalid parameter at 'PolicyText' failed to satisfy constraint: 'Invalid repository policy provided'")
	}
	if diff := cmp.Diff(want, s.must("DeleteRepositoryPolicy", `{"repositoryName":"app"}`)); diff != "" {
		t.Errorf("DeleteRepositoryPolicy (-want +got):\n%s", diff)
	}
	s.wantError("GetRepositoryPolicy", `{"repositoryName":"app"}`, "RepositoryPolicyNotFoundException", none)
}

// PutImageScanningConfiguration sets what CreateRepository sets with scanOnPush, and DescribeRepositories shows it.
func TestPutImageScanningConfiguration(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.must("CreateRepository", `{"repositoryName":"app"}`)
	for _, on := range []bool{true, false} {
		want := map[string]any{"scanOnPush": on}
		out := s.must("PutImageScanningConfiguration", object("repositoryName", "app", "imageScanningConfiguration", want))
		shown := s.must("DescribeRepositories", `{"repositoryNames":["app"]}`)["repositories"].([]any)[0].(map[string]any)
		for what, got := range map[string]any{"the answer": out["imageScanningConfiguration"],
			"DescribeRepositories": shown["imageScanningConfiguration"]} {
			if diff := cmp.Diff(any(want), got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", what, diff)
			}
		}
	}
}
