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
	rows, err := db.QueryContext(t.Context(), `SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename NOT LIKE 'goose%' ORDER BY 1`)
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

// The plans of PostgreSQL for an empty database, which are kept while it grows, read no whole table and sort nothing, like
// those of SQLite.
func TestPlansOfPostgreSQL(t *testing.T) {
	t.Parallel()
	s := openPostgres(t)
	scan := regexp.MustCompile(`Seq Scan on (\w+)`)
	sort := regexp.MustCompile(`^\s*(->  )?Sort  \(`) // not an incremental sort, of a few rows at a time in the order of an index
	for _, text := range statements(t) {
		plan, err := s.ExplainPostgreSQL(t.Context(), text)
		if err != nil {
			t.Errorf("%s\n%v", text, err)
			continue
		}
		bad := ""
		for _, step := range plan {
			if m := scan.FindStringSubmatch(step); m != nil && slices.Contains(tables(t), m[1]) || sort.MatchString(step) {
				bad = step
			}
		}
		if _, allowed := whole[text]; bad != "" && !allowed {
			t.Errorf("%s\nhas the step %q; the whole plan:\n%s", text, bad, strings.Join(plan, "\n"))
		}
	}
}
