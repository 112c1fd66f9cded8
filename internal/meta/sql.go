package meta

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"
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
	s.mu.Lock()
	defer s.mu.Unlock()
	if st = s.ready[text]; st != nil {
		return st, nil
	}
	// The statement outlives the request that needed it first.
	st, err := s.prepare(context.WithoutCancel(ctx), text)
	if err != nil {
		return nil, fmt.Errorf("preparing %q: %w", text, err)
	}
	s.ready[text] = st
	return st, nil
}

func (s *statements) row(ctx context.Context, text string, a []any, dest ...any) error {
	st, err := s.get(ctx, text)
	if err != nil {
		return err
	}
	// Reading one row takes microseconds. With a context that can end, database/sql would start a goroutine to watch it.
	return st.QueryRowContext(context.WithoutCancel(ctx), a...).Scan(dest...)
}

func (s *statements) rows(ctx context.Context, text string, a []any, each func(scan func(...any) error) error) error {
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

// pool runs reads.
type pool struct {
	*statements
	db *sql.DB
}

func newPool(db *sql.DB) *pool {
	return &pool{db: db, statements: newStatements(db.PrepareContext)}
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
}

// newID makes an identifier that is greater than all of the database, of repositories and of moves of tags.
func (t *tx) newID(at time.Time) (int64, error) { return t.ids.newID(at) }

func (t *tx) exec(text string, a ...any) (changed int64, err error) {
	st, err := t.get(t.ctx, text)
	if err != nil {
		return 0, err
	}
	res, err := st.ExecContext(t.ctx, a...)
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
