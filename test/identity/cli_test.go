package identity_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
)

// cli runs the aws CLI, version 2, with its own home folder, against one server.
type cli struct {
	t    *testing.T
	path string
	home string
	inst *installation
	door []string // the endpoint options; by default those of the server
	env  []string // the credentials
}

// newCLI finds an aws CLI of version 2, which need not be the first on PATH.
func newCLI(t *testing.T, inst *installation) cli {
	t.Helper()
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		path, err := exec.LookPath(filepath.Join(dir, "aws"))
		if err != nil {
			continue
		}
		if out, err := exec.Command(path, "--version").Output(); err == nil && bytes.HasPrefix(out, []byte("aws-cli/2.")) {
			return cli{t: t, path: path, home: t.TempDir(), inst: inst, door: []string{"--endpoint-url", inst.URL}}
		}
	}
	t.Skip("no aws CLI of version 2 on PATH; tools/clients/install packages, which make test runs, installs one")
	return cli{}
}

// as returns the CLI with the credentials of an actor.
func (c cli) as(a actor) cli {
	c.env = []string{"AWS_ACCESS_KEY_ID=" + a.keys.AccessKeyID, "AWS_SECRET_ACCESS_KEY=" + a.keys.SecretAccessKey}
	if a.keys.SessionToken != "" {
		c.env = append(c.env, "AWS_SESSION_TOKEN="+a.keys.SessionToken)
	}
	return c
}

// run runs a command and returns its standard output, and its standard error in said.
func (c cli) run(args ...string) (out []byte, said string, err error) {
	cmd := exec.CommandContext(c.t.Context(), c.path,
		slices.Concat(c.door, []string{"--region", c.inst.Running.Region, "--output", "json"}, args)...)
	cmd.Env = append([]string{"HOME=" + c.home, "PATH=" + os.Getenv("PATH"), "AWS_PAGER=", "AWS_EC2_METADATA_DISABLED=true",
		"AWS_MAX_ATTEMPTS=1", "LC_ALL=C.UTF-8"}, c.env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err = cmd.Output()
	return out, stderr.String(), err
}

// ok runs a command that must succeed, and decodes its output into v unless v is nil.
func (c cli) ok(v any, args ...string) {
	c.t.Helper()
	out, said, err := c.run(args...)
	if err != nil {
		c.t.Fatalf("aws %q: %v: %s", args, err, said)
	}
	if v == nil {
		return
	}
	if err := json.Unmarshal(out, v); err != nil {
		c.t.Fatalf("aws %q: %v in %s", args, err, out)
	}
}

// refused runs a command that must fail with a text that contains words.
func (c cli) refused(words string, args ...string) {
	c.t.Helper()
	out, said, err := c.run(args...)
	if err == nil || !strings.Contains(said, words) {
		c.t.Errorf("aws %q: got %s%s, want an error with %q", args, out, said, words)
	}
}

type cliKey struct{ AccessKeyID, SecretAccessKey, SessionToken string }

// actor returns the actor with the key.
func (c cli) actor(account string, k cliKey) actor {
	return c.inst.as(account, k.AccessKeyID, k.SecretAccessKey, k.SessionToken)
}

// password returns a docker password for the CLI's credentials.
func (c cli) password() string {
	c.t.Helper()
	out, said, err := c.run("ecr", "get-login-password")
	if err != nil {
		c.t.Fatalf("aws ecr get-login-password: %v: %s", err, said)
	}
	return strings.TrimSpace(string(out))
}

// Two teams migrate to ecrin with the commands of their runbook: production owns images, and development pulls
// some of them, by a role with an external id, by sessions with fewer rights, and by a repository policy. An
// allowed image can be pulled by docker's protocol immediately; every other request is denied with its reason.
func TestCrossAccountByCLI(t *testing.T) {
	t.Parallel()
	inst := newInstallation(t, apptest.Options{})
	prod, dev := inst.account(t, "111122223333"), inst.account(t, "444455556666")
	shell := newCLI(t, inst)
	p, d := shell.as(prod), shell.as(dev)
	app, base := prod.push(t, "team/app"), prod.push(t, "team/base")
	prod.push(t, "team/secret")

	// Production: what may be pulled, who may assume the role, and what the role can never access.
	var policy struct{ Policy struct{ Arn string } }
	p.ok(&policy, "iam", "create-policy", "--policy-name", "pull-team", "--policy-document",
		allow(pulls, "arn:aws:ecr:*:*:repository/nothing"))
	p.ok(nil, "iam", "create-policy-version", "--policy-arn", policy.Policy.Arn, "--set-as-default", "--policy-document",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"`+login+
			`","Resource":"*"},{"Effect":"Allow","Action":"ecr:*","Resource":"arn:aws:ecr:*:`+prod.account+`:repository/team/*"}]}`)
	var versions struct {
		Versions []struct {
			VersionID        string
			IsDefaultVersion bool
		}
	}
	p.ok(&versions, "iam", "list-policy-versions", "--policy-arn", policy.Policy.Arn)
	if v := versions.Versions; len(v) != 2 || v[0].VersionID != "v2" || !v[0].IsDefaultVersion || v[1].IsDefaultVersion {
		t.Errorf("list-policy-versions: got %+v, want v2, which is the default, and v1", v)
	}
	var document struct{ PolicyVersion struct{ Document any } }
	p.ok(&document, "iam", "get-policy-version", "--policy-arn", policy.Policy.Arn, "--version-id", "v2")
	if _, ok := document.PolicyVersion.Document.(map[string]any); !ok {
		t.Errorf("get-policy-version: got %v, want the document decoded by the CLI", document.PolicyVersion.Document)
	}
	limit := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecr:*","Resource":"*"},{"Effect":"Deny","Action":"ecr:*","Resource":"arn:aws:ecr:*:*:repository/team/secret"}]}`
	p.ok(nil, "iam", "create-policy", "--policy-name", "limit", "--policy-document", limit)
	var role struct{ Role struct{ Arn, RoleID string } }
	p.ok(&role, "iam", "create-role", "--role-name", "ci-puller", "--path", "/partners/", "--permissions-boundary", prod.arn("policy/limit"),
		"--assume-role-policy-document", trust(`"AWS":"`+dev.arn("root")+`"`, "sts:AssumeRole", `{"StringEquals":{"sts:ExternalId":"dev-42"}}`))
	p.ok(nil, "iam", "attach-role-policy", "--role-name", "ci-puller", "--policy-arn", policy.Policy.Arn)

	p.ok(nil, "iam", "wait", "role-exists", "--role-name", "ci-puller")
	var shown struct {
		Role struct {
			AssumeRolePolicyDocument struct{ Statement []any }
			PermissionsBoundary      struct{ PermissionsBoundaryArn string }
		}
	}
	p.ok(&shown, "iam", "get-role", "--role-name", "ci-puller")
	if r := shown.Role; len(r.AssumeRolePolicyDocument.Statement) != 1 ||
		r.PermissionsBoundary.PermissionsBoundaryArn != prod.arn("policy/limit") {
		t.Errorf("get-role: got %+v, want the trust policy decoded by the CLI, and the boundary", r)
	}

	// Development: a group whose users may assume that role, and a user who may log in and pull from other
	// accounts.
	d.ok(nil, "iam", "create-group", "--group-name", "devs")
	d.ok(nil, "iam", "put-group-policy", "--group-name", "devs", "--policy-name", "partner", "--policy-document",
		allow("sts:AssumeRole", role.Role.Arn))
	key := func(user string) actor {
		t.Helper()
		d.ok(nil, "iam", "create-user", "--user-name", user)
		var made struct{ AccessKey cliKey }
		d.ok(&made, "iam", "create-access-key", "--user-name", user)
		return shell.actor(dev.account, made.AccessKey)
	}
	ada, bob := key("ada"), key("bob")
	d.ok(nil, "iam", "add-user-to-group", "--group-name", "devs", "--user-name", "ada")
	d.ok(nil, "iam", "attach-user-policy", "--user-name", "bob", "--policy-arn", readOnly)
	var users struct{ Users []struct{ UserName string } }
	d.ok(&users, "iam", "list-users", "--page-size", "1")
	if u := users.Users; len(u) != 2 || u[0].UserName != "ada" || u[1].UserName != "bob" {
		t.Errorf("list-users in pages of one: got %+v, want ada and bob", u)
	}
	var who struct{ Account, Arn string }
	shell.as(ada).ok(&who, "sts", "get-caller-identity")
	if want := dev.arn("user/ada"); who.Arn != want || who.Account != dev.account {
		t.Errorf("get-caller-identity: got %+v, want %s", who, want)
	}

	// The role can be assumed only with the external id, and only by users with the right.
	assume := []string{"sts", "assume-role", "--role-arn", role.Role.Arn, "--role-session-name", "build"}
	withID := slices.Concat(assume, []string{"--external-id", "dev-42"})
	shell.as(ada).refused("User: "+dev.arn("user/ada")+" is not authorized to perform: sts:AssumeRole on resource: "+
		role.Role.Arn+" because no role trust policy allows the sts:AssumeRole action", assume...)
	shell.as(bob).refused("is not authorized to perform: sts:AssumeRole on resource: "+role.Role.Arn+
		" because no identity-based policy allows the sts:AssumeRole action", withID...)
	become := func(more ...string) cli {
		t.Helper()
		var got struct {
			Credentials      cliKey
			AssumedRoleUser  struct{ Arn, AssumedRoleID string }
			PackedPolicySize int
		}
		shell.as(ada).ok(&got, slices.Concat(withID, more)...)
		if want := "arn:aws:sts::" + prod.account + ":assumed-role/ci-puller/build"; got.AssumedRoleUser.Arn != want ||
			got.AssumedRoleUser.AssumedRoleID != role.Role.RoleID+":build" {
			t.Errorf("assume-role: got %+v, want %s", got.AssumedRoleUser, want)
		}
		if got.PackedPolicySize > 100 || got.PackedPolicySize > 0 != (len(more) > 0) {
			t.Errorf("assume-role %q: got a packed policy size of %d, want 1 to 100 with a session policy, else 0", more, got.PackedPolicySize)
		}
		return shell.as(shell.actor(prod.account, got.Credentials))
	}
	whole := inst.registry(prod.account, become().password())
	wantPull(t, whole.Repo("team/app"), app)
	wantPull(t, whole.Repo("team/base"), base)
	wantNoPull(t, whole.Repo("team/secret"), "assumed-role/ci-puller/build",
		"repository/team/secret with an explicit deny in a permissions boundary")
	wantNoPull(t, whole.Repo("other/app"), "repository/other/app because no identity-based policy allows the ecr:BatchGetImage action")

	// A session with fewer rights: the session policy does not allow access to team/base.
	less := inst.registry(prod.account, become("--policy",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"`+login+
			`","Resource":"*"},{"Effect":"Allow","Action":"ecr:*","Resource":"arn:aws:ecr:*:*:repository/team/app"}]}`).password())
	wantPull(t, less.Repo("team/app"), app)
	wantNoPull(t, less.Repo("team/base"), "because no session policy allows the ecr:BatchGetImage action")
	onlyRead := inst.registry(prod.account, become("--policy-arns", "arn="+readOnly).password())
	wantPull(t, onlyRead.Repo("team/base"), base)
	denied, err := onlyRead.Do(t, "POST", onlyRead.Repo("team/base").Path("/blobs/uploads/"), nil).WantError(t, 403, "DENIED").Errors()
	if want := "because no session policy allows the ecr:InitiateLayerUpload action"; err != nil ||
		!strings.Contains(denied[0].Message, want) {
		t.Errorf("a push: denied with %+v (%v), want %q", denied, err, want)
	}

	// A repository policy: both accounts have to allow the request.
	bobs := inst.registry(prod.account, shell.as(bob).password())
	wantNoPull(t, bobs.Repo("team/base"), dev.arn("user/bob"), "because no resource-based policy allows the ecr:BatchGetImage action")
	onRepository := `{"Version":"2012-10-17","Statement":[{"Sid":"partners","Effect":"Allow","Principal":{"AWS":["` +
		dev.arn("user/bob") + `","` + dev.arn("user/ada") + `"]},"Action":["ecr:BatchGetImage","ecr:GetDownloadUrlForLayer"]}]}`
	p.ok(nil, "ecr", "set-repository-policy", "--repository-name", "team/base", "--policy-text", onRepository)
	wantPull(t, bobs.Repo("team/base"), base)
	wantNoPull(t, bobs.Repo("team/app"), "because no resource-based policy allows the ecr:BatchGetImage action")
	shell.as(ada).refused("because no identity-based policy allows the ecr:GetAuthorizationToken action", "ecr", "get-login-password")
	var images struct{ Images []any }
	shell.as(bob).ok(&images, "ecr", "batch-get-image", "--registry-id", prod.account, "--repository-name", "team/base",
		"--image-ids", "imageTag=v1")
	if len(images.Images) != 1 {
		t.Errorf("batch-get-image of the other account: got %+v, want one image", images.Images)
	}
	d.ok(nil, "iam", "put-user-permissions-boundary", "--user-name", "bob", "--permissions-boundary",
		"arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly")
	wantPull(t, bobs.Repo("team/base"), base)
	d.ok(nil, "iam", "create-policy", "--policy-name", "no-registry", "--policy-document", allow("iam:*", "*"))
	d.ok(nil, "iam", "put-user-permissions-boundary", "--user-name", "bob", "--permissions-boundary", dev.arn("policy/no-registry"))
	wantNoPull(t, bobs.Repo("team/base"), "because no permissions boundary allows the ecr:BatchGetImage action")

	// After a revocation, tokens that were issued before have no rights any more.
	p.ok(nil, "iam", "set-default-policy-version", "--policy-arn", policy.Policy.Arn, "--version-id", "v1")
	wantNoPull(t, whole.Repo("team/app"), "because no identity-based policy allows the ecr:BatchGetImage action")
}
