package meta

import (
	"context"
	"fmt"
	"strings"
)

// Tx is a transaction, for tests of the writer.
type Tx = tx

// Exec runs one statement in the transaction.
func (t *tx) Exec(text string, a ...any) (int64, error) { return t.exec(text, a...) }

// Write runs fn like a change of the store, and drops all caches, because fn may change anything.
func (s *Store) Write(ctx context.Context, fn func(*Tx) error) error {
	return s.write.do(ctx, func(t *tx) error {
		t.touch(scope{kind: scopeEverything})
		return fn(t)
	})
}

// WriteOnly is Write without dropping the caches.
func (s *Store) WriteOnly(ctx context.Context, fn func(*Tx) error) error { return s.write.do(ctx, fn) }

// Touch adds the scope with the given text.
func (t *tx) Touch(text string) {
	s, ok := parseScope(text)
	if !ok {
		panic(text)
	}
	t.touch(s)
}

// Hold makes the writer wait in a write of its own until release is called, so that the following writes of a test
// form one group.
func (s *Store) Hold() (release func()) {
	held, free, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		_ = s.write.do(context.Background(), func(*tx) error { close(held); <-free; return nil })
	}()
	<-held
	return func() { close(free); <-done }
}

// Waiting returns the number of queued writes.
func (s *Store) Waiting() int { return s.write.waiting() }

// Groups records the groups of a store in SQLite from now on: the costs of their writes. It is called while the writer is held.
func (s *Store) Groups() (costs func() [][]int) {
	g := s.write.(*sqliteWriter).grouper
	var all [][]int
	commit := g.commit
	g.commit = func(group []*write) (bool, error) {
		var one []int
		for _, w := range group {
			one = append(one, w.cost)
		}
		all = append(all, one)
		return commit(group)
	}
	return func() [][]int { return all }
}

// Fresh returns the same store with empty caches.
func (s *Store) Fresh() *Store {
	f := newStore(s.dialect, s.lock, s.now)
	f.read, f.write, f.node = s.read, s.write, s.node
	return f
}

// Count returns the number that a query returns.
func (s *Store) Count(ctx context.Context, text string, a ...any) (n int64, err error) {
	if err := s.read.db.QueryRowContext(ctx, text, a...).Scan(&n); err != nil {
		return 0, fmt.Errorf("%s: %w", text, err)
	}
	return n, nil
}

// Column returns the first column of a query's rows as strings.
func (s *Store) Column(ctx context.Context, text string, a ...any) (all []string, err error) {
	rows, err := s.read.db.QueryContext(ctx, text, a...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", text, err)
	}
	defer rows.Close()
	for rows.Next() {
		var one string
		if err := rows.Scan(&one); err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, rows.Err()
}

// Explain returns the plan of a statement, one element for each step.
func (s *Store) Explain(ctx context.Context, text string) (steps []string, err error) {
	values := make([]any, 99) // the driver needs one for each parameter
	for len(values) > 0 && !strings.Contains(text, fmt.Sprint("$", len(values))) {
		values = values[1:]
	}
	rows, err := s.read.db.QueryContext(ctx, `EXPLAIN QUERY PLAN `+text, values...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", text, err)
	}
	defer rows.Close()
	for rows.Next() {
		var id, parent, unused int
		var step string
		if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
			return nil, err
		}
		steps = append(steps, step)
	}
	return steps, rows.Err()
}

// Migrations are the files that create the schema.
var Migrations = migrations

// InOrder returns a list of tags sorted.
var InOrder = inOrder

// WriterPragma returns a setting of the writer's connection.
func (s *Store) WriterPragma(ctx context.Context, pragma string) (value string, err error) {
	err = s.write.do(ctx, func(t *tx) error { return t.row(t.ctx, `PRAGMA `+pragma, nil, &value) })
	return value, err
}

// Shelf is one cache.
type Shelf struct{ s shelf[string, int] }

// NewShelf returns a cache of at most maxEntries values.
func NewShelf(maxEntries int) *Shelf { return &Shelf{shelf[string, int]{max: maxEntries}} }

// NewWeighedShelf returns a cache of values that are their weights, of at most maxWeight together.
func NewWeighedShelf(maxWeight int) *Shelf {
	return &Shelf{shelf[string, int]{max: maxWeight, weigh: func(v int) int { return v }}}
}

// Cached returns the value of k on the shelf, or reads it and keeps it.
func (s *Shelf) Cached(k string, read func() (int, error)) (int, error) { return cached(&s.s, k, read) }

// Drop drops keys, or all values if there are none.
func (s *Shelf) Drop(keys ...string) { s.s.drop(keys...) }

// DropUnless drops a key if holds reports false for its value.
func (s *Shelf) DropUnless(k string, holds func(int) bool) { s.s.dropUnless(k, holds) }

// Len returns the number of values on the shelf.
func (s *Shelf) Len() int { return len(s.s.m) }

// ScopeText decodes the text of a scope, without its newline, and encodes it again.
func ScopeText(text string) string {
	return strings.TrimSuffix(scopesText(parseScopes(text+"\n")), "\n")
}

// The limits of the changes that are kept for other processes.
const (
	MaxGap      = maxGap
	KeptChanges = keptChanges
	PruneEvery  = pruneEvery
)

// Polls returns how often Refresh has read the database.
func (s *Store) Polls() int64 { return s.epochs.polls.Load() }

// PostgreSQL reports whether the store is in PostgreSQL.
func (s *Store) PostgreSQL() bool { return s.epochs != nil }

// ExplainPostgreSQL is the plan that a connection of the store keeps for a statement, one step in each element.
func (s *Store) ExplainPostgreSQL(ctx context.Context, text string) (steps []string, err error) {
	conn, err := s.read.db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, `PREPARE planned AS `+text); err != nil {
		return nil, err
	}
	defer conn.ExecContext(ctx, `DEALLOCATE planned`)
	values := 99
	for values > 0 && !strings.Contains(text, fmt.Sprint("$", values)) {
		values--
	}
	execute := `EXPLAIN EXECUTE planned`
	if values > 0 {
		execute += `(` + strings.Repeat(`, NULL`, values)[2:] + `)`
	}
	rows, err := conn.QueryContext(ctx, execute)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var step string
		if err := rows.Scan(&step); err != nil {
			return nil, err
		}
		steps = append(steps, step)
	}
	return steps, rows.Err()
}

// EntityColumnsOf are columns of a statement.
const EntityColumnsOf = entityColumnsOf

// CollectableRecordsOf is a statement.
const CollectableRecordsOf = collectableRecords

// Queue is the queue of the writer.
type Queue struct{ q *queue }

// NewQueue returns an empty queue.
func NewQueue() Queue { return Queue{newQueue()} }

// Add adds a write of a principal, and returns the function that withdraws it.
func (q Queue) Add(principal string, cost int) (withdraw func() bool) {
	w := &write{principal: principal, cost: cost}
	q.q.add(w)
	return func() bool { return q.q.withdraw(w) }
}

// Take returns the principals of the writes of the next group.
func (q Queue) Take() (principals []string) {
	for _, w := range q.q.take() {
		principals = append(principals, w.principal)
	}
	return principals
}

// Len returns the number of writes and of lanes.
func (q Queue) Len() (writes, lanes int) { return q.q.len(), len(q.q.lanes) }

// The limits of the queue.
const (
	MaxGroup     = maxGroup
	MaxGroupCost = maxGroupCost
	MaxLane      = maxLane
)

// ShrinkShelves leaves one place in memory for heads and bodies of manifests.
func (s *Store) ShrinkShelves() { s.cache.heads.max, s.cache.bodies.max = 1, 1 }

// Closing is closed when a store in SQLite begins to close.
func (s *Store) Closing() <-chan struct{} { return s.write.(*sqliteWriter).stop }

// LimitScans sets the limits of LifecycleImages: of images and tags, and of one page of rows.
func (s *Store) LimitScans(images, tags, page int) { s.scan = scanLimits{images, tags, page} }
