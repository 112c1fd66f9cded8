package deploy_test

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
)

// TestGitHubAction: the step of the action starts a server with the seed, and the next step has its keys, its endpoint and the program.
func TestGitHubAction(t *testing.T) {
	t.Parallel()
	var action struct {
		Inputs map[string]struct{ Default string }
		Runs   struct {
			Using string
			Steps []struct{ Env map[string]string }
		}
	}
	if err := yaml.Unmarshal(read(t, "deploy/github-action/action.yml"), &action); err != nil || action.Runs.Using != "composite" ||
		len(action.Runs.Steps) != 1 {
		t.Fatalf("action.yml: got %+v and %v, want a composite action of one step", action, err)
	}
	dir := t.TempDir()
	seed := filepath.Join(dir, "seed.yaml")
	body := `{accounts: {"000000000000": {registries: {us-east-1: {repositories: {team/app: {}}}}}}}`
	if err := os.WriteFile(seed, []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listen := l.Addr().String()
	_ = l.Close() // its port is free for the server
	inputs := map[string]string{"seed": seed, "account": action.Inputs["account"].Default, "listen": listen, "ecrin": ecrin(t)}
	step := exec.Command(root + "/deploy/github-action/start.sh")
	step.Env = append(os.Environ(), "RUNNER_TEMP="+dir, "GITHUB_ENV="+dir+"/env", "GITHUB_PATH="+dir+"/path", "GITHUB_OUTPUT="+dir+"/output")
	input := regexp.MustCompile(`^\$\{\{ inputs\.(\w+) \}\}$`)
	for key, value := range action.Runs.Steps[0].Env {
		if m := input.FindStringSubmatch(value); m != nil {
			step.Env = append(step.Env, key+"="+inputs[m[1]])
		}
	}
	text, err := step.CombinedOutput()
	if m := regexp.MustCompile(`process (\d+)`).FindStringSubmatch(string(text)); m != nil {
		if pid, err := strconv.Atoi(m[1]); err == nil {
			t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGTERM) }) // as the runner does
		}
	}
	if err != nil {
		t.Fatalf("start.sh: %v\n%s", err, text)
	}
	env := map[string]string{}
	f, err := os.Open(dir + "/env")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		key, value, _ := strings.Cut(s.Text(), "=")
		env[key] = value
	}
	if secret := env["AWS_SECRET_ACCESS_KEY"]; secret == "" || !strings.Contains(string(text), "::add-mask::"+secret) {
		t.Errorf("the secret key is not masked in\n%s", text)
	}
	client := ecr.New(ecr.Options{Region: env["AWS_REGION"], BaseEndpoint: aws.String(env["AWS_ENDPOINT_URL"]),
		Credentials: credentials.NewStaticCredentialsProvider(env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"], "")})
	out, err := client.DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{})
	if err != nil || len(out.Repositories) != 1 || aws.ToString(out.Repositories[0].RepositoryName) != "team/app" {
		t.Errorf("the repositories for the next step: got %+v and %v, want team/app of the seed", out, err)
	}
	if got, err := os.ReadFile(dir + "/output"); err != nil || string(got) != "registry="+listen+"\n" {
		t.Errorf("the output: got %q and %v, want the registry %s", got, err, listen)
	}
	if got, err := os.ReadFile(dir + "/path"); err != nil || strings.TrimSpace(string(got)) != filepath.Dir(ecrin(t)) {
		t.Errorf("the path: got %q and %v, want the folder of the program", got, err)
	}
}
