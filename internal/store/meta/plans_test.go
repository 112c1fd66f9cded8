package meta_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// whole are the statements that may read a whole table, with the reason for each.
var whole = map[string]string{
	`INSERT INTO candidates (kind, repository, digest, since) SELECT 1, id, '', $1 FROM repositories WHERE deleted_at > 0
				ON CONFLICT (kind, repository, digest) DO NOTHING`: "once after an upgrade",
	`INSERT INTO candidates (kind, repository, digest, since) SELECT 2, repository, digest, $1 FROM images WHERE deleted_at > 0
				ON CONFLICT (kind, repository, digest) DO NOTHING`: "once after an upgrade",
	`INSERT INTO candidates (kind, repository, digest, since) SELECT 3, b.repository, b.digest, $1 FROM repository_blobs b
				WHERE NOT EXISTS (SELECT 1 FROM image_references r WHERE r.repository = b.repository AND r.target = b.digest
					AND r.kind IN (1, 3))
				ON CONFLICT (kind, repository, digest) DO NOTHING`: "once after an upgrade",
	`DELETE FROM sessions`: "once for the operator, who wants all deleted",
	`DELETE FROM tokens`:   "once for the operator, who wants all deleted",
	`SELECT purpose, master_key, sealed, expires_at FROM kept_keys ORDER BY purpose, master_key`:      "two rows for each new master key",
	`SELECT DISTINCT account, region FROM repositories WHERE deleted_at = 0 ORDER BY account, region`: "for the operator, who asks seldom",
	`SELECT kind, (SELECT MIN(r.waiting_since) FROM replications r WHERE r.integration = i.id AND r.waiting_since > 0)
		FROM integrations i WHERE serves_account <> ''`: "a metric of each kind, from one value of each integration",
	`SELECT repository, images, bytes, pushed_at, pulled_at,
	COALESCE((SELECT r.name FROM repositories r WHERE r.id = repository_totals.repository AND r.deleted_at <= 0), '')
	FROM repository_totals WHERE account = $1 AND region = $2 AND (bytes, repository) < ($3, $4)
		ORDER BY bytes DESC, repository DESC LIMIT $5`: "the database sorts the totals of one registry, short rows",
	`SELECT repository, images, bytes, pushed_at, pulled_at,
	COALESCE((SELECT r.name FROM repositories r WHERE r.id = repository_totals.repository AND r.deleted_at <= 0), '')
	FROM repository_totals WHERE account = $1 AND region = $2 AND (bytes, repository) > ($3, $4)
		ORDER BY bytes, repository LIMIT $5`: "the database sorts the totals of one registry, short rows",
	`SELECT repository, images, bytes, pushed_at, pulled_at,
	COALESCE((SELECT r.name FROM repositories r WHERE r.id = repository_totals.repository AND r.deleted_at <= 0), '')
	FROM repository_totals WHERE account = $1 AND region = $2 AND (images, repository) < ($3, $4)
		ORDER BY images DESC, repository DESC LIMIT $5`: "the database sorts the totals of one registry, short rows",
	`SELECT repository, images, bytes, pushed_at, pulled_at,
	COALESCE((SELECT r.name FROM repositories r WHERE r.id = repository_totals.repository AND r.deleted_at <= 0), '')
	FROM repository_totals WHERE account = $1 AND region = $2 AND (images, repository) > ($3, $4)
		ORDER BY images, repository LIMIT $5`: "the database sorts the totals of one registry, short rows",
	`SELECT id, alias, created_at, is_default FROM accounts ORDER BY id`:                              "its result is the whole table",
	`SELECT host, account, application, created_at, created_by FROM application_hosts`:                "its result is the whole table",
	`SELECT kind, account, name, body, updated_at FROM control_policies ORDER BY kind, account, name`: "its result is the whole table",
}

// No statement reads a whole table or sorts all that it finds: the cost of an operation grows with its result, not
// with the stored data. A step "SCAN t" reads a table from start to end, and a temporary tree for the whole ORDER BY
// is a sort before the LIMIT.
func TestPlans(t *testing.T) {
	t.Parallel()
	s := open(t)
	alias := regexp.MustCompile(`(?:FROM|JOIN|UPDATE|INTO)\s+(\w+)(?:\s+([a-z])\b)?`)
	for text, file := range statementsByFile(t) {
		if strings.HasPrefix(file, "postgres") {
			continue // they read one row by its key, or settings of the server
		}
		steps, err := s.Explain(t.Context(), text)
		if err != nil {
			t.Error(err)
			continue
		}
		isTable := map[string]bool{}
		for _, m := range alias.FindAllStringSubmatch(text, -1) {
			if slices.Contains(tables(t), m[1]) {
				isTable[m[1]], isTable[m[2]] = true, true
			}
		}
		bad := ""
		for _, step := range steps {
			words := strings.Fields(step)
			if words[0] == "SCAN" && isTable[words[1]] || strings.Contains(step, "B-TREE FOR ORDER BY") {
				bad = step
			}
		}
		switch _, allowed := whole[text]; {
		case bad != "" && !allowed:
			t.Errorf("%s\nhas the steps %q; the whole plan:\n%s", text, bad, strings.Join(steps, "\n"))
		case bad == "" && allowed:
			t.Errorf("%s\nno longer reads a whole table: remove it from the exceptions", text)
		}
	}
}
