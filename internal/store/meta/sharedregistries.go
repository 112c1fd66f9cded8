package meta

import (
	"context"
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// SharedRegistry is an integration whose registry the customers of an application, or of all applications of its account, get images of.
type SharedRegistry struct {
	Account     name.Account
	Integration int64  // id
	Application string // id; "" for all
	Uncached    bool   // layers are not stored
	CreatedAt   time.Time
	CreatedBy   string // ARN
}

// ShareRegistry shares an integration, or changes how it is shared with the same application, or all.
//
// Errors: fault.IntegrationNotFound, fault.ObjectNotFound (the application).
func (s *Store) ShareRegistry(ctx context.Context, r SharedRegistry) error {
	return s.write.do(ctx, func(t *tx) error {
		stored, found, err := t.integration(r.Integration)
		if err == nil && (!found || stored.Account != r.Account) {
			err = noIntegration("of this number")
		}
		if err == nil && r.Application != "" {
			var account string
			found, err = t.one(`SELECT account FROM applications WHERE id = $1`, args{r.Application}, &account)
			if err == nil && (!found || account != r.Account.String()) {
				err = noApplication(r.Application)
			}
		}
		if err != nil {
			return err
		}
		_, err = t.exec(`INSERT INTO shared_registries (account, integration, application, uncached, created_at, created_by)
			VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (integration, application) DO UPDATE SET uncached = excluded.uncached`,
			r.Account.String(), r.Integration, r.Application, truth(r.Uncached), micros(s.now()), r.CreatedBy)
		return err
	})
}

// UnshareRegistry ends that an integration is shared with an application, or with all.
//
// Errors: fault.ObjectNotFound (it was not).
func (s *Store) UnshareRegistry(ctx context.Context, r SharedRegistry) error {
	return s.write.do(ctx, func(t *tx) error {
		n, err := t.exec(`DELETE FROM shared_registries WHERE integration = $1 AND application = $2`, r.Integration, r.Application)
		if err == nil && n == 0 {
			err = fault.ObjectNotFound.New("the integration is not shared so")
		}
		return err
	})
}

// SharedRegistries returns how the integrations of an account are shared, in the order of the applications.
func (s *Store) SharedRegistries(ctx context.Context, account name.Account) ([]SharedRegistry, error) {
	return s.sharedRegistries(ctx, account, `SELECT integration, application, uncached, created_at, created_by FROM shared_registries
		WHERE account = $1 ORDER BY application, integration`, account.String())
}

// RegistriesFor returns which integrations are shared with an application: by itself, and with all of the account.
func (s *Store) RegistriesFor(ctx context.Context, account name.Account, application string) ([]SharedRegistry, error) {
	return s.sharedRegistries(ctx, account, `SELECT integration, application, uncached, created_at, created_by FROM shared_registries
		WHERE account = $1 AND application IN ('', $2) ORDER BY application, integration`, account.String(), application)
}

func (s *Store) sharedRegistries(ctx context.Context, account name.Account, query string, values ...any) (all []SharedRegistry, err error) {
	err = s.read.rows(ctx, query, values, func(scan func(...any) error) error {
		r := SharedRegistry{Account: account}
		var uncached int
		var created int64
		err := scan(&r.Integration, &r.Application, &uncached, &created, &r.CreatedBy)
		r.Uncached, r.CreatedAt = uncached != 0, fromMicros(created)
		all = append(all, r)
		return err
	})
	return all, err
}
