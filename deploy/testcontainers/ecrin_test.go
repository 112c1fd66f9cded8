package testcontainers_test

import (
	"os"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	tc "github.com/testcontainers/testcontainers-go"

	"github.com/ecrin-dev/ecrin/deploy/testcontainers"
)

const seed = `
accounts:
  "000000000000":
    registries:
      us-east-1:
        repositories:
          team/app:
            policy:
              Version: "2012-10-17"
              Statement: {Effect: Allow, Principal: {AWS: "arn:aws:iam::111122223333:user/puller"}, Action: "ecr:DescribeImages"}
  "111122223333":
    users:
      puller: {keys: true, policies: ["arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly"]}
`

// TestCrossAccount: what a policy allows to a user of another account is allowed, and denied after the policy is removed. It needs a
// container engine, and the image in ECRIN_IMAGE.
func TestCrossAccount(t *testing.T) {
	image := os.Getenv("ECRIN_IMAGE")
	if image == "" {
		t.Skip("ECRIN_IMAGE is not set: the image of `make image`, in the container engine")
	}
	server, err := testcontainers.Run(t.Context(), image, testcontainers.WithSeed([]byte(seed)))
	tc.CleanupContainer(t, server.Container)
	if err != nil {
		t.Fatal(err)
	}
	puller, err := server.User(t.Context(), "111122223333", "puller")
	if err != nil {
		t.Fatal(err)
	}
	client := ecr.New(ecr.Options{Region: puller.Region, BaseEndpoint: &server.URL,
		Credentials: credentials.NewStaticCredentialsProvider(puller.AccessKeyID, puller.SecretAccessKey, "")})
	describe := &ecr.DescribeImagesInput{RegistryId: aws.String("000000000000"), RepositoryName: aws.String("team/app")}
	if _, err := client.DescribeImages(t.Context(), describe); err != nil {
		t.Errorf("as the policy allows: %v", err)
	}
	_, err = server.Command(t.Context(), "policy", "remove", "team/app")
	if _, denied := client.DescribeImages(t.Context(), describe); err != nil || denied == nil {
		t.Errorf("without the policy: got %v, %v, want a denial", err, denied)
	}
}
