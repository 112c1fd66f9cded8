package iam

import (
	"context"
	"errors"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// GetContextKeysForCustomPolicy lists the condition keys that policies read, for which a simulation needs values.
//
// Errors: fault.InvalidInput (a policy that cannot be read, with the place).
// Source: IAM API reference, GetContextKeysForCustomPolicy.
func (s *Service) GetContextKeysForCustomPolicy(_ context.Context, _ identity.Caller, _ guard.Nothing,
	in *iamtypes.GetContextKeysForCustomPolicyRequest) (*iamtypes.GetContextKeysForPolicyResponse, error) {
	keys, err := keysOf(nil, in.PolicyInputList)
	if err != nil {
		return nil, err
	}
	return &iamtypes.GetContextKeysForPolicyResponse{ContextKeyNames: keys.all}, nil
}

// GetContextKeysForPrincipalPolicy lists the condition keys that the policies of a user with its groups, of a group or
// of a role read, and those of the policies in the request. They include the keys of the permissions boundary, because
// a simulation evaluates it too.
//
// Errors: fault.NoSuchEntity, fault.InvalidInput (the ARN; a policy that cannot be read, with the place).
// Source: IAM API reference, GetContextKeysForPrincipalPolicy.
func (s *Service) GetContextKeysForPrincipalPolicy(ctx context.Context, _ identity.Caller, e meta.Entity,
	in *iamtypes.GetContextKeysForPrincipalPolicyRequest) (*iamtypes.GetContextKeysForPolicyResponse, error) {
	all, err := s.heldBy(ctx, e)
	if err != nil {
		return nil, err
	}
	if e.Boundary != "" {
		if all, err = s.heldManaged(ctx, all, e, e.Boundary); err != nil {
			return nil, err
		}
	}
	keys, err := keysOf(all, in.PolicyInputList)
	if err != nil {
		return nil, err
	}
	return &iamtypes.GetContextKeysForPolicyResponse{ContextKeyNames: keys.all}, nil
}

// keysOf returns the condition keys of the policies of an entity and of the policies in a request.
func keysOf(all []held, more []string) (keySet, error) {
	keys := keySet{all: []string{}}
	for _, h := range all {
		d, err := policy.ParseStored(h.text, policy.Identity)
		if err != nil {
			return keys, err
		}
		keys.add(d)
	}
	for i, text := range more {
		d, err := input("PolicyInputList", i, text, policy.Identity)
		if err != nil {
			return keys, err
		}
		keys.add(d)
	}
	return keys, nil
}

// keySet is a set of condition keys. It keeps the first spelling of each key.
type keySet struct {
	all  []string
	seen map[string]bool
}

func (k *keySet) add(d *policy.Document) {
	if k.seen == nil {
		k.seen = map[string]bool{}
	}
	for _, key := range d.Keys() {
		if folded := policy.Fold(key); !k.seen[folded] {
			k.seen[folded] = true
			k.all = append(k.all, key)
		}
	}
}

// input parses a policy of a list in a request. Errors: fault.InvalidInput, with the place.
func input(list string, i int, text string, kind policy.Kind) (*policy.Document, error) {
	d, err := parse(text, kind, maxDocument)
	if err != nil {
		return nil, fault.InvalidInput.New("%s.member.%d: %s", list, i+1, fault.From(err).Public).Because(err)
	}
	return d, nil
}

// policySource returns the user, group or role that a request names as the source of policies.
// Errors: fault.InvalidInput (an ARN of another kind), fault.NoSuchEntity (also if it belongs to another account).
func (s *Service) policySource(ctx context.Context, account name.Account, arn string) (meta.Entity, error) {
	parsed, named, err := name.ParseEntityARN(arn)
	of, known := map[name.EntityKind]meta.EntityKind{
		name.IAMUser: meta.User, name.IAMGroup: meta.Group, name.IAMRole: meta.Role,
	}[named.Kind]
	if err != nil || parsed.Partition != name.DefaultPartition || !known {
		return meta.Entity{}, fault.InvalidInput.New("Invalid Entity Arn: %s does not clearly define entity type and name.", name.Clip(arn))
	}
	none := fault.NoSuchEntity.New("The %s with name %s cannot be found.", named.Kind, name.Clip(named.Name))
	// The ARN in the request may name another account or path.
	e, err := s.meta.Entity(ctx, account, of, named.Name)
	if errors.Is(err, fault.NoSuchEntity) || err == nil && e.ARN() != arn {
		return meta.Entity{}, none
	}
	return e, err
}

// held is a policy of a user, group or role.
type held struct {
	id        string      // the id in results of simulations
	owner     meta.Entity // the entity of an inline policy, or the one to which a managed policy is attached
	name, arn string      // arn is "" for an inline policy
	text      string
}

// heldBy returns the inline and managed policies of a user and its groups, of a group or of a role, in the order of
// identity.Subject.
func (s *Service) heldBy(ctx context.Context, e meta.Entity) ([]held, error) {
	owners := []meta.Entity{e}
	if e.Kind == meta.User {
		groups, err := s.meta.Containers(ctx, e.ID)
		if err != nil {
			return nil, err
		}
		owners = append(owners, groups...)
	}
	var all []held
	for _, o := range owners {
		inline, err := s.meta.Inlines(ctx, o.ID)
		if err != nil {
			return nil, err
		}
		for _, p := range inline {
			all = append(all, held{id: words[o.Kind] + "_" + o.Name + "_" + p.Name, owner: o, name: p.Name, text: p.Text})
		}
		arns, err := s.meta.Attachments(ctx, o.ID)
		if err != nil {
			return nil, err
		}
		for _, arn := range arns {
			if all, err = s.heldManaged(ctx, all, o, arn); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

// heldManaged adds a managed policy, unless it was deleted.
func (s *Service) heldManaged(ctx context.Context, all []held, owner meta.Entity, arn string) ([]held, error) {
	text, err := s.id.ManagedText(ctx, arn)
	if errors.Is(err, fault.NoSuchEntity) {
		return all, nil
	}
	return append(all, held{id: nameIn(arn), owner: owner, name: nameIn(arn), arn: arn, text: text}), err
}
