package meta

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// JobState is how far a job is.
type JobState int

// The states. A job whose state is JobQueued or JobRunning is live.
const (
	JobQueued JobState = iota + 1
	JobRunning
	JobDone
	JobFailed   // for good: nothing repeats it by itself
	JobCanceled // by a client
)

// Job is a piece of background work. While it is live, no other has the same kind and key.
type Job struct {
	ID       int64 // grows in the order of creation
	Kind     string
	Key      string // what it is about, such as the id of a repository
	Account  string // 12 digits: whose work it is; "" for that of the installation
	Node     string // the process that must do it, "" for any
	Worker   string // the process that has the lease, or had the last one; "" for none, and with SQLite
	Input    string // JSON, of the kind
	Place    string // JSON, of the kind: where it continues; "" for its beginning
	State    JobState
	Attempts int // failed ones since the last success
	Done     int64
	Total    int64     // 0 if unknown
	Error    string    // of the last attempt, for people
	Due      time.Time // when it may run; while it runs, the end of its lease
	Again    bool      // it is queued once more when it ends, because what it is about has changed meanwhile
	Stop     bool      // it runs and is to be canceled
	Created  time.Time
	Started  time.Time // the last attempt; zero for none
	Ended    time.Time // the last attempt; zero for none

	lease int64 // of the worker that has it
}

// NewJob is a job to be enqueued.
type NewJob struct {
	Kind, Key, Account, Node, Input string
	Due                             time.Time // zero for now
}

// maxJobText limits Input and Place of a job, in bytes, and maxJobError its Error.
const (
	maxJobText  = 64 << 10
	maxJobError = 1 << 10
)

// enqueue adds a job to the transaction. If a live job has the same kind and key, none is added: a queued one becomes due at j.Due, if
// that is earlier, and a running one is queued once more when it ends. Both keep their input.
func (t *tx) enqueue(j NewJob, now time.Time) error {
	if len(j.Input) > maxJobText {
		return fault.InvalidParameter.New("the input of a job %s has %d bytes: at most %d are stored", j.Kind, len(j.Input), maxJobText)
	}
	if j.Due.IsZero() {
		j.Due = now
	}
	n, err := t.exec(`UPDATE jobs SET again = CASE WHEN state = 2 THEN 1 ELSE again END,
		due_at = CASE WHEN state = 1 AND attempts = 0 AND due_at > $3 THEN $3 ELSE due_at END WHERE kind = $1 AND key = $2 AND state < 3`,
		j.Kind, j.Key, micros(j.Due))
	if err != nil {
		return err
	}
	if n == 0 {
		_, err = t.insertJob(j, now)
		return err
	}
	t.touch(scope{kind: scopeJobs})
	return nil
}

// insertJob adds a job with a kind and key that no live job has.
func (t *tx) insertJob(j NewJob, now time.Time) (id int64, err error) {
	if id, err = t.newID(now); err != nil {
		return 0, err
	}
	t.touch(scope{kind: scopeJobs})
	_, err = t.exec(`INSERT INTO jobs (id, kind, key, account, node, input, place, state, attempts, again, stop, due_at, lease, worker,
		done, total, error, created_at, started_at, ended_at)
		VALUES ($1, $2, $3, $4, $5, $6, '', 1, 0, 0, 0, $7, 0, '', 0, 0, '', $8, 0, 0)`,
		id, j.Kind, j.Key, j.Account, j.Node, j.Input, micros(j.Due), micros(now))
	return id, err
}

// StartJob adds a job that is due now, with a key that no other has, and returns its id.
func (s *Store) StartJob(ctx context.Context, j NewJob) (id int64, err error) {
	j.Key, j.Due = randomID(), s.now()
	err = s.write.do(ctx, func(t *tx) (err error) { id, err = t.insertJob(j, s.now()); return err })
	return id, err
}

// Enqueue adds a job outside of other changes, as tx.enqueue does.
func (s *Store) Enqueue(ctx context.Context, j NewJob) error {
	return s.write.do(ctx, func(t *tx) error { return t.enqueue(j, s.now()) })
}

// JobsQueued returns a channel that has a value after this process has stored new jobs. One reader uses it.
func (s *Store) JobsQueued() <-chan struct{} { return s.jobs }

// Node returns the id under which this process has jobs of its own and works on others, "" with SQLite.
func (s *Store) Node() string { return s.node }

// maxJobAccounts limits the accounts of which one call of LeaseJobs looks for due jobs.
const maxJobAccounts = 64

// LeaseJobs takes up to limit due jobs of a kind for this process, whose leases end after the given time unless they are renewed. The
// accounts take turns: from is "" for the first call, and then the next of the previous one. A next of "" means that all accounts had
// their turn. If no job is due, nothing is written.
func (s *Store) LeaseJobs(ctx context.Context, kind, from string, limit int, lease time.Duration) (all []Job, next string, err error) {
	due, next, err := s.dueJobs(ctx, kind, from, limit)
	if err != nil || len(due) == 0 {
		return nil, next, err
	}
	err = s.write.do(ctx, func(t *tx) error {
		all = nil
		now := s.now()
		for _, id := range due {
			number, err := t.newID(now)
			if err != nil {
				return err
			}
			// A running job whose lease has ended was left by a process that was killed: that attempt has failed.
			n, err := t.exec(`UPDATE jobs SET attempts = CASE WHEN state = 2 THEN attempts + 1 ELSE attempts END, state = 2, lease = $2, worker = $3,
				due_at = $4, started_at = $5 WHERE id = $1 AND state <= 2 AND due_at <= $5`,
				id, number, s.node, micros(now.Add(lease)), micros(now))
			if err != nil {
				return err
			}
			if n == 0 {
				continue // another process was faster
			}
			j, found, err := t.job(id)
			if err != nil {
				return err
			}
			if found {
				all = append(all, j)
			}
		}
		return nil
	})
	return all, next, err
}

// dueJobs returns the ids of up to limit due jobs of a kind, one of each account, then the next one of each.
func (s *Store) dueJobs(ctx context.Context, kind, from string, limit int) (due []int64, next string, err error) {
	now, found := micros(s.now()), [][]int64{}
	for range maxJobAccounts {
		account, more, err := s.jobAccount(ctx, kind, from)
		if err != nil {
			return nil, from, err
		}
		if !more {
			return inTurns(found, limit), "", nil
		}
		ids, err := s.dueOf(ctx, kind, account, now, limit)
		if err != nil {
			return nil, from, err
		}
		if from = afterAccount(account); len(ids) > 0 {
			found = append(found, ids)
		}
	}
	return inTurns(found, limit), from, nil
}

// jobAccount returns the first account, from a place on, that has live jobs of a kind.
func (s *Store) jobAccount(ctx context.Context, kind, from string) (account string, found bool, err error) {
	err = s.read.row(ctx, `SELECT account FROM jobs WHERE kind = $1 AND account >= $2 AND state <= 2 ORDER BY account LIMIT 1`,
		args{kind, from}, &account)
	if errors.Is(err, sql.ErrNoRows) {
		return "", false, nil
	}
	return account, err == nil, err
}

// afterAccount returns the least text that sorts after an account, which is "" or has 12 digits, and before the next one.
func afterAccount(account string) string { return account + " " }

func (s *Store) dueOf(ctx context.Context, kind, account string, now int64, limit int) (ids []int64, err error) {
	err = s.read.rows(ctx, `SELECT id FROM jobs WHERE kind = $1 AND account = $2 AND state <= 2 AND due_at <= $3 AND node IN ('', $4)
		ORDER BY due_at LIMIT $5`, args{kind, account, now, s.node, limit}, func(scan func(...any) error) error {
		var id int64
		err := scan(&id)
		ids = append(ids, id)
		return err
	})
	return ids, err
}

// inTurns returns up to limit values: the first of each list, then the second of each.
func inTurns(lists [][]int64, limit int) (all []int64) {
	for i := 0; len(all) < limit; i++ {
		more := false
		for _, l := range lists {
			if i < len(l) && len(all) < limit {
				all, more = append(all, l[i]), true
			}
		}
		if !more {
			break
		}
	}
	return all
}

// errLeaseLost is the refusal of a change by a worker whose lease has ended and whose job another one has.
func errLeaseLost(j Job) error {
	return fault.JobLeaseLost.New("another process works on the job %d (%s %s), or it was canceled", j.ID, j.Kind, j.Key)
}

// RenewJob extends the lease of a job, and stores where it continues and how far it is. It returns whether the job is to be
// canceled.
//
// Errors: fault.JobLeaseLost (another process has the job).
func (s *Store) RenewJob(ctx context.Context, j Job, lease time.Duration) (stop bool, err error) {
	if len(j.Place) > maxJobText {
		return false, fmt.Errorf("the place of a job %s has %d bytes: at most %d are stored", j.Kind, len(j.Place), maxJobText)
	}
	err = s.write.do(ctx, func(t *tx) error {
		n, err := t.exec(`UPDATE jobs SET place = $3, done = $4, total = $5, due_at = $6 WHERE id = $1 AND state = 2 AND lease = $2`,
			j.ID, j.lease, j.Place, j.Done, j.Total, micros(s.now().Add(lease)))
		if err != nil {
			return err
		}
		if n == 0 {
			return errLeaseLost(j)
		}
		var flag int
		_, err = t.one(`SELECT stop FROM jobs WHERE id = $1`, args{j.ID}, &flag)
		stop = flag != 0
		return err
	})
	return stop, err
}

// JobEnd is how an attempt of a job ended.
type JobEnd struct {
	State  JobState  // JobQueued if it is to run again at Due
	Due    time.Time // with JobQueued
	Error  string    // for people; "" for success
	Failed bool      // it counts as a failed attempt
	Paused bool      // it ended because the process stops: the number of failed attempts, which a success sets to 0, stays
	Reset  bool      // the next run starts at the beginning; otherwise at the place of j
	Forget bool      // no row is kept, unless the job is queued
}

// EndJob records the end of an attempt. A job that is to run again because of a later change (Again) is queued now, unless it was
// canceled.
//
// Errors: fault.JobLeaseLost.
func (s *Store) EndJob(ctx context.Context, j Job, end JobEnd) error {
	if len(end.Error) > maxJobError {
		end.Error = cutText(end.Error, maxJobError)
	}
	if end.Reset {
		j.Place, j.Done, j.Total = "", 0, 0
	}
	return s.write.do(ctx, func(t *tx) error {
		var again, attempts int64
		found, err := t.one(`SELECT again, attempts FROM jobs WHERE id = $1 AND state = 2 AND lease = $2`, args{j.ID, j.lease}, &again, &attempts)
		if err != nil {
			return err
		}
		if !found {
			return errLeaseLost(j)
		}
		state, due, now := end.State, end.Due, s.now()
		switch {
		case end.Failed:
			attempts++
		case !end.Paused:
			attempts = 0
		}
		if again != 0 && state != JobCanceled {
			switch {
			case state != JobQueued:
				state, due, attempts = JobQueued, now, 0
			case !end.Failed: // a success that asked for a later run; after a failure its pause stays
				due = now
			}
			j.Place, j.Done, j.Total = "", 0, 0
		}
		if state != JobQueued && end.Forget {
			_, err := t.exec(`DELETE FROM jobs WHERE id = $1`, j.ID)
			return err
		}
		_, err = t.exec(`UPDATE jobs SET state = $2, due_at = $3, error = $4, attempts = $5, place = $6, done = $7, total = $8, again = 0, stop = 0,
			lease = 0, ended_at = $9 WHERE id = $1`,
			j.ID, int(state), micros(due), end.Error, attempts, j.Place, j.Done, j.Total, micros(now))
		if state == JobQueued {
			t.touch(scope{kind: scopeJobs})
		}
		return err
	})
}

// cutText returns at most limit bytes of a text, without a part of a character.
func cutText(text string, limit int) string {
	for limit > 0 && text[limit]&0xc0 == 0x80 {
		limit--
	}
	return text[:limit]
}
