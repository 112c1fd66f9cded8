package meta

import (
	"context"
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// CacheCount is what a pull through cache rule did in a time.
type CacheCount struct {
	Hits      int64     // manifests and layers that were stored
	Misses    int64     // that were fetched
	Stale     int64     // tags and referrers that were served although the other registry failed
	Saved     int64     // bytes that were not fetched again
	Fetched   int64     // bytes
	Limited   int64     // answers of the other registry that too much was asked for
	LimitedAt time.Time // the last of these; zero for none
}

// Add adds the numbers of another time.
func (c *CacheCount) Add(more CacheCount) {
	c.Hits, c.Misses, c.Stale = c.Hits+more.Hits, c.Misses+more.Misses, c.Stale+more.Stale
	c.Saved, c.Fetched, c.Limited = c.Saved+more.Saved, c.Fetched+more.Fetched, c.Limited+more.Limited
	if more.LimitedAt.After(c.LimitedAt) {
		c.LimitedAt = more.LimitedAt
	}
}

// CacheDay is what a rule did on a day.
type CacheDay struct {
	Registry name.Registry
	Prefix   string
	Day      time.Time // UTC
	CacheCount
}

// The statements of AddCacheCounts: a rule that does not exist any more has no row.
const (
	addCacheCount = `UPDATE cache_counts SET hits = hits + $5, misses = misses + $6, stale = stale + $7, saved = saved + $8,
		fetched = fetched + $9, limited = limited + $10, limited_at = CASE WHEN limited_at < $11 THEN $11 ELSE limited_at END
		WHERE account = $1 AND region = $2 AND prefix = $3 AND day = $4`
	insertCacheCount = `INSERT INTO cache_counts (account, region, prefix, day, hits, misses, stale, saved, fetched, limited, limited_at)
		SELECT account, region, prefix, CAST($4 AS BIGINT), CAST($5 AS BIGINT), CAST($6 AS BIGINT), CAST($7 AS BIGINT), CAST($8 AS BIGINT),
			CAST($9 AS BIGINT), CAST($10 AS BIGINT), CAST($11 AS BIGINT)
		FROM cache_rules WHERE account = $1 AND region = $2 AND prefix = $3`
)

// AddCacheCounts adds to the rows of rules and days, in one transaction: several processes add to the same rows.
func (s *Store) AddCacheCounts(ctx context.Context, all []CacheDay) error {
	return s.write.doMany(ctx, 2*len(all), func(t *tx) error {
		for _, d := range all {
			in := args{d.Registry.Account.String(), d.Registry.Region.String(), d.Prefix, micros(d.Day.UTC().Truncate(24 * time.Hour)), d.Hits,
				d.Misses, d.Stale, d.Saved, d.Fetched, d.Limited, micros(d.LimitedAt)}
			n, err := t.exec(addCacheCount, in...)
			if err == nil && n == 0 {
				_, err = t.exec(insertCacheCount, in...)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// CacheCounts returns what each rule of a registry did since a day, in the order of their prefixes. A rule that did nothing is left out.
func (s *Store) CacheCounts(ctx context.Context, reg name.Registry, since time.Time) (all []CacheDay, err error) {
	err = s.read.rows(ctx, `SELECT prefix, CAST(SUM(hits) AS BIGINT), CAST(SUM(misses) AS BIGINT), CAST(SUM(stale) AS BIGINT),
			CAST(SUM(saved) AS BIGINT), CAST(SUM(fetched) AS BIGINT), CAST(SUM(limited) AS BIGINT), MAX(limited_at) FROM cache_counts
		WHERE account = $1 AND region = $2 AND day >= $3 GROUP BY prefix ORDER BY prefix`,
		args{reg.Account.String(), reg.Region.String(), micros(since.UTC().Truncate(24 * time.Hour))}, func(scan func(...any) error) error {
			d := CacheDay{Registry: reg, Day: since}
			var limited int64
			err := scan(&d.Prefix, &d.Hits, &d.Misses, &d.Stale, &d.Saved, &d.Fetched, &d.Limited, &limited)
			d.LimitedAt = fromMicros(limited)
			all = append(all, d)
			return err
		})
	return all, err
}

// DeleteCacheCounts deletes rows of days before one, at most limit, and returns how many it deleted.
func (s *Store) DeleteCacheCounts(ctx context.Context, before time.Time, limit int) (deleted int, err error) {
	err = s.write.doMany(ctx, limit, func(t *tx) error {
		n, err := t.exec(`DELETE FROM cache_counts WHERE (account, region, prefix, day) IN (
			SELECT account, region, prefix, day FROM cache_counts WHERE day > 0 AND day < $1 ORDER BY day LIMIT $2)`,
			micros(before.UTC().Truncate(24*time.Hour)), limit)
		deleted = int(n)
		return err
	})
	return deleted, err
}
