package awsapi_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
)

// The client of aws-sdk-go-v2 can do and decode all operations in the life of an image.
func TestSDK(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	c, ctx := s.ecr(), t.Context()
	repo := aws.String("team/app")
	made, err := c.CreateRepository(ctx, &ecr.CreateRepositoryInput{RepositoryName: repo,
		Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("1")}}})
	if err != nil {
		t.Fatal(err)
	}
	if made.Repository.CreatedAt.IsZero() || made.Repository.ImageTagMutability != types.ImageTagMutabilityMutable {
		t.Errorf("CreateRepository: got %+v", made.Repository)
	}
	layer := []byte("{}")
	begun, err := c.InitiateLayerUpload(ctx, &ecr.InitiateLayerUploadInput{RepositoryName: repo})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.UploadLayerPart(ctx, &ecr.UploadLayerPartInput{
		RepositoryName: repo, UploadId: begun.UploadId, LayerPartBlob: layer, PartFirstByte: aws.Int64(7), PartLastByte: aws.Int64(8),
	})
	var part *types.InvalidLayerPartException
	if !errors.As(err, &part) || part.UploadId == nil || *part.UploadId != *begun.UploadId {
		t.Errorf("UploadLayerPart with a gap: got %v, want InvalidLayerPartException with the upload's id", err)
	}
	if _, err = c.UploadLayerPart(ctx, &ecr.UploadLayerPartInput{
		RepositoryName: repo, UploadId: begun.UploadId, LayerPartBlob: layer, PartFirstByte: aws.Int64(0), PartLastByte: aws.Int64(1),
	}); err != nil {
		t.Fatal(err)
	}
	done, err := c.CompleteLayerUpload(ctx, &ecr.CompleteLayerUploadInput{RepositoryName: repo, UploadId: begun.UploadId,
		LayerDigests: []string{digestOf("{}")}})
	if err != nil {
		t.Fatal(err)
	}
	m := aws.String(manifest("{}", nil))
	for _, tag := range []string{"a", "b", "c"} {
		if _, err := c.PutImage(ctx, &ecr.PutImageInput{RepositoryName: repo, ImageManifest: m, ImageTag: aws.String(tag)}); err != nil {
			t.Fatal(err)
		}
	}
	_, err = c.PutImage(ctx, &ecr.PutImageInput{RepositoryName: repo, ImageManifest: m, ImageTag: aws.String("a")})
	if e := (*types.ImageAlreadyExistsException)(nil); !errors.As(err, &e) {
		t.Errorf("PutImage again: got %v, want ImageAlreadyExistsException", err)
	}
	tags := 0
	for pages := ecr.NewListImagesPaginator(c, &ecr.ListImagesInput{RepositoryName: repo, MaxResults: aws.Int32(2)}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		tags += len(page.ImageIds)
	}
	if tags != 3 {
		t.Errorf("the paginator returned %d tags, want 3", tags)
	}
	link, err := c.GetDownloadUrlForLayer(ctx, &ecr.GetDownloadUrlForLayerInput{RepositoryName: repo, LayerDigest: done.LayerDigest})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get(*link.DownloadUrl)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got, err := io.ReadAll(resp.Body); err != nil || !bytes.Equal(got, layer) {
		t.Errorf("the layer is %q (%v), want %q", got, err, layer)
	}
	details, err := c.DescribeImages(ctx, &ecr.DescribeImagesInput{RepositoryName: repo})
	if err != nil || len(details.ImageDetails) != 1 || details.ImageDetails[0].ImagePushedAt == nil {
		t.Errorf("DescribeImages: got %+v, %v", details, err)
	}
	_, err = c.DeleteRepository(ctx, &ecr.DeleteRepositoryInput{RepositoryName: repo})
	if e := (*types.RepositoryNotEmptyException)(nil); !errors.As(err, &e) {
		t.Errorf("DeleteRepository: got %v, want RepositoryNotEmptyException", err)
	}
	if _, err := c.DeleteRepository(ctx, &ecr.DeleteRepositoryInput{RepositoryName: repo, Force: true}); err != nil {
		t.Fatal(err)
	}
	_, err = c.DescribeImages(ctx, &ecr.DescribeImagesInput{RepositoryName: repo})
	if e := (*types.RepositoryNotFoundException)(nil); !errors.As(err, &e) {
		t.Errorf("DescribeImages: got %v, want RepositoryNotFoundException", err)
	}
}
