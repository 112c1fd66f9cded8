// Package races_test changes the target of a request between the decision and the action: a tag moves, or a repository,
// role or user is deleted and a new one with its name is created. The action must use the target of the decision, or
// fail. Soaks send many requests while many changes are made. Stepped tests hold one request at each of its readings of
// the clock, and make the change meanwhile. ECRIN_SLOW=1 runs the soaks in full.
package races_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// slow reports whether soaks run in full.
var slow = os.Getenv("ECRIN_SLOW") == "1"

// soak returns the number of requests of a soak: full if slow is true, otherwise short.
func soak(short, full int) int {
	if slow {
		return full
	}
	return short
}

// registry is a running server with its clock and the root user of its default account.
type registry struct {
	*apptest.Server
	clock *clock
	root  actor
}

// serve starts a server that logs errors only.
func serve(t *testing.T) *registry {
	t.Helper()
	s := &registry{clock: &clock{}}
	s.Server = apptest.Start(t, apptest.Options{
		Now: s.clock.now, Config: func(c *config.Config) { c.LogLevel = "error" },
	})
	root := s.Root(t)
	s.root = s.as(root.ID, root.KeyID, root.Secret)
	return s
}

// actor is a principal with an access key and SDK clients that use it.
type actor struct {
	account string
	key     aws.Credentials
	ecr     *ecr.Client
	iam     *iam.Client
	sts     *sts.Client
	server  *registry
}

func (s *registry) as(account, key, secret string) actor {
	c := aws.Config{
		Region: s.Running.Region, BaseEndpoint: &s.URL, HTTPClient: s.HTTP, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(key, secret, ""),
	}
	return actor{
		account: account, key: aws.Credentials{AccessKeyID: key, SecretAccessKey: secret},
		ecr: ecr.NewFromConfig(c), iam: iam.NewFromConfig(c), sts: sts.NewFromConfig(c), server: s,
	}
}

// arn returns the ARN of an IAM entity of the account, such as arn("user/ann").
func (a actor) arn(resource string) string { return "arn:aws:iam::" + a.account + ":" + resource }

// user creates a user of the default account with the statements in its policy, and the permission for docker
// passwords.
func (s *registry) user(t *testing.T, name string, statements ...string) actor {
	t.Helper()
	do(t, s.root.iam.CreateUser, iam.CreateUserInput{UserName: &name})
	statements = append(statements, statement("Allow", "ecr:GetAuthorizationToken", ""))
	do(t, s.root.iam.PutUserPolicy, iam.PutUserPolicyInput{
		UserName: &name, PolicyName: aws.String("rights"), PolicyDocument: document(statements...),
	})
	k := do(t, s.root.iam.CreateAccessKey, iam.CreateAccessKeyInput{UserName: &name}).AccessKey
	return s.as(s.root.account, *k.AccessKeyId, *k.SecretAccessKey)
}

// docker returns a client of the OCI distribution API for a repository, with a docker password of the actor.
func (a actor) docker(t *testing.T, repository string) ocitest.Repo {
	t.Helper()
	out := do(t, a.ecr.GetAuthorizationToken, ecr.GetAuthorizationTokenInput{})
	plain, err := base64.StdEncoding.DecodeString(*out.AuthorizationData[0].AuthorizationToken)
	if err != nil {
		t.Fatal(err)
	}
	c := ocitest.Client{Base: a.server.URL, HTTP: a.server.HTTP, Password: strings.TrimPrefix(string(plain), "AWS:")}
	return c.Repo(repository)
}

// repository creates a repository and returns a client for it with a docker password of the root user.
func (s *registry) repository(t *testing.T, name string) ocitest.Repo {
	t.Helper()
	do(t, s.root.ecr.CreateRepository, ecr.CreateRepositoryInput{RepositoryName: &name})
	return s.root.docker(t, name)
}

// moves returns the history of the tags of a repository, latest first.
func (s *registry) moves(t *testing.T, repository string) []ecrintypes.TagMove {
	t.Helper()
	var all []ecrintypes.TagMove
	for in := (ecrintypes.ListTagHistoryRequest{RepositoryName: repository, MaxResults: new(int32(1000))}); ; {
		var out ecrintypes.ListTagHistoryResponse
		s.Operator(t, "ListTagHistory", in, &out)
		all = append(all, out.Moves...)
		if in.NextToken = out.NextToken; in.NextToken == "" {
			return all
		}
	}
}

// document returns a policy with the statements.
func document(statements ...string) *string {
	return aws.String(`{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`)
}

// statement returns a statement of an identity-based policy on all resources. condition is the content of its Condition
// element.
func statement(effect, action, condition string) string {
	return `{"Effect":"` + effect + `","Action":"` + action + `","Resource":"*","Condition":{` + condition + `}}`
}

// grant returns an Allow statement of a resource-based policy. principal is such as `{"AWS":"111111111111"}`.
func grant(sid, principal, action, condition string) string {
	return `{"Sid":"` + sid + `","Effect":"Allow","Principal":` + principal +
		`,"Action":"` + action + `","Condition":{` + condition + `}}`
}

// equals returns a condition that one key has a value.
func equals(key, value string) string { return `"StringEquals":{"` + key + `":"` + value + `"}` }

// like returns a condition that one key matches a pattern.
func like(key, pattern string) string { return `"StringLike":{"` + key + `":"` + pattern + `"}` }

// timed is a condition that is always true. A decision with this condition reads the clock and can be held there.
const timed = `"DateGreaterThan":{"aws:CurrentTime":"2020-01-01T00:00:00Z"}`

// slowly returns a statement that denies nothing. A decision with it about a request with referer takes some tenths of
// a millisecond longer, in which a tag that the decision has read can move.
func slowly(action string) string {
	return statement("Deny", action, like("aws:Referer", "*"+strings.Repeat("?", 32)+"b*"))
}

// referer is a value of the Referer header whose comparison with the pattern of slowly takes long.
var referer = strings.Repeat("a", 1000)

// withReferer makes an operation of ECR send referer.
func withReferer(o *ecr.Options) {
	o.APIOptions = append(o.APIOptions, smithyhttp.AddHeaderValue("Referer", referer))
}

// do calls an operation that must succeed, and returns its output. It may be called from any goroutine.
func do[In, Out, Opt any](t *testing.T, ask operation[In, Out, Opt], in In) *Out {
	t.Helper()
	out, err := ask(context.WithoutCancel(t.Context()), &in)
	if err != nil {
		t.Errorf("%T: %v", in, err)
		return new(Out)
	}
	return out
}

// code returns the code of the error of an operation; "" for success.
func code(err error) string {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		return e.ErrorCode()
	}
	return err.Error()
}

// shown returns an output or error as a line of text.
func shown(out any, err error) string {
	if err != nil {
		return code(err) + "\n"
	}
	b, err := json.Marshal(out)
	if err != nil {
		return err.Error() + "\n"
	}
	return string(b) + "\n"
}

// operation is an operation of an SDK client.
type operation[In, Out, Opt any] = func(context.Context, *In, ...func(*Opt)) (*Out, error)

// call calls an operation and returns its output or error as a line of text.
func call[In, Out, Opt any](t *testing.T, ask operation[In, Out, Opt], in In) string {
	out, err := ask(context.WithoutCancel(t.Context()), &in)
	return shown(out, err)
}

// same compares two states, which are lines of text.
func same(t *testing.T, what, got, want string) {
	t.Helper()
	is, was := strings.Split(got, "\n"), strings.Split(want, "\n")
	if len(is) != len(was) {
		t.Errorf("%s:\n got %s\nwant %s", what, got, want)
		return
	}
	for i := range is {
		if is[i] != was[i] {
			t.Errorf("%s:\n got %s\nwant %s", what, is[i], was[i])
		}
	}
}

// together runs the functions concurrently and waits for all of them.
func together(all ...func()) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for _, one := range all {
		wg.Go(func() {
			<-start
			one()
		})
	}
	close(start)
	wg.Wait()
}

// clock is the clock of a server. A reading of it by a request can be held. It is safe for concurrent use.
type clock struct {
	mu   sync.Mutex
	left int // readings of requests until the one that is held; 0 for none
	held chan struct{}
	free chan struct{}
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	if c.left > 0 && inRequest() {
		if c.left--; c.left == 0 {
			held, free := c.held, c.free
			c.mu.Unlock()
			close(held)
			<-free
			return time.Now()
		}
	}
	c.mu.Unlock()
	return time.Now()
}

// inRequest reports whether the calling goroutine serves a request. Readings of background work and of commits, which
// one goroutine does for all requests, are not held.
func inRequest() bool {
	var pcs [64]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs[:])])
	for {
		f, more := frames.Next()
		if f.Function == "net/http.(*conn).serve" {
			return true
		}
		if !more {
			return false
		}
	}
}

// hold makes the n-th reading from now wait until release is called. held is closed when the reading begins to wait.
func (c *clock) hold(n int) (held <-chan struct{}, release func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	free := make(chan struct{})
	c.left, c.held, c.free = n, make(chan struct{}), free
	return c.held, func() {
		c.mu.Lock()
		c.left = 0
		c.mu.Unlock()
		close(free)
	}
}

const (
	maxSteps = 100 // more than the number of readings of every request here
	// maxHold is the maximum time for which a request is held. A change that takes longer may be waiting for a lock
	// that the request has.
	maxHold = 5 * time.Second
)

// step sends a request once for each time that the request reads the clock, and makes a change while that reading is
// held. It calls prepare before each request, and check after request and change have returned; at describes the held
// reading, for failure texts. step returns early if the test has failed.
func step(t *testing.T, c *clock, prepare func(), request func() string, change func(), check func(at string)) {
	t.Helper()
	for n := 1; n <= maxSteps && !t.Failed(); n++ {
		prepare()
		held, release := c.hold(n)
		answer, answered, changed := "none", make(chan struct{}), make(chan struct{})
		go func() {
			defer close(answered)
			answer = request()
		}()
		select {
		case <-held:
		case <-answered:
			release()
			if n == 1 {
				t.Errorf("the request did not read the clock; got the answer %s", answer)
			}
			t.Logf("the request reads the clock %d times", n-1)
			return
		}
		go func() {
			defer close(changed)
			change()
		}()
		select {
		case <-changed:
		case <-time.After(maxHold):
		}
		release()
		<-answered
		<-changed
		answer = strings.TrimSpace(answer)
		check(fmt.Sprintf("with the change at reading %d of the clock and the answer %.200s", n, answer))
	}
}
