package meta_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
	"github.com/ecrin-dev/ecrin/internal/test/pgtest"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// A Store refuses writes while its directory is elsewhere, with both databases, and does not acknowledge a write during which
// the directory is moved. Reads go on.
func TestWritesNeedTheDirectoryInItsPlace(t *testing.T) {
	t.Parallel()
	for database, openIn := range map[string]func(t *testing.T, dir string) *meta.Store{
		"SQLite": func(t *testing.T, dir string) *meta.Store {
			s, err := meta.OpenSQLite(t.Context(), dir, time.Now)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Close() })
			return s
		},
		"PostgreSQL": func(t *testing.T, dir string) *meta.Store {
			long(t)
			return openURLIn(t, pgtest.Start(t).NewDatabase(t), dir)
		},
	} {
		t.Run(database, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "data")
			s := openIn(t, dir)
			fx := metatest.NewFixture(t, s)
			r := fx.Repo("team/app")
			ctx := t.Context()
			create := func(repo string) error {
				_, err := s.CreateRepository(ctx, meta.Repository{Registry: metatest.Registry, Name: mustRepo(t, repo)}, nil)
				return err
			}
			move, back := func() error { return os.Rename(dir, dir+".moved") }, func() { fx.Must(os.Rename(dir+".moved", dir)) }

			if _, err := s.Fresh().Repository(ctx, metatest.Registry, mustRepo(t, "team/app")); err != nil { // opens a connection for reads
				t.Fatal(err)
			}
			fx.Must(move())
			if err := create("team/a"); !errors.Is(err, fault.Unavailable) {
				t.Errorf("a write in the wrong place: got %v, want Unavailable", err)
			}
			if err := errors.Join(s.CheckPlace(), s.Ping(ctx)); !errors.Is(err, fault.Unavailable) {
				t.Errorf("Ping: got %v, want Unavailable", err)
			}
			if got, err := s.Fresh().Repository(ctx, metatest.Registry, mustRepo(t, "team/app")); err != nil || got.ID != r.ID {
				t.Errorf("a read: got %v, %v", got, err)
			}
			back()
			fx.Must(create("team/b"))
			if err := s.Write(ctx, func(*meta.Tx) error { return move() }); !errors.Is(err, fault.Unavailable) {
				t.Errorf("a write during which the directory is moved: got %v, want Unavailable", err)
			}
			back()
			fx.Must(errors.Join(create("team/c"), s.CheckPlace(), s.Ping(ctx)))
			for repo, want := range map[string]bool{"team/a": false, "team/b": true, "team/c": true} {
				if _, err := s.Repository(ctx, metatest.Registry, mustRepo(t, repo)); (err == nil) != want {
					t.Errorf("repository %s: got %v, want it stored: %t", repo, err, want)
				}
			}
		})
	}
}

// A connection for reads that is opened after the file of the database was replaced does not read the other file.
func TestReadsUseOneDatabase(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	s, err := meta.OpenSQLite(t.Context(), dir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	metatest.NewFixture(t, s).Repo("team/app")
	other := t.TempDir()
	o, err := meta.OpenSQLite(t.Context(), other, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	metatest.NewFixture(t, o)
	if err := errors.Join(o.Close(), os.Remove(filepath.Join(dir, "ecrin.db")),
		os.Rename(filepath.Join(other, "ecrin.db"), filepath.Join(dir, "ecrin.db"))); err != nil {
		t.Fatal(err)
	}
	fresh, app := s.Fresh(), mustRepo(t, "team/app")
	var wg sync.WaitGroup
	for range 64 { // on several connections
		wg.Go(func() {
			for range 20 {
				_, err := fresh.Repository(context.Background(), metatest.Registry, app)
				if errors.Is(err, fault.RepositoryNotFound) {
					t.Error("a read used the other database")
					return
				}
			}
		})
	}
	wg.Wait()
	if _, err := s.Snapshot(t.Context()); !errors.Is(err, fault.Unavailable) {
		t.Errorf("Snapshot: got %v, want Unavailable", err)
	}
}
