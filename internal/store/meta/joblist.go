package meta

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

const jobColumns = `id, kind, key, account, node, input, place, state, attempts, again, stop, due_at, lease, worker, done, total, error, created_at,
	started_at, ended_at`

func scanJob(scan func(...any) error) (j Job, err error) {
	var again, stop int
	var due, created, started, ended int64
	err = scan(&j.ID, &j.Kind, &j.Key, &j.Account, &j.Node, &j.Input, &j.Place, &j.State, &j.Attempts, &again, &stop, &due, &j.lease,
		&j.Worker, &j.Done, &j.Total, &j.Error, &created, &started, &ended)
	j.Again, j.Stop = again != 0, stop != 0
	j.Due, j.Created, j.Started, j.Ended = fromMicros(due), fromMicros(created), fromMicros(started), fromMicros(ended)
	return j, err
}

func (t *tx) job(id int64) (j Job, found bool, err error) {
	j, err = scanJob(func(dest ...any) error {
		return t.row(t.ctx, `SELECT `+jobColumns+` FROM jobs WHERE id = $1`, args{id}, dest...)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return Job{}, false, nil
	}
	return j, err == nil, err
}

func noJob(id int64) error { return fault.JobNotFound.New("there is no job with the id %d", id) }

// Job returns a job. Errors: fault.JobNotFound.
func (s *Store) Job(ctx context.Context, id int64) (Job, error) {
	j, err := scanJob(func(dest ...any) error {
		return s.read.row(ctx, `SELECT `+jobColumns+` FROM jobs WHERE id = $1`, args{id}, dest...)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return Job{}, noJob(id)
	}
	return j, err
}

// Jobs lists the jobs of an account, or all jobs if account is "", the last created first: those with an ID below the given one (0 for
// all), at most limit.
func (s *Store) Jobs(ctx context.Context, account string, below int64, limit int) (all []Job, err error) {
	if below == 0 {
		below = 1<<63 - 1
	}
	each := func(scan func(...any) error) error {
		j, err := scanJob(scan)
		all = append(all, j)
		return err
	}
	if account == "" {
		err = s.read.rows(ctx, `SELECT `+jobColumns+` FROM jobs WHERE id < $1 ORDER BY id DESC LIMIT $2`, args{below, limit}, each)
	} else {
		err = s.read.rows(ctx, `SELECT `+jobColumns+` FROM jobs WHERE account = $1 AND id < $2 ORDER BY id DESC LIMIT $3`,
			args{account, below, limit}, each)
	}
	return all, err
}

// CancelJob cancels a job: a queued one at once, a running one when its worker notices it.
//
// Errors: fault.JobNotFound, fault.JobEnded (nothing is left to cancel).
func (s *Store) CancelJob(ctx context.Context, id int64) (j Job, err error) {
	return s.changeJob(ctx, id, func(t *tx, j Job) error {
		switch j.State {
		case JobQueued:
			_, err := t.exec(`UPDATE jobs SET state = 5, ended_at = $2 WHERE id = $1`, id, micros(s.now()))
			return err
		case JobRunning:
			_, err := t.exec(`UPDATE jobs SET stop = 1, again = 0 WHERE id = $1`, id)
			return err
		}
		return fault.JobEnded.New("the job %d has ended", id)
	})
}

// RetryJob makes a job due now: one that failed for good or was canceled, or one that waits for its next attempt. It continues at its
// place.
//
// Errors: fault.JobNotFound, fault.JobEnded (it is done), fault.JobRunning (it runs, or a later one with the same kind and key is live).
func (s *Store) RetryJob(ctx context.Context, id int64) (j Job, err error) {
	return s.changeJob(ctx, id, func(t *tx, j Job) error {
		switch j.State {
		case JobRunning:
			return fault.JobRunning.New("the job %d runs now", id)
		case JobDone:
			return fault.JobEnded.New("the job %d is done", id)
		case JobFailed, JobCanceled:
			var live int64
			found, err := t.one(`SELECT id FROM jobs WHERE kind = $1 AND key = $2 AND state < 3`, args{j.Kind, j.Key}, &live)
			if err != nil {
				return err
			}
			if found {
				return fault.JobRunning.New("the job %d does the same later than the job %d: retry that one", live, id)
			}
		}
		t.touch(scope{kind: scopeJobs})
		_, err := t.exec(`UPDATE jobs SET state = 1, attempts = 0, stop = 0, due_at = $2 WHERE id = $1`, id, micros(s.now()))
		return err
	})
}

// changeJob runs change on a job in a transaction, and returns the job after it.
func (s *Store) changeJob(ctx context.Context, id int64, change func(*tx, Job) error) (j Job, err error) {
	err = s.write.do(ctx, func(t *tx) error {
		before, found, err := t.job(id)
		if err != nil {
			return err
		}
		if !found {
			return noJob(id)
		}
		if err := change(t, before); err != nil {
			return err
		}
		j, _, err = t.job(id)
		return err
	})
	return j, err
}

// DeleteEndedJobs deletes jobs that ended before a time, at most limit of them, and returns how many. If there are none, nothing is
// written.
func (s *Store) DeleteEndedJobs(ctx context.Context, before time.Time, limit int) (n int64, err error) {
	var one int
	err = s.read.row(ctx, `SELECT 1 FROM jobs WHERE state >= 3 AND ended_at < $1 ORDER BY ended_at LIMIT 1`, args{micros(before)}, &one)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	err = s.write.doMany(ctx, limit, func(t *tx) error {
		n, err = t.exec(`DELETE FROM jobs WHERE id IN (SELECT id FROM jobs WHERE state >= 3 AND ended_at < $1 ORDER BY ended_at LIMIT $2)`,
			micros(before), limit)
		return err
	})
	return n, err
}

// Schedule enqueues a job of a schedule, if none with its kind and key is live. One that is queued and due after latest becomes due at
// j.Due: a clock that jumped back would otherwise delay it. With now, one that is queued becomes due at j.Due in any case. If nothing
// is to change, nothing is written.
func (s *Store) Schedule(ctx context.Context, j NewJob, latest time.Time, now bool) error {
	var state JobState
	var due int64
	err := s.read.row(ctx, `SELECT state, due_at FROM jobs WHERE kind = $1 AND key = $2 AND state < 3`, args{j.Kind, j.Key}, &state, &due)
	if errors.Is(err, sql.ErrNoRows) {
		return s.Enqueue(ctx, j)
	}
	if err != nil || state != JobQueued || due <= micros(latest) && !now {
		return err
	}
	return s.write.do(ctx, func(t *tx) error {
		var id int64
		found, err := t.one(`SELECT id, state FROM jobs WHERE kind = $1 AND key = $2 AND state < 3`, args{j.Kind, j.Key}, &id, &state)
		if err != nil || !found || state != JobQueued {
			return err
		}
		t.touch(scope{kind: scopeJobs})
		_, err = t.exec(`UPDATE jobs SET due_at = $2 WHERE id = $1`, id, micros(j.Due))
		return err
	})
}

// maxHastened is how many jobs one call of HastenJobs changes.
const maxHastened = 500

// HastenJobs lets jobs of a kind that are due after latest be due at a time. No job waits so long, unless it was queued, leased or to be
// tried again while the clock was ahead. It changes at most 500 jobs and returns how many.
func (s *Store) HastenJobs(ctx context.Context, kind string, latest, due time.Time) (n int, err error) {
	var ids []int64
	err = s.read.rows(ctx, `SELECT id FROM jobs WHERE kind = $1 AND state <= 2 AND due_at > $2 LIMIT $3`,
		args{kind, micros(latest), maxHastened}, func(scan func(...any) error) error {
			var id int64
			err := scan(&id)
			ids = append(ids, id)
			return err
		})
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	err = s.write.doMany(ctx, len(ids), func(t *tx) error {
		t.touch(scope{kind: scopeJobs})
		for _, id := range ids {
			if _, err := t.exec(`UPDATE jobs SET due_at = $2 WHERE id = $1 AND state <= 2 AND due_at > $3`, id, micros(due),
				micros(latest)); err != nil {
				return err
			}
		}
		return nil
	})
	return len(ids), err
}

// JobQueue is the state of the jobs of a kind.
type JobQueue struct {
	Live   int       // queued and running ones, at most maxCountedJobs
	Oldest time.Time // when the one that has waited longest became due; zero if none is due
}

// maxCountedJobs is how many live jobs of a kind are counted.
const maxCountedJobs = 10_000

// JobQueue returns the state of the jobs of a kind, for metrics.
func (s *Store) JobQueue(ctx context.Context, kind string) (q JobQueue, err error) {
	if err := s.read.row(ctx, `SELECT COUNT(*) FROM (SELECT 1 AS one FROM jobs WHERE kind = $1 AND state <= 2 LIMIT $2) counted`,
		args{kind, maxCountedJobs}, &q.Live); err != nil || q.Live == 0 {
		return q, err
	}
	now, from := s.now(), ""
	for range maxJobAccounts {
		account, more, err := s.jobAccount(ctx, kind, from)
		if err != nil || !more {
			return q, err
		}
		from = afterAccount(account)
		var due int64
		if err := s.read.row(ctx, `SELECT due_at FROM jobs WHERE kind = $1 AND account = $2 AND state <= 2 ORDER BY due_at LIMIT 1`,
			args{kind, account}, &due); err != nil && !errors.Is(err, sql.ErrNoRows) {
			return q, err
		}
		if at := fromMicros(due); at.Before(now) && (q.Oldest.IsZero() || at.Before(q.Oldest)) {
			q.Oldest = at
		}
	}
	return q, nil
}
