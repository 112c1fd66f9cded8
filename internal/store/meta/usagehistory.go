package meta

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// UsageKind says by what usage is counted. The numbers are stored.
type UsageKind int

// The kinds.
const (
	ByRepository UsageKind = 1
	ByPrincipal  UsageKind = 2
	ByTag        UsageKind = 3 // pulls alone
)

// Activity is what happened in a time.
type Activity struct {
	Pulls, Pushes, Denials int64
	Sent, Stored           int64 // bytes that were sent to clients, and that were stored in a repository for the first time
	Released               int64 // bytes of blobs that a repository holds no longer
}

// Add adds the numbers of another time.
func (a *Activity) Add(more Activity) {
	a.Pulls, a.Pushes, a.Denials = a.Pulls+more.Pulls, a.Pushes+more.Pushes, a.Denials+more.Denials
	a.Sent, a.Stored, a.Released = a.Sent+more.Sent, a.Stored+more.Stored, a.Released+more.Released
}

// UsageKey is what an Activity is of. Region and Subject are "" for all that has no row of its own.
type UsageKey struct {
	Account name.Account
	Kind    UsageKind
	Start   time.Time // of an hour or a day, UTC
	Region  string
	Subject string // name of a repository, ARN of a principal, or REPOSITORY:TAG
}

// UsageRow is the activity of one hour or day.
type UsageRow struct {
	UsageKey
	Activity
}

// MaxUsageRows is how many rows an account has for one kind in an hour, or in a day, besides the one for all others.
const MaxUsageRows = 500

// addUsage adds to a row; with insertUsage the row need not exist.
const (
	addUsage = `UPDATE usage_counters SET pulls = pulls + $7, pushes = pushes + $8, denials = denials + $9, sent = sent + $10,
		stored = stored + $11, released = released + $12 WHERE account = $1 AND kind = $2 AND daily = $3 AND start = $4 AND region = $5 AND subject = $6`
	insertUsage = `INSERT INTO usage_counters (account, kind, daily, start, region, subject, pulls, pushes, denials, sent, stored,
		released) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`
	countUsage = `SELECT COUNT(*) FROM usage_counters WHERE account = $1 AND kind = $2 AND daily = $3 AND start = $4 AND subject <> ''`
)

// AddActivity adds activity of hours to the rows of these hours and of their days, in one transaction: several processes add to the same
// rows. Beyond MaxUsageRows it adds to the row for all others. What is of accounts that do not exist any more is left out.
func (s *Store) AddActivity(ctx context.Context, all []UsageRow) error {
	return s.write.doMany(ctx, 3*len(all), func(t *tx) error {
		exists := map[name.Account]bool{}
		for _, r := range all {
			if _, known := exists[r.Account]; !known {
				err := accountExists(t, r.Account)
				if err != nil && !errors.Is(err, fault.AccountNotFound) {
					return err
				}
				exists[r.Account] = err == nil
			}
			if !exists[r.Account] {
				continue
			}
			for daily, start := range []time.Time{r.Start.UTC().Truncate(time.Hour), r.Start.UTC().Truncate(24 * time.Hour)} {
				if err := t.addActivity(r, daily, micros(start)); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// addReleased adds to the rows of repositories, which may be deleted, what they hold no longer.
func (t *tx) addReleased(at time.Time, bytes map[int64]int64) error {
	for _, repository := range slices.Sorted(maps.Keys(bytes)) {
		if bytes[repository] == 0 {
			continue
		}
		var account, region, repo string
		found, err := t.one(`SELECT account, region, name FROM repositories WHERE id = $1`, args{repository}, &account, &region, &repo)
		if err != nil {
			return err
		}
		if !found {
			continue
		}
		a, err := name.ParseAccount(account)
		if err != nil {
			return err
		}
		r := UsageRow{UsageKey{Account: a, Kind: ByRepository, Region: region, Subject: repo}, Activity{Released: bytes[repository]}}
		for daily, start := range []time.Time{at.UTC().Truncate(time.Hour), at.UTC().Truncate(24 * time.Hour)} {
			if err := t.addActivity(r, daily, micros(start)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *tx) addActivity(r UsageRow, daily int, start int64) error {
	in := args{r.Account.String(), int(r.Kind), daily, start, r.Region, r.Subject, r.Pulls, r.Pushes, r.Denials, r.Sent, r.Stored,
		r.Released}
	for range 2 {
		n, err := t.exec(addUsage, in...)
		if err != nil || n > 0 {
			return err
		}
		if r.Subject == "" {
			break
		}
		var have int
		if err := t.row(t.ctx, countUsage, in[:4], &have); err != nil {
			return err
		}
		if have < MaxUsageRows {
			break
		}
		r.Subject, in[4], in[5] = "", "", ""
	}
	_, err := t.exec(insertUsage, in...)
	return err
}

// UsageQuery selects rows.
type UsageQuery struct {
	Registry name.Registry
	Kind     UsageKind
	Daily    bool
	From, To time.Time // From is part of the selection, To is not
	Subject  string    // "" for all; of tags, a repository
}

// UsageHistory returns rows of a registry, ordered by time and subject: those after the given key, the zero key for the first, at most
// limit. The rows for all others are those of the account, because they have no region; with a subject there are none.
func (s *Store) UsageHistory(ctx context.Context, q UsageQuery, after UsageKey, limit int) ([]UsageRow, error) {
	daily := 0
	if q.Daily {
		daily = 1
	}
	var all []UsageRow
	err := s.read.rows(ctx, `SELECT start, region, subject, pulls, pushes, denials, sent, stored, released FROM usage_counters
		WHERE account = $1 AND kind = $2 AND daily = $3 AND start >= $4 AND start < $5 AND (start, region, subject) > ($6, $7, $8)
			AND (region = $9 AND ($10 = '' OR subject = $10 OR substr(subject, 1, length($10) + 1) = $10 || ':') OR region = '' AND $10 = '')
		ORDER BY start, region, subject LIMIT $11`,
		args{q.Registry.Account.String(), int(q.Kind), daily, micros(q.From), micros(q.To), micros(after.Start), after.Region,
			position(after.Subject), q.Registry.Region.String(), q.Subject, limit}, func(scan func(...any) error) error {
			r := UsageRow{UsageKey: UsageKey{Account: q.Registry.Account, Kind: q.Kind}}
			var start int64
			err := scan(&start, &r.Region, &r.Subject, &r.Pulls, &r.Pushes, &r.Denials, &r.Sent, &r.Stored, &r.Released)
			r.Start = fromMicros(start)
			all = append(all, r)
			return err
		})
	return all, err
}

// The names that one UsageOf takes, and its hours or days.
const (
	MaxUsageNames   = 50
	MaxUsagePeriods = 31
)

// UsageOf returns the rows of names, in no order: at most one for each of them in an hour or day. names are at most MaxUsageNames
// repositories, or of tags REPOSITORY:TAG. From is the begin of an hour or day, and there are at most MaxUsagePeriods of them up to To.
// Each row is found by its key.
func (s *Store) UsageOf(ctx context.Context, q UsageQuery, names []string) (all []UsageRow, err error) {
	if len(names) == 0 {
		return nil, nil
	}
	daily, unit := 0, time.Hour
	if q.Daily {
		daily, unit = 1, 24*time.Hour
	}
	in := args{q.Registry.Account.String(), int(q.Kind), daily, q.Registry.Region.String()}
	for i, at := 0, q.From; i < MaxUsagePeriods; i++ {
		if in = append(in, micros(at)); at.Add(unit).Before(q.To) {
			at = at.Add(unit)
		}
	}
	for i := range MaxUsageNames {
		in = append(in, names[min(i, len(names)-1)])
	}
	err = s.read.rows(ctx, `SELECT start, subject, pulls, pushes, denials, sent, stored, released FROM usage_counters
		WHERE account = $1 AND kind = $2 AND daily = $3 AND region = $4 AND start IN (
			$5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25,
			$26, $27, $28, $29, $30, $31, $32, $33, $34, $35)
		AND subject IN (
			$36, $37, $38, $39, $40, $41, $42, $43, $44, $45, $46, $47, $48, $49, $50, $51, $52, $53, $54, $55, $56, $57, $58, $59, $60,
			$61, $62, $63, $64, $65, $66, $67, $68, $69, $70, $71, $72, $73, $74, $75, $76, $77, $78, $79, $80, $81, $82, $83, $84, $85)`,
		in, func(scan func(...any) error) error {
			r := UsageRow{UsageKey: UsageKey{Account: q.Registry.Account, Kind: q.Kind, Region: q.Registry.Region.String()}}
			var start int64
			err := scan(&start, &r.Subject, &r.Pulls, &r.Pushes, &r.Denials, &r.Sent, &r.Stored, &r.Released)
			r.Start = fromMicros(start)
			all = append(all, r)
			return err
		})
	return all, err
}

// UsageTotals returns the sums of a registry for each hour or day of a query, in the order of time: those after the given time, the zero
// time for the first, at most limit. What has no row of its own counts with the registry, because it is known of the account only, unless
// the query has a subject. An hour or day has at most MaxUsageRows rows to sum.
func (s *Store) UsageTotals(ctx context.Context, q UsageQuery, after time.Time, limit int) ([]UsageRow, error) {
	daily := 0
	if q.Daily {
		daily = 1
	}
	var all []UsageRow
	err := s.read.rows(ctx, `SELECT start, CAST(SUM(pulls) AS BIGINT), CAST(SUM(pushes) AS BIGINT), CAST(SUM(denials) AS BIGINT),
			CAST(SUM(sent) AS BIGINT), CAST(SUM(stored) AS BIGINT), CAST(SUM(released) AS BIGINT) FROM usage_counters
		WHERE account = $1 AND kind = $2 AND daily = $3 AND start >= $4 AND start < $5 AND start > $6
			AND (region = $7 AND ($8 = '' OR subject = $8) OR region = '' AND $8 = '')
		GROUP BY start ORDER BY start LIMIT $9`,
		args{q.Registry.Account.String(), int(q.Kind), daily, micros(q.From), micros(q.To), micros(after), q.Registry.Region.String(),
			q.Subject, limit}, func(scan func(...any) error) error {
			r := UsageRow{UsageKey: UsageKey{Account: q.Registry.Account, Kind: q.Kind}}
			var start int64
			err := scan(&start, &r.Pulls, &r.Pushes, &r.Denials, &r.Sent, &r.Stored, &r.Released)
			r.Start = fromMicros(start)
			all = append(all, r)
			return err
		})
	return all, err
}

// DeleteUsage deletes rows of an account: of hours before hours and of days before days, at most limit of each kind, and returns how many
// it deleted.
func (s *Store) DeleteUsage(ctx context.Context, a name.Account, hours, days time.Time, limit int) (deleted int, err error) {
	err = s.write.doMany(ctx, 6*limit, func(t *tx) error {
		deleted = 0
		for _, kind := range []UsageKind{ByRepository, ByPrincipal, ByTag} {
			for daily, before := range []time.Time{hours, days} {
				n, err := t.exec(`DELETE FROM usage_counters WHERE (account, kind, daily, start, region, subject) IN (
					SELECT account, kind, daily, start, region, subject FROM usage_counters
					WHERE account = $1 AND kind = $2 AND daily = $3 AND start < $4 ORDER BY start LIMIT $5)`,
					a.String(), int(kind), daily, micros(before), limit)
				if err != nil {
					return err
				}
				deleted += int(n)
			}
		}
		return nil
	})
	return deleted, err
}
