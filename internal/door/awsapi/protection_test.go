package awsapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

// Acceptance rows of deletion protection, in the order of the test.
//
//	| row | the user does | expected |
//	| DP1 | protects a repository and deletes it with force | InvalidParameterException that names the protection; it is there |
//	| DP2 | deletes an image of it | deleted |
//	| DP3 | protects its images too; deletes by tag, by digest, by the OCI API, and removes a tag | each is refused with the same text |
//	| DP4 | pushes and moves a tag | done: protection is not immutability |
//	| DP5 | deletes the account with force, as the operator | refused |
//	| DP6 | protects it as a user without ecrin:PutRepositoryProtection | AccessDeniedException |
//	| DP7 | ends the protection and deletes the repository with force | deleted |
func TestProtectionRows(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	other := s.account(otherAccount)
	c, ctx, app := s.ecr(), t.Context(), aws.String("app")
	s.repository("app")
	old := s.image("app", "a", "v1", "v2")
	s.image("app", "b", "v3")
	protect := func(value string) answer {
		return s.callEcrin(s.key, "PutRepositoryProtection", object("repositoryName", "app", "protection", value))
	}
	remove := func() error {
		_, err := c.DeleteRepository(ctx, &ecr.DeleteRepositoryInput{RepositoryName: app, Force: true})
		return err
	}
	const text = "cannot be deleted because of deletion protection: `ecrin repository unprotect app` ends it"

	if a, want := protect("REPOSITORY"), `{"registryId":"`+home+`","repositoryName":"app","protection":"REPOSITORY"}`; a.Body != want { // DP1
		t.Errorf("PutRepositoryProtection: got %s, want %s", a, want)
	}
	if got := codeOf(remove()); got != "InvalidParameterException" {
		t.Errorf("DP1: got %q, want InvalidParameterException", got)
	}
	s.wantError("DeleteRepository", `{"repositoryName":"app","force":true}`, "InvalidParameterException",
		"The repository with name 'app' in the registry with id '"+home+"' "+text)
	one := s.must("BatchDeleteImage", object("repositoryName", "app", "imageIds", ids("", "v3"))) // DP2
	if n := len(list(one, "imageIds")); n != 1 {
		t.Errorf("DP2: got %v, want one deleted image", one)
	}

	protect("REPOSITORY_AND_IMAGES") // DP3
	if a := s.callEcrin(s.key, "GetRepositoryProtection", `{"repositoryName":"app"}`); a.Status != 200 ||
		a.Body != `{"registryId":"`+home+`","repositoryName":"app","protection":"REPOSITORY_AND_IMAGES"}` {
		t.Errorf("GetRepositoryProtection: got %s", a)
	}
	for _, id := range [][]map[string]string{ids("", "v1"), ids(digestOf(old), "")} {
		s.wantError("BatchDeleteImage", object("repositoryName", "app", "imageIds", id), "InvalidParameterException", text)
	}
	s.callEcrin(s.key, "UntagImage", `{"repositoryName":"app","imageTag":"v1"}`).want(t, "DP3, UntagImage", 400,
		"InvalidParameterException", text)
	docker := s.Root(t).Docker(t).Repo("app")
	for _, reference := range []string{"v1", digestOf(old)} {
		docker.Do(t, http.MethodDelete, docker.Path("/manifests/"+reference), nil).WantError(t, http.StatusForbidden, "DENIED")
	}

	s.image("app", "c", "v1", "v4")                                                                      // DP4
	s.send(raw{key: other, target: ecrTarget + "CreateRepository", body: `{"repositoryName":"theirs"}`}) // DP5
	s.callEcrin(other, "PutRepositoryProtection", `{"repositoryName":"theirs","protection":"REPOSITORY"}`)
	force := true
	in := &ecrintypes.DeleteAccountRequest{AccountId: otherAccount, Force: &force}
	if got := s.operatorError("DeleteAccount", in); !strings.Contains(got, "'theirs' with deletion") {
		t.Errorf("DP5: got %q, want a refusal that names the repository", got)
	}
	user := s.user("user", rule("Allow", "NotAction", "*", "ecrin:PutRepositoryProtection")) // DP6
	s.callEcrin(user, "PutRepositoryProtection", `{"repositoryName":"app","protection":"NONE"}`).want(t, "DP6", 400, "AccessDeniedException",
		"ecrin:PutRepositoryProtection on resource: arn:aws:ecr:us-east-1:"+home+":repository/app")

	protect("NONE") // DP7
	if err := remove(); err != nil {
		t.Errorf("DP7: %v", err)
	}
	protect("NONE").want(t, "a deleted repository", 400, "RepositoryNotFoundException", "'app'")
	protect("ALL").want(t, "an unknown protection", 400, "InvalidParameterException", "'protection'")
}

// UntagImage removes one tag. The image stays with its other tags or without one, also where ECR deletes it with its last tag.
func TestUntagImage(t *testing.T) {
	t.Parallel()
	s := serve(t, strict("tag-deletes-image"))
	s.repository("app")
	d := digestOf(s.image("app", "a", "v1", "v2"))
	untag := func(key aws.Credentials, tag string) answer {
		return s.callEcrin(key, "UntagImage", object("repositoryName", "app", "imageTag", tag))
	}
	for _, tag := range []string{"v1", "v2"} {
		if a, want := untag(s.key, tag), `{"imageTag":"`+tag+`","imageDigest":"`+d+`"}`; a.Body != want {
			t.Errorf("UntagImage %s: got %s, want %s", tag, a, want)
		}
	}
	out, err := s.ecr().DescribeImages(t.Context(), &ecr.DescribeImagesInput{RepositoryName: aws.String("app"),
		ImageIds: []types.ImageIdentifier{{ImageDigest: &d}}})
	if err != nil || len(out.ImageDetails) != 1 || len(out.ImageDetails[0].ImageTags) != 0 {
		t.Errorf("the image: got %+v, %v, want it without tags", out, err)
	}
	untag(s.key, "v1").want(t, "a removed tag", 400, "ImageNotFoundException", "")
	untag(s.key, "a b").want(t, "no tag", 400, "InvalidParameterException", "")
	s.callEcrin(s.key, "UntagImage", `{"repositoryName":"none","imageTag":"v1"}`).want(t, "no repository", 400,
		"RepositoryNotFoundException", "'none'")

	s.push("app", manifest(`{"seed":"a"}`, nil), "v3", "keep")
	for policy, action := range map[string]string{
		allow("ecrin:*"): "ecr:BatchDeleteImage", allow("ecr:*"): "ecrin:UntagImage",
		object("Version", "2012-10-17", "Statement", []any{
			map[string]any{"Effect": "Allow", "Action": "*", "Resource": "*"},
			map[string]any{"Effect": "Deny", "Action": "ecr:BatchDeleteImage", "Resource": "*",
				"Condition": map[string]any{"StringEquals": map[string]string{"ecrin:ImageTag": "v3"}}}}): "ecr:BatchDeleteImage",
	} {
		user := s.user("user-"+digestOf(policy)[7:15], policy)
		untag(user, "v3").want(t, policy, 400, "AccessDeniedException", action)
	}
	if a := untag(s.user("full", allow("ecrin:UntagImage", "ecr:BatchDeleteImage")), "v3"); a.Status != 200 {
		t.Errorf("a user with both actions: got %s, want 200", a)
	}
}
