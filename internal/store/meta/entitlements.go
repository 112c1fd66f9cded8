package meta

import (
	"context"
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Entitlement is a right of customers to pull images.
type Entitlement struct {
	ID          string // 27 letters and digits
	Application string // id
	Customer    string // id; "" for all customers of the application
	Rule        string // JSON
	CreatedAt   time.Time
	CreatedBy   string // ARN
}

// PutEntitlement stores a new entitlement.
//
// Errors: fault.ObjectNotFound (the application, the customer), fault.LimitExceeded.
func (s *Store) PutEntitlement(ctx context.Context, e Entitlement) (Entitlement, error) {
	err := s.write.do(ctx, func(t *tx) error {
		var one int
		found, err := t.one(`SELECT 1 FROM applications WHERE id = $1`, args{e.Application}, &one)
		if err == nil && !found {
			err = noApplication(e.Application)
		}
		if err == nil && e.Customer != "" {
			var application string
			found, err = t.one(`SELECT application FROM customers WHERE id = $1`, args{e.Customer}, &application)
			if err == nil && (!found || application != e.Application) {
				err = noCustomer(e.Customer)
			}
		}
		if err != nil {
			return err
		}
		var n int
		if _, err := t.one(`SELECT COUNT(*) FROM entitlements WHERE application = $1 AND customer = $2`,
			args{e.Application, e.Customer}, &n); err != nil {
			return err
		}
		if n >= MaxEntitlements {
			return fault.LimitExceeded.New("there can be at most %d entitlements of a customer, or of all", MaxEntitlements)
		}
		now := micros(s.now())
		e.CreatedAt = fromMicros(now)
		t.touch(scope{kind: scopeIdentity})
		_, err = t.exec(`INSERT INTO entitlements (id, application, customer, rule, created_at, created_by) VALUES ($1, $2, $3, $4, $5, $6)`,
			e.ID, e.Application, e.Customer, e.Rule, now, e.CreatedBy)
		return err
	})
	return e, err
}

// Entitlements returns the entitlements of a customer, those of all customers first; those of all alone for "".
func (s *Store) Entitlements(ctx context.Context, application, customer string) (all []Entitlement, err error) {
	err = s.read.rows(ctx, `SELECT id, application, customer, rule, created_at, created_by FROM entitlements
		WHERE application = $1 AND customer IN ('', $2) ORDER BY customer, id`, args{application, customer},
		func(scan func(...any) error) error {
			var e Entitlement
			var created int64
			err := scan(&e.ID, &e.Application, &e.Customer, &e.Rule, &created, &e.CreatedBy)
			e.CreatedAt = fromMicros(created)
			all = append(all, e)
			return err
		})
	return all, err
}

// DeleteEntitlement deletes an entitlement of an application. Errors: fault.ObjectNotFound.
func (s *Store) DeleteEntitlement(ctx context.Context, application, id string) error {
	return s.write.do(ctx, func(t *tx) error {
		n, err := t.exec(`DELETE FROM entitlements WHERE application = $1 AND id = $2`, application, id)
		if err == nil && n == 0 {
			err = fault.ObjectNotFound.New("the application has no entitlement %s", name.Clip(id))
		}
		t.touch(scope{kind: scopeIdentity})
		return err
	})
}
