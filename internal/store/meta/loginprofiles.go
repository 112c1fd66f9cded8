package meta

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// LoginProfile is the password of a user.
type LoginProfile struct {
	User          string // the unique id of the user
	Hash          string // of the password, with its parameters and salt
	ResetRequired bool   // the user must set another password at the next sign-in
	CreatedAt     time.Time
}

// noLoginProfile is the error for a user without a login profile. The caller knows the name of the user.
func noLoginProfile(user string) error {
	return fault.NoSuchEntity.New("%s has no login profile", user)
}

// CreateLoginProfile stores the password of a user that has none.
//
// Errors: fault.EntityAlreadyExists, fault.NoSuchEntity (the user was deleted).
func (s *Store) CreateLoginProfile(ctx context.Context, p LoginProfile) error {
	return s.write.do(ctx, func(t *tx) error {
		if err := checkEntity(t, p.User); err != nil {
			return err
		}
		n, err := t.exec(`INSERT INTO login_profiles (entity, hash, reset_required, created_at) VALUES ($1, $2, $3, $4)
			ON CONFLICT (entity) DO NOTHING`,
			p.User, p.Hash, truth(p.ResetRequired), micros(p.CreatedAt))
		if err == nil && n == 0 {
			err = fault.EntityAlreadyExists.New("%s has a login profile already", p.User)
		}
		return err
	})
}

// LoginProfile returns the password of a user. Errors: fault.NoSuchEntity.
func (s *Store) LoginProfile(ctx context.Context, user string) (LoginProfile, error) {
	p := LoginProfile{User: user}
	var created int64
	err := s.read.row(ctx, `SELECT hash, reset_required, created_at FROM login_profiles WHERE entity = $1`, args{user}, &p.Hash,
		&p.ResetRequired, &created)
	if errors.Is(err, sql.ErrNoRows) {
		return LoginProfile{}, noLoginProfile(user)
	}
	p.CreatedAt = fromMicros(created)
	return p, err
}

// UpdateLoginProfile changes the password of a user, unless hash is "", and whether it must be changed, unless reset is nil. If old
// is not "", the password must still be the one with this hash.
//
// Errors: fault.NoSuchEntity (also if the password is another one now).
func (s *Store) UpdateLoginProfile(ctx context.Context, user, old, hash string, reset *bool) error {
	return s.write.do(ctx, func(t *tx) error {
		change := 0
		if reset != nil {
			change = 1 + truth(*reset)
		}
		n, err := t.exec(`UPDATE login_profiles SET hash = CASE WHEN $3 = '' THEN hash ELSE $3 END,
			reset_required = CASE WHEN $4 = 0 THEN reset_required ELSE $4 - 1 END WHERE entity = $1 AND ($2 = '' OR hash = $2)`,
			user, old, hash, change)
		if err == nil && n == 0 {
			err = noLoginProfile(user)
		}
		return err
	})
}

// DeleteLoginProfile deletes the password of a user, and forgets when it was used. Errors: fault.NoSuchEntity.
func (s *Store) DeleteLoginProfile(ctx context.Context, user string) error {
	return s.write.do(ctx, func(t *tx) error {
		n, err := t.exec(`DELETE FROM login_profiles WHERE entity = $1`, user)
		if err == nil && n == 0 {
			err = noLoginProfile(user)
		}
		if err != nil {
			return err
		}
		_, err = t.exec(`UPDATE entities SET last_used_at = 0 WHERE id = $1`, user)
		return err
	})
}

// PasswordUsed records the time of a sign-in with the password that has a hash. hash is stored in place of old, which differs if
// the parameters of hashing have changed since.
//
// Errors: fault.NoSuchEntity (the password was changed or deleted in the meantime).
func (s *Store) PasswordUsed(ctx context.Context, user, old, hash string, at time.Time) error {
	return s.write.do(ctx, func(t *tx) error {
		n, err := t.exec(`UPDATE login_profiles SET hash = $3 WHERE entity = $1 AND hash = $2`, user, old, hash)
		if err == nil && n == 0 {
			err = noLoginProfile(user)
		}
		if err != nil {
			return err
		}
		_, err = t.exec(`UPDATE entities SET last_used_at = $2 WHERE id = $1 AND last_used_at < $2`, user, micros(at))
		return err
	})
}
