package outside_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// A test says which managed policies the principal meets, by the simulation of IAM where that is allowed and by harmless calls elsewhere,
// and nothing is made by the calls.
func TestIntegrationSaysWhichManagedPoliciesAreMet(t *testing.T) {
	t.Parallel()
	f := newFar(t, nil, nil)
	f.root.CreateRepository(t, "team/app").Push(t, "v1", ocitest.NewImage(1, 1000))
	attach := func(user, policy string) {
		t.Helper()
		if _, err := f.users.AttachUserPolicy(t.Context(), &iam.AttachUserPolicyInput{UserName: &user,
			PolicyArn: aws.String("arn:aws:iam::aws:policy/" + policy)}); err != nil {
			t.Fatal(err)
		}
	}
	const prefix = "AmazonEC2ContainerRegistry"
	const read, power, full = prefix + "ReadOnly", prefix + "PowerUser", prefix + "FullAccess"
	for _, c := range []struct {
		user, attached, own, by string
		met                     []string
		missing                 string // of the first policy that is not met
	}{
		{"r", read, "", "calls", []string{read}, "ecr:UploadLayerPart"},
		{"p", power, "", "calls", []string{read, power}, "ecr:DeleteRepository"},
		{"f", full, "", "calls", []string{read, power, full}, ""},
		{"rs", read, "iam:SimulatePrincipalPolicy", "SimulatePrincipalPolicy", []string{read}, "ecr:PutImage"},
		{"ps", power, "iam:SimulatePrincipalPolicy", "SimulatePrincipalPolicy", []string{read, power}, "ecr:CreateRepository"},
		{"fs", full, "iam:SimulatePrincipalPolicy", "SimulatePrincipalPolicy", []string{read, power, full}, ""},
	} {
		policy := ""
		if c.own != "" {
			policy = *allowed(c.own)
		}
		id, secret := f.user(t, c.user, policy)
		attach(c.user, c.attached)
		in := f.in(c.user)
		in.AwsAccessKeyId, in.AwsSecretAccessKey = id, secret
		add(t, f.near, in)
		got := test(t, f.near, ecrintypes.TestIntegrationRequest{IntegrationName: c.user, Image: "team/app:v1"})
		var met []string
		missing := ""
		for _, one := range got.Policies {
			if one.Met {
				met = append(met, one.Name)
			} else if missing == "" {
				missing = strings.Join(one.Missing, " ")
			}
		}
		if !got.Passed || got.PoliciesFoundBy != c.by || !slices.Equal(met, c.met) || (c.missing == "") != (missing == "") ||
			!strings.Contains(missing, c.missing) {
			t.Errorf("%s: got %s, want %v by %s and %q missing", c.user, shown(got), c.met, c.by, c.missing)
		}
		if code, out, errs := ecrin(t, f.near, "integration", "test", c.user); code != 0 || !strings.Contains(out+errs, "found by "+c.by) {
			t.Errorf("%s: the command: got %d %s%s", c.user, code, out, errs)
		}
	}
	all, err := f.root.ECR().DescribeRepositories(t.Context(), nil)
	if err != nil || len(all.Repositories) != 1 {
		t.Errorf("after the tests there are %d repositories, %v, want the one of before", len(all.Repositories), err)
	}
}

// A token action that is limited to repositories is recognised, by the simulation and by calls, and the cure is the statement to add.
func TestATokenLimitedToRepositoriesIsRecognised(t *testing.T) {
	t.Parallel()
	f := newFar(t, nil, nil)
	f.root.CreateRepository(t, "team/app").Push(t, "v1", ocitest.NewImage(1, 1000))
	on := "arn:aws:ecr:" + f.root.Region + ":" + f.root.ID + ":repository/team/*"
	wrong := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["ecr:GetAuthorizationToken","ecr:BatchGetImage",` +
		`"ecr:GetDownloadUrlForLayer"],"Resource":"` + on + `"}`
	for label, policy := range map[string]string{"calls": wrong + `]}`,
		"simulation": wrong + `,{"Effect":"Allow","Action":"iam:SimulatePrincipalPolicy","Resource":"*"}]}`} {
		id, secret := f.user(t, label, policy)
		in := f.in(label)
		in.AwsAccessKeyId, in.AwsSecretAccessKey = id, secret
		add(t, f.near, in)
		f.want(t, label, label, "team/app:v1", "GetAuthorizationToken", "AccessDeniedException", `"Resource":"*"}`)
	}
}
