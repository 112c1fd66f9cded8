package trail

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/store/audit"
)

// Anyone can send invalid credentials. The limits keep such requests from filling the trail: after maxRefusals lines at
// once there is one line in refusalInterval. The log has all of them.
const (
	maxRefusals     = 100
	refusalInterval = time.Second
)

// refusedName is the eventName of refused credentials.
const refusedName = "Authenticate"

// refused writes the line of a request whose credentials were refused, for the account of the token or key if it is known,
// and does nothing for other events. additionalEventData has cause and cure.
func (t *Trail) refused(ctx context.Context, ev *guard.Event) {
	var refusal *identity.Refusal
	if !errors.As(ev.Err, &refusal) || !t.refusals.take(t.now()) {
		return
	}
	e := guard.Event{RequestID: ev.RequestID, From: ev.From, Err: ev.Err}
	e.Record = guard.Record{
		Source: invokedBy, Name: refusedName, ReadOnly: true,
		Caller: identity.Caller{Account: refusal.Account, AccessKey: refusal.AccessKey},
	}
	r := t.record(ctx, &e, audit.NewID())
	t.log.Append(&r, accounts(&e)...)
}

// bucket limits a rate. The zero bucket is full. It is safe for concurrent use.
type bucket struct {
	mu   sync.Mutex
	full time.Time // when it has maxRefusals again
}

// take takes one from the bucket and reports whether there was one.
func (b *bucket) take(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.full.Before(now) {
		b.full = now
	}
	if b.full.Sub(now) > (maxRefusals-1)*refusalInterval {
		return false
	}
	b.full = b.full.Add(refusalInterval)
	return true
}
