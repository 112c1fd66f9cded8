package awsapi

import (
	"strings"

	"github.com/ecrin-dev/ecrin/internal/ecrtypes"
	"github.com/ecrin-dev/ecrin/internal/fault"
	"github.com/ecrin-dev/ecrin/internal/identity"
	"github.com/ecrin-dev/ecrin/internal/meta"
	"github.com/ecrin-dev/ecrin/internal/policy"
)

// readPolicy reads a policy of a repository or registry and binds the principals that it names.
// Errors: fault.InvalidParameter, with the place in the text, or for a principal that does not exist.
func (a *API) readPolicy(c *call, text string, kind policy.Kind) (*policy.Document, meta.BoundPolicy, error) {
	doc, err := policy.Parse(text, kind)
	if err != nil {
		return nil, meta.BoundPolicy{}, err
	}
	ids, missing, err := a.identity.Bind(c.ctx, doc)
	if err != nil {
		return nil, meta.BoundPolicy{}, err
	}
	if missing != nil {
		return nil, meta.BoundPolicy{}, fault.InvalidParameter.New("Invalid parameter at 'PolicyText' failed to satisfy constraint: 'Principal not found' (%s does not exist here)", missing.Text)
	}
	return doc, meta.BoundPolicy{Text: doc.String(), IDs: ids}, nil
}

func (a *API) setRepositoryPolicy(c *call, in *ecrtypes.SetRepositoryPolicyRequest) (*ecrtypes.SetRepositoryPolicyResponse, error) {
	r, err := a.find(c, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	_, bound, err := a.readPolicy(c, in.PolicyText, policy.Repository)
	if err != nil {
		return nil, err
	}
	if in.Force == nil || !*in.Force {
		if err := a.keepsCaller(c, r, bound); err != nil {
			return nil, err
		}
	}
	if err := a.registry.Meta().SetPolicy(c.ctx, r, bound); err != nil {
		return nil, err
	}
	return &ecrtypes.SetRepositoryPolicyResponse{RegistryId: r.Registry.Account.String(), RepositoryName: r.Name.String(), PolicyText: &bound.Text}, nil
}

// keepsCaller refuses a policy under which the caller could not set the next one. Source: ECR API reference,
// SetRepositoryPolicy, force.
func (a *API) keepsCaller(c *call, r meta.Repository, p meta.BoundPolicy) error {
	if c.caller.Kind == identity.Operator {
		return nil
	}
	access := repositoryAccess(r.Registry, r.Name.String())
	access.Action, access.From, access.Instead = "ecr:SetRepositoryPolicy", c.origin(), &p
	err := a.identity.Authorize(c.ctx, c.caller, access)
	if err != nil && fault.From(err).Code == fault.AccessDenied {
		return fault.InvalidParameter.New("Invalid parameter at 'PolicyText' failed to satisfy constraint: 'Invalid repository policy provided' (with this policy you could not set a policy again: change it, or repeat with force)").Because(err)
	}
	return err
}

// showPolicy gives the text of a repository's policy as it stands now. Errors: fault.RepositoryPolicyNotFound.
func (a *API) showPolicy(c *call, r meta.Repository) (*string, error) {
	if r.Policy.Text == "" {
		return nil, fault.RepositoryPolicyNotFound.New("Repository policy does not exist for the repository with name '%s' in the registry with id '%s'", r.Name, r.Registry.Account)
	}
	text, err := a.identity.Show(c.ctx, r.Policy, policy.Repository)
	return &text, err
}

func (a *API) getRepositoryPolicy(c *call, in *ecrtypes.GetRepositoryPolicyRequest) (*ecrtypes.GetRepositoryPolicyResponse, error) {
	r, err := a.find(c, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	text, err := a.showPolicy(c, r)
	if err != nil {
		return nil, err
	}
	return &ecrtypes.GetRepositoryPolicyResponse{RegistryId: r.Registry.Account.String(), RepositoryName: r.Name.String(), PolicyText: text}, nil
}

func (a *API) deleteRepositoryPolicy(c *call, in *ecrtypes.DeleteRepositoryPolicyRequest) (*ecrtypes.DeleteRepositoryPolicyResponse, error) {
	r, err := a.find(c, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	text, err := a.showPolicy(c, r)
	if err != nil {
		return nil, err
	}
	if err := a.registry.Meta().SetPolicy(c.ctx, r, meta.BoundPolicy{}); err != nil {
		return nil, err
	}
	return &ecrtypes.DeleteRepositoryPolicyResponse{RegistryId: r.Registry.Account.String(), RepositoryName: r.Name.String(), PolicyText: text}, nil
}

// putRegistryPolicy sets the policy of the caller's own registry. Under the first scope it may name three actions only.
// Source: ECR user guide, private registry permissions.
func (a *API) putRegistryPolicy(c *call, in *ecrtypes.PutRegistryPolicyRequest) (*ecrtypes.PutRegistryPolicyResponse, error) {
	doc, bound, err := a.readPolicy(c, in.PolicyText, policy.Registry)
	if err != nil {
		return nil, err
	}
	scope, err := a.registry.Meta().Setting(c.ctx, c.own(), policyScope)
	if err != nil {
		return nil, err
	}
	if scope == "V1" && !policy.FitsV1(doc) {
		return nil, fault.InvalidParameter.New("Invalid parameter at 'PolicyText' failed to satisfy constraint: 'Invalid registry policy provided' (while the account setting %s is V1, only ecr:ReplicateImage, ecr:BatchImportUpstreamImage and ecr:CreateRepository can stand in it)", policyScope)
	}
	if err := a.registry.Meta().PutRegistryPolicy(c.ctx, c.own(), bound); err != nil {
		return nil, err
	}
	return &ecrtypes.PutRegistryPolicyResponse{RegistryId: c.caller.Account.String(), PolicyText: &bound.Text}, nil
}

// showRegistryPolicy gives the text of the caller's registry policy. Errors: fault.RegistryPolicyNotFound.
func (a *API) showRegistryPolicy(c *call) (*string, error) {
	p, err := a.registry.Meta().RegistryPolicy(c.ctx, c.own())
	if err != nil {
		return nil, err
	}
	if p.Text == "" {
		return nil, fault.RegistryPolicyNotFound.New("Registry policy does not exist in the registry with id '%s'", c.caller.Account)
	}
	text, err := a.identity.Show(c.ctx, p, policy.Registry)
	return &text, err
}

func (a *API) getRegistryPolicy(c *call, _ *ecrtypes.GetRegistryPolicyRequest) (*ecrtypes.GetRegistryPolicyResponse, error) {
	text, err := a.showRegistryPolicy(c)
	if err != nil {
		return nil, err
	}
	return &ecrtypes.GetRegistryPolicyResponse{RegistryId: c.caller.Account.String(), PolicyText: text}, nil
}

func (a *API) deleteRegistryPolicy(c *call, _ *ecrtypes.DeleteRegistryPolicyRequest) (*ecrtypes.DeleteRegistryPolicyResponse, error) {
	text, err := a.showRegistryPolicy(c)
	if err != nil {
		return nil, err
	}
	if err := a.registry.Meta().PutRegistryPolicy(c.ctx, c.own(), meta.BoundPolicy{}); err != nil {
		return nil, err
	}
	return &ecrtypes.DeleteRegistryPolicyResponse{RegistryId: c.caller.Account.String(), PolicyText: text}, nil
}

// badMember is InvalidParameter in ECR's words.
func badMember(member, reason string) *fault.Error {
	return fault.InvalidParameter.New("Invalid parameter at '%s' failed to satisfy constraint: '%s'", member, strings.TrimSpace(reason))
}
