package meta

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// link is one connection to a server that is made again after it was lost, one attempt at a time. Its methods are for one
// goroutine at a time.
type link struct {
	db    *sql.DB
	limit time.Duration // of one statement, and of one attempt to connect

	conn  *sql.Conn // nil while there is none
	stmts *statements
	pid   uint32 // of the server's process

	failed error // why the last attempt to connect failed, nil after one that did not
	pause  time.Duration
	next   time.Time // no attempt before
}

const (
	minPause = 50 * time.Millisecond
	maxPause = 2 * time.Second
)

// errAway is the answer while no attempt to connect is due.
var errAway = errors.New("the database server could not be reached, and it is too early to try again")

func newLink(config pgx.ConnConfig, limit time.Duration) *link {
	db := openDB(config)
	db.SetMaxOpenConns(1)
	return &link{db: db, limit: limit}
}

// connect makes the connection unless there is one. After a failure the next attempt is not made before a pause, which grows up to
// 2 s and differs from process to process, so that a server that comes back is not met by all at once. fresh tells that the
// connection is a new one.
func (l *link) connect() (fresh bool, err error) {
	if l.conn != nil {
		return false, nil
	}
	if time.Now().Before(l.next) {
		return false, errors.Join(errAway, l.failed)
	}
	ctx, cancel := context.WithTimeout(context.Background(), l.limit)
	defer cancel()
	conn, err := l.db.Conn(ctx)
	if err == nil {
		err = conn.Raw(func(c any) error {
			l.pid = c.(*stdlib.Conn).Conn().PgConn().PID()
			return nil
		})
	}
	if err != nil {
		l.failed = err
		l.pause = min(max(2*l.pause, minPause), maxPause)
		l.next = time.Now().Add(l.pause/2 + rand.N(l.pause))
		return false, fmt.Errorf("connecting: %w", err)
	}
	l.conn, l.failed, l.pause = conn, nil, 0
	l.stmts = newStatements(conn.PrepareContext)
	l.stmts.limit, l.stmts.utf8 = l.limit, true
	return true, nil
}

// drop closes the connection, whatever state it is in.
func (l *link) drop() {
	if l.conn == nil {
		return
	}
	_ = l.conn.Raw(func(any) error { return driver.ErrBadConn }) // it does not go back to the pool
	_ = l.conn.Close()
	l.conn, l.stmts = nil, nil
}

// broken tells whether the connection is of no use after an error.
func (l *link) broken(err error) bool {
	if l.conn == nil || lost(err) {
		return true
	}
	closed := false
	if l.conn.Raw(func(c any) error {
		closed = c.(*stdlib.Conn).Conn().IsClosed()
		return nil
	}) != nil {
		return true
	}
	return closed
}

// simple runs one statement without parameters and answers its command tag.
func (l *link) simple(text string) (tag string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), l.limit)
	defer cancel()
	err = l.conn.Raw(func(c any) error {
		results, err := c.(*stdlib.Conn).Conn().PgConn().Exec(ctx, text).ReadAll()
		if err == nil && len(results) > 0 {
			tag = results[len(results)-1].CommandTag.String()
		}
		if pgconn.SafeToRetry(err) {
			err = errors.Join(errNotSent, err)
		}
		return err
	})
	return tag, err
}

// errNotSent marks the failure of a statement that the server has not received.
var errNotSent = errors.New("the connection was lost before the statement was sent")

func (l *link) close() error {
	l.drop()
	return l.db.Close()
}
