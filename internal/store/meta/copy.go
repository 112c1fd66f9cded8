package meta

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"time"
)

// Copy is a copy of an SQLite database that nothing writes, such as that of a backup. It is read without a lock, and no file
// is made beside it.
type Copy struct {
	db    *sql.DB
	store *Store // with read alone
}

// OpenCopy opens a copy of a database and checks that its pages and indexes are whole.
//
// Errors have no code: the file cannot be read, is no database, or is damaged; ctx ends.
func OpenCopy(ctx context.Context, path string) (*Copy, error) {
	dsn := &url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(),
		RawQuery: url.Values{"mode": {"ro"}, "immutable": {"1"}, "_pragma": {"query_only(1)"}}.Encode()}
	db, err := sql.Open(sqliteDriver, dsn.String())
	if err != nil {
		return nil, err
	}
	c := &Copy{db: db, store: newStore(sqliteDialect, nil, time.Now)}
	c.store.read = newPool(db, 1)
	said := ""
	err = c.store.read.row(ctx, `PRAGMA integrity_check(1)`, nil, &said)
	if err == nil && said != "ok" {
		err = errors.New(said)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reading the database %s: %w", path, err), c.Close())
	}
	return c, nil
}

// RecordedBlobs is Store.RecordedBlobs.
func (c *Copy) RecordedBlobs(ctx context.Context, after, last string, limit int) ([]string, error) {
	return c.store.RecordedBlobs(ctx, after, last, limit)
}

// Manifests is Store.Manifests.
func (c *Copy) Manifests(ctx context.Context, after string, limit int) ([]StoredManifest, error) {
	return c.store.Manifests(ctx, after, limit)
}

// Close closes the database.
func (c *Copy) Close() error { return c.store.read.close() }
