package web

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// Places is a number of places for requests that need much memory. They are shared fairly by key: a place that becomes free goes to
// the key that holds the fewest, so a key gets a second place only while no other waits for its first. It is safe for concurrent
// use.
type Places struct {
	maxWaiting int           // requests of one key
	patience   time.Duration // of one request

	mu      sync.Mutex
	free    int
	held    map[string]int
	waiting []*waiter // in the order of their arrival
}

type waiter struct {
	key string
	got chan struct{} // closed when the waiter has a place
}

// NewPlaces returns n places. Of each key up to maxWaiting requests wait for one, each up to patience.
func NewPlaces(n, maxWaiting int, patience time.Duration) *Places {
	return &Places{free: n, maxWaiting: maxWaiting, patience: patience, held: map[string]int{}}
}

// MaxSmallManifest is how many bytes a pushed manifest may have that needs none of the places of ManifestPlaces. It has 400 layers.
const MaxSmallManifest = 64 << 10

const (
	maxManifestsWaiting = 64 // of one principal
	maxManifestWait     = 30 * time.Second
)

// ManifestPlaces returns places for large manifests that are pushed by any door: each is in memory and is parsed, checked and stored
// while it has one. Parsing one of 1.6 MB takes 50 ms and 30 MB, so half of the processors, at least one, may be busy with them.
func ManifestPlaces() *Places {
	return NewPlaces(max(1, runtime.GOMAXPROCS(0)/2), maxManifestsWaiting, maxManifestWait)
}

// Load waits for a place, and returns the bytes of a body whose sender is known by key. leave, to be called once, gives the place back.
//
// Errors: those of Enter; fault.Unavailable also if the body was given up for others while it waited.
func (p *Places) Load(ctx context.Context, b *Body, key string) (all []byte, leave func(), err error) {
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := b.Await(cancel); err != nil {
		return nil, nil, err
	}
	leave, err = p.Enter(waiting, key)
	if err != nil && waiting.Err() != nil && ctx.Err() == nil {
		err = fault.Unavailable.New("the server is busy with other large requests").Because(err)
	}
	if err != nil {
		return nil, nil, err
	}
	if all, err = b.Bytes(); err != nil {
		leave()
		return nil, nil, err
	}
	return all, leave, nil
}

// Enter waits for a place and takes it; leave, to be called once, gives it back.
//
// Errors: fault.Throttled (too many requests of the key wait), fault.Unavailable (patience is over), fault.RequestTimeout (ctx ended).
func (p *Places) Enter(ctx context.Context, key string) (leave func(), err error) {
	w, err := p.queue(key)
	if err != nil {
		return nil, err
	}
	timer := time.NewTimer(p.patience)
	defer timer.Stop()
	select {
	case <-w.got:
		return func() { p.leave(key) }, nil
	case <-timer.C:
		err = fault.Unavailable.New("the server is busy with other large requests")
	case <-ctx.Done():
		err = fault.RequestTimeout.New("the request was ended while it waited").Because(context.Cause(ctx))
	}
	if !p.quit(w) { // the place came at the same moment
		p.leave(key)
	}
	return nil, err
}

func (p *Places) queue(key string) (*waiter, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, w := range p.waiting {
		if w.key == key {
			n++
		}
	}
	if n >= p.maxWaiting {
		return nil, fault.Throttled.New("Rate exceeded")
	}
	w := &waiter{key: key, got: make(chan struct{})}
	p.waiting = append(p.waiting, w)
	p.give()
	return w, nil
}

// give hands out the free places. p.mu is held.
func (p *Places) give() {
	for ; p.free > 0 && len(p.waiting) > 0; p.free-- {
		best := 0
		for i, w := range p.waiting {
			if p.held[w.key] < p.held[p.waiting[best].key] {
				best = i
			}
		}
		w := p.waiting[best]
		p.waiting = slices.Delete(p.waiting, best, best+1)
		p.held[w.key]++
		close(w.got)
	}
}

func (p *Places) leave(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held[key]--; p.held[key] == 0 {
		delete(p.held, key)
	}
	p.free++
	p.give()
}

// quit takes a waiter out of the queue and reports whether it was still there.
func (p *Places) quit(w *waiter) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.Index(p.waiting, w)
	if i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
	}
	return i >= 0
}
