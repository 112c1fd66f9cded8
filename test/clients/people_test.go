package clients_test

import (
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ecr"
)

// rootOf returns a session for the root user of another account.
func (s *session) rootOf(acct string) *session {
	s.t.Helper()
	root := s.s.root(s.t, acct)
	return s.as(accessKey{AccessKeyId: root["AWS_ACCESS_KEY_ID"], SecretAccessKey: root["AWS_SECRET_ACCESS_KEY"]})
}

// An accessKey is the output of create-access-key and assume-role; only the keys of a role session have a
// token.
type accessKey struct{ AccessKeyId, SecretAccessKey, SessionToken string }

// as returns a new session with these keys, for another user of the same server.
func (s *session) as(key accessKey) *session {
	s.t.Helper()
	other := newSession(s.t, s.s)
	other.env = append(other.env, "AWS_ACCESS_KEY_ID="+key.AccessKeyId, "AWS_SECRET_ACCESS_KEY="+key.SecretAccessKey)
	if key.SessionToken != "" {
		other.env = append(other.env, "AWS_SESSION_TOKEN="+key.SessionToken)
	}
	return other
}

// aws returns a command of the aws CLI, version 2. Preparations use version 1, which starts faster.
func (s *session) aws(args ...string) *call { return newAWS(s, "2").cmd(args...) }

func (s *session) awsOK(args ...string) string {
	s.t.Helper()
	return newAWS(s, "1").cmd(args...).ok()
}

// user creates a user with inline policies in the account of this session, and returns a session with its
// access key.
func (s *session) user(name string, policies ...string) *session {
	s.t.Helper()
	s.awsOK("iam", "create-user", "--user-name", name)
	for i, p := range policies {
		s.putUserPolicy(name, "policy-"+string(rune('a'+i)), p)
	}
	out := s.awsOK("iam", "create-access-key", "--user-name", name)
	return s.as(fromJSON[struct{ AccessKey accessKey }](s.t, out).AccessKey)
}

func (s *session) putUserPolicy(user, policy, text string) {
	s.t.Helper()
	s.awsOK("iam", "put-user-policy", "--user-name", user, "--policy-name", policy, "--policy-document", text)
}

// assume returns the command that starts a session with the name s of a role of the default account.
func (s *session) assume(role string) *call {
	return s.aws("sts", "assume-role", "--role-session-name", "session", "--role-arn", roleARN(role))
}

// assumed returns a session with the keys of a role session.
func (s *session) assumed(role string) *session {
	s.t.Helper()
	return s.as(fromJSON[struct{ Credentials accessKey }](s.t, s.assume(role).ok()).Credentials)
}

func (s *session) setPolicy(repo, text string) {
	s.t.Helper()
	s.awsOK("ecr", "set-repository-policy", "--repository-name", repo, "--policy-text", text)
}

// sdk returns the AWS SDK's client for ECR with the keys of this session.
func (s *session) sdk() *ecr.Client {
	s.t.Helper()
	return s.s.sdkOf(s.t, region, map[string]string{
		"AWS_ACCESS_KEY_ID": lookup(s.env, "AWS_ACCESS_KEY_ID"), "AWS_SECRET_ACCESS_KEY": lookup(s.env, "AWS_SECRET_ACCESS_KEY"),
		"AWS_SESSION_TOKEN": lookup(s.env, "AWS_SESSION_TOKEN"), "AWS_ENDPOINT_URL": lookup(s.env, "AWS_ENDPOINT_URL"),
	})
}

// login gets a docker password with the keys of this session, stores it, and returns it.
func (s *session) login() string {
	s.t.Helper()
	password := s.s.tokenOf(s.t, s.sdk())
	s.storeLogin(password)
	return password
}

// attach attaches a policy of AWS to a user of this session's account.
func (s *session) attach(user, policy string) {
	s.t.Helper()
	s.awsOK("iam", "attach-user-policy", "--user-name", user, "--policy-arn", "arn:aws:iam::aws:policy/"+policy)
}

// role creates a role that the trusted principal may assume, with a policy of AWS unless policy is "".
func (s *session) role(name string, trusted map[string]any, policy string) {
	s.t.Helper()
	s.awsOK("iam", "create-role", "--role-name", name, "--assume-role-policy-document", trusting(s.t, trusted))
	if policy != "" {
		s.awsOK("iam", "attach-role-policy", "--role-name", name, "--policy-arn", "arn:aws:iam::aws:policy/"+policy)
	}
}

func roleARN(name string) string { return "arn:aws:iam::" + account + ":role/" + name }

func userARN(acct, name string) string { return "arn:aws:iam::" + acct + ":user/" + name }

func repoARN(repo string) string {
	return "arn:aws:ecr:" + region + ":" + account + ":repository/" + repo
}

// The reasons of a denial, either before the name of an action or complete.
const (
	noIdentityPolicy = " because no identity-based policy allows the "
	noResourcePolicy = " because no resource-based policy allows the "
	denyOfResource   = " with an explicit deny in a resource-based policy"
	denyOfIdentity   = " with an explicit deny in an identity-based policy"
)

// denial returns the text of a denial: the caller, the action, the resource and the reason.
func denial(who, action, resource, reason string) string {
	text := "User: " + who + " is not authorized to perform: " + action + " on resource: " + resource + reason
	if reason == noIdentityPolicy || reason == noResourcePolicy {
		text += action + " action"
	}
	return text
}

// prints runs the command, which must fail and print each of these texts.
func (c *call) prints(texts ...string) {
	c.t.Helper()
	out := c.fails()
	for _, want := range texts {
		if !strings.Contains(out, want) {
			c.t.Errorf("%s: got %q, want in it %q", c, out, want)
		}
	}
}

// pullOK pulls with docker and checks that the tag is the pushed image.
func (s *session) pullOK(ref string, img *testImage) {
	s.t.Helper()
	s.cmd("docker", "pull", "--quiet", ref).ok()
	if got := s.cmd("docker", "image", "inspect", "--format", "{{.RepoDigests}}", ref).ok(); !strings.Contains(got, img.index.String()) {
		s.t.Errorf("docker pull %s: got %s, want %s", ref, got, img.index)
	}
}

// wantStatus gets a path below /v2/ of the default registry with a docker password, and checks the status and
// the text of the response, as platforms see it that are clients themselves.
func (s *session) wantStatus(password, path string, status int, text string) {
	t := s.t
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", "https://"+s.host()+"/v2/"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("AWS:"+password)))
	req.Header.Set("Accept", "application/vnd.oci.image.index.v1+json")
	resp, err := s.s.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != status || !strings.Contains(string(body), text) {
		t.Errorf("GET %s: got status %d and %q, want %d and in it %q", req.URL, resp.StatusCode, body, status, text)
	}
}

// The policies in the guides of platforms, with the accounts and names of these tests.
const (
	// A deployment platform's policy for the owner's repository.
	releasePull = `{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Sid": "AllowReleasePull",
      "Effect": "Allow",
      "Principal": {
        "AWS": "arn:aws:iam::111111111111:root"
      },
      "Action": [
        "ecr:BatchCheckLayerAvailability",
        "ecr:BatchGetImage",
        "ecr:DescribeImages",
        "ecr:DescribeRepositories",
        "ecr:GetAuthorizationToken",
        "ecr:GetDownloadUrlForLayer",
        "ecr:GetRepositoryPolicy",
        "ecr:ListImages"
      ]
    }
  ]
}`
	// Read-only access to all repositories, as a platform requires it.
	readAll = `{
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": [
                "ecr:GetAuthorizationToken",
                "ecr:BatchCheckLayerAvailability",
                "ecr:GetDownloadUrlForLayer",
                "ecr:GetRepositoryPolicy",
                "ecr:DescribeRepositories",
                "ecr:ListImages",
                "ecr:DescribeImages",
                "ecr:BatchGetImage"
            ],
            "Resource": "*"
        }
    ]
}`
	// The two statements of read-only access to listed repositories. REPO1 is replaced by the repository's ARN.
	readListed = `        {
            "Effect": "Allow",
            "Action": [
                "ecr:BatchCheckLayerAvailability",
                "ecr:GetDownloadUrlForLayer",
                "ecr:GetRepositoryPolicy",
                "ecr:DescribeRepositories",
                "ecr:ListImages",
                "ecr:DescribeImages",
                "ecr:BatchGetImage"
            ],
            "Resource": [
                "REPO1"
            ]
        }`
	tokenOnly = `        {
            "Effect": "Allow",
            "Action": [
                "ecr:GetAuthorizationToken"
            ],
            "Resource": "*"
        }`
	opening = `{
    "Version": "2012-10-17",
    "Statement": [
`
	closing = `
    ]
}`
)

// document returns a policy with these statements.
func document(statements ...string) string {
	return opening + strings.Join(statements, ",\n") + closing
}

// listed returns the statement readListed for one repository of the default registry.
func listed(repo string) string { return strings.Replace(readListed, "REPO1", repoARN(repo), 1) }

// trusting returns a role's trust policy from the guide of a platform, for one or several principals.
func trusting(t *testing.T, principal map[string]any) string {
	return strings.Replace(`{
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": PRINCIPAL,
            "Action": "sts:AssumeRole",
            "Condition": {}
        }
    ]
}`, "PRINCIPAL", toJSON(t, principal), 1)
}
