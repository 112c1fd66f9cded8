package registry

import (
	"context"
	"sync"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// lanes lets one call of each account in at a time. The zero value is ready.
type lanes struct {
	mu  sync.Mutex
	all map[name.Account]*lane
}

type lane struct {
	place chan struct{}
	calls int // that are in or wait
}

// enter waits until no other call of the account is in; leave lets the next one in.
//
// Errors: that of ctx.
func (l *lanes) enter(ctx context.Context, a name.Account) (leave func(), err error) {
	l.mu.Lock()
	own := l.all[a]
	if own == nil {
		own = &lane{place: make(chan struct{}, 1)}
		if l.all == nil {
			l.all = map[name.Account]*lane{}
		}
		l.all[a] = own
	}
	own.calls++
	l.mu.Unlock()
	gone := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if own.calls--; own.calls == 0 {
			delete(l.all, a)
		}
	}
	select {
	case own.place <- struct{}{}:
		return func() { <-own.place; gone() }, nil
	case <-ctx.Done():
		gone()
		return nil, context.Cause(ctx)
	}
}
