package meta

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/event"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// Lifecycle is what is stored about the lifecycle policy of a repository. The zero value is that of a repository without one.
type Lifecycle struct {
	Policy      string    // the document of ECR, "" for none
	Extension   string    // that of ecrin, "" for none
	Generation  int64     // differs after each change that can make an earlier decision wrong
	EvaluatedAt time.Time // zero for never
}

// The kinds of jobs that the changes of this file queue. Their key is the ID of the repository.
const (
	LifecycleJob        = "lifecycle"
	LifecyclePreviewJob = "lifecycle_preview"
)

const (
	// lifecycleEvery is the time between two evaluations of a repository without pushes: an image is acted on so long after it is due, at
	// most. lifecycleDelay is the time from a push to the next evaluation, which collects the pushes of that time.
	lifecycleEvery = time.Hour
	lifecycleDelay = 5 * time.Minute
)

// Lifecycle returns what is stored about the lifecycle policy of a repository.
func (s *Store) Lifecycle(ctx context.Context, repository int64) (l Lifecycle, err error) {
	return scanLifecycle(func(dest ...any) error { return s.read.row(ctx, selectLifecycle, args{repository}, dest...) })
}

const selectLifecycle = `SELECT policy, extension, generation, evaluated_at FROM lifecycle_policies WHERE repository = $1`

func scanLifecycle(scan func(...any) error) (l Lifecycle, err error) {
	var at int64
	err = scan(&l.Policy, &l.Extension, &l.Generation, &at)
	if errors.Is(err, sql.ErrNoRows) {
		return Lifecycle{}, nil
	}
	l.EvaluatedAt = fromMicros(at)
	return l, err
}

// lifecycle is Store.Lifecycle in a transaction.
func (t *tx) lifecycle(repository int64) (Lifecycle, error) {
	return scanLifecycle(func(dest ...any) error { return t.row(t.ctx, selectLifecycle, args{repository}, dest...) })
}

// ChangeLifecycle changes the documents of a repository: change gets what is stored, and sets Policy or Extension. It queues an
// evaluation. It returns what was stored before.
//
// Errors: those of change, fault.RepositoryNotFound.
func (s *Store) ChangeLifecycle(ctx context.Context, r Repository, change func(*Lifecycle) error) (before Lifecycle, err error) {
	err = s.write.do(ctx, func(t *tx) error {
		if err := checkRepository(t, r); err != nil {
			return err
		}
		if before, err = t.lifecycle(r.ID); err != nil {
			return err
		}
		l, now := before, s.now()
		if err := change(&l); err != nil {
			return err
		}
		gone := l.Policy == "" && l.Extension == ""
		if err := t.policyChanged(r.Registry, r.Name, event.PolicyChange{Type: event.PolicyLifecycle, Deleted: gone}, now); err != nil {
			return err
		}
		if gone {
			_, err := t.exec(`DELETE FROM lifecycle_policies WHERE repository = $1`, r.ID)
			return err
		}
		if l.Policy != before.Policy {
			l.EvaluatedAt = time.Time{}
		}
		return t.putLifecycle(r, l, now)
	})
	return before, err
}

// putLifecycle stores the documents of a repository, and queues an evaluation.
func (t *tx) putLifecycle(r Repository, l Lifecycle, now time.Time) (err error) {
	if l.Generation, err = t.newID(now); err != nil {
		return err
	}
	if _, err := t.exec(`INSERT INTO lifecycle_policies (repository, account, policy, extension, generation, evaluated_at, due_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (repository) DO UPDATE SET policy = excluded.policy, extension = excluded.extension,
			generation = excluded.generation, evaluated_at = excluded.evaluated_at, due_at = excluded.due_at`, r.ID,
		r.Registry.Account.String(), l.Policy, l.Extension, l.Generation, micros(l.EvaluatedAt), micros(now.Add(lifecycleEvery))); err != nil {
		return err
	}
	return t.enqueue(lifecycleJob(r.ID, r.Registry.Account.String(), LifecycleJob), now)
}

func lifecycleJob(repository int64, account, kind string) NewJob {
	return NewJob{Kind: kind, Key: strconv.FormatInt(repository, 10), Account: account, Input: `{}`}
}

// lifecyclePushed makes a repository with a lifecycle policy due a while after a push. live says that the image was there before, and
// moved that it got tags. A tag that moves from an image to a new one can improve the position of no other image, unless an exclusion of
// the extension concerns the new image.
func (s *Store) lifecyclePushed(t *tx, repository int64, live, moved bool) error {
	if live && moved {
		if err := lifecycleOutdated(t, repository); err != nil {
			return err
		}
	} else if moved {
		if _, err := t.exec(`UPDATE lifecycle_policies SET generation = generation + 1 WHERE repository = $1 AND extension <> ''`,
			repository); err != nil {
			return err
		}
	}
	_, err := t.exec(`UPDATE lifecycle_policies SET due_at = $2 WHERE repository = $1 AND due_at > $2`,
		repository, micros(s.now().Add(lifecycleDelay)))
	return err
}

// lifecycleOutdated makes the decisions of lifecycle policies void that are being carried out: images that they have counted are gone,
// or have other tags.
func lifecycleOutdated(t *tx, repository int64) error {
	_, err := t.exec(`UPDATE lifecycle_policies SET generation = generation + 1 WHERE repository = $1`, repository)
	return err
}

// DueLifecycles returns up to limit repositories whose lifecycle policies are due, the first due first.
func (s *Store) DueLifecycles(ctx context.Context, limit int) (all []int64, err error) {
	return s.ids(ctx, `SELECT repository FROM lifecycle_policies WHERE due_at <= $1 ORDER BY due_at, repository LIMIT $2`,
		micros(s.now()), limit)
}

func (s *Store) ids(ctx context.Context, text string, a ...any) (all []int64, err error) {
	err = s.read.rows(ctx, text, a, func(scan func(...any) error) error {
		var id int64
		err := scan(&id)
		all = append(all, id)
		return err
	})
	return all, err
}

// QueueLifecycles queues the evaluation of those of the given repositories that are due.
func (s *Store) QueueLifecycles(ctx context.Context, repositories []int64) error {
	return s.write.doMany(ctx, 4*len(repositories), func(t *tx) error {
		now := s.now()
		for _, id := range repositories {
			n, err := t.exec(`UPDATE lifecycle_policies SET due_at = $3 WHERE repository = $1 AND due_at <= $2`,
				id, micros(now), micros(now.Add(lifecycleEvery)))
			if err != nil {
				return err
			}
			if n == 0 {
				continue // another process was faster
			}
			var account string
			found, err := t.one(`SELECT account FROM repositories WHERE id = $1 AND deleted_at <= 0`, args{id}, &account)
			if err != nil {
				return err
			}
			if !found {
				continue // it is deleted, and may be restored
			}
			if err := t.enqueue(lifecycleJob(id, account, LifecycleJob), now); err != nil {
				return err
			}
		}
		return nil
	})
}

// LifecycleEvaluated records that the lifecycle policy of a repository was evaluated, unless it has been changed since then.
func (s *Store) LifecycleEvaluated(ctx context.Context, repository int64, l Lifecycle, at time.Time) error {
	return s.write.do(ctx, func(t *tx) error {
		_, err := t.exec(`UPDATE lifecycle_policies SET evaluated_at = $3 WHERE repository = $1 AND policy = $2`,
			repository, l.Policy, micros(at))
		return err
	})
}

// LifecyclePolicyNotFound returns the error for a repository without a lifecycle policy, with ECR's text.
func LifecyclePolicyNotFound(r Repository) *fault.Error {
	return fault.LifecyclePolicyNotFound.New("Lifecycle policy does not exist for the repository with name '%s' in the registry with id '%s'",
		r.Name, r.Registry.Account)
}
