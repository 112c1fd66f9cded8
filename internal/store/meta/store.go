// Package meta stores all data of ecrin except the bytes of blobs. It contains all SQL of ecrin.
//
// Each public method is one transaction; unexported helpers take a *tx and can be combined. A rule that concurrent
// requests could break (an immutable tag, the last tag of an image) is checked inside the transaction.
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

// Store holds the metadata of one installation. All methods are safe for concurrent use. When a method that changes
// something has returned nil, the change survives kill -9 and power loss.
type Store struct {
	dialect dialect
	read    *pool
	write   writer
	epochs  *follower // nil with SQLite
	lock    *os.File  // of the data directory
	place   *place
	node    string // the id under which this process stores its audit lines, "" with SQLite
	now     func() time.Time
	cache   cache
	full    fullKeys      // see doWithin
	jobs    chan struct{} // see JobsQueued
	events  chan struct{} // see EventsStored
	scan    scanLimits    // of LifecycleImages

	sealedBy *atomic.Pointer[string] // id of the master key that this process has, see RecordMasterKey

	snapshot   func(ctx context.Context) (file string, err error) // nil for a database of another server
	checkpoint func(ctx context.Context) error                    // likewise
	shrink     func() error                                       // gives the memory of reads back; nil with PostgreSQL

	generation atomic.Uint64 // see IdentityGeneration
}

func newStore(d dialect, lock *os.File, now func() time.Time) *Store {
	s := &Store{dialect: d, lock: lock, now: now, jobs: make(chan struct{}, 1), events: make(chan struct{}, 1),
		scan: scanLimits{maxLifecycleImages, maxLifecycleTags, lifecyclePage}}
	s.sealedBy = new(atomic.Pointer[string])
	s.cache.init()
	return s
}

// dialect holds the differences between the databases, besides opening them and their writers.
type dialect struct {
	schema goose.Dialect
	// failed reports whether err is an error of the database.
	failed func(err error) bool
	// written adds a code to errors of a write that clients may see; it returns other errors unchanged.
	written func(err error) error
}

// refusal reports whether err is the refusal of a rule, after which the transaction continues, rather than an error
// of the database.
func (d dialect) refusal(err error) bool {
	var coded *fault.Error
	return errors.As(err, &coded) && !d.failed(err)
}

// migrate brings the schema up to date. It refuses a schema of a newer program: the meaning of its rows is unknown.
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

// Close closes the database and unlocks the data directory. It waits for queued writes.
func (s *Store) Close() error {
	var errs []error
	if s.read != nil {
		errs = append(errs, s.read.close()) // first: the writer of SQLite empties the log, which readers must not use meanwhile
	}
	if s.write != nil {
		errs = append(errs, s.write.close())
	}
	if s.epochs != nil {
		errs = append(errs, s.epochs.close())
	}
	errs = append(errs, s.cache.heads.spill.close(), s.cache.bodies.spill.close())
	return errors.Join(append(errs, durable.Unlock(s.lock), s.lock.Close())...)
}

// Ping checks for readiness probes that the database answers reads and begins writes. It writes nothing, so that it
// succeeds on a full disk, where pulls still work.
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

// errNothing is the refusal by which the write of Ping ends.
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

// firstID returns the least identifier of a time: its milliseconds, with 2^20 identifiers in each.
func firstID(at time.Time) int64 { return at.UnixMilli() << 20 }

// timeOfID returns about when an identifier was made.
func timeOfID(id int64) time.Time { return time.UnixMilli(id >> 20).UTC() }

// idSource makes growing identifiers from the time and a counter. It starts after the greatest one of the database.
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
