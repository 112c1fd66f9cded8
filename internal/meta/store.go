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
	"time"

	"github.com/pressly/goose/v3"
	"golang.org/x/sys/unix"
	_ "modernc.org/sqlite" // the driver "sqlite"
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
		return (&url.URL{Scheme: "file", Opaque: path, RawQuery: q.Encode()}).String()
	}
	writer, err := sql.Open("sqlite", dsn(nil))
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
	return s, nil
}

// readers is how many reads run at once. modernc.org/sqlite spends its time on the CPU, so more than a few connections
// only add memory.
const readers = 4

func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the data directory: %w", err)
	}
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the lock file: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("the data directory %s is in use by another ecrin (lock file %s): %w", dir, path, err), f.Close())
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
	return errors.Join(append(errs, s.lock.Close())...)
}

// Ping tells whether reads and durable writes work, for readiness probes.
func (s *Store) Ping(ctx context.Context) error {
	var one int
	return s.read.row(ctx, `SELECT 1`, nil, &one)
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

// idSource makes identifiers that grow: the time in milliseconds, then a counter.
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
