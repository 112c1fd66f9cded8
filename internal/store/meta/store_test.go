package meta_test

import (
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
	"github.com/ecrin-dev/ecrin/internal/word/slowtest"
)

func TestContract(t *testing.T) {
	t.Parallel()
	metatest.Run(t, open)
}

// The same with caches of manifests that are almost only in files.
func TestContractWithSpill(t *testing.T) {
	slowtest.Only(t, "TestContract runs the same with caches in memory")
	t.Parallel()
	metatest.Run(t, func(t *testing.T) *meta.Store {
		s := open(t)
		if err := s.SpillTo(t.TempDir(), 64<<10); err != nil {
			t.Fatal(err)
		}
		s.ShrinkShelves()
		return s
	})
}

// With a frozen clock everything happens at the same time: orders and names must not depend on the clock.
func TestContractFrozenClock(t *testing.T) {
	slowtest.Only(t, "TestContract runs the same with a clock that goes")
	t.Parallel()
	metatest.Run(t, func(t *testing.T) *meta.Store { return openAt(t, t.TempDir(), func() time.Time { return noon }) })
}

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// After a restart with a clock that was set back, identifiers still grow and the history keeps its order.
func TestClockSetBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var history []meta.TagMove
	var created []int64
	for round := range 3 {
		now := noon.AddDate(0, 0, -round)
		s := openAt(t, dir, func() time.Time { return now })
		fx := &metatest.Fixture{T: t, Store: s, Ctx: t.Context()}
		if round == 0 {
			fx = metatest.NewFixture(t, s)
			fx.Image(fx.Repo("team/app"), "config")
		}
		created = append(created, fx.Repo("team/"+string(rune('a'+round))).ID)
		r, err := s.Repository(t.Context(), metatest.Registry, mustRepo(t, "team/app"))
		fx.Must(err)
		fx.Push(r, metatest.As(metatest.ImageOf("config"), "v1"))
		_, err = s.DeleteTag(t.Context(), r, metatest.Tag("v1").Tag, metatest.ByDigest(metatest.ImageOf("config").Digest).Digest, false, "test")
		fx.Must(err)
		history, err = s.TagHistory(t.Context(), r.ID, "v1", 0, 100)
		fx.Must(err)
		fx.Must(s.Close())
	}
	if len(history) != 6 {
		t.Fatalf("got %d moves, want 6", len(history))
	}
	for i, m := range history {
		if made := m.To != ""; made != (i%2 == 1) {
			t.Errorf("move %d, latest first: got %q → %q", i, m.From, m.To)
		}
	}
	for i := 1; i < len(created); i++ {
		if created[i] <= created[i-1] {
			t.Errorf("repository IDs: got %v, want them to grow", created)
		}
	}
}

func TestSecondProcessIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openAt(t, dir, time.Now)
	if _, err := meta.OpenSQLite(t.Context(), dir, time.Now); err == nil ||
		!strings.Contains(err.Error(), "the data directory "+dir+" is in use by another ecrin") {
		t.Errorf("the second: got %v, want a text that names the directory", err)
	}
	out, err := helper(t, "open", dir).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "in use by another ecrin") {
		t.Errorf("a second process: got %v\n%s", err, out)
	}
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("the first after the second was refused: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	openAt(t, dir, time.Now)
}

// A database whose schema a newer program has changed is refused.
func TestNewerSchemaIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := openAt(t, dir, time.Now).Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", filepath.Join(dir, "ecrin.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, 1)`); err != nil {
		t.Fatal(err)
	}
	if _, err := meta.OpenSQLite(t.Context(), dir, time.Now); err == nil ||
		!strings.Contains(err.Error(), "made by a newer ecrin: use that one") {
		t.Errorf("got %v, want a text that says what to do", err)
	}
}

// Directory names may contain the characters that have a meaning in the DSN.
func TestDataDirectoryNames(t *testing.T) {
	t.Parallel()
	for _, n := range []string{"with space", "a?b=c", "100%", "%41", "#1", "ä", "a&b", "semi;colon", `quote"'`} {
		dir := filepath.Join(t.TempDir(), n)
		s := openAt(t, dir, time.Now)
		fx := metatest.NewFixture(t, s)
		fx.Repo("team/app")
		if info, err := os.Stat(filepath.Join(dir, "ecrin.db")); err != nil || info.Size() == 0 {
			t.Errorf("directory %q: the database is not in it: %v", n, err)
		}
		for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "query_only": "1"} {
			if got, err := s.Column(t.Context(), "PRAGMA "+pragma); err != nil || got[0] != want {
				t.Errorf("directory %q: %s of a reader is %q (%v), want %q", n, pragma, got, err, want)
			}
		}
		for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "query_only": "0"} {
			if got, err := s.WriterPragma(t.Context(), pragma); err != nil || got != want {
				t.Errorf("directory %q: %s of the writer is %q (%v), want %q", n, pragma, got, err, want)
			}
		}
	}
}
