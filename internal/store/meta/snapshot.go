package meta

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/ecrin-dev/ecrin/internal/store/durable"
)

// snapshotFile is the name of the file in the data directory that Snapshot writes.
const snapshotFile = "snapshot.db"

// snapshotMu keeps two snapshots from writing one file.
var snapshotMu sync.Mutex

// Snapshot writes a consistent copy of the database, as of one moment, to a file of the data directory, and returns the
// file's name. Reads and writes go on meanwhile. An earlier snapshot is replaced. The name is "" for a database in a PostgreSQL
// server.
func (s *Store) Snapshot(ctx context.Context) (file string, err error) {
	if s.snapshot == nil {
		return "", nil
	}
	snapshotMu.Lock()
	defer snapshotMu.Unlock()
	return s.snapshot(ctx)
}

// snapshot copies the SQLite database of a data directory on a connection of its own, in one read transaction.
func snapshot(ctx context.Context, dir, dsn string) (file string, err error) {
	path := filepath.Join(dir, snapshotFile)
	defer func() {
		if err != nil {
			_ = os.Remove(path)
			err = sqliteDialect.written(fmt.Errorf("copying the database: %w", err))
		}
	}()
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	if err := durable.WriteFile(path, nil, 0o600); err != nil { // SQLite would make a file that others can read
		return "", err
	}
	db, err := sql.Open(sqliteDriver, dsn)
	if err != nil {
		return "", err
	}
	_, err = db.ExecContext(ctx, `VACUUM INTO $1`, path)
	if err = errors.Join(err, db.Close()); err != nil {
		return "", err
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	return snapshotFile, errors.Join(f.Sync(), f.Close())
}
