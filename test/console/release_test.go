package console_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// account111 pulls, account222 owns the image, as in the guide of Release.
const account111, account222 = "111111111111", "222222222222"

// iamOf is the IAM API with the keys of an account.
func iamOf(s *apptest.Server, a apptest.Account) *iam.Client {
	return iam.New(iam.Options{Region: a.Region, BaseEndpoint: &s.URL, HTTPClient: s.HTTP, RetryMaxAttempts: 1,
		Credentials: a.ECR().Options().Credentials})
}

// user makes a user with a policy of the given actions on everything, and returns it with a key.
func user(t *testing.T, s *apptest.Server, a apptest.Account, name string, actions ...string) apptest.Account {
	t.Helper()
	api := iamOf(s, a)
	_, err := api.CreateUser(t.Context(), &iam.CreateUserInput{UserName: &name})
	if err == nil && len(actions) > 0 {
		_, err = api.PutUserPolicy(t.Context(), &iam.PutUserPolicyInput{UserName: &name, PolicyName: aws.String("p"),
			PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["` + strings.Join(actions, `","`) +
				`"],"Resource":"*"}]}`)})
	}
	if err != nil {
		t.Fatal(err)
	}
	key, err := api.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: &name})
	if err != nil {
		t.Fatal(err)
	}
	a.KeyID, a.Secret = *key.AccessKey.AccessKeyId, *key.AccessKey.SecretAccessKey
	return a
}

// skopeo copies an image of a server into a folder, and returns what it printed and whether it worked.
func skopeo(t *testing.T, s *apptest.Server, image, user, password string) (string, bool) {
	t.Helper()
	return skopeoBy(t, s, image, "--src-creds", user+":"+password)
}

// skopeoBy is skopeo with the arguments that say by what credentials.
func skopeoBy(t *testing.T, s *apptest.Server, image string, credentials ...string) (string, bool) {
	t.Helper()
	path, err := exec.LookPath("skopeo")
	if err != nil {
		t.Skip("skopeo is missing: apt-get install skopeo, or tools/clients/install packages")
	}
	dir := t.TempDir()
	policy := filepath.Join(dir, "policy.json")
	if err := os.WriteFile(policy, []byte(`{"default":[{"type":"insecureAcceptAnything"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"--policy", policy, "copy", "--src-tls-verify=false"}, credentials...)
	cmd := exec.CommandContext(t.Context(), path, append(args, "docker://"+strings.TrimPrefix(s.URL, "http://")+"/"+image,
		"dir:"+filepath.Join(dir, "image"))...)
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_RUNTIME_DIR="+dir)
	out, err := cmd.CombinedOutput()
	return string(out), err == nil
}

// The walk of the guide of Release: the AWS integration, the registry of base images with Test connection, the cluster with its AWS IAM ID
// and region; then the owner of the image pastes the policy, and the cluster pulls.
func TestReleaseWalk(t *testing.T) {
	t.Parallel()
	s, far, base := besideECR(t)
	there := far.Root(t)
	there.CreateRepository(t, "base").Push(t, "1", ocitest.NewImage(3, 2000))
	builder := user(t, far, there, "builder", "ecr:BatchGetImage")
	release, owner := s.NewAccount(t, account111), s.NewAccount(t, account222)
	nodes := user(t, s, release, "nodes", "ecr:GetAuthorizationToken", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
	owner.CreateRepository(t, "vendorapp").Push(t, "latest", ocitest.NewImage(4, 5000))

	b := newBrowser(t, s)
	b.signIn(release)
	b.click("Account Settings")
	b.see("account 111111111111")
	b.click("Integrations")
	b.see("No integrations yet", "AWS ECR private registry")
	b.click("Setup AWS")
	b.fill("Integration name", "aws")
	b.fill("Region", far.Running.Region)
	b.fill("Access Key ID", builder.KeyID)
	b.fill("Secret Access Key", builder.Secret)
	b.click("Set up")
	b.see("The integration was set up. Test the connection.")
	b.click("Test connection")
	b.see("Works", "arn:aws:iam::000000000000:user/builder")

	b.click("Integrations")
	b.see("Cloud integrations", "works")
	b.pictures("integrations")
	b.click("Setup AWS ECR private registry")
	b.fill("Integration name", "base")
	b.fill("Registry hostname", "https://"+base.Host+"/")
	b.fill("Cloud integration", "aws")
	b.click("Set up")
	b.see("without https:// and without a path")
	b.fill("Registry hostname", base.Host)
	b.click("Set up")
	b.fill("Image", "base:1")
	b.click("Test connection")
	b.see("Fails at step 2", "AccessDeniedException", "is not authorized to perform: ecr:GetAuthorizationToken", "What to add there",
		`"Action": "ecr:GetAuthorizationToken"`, "not reached")
	b.shot("release-test-fails")
	if _, err := iamOf(far, there).PutUserPolicy(t.Context(), &iam.PutUserPolicyInput{UserName: aws.String("builder"),
		PolicyName: aws.String("token"), PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":
		"ecr:GetAuthorizationToken","Resource":"*"}]}`)}); err != nil {
		t.Fatal(err)
	}
	b.click("Test connection")
	b.see("Works", "Read the manifest", "sha256:")
	b.pictures("release-test-works")

	b.click("Clusters")
	b.see("No clusters yet")
	b.click("Add cluster")
	b.fill("Name", "staging")
	b.fill("Region", s.Running.Region)
	b.fill("AWS IAM ID or ARN that pulls", "arn:aws:iam::111111111111:root")
	b.fill("Cloud integration", "aws")
	b.click("Add cluster")
	b.see("The cluster was added.", "AWS IAM ID", account111, "AllowReleasePull", "arn:aws:iam::111111111111:root")
	b.pictures("release-cluster")
	policy := ""
	b.evaluate(`[...document.querySelectorAll("button.copy")].find(e => e.getAttribute("aria-label") === "Copy the policy").dataset.copy`,
		&policy)

	image := account222 + "/" + s.Running.Region + "/vendorapp:latest"
	if out, ok := skopeo(t, s, image, "AWS", nodes.Password(t)); ok || !strings.Contains(out, "denied") {
		t.Fatalf("before the policy: got %t\n%s", ok, out)
	}
	b.click("Clusters")
	b.see("staging", account111)
	b.pictures("clusters")
	b.signOut()
	b.signInHere(owner)
	b.click("Actions for vendorapp")
	b.click("Permissions")
	b.click("Edit policy JSON")
	b.fill("Policy text, JSON", policy)
	b.click("Save")
	b.see("The policy was saved.", "AllowReleasePull", "every principal of account 111111111111")
	b.shot("release-policy")
	if out, ok := skopeo(t, s, image, "AWS", nodes.Password(t)); !ok {
		t.Errorf("after the policy: %s", out)
	}
}
