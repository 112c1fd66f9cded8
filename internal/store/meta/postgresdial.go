package meta

import (
	"context"
	"database/sql/driver"
	"errors"
	"math/rand/v2"
	"sync"
	"time"
)

// dialer makes the connections of a pool. After a failed attempt the next is made only after a pause, which grows up
// to maxPause and is partly random, and then attempts are made one at a time: a server that has restarted does not
// get all connections at once. Errors do not contain the password. Safe for concurrent use.
type dialer struct {
	driver.Connector
	password string

	mu     sync.Mutex
	failed error // of the last attempt, nil when it succeeded
	trying bool  // an attempt is in progress
	pause  time.Duration
	next   time.Time // the earliest time of the next attempt after a failed one
}

const (
	minPause = 50 * time.Millisecond
	maxPause = time.Second
)

// errNotDue is the error while no attempt to connect is due.
var errNotDue = errors.New("the last attempt to connect failed, and the next is not due yet")

// Connect makes a connection. If no attempt is due, it returns errNotDue at once.
func (d *dialer) Connect(ctx context.Context) (driver.Conn, error) {
	d.mu.Lock()
	if d.failed != nil && (d.trying || time.Now().Before(d.next)) {
		defer d.mu.Unlock()
		return nil, errors.Join(errNotDue, d.failed)
	}
	d.trying = true
	d.mu.Unlock()
	c, err := d.Connector.Connect(ctx)
	err = scrub(err, d.password)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.trying, d.failed = false, err
	if err == nil {
		d.pause = 0
		return c, nil
	}
	d.pause = min(max(2*d.pause, minPause), maxPause)
	d.next = time.Now().Add(d.pause/2 + rand.N(d.pause/2))
	return nil, err
}

// due returns the time of the next attempt, zero if the last one succeeded.
func (d *dialer) due() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failed == nil {
		return time.Time{}
	}
	return d.next
}
