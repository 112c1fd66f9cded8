package meta

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// maxShrinkTime limits the wait for connections that are in use.
const maxShrinkTime = time.Second

// shrink gives back the page caches of the open connections to a SQLite database. A page takes two of the system: SQLite adds its
// header to it, and its allocator rounds the sum up to a power of two.
//
// Errors: a connection was in use for longer than maxShrinkTime, or cannot be opened.
func shrink(db *sql.DB) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), maxShrinkTime)
	defer cancel()
	for range db.Stats().OpenConnections {
		c, opening := db.Conn(ctx)
		if opening != nil {
			return errors.Join(err, opening)
		}
		defer c.Close() // not before the others were taken, so that each is another one
		_, failed := c.ExecContext(ctx, `PRAGMA shrink_memory`)
		err = errors.Join(err, failed)
	}
	return err
}
