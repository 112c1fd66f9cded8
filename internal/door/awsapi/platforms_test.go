package awsapi_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// Policies from the guides of platforms, with their effect. The tests in test/clients check the same with docker and
// the aws CLI.
const (
	guidePull = `{"Version":"2012-10-17","Statement":[{"Sid":"AllowReleasePull","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111111111111:root"},"Action":[
"ecr:BatchCheckLayerAvailability","ecr:BatchGetImage","ecr:DescribeImages","ecr:DescribeRepositories","ecr:GetAuthorizationToken","ecr:GetDownloadUrlForLayer","ecr:GetRepositoryPolicy","ecr:ListImages"]}]}`
	guideRead = `"ecr:BatchCheckLayerAvailability","ecr:GetDownloadUrlForLayer","ecr:GetRepositoryPolicy","ecr:DescribeRepositories","ecr:ListImages","ecr:DescribeImages","ecr:BatchGetImage"`
	guideAll  = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["ecr:GetAuthorizationToken",` + guideRead +
		`],"Resource":"*"}]}`
	// The two objects of one guide, joined, with a superfluous comma.
	guideListed = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":[` + guideRead + `],
"Resource":["arn:aws:ecr:us-east-1:000000000000:repository/repo1"]},
]}
{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["ecr:GetAuthorizationToken"],"Resource":"*"}]}`
	guidePush = `{"Version":"2008-10-17","Statement":[{"Sid":"PolicyStatement","Effect":"Allow","Principal":{"AWS":["arn:aws:iam::000000000000:role/builder","arn:aws:iam::000000000000:user/builder"]},"Action":[
"ecr:GetDownloadUrlForLayer","ecr:BatchGetImage","ecr:BatchCheckLayerAvailability","ecr:PutImage","ecr:InitiateLayerUpload","ecr:UploadLayerPart","ecr:CompleteLayerUpload","ecr:DescribeRepositories",
"ecr:GetRepositoryPolicy","ecr:ListImages","ecr:DeleteRepository","ecr:BatchDeleteImage","ecr:SetRepositoryPolicy","ecr:DeleteRepositoryPolicy"]}]}`
	guideTrust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::000000000000:user/builder"},"Action":"sts:AssumeRole","Condition":{}}]}`
)

// platformIAM returns a client of IAM with the access key of a root user.
func (s *server) platformIAM(key aws.Credentials) *iam.Client {
	return iam.New(iam.Options{
		Region: region, BaseEndpoint: &s.url, HTTPClient: s.httpClient(), RetryMaxAttempts: 1,
		Credentials: credentials.StaticCredentialsProvider{Value: key},
	})
}

// platformUser creates a user and returns an access key of the user.
func (s *server) platformUser(api *iam.Client, name string) aws.Credentials {
	s.t.Helper()
	if _, err := api.CreateUser(s.t.Context(), &iam.CreateUserInput{UserName: &name}); err != nil {
		s.t.Fatal(err)
	}
	out, err := api.CreateAccessKey(s.t.Context(), &iam.CreateAccessKeyInput{UserName: &name})
	if err != nil {
		s.t.Fatal(err)
	}
	return aws.Credentials{AccessKeyID: *out.AccessKey.AccessKeyId, SecretAccessKey: *out.AccessKey.SecretAccessKey}
}

// setUserPolicy replaces the inline policy of a user.
func (s *server) setUserPolicy(api *iam.Client, user, text string) error {
	_, err := api.PutUserPolicy(s.t.Context(), &iam.PutUserPolicyInput{UserName: &user, PolicyName: aws.String("pasted"),
		PolicyDocument: &text})
	return err
}

func (s *server) setRepositoryPolicy(repository, text string) error {
	_, err := s.ecr().SetRepositoryPolicy(s.t.Context(), &ecr.SetRepositoryPolicyInput{RepositoryName: &repository, PolicyText: &text})
	return err
}

// wantProblem checks that an error contains a text; "" requires that there is no error.
func wantProblem(t *testing.T, what string, err error, text string) {
	t.Helper()
	if (err == nil) != (text == "") || err != nil && !strings.Contains(err.Error(), text) {
		t.Errorf("%s: got error %v, want %q", what, err, text)
	}
}

// Access to another account needs policies of both accounts: the test tries none, only that of the owner, and both. The
// permission for a token is that of the user's account only.
func TestPlatformPullsAcrossAccounts(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	api := s.platformIAM(s.account("111111111111"))
	cluster := s.sdk(s.platformUser(api, "cluster"))
	s.must("CreateRepository", `{"repositoryName":"vendorapp"}`)
	const on = " on resource: arn:aws:ecr:us-east-1:000000000000:repository/vendorapp because no "
	const who = "AccessDeniedException: User: arn:aws:iam::111111111111:user/cluster is not authorized to perform: ecr:"
	check := func(what, token, describe string) {
		t.Helper()
		_, err := cluster.GetAuthorizationToken(t.Context(), &ecr.GetAuthorizationTokenInput{})
		wantProblem(t, what+": the token", err, token)
		_, err = cluster.DescribeImages(t.Context(), &ecr.DescribeImagesInput{RegistryId: aws.String(home),
			RepositoryName: aws.String("vendorapp")})
		wantProblem(t, what+": DescribeImages", err, describe)
	}
	noToken := who + "GetAuthorizationToken on resource: * because no identity-based policy allows the ecr:GetAuthorizationToken action"
	wantProblem(t, "the owner's policy", s.setRepositoryPolicy("vendorapp", guidePull), "")
	check("the owner's policy", noToken, who+"DescribeImages"+on+"identity-based policy allows the ecr:DescribeImages action")
	wantProblem(t, "the user's policy", s.setUserPolicy(api, "cluster", guideAll), "")
	check("both policies", "", "")
	s.must("DeleteRepositoryPolicy", `{"repositoryName":"vendorapp"}`)
	check("the user's policy", "", who+"DescribeImages"+on+"resource-based policy allows the ecr:DescribeImages action")
}

// The malformed policy is refused with the position of the error; the corrected policy applies to the repository that
// it names.
func TestPlatformMalformedPaste(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	api := s.platformIAM(s.key)
	link := s.sdk(s.platformUser(api, "link"))
	for _, repository := range []string{"repo1", "repo2"} {
		s.must("CreateRepository", `{"repositoryName":"`+repository+`"}`)
	}
	wantProblem(t, "as pasted", s.setUserPolicy(api, "link", guideListed),
		"MalformedPolicyDocument: Syntax errors in policy.\nAt line 3, column 1: invalid character ']'")
	cured := strings.Replace(guideListed, "]},\n]}", "]}\n]}", 1)
	wantProblem(t, "without the comma", s.setUserPolicy(api, "link", cured),
		"MalformedPolicyDocument: Syntax errors in policy.\nAt line 4, column 1: invalid character '{'")
	wantProblem(t, "as a repository's", s.setRepositoryPolicy("repo1", guideListed),
		"'Invalid repository policy provided' (line 3, column 1: invalid character ']'")
	first, _, _ := strings.Cut(cured, "\n{")
	wantProblem(t, "the first object", s.setUserPolicy(api, "link", first), "")

	list := func(repository string) error {
		_, err := link.ListImages(t.Context(), &ecr.ListImagesInput{RepositoryName: &repository})
		return err
	}
	_, err := link.GetAuthorizationToken(t.Context(), &ecr.GetAuthorizationTokenInput{})
	wantProblem(t, "the token", err, "user/link is not authorized to perform: ecr:GetAuthorizationToken on resource: *")
	wantProblem(t, "repo1", list("repo1"), "")
	wantProblem(t, "repo2", list("repo2"), "ecr:ListImages on resource: arn:aws:ecr:us-east-1:000000000000:repository/repo2")
}

// A policy with the version 2008-10-17 permits a user and a role to push. The trust policy of the role is also from the
// guide.
func TestPlatformPolicyOf2008(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	api := s.platformIAM(s.key)
	s.must("CreateRepository", `{"repositoryName":"app"}`)
	wantProblem(t, "before its principals", s.setRepositoryPolicy("app", guidePush), "'Principal not found'")
	user := s.platformUser(api, "builder")
	role := &iam.CreateRoleInput{RoleName: aws.String("builder"), AssumeRolePolicyDocument: aws.String(guideTrust)}
	if _, err := api.CreateRole(t.Context(), role); err != nil {
		t.Fatal(err)
	}
	assumed, err := sts.New(sts.Options{
		Region: region, BaseEndpoint: &s.url, HTTPClient: s.httpClient(), RetryMaxAttempts: 1,
		Credentials: credentials.StaticCredentialsProvider{Value: user},
	}).AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::000000000000:role/builder"),
		RoleSessionName: aws.String("build")})
	if err != nil {
		t.Fatal(err)
	}
	session := aws.Credentials{AccessKeyID: *assumed.Credentials.AccessKeyId, SecretAccessKey: *assumed.Credentials.SecretAccessKey,
		SessionToken: *assumed.Credentials.SessionToken}
	builders := map[string]*ecr.Client{"the user": s.sdk(user), "the role": s.sdk(session)}
	for who, client := range builders {
		_, err := client.InitiateLayerUpload(t.Context(), &ecr.InitiateLayerUploadInput{RepositoryName: aws.String("app")})
		wantProblem(t, who+" before the policy", err, "ecr:InitiateLayerUpload")
	}
	wantProblem(t, "the policy", s.setRepositoryPolicy("app", guidePush), "")
	for who, client := range builders {
		_, err := client.InitiateLayerUpload(t.Context(), &ecr.InitiateLayerUploadInput{RepositoryName: aws.String("app")})
		wantProblem(t, who, err, "")
		// Actions that the policy does not contain are denied.
		_, err = client.PutImageTagMutability(t.Context(),
			&ecr.PutImageTagMutabilityInput{RepositoryName: aws.String("app"), ImageTagMutability: types.ImageTagMutabilityImmutable})
		wantProblem(t, who+" beyond the policy", err, "ecr:PutImageTagMutability")
	}
}
