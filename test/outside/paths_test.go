package outside_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// The policies of a role with a path are simulated too: the ARN of its sessions has no path, so that the integration's own is taken.
func TestARoleWithAPathIsSimulated(t *testing.T) {
	t.Parallel()
	f := newFar(t, nil, nil)
	f.root.CreateRepository(t, "team/app").Push(t, "v1", ocitest.NewImage(1, 1000))
	id, secret := f.user(t, "u", *allowed("sts:AssumeRole"))
	made, err := f.users.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: aws.String("pull"), Path: aws.String("/team/ops/"),
		AssumeRolePolicyDocument: trust("arn:aws:iam::" + f.root.ID + ":user/u")})
	if err == nil {
		_, err = f.users.PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{RoleName: aws.String("pull"), PolicyName: aws.String("p"),
			PolicyDocument: allowed("iam:SimulatePrincipalPolicy")})
	}
	if err == nil {
		_, err = f.users.AttachRolePolicy(t.Context(), &iam.AttachRolePolicyInput{RoleName: aws.String("pull"), PolicyArn: aws.String(readOnly)})
	}
	if err != nil {
		t.Fatal(err)
	}
	for label, role := range map[string]string{"arn": *made.Role.Arn, "name": "team/ops/pull"} {
		in := f.in(label)
		in.AwsAccessKeyId, in.AwsSecretAccessKey, in.RoleArn = id, secret, role
		add(t, f.near, in)
		got := test(t, f.near, ecrintypes.TestIntegrationRequest{IntegrationName: label, Image: "team/app:v1"})
		if !got.Passed || got.PoliciesFoundBy != "SimulatePrincipalPolicy" || len(got.Policies) != 3 || !got.Policies[0].Met ||
			got.Policies[1].Met {
			t.Errorf("the role by its %s: got %s, want the policy for reading, found by SimulatePrincipalPolicy", label, shown(got))
		}
	}
}
