package upstream

import (
	"context"
	"sync"
)

// places limits the requests to each host. The zero value with max is ready for use.
type places struct {
	max   int
	mu    sync.Mutex
	hosts map[string]*hostPlaces // those that have users
}

type hostPlaces struct {
	free  chan struct{}
	users int // that have a place or wait for one
}

// take waits for a place. release gives it back and may be called more than once.
func (p *places) take(ctx context.Context, host string) (release func(), err error) {
	p.mu.Lock()
	h := p.hosts[host]
	if h == nil {
		if p.hosts == nil {
			p.hosts = map[string]*hostPlaces{}
		}
		h = &hostPlaces{free: make(chan struct{}, p.max)}
		p.hosts[host] = h
	}
	h.users++
	p.mu.Unlock()
	leave := func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if h.users--; h.users == 0 {
			delete(p.hosts, host)
		}
	}
	select {
	case h.free <- struct{}{}:
		return sync.OnceFunc(func() {
			<-h.free
			leave()
		}), nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
