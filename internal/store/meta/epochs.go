package meta

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// Refresh lets the caches of this process see what other processes have changed. It is called once, at the start of each request;
// after it, cached reads answer what the database had when Refresh was called, or newer. Requests at the same time share a
// read of the database, which begins after each of them has called. With SQLite, which has no other process, it does nothing.
// Errors: fault.Unavailable, when the database cannot be read: then the caches cannot be trusted, and the request is not to be
// served; the error of ctx.
func (s *Store) Refresh(ctx context.Context) error {
	if s.epochs == nil {
		return nil
	}
	return s.epochs.refresh(ctx)
}

// follower keeps the caches of a process in step with the database. Safe for concurrent use.
type follower struct {
	drop func([]scope)

	reading sync.Mutex // held by the look that uses link
	link    *link
	looks   atomic.Int64 // how many there were

	mu      sync.Mutex
	seen    int64 // the scopes of all changes up to this one have been dropped
	running *look // that reads now, or is the next to do so
	next    *look // that begins when running has ended; later callers wait for it
}

// look is one read of the counter, for all who called before it began.
type look struct {
	done chan struct{}
	err  error
}

// maxGap is how many changes are read one by one; a process that is behind by more drops everything.
const maxGap = 1000

// newFollower begins at the present: the caches are empty.
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
		l := &look{done: make(chan struct{})}
		f.running = l
		f.mu.Unlock()
		return f.run(l)
	}
	before, l, first := f.running, f.next, f.next == nil
	if first {
		l = &look{done: make(chan struct{})}
		f.next = l
	}
	f.mu.Unlock()
	if first { // whoever comes first runs it for the others too, and so does not leave early
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

// run reads for all who wait for the look. Who calls refresh from now on waits for the one after it.
func (f *follower) run(l *look) error {
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

// read asks for the number of the last change, and when it has moved for what the changes since made stale.
func (f *follower) read() error {
	f.reading.Lock()
	defer f.reading.Unlock()
	f.looks.Add(1)
	err := f.step()
	if err != nil && f.link.broken(err) {
		f.link.drop()
		// The server may have restarted: one more attempt, unless it only takes too long.
		if !errors.Is(err, errAway) && !hung(err) {
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
	case fresh, number < from: // another server may answer now, which has not all that the one before had
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
		err := f.link.stmts.rows(ctx, `SELECT number, scopes FROM changes WHERE number > $1 ORDER BY number`, args{from}, func(scan func(...any) error) error {
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

// committed drops what a change of this process made stale. The number is noted when all before it have been.
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
