package meta

import (
	"context"
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// CustomerToken is a further password of a customer, such as one for each of its clusters.
type CustomerToken struct {
	Customer    string // id
	Name        string
	Hash        string // SHA-256, in hexadecimal digits
	CreatedAt   time.Time
	CreatedBy   string    // ARN
	RotatedAt   time.Time // zero for never
	LastUsedAt  time.Time // zero for never
	LastAddress string    // of the client that used it last; "" for never
}

func noToken(label string) error {
	return fault.ObjectNotFound.New("the customer has no token %s", name.Clip(label))
}

// PutCustomerToken stores a new token of a customer.
//
// Errors: fault.ObjectNotFound (the customer), fault.ObjectAlreadyExists, fault.LimitExceeded.
func (s *Store) PutCustomerToken(ctx context.Context, k CustomerToken) (CustomerToken, error) {
	err := s.write.do(ctx, func(t *tx) error {
		var one int
		found, err := t.one(`SELECT 1 FROM customers WHERE id = $1`, args{k.Customer}, &one)
		if err == nil && !found {
			err = noCustomer(k.Customer)
		}
		if err == nil {
			err = t.room(`SELECT COUNT(*) FROM customer_tokens WHERE customer = $1`, k.Customer, MaxTokens, "tokens of a customer")
		}
		if err != nil {
			return err
		}
		now := micros(s.now())
		k.CreatedAt = fromMicros(now)
		n, err := t.exec(`INSERT INTO customer_tokens (customer, name, hash, created_at, created_by, rotated_at, last_used_at, last_address)
			VALUES ($1, $2, $3, $4, $5, 0, 0, '') ON CONFLICT (customer, name) DO NOTHING`, k.Customer, k.Name, k.Hash, now, k.CreatedBy)
		if err == nil && n == 0 {
			err = fault.ObjectAlreadyExists.New("the customer already has a token %s: rotate or revoke it", k.Name)
		}
		return err
	})
	return k, err
}

// RotateCustomerToken replaces the hash of a token. The earlier token is not valid any more. Errors: fault.ObjectNotFound.
func (s *Store) RotateCustomerToken(ctx context.Context, customer, label, hash string) error {
	return s.write.do(ctx, func(t *tx) error {
		n, err := t.exec(`UPDATE customer_tokens SET hash = $3, rotated_at = $4 WHERE customer = $1 AND name = $2`,
			customer, label, hash, micros(s.now()))
		if err == nil && n == 0 {
			err = noToken(label)
		}
		t.touch(scope{kind: scopeIdentity})
		return err
	})
}

// DeleteCustomerToken deletes a token. Errors: fault.ObjectNotFound.
func (s *Store) DeleteCustomerToken(ctx context.Context, customer, label string) error {
	return s.write.do(ctx, func(t *tx) error {
		n, err := t.exec(`DELETE FROM customer_tokens WHERE customer = $1 AND name = $2`, customer, label)
		if err == nil && n == 0 {
			err = noToken(label)
		}
		t.touch(scope{kind: scopeIdentity})
		return err
	})
}

// CustomerTokens returns the tokens of a customer, at most MaxTokens, by name.
func (s *Store) CustomerTokens(ctx context.Context, customer string) (all []CustomerToken, err error) {
	err = s.read.rows(ctx, `SELECT customer, name, hash, created_at, created_by, rotated_at, last_used_at, last_address FROM customer_tokens
		WHERE customer = $1 ORDER BY name`, args{customer}, func(scan func(...any) error) error {
		var k CustomerToken
		var created, rotated, used int64
		err := scan(&k.Customer, &k.Name, &k.Hash, &created, &k.CreatedBy, &rotated, &used, &k.LastAddress)
		k.CreatedAt, k.RotatedAt, k.LastUsedAt = fromMicros(created), fromMicros(rotated), fromMicros(used)
		all = append(all, k)
		return err
	})
	return all, err
}

// CustomerTokenUse is the last use of a token or, without a Name, of the id of the licence.
type CustomerTokenUse struct {
	Customer, Name string
	At             time.Time
	Address        string
}

// CustomerTokensUsed stores last uses. What is not stored any more, or was used later, stays as it is.
func (s *Store) CustomerTokensUsed(ctx context.Context, uses []CustomerTokenUse) error {
	return s.write.do(ctx, func(t *tx) error {
		for _, u := range uses {
			if u.Name == "" {
				if _, err := t.exec(`UPDATE customers SET license_used_at = $2, license_address = $3 WHERE id = $1 AND license_used_at < $2`,
					u.Customer, micros(u.At), u.Address); err != nil {
					return err
				}
				continue
			}
			if _, err := t.exec(`UPDATE customer_tokens SET last_used_at = $3, last_address = $4 WHERE customer = $1 AND name = $2
				AND last_used_at < $3`, u.Customer, u.Name, micros(u.At), u.Address); err != nil {
				return err
			}
		}
		return nil
	})
}
