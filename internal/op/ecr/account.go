package ecr

import (
	"context"
	"encoding/base64"
	"slices"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrtypes"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// GetAuthorizationToken returns one entry for each registryId, in their order; without registryIds one entry for the
// account of the caller. All entries have the same password, because it identifies the caller, not a registry.
// endpoint.Map.ProxyEndpoint makes their proxyEndpoint.
//
// Errors: fault.InvalidParameter (an account id), fault.AccountNotFound. Source: ECR API reference,
// GetAuthorizationToken.
func (s *Service) GetAuthorizationToken(ctx context.Context, by identity.Caller, t Registry,
	in *ecrtypes.GetAuthorizationTokenRequest) (*ecrtypes.GetAuthorizationTokenResponse, error) {
	accounts := []name.Account{by.Account}
	if len(in.RegistryIds) > 0 {
		accounts = nil
		for _, id := range in.RegistryIds {
			account, err := name.ParseAccount(id)
			if err != nil {
				return nil, err
			}
			accounts = append(accounts, account)
		}
	}
	password, expires, err := s.identity.IssueToken(ctx, by, t.Region)
	if err != nil {
		return nil, err
	}
	out := &ecrtypes.GetAuthorizationTokenResponse{}
	for _, account := range accounts {
		out.AuthorizationData = append(out.AuthorizationData, ecrtypes.AuthorizationData{
			AuthorizationToken: base64.StdEncoding.EncodeToString([]byte("AWS:" + password.Reveal())),
			ExpiresAt:          awswire.At(expires),
			ProxyEndpoint:      s.hosts.ProxyEndpoint(t.Host, name.Registry{Account: account, Region: t.Region}, t.Secure, t.Agent),
		})
	}
	return out, nil
}

// setting is an account setting.
type setting struct {
	name   string
	values []string // permitted values; the first is the default
}

// settings lists the account settings. Source: ECR API reference, PutAccountSetting; the default of BLOB_MOUNTING is in
// docs/ecr-divergences.md.
var settings = []setting{
	{meta.SettingScanType, []string{meta.ScanTypeNative}},
	{meta.SettingPolicyScope, []string{meta.PolicyScopeV2, meta.PolicyScopeV1}},
	{meta.SettingBlobMounting, []string{meta.Enabled, meta.Disabled}},
}

// settingOf returns the setting with the given name. Its default depends on the quirks of the registry.
//
// Errors: fault.InvalidParameter.
func (s *Service) settingOf(n string) (setting, error) {
	for _, known := range settings {
		if known.name == n {
			if n == meta.SettingBlobMounting && s.registry.Quirks().MountSetting {
				known.values = []string{meta.Disabled, meta.Enabled}
			}
			return known, nil
		}
	}
	return setting{}, BadMember("name", "must be one of BASIC_SCAN_TYPE_VERSION, REGISTRY_POLICY_SCOPE, BLOB_MOUNTING")
}

// GetAccountSetting returns the value of an account setting, or its default.
//
// Errors: fault.InvalidParameter (unknown setting). Source: ECR API reference, GetAccountSetting.
func (s *Service) GetAccountSetting(ctx context.Context, _ identity.Caller, t Registry,
	in *ecrtypes.GetAccountSettingRequest) (*ecrtypes.GetAccountSettingResponse, error) {
	known, err := s.settingOf(in.Name)
	if err != nil {
		return nil, err
	}
	value, err := s.meta.Setting(ctx, t.Registry, known.name)
	if err != nil {
		return nil, err
	}
	if value == "" {
		value = known.values[0]
	}
	return &ecrtypes.GetAccountSettingResponse{Name: known.name, Value: value}, nil
}

// PutAccountSetting sets an account setting of the registry of the caller.
//
// Errors: fault.InvalidParameter (unknown setting or value). Source: ECR API reference, PutAccountSetting.
func (s *Service) PutAccountSetting(ctx context.Context, _ identity.Caller, t Registry,
	in *ecrtypes.PutAccountSettingRequest) (*ecrtypes.PutAccountSettingResponse, error) {
	known, err := s.settingOf(in.Name)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(known.values, in.Value) {
		return nil, BadMember("value", "must be one of the values of "+known.name)
	}
	if err := s.meta.PutSetting(ctx, t.Registry, known.name, in.Value); err != nil {
		return nil, err
	}
	return &ecrtypes.PutAccountSettingResponse{Name: known.name, Value: in.Value}, nil
}
