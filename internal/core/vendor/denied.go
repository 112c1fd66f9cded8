package vendor

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/rule/entitlement"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// maxMissed limits the entitlements that a denial names.
const maxMissed = 3

// Missed says in words why no entitlement of a customer reaches an image of a repository, or of an external registry by its whole name: it
// has none for it, or those for it have conditions that the image does not meet. At most three are named. It tells the customer nothing
// but its own entitlements, whether the image exists or not.
//
// Errors: those of the store.
func (s *Service) Missed(ctx context.Context, by identity.Caller, repository string) (string, error) {
	all, err := s.meta.Entitlements(ctx, by.Application, by.UserID)
	if err != nil {
		return "", err
	}
	more := 0
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
		r.Channels = s.channelSlugs(ctx, meta.Application{ID: by.Application}, r.Channels)
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
