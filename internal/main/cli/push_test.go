package cli_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/ecrin-dev/ecrin/internal/main/client"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

// api returns a client of the ECR API for the server of a data directory, as root of the default account.
func api(ctx context.Context, data string) (*ecr.Client, error) { return apiOf(ctx, data, "") }

// apiOf is api as root of an account, "" for the default one.
func apiOf(ctx context.Context, data, account string) (*ecr.Client, error) {
	c, err := client.Open(data, "")
	if err != nil {
		return nil, err
	}
	var k ecrintypes.GetAccountCredentialsResponse
	if err := c.Call(ctx, "GetAccountCredentials", &ecrintypes.GetAccountCredentialsRequest{AccountId: account}, &k); err != nil {
		return nil, err
	}
	return ecr.New(ecr.Options{
		Region: k.Region, BaseEndpoint: &c.Server.URL, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(k.AccessKey.AccessKeyId, k.AccessKey.SecretAccessKey, ""),
	}), nil
}

// users returns a client of the IAM API for the server of a data directory, as root of the default account.
func users(ctx context.Context, data string) (*iam.Client, error) {
	c, err := client.Open(data, "")
	if err != nil {
		return nil, err
	}
	var k ecrintypes.GetAccountCredentialsResponse
	if err := c.Call(ctx, "GetAccountCredentials", &ecrintypes.GetAccountCredentialsRequest{}, &k); err != nil {
		return nil, err
	}
	return iam.New(iam.Options{
		Region: k.Region, BaseEndpoint: &c.Server.URL, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(k.AccessKey.AccessKeyId, k.AccessKey.SecretAccessKey, ""),
	}), nil
}

// createRole creates a role of the default account that the account trusts.
func createRole(ctx context.Context, data, role string) error {
	users, err := users(ctx, data)
	if err != nil {
		return err
	}
	trust := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"000000000000"},"Action":"sts:AssumeRole"}}`
	_, err = users.CreateRole(ctx, &iam.CreateRoleInput{RoleName: &role, AssumeRolePolicyDocument: &trust})
	return err
}

// userKey creates a user of the default account with an access key, and returns the id of the key.
func userKey(ctx context.Context, data, user string) (string, error) {
	users, err := users(ctx, data)
	if err != nil {
		return "", err
	}
	if _, err := users.CreateUser(ctx, &iam.CreateUserInput{UserName: &user}); err != nil {
		return "", err
	}
	out, err := users.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: &user})
	if err != nil {
		return "", err
	}
	return aws.ToString(out.AccessKey.AccessKeyId), nil
}

// push stores an image whose config is seed, and returns its digest. With tag "" the image is untagged.
func push(ctx context.Context, data, repo, tag, seed string) (digest string, err error) {
	c, err := api(ctx, data)
	if err != nil {
		return "", err
	}
	_, err = c.CreateRepository(ctx, &ecr.CreateRepositoryInput{RepositoryName: &repo})
	if e := (*types.RepositoryAlreadyExistsException)(nil); err != nil && !errors.As(err, &e) {
		return "", err
	}
	begun, err := c.InitiateLayerUpload(ctx, &ecr.InitiateLayerUploadInput{RepositoryName: &repo})
	if err != nil {
		return "", err
	}
	config := []byte(fmt.Sprintf("{%q:1}", seed))
	if _, err := c.UploadLayerPart(ctx, &ecr.UploadLayerPartInput{
		RepositoryName: &repo, UploadId: begun.UploadId, LayerPartBlob: config, PartFirstByte: aws.Int64(0),
		PartLastByte: aws.Int64(int64(len(config) - 1)),
	}); err != nil {
		return "", err
	}
	layer := fmt.Sprintf("sha256:%x", sha256.Sum256(config))
	_, err = c.CompleteLayerUpload(ctx, &ecr.CompleteLayerUploadInput{RepositoryName: &repo, UploadId: begun.UploadId,
		LayerDigests: []string{layer}})
	if e := (*types.LayerAlreadyExistsException)(nil); err != nil && !errors.As(err, &e) {
		return "", err
	}
	m := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
		"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":%d},"layers":[]}`, layer, len(config))
	in := &ecr.PutImageInput{RepositoryName: &repo, ImageManifest: &m}
	if tag != "" {
		in.ImageTag = &tag
	}
	out, err := c.PutImage(ctx, in)
	if err != nil {
		return "", err
	}
	return *out.Image.ImageId.ImageDigest, nil
}

// deleteImage deletes an image by the ECR API.
func deleteImage(ctx context.Context, data, repo, digest string) error {
	c, err := api(ctx, data)
	if err != nil {
		return err
	}
	_, err = c.BatchDeleteImage(ctx, &ecr.BatchDeleteImageInput{RepositoryName: &repo,
		ImageIds: []types.ImageIdentifier{{ImageDigest: &digest}}})
	return err
}

// ask describes the images of a repository of the default registry as root of an account, and returns the id of the
// request, whether it was allowed or not.
func ask(ctx context.Context, data, account, repo string) (id string, err error) {
	c, err := apiOf(ctx, data, account)
	if err != nil {
		return "", err
	}
	out, err := c.DescribeImages(ctx, &ecr.DescribeImagesInput{RegistryId: aws.String("000000000000"), RepositoryName: &repo})
	if err == nil {
		id, _ = awsmiddleware.GetRequestIDMetadata(out.ResultMetadata)
		return id, nil
	}
	if answer := (interface{ ServiceRequestID() string })(nil); errors.As(err, &answer) {
		return answer.ServiceRequestID(), nil
	}
	return "", err
}
