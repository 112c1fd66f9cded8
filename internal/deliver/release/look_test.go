package release_test

import (
	"context"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/ecrin-dev/ecrin/internal/deliver/release"
	"github.com/ecrin-dev/ecrin/internal/rule/preflight"
	"github.com/ecrin-dev/ecrin/internal/rule/rewrite"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// A caller who may pull and not list, as with AmazonEC2ContainerRegistryPullOnly, gets the answers that a pull needs; one who may do
// neither is not told that the image is absent.
func TestLookOfACallerWhoMayOnlyPull(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root, image := s.Root(t), ocitest.NewImage(7, 2000)
	root.CreateRepository(t, "team/app").Push(t, "1.0", image)
	users := iam.New(iam.Options{Region: "us-east-1", BaseEndpoint: &s.URL,
		Credentials: credentials.NewStaticCredentialsProvider(root.KeyID, root.Secret, "")})
	check := func(label, actions string) *release.Check {
		t.Helper()
		if _, err := users.CreateUser(t.Context(), &iam.CreateUserInput{UserName: &label}); err != nil {
			t.Fatal(err)
		}
		policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":[` + actions + `],"Resource":"*"}]}`
		if _, err := users.PutUserPolicy(t.Context(), &iam.PutUserPolicyInput{UserName: &label, PolicyName: &label,
			PolicyDocument: &policy}); err != nil {
			t.Fatal(err)
		}
		key, err := users.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: &label})
		if err != nil {
			t.Fatal(err)
		}
		at := name.Registry{}
		if at.Account, err = name.ParseAccount(root.ID); err == nil {
			at.Region, err = name.ParseRegion(root.Region)
		}
		if err != nil {
			t.Fatal(err)
		}
		repo, err := name.ParseRepo("team/app")
		if err != nil {
			t.Fatal(err)
		}
		return &release.Check{Caller: label, Server: &release.Server{Config: func(context.Context, string) (aws.Config, error) {
			return aws.Config{Region: root.Region, BaseEndpoint: &s.URL, Credentials: credentials.NewStaticCredentialsProvider(
				*key.AccessKey.AccessKeyId, *key.AccessKey.SecretAccessKey, "")}, nil
		}}, Locate: func(r rewrite.Reference) (release.Place, bool, error) {
			return release.Place{Registry: at, Repo: repo, Tag: r.Tag}, true, nil
		}}
	}
	one := func(c *release.Check, tag string) release.Answer {
		return c.Run(t.Context(), []preflight.Wanted{{Image: rewrite.Reference{Host: "h", Path: "team/app", Tag: tag}}})[0]
	}
	pulls := check("pulls", `"ecr:GetAuthorizationToken","ecr:BatchGetImage","ecr:GetDownloadUrlForLayer"`)
	if a := one(pulls, "1.0"); !a.Ready || a.Digest != image.Digest || a.Pull != release.MayPull || a.Size < 2000 {
		t.Errorf("got %+v", a)
	}
	if a := one(pulls, "2.0"); a.Exists || len(a.Problems) != 1 || a.Problems[0].Code != release.ImageNotFound {
		t.Errorf("an image that is absent: got %+v", a)
	}
	if a := one(check("logs", `"ecr:GetAuthorizationToken"`), "1.0"); a.Ready || len(a.Problems) != 1 ||
		a.Problems[0].Code != release.AccessDenied || !strings.Contains(a.Problems[0].Text, "ecr:BatchGetImage") ||
		!strings.Contains(a.Problems[0].Text, "is not known") {
		t.Errorf("a caller who may not pull: got %+v", a)
	}
}
