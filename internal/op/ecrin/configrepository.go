package ecrin

import (
	"context"
	"errors"

	"github.com/ecrin-dev/ecrin/internal/core/configrepo"
	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/integration"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/net/gitrepo"
	"github.com/ecrin-dev/ecrin/internal/rule/gitops"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// OnConfigRepository resolves the configuration repository of an account. If there is none, the value has the version 0.
func OnConfigRepository[In accountNamed](s *Service, ctx context.Context, req guard.Request, in In) (
	t guard.Target[meta.ConfigRepository], err error) {
	of, err := OnAccount(s, ctx, req, in)
	if err != nil {
		return t, err
	}
	t.Asks = of.Asks
	t.Asks[0].Resource = meta.ConfigRepositoryARN(of.Value)
	c, err := s.meta.ConfigRepository(ctx, of.Value)
	if errors.Is(err, fault.ObjectNotFound) {
		t.Value, t.Absent = meta.ConfigRepository{Account: of.Value, CreatedBy: req.By.ARN}, err
		return t, nil
	}
	t.Value = c
	return t, err
}

// OnNewConfigRepository resolves a configuration repository that is stored or replaced. Who sets the certificate to which the secrets of
// all integrations are sealed can use all of them.
func OnNewConfigRepository(s *Service, ctx context.Context, req guard.Request, in *ecrintypes.PutConfigRepositoryRequest) (
	guard.Target[meta.ConfigRepository], error) {
	t, err := OnConfigRepository(s, ctx, req, in)
	if err != nil {
		return t, err
	}
	t.Absent = nil
	for _, one := range []struct{ action, resource string }{
		{"ecrin:UseIntegration", meta.Integration{Account: t.Value.Account, Name: "*"}.ARN()},
		{"ecrin:UseCloudIntegration", meta.Object{Account: t.Value.Account, Kind: meta.KindCloud, Name: "*"}.ARN()},
	} {
		use := t.Asks[0]
		use.Action, use.Resource = one.action, one.resource
		t.Asks = append(t.Asks, use)
	}
	return t, nil
}

func (s *Service) configResponse(ctx context.Context, c meta.ConfigRepository, err error) (*ecrintypes.ConfigRepositoryResponse, error) {
	if err != nil {
		return nil, err
	}
	v, err := configrepo.SettingsOf(c)
	if err != nil {
		return nil, err
	}
	st, err := configrepo.StateOf(c)
	if err != nil {
		return nil, err
	}
	all, err := s.meta.Integrations(ctx, c.Account)
	if err != nil {
		return nil, err
	}
	shown, err := s.configs.Show(ctx, c, all)
	if err != nil {
		return nil, err
	}
	out := ecrintypes.ConfigRepository{AccountId: c.Account.String(), Arn: meta.ConfigRepositoryARN(c.Account), Url: v.URL,
		Username: v.Username, KnownHosts: v.KnownHosts, AuthorName: v.AuthorName, AuthorEmail: v.AuthorEmail, Namespace: v.Namespace,
		Certificate: v.Certificate, SecretStore: v.Store, SecretStoreKind: ecrintypes.SecretStoreKind(v.StoreKind), SecretPrefix: v.Prefix,
		SkipTest: &v.SkipTest, Removing: c.Removing, SyncStatus: ecrintypes.SyncStatus(st.Overall(c.Wanted)), LastCommit: st.Head,
		LastTriedAt: awswire.At(st.TriedAt), LastSyncedAt: awswire.At(st.SyncedAt), LastError: st.Error,
		Integrations: []ecrintypes.ConfigIntegration{}, Drift: []ecrintypes.ConfigDrift{}, CreatedAt: *awswire.At(c.CreatedAt),
		UpdatedAt: *awswire.At(c.UpdatedAt), CreatedBy: c.CreatedBy}
	if v.Certificate != "" {
		sealer, err := gitops.NewSealer(v.Certificate)
		if err != nil {
			return nil, err
		}
		out.CertificateExpiresAt = awswire.At(sealer.End())
	}
	for _, one := range v.Runtimes {
		out.Runtimes = append(out.Runtimes, ecrintypes.ConfigTarget{RuntimeName: one.Name, Namespace: one.Namespace,
			Certificate: one.Certificate})
	}
	for _, one := range shown {
		out.Integrations = append(out.Integrations, ecrintypes.ConfigIntegration{IntegrationName: one.Name,
			SyncStatus: ecrintypes.SyncStatus(one.Status), Reason: one.Why, Paths: one.Paths})
	}
	for _, d := range st.Drift {
		out.Drift = append(out.Drift, ecrintypes.ConfigDrift{Path: d.Path, IntegrationName: d.Integration, Kind: ecrintypes.DriftKind(d.Kind)})
	}
	return &ecrintypes.ConfigRepositoryResponse{ConfigRepository: out}, nil
}

// PutConfigRepository stores in which repository of git the integrations of an account are kept, and queues the job that writes them. It
// replaces the settings before; the credentials stay if the request has none and the repository is the same.
//
// Errors: fault.IntegrationFailed (the credentials that stay cannot be read), and those of configrepo.Service.Put.
func (s *Service) PutConfigRepository(ctx context.Context, _ identity.Caller, c meta.ConfigRepository,
	in *ecrintypes.PutConfigRepositoryRequest) (*ecrintypes.ConfigRepositoryResponse, error) {
	if c.Removing {
		return nil, fault.ObjectInUse.New("the configuration repository is being removed: wait until its files are gone")
	}
	secrets := configrepo.Secrets{Password: in.Password, Key: in.PrivateKey}
	v := configrepo.Settings{URL: in.Url, Username: in.Username, KnownHosts: in.KnownHosts, AuthorName: in.AuthorName,
		AuthorEmail: in.AuthorEmail, Namespace: in.Namespace, Certificate: in.Certificate, Store: in.SecretStore,
		StoreKind: string(in.SecretStoreKind), Prefix: in.SecretPrefix, SkipTest: in.SkipTest != nil && *in.SkipTest}
	if v.Store != "" && v.StoreKind == "" {
		v.StoreKind = string(ecrintypes.SecretStoreKindSecretStore)
	}
	for _, one := range in.Runtimes {
		v.Runtimes = append(v.Runtimes, configrepo.Runtime{Name: one.RuntimeName, Namespace: one.Namespace, Certificate: one.Certificate})
	}
	if c.Version != 0 && secrets == (configrepo.Secrets{}) {
		had, err := configrepo.SettingsOf(c)
		if err != nil {
			return nil, err
		}
		if secrets, err = s.kept(c, had, v); err != nil {
			return nil, err
		}
	}
	c, err := s.configs.Put(ctx, c, v, secrets)
	return s.configResponse(ctx, c, err)
}

// kept returns the stored credentials for a repository whose settings change; none if they would go elsewhere.
func (s *Service) kept(c meta.ConfigRepository, had, now configrepo.Settings) (none configrepo.Secrets, err error) {
	from, err := gitrepo.ParseLocation(had.URL)
	if err != nil {
		return none, nil
	}
	to, err := gitrepo.ParseLocation(now.URL)
	if err != nil {
		return none, integration.Bad("url", err.Error())
	}
	from.Branch, from.Folder, to.Branch, to.Folder = "", "", "", ""
	if from != to || had.KnownHosts != now.KnownHosts || had.Username != now.Username {
		return none, nil // which the check then asks for
	}
	return s.configs.Open(c)
}

// DescribeConfigRepository returns the configuration repository of an account without its credentials, and how far its files are.
//
// Errors: fault.ObjectNotFound.
func (s *Service) DescribeConfigRepository(ctx context.Context, _ identity.Caller, c meta.ConfigRepository,
	_ *ecrintypes.ConfigRepositoryRequest) (*ecrintypes.ConfigRepositoryResponse, error) {
	return s.configResponse(ctx, c, nil)
}

// SyncConfigRepository queues the job that writes the integrations, and returns the state before.
//
// Errors: fault.ObjectNotFound.
func (s *Service) SyncConfigRepository(ctx context.Context, _ identity.Caller, c meta.ConfigRepository,
	_ *ecrintypes.ConfigRepositoryRequest) (*ecrintypes.ConfigRepositoryResponse, error) {
	c, err := s.meta.SyncConfigRepository(ctx, c.Account)
	return s.configResponse(ctx, c, err)
}

// DeleteConfigRepository begins to remove what was written, after which the configuration repository goes. With keepFiles it goes at once,
// and its files stay.
//
// Errors: fault.ObjectNotFound.
func (s *Service) DeleteConfigRepository(ctx context.Context, _ identity.Caller, c meta.ConfigRepository,
	in *ecrintypes.DeleteConfigRepositoryRequest) (*ecrintypes.ConfigRepositoryResponse, error) {
	keep := in.KeepFiles != nil && *in.KeepFiles
	err := s.meta.RemoveConfigRepository(ctx, c.Account, keep)
	c.Removing = true
	return s.configResponse(ctx, c, err)
}

// addStatuses puts how far their files are into integrations, if the account has a configuration repository.
func (s *Service) addStatuses(ctx context.Context, account name.Account, all []meta.Integration, out []ecrintypes.Integration) error {
	statuses, err := s.configs.Statuses(ctx, account, all)
	if err != nil {
		return err
	}
	for i := range out {
		out[i].SyncStatus = ecrintypes.SyncStatus(statuses[out[i].IntegrationName])
	}
	return nil
}
