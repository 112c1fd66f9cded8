// Package apptest runs the whole server inside a test, with real listeners, real files, port 0 and its own
// directory.
package apptest

import (
	"bytes"
	"context"
	"encoding/base64"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/ecrin-dev/ecrin/internal/main/app"
	"github.com/ecrin-dev/ecrin/internal/main/client"
	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Options configure a server. The zero value means the default configuration on 127.0.0.1 and a free port.
type Options struct {
	Dir    string               // data directory; "" means a new one
	Config func(*config.Config) // changes the configuration
	Now    func() time.Time     // nil means time.Now
}

// Server is a running server. Its methods must be called from one goroutine; their results may be used
// concurrently.
type Server struct {
	Running app.Running
	URL     string // http://127.0.0.1:PORT
	Dir     string
	Log     *Buffer // the server's log, JSON lines, debug level
	HTTP    *http.Client

	options Options
	app     *app.App
	stop    func() error
}

// Start runs a server until the test ends. The test fails if the server then stops with an error.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
		metatest.Prepare(t, o.Dir)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Server{Dir: o.Dir, Log: &Buffer{}, HTTP: ocitest.NewHTTP(t), options: o}
	s.start(t, "127.0.0.1:0")
	t.Cleanup(func() { s.Stop(t) })
	return s
}

// Attach connects to a server that another process runs on a data directory. The methods and fields that need
// the server itself (Stop, Restart, Meta, Log) cannot be used.
func Attach(t testing.TB, dir string) *Server {
	t.Helper()
	running, err := client.Find(dir)
	if err != nil {
		t.Fatal(err)
	}
	return &Server{Running: running, URL: "http://" + running.Address, Dir: dir, HTTP: ocitest.NewHTTP(t)}
}

func (s *Server) start(t testing.TB, address string) {
	t.Helper()
	c := config.Default()
	c.Data, c.Listen, c.LogLevel, c.StopTimeout = s.Dir, []string{address}, "debug", 10*time.Second
	if s.options.Config != nil {
		s.options.Config(&c)
	}
	checked, err := c.Check()
	if err != nil {
		t.Fatalf("the configuration of the test's server: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	log := slog.New(slog.NewJSONHandler(s.Log, &slog.HandlerOptions{Level: checked.Level}))
	s.app, err = app.New(ctx, checked, log, s.options.Now)
	if err != nil {
		cancel()
		t.Fatalf("building the server: %v", err)
	}
	ready, ended := make(chan app.Running, 1), make(chan error, 1)
	go func() { ended <- s.app.Run(ctx, func(r app.Running) { ready <- r }) }()
	select {
	case s.Running = <-ready:
	case err := <-ended:
		cancel()
		t.Fatalf("starting the server: %v", err)
	}
	s.URL = "http://" + s.Running.Address
	s.stop = func() error {
		cancel()
		return <-ended
	}
}

// Stop stops the server gracefully. The end of the test stops it too.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	if s.stop == nil {
		return
	}
	s.HTTP.CloseIdleConnections()
	if err := s.stop(); err != nil {
		t.Errorf("stopping the server: %v", err)
	}
	s.stop = nil
}

// End stops the server gracefully, and returns its error.
func (s *Server) End() error {
	s.HTTP.CloseIdleConnections()
	stop := s.stop
	s.stop = nil
	return stop()
}

// Restart stops the server and starts it again with the same directory and address, so that clients and
// Locations stay valid.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.Stop(t)
	s.Back(t)
}

// Back starts a server that was stopped, with the same directory and address.
func (s *Server) Back(t testing.TB) {
	t.Helper()
	s.start(t, s.Running.Address)
}

// Meta returns the server's metadata store.
func (s *Server) Meta() *meta.Store { return s.app.Meta() }

// Registry returns the default registry.
func (s *Server) Registry() name.Registry {
	a, _ := name.ParseAccount(s.Running.Account)
	r, _ := name.ParseRegion(s.Running.Region)
	return name.Registry{Account: a, Region: r}
}

// Operator calls one of ecrin's own operations.
func (s *Server) Operator(t testing.TB, operation string, in, out any) {
	t.Helper()
	c, err := client.Open(s.Dir, "")
	if err == nil {
		err = c.Call(t.Context(), operation, in, out)
	}
	if err != nil {
		t.Fatalf("operation %s: %v", operation, err)
	}
}

// Account is an account's root user in one region.
type Account struct {
	ID, KeyID, Secret, Region string
	server                    *Server
}

// Root returns the root user of the default account.
func (s *Server) Root(t testing.TB) Account {
	t.Helper()
	var out ecrintypes.GetAccountCredentialsResponse
	s.Operator(t, "GetAccountCredentials", ecrintypes.GetAccountCredentialsRequest{}, &out)
	return s.account(out.AccessKey)
}

// NewAccount creates an account and returns its root user.
func (s *Server) NewAccount(t testing.TB, id string) Account {
	t.Helper()
	var out ecrintypes.CreateAccountResponse
	s.Operator(t, "CreateAccount", ecrintypes.CreateAccountRequest{AccountId: id}, &out)
	return s.account(out.AccessKey)
}

// Existing returns the root user of an account that exists.
func (s *Server) Existing(t testing.TB, id string) Account {
	t.Helper()
	var out ecrintypes.GetAccountCredentialsResponse
	s.Operator(t, "GetAccountCredentials", ecrintypes.GetAccountCredentialsRequest{AccountId: id}, &out)
	return s.account(out.AccessKey)
}

func (s *Server) account(k ecrintypes.AccessKey) Account {
	return Account{ID: k.AccountId, KeyID: k.AccessKeyId, Secret: k.SecretAccessKey, Region: s.Running.Region, server: s}
}

// In returns the same account in another region.
func (a Account) In(region string) Account {
	a.Region = region
	return a
}

// ECR returns the AWS SDK's client, with the account's keys.
func (a Account) ECR() *ecr.Client {
	return ecr.New(ecr.Options{
		Region: a.Region, BaseEndpoint: aws.String(a.server.URL), HTTPClient: a.server.HTTP, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(a.KeyID, a.Secret, ""),
	})
}

// STS returns the AWS SDK's client, with the account's keys.
func (a Account) STS() *sts.Client {
	return sts.New(sts.Options{
		Region: a.Region, BaseEndpoint: aws.String(a.server.URL), HTTPClient: a.server.HTTP, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(a.KeyID, a.Secret, ""),
	})
}

// Password gets a docker password by GetAuthorizationToken.
func (a Account) Password(t testing.TB) string {
	t.Helper()
	out, err := a.ECR().GetAuthorizationToken(t.Context(), &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		t.Fatalf("getting a token for account %s: %v", a.ID, err)
	}
	plain, err := base64.StdEncoding.DecodeString(aws.ToString(out.AuthorizationData[0].AuthorizationToken))
	password, ok := strings.CutPrefix(string(plain), "AWS:")
	if err != nil || !ok {
		t.Fatalf("the authorization token of account %s is not AWS:PASSWORD in base64: %v", a.ID, err)
	}
	return password
}

// Docker returns a client of the account's registry with a password. For other registries than the default one,
// its Prefix has the registry.
func (a Account) Docker(t testing.TB) ocitest.Client {
	t.Helper()
	c := ocitest.Client{Base: a.server.URL, HTTP: a.server.HTTP, Password: a.Password(t)}
	if r := a.server.Running; a.ID != r.Account || a.Region != r.Region {
		c.Prefix = a.ID + "/" + a.Region + "/"
	}
	return c
}

// CreateRepository creates a repository and returns it with a client that has a password.
func (a Account) CreateRepository(t testing.TB, repository string) ocitest.Repo {
	t.Helper()
	if _, err := a.ECR().CreateRepository(t.Context(), &ecr.CreateRepositoryInput{RepositoryName: &repository}); err != nil {
		t.Fatalf("creating repository %s of account %s: %v", repository, a.ID, err)
	}
	return a.Docker(t).Repo(repository)
}

// Buffer is an io.Writer for logs. It is safe for concurrent use.
type Buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
