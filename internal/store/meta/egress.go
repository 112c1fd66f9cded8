package meta

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/event"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// How many images have rows in a month, besides the one for all others: of a customer, and of all customers together.
const (
	MaxEgressImages      = 1000
	maxEgressImagesOfAll = 10_000
)

// Month is a month of the calendar in UTC, such as 202611.
type Month int64

// MonthOf returns the month of a time.
func MonthOf(t time.Time) Month { t = t.UTC(); return Month(t.Year()*100 + int(t.Month())) }

// ParseMonth returns the month of a text such as 2026-11. Errors: fault.InvalidParameter.
func ParseMonth(text string) (Month, error) {
	t, err := time.Parse("2006-01", text)
	if err != nil {
		return 0, fault.InvalidParameter.New("want a month such as 2026-11, got %q", name.Clip(text))
	}
	return MonthOf(t), nil
}

// String returns a text such as 2026-11.
func (m Month) String() string { return fmt.Sprintf("%04d-%02d", m/100, m%100) }

// Egress is what was sent to a customer of an image in a month.
type Egress struct {
	Application string // id
	Month       Month
	Customer    string // id; "" for all together
	Kind        string // see usage.PullKind; "" with Image
	Image       string // "" for all that has no row of its own
	Pulls       int64
	Sent        int64 // bytes
}

const (
	addEgress = `UPDATE egress SET pulls = pulls + $6, sent = sent + $7
		WHERE application = $1 AND month = $2 AND customer = $3 AND kind = $4 AND image = $5`
	insertEgress = `INSERT INTO egress (application, month, customer, kind, image, pulls, sent) VALUES ($1, $2, $3, $4, $5, $6, $7)`
	countEgress  = `SELECT COUNT(*) FROM egress WHERE application = $1 AND month = $2 AND customer = $3`
	addMonth     = `INSERT INTO egress_months (application, month, customer, pulls, sent) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (application, month, customer) DO UPDATE SET pulls = egress_months.pulls + excluded.pulls,
			sent = egress_months.sent + excluded.sent`
)

// AddEgress adds what was sent to the rows of images, and to the sums of customers and applications, in one
// transaction. The thresholds that are reached by it get their events. What is of applications that do not exist is left out.
func (s *Store) AddEgress(ctx context.Context, all []Egress) error {
	return s.write.doMany(ctx, 4*len(all), func(t *tx) error {
		known := map[string]bool{}
		type key struct {
			application string
			month       Month
			customer    string
		}
		var sums []key
		seen := map[key]bool{}
		for _, e := range all {
			found, err := t.isApplication(e.Application, known)
			if err != nil {
				return err
			}
			if !found {
				continue
			}
			for _, customer := range []string{e.Customer, ""} {
				one := e
				one.Customer = customer
				if err := t.addEgress(one); err != nil {
					return err
				}
				if _, err := t.exec(addMonth, e.Application, int64(e.Month), customer, e.Pulls, e.Sent); err != nil {
					return err
				}
				if k := (key{e.Application, e.Month, customer}); !seen[k] {
					seen[k], sums = true, append(sums, k)
				}
			}
		}
		for _, k := range sums {
			if err := t.reached(k.application, k.month, k.customer, s.now()); err != nil {
				return err
			}
		}
		return nil
	})
}

func (t *tx) addEgress(e Egress) error {
	in := args{e.Application, int64(e.Month), e.Customer, e.Kind, e.Image, e.Pulls, e.Sent}
	for range 2 {
		n, err := t.exec(addEgress, in...)
		if err != nil || n > 0 {
			return err
		}
		if e.Image == "" {
			break
		}
		var have int
		if err := t.row(t.ctx, countEgress, in[:3], &have); err != nil {
			return err
		}
		if have < MaxEgressImages || e.Customer == "" && have < maxEgressImagesOfAll {
			break
		}
		e.Image, in[3], in[4] = "", "", ""
	}
	_, err := t.exec(insertEgress, in...)
	return err
}

// reached stores that the threshold of a customer, or of an application, was reached in a month, with its event, unless
// it was stored before.
func (t *tx) reached(application string, month Month, customer string, now time.Time) error {
	e := event.Egress{CustomerID: customer, Month: month.String()}
	var account, region string
	found, err := t.one(`SELECT h.bytes, m.sent, h.region, a.account, a.slug, COALESCE(c.name, '') FROM egress_thresholds h
		JOIN egress_months m ON m.application = h.application AND m.customer = h.customer AND m.month = $3
		JOIN applications a ON a.id = h.application LEFT JOIN customers c ON c.id = h.customer
		WHERE h.application = $1 AND h.customer = $2`, args{application, customer, int64(month)}, &e.Threshold, &e.Sent, &region, &account,
		&e.Application, &e.CustomerName)
	if err != nil || !found || e.Sent < e.Threshold {
		return err
	}
	n, err := t.exec(`INSERT INTO egress_reached (application, month, customer, bytes, at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (application, month, customer, bytes) DO NOTHING`, application, int64(month), customer, e.Threshold, micros(now))
	if err != nil || n == 0 {
		return err
	}
	at, err := registryOf(account, region)
	if err != nil {
		return err
	}
	return t.event(event.EgressReached(t.origin(at, now), e))
}

func registryOf(account, region string) (r name.Registry, err error) {
	if r.Account, err = name.ParseAccount(account); err == nil {
		r.Region, err = name.ParseRegion(region)
	}
	return r, err
}

// from returns the first text after one, or with first the first text of all. Stored texts have no control characters.
func from(after string, first bool) string {
	if first {
		return ""
	}
	return after + "\x01"
}

// EgressKey is where a page of egress begins: after this row.
type EgressKey struct{ Customer, Kind, Image string }

// Egress returns at most limit rows of customers in a month after a key, by customer and image.
func (s *Store) Egress(ctx context.Context, application string, month Month, after EgressKey, limit int) (all []Egress, err error) {
	if after == (EgressKey{}) {
		after.Customer = from("", false) // not the rows of all together
	}
	err = s.read.rows(ctx, `SELECT customer, kind, image, pulls, sent FROM egress WHERE application = $1 AND month = $2
		AND (customer, kind, image) > ($3, $4, $5) ORDER BY customer, kind, image LIMIT $6`,
		args{application, int64(month), after.Customer, after.Kind, after.Image, limit}, scanEgress(application, month, &all))
	return all, err
}

func scanEgress(application string, month Month, all *[]Egress) func(scan func(...any) error) error {
	return func(scan func(...any) error) error {
		e := Egress{Application: application, Month: month}
		err := scan(&e.Customer, &e.Kind, &e.Image, &e.Pulls, &e.Sent)
		*all = append(*all, e)
		return err
	}
}

// EgressOfImages returns at most limit rows of a customer in a month after a key, by image; with customer "" the sums of all customers.
// first is true for the first page, whose rows have no key before them.
func (s *Store) EgressOfImages(ctx context.Context, application string, month Month, customer string, after EgressKey,
	first bool, limit int) (
	all []Egress, err error) {
	err = s.read.rows(ctx, `SELECT customer, kind, image, pulls, sent FROM egress WHERE application = $1 AND month = $2 AND customer = $3
		AND (kind, image) >= ($4, $5) ORDER BY kind, image LIMIT $6`, args{application, int64(month), customer, after.Kind,
		from(after.Image, first), limit}, scanEgress(application, month, &all))
	return all, err
}

// EgressOfCustomers returns at most limit sums of a month after that of a customer, by customer; with first also the one of all customers,
// which is the first.
func (s *Store) EgressOfCustomers(ctx context.Context, application string, month Month, after string, first bool, limit int) (
	all []Egress, err error) {
	err = s.read.rows(ctx, `SELECT customer, pulls, sent FROM egress_months WHERE application = $1 AND month = $2 AND customer >= $3
		ORDER BY customer LIMIT $4`, args{application, int64(month), from(after, first), limit}, func(scan func(...any) error) error {
		e := Egress{Application: application, Month: month}
		err := scan(&e.Customer, &e.Pulls, &e.Sent)
		all = append(all, e)
		return err
	})
	return all, err
}

// DeleteOldEgress deletes at most limit rows of images, and as many of each other kind, of months before one. It returns how many.
func (s *Store) DeleteOldEgress(ctx context.Context, application string, before Month, limit int) (deleted int, err error) {
	err = s.write.doMany(ctx, 3*limit, func(t *tx) error {
		deleted = 0
		for _, text := range []string{
			`DELETE FROM egress WHERE (application, month, customer, kind, image) IN (SELECT application, month, customer, kind, image FROM egress
				WHERE application = $1 AND month < $2 ORDER BY month LIMIT $3)`,
			`DELETE FROM egress_months WHERE (application, month, customer) IN (SELECT application, month, customer FROM egress_months
				WHERE application = $1 AND month < $2 ORDER BY month LIMIT $3)`,
			`DELETE FROM egress_reached WHERE (application, month, customer, bytes) IN (SELECT application, month, customer, bytes
				FROM egress_reached WHERE application = $1 AND month < $2 ORDER BY month LIMIT $3)`,
		} {
			n, err := t.exec(text, application, int64(before), limit)
			if err != nil {
				return err
			}
			deleted += int(n)
		}
		return nil
	})
	return deleted, err
}

// EgressThreshold is an amount that may be sent in a month before there is an event.
type EgressThreshold struct {
	Application string // id
	Customer    string // id; "" for the sum of all customers
	Bytes       int64
	Region      string // of the events
	UpdatedAt   time.Time
	UpdatedBy   string // ARN
}

// PutEgressThreshold stores a threshold, or with 0 bytes deletes it. If this month has reached it already, it has its event at once.
//
// Errors: fault.ObjectNotFound (the application, the customer).
func (s *Store) PutEgressThreshold(ctx context.Context, h EgressThreshold) (EgressThreshold, error) {
	err := s.write.do(ctx, func(t *tx) error {
		one := 0
		found, err := t.one(`SELECT 1 FROM applications WHERE id = $1`, args{h.Application}, &one)
		if err == nil && !found {
			err = noApplication(h.Application)
		}
		if err == nil && h.Customer != "" {
			var of string
			if _, err = t.one(`SELECT application FROM customers WHERE id = $1`, args{h.Customer}, &of); err == nil && of != h.Application {
				err = noCustomer(h.Customer)
			}
		}
		if err != nil {
			return err
		}
		now := s.now()
		h.UpdatedAt = fromMicros(micros(now))
		if h.Bytes == 0 {
			_, err := t.exec(`DELETE FROM egress_thresholds WHERE application = $1 AND customer = $2`, h.Application, h.Customer)
			return err
		}
		if _, err := t.exec(`INSERT INTO egress_thresholds (application, customer, bytes, region, updated_at, updated_by)
			VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (application, customer) DO UPDATE SET bytes = excluded.bytes, region = excluded.region,
				updated_at = excluded.updated_at, updated_by = excluded.updated_by`,
			h.Application, h.Customer, h.Bytes, h.Region, micros(now), h.UpdatedBy); err != nil {
			return err
		}
		return t.reached(h.Application, MonthOf(now), h.Customer, now)
	})
	return h, err
}

// EgressThresholds returns at most limit thresholds of an application after that of a customer, by customer; with first also the one of all
// customers, which is the first.
func (s *Store) EgressThresholds(ctx context.Context, application, after string, first bool, limit int) (all []EgressThreshold, err error) {
	err = s.read.rows(ctx, `SELECT customer, bytes, region, updated_at, updated_by FROM egress_thresholds WHERE application = $1
		AND customer >= $2 ORDER BY customer LIMIT $3`, args{application, from(after, first), limit},
		func(scan func(...any) error) error {
			h := EgressThreshold{Application: application}
			var at int64
			err := scan(&h.Customer, &h.Bytes, &h.Region, &at, &h.UpdatedBy)
			h.UpdatedAt = fromMicros(at)
			all = append(all, h)
			return err
		})
	return all, err
}

// EgressThreshold returns the threshold of a customer, or with "" that of all. Errors: fault.ObjectNotFound.
func (s *Store) EgressThreshold(ctx context.Context, application, customer string) (EgressThreshold, error) {
	h := EgressThreshold{Application: application, Customer: customer}
	var at int64
	err := s.read.row(ctx, `SELECT bytes, region, updated_at, updated_by FROM egress_thresholds WHERE application = $1 AND customer = $2`,
		args{application, customer}, &h.Bytes, &h.Region, &at, &h.UpdatedBy)
	if errors.Is(err, sql.ErrNoRows) {
		err = fault.ObjectNotFound.New("there is no threshold")
	}
	h.UpdatedAt = fromMicros(at)
	return h, err
}

// EgressOf returns what was sent to a customer, or with "" to all, in a month, and when that has reached an amount; the zero time if it has
// not.
func (s *Store) EgressOf(ctx context.Context, h EgressThreshold, month Month) (sent int64, reached time.Time, err error) {
	err = s.read.row(ctx, `SELECT sent FROM egress_months WHERE application = $1 AND month = $2 AND customer = $3`,
		args{h.Application, int64(month), h.Customer}, &sent)
	if err == nil {
		var at int64
		err = s.read.row(ctx, `SELECT at FROM egress_reached WHERE application = $1 AND month = $2 AND customer = $3 AND bytes = $4`,
			args{h.Application, int64(month), h.Customer, h.Bytes}, &at)
		reached = fromMicros(at)
	}
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return sent, reached, err
}

// PullDenial is a pull of a customer that was denied.
type PullDenial struct {
	Application string // id
	Region      string // of the event
	Customer    string // id; "" for a licence that does not exist
	Image       string // "" for all others
	Code        string
	Request     string
	At          time.Time
}

// The events of an application in an hour, and those of one customer of it.
const (
	maxDenialsOfHour     = 200
	maxDenialsOfCustomer = 20
)

// PutPullDenials stores the events of denials: one for a customer, an image and an hour. Beyond the limits of an application and a customer
// there is one event for all other images, and then none. Licences that do not exist are one customer, and all images are one for them.
func (s *Store) PutPullDenials(ctx context.Context, all []PullDenial) error {
	return s.write.doMany(ctx, 2*len(all), func(t *tx) error {
		known := map[string]bool{}
		for _, d := range all {
			found, err := t.isApplication(d.Application, known)
			if err != nil {
				return err
			}
			if !found {
				continue
			}
			if err := t.putPullDenial(d); err != nil {
				return err
			}
		}
		return nil
	})
}

func (t *tx) putPullDenial(d PullDenial) error {
	hour := micros(d.At.UTC().Truncate(time.Hour))
	if d.Customer == "" {
		d.Image = ""
	}
	one := 0
	if known, err := t.one(`SELECT 1 FROM pull_denials WHERE application = $1 AND hour = $2 AND customer = $3 AND image = $4`,
		args{d.Application, hour, d.Customer, d.Image}, &one); err != nil || known {
		return err
	}
	var inAll, own int
	if err := t.row(t.ctx, `SELECT COUNT(*) FROM pull_denials WHERE application = $1 AND hour = $2`,
		args{d.Application, hour}, &inAll); err != nil {
		return err
	}
	if err := t.row(t.ctx, `SELECT COUNT(*) FROM pull_denials WHERE application = $1 AND hour = $2 AND customer = $3`,
		args{d.Application, hour, d.Customer}, &own); err != nil {
		return err
	}
	switch {
	case own >= maxDenialsOfCustomer:
		d.Image = ""
	case inAll >= maxDenialsOfHour:
		if own > 0 {
			return nil
		}
		d.Image = "" // each customer has one
	}
	n, err := t.exec(`INSERT INTO pull_denials (application, hour, customer, image) VALUES ($1, $2, $3, $4)
		ON CONFLICT (application, hour, customer, image) DO NOTHING`, d.Application, hour, d.Customer, d.Image)
	if err != nil || n == 0 {
		return err
	}
	e := event.DeniedPull{CustomerID: d.Customer, Image: d.Image, Code: d.Code, RequestID: d.Request}
	var account string
	if found, err := t.one(`SELECT a.account, a.slug, COALESCE(c.name, '') FROM applications a LEFT JOIN customers c ON c.id = $2
		WHERE a.id = $1`, args{d.Application, d.Customer}, &account, &e.Application, &e.CustomerName); err != nil || !found {
		return err
	}
	at, err := registryOf(account, d.Region)
	if err != nil {
		return err
	}
	return t.event(event.PullDenied(t.origin(at, d.At), e))
}

// DeleteOldPullDenials deletes at most limit rows of hours before a time. It returns how many.
func (s *Store) DeleteOldPullDenials(ctx context.Context, application string, before time.Time, limit int) (deleted int, err error) {
	err = s.write.doMany(ctx, limit, func(t *tx) error {
		n, err := t.exec(`DELETE FROM pull_denials WHERE (application, hour, customer, image) IN (SELECT application, hour, customer, image
			FROM pull_denials WHERE application = $1 AND hour < $2 ORDER BY hour LIMIT $3)`, application, micros(before), limit)
		deleted = int(n)
		return err
	})
	return deleted, err
}
