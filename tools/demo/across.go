package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

const (
	otherAccount = "111122223333"
	otherUser    = "deployer"
	pullPolicy   = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly"
	denial       = "because no resource-based policy allows the ecr:BatchGetImage action" // ECR's words
	invitation   = "; ask the owner for it: ecrin access request pull:"                   // follows them, before the repository

	// keysQuery formats the response to create-access-key for `export`.
	keysQuery = `"AccessKey.join('', ['AWS_ACCESS_KEY_ID=', AccessKeyId, ' AWS_SECRET_ACCESS_KEY=', SecretAccessKey])"`
)

// across shows access from another account: its user has the rights in their own account, is refused by the
// policy of the repository's owner, and can pull after the owner has granted it.
func (v *visitor) across(ctx context.Context, s *server, pulled string) error {
	arn, guest, err := v.makeGuest(ctx, s)
	if err != nil {
		return fmt.Errorf("making another account: %w", err)
	}
	if err := guest.login(ctx, strings.HasPrefix(s.keys.Endpoint, "http://")); err != nil {
		return fmt.Errorf("logging in from another account: %w", err)
	}
	if err := guest.refused(ctx); err != nil {
		return fmt.Errorf("pulling from another account without a grant: %w", err)
	}
	if err := v.explain(ctx, s, arn); err != nil {
		return fmt.Errorf("explaining: %w", err)
	}
	if err := v.grant(ctx, s, arn); err != nil {
		return fmt.Errorf("granting: %w", err)
	}
	if _, err := guest.pull(ctx, pulled); err != nil {
		return fmt.Errorf("pulling from another account: %w", err)
	}
	_, err = v.compare(ctx, pulled)
	return err
}

// makeGuest creates an account with a user, and returns a visitor with that user's credentials.
func (v *visitor) makeGuest(ctx context.Context, s *server) (arn string, guest *visitor, err error) {
	account := []string{"account", "create", otherAccount, "--data", s.data}
	env := []string{"env", "--account", otherAccount, "--data", s.data}
	v.out.step("Make another account, and a user with the right to pull", "%s", shell(append([]string{s.ecrin}, account...)))
	if _, _, err := s.ask(ctx, 0, account...); err != nil {
		return "", nil, err
	}
	v.out.also(`eval "$(%s)"`, shell(append([]string{s.ecrin}, env...)))
	root, err := s.readKeys(ctx, append(env, "--json")...)
	if err != nil {
		return "", nil, err
	}
	cloud := iam.New(iam.Options{
		Region: root.Region, BaseEndpoint: &root.Endpoint, HTTPClient: v.http, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(root.AccessKeyID, root.SecretAccessKey, ""),
	})
	v.out.also("aws iam create-user --user-name %s", otherUser)
	user, err := cloud.CreateUser(ctx, &iam.CreateUserInput{UserName: aws.String(otherUser)})
	if err != nil {
		return "", nil, err
	}
	arn = aws.ToString(user.User.Arn)
	if want := "arn:aws:iam::" + otherAccount + ":user/" + otherUser; arn != want {
		return "", nil, differs("the user's ARN", want, arn)
	}
	v.out.also("aws iam attach-user-policy --user-name %s --policy-arn %s", otherUser, pullPolicy)
	if _, err := cloud.AttachUserPolicy(ctx, &iam.AttachUserPolicyInput{UserName: aws.String(otherUser),
		PolicyArn: aws.String(pullPolicy)}); err != nil {
		return "", nil, err
	}
	v.out.also("export $(aws iam create-access-key --user-name %s --output text --query %s)", otherUser, keysQuery)
	made, err := cloud.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: aws.String(otherUser)})
	if err != nil {
		return "", nil, err
	}
	if made.AccessKey == nil || aws.ToString(made.AccessKey.SecretAccessKey) == "" {
		return "", nil, errors.New("CreateAccessKey returned no key")
	}
	v.out.note("%s", arn)
	key := credentials.NewStaticCredentialsProvider(aws.ToString(made.AccessKey.AccessKeyId), *made.AccessKey.SecretAccessKey, "")
	return arn, &visitor{out: v.out, image: v.image, http: v.http, uri: v.uri, cloud: ecr.New(ecr.Options{
		Region: root.Region, BaseEndpoint: &root.Endpoint, HTTPClient: v.http, RetryMaxAttempts: 1, Credentials: key,
	})}, nil
}

// refused checks that the pull is denied because the owner has not granted it.
func (v *visitor) refused(ctx context.Context) error {
	v.out.step("Pull as that user: the owner of the repository has not granted it", "docker pull %s:%s", v.uri, movedTag)
	_, body, err := v.docker.Manifests().FetchReference(ctx, movedTag)
	if err == nil {
		return errors.Join(differs("the response", "a refusal", "the manifest"), body.Close())
	}
	var answer *errcode.ErrorResponse
	if !errors.As(err, &answer) || answer.StatusCode != http.StatusForbidden || len(answer.Errors) != 1 ||
		answer.Errors[0].Code != errcode.ErrorCodeDenied || !strings.Contains(answer.Errors[0].Message, denial+invitation) {
		return differs("the response", "403 DENIED … "+denial+invitation, err)
	}
	v.out.note("Error response from daemon: pull access denied for %s, repository does not exist or may require 'docker login': denied: %s",
		v.uri, answer.Errors[0].Message)
	return nil
}

// explain runs `ecrin explain` on the machine of the server.
func (v *visitor) explain(ctx context.Context, s *server, arn string) error {
	args := []string{"explain", "--as", arn, "--action", "ecr:BatchGetImage", "--on", repository + ":" + movedTag, "--data", s.data}
	v.out.step("Explain the denial", "%s", shell(append([]string{s.ecrin}, args...)))
	printed, _, err := s.ask(ctx, exitDenied, args...)
	if err != nil {
		return err
	}
	if first, _, _ := strings.Cut(printed, "\n"); !strings.HasPrefix(first, "denied because no resource-based policy allows it: ") {
		return differs("the explanation", "denied because no resource-based policy allows it: …", first)
	}
	for line := range strings.Lines(printed) {
		v.out.note("%s", strings.TrimRight(line, "\n"))
	}
	return nil
}

// grant grants the user the right to pull.
func (v *visitor) grant(ctx context.Context, s *server, arn string) error {
	args := []string{"policy", "grant", "pull", repository, "--to", arn, "--apply", "--data", s.data}
	v.out.step("Grant the pull, as the owner", "%s", shell(append([]string{s.ecrin}, args...)))
	policy, said, err := s.ask(ctx, 0, args...)
	if err != nil {
		return err
	}
	v.out.detail("%s", policy)
	v.out.note("%s", strings.TrimSpace(said))
	return nil
}

// exitDenied is the exit status of `ecrin explain` for a request that would be denied.
const exitDenied = 3

// ask runs the ecrin program and checks its exit status.
func (s *server) ask(ctx context.Context, status int, args ...string) (stdout, stderr string, err error) {
	var out, said bytes.Buffer
	command := exec.CommandContext(ctx, s.ecrin, args...)
	command.Env = ownEnvironment(os.Environ())
	command.Stdout, command.Stderr = &out, &said
	err = command.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return "", "", fmt.Errorf("ecrin %s: %w", args[0], err)
	}
	if got := command.ProcessState.ExitCode(); got != status {
		return "", "", fmt.Errorf("ecrin %s: exit status %d, expected %d\n%s", args[0], got, status, said.Bytes())
	}
	return out.String(), said.String(), nil
}
