package pullthrough_test

import (
	"net/http"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// A pull that creates a repository is decided with the resource tags that the template gives it: as tags of the request for the creation,
// and as tags of the resource for the import.
func TestCreationIsDecidedByItsTemplate(t *testing.T) {
	t.Parallel()
	im := ocitest.NewImage(1, 1000)
	f := newFar(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", ocitest.ImageType)
		_, _ = w.Write(im.Manifest)
	})
	s := near(t, nil, nil, f)
	root := s.Root(t)
	rule(t, root, "cache", f)
	role := "arn:aws:iam::" + root.ID + ":role/maker"
	users := iam.New(iam.Options{Region: root.Region, BaseEndpoint: aws.String(s.URL), HTTPClient: s.HTTP, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(root.KeyID, root.Secret, "")})
	trust := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"ecr.amazonaws.com"},"Action":"sts:AssumeRole"}}`
	if _, err := users.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: aws.String("maker"),
		AssumeRolePolicyDocument: &trust}); err != nil {
		t.Fatal(err)
	}
	for _, team := range []string{"blue", "red"} {
		if _, err := root.ECR().CreateRepositoryCreationTemplate(t.Context(), &ecr.CreateRepositoryCreationTemplateInput{
			Prefix: aws.String("cache/" + team), AppliedFor: []types.RCTAppliedFor{types.RCTAppliedForPullThroughCache}, CustomRoleArn: &role,
			ResourceTags: []types.Tag{{Key: aws.String("team"), Value: &team}}}); err != nil {
			t.Fatal(err)
		}
	}
	docker := s.NewAccount(t, "111122223333").Docker(t)
	docker.Prefix = root.ID + "/" + root.Region + "/"
	statement := func(action, key string) string {
		return `{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"` + action + `","Resource":"arn:aws:ecr:` + root.Region + `:` +
			root.ID + `:repository/cache/*","Condition":{"StringEquals":{"` + key + `/team":"blue"}}}`
	}
	policy := func(creation, pull string) {
		t.Helper()
		text := `{"Version":"2012-10-17","Statement":[` + statement("ecr:CreateRepository", creation) + `,` +
			statement("ecr:BatchImportUpstreamImage", pull) + `,` + `{"Effect":"Allow","Principal":{"AWS":"111122223333"},
			"Action":"ecr:BatchGetImage","Resource":"*"}]}`
		if _, err := root.ECR().PutRegistryPolicy(t.Context(), &ecr.PutRegistryPolicyInput{PolicyText: &text}); err != nil {
			t.Fatal(err)
		}
	}
	policy("aws:ResourceTag", "aws:ResourceTag") // the creation has no resource yet
	docker.Repo("cache/blue/app").Manifest(t, "v1").Want(t, http.StatusNotFound)
	policy("aws:RequestTag", "aws:ResourceTag")
	docker.Repo("cache/red/app").Manifest(t, "v1").Want(t, http.StatusNotFound)
	docker.Repo("cache/other/app").Manifest(t, "v1").Want(t, http.StatusNotFound)
	if n := len(f.all()); n != 0 {
		t.Errorf("without rights: the other registry got %d requests, want none", n)
	}
	docker.Repo("cache/blue/app").Manifest(t, "v1").Want(t, http.StatusOK)
}
