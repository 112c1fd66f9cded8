package meta

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// sessionDetails holds the fields of a session that are stored as JSON in the column limits.
type sessionDetails struct {
	Policies   []string          `json:"policies,omitzero"`
	PolicyARNs []string          `json:"policyArns,omitzero"`
	Tags       map[string]string `json:"tags,omitzero"`
	Transitive []string          `json:"transitive,omitzero"`
	Claims     map[string]string `json:"claims,omitzero"`
	Source     string            `json:"source,omitzero"`
}

// PutSession stores a session. q limits the sessions that the principal has asked for, which may be another than v.Principal, and
// that have not expired at v.IssuedAt. Errors: fault.AccountNotFound, fault.QuotaExceeded.
func (s *Store) PutSession(ctx context.Context, v Session, q Quota) error {
	text, err := json.Marshal(sessionDetails{v.Policies, v.PolicyARNs, v.Tags, v.Transitive, v.Claims, v.Source})
	if err != nil {
		return fmt.Errorf("encoding a session: %w", err)
	}
	full := tooMany("The caller has asked for %d sessions that have not expired, which is its quota: use one of them until it expires", q.Max)
	limits := []limit{{counted{sessionsOfPrincipal, q.Key}, q.Max, full, v.IssuedAt}}
	return s.doWithin(ctx, limits, func(t *tx) error {
		if err := accountExists(t, v.Account); err != nil {
			return err
		}
		_, err = t.exec(`INSERT INTO sessions (access_key, account, kind, principal, limit_key, name, sealed_secret, limits, issued_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
			v.AccessKey, v.Account.String(), v.Kind, v.Principal, q.Key, v.Name, v.SealedSecret, string(text), micros(v.IssuedAt),
			micros(v.ExpiresAt))
		return err
	})
}

// Session returns a session, expired or not, by its access key. The value is shared with the cache and must not be
// changed. Errors: fault.AccessKeyNotFound.
func (s *Store) Session(ctx context.Context, accessKey string) (Session, error) {
	return cached(&s.cache.sessions, accessKey, func() (Session, error) {
		v := Session{AccessKey: accessKey}
		var account, text string
		var issued, expires int64
		err := s.read.row(ctx,
			`SELECT account, kind, principal, name, sealed_secret, limits, issued_at, expires_at FROM sessions WHERE access_key = $1`, args{accessKey},
			&account, &v.Kind, &v.Principal, &v.Name, &v.SealedSecret, &text, &issued, &expires)
		if errors.Is(err, sql.ErrNoRows) {
			return Session{}, fault.AccessKeyNotFound.New("access key %s does not exist", name.Clip(accessKey))
		}
		if err != nil {
			return Session{}, err
		}
		v.IssuedAt, v.ExpiresAt = fromMicros(issued), fromMicros(expires)
		if v.Account, err = name.ParseAccount(account); err != nil {
			return Session{}, err
		}
		var l sessionDetails
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			return Session{}, fmt.Errorf("reading the session %s: %w", accessKey, err)
		}
		v.Policies, v.PolicyARNs, v.Tags, v.Transitive, v.Claims, v.Source = l.Policies, l.PolicyARNs, l.Tags, l.Transitive, l.Claims, l.Source
		return v, nil
	})
}

// AccessKeysOf returns the keys of one principal (a user's unique id, or the account's digits for the root user),
// oldest first.
func (s *Store) AccessKeysOf(ctx context.Context, account name.Account, principal string) ([]AccessKey, error) {
	var all []AccessKey
	err := s.read.rows(ctx, `SELECT `+keyColumns+` FROM access_keys WHERE account = $1 AND principal = $2`, args{account.String(), principal},
		func(scan func(...any) error) error {
			k, err := scanKey(scan)
			all = append(all, k)
			return err
		})
	slices.SortFunc(all, func(a, b AccessKey) int { return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), strings.Compare(a.ID, b.ID)) })
	return all, err
}

// SetUsed records the last use of access keys and roles. Keys and roles that no longer exist, and uses before the
// recorded one, are ignored. The cache of AccessKey is not updated: no decision depends on the last use, and the
// lists of keys are not cached.
func (s *Store) SetUsed(ctx context.Context, keys, roles map[string]Use) error {
	return s.write.do(ctx, func(t *tx) error {
		for id, u := range keys {
			if _, err := t.exec(`UPDATE access_keys SET last_used_at = $2, last_used_region = $3, last_used_service = $4 WHERE id = $1 AND last_used_at < $2`, id, micros(u.At), u.Region, u.Service); err != nil {
				return err
			}
		}
		for id, u := range roles {
			if _, err := t.exec(`UPDATE entities SET last_used_at = $2, last_used_region = $3 WHERE id = $1 AND last_used_at < $2`,
				id, micros(u.At), u.Region); err != nil {
				return err
			}
		}
		return nil
	})
}

// SetAlias sets the alias of an account, which no other account may have; "" removes it. Errors:
// fault.EntityAlreadyExists, fault.AccountNotFound.
func (s *Store) SetAlias(ctx context.Context, account name.Account, alias string) error {
	return s.identity(ctx, func(t *tx) error {
		if err := accountExists(t, account); err != nil {
			return err
		}
		taken, err := aliasTaken(t, account, alias)
		if err != nil {
			return err
		}
		if taken {
			return fault.EntityAlreadyExists.New("The account alias %s already exists.", name.Clip(alias))
		}
		_, err = t.exec(`UPDATE accounts SET alias = $2 WHERE id = $1`, account.String(), alias)
		return err
	})
}

// DeleteAlias removes an alias from an account. Errors: fault.NoSuchEntity (the account does not have this alias).
func (s *Store) DeleteAlias(ctx context.Context, account name.Account, alias string) error {
	return s.identity(ctx, func(t *tx) error {
		n, err := t.exec(`UPDATE accounts SET alias = '' WHERE id = $1 AND alias = $2 AND alias <> ''`, account.String(), alias)
		if err == nil && n == 0 {
			err = fault.NoSuchEntity.New("The account alias %s cannot be found.", name.Clip(alias))
		}
		return err
	})
}

// aliasTaken reports, inside the transaction, whether another account has an alias.
func aliasTaken(t *tx, account name.Account, alias string) (bool, error) {
	var one int
	return t.one(`SELECT 1 FROM accounts WHERE alias = $1 AND alias <> '' AND id <> $2`, args{alias, account.String()}, &one)
}
