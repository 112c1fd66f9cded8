package vendor

import (
	"context"
	"time"

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
}

// Matching returns the tags of repositories of the vendor in a region that an entitlement lets customers pull now, of a licence that ends
// at end, zero for never, and the first show of them. It decides by the policy of the entitlement alone, with the keys that a pull by tag
// has.
//
// Errors: fault.InvalidParameter (the rule).
func (s *Service) Matching(ctx context.Context, a meta.Application, end time.Time, g entitlement.Granted, region name.Region, show int) (
	m Matched, err error) {
	d, err := g.Policy(end, func(pattern string) []string { return identity.Reached(a.Account, pattern) })
	if err != nil {
		return m, err
	}
	rights := policy.Policies{Identity: []policy.Named{{Name: g.ID, Policy: policy.Compile(d, nil)}}}
	ask := policy.Request{Caller: policy.Caller{Kind: policy.Customer, Account: a.Account, ARN: meta.CustomerARN(a.Account, a.Slug, g.ID)},
		Action: "ecr:BatchGetImage", ResourceAccount: a.Account}
	looked := 0
	for after := ""; ; {
		page, err := s.meta.Repositories(ctx, name.Registry{Account: a.Account, Region: region}, after, matchingPage)
		if err != nil {
			return m, err
		}
		for _, r := range page {
			after = r.Name.String()
			if !g.Rule.Reaches(after) {
				continue
			}
			if m.Repositories++; m.Repositories > maxMatchedRepositories {
				m.Repositories, m.More = maxMatchedRepositories, true
				return m, nil
			}
			if err := s.matchingIn(ctx, a, r, &rights, ask, &looked, show, &m); err != nil || m.More {
				return m, err
			}
		}
		if len(page) < matchingPage {
			return m, nil
		}
	}
}

// matchingIn adds the tags of a repository.
func (s *Service) matchingIn(ctx context.Context, a meta.Application, r meta.Repository, rights *policy.Policies, ask policy.Request,
	looked *int, show int, m *Matched) error {
	offers, err := s.meta.ImageOffers(ctx, a.ID, r.Name.String())
	if err != nil {
		return err
	}
	ask.Resource = r.ARN()
	for after := (meta.Position{}); ; {
		page, err := s.meta.ImageIDs(ctx, r.ID, meta.Tagged, after, matchingPage)
		if err != nil {
			return err
		}
		for _, i := range page {
			after = i.Position
			if *looked++; *looked > maxMatchedTags {
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
			if ask.Context = &keys; !policy.Evaluate(rights, &ask).Allowed() {
				continue
			}
			if m.Tags++; len(m.Images) < show {
				m.Images = append(m.Images, MatchedImage{r.Name.String(), i.Tag, i.Digest, pushed})
			}
		}
		if len(page) < matchingPage {
			return nil
		}
	}
}
