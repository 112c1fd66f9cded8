package meta

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite" // the driver "sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/ecrin-dev/ecrin/internal/store/durable"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// sqliteDriver is the name of the driver in database/sql.
var sqliteDriver = "sqlite"

// SetSQLiteDriver selects another driver for the databases that are opened later. Package faultmeta calls it when a test
// program starts.
func SetSQLiteDriver(name string) { sqliteDriver = name }

// OpenSQLite opens or creates the database DIR/ecrin.db and brings its schema up to date. Only one process at a time
// may have it open.
//
// Errors have no code and are written for the operator of the server: the directory cannot be created, read or
// locked; another process uses it (the text contains the directory); the file is not a database, is damaged, or
// cannot be written (a full disk, a read-only file system); the schema was changed by a newer ecrin; a migration
// fails; ctx ends.
func OpenSQLite(ctx context.Context, dir string, now func() time.Time) (*Store, error) {
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "ecrin.db")
	s := newStore(sqliteDialect, lock, now)
	fail := func(err error) (*Store, error) {
		return nil, errors.Join(fmt.Errorf("opening the database %s: %w", path, err), s.Close())
	}
	if err := keepPrivate(path); err != nil {
		return fail(err)
	}
	// The settings are in the DSN so that every connection of the pool has them. FULL makes each commit durable in
	// WAL mode.
	dsn := func(more url.Values) string {
		q := url.Values{"_pragma": {"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)", "temp_store(MEMORY)"}}
		for k, v := range more {
			q[k] = append(q[k], v...)
		}
		return (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: q.Encode()}).String()
	}
	// The writer changes many pages at once. With a log of 16 MB it writes a page that changes often only once.
	db, err := sql.Open(sqliteDriver, dsn(url.Values{"_pragma": {"cache_size(-4096)", "wal_autocheckpoint(4000)"}}))
	if err != nil {
		return fail(err)
	}
	db.SetMaxOpenConns(1)
	if err := migrate(ctx, db, sqliteDialect); err != nil {
		return fail(errors.Join(err, db.Close()))
	}
	if s.place, err = placeOf(dir, path); err != nil { // now: some file systems move a file when it is opened for writing
		return fail(errors.Join(err, db.Close()))
	}
	s.write, err = newSQLiteWriter(ctx, db, s.place, s.drop)
	if err != nil {
		return fail(errors.Join(err, db.Close()))
	}
	reader, err := openAt(dsn(url.Values{"_pragma": {"query_only(1)"}}), s.place)
	if err != nil {
		return fail(err)
	}
	s.read = newPool(reader, maxSQLiteReaders)
	s.read.code = unopened
	s.checkpoint = func(ctx context.Context) error { return checkpoint(ctx, reader) }
	s.shrink = func() error { return shrink(reader) }
	s.snapshot = func(ctx context.Context) (string, error) {
		if err := s.place.check(); err != nil {
			return "", err
		}
		return snapshot(ctx, dir, dsn(nil))
	}
	return s, nil
}

// keepPrivate makes the file of the database if it does not exist, and takes it and the files beside it from other users.
// SQLite would make a file that all can read; the files that it makes beside it later have the mode of this one.
func keepPrivate(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return errors.Join(closeToOthers(path), closeToOthers(path+"-wal"), closeToOthers(path+"-shm"))
}

// closeToOthers takes from other users all access to a file, if it exists.
func closeToOthers(path string) error {
	info, err := os.Stat(path)
	if err == nil && info.Mode().Perm()&0o077 != 0 {
		err = os.Chmod(path, info.Mode().Perm()&^0o077)
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// maxSQLiteReaders is how many reads run at once. modernc.org/sqlite is bound by the CPU: more connections would only
// use more memory.
const maxSQLiteReaders = 4

// maxLockTries is how often a lock of the data directory that somebody holds is tried again, after lockPause each.
const (
	maxLockTries = 10
	lockPause    = 20 * time.Millisecond
)

func lockDir(dir string) (*os.File, error) {
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the data directory: %w", err)
	}
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the lock file: %w", err)
	}
	if err := closeToOthers(path); err != nil {
		return nil, errors.Join(fmt.Errorf("taking the lock file from other users: %w", err), f.Close())
	}
	err = durable.TryLock(f)
	for range maxLockTries { // a command may hold it for a moment, to find out whether a server runs
		if !errors.Is(err, durable.ErrLocked) {
			break
		}
		time.Sleep(lockPause)
		err = durable.TryLock(f)
	}
	switch {
	case errors.Is(err, durable.ErrLocked):
		return nil,
			errors.Join(fmt.Errorf("the data directory %s is in use by another ecrin: stop that one first, or give this one a directory of its own with --data", dir), f.Close())
	case err != nil:
		return nil, errors.Join(fmt.Errorf("locking %s: %w", path, err), f.Close())
	}
	return f, nil
}

var sqliteDialect = dialect{
	schema: goose.DialectSQLite3,
	failed: func(err error) bool {
		var e *sqlite.Error
		return errors.As(err, &e)
	},
	written: func(err error) error {
		var e *sqlite.Error
		if errors.As(err, &e) {
			switch e.Code() & 0xff {
			case sqlite3.SQLITE_FULL:
				return fault.Unavailable.New("the disk that holds the database is full: nothing was stored; free some space and repeat").Because(err)
			case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM:
				return fault.Unavailable.New("the database cannot be written now: nothing was stored").Because(err)
			}
		}
		return err
	},
}

// unopened gives the error of a read for which a file could not be opened its code. It happens when the process has no free file
// descriptor.
func unopened(err error) error {
	var e *sqlite.Error
	if errors.As(err, &e) && e.Code()&0xff == sqlite3.SQLITE_CANTOPEN {
		return fault.Unavailable.New("the database cannot be read now").Because(err)
	}
	return err
}

// noTransaction reports whether err is the error of a ROLLBACK after the database has ended the transaction by
// itself.
func noTransaction(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && e.Code()&0xff == sqlite3.SQLITE_ERROR
}

// sqliteWriter runs all writes on one connection. The lock of the data directory excludes other processes.
type sqliteWriter struct {
	*grouper
	db        *sql.DB
	conn      *sql.Conn
	tx        *tx
	drop      func([]scope)
	ids       idSource
	lastAudit int64 // the identifier of the newest row of audit_pending since the database was opened
}

func newSQLiteWriter(ctx context.Context, db *sql.DB, at *place, drop func([]scope)) (*sqliteWriter, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	w := &sqliteWriter{db: db, conn: conn, drop: drop}
	// The transactions have a context of their own: the end of a client's context must not undo the other writes of
	// its group.
	w.tx = &tx{statements: newStatements(conn.PrepareContext), ctx: context.Background(), ids: w}
	// The clock may be behind the one that made the last identifiers: identifiers continue from the greatest one.
	err = w.tx.row(ctx,
		`SELECT COALESCE(MAX(id), 0) FROM (SELECT MAX(id) AS id FROM tag_history UNION ALL SELECT MAX(id) FROM repositories
			UNION ALL SELECT MAX(id) FROM jobs UNION ALL SELECT MAX(id) FROM backfills UNION ALL SELECT MAX(id) FROM events
			UNION ALL SELECT MAX(position) FROM webhooks) newest`, nil, &w.ids.last)
	if err == nil {
		// Read before rows are deleted: from now on identifiers grow even if the table is empty meanwhile, so that a
		// reader never gets the same identifier twice, or a lower one.
		err = w.tx.row(ctx, `SELECT COALESCE(MAX(id), 0) FROM audit_pending`, nil, &w.lastAudit)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reading the last identifiers: %w", err), conn.Close())
	}
	w.grouper = newGrouper(at.guard(w.transact), sqliteDialect.written)
	go w.run()
	return w, nil
}

// close moves the log into the database, so that the file DIR/ecrin.db alone is complete.
func (w *sqliteWriter) close() error {
	w.end()
	var busy, pages, moved int
	err := w.conn.QueryRowContext(context.Background(), `PRAGMA wal_checkpoint(TRUNCATE)`).Scan(&busy, &pages, &moved)
	if err == nil && busy != 0 {
		err = errors.New("another program has the database open")
	}
	if err != nil {
		err = fmt.Errorf("moving the log into the database (nothing is lost: keep ecrin.db-wal together with ecrin.db): %w", err)
	}
	return errors.Join(err, w.conn.Close(), w.db.Close())
}

func (w *sqliteWriter) newID(at time.Time) (int64, error) { return w.ids.next(at), nil }

func (w *sqliteWriter) transact(group []*write) (began bool, err error) {
	t := w.tx
	t.outbox = outbox{}
	undo := func(err error) error {
		settle(group, false)
		_, rerr := w.conn.ExecContext(t.ctx, `ROLLBACK`)
		if noTransaction(rerr) {
			rerr = nil // the database has rolled back by itself
		}
		return errors.Join(err, rerr)
	}
	if _, err := t.exec(`BEGIN IMMEDIATE`); err != nil {
		return false, undo(fmt.Errorf("beginning a transaction: %w", err)) // a transaction that is still open would make the next BEGIN fail
	}
	wrote, err := t.runGroup(group, sqliteDialect.refusal)
	if err != nil || !wrote {
		return true, undo(err)
	}
	if len(t.lines) > 0 {
		w.lastAudit++
		if err := t.insertLines(w.lastAudit, ""); err != nil {
			return true, undo(err)
		}
	}
	if _, err := t.exec(`COMMIT`); err != nil {
		err = undo(fmt.Errorf("committing: %w", err))
		w.drop(t.scopes) // the changes may be stored although COMMIT returned an error
		return true, err
	}
	w.drop(t.scopes)
	settle(group, true)
	return true, nil
}
