package meta

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// IssuerKeys are the public keys of an OIDC provider that were uploaded.
type IssuerKeys struct {
	Keys      string    // JWK set; "" for none: the provider publishes its keys
	UpdatedAt time.Time // by the last change of the keys
	UpdatedBy string    // ARN
}

// PutIssuerKeys stores the keys of a provider that was read before, in place of those that it has. The same keys again change nothing.
//
// Errors: fault.NoSuchEntity (the provider was deleted).
func (s *Store) PutIssuerKeys(ctx context.Context, provider Entity, keys, by string) error {
	return s.write.do(ctx, func(t *tx) error {
		if err := checkEntity(t, provider.ID); err != nil {
			return err
		}
		_, err := t.exec(`INSERT INTO issuer_keys (entity, keys, updated_at, updated_by) VALUES ($1, $2, $3, $4)
			ON CONFLICT (entity) DO UPDATE SET keys = excluded.keys, updated_at = excluded.updated_at, updated_by = excluded.updated_by
			WHERE issuer_keys.keys <> excluded.keys`, provider.ID, keys, micros(s.now()), by)
		return err
	})
}

// IssuerKeys returns the keys of a provider; without any, the zero value. It is always current, so that a token of a key that was removed
// is refused at once.
func (s *Store) IssuerKeys(ctx context.Context, provider Entity) (IssuerKeys, error) {
	var k IssuerKeys
	var updated int64
	err := s.read.row(ctx, `SELECT keys, updated_at, updated_by FROM issuer_keys WHERE entity = $1`, args{provider.ID}, &k.Keys, &updated,
		&k.UpdatedBy)
	if errors.Is(err, sql.ErrNoRows) {
		return IssuerKeys{}, nil
	}
	if updated != 0 {
		k.UpdatedAt = fromMicros(updated)
	}
	return k, err
}
