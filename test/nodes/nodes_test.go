// Package nodes_test runs two servers on one PostgreSQL database. After a change on one server is answered, the other
// server must answer by the change.
package nodes_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrsdk "github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamsdk "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/smithy-go"

	"github.com/ecrin-dev/ecrin/internal/main/app"
	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
	"github.com/ecrin-dev/ecrin/internal/test/pgtest"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
	"github.com/ecrin-dev/ecrin/internal/word/slowtest"
)

// changes returns the number of changes of the test: 10,000 take eight minutes.
func changes() int { return slowtest.Soak(350, 1000, 10_000) }

const visitor = "111122223333"

// nodes starts two servers on one database, each with its own data directory and with the same master key.
func nodes(t *testing.T) (a, b *apptest.Server) {
	t.Helper()
	url := secret.New(pgtest.Start(t).NewDatabase(t))
	start := func(dir string) *apptest.Server {
		return apptest.Start(t, apptest.Options{Dir: dir, Config: func(c *config.Config) { c.Database, c.LogLevel = url, "error" }})
	}
	a = start(t.TempDir())
	dir := t.TempDir()
	key, err := os.ReadFile(filepath.Join(a.Dir, "master.key"))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "master.key"), key, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return a, start(dir)
}

// actor is a principal with an access key, as a client of one server.
type actor struct {
	ecr  *ecr.Client
	iam  *iam.Client
	base string
	http *http.Client
}

func as(s *apptest.Server, key, secretKey string) actor {
	c := aws.Config{
		Region: s.Running.Region, BaseEndpoint: &s.URL, HTTPClient: s.HTTP, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(key, secretKey, ""),
	}
	return actor{ecr.NewFromConfig(c), iam.NewFromConfig(c), s.URL, s.HTTP}
}

// docker returns a client of the OCI distribution API for a repository, with a docker password of the actor.
func (x actor) docker(t *testing.T, repository string) ocitest.Repo {
	t.Helper()
	out, err := x.ecr.GetAuthorizationToken(t.Context(), &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		t.Fatal(err)
	}
	plain, err := base64.StdEncoding.DecodeString(*out.AuthorizationData[0].AuthorizationToken)
	if err != nil {
		t.Fatal(err)
	}
	return ocitest.Client{Base: x.base, HTTP: x.http, Password: strings.TrimPrefix(string(plain), "AWS:")}.Repo(repository)
}

func code(err error) string {
	var answer smithy.APIError
	if errors.As(err, &answer) {
		return answer.ErrorCode()
	}
	return fmt.Sprint(err)
}

// A step makes a change on the first server and describes the answer that the second server must then return.
type step struct {
	what   string
	change func(ctx context.Context, n int) error
	read   func(ctx context.Context) string
	want   func(n int) string
}

// After a change on one server is answered, the other server answers by it, even if its caches held the state before.
func TestChangesAreSeenByOthers(t *testing.T) {
	t.Parallel()
	a, b := nodes(t)
	steps := changing(t, a, b)
	ctx := t.Context()
	var stop atomic.Bool
	var readers sync.WaitGroup
	for i := range 2 { // other clients send requests to the second server
		readers.Go(func() {
			for n := i; !stop.Load(); n++ {
				steps[n%len(steps)].read(ctx)
			}
		})
	}
	stale := 0
	for n := range changes() {
		s := steps[n%len(steps)]
		round := n / len(steps)
		if err := s.change(ctx, round); err != nil {
			t.Fatalf("change %d, %s: %v", n, s.what, err)
		}
		if got, want := s.read(ctx), s.want(round); got != want {
			stale++
			t.Errorf("change %d, %s: got %q from the other server, want %q", n, s.what, got, want)
		}
	}
	stop.Store(true)
	readers.Wait()
	t.Logf("%d changes, %d answers of the other server stale", changes(), stale)
	for _, s := range []*apptest.Server{a, b} {
		if strings.Contains(s.Log.String(), pgtest.Password) {
			t.Error("a log has the password of the database")
		}
	}
}

// changing creates the things that change, and returns the steps.
func changing(t *testing.T, a, b *apptest.Server) []step {
	t.Helper()
	root := a.Root(t)
	onA, onB := as(a, root.KeyID, root.Secret), as(b, root.KeyID, root.Secret)
	other := a.NewAccount(t, visitor)
	visitorB := as(b, other.KeyID, other.Secret)
	const repository = "team/app"
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	repoA := root.CreateRepository(t, repository)
	images := []ocitest.Image{ocitest.NewImage(1, 100), ocitest.NewImage(2, 100)}
	for i, im := range images {
		repoA.Push(t, fmt.Sprint("image", i), im)
	}
	user := func(name string) (onB actor, key *string) {
		_, err := onA.iam.CreateUser(t.Context(), &iam.CreateUserInput{UserName: &name})
		must(err)
		out, err := onA.iam.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: &name})
		must(err)
		return as(b, *out.AccessKey.AccessKeyId, *out.AccessKey.SecretAccessKey), out.AccessKey.AccessKeyId
	}
	annB, key := user("ann")
	bobB, _ := user("bob")
	repoB := onB.docker(t, repository)
	foreign := visitorB.docker(t, repository)
	foreign.Prefix = root.ID + "/" + root.Region + "/"
	put := func(ctx context.Context, tag string, im ocitest.Image) error {
		return status(repoA.Try(ctx, http.MethodPut, repoA.Path("/manifests/"+tag), strings.NewReader(string(im.Manifest)),
			"Content-Type", ocitest.ImageType))
	}
	head := func(r ocitest.Repo, tag string) func(context.Context) string {
		return func(ctx context.Context) string {
			answer, err := r.Try(ctx, http.MethodHead, r.Path("/manifests/"+tag), nil)
			if err != nil {
				return err.Error()
			}
			return fmt.Sprint(answer.Status, " ", answer.Header.Get("Docker-Content-Digest"))
		}
	}
	policy := func(ctx context.Context, name, effect string) error {
		_, err := onA.iam.PutUserPolicy(ctx, &iam.PutUserPolicyInput{
			UserName: &name, PolicyName: aws.String("rights"),
			PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"` + effect +
				`","Action":"ecr:DescribeRepositories","Resource":"*"}]}`),
		})
		return err
	}
	must(policy(t.Context(), "ann", "Allow"))
	describe := func(x actor) func(context.Context) string {
		return func(ctx context.Context) string {
			_, err := x.ecr.DescribeRepositories(ctx, &ecr.DescribeRepositoriesInput{})
			return code(err)
		}
	}
	either := func(n int, even, odd string) string {
		if n%2 == 0 {
			return even
		}
		return odd
	}
	return []step{
		{
			"a tag moves",
			func(ctx context.Context, n int) error { return put(ctx, "moving", images[n%2]) },
			head(repoB, "moving"),
			func(n int) string { return "200 " + images[n%2].Digest },
		},
		{
			"a repository's policy lets another account in or out",
			func(ctx context.Context, n int) error {
				effect := either(n, "Allow", "Deny")
				_, err := onA.ecr.SetRepositoryPolicy(ctx, &ecr.SetRepositoryPolicyInput{RepositoryName: aws.String(repository), PolicyText: aws.String(
					`{"Version":"2012-10-17","Statement":[{"Effect":"` + effect + `","Principal":{"AWS":"` + visitor +
						`"},"Action":["ecr:BatchGetImage","ecr:GetDownloadUrlForLayer"]}]}`)})
				return err
			},
			head(foreign, "image0"),
			func(n int) string { return either(n, "200 "+images[0].Digest, "403 ") },
		},
		{
			"an access key is turned off or on",
			func(ctx context.Context, n int) error {
				state := iamsdk.StatusTypeInactive
				if n%2 == 1 {
					state = iamsdk.StatusTypeActive
				}
				_, err := onA.iam.UpdateAccessKey(ctx, &iam.UpdateAccessKeyInput{UserName: aws.String("ann"), AccessKeyId: key, Status: state})
				return err
			},
			describe(annB),
			func(n int) string { return either(n, "UnrecognizedClientException", "<nil>") },
		},
		{
			"a tag is made",
			func(ctx context.Context, n int) error { return put(ctx, "gone", images[n%2]) },
			head(repoB, "gone"),
			func(n int) string { return "200 " + images[n%2].Digest },
		},
		{
			"a tag is deleted",
			func(ctx context.Context, n int) error {
				out, err := onA.ecr.BatchDeleteImage(ctx, &ecr.BatchDeleteImageInput{RepositoryName: aws.String(repository),
					ImageIds: []ecrsdk.ImageIdentifier{{ImageTag: aws.String("gone")}}})
				if err == nil && len(out.Failures) > 0 {
					err = errors.New(*out.Failures[0].FailureReason)
				}
				return err
			},
			head(repoB, "gone"),
			func(int) string { return "404 " },
		},
		{
			"a user's policy allows or denies",
			func(ctx context.Context, n int) error { return policy(ctx, "bob", either(n, "Deny", "Allow")) },
			describe(bobB),
			func(n int) string { return either(n, "AccessDeniedException", "<nil>") },
		},
		{
			"a repository is made or deleted",
			func(ctx context.Context, n int) (err error) {
				if n%2 == 0 {
					_, err = onA.ecr.CreateRepository(ctx, &ecr.CreateRepositoryInput{RepositoryName: aws.String("team/other")})
				} else {
					_, err = onA.ecr.DeleteRepository(ctx, &ecr.DeleteRepositoryInput{RepositoryName: aws.String("team/other")})
				}
				return err
			},
			func(ctx context.Context) string {
				_, err := onB.ecr.GetRepositoryPolicy(ctx, &ecr.GetRepositoryPolicyInput{RepositoryName: aws.String("team/other")})
				return code(err)
			},
			func(n int) string {
				return either(n, "RepositoryPolicyNotFoundException", "RepositoryNotFoundException")
			},
		},
	}
}

func status(answer *ocitest.Answer, err error) error {
	if err == nil && answer.Status >= 300 {
		err = fmt.Errorf("%s: %d %s", answer.Asked, answer.Status, answer.Body)
	}
	return err
}

// Of servers that start concurrently on an empty database with one master key, exactly one creates the default account.
func TestStartAtOnce(t *testing.T) {
	t.Parallel()
	url := secret.New(pgtest.Start(t).NewDatabase(t))
	var created atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "master.key"),
			[]byte(base64.StdEncoding.EncodeToString([]byte("a master key for this test alone"))), 0o600); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			c := config.Default()
			c.Data, c.Listen, c.Database = dir, []string{"127.0.0.1:0"}, url
			checked, err := c.Check()
			if err != nil {
				t.Error(err)
				return
			}
			a, err := app.New(t.Context(), checked, slog.New(slog.DiscardHandler), time.Now)
			if err != nil {
				t.Errorf("starting: %v", err)
				return
			}
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			if err := a.Run(ctx, func(r app.Running) {
				if r.Created {
					created.Add(1)
				}
				stop()
			}); err != nil {
				t.Errorf("running: %v", err)
			}
		})
	}
	wg.Wait()
	if got := created.Load(); got != 1 {
		t.Errorf("%d servers created the default account, want 1", got)
	}
}

// While the database is unavailable, every request is refused as unavailable in the form of its API, and /readyz
// answers with the reason. When the database is available again, requests succeed.
func TestDatabaseAway(t *testing.T) {
	t.Parallel()
	server := pgtest.New(t)
	url := secret.New(server.NewDatabase(t))
	s := apptest.Start(t, apptest.Options{Config: func(c *config.Config) { c.Database = url }})
	root := s.Root(t)
	repo := root.CreateRepository(t, "team/app")
	im := ocitest.NewImage(1, 100)
	repo.Push(t, "v1", im)
	repo.Manifest(t, "v1").Want(t, http.StatusOK) // fills the cache
	server.Stop()
	repo.Manifest(t, "v1").WantError(t, http.StatusServiceUnavailable, "UNAVAILABLE")
	_, err := root.ECR().DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{})
	if got := code(err); got != "ServerException" {
		t.Errorf("the API: got %s, want ServerException", got)
	}
	ready := repo.Do(t, http.MethodGet, "/readyz", nil).Want(t, http.StatusServiceUnavailable)
	if got := string(ready.Body); got != "not ready: the database does not answer\n" {
		t.Errorf("/readyz: got %q, want the reason", got)
	}
	repo.Do(t, http.MethodGet, "/healthz", nil).Want(t, http.StatusOK)
	server.Start(t)
	for n := 0; ; n++ {
		if answer, err := repo.Try(t.Context(), http.MethodGet, "/readyz", nil); err == nil && answer.Status == http.StatusOK {
			break
		}
		if n > 100_000 {
			t.Fatal("the server did not become ready again")
		}
	}
	repo.Manifest(t, "v1").Want(t, http.StatusOK)
	if strings.Contains(s.Log.String(), pgtest.Password) {
		t.Error("the log has the password of the database")
	}
}
