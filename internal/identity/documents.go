package identity

import (
	"context"
	"maps"

	"github.com/ecrin-dev/ecrin/internal/meta"
	"github.com/ecrin-dev/ecrin/internal/name"
	"github.com/ecrin-dev/ecrin/internal/policy"
)

// compiled is a policy ready for decisions, with what has to be known of it before one.
type compiled struct {
	ids         map[string]string
	policy      *policy.Compiled
	conditional bool // it reads condition keys
	images      bool // it reads ecrin:ImageTag or ecrin:ImageDigest
}

type documentKey struct {
	kind policy.Kind
	text string
}

// mostDocuments bounds the cache: a policy has up to 10 KB, and costs about as much again compiled.
const mostDocuments = 2048

// compile gives a stored policy ready for decisions, from the cache when it was asked for before.
func (s *Service) compile(kind policy.Kind, p meta.BoundPolicy) (*compiled, error) {
	key := documentKey{kind, p.Text}
	s.mu.RLock()
	have := s.documents[key]
	s.mu.RUnlock()
	if have != nil && maps.Equal(have.ids, p.IDs) {
		return have, nil
	}
	// What is stored has been held to its limit when it was set, by a limit that may have been another one.
	d, err := policy.ParseLimit(p.Text, kind, len(p.Text)+1)
	if err != nil {
		return nil, err
	}
	made := newCompiled(d, p.IDs)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.documents) >= mostDocuments {
		clear(s.documents)
	}
	s.documents[key] = made
	return made, nil
}

func newCompiled(d *policy.Document, ids map[string]string) *compiled {
	var bind policy.Binding
	if len(ids) > 0 {
		bind = func(p policy.Principal) (string, bool) { return ids[p.Text], true }
	}
	c := &compiled{ids: ids, policy: policy.Compile(d, bind)}
	c.conditional = c.policy.Conditional()
	c.images = d.Mentions("ecrin:ImageTag") || d.Mentions("ecrin:ImageDigest")
	return c
}

// nothing is a policy that allows nothing; everything is the side of a root user.
var (
	nothing    = policy.Compile(&policy.Document{Kind: policy.Identity}, nil)
	everything = policy.Named{Name: "root user", Policy: policy.FullAccess(policy.ServiceControl).Policy}
)

// level is the control policies of one kind that hold for an account, level by level.
type level struct {
	policies    [][]policy.Named
	conditional bool
}

// controls are the guard rails of the installation, as they were at one generation.
type controls struct {
	generation uint64
	management name.Account
	levels     map[meta.ControlKind]map[name.Account]*level // the zero account's is for all that have none of their own
}

// of gives those of an account. The management account is bound by none. Source: Organizations user guide, service control
// policies.
func (c *controls) of(kind meta.ControlKind, account name.Account) level {
	if account != (name.Account{}) && account == c.management {
		return level{}
	}
	if own := c.levels[kind][account]; own != nil {
		return *own
	}
	if all := c.levels[kind][name.Account{}]; all != nil {
		return *all
	}
	return level{}
}

func (s *Service) controls(ctx context.Context) (*controls, error) {
	now := s.meta.IdentityGeneration()
	s.mu.RLock()
	have := s.rails
	s.mu.RUnlock()
	if have != nil && have.generation == now {
		return have, nil
	}
	rows, err := s.meta.ControlPolicies(ctx)
	if err != nil {
		return nil, err
	}
	made := &controls{generation: now, management: s.management, levels: map[meta.ControlKind]map[name.Account]*level{}}
	for _, kind := range []meta.ControlKind{meta.ServiceControl, meta.ResourceControl} {
		if made.levels[kind], err = s.levels(rows, kind); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	s.rails = made
	s.mu.Unlock()
	return made, nil
}

// levels sorts the guard rails of a kind: the first level holds for the whole installation, the second for one account. Each
// has full access beside its own policies unless that was taken away.
func (s *Service) levels(rows []meta.ControlPolicy, kind meta.ControlKind) (map[name.Account]*level, error) {
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
		c, err := s.compile(language, meta.BoundPolicy{Text: r.Text})
		if err != nil {
			return nil, err
		}
		conditional = conditional || c.conditional
		sets[r.Account] = append(sets[r.Account], policy.Named{Name: r.Name, ARN: controlARN(r), Policy: c.policy})
	}
	of := func(a name.Account) []policy.Named {
		if closed[a] {
			return append([]policy.Named{}, sets[a]...)
		}
		return append([]policy.Named{full}, sets[a]...)
	}
	out := map[name.Account]*level{}
	if len(sets) == 0 && len(closed) == 0 {
		return out, nil // nothing restricts: nothing to ask
	}
	for a := range accounts {
		out[a] = &level{policies: [][]policy.Named{of(name.Account{})}, conditional: conditional}
		if a != (name.Account{}) {
			out[a].policies = append(out[a].policies, of(a))
		}
	}
	return out, nil
}

// controlARN is how reasons name a guard rail.
func controlARN(p meta.ControlPolicy) string {
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
