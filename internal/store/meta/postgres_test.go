package meta_test

import (
	"database/sql"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	"github.com/pressly/goose/v3"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
	"github.com/ecrin-dev/ecrin/internal/test/pgtest"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// long skips a slow test of PostgreSQL unless ECRIN_POSTGRES=1; fast tests always run.
func long(t *testing.T) {
	t.Helper()
	if os.Getenv("ECRIN_POSTGRES") != "1" {
		t.Skip("ECRIN_POSTGRES=1 or make postgres runs it")
	}
}

// openURL opens a database, with a data directory of its own.
func openURL(t *testing.T, url string, now func() time.Time) *meta.Store {
	t.Helper()
	return openWith(t, meta.PostgreSQL{URL: secret.New(url), Dir: t.TempDir(), Now: now})
}

// openURLIn opens a database with this data directory.
func openURLIn(t *testing.T, url, dir string) *meta.Store {
	t.Helper()
	return openWith(t, meta.PostgreSQL{URL: secret.New(url), Dir: dir, Now: time.Now})
}

func openWith(t *testing.T, o meta.PostgreSQL) *meta.Store {
	t.Helper()
	s, err := meta.OpenPostgreSQL(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // fails if the test has closed the store
	return s
}

// openPostgres opens an empty database of the server that the tests share.
func openPostgres(t *testing.T) *meta.Store {
	t.Helper()
	return openURL(t, pgtest.Start(t).NewDatabase(t), time.Now)
}

func TestContractPostgreSQL(t *testing.T) {
	long(t)
	t.Parallel()
	metatest.Run(t, openPostgres)
}

// PostgreSQL accepts the schema and every statement as they are: both databases use the same text.
func TestPostgreSQLAcceptsEveryStatement(t *testing.T) {
	t.Parallel()
	db, err := sql.Open("pgx", pgtest.Start(t).NewDatabase(t))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	files, err := fs.Sub(meta.Migrations, "migrations")
	if err != nil {
		t.Fatal(err)
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provider.Up(t.Context()); err != nil {
		t.Fatalf("the migrations: %v", err)
	}
	for _, text := range statements(t) {
		st, err := db.PrepareContext(t.Context(), text)
		if err != nil {
			t.Errorf("%s\n%v", text, err)
			continue
		}
		_ = st.Close()
	}
	var have []string
	rows, err := db.QueryContext(t.Context(),
		`SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename NOT LIKE 'goose%' ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var one string
		if err := rows.Scan(&one); err != nil {
			t.Fatal(err)
		}
		have = append(have, one)
	}
	want := tables(t)
	slices.Sort(want)
	if err := rows.Err(); err != nil || !slices.Equal(have, want) {
		t.Errorf("tables: got %q, %v, want %q", have, err, want)
	}
}

// planned are the statements for which PostgreSQL takes other indexes than SQLite while it knows nothing of the tables, each with the
// reason why that does no harm.
var planned = map[string]string{
	`SELECT 1 FROM entities WHERE account = $1 AND kind = $2 AND folded = $3`: "reads the names of one kind " +
		"in one account, until the table is analyzed",
	`SELECT 1 FROM images WHERE repository = $1 AND deleted_at = 0 LIMIT 1`: "any index of living images has the one row",
	`SELECT ` + meta.EntityColumnsOf + ` FROM entity_attachments a JOIN entities e ON e.id = a.entity
		WHERE a.policy = $1 AND e.account = $2`: "reads the entities of one account, until the table is analyzed",
	`SELECT COUNT(*) FROM (SELECT 1 AS one FROM images WHERE repository = $1 AND deleted_at = 0 LIMIT $2) counted`: "both indexes " +
		"begin with the repository",
	`SELECT pushed_at FROM images WHERE repository = $1 AND digest = $2 AND deleted_at = 0`: "either index has the two columns",
	`DELETE FROM cache_rules WHERE account = $1 AND region = $2 AND prefix = $3`:            "SQLite shows what goes with it",
	`DELETE FROM integrations WHERE id = $1`:                                                "SQLite shows what goes with it",
	`DELETE FROM applications WHERE id = $1`:                                                "SQLite shows what goes with it",
	`DELETE FROM customers WHERE application = $1`:                                          "SQLite shows what goes with them",
	`DELETE FROM accounts WHERE id = $1`:                                                    "SQLite shows what goes with it",
	`DELETE FROM entities WHERE id = $1`:                                                    "SQLite shows what goes with it",
	`DELETE FROM repositories WHERE id = $1 AND collecting = 1`:                             "SQLite shows the tables that refer to it",
	`DELETE FROM image_references WHERE repository = $1 AND digest = $2 AND target = $3`:    "either index has the three columns first",
	`DELETE FROM image_references WHERE (repository, digest, target, kind) IN (
		SELECT repository, digest, target, kind FROM image_references WHERE repository = $1 LIMIT $2)`: "any rows of the repository serve",
	`UPDATE image_references SET kind = $5 WHERE repository = $1 AND digest = $2 AND target = $3 AND kind = $4`: "SQLite " +
		"only, and either index has the four columns",
	`DELETE FROM tags WHERE (repository, tag) IN (SELECT repository, tag FROM tags WHERE repository = $1 LIMIT $2)`: "any rows of " +
		"the repository serve",
	`DELETE FROM tag_history WHERE id IN (SELECT id FROM tag_history WHERE repository = $1 LIMIT $2)`: "any rows of the repository serve",
	`SELECT id, application, name, slug, description, is_default, semver_required, archived_at, last_sequence, created_at,
	proxy_domain, registry_domain FROM channels WHERE application = $1 AND slug = $2`: "an application has at most 100 channels",
	`UPDATE customers SET told = $3 WHERE id = $1 AND told = $2 AND expires_at = $4`: "either index has the id",
	`UPDATE instances SET inactive = 1 WHERE customer = $1 AND id = $2 AND inactive = 0 AND last_seen = $3`: "either index has " +
		"customer and id",
	`DELETE FROM in_use WHERE account = $1 AND used_by = $4 AND digest IN (SELECT digest FROM image_deployments
			WHERE account = $1 AND application = $2 AND namespace = $3)`: "either index begins with the account, which has at most " +
		"10,000 deployments",
	meta.CollectableRecordsOf: "joins a few candidates with their rows by their keys",
}

// both are indexes of the same two columns in both orders: they find a row equally well when both are given.
var both = strings.NewReplacer("repository_blobs_by_digest", "repository_blobs_pkey", "entity_attachments_by_policy",
	"entity_attachments_pkey", "images_by_digest", "images_pkey",
	"entity_members_by_member", "entity_members_pkey")

// The plans of PostgreSQL for an empty database, which a connection keeps while the tables grow, read no table whole, sort nothing,
// and use the same indexes as those of SQLite.
func TestPlansOfPostgreSQL(t *testing.T) {
	t.Parallel()
	s, lite := openPostgres(t), open(t)
	bad := regexp.MustCompile(`Seq Scan on|(^|->  )Sort  \(`) // an incremental sort, of a few rows at a time, is no sort
	for text, file := range statementsByFile(t) {
		plan, err := s.ExplainPostgreSQL(t.Context(), text)
		if err != nil {
			t.Errorf("%s\n%v", text, err)
			continue
		}
		whole := whole[text] != ""
		if i := slices.IndexFunc(plan, bad.MatchString); i >= 0 && !whole {
			t.Errorf("%s\nis answered by %q; the whole plan:\n%s", text, plan[i], strings.Join(plan, "\n"))
		}
		if planned[text] != "" || whole || strings.HasPrefix(file, "postgres") {
			continue
		}
		want, err := lite.Explain(t.Context(), text)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := indexes(plan, `Scan(?: Backward)? using (\w+)`), indexes(want,
			`USING (?:COVERING )?INDEX (\w+)`); !slices.Equal(got, want) {
			t.Errorf("%s\nuses the indexes %q, with SQLite %q; the whole plan:\n%s", text, got, want, strings.Join(plan, "\n"))
		}
	}
	for text := range planned {
		if statementsByFile(t)[text] == "" {
			t.Errorf("%s\nis no statement any more: take it from the exceptions", text)
		}
	}
}

// indexes are the indexes of a plan, primary keys by the names that PostgreSQL gives them.
func indexes(plan []string, form string) (names []string) {
	text := regexp.MustCompile(`sqlite_autoindex_(\w+)_1`).ReplaceAllString(strings.Join(plan, "\n"), "${1}_pkey")
	for _, m := range regexp.MustCompile(form).FindAllStringSubmatch(text, -1) {
		names = append(names, both.Replace(m[1]))
	}
	slices.Sort(names)
	return names
}
