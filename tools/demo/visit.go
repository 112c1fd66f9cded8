package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/ecrin-dev/ecrin/tools/pack"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content/oci"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
)

const (
	repository = "demo/ecrin"
	firstTag   = "v1"
	movedTag   = "stable"
)

// visitor performs the tasks of a user of the aws and docker command lines.
type visitor struct {
	out      *screen
	image    *pack.Image
	http     *http.Client
	cloud    *ecr.Client
	uri      string               // of the repository
	docker   *remote.Repository   // after login
	untagged []ocispec.Descriptor // manifests of the repository without a tag; the image has both tags
}

// result has the figures of the last line.
type result struct {
	push, pull time.Duration
	compared   int // digests
}

// visit performs the usual tasks of ECR with the server. pulled is the directory for the pulled layout; the
// layout that is pulled from another account is in the same parent directory.
func visit(ctx context.Context, out *screen, s *server, image *pack.Image, pulled string) (r result, err error) {
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 8}
	defer transport.CloseIdleConnections() // otherwise the server would wait for them when it stops
	client := &http.Client{Transport: logged{transport, out}}
	v := &visitor{out: out, image: image, http: client, cloud: ecr.New(ecr.Options{
		Region:           s.keys.Region,
		Credentials:      credentials.NewStaticCredentialsProvider(s.keys.AccessKeyID, s.keys.SecretAccessKey, ""),
		BaseEndpoint:     &s.keys.Endpoint,
		HTTPClient:       client,
		RetryMaxAttempts: 1, // failures must not be hidden by retries
	})}
	if err := v.createRepository(ctx); err != nil {
		return r, fmt.Errorf("creating the repository: %w", err)
	}
	if err := v.login(ctx, strings.HasPrefix(s.keys.Endpoint, "http://")); err != nil {
		return r, fmt.Errorf("logging in: %w", err)
	}
	if r.push, err = v.push(ctx); err != nil {
		return r, fmt.Errorf("pushing: %w", err)
	}
	if err := v.moveTag(ctx); err != nil {
		return r, fmt.Errorf("moving a tag: %w", err)
	}
	if err := v.list(ctx); err != nil {
		return r, fmt.Errorf("listing: %w", err)
	}
	if err := v.describe(ctx); err != nil {
		return r, fmt.Errorf("describing: %w", err)
	}
	if r.pull, err = v.pull(ctx, pulled); err != nil {
		return r, fmt.Errorf("pulling: %w", err)
	}
	if r.compared, err = v.compare(ctx, pulled); err != nil {
		return r, err
	}
	return r, v.across(ctx, s, pulled+"-by-guest")
}

func (v *visitor) createRepository(ctx context.Context) error {
	v.out.step("Create a repository", "aws ecr create-repository --repository-name %s", repository)
	answer, err := v.cloud.CreateRepository(ctx, &ecr.CreateRepositoryInput{RepositoryName: aws.String(repository)})
	if err != nil {
		return err
	}
	created := answer.Repository
	if created == nil || aws.ToString(created.RepositoryName) != repository {
		return differs("the repository's name", repository, created)
	}
	v.uri = aws.ToString(created.RepositoryUri)
	v.out.note("%s", v.uri)
	v.out.note("%s", aws.ToString(created.RepositoryArn))
	return nil
}

func (v *visitor) login(ctx context.Context, plain bool) error {
	host, _, _ := strings.Cut(v.uri, "/")
	v.out.step("Log in", "aws ecr get-login-password | docker login --username AWS --password-stdin %s", host)
	answer, err := v.cloud.GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		return err
	}
	if len(answer.AuthorizationData) != 1 {
		return differs("the number of tokens", 1, len(answer.AuthorizationData))
	}
	data := answer.AuthorizationData[0]
	decoded, err := base64.StdEncoding.DecodeString(aws.ToString(data.AuthorizationToken))
	user, password, ok := strings.Cut(string(decoded), ":")
	if err != nil || !ok || user != "AWS" || password == "" {
		return errors.New("the token is not the base64 form of AWS:password") // the token itself is a secret
	}
	if v.docker, err = remote.NewRepository(v.uri); err != nil {
		return err
	}
	v.docker.PlainHTTP = plain
	v.docker.Client = &auth.Client{
		Client:     v.http,
		Cache:      auth.NewCache(),
		Credential: auth.StaticCredential(v.docker.Reference.Registry, auth.Credential{Username: user, Password: password}),
	}
	v.out.note("a token for %s, until %s", aws.ToString(data.ProxyEndpoint), aws.ToTime(data.ExpiresAt).Local().Format(time.DateTime))
	return nil
}

func (v *visitor) push(ctx context.Context) (time.Duration, error) {
	v.out.step("Push the image", "skopeo copy --all --dest-tls-verify=false oci:%s docker://%s:%s", v.image.Dir, v.uri, firstTag)
	layout, err := oci.New(v.image.Dir)
	if err != nil {
		return 0, err
	}
	duration, err := copyImage(ctx, v.out, "pushed", v.image, layout, v.docker)
	if err != nil {
		return 0, err
	}
	return duration, v.docker.Tag(ctx, v.image.Root, firstTag)
}

// differs returns the error for a value that is not the expected one.
func differs(what string, want, got any) error {
	return fmt.Errorf("%s is %v, expected %v", what, got, want)
}

// logged prints requests if the demo is verbose, without queries and headers, which may contain secrets.
type logged struct {
	http.RoundTripper
	out *screen
}

func (l logged) RoundTrip(r *http.Request) (*http.Response, error) {
	began := time.Now()
	response, err := l.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	what := r.URL.Path
	if operation := r.Header.Get("X-Amz-Target"); operation != "" {
		what = operation
	}
	l.out.detail("%s %s: %d in %s", r.Method, what, response.StatusCode, took(time.Since(began)))
	return response, nil
}
