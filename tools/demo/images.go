package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// moveTag puts a tag on another manifest first and then moves it to the image, without pulling or pushing
// layers. The other manifest is a part of the image, or an index of the image if it has no parts.
func (v *visitor) moveTag(ctx context.Context) error {
	const get = `"$(aws ecr batch-get-image --repository-name %s --image-ids %s --query 'images[0].imageManifest' --output text)"`
	put := fmt.Sprintf("aws ecr put-image --repository-name %s --image-tag %s --image-manifest ", repository, movedTag)
	title := "Give a tag to one image, then move it to another"

	manifests := v.image.Manifests()
	v.untagged = manifests[1:]
	if len(v.untagged) > 0 {
		id := types.ImageIdentifier{ImageDigest: aws.String(v.untagged[0].Digest.String())}
		v.out.step(title, put+get, repository, "imageDigest="+*id.ImageDigest)
		if err := v.retag(ctx, id); err != nil {
			return err
		}
	} else {
		index, err := json.Marshal(ocispec.Index{
			Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: manifests,
		})
		if err != nil {
			return fmt.Errorf("encoding an index: %w", err)
		}
		v.untagged = []ocispec.Descriptor{{MediaType: ocispec.MediaTypeImageIndex, Digest: digest.FromBytes(index), Size: int64(len(index))}}
		v.out.step(title, "%s%s", put, shell([]string{string(index)}))
		if err := v.putImage(ctx, string(index), ocispec.MediaTypeImageIndex); err != nil {
			return err
		}
	}
	if err := v.tagIsOn(ctx, v.untagged[0]); err != nil {
		return err
	}
	v.out.also(put+get, repository, "imageTag="+firstTag)
	if err := v.retag(ctx, types.ImageIdentifier{ImageTag: aws.String(firstTag)}); err != nil {
		return err
	}
	return v.tagIsOn(ctx, v.image.Root)
}

// retag puts the manifest with the id again, with the moved tag.
func (v *visitor) retag(ctx context.Context, id types.ImageIdentifier) error {
	image, err := v.getImage(ctx, id)
	if err != nil {
		return err
	}
	return v.putImage(ctx, aws.ToString(image.ImageManifest), aws.ToString(image.ImageManifestMediaType))
}

// getImage gets an image and checks that the manifest has the digest in the response.
func (v *visitor) getImage(ctx context.Context, id types.ImageIdentifier) (*types.Image, error) {
	answer, err := v.cloud.BatchGetImage(ctx, &ecr.BatchGetImageInput{RepositoryName: aws.String(repository),
		ImageIds: []types.ImageIdentifier{id}})
	if err != nil {
		return nil, err
	}
	if len(answer.Images) != 1 || len(answer.Failures) != 0 || answer.Images[0].ImageId == nil {
		return nil, fmt.Errorf("BatchGetImage returned %d images, and failures %v", len(answer.Images), answer.Failures)
	}
	image := &answer.Images[0]
	got, claimed := digest.FromString(aws.ToString(image.ImageManifest)), aws.ToString(image.ImageId.ImageDigest)
	if got.String() != claimed {
		return nil, differs("the digest of the manifest in BatchGetImage", claimed, got)
	}
	return image, nil
}

func (v *visitor) putImage(ctx context.Context, manifest, mediaType string) error {
	answer, err := v.cloud.PutImage(ctx, &ecr.PutImageInput{
		RepositoryName: aws.String(repository), ImageManifest: &manifest, ImageManifestMediaType: &mediaType, ImageTag: aws.String(movedTag),
	})
	if err != nil {
		return err
	}
	want := digest.FromString(manifest).String()
	if answer.Image == nil || answer.Image.ImageId == nil || aws.ToString(answer.Image.ImageId.ImageDigest) != want {
		return differs("the image of PutImage", want, answer.Image)
	}
	return nil
}

func (v *visitor) tagIsOn(ctx context.Context, want ocispec.Descriptor) error {
	image, err := v.getImage(ctx, types.ImageIdentifier{ImageTag: aws.String(movedTag)})
	if err != nil {
		return err
	}
	if got := aws.ToString(image.ImageId.ImageDigest); got != want.Digest.String() {
		return differs("the image with the tag "+movedTag, want.Digest, got)
	}
	v.out.note("%s is %s", movedTag, want.Digest)
	return nil
}

// list checks that both listings of the repository have exactly the expected entries.
func (v *visitor) list(ctx context.Context) error {
	v.out.step("List the images", "aws ecr list-images --repository-name %s", repository)
	want := []string{imageLine(v.image.Root.Digest.String(), firstTag), imageLine(v.image.Root.Digest.String(), movedTag)}
	for _, d := range v.untagged {
		want = append(want, imageLine(d.Digest.String(), ""))
	}
	var got []string
	pages := ecr.NewListImagesPaginator(v.cloud, &ecr.ListImagesInput{RepositoryName: aws.String(repository)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, id := range page.ImageIds {
			got = append(got, imageLine(aws.ToString(id.ImageDigest), aws.ToString(id.ImageTag)))
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		return differs("the list of images", want, got)
	}
	for _, line := range got {
		v.out.note("%s", line)
	}

	v.out.also("skopeo list-tags --tls-verify=false docker://%s", v.uri)
	var tags []string
	if err := v.docker.Tags(ctx, "", func(page []string) error { tags = append(tags, page...); return nil }); err != nil {
		return err
	}
	slices.Sort(tags)
	if want := []string{movedTag, firstTag}; !slices.Equal(tags, want) {
		return differs("the list of tags", want, tags)
	}
	v.out.note("%s", strings.Join(tags, " "))
	return nil
}

func imageLine(digest, tag string) string { return digest + " " + cmp.Or(tag, "(no tag)") }

func (v *visitor) describe(ctx context.Context) error {
	v.out.step("Describe the image", "aws ecr describe-images --repository-name %s --image-ids imageTag=%s", repository, movedTag)
	answer, err := v.cloud.DescribeImages(ctx, &ecr.DescribeImagesInput{
		RepositoryName: aws.String(repository), ImageIds: []types.ImageIdentifier{{ImageTag: aws.String(movedTag)}},
	})
	if err != nil {
		return err
	}
	if len(answer.ImageDetails) != 1 {
		return differs("the number of images described", 1, len(answer.ImageDetails))
	}
	image := answer.ImageDetails[0]
	slices.Sort(image.ImageTags)
	type seen struct{ digest, mediaType, tags string }
	got := seen{aws.ToString(image.ImageDigest), aws.ToString(image.ImageManifestMediaType), strings.Join(image.ImageTags, " ")}
	want := seen{v.image.Root.Digest.String(), v.image.Root.MediaType, movedTag + " " + firstTag}
	if got != want {
		return differs("the description", want, got)
	}
	bytes, pushed := aws.ToInt64(image.ImageSizeInBytes), aws.ToTime(image.ImagePushedAt)
	if bytes <= 0 || bytes > v.image.Size() {
		return differs("the image's size in bytes", fmt.Sprintf("1 to %d", v.image.Size()), bytes)
	}
	if age := time.Since(pushed); age < -time.Minute || age > time.Hour {
		return differs("the time of the push", "just now", pushed)
	}
	v.out.note("%s, tags %s, %s, pushed %s", got.mediaType, got.tags, size(bytes), pushed.Local().Format(time.DateTime))
	return nil
}
