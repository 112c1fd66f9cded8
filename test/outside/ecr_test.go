package outside_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrsdk "github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/farside"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// users returns a client of IAM.
func users(a apptest.Account, s *apptest.Server) *iam.Client {
	return iam.New(iam.Options{Region: a.Region, BaseEndpoint: &s.URL, HTTPClient: s.HTTP, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(a.KeyID, a.Secret, "")})
}

// Images arrive at a registry that answers as ECR does, found by registry id and region alone, while its tokens end in mid-copy. The test
// of the integration passes there.
func TestReplicationToECR(t *testing.T) {
	t.Parallel()
	far := apptest.Start(t, apptest.Options{Config: func(c *config.Config) { c.StrictECR = "all" }})
	e := farside.NewECR(t, far)
	n := apptest.Start(t, apptest.Options{Config: e.Configure})
	there, root := far.Root(t), n.Root(t)
	add(t, n, ecrintypes.CreateIntegrationRequest{IntegrationName: "aws", Kind: "ECR", RemoteRegistryId: there.ID,
		RemoteRegion: there.Region, AwsAccessKeyId: there.KeyID, AwsSecretAccessKey: there.Secret,
		ReplicatesTo: &ecrintypes.ReplicationTarget{RegistryId: *branch.RegistryId, Region: *branch.Region}})
	if got := test(t, n, ecrintypes.TestIntegrationRequest{IntegrationName: "aws"}); !got.Passed {
		t.Errorf("the test of the integration: got %s", shown(got))
	}
	e.EndTokens(12, http.StatusUnauthorized)
	replicate(t, root, branch)
	repo := root.CreateRepository(t, "team/app")
	for i := range 3 {
		im := ocitest.NewImage(uint64(i+1), 1000, 200_000)
		repo.Push(t, "v1", im)
		complete(t, root, "team/app", im.Digest)
		pulls(t, far, "team/app", "v1", im)
	}
}

// Who may set replication rules may not thereby use the credentials of an integration.
func TestReplicationRulesNeedTheUseOfIntegrations(t *testing.T) {
	t.Parallel()
	n, _, _ := pair(t, nil)
	root := n.Root(t)
	u := users(root, n)
	ctx := t.Context()
	if _, err := u.CreateUser(ctx, &iam.CreateUserInput{UserName: aws.String("admin")}); err != nil {
		t.Fatal(err)
	}
	key, err := u.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: aws.String("admin")})
	if err != nil {
		t.Fatal(err)
	}
	client := ecr.New(ecr.Options{Region: root.Region, BaseEndpoint: &n.URL, HTTPClient: n.HTTP, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(*key.AccessKey.AccessKeyId, *key.AccessKey.SecretAccessKey, "")})
	set := func(actions string) error {
		t.Helper()
		policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":` + actions + `,"Resource":"*"}]}`
		if _, err := u.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: aws.String("admin"), PolicyName: aws.String("p"),
			PolicyDocument: &policy}); err != nil {
			t.Fatal(err)
		}
		_, err := client.PutReplicationConfiguration(ctx, &ecr.PutReplicationConfigurationInput{
			ReplicationConfiguration: &ecrsdk.ReplicationConfiguration{Rules: []ecrsdk.ReplicationRule{{
				Destinations: []ecrsdk.ReplicationDestination{branch}}}}})
		return err
	}
	if err := set(`"ecr:*"`); err == nil || !strings.Contains(err.Error(), "ecrin:UseIntegration on resource: arn:aws:ecrin::"+root.ID+
		":integration/branch") {
		t.Errorf("without ecrin:UseIntegration: got %v, want a denial that names it", err)
	}
	if err := set(`["ecr:*","ecrin:UseIntegration"]`); err != nil {
		t.Errorf("with ecrin:UseIntegration: got %v", err)
	}
}
