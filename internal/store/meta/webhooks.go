package meta

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Webhook is a receiver of the events of a registry.
type Webhook struct {
	ID        int64
	Registry  name.Registry
	Name      string
	Host      string // of its URL
	Sealed    []byte // its URL and secrets, sealed by package identity
	Pattern   string // an event pattern; "" for all events
	Enabled   bool
	Position  int64     // the events up to this ID have been read
	Failures  int       // attempts since the last success
	Due       time.Time // nothing is sent before, because the receiver fails; zero for no pause
	Retry     time.Time // when the next delivery that waits is due; zero if none waits
	Delivered int64     // number of events that it has received
	Status    int       // of the answer to the last attempt; 0 if there was none
	Error     string    // of the last attempt, for people; "" after a success
	Tried     time.Time // the last attempt; zero for none
	Created   time.Time
	CreatedBy string // ARN
}

const webhookColumns = `id, account, region, name, host, sealed, pattern, enabled, position, failures, due_at, retry_at, delivered, status, error,
	tried_at, created_at, created_by`

func scanWebhook(scan func(...any) error) (w Webhook, err error) {
	var account, region string
	var due, retry, tried, created int64
	if err := scan(&w.ID, &account, &region, &w.Name, &w.Host, &w.Sealed, &w.Pattern, &w.Enabled, &w.Position, &w.Failures, &due, &retry,
		&w.Delivered, &w.Status, &w.Error, &tried, &created, &w.CreatedBy); err != nil {
		return Webhook{}, err
	}
	w.Due, w.Retry, w.Tried, w.Created = fromMicros(due), fromMicros(retry), fromMicros(tried), fromMicros(created)
	var err1, err2 error
	w.Registry.Account, err1 = name.ParseAccount(account)
	w.Registry.Region, err2 = name.ParseRegion(region)
	return w, errors.Join(err1, err2)
}

func noWebhook(label string) error {
	return fault.WebhookNotFound.New("there is no webhook %s in this registry", name.Clip(label))
}

// CreateWebhook stores a webhook, which gets the events of its registry from now on. An account has at most limit webhooks, 0 for no
// limit.
//
// Errors: fault.AccountNotFound, fault.WebhookAlreadyExists, fault.LimitExceeded.
func (s *Store) CreateWebhook(ctx context.Context, w Webhook, limit int) (Webhook, error) {
	err := s.write.do(ctx, func(t *tx) (err error) {
		if err := accountExists(t, w.Registry.Account); err != nil {
			return err
		}
		account, region := w.Registry.Account.String(), w.Registry.Region.String()
		var n int
		if _, err := t.one(`SELECT COUNT(*) FROM (SELECT 1 FROM webhooks WHERE account = $1 LIMIT $2) q`, args{account, limit}, &n); err != nil {
			return err
		}
		if limit > 0 && n >= limit {
			return fault.LimitExceeded.New("an account can have at most %d webhooks", limit)
		}
		w.Created = fromMicros(micros(s.now()))
		if w.ID, err = t.newID(w.Created); err != nil {
			return err
		}
		w.Position = w.ID // the ids of later events are greater
		n64, err := t.exec(`INSERT INTO webhooks (`+webhookColumns+`)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, 0, 0, 0, 0, '', 0, $10, $11) ON CONFLICT (account, region, name) DO NOTHING`,
			w.ID, account, region, w.Name, w.Host, w.Sealed, w.Pattern, truth(w.Enabled), w.Position, micros(w.Created), w.CreatedBy)
		if err == nil && n64 == 0 {
			err = fault.WebhookAlreadyExists.New("the registry already has a webhook %s", w.Name)
		}
		return err
	})
	return w, err
}

// WebhookChange is what UpdateWebhook changes; a nil field keeps its value.
type WebhookChange struct {
	Host    *string
	Sealed  []byte
	Pattern *string
	Enabled *bool
}

// UpdateWebhook changes a webhook whose sealed value is still that of w, and ends its pause after failures. A webhook that was disabled
// gets the events from now on.
//
// Errors: fault.WebhookNotFound, fault.TargetChanged (another request has changed it).
func (s *Store) UpdateWebhook(ctx context.Context, w Webhook, c WebhookChange) (out Webhook, err error) {
	err = s.write.do(ctx, func(t *tx) error {
		now, found, err := t.webhook(w.ID)
		switch {
		case err != nil:
			return err
		case !found:
			return noWebhook(w.Name)
		case string(now.Sealed) != string(w.Sealed):
			return fault.TargetChanged.New("the webhook %s has been changed by another request", w.Name)
		}
		if c.Host != nil {
			now.Host = *c.Host
		}
		if c.Sealed != nil {
			now.Sealed = c.Sealed
		}
		if c.Pattern != nil {
			now.Pattern = *c.Pattern
		}
		if c.Enabled != nil {
			if *c.Enabled && !now.Enabled {
				if now.Position, err = t.newID(s.now()); err != nil {
					return err
				}
			}
			now.Enabled = *c.Enabled
		}
		now.Due, now.Failures = time.Time{}, 0
		out = now
		t.touch(scope{kind: scopeEvents})
		_, err = t.exec(`UPDATE webhooks SET host = $2, sealed = $3, pattern = $4, enabled = $5, position = $6, due_at = 0, failures = 0
			WHERE id = $1`, w.ID, now.Host, now.Sealed, now.Pattern, truth(now.Enabled), now.Position)
		return err
	})
	return out, err
}

// DeleteWebhook deletes a webhook with what it has not received. Errors: fault.WebhookNotFound.
func (s *Store) DeleteWebhook(ctx context.Context, w Webhook) error {
	return s.write.do(ctx, func(t *tx) error {
		n, err := t.exec(`DELETE FROM webhooks WHERE id = $1`, w.ID)
		if err != nil {
			return err
		}
		if n == 0 {
			return noWebhook(w.Name)
		}
		_, err = t.exec(`DELETE FROM deliveries WHERE webhook = $1`, w.ID)
		return err
	})
}

func (t *tx) webhook(id int64) (w Webhook, found bool, err error) {
	w, err = scanWebhook(func(dest ...any) error {
		return t.row(t.ctx, `SELECT `+webhookColumns+` FROM webhooks WHERE id = $1`, args{id}, dest...)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return Webhook{}, false, nil
	}
	return w, err == nil, err
}

// Webhook returns a webhook of a registry by its name. Errors: fault.WebhookNotFound.
func (s *Store) Webhook(ctx context.Context, r name.Registry, label string) (Webhook, error) {
	w, err := scanWebhook(func(dest ...any) error {
		return s.read.row(ctx, `SELECT `+webhookColumns+` FROM webhooks WHERE account = $1 AND region = $2 AND name = $3`,
			args{r.Account.String(), r.Region.String(), label}, dest...)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return Webhook{}, noWebhook(label)
	}
	return w, err
}

// WebhookByID returns a webhook. Errors: fault.WebhookNotFound.
func (s *Store) WebhookByID(ctx context.Context, id int64) (Webhook, error) {
	w, err := scanWebhook(func(dest ...any) error {
		return s.read.row(ctx, `SELECT `+webhookColumns+` FROM webhooks WHERE id = $1`, args{id}, dest...)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return Webhook{}, noWebhook("with this id")
	}
	return w, err
}

// Webhooks returns the webhooks of a registry, ordered by name: those after the given name, at most limit.
func (s *Store) Webhooks(ctx context.Context, r name.Registry, after string, limit int) (all []Webhook, err error) {
	err = s.read.rows(ctx, `SELECT `+webhookColumns+` FROM webhooks WHERE account = $1 AND region = $2 AND name > $3 ORDER BY name LIMIT $4`,
		args{r.Account.String(), r.Region.String(), position(after), limit}, func(scan func(...any) error) error {
			w, err := scanWebhook(scan)
			all = append(all, w)
			return err
		})
	return all, err
}

// WebhookWork is a webhook that may have something to send.
type WebhookWork struct {
	ID      int64
	Account string
}

// WebhooksDue looks at the webhooks with an ID above after, at most limit of them. It returns those that have something to send at a time:
// an event that they have not read, or a delivery that is due; and the last ID that it has looked at, 0 if there are no more. oldest is
// the time of the oldest event that a webhook that is enabled has not received, zero if there is none.
func (s *Store) WebhooksDue(ctx context.Context, now time.Time, after int64, limit int) (due []WebhookWork, last int64, oldest time.Time,
	err error) {
	type seen struct {
		WebhookWork
		region   string
		position int64
		retry    int64
		paused   bool
	}
	var all []seen
	n := 0
	err = s.read.rows(ctx, `SELECT id, account, region, position, retry_at, due_at, enabled FROM webhooks WHERE id > $1 ORDER BY id LIMIT $2`,
		args{after, limit}, func(scan func(...any) error) error {
			var w seen
			var pause int64
			var enabled bool
			err := scan(&w.ID, &w.Account, &w.region, &w.position, &w.retry, &pause, &enabled)
			w.paused = pause > micros(now)
			if n, last = n+1, w.ID; enabled {
				all = append(all, w)
			}
			return err
		})
	if err != nil {
		return nil, 0, oldest, err
	}
	if n < limit {
		last = 0
	}
	first := int64(0)
	for _, w := range all {
		unread, waiting := int64(0), int64(0)
		err := s.read.row(ctx, `SELECT id FROM events WHERE account = $1 AND region = $2 AND id > $3 ORDER BY id LIMIT 1`,
			args{w.Account, w.region, w.position}, &unread)
		if err == nil || errors.Is(err, sql.ErrNoRows) {
			err = nil
			if w.retry != 0 {
				err = s.read.row(ctx, `SELECT position FROM deliveries WHERE webhook = $1 AND state = 1 ORDER BY position LIMIT 1`,
					args{w.ID}, &waiting)
			}
		}
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return nil, 0, oldest, err
		}
		for _, id := range []int64{unread, waiting} {
			if id != 0 && (first == 0 || id < first) {
				first = id
			}
		}
		if !w.paused && (unread != 0 || w.retry != 0 && w.retry <= micros(now)) {
			due = append(due, w.WebhookWork)
		}
	}
	if first != 0 {
		oldest = timeOfID(first)
	}
	return due, last, oldest, nil
}
