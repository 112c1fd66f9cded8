package vendor

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/rule/entitlement"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// maxMissed limits the entitlements that a denial names.
const maxMissed = 3

// Missed says in words why no entitlement of a customer reaches an image of a repository, or of an external registry by its whole name: it
// has none for it, or those for it have conditions that the image does not meet. It tells the customer nothing but its own entitlements.
func (s *Service) Missed(ctx context.Context, by identity.Caller, repository string) (string, error) {
	all, err := s.meta.Entitlements(ctx, by.Application, by.UserID)
	if err != nil {
		return "", err
	}
	slugs, more := map[string]string(nil), 0
	var rules []string
	for _, e := range all {
		var r entitlement.Rule
		if err := json.Unmarshal([]byte(e.Rule), &r); err != nil {
			return "", fmt.Errorf("reading the entitlement %s: %w", e.ID, err)
		}
		if !r.Reaches(repository) {
			continue
		}
		if len(rules) == maxMissed {
			more++
			continue
		}
		if len(r.Channels) > 0 && slugs == nil {
			if slugs, err = s.slugsByID(ctx, by.Application); err != nil {
				return "", err
			}
		}
		for i, id := range r.Channels {
			if slug := slugs[id]; slug != "" {
				r.Channels[i] = slug
			}
		}
		rules = append(rules, name.Clip(r.String()))
	}
	switch {
	case len(rules) == 0:
		return "the licence has no entitlement for " + name.Clip(repository), nil
	case more > 0:
		rules = append(rules, fmt.Sprintf("%d more", more))
	}
	return "the image is not one of those that the licence is entitled to: " + strings.Join(rules, "; "), nil
}

func (s *Service) slugsByID(ctx context.Context, application string) (map[string]string, error) {
	channels, err := s.meta.Channels(ctx, application)
	slugs := map[string]string{}
	for _, c := range channels {
		slugs[c.ID] = c.Slug
	}
	return slugs, err
}
