package meta

import (
	"context"
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// PullExclusion is a principal whose pulls do not set the time of the last pull of images of a registry.
// Source: ECR API reference, RegisterPullTimeUpdateExclusion.
type PullExclusion struct {
	Principal string // ARN of a user or role
	CreatedAt time.Time
}

// PutPullExclusion stores an exclusion, of which a registry has at most maxCount.
//
// Errors: fault.ExclusionAlreadyExists, fault.LimitExceeded, fault.AccountNotFound.
func (s *Store) PutPullExclusion(ctx context.Context, reg name.Registry, principal string, maxCount int) (PullExclusion, error) {
	x := PullExclusion{principal, fromMicros(micros(s.now()))}
	account, region := reg.Account.String(), reg.Region.String()
	return x, s.write.do(ctx, func(t *tx) error {
		if err := accountExists(t, reg.Account); err != nil {
			return err
		}
		t.touch(scope{kind: scopeSettings})
		n, err := t.exec(`INSERT INTO pull_time_exclusions (account, region, principal, created_at) VALUES ($1, $2, $3, $4)
			ON CONFLICT (account, region, principal) DO NOTHING`, account, region, principal, micros(x.CreatedAt))
		if err != nil {
			return err
		}
		if n == 0 {
			return fault.ExclusionAlreadyExists.New("The pull time update exclusion for '%s' already exists in the registry with id '%s'",
				principal, reg.Account)
		}
		var count int
		if _, err := t.one(`SELECT COUNT(*) FROM pull_time_exclusions WHERE account = $1 AND region = $2`, args{account, region},
			&count); err != nil {
			return err
		}
		if count > maxCount {
			return fault.LimitExceeded.New("A registry can have at most %d pull time update exclusions", maxCount)
		}
		return nil
	})
}

// DeletePullExclusion deletes an exclusion. Errors: fault.ExclusionNotFound.
func (s *Store) DeletePullExclusion(ctx context.Context, reg name.Registry, principal string) error {
	return s.write.do(ctx, func(t *tx) error {
		t.touch(scope{kind: scopeSettings})
		n, err := t.exec(`DELETE FROM pull_time_exclusions WHERE account = $1 AND region = $2 AND principal = $3`,
			reg.Account.String(), reg.Region.String(), principal)
		if err == nil && n == 0 {
			err = fault.ExclusionNotFound.New("The pull time update exclusion for '%s' does not exist in the registry with id '%s'",
				principal, reg.Account)
		}
		return err
	})
}

// PullExclusions returns the exclusions of a registry in the order of their principals. The result is shared with the cache and must not be
// changed.
func (s *Store) PullExclusions(ctx context.Context, reg name.Registry) ([]PullExclusion, error) {
	return cached(&s.cache.exclusions, reg, func() (all []PullExclusion, err error) {
		err = s.read.rows(ctx, `SELECT principal, created_at FROM pull_time_exclusions WHERE account = $1 AND region = $2 ORDER BY principal`,
			args{reg.Account.String(), reg.Region.String()}, func(scan func(...any) error) error {
				var x PullExclusion
				var at int64
				err := scan(&x.Principal, &at)
				x.CreatedAt = fromMicros(at)
				all = append(all, x)
				return err
			})
		return all, err
	})
}
