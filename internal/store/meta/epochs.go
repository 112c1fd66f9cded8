package meta

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// Refresh brings the caches of this process up to date with the changes of other processes. It is called once, at the
// start of each request; after it, cached reads return what the database contained when Refresh was called, or newer.
// Concurrent calls share a read of the database that begins after each of them was made. With SQLite, whose database
// has no other process, it does nothing.
//
// Errors: fault.Unavailable (the database cannot be read: the caches may be stale, and the request must not be
// served); the error of ctx.
func (s *Store) Refresh(ctx context.Context) error {
	if s.epochs == nil {
		return nil
	}
	return s.epochs.refresh(ctx)
}

// follower drops from the caches of this process what other processes have changed. Safe for concurrent use.
type follower struct {
	drop func([]scope)

	reading sync.Mutex // held by the poll that uses link
	link    *link
	polls   atomic.Int64 // number of polls so far

	mu      sync.Mutex
	seen    int64 // the scopes of all changes up to this one have been dropped
	running *poll // the poll that reads now or is about to
	next    *poll // the poll that begins when running has ended; later callers wait for it
}

// poll is one read of the counter, for all calls of refresh that were made before it began.
type poll struct {
	done chan struct{}
	err  error
}

// maxGap limits how many changes are read one by one; a process that has missed more drops everything.
const maxGap = 1000

// newFollower starts at the current number of the database: the caches are empty.
func newFollower(l *link, drop func([]scope)) (*follower, error) {
	f := &follower{link: l, drop: drop}
	if err := f.read(); err != nil {
		return nil, fmt.Errorf("reading the number of the last change: %w", err)
	}
	return f, nil
}

func (f *follower) refresh(ctx context.Context) error {
	f.mu.Lock()
	if f.running == nil {
		l := &poll{done: make(chan struct{})}
		f.running = l
		f.mu.Unlock()
		return f.run(l)
	}
	before, l, first := f.running, f.next, f.next == nil
	if first {
		l = &poll{done: make(chan struct{})}
		f.next = l
	}
	f.mu.Unlock()
	if first { // the first caller runs the poll for the later ones, so it does not return when its ctx ends
		<-before.done
		return f.run(l)
	}
	select {
	case <-l.done:
		return l.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// run reads for all callers that wait for the poll. Calls of refresh that are made from now on wait for the next
// poll.
func (f *follower) run(l *poll) error {
	if err := f.read(); err != nil {
		text := unavailable(err)
		if text == "" {
			text = "the database cannot be read"
		}
		l.err = fault.Unavailable.New("%s", text).Because(err)
	}
	f.mu.Lock()
	f.running, f.next = f.next, nil
	f.mu.Unlock()
	close(l.done)
	return l.err
}

// read reads the number of the last change and, if it has changed, what the changes since then made stale.
func (f *follower) read() error {
	f.reading.Lock()
	defer f.reading.Unlock()
	f.polls.Add(1)
	err := f.step()
	if err != nil && f.link.broken(err) {
		f.link.drop()
		// The server may have restarted: try once more, unless it took too long.
		if !errors.Is(err, errNotDue) && !hung(err) {
			err = f.step()
		}
	}
	return err
}

func (f *follower) step() error {
	fresh, err := f.link.connect()
	if err != nil {
		return err
	}
	f.mu.Lock()
	from := f.seen
	f.mu.Unlock()
	ctx := context.Background()
	var number int64
	if err := f.link.stmts.row(ctx, `SELECT number FROM epochs WHERE id = 1`, nil, &number); err != nil {
		return err
	}
	switch {
	case fresh, number < from: // this may be another server, without all changes of the previous one
		f.drop([]scope{{kind: scopeEverything}})
		f.mu.Lock()
		f.seen = number
		f.mu.Unlock()
		return nil
	case number == from:
		return nil
	}
	scopes, to := []scope{{kind: scopeEverything}}, number
	if number-from <= maxGap {
		last, gap := from, false
		var all []scope
		err := f.link.stmts.rows(ctx, `SELECT number, scopes FROM changes WHERE number > $1 ORDER BY number`, args{from},
			func(scan func(...any) error) error {
				var n int64
				var text string
				err := scan(&n, &text)
				gap = gap || n != last+1
				last = n
				all = append(all, parseScopes(text)...)
				return err
			})
		if err != nil {
			return err
		}
		if !gap && last >= number {
			scopes, to = all, last
		}
	}
	f.drop(scopes)
	f.mu.Lock()
	f.seen = max(f.seen, to)
	f.mu.Unlock()
	return nil
}

// committed drops what a change of this process made stale. seen becomes number if all earlier changes have been
// dropped.
func (f *follower) committed(number int64, scopes []scope) {
	f.drop(scopes)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.seen == number-1 {
		f.seen = number
	}
}

func (f *follower) close() error {
	f.reading.Lock()
	defer f.reading.Unlock()
	return f.link.close()
}
