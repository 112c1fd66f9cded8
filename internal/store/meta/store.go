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
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/ecrin-dev/ecrin/internal/store/durable"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Store is the metadata of one installation. All methods are safe for concurrent use. When one that changes something
// has returned nil, the change survives kill -9 and power loss.
type Store struct {
	dialect dialect
	read    *pool
	write   writer
	epochs  *follower // nil with SQLite
	lock    *os.File  // of the data directory
	node    string    // whose audit lines are moved by this process
	now     func() time.Time
	cache   cache

	generation atomic.Uint64 // see IdentityGeneration
}

func newStore(d dialect, lock *os.File, now func() time.Time) *Store {
	s := &Store{dialect: d, lock: lock, now: now}
	s.cache.init()
	return s
}

// dialect is what differs between the databases besides opening them and the form of their writer.
type dialect struct {
	schema goose.Dialect
	// failed recognises an error of the database.
	failed func(err error) bool
	// written gives the errors of a write their code, where clients shall see one; others pass.
	written func(err error) error
}

// refusal tells a rule's answer, after which the transaction goes on, from a failure of the database.
func (d dialect) refusal(err error) bool {
	var coded *fault.Error
	return errors.As(err, &coded) && !d.failed(err)
}

// migrate brings the schema up to date. A schema of a newer program is refused: this one does not know what its rows mean.
func migrate(ctx context.Context, db *sql.DB, d dialect) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(d.schema, db, files)
	if err != nil {
		return fmt.Errorf("reading the migrations: %w", err)
	}
	have, known, err := provider.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("reading the version of the schema: %w", err)
	}
	if have > known {
		return fmt.Errorf("the schema has version %d and this program knows versions up to %d: the database was made by a newer ecrin: use that one", have, known)
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("bringing the schema up to date: %w", err)
	}
	return nil
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
	if s.epochs != nil {
		errs = append(errs, s.epochs.close())
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
	err := s.write.do(ctx, func(*tx) error { return errNothing })
	if errors.Is(err, errNothing) {
		return nil
	}
	return err
}

// errNothing is the refusal of a write that only wants to know that it gets its turn.
var errNothing error = fault.Unavailable.New("nothing is to be written")

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

// firstID is the least identifier of a moment: its time in milliseconds, with room for a million of them in each.
func firstID(at time.Time) int64 { return at.UnixMilli() << 20 }

// idSource makes identifiers that grow: the time, then a counter. It begins after the newest one of the database.
type idSource struct {
	mu   sync.Mutex
	last int64
}

func (s *idSource) next(now time.Time) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = max(s.last+1, firstID(now))
	return s.last
}
