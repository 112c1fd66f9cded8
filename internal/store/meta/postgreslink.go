package meta

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// link is one connection to a server. A lost connection is made again, one attempt at a time. Not safe for concurrent
// use.
type link struct {
	db    *sql.DB
	dial  *dialer
	limit time.Duration // of one statement, and of one attempt to connect

	conn  *sql.Conn // nil when not connected
	stmts *statements
	pid   uint32 // process id of the connection's process in the server

}

func newLink(config pgx.ConnConfig, limit time.Duration) *link {
	db, dial := openDB(config)
	db.SetMaxOpenConns(1)
	return &link{db: db, dial: dial, limit: limit}
}

// connect makes the connection unless it exists. fresh reports whether it is new.
func (l *link) connect() (fresh bool, err error) {
	if l.conn != nil {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), l.limit)
	defer cancel()
	conn, err := l.db.Conn(ctx)
	if err != nil {
		return false, fmt.Errorf("connecting: %w", err)
	}
	var wire net.Conn
	err = conn.Raw(func(c any) error {
		pg := c.(*stdlib.Conn).Conn().PgConn()
		l.pid, wire = pg.PID(), pg.Conn()
		return nil
	})
	if err != nil {
		return false, errors.Join(fmt.Errorf("connecting: %w", err), conn.Close())
	}
	l.conn, l.stmts = conn, newStatements(conn.PrepareContext)
	l.stmts.limit, l.stmts.utf8 = l.limit, true
	// After the deadline the driver closes the connection.
	l.stmts.timer = time.AfterFunc(time.Hour, func() { _ = wire.SetDeadline(time.Now()) })
	l.stmts.timer.Stop()
	return true, nil
}

// drop closes the connection, whatever its state.
func (l *link) drop() {
	if l.conn == nil {
		return
	}
	_ = l.conn.Raw(func(any) error { return driver.ErrBadConn }) // so that it does not return to the pool
	_ = l.conn.Close()
	l.conn, l.stmts = nil, nil
}

// broken reports whether the connection cannot be used after err.
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

// simple runs one statement without parameters and returns its command tag.
func (l *link) simple(text string) (tag string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), l.limit)
	defer cancel()
	err = l.conn.Raw(func(c any) error {
		results, err := c.(*stdlib.Conn).Conn().PgConn().Exec(ctx, text).ReadAll()
		if err == nil && len(results) > 0 {
			tag = results[len(results)-1].CommandTag.String()
		}
		return err
	})
	return tag, err
}

func (l *link) close() error {
	l.drop()
	return l.db.Close()
}
