package meta

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/ecrin-dev/ecrin/internal/store/audit"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// writer runs the changes of a Store, each in a transaction or as a part of one. Each database has its own
// implementation.
type writer interface {
	// do runs fn in a transaction and returns when its commit is durable and the caches have dropped what it made
	// stale. fn may run more than once. If ctx ends before the write is queued, do returns its error; a queued write
	// is executed, so that its caller learns the outcome. After an error of fn nothing of the change is stored.
	//
	// Errors: those of fn, fault.Unavailable, and errors of the database that have no code.
	do(ctx context.Context, fn func(*tx) error) error
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

	queue chan *write
	stop  chan struct{}
	done  chan struct{}
	once  sync.Once
}

// write is one queued change.
type write struct {
	fn   func(*tx) error
	line *audit.Line // audit line of the request, nil for none
	text []byte      // text of line, made before the write is queued
	err  error
	done chan struct{}
}

// maxGroup limits the writes of one commit, and so the time that the first of them waits.
const maxGroup = 128

func newGrouper(commit func([]*write) (bool, error), errors func(error) error) *grouper {
	return &grouper{
		commit: commit, errors: errors,
		queue: make(chan *write, maxGroup), stop: make(chan struct{}), done: make(chan struct{}),
	}
}

func (g *grouper) waiting() int { return len(g.queue) }

// end makes run finish the queued writes and return, and waits for it.
func (g *grouper) end() {
	g.once.Do(func() { close(g.stop) })
	<-g.done
}

func (g *grouper) do(ctx context.Context, fn func(*tx) error) error {
	w := &write{fn: fn, line: audit.LineOf(ctx), done: make(chan struct{})}
	if w.line != nil {
		var err error
		if w.text, err = w.line.Render(); err != nil {
			return err
		}
	}
	select {
	case <-g.stop: // checked first: otherwise close could wait for as long as new writes are queued
		return stopping()
	default:
	}
	select {
	case g.queue <- w:
	case <-g.stop:
		return stopping()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case <-w.done:
		return g.errors(w.err)
	case <-g.done:
		select {
		case <-w.done: // the write was in the last group
			return g.errors(w.err)
		default:
			return stopping()
		}
	}
}

func stopping() error { return fault.Unavailable.New("the server is stopping") }

func (g *grouper) run() {
	defer close(g.done)
	for {
		select {
		case w := <-g.queue:
			g.group(w)
		case <-g.stop:
			for {
				select {
				case w := <-g.queue:
					g.group(w)
				default:
					return
				}
			}
		}
	}
}

// group takes the queued writes, at most maxGroup with first, commits them together, and lets their callers return.
func (g *grouper) group(first *write) {
	group := []*write{first}
	for len(group) < maxGroup {
		select {
		case w := <-g.queue:
			group = append(group, w)
			continue
		default:
		}
		break
	}
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
	first := len(t.scopes)
	if err := w.fn(t); err != nil {
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
