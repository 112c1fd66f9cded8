package clients_test

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// The rows are the experience of a user who migrates from ECR: real names, TLS, the aws CLI and docker.
func rowSession(t *testing.T) *session {
	t.Helper()
	t.Parallel()
	s, err := namedServer()
	if err != nil {
		t.Fatal(err)
	}
	return newSession(t, s)
}

// E1: create-repository returns the full object, and the second time RepositoryAlreadyExistsException with
// status 400.
func TestE1CreateRepositoryTwice(t *testing.T) {
	s := rowSession(t)
	a := newAWS(s, "2")
	const repo = "e1/project-name"
	args := []string{"ecr", "create-repository", "--repository-name", repo}
	type repository struct {
		RepositoryArn, RegistryId, RepositoryName, RepositoryUri string
		CreatedAt                                                any
		ImageTagMutability                                       string
		ImageScanningConfiguration                               *struct{ ScanOnPush bool }
		EncryptionConfiguration                                  struct{ EncryptionType string }
	}
	got := fromJSON[struct{ Repository repository }](t, a.cmd(args...).ok()).Repository
	if got.CreatedAt == nil || got.ImageScanningConfiguration == nil || got.ImageScanningConfiguration.ScanOnPush {
		t.Errorf("create-repository: got %+v, want createdAt, and scanOnPush false", got)
	}
	got.CreatedAt, got.ImageScanningConfiguration = nil, nil
	want := repository{
		RepositoryArn: "arn:aws:ecr:us-east-1:000000000000:repository/" + repo, RegistryId: account, RepositoryName: repo,
		RepositoryUri:      "000000000000.dkr.ecr.us-east-1.amazonaws.com/" + repo,
		ImageTagMutability: "MUTABLE",
	}
	want.EncryptionConfiguration.EncryptionType = "AES256"
	if got != want {
		t.Errorf("create-repository: got %+v, want %+v", got, want)
	}

	text := "An error occurred (RepositoryAlreadyExistsException) when calling the CreateRepository operation: " +
		"The repository with name '" + repo + "' already exists in the registry with id '" + account + "'"
	if out := a.cmd(args...).fails(); !strings.Contains(out, text) {
		t.Errorf("create-repository again: got %q, want %q", out, text)
	}
	_, err := s.s.sdk(t, account, region).CreateRepository(t.Context(), &ecr.CreateRepositoryInput{RepositoryName: aws.String(repo)})
	var exists *types.RepositoryAlreadyExistsException
	var resp *awshttp.ResponseError
	if !errors.As(err, &exists) || !errors.As(err, &resp) || resp.HTTPStatusCode() != http.StatusBadRequest {
		t.Errorf("CreateRepository again: got %v, want RepositoryAlreadyExistsException with status 400", err)
	}
}

// E2: get-login of the CLI's version 1 prints one docker command per registry, with the exact order of words.
func TestE2GetLogin(t *testing.T) {
	s := rowSession(t)
	a := newAWS(s, "1")
	text := func(args ...string) string {
		c := a.cmd(append([]string{"ecr", "get-login"}, args...)...)
		return c.ok()
	}
	line := func(email, acct string) *regexp.Regexp {
		return regexp.MustCompile(`^docker login -u AWS -p ([A-Za-z0-9+/=_.-]+)` + email +
			` https://` + acct + `\.dkr\.ecr\.us-east-1\.amazonaws\.com$`)
	}
	check := func(what, got string, want *regexp.Regexp) {
		t.Helper()
		m := want.FindStringSubmatch(got)
		if m == nil {
			t.Errorf("%s: got %q, want a line like %s", what, got, want)
			return
		}
		// The password is the output of `cut -d ' ' -f 6`.
		if field := strings.Split(got, " ")[5]; field != m[1] {
			t.Errorf("%s: field 6 is %q, want the password", what, field)
		}
		s.wantLogin(m[1])
	}
	check("get-login", text(), line(" -e none", account))
	check("get-login --no-include-email", text("--no-include-email"), line("", account))
	got := strings.Split(text("--no-include-email", "--registry-ids", otherAccount, account), "\n")
	if len(got) != 2 {
		t.Fatalf("get-login --registry-ids A B printed %d lines, want 2: %q", len(got), got)
	}
	check("first of two ids", got[0], line("", otherAccount))
	check("second of two ids", got[1], line("", account))
}

// E3: the password is piped into docker login, with the bare host or with https:// before it.
func TestE3DockerLogin(t *testing.T) {
	first := rowSession(t)
	password := newAWS(first, "2").cmd("ecr", "get-login-password").ok()
	first.s.createRepo(t, "e3/login")
	ref := first.s.ref("e3/login")
	for _, host := range []string{first.host(), "https://" + first.host()} {
		s := withEngine(newSession(t, first.s)) // a session without a login
		if out := s.cmd("docker", "login", "--username", "AWS", "--password-stdin",
			host).stdin("wrong\n").fails(); strings.Contains(out, "Login Succeeded") {
			t.Errorf("docker login %s with a wrong password: got %q", host, out)
		}
		out := s.cmd("docker", "login", "--username", "AWS", "--password-stdin", host).stdin(password + "\n").ok()
		if !strings.Contains(out, "Login Succeeded") {
			t.Errorf("docker login %s: got %q, want Login Succeeded", host, out)
		}
		// Both store the same credentials: they are used in a request to the bare host.
		if out := s.cmd("docker", "pull", ref+":none").fails(); !strings.Contains(out, "not found") {
			t.Errorf("docker pull after login to %s: got %q, want not found (so: logged in)", host, out)
		}
	}
}

// E6: tag, push, and after a login pull in another session: the digest is the same; describe-images has tag,
// size and time.
func TestE6PushPullElsewhere(t *testing.T) {
	s := withEngine(rowSession(t))
	a := newAWS(s, "2")
	const repo = "e6/project-name/repository-name"
	uri := fromJSON[struct {
		Repository struct{ RepositoryUri string }
	}](t,
		a.cmd("ecr", "create-repository", "--repository-name", repo).ok()).Repository.RepositoryUri
	dockerLogin(s)
	loadImage(s, uri+":1.0")
	pushed := dockerPush(s, uri+":1.0")

	// Another session: another user's home, and another client without cached content.
	other := newSession(t, s.s)
	containersConfig(other)
	other.cmd("podman", "login", "--username", "AWS", "--password-stdin", other.host()).
		stdin(newAWS(other, "2").cmd("ecr", "get-login-password").ok()).ok()
	other.cmd("podman", "pull", uri+":1.0").ok()
	if got := other.cmd("podman", "image", "inspect", "--format", "{{.Digest}}", uri+":1.0").ok(); got != pushed.String() {
		t.Errorf("pulled elsewhere: got %s, want %s", got, pushed)
	}
	details := fromJSON[struct {
		ImageDetails []struct {
			ImageDigest      string
			ImageTags        []string
			ImageSizeInBytes int64
			ImagePushedAt    string
		}
	}](t, a.cmd("ecr", "describe-images", "--repository-name", repo).ok()).ImageDetails
	if len(details) != 1 || details[0].ImageDigest != pushed.String() || fmt.Sprint(details[0].ImageTags) != "[1.0]" ||
		details[0].ImageSizeInBytes < 1<<20 || !strings.HasPrefix(details[0].ImagePushedAt, "20") {
		t.Errorf("describe-images: got %+v, want %s tagged 1.0 with size and time", details, pushed)
	}
}

// E7: a push to a repository that does not exist fails with ECR's text.
func TestE7PushToMissingRepository(t *testing.T) {
	s := withEngine(rowSession(t))
	dockerLogin(s)
	ref := s.s.ref("e7/missing")
	loadImage(s, ref+":v1")
	want := "name unknown: The repository with name 'e7/missing' does not exist in the registry with id '000000000000'"
	if out := s.cmd("docker", "push", ref+":v1").fails(); !strings.Contains(out, want) {
		t.Errorf("docker push to a missing repository: got %q, want %q", out, want)
	}
}

const expired = "Your authorization token has expired. Reauthenticate and try again."

// E8: a push without login, with a token of another region, and with a token older than 12 hours.
func TestE8PushWithoutGoodToken(t *testing.T) {
	s := withEngine(rowSession(t))
	ref := s.repo("e8/guarded")
	loadImage(s, ref+":v1")
	push := func(what, want string) {
		t.Helper()
		if out := s.cmd("docker", "push", ref+":v1").fails(); !strings.Contains(out, want) {
			t.Errorf("docker push %s: got %q, want %q", what, out, want)
		}
	}
	push("without login", "no basic auth credentials")
	s.storeLogin(s.s.password(t, account, otherRegion))
	push("with a token of another region", expired)
	s.storeLogin(s.password())
	s.cmd("docker", "push", ref+":v1").ok() // the same push with a valid token, so that the token was the reason of the refusals

	// Instead of waiting 12 hours, the test uses another server, one of whose tokens was issued by a clock that
	// was slow by that time.
	aged, password := agedServer(t)
	s = withEngine(newSession(t, aged))
	ref = s.repo("e8/guarded")
	loadImage(s, ref+":v1")
	s.storeLogin(password)
	push("with a token older than 12 h", expired)
	s.storeLogin(s.password())
	s.cmd("docker", "push", ref+":v1").ok()
}

// agedServer starts a server with plain HTTP, and returns it with a docker password of its root user that was
// issued 12 hours and one minute ago.
func agedServer(t *testing.T) (*server, string) {
	t.Helper()
	dir := t.TempDir()
	first, err := startServerIn(dir, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	key := first.root(t, account)["AWS_ACCESS_KEY_ID"]
	first.stop()

	slow := func() time.Time { return time.Now().Add(-identity.TokenLife - time.Minute) }
	store, err := meta.OpenSQLite(t.Context(), dir, slow)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := identity.LoadKeyring(dir, "", false)
	if err != nil {
		t.Fatal(err)
	}
	root := identity.Caller{Kind: identity.Root, Account: name.MustAccount(account),
		ARN: identity.RootARN(name.MustAccount(account)), AccessKey: key}
	password, _, err := identity.New(store, keys, slow, identity.Options{}).IssueToken(t.Context(), root, name.MustRegion(region))
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	second, err := startServerIn(dir, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(second.stop)
	return second, password.Reveal()
}

// The output of get-login by the address of the server, run as it is, logs in to the host of repositoryUri.
func TestGetLoginByAddress(t *testing.T) {
	t.Parallel()
	server, err := plainServer()
	if err != nil {
		t.Fatal(err)
	}
	s := withEngine(newSession(t, server))
	login := newAWS(s, "1").cmd("ecr", "get-login", "--no-include-email").ok()
	if !strings.HasSuffix(login, " http://"+s.host()) {
		t.Errorf("get-login printed %q, want the address http://%s", login, s.host())
	}
	s.cmd("sh", "-c", login).ok()
	uri := server.uriOf(t, "rows/get-login")
	loadImage(s, uri+":v1")
	dockerPush(s, uri+":v1")

	// The helpers of AWS accept only host names in ECR's form, and get them from the same address.
	ecrLogin(newSession(t, server))
	s.wantLogin(kubeletPassword(s, "rows/get-login"))
}

// uriOf creates a repository in the default registry and returns its repositoryUri.
func (s *server) uriOf(t *testing.T, repo string) string {
	t.Helper()
	out, err := s.sdk(t, account, region).CreateRepository(t.Context(), &ecr.CreateRepositoryInput{RepositoryName: &repo})
	if err != nil {
		t.Fatal(err)
	}
	return aws.ToString(out.Repository.RepositoryUri)
}
