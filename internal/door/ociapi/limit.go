package ociapi

import (
	"sync"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// uploadsPerPrincipal is how many bodies one principal may be sending at once: each costs buffers and a file. All sessions of
// a role are one principal.
const uploadsPerPrincipal = 256

// limiter counts what each principal has under way.
type limiter struct {
	max int // for one principal
	mu  sync.Mutex
	now map[string]int
}

// enter takes a place of a principal, see identity.Caller.LimitKey; release gives it back. Errors: fault.Throttled.
func (l *limiter) enter(principal string) (release func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now[principal] >= l.max {
		return nil, fault.Throttled.New("Rate exceeded")
	}
	if l.now == nil {
		l.now = map[string]int{}
	}
	l.now[principal]++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.now[principal]--; l.now[principal] == 0 {
			delete(l.now, principal)
		}
	}, nil
}
