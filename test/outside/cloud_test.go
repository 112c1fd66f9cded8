package outside_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
)

// reader is a user that may assume one role, which trusts the account if the external id is "right".
type reader struct {
	keyID, secret, roleARN string
	users                  *iam.Client
}

func newReader(t testing.TB, s *apptest.Server, root apptest.Account) *reader {
	t.Helper()
	r := &reader{users: iam.New(iam.Options{Region: root.Region, BaseEndpoint: &s.URL, HTTPClient: s.HTTP, RetryMaxAttempts: 1,
		Credentials: aws.CredentialsProviderFunc(root.ECR().Options().Credentials.Retrieve)})}
	ctx := t.Context()
	trust := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + root.ID + `"},"Action":"sts:AssumeRole",
		"Condition":{"StringEquals":{"sts:ExternalId":"right"}}}]}`
	_, err := r.users.CreateUser(ctx, &iam.CreateUserInput{UserName: aws.String("reader")})
	if err == nil {
		_, err = r.users.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: aws.String("reader"), PolicyName: aws.String("p"),
			PolicyDocument: allowed("sts:AssumeRole")})
	}
	if err != nil {
		t.Fatal(err)
	}
	key, err := r.users.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: aws.String("reader")})
	if err != nil {
		t.Fatal(err)
	}
	role, err := r.users.CreateRole(ctx, &iam.CreateRoleInput{RoleName: aws.String("puller"), AssumeRolePolicyDocument: &trust})
	if err != nil {
		t.Fatal(err)
	}
	r.keyID, r.secret, r.roleARN = *key.AccessKey.AccessKeyId, *key.AccessKey.SecretAccessKey, *role.Role.Arn
	return r
}

func allowed(actions ...string) *string {
	return aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["` + strings.Join(actions, `","`) +
		`"],"Resource":"*"}]}`)
}

// allow gives the role an action on everything.
func (r *reader) allow(t testing.TB, action string) {
	t.Helper()
	if _, err := r.users.PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{RoleName: aws.String("puller"), PolicyName: aws.String("p"),
		PolicyDocument: allowed(action)}); err != nil {
		t.Fatal(err)
	}
}

// A cloud integration says who the owner of its key is, assumes its role and says who that is; each step fails alone with what to do about
// it. Its secret stays while the key does, and it cannot be deleted while a cluster names it.
func TestCloudIntegration(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	f := before(t, s)
	n := near(t, nil, f)
	r := newReader(t, s, s.Root(t))
	in := ecrintypes.PutCloudIntegrationRequest{CloudName: "aws", Region: "us-east-1", StsEndpoint: f.URL, AwsAccessKeyId: r.keyID,
		AwsSecretAccessKey: "wrong-secret", RoleArn: r.roleARN}
	put := func() {
		t.Helper()
		if err := call(t, n, "PutCloudIntegration", in, &ecrintypes.CloudIntegrationResponse{}); err != nil {
			t.Fatal(err)
		}
	}
	want := func(what, step, code, cure, found string) {
		t.Helper()
		var got ecrintypes.TestIntegrationResponse
		if err := call(t, n, "TestCloudIntegration", ecrintypes.CloudIntegrationRequest{CloudName: "aws"}, &got); err != nil {
			t.Fatal(err)
		}
		one := last(t, got)
		if got.Passed != (code == "") || one.Name != step || one.Code != code || !strings.Contains(one.Cure, cure) ||
			!strings.Contains(one.Found, found) {
			t.Errorf("%s: got %s, want %s %q %q %q", what, shown(got), step, code, cure, found)
		}
	}
	put()
	want("a wrong secret", "GetCallerIdentity", "SignatureDoesNotMatch", "secret access key is wrong", "")
	in.AwsSecretAccessKey = r.secret
	put()
	want("without the external id", "AssumeRole", "AccessDenied", "set the external id", "")
	in.AwsSecretAccessKey, in.ExternalId = "", "right" // keeps the secret
	put()
	want("all is right", "GetCallerIdentity", "", "", ":assumed-role/puller/ecrin")

	in.AwsAccessKeyId = "AKIAAAAAAAAAAAAAAAAA"
	if err := call(t, n, "PutCloudIntegration", in, &ecrintypes.CloudIntegrationResponse{}); code(err) != "InvalidParameterException" {
		t.Errorf("another key without its secret: got %v, want InvalidParameterException", err)
	}
	cluster := ecrintypes.PutClusterRequest{ClusterName: "c", Region: "us-east-1", Principal: r.roleARN, CloudName: "none"}
	if err := call(t, n, "PutCluster", cluster, &ecrintypes.ClusterResponse{}); code(err) != "ResourceNotFoundException" {
		t.Errorf("a cluster with an unknown cloud integration: got %v, want ResourceNotFoundException", err)
	}
	cluster.CloudName = "aws"
	var made ecrintypes.ClusterResponse
	if err := call(t, n, "PutCluster", cluster, &made); err != nil {
		t.Fatal(err)
	}
	if c := made.Cluster; c.PrincipalAccountId != s.Root(t).ID || c.State != "ADDED" {
		t.Errorf("the cluster: got %+v, want the account of its principal and the state ADDED", c)
	}
	if err := call(t, n, "DeleteCloudIntegration", ecrintypes.CloudIntegrationRequest{CloudName: "aws"},
		&ecrintypes.CloudIntegrationResponse{}); code(err) != "ResourceInUseException" {
		t.Errorf("deleting it while a cluster names it: got %v, want ResourceInUseException", err)
	}
}
