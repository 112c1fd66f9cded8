package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/ecrin-dev/ecrin/internal/main/app"
)

// Remote tells how a server is reached with AWS credentials: those of a profile, or of the environment as the aws CLI reads it.
type Remote struct {
	URL     string // http(s)://HOST[:PORT]; "" for the endpoint_url of the profile or AWS_ENDPOINT_URL
	Profile string // "" for AWS_PROFILE or the default profile
}

// OpenRemote returns a client that signs with AWS credentials, so that it may what the policies of their principal allow. It asks
// the server to whom the credentials belong. AWS_CA_BUNDLE and ca_bundle name the CA of the server.
//
// Errors: *Error (the server refuses the credentials), ErrNoCredentials, ErrNotRunning.
func OpenRemote(ctx context.Context, r Remote) (*Client, error) {
	environment, err := config.NewEnvConfig()
	if err != nil {
		return nil, fmt.Errorf("reading the AWS configuration: %w", err)
	}
	// What is wrong with the profile is an error of LoadDefaultConfig, unless there is none and none is needed.
	profile, _ := config.LoadSharedConfigProfile(ctx, cmp.Or(r.Profile, environment.SharedConfigProfile, config.DefaultSharedConfigProfile),
		sharedFiles(environment))
	address := strings.TrimRight(cmp.Or(r.URL, environment.BaseEndpoint, profile.BaseEndpoint), "/")
	options := []func(*config.LoadOptions) error{
		// Without this, a machine without credentials would ask 169.254.169.254 for some.
		config.WithEC2IMDSClientEnableState(imds.ClientDisabled),
		// A role of the profile is assumed at the same server. The SDK alone asks AWS, in spite of endpoint_url.
		config.WithAssumeRoleCredentialOptions(func(o *stscreds.AssumeRoleOptions) {
			if c, ok := o.Client.(*sts.Client); ok && address != "" {
				here := c.Options()
				here.BaseEndpoint = &address
				o.Client = sts.New(here)
			}
		}),
		config.WithWebIdentityRoleCredentialOptions(func(o *stscreds.WebIdentityRoleOptions) {
			if c, ok := o.Client.(*sts.Client); ok && address != "" {
				here := c.Options()
				here.BaseEndpoint = &address
				o.Client = sts.New(here)
			}
		}),
	}
	if r.Profile != "" {
		options = append(options, config.WithSharedConfigProfile(r.Profile))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if missing := (config.SharedConfigProfileNotExistError{}); errors.As(err, &missing) {
		return nil, fmt.Errorf("%w: there is no profile %s; `ecrin env --profile %s --write` on the machine of the server writes one",
			ErrNoCredentials, missing.Profile, missing.Profile)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the AWS configuration: %w", err)
	}
	if address == "" {
		return nil, errors.New("the profile has no endpoint_url: name the server with --url")
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.Path != "" || u.User != nil {
		return nil, fmt.Errorf("the address of the server must be http(s)://HOST[:PORT], got %q", address)
	}
	cfg.BaseEndpoint = &address
	cfg.Region = cmp.Or(cfg.Region, "us-east-1")
	cfg.RetryMaxAttempts = 1
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if own, ok := cfg.HTTPClient.(*awshttp.BuildableClient); ok {
		transport = own.GetTransport() // it has the CA of the configuration
	}
	c := &Client{
		Server: app.Running{URL: address, Region: cfg.Region}, remote: &cfg, ca: cmp.Or(environment.CustomCABundle, profile.CustomCABundle),
		http: &http.Client{Transport: transport, Timeout: time.Minute, CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		}},
	}
	if _, err := cfg.Credentials.Retrieve(ctx); err != nil {
		return nil, fmt.Errorf("%w: name a profile with --profile, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (%w)",
			ErrNoCredentials, err)
	}
	who, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return nil, c.answered(err)
	}
	c.Server.Account, c.caller = aws.ToString(who.Account), aws.ToString(who.Arn)
	return c, nil
}

// sharedFiles makes the files of the environment those that are read.
func sharedFiles(e config.EnvConfig) func(*config.LoadSharedConfigOptions) {
	return func(o *config.LoadSharedConfigOptions) {
		if e.SharedConfigFile != "" {
			o.ConfigFiles = []string{e.SharedConfigFile}
		}
		if e.SharedCredentialsFile != "" {
			o.CredentialsFiles = []string{e.SharedCredentialsFile}
		}
	}
}

// CABundle returns the path of the CAs that the AWS configuration names, "" for none. The client must be one of OpenRemote.
func (c *Client) CABundle() string { return c.ca }

// ErrNoCredentials is the error if there are no AWS credentials for a server that is not on this machine.
var ErrNoCredentials = errors.New("there are no AWS credentials to use")

// answered returns an error response to a call by the SDK as *Error, and explains why a server could not be reached.
func (c *Client) answered(err error) error {
	if api := (smithy.APIError)(nil); errors.As(err, &api) && api.ErrorMessage() != "" {
		return &Error{Name: api.ErrorCode(), Message: fmt.Sprintf("%s says: %s", c.Server.URL, api.ErrorMessage())}
	}
	return c.transportError(err)
}

// AssumeRole returns temporary credentials of a role, by its ARN, for one hour. The client must be one of OpenRemote.
//
// Errors: *Error (the trust policy of the role or a policy of the caller does not allow it).
func (c *Client) AssumeRole(ctx context.Context, arn, session string) (aws.Credentials, error) {
	out, err := sts.NewFromConfig(*c.remote).AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: &arn, RoleSessionName: &session})
	if err != nil {
		return aws.Credentials{}, c.answered(err)
	}
	k := out.Credentials
	return aws.Credentials{AccessKeyID: aws.ToString(k.AccessKeyId), SecretAccessKey: aws.ToString(k.SecretAccessKey),
		SessionToken: aws.ToString(k.SessionToken), CanExpire: true, Expires: aws.ToTime(k.Expiration)}, nil
}
