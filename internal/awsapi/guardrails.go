package awsapi

import (
	"github.com/ecrin-dev/ecrin/internal/awswire"
	"github.com/ecrin-dev/ecrin/internal/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/identity"
	"github.com/ecrin-dev/ecrin/internal/meta"
	"github.com/ecrin-dev/ecrin/internal/name"
	"github.com/ecrin-dev/ecrin/internal/policy"
)

// fullAccess is the name of the guard rail without text, which takes the full access away that every level has.
const fullAccess = "FullAccess"

// railLimits are the characters that a guard rail may have. Source: Organizations user guide, quotas.
var railLimits = map[ecrintypes.ControlPolicyType]struct {
	kind  policy.Kind
	limit int
}{
	ecrintypes.ControlPolicyTypeSERVICE_CONTROL_POLICY:  {policy.ServiceControl, 10240},
	ecrintypes.ControlPolicyTypeRESOURCE_CONTROL_POLICY: {policy.ResourceControl, 5120},
}

// onInstallation is for the guard rails, which belong to no account.
func onInstallation(_ *API, c *call, _ awswire.Input) ([]identity.Access, error) {
	return one(identity.Access{Region: c.region, Resource: "*"}, nil)
}

func showRail(p meta.ControlPolicy) ecrintypes.ControlPolicy {
	return ecrintypes.ControlPolicy{
		Name: p.Name, Type: ecrintypes.ControlPolicyType(p.Kind), AccountId: p.Account.String(), PolicyText: p.Text, UpdatedAt: awswire.At(p.UpdatedAt),
	}
}

// railAccount is the account that a guard rail holds for; the zero Account is all.
func railAccount(id string) (name.Account, error) {
	if id == "" {
		return name.Account{}, nil
	}
	return name.ParseAccount(id)
}

func (a *API) listControlPolicies(c *call, _ *ecrintypes.ListControlPoliciesRequest) (*ecrintypes.ListControlPoliciesResponse, error) {
	all, err := a.registry.Meta().ControlPolicies(c.ctx)
	if err != nil {
		return nil, err
	}
	out := &ecrintypes.ListControlPoliciesResponse{}
	for _, p := range all {
		out.ControlPolicies = append(out.ControlPolicies, showRail(p))
	}
	return out, nil
}

// putControlPolicy sets a guard rail of the installation or of one account. The one called FullAccess has no text.
func (a *API) putControlPolicy(c *call, in *ecrintypes.PutControlPolicyRequest) (*ecrintypes.PutControlPolicyResponse, error) {
	account, err := railAccount(in.AccountId)
	if err != nil {
		return nil, err
	}
	p := meta.ControlPolicy{Name: in.Name, Kind: meta.ControlKind(in.Type), Account: account, UpdatedAt: a.now()}
	switch {
	case in.Name == fullAccess && in.PolicyText != "":
		return nil, badMember("policyText", "the guard rail "+fullAccess+" has no text: it takes full access away, and deleting it gives full access back; choose another name")
	case in.Name != fullAccess && in.PolicyText == "":
		return nil, badMember("policyText", "a policy is needed; only the guard rail "+fullAccess+" has none")
	case in.PolicyText != "":
		rule := railLimits[in.Type]
		d, err := policy.ParseLimit(in.PolicyText, rule.kind, rule.limit)
		if err != nil {
			return nil, err
		}
		p.Text = d.String()
	}
	if err := a.registry.Meta().PutControlPolicy(c.ctx, p); err != nil {
		return nil, err
	}
	return &ecrintypes.PutControlPolicyResponse{ControlPolicy: showRail(p)}, nil
}

func (a *API) deleteControlPolicy(c *call, in *ecrintypes.DeleteControlPolicyRequest) (*ecrintypes.DeleteControlPolicyResponse, error) {
	account, err := railAccount(in.AccountId)
	if err != nil {
		return nil, err
	}
	return &ecrintypes.DeleteControlPolicyResponse{}, a.registry.Meta().DeleteControlPolicy(c.ctx, meta.ControlKind(in.Type), account, in.Name)
}
