// Package identity_test drives IAM and STS of a whole server with the clients that people use: the AWS SDK for Go with its
// paginators, waiters and typed errors, and the aws CLI.
package identity_test

import (
	"context"
	"encoding/base64"
	"errors"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	ststypes "github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"

	"github.com/ecrin-dev/ecrin/internal/apptest"
	"github.com/ecrin-dev/ecrin/internal/ocitest"
)

// calls notes which operations have succeeded, as "IAM CreateUser". Safe for concurrent use.
type calls struct {
	mu   sync.Mutex
	done map[string]bool
}

// note goes around each call of a client.
func (c *calls) note(stack *middleware.Stack) error {
	return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("calls", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
		out, metadata, err := next.HandleInitialize(ctx, in)
		if err == nil {
			if _, ok := awsmiddleware.GetRequestIDMetadata(metadata); !ok {
				return out, metadata, errors.New("the answer has no request id")
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			c.done[awsmiddleware.GetServiceID(ctx)+" "+awsmiddleware.GetOperationName(ctx)] = true
		}
		return out, metadata, err
	}), middleware.Before)
}

// world is a running server and what was called on it.
type world struct {
	*apptest.Server
	calls calls
}

func newWorld(t *testing.T, o apptest.Options) *world {
	t.Helper()
	return &world{Server: apptest.Start(t, o), calls: calls{done: map[string]bool{}}}
}

// actor is somebody with credentials and the clients that use them.
type actor struct {
	account string // that the credentials belong to
	keys    aws.Credentials
	iam     *iam.Client
	sts     *sts.Client
	ecr     *ecr.Client
	world   *world
}

// as makes the clients of whoever has the credentials; "" as key signs nothing.
func (w *world) as(account, key, secret, token string) actor {
	var provider aws.CredentialsProvider = aws.AnonymousCredentials{}
	if key != "" {
		provider = credentials.NewStaticCredentialsProvider(key, secret, token)
	}
	c := aws.Config{
		Region: w.Running.Region, BaseEndpoint: aws.String(w.URL), HTTPClient: w.HTTP, RetryMaxAttempts: 1, Credentials: provider,
		APIOptions: []func(*middleware.Stack) error{w.calls.note},
	}
	return actor{
		account: account, keys: aws.Credentials{AccessKeyID: key, SecretAccessKey: secret, SessionToken: token},
		iam: iam.NewFromConfig(c), sts: sts.NewFromConfig(c), ecr: ecr.NewFromConfig(c), world: w,
	}
}

// account makes an account and gives its root user.
func (w *world) account(t *testing.T, id string) actor {
	t.Helper()
	a := w.NewAccount(t, id)
	return w.as(id, a.KeyID, a.Secret, "")
}

// session is whoever got these credentials from STS.
func (w *world) session(account string, c *ststypes.Credentials) actor {
	return w.as(account, *c.AccessKeyId, *c.SecretAccessKey, *c.SessionToken)
}

// user makes a user with an access key.
func (a actor) user(t *testing.T, name string) actor {
	t.Helper()
	do(t, a.iam.CreateUser, iam.CreateUserInput{UserName: &name})
	k := do(t, a.iam.CreateAccessKey, iam.CreateAccessKeyInput{UserName: &name}).AccessKey
	return a.world.as(a.account, *k.AccessKeyId, *k.SecretAccessKey, "")
}

// arn is the ARN of something in the account's IAM, such as arn("user/ada").
func (a actor) arn(resource string) string { return "arn:aws:iam::" + a.account + ":" + resource }

// docker is the docker client of whoever calls, at the registry of an account.
func (a actor) docker(t *testing.T, registry string) ocitest.Client {
	t.Helper()
	out := do(t, a.ecr.GetAuthorizationToken, ecr.GetAuthorizationTokenInput{})
	plain, err := base64.StdEncoding.DecodeString(*out.AuthorizationData[0].AuthorizationToken)
	if err != nil {
		t.Fatal(err)
	}
	return a.world.registry(registry, strings.TrimPrefix(string(plain), "AWS:"))
}

// registry is a docker client of an account's registry with a password.
func (w *world) registry(account, password string) ocitest.Client {
	return ocitest.Client{Base: w.URL, HTTP: w.HTTP, Password: password, Prefix: account + "/" + w.Running.Region + "/"}
}

// push makes a repository and puts an image into it, as root.
func (a actor) push(t *testing.T, repository string) ocitest.Image {
	t.Helper()
	do(t, a.ecr.CreateRepository, ecr.CreateRepositoryInput{RepositoryName: &repository})
	image := ocitest.NewImage(1, 100)
	a.docker(t, a.account).Repo(repository).Push(t, "v1", image)
	return image
}

// wantPull pulls a whole image.
func wantPull(t *testing.T, r ocitest.Repo, want ocitest.Image) {
	t.Helper()
	if got := r.Manifest(t, "v1").Want(t, 200); string(got.Body) != string(want.Manifest) {
		t.Errorf("%s: got the manifest %s, want %s", r.Name, got.Body, want.Manifest)
	}
	for i, layer := range append([][]byte{want.Config}, want.Layers...) {
		if got := r.Blob(t, ocitest.SHA256(layer)).Want(t, 200); string(got.Body) != string(layer) {
			t.Errorf("%s: blob %d has other content than was pushed", r.Name, i)
		}
	}
}

// wantNoPull asks for a manifest and wants to be denied with a text that holds the words.
func wantNoPull(t *testing.T, r ocitest.Repo, words ...string) {
	t.Helper()
	got, err := r.Manifest(t, "v1").WantError(t, 403, "DENIED").Errors()
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range words {
		if !strings.Contains(got[0].Message, w) {
			t.Errorf("%s: denied with %q, want %q in it", r.Name, got[0].Message, w)
		}
	}
}

// do runs an operation that has to succeed.
func do[In, Out, Opt any](t *testing.T, op func(context.Context, *In, ...func(*Opt)) (*Out, error), in In) *Out {
	t.Helper()
	out, err := op(context.WithoutCancel(t.Context()), &in)
	if err != nil {
		t.Fatalf("%T: %v", in, err)
	}
	return out
}

// paginator is what each of the SDK's paginators does.
type paginator[Out, Opt any] interface {
	HasMorePages() bool
	NextPage(context.Context, ...func(*Opt)) (*Out, error)
}

// wantPages goes through all pages, which have to hold the names, some on each of at least so many pages as are asked for.
func wantPages[Out, Opt any](t *testing.T, p paginator[Out, Opt], names func(*Out) []string, pages int, want ...string) {
	t.Helper()
	var got []string
	n := 0
	for ; p.HasMorePages(); n++ {
		out, err := p.NextPage(t.Context())
		if err != nil {
			t.Fatalf("%T, page %d: %v", p, n+1, err)
		}
		page := names(out)
		if len(page) == 0 && len(want) > 0 {
			t.Errorf("%T: page %d is empty", p, n+1)
		}
		got = append(got, page...)
	}
	if !slices.Equal(got, want) || n != pages {
		t.Errorf("%T: got %q on %d pages, want %q on %d", p, got, n, want, pages)
	}
}

// each gives one text of each.
func each[T any](all []T, text func(T) *string) []string {
	var out []string
	for _, v := range all {
		out = append(out, aws.ToString(text(v)))
	}
	return out
}

// wantText compares texts that the SDK has as pointers.
func wantText(t *testing.T, what string, got *string, want string) {
	t.Helper()
	if got == nil || *got != want {
		t.Errorf("%s: got %q, want %q", what, aws.ToString(got), want)
	}
}

// wantDocument compares a policy as answers have it, percent-encoded, with the text that was set.
func wantDocument(t *testing.T, what string, got *string, want string) {
	t.Helper()
	text, err := url.PathUnescape(aws.ToString(got))
	if err != nil || text != want || strings.ContainsAny(aws.ToString(got), `{}" `) {
		t.Errorf("%s: got %q (%v), want %q percent-encoded", what, aws.ToString(got), err, want)
	}
}

// wantError wants an error of the SDK's type, with the words.
func wantError[T error](t *testing.T, what string, err error, words string) {
	t.Helper()
	if _, ok := errors.AsType[T](err); !ok || !strings.Contains(err.Error(), words) {
		var want T
		t.Errorf("%s: got %v, want %T with %q", what, err, want, words)
	}
}

// statement is a policy of one statement.
func statement(effect, actions, resources, condition string) string {
	quoted := func(list string) string { return `["` + strings.ReplaceAll(list, " ", `","`) + `"]` }
	if condition != "" {
		condition = `,"Condition":` + condition
	}
	return `{"Version":"2012-10-17","Statement":[{"Effect":"` + effect + `","Action":` + quoted(actions) + `,"Resource":` + quoted(resources) + condition + `}]}`
}

func allow(actions, resources string) string { return statement("Allow", actions, resources, "") }

// trust is a trust policy; principal is such as `"AWS":"111122223333"`.
func trust(principal, actions, condition string) string {
	if condition != "" {
		condition = `,"Condition":` + condition
	}
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{` + principal + `},"Action":["` + strings.ReplaceAll(actions, " ", `","`) + `"]` + condition + `}]}`
}

const (
	pulls    = "ecr:BatchGetImage ecr:GetDownloadUrlForLayer ecr:BatchCheckLayerAvailability"
	login    = "ecr:GetAuthorizationToken"
	readOnly = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly"
)

// wantCode wants an error that the SDK has no type for, with its code and the words.
func wantCode(t *testing.T, what string, err error, code, words string) {
	t.Helper()
	got, ok := errors.AsType[smithy.APIError](err)
	if !ok || got.ErrorCode() != code || !strings.Contains(got.ErrorMessage(), words) {
		t.Errorf("%s: got %v, want %s with %q", what, err, code, words)
	}
}

// wantIdentity asks who calls.
func wantIdentity(t *testing.T, a actor, arn string) {
	t.Helper()
	got := do(t, a.sts.GetCallerIdentity, sts.GetCallerIdentityInput{})
	wantText(t, "GetCallerIdentity", got.Arn, arn)
	wantText(t, "its account", got.Account, a.account)
}

// wantNobody wants credentials to be good for nothing.
func wantNobody(t *testing.T, a actor) {
	t.Helper()
	_, err := a.sts.GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	wantCode(t, "GetCallerIdentity", err, "InvalidClientTokenId", "")
}
