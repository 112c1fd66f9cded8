package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/smithy-go"
	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/main/client"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

const newReaderHelp = `Make a user who may pull, and a key for it, in one step, and print what the form of a registry link asks for: Endpoint, Username and
Password. The password, a secret access key, is shown only now.

The policy has two statements: the token on *, because it cannot be limited to repositories, and pulling on the repositories. Without
--repository that is all of them. --repository team/app means the repository and what is below it, --repository 'team/*' what is below team.`

// readerPolicy is the name of the policy of a user that new-reader makes.
const readerPolicy = "pull"

// pullActions are the actions of who pulls, without that of the token. Source: AWS managed policy AmazonEC2ContainerRegistryReadOnly.
var pullActions = []string{"ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:DescribeImages", "ecr:DescribeRepositories",
	"ecr:GetDownloadUrlForLayer", "ecr:GetRepositoryPolicy", "ecr:ListImages"}

// newReader is what new-reader prints.
type newReader struct {
	Endpoint   string          `json:"endpoint"`
	Username   string          `json:"username"`
	Password   string          `json:"password"`
	Region     string          `json:"region"`
	RegistryID string          `json:"registryId"`
	User       string          `json:"user"`
	ARN        string          `json:"arn"`
	Policy     json.RawMessage `json:"policy"`
}

func (c *commands) integrationNewReader() *cobra.Command {
	cmd := &cobra.Command{Use: "new-reader NAME", Args: exactly("NAME"), Long: newReaderHelp,
		Short:   "Make a read-only user and its key here, for an integration or a registry link of another installation",
		Example: "  ecrin integration new-reader vendor --repository team/app --repository 'charts/*'"}
	account := cmd.Flags().String("account", "", "`account` that the user is of, 12 digits (default: the account of the caller)")
	repositories := cmd.Flags().StringArray("repository", nil, "`repository` that it may pull, with what is below it; may be repeated")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := c.connect(cmd)
		if err != nil {
			return err
		}
		of := cmp.Or(*account, s.Server.Account)
		region, err := name.ParseRegion(s.Server.Region)
		if err != nil {
			return err
		}
		r := newReader{User: args[0], Region: region.String(), RegistryID: of}
		if r.Policy, err = policyOfReader(region, of, *repositories); err != nil {
			return err
		}
		if err := r.make(cmd.Context(), s); err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(r)
		}
		if err := c.table([][]string{{"Endpoint", r.Endpoint}, {"Username", r.Username}, {"Password", r.Password}}); err != nil {
			return err
		}
		fmt.Fprintf(c.Err, "%s may pull by this key; the password is not shown again\n", r.ARN)
		return nil
	}
	return cmd
}

// policyOfReader returns the policy of who may pull repositories; none means all.
func policyOfReader(region name.Region, account string, repositories []string) (json.RawMessage, error) {
	prefix := "arn:" + region.Partition() + ":ecr:" + region.String() + ":" + account + ":repository/"
	resources := []string{prefix + "*"}
	if len(repositories) > 0 {
		resources = nil
	}
	for _, one := range repositories {
		below, all := strings.CutSuffix(one, "*")
		if _, err := name.ParseRepo(strings.TrimSuffix(below, "/")); err != nil || all && !strings.HasSuffix(below, "/") {
			return nil, usageError{fmt.Errorf("--repository is NAME or 'NAME/*', got %q", one)}
		}
		if !all {
			below = strings.TrimSuffix(one, "/") + "/"
			resources = append(resources, prefix+strings.TrimSuffix(one, "/"))
		}
		resources = append(resources, prefix+below+"*")
	}
	type statement struct {
		Sid, Effect      string
		Action, Resource any
	}
	return json.Marshal(struct {
		Version   string
		Statement []statement
	}{"2012-10-17", []statement{{"Token", "Allow", "ecr:GetAuthorizationToken", "*"}, {"Pull", "Allow", pullActions, resources}}})
}

// make makes the user, its policy and its key. After a failure it removes what it has made.
func (r *newReader) make(ctx context.Context, s *client.Client) (err error) {
	cfg, err := s.Config(ctx, r.RegistryID)
	if err != nil {
		return err
	}
	users := iam.NewFromConfig(cfg)
	made, err := users.CreateUser(ctx, &iam.CreateUserInput{UserName: &r.User})
	if err != nil {
		return said("making the user "+r.User, err)
	}
	defer func() {
		if err != nil {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
			defer cancel()
			_, policyErr := users.DeleteUserPolicy(ctx, &iam.DeleteUserPolicyInput{UserName: &r.User, PolicyName: aws.String(readerPolicy)})
			_, userErr := users.DeleteUser(ctx, &iam.DeleteUserInput{UserName: &r.User})
			if userErr != nil {
				err = errors.Join(err, policyErr, fmt.Errorf("removing the user %s again: %w", r.User, userErr))
			}
		}
	}()
	r.ARN = aws.ToString(made.User.Arn)
	if _, err = users.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: &r.User, PolicyName: aws.String(readerPolicy),
		PolicyDocument: aws.String(string(r.Policy))}); err != nil {
		return said("setting the policy of the user", err)
	}
	key, err := users.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: &r.User})
	if err != nil {
		return said("making a key of the user", err)
	}
	r.Username, r.Password = aws.ToString(key.AccessKey.AccessKeyId), aws.ToString(key.AccessKey.SecretAccessKey)
	// The key is not kept if it gets no token: the user would not know why.
	cfg.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: r.Username, SecretAccessKey: r.Password}, nil
	})
	err = r.prove(ctx, cfg)
	if err != nil {
		_, keyErr := users.DeleteAccessKey(context.WithoutCancel(ctx), &iam.DeleteAccessKeyInput{UserName: &r.User, AccessKeyId: &r.Username})
		err = errors.Join(err, keyErr)
	}
	return err
}

// prove gets a token by the key, whose answer has the endpoint.
func (r *newReader) prove(ctx context.Context, cfg aws.Config) error {
	out, err := ecr.NewFromConfig(cfg).GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		return said("getting a token by the key", err)
	}
	if len(out.AuthorizationData) != 1 {
		return errors.New("getting a token by the key: the answer has no token")
	}
	u, err := url.Parse(aws.ToString(out.AuthorizationData[0].ProxyEndpoint))
	if err != nil {
		return fmt.Errorf("getting a token by the key: %w", err)
	}
	r.Endpoint = u.Host
	return nil
}

// said returns the error of a call by the SDK with the message of the server.
func said(what string, err error) error {
	if api, ok := errors.AsType[smithy.APIError](err); ok && api.ErrorMessage() != "" {
		return fmt.Errorf("%s: %s", what, api.ErrorMessage())
	}
	return fmt.Errorf("%s: %w", what, err)
}
