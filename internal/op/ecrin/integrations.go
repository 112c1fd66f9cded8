package ecrin

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/integration"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// onIntegration returns the target of an account and an ask about one of its integrations, * for all.
func onIntegration(s *Service, ctx context.Context, req guard.Request, in accountNamed, label string) (
	t guard.Target[name.Account], err error) {
	if t, err = OnAccount(s, ctx, req, in); err == nil {
		t.Asks[0].Resource = meta.Integration{Account: t.Value, Name: label}.ARN()
	}
	return t, err
}

// OnNewIntegration resolves the account of an integration to be created.
func OnNewIntegration(s *Service, ctx context.Context, req guard.Request, in *ecrintypes.CreateIntegrationRequest) (
	guard.Target[name.Account], error) {
	t, err := onIntegration(s, ctx, req, in, in.IntegrationName)
	if err == nil {
		t.Asks = useCloud(t.Asks, t.Value, in.CloudName)
	}
	return t, err
}

// OnChangedIntegration resolves an integration that is changed. If it names a cloud integration, before or after, the change decides for
// what the credentials of that are used.
func OnChangedIntegration(s *Service, ctx context.Context, req guard.Request, in *ecrintypes.UpdateIntegrationRequest) (
	guard.Target[meta.Integration], error) {
	t, err := OnIntegration(s, ctx, req, in)
	if err != nil {
		return t, err
	}
	label := in.CloudName
	if label == "" && t.Absent == nil {
		settings, err := integration.SettingsOf(t.Value)
		if err != nil {
			return t, err
		}
		label = settings.Cloud
	}
	t.Asks = useCloud(t.Asks, t.Value.Account, label)
	if t.Absent == nil {
		t.Absent = req.If.Check(revision(t.Value.Version)) // the store compares it again
	}
	return t, nil
}

// useCloud adds the permission for naming a cloud integration, whose credentials the integration then uses.
func useCloud(asks []guard.Ask, account name.Account, label string) []guard.Ask {
	if label == "" {
		return asks
	}
	use := asks[0]
	use.Action, use.Resource = "ecrin:UseCloudIntegration", meta.Object{Account: account, Kind: meta.KindCloud, Name: label}.ARN()
	return append(asks, use)
}

// OnIntegrations resolves the account whose integrations are described.
func OnIntegrations(s *Service, ctx context.Context, req guard.Request, in *ecrintypes.DescribeIntegrationsRequest) (
	guard.Target[name.Account], error) {
	label := "*"
	if in.IntegrationName != "" {
		label = in.IntegrationName
	}
	return onIntegration(s, ctx, req, in, label)
}

// OnIntegration resolves an integration of an account by its name.
func OnIntegration[In interface {
	accountNamed
	GetIntegrationName() string
}](s *Service, ctx context.Context, req guard.Request, in In) (t guard.Target[meta.Integration], err error) {
	of, err := onIntegration(s, ctx, req, in, in.GetIntegrationName())
	if err != nil {
		return t, err
	}
	i, err := s.meta.Integration(ctx, of.Value, in.GetIntegrationName())
	if err != nil && !errors.Is(err, fault.IntegrationNotFound) {
		return t, err
	}
	if err != nil {
		i = meta.Integration{Account: of.Value, Name: in.GetIntegrationName()}
	}
	return guard.Target[meta.Integration]{Value: i, Asks: of.Asks, Absent: err}, nil
}

func showIntegration(i meta.Integration) (ecrintypes.Integration, error) {
	s, err := integration.SettingsOf(i)
	out := ecrintypes.Integration{
		Revision: revision(i.Version), IntegrationName: i.Name, Arn: i.ARN(), AccountId: i.Account.String(),
		Kind: ecrintypes.IntegrationKind(i.Kind), RegistryHost: s.Host,
		Endpoint: s.API, StsEndpoint: s.STS, RemoteRegistryId: s.RegistryID, RemoteRegion: s.Region, AwsAccessKeyId: s.AccessKeyID,
		RoleArn: s.RoleARN, ExternalId: s.ExternalID, SecondRoleArn: s.SecondRole, SecondExternalId: s.SecondID, CloudName: s.Cloud,
		Provider: s.Provider, AuthType: ecrintypes.RegistryAuthType(s.AuthType), Url: s.URL, Username: s.Username,
		KnownHosts: s.KnownHosts, TokenHosts: s.TokenHosts, Runtimes: i.Scope,
		CreatedAt: *awswire.At(i.CreatedAt), UpdatedAt: *awswire.At(i.UpdatedAt), CreatedBy: i.CreatedBy, LastTestedAt: awswire.At(i.TestedAt),
		LastError: i.Error, CredentialsSetAt: awswire.At(s.SecretSetAt),
	}
	if len(i.Scope) == 0 { // the model has no empty list
		out.Runtimes = nil
	}
	if s.WebIdentity {
		out.WebIdentity = &s.WebIdentity
	}
	if i.Serves != (name.Registry{}) {
		out.ReplicatesTo = &ecrintypes.ReplicationTarget{RegistryId: i.Serves.Account.String(), Region: i.Serves.Region.String()}
	}
	return out, err
}

func integrationResponse(i meta.Integration, err error) (*ecrintypes.IntegrationResponse, error) {
	if err != nil {
		return nil, err
	}
	one, err := showIntegration(i)
	if err != nil {
		return nil, err
	}
	return &ecrintypes.IntegrationResponse{Integration: one}, nil
}

// targetOf parses the destination of replications for which an integration stands; zero for none.
func targetOf(in *ecrintypes.ReplicationTarget) (r name.Registry, err error) {
	if in == nil {
		return r, nil
	}
	if r.Account, err = name.ParseAccount(in.RegistryId); err != nil {
		return r, err
	}
	r.Region, err = name.ParseRegion(in.Region)
	return r, err
}

// CreateIntegration stores how a registry outside of the installation is reached. It makes no call to it.
//
// Errors: those of integration.Service.Create.
func (s *Service) CreateIntegration(ctx context.Context, by identity.Caller, account name.Account,
	in *ecrintypes.CreateIntegrationRequest) (*ecrintypes.IntegrationResponse, error) {
	to, err := targetOf(in.ReplicatesTo)
	if err != nil {
		return nil, err
	}
	return integrationResponse(s.remotes.Create(ctx, integration.Input{
		Account: account, Name: in.IntegrationName, Kind: string(in.Kind), Scope: in.Runtimes, Serves: to, By: by.ARN,
		Settings: integration.Settings{Host: in.RegistryHost, Region: in.RemoteRegion, RegistryID: in.RemoteRegistryId, API: in.Endpoint,
			STS: in.StsEndpoint, AccessKeyID: in.AwsAccessKeyId, RoleARN: in.RoleArn, ExternalID: in.ExternalId,
			SecondRole: in.SecondRoleArn, SecondID: in.SecondExternalId, Cloud: in.CloudName,
			WebIdentity: in.WebIdentity != nil && *in.WebIdentity, Provider: string(in.Provider), URL: in.Url,
			Username: in.Username, KnownHosts: in.KnownHosts, TokenHosts: in.TokenHosts, AuthType: string(in.AuthType),
			Unchecked: yes(in.Unchecked), SecretSetAt: s.setNow(in.AwsSecretAccessKey, in.Password, in.PrivateKey)},
		Secrets: integration.Secrets{SecretAccessKey: in.AwsSecretAccessKey, SessionToken: in.AwsSessionToken, Password: in.Password,
			Key: in.PrivateKey},
	}))
}

// UpdateIntegration changes an integration: what the request names gets another value, what it lists in remove goes, and the rest stays.
// A key or a password is replaced as a whole. A request that names the revision that it has seen changes that one only.
//
// Errors: fault.PreconditionFailed, fault.IntegrationFailed (the secrets that stay cannot be read), fault.InvalidParameter (they would be
// sent to another host), and those of integration.Service.Update.
func (s *Service) UpdateIntegration(ctx context.Context, _ identity.Caller, i meta.Integration,
	in *ecrintypes.UpdateIntegrationRequest) (*ecrintypes.IntegrationResponse, error) {
	settings, secrets, err := s.remotes.Open(i)
	fresh := in.AwsSecretAccessKey != "" || in.Password != "" || in.PrivateKey != "" ||
		slices.Contains(in.Remove, ecrintypes.IntegrationPartCREDENTIALS)
	if err != nil && !fresh {
		return nil,
			fault.IntegrationFailed.New("the secrets of the integration %s cannot be read with the master key of this server: set them again",
				i.Name).Because(err)
	}
	if fresh {
		secrets = integration.Secrets{}
		settings.SecretSetAt = s.setNow(in.AwsSecretAccessKey, in.Password, in.PrivateKey)
	} else if secrets != (integration.Secrets{}) && leadsElsewhere(settings, in) {
		return nil, integration.Bad("password",
			"must be given again together with another registryHost, url, known host or token host, which would get the stored one")
	}
	remove(in.Remove, &i, &settings)
	resource(&settings, &secrets, in)
	moved := in.RegistryHost == "" && (in.Endpoint != "" || in.RemoteRegion != "" || in.RemoteRegistryId != "")
	if moved { // the host follows from these, unless it is named
		settings.Host = ""
	}
	if i.Kind == integration.Ecrin && in.Endpoint != "" && in.StsEndpoint == "" {
		settings.STS = ""
	}
	for _, one := range []struct {
		field *string
		value string
	}{
		{&settings.Host, in.RegistryHost}, {&settings.API, in.Endpoint}, {&settings.STS, in.StsEndpoint},
		{&settings.RegistryID, in.RemoteRegistryId}, {&settings.Region, in.RemoteRegion}, {&settings.AccessKeyID, in.AwsAccessKeyId},
		{&secrets.SecretAccessKey, in.AwsSecretAccessKey}, {&secrets.SessionToken, in.AwsSessionToken}, {&settings.RoleARN, in.RoleArn},
		{&settings.ExternalID, in.ExternalId}, {&settings.SecondRole, in.SecondRoleArn}, {&settings.SecondID, in.SecondExternalId},
		{&settings.Cloud, in.CloudName}, {&settings.URL, in.Url}, {&settings.Username, in.Username}, {&secrets.Password, in.Password},
		{&secrets.Key, in.PrivateKey}, {&settings.KnownHosts, in.KnownHosts}, {&settings.Provider, string(in.Provider)},
		{&settings.AuthType, string(in.AuthType)},
	} {
		if one.value != "" {
			*one.field = one.value
		}
	}
	if in.TokenHosts != nil {
		settings.TokenHosts = in.TokenHosts
	}
	if in.Runtimes != nil {
		i.Scope = in.Runtimes
	}
	if in.ReplicatesTo != nil {
		if i.Serves, err = targetOf(in.ReplicatesTo); err != nil {
			return nil, err
		}
	}
	return integrationResponse(s.remotes.Update(ctx, i, settings, secrets))
}

// setNow returns the time at which secrets are set: now, or zero if all are absent.
func (s *Service) setNow(secrets ...string) time.Time {
	if strings.Join(secrets, "") == "" {
		return time.Time{}
	}
	return s.now()
}

// leadsElsewhere reports whether a request names a host that would be sent a credential or a token and that the settings do not have. Who
// may change an integration need not know its secret, and must not be able to have it sent to a host of their choice.
func leadsElsewhere(s integration.Settings, in *ecrintypes.UpdateIntegrationRequest) bool {
	return in.RegistryHost != "" && in.RegistryHost != s.Host || in.Provider != "" && string(in.Provider) != s.Provider ||
		in.Url != "" && in.Url != s.URL ||
		in.KnownHosts != "" && in.KnownHosts != s.KnownHosts ||
		slices.ContainsFunc(in.TokenHosts, func(host string) bool { return !slices.Contains(s.TokenHosts, host) })
}

// resource lets a new source of credentials of AWS take the place of the one before: a key, a cloud integration or a web identity.
func resource(s *integration.Settings, secrets *integration.Secrets, in *ecrintypes.UpdateIntegrationRequest) {
	web := in.WebIdentity != nil && *in.WebIdentity
	switch {
	case in.CloudName != "" || web:
		s.AccessKeyID, *secrets, s.SecretSetAt = "", integration.Secrets{}, time.Time{}
		s.Cloud, s.WebIdentity = "", web
	case in.AwsAccessKeyId != "":
		s.Cloud, s.WebIdentity = "", false
	case in.WebIdentity != nil:
		s.WebIdentity = false
	}
}

// remove removes parts of an integration.
func remove(parts []ecrintypes.IntegrationPart, i *meta.Integration, s *integration.Settings) {
	for _, part := range parts {
		switch part {
		case ecrintypes.IntegrationPartROLE:
			s.RoleARN, s.ExternalID, s.SecondRole, s.SecondID = "", "", "", ""
		case ecrintypes.IntegrationPartEXTERNAL_ID:
			s.ExternalID = ""
		case ecrintypes.IntegrationPartSECOND_ROLE:
			s.SecondRole, s.SecondID = "", ""
		case ecrintypes.IntegrationPartCLOUD:
			s.Cloud = ""
		case ecrintypes.IntegrationPartWEB_IDENTITY:
			s.WebIdentity = false
		case ecrintypes.IntegrationPartCREDENTIALS:
			s.Username, s.AccessKeyID, s.KnownHosts = "", "", ""
		case ecrintypes.IntegrationPartTOKEN_HOSTS:
			s.TokenHosts = nil
		case ecrintypes.IntegrationPartRUNTIMES:
			i.Scope = nil
		case ecrintypes.IntegrationPartREPLICATION:
			i.Serves = name.Registry{}
		}
	}
}

// DescribeIntegrations returns the integrations of an account by name, or one of them, without their secrets.
//
// Errors: fault.IntegrationNotFound.
func (s *Service) DescribeIntegrations(ctx context.Context, _ identity.Caller, account name.Account,
	in *ecrintypes.DescribeIntegrationsRequest) (*ecrintypes.DescribeIntegrationsResponse, error) {
	var all []meta.Integration
	var err error
	if in.IntegrationName != "" {
		var one meta.Integration
		one, err = s.meta.Integration(ctx, account, in.IntegrationName)
		all = append(all, one)
	} else {
		all, err = s.meta.Integrations(ctx, account)
	}
	if err != nil {
		return nil, err
	}
	out := &ecrintypes.DescribeIntegrationsResponse{Integrations: []ecrintypes.Integration{}}
	for _, i := range all {
		one, err := showIntegration(i)
		if err != nil {
			return nil, err
		}
		out.Integrations = append(out.Integrations, one)
	}
	return out, s.addStatuses(ctx, account, all, out.Integrations)
}

// DeleteIntegration deletes an integration.
//
// Errors: fault.IntegrationNotFound, fault.IntegrationInUse.
func (s *Service) DeleteIntegration(ctx context.Context, _ identity.Caller, i meta.Integration,
	_ *ecrintypes.IntegrationRequest) (*ecrintypes.IntegrationResponse, error) {
	return integrationResponse(i, s.meta.DeleteIntegration(ctx, i))
}

// TestIntegration makes the calls of a pull at the other side, up to the first one that fails, and returns what each said.
//
// Errors: those of integration.Service.Test.
func (s *Service) TestIntegration(ctx context.Context, _ identity.Caller, i meta.Integration,
	in *ecrintypes.TestIntegrationRequest) (*ecrintypes.TestIntegrationResponse, error) {
	steps, p, err := s.remotes.Test(ctx, i, in.Image)
	out, err := testResponse(steps, err)
	if err != nil || p == nil {
		return out, err
	}
	out.PoliciesFoundBy = p.By
	for _, one := range p.Policies {
		out.Policies = append(out.Policies, ecrintypes.ManagedPolicy{Name: one.Name, Met: one.Met, Missing: one.Missing, Untried: one.Untried})
	}
	return out, nil
}

// GetIntegrationToken returns an authorization token of the registry of an integration, for docker and other clients that ask this server
// instead of having a key of the registry. It ends by itself, 12 hours after it was made, and cannot be taken back before.
//
// Errors: those of integration.Service.Token.
func (s *Service) GetIntegrationToken(ctx context.Context, _ identity.Caller, i meta.Integration,
	_ *ecrintypes.IntegrationRequest) (*ecrintypes.GetIntegrationTokenResponse, error) {
	t, err := s.remotes.Token(ctx, i)
	if err != nil {
		return nil, err
	}
	return &ecrintypes.GetIntegrationTokenResponse{Registry: t.Host, Username: t.Username, Password: t.Password.Reveal(),
		ExpiresAt: *awswire.At(t.ExpiresAt)}, nil
}

// testResponse returns the steps of a test.
func testResponse(steps []integration.Step, err error) (*ecrintypes.TestIntegrationResponse, error) {
	if err != nil {
		return nil, err
	}
	out := &ecrintypes.TestIntegrationResponse{Passed: true, Steps: []ecrintypes.IntegrationStep{}}
	for _, one := range steps {
		out.Passed = out.Passed && one.Passed
		out.Steps = append(out.Steps, ecrintypes.IntegrationStep{Name: one.Name, Passed: one.Passed, Found: one.Found, Code: one.Code,
			HttpStatus: statusOf(one.Status), Message: one.Message, Cure: one.Cure, Milliseconds: one.Took.Milliseconds()})
	}
	return out, nil
}
