package meta

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/event"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// OutsideKind is the kind of the jobs that copy images to a destination outside of the installation: one job for each integration. Its key
// is the id of the integration.
const OutsideKind = "replication_outside"

// OutsideCopy is a copy of an image that waits.
type OutsideCopy struct {
	Input       ReplicationInput
	Integration int64
	Version     int64     // of the push
	Since       time.Time // the push
	Attempts    int       // that failed
}

// integrationFor returns the id of the integration that stands for a destination of replications of an account; 0 for none.
func (t *tx) integrationFor(account, toAccount, toRegion string) (id int64, err error) {
	_, err = t.one(`SELECT id FROM integrations WHERE account = $1 AND serves_account = $2 AND serves_region = $3 AND serves_account <> ''`,
		args{account, toAccount, toRegion}, &id)
	return id, err
}

// copyOutside lets a copy of an image wait, from its beginning.
func (t *tx) copyOutside(r Repository, in ReplicationInput, integration int64, now time.Time) error {
	version, err := t.newID(now)
	if err != nil {
		return err
	}
	if _, err := t.exec(`INSERT INTO replications (repository, digest, account, region, state, code, changed_at, integration, version,
			waiting_since, due_at, attempts) VALUES ($1, $2, $3, $4, 1, '', $5, $6, $7, $5, $5, 0)
		ON CONFLICT (repository, digest, account, region) DO UPDATE SET state = 1, code = '', changed_at = excluded.changed_at,
			integration = excluded.integration, version = excluded.version, waiting_since = excluded.waiting_since,
			due_at = excluded.due_at, attempts = 0`, in.Repository, in.Digest, in.Account, in.Region, micros(now),
		integration, version); err != nil {
		return err
	}
	return t.enqueue(NewJob{Kind: OutsideKind, Key: strconv.FormatInt(integration, 10), Account: r.Registry.Account.String(),
		Input: `{}`}, now)
}

// CopyOutside lets a copy of an image wait that was to be made inside of the installation, for its destination has an integration now.
func (s *Store) CopyOutside(ctx context.Context, r Repository, in ReplicationInput, integration int64) error {
	return s.write.do(ctx, func(t *tx) error { return t.copyOutside(r, in, integration, s.now()) })
}

// OutsideCopies returns up to limit copies by an integration that are due, those that have been due for longest first.
func (s *Store) OutsideCopies(ctx context.Context, integration int64, limit int) (all []OutsideCopy, err error) {
	err = s.read.rows(ctx, `SELECT repository, digest, account, region, version, waiting_since, attempts FROM replications
		WHERE integration = $1 AND due_at <= $2 AND waiting_since > 0 ORDER BY due_at LIMIT $3`, args{integration, micros(s.now()), limit},
		func(scan func(...any) error) error {
			c := OutsideCopy{Integration: integration}
			var since int64
			err := scan(&c.Input.Repository, &c.Input.Digest, &c.Input.Account, &c.Input.Region, &c.Version, &since, &c.Attempts)
			c.Since = fromMicros(since)
			all = append(all, c)
			return err
		})
	return all, err
}

// NextOutsideCopy returns when the next copy by an integration is due; zero if none waits.
func (s *Store) NextOutsideCopy(ctx context.Context, integration int64) (time.Time, error) {
	var due int64
	err := s.read.row(ctx, `SELECT due_at FROM replications WHERE integration = $1 AND due_at > 0 AND waiting_since > 0
		ORDER BY due_at LIMIT 1`, args{integration}, &due)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, nil
	}
	return fromMicros(due), err
}

// OutsideCopied records that a copy is complete, with the tags that it has, unless the image was pushed again meanwhile.
func (s *Store) OutsideCopied(ctx context.Context, c OutsideCopy, r Repository, d name.Digest, tags []name.Tag) error {
	return s.write.do(ctx, func(t *tx) error {
		n, err := t.exec(`UPDATE replications SET state = 2, code = '', changed_at = $6, waiting_since = 0
			WHERE repository = $1 AND digest = $2 AND account = $3 AND region = $4 AND version = $5`,
			c.Input.Repository, c.Input.Digest, c.Input.Account, c.Input.Region, c.Version, micros(s.now()))
		if err != nil || n == 0 {
			return err
		}
		return t.replicated(event.Image{Repository: r.Name, Digest: d}, tags, r.Registry, r.Registry, true, s.now())
	})
}

// OutsideFailed records that a copy has failed, with a code, and when it is tried again; a zero due ends it. If the image was pushed again
// meanwhile, nothing changes. The first failure is an event of the registry of the image, for r is not zero.
func (s *Store) OutsideFailed(ctx context.Context, c OutsideCopy, r Repository, d name.Digest, code string, due time.Time) error {
	return s.write.do(ctx, func(t *tx) error {
		var waiting int64
		if !due.IsZero() {
			waiting = micros(c.Since)
		}
		n, err := t.exec(`UPDATE replications SET state = 3, code = $6, changed_at = $7, waiting_since = $8, due_at = $9, attempts = attempts + 1
			WHERE repository = $1 AND digest = $2 AND account = $3 AND region = $4 AND version = $5`,
			c.Input.Repository, c.Input.Digest, c.Input.Account, c.Input.Region, c.Version, code, micros(s.now()), waiting, micros(due))
		if err != nil || n == 0 || c.Attempts > 0 || r.ID == 0 {
			return err
		}
		return t.replicated(event.Image{Repository: r.Name, Digest: d}, nil, r.Registry, r.Registry, false, s.now())
	})
}

// OutsideWaiting returns since when the oldest copy waits, by the kind of the integration by which it is made.
func (s *Store) OutsideWaiting(ctx context.Context) (map[string]time.Time, error) {
	all := map[string]time.Time{}
	err := s.read.rows(ctx, `SELECT kind, (SELECT MIN(r.waiting_since) FROM replications r WHERE r.integration = i.id AND r.waiting_since > 0)
		FROM integrations i WHERE serves_account <> ''`, nil, func(scan func(...any) error) error {
		var kind string
		var since sql.NullInt64
		err := scan(&kind, &since)
		if at := fromMicros(since.Int64); since.Valid && (all[kind].IsZero() || at.Before(all[kind])) {
			all[kind] = at
		}
		return err
	})
	return all, err
}
