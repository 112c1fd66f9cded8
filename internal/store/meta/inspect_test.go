package meta

import (
	"fmt"
	"regexp"
	"slices"
)

// Every write that the tests of this package make is looked at: one that changes rows of which a cache keeps something, and
// names no scope of that cache, fails.
func init() {
	inspect = func(texts []string, scopes []scope) error {
		for _, text := range texts {
			need, err := staleBy(text)
			if err != nil {
				return err
			}
			if need != nil && !slices.ContainsFunc(scopes, func(s scope) bool { return slices.Contains(need, s.kind) }) {
				return fmt.Errorf("%q changes what caches keep, and the write touches none of the scopes %v: it touches %v", text, need, scopes)
			}
		}
		return nil
	}
}

// caches lists for each table the scopes of which a write that changes rows must touch one. A table of which nothing is kept
// has none, and a table that is not here makes every write to it fail.
var caches = map[string][]scopeKind{
	"accounts":           {scopeIdentity},
	"access_keys":        {scopeKeys},
	"tokens":             {scopeTokens},
	"sessions":           {scopeSessions},
	"account_settings":   {scopeSettings},
	"registry_policies":  {scopeRegistryPolicies},
	"repositories":       {scopeRepository, scopeRepositories},
	"repository_labels":  {scopeResourceTags},
	"repository_blobs":   {scopeHolding, scopeImages},
	"image_references":   {scopeHolding, scopeImages}, // by them a blob is in use
	"images":             {scopeImage, scopeImages},
	"tags":               {scopeTag, scopeImages},
	"entities":           {scopeIdentity},
	"entity_tags":        {scopeIdentity},
	"entity_policies":    {scopeIdentity},
	"entity_attachments": {scopeIdentity},
	"entity_members":     {scopeIdentity},
	"policy_versions":    {scopeIdentity},
	"control_policies":   {scopeIdentity},
	"manifests":          nil, // bodies never change
	"tag_history":        nil,
	"uploads":            nil,
	"audit_pending":      nil,
	"installation":       nil,
	"epochs":             nil,
	"changes":            nil,
}

// insertsCount are the tables whose new rows change what is kept of others. Elsewhere a row that is only added makes nothing
// stale: that something is not there is never kept.
var insertsCount = []string{"image_references", "tags", "repository_labels", "accounts", "entities", "entity_tags", "entity_policies",
	"entity_attachments", "entity_members", "policy_versions", "control_policies"}

// harmless are changes to columns that no cache keeps, or of which it says so.
var harmless = []*regexp.Regexp{
	regexp.MustCompile(`^UPDATE images SET (pulled_at|tagged) = \S+ WHERE`),
	regexp.MustCompile(`^UPDATE (access_keys|entities) SET last_used_at = `),
	regexp.MustCompile(`^INSERT INTO image_references .* VALUES \(\$1, \$2, \$3, 2\)`),           // to a child; holdings tell of blobs
	regexp.MustCompile(`^DELETE FROM image_references WHERE repository = \$1 AND digest = \$2$`), // of a deleted image, which uses nothing
}

var (
	changes  = regexp.MustCompile(`^\s*(?:INSERT (?:OR \w+ )?INTO|UPDATE|DELETE FROM)\s+(\w+)`)
	inserts  = regexp.MustCompile(`^\s*INSERT`)
	replaces = regexp.MustCompile(`DO UPDATE`)
)

// staleBy lists the scopes of which a statement that changed rows needs one, nil when it needs none.
func staleBy(text string) ([]scopeKind, error) {
	m := changes.FindStringSubmatch(text)
	if m == nil {
		return nil, nil
	}
	need, known := caches[m[1]]
	switch {
	case !known:
		return nil, fmt.Errorf("%q: the table %s is not in the list of what caches keep of each table", text, m[1])
	case need == nil,
		inserts.MatchString(text) && !replaces.MatchString(text) && !slices.Contains(insertsCount, m[1]),
		slices.ContainsFunc(harmless, func(r *regexp.Regexp) bool { return r.MatchString(text) }):
		return nil, nil
	}
	return append([]scopeKind{scopeEverything}, need...), nil
}

// StaleBy is staleBy, for a test that every statement of the source can be judged.
func StaleBy(text string) error { _, err := staleBy(text); return err }

// Caches are the tables that the list of caches knows.
func Caches() (tables []string) {
	for t := range caches {
		tables = append(tables, t)
	}
	return tables
}
