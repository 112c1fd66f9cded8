package meta

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// DeliveryState is how far a delivery is that has not succeeded.
type DeliveryState int

// The states.
const (
	DeliveryWaiting DeliveryState = iota + 1
	DeliveryDead                  // given up, until a client repeats it
)

// Delivery is an event that a webhook has not received.
type Delivery struct {
	Event
	State    DeliveryState
	Attempts int
	Since    time.Time // when it was first to be sent
	Due      time.Time // the next attempt, of one that waits
	Status   int       // of the answer to the last attempt; 0 if there was none
	Error    string    // of the last attempt, for people
}

// The limits of the rows of a webhook: of deliveries that wait, beyond which it reads no further events, and of dead ones, of which the
// oldest are deleted.
const (
	MaxWaiting = 1000
	MaxDead    = 1000
)

// WaitingDeliveries returns the deliveries of a webhook that wait, in the order of the events, without their bodies.
func (s *Store) WaitingDeliveries(ctx context.Context, webhook int64) (all []Delivery, err error) {
	err = s.read.rows(ctx, `SELECT position, order_key, attempts, since, due_at FROM deliveries WHERE webhook = $1 AND state = 1
		ORDER BY position LIMIT $2`, args{webhook, MaxWaiting + 1}, func(scan func(...any) error) error {
		d := Delivery{State: DeliveryWaiting}
		var since, due int64
		err := scan(&d.ID, &d.OrderKey, &d.Attempts, &since, &due)
		d.Since, d.Due = fromMicros(since), fromMicros(due)
		all = append(all, d)
		return err
	})
	return all, err
}

// DeliveryBody returns the body of a delivery. found is false if it is not stored any more.
func (s *Store) DeliveryBody(ctx context.Context, webhook, id int64) (body string, found bool, err error) {
	err = s.read.row(ctx, `SELECT body FROM deliveries WHERE webhook = $1 AND position = $2`, args{webhook, id}, &body)
	if errors.Is(err, sql.ErrNoRows) {
		return "", false, nil
	}
	return body, err == nil, err
}

// Deliveries lists the deliveries of a webhook in one state, the last event first: those with an ID below the given one (0 for all), at
// most limit.
func (s *Store) Deliveries(ctx context.Context, webhook int64, state DeliveryState, below int64, limit int) (all []Delivery, err error) {
	if below == 0 {
		below = 1<<63 - 1
	}
	err = s.read.rows(ctx, `SELECT position, order_key, body, state, attempts, since, due_at, status, error FROM deliveries
		WHERE webhook = $1 AND state = $2 AND position < $3 ORDER BY position DESC LIMIT $4`, args{webhook, int(state), below, limit},
		func(scan func(...any) error) error {
			var d Delivery
			var since, due int64
			err := scan(&d.ID, &d.OrderKey, &d.Body, &d.State, &d.Attempts, &since, &due, &d.Status, &d.Error)
			d.Since, d.Due = fromMicros(since), fromMicros(due)
			all = append(all, d)
			return err
		})
	return all, err
}

// Redeliver makes a delivery wait again that was given up. It is sent as if its event had just happened: later events of the same image
// may have been received.
//
// Errors: fault.DeliveryNotFound, fault.LimitExceeded (too many wait).
func (s *Store) Redeliver(ctx context.Context, webhook, id int64) error {
	return s.write.do(ctx, func(t *tx) error {
		var n int
		if _, err := t.one(`SELECT COUNT(*) FROM (SELECT 1 FROM deliveries WHERE webhook = $1 AND state = 1 LIMIT $2) q`,
			args{webhook, MaxWaiting}, &n); err != nil {
			return err
		}
		if n >= MaxWaiting {
			return fault.LimitExceeded.New("%d deliveries of the webhook wait: this is the limit", MaxWaiting)
		}
		var state DeliveryState
		if _, err := t.one(`SELECT state FROM deliveries WHERE webhook = $1 AND position = $2`, args{webhook, id}, &state); err != nil {
			return err
		}
		now := micros(s.now())
		if state != DeliveryDead {
			return fault.DeliveryNotFound.New("the webhook has no delivery %d that was given up", id)
		}
		if _, err := t.exec(`UPDATE deliveries SET state = 1, attempts = 0, since = $3, due_at = $3 WHERE webhook = $1 AND position = $2`,
			webhook, id, now); err != nil {
			return err
		}
		t.touch(scope{kind: scopeEvents})
		_, err := t.exec(`UPDATE webhooks SET retry_at = $2, due_at = 0 WHERE id = $1`, webhook, now)
		return err
	})
}

// Delivered is what a turn of deliveries of a webhook has done.
type Delivered struct {
	From, Position int64      // the webhook had read the events up to From, and has now up to Position
	Done           []int64    // deliveries that waited and were received
	Open           []Delivery // to be stored: they wait, or are dead
	Count          int64      // events that were received
	Failures       int        // attempts since the last success
	Due            time.Time  // the end of a pause; zero for none
	Retry, Before  time.Time  // when the next delivery that waits is due, and what the webhook said about it before; zero if none waits
	Tried          time.Time  // the last attempt; zero if there was none
	Status         int        // of the last attempt
	Error          string     // of the last attempt
}

// SaveDelivered stores the result of a turn in one transaction. Nothing is stored if the webhook has been deleted, or has another position
// than From: then another process has had a turn, or a client has enabled it again. An earlier
// time of the next attempt that was set meanwhile stays.
//
// Errors: fault.TargetChanged.
func (s *Store) SaveDelivered(ctx context.Context, webhook int64, d Delivered) error {
	return s.write.doMany(ctx, 2+len(d.Done)+len(d.Open), func(t *tx) error {
		var at int64
		found, err := t.one(`SELECT position FROM webhooks WHERE id = $1`, args{webhook}, &at)
		if err != nil {
			return err
		}
		if !found || at != d.From {
			return fault.TargetChanged.New("the webhook has been changed meanwhile")
		}
		if _, err := t.exec(`UPDATE webhooks SET position = $2, failures = $3, due_at = $4, delivered = delivered + $5,
			retry_at = CASE WHEN retry_at = $6 OR retry_at = 0 OR $7 < retry_at AND $7 <> 0 THEN $7 ELSE retry_at END WHERE id = $1`,
			webhook, d.Position, d.Failures, micros(d.Due), d.Count, micros(d.Before), micros(d.Retry)); err != nil {
			return err
		}
		if !d.Tried.IsZero() {
			if _, err := t.exec(`UPDATE webhooks SET tried_at = $2, status = $3, error = $4 WHERE id = $1`,
				webhook, micros(d.Tried), d.Status, d.Error); err != nil {
				return err
			}
		}
		for _, id := range d.Done {
			if _, err := t.exec(`DELETE FROM deliveries WHERE webhook = $1 AND position = $2`, webhook, id); err != nil {
				return err
			}
		}
		dead := false
		for _, o := range d.Open {
			dead = dead || o.State == DeliveryDead
			if err := t.putDelivery(webhook, o); err != nil {
				return err
			}
		}
		if dead {
			_, err = t.exec(`DELETE FROM deliveries WHERE webhook = $1 AND state = 2 AND position <= (SELECT position FROM deliveries
				WHERE webhook = $1 AND state = 2 ORDER BY position DESC LIMIT 1 OFFSET $2)`, webhook, MaxDead)
		}
		return err
	})
}

// putDelivery stores a delivery. One without a body is stored already.
func (t *tx) putDelivery(webhook int64, d Delivery) error {
	if d.Body == "" {
		_, err := t.exec(`UPDATE deliveries SET state = $3, attempts = $4, due_at = $5, status = $6, error = $7 WHERE webhook = $1 AND position = $2`,
			webhook, d.ID, int(d.State), d.Attempts, micros(d.Due), d.Status, d.Error)
		return err
	}
	_, err := t.exec(`INSERT INTO deliveries (webhook, position, order_key, body, state, attempts, since, due_at, status, error)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (webhook, position) DO NOTHING`,
		webhook, d.ID, d.OrderKey, d.Body, int(d.State), d.Attempts, micros(d.Since), micros(d.Due), d.Status, d.Error)
	return err
}
