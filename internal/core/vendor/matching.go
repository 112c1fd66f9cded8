package vendor

import (
	"context"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/rule/entitlement"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// The limits of Matching.
const (
	maxMatchedTags         = 20_000
	maxMatchedRepositories = 2_000
	matchingPage           = 1_000
)

// The effort of Matching, which is about that of one tag: reading the name of a repository costs one, and one that is reached more.
const effortOfRepository = 10

// MatchedImage is a tag that an entitlement reaches.
type MatchedImage struct {
	Repository, Tag, Digest string
	PushedAt                time.Time
}

// Matched is what an entitlement reaches.
type Matched struct {
	Tags, Repositories int
	More               bool // the limits ended the search
	Images             []MatchedImage
	Effort             int // 1 for each tag and each repository that was read, 10 more for each repository that is reached
}

// Look says how far Matching looks.
type Look struct {
	Show      int // images that it returns
	MaxEffort int // ends the search; 0 for no limit besides 20,000 tags and 2,000 repositories that are reached
}

// matching is a search of Matching.
type matching struct {
	*Service
	of     meta.Application
	rule   entitlement.Rule
	rights policy.Policies
	ask    policy.Request
	look   Look
	looked int // tags
	Matched
}

// Matching returns the tags of repositories of the vendor in a region that an entitlement lets customers pull now, of a licence that ends
// at end, zero for never, and the first of them. It decides by the policy of the entitlement alone, with the keys that a pull by tag has.
// It reads the repositories that begin as a pattern of the entitlement does.
//
// Errors: fault.InvalidParameter (the rule).
func (s *Service) Matching(ctx context.Context, a meta.Application, end time.Time, g entitlement.Granted, region name.Region, look Look) (
	Matched, error) {
	d, err := g.Policy(end, func(pattern string) []string { return identity.Reached(a.Account, pattern) })
	if err != nil {
		return Matched{}, err
	}
	m := matching{Service: s, of: a, rule: g.Rule, look: look,
		rights: policy.Policies{Identity: []policy.Named{{Name: g.ID, Policy: policy.Compile(d, nil)}}},
		ask: policy.Request{Caller: policy.Caller{Kind: policy.Customer, Account: a.Account, ARN: meta.CustomerARN(a.Account, a.Slug, g.ID)},
			Action: "ecr:BatchGetImage", ResourceAccount: a.Account}}
	for _, prefix := range g.Rule.Prefixes() {
		if err := m.below(ctx, name.Registry{Account: a.Account, Region: region}, prefix); err != nil || m.More {
			return m.Matched, err
		}
	}
	return m.Matched, nil
}

// spend adds to the effort, and reports whether there is more of it to spend. If not, it notes that there are more images.
func (m *matching) spend(effort int) bool {
	if m.look.MaxEffort > 0 && m.Effort+effort > m.look.MaxEffort {
		m.More = true
		return false
	}
	m.Effort += effort
	return true
}

// below adds the repositories whose names begin with a prefix.
func (m *matching) below(ctx context.Context, reg name.Registry, prefix string) error {
	for after := before(prefix); ; {
		page, err := m.meta.Repositories(ctx, reg, after, matchingPage)
		if err != nil {
			return err
		}
		for _, r := range page {
			after = r.Name.String()
			switch {
			case !strings.HasPrefix(after, prefix):
				return nil
			case !m.spend(1):
				return nil
			case !m.rule.Reaches(after):
				continue
			case !m.spend(effortOfRepository):
				return nil
			case m.Repositories == maxMatchedRepositories:
				m.More = true
				return nil
			}
			m.Repositories++
			if err := m.in(ctx, r); err != nil || m.More {
				return err
			}
		}
		if len(page) < matchingPage {
			return nil
		}
	}
}

// before returns a text that sorts before all that begin with a prefix, and after all other texts that do.
func before(prefix string) string {
	if prefix == "" {
		return ""
	}
	last := len(prefix) - 1
	return prefix[:last] + string(rune(prefix[last]-1)) + string(utf8.MaxRune)
}

// in adds the tags of a repository.
func (m *matching) in(ctx context.Context, r meta.Repository) error {
	offers, err := m.meta.ImageOffers(ctx, m.of.ID, r.Name.String())
	if err != nil {
		return err
	}
	ask := m.ask
	ask.Resource = r.ARN()
	for after := (meta.Position{}); ; {
		page, err := m.meta.ImageIDs(ctx, r.ID, meta.Tagged, after, matchingPage)
		if err != nil {
			return err
		}
		for _, i := range page {
			after = i.Position
			if !m.spend(1) {
				return nil
			}
			if m.looked++; m.looked > maxMatchedTags {
				m.More = true
				return nil
			}
			pushed := time.UnixMicro(i.PushedAt).UTC()
			var keys policy.Context
			keys.Set("ecrin:ImageTag", i.Tag)
			keys.Set("ecrin:ImageDigest", i.Digest)
			keys.Set(entitlement.KeyPushed, pushed.Format(time.RFC3339Nano))
			channels, released := offers.Of([]string{i.Tag}, i.Digest)
			keys.SetList(entitlement.KeyChannel, channels...)
			if released.IsZero() {
				released = pushed
			}
			keys.Set(entitlement.KeyReleased, released.UTC().Format(time.RFC3339Nano))
			if ask.Context = &keys; !policy.Evaluate(&m.rights, &ask).Allowed() {
				continue
			}
			if m.Tags++; len(m.Images) < m.look.Show {
				m.Images = append(m.Images, MatchedImage{r.Name.String(), i.Tag, i.Digest, pushed})
			}
		}
		if len(page) < matchingPage {
			return nil
		}
	}
}
