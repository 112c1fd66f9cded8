package meta

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Limits of what vendors keep.
const (
	MaxApplications = 200     // of an account
	MaxChannels     = 100     // of an application, with archived ones
	MaxReleases     = 100_000 // of an application
	MaxReleaseBytes = 4 << 30 // of all releases of an application, compressed
	MaxCustomers    = 100_000 // of an application
	MaxTokens       = 100     // of a customer
	MaxEntitlements = 1_000   // of a customer, and as many for all customers of an application
)

// Application is what a vendor ships to customers.
type Application struct {
	ID          string // 27 letters and digits
	Account     name.Account
	Slug        string // unique in the account
	Name        string
	Sealed      []byte // private key, sealed with the ARN as the context
	PublicKey   string // PEM
	LastRelease int64  // sequence of the newest release; 0 for none
	CreatedAt   time.Time
	CreatedBy   string // ARN
}

// ARN returns the ARN of an application, which is the resource of its operations and the context of its seal.
func (a Application) ARN() string {
	return name.ARN{Partition: "aws", Service: "ecrin", Account: a.Account, Resource: "application/" + a.Slug}.String()
}

func noApplication(slug string) error {
	return fault.ObjectNotFound.New("there is no application %s in this account", name.Clip(slug))
}

const applicationColumns = `id, slug, name, sealed, public_key, last_release, created_at, created_by`

func scanApplication(account name.Account, scan func(...any) error) (Application, error) {
	a := Application{Account: account}
	var created int64
	err := scan(&a.ID, &a.Slug, &a.Name, &a.Sealed, &a.PublicKey, &a.LastRelease, &created, &a.CreatedBy)
	a.CreatedAt = fromMicros(created)
	return a, err
}

// PutApplication stores a new application with its first channels.
//
// Errors: fault.AccountNotFound, fault.ObjectAlreadyExists (the slug), fault.LimitExceeded.
func (s *Store) PutApplication(ctx context.Context, a Application, channels []Channel) (Application, error) {
	err := s.write.do(ctx, func(t *tx) error {
		if err := accountExists(t, a.Account); err != nil {
			return err
		}
		if err := t.room(`SELECT COUNT(*) FROM applications WHERE account = $1`, a.Account.String(), MaxApplications,
			"applications of an account"); err != nil {
			return err
		}
		now := micros(s.now())
		a.CreatedAt = fromMicros(now)
		n, err := t.exec(`INSERT INTO applications (id, account, slug, name, sealed, public_key, last_release, release_bytes, created_at,
			created_by) VALUES ($1, $2, $3, $4, $5, $6, 0, 0, $7, $8) ON CONFLICT (account, slug) DO NOTHING`,
			a.ID, a.Account.String(), a.Slug, a.Name, a.Sealed, a.PublicKey, now, a.CreatedBy)
		if err == nil && n == 0 {
			err = fault.ObjectAlreadyExists.New("the account already has an application %s", a.Slug)
		}
		if err != nil {
			return err
		}
		for _, c := range channels {
			c.Application = a.ID
			if err := t.putChannel(c, now); err != nil {
				return err
			}
		}
		return nil
	})
	return a, err
}

// room checks that there are fewer than limit rows; count counts them by one argument. Errors: fault.LimitExceeded.
func (t *tx) room(count, of string, limit int, label string) error {
	var n int
	_, err := t.one(count, args{of}, &n)
	if err == nil && n >= limit {
		err = fault.LimitExceeded.New("there can be at most %d %s", limit, label)
	}
	return err
}

// Application returns an application by its slug. Errors: fault.ObjectNotFound.
func (s *Store) Application(ctx context.Context, account name.Account, slug string) (Application, error) {
	return scanApplication(account, func(dest ...any) error {
		err := s.read.row(ctx, `SELECT `+applicationColumns+` FROM applications WHERE account = $1 AND slug = $2`,
			args{account.String(), slug}, dest...)
		if errors.Is(err, sql.ErrNoRows) {
			return noApplication(slug)
		}
		return err
	})
}

// ApplicationByID returns an application of an account by its id. Errors: fault.ObjectNotFound.
func (s *Store) ApplicationByID(ctx context.Context, account name.Account, id string) (Application, error) {
	var of string
	a, err := scanApplication(account, func(dest ...any) error {
		return s.read.row(ctx, `SELECT `+applicationColumns+`, account FROM applications WHERE id = $1`, args{id}, append(dest, &of)...)
	})
	if errors.Is(err, sql.ErrNoRows) || err == nil && of != account.String() {
		return Application{}, noApplication(id)
	}
	return a, err
}

// Applications returns the applications of an account, at most MaxApplications, in the order of their slugs.
func (s *Store) Applications(ctx context.Context, account name.Account) (all []Application, err error) {
	err = s.read.rows(ctx, `SELECT `+applicationColumns+` FROM applications WHERE account = $1 ORDER BY slug`, args{account.String()},
		func(scan func(...any) error) error {
			one, err := scanApplication(account, scan)
			all = append(all, one)
			return err
		})
	return all, err
}

// DeleteApplication deletes an application with its channels, releases and customers. An application with customers that are not archived
// is deleted only with force.
//
// Errors: fault.ObjectNotFound, fault.ObjectInUse.
func (s *Store) DeleteApplication(ctx context.Context, a Application, force bool) error {
	return s.write.do(ctx, func(t *tx) error {
		var customer string
		found, err := t.one(`SELECT name FROM customers WHERE application = $1 AND archived_at = 0 ORDER BY name LIMIT 1`, args{a.ID}, &customer)
		if err == nil && found && !force {
			err = fault.ObjectInUse.New("the application %s has customers, such as %s: archive them first, or force it", a.Slug, customer)
		}
		if err != nil {
			return err
		}
		if _, err := t.exec(`DELETE FROM customers WHERE application = $1`, a.ID); err != nil { // their channels cannot go before them
			return err
		}
		if _, err := t.exec(`DELETE FROM shared_registries WHERE account = $1 AND application = $2`, a.Account.String(), a.ID); err != nil {
			return err
		}
		n, err := t.exec(`DELETE FROM applications WHERE id = $1`, a.ID)
		if err == nil && n == 0 {
			err = noApplication(a.Slug)
		}
		t.touch(scope{kind: scopeIdentity}, scope{kind: scopeOffers})
		return err
	})
}
