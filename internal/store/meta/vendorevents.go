package meta

import (
	"context"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/event"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// The values of LicenseEnd.Told.
const (
	ToldNothing = iota
	ToldExpiring
	ToldExpired
)

// LicenseEnd is the end of the licence of a customer, and what was told about it.
type LicenseEnd struct {
	Account  name.Account
	Slug     string // of the application
	Customer string // id
	Name     string // of the customer
	At       time.Time
	Told     int
	Archived bool
}

// LicenseEnds returns at most limit licences that end until a time and about which so much was told, the first ones first.
func (s *Store) LicenseEnds(ctx context.Context, told int, until time.Time, limit int) (all []LicenseEnd, err error) {
	err = s.read.rows(ctx, `SELECT c.account, a.slug, c.id, c.name, c.expires_at, c.archived_at FROM customers c
		JOIN applications a ON a.id = c.application WHERE c.told = $1 AND c.expires_at > 0 AND c.expires_at <= $2
		ORDER BY c.expires_at, c.id LIMIT $3`, args{told, micros(until), limit}, func(scan func(...any) error) error {
		l := LicenseEnd{Told: told}
		var account string
		var at, archived int64
		err := scan(&account, &l.Slug, &l.Customer, &l.Name, &at, &archived)
		if err == nil {
			l.Account, err = name.ParseAccount(account)
		}
		l.At, l.Archived = fromMicros(at), archived != 0
		all = append(all, l)
		return err
	})
	return all, err
}

// TellLicense notes what is told about the end of a licence, and stores the events with it. Nothing happens if the licence has another end
// by now, or if another process has told it.
func (s *Store) TellLicense(ctx context.Context, l LicenseEnd, told int, all ...event.Event) error {
	return s.write.do(ctx, func(t *tx) error {
		n, err := t.exec(`UPDATE customers SET told = $3 WHERE id = $1 AND told = $2 AND expires_at = $4`, l.Customer, l.Told, told, micros(l.At))
		if err == nil && n > 0 {
			t.touch(scope{kind: scopeIdentity}) // the row is one of those that are cached
			err = t.event(all...)
		}
		return err
	})
}

// ToldInstance is an installation with what events about it say.
type ToldInstance struct {
	Instance
	Account      name.Account
	Slug         string // of the application
	CustomerName string
	Archived     bool // the customer
	Behind       bool // it was told to be
}

func (s *Store) toldInstances(ctx context.Context, query string, values ...any) (all []ToldInstance, err error) {
	err = s.read.rows(ctx, query, values, func(scan func(...any) error) error {
		var i ToldInstance
		var account string
		var archived, seen int64
		err := scan(&account, &i.Slug, &i.CustomerName, &archived, &i.Application, &i.Customer, &i.ID, &i.Channel, &i.Sequence, &seen, &i.Behind)
		if err == nil {
			i.Account, err = name.ParseAccount(account)
		}
		i.Archived, i.LastSeen = archived != 0, fromMicros(seen)
		all = append(all, i)
		return err
	})
	return all, err
}

// SilentInstances returns at most limit installations that were not seen since a time and were not told to be inactive, those that were not
// seen for longest first.
func (s *Store) SilentInstances(ctx context.Context, since time.Time, limit int) ([]ToldInstance, error) {
	return s.toldInstances(ctx, `SELECT a.account, a.slug, u.name, u.archived_at, i.application, i.customer, i.id, i.channel, i.sequence,
		i.last_seen, i.behind FROM instances i JOIN customers u ON u.id = i.customer JOIN applications a ON a.id = i.application
		WHERE i.inactive = 0 AND i.last_seen < $1 ORDER BY i.last_seen, i.customer, i.id LIMIT $2`,
		micros(since), limit)
}

// TellInactive notes that an installation is told to be inactive, and stores the events with it, unless it was seen or told meanwhile.
func (s *Store) TellInactive(ctx context.Context, i Instance, all ...event.Event) error {
	return s.write.do(ctx, func(t *tx) error {
		n, err := t.exec(`UPDATE instances SET inactive = 1 WHERE customer = $1 AND id = $2 AND inactive = 0 AND last_seen = $3`, i.Customer, i.ID,
			micros(i.LastSeen))
		if err == nil && n > 0 {
			err = t.event(all...)
		}
		return err
	})
}

// TurningInstances returns at most limit installations after a key that may be behind now and were not told to be, or the other way round:
// whether versions are offered to a customer at all is not looked at. The customers are not archived.
func (s *Store) TurningInstances(ctx context.Context, after InstanceKey, limit int) ([]ToldInstance, error) {
	return s.toldInstances(ctx, `SELECT a.account, a.slug, u.name, u.archived_at, i.application, i.customer, i.id, i.channel, i.sequence,
		i.last_seen, i.behind FROM instances i JOIN customers u ON u.id = i.customer JOIN applications a ON a.id = i.application
		JOIN channels c ON c.id = i.channel WHERE (i.customer, i.id) > ($1, $2) AND i.sequence > 0
		AND u.archived_at = 0 AND (i.behind = 1 OR i.sequence < c.last_sequence) ORDER BY i.customer, i.id LIMIT $3`,
		after.Customer, after.ID, limit)
}

// TellBehind notes whether an installation is behind, and stores the events with it, unless it runs another version by now or was told so.
func (s *Store) TellBehind(ctx context.Context, i ToldInstance, behind bool, all ...event.Event) error {
	return s.write.do(ctx, func(t *tx) error {
		n, err := t.exec(`UPDATE instances SET behind = $3 WHERE customer = $1 AND id = $2 AND behind = $4 AND sequence = $5`, i.Customer, i.ID,
			truth(behind), truth(i.Behind), i.Sequence)
		if err == nil && n > 0 {
			err = t.event(all...)
		}
		return err
	})
}
