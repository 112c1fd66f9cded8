package meta

import (
	"fmt"
	"regexp"
	"slices"
)

// Every write of the tests of this package is inspected: a write fails if it changes rows of which a cache holds
// values, and touches no scope of that cache.
func init() {
	inspect = func(texts []string, scopes []scope) error {
		for _, text := range texts {
			need, err := staleBy(text)
			if err != nil {
				return err
			}
			if need != nil && !slices.ContainsFunc(scopes, func(s scope) bool { return slices.Contains(need, s.kind) }) {
				return fmt.Errorf("%q changes cached values, and the write touches none of the scopes %v: it touches %v", text, need, scopes)
			}
		}
		return nil
	}
}

// caches lists for each table the scopes of which a write that changes its rows must touch one. A table without
// cached values has none. A write to a table that is not listed fails.
var caches = map[string][]scopeKind{
	"accounts":                  {scopeIdentity},
	"access_keys":               {scopeKeys},
	"tokens":                    {scopeTokens},
	"sessions":                  {scopeSessions},
	"account_settings":          {scopeSettings},
	"registry_policies":         {scopeRegistryPolicies},
	"repositories":              {scopeRepository, scopeRepositories},
	"repository_labels":         {scopeResourceTags},
	"repository_blobs":          {scopeHolding, scopeImages},
	"image_references":          {scopeHolding, scopeImages}, // they make Holding.Referenced true
	"images":                    {scopeImage, scopeImages},
	"tags":                      {scopeTag, scopeImages},
	"entities":                  {scopeIdentity},
	"entity_tags":               {scopeIdentity},
	"entity_policies":           {scopeIdentity},
	"entity_attachments":        {scopeIdentity},
	"entity_members":            {scopeIdentity},
	"policy_versions":           {scopeIdentity},
	"control_policies":          {scopeIdentity},
	"manifests":                 nil, // bodies never change
	"tag_history":               nil,
	"uploads":                   nil,
	"candidates":                nil,
	"collection":                nil,
	"audit_pending":             nil,
	"jobs":                      nil,
	"replication_rules":         nil,
	"replications":              nil,
	"backfills":                 nil,
	"backfill_results":          nil,
	"events":                    nil,
	"webhooks":                  nil,
	"deliveries":                nil,
	"lifecycle_policies":        nil,
	"lifecycle_previews":        nil,
	"lifecycle_preview_results": nil,
	"image_pins":                nil,
	"image_labels":              nil,
	"labels_due":                nil,
	"in_use":                    nil,
	"creation_templates":        nil,
	"pull_time_exclusions":      {scopeSettings},
	"installation":              nil,
	"login_profiles":            nil,
	"issuer_keys":               nil,
	"epochs":                    nil,
	"changes":                   nil,
	"cache_rules":               {scopeCacheRules},
	"secrets":                   nil,
	"kept_keys":                 nil,
	"integrations":              nil,
	"objects":                   nil,
	"object_uses":               nil,
	"config_repositories":       nil,
	"applications":              nil,
	"license_root":              nil,
	"channels":                  nil,
	"releases":                  nil,
	"release_images":            nil, // they change only before the release is promoted
	"release_charts":            nil,
	"release_compatibility":     nil,
	"instances":                 nil,
	"promotions":                {scopeOffers},
	"customers":                 {scopeIdentity},
	"customer_channels":         {scopeIdentity},
	"customer_tokens":           {scopeIdentity},
	"entitlements":              {scopeIdentity},
	"shared_registries":         nil,
	"application_hosts":         {scopeIdentity},
	"image_reports":             nil,
	"image_annotations":         nil,
	"image_deployments":         nil,
	"cache_checks":              nil,
	"repository_totals":         nil,
	"storage_quotas":            nil,
	"usage_counters":            nil,
	"image_pulls":               nil,
	"cache_counts":              nil,
	"pull_log":                  nil,
	"egress":                    nil,
	"egress_months":             nil,
	"egress_thresholds":         nil,
	"egress_reached":            nil,
	"pulled_images":             nil,
	"pull_denials":              nil,
	"cache_fetches":             nil,
	"access_requests":           nil,
	"access_grants":             {scopeAccess},
	"console_sessions":          nil,
}

// insertsCount are the tables whose new rows change cached values of other rows. In other tables a new row makes
// nothing stale, because the absence of a row is not cached.
var insertsCount = []string{"cache_rules", "image_references",
	"tags", "repository_labels", "accounts", "entities", "entity_tags", "entity_policies",
	"entity_attachments", "entity_members", "policy_versions", "control_policies", "entitlements", "application_hosts", "promotions",
	"access_grants"}

// harmless are changes to columns that no cache holds, or whose cached value may be out of date.
var harmless = []*regexp.Regexp{
	regexp.MustCompile(`^UPDATE images SET (pulled_at = \S+|tagged = \S+, untagged_at = \S+) WHERE`),
	regexp.MustCompile(`^UPDATE (access_keys|entities|customer_tokens) SET last_used_at = `),
	regexp.MustCompile(`^UPDATE customers SET license_used_at = `),
	regexp.MustCompile(`^DELETE FROM image_references WHERE repository = \$1 AND digest = \$2$`), // of a deleted image, which uses nothing
	// Rows of deleted images and repositories, which no cache has.
	regexp.MustCompile(`^DELETE FROM image_references WHERE repository = \$1 AND digest = \$2 AND target = \$3$`),
	regexp.MustCompile(`^DELETE FROM (image_references|tags|repository_labels) WHERE \(repository, `),
	regexp.MustCompile(`^DELETE FROM images WHERE digest = \$2 AND repository = \$1$`),
	regexp.MustCompile(`^DELETE FROM repository_blobs WHERE digest = \$2 AND repository = \$1$`),
	regexp.MustCompile(`^UPDATE repositories SET collecting = 1 `),
	regexp.MustCompile(`^DELETE FROM repositories WHERE id = \$1 AND collecting = 1$`),
}

var (
	toChild  = regexp.MustCompile(`^INSERT INTO image_references .* VALUES \(\$1, \$2, \$3, 2\)`)
	changes  = regexp.MustCompile(`^\s*(?:INSERT (?:OR \w+ )?INTO|UPDATE|DELETE FROM)\s+(\w+)`)
	inserts  = regexp.MustCompile(`^\s*INSERT`)
	replaces = regexp.MustCompile(`DO UPDATE`)
)

// staleBy returns the scopes of which a statement that changed rows needs one, nil if it needs none.
func staleBy(text string) ([]scopeKind, error) {
	m := changes.FindStringSubmatch(text)
	if m == nil {
		return nil, nil
	}
	need, known := caches[m[1]]
	if toChild.MatchString(text) {
		need = []scopeKind{scopeImage, scopeImages} // the tags that lead to the child; holdings tell of blobs
	}
	switch {
	case !known:
		return nil, fmt.Errorf("%q: the table %s is not in the list of cached tables", text, m[1])
	case need == nil,
		inserts.MatchString(text) && !replaces.MatchString(text) && !slices.Contains(insertsCount, m[1]),
		slices.ContainsFunc(harmless, func(r *regexp.Regexp) bool { return r.MatchString(text) }):
		return nil, nil
	}
	return append([]scopeKind{scopeEverything}, need...), nil
}

// StaleBy returns the error of staleBy, by which a test checks that staleBy can judge every statement of the source.
func StaleBy(text string) error { _, err := staleBy(text); return err }

// Caches returns the tables in the list of cached tables.
func Caches() (tables []string) {
	for t := range caches {
		tables = append(tables, t)
	}
	return tables
}
