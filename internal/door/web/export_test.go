package web

import (
	"context"
	"time"
)

// SetIdleTimeout sets the time for which a client may send no bytes of a body.
func (s *Server) SetIdleTimeout(d time.Duration) { s.idleTimeout = d }

// SetSlowStart sets the time before a body received by Receive must keep its rate.
func (s *Server) SetSlowStart(d time.Duration) { s.slowStart = d }

// SetWriteTimeout sets the time for which a client may take no bytes of an answer.
func (s *Server) SetWriteTimeout(d time.Duration) { s.writeTimeout = d }

// Origin is origin.
var Origin = origin

// IdleAt reports whether a connection of this state, with bytes or requests that came or went age ago, may be closed for another.
func IdleAt(known bool, requests, waits int32, age time.Duration) bool {
	n, now := &connection{}, time.Now()
	n.known.Store(known)
	n.requests.Store(requests)
	n.waits.Store(waits)
	n.progress.Store(now.Add(-age).UnixNano())
	return n.idleAt(now)
}

// SetConnection sets whether a caller is known on the connection of a context, and how long it has done nothing.
func SetConnection(ctx context.Context, known bool, idle time.Duration) {
	n := ctx.Value(connectionKey{}).(*connection)
	n.known.Store(known)
	n.progress.Store(time.Now().Add(-idle).UnixNano())
}

// Fresh makes the next request for the metrics read them again.
func Fresh(m *Metrics) {
	m.textMu.Lock()
	defer m.textMu.Unlock()
	m.text = nil
}

// Waiting returns the number of requests that wait for a place.
func (p *Places) Waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.waiting)
}
