package meta

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/event"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Event is a stored event.
type Event struct {
	ID       int64 // grows in the order of commits
	OrderKey string
	Body     string // JSON
}

// origin returns what the events of one change of the current write have in common. Its ids are the same each time that the write runs.
func (t *tx) origin(r name.Registry, at time.Time) event.Origin {
	id := t.change
	if t.events > 0 {
		sum := sha256.Sum256(binary.BigEndian.AppendUint64(id[:], uint64(t.events)))
		copy(id[:], sum[:])
	}
	t.events++
	id[6] = id[6]&0x0f | 0x40 // version 4: a random UUID
	id[8] = id[8]&0x3f | 0x80
	return event.Origin{ID: id, Registry: r, Time: at}
}

// event adds events to the transaction, as emit adds lines of the audit trail. It is called where the change is made.
func (t *tx) event(all ...event.Event) error {
	for _, e := range all {
		id, err := t.newID(e.Time)
		if err != nil {
			return err
		}
		if _, err := t.exec(`INSERT INTO events (id, account, region, order_key, body) VALUES ($1, $2, $3, $4, $5)`,
			id, e.Registry.Account.String(), e.Registry.Region.String(), string(e.OrderKey), string(e.AppendJSON(nil))); err != nil {
			return fmt.Errorf("storing an event: %w", err)
		}
	}
	if len(all) > 0 {
		t.touch(scope{kind: scopeEvents})
	}
	return nil
}

// pushed returns the events of a push that has moved tags.
func pushed(o event.Origin, r Repository, p Put, tags []name.Tag) []event.Event {
	i := event.Image{Repository: r.Name, Digest: p.Digest}
	if p.Cached != nil {
		c := event.CachePull{Prefix: p.Cached.Prefix, Image: i, Upstream: p.Cached.Host}
		if len(tags) > 0 {
			c.Tag = tags[0]
		}
		return []event.Event{event.CacheSynced(o, c)}
	}
	if p.Manifest.Subject == nil {
		return event.ImagePushed(o, i, tags)
	}
	return event.ReferrerPushed(o, i, event.Media{Manifest: p.Manifest.MediaType, Artifact: p.Manifest.ArtifactType}, tags)
}

// deleted adds the events of the deletion of tags, or of an image without tags.
func (t *tx) deleted(r Repository, d name.Digest, removed []string, at time.Time) error {
	var subject string
	var m event.Media
	if _, err := t.one(`SELECT subject, media_type, artifact_type FROM images WHERE repository = $1 AND digest = $2`,
		args{r.ID, d.String()}, &subject, &m.Manifest, &m.Artifact); err != nil {
		return err
	}
	tags := make([]name.Tag, len(removed))
	for i, text := range removed {
		var err error
		if tags[i], err = name.ParseTag(text); err != nil {
			return err
		}
	}
	o, i := t.origin(r.Registry, at), event.Image{Repository: r.Name, Digest: d}
	if subject != "" {
		return t.event(event.ReferrerDeleted(o, i, m, tags)...)
	}
	return t.event(event.ImageDeleted(o, i, tags)...)
}

// policyChanged adds the event of a policy of a repository, or of a registry if repo is zero.
func (t *tx) policyChanged(r name.Registry, repo name.Repo, c event.PolicyChange, at time.Time) error {
	c.Repository, c.Principal = repo, t.by
	return t.event(event.PolicyChanged(t.origin(r, at), c))
}

// attachedEvents are the events of a context.
type attachedEvents struct {
	all  []event.Event
	done atomic.Bool // a change has stored them
}

func (a *attachedEvents) stored() {
	if a != nil {
		a.done.Store(true)
	}
}

type eventsKey struct{}

// WithEvents returns a context with events, which the first change that is made with the context stores, in its transaction. It is for code
// that knows more about a change than the method that makes it: that an image was copied from another region, or why it was deleted.
// If that change is refused, the next one with the context stores them.
func WithEvents(ctx context.Context, all ...event.Event) context.Context {
	if _, earlier := eventsOf(ctx); len(earlier) > 0 {
		all = append(append([]event.Event(nil), earlier...), all...)
	}
	return context.WithValue(ctx, eventsKey{}, &attachedEvents{all: all})
}

// eventsOf returns the events of a context that no change has stored.
func eventsOf(ctx context.Context) (*attachedEvents, []event.Event) {
	a, _ := ctx.Value(eventsKey{}).(*attachedEvents)
	if a == nil || a.done.Load() {
		return a, nil
	}
	return a, a.all
}

// RecordEvents stores events that belong to no change, such as the failure of a replication.
func (s *Store) RecordEvents(ctx context.Context, all []event.Event) error {
	if len(all) == 0 {
		return nil
	}
	return s.write.doMany(ctx, len(all), func(t *tx) error { return t.event(all...) })
}

// EventsStored returns a channel that has a value after a process has stored events. One reader uses it.
func (s *Store) EventsStored() <-chan struct{} { return s.events }

// Events returns the events of a registry with an ID above after, in the order of their commits, at most limit. No event will be stored
// later that belongs between them.
func (s *Store) Events(ctx context.Context, r name.Registry, after int64, limit int) (all []Event, err error) {
	err = s.read.rows(ctx, `SELECT id, order_key, body FROM events WHERE account = $1 AND region = $2 AND id > $3 ORDER BY id LIMIT $4`,
		args{r.Account.String(), r.Region.String(), after, limit}, func(scan func(...any) error) error {
			var e Event
			err := scan(&e.ID, &e.OrderKey, &e.Body)
			all = append(all, e)
			return err
		})
	return all, err
}

// NewestEvent returns the ID of the newest event of a registry, 0 if there is none.
func (s *Store) NewestEvent(ctx context.Context, r name.Registry) (id int64, err error) {
	err = s.read.row(ctx, `SELECT id FROM events WHERE account = $1 AND region = $2 ORDER BY id DESC LIMIT 1`,
		args{r.Account.String(), r.Region.String()}, &id)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return id, err
}

// EventsBefore returns an ID that is below those of all events that were stored at a time or later.
func EventsBefore(at time.Time) int64 { return firstID(at) - 1 }

// maxEventSweep is how many events one transaction deletes at most.
const maxEventSweep = 500

// DeleteEvents deletes the events that were stored before a time, and of each account those beyond the newest keep ones. It deletes
// them in small transactions, and returns how many it has deleted.
func (s *Store) DeleteEvents(ctx context.Context, before time.Time, keep int) (total int64, err error) {
	for {
		var one int
		err := s.read.row(ctx, `SELECT 1 FROM events WHERE id < $1 ORDER BY id LIMIT 1`, args{firstID(before)}, &one)
		if errors.Is(err, sql.ErrNoRows) {
			break
		}
		if err != nil {
			return total, err
		}
		n, err := s.deleteEvents(ctx, `DELETE FROM events WHERE id IN (SELECT id FROM events WHERE id < $1 ORDER BY id LIMIT $2)`,
			firstID(before), maxEventSweep)
		if total += n; err != nil || n == 0 {
			return total, err
		}
	}
	from := ""
	for {
		var account, region string
		err := s.read.row(ctx, `SELECT account, region FROM events WHERE account > $1 ORDER BY account, region LIMIT 1`, args{from},
			&account, &region)
		if errors.Is(err, sql.ErrNoRows) {
			return total, nil
		}
		if err != nil {
			return total, err
		}
		n, err := s.shortenEvents(ctx, account, keep)
		if total += n; err != nil {
			return total, err
		}
		from = account
	}
}

// shortenEvents deletes the events of an account beyond the newest keep ones of each of its registries.
func (s *Store) shortenEvents(ctx context.Context, account string, keep int) (total int64, err error) {
	from := ""
	for {
		var region string
		err := s.read.row(ctx, `SELECT region FROM events WHERE account = $1 AND region > $2 ORDER BY region LIMIT 1`, args{account, from},
			&region)
		if errors.Is(err, sql.ErrNoRows) {
			return total, nil
		}
		if err != nil {
			return total, err
		}
		from = region
		var last int64
		err = s.read.row(ctx, `SELECT id FROM events WHERE account = $1 AND region = $2 ORDER BY id DESC LIMIT 1 OFFSET $3`,
			args{account, region, keep}, &last)
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err != nil {
			return total, err
		}
		for {
			n, err := s.deleteEvents(ctx, `DELETE FROM events WHERE id IN
				(SELECT id FROM events WHERE account = $1 AND region = $2 AND id <= $3 ORDER BY id LIMIT $4)`,
				account, region, last, maxEventSweep)
			if total += n; err != nil {
				return total, err
			}
			if n < maxEventSweep {
				break
			}
		}
	}
}

func (s *Store) deleteEvents(ctx context.Context, text string, a ...any) (n int64, err error) {
	err = s.write.doMany(ctx, maxEventSweep, func(t *tx) (err error) {
		n, err = t.exec(text, a...)
		return err
	})
	return n, err
}
