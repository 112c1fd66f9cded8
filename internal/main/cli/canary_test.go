package cli_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/hooktest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
	"github.com/ecrin-dev/ecrin/internal/test/pgtest"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// spellings returns the forms in which a secret could be stored: as it is, in hexadecimal digits, and in base64 at each of the three
// places at which it can begin in a group.
func spellings(text string) map[string][]byte {
	b := []byte(text)
	all := map[string][]byte{"as it is": b, "in hexadecimal digits": []byte(hex.EncodeToString(b)),
		"in capital hexadecimal digits": []byte(strings.ToUpper(hex.EncodeToString(b)))}
	for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for before := range 3 {
			coded := e.EncodeToString(append(make([]byte, before), b...))
			// The first group has bits of what is before, the last one of what comes after.
			all[fmt.Sprintf("in base64 after %d bytes", before)] = []byte(coded[4*min(before, 1) : len(coded)-4])
		}
	}
	return all
}

// The search finds a secret in each spelling.
func TestSpellingsAreFound(t *testing.T) {
	t.Parallel()
	const canary = "canary-0123456789/+?"
	for before := range 3 {
		text := strings.Repeat("x", before) + canary + "more"
		for what, coded := range map[string]string{"std": base64.StdEncoding.EncodeToString([]byte(text)),
			"url": base64.URLEncoding.EncodeToString([]byte(text)), "hex": hex.EncodeToString([]byte(text)), "plain": text} {
			if found := hasSpelling([]byte(coded), canary); found == "" {
				t.Errorf("%s after %d bytes: the search does not find it in %q", what, before, coded)
			}
		}
	}
	if found := hasSpelling([]byte("something else"), canary); found != "" {
		t.Errorf("the search finds it %s in another text", found)
	}
}

// hasSpelling returns in which form a text has a secret, "" if it has not.
func hasSpelling(text []byte, secret string) string {
	for what, form := range spellings(secret) {
		if bytes.Contains(text, form) {
			return what
		}
	}
	return ""
}

// The secrets of all kinds are nowhere in what an installation stores, writes and shows: the files of its directory (database, log of the
// database, audit trail), a dump of PostgreSQL, a backup, its log, the audit events, jobs, events and metrics.
func TestCanaries(t *testing.T) {
	t.Parallel()
	for _, database := range []string{"SQLite", "PostgreSQL"} {
		t.Run(database, func(t *testing.T) {
			t.Parallel()
			testCanaries(t, database == "PostgreSQL")
		})
	}
}

func testCanaries(t *testing.T, postgres bool) {
	receiver := hooktest.New(t)
	url := ""
	if postgres {
		url = pgtest.Start(t).NewDatabase(t)
	}
	s := apptest.Start(t, apptest.Options{Config: func(c *config.Config) {
		c.EgressAllow, c.EgressCA, c.Database = []string{"127.0.0.0/8"}, receiver.CA, secret.New(url)
	}})
	root := s.Root(t)
	repo := root.CreateRepository(t, "team/app")
	secrets := plantCanaries(t, s, root, receiver)
	secrets["the docker password"] = repo.Password
	repo.Push(t, "1.0", ocitest.NewImage(1, 1000))
	receiver.Wait(t, "the push", func(all []hooktest.Got) bool { return len(all) > 0 })
	receiver.Answer(func(hooktest.Got) int { return http.StatusInternalServerError }) // deliveries that wait, with the text of a failure
	repo.Push(t, "2.0", ocitest.NewImage(2, 1000))
	receiver.Wait(t, "the failed delivery", func(all []hooktest.Got) bool { return len(all) > 1 })
	repo.Manifest(t, "1.0").Want(t, 200)
	root.Docker(t).Repo("cache/app").Manifest(t, "1.0") // its registry fails
	wrong := repo
	wrong.Password = repo.Password + "x"
	wrong.Manifest(t, "1.0")
	_, _ = root.ECR().DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{RepositoryNames: []string{"none"}})

	texts := map[string][]byte{"the metrics": fetchText(t, s, "/metrics")}
	for _, command := range []string{"audit --json", "job list --json", "events --json --limit 1000", "webhook list --json",
		"webhook deliveries deploy --json", "secret list --json", "token list --json", "usage --json", "account list --json"} {
		_, out, errs := run(t, append(strings.Fields(command), "--data", s.Dir)...)
		texts["ecrin "+command] = []byte(out + errs)
	}
	backup := filepath.Join(t.TempDir(), "backup")
	_, out, errs := run(t, "backup", backup, "--data", s.Dir)
	texts["the output of ecrin backup"] = []byte(out + errs)
	if postgres {
		dump, err := exec.Command("pg_dump", "--inserts", url).Output()
		if err != nil {
			t.Fatalf("pg_dump: %v", err)
		}
		texts["the dump"] = dump
		if !bytes.Contains(dump, []byte("access_keys")) || !bytes.Contains(dump, []byte("team/app")) {
			t.Error("the dump lacks the tables")
		}
	}
	addFiles(t, "the running directory", s.Dir, texts)
	addFiles(t, "the backup", backup, texts)
	s.Stop(t)
	addFiles(t, "the stopped directory", s.Dir, texts)
	texts["the log"] = []byte(s.Log.String())
	for _, where := range []string{"the log", "ecrin audit --json", "ecrin events --json --limit 1000"} {
		if !bytes.Contains(texts[where], []byte("team/app")) {
			t.Errorf("%s lacks the push: %.300s", where, texts[where])
		}
	}
	if !postgres && !bytes.Contains(texts["the running directory/ecrin.db"], []byte("SQLite")) {
		t.Error("the database was not read")
	}
	for where, text := range texts {
		for what, canary := range secrets {
			if found := hasSpelling(text, canary); found != "" {
				t.Errorf("%s has %s, %s", where, what, found)
			}
		}
	}
}

// plantCanaries makes secrets of all kinds, and returns them by what they are.
func plantCanaries(t *testing.T, s *apptest.Server, root apptest.Account, receiver *hooktest.Receiver) map[string]string {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	all := map[string]string{"the upstream password": "canary-upstream-Zk3v9", "the login password": "Canary-login-8Qx2w!",
		"the webhook URL": "canary-url-5Tn1c"}
	all["the secret access key of root"] = root.Secret
	var hook ecrintypes.CreateWebhookResponse
	s.Operator(t, "CreateWebhook", &ecrintypes.CreateWebhookRequest{WebhookName: "deploy",
		WebhookUrl: receiver.URL + "/x?token=" + all["the webhook URL"]}, &hook)
	all["the webhook secret"] = hook.Secret
	var stored ecrintypes.SecretResponse
	s.Operator(t, "PutSecret", &ecrintypes.PutSecretRequest{Name: "ecr-pullthroughcache/hub",
		SecretString: `{"username":"u","accessToken":"` + all["the upstream password"] + `"}`}, &stored)
	_, err := root.ECR().CreatePullThroughCacheRule(t.Context(), &ecr.CreatePullThroughCacheRuleInput{
		EcrRepositoryPrefix: aws.String("cache"),
		UpstreamRegistryUrl: aws.String(strings.TrimPrefix(receiver.URL, "https://")), CredentialArn: &stored.Secret.Arn})
	must(err)
	session, err := root.STS().GetSessionToken(t.Context(), &sts.GetSessionTokenInput{})
	must(err)
	all["the session token"], all["the secret of the session"] = *session.Credentials.SessionToken, *session.Credentials.SecretAccessKey
	users := iam.New(iam.Options{Region: root.Region, BaseEndpoint: aws.String(s.URL), HTTPClient: s.HTTP, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(root.KeyID, root.Secret, "")})
	_, err = users.CreateUser(t.Context(), &iam.CreateUserInput{UserName: aws.String("ci")})
	must(err)
	password := all["the login password"]
	_, err = users.CreateLoginProfile(t.Context(), &iam.CreateLoginProfileInput{UserName: aws.String("ci"), Password: &password})
	must(err)
	key, err := users.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: aws.String("ci")})
	must(err)
	all["the secret access key of a user"] = *key.AccessKey.SecretAccessKey
	master, err := os.ReadFile(filepath.Join(s.Dir, "master.key"))
	must(err)
	all["the master key"] = strings.TrimSpace(string(master))
	raw, err := base64.StdEncoding.DecodeString(all["the master key"])
	must(err)
	all["the bytes of the master key"] = string(raw)
	return all
}

// addFiles adds the files of a directory but the master key to texts.
func addFiles(t *testing.T, what, dir string, texts map[string][]byte) {
	t.Helper()
	if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || d.Name() == "master.key" {
			return err
		}
		b, err := os.ReadFile(path)
		texts[what+strings.TrimPrefix(path, dir)] = b
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func fetchText(t *testing.T, s *apptest.Server, path string) []byte {
	t.Helper()
	resp, err := s.HTTP.Get(s.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: got %d, %v", path, resp.StatusCode, err)
	}
	return b
}
