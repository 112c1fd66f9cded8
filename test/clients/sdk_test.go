package clients_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/opencontainers/go-digest"
)

// awsSDK pushes and pulls with the API of the SDK, and checks its typed errors.
func awsSDK(s *session) {
	t := s.t
	ctx := t.Context()
	api := s.s.sdk(t, account, region)
	const repo = "clients/aws-sdk-go-v2"
	repoName := aws.String(repo)

	made, err := api.CreateRepository(ctx, &ecr.CreateRepositoryInput{
		RepositoryName: repoName, Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("clients")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	tags, err := api.ListTagsForResource(ctx, &ecr.ListTagsForResourceInput{ResourceArn: made.Repository.RepositoryArn})
	if err != nil || len(tags.Tags) != 1 || aws.ToString(tags.Tags[0].Value) != "clients" {
		t.Errorf("ListTagsForResource: got %+v, error %v, want team=clients", tags, err)
	}
	var exists *types.RepositoryAlreadyExistsException
	if _, err := api.CreateRepository(ctx, &ecr.CreateRepositoryInput{RepositoryName: repoName}); !errors.As(err, &exists) {
		t.Errorf("CreateRepository twice: got %v, want RepositoryAlreadyExistsException", err)
	}
	s.wantLogin(s.password())

	img := theImage(t)
	for _, d := range append([]digest.Digest{img.config}, digests(img.layers)...) {
		uploadLayer(t, api, repo, blobPath(img.layout, d), d)
	}
	manifest, err := os.ReadFile(blobPath(img.layout, img.native))
	if err != nil {
		t.Fatal(err)
	}
	put := func(tag string) error {
		_, err := api.PutImage(ctx, &ecr.PutImageInput{RepositoryName: repoName,
			ImageManifest: aws.String(string(manifest)), ImageTag: &tag, ImageDigest: aws.String(img.native.String())})
		return err
	}
	for i := range 7 {
		if err := put(fmt.Sprintf("v%d", i)); err != nil {
			t.Fatalf("PutImage v%d: %v", i, err)
		}
	}
	var already *types.ImageAlreadyExistsException
	if err := put("v0"); !errors.As(err, &already) {
		t.Errorf("PutImage twice: got %v, want ImageAlreadyExistsException", err)
	}
	s.s.wantManifest(t, repo, "v6", img.native)

	// Pages of three: the paginator must end, and return every tag once.
	var listed []string
	pages := ecr.NewListImagesPaginator(api, &ecr.ListImagesInput{RepositoryName: repoName, MaxResults: aws.Int32(3)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range page.ImageIds {
			listed = append(listed, aws.ToString(id.ImageTag))
		}
	}
	slices.Sort(listed)
	if want := []string{"v0", "v1", "v2", "v3", "v4", "v5", "v6"}; !slices.Equal(listed, want) {
		t.Errorf("ListImages by threes: got %v, want %v", listed, want)
	}

	got, err := api.BatchGetImage(ctx, &ecr.BatchGetImageInput{RepositoryName: repoName, ImageIds: []types.ImageIdentifier{
		{ImageTag: aws.String("v3")}, {ImageTag: aws.String("missing")},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Images) != 1 || aws.ToString(got.Images[0].ImageManifest) != string(manifest) {
		t.Errorf("BatchGetImage: got %d images, want the manifest of v3", len(got.Images))
	}
	if len(got.Failures) != 1 || got.Failures[0].FailureCode != types.ImageFailureCodeImageNotFound {
		t.Errorf("BatchGetImage: got failures %+v, want ImageNotFound for the missing tag", got.Failures)
	}
	layer := img.layers[0].Digest
	where, err := api.GetDownloadUrlForLayer(ctx, &ecr.GetDownloadUrlForLayerInput{RepositoryName: repoName,
		LayerDigest: aws.String(layer.String())})
	if err != nil {
		t.Fatal(err)
	}
	content, err := s.s.get(ctx, aws.ToString(where.DownloadUrl))
	if err != nil || digest.FromBytes(content) != layer {
		t.Errorf("the download URL of %s returned %d bytes, error %v", layer, len(content), err)
	}
	immutableTags(t, api, repo, string(manifest), s)

	if _, err := api.BatchDeleteImage(ctx, &ecr.BatchDeleteImageInput{RepositoryName: repoName,
		ImageIds: []types.ImageIdentifier{{ImageDigest: aws.String(img.native.String())}}}); err != nil {
		t.Errorf("BatchDeleteImage: %v", err)
	}
	s.s.wantGone(t, repo, "v0")
	var missing *types.ImageNotFoundException
	_, err = api.DescribeImages(ctx, &ecr.DescribeImagesInput{RepositoryName: repoName,
		ImageIds: []types.ImageIdentifier{{ImageTag: aws.String("v0")}}})
	if !errors.As(err, &missing) {
		t.Errorf("DescribeImages of a deleted tag: got %v, want ImageNotFoundException", err)
	}
}

// immutableTags makes tags immutable: a tag cannot move by the ECR API, nor by a push with the OCI API.
func immutableTags(t *testing.T, api *ecr.Client, repo, manifest string, s *session) {
	t.Helper()
	ctx := t.Context()
	_, err := api.PutImageTagMutability(ctx, &ecr.PutImageTagMutabilityInput{
		RepositoryName: &repo, ImageTagMutability: types.ImageTagMutabilityImmutable})
	if err != nil {
		t.Fatal(err)
	}
	img := theImage(t)
	other := orasRepo(t, s.s, s.s.ref(repo), s.password())
	copyLayout(t, img, other, "fresh")
	var taken *types.ImageTagAlreadyExistsException
	_, err = api.PutImage(ctx, &ecr.PutImageInput{RepositoryName: &repo, ImageManifest: &manifest, ImageTag: aws.String("fresh")})
	if !errors.As(err, &taken) {
		t.Errorf("PutImage over an immutable tag: got %v, want ImageTagAlreadyExistsException", err)
	}
	index, err := other.Resolve(ctx, "fresh")
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Tag(ctx, index, "v0"); err == nil {
		t.Errorf("an OCI push moved the immutable tag v0 to %s", index.Digest)
	}
	s.s.wantManifest(t, repo, "v0", img.native)
	if err := other.Delete(ctx, index); err != nil { // the index refers to the image that the caller deletes next
		t.Errorf("deleting the index: %v", err)
	}
}

// uploadLayer sends a file as one part.
func uploadLayer(t *testing.T, api *ecr.Client, repo, path string, want digest.Digest) {
	t.Helper()
	ctx := t.Context()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	start, err := api.InitiateLayerUpload(ctx, &ecr.InitiateLayerUploadInput{RepositoryName: &repo})
	if err != nil {
		t.Fatal(err)
	}
	_, err = api.UploadLayerPart(ctx, &ecr.UploadLayerPartInput{RepositoryName: &repo, UploadId: start.UploadId,
		PartFirstByte: aws.Int64(0), PartLastByte: aws.Int64(int64(len(content)) - 1), LayerPartBlob: content})
	if err != nil {
		t.Fatal(err)
	}
	done, err := api.CompleteLayerUpload(ctx, &ecr.CompleteLayerUploadInput{RepositoryName: &repo, UploadId: start.UploadId,
		LayerDigests: []string{want.String()}})
	if err != nil {
		t.Fatal(err)
	}
	if got := aws.ToString(done.LayerDigest); got != want.String() {
		t.Errorf("CompleteLayerUpload: got %s, want %s", got, want)
	}
}
