package meta

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Customer is a customer of an application, with its licence.
type Customer struct {
	ID          string // 27 letters and digits
	Application string // id
	Account     name.Account
	Name        string
	CustomID    string // of the vendor; "" for none
	Sealed      []byte // id of the licence, sealed with SealContext
	LicenseHash string // SHA-256 of that id, in hexadecimal digits
	Sequence    int64  // of the licence, grows with each change
	ExpiresAt   time.Time
	ArchivedAt  time.Time
	Details     string // JSON
	Version     int64  // changes with each change
	CreatedAt   time.Time
	UpdatedAt   time.Time
	CreatedBy   string    // ARN
	UsedAt      time.Time // when the id of the licence was last used as a password; zero for never
	UsedFrom    string    // address of that client; "" for never
	Channels    []CustomerChannel
}

// CustomerChannel is a channel that a customer is on.
type CustomerChannel struct {
	Channel string // id
	Default bool
	Pinned  int64 // sequence of the channel that is the newest offered; 0 for none
}

// SealContext returns the context with which the id of the licence is sealed.
func (c Customer) SealContext() string { return "customer/" + c.ID }

// CustomerARN returns the ARN of a customer.
func CustomerARN(account name.Account, slug, id string) string {
	return name.Entity{Kind: name.Customer, Name: slug + "/" + id}.ARN(name.DefaultPartition, account).String()
}

func noCustomer(id string) error {
	return fault.ObjectNotFound.New("the application has no customer %s", name.Clip(id))
}

const customerColumns = `id, application, name, custom_id, sealed, license_hash, license_sequence, expires_at, archived_at, details,
	version, created_at, updated_at, created_by, license_used_at, license_address`

func scanCustomer(account name.Account, scan func(...any) error) (Customer, error) {
	c := Customer{Account: account}
	var expires, archived, created, updated, used int64
	err := scan(&c.ID, &c.Application, &c.Name, &c.CustomID, &c.Sealed, &c.LicenseHash, &c.Sequence, &expires, &archived, &c.Details,
		&c.Version, &created, &updated, &c.CreatedBy, &used, &c.UsedFrom)
	c.UsedAt = fromMicros(used)
	c.ExpiresAt, c.ArchivedAt, c.CreatedAt, c.UpdatedAt = fromMicros(expires), fromMicros(archived), fromMicros(created), fromMicros(updated)
	return c, err
}

// PutCustomer stores a customer. With the version 0 it is a new one, else it replaces the one with that version. The sequence of its
// licence grows by one. Sealed and LicenseHash never change.
//
// Errors: fault.ObjectNotFound (the application, the customer, a channel), fault.TargetChanged (another request has changed it),
// fault.LimitExceeded.
func (s *Store) PutCustomer(ctx context.Context, c Customer) (Customer, error) {
	err := s.write.do(ctx, func(t *tx) error {
		now := micros(s.now())
		version, err := t.newID(s.now())
		if err != nil {
			return err
		}
		before := c.Version
		c.Version, c.UpdatedAt = version, fromMicros(now)
		if before == 0 {
			err = t.newCustomer(&c, now)
		} else {
			err = t.changeCustomer(&c, before, now)
		}
		if err != nil {
			return err
		}
		if err := t.putCustomerChannels(c); err != nil {
			return err
		}
		t.touch(scope{kind: scopeIdentity})
		return nil
	})
	return c, err
}

// putCustomerChannels replaces the channels of a customer. An archived customer may stay on channels that were archived later.
func (t *tx) putCustomerChannels(c Customer) error {
	for _, of := range c.Channels {
		var application, slug string
		var archived int64
		found, err := t.one(`SELECT application, slug, archived_at FROM channels WHERE id = $1`, args{of.Channel}, &application, &slug, &archived)
		if err == nil && (!found || application != c.Application) {
			err = noChannel(of.Channel)
		}
		if err == nil && archived != 0 {
			stays, one := false, 0
			if !c.ArchivedAt.IsZero() {
				stays, err = t.one(`SELECT 1 FROM customer_channels WHERE customer = $1 AND channel = $2`, args{c.ID, of.Channel}, &one)
			}
			if err == nil && !stays {
				err = fault.ObjectNotFound.New("the channel %s is archived: a customer with a valid licence needs another channel", slug)
			}
		}
		if err != nil {
			return err
		}
	}
	if _, err := t.exec(`DELETE FROM customer_channels WHERE customer = $1`, c.ID); err != nil {
		return err
	}
	for _, of := range c.Channels {
		if _, err := t.exec(`INSERT INTO customer_channels (customer, channel, is_default, pinned) VALUES ($1, $2, $3, $4)`,
			c.ID, of.Channel, truth(of.Default), of.Pinned); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) newCustomer(c *Customer, now int64) error {
	var account string
	found, err := t.one(`SELECT account FROM applications WHERE id = $1`, args{c.Application}, &account)
	if err == nil && (!found || account != c.Account.String()) {
		err = noApplication(c.Application)
	}
	if err == nil {
		err = t.room(`SELECT COUNT(*) FROM customers WHERE application = $1`, c.Application, MaxCustomers, "customers of an application")
	}
	if err != nil {
		return err
	}
	c.Sequence, c.CreatedAt = 1, fromMicros(now)
	_, err = t.exec(`INSERT INTO customers (id, application, account, name, custom_id, sealed, license_hash, license_sequence, expires_at,
		archived_at, details, version, created_at, updated_at, created_by)
		VALUES ($1, $2, $3, $4, $5, $6, $7, 1, $8, $9, $10, $11, $12, $12, $13)`,
		c.ID, c.Application, c.Account.String(), c.Name, c.CustomID, c.Sealed, c.LicenseHash, micros(c.ExpiresAt), micros(c.ArchivedAt),
		c.Details, c.Version, now, c.CreatedBy)
	return err
}

func (t *tx) changeCustomer(c *Customer, before, now int64) error {
	var application string
	var version int64
	found, err := t.one(`SELECT application, version FROM customers WHERE id = $1`, args{c.ID}, &application, &version)
	switch {
	case err != nil:
		return err
	case !found || application != c.Application:
		return noCustomer(c.ID)
	case version != before:
		return fault.TargetChanged.New("the customer %s has been changed by another request", c.Name)
	}
	_, err = t.changeOne(`UPDATE customers SET name = $2, custom_id = $3, expires_at = $4, archived_at = $5, details = $6, version = $7,
		told = CASE WHEN expires_at = $4 THEN told ELSE 0 END, updated_at = $8, license_sequence = license_sequence +
			1 WHERE id = $1 RETURNING license_sequence`,
		args{c.ID, c.Name, c.CustomID, micros(c.ExpiresAt), micros(c.ArchivedAt), c.Details, c.Version, now}, &c.Sequence)
	return err
}

// Customer returns a customer of an application by its id, or by the vendor's id for it. Errors: fault.ObjectNotFound.
func (s *Store) Customer(ctx context.Context, a Application, id string) (Customer, error) {
	c, err := scanCustomer(a.Account, func(dest ...any) error {
		return s.read.row(ctx, `SELECT `+customerColumns+` FROM customers WHERE id = $1`, args{id}, dest...)
	})
	if id != "" && (errors.Is(err, sql.ErrNoRows) || err == nil && c.Application != a.ID) {
		c, err = scanCustomer(a.Account, func(dest ...any) error {
			return s.read.row(ctx, `SELECT `+customerColumns+` FROM customers WHERE application = $1 AND custom_id = $2 ORDER BY id LIMIT 1`,
				args{a.ID, id}, dest...)
		})
	}
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return Customer{}, noCustomer(id)
	case err != nil:
		return Customer{}, err
	}
	c.Channels, err = s.customerChannels(ctx, c.ID)
	return c, err
}

func (s *Store) customerChannels(ctx context.Context, customer string) (all []CustomerChannel, err error) {
	err = s.read.rows(ctx, `SELECT channel, is_default, pinned FROM customer_channels WHERE customer = $1 ORDER BY channel`,
		args{customer}, func(scan func(...any) error) error {
			var c CustomerChannel
			err := scan(&c.Channel, &c.Default, &c.Pinned)
			all = append(all, c)
			return err
		})
	return all, err
}

// CustomerKey is where a page of customers begins: after this one.
type CustomerKey struct{ Name, ID string }

// Customers returns at most limit customers of an application after a key, by name; archived ones too if archived is true. They have no
// Channels.
func (s *Store) Customers(ctx context.Context, a Application, after CustomerKey, archived bool, limit int) (all []Customer, err error) {
	return s.customers(ctx, a, `SELECT `+customerColumns+` FROM customers WHERE application = $1 AND (name, id) > ($2, $3)
		AND (archived_at = 0 OR $4 = 1) ORDER BY name, id LIMIT $5`, args{a.ID, after.Name, after.ID, truth(archived), limit})
}

// CustomersOn is Customers with those alone that are on a channel.
func (s *Store) CustomersOn(ctx context.Context, a Application, channel string, after CustomerKey, archived bool, limit int) (
	all []Customer, err error) {
	return s.customers(ctx, a, `SELECT `+customerColumns+` FROM customers WHERE application = $1 AND (name, id) > ($2, $3)
		AND (archived_at = 0 OR $4 = 1) AND EXISTS (SELECT 1 FROM customer_channels cc WHERE cc.customer = customers.id AND cc.channel = $6)
		ORDER BY name, id LIMIT $5`, args{a.ID, after.Name, after.ID, truth(archived), limit, channel})
}

func (s *Store) customers(ctx context.Context, a Application, text string, in args) (all []Customer, err error) {
	err = s.read.rows(ctx, text, in,
		func(scan func(...any) error) error {
			one, err := scanCustomer(a.Account, scan)
			all = append(all, one)
			return err
		})
	return all, err
}

// ChannelsOfCustomers returns the channels of the customers of an application from one key to another, both with them, by the ids of the
// customers.
func (s *Store) ChannelsOfCustomers(ctx context.Context, a Application, first, last CustomerKey) (map[string][]CustomerChannel, error) {
	all := map[string][]CustomerChannel{}
	err := s.read.rows(ctx, `SELECT cc.customer, cc.channel, cc.is_default, cc.pinned FROM customers c
		JOIN customer_channels cc ON cc.customer = c.id WHERE c.application = $1 AND (c.name, c.id) >= ($2, $3) AND (c.name, c.id) <= ($4, $5)
		ORDER BY c.name, c.id, cc.channel`, args{a.ID, first.Name, first.ID, last.Name, last.ID}, func(scan func(...any) error) error {
		var customer string
		var c CustomerChannel
		err := scan(&customer, &c.Channel, &c.Default, &c.Pinned)
		all[customer] = append(all[customer], c)
		return err
	})
	return all, err
}

// CustomersAt returns at most limit customers of an application by name, after the first offset of them, and how many there are; archived
// ones too if archived is true. They have no Channels.
func (s *Store) CustomersAt(ctx context.Context, a Application, archived bool, offset, limit int) (all []Customer, total int, err error) {
	if err = s.read.row(ctx, `SELECT COUNT(*) FROM customers WHERE application = $1 AND (archived_at = 0 OR $2 = 1)`,
		args{a.ID, truth(archived)}, &total); err != nil {
		return nil, 0, err
	}
	err = s.read.rows(ctx, `SELECT `+customerColumns+` FROM customers WHERE application = $1 AND (archived_at = 0 OR $2 = 1)
		ORDER BY name, id LIMIT $3 OFFSET $4`, args{a.ID, truth(archived), limit, offset}, func(scan func(...any) error) error {
		one, err := scanCustomer(a.Account, scan)
		all = append(all, one)
		return err
	})
	return all, total, err
}

// CustomersNamed returns at most limit customers of an application with a name, by id; archived ones too if archived is true. They have no
// Channels.
func (s *Store) CustomersNamed(ctx context.Context, a Application, label string, archived bool, limit int) (all []Customer, err error) {
	err = s.read.rows(ctx, `SELECT `+customerColumns+` FROM customers WHERE application = $1 AND name = $2 AND (archived_at = 0 OR $3 = 1)
		ORDER BY id LIMIT $4`, args{a.ID, label, truth(archived), limit}, func(scan func(...any) error) error {
		one, err := scanCustomer(a.Account, scan)
		all = append(all, one)
		return err
	})
	return all, err
}

// SlugOfCustomer returns the slug of the application of a customer of an account. Errors: fault.ObjectNotFound.
func (s *Store) SlugOfCustomer(ctx context.Context, account name.Account, id string) (slug string, err error) {
	err = s.read.row(ctx, `SELECT a.slug FROM customers c JOIN applications a ON a.id = c.application WHERE c.id = $1 AND c.account = $2`,
		args{id, account.String()}, &slug)
	if errors.Is(err, sql.ErrNoRows) {
		err = fault.ObjectNotFound.New("the account has no customer %s", name.Clip(id))
	}
	return slug, err
}

// Licensed is the customer whose licence, or one of whose tokens, has a hash.
type Licensed struct {
	Customer
	Slug  string // of the application
	Token string // name of the token; "" for the licence itself
}

// Licensed returns who has a password with a SHA-256, in hexadecimal digits. Archived and expired customers are returned too. The customer
// has no Channels.
//
// Errors: fault.ObjectNotFound.
func (s *Store) Licensed(ctx context.Context, hash string) (l Licensed, err error) {
	var account string
	l.Customer, err = scanCustomer(name.Account{}, func(dest ...any) error {
		err := s.read.row(ctx, `SELECT c.id, c.application, c.name, c.custom_id, c.sealed, c.license_hash, c.license_sequence, c.expires_at,
			c.archived_at, c.details, c.version, c.created_at, c.updated_at, c.created_by, c.license_used_at,
			c.license_address, c.account, a.slug, t.name
			FROM (SELECT id AS customer, '' AS name FROM customers WHERE license_hash = $1
				UNION ALL SELECT customer, name FROM customer_tokens WHERE hash = $1) t
			JOIN customers c ON c.id = t.customer JOIN applications a ON a.id = c.application LIMIT 1`,
			args{hash}, append(dest, &account, &l.Slug, &l.Token)...)
		if errors.Is(err, sql.ErrNoRows) {
			return fault.ObjectNotFound.New("no customer has this licence")
		}
		return err
	})
	if err != nil {
		return Licensed{}, err
	}
	l.Account, err = name.ParseAccount(account)
	return l, err
}

// PushedAt returns when an image was pushed; zero if it is not stored.
func (s *Store) PushedAt(ctx context.Context, repository int64, d name.Digest) (time.Time, error) {
	var at int64
	err := s.read.row(ctx, `SELECT pushed_at FROM images WHERE repository = $1 AND digest = $2 AND deleted_at = 0`,
		args{repository, d.String()}, &at)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return fromMicros(at), err
}
