package meta

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// ConfigRepositoryKind is the kind of the jobs that write integrations into repositories of git, with the account as the key.
const ConfigRepositoryKind = "config_repository"

// ConfigRepository is the repository of git in which the integrations of an account are kept as files.
type ConfigRepository struct {
	Account   name.Account
	Settings  string // JSON, without secrets
	Sealed    []byte // its credentials, sealed with the ARN as the context
	Version   int64  // changes with each change of the fields above
	Removing  bool   // its files are removed, and then it
	Wanted    int64  // grows with each change that must be written
	State     string // JSON: what was written, and how the last attempt ended
	Turn      int64  // changes with each change of State
	CreatedAt time.Time
	UpdatedAt time.Time
	CreatedBy string // ARN
}

// ConfigRepositoryARN returns the ARN of the configuration repository of an account, which is the resource of its operations and the
// context of its seal.
func ConfigRepositoryARN(account name.Account) string {
	return name.ARN{Partition: "aws", Service: "ecrin", Account: account, Resource: "config-repository"}.String()
}

const configRepositoryColumns = `account, settings, sealed, version, removing, wanted, state, turn, created_at, updated_at, created_by`

func scanConfigRepository(scan func(...any) error) (c ConfigRepository, err error) {
	var account string
	var created, updated int64
	if err := scan(&account, &c.Settings, &c.Sealed, &c.Version, &c.Removing, &c.Wanted, &c.State, &c.Turn, &created, &updated,
		&c.CreatedBy); err != nil {
		return ConfigRepository{}, err
	}
	c.CreatedAt, c.UpdatedAt = fromMicros(created), fromMicros(updated)
	c.Account, err = name.ParseAccount(account)
	return c, err
}

// noConfigRepository is the error of an account without one.
func noConfigRepository(account name.Account) error {
	return fault.ObjectNotFound.New("the account %s has no configuration repository: ecrin config-repository set", account)
}

// ConfigRepository returns the configuration repository of an account. Errors: fault.ObjectNotFound.
func (s *Store) ConfigRepository(ctx context.Context, account name.Account) (ConfigRepository, error) {
	return scanConfigRepository(func(dest ...any) error {
		err := s.read.row(ctx, `SELECT `+configRepositoryColumns+` FROM config_repositories WHERE account = $1`, args{account.String()}, dest...)
		if errors.Is(err, sql.ErrNoRows) {
			return noConfigRepository(account)
		}
		return err
	})
}

// PutConfigRepository stores the configuration repository of an account, and queues the job that writes into it. With the version 0 it is a
// new one, else it replaces settings and credentials of the one with that version; what was written stays known.
//
// Errors: fault.AccountNotFound, fault.TargetChanged (another request has changed it).
func (s *Store) PutConfigRepository(ctx context.Context, c ConfigRepository) (ConfigRepository, error) {
	err := s.write.do(ctx, func(t *tx) error {
		if err := accountExists(t, c.Account); err != nil {
			return err
		}
		now := s.now()
		version, err := t.newID(now)
		if err != nil {
			return err
		}
		var n int64
		if c.Version == 0 {
			n, err = t.exec(`INSERT INTO config_repositories (`+configRepositoryColumns+`) VALUES ($1, $2, $3, $4, 0, $4, '{}', $4, $5, $5, $6)
				ON CONFLICT (account) DO NOTHING`, c.Account.String(), c.Settings, c.Sealed, version, micros(now), c.CreatedBy)
		} else {
			n, err = t.exec(`UPDATE config_repositories SET settings = $2, sealed = $3, version = $4, updated_at = $5
				WHERE account = $1 AND version = $6 AND removing = 0`, c.Account.String(), c.Settings, c.Sealed, version, micros(now), c.Version)
		}
		if err == nil && n == 0 {
			err = fault.TargetChanged.New("the configuration repository has been changed by another request")
		}
		if err == nil {
			err = t.configChanged(c.Account, now)
		}
		if err != nil {
			return err
		}
		c, err = t.configRepository(c.Account)
		return err
	})
	return c, err
}

func (t *tx) configRepository(account name.Account) (ConfigRepository, error) {
	return scanConfigRepository(func(dest ...any) error {
		err := t.row(t.ctx, `SELECT `+configRepositoryColumns+` FROM config_repositories WHERE account = $1`, args{account.String()}, dest...)
		if errors.Is(err, sql.ErrNoRows) {
			return noConfigRepository(account)
		}
		return err
	})
}

// configChanged notes in the transaction that what is kept in the configuration repository of an account has changed, and queues the job
// that writes it, without the pause of failed attempts. Most accounts have none.
func (t *tx) configChanged(account name.Account, now time.Time) error {
	wanted, err := t.newID(now)
	if err != nil {
		return err
	}
	n, err := t.exec(`UPDATE config_repositories SET wanted = $2 WHERE account = $1`, account.String(), wanted)
	if err != nil || n == 0 {
		return err
	}
	if _, err = t.exec(`UPDATE jobs SET attempts = CASE WHEN state = 1 THEN 0 ELSE attempts END
		WHERE kind = $1 AND key = $2 AND state < 3`, ConfigRepositoryKind, account.String()); err != nil {
		return err
	}
	return t.enqueue(NewJob{Kind: ConfigRepositoryKind, Key: account.String(), Account: account.String(), Input: `{}`}, now)
}

// SyncConfigRepository queues the job that writes into the configuration repository of an account. Errors: fault.ObjectNotFound.
func (s *Store) SyncConfigRepository(ctx context.Context, account name.Account) (c ConfigRepository, err error) {
	err = s.write.do(ctx, func(t *tx) error {
		if err := t.configChanged(account, s.now()); err != nil {
			return err
		}
		c, err = t.configRepository(account)
		return err
	})
	return c, err
}

// RemoveConfigRepository begins to remove the configuration repository of an account: the job removes its files, and then it. With keep it
// goes at once, and its files stay.
//
// Errors: fault.ObjectNotFound.
func (s *Store) RemoveConfigRepository(ctx context.Context, account name.Account, keep bool) error {
	return s.write.do(ctx, func(t *tx) error {
		if _, err := t.configRepository(account); err != nil {
			return err
		}
		if keep {
			_, err := t.exec(`DELETE FROM config_repositories WHERE account = $1`, account.String())
			return err
		}
		if _, err := t.exec(`UPDATE config_repositories SET removing = 1 WHERE account = $1`, account.String()); err != nil {
			return err
		}
		return t.configChanged(account, s.now())
	})
}

// ConfigRepositoryDone deletes a configuration repository whose files are removed. One that was changed meanwhile stays.
func (s *Store) ConfigRepositoryDone(ctx context.Context, c ConfigRepository) error {
	return s.write.do(ctx, func(t *tx) error {
		_, err := t.exec(`DELETE FROM config_repositories WHERE account = $1 AND version = $2 AND removing = 1`, c.Account.String(), c.Version)
		return err
	})
}

// SaveConfigState stores the state of a configuration repository, if its turn is still that of c, and returns its new turn.
//
// Errors: fault.TargetChanged (another process has stored a state, or the repository is another one).
func (s *Store) SaveConfigState(ctx context.Context, c ConfigRepository, state string) (turn int64, err error) {
	err = s.write.do(ctx, func(t *tx) error {
		if turn, err = t.newID(s.now()); err != nil {
			return err
		}
		n, err := t.exec(`UPDATE config_repositories SET state = $3, turn = $4 WHERE account = $1 AND turn = $2`, c.Account.String(), c.Turn,
			state, turn)
		if err == nil && n == 0 {
			err = fault.TargetChanged.New("another process has written into the configuration repository")
		}
		return err
	})
	return turn, err
}
