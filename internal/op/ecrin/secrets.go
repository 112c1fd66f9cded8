package ecrin

import (
	"context"
	"crypto/rand"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/pullthrough"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// onSecrets resolves the account and region of secrets. resource ends the ARN of the ask.
func onSecrets(s *Service, ctx context.Context, req guard.Request, in accountNamed, resource string) (
	t guard.Target[name.Registry], err error) {
	of, err := OnAccount(s, ctx, req, in)
	if err != nil {
		return t, err
	}
	reg := name.Registry{Account: of.Value, Region: req.Region}
	ask := of.Asks[0]
	ask.Resource = "arn:aws:secretsmanager:" + reg.Region.String() + ":" + reg.Account.String() + ":secret:" + resource
	return guard.On(reg, ask), nil
}

// OnSecret resolves the account of a secret, in the region of the request. The secret need not exist.
func OnSecret[In interface {
	accountNamed
	*ecrintypes.PutSecretRequest | *ecrintypes.DeleteSecretRequest
}](s *Service, ctx context.Context, req guard.Request, in In) (guard.Target[name.Registry], error) {
	called := ""
	switch v := any(in).(type) {
	case *ecrintypes.PutSecretRequest:
		called = v.Name
	case *ecrintypes.DeleteSecretRequest:
		called = v.Name
	}
	return onSecrets(s, ctx, req, in, called)
}

// OnSecrets resolves the account whose secrets are listed, in the region of the request.
func OnSecrets(s *Service, ctx context.Context, req guard.Request, in *ecrintypes.ListSecretsRequest) (guard.Target[name.Registry], error) {
	return onSecrets(s, ctx, req, in, "*")
}

func showSecret(one meta.Secret) ecrintypes.Secret {
	return ecrintypes.Secret{Arn: one.ARN(), Name: one.Name, AccountId: one.Registry.Account.String(), CreatedAt: *awswire.At(one.CreatedAt),
		UpdatedAt: *awswire.At(one.UpdatedAt)}
}

// suffix returns six random letters and digits, as those at the end of the ARNs of Secrets Manager.
func suffix() string {
	const from = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	b := make([]byte, 6)
	rand.Read(b) // never fails: crypto/rand ends the program instead
	for i := range b {
		b[i] = from[int(b[i])%len(from)]
	}
	return string(b)
}

// PutSecret stores credentials for another service, sealed with the master key. A secret that exists keeps its ARN and gets another
// value, which the rules that name it use from then on. No operation returns the value.
//
// Errors: fault.UnableToDecryptSecretValue (the value does not have the form of credentials), fault.LimitExceeded,
// fault.AccountNotFound.
func (s *Service) PutSecret(ctx context.Context, _ identity.Caller, reg name.Registry, in *ecrintypes.PutSecretRequest) (
	*ecrintypes.SecretResponse, error) {
	value := secret.New(in.SecretString)
	if _, err := pullthrough.ParseCredentials(value); err != nil {
		return nil, err
	}
	one := meta.Secret{Registry: reg, Name: in.Name, Suffix: suffix()}
	// The ARN is the context of the seal, and a secret that exists keeps its suffix.
	stored, err := s.meta.PutSecret(ctx, one, func(as meta.Secret) []byte { return s.keys.SealForeign(as.ARN(), value) })
	if err != nil {
		return nil, err
	}
	return &ecrintypes.SecretResponse{Secret: showSecret(stored)}, nil
}

// ListSecrets returns the secrets of an account in a region, without their values.
func (s *Service) ListSecrets(ctx context.Context, _ identity.Caller, reg name.Registry, _ *ecrintypes.ListSecretsRequest) (
	*ecrintypes.ListSecretsResponse, error) {
	all, err := s.meta.Secrets(ctx, reg)
	if err != nil {
		return nil, err
	}
	out := &ecrintypes.ListSecretsResponse{Secrets: []ecrintypes.Secret{}}
	for _, one := range all {
		out.Secrets = append(out.Secrets, showSecret(one))
	}
	return out, nil
}

// DeleteSecret deletes a secret. Rules that name it fail from then on, until they get another one.
//
// Errors: fault.SecretNotFound.
func (s *Service) DeleteSecret(ctx context.Context, _ identity.Caller, reg name.Registry, in *ecrintypes.DeleteSecretRequest) (
	*ecrintypes.SecretResponse, error) {
	one, err := s.meta.Secret(ctx, reg, in.Name)
	if err == nil {
		err = s.meta.DeleteSecret(ctx, reg, in.Name)
	}
	if err != nil {
		return nil, err
	}
	return &ecrintypes.SecretResponse{Secret: showSecret(one)}, nil
}
