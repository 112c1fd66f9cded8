package ecrin

import (
	"context"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/op/ecr"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// fullAccess is the name of the control policy without text. It removes the full access that every level has by
// default.
const fullAccess = "FullAccess"

// controlPolicyRules holds the kind and the maximum length of the control policies of each type.
// Source: Organizations user guide, quotas.
var controlPolicyRules = map[ecrintypes.ControlPolicyType]struct {
	kind     policy.Kind
	maxChars int
}{
	ecrintypes.ControlPolicyTypeSERVICE_CONTROL_POLICY:  {policy.ServiceControl, 10240},
	ecrintypes.ControlPolicyTypeRESOURCE_CONTROL_POLICY: {policy.ResourceControl, 5120},
}

func showControlPolicy(p meta.ControlPolicy) ecrintypes.ControlPolicy {
	return ecrintypes.ControlPolicy{
		Name: p.Name, Type: ecrintypes.ControlPolicyType(p.Kind), AccountId: p.Account.String(), PolicyText: p.Text,
		UpdatedAt: awswire.At(p.UpdatedAt),
	}
}

// controlPolicyAccount returns the account to which a control policy applies; the zero Account, for "", means all
// accounts.
func controlPolicyAccount(id string) (name.Account, error) {
	if id == "" {
		return name.Account{}, nil
	}
	return name.ParseAccount(id)
}

// ListControlPolicies returns the service and resource control policies of the installation.
func (s *Service) ListControlPolicies(ctx context.Context, _ identity.Caller, _ guard.Nothing,
	_ *ecrintypes.ListControlPoliciesRequest) (*ecrintypes.ListControlPoliciesResponse, error) {
	all, err := s.meta.ControlPolicies(ctx)
	if err != nil {
		return nil, err
	}
	out := &ecrintypes.ListControlPoliciesResponse{}
	for _, p := range all {
		out.ControlPolicies = append(out.ControlPolicies, showControlPolicy(p))
	}
	return out, nil
}

// PutControlPolicy sets a control policy of the installation or of one account. Only the control policy FullAccess has
// no text.
//
// Errors: fault.InvalidParameter (the account; the policy; FullAccess with a text, or another name without a text),
// fault.AccountNotFound.
func (s *Service) PutControlPolicy(ctx context.Context, _ identity.Caller, _ guard.Nothing,
	in *ecrintypes.PutControlPolicyRequest) (*ecrintypes.PutControlPolicyResponse, error) {
	account, err := controlPolicyAccount(in.AccountId)
	if err != nil {
		return nil, err
	}
	p := meta.ControlPolicy{Name: in.Name, Kind: meta.ControlPolicyKind(in.Type), Account: account, UpdatedAt: s.now()}
	switch {
	case in.Name == fullAccess && in.PolicyText != "":
		return nil, ecr.BadMember("policyText", "the control policy "+fullAccess+
			" has no text: it removes full access, and deleting it restores full access; choose another name")
	case in.Name != fullAccess && in.PolicyText == "":
		return nil, ecr.BadMember("policyText", "want a policy; only the control policy "+fullAccess+" has no text")
	case in.PolicyText != "":
		rule := controlPolicyRules[in.Type]
		d, err := policy.ParseLimit(in.PolicyText, rule.kind, rule.maxChars)
		if err != nil {
			return nil, err
		}
		p.Text = d.String()
	}
	if err := s.meta.PutControlPolicy(ctx, p); err != nil {
		return nil, err
	}
	return &ecrintypes.PutControlPolicyResponse{ControlPolicy: showControlPolicy(p)}, nil
}

// DeleteControlPolicy deletes a control policy.
//
// Errors: fault.InvalidParameter (the account), fault.ControlPolicyNotFound.
func (s *Service) DeleteControlPolicy(ctx context.Context, _ identity.Caller, _ guard.Nothing,
	in *ecrintypes.DeleteControlPolicyRequest) (*ecrintypes.DeleteControlPolicyResponse, error) {
	account, err := controlPolicyAccount(in.AccountId)
	if err != nil {
		return nil, err
	}
	return &ecrintypes.DeleteControlPolicyResponse{}, s.meta.DeleteControlPolicy(ctx, meta.ControlPolicyKind(in.Type), account, in.Name)
}
