// Package meta keeps everything that is not blob bytes: all SQL of ecrin is here.
//
// Public methods are one transaction each; unexported helpers take a *tx and can be combined. A rule that concurrent
// requests could break (an immutable tag, the last tag of an image) is decided inside the transaction.
package meta

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/ecrin-dev/ecrin/internal/durable"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Store is the metadata of one installation. All methods are safe for concurrent use. When one that changes something
// has returned nil, the change survives kill -9 and power loss.
type Store struct {
	read  *pool
	write *committer
	lock  *os.File
	now   func() time.Time
	ids   idSource
	cache cache

	generation atomic.Uint64 // see IdentityGeneration
}

// OpenSQLite opens or creates the database DIR/ecrin.db and brings its schema up to date. One process at a time may
// have it open; the second is told which file is locked.
func OpenSQLite(ctx context.Context, dir string, now func() time.Time) (*Store, error) {
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "ecrin.db")
	s := &Store{lock: lock, now: now}
	s.cache.init()
	fail := func(err error) (*Store, error) {
		return nil, errors.Join(fmt.Errorf("opening the database %s: %w", path, err), s.Close())
	}
	// Settings stand in the DSN so that every pooled connection has them. FULL makes each commit durable in WAL mode.
	dsn := func(more url.Values) string {
		q := url.Values{"_pragma": {"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)", "temp_store(MEMORY)"}}
		for k, v := range more {
			q[k] = append(q[k], v...)
		}
		return (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: q.Encode()}).String()
	}
	// The writer changes many pages at once, and the log of 16 MB lets it write a page that changes often only once.
	writer, err := sql.Open("sqlite", dsn(url.Values{"_pragma": {"cache_size(-4096)", "wal_autocheckpoint(4000)"}}))
	if err != nil {
		return fail(err)
	}
	writer.SetMaxOpenConns(1)
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fail(errors.Join(err, writer.Close()))
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, writer, files)
	if err == nil {
		_, err = provider.Up(ctx)
	}
	if err != nil {
		return fail(errors.Join(fmt.Errorf("bringing the schema up to date: %w", err), writer.Close()))
	}
	s.write, err = newCommitter(ctx, writer)
	if err != nil {
		return fail(errors.Join(err, writer.Close()))
	}
	reader, err := sql.Open("sqlite", dsn(url.Values{"_pragma": {"query_only(1)"}}))
	if err != nil {
		return fail(err)
	}
	reader.SetMaxOpenConns(readers)
	reader.SetMaxIdleConns(readers)
	s.read = newPool(reader)
	// The clock may stand behind the one that made the last identifiers: they go on growing from there.
	if err := s.read.row(ctx, `SELECT COALESCE(MAX(id), 0) FROM (SELECT MAX(id) AS id FROM tag_history UNION ALL SELECT MAX(id) FROM repositories) newest`, nil, &s.ids.last); err != nil {
		return fail(err)
	}
	return s, nil
}

// readers is how many reads run at once. modernc.org/sqlite spends its time on the CPU, so more than a few connections
// only add memory.
const readers = 4

func lockDir(dir string) (*os.File, error) {
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the data directory: %w", err)
	}
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the lock file: %w", err)
	}
	switch err := durable.TryLock(f); {
	case errors.Is(err, durable.ErrLocked):
		return nil, errors.Join(fmt.Errorf("the data directory %s is in use by another ecrin: stop that one first, or give this one a directory of its own", dir), f.Close())
	case err != nil:
		return nil, errors.Join(fmt.Errorf("locking %s: %w", path, err), f.Close())
	}
	return f, nil
}

// Close ends all work; writes in flight finish first.
func (s *Store) Close() error {
	var errs []error
	if s.write != nil {
		errs = append(errs, s.write.close())
	}
	if s.read != nil {
		errs = append(errs, s.read.close())
	}
	return errors.Join(append(errs, durable.Unlock(s.lock), s.lock.Close())...)
}

// Ping tells whether reads are answered and a write gets its turn, for readiness probes. It writes nothing, so that a
// full disk, on which pulls go on, does not make it fail.
func (s *Store) Ping(ctx context.Context) error {
	var one int
	if err := s.read.row(ctx, `SELECT 1`, nil, &one); err != nil {
		return err
	}
	return s.write.do(ctx, func(*tx) error { return nil })
}

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(v int64) time.Time {
	if v == 0 {
		return time.Time{}
	}
	return time.UnixMicro(v).UTC()
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}

// idSource makes identifiers that grow: the time in milliseconds, then a counter. It begins after the newest one of the
// database.
type idSource struct {
	mu   sync.Mutex
	last int64
}

func (s *idSource) next(now time.Time) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = max(s.last+1, now.UnixMilli()<<20)
	return s.last
}
