package registry

import (
	"context"
	"sync"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// landing keeps the bytes of a blob from being deleted between the moment when a push has stored them and the moment when a
// repository holds them. Any number of pushes can land one digest at a time; a collection has it alone. The zero value is ready.
// It is in memory, which suffices because one process has a blob directory.
type landing struct {
	mu   sync.Mutex
	held map[name.Digest]*landed
	// waits is called before a push waits for freed, and what it returns after that. Tests of calls that overlap set it; nil for none.
	waits func(ctx context.Context, freed <-chan struct{}) (waited func())
}

// landed is a digest in use.
type landed struct {
	pushes int           // that land the digest
	freed  chan struct{} // closed when the collection that has the digest releases it; nil while pushes have it
}

// enter begins a push of the digest; leave ends it. It waits while a collection has the digest.
//
// Errors: that of ctx.
func (l *landing) enter(ctx context.Context, d name.Digest) error {
	for {
		l.mu.Lock()
		one := l.held[d]
		if one == nil {
			one = &landed{}
			l.set(d, one)
		}
		if one.freed == nil {
			one.pushes++
			l.mu.Unlock()
			return nil
		}
		l.mu.Unlock()
		if l.waits != nil {
			waited := l.waits(ctx, one.freed)
			<-one.freed
			waited()
			continue
		}
		select {
		case <-one.freed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (l *landing) leave(d name.Digest) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if one := l.held[d]; one.pushes > 1 {
		one.pushes--
	} else {
		delete(l.held, d)
	}
}

// seize takes the digest for a collection, and reports whether no push and no other collection has it; free gives it back.
func (l *landing) seize(d name.Digest) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held[d] != nil {
		return false
	}
	l.set(d, &landed{freed: make(chan struct{})})
	return true
}

func (l *landing) free(d name.Digest) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.held[d].freed)
	delete(l.held, d)
}

func (l *landing) set(d name.Digest, one *landed) {
	if l.held == nil {
		l.held = map[name.Digest]*landed{}
	}
	l.held[d] = one
}
