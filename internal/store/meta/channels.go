package meta

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Channel is a channel of an application, on which releases are offered to customers.
type Channel struct {
	ID             string // 27 letters and digits
	Application    string // id
	Name, Slug     string
	Description    string
	Default        bool // of new customers
	SemverRequired bool // version labels are semantic versions
	Archived       bool
	LastSequence   int64 // of promotions; 0 for none
	// ProxyDomain and RegistryDomain are the hosts at which customers pull what is promoted from now on; "" for those of the installation.
	ProxyDomain, RegistryDomain string
	CreatedAt                   time.Time
}

const channelColumns = `id, application, name, slug, description, is_default, semver_required, archived_at, last_sequence, created_at,
	proxy_domain, registry_domain`

func scanChannel(scan func(...any) error) (Channel, error) {
	var c Channel
	var archived, created int64
	err := scan(&c.ID, &c.Application, &c.Name, &c.Slug, &c.Description, &c.Default, &c.SemverRequired, &archived, &c.LastSequence, &created,
		&c.ProxyDomain, &c.RegistryDomain)
	c.Archived, c.CreatedAt = archived != 0, fromMicros(created)
	return c, err
}

func noChannel(id string) error {
	return fault.ObjectNotFound.New("the application has no channel %s", name.Clip(id))
}

// PutChannel stores a new channel of an application.
//
// Errors: fault.ObjectNotFound (the application), fault.ObjectAlreadyExists (the slug), fault.LimitExceeded.
func (s *Store) PutChannel(ctx context.Context, c Channel) (Channel, error) {
	err := s.write.do(ctx, func(t *tx) error {
		var one int
		found, err := t.one(`SELECT 1 FROM applications WHERE id = $1`, args{c.Application}, &one)
		if err == nil && !found {
			err = noApplication(c.Application)
		}
		if err != nil {
			return err
		}
		now := micros(s.now())
		c.CreatedAt = fromMicros(now)
		return t.putChannel(c, now)
	})
	return c, err
}

func (t *tx) putChannel(c Channel, now int64) error {
	if err := t.room(`SELECT COUNT(*) FROM channels WHERE application = $1`, c.Application, MaxChannels,
		"channels of an application"); err != nil {
		return err
	}
	n, err := t.exec(`INSERT INTO channels (`+channelColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, 0, 0, $8, $9, $10)
		ON CONFLICT (application, slug) DO NOTHING`,
		c.ID, c.Application, c.Name, c.Slug, c.Description, truth(c.Default), truth(c.SemverRequired), now,
		c.ProxyDomain, c.RegistryDomain)
	if err == nil && n == 0 {
		err = fault.ObjectAlreadyExists.New("the application already has a channel %s", c.Slug)
	}
	return err
}

// Channels returns the channels of an application that are not archived, in the order of their creation.
func (s *Store) Channels(ctx context.Context, application string) (all []Channel, err error) {
	err = s.read.rows(ctx, `SELECT `+channelColumns+` FROM channels WHERE application = $1 AND archived_at = 0 ORDER BY id`,
		args{application}, func(scan func(...any) error) error {
			one, err := scanChannel(scan)
			all = append(all, one)
			return err
		})
	return all, err
}

// Channel returns a channel of an application by its id or its slug. Errors: fault.ObjectNotFound.
func (s *Store) Channel(ctx context.Context, application, idOrSlug string) (Channel, error) {
	c, err := scanChannel(func(dest ...any) error {
		return s.read.row(ctx, `SELECT `+channelColumns+` FROM channels WHERE id = $1`, args{idOrSlug}, dest...)
	})
	if errors.Is(err, sql.ErrNoRows) || err == nil && c.Application != application {
		c, err = scanChannel(func(dest ...any) error {
			return s.read.row(ctx, `SELECT `+channelColumns+` FROM channels WHERE application = $1 AND slug = $2`,
				args{application, idOrSlug}, dest...)
		})
	}
	if errors.Is(err, sql.ErrNoRows) {
		err = noChannel(idOrSlug)
	}
	return c, err
}

// ChannelChange is what a change says of a channel; nil for what it does not say.
type ChannelChange struct {
	Name, Description           *string
	SemverRequired              *bool
	ProxyDomain, RegistryDomain *string
}

// Apply returns a channel with the change.
func (change ChannelChange) Apply(c Channel) Channel {
	for _, one := range []struct{ to, from *string }{{&c.Name, change.Name}, {&c.Description, change.Description},
		{&c.ProxyDomain, change.ProxyDomain}, {&c.RegistryDomain, change.RegistryDomain}} {
		if one.from != nil {
			*one.to = *one.from
		}
	}
	if change.SemverRequired != nil {
		c.SemverRequired = *change.SemverRequired
	}
	return c
}

// UpdateChannel changes a channel, and returns it. What the change does not say stays as it is at that moment.
//
// Errors: fault.ObjectNotFound.
func (s *Store) UpdateChannel(ctx context.Context, id string, change ChannelChange) (c Channel, err error) {
	err = s.write.do(ctx, func(t *tx) error {
		c, err = scanChannel(func(dest ...any) error {
			found, err := t.one(`SELECT `+channelColumns+` FROM channels WHERE id = $1 AND archived_at = 0`, args{id}, dest...)
			if err == nil && !found {
				err = noChannel(id)
			}
			return err
		})
		if err != nil {
			return err
		}
		c = change.Apply(c)
		_, err = t.exec(`UPDATE channels SET name = $2, description = $3, semver_required = $4, proxy_domain = $5, registry_domain = $6
			WHERE id = $1`, c.ID, c.Name, c.Description, truth(c.SemverRequired), c.ProxyDomain, c.RegistryDomain)
		return err
	})
	return c, err
}

// ArchiveChannel archives a channel that no customer is on: nothing is promoted to it any more.
//
// Errors: fault.ObjectNotFound, fault.ObjectInUse.
func (s *Store) ArchiveChannel(ctx context.Context, c Channel) error {
	return s.write.do(ctx, func(t *tx) error {
		var customer string
		found, err := t.one(`SELECT c.name FROM customer_channels cc JOIN customers c ON c.id = cc.customer
			WHERE cc.channel = $1 AND c.archived_at = 0 LIMIT 1`, args{c.ID}, &customer)
		if err == nil && found {
			err = fault.ObjectInUse.New("the channel %s has customers, such as %s: move them to another channel first", c.Slug, customer)
		}
		if err != nil {
			return err
		}
		n, err := t.exec(`UPDATE channels SET archived_at = $2 WHERE id = $1 AND archived_at = 0`, c.ID, micros(s.now()))
		if err == nil && n == 0 {
			err = noChannel(c.ID)
		}
		return err
	})
}
