package integration

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/ecrin-dev/ecrin/internal/net/upstream"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// WebIdentity allows an account to assume a role of AWS with a token of the server. It is a setting of the operator: without it no account
// gets at an identity of the server.
type WebIdentity struct {
	Account name.Account
	RoleARN string
	File    string // with the token; read for each session
}

// maxIdentityToken is the largest size of a token in bytes. Source: STS API reference, AssumeRoleWithWebIdentity.
const maxIdentityToken = 20000

// source is who an integration is at the other side before and after roles are assumed: a key or a web identity, and the roles.
type source struct {
	credentials func(context.Context) (aws.Credentials, error)
	web         *upstream.WebIdentity
	roles       []upstream.Role
	sts         string // URL of the STS API if the integration has none
}

// keySource returns the source of an access key, without a cloud integration and without web identity.
func keySource(s Settings, secrets Secrets) source {
	keys := aws.Credentials{AccessKeyID: s.AccessKeyID, SecretAccessKey: secrets.SecretAccessKey, SessionToken: secrets.SessionToken}
	return source{credentials: func(context.Context) (aws.Credentials, error) { return keys, nil }, roles: s.roles()}
}

// roles returns the roles of the integration, in the order in which they are assumed.
func (s Settings) roles() []upstream.Role {
	return append(upstream.RolesOf(s.RoleARN, s.ExternalID), upstream.RolesOf(s.SecondRole, s.SecondID)...)
}

// checkSource checks where the credentials of AWS come from: from a key, a cloud integration or a web identity, and one of them only.
//
// Errors: fault.InvalidParameter.
func checkSource(kind string, s *Settings, secrets Secrets, key bool) error {
	switch {
	case s.Cloud != "" && (key || s.WebIdentity):
		return Bad("cloudName", "must be absent together with an access key or webIdentity: the cloud integration has the key")
	case s.WebIdentity && key:
		return Bad("webIdentity", "must be absent together with an access key")
	case s.WebIdentity && kind != ECR:
		return Bad("webIdentity", "must be absent for the kind "+kind)
	case s.WebIdentity && !roleARN.MatchString(s.RoleARN):
		return Bad("webIdentity", "needs roleArn, the ARN of the role that trusts the token")
	case s.WebIdentity && s.ExternalID != "":
		return Bad("externalId", "must be absent with webIdentity: AssumeRoleWithWebIdentity has none")
	case s.Cloud == "" && !s.WebIdentity && (s.AccessKeyID == "" || secrets.SecretAccessKey == ""):
		return Bad("awsAccessKeyId", "must be present together with awsSecretAccessKey, unless cloudName or webIdentity is present")
	}
	if err := checkRole(s.RoleARN, s.ExternalID); err != nil {
		return err
	}
	switch {
	case s.SecondRole != "" && !roleARN.MatchString(s.SecondRole) && !roleName.MatchString(s.SecondRole):
		return Bad("secondRoleArn", "must be the ARN of a role, or the name of a role of the account of the first one")
	case s.SecondRole != "" && s.RoleARN == "":
		return Bad("secondRoleArn", "must be absent without roleArn, from which it is assumed")
	case s.SecondID != "" && s.SecondRole == "":
		return Bad("secondExternalId", "must be absent without secondRoleArn")
	}
	return nil
}

// cloudOf returns the cloud integration that an integration names; one with the version 0 if it names none.
//
// Errors: fault.ObjectNotFound.
func (s *Service) cloudOf(ctx context.Context, i meta.Integration, settings Settings) (o meta.Object, err error) {
	if settings.Cloud == "" {
		return o, nil
	}
	return s.meta.Object(ctx, i.Account, meta.KindCloud, settings.Cloud)
}

// Parts are an integration with what the cloud integration that it names adds to it.
type Parts struct {
	Settings     Settings
	Secrets      Secrets
	Cloud        Cloud // zero for none
	CloudSecrets Secrets
}

// ByRole reports whether the credentials of AWS come from a role.
func (p Parts) ByRole() bool {
	return p.Settings.RoleARN != "" || p.Cloud.RoleARN != "" || p.Settings.WebIdentity
}

// Parts returns the parts of an integration.
//
// Errors: fault.IntegrationFailed (its secrets cannot be read), fault.ObjectNotFound (of the cloud integration).
func (s *Service) Parts(ctx context.Context, i meta.Integration) (p Parts, err error) {
	if p.Settings, p.Secrets, err = s.Open(i); err != nil {
		return p, fault.IntegrationFailed.New("the secrets of the integration %s cannot be read with the master key of this server: set them again by ecrin integration update",
			i.Name).Because(err)
	}
	cloud, err := s.cloudOf(ctx, i, p.Settings)
	if err != nil || cloud.Version == 0 {
		return p, err
	}
	if err = Read(cloud, &p.Cloud); err == nil {
		p.CloudSecrets, err = s.OpenObject(cloud)
	}
	return p, err
}

// Versions returns a text that changes with each change of an integration and of the cloud integration that it names.
//
// Errors: fault.ObjectNotFound (of the cloud integration).
func (s *Service) Versions(ctx context.Context, i meta.Integration) (string, error) {
	settings, err := SettingsOf(i)
	if err != nil {
		return "", err
	}
	cloud, err := s.cloudOf(ctx, i, settings)
	return fmt.Sprintf("%d.%d", i.Version, cloud.Version), err
}

// tokenFile returns the file with the token of a web identity; "" for an integration without one.
//
// Errors: fault.InvalidParameter (the operator does not allow it).
func (s *Service) tokenFile(account name.Account, settings Settings) (string, error) {
	if !settings.WebIdentity {
		return "", nil
	}
	for _, one := range s.web {
		if one.Account == account && one.RoleARN == settings.RoleARN {
			return one.File, nil
		}
	}
	return "", Bad("webIdentity", "the operator does not let this account assume the role with a token of the server: see the setting web_identities")
}

// open returns the endpoint of an integration with its credentials. cloud is that which it names.
//
// Errors: fault.IntegrationFailed.
func (s *Service) open(i meta.Integration, cloud meta.Object) (e upstream.Endpoint, err error) {
	settings, secrets, err := s.Open(i)
	if err != nil {
		return e, fault.IntegrationFailed.New("the secrets of the integration %s cannot be read with the master key of this server: set them again by ecrin integration update",
			i.Name).Because(err)
	}
	who := keySource(settings, secrets)
	switch {
	case settings.Cloud != "":
		var c Cloud
		if err := Read(cloud, &c); err != nil {
			return e, err
		}
		hidden, err := s.OpenObject(cloud)
		if err != nil {
			return e, err
		}
		who = keySource(Settings{AccessKeyID: c.AccessKeyID, RoleARN: c.RoleARN, ExternalID: c.ExternalID}, hidden)
		who.roles, who.sts = append(who.roles, settings.roles()...), c.STS
	case settings.WebIdentity:
		file, err := s.tokenFile(i.Account, settings)
		if err != nil {
			return e, fault.IntegrationFailed.New("%s", fault.From(err).Public).Because(err)
		}
		who = source{roles: settings.roles()[1:], web: &upstream.WebIdentity{ARN: settings.RoleARN, Token: func() ([]byte, error) {
			return readToken(file)
		}}}
	}
	return endpointOf(i.Kind, settings, secrets, who), nil
}

// readToken returns the token in a file of the server. The public texts of its errors do not name the file.
//
// Errors: an upstream.Error with the reason Unauthorized.
func readToken(file string) ([]byte, error) {
	text, err := os.ReadFile(file)
	token := strings.TrimSpace(string(text))
	if err == nil && (token == "" || len(token) > maxIdentityToken) {
		err = fmt.Errorf("reading %s: it has no token", file)
	}
	if err != nil {
		return nil, &upstream.Error{Reason: upstream.Unauthorized, Public: "the server cannot read the token of its web identity", Err: err}
	}
	return []byte(token), nil
}
