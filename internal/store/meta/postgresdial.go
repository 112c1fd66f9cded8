package meta

import (
	"context"
	"database/sql/driver"
	"errors"
	"math/rand/v2"
	"sync"
	"time"
)

// dialer makes the connections of a pool. After an attempt that failed the next is not made before a pause, which grows up to a
// second and differs from process to process, and then one at a time: a server that comes back is not met by all at once.
// Errors do not contain the password. Safe for concurrent use.
type dialer struct {
	driver.Connector
	password string

	mu     sync.Mutex
	failed error // of the last attempt, nil when it succeeded
	trying bool  // one is under way after one that failed
	pause  time.Duration
	next   time.Time // the earliest next attempt after one that failed
}

const (
	minPause = 50 * time.Millisecond
	maxPause = time.Second
)

// errAway is the answer while no attempt to connect is due.
var errAway = errors.New("the last attempt to connect failed, and the next is not due yet")

// Connect makes a connection, or fails at once while no attempt is due.
func (d *dialer) Connect(ctx context.Context) (driver.Conn, error) {
	d.mu.Lock()
	if d.failed != nil && (d.trying || time.Now().Before(d.next)) {
		defer d.mu.Unlock()
		return nil, errors.Join(errAway, d.failed)
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

// due is when the next attempt may be made.
func (d *dialer) due() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failed == nil {
		return time.Time{}
	}
	return d.next
}
