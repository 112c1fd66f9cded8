package meta

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"os"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// place is the data directory that a Store has locked and, with SQLite, the file of its database. Both can be moved, deleted or
// replaced while the server has them open: what it writes then is not where the next start looks for it.
type place struct {
	paths []string
	files []os.FileInfo // at the start
}

// placeOf returns the place of files that exist.
func placeOf(paths ...string) (*place, error) {
	p := &place{paths: paths}
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		p.files = append(p.files, info)
	}
	return p, nil
}

// check compares device and inode of what is at the paths now with those of the start.
//
// Errors: fault.Unavailable.
func (p *place) check() error {
	for i, path := range p.paths {
		info, err := os.Stat(path)
		if err == nil && os.SameFile(info, p.files[i]) {
			continue
		}
		if err == nil {
			err = fmt.Errorf("%s is another file than at the start", path)
		}
		return fault.Unavailable.New("the data directory of the server, or its database, was moved, deleted or replaced: nothing is stored until it is back or the server is restarted").Because(err)
	}
	return nil
}

// guard returns a commit that refuses writes while something else is at the place. The place is compared before the transaction
// and, before its writes are acknowledged, after it.
func (p *place) guard(commit func([]*write) (bool, error)) func([]*write) (bool, error) {
	return func(group []*write) (began bool, err error) {
		if err := p.check(); err != nil {
			return false, err
		}
		if began, err = commit(group); err != nil {
			return began, err
		}
		if err := p.check(); err != nil {
			for _, w := range group {
				if w.err == nil {
					w.err = err
				}
			}
		}
		return began, nil
	}
}

// CheckPlace returns fault.Unavailable if the data directory, or the file of the database in it, is not the one that the Store
// has opened.
func (s *Store) CheckPlace() error { return s.place.check() }

// connector opens connections to the SQLite database at its place. A connection that is opened later must not read another
// file than the first one.
type connector struct {
	driver driver.Driver
	dsn    string
	place  *place
}

// openAt returns a pool of connections to the database at its place, without connecting.
func openAt(dsn string, p *place) (*sql.DB, error) {
	db, err := sql.Open(sqliteDriver, dsn)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(&connector{db.Driver(), dsn, p}), db.Close()
}

// Connect opens a connection.
func (c *connector) Connect(context.Context) (driver.Conn, error) {
	if err := c.place.check(); err != nil {
		return nil, err
	}
	conn, err := c.driver.Open(c.dsn)
	if err != nil {
		return nil, err
	}
	if err := c.place.check(); err != nil {
		_ = conn.Close() // nothing was read
		return nil, err
	}
	return conn, nil
}

// Driver returns the driver of the database.
func (c *connector) Driver() driver.Driver { return c.driver }
