package identity

import (
	"context"
	"maps"

	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Compiled is a policy that is ready for decisions. Read only.
type Compiled struct {
	Policy      *policy.Compiled
	Conditional bool // the policy reads condition keys
	Images      bool // the policy reads ecrin:ImageTag or ecrin:ImageDigest

	ids map[string]string
}

type documentKey struct {
	kind policy.Kind
	text string
}

// maxDocuments is the maximum number of policies in the cache. A policy has up to 10 KB, and its compiled form needs
// about the same.
const maxDocuments = 2048

// Compile returns the compiled form of a stored policy, from a cache if the policy was compiled before.
//
// Errors: those of policy.ParseStored, for a text that this version cannot read.
func (s *Service) Compile(kind policy.Kind, p meta.BoundPolicy) (*Compiled, error) {
	key := documentKey{kind, p.Text}
	s.mu.RLock()
	have := s.documents[key]
	s.mu.RUnlock()
	if have != nil && maps.Equal(have.ids, p.IDs) {
		return have, nil
	}
	d, err := policy.ParseStored(p.Text, kind)
	if err != nil {
		return nil, err
	}
	made := newCompiled(d, p.IDs)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.documents) >= maxDocuments {
		clear(s.documents)
	}
	s.documents[key] = made
	return made, nil
}

func newCompiled(d *policy.Document, ids map[string]string) *Compiled {
	var bind policy.Binding
	if len(ids) > 0 {
		bind = func(p policy.Principal) (string, bool) { return ids[p.Text], true }
	}
	c := &Compiled{ids: ids, Policy: policy.Compile(d, bind)}
	c.Conditional = c.Policy.Conditional()
	c.Images = d.Mentions("ecrin:ImageTag") || d.Mentions("ecrin:ImageDigest")
	return c
}

// nothing is a policy that allows nothing; everything is the identity policy of a root user.
var (
	nothing    = policy.Compile(&policy.Document{Kind: policy.Identity}, nil)
	everything = policy.Named{Name: "root user", Policy: policy.FullAccess(policy.ServiceControl).Policy}
)

// Level is the control policies of one kind that apply to an account, level by level. Read only.
type Level struct {
	Policies    [][]policy.Named
	Conditional bool // at least one policy reads condition keys
}

// ResourceControl returns the resource control policies that apply to the resources of an account. owner is the zero
// Account for a resource that belongs to no account.
func (s *Service) ResourceControl(ctx context.Context, owner name.Account) (Level, error) {
	c, err := s.controlPolicies(ctx)
	if err != nil {
		return Level{}, err
	}
	return c.of(meta.ResourceControl, owner), nil
}

// controlPolicies are the control policies of the installation at one generation of the store.
type controlPolicies struct {
	generation uint64
	management name.Account
	levels     map[meta.ControlPolicyKind]map[name.Account]*Level // the zero account's level applies to accounts without an own level
}

// of returns the control policies of one kind that apply to an account. None apply to the management account.
// Source: Organizations user guide, service control policies.
func (c *controlPolicies) of(kind meta.ControlPolicyKind, account name.Account) Level {
	if account != (name.Account{}) && account == c.management {
		return Level{}
	}
	if own := c.levels[kind][account]; own != nil {
		return *own
	}
	if all := c.levels[kind][name.Account{}]; all != nil {
		return *all
	}
	return Level{}
}

func (s *Service) controlPolicies(ctx context.Context) (*controlPolicies, error) {
	now := s.meta.IdentityGeneration()
	s.mu.RLock()
	have := s.controlPolicyCache
	s.mu.RUnlock()
	if have != nil && have.generation == now {
		return have, nil
	}
	rows, err := s.meta.ControlPolicies(ctx)
	if err != nil {
		return nil, err
	}
	made := &controlPolicies{generation: now, management: s.management, levels: map[meta.ControlPolicyKind]map[name.Account]*Level{}}
	for _, kind := range []meta.ControlPolicyKind{meta.ServiceControl, meta.ResourceControl} {
		if made.levels[kind], err = s.levels(rows, kind); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	s.controlPolicyCache = made
	s.mu.Unlock()
	return made, nil
}

// levels sorts the control policies of a kind: the first level applies to the whole installation, the second to one
// account. Each level contains the full access policy beside its own policies, unless a row without a text removed it.
func (s *Service) levels(rows []meta.ControlPolicy, kind meta.ControlPolicyKind) (map[name.Account]*Level, error) {
	language := policy.ServiceControl
	if kind == meta.ResourceControl {
		language = policy.ResourceControl
	}
	full := policy.FullAccess(language)
	sets := map[name.Account][]policy.Named{}
	conditional := false
	closed := map[name.Account]bool{}
	accounts := map[name.Account]bool{{}: true}
	for _, r := range rows {
		if r.Kind != kind {
			continue
		}
		accounts[r.Account] = true
		if r.Text == "" {
			closed[r.Account] = true
			continue
		}
		c, err := s.Compile(language, meta.BoundPolicy{Text: r.Text})
		if err != nil {
			return nil, err
		}
		conditional = conditional || c.Conditional
		sets[r.Account] = append(sets[r.Account], policy.Named{Name: r.Name, ARN: controlPolicyARN(r), Policy: c.Policy})
	}
	of := func(a name.Account) []policy.Named {
		if closed[a] {
			return append([]policy.Named{}, sets[a]...)
		}
		return append([]policy.Named{full}, sets[a]...)
	}
	out := map[name.Account]*Level{}
	if len(sets) == 0 && len(closed) == 0 {
		return out, nil // without levels, decisions skip control policies
	}
	for a := range accounts {
		out[a] = &Level{Policies: [][]policy.Named{of(name.Account{})}, Conditional: conditional}
		if a != (name.Account{}) {
			out[a].Policies = append(out[a].Policies, of(a))
		}
	}
	return out, nil
}

// controlPolicyARN returns the ARN of a control policy in the reasons of a decision.
func controlPolicyARN(p meta.ControlPolicy) string {
	kind := "service_control_policy/"
	if p.Kind == meta.ResourceControl {
		kind = "resource_control_policy/"
	}
	owner := "all"
	if p.Account != (name.Account{}) {
		owner = p.Account.String()
	}
	return "arn:aws:organizations::" + owner + ":policy/" + kind + p.Name
}
