package meta

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/ecrin-dev/ecrin/internal/store/audit"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// writer runs the changes of a Store, each in a transaction or as a part of one. It has a form for each database.
type writer interface {
	// do runs fn in a transaction and returns when its commit is durable and the caches have dropped what it made stale. fn
	// may run more than once. If ctx ends before the write is queued, do returns its error; a write that is queued is
	// carried out, so that its caller knows the outcome. Errors: those of fn, fault.Unavailable, and errors of the database
	// that have no code. After an error of fn nothing of the change is stored.
	do(ctx context.Context, fn func(*tx) error) error
	// waiting is how many writes are queued.
	waiting() int
	// close refuses new writes, finishes those that are queued and releases the connection.
	close() error
}

// grouper collects the writes that wait and has them committed together, so that N concurrent writers share one wait for
// the disk. Each write has its own savepoint: one that is refused leaves the others alone.
type grouper struct {
	// commit runs a group in one transaction. A refusal is the write's own and stands in its err; any other error undoes all
	// and is returned. began is false when no write of the group was tried.
	commit func(group []*write) (began bool, err error)
	errors func(err error) error // gives errors of the database their code

	queue chan *write
	stop  chan struct{}
	done  chan struct{}
	once  sync.Once
}

// write is one queued change.
type write struct {
	fn   func(*tx) error
	line *audit.Line // of the request, nil without
	text []byte      // of line, made before the write was queued
	err  error
	done chan struct{}
}

// maxGroup bounds the work of one commit, and with it the wait of the first writer in it.
const maxGroup = 128

func newGrouper(commit func([]*write) (bool, error), errors func(error) error) *grouper {
	return &grouper{
		commit: commit, errors: errors,
		queue: make(chan *write, maxGroup), stop: make(chan struct{}), done: make(chan struct{}),
	}
}

func (g *grouper) waiting() int { return len(g.queue) }

// end lets run finish what is queued, and waits for it.
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
	case <-g.stop: // asked alone first, so that close does not go on for as long as writers come
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
		case <-w.done: // it was in the last group
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

// group collects what is queued, commits it together, and lets the callers return.
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
		g.alone(group)
	default:
		fail(group, err)
	}
	for _, w := range group {
		close(w.done)
	}
}

// alone commits each write of a group by itself. It follows the failure of a whole group: the database may have ended its
// transaction on its own, so that nothing of it is stored; now each write has its own outcome.
func (g *grouper) alone(group []*write) {
	for i := range group {
		one := group[i : i+1]
		began, err := g.commit(one)
		if !began {
			fail(group[i:], err) // the others would only wait for the same answer
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

// body runs the writes of a group in the transaction that has begun. wrote is false when all were refused. After an error
// the whole transaction is to be rolled back.
func (t *tx) body(group []*write, refusal func(error) bool) (wrote bool, err error) {
	if t.bare {
		return t.bareBody(group, refusal)
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

// errWantsSavepoint is the failure of a group without savepoints of which one write is to be undone.
var errWantsSavepoint = errors.New("a write was refused after it had changed something")

// bareBody is body without savepoints, each of which would cost two round trips. Most refusals come before the write has changed
// anything, so that there is nothing to undo; one that comes later makes the group run again with savepoints.
func (t *tx) bareBody(group []*write, refusal func(error) bool) (wrote bool, err error) {
	for _, w := range group {
		before, changes := t.outbox, t.changes
		w.err = t.run(w)
		switch {
		case w.err == nil:
			wrote = true
		case !refusal(w.err):
			return wrote, w.err
		case t.changes != changes && len(group) > 1:
			return wrote, errWantsSavepoint
		default:
			t.outbox = before
		}
	}
	return wrote, nil
}

// run calls the function of a write. It keeps a programmer's mistake in one write from ending the writer with a half-made
// transaction.
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
	t.carry(w)
	return nil
}

// inspect, when it is set, sees the statements of every write that changed rows, and what the write named stale. An error
// fails the write. The tests of this package set it, so that no change of what is cached can forget its scope.
var inspect func(texts []string, scopes []scope) error
