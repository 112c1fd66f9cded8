package meta

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Account is one AWS account of this installation.
type Account struct {
	ID        name.Account
	Alias     string
	CreatedAt time.Time
	Default   bool // the account of hosts whose name contains no account
}

// AccessKey is an access key with its sealed secret.
type AccessKey struct {
	ID           string
	Account      name.Account
	Principal    string // the unique id of the user that owns the key; the account's digits for the root user
	SealedSecret []byte
	Active       bool
	CreatedAt    time.Time
	Used         Use // the last use; in the result of Store.AccessKey it may be out of date
}

// Token is an issued docker password.
type Token struct {
	ID                  string
	Account             name.Account
	Principal           string
	AccessKey           string
	Region              name.Region
	IssuedAt, ExpiresAt time.Time
	RevokedAt           time.Time // zero when it is not revoked
}

// CreateAccount stores an account with its first key. Errors: fault.AccountAlreadyExists (also when another account
// has its alias).
func (s *Store) CreateAccount(ctx context.Context, a Account, k AccessKey) error {
	return s.identity(ctx, func(t *tx) error {
		taken, err := aliasTaken(t, a.ID, a.Alias)
		if err != nil {
			return err
		}
		if taken {
			return fault.AccountAlreadyExists.New("another account already has the alias %s", name.Clip(a.Alias))
		}
		n, err := t.exec(`INSERT INTO accounts (id, alias, created_at, is_default) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO NOTHING`,
			a.ID.String(), a.Alias, micros(a.CreatedAt), truth(a.Default))
		if err != nil {
			return err
		}
		if n == 0 {
			return fault.AccountAlreadyExists.New("account %s already exists", a.ID)
		}
		return insertKey(t, k)
	})
}

// Accounts returns all accounts, ordered by id.
func (s *Store) Accounts(ctx context.Context) ([]Account, error) {
	var all []Account
	err := s.read.rows(ctx, `SELECT id, alias, created_at, is_default FROM accounts ORDER BY id`, nil, func(scan func(...any) error) error {
		var id string
		var created int64
		var a Account
		err := scan(&id, &a.Alias, &created, &a.Default)
		if err == nil {
			a.ID, err = name.ParseAccount(id)
		}
		a.CreatedAt = fromMicros(created)
		all = append(all, a)
		return err
	})
	return all, err
}

// RegistriesInUse returns the registries that have repositories, ordered by account and region.
func (s *Store) RegistriesInUse(ctx context.Context) ([]name.Registry, error) {
	var all []name.Registry
	err := s.read.rows(ctx, `SELECT DISTINCT account, region FROM repositories WHERE deleted_at = 0 ORDER BY account, region`, nil,
		func(scan func(...any) error) error {
			var account, region string
			if err := scan(&account, &region); err != nil {
				return err
			}
			a, err := name.ParseAccount(account)
			if err != nil {
				return err
			}
			r, err := name.ParseRegion(region)
			all = append(all, name.Registry{Account: a, Region: r})
			return err
		})
	return all, err
}

// Account returns one account. Errors: fault.AccountNotFound.
func (s *Store) Account(ctx context.Context, id name.Account) (Account, error) {
	a := Account{ID: id}
	var created int64
	err := s.read.row(ctx, `SELECT alias, created_at, is_default FROM accounts WHERE id = $1`, args{id.String()}, &a.Alias,
		&created, &a.Default)
	if errors.Is(err, sql.ErrNoRows) {
		return Account{}, accountNotFound(id)
	}
	a.CreatedAt = fromMicros(created)
	return a, err
}

func accountNotFound(id name.Account) error {
	return fault.AccountNotFound.New("account %s does not exist here; `ecrin account list` shows those that do", id)
}

// DeleteAccount deletes an account with its IAM entities, sessions, keys, tokens, settings and policies. Without
// force the account must not have repositories; with force they are marked deleted.
//
// Errors: fault.AccountNotFound, fault.AccountNotEmpty (also for the default account, and for one with a protected repository).
func (s *Store) DeleteAccount(ctx context.Context, id name.Account, force bool) error {
	return s.write.do(ctx, func(t *tx) error {
		var isDefault bool
		found, err := t.one(`SELECT is_default FROM accounts WHERE id = $1`, args{id.String()}, &isDefault)
		switch {
		case err != nil:
			return err
		case !found:
			return accountNotFound(id)
		case isDefault:
			return fault.AccountNotEmpty.New("account %s is the default account and cannot be deleted", id)
		}
		var repo string
		found, err = t.one(`SELECT name FROM repositories WHERE account = $1 AND deleted_at = 0 AND protection > 0 ORDER BY region, name LIMIT 1`,
			args{id.String()}, &repo)
		if err != nil {
			return err
		}
		if found {
			return fault.AccountNotEmpty.New("account %s has the repository '%s' with deletion protection: end the protection first (ecrin repository unprotect)", id, repo)
		}
		if force {
			if _, err := t.exec(`DELETE FROM uploads WHERE repository IN (SELECT id FROM repositories WHERE account = $1 AND deleted_at = 0)`, id.String()); err != nil {
				return err
			}
			now := micros(s.now())
			if _, err := t.exec(`INSERT INTO candidates (kind, repository, digest, since)
				SELECT 1, id, '', $2 FROM repositories WHERE account = $1 AND deleted_at = 0
				ON CONFLICT (kind, repository, digest) DO UPDATE SET since = excluded.since`, id.String(), now); err != nil {
				return err
			}
			if _, err := t.exec(`UPDATE repositories SET deleted_at = $2 WHERE account = $1 AND deleted_at = 0`, id.String(), now); err != nil {
				return err
			}
		}
		var one int
		found, err = t.one(`SELECT 1 FROM repositories WHERE account = $1 AND deleted_at = 0 LIMIT 1`, args{id.String()}, &one)
		if err != nil {
			return err
		}
		if found {
			return fault.AccountNotEmpty.New("account %s still has repositories: delete them first, or repeat with --force", id)
		}
		if _, err := t.exec(`DELETE FROM account_settings WHERE account = $1`, id.String()); err != nil {
			return err
		}
		for _, kind := range []ControlPolicyKind{ServiceControl, ResourceControl} {
			if _, err := t.exec(`DELETE FROM control_policies WHERE kind = $1 AND account = $2`, kind, id.String()); err != nil {
				return err
			}
		}
		if err := t.deleteAccess(id); err != nil {
			return err
		}
		// A later account with the same number must not get the events of this one.
		if _, err := t.exec(`DELETE FROM deliveries WHERE webhook IN (SELECT id FROM webhooks WHERE account = $1)`, id.String()); err != nil {
			return err
		}
		if _, err := t.exec(`DELETE FROM webhooks WHERE account = $1`, id.String()); err != nil {
			return err
		}
		if _, err := t.exec(`DELETE FROM events WHERE account = $1`, id.String()); err != nil {
			return err
		}
		if _, err := t.exec(`DELETE FROM storage_quotas WHERE account = $1`, id.String()); err != nil {
			return err
		}
		if _, err := t.exec(`DELETE FROM usage_counters WHERE account = $1`, id.String()); err != nil {
			return err
		}
		if _, err := t.exec(`DELETE FROM image_pulls WHERE account = $1`, id.String()); err != nil {
			return err
		}
		t.touch(scope{kind: scopeEverything}) // the rows of many tables are deleted with the account
		_, err = t.exec(`DELETE FROM accounts WHERE id = $1`, id.String())
		return err
	})
}

// accountExists checks, inside the transaction, that an account exists. Errors: fault.AccountNotFound.
func accountExists(t *tx, id name.Account) error {
	var one int
	found, err := t.one(`SELECT 1 FROM accounts WHERE id = $1`, args{id.String()}, &one)
	if err == nil && !found {
		err = accountNotFound(id)
	}
	return err
}

func insertKey(t *tx, k AccessKey) error {
	_, err := t.exec(`INSERT INTO access_keys (id, account, principal, sealed_secret, active, created_at) VALUES ($1, $2, $3, $4, $5, $6)`,
		k.ID, k.Account.String(), k.Principal, k.SealedSecret, truth(k.Active), micros(k.CreatedAt))
	return err
}

// PutAccessKey stores another key of a principal, which may have at most maxCount keys.
//
// Errors: fault.AccountNotFound, fault.NoSuchEntity (the user), fault.AccessKeyLimit.
func (s *Store) PutAccessKey(ctx context.Context, k AccessKey, maxCount int) error {
	return s.write.do(ctx, func(t *tx) error {
		if err := accountExists(t, k.Account); err != nil {
			return err
		}
		if k.Principal != k.Account.String() {
			if err := checkEntity(t, k.Principal); err != nil {
				return err
			}
		}
		var n int
		if _, err := t.one(`SELECT COUNT(*) FROM access_keys WHERE account = $1 AND principal = $2`,
			args{k.Account.String(), k.Principal}, &n); err != nil {
			return err
		}
		if n >= maxCount {
			return fault.AccessKeyLimit.New("Cannot exceed quota for AccessKeysPerUser: %d; delete one first", maxCount)
		}
		return insertKey(t, k)
	})
}

const keyColumns = `id, account, principal, sealed_secret, active, created_at, last_used_at, last_used_region, last_used_service`

func scanKey(scan func(...any) error) (AccessKey, error) {
	var k AccessKey
	var account string
	var created, used int64
	if err := scan(&k.ID, &account, &k.Principal, &k.SealedSecret, &k.Active, &created, &used, &k.Used.Region, &k.Used.Service); err != nil {
		return AccessKey{}, err
	}
	k.CreatedAt, k.Used.At = fromMicros(created), fromMicros(used)
	var err error
	k.Account, err = name.ParseAccount(account)
	return k, err
}

// AccessKey returns a key, active or not. The value is shared with the cache and must not be changed, and its field
// Used may be out of date; AccessKeys returns the current one. Errors: fault.AccessKeyNotFound.
func (s *Store) AccessKey(ctx context.Context, id string) (AccessKey, error) {
	return cached(&s.cache.keys, id, func() (k AccessKey, err error) {
		return scanKey(func(dest ...any) error {
			err := s.read.row(ctx, `SELECT `+keyColumns+` FROM access_keys WHERE id = $1`, args{id}, dest...)
			if errors.Is(err, sql.ErrNoRows) {
				return fault.AccessKeyNotFound.New("access key %s does not exist", name.Clip(id))
			}
			return err
		})
	})
}

// AccessKeys returns the keys of an account, oldest first.
func (s *Store) AccessKeys(ctx context.Context, account name.Account) ([]AccessKey, error) {
	var all []AccessKey
	err := s.read.rows(ctx, `SELECT `+keyColumns+` FROM access_keys WHERE account = $1 ORDER BY created_at, id`, args{account.String()},
		func(scan func(...any) error) error {
			k, err := scanKey(scan)
			all = append(all, k)
			return err
		})
	return all, err
}

// SetAccessKeyActive turns a key on or off. Errors: fault.AccessKeyNotFound.
func (s *Store) SetAccessKeyActive(ctx context.Context, id string, active bool) error {
	return s.changeKey(ctx, id, `UPDATE access_keys SET active = $2 WHERE id = $1`, id, truth(active))
}

// DeleteAccessKey deletes a key. Requests signed with it and tokens issued for it are refused from then on. Errors:
// fault.AccessKeyNotFound.
func (s *Store) DeleteAccessKey(ctx context.Context, id string) error {
	return s.changeKey(ctx, id, `DELETE FROM access_keys WHERE id = $1`, id)
}

func (s *Store) changeKey(ctx context.Context, id, text string, a ...any) error {
	return s.write.do(ctx, func(t *tx) error {
		t.touch(scope{kind: scopeKeys, id: id})
		n, err := t.exec(text, a...)
		if err == nil && n == 0 {
			return fault.AccessKeyNotFound.New("access key %s does not exist", name.Clip(id))
		}
		return err
	})
}

// PutToken stores an issued token. q limits the tokens of the principal that it is issued to that have not expired at
// k.IssuedAt. Errors:
// fault.AccountNotFound, fault.QuotaExceeded.
func (s *Store) PutToken(ctx context.Context, k Token, q Quota) error {
	full := tooMany("The caller has %d authorization tokens, which is its quota: use one of them for its 12 hours", q.Max)
	limits := []limit{{counted{tokensOfPrincipal, q.Key}, q.Max, full, k.IssuedAt}}
	return s.doWithin(ctx, limits, func(t *tx) error {
		if err := accountExists(t, k.Account); err != nil {
			return err
		}
		_, err := t.exec(`INSERT INTO tokens (id, account, principal, limit_key, access_key, region, issued_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
			k.ID, k.Account.String(), k.Principal, q.Key, k.AccessKey, k.Region.String(), micros(k.IssuedAt), micros(k.ExpiresAt))
		return err
	})
}

const tokenColumns = `id, account, principal, access_key, region, issued_at, expires_at, revoked_at`

func scanToken(scan func(...any) error) (Token, error) {
	var k Token
	var account, region string
	var issued, expires, revoked int64
	if err := scan(&k.ID, &account, &k.Principal, &k.AccessKey, &region, &issued, &expires, &revoked); err != nil {
		return Token{}, err
	}
	k.IssuedAt, k.ExpiresAt, k.RevokedAt = fromMicros(issued), fromMicros(expires), fromMicros(revoked)
	var err1, err2 error
	k.Account, err1 = name.ParseAccount(account)
	k.Region, err2 = name.ParseRegion(region)
	return k, errors.Join(err1, err2)
}

// Token returns a token by its id. Errors: fault.TokenNotFound.
func (s *Store) Token(ctx context.Context, id string) (Token, error) {
	return cached(&s.cache.tokens, id, func() (Token, error) {
		return scanToken(func(dest ...any) error {
			err := s.read.row(ctx, `SELECT `+tokenColumns+` FROM tokens WHERE id = $1`, args{id}, dest...)
			if errors.Is(err, sql.ErrNoRows) {
				return fault.TokenNotFound.New("token %s does not exist", name.Clip(id))
			}
			return err
		})
	})
}

// Tokens returns the tokens of an account that have not expired at the given time, oldest first.
func (s *Store) Tokens(ctx context.Context, account name.Account, at time.Time) ([]Token, error) {
	var all []Token
	err := s.read.rows(ctx, `SELECT `+tokenColumns+` FROM tokens WHERE account = $1 AND expires_at > $2 ORDER BY issued_at, id`,
		args{account.String(), micros(at)}, func(scan func(...any) error) error {
			k, err := scanToken(scan)
			all = append(all, k)
			return err
		})
	return all, err
}

// RevokeTokens revokes one token of an account, or all of them if id is "", and returns how many it revoked. Errors:
// fault.TokenNotFound (the account has no token with that id).
func (s *Store) RevokeTokens(ctx context.Context, account name.Account, id string) (int, error) {
	var ended int64
	err := s.write.do(ctx, func(t *tx) (err error) {
		t.touch(scope{kind: scopeTokens, id: id})
		now := micros(s.now())
		if id == "" {
			ended, err = t.exec(`UPDATE tokens SET revoked_at = $1 WHERE account = $2 AND revoked_at = 0 AND expires_at > $1`, now, account.String())
			return err
		}
		var one int
		found, err := t.one(`SELECT 1 FROM tokens WHERE account = $1 AND id = $2`, args{account.String(), id}, &one)
		if err != nil {
			return err
		}
		if !found {
			return fault.TokenNotFound.New("account %s has no token %s", account, name.Clip(id))
		}
		ended, err = t.exec(`UPDATE tokens SET revoked_at = $1 WHERE account = $2 AND id = $3 AND revoked_at = 0`, now, account.String(), id)
		return err
	})
	return int(ended), err
}

// Setting returns one account setting of a registry, "" when it was never set.
func (s *Store) Setting(ctx context.Context, r name.Registry, setting string) (string, error) {
	return cached(&s.cache.settings, settingKey{r, setting}, func() (value string, err error) {
		err = s.read.row(ctx, `SELECT value FROM account_settings WHERE account = $1 AND region = $2 AND name = $3`,
			args{r.Account.String(), r.Region.String(), setting}, &value)
		if errors.Is(err, sql.ErrNoRows) {
			err = nil
		}
		return value, err
	})
}

// PutSetting stores one account setting of a registry.
func (s *Store) PutSetting(ctx context.Context, r name.Registry, setting, value string) error {
	return s.write.do(ctx, func(t *tx) error {
		t.touch(scope{kind: scopeSettings})
		_, err := t.exec(`INSERT INTO account_settings (account, region, name, value) VALUES ($1, $2, $3, $4)
			ON CONFLICT (account, region, name) DO UPDATE SET value = excluded.value`,
			r.Account.String(), r.Region.String(), setting, value)
		return err
	})
}
