package web

import (
	"net"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/durable"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// FaultOf returns the error that a door answers for err: as of fault.From, and fault.Unavailable where the process or the machine has
// no free file descriptor, since a later attempt may succeed.
func FaultOf(err error) *fault.Error {
	f := fault.From(err)
	if f != nil && f.Code == fault.Internal && durable.IsOutOfFiles(err) {
		return fault.Unavailable.New("the server has no free file descriptor now").Because(err)
	}
	return f
}

// outOfFiles counts that there was no file descriptor for what was being done, and logs it.
func (m *Metrics) outOfFiles(log *occasionalLog, doing string, err error) {
	m.filesShort.Inc()
	log.warn("no free file descriptor: raise the limit of the process (ulimit -n, LimitNOFILE)", "doing", doing, "error", err)
}

// Listener returns l with what the server does when it cannot accept a connection for want of a file descriptor: it is counted and
// logged, and idle connections of unknown callers are closed. The connections themselves are those of l.
func (c *Connections) Listener(l net.Listener) net.Listener { return &listener{l, c} }

type listener struct {
	net.Listener
	connections *Connections
}

func (l *listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if durable.IsOutOfFiles(err) {
		l.connections.metrics.outOfFiles(l.connections.log, "accepting a connection", err)
		l.connections.shrink()
	}
	return conn, err // package http tries again after a pause
}

// minShrunk is how long a connection that shrink closes has done nothing.
const minShrunk = time.Second

// shrink closes some connections that do nothing.
func (c *Connections) shrink() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	// Those that have just come are about to send a request.
	c.evict(nil, len(c.all), func(o *connection) bool { return now.Sub(time.Unix(0, o.progress.Load())) > minShrunk })
}
