package meta

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// querier is what statements run on: the pool for reads, a transaction for writes.
type querier interface {
	// row reads exactly one row into dest; sql.ErrNoRows when there is none.
	row(ctx context.Context, text string, args []any, dest ...any) error
	// rows calls each for every row; each scans with its argument.
	rows(ctx context.Context, text string, args []any, each func(scan func(dest ...any) error) error) error
}

type args = []any

// statements prepares each text once.
type statements struct {
	prepare func(ctx context.Context, text string) (*sql.Stmt, error)
	limit   time.Duration // of one statement, 0 for none
	timer   *time.Timer   // ends the connection after limit, where there is only one; costs less than a context for each statement
	utf8    bool          // texts of the database are UTF-8 without zero characters
	mu      sync.RWMutex
	ready   map[string]*sql.Stmt
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
		ctx = context.WithoutCancel(ctx) // the statement outlives the request that needed it first
	}
	st, err := s.prepare(ctx, text)
	if err != nil {
		return nil, fmt.Errorf("preparing %q: %w", text, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if other := s.ready[text]; other != nil { // somebody was quicker; others did not wait meanwhile
		return other, st.Close()
	}
	s.ready[text] = st
	return st, nil
}

// bound is the context of one statement. A client that goes away ends none: on a server's connection that would end the
// connection too.
func (s *statements) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	switch {
	case s.timer != nil:
		s.timer.Reset(s.limit)
		return context.Background(), s.rest
	case s.limit == 0:
		return ctx, func() {}
	}
	return context.WithTimeout(context.WithoutCancel(ctx), s.limit)
}

func (s *statements) rest() { s.timer.Stop() }

func (s *statements) row(ctx context.Context, text string, a []any, dest ...any) error {
	// Reading one row of a file takes microseconds. With a context that can end, database/sql would start a goroutine to
	// watch it.
	ctx, cancel := s.bound(context.WithoutCancel(ctx))
	defer cancel()
	if s.utf8 && !storable(a) {
		return sql.ErrNoRows // what is not stored is not found
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

// storable tells whether all texts are UTF-8 and have no zero character.
func storable(a []any) bool {
	for _, one := range a {
		if text, ok := one.(string); ok && (!utf8.ValidString(text) || strings.IndexByte(text, 0) >= 0) {
			return false
		}
	}
	return true
}

// position is a text that the same stored texts come after as after the given one, which a client may have made up.
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
	idle int              // connections that are kept
	lost func(error) bool // recognises a connection of no use, after which a read is made again; nil for never
	code func(error) error
}

func newPool(db *sql.DB, connections int) *pool {
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return &pool{statements: newStatements(db.PrepareContext), db: db, idle: connections, code: func(err error) error { return err }}
}

func (p *pool) row(ctx context.Context, text string, a []any, dest ...any) error {
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

// stale tells whether a read failed by a connection that was made before the server restarted, so that another attempt may
// succeed; the other idle connections are closed, for they are no better. A server that only took too long is not asked again.
func (p *pool) stale(err error) bool {
	if err == nil || p.lost == nil || !p.lost(err) || hung(err) {
		return false
	}
	p.db.SetMaxIdleConns(0)
	p.db.SetMaxIdleConns(p.idle)
	return true
}

func (p *pool) close() error { return p.db.Close() }

// tx is a transaction of the writer. What runs in it may run more than once: touch only the tx and variables that each run
// sets anew.
type tx struct {
	*statements
	ctx context.Context
	ids interface {
		newID(at time.Time) (int64, error)
	}
	outbox
	bare    bool // see bareBody
	changes int  // how many statements that change something have run
}

// newID makes an identifier that is greater than all of the database, of repositories and of moves of tags.
func (t *tx) newID(at time.Time) (int64, error) { return t.ids.newID(at) }

func (t *tx) exec(text string, a ...any) (changed int64, err error) {
	ctx, cancel := t.bound(t.ctx)
	defer cancel()
	if t.utf8 && !storable(a) {
		return 0, fault.InvalidParameter.New("a text of the request has a character that cannot be stored: the zero character, or bytes that are not UTF-8")
	}
	st, err := t.get(ctx, text)
	if err != nil {
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

func (t *tx) one(text string, a []any, dest ...any) (found bool, err error) {
	err = t.row(t.ctx, text, a, dest...)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}
