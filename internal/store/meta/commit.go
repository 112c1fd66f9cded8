package meta

import (
	"container/list"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"

	"github.com/ecrin-dev/ecrin/internal/rule/event"
	"github.com/ecrin-dev/ecrin/internal/store/audit"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// writer runs the changes of a Store, each in a transaction or as a part of one. Each database has its own
// implementation.
type writer interface {
	// do runs fn in a transaction and returns when its commit is durable and the caches have dropped what it made
	// stale. fn may run more than once. The writes of different principals take turns, see queue. If ctx ends before the
	// write is queued, do returns its error; a queued write is executed, so that its caller learns the outcome. After an
	// error of fn nothing of the change is stored.
	//
	// Errors: those of fn, fault.Unavailable, and errors of the database that have no code.
	do(ctx context.Context, fn func(*tx) error) error
	// doMany is do for a write with many statements. cost is their number, roughly: it limits what one commit contains.
	doMany(ctx context.Context, cost int, fn func(*tx) error) error
	// waiting returns the number of queued writes.
	waiting() int
	// close refuses new writes, finishes the queued ones and releases the connection.
	close() error
}

// grouper collects the queued writes and commits them together, so that N concurrent writers share one flush of the
// disk. Each write has its own savepoint: a refused write does not affect the others.
type grouper struct {
	// commit runs a group in one transaction. A refusal is stored in the err of its write; any other error undoes the
	// whole group and is returned. began is false if no write of the group was tried.
	commit func(group []*write) (began bool, err error)
	errors func(err error) error // adds a code to errors of the database

	queue *queue
	stop  chan struct{}
	done  chan struct{}
	once  sync.Once
}

// write is one queued change.
type write struct {
	fn        func(*tx) error
	cost      int           // number of statements, roughly
	principal string        // its lane in the queue, see laneOf
	behind    *list.Element // in the lane, until the write is queued
	line      *audit.Line   // audit line of the request, nil for none
	text      []byte        // text of line, made before the write is queued
	by        string        // ARN of the caller, for events; "" for none
	change    event.ID      // of the events of the write
	events    []event.Event // of the context, see WithEvents
	err       error
	done      chan struct{}
}

// laneOf returns the name of the lane in which the writes of a request wait, from its audit line. The requests without a
// principal share one lane. The server's own writes, which have no line, share another.
func laneOf(line *audit.Line) string {
	if line == nil {
		return "server"
	}
	return "principal " + line.Principal()
}

func newGrouper(commit func([]*write) (bool, error), errors func(error) error) *grouper {
	return &grouper{
		commit: commit, errors: errors,
		queue: newQueue(), stop: make(chan struct{}), done: make(chan struct{}),
	}
}

func (g *grouper) waiting() int { return g.queue.len() }

// end makes run finish the queued writes and return, and waits for it.
func (g *grouper) end() {
	g.once.Do(func() {
		g.queue.close() // first: otherwise run could go on for as long as new writes are queued
		close(g.stop)
	})
	<-g.done
}

func (g *grouper) do(ctx context.Context, fn func(*tx) error) error { return g.doMany(ctx, 1, fn) }

func (g *grouper) doMany(ctx context.Context, cost int, fn func(*tx) error) error {
	line := audit.LineOf(ctx)
	w := &write{fn: fn, cost: cost, principal: laneOf(line), line: line, done: make(chan struct{})}
	rand.Read(w.change[:])
	attached, events := eventsOf(ctx)
	w.events = events
	if w.line != nil {
		var err error
		w.by = line.ARN()
		if w.text, err = w.line.Render(); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if !g.queue.add(w) {
		return stopping()
	}
	select {
	case <-w.done:
	case <-ctx.Done():
		if g.queue.withdraw(w) {
			return context.Cause(ctx)
		}
		<-w.done
	case <-g.stop:
		if g.queue.withdraw(w) {
			return stopping()
		}
		<-w.done // the queued writes are finished
	}
	if w.err == nil {
		attached.stored()
	}
	return g.errors(w.err)
}

func stopping() error { return fault.Unavailable.New("the server is stopping") }

func (g *grouper) run() {
	defer close(g.done)
	for {
		if group := g.queue.take(); len(group) > 0 {
			g.finish(group)
			continue
		}
		select {
		case <-g.queue.wake:
		case <-g.stop:
			if g.queue.len() == 0 {
				return
			}
		}
	}
}

// finish commits the writes of a group together, and lets their callers return.
func (g *grouper) finish(group []*write) {
	switch began, err := g.commit(group); {
	case err == nil:
	case began && len(group) > 1:
		g.commitEach(group)
	default:
		fail(group, err)
	}
	for _, w := range group {
		close(w.done)
	}
}

// commitEach commits each write of a group in a transaction of its own, so that each has its own outcome. It is
// called after the commit of a whole group has failed: the database may have rolled back the transaction.
func (g *grouper) commitEach(group []*write) {
	for i := range group {
		one := group[i : i+1]
		began, err := g.commit(one)
		if !began {
			fail(group[i:], err) // the others would wait for the same error
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

// runGroup runs the writes of a group in a transaction that has begun. wrote is false if all were refused. After an
// error the whole transaction must be rolled back.
func (t *tx) runGroup(group []*write, refusal func(error) bool) (wrote bool, err error) {
	if t.bare {
		return t.runBareGroup(group, refusal)
	}
	for _, w := range group {
		if _, err := t.exec(`SAVEPOINT one`); err != nil {
			return wrote, err
		}
		before := t.outbox
		w.err = t.run(w)
		switch {
		case w.err == nil:
			wrote = true
			_, err = t.exec(`RELEASE one`)
		case refusal(w.err):
			t.outbox = before
			if _, err = t.exec(`ROLLBACK TO one`); err == nil {
				_, err = t.exec(`RELEASE one`)
			}
		default:
			err = w.err
		}
		if err != nil {
			return wrote, err
		}
	}
	return wrote, nil
}

// errNeedsSavepoint is the error of a group that runs without savepoints and of which one write must be undone.
var errNeedsSavepoint = errors.New("a write was refused after it had changed something")

// runBareGroup is runGroup without savepoints, each of which would cost two round trips. Most refusals come before
// the write has changed anything, so nothing must be undone; after a later refusal the group runs again with
// savepoints.
func (t *tx) runBareGroup(group []*write, refusal func(error) bool) (wrote bool, err error) {
	for _, w := range group {
		before, changes := t.outbox, t.changes
		w.err = t.run(w)
		switch {
		case w.err == nil:
			wrote = true
		case !refusal(w.err):
			return wrote, w.err
		case t.changes != changes && len(group) > 1:
			return wrote, errNeedsSavepoint
		default:
			t.outbox = before
		}
	}
	return wrote, nil
}

// run calls the function of a write. A panic in it becomes an error: otherwise it would end the writer in the middle
// of a transaction.
func (t *tx) run(w *write) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in a transaction: %v", p)
		}
	}()
	t.texts = nil
	t.by, t.change, t.events = w.by, w.change, 0
	first := len(t.scopes)
	if err := w.fn(t); err != nil {
		return err
	}
	if err := t.event(w.events...); err != nil {
		return err
	}
	if inspect != nil {
		if err := inspect(t.texts, t.scopes[first:]); err != nil {
			return err
		}
	}
	t.emitLine(w)
	return nil
}

// inspect, if set, is called with the statements of every write that changed rows, and the scopes that the write
// touched. Its error fails the write. The tests of this package set it, to find changes of cached values without
// their scope.
var inspect func(texts []string, scopes []scope) error
