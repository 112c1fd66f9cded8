package meta

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Checkpoint moves what is in the log of the database into its file, as far as no read needs the log. SQLite does so after
// commits, but a failure then is silent: the log grows until the disk is full. With PostgreSQL, Checkpoint does nothing.
//
// Errors: fault.Unavailable (the disk is full, the file cannot be written), errors of the database that have no code.
func (s *Store) Checkpoint(ctx context.Context) error {
	if s.checkpoint == nil {
		return nil
	}
	return s.checkpoint(ctx)
}

// checkpoint uses a connection for reads, so that writes do not wait for it.
func checkpoint(ctx context.Context, db *sql.DB) error {
	var busy, pages, moved int
	err := db.QueryRowContext(ctx, `PRAGMA wal_checkpoint(PASSIVE)`).Scan(&busy, &pages, &moved)
	var e *sqlite.Error
	if errors.As(err, &e) && e.Code()&0xff == sqlite3.SQLITE_BUSY {
		return nil // the writer is doing it
	}
	if err != nil {
		return sqliteDialect.written(fmt.Errorf("moving the log into the database: %w", err))
	}
	return nil
}
