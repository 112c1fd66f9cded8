package meta

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"

	"modernc.org/sqlite"

	"github.com/ecrin-dev/ecrin/internal/fault"
)

// committer runs all writes on one connection and groups those that wait into one commit, so that N concurrent writers
// share one fsync. Each write has its own savepoint: one that fails leaves the others alone.
type committer struct {
	db    *sql.DB
	conn  *sql.Conn
	stmts *statements
	queue chan *write
	stop  chan struct{}
	done  chan struct{}
	once  sync.Once

	lines     []byte // of the audit trail, which go with the transaction that runs now
	lastAudit int64  // the identifier of the newest row of audit_pending since the database was opened
}

type write struct {
	fn    func(*tx) error
	audit *AuditLine // of the request, nil without
	err   error
	done  chan struct{}
}

// groupLimit bounds the work of one commit, and with it the wait of the first writer in it.
const groupLimit = 128

func newCommitter(ctx context.Context, db *sql.DB) (*committer, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	c := &committer{
		db: db, conn: conn,
		stmts: &statements{prepare: conn.PrepareContext, ready: map[string]*sql.Stmt{}},
		queue: make(chan *write, groupLimit),
		stop:  make(chan struct{}),
		done:  make(chan struct{}),
	}
	if err := c.resumeAudit(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	go c.run()
	return c, nil
}

func (c *committer) close() error {
	c.once.Do(func() { close(c.stop) })
	<-c.done
	return errors.Join(c.conn.Close(), c.db.Close())
}

// do runs fn in a transaction and returns when its commit is durable. A ctx that ends while the write waits for a place
// refuses it; once it has a place its outcome is awaited, so that whoever calls knows it (and drops what was cached).
func (c *committer) do(ctx context.Context, fn func(*tx) error) error {
	w := &write{fn: fn, audit: auditLine(ctx), done: make(chan struct{})}
	select {
	case <-c.stop: // asked alone first, so that close does not go on for as long as writers come
		return fault.Unavailable.New("the server is stopping")
	default:
	}
	select {
	case c.queue <- w:
	case <-c.stop:
		return fault.Unavailable.New("the server is stopping")
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case <-w.done:
		return coded(w.err)
	case <-c.done:
		select {
		case <-w.done: // it was in the last group
			return coded(w.err)
		default:
			return fault.Unavailable.New("the server is stopping")
		}
	}
}

func (c *committer) run() {
	defer close(c.done)
	for {
		select {
		case w := <-c.queue:
			c.group(w)
		case <-c.stop:
			for {
				select {
				case w := <-c.queue:
					c.group(w)
				default:
					return
				}
			}
		}
	}
}

// group collects what waits, commits it together, and tells everyone.
func (c *committer) group(first *write) {
	group := []*write{first}
	for len(group) < groupLimit {
		select {
		case w := <-c.queue:
			group = append(group, w)
			continue
		default:
		}
		break
	}
	switch began, err := c.commit(group); {
	case err == nil:
	case began && len(group) > 1:
		c.alone(group)
	default:
		fail(group, err)
	}
	for _, w := range group {
		close(w.done)
	}
}

// alone commits each write of a group by itself. It follows the failure of a whole group: the database may have ended
// its transaction on its own, so that nothing of it holds; now each write meets its own fate.
func (c *committer) alone(group []*write) {
	for i := range group {
		one := group[i : i+1]
		began, err := c.commit(one)
		if !began {
			fail(group[i:], err) // the rest would only wait for the same answer
			return
		}
		if err != nil {
			fail(one, err)
		}
	}
}

func fail(group []*write, err error) {
	for _, w := range group {
		w.err = err
	}
}

// commit runs a group in one transaction. A refusal is the write's own and stands in its err; any other error undoes all
// and is returned. began is false when not even a transaction could be begun, so that nothing of the group was tried.
func (c *committer) commit(group []*write) (began bool, err error) {
	ctx := context.Background() // a client that goes away must not undo its neighbours' writes
	t := &tx{statements: c.stmts, ctx: ctx}
	undo := func(err error) error {
		c.settle(group, false)
		_, rerr := c.conn.ExecContext(ctx, `ROLLBACK`)
		if noTransaction(rerr) {
			rerr = nil // the database has rolled back by itself
		}
		return errors.Join(err, rerr)
	}
	if _, err := t.exec(`BEGIN IMMEDIATE`); err != nil {
		return false, undo(fmt.Errorf("beginning a transaction: %w", err)) // undo: should one be open, the next begin works
	}
	wrote := false
	for _, w := range group {
		if _, err := t.exec(`SAVEPOINT one`); err != nil {
			return true, undo(err)
		}
		w.err = run(t, func(t *tx) error {
			if err := w.fn(t); err != nil {
				return err
			}
			c.collect(w.audit)
			return nil
		})
		switch {
		case w.err == nil:
			wrote = true
			_, err = t.exec(`RELEASE one`)
		case refusal(w.err):
			if _, err = t.exec(`ROLLBACK TO one`); err == nil {
				_, err = t.exec(`RELEASE one`)
			}
		default:
			err = w.err
		}
		if err != nil {
			return true, undo(err)
		}
	}
	if !wrote {
		return true, undo(nil)
	}
	if err := c.carry(t); err != nil {
		return true, undo(err)
	}
	if _, err := t.exec(`COMMIT`); err != nil {
		return true, undo(fmt.Errorf("committing: %w", err))
	}
	c.settle(group, true)
	return true, nil
}

// refusal tells a rule's answer, after which the transaction goes on, from a failure of the database.
func refusal(err error) bool {
	var coded *fault.Error
	var failed *sqlite.Error
	return errors.As(err, &coded) && !errors.As(err, &failed)
}

// run keeps a programmer's mistake in one write from ending the committer with a half-made transaction.
func run(t *tx, fn func(*tx) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in a transaction: %v", p)
		}
	}()
	return fn(t)
}
