package meta

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Secret holds credentials for another service, sealed with the master key.
type Secret struct {
	Registry  name.Registry
	Name      string
	Suffix    string // six letters and digits, which end the ARN
	Sealed    []byte
	CreatedAt time.Time
	UpdatedAt time.Time
}

// ARN returns the ARN of the secret, in the form of Secrets Manager.
func (s Secret) ARN() string {
	return "arn:aws:secretsmanager:" + s.Registry.Region.String() + ":" + s.Registry.Account.String() + ":secret:" + s.Name + "-" + s.Suffix
}

// MaxSecrets is the number of secrets that an account may have in a region.
const MaxSecrets = 500

func noSecret(reg name.Registry, secret string) error {
	return fault.SecretNotFound.New("the secret '%s' does not exist in the account %s in %s", name.Clip(secret), reg.Account, reg.Region)
}

const secretColumns = `name, suffix, sealed, created_at, updated_at`

func scanSecret(reg name.Registry, scan func(...any) error) (Secret, error) {
	s := Secret{Registry: reg}
	var created, updated int64
	err := scan(&s.Name, &s.Suffix, &s.Sealed, &created, &updated)
	s.CreatedAt, s.UpdatedAt = fromMicros(created), fromMicros(updated)
	return s, err
}

// Secret returns a secret. Errors: fault.SecretNotFound.
func (s *Store) Secret(ctx context.Context, reg name.Registry, secret string) (Secret, error) {
	return scanSecret(reg, func(dest ...any) error {
		err := s.read.row(ctx, `SELECT `+secretColumns+` FROM secrets WHERE account = $1 AND region = $2 AND name = $3`,
			args{reg.Account.String(), reg.Region.String(), secret}, dest...)
		if errors.Is(err, sql.ErrNoRows) {
			return noSecret(reg, secret)
		}
		return err
	})
}

// Secrets returns the secrets of an account in a region, at most MaxSecrets, in the order of their names.
func (s *Store) Secrets(ctx context.Context, reg name.Registry) (all []Secret, err error) {
	err = s.read.rows(ctx, `SELECT `+secretColumns+` FROM secrets WHERE account = $1 AND region = $2 ORDER BY name`,
		args{reg.Account.String(), reg.Region.String()}, func(scan func(...any) error) error {
			one, err := scanSecret(reg, scan)
			all = append(all, one)
			return err
		})
	return all, err
}

// PutSecret stores a secret, or replaces the value of the one with its name, which keeps its suffix. seal returns the sealed value of
// the secret as it will be stored. It returns the secret as it is stored.
//
// Errors: fault.LimitExceeded, fault.AccountNotFound.
func (s *Store) PutSecret(ctx context.Context, in Secret, seal func(Secret) []byte) (out Secret, err error) {
	account, region := in.Registry.Account.String(), in.Registry.Region.String()
	err = s.write.do(ctx, func(t *tx) error {
		if err := accountExists(t, in.Registry.Account); err != nil {
			return err
		}
		now := micros(s.now())
		out = in
		var created int64
		found, err := t.one(`SELECT suffix, created_at FROM secrets WHERE account = $1 AND region = $2 AND name = $3`,
			args{account, region, in.Name}, &out.Suffix, &created)
		if err != nil {
			return err
		}
		if !found {
			created, out.Suffix = now, in.Suffix
			var have int
			if _, err := t.one(`SELECT COUNT(*) FROM secrets WHERE account = $1 AND region = $2`, args{account, region}, &have); err != nil {
				return err
			}
			if have >= MaxSecrets {
				return fault.LimitExceeded.New("an account can have at most %d secrets in a region", MaxSecrets)
			}
		}
		out.CreatedAt, out.UpdatedAt = fromMicros(created), fromMicros(now)
		out.Sealed = seal(out)
		_, err = t.exec(`INSERT INTO secrets (account, region, `+secretColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7)
			ON CONFLICT (account, region, name) DO UPDATE SET sealed = excluded.sealed, updated_at = excluded.updated_at`,
			account, region, in.Name, out.Suffix, out.Sealed, created, now)
		return err
	})
	return out, err
}

// DeleteSecret deletes a secret. Errors: fault.SecretNotFound.
func (s *Store) DeleteSecret(ctx context.Context, reg name.Registry, secret string) error {
	return s.write.do(ctx, func(t *tx) error {
		n, err := t.exec(`DELETE FROM secrets WHERE account = $1 AND region = $2 AND name = $3`,
			reg.Account.String(), reg.Region.String(), secret)
		if err == nil && n == 0 {
			err = noSecret(reg, secret)
		}
		return err
	})
}
