package races_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// remade is a repository that is deleted and created again with the same name. The policy of the first repository
// allows a user everything, that of the second nothing.
type remade struct {
	*registry
	root   ocitest.Repo // the root user's client
	user   actor
	docker ocitest.Repo // the user's client
	image  ocitest.Image
	marked ocitest.Image // only in the second repository
}

func newRemade(t *testing.T) *remade {
	t.Helper()
	s := serve(t)
	r := &remade{registry: s, root: s.root.docker(t, repository), user: s.user(t, "limited")}
	r.image = ocitest.NewImage(1)
	r.docker = r.user.docker(t, repository)
	config := ocitest.Describe(ocitest.ConfigType, r.image.Config)
	r.marked.Manifest = ocitest.Manifest{
		SchemaVersion: 2, MediaType: ocitest.ImageType, Config: &config, Annotations: map[string]string{"n": mark},
	}.JSON()
	r.marked.Digest = ocitest.SHA256(r.marked.Manifest)
	return r
}

// mark is part of what the second repository, role or user has and the first does not have.
const mark = "second-one"

func (r *remade) create(t *testing.T, policy *string, resourceTags string, v1 ocitest.Image) {
	t.Helper()
	api := r.registry.root.ecr
	do(t, api.CreateRepository, ecr.CreateRepositoryInput{
		RepositoryName: aws.String(repository), Tags: []types.Tag{{Key: aws.String("team"), Value: &resourceTags}},
	})
	do(t, api.SetRepositoryPolicy, ecr.SetRepositoryPolicyInput{
		RepositoryName: aws.String(repository), PolicyText: policy, Force: true,
	})
	r.root.PutBlob(t, r.image.Config)
	r.root.PutManifest(t, "kept", ocitest.ImageType, r.image.Manifest).Want(t, http.StatusCreated)
	r.root.PutManifest(t, "v1", ocitest.ImageType, v1.Manifest).Want(t, http.StatusCreated)
}

// delete deletes the repository if it exists.
func (r *remade) delete(t *testing.T) {
	t.Helper()
	_, err := r.registry.root.ecr.DeleteRepository(context.WithoutCancel(t.Context()), &ecr.DeleteRepositoryInput{
		RepositoryName: aws.String(repository), Force: true,
	})
	if c := code(err); c != "" && c != "RepositoryNotFoundException" {
		t.Errorf("DeleteRepository: %v", err)
	}
}

func (r *remade) first(t *testing.T) {
	t.Helper()
	r.delete(t)
	r.create(t, document(grant("first", `{"AWS":"`+r.user.arn("user/limited")+`"}`, "ecr:*", timed)), "first", r.image)
}

func (r *remade) second(t *testing.T) {
	t.Helper()
	r.delete(t)
	r.create(t, document(grant(mark, `{"Service":"lambda.amazonaws.com"}`, "ecr:BatchGetImage", "")), mark, r.marked)
	r.root.PutManifest(t, mark, ocitest.ImageType, r.marked.Manifest).Want(t, http.StatusCreated)
	r.root.PutBlob(t, []byte(mark))
}

// state returns everything that the root user can read of the repository.
func (r *remade) state(t *testing.T) string {
	t.Helper()
	ctx, api, name := context.WithoutCancel(t.Context()), r.registry.root.ecr, aws.String(repository)
	repo, err1 := api.DescribeRepositories(ctx, &ecr.DescribeRepositoriesInput{RepositoryNames: []string{repository}})
	policy, err2 := api.GetRepositoryPolicy(ctx, &ecr.GetRepositoryPolicyInput{RepositoryName: name})
	images, err3 := api.ListImages(ctx, &ecr.ListImagesInput{RepositoryName: name})
	tags, err4 := api.ListTagsForResource(ctx, &ecr.ListTagsForResourceInput{ResourceArn: aws.String(r.arn())})
	return shown(repo, err1) + shown(policy, err2) + shown(images, err3) + shown(tags, err4)
}

func (r *remade) arn() string {
	return "arn:aws:ecr:" + r.Running.Region + ":" + r.Running.Account + ":repository/" + repository
}

// dockerCall sends a request of the OCI distribution API.
func dockerCall(t *testing.T, repo ocitest.Repo, method, path string, body []byte) string {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	a, err := repo.Try(ctx, method, repo.Path(path), bytes.NewReader(body), "Content-Type", ocitest.ImageType)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d %s %s", a.Status, a.Header.Get("Docker-Content-Digest"), a.Body)
}

// A permission by the policy of a repository is not a permission on a new repository with the same name: a request that
// was decided for the first repository does not change or show the second.
func TestRepositoryMadeAgain(t *testing.T) {
	t.Parallel()
	r, name := newRemade(t), aws.String(repository)
	byTag := []types.ImageIdentifier{{ImageTag: aws.String("v1")}}
	for _, request := range []struct {
		name string
		ask  func(t *testing.T) string
	}{
		{"docker GET manifest", func(t *testing.T) string {
			return dockerCall(t, r.docker, http.MethodGet, "/manifests/v1", nil)
		}},
		{"docker GET blob", func(t *testing.T) string {
			return dockerCall(t, r.docker, http.MethodGet, "/blobs/"+ocitest.SHA256([]byte(mark)), nil)
		}},
		{"docker GET tags", func(t *testing.T) string {
			return dockerCall(t, r.docker, http.MethodGet, "/tags/list", nil)
		}},
		{"docker PUT manifest", func(t *testing.T) string {
			return dockerCall(t, r.docker, http.MethodPut, "/manifests/more", r.image.Manifest)
		}},
		{"docker DELETE tag", func(t *testing.T) string {
			return dockerCall(t, r.docker, http.MethodDelete, "/manifests/v1", nil)
		}},
		{"docker DELETE digest", func(t *testing.T) string {
			return dockerCall(t, r.docker, http.MethodDelete, "/manifests/"+r.image.Digest, nil)
		}},
		{"BatchGetImage", func(t *testing.T) string {
			return call(t, r.user.ecr.BatchGetImage, ecr.BatchGetImageInput{RepositoryName: name, ImageIds: byTag})
		}},
		{"ListImages", func(t *testing.T) string {
			return call(t, r.user.ecr.ListImages, ecr.ListImagesInput{RepositoryName: name})
		}},
		{"DescribeImages", func(t *testing.T) string {
			return call(t, r.user.ecr.DescribeImages, ecr.DescribeImagesInput{RepositoryName: name})
		}},
		{"GetRepositoryPolicy", func(t *testing.T) string {
			return call(t, r.user.ecr.GetRepositoryPolicy, ecr.GetRepositoryPolicyInput{RepositoryName: name})
		}},
		{"ListTagsForResource", func(t *testing.T) string {
			return call(t, r.user.ecr.ListTagsForResource, ecr.ListTagsForResourceInput{
				ResourceArn: aws.String(r.arn()),
			})
		}},
		{"PutImage", func(t *testing.T) string {
			return call(t, r.user.ecr.PutImage, ecr.PutImageInput{
				RepositoryName: name, ImageManifest: aws.String(string(r.image.Manifest)), ImageTag: aws.String("more"),
			})
		}},
		{"BatchDeleteImage by tag", func(t *testing.T) string {
			return call(t, r.user.ecr.BatchDeleteImage, ecr.BatchDeleteImageInput{
				RepositoryName: name, ImageIds: byTag,
			})
		}},
		{"BatchDeleteImage by digest", func(t *testing.T) string {
			return call(t, r.user.ecr.BatchDeleteImage, ecr.BatchDeleteImageInput{
				RepositoryName: name, ImageIds: []types.ImageIdentifier{{ImageDigest: &r.image.Digest}},
			})
		}},
		{"SetRepositoryPolicy", func(t *testing.T) string {
			return call(t, r.user.ecr.SetRepositoryPolicy, ecr.SetRepositoryPolicyInput{
				RepositoryName: name, Force: true, PolicyText: document(grant("", `"*"`, "ecr:*", "")),
			})
		}},
		{"DeleteRepositoryPolicy", func(t *testing.T) string {
			return call(t, r.user.ecr.DeleteRepositoryPolicy, ecr.DeleteRepositoryPolicyInput{RepositoryName: name})
		}},
		{"PutImageTagMutability", func(t *testing.T) string {
			return call(t, r.user.ecr.PutImageTagMutability, ecr.PutImageTagMutabilityInput{
				RepositoryName: name, ImageTagMutability: types.ImageTagMutabilityImmutable,
			})
		}},
		{"TagResource", func(t *testing.T) string {
			return call(t, r.user.ecr.TagResource, ecr.TagResourceInput{
				ResourceArn: aws.String(r.arn()),
				Tags:        []types.Tag{{Key: aws.String("owner"), Value: aws.String("me")}},
			})
		}},
		{"UntagResource", func(t *testing.T) string {
			return call(t, r.user.ecr.UntagResource, ecr.UntagResourceInput{
				ResourceArn: aws.String(r.arn()), TagKeys: []string{"team"},
			})
		}},
		{"DeleteRepository", func(t *testing.T) string {
			return call(t, r.user.ecr.DeleteRepository, ecr.DeleteRepositoryInput{RepositoryName: name, Force: true})
		}},
	} {
		t.Run(request.name, func(t *testing.T) {
			var answer, want string
			step(t, r.clock, func() { r.first(t) }, func() string {
				answer = request.ask(t)
				return answer
			}, func() {
				r.second(t)
				want = r.state(t)
			}, func(at string) {
				same(t, "the repository made again, "+at, r.state(t), want)
				if strings.Contains(answer, mark) || strings.Contains(answer, r.marked.Digest) {
					t.Errorf("the answer shows the second repository, %s", at)
				}
			})
		})
	}
}
