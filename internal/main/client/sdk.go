package client

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

// In returns a client that calls in another region.
func (c *Client) In(region string) *Client {
	other := *c
	other.Server.Region = region
	return &other
}

// Accounts returns the accounts that the client reaches, with their aliases: all for the operator, otherwise that of its credentials.
//
// Errors: those of Call.
func (c *Client) Accounts(ctx context.Context) (map[string]string, error) {
	if c.remote != nil {
		return map[string]string{c.Server.Account: ""}, nil
	}
	var out ecrintypes.ListAccountsResponse
	if err := c.Call(ctx, "ListAccounts", &ecrintypes.ListAccountsRequest{}, &out); err != nil {
		return nil, err
	}
	all := map[string]string{}
	for _, a := range out.Accounts {
		all[a.AccountId] = a.Alias
	}
	return all, nil
}

// Caller returns the ARN of the caller whose AWS credentials are used; "" for the operator.
func (c *Client) Caller() string { return c.caller }

// Config returns how the SDK calls the server for an account: with its root keys for the operator, otherwise with the credentials of
// the client.
//
// Errors: those of Call; the credentials are of another account.
func (c *Client) Config(ctx context.Context, account string) (aws.Config, error) {
	if c.remote != nil {
		if account != c.Server.Account {
			return aws.Config{}, fmt.Errorf("the credentials are of the account %s: name a profile of the account %s with --profile, or run the command on the machine of the server with --data",
				c.Server.Account, account)
		}
		cfg := *c.remote
		cfg.HTTPClient = c.http
		return cfg, nil
	}
	var out ecrintypes.GetAccountCredentialsResponse
	if err := c.Call(ctx, "GetAccountCredentials", &ecrintypes.GetAccountCredentialsRequest{AccountId: account}, &out); err != nil {
		return aws.Config{}, err
	}
	key := aws.Credentials{AccessKeyID: out.AccessKey.AccessKeyId, SecretAccessKey: out.AccessKey.SecretAccessKey}
	return aws.Config{Region: c.Server.Region, BaseEndpoint: aws.String(c.Server.URL), HTTPClient: c.http, RetryMaxAttempts: 1,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return key, nil })}, nil
}

// ConfigFor returns the configuration of the AWS SDK for calls about registries of an account: as its root user for the operator, and else
// as the caller, whose rights in other accounts are what policies allow.
//
// Errors: those of Call.
func (c *Client) ConfigFor(ctx context.Context, account string) (aws.Config, error) {
	if c.remote != nil {
		account = c.Server.Account
	}
	return c.Config(ctx, account)
}
