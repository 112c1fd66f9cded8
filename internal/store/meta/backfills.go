package meta

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/ecrtypes"
	"github.com/ecrin-dev/ecrin/internal/rule/event"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// BackfillStatus is how far a replication backfill, or one of its images, is.
type BackfillStatus int

// The statuses. Source: ECR API reference, ReplicationBackfillSummary.
const (
	BackfillPreparing BackfillStatus = iota + 1
	BackfillInProgress
	BackfillComplete
	BackfillFailed
	BackfillStopping
	BackfillStopped
)

// Ended reports whether the status is final.
func (s BackfillStatus) Ended() bool {
	return s == BackfillComplete || s == BackfillFailed || s == BackfillStopped
}

// Backfill copies the images that the replication rules of a registry select to one of their destinations.
type Backfill struct {
	ID        int64
	From, To  name.Registry
	Status    BackfillStatus
	Code      string   // why it failed
	Codes     []string // of the images that failed, each once
	Total     int64    // images, once for each of their tags; 0 while it is prepared
	Completed int64
	Failed    int64
	StartedAt time.Time
	EndedAt   time.Time // zero until it ends
}

// BackfillResult is the result of a backfill for an image with one of its tags.
type BackfillResult struct {
	Repository, Digest string
	Tag                string // "" for an image without tags
	Code               string // why it failed; "" for success
}

// BackfillKind is the kind of the jobs of backfills. Their key is the id of the backfill.
const BackfillKind = "replication_backfill"

const (
	// maxRunningBackfills limits the backfills of a registry that have not ended. Source: ECR user guide, replication backfill.
	maxRunningBackfills = 10
	// keptBackfills is how long a backfill is kept after its end. Source: likewise.
	keptBackfills = 90 * 24 * time.Hour
	// maxRemovedResults limits the results that the start of a backfill removes of one that is no longer kept.
	maxRemovedResults = 1000
)

const backfillColumns = `id, account, region, to_account, to_region, status, code, codes, total, completed, failed, started_at, ended_at`

func scanBackfill(scan func(...any) error) (b Backfill, err error) {
	var account, region, toAccount, toRegion, codes string
	var started, ended int64
	if err := scan(&b.ID, &account, &region, &toAccount, &toRegion, &b.Status, &b.Code, &codes, &b.Total, &b.Completed, &b.Failed, &started,
		&ended); err != nil {
		return b, err
	}
	b.Codes, b.StartedAt, b.EndedAt = strings.Fields(codes), fromMicros(started), fromMicros(ended)
	var errs [4]error
	b.From.Account, errs[0] = name.ParseAccount(account)
	b.From.Region, errs[1] = name.ParseRegion(region)
	b.To.Account, errs[2] = name.ParseAccount(toAccount)
	b.To.Region, errs[3] = name.ParseRegion(toRegion)
	return b, errors.Join(errs[:]...)
}

// StartBackfill starts a backfill of a registry to a destination, and enqueues its job.
//
// Errors: fault.BackfillInProgress (one to the same region has not ended), fault.LimitExceeded (too many have not ended).
func (s *Store) StartBackfill(ctx context.Context, from, to name.Registry) (b Backfill, err error) {
	now := s.now()
	err = s.write.do(ctx, func(t *tx) error {
		running := 0
		err := t.rows(t.ctx, `SELECT to_region FROM backfills WHERE account = $1 AND region = $2 AND status IN (1, 2, 5) ORDER BY id DESC LIMIT $3`,
			args{from.Account.String(), from.Region.String(), maxRunningBackfills}, func(scan func(...any) error) error {
				var region string
				if err := scan(&region); err != nil {
					return err
				}
				if running++; region == to.Region.String() {
					return fault.BackfillInProgress.New("A replication backfill to the region '%s' is in progress: stop it or wait for its end", region)
				}
				return nil
			})
		if err != nil {
			return err
		}
		if running >= maxRunningBackfills {
			return fault.LimitExceeded.New("%d replication backfills of the registry are in progress, which is the maximum", running)
		}
		if err := t.removeOldBackfill(from, now); err != nil {
			return err
		}
		b = Backfill{From: from, To: to, Status: BackfillPreparing, StartedAt: now}
		if b.ID, err = t.newID(now); err != nil {
			return err
		}
		if _, err := t.exec(`INSERT INTO backfills (`+backfillColumns+`) VALUES ($1, $2, $3, $4, $5, 1, '', '', 0, 0, 0, $6, 0)`,
			b.ID, from.Account.String(), from.Region.String(), to.Account.String(), to.Region.String(), micros(now)); err != nil {
			return err
		}
		return t.enqueue(NewJob{Kind: BackfillKind, Key: strconv.FormatInt(b.ID, 10), Account: from.Account.String(), Input: `{}`}, now)
	})
	return b, err
}

// removeOldBackfill removes a part of the oldest backfill of a registry, if it is no longer kept.
func (t *tx) removeOldBackfill(reg name.Registry, now time.Time) error {
	var id int64
	found, err := t.one(`SELECT id FROM backfills WHERE account = $1 AND region = $2 AND ended_at > 0 AND ended_at < $3 ORDER BY id LIMIT 1`,
		args{reg.Account.String(), reg.Region.String(), micros(now.Add(-keptBackfills))}, &id)
	if err != nil || !found {
		return err
	}
	n, err := t.exec(`DELETE FROM backfill_results WHERE (backfill, repository, digest, tag) IN (
		SELECT backfill, repository, digest, tag FROM backfill_results WHERE backfill = $1 LIMIT $2)`, id, maxRemovedResults)
	if err == nil && n < maxRemovedResults {
		_, err = t.exec(`DELETE FROM backfills WHERE id = $1`, id)
	}
	return err
}

func noBackfill(id int64) error {
	return fault.BackfillNotFound.New("The replication backfill '%d' does not exist", id)
}

// Backfill returns a backfill of a registry. Errors: fault.BackfillNotFound.
func (s *Store) Backfill(ctx context.Context, from name.Registry, id int64) (Backfill, error) {
	b, err := scanBackfill(func(dest ...any) error {
		return s.read.row(ctx, `SELECT `+backfillColumns+` FROM backfills WHERE id = $1`, args{id}, dest...)
	})
	if errors.Is(err, sql.ErrNoRows) || err == nil && b.From != from {
		return Backfill{}, noBackfill(id)
	}
	return b, err
}

// BackfillByID returns a backfill. Errors: fault.BackfillNotFound.
func (s *Store) BackfillByID(ctx context.Context, id int64) (Backfill, error) {
	b, err := scanBackfill(func(dest ...any) error {
		return s.read.row(ctx, `SELECT `+backfillColumns+` FROM backfills WHERE id = $1`, args{id}, dest...)
	})
	if errors.Is(err, sql.ErrNoRows) {
		err = noBackfill(id)
	}
	return b, err
}

// Backfills lists the backfills of a registry, the last started first: those with an ID below the given one (0 for all), at most limit.
func (s *Store) Backfills(ctx context.Context, from name.Registry, below int64, limit int) (all []Backfill, err error) {
	if below == 0 {
		below = 1<<63 - 1
	}
	err = s.read.rows(ctx, `SELECT `+backfillColumns+` FROM backfills
		WHERE account = $1 AND region = $2 AND id < $3 ORDER BY id DESC LIMIT $4`,
		args{from.Account.String(), from.Region.String(), below, limit}, func(scan func(...any) error) error {
			b, err := scanBackfill(scan)
			all = append(all, b)
			return err
		})
	return all, err
}

// StopBackfill asks a backfill to stop: its job ends after the image that it copies.
//
// Errors: fault.BackfillNotFound, fault.BackfillEnded.
func (s *Store) StopBackfill(ctx context.Context, from name.Registry, id int64) (b Backfill, err error) {
	if b, err = s.Backfill(ctx, from, id); err != nil {
		return b, err
	}
	err = s.write.do(ctx, func(t *tx) error {
		n, err := t.exec(`UPDATE backfills SET status = 5 WHERE id = $1 AND status IN (1, 2)`, id)
		if err == nil && n == 0 {
			err = fault.BackfillEnded.New("The replication backfill '%d' is stopping or has ended", id)
		}
		return err
	})
	b.Status = BackfillStopping
	return b, err
}

// BeginBackfill records how many images, once for each tag, a backfill will copy. One that is stopping stays so.
func (s *Store) BeginBackfill(ctx context.Context, id, total int64) error {
	return s.write.do(ctx, func(t *tx) error {
		_, err := t.exec(`UPDATE backfills SET total = $2, status = CASE WHEN status = 1 THEN 2 ELSE status END WHERE id = $1`, id, total)
		return err
	})
}

// AddBackfillResults records the results of images. Results that are recorded already are not counted again, so that a job can repeat
// images after it was interrupted. It returns the backfill after that.
func (s *Store) AddBackfillResults(ctx context.Context, id int64, results []BackfillResult) (b Backfill, err error) {
	err = s.write.doMany(ctx, len(results), func(t *tx) error {
		if b, err = scanBackfill(func(dest ...any) error {
			return t.row(t.ctx, `SELECT `+backfillColumns+` FROM backfills WHERE id = $1`, args{id}, dest...)
		}); err != nil {
			return err
		}
		for _, r := range results {
			status := BackfillComplete
			if r.Code != "" {
				status = BackfillFailed
			}
			n, err := t.exec(`INSERT INTO backfill_results (backfill, repository, digest, tag, status, code) VALUES ($1, $2, $3, $4, $5, $6)
				ON CONFLICT (backfill, repository, digest, tag) DO NOTHING`, id, r.Repository, r.Digest, r.Tag, int(status), r.Code)
			if err != nil {
				return err
			}
			switch {
			case n == 0:
			case r.Code == "":
				b.Completed++
			default:
				if b.Failed++; !slices.Contains(b.Codes, r.Code) {
					b.Codes = append(b.Codes, r.Code)
				}
			}
		}
		_, err := t.exec(`UPDATE backfills SET completed = $2, failed = $3, codes = $4 WHERE id = $1`, id, b.Completed, b.Failed,
			strings.Join(b.Codes, " "))
		return err
	})
	return b, err
}

// EndBackfill records the end of a backfill. code is why it failed, "" otherwise.
func (s *Store) EndBackfill(ctx context.Context, id int64, status BackfillStatus, code string) error {
	return s.write.do(ctx, func(t *tx) error {
		now := s.now()
		n, err := t.exec(`UPDATE backfills SET status = $2, code = $3, ended_at = $4 WHERE id = $1 AND ended_at = 0`, id, int(status), code,
			micros(now))
		if err != nil || n == 0 {
			return err
		}
		b, err := scanBackfill(func(dest ...any) error {
			return t.row(t.ctx, `SELECT `+backfillColumns+` FROM backfills WHERE id = $1`, args{id}, dest...)
		})
		if err != nil {
			return err
		}
		return t.event(event.BackfillFinished(t.origin(b.From, now), event.Backfill{ID: strconv.FormatInt(id, 10), Destination: b.To,
			Status: BackfillStatuses[status], Total: b.Total, Completed: b.Completed, Failed: b.Failed, FailureCode: code}))
	})
}

// BackfillStatuses are the names of the statuses in answers and events.
var BackfillStatuses = map[BackfillStatus]ecrtypes.ReplicationBackfillStatus{
	BackfillPreparing:  ecrtypes.ReplicationBackfillStatusPREPARING,
	BackfillInProgress: ecrtypes.ReplicationBackfillStatusIN_PROGRESS,
	BackfillComplete:   ecrtypes.ReplicationBackfillStatusCOMPLETE,
	BackfillFailed:     ecrtypes.ReplicationBackfillStatusFAILED,
	BackfillStopping:   ecrtypes.ReplicationBackfillStatusSTOPPING,
	BackfillStopped:    ecrtypes.ReplicationBackfillStatusSTOPPED,
}

// BackfillResults lists the results of a backfill, in the order of repositories, digests and tags: those after the given one, at most
// limit. Only those that failed, or that succeeded, are listed if status says so; 0 for all.
func (s *Store) BackfillResults(ctx context.Context, id int64, status BackfillStatus, after BackfillResult,
	limit int) (all []BackfillResult, err error) {
	err = s.read.rows(ctx, `SELECT repository, digest, tag, code FROM backfill_results
		WHERE backfill = $1 AND (repository, digest, tag) > ($2, $3, $4) AND (status = $5 OR $5 = 0) ORDER BY repository, digest, tag LIMIT $6`,
		args{id, after.Repository, after.Digest, after.Tag, int(status), limit}, func(scan func(...any) error) error {
			var r BackfillResult
			err := scan(&r.Repository, &r.Digest, &r.Tag, &r.Code)
			all = append(all, r)
			return err
		})
	return all, err
}
