package clients_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The rows about access: users, roles and policies are created with the aws CLI, and docker prints the reasons.

// E4: the policy of 2008 for an existing user and role is accepted and returned. It allows the user to push,
// although the user's own policy allows only the token.
func TestE4PolicyOf2008(t *testing.T) {
	root := withEngine(rowSession(t))
	const repo = "e4/app"
	ref := root.repo(repo)
	user := withEngine(root.user("e4-pusher", document(tokenOnly)))
	root.role("e4-role", map[string]any{"Service": "ec2.amazonaws.com"}, "")

	text := `{
  "Version": "2008-10-17",
  "Statement": [
    {
      "Sid": "PolicyStatement",
      "Effect": "Allow",
      "Principal": {
        "AWS": [
          "arn:aws:iam::000000000000:role/e4-role",
          "arn:aws:iam::000000000000:user/e4-pusher"
        ]
      },
      "Action": [
        "ecr:GetDownloadUrlForLayer",
        "ecr:BatchGetImage",
        "ecr:BatchCheckLayerAvailability",
        "ecr:PutImage",
        "ecr:InitiateLayerUpload",
        "ecr:UploadLayerPart",
        "ecr:CompleteLayerUpload",
        "ecr:DescribeRepositories",
        "ecr:GetRepositoryPolicy",
        "ecr:ListImages",
        "ecr:DeleteRepository",
        "ecr:BatchDeleteImage",
        "ecr:SetRepositoryPolicy",
        "ecr:DeleteRepositoryPolicy"
      ]
    }
  ]
}`
	user.login()
	loadImage(user, ref+":v1")
	user.cmd("docker", "push", ref+":v1").prints(
		"denied: " + denial(userARN(account, "e4-pusher"), "ecr:InitiateLayerUpload", repoARN(repo), noIdentityPolicy))
	type answer struct{ RegistryId, RepositoryName, PolicyText string }
	for _, out := range []string{
		root.aws("ecr", "set-repository-policy", "--repository-name", repo, "--policy-text", text).ok(),
		user.aws("ecr", "get-repository-policy", "--repository-name", repo).ok(),
	} {
		got := fromJSON[answer](t, out)
		if got.RegistryId != account || got.RepositoryName != repo {
			t.Errorf("the policy was returned for %s of %s, want %s of %s", got.RepositoryName, got.RegistryId, repo, account)
		}
		if diff := cmp.Diff(fromJSON[any](t, text), fromJSON[any](t, got.PolicyText)); diff != "" {
			t.Errorf("the returned policy (-want +got):\n%s", diff)
		}
	}
	root.s.wantManifest(t, repo, "v1", dockerPush(user, ref+":v1"))
}

// E5: a policy for a role that does not exist, and a policy that is not JSON.
func TestE5PolicyRefused(t *testing.T) {
	root := rowSession(t)
	const repo = "e5/app"
	root.repo(repo)
	set := func(text string) *call {
		return root.aws("ecr", "set-repository-policy", "--repository-name", repo, "--policy-text", text)
	}
	const invalid = "An error occurred (InvalidParameterException) when calling the SetRepositoryPolicy operation: " +
		"Invalid parameter at 'PolicyText' failed to satisfy constraint: "
	set(strings.Replace(releasePull, "111111111111:root", account+":role/e5-missing", 1)).prints(invalid + "'Principal not found'")
	set(strings.TrimSuffix(releasePull, "}")).prints(invalid +
		"'Invalid repository policy provided' (line 22, column 1: unexpected end of JSON input)")
	root.aws("ecr", "get-repository-policy", "--repository-name", repo).prints("RepositoryPolicyNotFoundException")
}

// E9: a user with read-only access can pull; its push is denied with the action that is missing.
func TestE9ReadOnlyUser(t *testing.T) {
	root := rowSession(t)
	const repo = "e9/app"
	ref := root.repo(repo)
	img := root.pushImage(repo, "v1")
	reader := withEngine(root.user("e9-reader", readAll))
	reader.login()
	reader.pullOK(ref+":v1", img)
	loadImage(reader, ref+":v2")
	reader.cmd("docker", "push", ref+":v2").prints(
		"denied: " + denial(userARN(account, "e9-reader"), "ecr:InitiateLayerUpload", repoARN(repo), noIdentityPolicy))
}

// E10: a user whose policy allows one repository and the token pulls another repository.
func TestE10OtherRepository(t *testing.T) {
	root := rowSession(t)
	one, two := root.repo("e10/repo1"), root.repo("e10/repo2")
	img := root.pushImage("e10/repo1", "v1")
	root.pushImage("e10/repo2", "v1")
	limited := withEngine(root.user("e10-limited", document(listed("e10/repo1"), tokenOnly)))
	limited.login()
	limited.pullOK(one+":v1", img)
	limited.cmd("docker", "pull", two+":v1").prints(
		"denied: " + denial(userARN(account, "e10-limited"), "ecr:BatchGetImage", repoARN("e10/repo2"), noIdentityPolicy))
}

// E11: a pull from another account needs both policies; the denial names the missing one.
func TestE11CrossAccount(t *testing.T) {
	owner := rowSession(t)
	const repo = "e11/app"
	ref := owner.repo(repo)
	img := owner.pushImage(repo, "v1")
	other := owner.rootOf(otherAccount)
	puller := withEngine(other.user("e11-puller", document(tokenOnly)))
	puller.login()
	denied := func(reason string) {
		t.Helper()
		puller.cmd("docker", "pull", ref+":v1").prints(
			"denied: " + denial(userARN(otherAccount, "e11-puller"), "ecr:BatchGetImage", repoARN(repo), reason))
	}
	owner.setPolicy(repo, releasePull)
	denied(noIdentityPolicy)
	other.attach("e11-puller", "AmazonEC2ContainerRegistryReadOnly")
	puller.pullOK(ref+":v1", img)
	owner.awsOK("ecr", "delete-repository-policy", "--repository-name", repo)
	denied(noResourcePolicy)
}

// E14: a deny overrides an allow in another policy, in the identity-based and in the resource-based one.
func TestE14DenyWins(t *testing.T) {
	root := rowSession(t)
	const repo = "e14/app"
	ref := root.repo(repo)
	arn := userARN(account, "e14-user")
	user := withEngine(root.user("e14-user"))
	root.attach("e14-user", "AmazonEC2ContainerRegistryPowerUser")
	user.login()
	loadImage(user, ref+":v1")
	dockerPush(user, ref+":v1")

	root.setPolicy(repo, `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":{"AWS":"`+arn+`"},"Action":"ecr:PutImage"}]}`)
	user.cmd("docker", "tag", ref+":v1", ref+":v2").ok()
	user.cmd("docker", "push", ref+":v2").prints("denied: " + denial(arn, "ecr:PutImage", repoARN(repo), denyOfResource))

	root.putUserPolicy("e14-user", "none", `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"ecr:BatchGet*","Resource":"*"}}`)
	user.cmd("docker", "pull", ref+":v1").prints("denied: " + denial(arn, "ecr:BatchGetImage", repoARN(repo), denyOfIdentity))
}

// R4: a platform in another account is refused with ECR's text; with the printed policy, unchanged, it can
// pull.
func TestR4PrintedPolicy(t *testing.T) {
	owner := rowSession(t)
	const repo = "r4/vendorapp"
	ref := owner.repo(repo)
	img := owner.pushImage(repo, "latest")
	cluster := withEngine(owner.rootOf(otherAccount).user("r4-cluster", readAll))
	cluster.login()
	cluster.cmd("docker", "pull", ref+":latest").prints(
		"denied: " + denial(userARN(otherAccount, "r4-cluster"), "ecr:BatchGetImage", repoARN(repo), noResourcePolicy))

	printed := owner.cmd("ecrin", "policy", "print", "--pull", "--principal", otherAccount).ok()
	if diff := cmp.Diff(fromJSON[any](t, releasePull), fromJSON[any](t, printed)); diff != "" {
		t.Errorf("the printed policy (-guide's +printed):\n%s", diff)
	}
	owner.setPolicy(repo, printed)
	cluster.pullOK(ref+":latest", img)
}

// R6: GetAuthorizationToken in a repository policy does not allow a token.
func TestR6TokenNeedsIdentityPolicy(t *testing.T) {
	owner := withEngine(rowSession(t))
	const repo = "r6/app"
	owner.repo(repo)
	owner.setPolicy(repo, releasePull)
	other := owner.rootOf(otherAccount)
	user := withEngine(other.user("r6-user"))
	ask := user.aws("ecr", "get-login-password")
	ask.prints("(AccessDeniedException)",
		denial(userARN(otherAccount, "r6-user"), "ecr:GetAuthorizationToken", "*", noIdentityPolicy))
	other.putUserPolicy("r6-user", "token", document(tokenOnly))
	out := user.cmd("docker", "login", "--username", "AWS", "--password-stdin", user.host()).stdin(ask.ok()).ok()
	if !strings.Contains(out, "Login Succeeded") {
		t.Errorf("docker login printed %q, want Login Succeeded", out)
	}
}

// R12: permissions are not cached: after the policy is removed, the same tag and its layers are refused, with
// the same token.
func TestR12PolicyRemoved(t *testing.T) {
	owner := rowSession(t)
	const repo = "r12/app"
	ref := owner.repo(repo)
	img := owner.pushImage(repo, "v1")
	owner.setPolicy(repo, releasePull)
	cluster := withEngine(owner.rootOf(otherAccount).user("r12-cluster", readAll))
	arn := userARN(otherAccount, "r12-cluster")
	password := cluster.login()
	layer := repo + "/blobs/" + img.layers[0].Digest.String()
	cluster.pullOK(ref+":v1", img)
	cluster.wantStatus(password, layer, 200, "")

	owner.awsOK("ecr", "delete-repository-policy", "--repository-name", repo)
	cluster.cmd("docker", "pull", ref+":v1").prints("denied: " + denial(arn, "ecr:BatchGetImage", repoARN(repo), noResourcePolicy))
	cluster.wantStatus(password, layer, 403, denial(arn, "ecr:GetDownloadUrlForLayer", repoARN(repo), noResourcePolicy))
}

// P9: keys that two policies limit to one repository are refused for another one, with a status that a proxy
// can log.
func TestP9LimitedLink(t *testing.T) {
	root := rowSession(t)
	root.repo("p9/repo1")
	root.repo("p9/repo2")
	root.pushImage("p9/repo1", "v1")
	root.pushImage("p9/repo2", "v1")
	link := root.user("p9-link", document(listed("p9/repo1")), document(tokenOnly))
	password := link.login()
	link.wantStatus(password, "p9/repo1/manifests/v1", 200, "")
	text := denial(userARN(account, "p9-link"), "ecr:BatchGetImage", repoARN("p9/repo2"), noIdentityPolicy)
	link.wantStatus(password, "p9/repo2/manifests/v1", 403, `"code":"DENIED"`)
	link.wantStatus(password, "p9/repo2/manifests/v1", 403, text)
	link.cmd("skopeo", "inspect", "--authfile", link.path(".docker/config.json"), "docker://"+link.s.ref("p9/repo2")+":v1").prints(text)
}

// P10: the part of the guide's policy about repositories does not allow a token. Both objects in one text, and
// an additional comma, are refused with the position of the error.
func TestP10HalfOfThePolicy(t *testing.T) {
	root := rowSession(t)
	link := root.user("p10-link", document(listed("p10/repo1")))
	link.aws("ecr", "get-authorization-token").prints("(AccessDeniedException)",
		denial(userARN(account, "p10-link"), "ecr:GetAuthorizationToken", "*", noIdentityPolicy))

	// The first statement ends on line 18, its list on line 19 and the first object on line 20.
	both := opening + listed("p10/repo1") + "," + closing + "\n" + document(tokenOnly)
	for _, test := range []struct{ text, want string }{
		{both, "line 19, column 5: invalid character ']' looking for beginning of value"},
		{strings.Replace(both, "},\n    ]", "}\n    ]", 1), "line 21, column 1: invalid character '{' after top-level value"},
	} {
		root.aws("iam", "put-user-policy", "--user-name", "p10-link", "--policy-name", "pasted", "--policy-document", test.text).prints(
			"An error occurred (MalformedPolicyDocument) when calling the PutUserPolicy operation: Syntax errors in policy.\nAt " + test.want)
	}
	root.putUserPolicy("p10-link", "pasted", document(listed("p10/repo1"), tokenOnly))
	link.login()
}

// C5: a role can be assumed only by the principals of its trust policy, which may include the role itself.
func TestC5TrustPolicy(t *testing.T) {
	root := rowSession(t)
	const proxy, integration = "c5-app-proxy", "c5-ecr-integration"
	trust := func(roles ...string) {
		t.Helper()
		var arns []string
		for _, r := range roles {
			arns = append(arns, roleARN(r))
		}
		root.awsOK("iam", "update-assume-role-policy", "--role-name", integration,
			"--policy-document", trusting(t, map[string]any{"AWS": arns}))
	}
	runtime := root.user("c5-runtime")
	root.role(proxy, map[string]any{"AWS": userARN(account, "c5-runtime")}, "")
	root.role(integration, map[string]any{"Service": "ec2.amazonaws.com"}, "AmazonEC2ContainerRegistryReadOnly")
	pod := runtime.assumed(proxy)
	refused := func(s *session, role string) {
		t.Helper()
		s.assume(integration).prints("(AccessDenied)", "User: arn:aws:sts::"+account+":assumed-role/"+role+
			"/session is not authorized to perform: sts:AssumeRole on resource: "+roleARN(integration))
	}
	refused(pod, proxy)
	trust(proxy)
	reporter := pod.assumed(integration)
	reporter.wantLogin(reporter.login())

	refused(reporter, integration)
	trust(proxy, integration)
	reporter.assumed(integration)
}
