package console_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
)

// people is the IAM API with the keys of an account.
func people(s *apptest.Server, a apptest.Account) *iam.Client {
	return iam.New(iam.Options{Region: a.Region, BaseEndpoint: &s.URL, HTTPClient: s.HTTP, RetryMaxAttempts: 1,
		Credentials: a.ECR().Options().Credentials})
}

func allowing(actions ...string) *string {
	return aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["` + strings.Join(actions, `","`) +
		`"],"Resource":"*"}]}`)
}

// newUser makes a user who may do some actions on everything, and returns a key of it.
func newUser(t testing.TB, s *apptest.Server, a apptest.Account, user string, actions ...string) (keyID, secret string) {
	t.Helper()
	api := people(s, a)
	_, err := api.CreateUser(t.Context(), &iam.CreateUserInput{UserName: &user})
	if err == nil && len(actions) > 0 {
		_, err = api.PutUserPolicy(t.Context(), &iam.PutUserPolicyInput{UserName: &user, PolicyName: aws.String("p"),
			PolicyDocument: allowing(actions...)})
	}
	if err != nil {
		t.Fatal(err)
	}
	key, err := api.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: &user})
	if err != nil {
		t.Fatal(err)
	}
	return *key.AccessKey.AccessKeyId, *key.AccessKey.SecretAccessKey
}

// newRole makes a role that the account may assume, and returns its ARN.
func newRole(t testing.TB, s *apptest.Server, a apptest.Account, role string) string {
	t.Helper()
	out, err := people(s, a).CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: &role, AssumeRolePolicyDocument: aws.String(
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + a.ID + `"},"Action":"sts:AssumeRole"}]}`)})
	if err != nil {
		t.Fatal(err)
	}
	return *out.Role.Arn
}

// use assumes a role and asks who it is.
func use(t testing.TB, s *apptest.Server, a apptest.Account, role string) {
	t.Helper()
	key, secret := newUser(t, s, a, "assumes", "sts:AssumeRole")
	as := a
	as.KeyID, as.Secret = key, secret
	out, err := as.STS().AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: &role, RoleSessionName: aws.String("node")})
	if err != nil {
		t.Fatal(err)
	}
	c := out.Credentials
	session := sts.New(sts.Options{Region: a.Region, BaseEndpoint: &s.URL, HTTPClient: s.HTTP, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(*c.AccessKeyId, *c.SecretAccessKey, *c.SessionToken)})
	if _, err := session.GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}); err != nil {
		t.Fatal(err)
	}
}
