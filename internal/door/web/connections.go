package web

import (
	"cmp"
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
)

// ConnectionLimits are how many connections a server has at once.
type ConnectionLimits struct {
	Max           int // in all
	MaxPerAddress int // of one client address; addresses in Proxies have no limit of their own
	// MaxIdle is how many connections may be idle of those on which no caller has been authenticated.
	MaxIdle int
	Proxies []netip.Prefix
}

// Connections counts the connections of a server and keeps them within limits. When a limit is reached, connections that do nothing
// are closed for a new one; only if there are none is the new one closed. It is safe for concurrent use.
type Connections struct {
	limits  ConnectionLimits
	log     *occasionalLog
	metrics *Metrics

	mu        sync.Mutex
	all       map[net.Conn]*connection
	byAddress map[netip.Addr]int
	unchecked int // connections since MaxIdle was checked
}

// connection is what is known of one connection.
type connection struct {
	conn     net.Conn
	address  netip.Addr   // invalid for one without a limit by address
	requests atomic.Int32 // being answered
	waits    atomic.Int32 // reads and writes that wait for the client
	known    atomic.Bool  // a caller has been authenticated on it
	progress atomic.Int64 // Unix time in nanoseconds when bytes or requests came or went last
	closed   bool         // by Connections; guarded by Connections.mu
}

// NewConnections returns the connections of one server. Their methods State and Context are fields of its http.Server.
func NewConnections(l ConnectionLimits, m *Metrics, log *slog.Logger) *Connections {
	return &Connections{limits: l, log: newOccasionalLog(log), metrics: m, all: map[net.Conn]*connection{}, byAddress: map[netip.Addr]int{}}
}

type connectionKey struct{}

// Context is http.Server.ConnContext: it counts a new connection.
func (c *Connections) Context(ctx context.Context, conn net.Conn) context.Context {
	n := &connection{conn: conn}
	n.touch()
	if peer, err := netip.ParseAddrPort(conn.RemoteAddr().String()); err == nil {
		if a := peer.Addr().Unmap().WithZone(""); !within(a, c.limits.Proxies) {
			n.address = a
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all[conn] = n
	if n.address.IsValid() {
		c.byAddress[n.address]++
	}
	c.metrics.connections.Set(float64(len(c.all)))
	if !c.admit(n) {
		c.close(n)
		c.metrics.refused.Inc()
		c.log.warn("too many connections: a new one was closed", "remote", conn.RemoteAddr().String(), "connections", len(c.all))
	}
	return context.WithValue(ctx, connectionKey{}, n)
}

// State is http.Server.ConnState: it forgets a connection that has ended.
func (c *Connections) State(conn net.Conn, state http.ConnState) {
	if state != http.StateClosed && state != http.StateHijacked {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.all[conn]
	if n == nil {
		return
	}
	delete(c.all, conn)
	if n.address.IsValid() {
		if c.byAddress[n.address]--; c.byAddress[n.address] == 0 {
			delete(c.byAddress, n.address)
		}
	}
	c.metrics.connections.Set(float64(len(c.all)))
}

// admit makes room for a new connection, which is counted already, and reports whether there is some. c.mu is held.
func (c *Connections) admit(n *connection) bool {
	if n.address.IsValid() && c.byAddress[n.address] > c.limits.MaxPerAddress &&
		!c.evict(n, c.limits.MaxPerAddress, func(o *connection) bool { return o.address == n.address }) {
		return false
	}
	if len(c.all) > c.limits.Max && !c.evict(n, c.limits.Max, func(*connection) bool { return true }) {
		return false
	}
	// Counting takes a look at all of them, so it is not done for each.
	if c.unchecked++; c.unchecked > c.limits.MaxIdle/32 {
		c.unchecked = 0
		idle := 0
		for _, o := range c.all {
			if o.stranger() {
				idle++
			}
		}
		if idle > c.limits.MaxIdle {
			c.evict(n, c.limits.MaxIdle, (*connection).stranger)
		}
	}
	return true
}

// How long a connection has done nothing when it may be closed for another. One of an unknown caller may be closed at once between
// requests, or before the first.
const (
	minStalled      = 100 * time.Millisecond // while the server waits for bytes of an unknown client, or for it to take some
	minStalledKnown = 5 * time.Second        // the same of a known one
	minKnown        = 10 * time.Second       // between requests of a known caller
)

// idleAt reports whether the connection may be closed for another. While the server works on a request of it, it is not.
func (n *connection) idleAt(now time.Time) bool {
	age := now.Sub(time.Unix(0, n.progress.Load()))
	switch known, busy, waits := n.known.Load(), n.requests.Load() > 0, n.waits.Load() > 0; {
	case busy && known:
		return waits && age > minStalledKnown
	case busy:
		return waits && age > minStalled
	case known:
		return age > minKnown
	}
	return true
}

// evict closes connections that match and do nothing, a few more than one so that the next ones find room, those of unknown
// callers first and the ones that have done nothing for longest. It reports whether there was any. c.mu is held.
func (c *Connections) evict(newest *connection, limit int, match func(*connection) bool) bool {
	now := time.Now()
	var idle []*connection
	for _, o := range c.all {
		if o != newest && !o.closed && match(o) && o.idleAt(now) {
			idle = append(idle, o)
		}
	}
	slices.SortFunc(idle, func(a, b *connection) int {
		if a, b := a.known.Load(), b.known.Load(); a != b {
			if a {
				return 1
			}
			return -1
		}
		return cmp.Compare(a.progress.Load(), b.progress.Load())
	})
	n := min(len(idle), 1+limit/64)
	for _, o := range idle[:n] {
		c.close(o)
	}
	if n > 0 {
		c.metrics.evicted.Add(float64(n))
		c.log.warn("too many connections: idle ones were closed", "closed", n, "connections", len(c.all))
	}
	return n > 0
}

// close ends a connection. It stays counted until State forgets it. c.mu is held.
func (c *Connections) close(n *connection) {
	n.closed = true
	conn := n.conn
	if secured, ok := conn.(*tls.Conn); ok {
		conn = secured.NetConn() // without the goodbye of TLS, which waits for the client
	}
	_ = conn.Close()
}

// stranger reports whether the connection is idle and no caller has been authenticated on it.
func (n *connection) stranger() bool { return n.requests.Load() == 0 && !n.known.Load() }

func (n *connection) touch() {
	if n != nil {
		n.progress.Store(time.Now().UnixNano())
	}
}

// wait counts the reads and writes that wait for the client: 1 when one begins, -1 when it ends.
func (n *connection) wait(count int32) {
	if n != nil {
		n.waits.Add(count)
	}
}

// begin says that a request of the connection begins; end, that it ends.
func (n *connection) begin() {
	if n != nil {
		n.requests.Add(1)
		n.touch()
	}
}

func (n *connection) end() {
	if n != nil {
		n.touch()
		n.requests.Add(-1)
	}
}

// Identify sets the caller of the request, who has been authenticated. The connection counts as that of a known caller from now on.
func (ev *Event) Identify(c identity.Caller) {
	ev.Caller = c
	if ev.conn != nil && c.Kind != identity.NoPrincipal && c.Kind != identity.Anonymous {
		ev.conn.known.Store(true)
	}
}

// connectionOf returns the connection of a request, nil for one of a server without Connections.
func connectionOf(r *http.Request) *connection {
	n, _ := r.Context().Value(connectionKey{}).(*connection)
	return n
}

// occasionalLog writes a line at most once a second; it says how many were left out.
type occasionalLog struct {
	log *slog.Logger

	mu   sync.Mutex
	last time.Time
	left int
}

func newOccasionalLog(log *slog.Logger) *occasionalLog { return &occasionalLog{log: log} }

func (l *occasionalLog) warn(text string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.last) < time.Second {
		l.left++
		return
	}
	if l.left > 0 {
		args = append(args, "left_out", l.left)
	}
	l.last, l.left = time.Now(), 0
	l.log.Warn(text, args...)
}
