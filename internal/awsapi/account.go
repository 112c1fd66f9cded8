package awsapi

import (
	"encoding/base64"
	"slices"

	"github.com/ecrin-dev/ecrin/internal/awswire"
	"github.com/ecrin-dev/ecrin/internal/ecrtypes"
	"github.com/ecrin-dev/ecrin/internal/name"
)

// getAuthorizationToken answers one entry for each registryId, in order, or exactly one for the caller's own account.
// All entries hold the same password: it speaks for the caller, not for a registry.
// Source: ECR API reference, GetAuthorizationToken.
func (a *API) getAuthorizationToken(c *call, in *ecrtypes.GetAuthorizationTokenRequest) (*ecrtypes.GetAuthorizationTokenResponse, error) {
	accounts := []name.Account{c.caller.Account}
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
	password, expires, err := a.identity.IssueToken(c.ctx, c.caller, c.region)
	if err != nil {
		return nil, err
	}
	out := &ecrtypes.GetAuthorizationTokenResponse{}
	for _, account := range accounts {
		out.AuthorizationData = append(out.AuthorizationData, ecrtypes.AuthorizationData{
			AuthorizationToken: base64.StdEncoding.EncodeToString([]byte("AWS:" + password.Reveal())),
			ExpiresAt:          awswire.At(expires),
			ProxyEndpoint:      "https://" + a.hosts.RegistryHost(c.host, name.Registry{Account: account, Region: c.region}),
		})
	}
	return out, nil
}

func (a *API) describeRegistry(c *call, _ *ecrtypes.DescribeRegistryRequest) (*ecrtypes.DescribeRegistryResponse, error) {
	return &ecrtypes.DescribeRegistryResponse{
		RegistryId:               c.caller.Account.String(),
		ReplicationConfiguration: &ecrtypes.ReplicationConfiguration{Rules: []ecrtypes.ReplicationRule{}},
	}, nil
}

// policyScope is the account setting that says which actions a registry policy is about.
const policyScope = "REGISTRY_POLICY_SCOPE"

// setting is an account setting: its values, the default first.
// Source: ECR API reference, PutAccountSetting; the default of BLOB_MOUNTING is in docs/ecr-divergences.md.
type setting struct {
	name   string
	values []string
}

var settings = []setting{
	{"BASIC_SCAN_TYPE_VERSION", []string{"AWS_NATIVE"}},
	{policyScope, []string{"V2", "V1"}},
	{"BLOB_MOUNTING", []string{"ENABLED", "DISABLED"}},
}

// settingOf finds a setting, with the defaults that hold here. Errors: fault.InvalidParameter.
func (a *API) settingOf(n string) (setting, error) {
	for _, s := range settings {
		if s.name == n {
			if n == "BLOB_MOUNTING" && a.registry.Quirks().MountSetting {
				s.values = []string{"DISABLED", "ENABLED"}
			}
			return s, nil
		}
	}
	return setting{}, badMember("name", "must be one of BASIC_SCAN_TYPE_VERSION, REGISTRY_POLICY_SCOPE, BLOB_MOUNTING")
}

func (a *API) getAccountSetting(c *call, in *ecrtypes.GetAccountSettingRequest) (*ecrtypes.GetAccountSettingResponse, error) {
	s, err := a.settingOf(in.Name)
	if err != nil {
		return nil, err
	}
	value, err := a.registry.Meta().Setting(c.ctx, c.own(), s.name)
	if err != nil {
		return nil, err
	}
	if value == "" {
		value = s.values[0]
	}
	return &ecrtypes.GetAccountSettingResponse{Name: s.name, Value: value}, nil
}

func (a *API) putAccountSetting(c *call, in *ecrtypes.PutAccountSettingRequest) (*ecrtypes.PutAccountSettingResponse, error) {
	s, err := a.settingOf(in.Name)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(s.values, in.Value) {
		return nil, badMember("value", "must be one of the values of "+s.name)
	}
	if err := a.registry.Meta().PutSetting(c.ctx, c.own(), s.name, in.Value); err != nil {
		return nil, err
	}
	return &ecrtypes.PutAccountSettingResponse{Name: s.name, Value: in.Value}, nil
}
