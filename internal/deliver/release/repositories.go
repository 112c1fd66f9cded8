package release

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/ecrin-dev/ecrin/internal/rule/apptemplate"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// ApplicationTag is the tag of repositories that belong to an application, with its name.
const ApplicationTag = "release:application"

// buildActions are the actions of who pushes what it has built. Source: ECR user guide, pushing an image.
var buildActions = []string{"ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload", "ecr:PutImage",
	"ecr:BatchCheckLayerAvailability"}

// Owners says where the repositories of an application are, and who uses them.
type Owners struct {
	Registry name.Registry
	App      string           // name of the application
	Puller   policy.Principal // of the cluster
	Builder  policy.Principal // that pushes
}

// Made is a repository of an application.
type Made struct {
	Image      string   `json:"image"` // as the template names it
	Repository string   `json:"repositoryName"`
	URI        string   `json:"repositoryUri"`
	Services   []string `json:"services"`
	Created    bool     `json:"created"`
	PolicySet  bool     `json:"policySet"` // a statement was missing
}

// MakeRepositories makes the repositories of the images of an application, those that are not there yet, and adds to their policies what
// is missing: that the cluster may pull, and the builder push. It can be repeated, also after it was interrupted.
//
// Errors: a repository is there and belongs to something else; those of the server.
func (s *Server) MakeRepositories(ctx context.Context, o Owners, images []apptemplate.Image) ([]Made, error) {
	calls, err := s.client(ctx, o.Registry)
	if err != nil {
		return nil, err
	}
	all := []Made{}
	for _, i := range images {
		m := Made{Image: i.Logical, Repository: i.Repository.String(), Services: append([]string{}, i.Services...)}
		if err := m.create(ctx, calls, o); err != nil {
			return all, err
		}
		if err := m.permit(ctx, calls, o); err != nil {
			return all, err
		}
		all = append(all, m)
	}
	return all, nil
}

// create makes the repository, or finds out that it is there and belongs to the application.
func (m *Made) create(ctx context.Context, calls *ecr.Client, o Owners) error {
	made, err := calls.CreateRepository(ctx, &ecr.CreateRepositoryInput{RepositoryName: &m.Repository,
		ImageTagMutability:         types.ImageTagMutabilityMutable,
		ImageScanningConfiguration: &types.ImageScanningConfiguration{ScanOnPush: false},
		Tags:                       []types.Tag{{Key: aws.String(ApplicationTag), Value: &o.App}}})
	if err == nil {
		m.Created, m.URI = true, aws.ToString(made.Repository.RepositoryUri)
		return nil
	}
	if there := (*types.RepositoryAlreadyExistsException)(nil); !errors.As(err, &there) {
		return fmt.Errorf("making the repository %s: %w", m.Repository, err)
	}
	found, err := calls.DescribeRepositories(ctx, &ecr.DescribeRepositoriesInput{RepositoryNames: []string{m.Repository}})
	if err != nil {
		return fmt.Errorf("reading the repository %s: %w", m.Repository, err)
	}
	m.URI = aws.ToString(found.Repositories[0].RepositoryUri)
	tags, err := calls.ListTagsForResource(ctx, &ecr.ListTagsForResourceInput{ResourceArn: found.Repositories[0].RepositoryArn})
	if err != nil {
		return fmt.Errorf("reading the tags of the repository %s: %w", m.Repository, err)
	}
	of := "has no tag " + ApplicationTag
	for _, t := range tags.Tags {
		if aws.ToString(t.Key) != ApplicationTag {
			continue
		}
		if aws.ToString(t.Value) == o.App {
			return nil
		}
		of = "belongs to the application " + aws.ToString(t.Value)
	}
	return fmt.Errorf("RepositoryAlreadyExistsException: the repository %s of the account %s %s, so that it is not that of %s: "+
		"name the image otherwise, or tag the repository: aws ecr tag-resource --resource-arn %s --tags Key=%s,Value=%s", m.Repository,
		o.Registry.Account, of, o.App, aws.ToString(found.Repositories[0].RepositoryArn), ApplicationTag, o.App)
}

// permit adds the two statements to the policy, what is there stays.
func (m *Made) permit(ctx context.Context, calls *ecr.Client, o Owners) error {
	var existing *policy.Document
	out, err := calls.GetRepositoryPolicy(ctx, &ecr.GetRepositoryPolicyInput{RepositoryName: &m.Repository})
	none := (*types.RepositoryPolicyNotFoundException)(nil)
	switch {
	case errors.As(err, &none):
	case err != nil:
		return fmt.Errorf("reading the policy of %s: %w", m.Repository, err)
	default:
		if existing, err = policy.ParseStored(aws.ToString(out.PolicyText), policy.Repository); err != nil {
			return fmt.Errorf("the policy of %s: %w", m.Repository, err)
		}
	}
	d, pull, _ := policy.Grant(existing, o.Puller, policy.PullActions(), policy.PullSid)
	d, push, _ := policy.Grant(d, o.Builder, buildActions, policy.PushSid)
	if !pull && !push {
		return nil
	}
	text := d.String()
	if _, err := calls.SetRepositoryPolicy(ctx, &ecr.SetRepositoryPolicyInput{RepositoryName: &m.Repository, PolicyText: &text}); err != nil {
		return fmt.Errorf("setting the policy of %s: %w", m.Repository, err)
	}
	m.PolicySet = true
	return nil
}
