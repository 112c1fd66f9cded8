// Package identity_test calls IAM and STS of a whole server with the usual clients: the AWS SDK for Go with its
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

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// calls records which operations have succeeded, as "IAM CreateUser". It is safe for concurrent use.
type calls struct {
	mu   sync.Mutex
	done map[string]bool
}

// note adds a middleware that records each call of a client.
func (c *calls) note(stack *middleware.Stack) error {
	return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("calls",
		func(ctx context.Context, in middleware.InitializeInput,
			next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
			out, metadata, err := next.HandleInitialize(ctx, in)
			if err == nil {
				if _, ok := awsmiddleware.GetRequestIDMetadata(metadata); !ok {
					return out, metadata, errors.New("the response has no request id")
				}
				c.mu.Lock()
				defer c.mu.Unlock()
				c.done[awsmiddleware.GetServiceID(ctx)+" "+awsmiddleware.GetOperationName(ctx)] = true
			}
			return out, metadata, err
		}), middleware.Before)
}

// installation is a running server and the record of the operations called on it.
type installation struct {
	*apptest.Server
	calls calls
}

func newInstallation(t *testing.T, o apptest.Options) *installation {
	t.Helper()
	return &installation{Server: apptest.Start(t, o), calls: calls{done: map[string]bool{}}}
}

// actor has credentials, and clients that use them.
type actor struct {
	account      string // the account of the credentials
	keys         aws.Credentials
	iam          *iam.Client
	sts          *sts.Client
	ecr          *ecr.Client
	installation *installation
}

// as returns an actor with the credentials; an empty key means unsigned requests.
func (inst *installation) as(account, key, secret, token string) actor {
	var provider aws.CredentialsProvider = aws.AnonymousCredentials{}
	if key != "" {
		provider = credentials.NewStaticCredentialsProvider(key, secret, token)
	}
	c := aws.Config{
		Region: inst.Running.Region, BaseEndpoint: aws.String(inst.URL), HTTPClient: inst.HTTP, RetryMaxAttempts: 1, Credentials: provider,
		APIOptions: []func(*middleware.Stack) error{inst.calls.note},
	}
	return actor{
		account: account, keys: aws.Credentials{AccessKeyID: key, SecretAccessKey: secret, SessionToken: token},
		iam: iam.NewFromConfig(c), sts: sts.NewFromConfig(c), ecr: ecr.NewFromConfig(c), installation: inst,
	}
}

// account creates an account and returns its root user.
func (inst *installation) account(t *testing.T, id string) actor {
	t.Helper()
	a := inst.NewAccount(t, id)
	return inst.as(id, a.KeyID, a.Secret, "")
}

// session returns an actor with credentials from STS.
func (inst *installation) session(account string, c *ststypes.Credentials) actor {
	return inst.as(account, *c.AccessKeyId, *c.SecretAccessKey, *c.SessionToken)
}

// user creates a user with an access key.
func (a actor) user(t *testing.T, name string) actor {
	t.Helper()
	do(t, a.iam.CreateUser, iam.CreateUserInput{UserName: &name})
	k := do(t, a.iam.CreateAccessKey, iam.CreateAccessKeyInput{UserName: &name}).AccessKey
	return a.installation.as(a.account, *k.AccessKeyId, *k.SecretAccessKey, "")
}

// arn returns an ARN of the account's IAM, for example arn("user/ada").
func (a actor) arn(resource string) string { return "arn:aws:iam::" + a.account + ":" + resource }

// docker returns a docker client of an account's registry, with a password of the actor.
func (a actor) docker(t *testing.T, registry string) ocitest.Client {
	t.Helper()
	out := do(t, a.ecr.GetAuthorizationToken, ecr.GetAuthorizationTokenInput{})
	plain, err := base64.StdEncoding.DecodeString(*out.AuthorizationData[0].AuthorizationToken)
	if err != nil {
		t.Fatal(err)
	}
	return a.installation.registry(registry, strings.TrimPrefix(string(plain), "AWS:"))
}

// registry returns a docker client of an account's registry with a password.
func (inst *installation) registry(account, password string) ocitest.Client {
	return ocitest.Client{Base: inst.URL, HTTP: inst.HTTP, Password: password, Prefix: account + "/" + inst.Running.Region + "/"}
}

// push creates a repository and pushes an image to it, as the root user.
func (a actor) push(t *testing.T, repository string) ocitest.Image {
	t.Helper()
	do(t, a.ecr.CreateRepository, ecr.CreateRepositoryInput{RepositoryName: &repository})
	image := ocitest.NewImage(1, 100)
	a.docker(t, a.account).Repo(repository).Push(t, "v1", image)
	return image
}

// wantPull pulls a whole image and compares it.
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

// wantNoPull gets a manifest, and checks that the request is denied with a text that contains the words.
func wantNoPull(t *testing.T, r ocitest.Repo, words ...string) {
	t.Helper()
	got, err := r.Manifest(t, "v1").WantError(t, 403, "DENIED").Errors()
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range words {
		if !strings.Contains(got[0].Message, word) {
			t.Errorf("%s: denied with %q, want %q in it", r.Name, got[0].Message, word)
		}
	}
}

// do calls an operation that must succeed.
func do[In, Out, Opt any](t *testing.T, op func(context.Context, *In, ...func(*Opt)) (*Out, error), in In) *Out {
	t.Helper()
	out, err := op(context.WithoutCancel(t.Context()), &in)
	if err != nil {
		t.Fatalf("%T: %v", in, err)
	}
	return out
}

// paginator is the interface of all paginators of the SDK.
type paginator[Out, Opt any] interface {
	HasMorePages() bool
	NextPage(context.Context, ...func(*Opt)) (*Out, error)
}

// wantPages reads all pages, none of which may be empty, and compares their names with want and their number
// with pages.
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

// each returns one text of each element.
func each[T any](all []T, text func(T) *string) []string {
	var out []string
	for _, v := range all {
		out = append(out, aws.ToString(text(v)))
	}
	return out
}

// wantText compares texts; the SDK has them as pointers.
func wantText(t *testing.T, what string, got *string, want string) {
	t.Helper()
	if got == nil || *got != want {
		t.Errorf("%s: got %q, want %q", what, aws.ToString(got), want)
	}
}

// wantDocument compares a policy in the form of a response, percent-encoded, with the text that was set.
func wantDocument(t *testing.T, what string, got *string, want string) {
	t.Helper()
	text, err := url.PathUnescape(aws.ToString(got))
	if err != nil || text != want || strings.ContainsAny(aws.ToString(got), `{}" `) {
		t.Errorf("%s: got %q (%v), want %q percent-encoded", what, aws.ToString(got), err, want)
	}
}

// wantError checks that err has the SDK's type and contains the words.
func wantError[T error](t *testing.T, what string, err error, words string) {
	t.Helper()
	if _, ok := errors.AsType[T](err); !ok || !strings.Contains(err.Error(), words) {
		var want T
		t.Errorf("%s: got %v, want %T with %q", what, err, want, words)
	}
}

// statement returns a policy with one statement.
func statement(effect, actions, resources, condition string) string {
	quoted := func(list string) string { return `["` + strings.ReplaceAll(list, " ", `","`) + `"]` }
	if condition != "" {
		condition = `,"Condition":` + condition
	}
	return `{"Version":"2012-10-17","Statement":[{"Effect":"` + effect + `","Action":` + quoted(actions) + `,"Resource":` +
		quoted(resources) + condition + `}]}`
}

func allow(actions, resources string) string { return statement("Allow", actions, resources, "") }

// trust returns a trust policy; principal is for example `"AWS":"111122223333"`.
func trust(principal, actions, condition string) string {
	if condition != "" {
		condition = `,"Condition":` + condition
	}
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{` + principal + `},"Action":["` +
		strings.ReplaceAll(actions, " ", `","`) + `"]` + condition + `}]}`
}

const (
	pulls    = "ecr:BatchGetImage ecr:GetDownloadUrlForLayer ecr:BatchCheckLayerAvailability"
	login    = "ecr:GetAuthorizationToken"
	readOnly = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly"
)

// wantCode checks an error without a type in the SDK: its code, and that it contains the words.
func wantCode(t *testing.T, what string, err error, code, words string) {
	t.Helper()
	got, ok := errors.AsType[smithy.APIError](err)
	if !ok || got.ErrorCode() != code || !strings.Contains(got.ErrorMessage(), words) {
		t.Errorf("%s: got %v, want %s with %q", what, err, code, words)
	}
}

// wantIdentity checks the ARN and the account of an actor by GetCallerIdentity.
func wantIdentity(t *testing.T, a actor, arn string) {
	t.Helper()
	got := do(t, a.sts.GetCallerIdentity, sts.GetCallerIdentityInput{})
	wantText(t, "GetCallerIdentity", got.Arn, arn)
	wantText(t, "its account", got.Account, a.account)
}

// wantNoIdentity checks that the credentials are not accepted any more.
func wantNoIdentity(t *testing.T, a actor) {
	t.Helper()
	_, err := a.sts.GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	wantCode(t, "GetCallerIdentity", err, "InvalidClientTokenId", "")
}
