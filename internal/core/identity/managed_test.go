package identity_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
)

// Contract 5.7: the managed policies of ECR have their ARNs, versions and exact actions.
func TestContract57ManagedPolicies(t *testing.T) {
	t.Parallel()
	for policyName, want := range map[string]struct {
		version int
		linked  bool
		actions string
	}{
		"AmazonEC2ContainerRegistryReadOnly": {3, false,
			"ecr:BatchCheckLayerAvailability ecr:BatchGetImage ecr:DescribeImageScanFindings ecr:DescribeImages ecr:DescribeRepositories ecr:GetAuthorizationToken ecr:GetDownloadUrlForLayer ecr:GetLifecyclePolicy ecr:GetLifecyclePolicyPreview ecr:GetRepositoryPolicy ecr:ListImages ecr:ListTagsForResource"},
		"AmazonEC2ContainerRegistryPullOnly": {1, false,
			"ecr:BatchGetImage ecr:BatchImportUpstreamImage ecr:GetAuthorizationToken ecr:GetDownloadUrlForLayer"},
		"AmazonEC2ContainerRegistryPowerUser": {3, false,
			"ecr:BatchCheckLayerAvailability ecr:BatchGetImage ecr:CompleteLayerUpload ecr:DescribeImageScanFindings ecr:DescribeImages ecr:DescribeRepositories ecr:GetAuthorizationToken ecr:GetDownloadUrlForLayer ecr:GetLifecyclePolicy ecr:GetLifecyclePolicyPreview ecr:GetRepositoryPolicy ecr:InitiateLayerUpload ecr:ListImages ecr:ListTagsForResource ecr:PutImage ecr:UploadLayerPart"},
		"AmazonEC2ContainerRegistryFullAccess": {3, false, "cloudtrail:LookupEvents ecr:* iam:CreateServiceLinkedRole"},
		"AWSECRPullThroughCache_ServiceRolePolicy": {4, true,
			"ecr:BatchCheckLayerAvailability ecr:BatchGetImage ecr:BatchImportUpstreamImage ecr:CompleteLayerUpload ecr:GetAuthorizationToken ecr:GetDownloadUrlForLayer ecr:GetImageCopyStatus ecr:InitiateLayerUpload ecr:PutImage ecr:UploadLayerPart secretsmanager:GetSecretValue"},
		"ECRReplicationServiceRolePolicy": {1, true, "ecr:CreateRepository ecr:ReplicateImage"},
		"ECRTemplateServiceRolePolicy":    {1, true, "ecr:CreateRepository"},
	} {
		arn := "arn:aws:iam::aws:policy/" + policyName
		m, ok := identity.ManagedPolicy(arn)
		if !ok || m.Version != want.version || m.ServiceLinked != want.linked || !want.linked && m.ARN != arn {
			t.Errorf("%s: got %v, version %d, service-linked %v, ARN %s", policyName, ok, m.Version, m.ServiceLinked, m.ARN)
			continue
		}
		d, err := policy.Parse(m.Text, policy.Identity)
		if err != nil {
			t.Errorf("%s: %v", policyName, err)
			continue
		}
		var got []string
		for _, s := range d.Statements {
			for _, a := range s.Action.Of {
				got = append(got, a.Text)
			}
		}
		slices.Sort(got)
		if diff := cmp.Diff(want.actions, strings.Join(got, " ")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", policyName, diff)
		}
	}
	for _, m := range identity.ManagedPolicies() {
		if _, err := policy.Parse(m.Text, policy.Identity); err != nil {
			t.Errorf("%s: %v", m.Name, err)
		}
		if again, ok := identity.ManagedPolicy(m.ARN); !ok || again.ID != m.ID || len(m.ID) != 21 {
			t.Errorf("%s: found %v, id %q", m.ARN, ok, m.ID)
		}
	}
}
