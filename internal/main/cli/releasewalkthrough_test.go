package cli_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// TestReleaseWalkthrough runs the walk-through of an application between a git repository and a cluster: an image of another account, its
// policy, its region, and a build. `make demo-release` prints it. Its commands are those of TestScripts and these:
//
//	image ACCOUNT/REGION/REPOSITORY TAG   push an image with the file /etc/app; $HOST is the address of the server
//	policy ACCOUNT/REGION/REPOSITORY FILE set the policy of a repository, or delete it with none
//	builder                               let buildah work here; without buildah, $DRY is --dry-run
//	built                                 without buildah, push what would have been built
func TestReleaseWalkthrough(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("buildah"); err != nil {
		t.Log("buildah is not in PATH: the build is only planned")
	}
	at := func(ts *testscript.TestScript, text string) (apptest.Account, string) {
		s := apptest.Attach(t, ts.Getenv("ECRIN_DATA"))
		ts.Setenv("HOST", strings.TrimPrefix(s.URL, "http://"))
		parts := strings.SplitN(text, "/", 3)
		return s.Existing(t, parts[0]).In(parts[1]), parts[2]
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/release",
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("ECRIN_DATA", e.WorkDir+"/data")
			e.Setenv("DRY", "--json=false")
			e.Values[slotKey{}] = &slot{}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve": scriptServe,
			"exits": scriptExits,
			"image": func(ts *testscript.TestScript, _ bool, args []string) {
				a, repo := at(ts, args[0])
				pushTree(t, a.CreateRepository(t, repo), args[1], "/etc/app", "an application")
			},
			"policy": func(ts *testscript.TestScript, _ bool, args []string) {
				a, repo := at(ts, args[0])
				if args[1] == "none" {
					_, err := a.ECR().DeleteRepositoryPolicy(t.Context(), &ecr.DeleteRepositoryPolicyInput{RepositoryName: &repo})
					ts.Check(err)
					return
				}
				text := ts.ReadFile(args[1])
				_, err := a.ECR().SetRepositoryPolicy(t.Context(), &ecr.SetRepositoryPolicyInput{RepositoryName: &repo, PolicyText: &text})
				ts.Check(err)
			},
			"builder": func(ts *testscript.TestScript, _ bool, _ []string) {
				if _, err := exec.LookPath("buildah"); err != nil {
					ts.Setenv("DRY", "--dry-run")
					return
				}
				for variable, text := range containersConf(ts.MkAbs("containers")) {
					file := ts.MkAbs(variable + ".conf")
					ts.Check(os.WriteFile(file, []byte(text), 0o600))
					ts.Setenv(variable, file)
				}
			},
			"built": func(ts *testscript.TestScript, _ bool, _ []string) {
				if ts.Getenv("DRY") == "--dry-run" {
					a, _ := at(ts, "111111111111/eu-west-2/x")
					a.Docker(t).Repo("org/voting/vote").Push(t, "0a1b2c3", ocitest.NewImage(1, 100))
				}
			},
		},
	})
}
