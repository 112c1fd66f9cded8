package awsapi

import (
	"github.com/ecrin-dev/ecrin/internal/awswire"
	"github.com/ecrin-dev/ecrin/internal/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/fault"
	"github.com/ecrin-dev/ecrin/internal/identity"
	"github.com/ecrin-dev/ecrin/internal/meta"
	"github.com/ecrin-dev/ecrin/internal/policy"
)

// onGranted asks for the rights of the two operations of ECR that a grant stands for. The operator needs none of them.
func onGranted(a *API, c *call, in awswire.Input) ([]identity.Access, error) {
	all, err := onAnyRepository(a, c, in)
	if err != nil || c.caller.Kind == identity.Operator {
		return all, err
	}
	all[0].Action = "ecr:GetRepositoryPolicy"
	if v := in.(*ecrintypes.GrantRepositoryAccessRequest); v.Apply != nil && *v.Apply {
		set := all[0]
		set.Action = "ecr:SetRepositoryPolicy"
		all = append(all, set)
	}
	return all, nil
}

// mostGrants is how often a grant starts again when somebody else sets the policy meanwhile.
const mostGrants = 5

// grantRepositoryAccess merges a permission into a repository's policy, and sets the result when it is asked to. A policy that
// somebody sets between reading and writing is read anew: no grant undoes another.
func (a *API) grantRepositoryAccess(c *call, in *ecrintypes.GrantRepositoryAccessRequest) (*ecrintypes.GrantRepositoryAccessResponse, error) {
	to, err := policy.ParsePrincipal(in.Principal)
	if err != nil {
		return nil, err
	}
	actions, sid := policy.PullActions(), "AllowPull"
	if in.Permission == ecrintypes.PermissionPUSH {
		actions, sid = policy.PushActions(), policy.PushSid
	}
	for range mostGrants {
		r, err := a.find(c, a.registryID(c, in.RegistryId), in.RepositoryName)
		if err != nil {
			return nil, err
		}
		existing, err := a.policyToMerge(c, r)
		if err != nil {
			return nil, err
		}
		merged, changed, warnings := policy.Grant(existing, to, actions, sid)
		_, bound, err := a.readPolicy(c, merged.String(), policy.Repository)
		if err != nil {
			return nil, err
		}
		out := &ecrintypes.GrantRepositoryAccessResponse{PolicyText: bound.Text, Changed: changed}
		for _, w := range append(warnings, policy.Warnings(merged, r.Registry)...) {
			// What a grant to pull writes has this action, for platforms ask for it.
			if w.Code != policy.WarnToken {
				out.Warnings = append(out.Warnings, ecrintypes.PolicyWarning{Code: string(w.Code), Path: w.Path, Text: w.Text})
			}
		}
		if !changed || in.Apply == nil || !*in.Apply {
			return out, nil
		}
		if out.Applied, err = a.registry.Meta().ReplacePolicy(c.ctx, r, bound); err != nil || out.Applied {
			return out, err
		}
	}
	return nil, fault.Unavailable.New("the policy of '%s' is being changed by others all the time: try again", in.RepositoryName)
}

// policyToMerge reads a repository's policy as it is shown, nil for none. A principal that was deleted is shown by its id,
// which no policy that is set may have.
func (a *API) policyToMerge(c *call, r meta.Repository) (*policy.Document, error) {
	if r.Policy.Text == "" {
		return nil, nil
	}
	shown, err := a.showPolicy(c, r)
	if err != nil {
		return nil, err
	}
	d, err := policy.ParseLimit(*shown, policy.Repository, len(*shown)+1)
	if err != nil {
		return nil, fault.InvalidParameter.New("the policy of '%s' names a user or role that was deleted: take it out of the policy, then grant", r.Name).Because(err)
	}
	return d, nil
}

// removeRepositoryPolicy takes a repository's policy away, also one that keeps everybody of the account from doing so: the
// operator is bound by none.
func (a *API) removeRepositoryPolicy(c *call, in *ecrintypes.RemoveRepositoryPolicyRequest) (*ecrintypes.RemoveRepositoryPolicyResponse, error) {
	r, err := a.find(c, a.registryID(c, in.RegistryId), in.RepositoryName)
	if err != nil {
		return nil, err
	}
	text, err := a.showPolicy(c, r)
	if err != nil {
		return nil, err
	}
	return &ecrintypes.RemoveRepositoryPolicyResponse{PolicyText: *text}, a.registry.Meta().SetPolicy(c.ctx, r, meta.BoundPolicy{})
}
