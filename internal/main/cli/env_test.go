package cli_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/ecrin-dev/ecrin/internal/main/cli"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
)

// people makes, in the default account, the user ann with a key, the user bob without one, and the role deploy, which trusts ann.
func people(t *testing.T, s *apptest.Server) {
	t.Helper()
	root := s.Root(t)
	c := iam.New(iam.Options{Region: root.Region, BaseEndpoint: &s.URL,
		Credentials: credentials.NewStaticCredentialsProvider(root.KeyID, root.Secret, "")})
	for _, user := range []string{"ann", "bob"} {
		if _, err := c.CreateUser(t.Context(), &iam.CreateUserInput{UserName: &user}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: aws.String("ann")}); err != nil {
		t.Fatal(err)
	}
	trust := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::000000000000:user/ann"},"Action":"sts:AssumeRole"}}`
	if _, err := c.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: aws.String("deploy"), Path: aws.String("/ci/"),
		AssumeRolePolicyDocument: &trust}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.CreateServiceLinkedRole(t.Context(),
		&iam.CreateServiceLinkedRoleInput{AWSServiceName: aws.String("replication.ecr.amazonaws.com")}); err != nil {
		t.Fatal(err)
	}
}

// whoIs returns the ARN of the caller that a configuration of the SDK makes.
func whoIs(ctx context.Context, cfg aws.Config) (string, error) {
	cfg.RetryMaxAttempts = 1
	out, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return "", err
	}
	return *out.Arn, nil
}

// ecrin env prints credentials of a user and of a role of an account, and says what to do where there are none.
func TestEnvOfUserAndRole(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	people(t, s)
	for _, c := range []struct{ args, want string }{
		{"", "arn:aws:iam::000000000000:root"},
		{"--user ann", "arn:aws:iam::000000000000:user/ann"},
		{"--role deploy", "arn:aws:sts::000000000000:assumed-role/deploy/operator"},
		{"--role arn:aws:iam::000000000000:role/ci/deploy", "arn:aws:sts::000000000000:assumed-role/deploy/operator"},
	} {
		code, out, errs := run(t, append(strings.Fields("env --json "+c.args), "--data", s.Dir)...)
		var v map[string]string
		if err := json.Unmarshal([]byte(out), &v); code != 0 || err != nil {
			t.Fatalf("env %s: got %d, %s, %s", c.args, code, out, errs)
		}
		got, err := whoIs(t.Context(), aws.Config{Region: v["AWS_REGION"], BaseEndpoint: aws.String(v["AWS_ENDPOINT_URL"]),
			Credentials: credentials.NewStaticCredentialsProvider(v["AWS_ACCESS_KEY_ID"], v["AWS_SECRET_ACCESS_KEY"], v["AWS_SESSION_TOKEN"])})
		if err != nil || got != c.want {
			t.Errorf("env %s: the credentials are those of %q, %v, want %s", c.args, got, err, c.want)
		}
		if temporary := strings.Contains(c.args, "role"); temporary != (v["AWS_CREDENTIAL_EXPIRATION"] != "") {
			t.Errorf("env %s: got %v, want an expiry only for a role", c.args, v)
		}
	}
	if _, out, _ := run(t, "env", "--role", "deploy", "--data", s.Dir); strings.Contains(strings.SplitN(out, "\n", 2)[0], "SESSION_TOKEN") {
		t.Errorf("env --role removes the session token that it sets:\n%s", out)
	}
	for args, want := range map[string]string{
		"--user bob":                        "no active access key: make one with `aws iam create-access-key --user-name bob`",
		"--user eve":                        "The user with name eve cannot be found",
		"--role none":                       "The role with name none cannot be found",
		"--user ann --role x":               "--source-profile PROFILE",
		"--write":                           "--profile NAME",
		"--source-profile x":                "name it with --role",
		"--profile a]b":                     "the name of a profile",
		"--url http://x.test":               "needs the data directory of the server",
		"--account 111122223333 --user ann": "111122223333",
		"--account 111122223333 --role arn:aws:iam::000000000000:role/ci/deploy": "leave out --account",
		"--role AWSServiceRoleForECRReplication":                                 "belongs to the service replication.ecr.amazonaws.com",
	} {
		code, out, errs := run(t, append(strings.Fields("env "+args), "--data", s.Dir)...)
		if code == 0 || out != "" || !strings.Contains(errs, want) {
			t.Errorf("env %s: got %d, %q, %q, want an error with %q", args, code, out, errs, want)
		}
	}
}

// in is run with a home directory.
func in(t *testing.T, home string, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e strings.Builder
	code = cli.Run(t.Context(), cli.Env{Args: args, Out: &o, Err: &e, Lookup: func(key string) (string, bool) {
		return home, key == "HOME"
	}})
	return code, o.String(), e.String()
}

// ecrin env --profile NAME --write changes its own profile only: all other lines of both files stay, byte by byte. Nobody else can read
// the files, and the AWS SDK uses the profile.
func TestProfileIsWrittenBesideOthers(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	people(t, s)
	home := t.TempDir()
	folder := filepath.Join(home, ".aws")
	elsewhere := filepath.Join(home, "dotfiles")
	for _, dir := range []string{folder, elsewhere} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	const before = "# mine\r\n[default]\r\nregion=eu-west-1\r\ns3 =\r\n  max_concurrent_requests = 20\r\n\r\n[ profile   ci ]\r\noutput = json\r\n" +
		"# a comment: of mine = yes\r\nrole_arn = arn:aws:iam::1:role/x\r\nsource_profile = default\r\nendpoint_url = http://old\r\n\r\n[sso-session s]\r\nsso_region = x"
	const keys = "[other]\naws_access_key_id = AKIAOTHER\naws_secret_access_key = other\n"
	config1, credentials1 := filepath.Join(folder, "config"), filepath.Join(folder, "credentials")
	real1 := filepath.Join(elsewhere, "config")
	for path, text := range map[string]string{real1: before, credentials1: keys} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(real1, config1); err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{"--user ann --profile ci", "--user ann --profile ann",
		"--role deploy --source-profile ann --profile deploy"} {
		if code, out, errs := in(t, home, append(strings.Fields("env --write "+args), "--data", s.Dir)...); code != 0 || out != "" {
			t.Fatalf("env %s: got %d, %q, %s", args, code, out, errs)
		}
	}
	got, err := os.ReadFile(real1)
	want := strings.ReplaceAll(before, "role_arn = arn:aws:iam::1:role/x\r\nsource_profile = default\r\nendpoint_url = http://old\r\n",
		fmt.Sprintf("region = us-east-1\r\nendpoint_url = %s\r\n", s.Running.URL)) + fmt.Sprintf(
		"\r\n\r\n[profile ann]\r\nregion = us-east-1\r\nendpoint_url = %[1]s\r\n\r\n[profile deploy]\r\nregion = us-east-1\r\nendpoint_url = %[1]s\r\n"+
			"role_arn = arn:aws:iam::000000000000:role/ci/deploy\r\nsource_profile = ann\r\nservices = ecrin-deploy\r\n\r\n"+
			"[services ecrin-deploy]\r\nsts =\r\n  endpoint_url = %[1]s\r\n", s.Running.URL)
	if err != nil || string(got) != want {
		t.Errorf("config: got\n%q, %v, want\n%q", got, err, want)
	}
	got, err = os.ReadFile(credentials1)
	if err != nil || !strings.HasPrefix(string(got), keys+"\n[ci]\naws_access_key_id = AKIA") || strings.Contains(string(got), "[deploy]") {
		t.Errorf("credentials: got\n%s, %v", got, err)
	}
	for _, path := range []string{real1, credentials1} {
		if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s has the mode %v, %v, want 0600", path, info.Mode(), err)
		}
	}
	if info, err := os.Lstat(config1); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("config is no link any more: %v, %v", info.Mode(), err)
	}
	for profile, want := range map[string]string{"ci": "arn:aws:iam::000000000000:user/ann", "deploy": "assumed-role/deploy/"} {
		cfg, err := config.LoadDefaultConfig(t.Context(), config.WithSharedConfigProfile(profile),
			config.WithSharedConfigFiles([]string{config1}), config.WithSharedCredentialsFiles([]string{credentials1}))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := whoIs(t.Context(), cfg); err != nil || !strings.Contains(got, want) {
			t.Errorf("the profile %s belongs to %q, %v, want %s", profile, got, err, want)
		}
	}
	// Written again, nothing changes; the profile of a source that does not exist is refused; without --write nothing is written.
	if code, _, errs := in(t, home, "env", "--write", "--user", "ann", "--profile", "ci", "--data", s.Dir); code != 0 {
		t.Fatal(errs)
	}
	if again, err := os.ReadFile(real1); err != nil || string(again) != want {
		t.Errorf("config after the same command: got\n%q, %v", again, err)
	}
	args := strings.Fields("env --write --role deploy --source-profile none --profile x --data " + s.Dir)
	if code, _, errs := in(t, home, args...); code == 0 || !strings.Contains(errs, "ecrin env --user none --profile none --write") {
		t.Errorf("a source profile that does not exist: got %d, %s", code, errs)
	}
	other := t.TempDir()
	if code, out, errs := in(t, other, "env", "--user", "ann", "--profile", "new", "--data", s.Dir); code != 0 ||
		!strings.Contains(out, "[profile new]\n") || !strings.Contains(out, "\n[new]\naws_access_key_id = AKIA") {
		t.Errorf("env --profile: got %d, %s, %s", code, out, errs)
	}
	if entries, err := os.ReadDir(other); err != nil || len(entries) > 0 {
		t.Errorf("env --profile without --write has made %v, %v", entries, err)
	}
	if code, out, _ := in(t, home, "__complete", "token", "list", "--profile", ""); code != 0 || !strings.Contains(out, "deploy\n") {
		t.Errorf("the completion of --profile: got %d, %s", code, out)
	}
	if code, out, _ := in(t, home, "__complete", "env", "--data", s.Dir, "--user", ""); code != 0 || !strings.HasPrefix(out, "ann\n") {
		t.Errorf("the completion of --user: got %d, %s", code, out)
	}
}

// Profiles that several processes write at the same time are all there.
func TestProfilesWrittenAtOnce(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	home := t.TempDir()
	const n = 12
	var writers sync.WaitGroup
	for i := range n {
		writers.Go(func() {
			if code, _, errs := in(t, home, "env", "--write", "--profile", fmt.Sprint("p", i), "--data", s.Dir); code != 0 {
				t.Error(errs)
			}
		})
	}
	writers.Wait()
	for _, file := range []string{"config", "credentials"} {
		text, err := os.ReadFile(filepath.Join(home, ".aws", file))
		if got := strings.Count(string(text), "["); err != nil || got != n {
			t.Errorf("%s has %d profiles, %v, want %d", file, got, err, n)
		}
	}
}

// With the address of a server and the credentials of a profile, ecrin env assumes a role as its trust policy allows, and other commands
// work with a profile that assumes a role.
func TestRoleIsAssumedFromAnotherMachine(t *testing.T) {
	s := apptest.Start(t, apptest.Options{})
	people(t, s)
	home := t.TempDir()
	for _, key := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL"} {
		t.Setenv(key, "")
	}
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(home, ".aws", "config"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(home, ".aws", "credentials"))
	for _, args := range []string{"--user ann --profile ann", "--role deploy --source-profile ann --profile deploy"} {
		if code, _, errs := in(t, home, append(strings.Fields("env --write "+args), "--data", s.Dir)...); code != 0 {
			t.Fatal(errs)
		}
	}
	const role = "arn:aws:iam::000000000000:role/ci/deploy"
	code, out, errs := in(t, home, "env", "--url", s.Running.URL, "--source-profile", "ann", "--role", role, "--json")
	var v map[string]string
	if err := json.Unmarshal([]byte(out), &v); code != 0 || err != nil || v["AWS_ENDPOINT_URL"] != s.Running.URL ||
		v["AWS_SESSION_TOKEN"] == "" {
		t.Fatalf("env --url --role: got %d, %s, %s", code, out, errs)
	}
	got, err := whoIs(t.Context(), aws.Config{Region: v["AWS_REGION"], BaseEndpoint: &s.Running.URL,
		Credentials: credentials.NewStaticCredentialsProvider(v["AWS_ACCESS_KEY_ID"], v["AWS_SECRET_ACCESS_KEY"], v["AWS_SESSION_TOKEN"])})
	if want := "arn:aws:sts::000000000000:assumed-role/deploy/ecrin-env"; err != nil || got != want {
		t.Errorf("the credentials are those of %q, %v, want %s", got, err, want)
	}
	for _, args := range [][]string{{"--profile", "deploy"}, {"--url", s.Running.URL, "--profile", "deploy"}} {
		code, _, errs := in(t, home, append([]string{"token", "list"}, args...)...)
		if want := "assumed-role/deploy/"; code != 1 || !strings.Contains(errs, want) || !strings.Contains(errs, "ecrin:ListTokens") {
			t.Errorf("token list %v: got %d, %s, want a denial for %s", args, code, errs, want)
		}
	}
	root := s.Root(t)
	t.Setenv("AWS_ACCESS_KEY_ID", root.KeyID)
	t.Setenv("AWS_SECRET_ACCESS_KEY", root.Secret)
	if code, out, errs := in(t, home, "account", "keys", "list", "--url", s.Running.URL); code != 0 || !strings.Contains(out, root.KeyID) {
		t.Errorf("with the credentials of the environment: got %d, %s, %s", code, out, errs)
	}
	code, out, errs = in(t, home, "env", "--url", s.Running.URL, "--source-profile", "ann", "--role", role, "--profile", "far", "--write")
	text, err := os.ReadFile(filepath.Join(home, ".aws", "config"))
	want := "role_arn = " + role + "\nsource_profile = ann\nservices = ecrin-far\n"
	if code != 0 || out != "" || err != nil || !strings.Contains(string(text), want) {
		t.Errorf("env --write from another machine: got %d, %s, %s, %v", code, errs, text, err)
	}
}
