package meta

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Integration says how a service outside of the installation is reached, and with which credentials.
type Integration struct {
	ID        int64
	Account   name.Account
	Name      string // of the account
	Kind      string
	Settings  string        // JSON of the kind, without secrets
	Scope     []string      // the runtimes that may use it; none for all
	Uses      []ObjectName  // what it names, runtimes among them; only for changes
	Sealed    []byte        // its secrets, sealed with the name as the context
	Serves    name.Registry // the destination of replications of the account that it stands for; zero for none
	Version   int64         // changes with each change of the fields above
	TestedAt  time.Time     // the last test; zero for never
	Error     string        // of the last test or copy; "" after a success
	CreatedAt time.Time
	UpdatedAt time.Time
	CreatedBy string // ARN
}

// ARN returns the ARN of an integration, which is the resource of its operations and the context of its seal.
func (i Integration) ARN() string {
	return name.ARN{Partition: "aws", Service: "ecrin", Account: i.Account, Resource: "integration/" + i.Name}.String()
}

// MaxIntegrations limits the integrations of an account.
const MaxIntegrations = 50

const integrationColumns = `id, account, name, kind, settings, scope, sealed, serves_account, serves_region, version, tested_at, error,
	created_at, updated_at, created_by`

func scanIntegration(scan func(...any) error) (i Integration, err error) {
	var account, scope, servesAccount, servesRegion string
	var tested, created, updated int64
	if err := scan(&i.ID, &account, &i.Name, &i.Kind, &i.Settings, &scope, &i.Sealed, &servesAccount, &servesRegion, &i.Version, &tested,
		&i.Error, &created, &updated, &i.CreatedBy); err != nil {
		return Integration{}, err
	}
	i.TestedAt, i.CreatedAt, i.UpdatedAt = fromMicros(tested), fromMicros(created), fromMicros(updated)
	var errs [3]error
	i.Account, errs[0] = name.ParseAccount(account)
	errs[1] = json.Unmarshal([]byte(scope), &i.Scope)
	if servesAccount != "" {
		i.Serves, errs[2] = parseRegistry(servesAccount, servesRegion)
	}
	return i, errors.Join(errs[:]...)
}

// parseRegistry returns the registry of an account and a region.
func parseRegistry(account, region string) (r name.Registry, err error) {
	var err2 error
	r.Account, err = name.ParseAccount(account)
	r.Region, err2 = name.ParseRegion(region)
	return r, errors.Join(err, err2)
}

// registryTexts returns account and region of a registry, empty for none.
func registryTexts(r name.Registry) (account, region string) {
	if r == (name.Registry{}) {
		return "", ""
	}
	return r.Account.String(), r.Region.String()
}

func noIntegration(label string) error {
	return fault.IntegrationNotFound.New("there is no integration %s in this account", name.Clip(label))
}

// CreateIntegration stores an integration. An account has at most limit, 0 for no limit.
//
// Errors: fault.AccountNotFound, fault.IntegrationAlreadyExists (the name, or the destination, has one), fault.LimitExceeded,
// fault.ObjectNotFound (of what it names).
func (s *Store) CreateIntegration(ctx context.Context, i Integration, limit int) (Integration, error) {
	scope, err := json.Marshal(i.Scope)
	if err != nil {
		return Integration{}, fmt.Errorf("encoding the scope of an integration: %w", err)
	}
	if len(i.Scope) == 0 {
		scope = []byte("[]")
	}
	err = s.write.do(ctx, func(t *tx) (err error) {
		if err := accountExists(t, i.Account); err != nil {
			return err
		}
		var n int
		if _, err := t.one(`SELECT COUNT(*) FROM (SELECT 1 FROM integrations WHERE account = $1 LIMIT $2) q`, args{i.Account.String(), limit},
			&n); err != nil {
			return err
		}
		if limit > 0 && n >= limit {
			return fault.LimitExceeded.New("an account can have at most %d integrations", limit)
		}
		if err := t.destinationFree(i); err != nil {
			return err
		}
		now := s.now()
		i.CreatedAt, i.UpdatedAt = fromMicros(micros(now)), fromMicros(micros(now))
		if i.ID, err = t.newID(now); err != nil {
			return err
		}
		i.Version = i.ID
		account, region := registryTexts(i.Serves)
		added, err := t.exec(`INSERT INTO integrations (`+integrationColumns+`)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0, '', $11, $11, $12) ON CONFLICT (account, name) DO NOTHING`,
			i.ID, i.Account.String(), i.Name, i.Kind, i.Settings, string(scope), i.Sealed, account, region, i.Version, micros(now), i.CreatedBy)
		if err == nil && added == 0 {
			err = fault.IntegrationAlreadyExists.New("the account already has an integration %s", i.Name)
		}
		if err == nil {
			err = t.setUses(i.Account, KindIntegration, i.Name, i.Uses)
		}
		if err == nil {
			err = t.configChanged(i.Account, now)
		}
		return err
	})
	return i, err
}

// destinationFree checks that no other integration of the account stands for the destination of i.
//
// Errors: fault.IntegrationAlreadyExists.
func (t *tx) destinationFree(i Integration) error {
	if i.Serves == (name.Registry{}) {
		return nil
	}
	var id int64
	var label string
	found, err := t.one(`SELECT id, name FROM integrations
		WHERE account = $1 AND serves_account = $2 AND serves_region = $3 AND serves_account <> ''`,
		args{i.Account.String(), i.Serves.Account.String(), i.Serves.Region.String()}, &id, &label)
	if err == nil && found && id != i.ID {
		err = fault.IntegrationAlreadyExists.New("the integration %s already stands for replications to %s", label, i.Serves)
	}
	return err
}

// UpdateIntegration stores a changed integration, if its version is still that of i. It sets version and time, and forgets the last error.
//
// Errors: fault.IntegrationNotFound, fault.IntegrationAlreadyExists (of the destination), fault.IntegrationInUse (replication rules name
// the destination that it stood for), fault.TargetChanged (another request has changed it), fault.ObjectNotFound (of what it names).
func (s *Store) UpdateIntegration(ctx context.Context, i Integration) (Integration, error) {
	scope, err := json.Marshal(append([]string{}, i.Scope...))
	if err != nil {
		return Integration{}, fmt.Errorf("encoding the scope of an integration: %w", err)
	}
	err = s.write.do(ctx, func(t *tx) error {
		stored, found, err := t.integration(i.ID)
		switch {
		case err != nil:
			return err
		case !found:
			return noIntegration(i.Name)
		case stored.Version != i.Version:
			return fault.TargetChanged.New("the integration %s has been changed by another request", i.Name)
		}
		if stored.Serves != i.Serves {
			if err := t.destinationFree(i); err != nil {
				return err
			}
			if err := t.unused(stored); err != nil {
				return err
			}
		}
		now := s.now()
		if i.Version, err = t.newID(now); err != nil {
			return err
		}
		i.UpdatedAt, i.Error = fromMicros(micros(now)), ""
		account, region := registryTexts(i.Serves)
		_, err = t.exec(`UPDATE integrations SET settings = $2, scope = $3, sealed = $4, serves_account = $5, serves_region = $6,
			version = $7, updated_at = $8, error = '' WHERE id = $1`, i.ID, i.Settings, string(scope), i.Sealed, account, region,
			i.Version, micros(now))
		if err == nil {
			err = t.setUses(i.Account, KindIntegration, i.Name, i.Uses)
		}
		if err == nil {
			err = t.configChanged(i.Account, now)
		}
		return err
	})
	return i, err
}

// unused checks that no replication rule of the account names the destination that an integration stands for.
//
// Errors: fault.IntegrationInUse.
func (t *tx) unused(i Integration) error {
	if i.Serves == (name.Registry{}) {
		return nil
	}
	account, region := registryTexts(i.Serves)
	var rules []struct{ region, text string }
	err := t.rows(t.ctx, `SELECT region, rules FROM replication_rules WHERE account = $1 ORDER BY region`, args{i.Account.String()},
		func(scan func(...any) error) error {
			var one struct{ region, text string }
			err := scan(&one.region, &one.text)
			rules = append(rules, one)
			return err
		})
	if err != nil {
		return err
	}
	for _, of := range rules {
		var all []storedRule
		if err := json.Unmarshal([]byte(of.text), &all); err != nil {
			return fmt.Errorf("reading the replication rules of %s in %s: %w", i.Account, of.region, err)
		}
		for n, rule := range all {
			if slices.Contains(rule.To, [2]string{account, region}) {
				return fault.IntegrationInUse.New("the integration %s is used: replication rule %d of the account %s in %s copies to %s by it",
					i.Name, n+1, i.Account, of.region, i.Serves)
			}
		}
	}
	return nil
}

// DeleteIntegration deletes an integration.
//
// Errors: fault.IntegrationNotFound, fault.IntegrationInUse (replication rules name the destination that it stands for).
func (s *Store) DeleteIntegration(ctx context.Context, i Integration) error {
	return s.write.do(ctx, func(t *tx) error {
		stored, found, err := t.integration(i.ID)
		if err == nil && !found {
			err = noIntegration(i.Name)
		}
		if err == nil {
			err = t.unused(stored)
		}
		if err == nil {
			_, err = t.exec(`UPDATE replications SET state = 3, code = 'IntegrationDeleted', waiting_since = 0
				WHERE integration = $1 AND waiting_since > 0`, i.ID)
		}
		if err == nil {
			err = t.setUses(stored.Account, KindIntegration, stored.Name, nil)
		}
		if err == nil {
			_, err = t.exec(`DELETE FROM integrations WHERE id = $1`, i.ID)
		}
		if err == nil {
			err = t.configChanged(stored.Account, s.now())
		}
		return err
	})
}

func (t *tx) integration(id int64) (i Integration, found bool, err error) {
	i, err = scanIntegration(func(dest ...any) error {
		return t.row(t.ctx, `SELECT `+integrationColumns+` FROM integrations WHERE id = $1`, args{id}, dest...)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return Integration{}, false, nil
	}
	return i, err == nil, err
}

// Integration returns an integration of an account. Errors: fault.IntegrationNotFound.
func (s *Store) Integration(ctx context.Context, account name.Account, label string) (Integration, error) {
	return s.oneIntegration(ctx, label, `SELECT `+integrationColumns+` FROM integrations WHERE account = $1 AND name = $2`,
		account.String(), label)
}

// IntegrationByID returns an integration. Errors: fault.IntegrationNotFound.
func (s *Store) IntegrationByID(ctx context.Context, id int64) (Integration, error) {
	return s.oneIntegration(ctx, "of this number", `SELECT `+integrationColumns+` FROM integrations WHERE id = $1`, id)
}

// IntegrationFor returns the integration that stands for a destination of the replications of an account.
//
// Errors: fault.IntegrationNotFound.
func (s *Store) IntegrationFor(ctx context.Context, account name.Account, to name.Registry) (Integration, error) {
	return s.oneIntegration(ctx, "for "+to.String(), `SELECT `+integrationColumns+` FROM integrations
		WHERE account = $1 AND serves_account = $2 AND serves_region = $3 AND serves_account <> ''`, account.String(), to.Account.String(),
		to.Region.String())
}

func (s *Store) oneIntegration(ctx context.Context, label, query string, values ...any) (Integration, error) {
	return scanIntegration(func(dest ...any) error {
		err := s.read.row(ctx, query, values, dest...)
		if errors.Is(err, sql.ErrNoRows) {
			return noIntegration(label)
		}
		return err
	})
}

// Integrations returns the integrations of an account, at most MaxIntegrations, in the order of their names.
func (s *Store) Integrations(ctx context.Context, account name.Account) (all []Integration, err error) {
	err = s.read.rows(ctx, `SELECT `+integrationColumns+` FROM integrations WHERE account = $1 ORDER BY name`, args{account.String()},
		func(scan func(...any) error) error {
			one, err := scanIntegration(scan)
			all = append(all, one)
			return err
		})
	return all, err
}

// CountFailingIntegrations counts the integrations of an account whose last test or use has failed, up to a limit.
func (s *Store) CountFailingIntegrations(ctx context.Context, account name.Account, limit int) (n int, err error) {
	err = s.read.row(ctx, `SELECT COUNT(*) FROM (SELECT 1 AS one FROM integrations WHERE account = $1 AND error <> '' LIMIT $2) counted`,
		args{account.String(), limit}, &n)
	return n, err
}

// IntegrationTested stores when an integration was tested, or what its last use said: "" for success. A version that is not stored any more
// changes nothing.
func (s *Store) IntegrationTested(ctx context.Context, i Integration, problem string, tested bool) error {
	if len(problem) > maxJobError {
		problem = cutText(problem, maxJobError)
	}
	return s.write.do(ctx, func(t *tx) error {
		at := int64(0)
		if tested {
			at = micros(s.now())
		}
		_, err := t.exec(`UPDATE integrations SET error = $3, tested_at = CASE WHEN CAST($4 AS BIGINT) > 0 THEN CAST($4 AS BIGINT) ELSE tested_at END
			WHERE id = $1 AND version = $2`,
			i.ID, i.Version, problem, at)
		return err
	})
}
