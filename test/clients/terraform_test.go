package clients_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
)

// A terraform is a folder with a configuration of Terraform, and the environment of a session.
type terraform struct {
	s   *session
	dir string
}

// newTerraform makes a folder with the configuration of docs/recipes.md and initializes it. It skips the test if terraform or its
// provider of AWS is missing: tools/clients/install cannot install them, and says so.
func newTerraform(s *session) terraform {
	t := s.t
	t.Helper()
	plugins := filepath.Join(workDir, "bin", "terraform-plugins")
	if _, err := lookPath("terraform", s.env); err != nil {
		t.Skip("terraform is not on PATH")
	}
	if providers, err := filepath.Glob(plugins + "/registry.terraform.io/hashicorp/aws/*"); err != nil || len(providers) == 0 {
		t.Skip("terraform's provider hashicorp/aws is in no folder of plug-ins; set ECRIN_TERRAFORM_PLUGINS to one")
	}
	page, err := os.ReadFile(treeRoot + "/docs/recipes.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## Terraform\n")
	_, section, _ = strings.Cut(section, "\n```hcl\n")
	configuration, _, found := strings.Cut(section, "\n```\n")
	if !found {
		t.Fatal("docs/recipes.md has no configuration in its section of Terraform")
	}
	f := terraform{s, mkdir(t, s.home, "terraform")}
	write(t, f.dir+"/main.tf", configuration)
	rc := write(t, s.path("terraform.rc"), `provider_installation { filesystem_mirror { path = "`+plugins+`" } }`)
	s.env = append(s.env, "TF_CLI_CONFIG_FILE="+rc, "TF_IN_AUTOMATION=1", "TF_INPUT=0", "CHECKPOINT_DISABLE=1")
	f.cmd("init").ok()
	return f
}

// cmd is a command of Terraform that asks nothing.
func (f terraform) cmd(args ...string) *call {
	if args[0] == "apply" || args[0] == "destroy" {
		args = slices.Insert(slices.Clone(args), 1, "-auto-approve")
	}
	if args[0] != "state" {
		args = slices.Insert(slices.Clone(args), 1, "-no-color")
	}
	c := f.s.cmd("terraform", args...)
	c.dir = f.dir
	return c
}

// wantNoChanges plans, which must find no changes.
func (f terraform) wantNoChanges(when string, args ...string) {
	t := f.s.t
	t.Helper()
	if out, errs, err := f.cmd(append([]string{"plan", "-detailed-exitcode"}, args...)...).run(); err != nil {
		t.Errorf("terraform plan %s: got %v, want no changes\n%s\n%s", when, err, out, errs)
	}
}

// key returns the access key that the configuration made.
func (f terraform) key() accessKey {
	got := fromJSON[struct{ ID, Secret string }](f.s.t, f.cmd("output", "-json", "key").ok())
	return accessKey{AccessKeyId: got.ID, SecretAccessKey: got.Secret}
}

// TestTerraform applies the configuration of docs/recipes.md, and one with all resources of ECR and IAM that the provider has and ecrin
// knows, by the address of the server: what was made works, no plan has changes afterwards, changes and repairs are applied in place,
// what exists is imported, and nothing is left after destroy.
func TestTerraform(t *testing.T) {
	t.Parallel()
	server, err := startServerIn(t.TempDir(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.stop)
	s := newSession(t, server)
	f := newTerraform(s)
	more, err := os.ReadFile("testdata/more.tf")
	if err != nil {
		t.Fatal(err)
	}
	write(t, f.dir+"/more.tf", string(more))

	f.cmd("apply").ok()
	f.wantNoChanges("after apply")
	url := f.cmd("output", "-raw", "url").ok()
	if want := server.ref("shop/app"); url != want {
		t.Errorf("the output url: got %s, want %s", url, want)
	}
	ci := s.as(f.key())
	copyLayout(t, theImage(t), orasRepo(t, server, url, ci.login()), "v1")
	wantMutability := func(want types.ImageTagMutability) {
		t.Helper()
		out, err := server.sdk(t, account, region).DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{
			RepositoryNames: []string{"shop/app"}})
		if err != nil || out.Repositories[0].ImageTagMutability != want {
			t.Errorf("the repository: got %+v, %v, want %s", out, err, want)
		}
	}
	wantMutability("IMMUTABLE")
	puller := ci.assumed("shop/shop-pull")
	puller.login()
	puller.cmd("crane", "pull", "--format", "oci", url+":v1", puller.path("pulled")).ok()
	if got := layoutDigest(t, puller.path("pulled")); got != theImage(t).index {
		t.Errorf("the role of the repository's policy pulled %s, want %s", got, theImage(t).index)
	}

	changed := []string{"-var", "keep=20", "-var", "mutability=MUTABLE"}
	f.cmd(append([]string{"apply"}, changed...)...).ok()
	f.wantNoChanges("after apply of other values", changed...)
	wantMutability("MUTABLE")

	s.awsOK("ecr", "delete-lifecycle-policy", "--repository-name", "shop/app")
	s.awsOK("iam", "detach-user-policy", "--user-name", "shop-ci", "--policy-arn", "arn:aws:iam::"+account+":policy/shop-push")
	if got := f.cmd(append([]string{"apply"}, changed...)...).ok(); !strings.Contains(got, "2 added, 0 changed, 0 destroyed") {
		t.Errorf("terraform apply after changes by others: got %s, want 2 added, nothing else", got)
	}
	f.wantNoChanges("after the repair", changed...)

	imported := map[string]string{"aws_ecr_repository.app": "shop/app", "aws_iam_role.pull": "shop-pull", "aws_iam_user.ci": "shop-ci",
		"aws_ecr_pull_through_cache_rule.quay": "quay", "aws_iam_instance_profile.node": "shop-node"}
	f.cmd(append([]string{"state", "rm"}, slices.Collect(maps.Keys(imported))...)...).ok()
	var blocks strings.Builder
	for resource, id := range imported {
		fmt.Fprintf(&blocks, "import {\n  to = %s\n  id = %q\n}\n", resource, id)
	}
	write(t, f.dir+"/import.tf", blocks.String())
	if got := f.cmd(append([]string{"apply"}, changed...)...).ok(); !strings.Contains(got, "5 imported, 0 added") {
		t.Errorf("terraform apply with imports: got %s, want 5 imported, 0 added", got)
	}
	f.wantNoChanges("after import", changed...)

	s.awsOK("iam", "create-access-key", "--user-name", "shop-ci") // a key that Terraform does not know: force_destroy
	f.cmd(append([]string{"destroy"}, changed...)...).prints("RepositoryNotEmptyException")
	s.awsOK("ecr", "delete-repository", "--repository-name", "shop/app", "--force")
	f.cmd(append([]string{"destroy"}, changed...)...).ok()
	for _, list := range [][]string{{"ecr", "describe-repositories", "--query", "repositories"}, {"iam", "list-users", "--query", "Users"},
		{"iam", "list-roles", "--query", "Roles"}, {"iam", "list-groups", "--query", "Groups"},
		{"iam", "list-policies", "--scope", "Local", "--query", "Policies"},
		{"iam", "list-instance-profiles", "--query", "InstanceProfiles"},
		{"iam", "list-open-id-connect-providers", "--query", "OpenIDConnectProviderList"},
		{"ecr", "describe-pull-through-cache-rules", "--query", "pullThroughCacheRules"}} {
		if got := s.awsOK(list...); got != "[]" {
			t.Errorf("%s after destroy: got %s, want none", strings.Join(list[:2], " "), got)
		}
	}
}

// TestTerraformNames applies and destroys the configuration of docs/recipes.md under the names of ECR, IAM and STS, with no endpoint set.
func TestTerraformNames(t *testing.T) {
	f := newTerraform(rowSession(t))
	f.cmd("apply").ok()
	f.wantNoChanges("after apply")
	if got, want := f.cmd("output", "-raw", "url").ok(), account+".dkr.ecr."+region+".amazonaws.com/shop/app"; got != want {
		t.Errorf("the output url: got %s, want %s", got, want)
	}
	f.cmd("destroy").ok()
}
