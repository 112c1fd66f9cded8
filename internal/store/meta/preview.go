package meta

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/lifecycle"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// PreviewState is how far a preview of a lifecycle policy is.
type PreviewState int

// The states.
const (
	PreviewInProgress PreviewState = iota + 1
	PreviewComplete
	PreviewFailed
	PreviewExpired // its results are gone
)

// Preview is the last preview of the lifecycle policy of a repository.
type Preview struct {
	ID        int64
	Policy    string // the document of ECR
	State     PreviewState
	Expiring  int64 // images
	Archiving int64
}

// PreviewResult is an image that a policy acts on.
type PreviewResult struct {
	Number   int64 // from 1, in the order of the push
	Digest   string
	Tags     []string // at most MaxPreviewTags
	PushedAt time.Time
	Action   lifecycle.Action
	Priority int // of the rule
	Class    lifecycle.StorageClass
}

const (
	// previewLife is how long the results of a preview are kept. Source: ECR does not document its time.
	previewLife = 24 * time.Hour
	// MaxPreviewTags limits the tags that a preview shows of an image. Source: CloudTrail events of ECR have as many.
	MaxPreviewTags = 100
	// maxPreviewRows is the number of results that one transaction adds or deletes.
	maxPreviewRows = 500
)

const selectPreview = `SELECT id, policy, state, expiring, archiving, ends_at FROM lifecycle_previews WHERE repository = $1`

func (s *Store) scanPreview(scan func(...any) error) (p Preview, err error) {
	var ends int64
	err = scan(&p.ID, &p.Policy, &p.State, &p.Expiring, &p.Archiving, &ends)
	if err == nil && ends <= micros(s.now()) {
		p.State = PreviewExpired
	}
	return p, err
}

const livePreview = `SELECT 1 FROM jobs WHERE kind = 'lifecycle_preview' AND key = $1 AND state < 3`

// StartPreview begins a preview of a document of ECR, in place of the last one, and queues its job.
//
// Errors: fault.LifecyclePreviewInProgress, fault.RepositoryNotFound.
func (s *Store) StartPreview(ctx context.Context, r Repository, policy string) error {
	return s.write.do(ctx, func(t *tx) error {
		if err := checkRepository(t, r); err != nil {
			return err
		}
		p, err := s.scanPreview(func(dest ...any) error {
			_, err := t.one(selectPreview, args{r.ID}, dest...)
			return err
		})
		if err != nil {
			return err
		}
		var one int
		live, err := t.one(livePreview, args{strconv.FormatInt(r.ID, 10)}, &one)
		if err != nil {
			return err
		}
		if live && p.State == PreviewInProgress {
			return fault.LifecyclePreviewInProgress.New("The previous lifecycle policy preview for the repository with name '%s' in the registry "+
				"with id '%s' has not completed. Please try again later", r.Name, r.Registry.Account)
		}
		now := s.now()
		id, err := t.newID(now)
		if err != nil {
			return err
		}
		if _, err := t.exec(`INSERT INTO lifecycle_previews (repository, id, policy, state, expiring, archiving, ends_at)
			VALUES ($1, $2, $3, 1, 0, 0, $4) ON CONFLICT (repository) DO UPDATE SET id = excluded.id, policy = excluded.policy, state = 1,
			expiring = 0, archiving = 0, ends_at = excluded.ends_at`, r.ID, id, policy, micros(now.Add(previewLife))); err != nil {
			return err
		}
		return t.enqueue(lifecycleJob(r.ID, r.Registry.Account.String(), LifecyclePreviewJob), now)
	})
}

// noPreview is the error for a repository without a preview.
var noPreview error = fault.LifecyclePreviewNotFound.New("There is no preview of a lifecycle policy for the repository: start one first")

// Preview returns the last preview of a repository. One in progress whose job has been canceled has failed.
//
// Errors: fault.LifecyclePreviewNotFound.
func (s *Store) Preview(ctx context.Context, repository int64) (Preview, error) {
	p, err := s.scanPreview(func(dest ...any) error { return s.read.row(ctx, selectPreview, args{repository}, dest...) })
	if errors.Is(err, sql.ErrNoRows) {
		return p, noPreview
	}
	if err == nil && p.State == PreviewInProgress {
		var one int
		err = s.read.row(ctx, livePreview, args{strconv.FormatInt(repository, 10)}, &one)
		if errors.Is(err, sql.ErrNoRows) {
			// The job may have ended since the first statement.
			p, err = s.scanPreview(func(dest ...any) error { return s.read.row(ctx, selectPreview, args{repository}, dest...) })
			if p.State == PreviewInProgress {
				p.State = PreviewFailed
			}
		}
	}
	return p, err
}

// AttemptPreview returns the preview in progress, under a new ID, so that the results of earlier attempts are not shown. Its State is not
// PreviewInProgress if there is nothing to do.
func (s *Store) AttemptPreview(ctx context.Context, repository int64) (p Preview, err error) {
	err = s.write.do(ctx, func(t *tx) (err error) {
		p, err = s.scanPreview(func(dest ...any) error {
			_, err := t.one(selectPreview, args{repository}, dest...)
			return err
		})
		if err != nil || p.State != PreviewInProgress {
			return err
		}
		if p.ID, err = t.newID(s.now()); err != nil {
			return err
		}
		_, err = t.exec(`UPDATE lifecycle_previews SET id = $2 WHERE repository = $1`, repository, p.ID)
		return err
	})
	return p, err
}

// ClearPreview deletes results of previews of a repository, and returns whether there are none left.
func (s *Store) ClearPreview(ctx context.Context, repository int64) (done bool, err error) {
	err = s.write.doMany(ctx, maxPreviewRows, func(t *tx) error {
		n, err := t.exec(`DELETE FROM lifecycle_preview_results WHERE (repository, preview, number) IN (
			SELECT repository, preview, number FROM lifecycle_preview_results WHERE repository = $1 ORDER BY preview, number LIMIT $2)`,
			repository, maxPreviewRows)
		done = n < maxPreviewRows
		return err
	})
	return done, err
}

// ofAttempt runs fn in a transaction if the attempt with an ID is still the last one.
func (s *Store) ofAttempt(ctx context.Context, cost int, repository, id int64, fn func(t *tx) error) error {
	return s.write.doMany(ctx, cost, func(t *tx) error {
		var state PreviewState
		if _, err := t.one(`SELECT state FROM lifecycle_previews WHERE repository = $1 AND id = $2`, args{repository, id}, &state); err != nil {
			return err
		}
		if state != PreviewInProgress {
			return fault.TargetChanged.New("another attempt makes the preview")
		}
		return fn(t)
	})
}

// AddPreviewResults adds results to a preview in progress.
//
// Errors: fault.TargetChanged (another attempt has begun).
func (s *Store) AddPreviewResults(ctx context.Context, repository, id int64, all []PreviewResult) error {
	for len(all) > 0 {
		some := all[:min(maxPreviewRows, len(all))]
		all = all[len(some):]
		err := s.ofAttempt(ctx, len(some), repository, id, func(t *tx) error {
			for _, r := range some {
				if _, err := t.exec(`INSERT INTO lifecycle_preview_results (repository, preview, number, digest, tags, pushed_at, action, priority,
					archived) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`, repository, id, r.Number, r.Digest, strings.Join(r.Tags, " "),
					micros(r.PushedAt), int(r.Action), r.Priority, truth(r.Class == lifecycle.Archived)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// EndPreview completes a preview in progress, or with PreviewFailed ends it. lines are audit lines about it.
//
// Errors: fault.TargetChanged (another attempt has begun).
func (s *Store) EndPreview(ctx context.Context, repository int64, p Preview, lines []byte) error {
	return s.ofAttempt(ctx, 2, repository, p.ID, func(t *tx) error {
		_, err := t.exec(`UPDATE lifecycle_previews SET state = $2, expiring = $3, archiving = $4, ends_at = $5 WHERE repository = $1`,
			repository, int(p.State), p.Expiring, p.Archiving, micros(s.now().Add(previewLife)))
		t.emit(lines)
		return err
	})
}

const previewColumns = `number, digest, tags, pushed_at, action, priority, archived`

func scanPreviewResult(scan func(...any) error) (r PreviewResult, err error) {
	var tags string
	var pushed int64
	var action, archived int
	err = scan(&r.Number, &r.Digest, &tags, &pushed, &action, &r.Priority, &archived)
	r.Tags, r.PushedAt, r.Action = strings.Fields(tags), fromMicros(pushed), lifecycle.Action(action)
	if archived != 0 {
		r.Class = lifecycle.Archived
	}
	return r, err
}

// PreviewResults returns the results of a preview: those after a number, at most limit.
func (s *Store) PreviewResults(ctx context.Context, repository, id, after int64, limit int) (all []PreviewResult, err error) {
	err = s.read.rows(ctx, `SELECT `+previewColumns+` FROM lifecycle_preview_results WHERE repository = $1 AND preview = $2 AND number > $3
		ORDER BY number LIMIT $4`, args{repository, id, after, limit}, func(scan func(...any) error) error {
		r, err := scanPreviewResult(scan)
		all = append(all, r)
		return err
	})
	return all, err
}

// PreviewResult returns the result of a preview for an image; found is false if it has none.
func (s *Store) PreviewResult(ctx context.Context, repository, id int64, digest string) (r PreviewResult, found bool, err error) {
	r, err = scanPreviewResult(func(dest ...any) error {
		return s.read.row(ctx, `SELECT `+previewColumns+` FROM lifecycle_preview_results WHERE repository = $1 AND preview = $2 AND digest = $3`,
			args{repository, id, digest}, dest...)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return r, false, nil
	}
	return r, err == nil, err
}

// ExpirePreview deletes results of the preview that expired first. more is false if no preview has expired; then nothing is written.
func (s *Store) ExpirePreview(ctx context.Context) (more bool, err error) {
	due, err := s.ids(ctx, `SELECT repository FROM lifecycle_previews WHERE state < 4 AND ends_at <= $1 ORDER BY ends_at, repository LIMIT 1`,
		micros(s.now()))
	if err != nil || len(due) == 0 {
		return false, err
	}
	done, err := s.ClearPreview(ctx, due[0])
	if err != nil || !done {
		return err == nil, err
	}
	return true, s.write.do(ctx, func(t *tx) error {
		_, err := t.exec(`UPDATE lifecycle_previews SET state = 4 WHERE repository = $1 AND ends_at <= $2`, due[0], micros(s.now()))
		return err
	})
}
