package meta

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/ecrin-dev/ecrin/internal/rule/event"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// querier runs queries: the pool outside transactions, a tx inside one.
type querier interface {
	// row reads exactly one row into dest. Errors: sql.ErrNoRows.
	row(ctx context.Context, text string, args []any, dest ...any) error
	// rows calls each for every row; each reads the row with scan.
	rows(ctx context.Context, text string, args []any, each func(scan func(dest ...any) error) error) error
}

type args = []any

// statements prepares each SQL text once.
type statements struct {
	prepare func(ctx context.Context, text string) (*sql.Stmt, error)
	limit   time.Duration // of one statement, 0 for none
	// timer closes the connection after limit. It is set only if there is one connection: it costs less than a context
	// for each statement.
	timer *time.Timer
	utf8  bool // the database stores only UTF-8 without zero characters
	mu    sync.RWMutex
	ready map[string]*sql.Stmt
}

func newStatements(prepare func(context.Context, string) (*sql.Stmt, error)) *statements {
	return &statements{prepare: prepare, ready: map[string]*sql.Stmt{}}
}

func (s *statements) get(ctx context.Context, text string) (*sql.Stmt, error) {
	s.mu.RLock()
	st := s.ready[text]
	s.mu.RUnlock()
	if st != nil {
		return st, nil
	}
	if s.limit == 0 {
		ctx = context.WithoutCancel(ctx) // the statement is used after the request that prepares it
	}
	st, err := s.prepare(ctx, text)
	if err != nil {
		return nil, fmt.Errorf("preparing %q: %w", text, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if other := s.ready[text]; other != nil { // prepared by another goroutine: mu is not held meanwhile
		return other, st.Close()
	}
	s.ready[text] = st
	return st, nil
}

// bound returns the context of one statement. With a limit, the end of ctx does not end the statement: on a
// connection to a server that would end the connection too.
func (s *statements) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	switch {
	case s.timer != nil:
		s.timer.Reset(s.limit)
		return context.Background(), s.stopTimer
	case s.limit == 0:
		return ctx, func() {}
	}
	return context.WithTimeout(context.WithoutCancel(ctx), s.limit)
}

func (s *statements) stopTimer() { s.timer.Stop() }

func (s *statements) row(ctx context.Context, text string, a []any, dest ...any) error {
	// Reading one row of a file takes microseconds. For a context that can end, database/sql would start a goroutine.
	ctx, cancel := s.bound(context.WithoutCancel(ctx))
	defer cancel()
	if s.utf8 && !storable(a) {
		return sql.ErrNoRows // the database cannot contain this text
	}
	st, err := s.get(ctx, text)
	if err != nil {
		return err
	}
	return st.QueryRowContext(ctx, a...).Scan(dest...)
}

func (s *statements) rows(ctx context.Context, text string, a []any, each func(scan func(...any) error) error) error {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	if s.utf8 && !storable(a) {
		return nil
	}
	st, err := s.get(ctx, text)
	if err != nil {
		return err
	}
	rows, err := st.QueryContext(ctx, a...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := each(rows.Scan); err != nil {
			return err
		}
	}
	return errors.Join(rows.Err(), rows.Close())
}

// storable reports whether all strings are UTF-8 without zero characters.
func storable(a []any) bool {
	for _, one := range a {
		if text, ok := one.(string); ok && (!utf8.ValidString(text) || strings.IndexByte(text, 0) >= 0) {
			return false
		}
	}
	return true
}

// position returns a string that sorts before the same stored strings as after, and that the database accepts. after
// may come from a client.
func position(after string) string {
	for i, r := range after {
		switch {
		case r == 0:
			return after[:i]
		case r == utf8.RuneError:
			if _, size := utf8.DecodeRuneInString(after[i:]); size == 1 {
				return after[:i] + string(utf8.MaxRune)
			}
		}
	}
	return after
}

// pool runs reads on several connections.
type pool struct {
	*statements
	db   *sql.DB
	idle int              // number of connections that are kept open
	lost func(error) bool // reports whether the connection cannot be used any more, so that a read is repeated; nil for never
	code func(error) error
	step func(context.Context, Step) // see ObserveSteps; nil for none
}

func newPool(db *sql.DB, connections int) *pool {
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return &pool{statements: newStatements(db.PrepareContext), db: db, idle: connections, code: func(err error) error { return err }}
}

func (p *pool) row(ctx context.Context, text string, a []any, dest ...any) error {
	if p.step != nil {
		p.step(ctx, BeforeRead)
		defer p.step(ctx, AfterRead)
	}
	err := p.statements.row(ctx, text, a, dest...)
	if p.stale(err) {
		err = p.statements.row(ctx, text, a, dest...)
	}
	if err == nil || errors.Is(err, sql.ErrNoRows) {
		return err
	}
	return p.code(err)
}

func (p *pool) rows(ctx context.Context, text string, a []any, each func(scan func(...any) error) error) error {
	if p.step != nil {
		p.step(ctx, BeforeRead)
		defer p.step(ctx, AfterRead)
	}
	begun := false
	noting := func(scan func(...any) error) error {
		begun = true
		return each(scan)
	}
	err := p.statements.rows(ctx, text, a, noting)
	if !begun && p.stale(err) {
		err = p.statements.rows(ctx, text, a, noting)
	}
	if err == nil {
		return nil
	}
	return p.code(err)
}

// stale reports whether a read failed because its connection was made before the server restarted, so that another
// attempt may succeed. It also closes the other idle connections, which may be as old. After a timeout it returns
// false.
func (p *pool) stale(err error) bool {
	if err == nil || p.lost == nil || !p.lost(err) || hung(err) {
		return false
	}
	p.db.SetMaxIdleConns(0)
	p.db.SetMaxIdleConns(p.idle)
	return true
}

func (p *pool) close() error { return p.db.Close() }

// tx is a transaction of the writer. Functions that use it may run more than once: they may change only the tx and
// variables that each run sets again.
type tx struct {
	*statements
	ctx context.Context
	ids interface {
		newID(at time.Time) (int64, error)
	}
	outbox
	bounds  map[counted]int // see hasRoom
	bare    bool            // see runBareGroup
	remote  bool            // each statement costs a round trip
	changes int             // number of statements run by exec
	by      string          // ARN of the caller of the current write; "" for none
	change  event.ID        // of the events of the current write
	events  int             // number of calls of origin in the current write

	sealedBy   *atomic.Pointer[string] // see fence; nil if no other process can use the database
	keyChecked bool
}

// newID returns an identifier greater than all identifiers of repositories and tag moves in the database.
func (t *tx) newID(at time.Time) (int64, error) { return t.ids.newID(at) }

func (t *tx) exec(text string, a ...any) (changed int64, err error) {
	ctx, cancel := t.bound(t.ctx)
	defer cancel()
	if t.utf8 && !storable(a) {
		return 0,
			fault.InvalidParameter.New("a string of the request has a character that cannot be stored: the zero character, or bytes that are not UTF-8")
	}
	st, err := t.get(ctx, text)
	if err != nil {
		return 0, err
	}
	if err := t.fence(text); err != nil {
		return 0, err
	}
	t.changes++
	res, err := st.ExecContext(ctx, a...)
	if err != nil {
		return 0, err
	}
	changed, err = res.RowsAffected()
	if inspect != nil && changed > 0 {
		t.texts = append(t.texts, text)
	}
	return changed, err
}

// changeOne runs a statement that changes at most one row and returns values of it.
func (t *tx) changeOne(text string, a []any, dest ...any) (found bool, err error) {
	t.changes++
	found, err = t.one(text, a, dest...)
	if inspect != nil && found {
		t.texts = append(t.texts, text)
	}
	return found, err
}

// column returns the values of the only column of the rows, which are strings.
func (t *tx) column(text string, a ...any) ([]string, error) {
	var all []string
	err := t.rows(t.ctx, text, a, func(scan func(...any) error) error {
		var one string
		err := scan(&one)
		all = append(all, one)
		return err
	})
	return all, err
}

func (t *tx) one(text string, a []any, dest ...any) (found bool, err error) {
	err = t.row(t.ctx, text, a, dest...)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}
