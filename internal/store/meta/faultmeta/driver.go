package faultmeta

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"

	"modernc.org/sqlite"
)

// sqliteConn are the methods of a connection that database/sql uses.
type sqliteConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

// sqliteStmt are those of a statement.
type sqliteStmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

type driverOf struct{ under *sqlite.Driver }

// Open implements driver.Driver.
func (d driverOf) Open(dsn string) (driver.Conn, error) {
	faults, err := injectorOf(dsn)
	if err != nil {
		return nil, err
	}
	under, err := d.under.Open(dsn)
	if err != nil {
		return nil, err
	}
	c, ok := under.(sqliteConn)
	if !ok {
		return nil, errors.Join(errors.New("faultmeta: the driver lacks a method"), under.Close())
	}
	return conn{c, faults}, nil
}

type conn struct {
	sqliteConn
	faults *Injector
}

// PrepareContext implements driver.ConnPrepareContext.
func (c conn) PrepareContext(ctx context.Context, text string) (driver.Stmt, error) {
	under, err := c.sqliteConn.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	s, ok := under.(sqliteStmt)
	if !ok {
		return nil, errors.Join(errors.New("faultmeta: the driver lacks a method"), under.Close())
	}
	return stmt{s, text, c.faults}, nil
}

// ExecContext implements driver.ExecerContext.
func (c conn) ExecContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Result, error) {
	return exec(c.faults, text, func() (driver.Result, error) { return c.sqliteConn.ExecContext(ctx, text, args) })
}

// QueryContext implements driver.QueryerContext.
func (c conn) QueryContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Rows, error) {
	return query(c.faults, text, func() (driver.Rows, error) { return c.sqliteConn.QueryContext(ctx, text, args) })
}

type stmt struct {
	sqliteStmt
	text   string
	faults *Injector
}

// ExecContext implements driver.StmtExecContext.
func (s stmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	return exec(s.faults, s.text, func() (driver.Result, error) { return s.sqliteStmt.ExecContext(ctx, args) })
}

// QueryContext implements driver.StmtQueryContext.
func (s stmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return query(s.faults, s.text, func() (driver.Rows, error) { return s.sqliteStmt.QueryContext(ctx, args) })
}

func exec(faults *Injector, text string, run func() (driver.Result, error)) (driver.Result, error) {
	f, fails := faults.next(text)
	if !fails {
		return run()
	}
	if f == After {
		if _, err := run(); err != nil {
			return nil, err
		}
	}
	faults.failed(text)
	return nil, ErrInjected
}

func query(faults *Injector, text string, run func() (driver.Rows, error)) (driver.Rows, error) {
	f, fails := faults.next(text)
	if !fails {
		return run()
	}
	if f == Before {
		faults.failed(text)
		return nil, ErrInjected
	}
	r, err := run()
	if err != nil {
		return nil, err
	}
	if f == After {
		faults.failed(text)
		return nil, errors.Join(ErrInjected, r.Close())
	}
	left := 0
	if f == Tail {
		left = 1
	}
	return &rows{r, left, func() { faults.failed(text) }}, nil
}

// rows fails after left rows.
type rows struct {
	driver.Rows
	left   int
	failed func()
}

// Next implements driver.Rows.
func (r *rows) Next(dest []driver.Value) error {
	if r.left > 0 {
		r.left--
		if err := r.Rows.Next(dest); err != io.EOF {
			return err
		}
	}
	r.failed()
	return ErrInjected
}
