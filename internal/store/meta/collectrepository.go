package meta

import (
	"context"
	"time"
)

// CollectRepositories removes a part of the repositories that were deleted at or before the given time, the first deleted first: at
// most some hundred rows of them. From its first part on a repository cannot be restored. more is false if there was none.
func (s *Store) CollectRepositories(ctx context.Context, before time.Time) (c Collected, more bool, err error) {
	due, err := s.due(ctx, candidateRepository, before, collectedCandidates)
	if err != nil || len(due) == 0 {
		return c, false, err
	}
	err = s.write.doMany(ctx, collectedRows, func(t *tx) error {
		c = Collected{}
		left := collectedRows
		for _, k := range due {
			one, err := s.collectRepository(t, k.repository, before, &left)
			if err != nil {
				return err
			}
			if c.Add(one); left <= 0 {
				return nil
			}
		}
		return nil
	})
	return c, true, err
}

// collectRepository removes rows of a repository, at most some more than left, which it counts down; with the last one the repository.
func (s *Store) collectRepository(t *tx, id int64, before time.Time, left *int) (Collected, error) {
	*left -= 5
	var deleted int64
	var collecting int
	found, err := t.one(`SELECT deleted_at, collecting FROM repositories WHERE id = $1`, args{id}, &deleted, &collecting)
	switch {
	case err != nil:
		return Collected{}, err
	case !found || deleted == 0: // it was restored
		return Collected{}, noCandidate(t, candidateRepository, id, "")
	case collecting == 0 && deleted > micros(before): // it was restored, and deleted again
		return Collected{}, candidate(t, candidateRepository, id, "", fromMicros(deleted))
	}
	if _, err := t.exec(`UPDATE repositories SET collecting = 1 WHERE id = $1 AND collecting = 0`, id); err != nil {
		return Collected{}, err
	}
	return s.emptyRepository(t, id, left)
}

// partsOfRepository are statements that each remove at most a number of rows ($2) of a repository ($1). No cache has them: the
// repository was dropped when it was deleted.
var partsOfRepository = []string{
	`DELETE FROM image_references WHERE (repository, digest, target, kind) IN (
		SELECT repository, digest, target, kind FROM image_references WHERE repository = $1 LIMIT $2)`,
	`DELETE FROM tags WHERE (repository, tag) IN (SELECT repository, tag FROM tags WHERE repository = $1 LIMIT $2)`,
	`DELETE FROM tag_history WHERE id IN (SELECT id FROM tag_history WHERE repository = $1 LIMIT $2)`,
	`DELETE FROM uploads WHERE id IN (SELECT id FROM uploads WHERE repository = $1 LIMIT $2)`,
	`DELETE FROM candidates WHERE (kind, repository, digest) IN (
		SELECT kind, repository, digest FROM candidates WHERE kind IN (2, 3, 4) AND repository = $1 LIMIT $2)`,
	`DELETE FROM cache_checks WHERE (repository, reference) IN (
		SELECT repository, reference FROM cache_checks WHERE repository = $1 LIMIT $2)`,
	`DELETE FROM repository_labels WHERE (repository, label) IN (
		SELECT repository, label FROM repository_labels WHERE repository = $1 LIMIT $2)`,
	`DELETE FROM lifecycle_policies WHERE repository = $1 AND $2 > 0`,
	`DELETE FROM lifecycle_preview_results WHERE (repository, preview, number) IN (
		SELECT repository, preview, number FROM lifecycle_preview_results WHERE repository = $1 ORDER BY preview, number LIMIT $2)`,
	`DELETE FROM lifecycle_previews WHERE repository = $1 AND $2 > 0`,
}

// emptyRepository removes some rows of a repository that is being collected; when there are none left, the repository.
func (s *Store) emptyRepository(t *tx, id int64, left *int) (c Collected, err error) {
	for _, text := range partsOfRepository {
		if *left <= 0 {
			return c, nil
		}
		n, err := t.exec(text, id, *left)
		if err != nil {
			return c, err
		}
		*left -= int(n)
	}
	for *left > 0 {
		images, err := t.column(`SELECT digest FROM images WHERE repository = $1 ORDER BY digest LIMIT $2`, id, *left/2+1)
		if err != nil {
			return c, err
		}
		if len(images) == 0 {
			break
		}
		for _, digest := range images {
			one, err := removeImage(t, id, digest)
			if err != nil {
				return Collected{}, err
			}
			c.Add(one)
		}
		*left -= 2 * len(images)
	}
	released := int64(0)
	for *left > 0 {
		blobs, err := t.column(`SELECT digest FROM repository_blobs WHERE repository = $1 ORDER BY digest LIMIT $2`, id, *left/3+1)
		if err != nil {
			return c, err
		}
		if len(blobs) == 0 {
			break
		}
		for _, digest := range blobs {
			size, err := s.removeHolding(t, id, digest)
			if err != nil {
				return Collected{}, err
			}
			released += size
			c.Holdings++
		}
		*left -= 3 * len(blobs)
	}
	if err := t.addReleased(s.now(), map[int64]int64{id: released}); err != nil {
		return c, err
	}
	if *left <= 0 {
		return c, nil // perhaps there is more
	}
	if _, err := t.exec(`DELETE FROM repository_totals WHERE repository = $1`, id); err != nil {
		return c, err
	}
	if _, err := t.exec(`DELETE FROM repositories WHERE id = $1 AND collecting = 1`, id); err != nil {
		return c, err
	}
	c.Repositories++
	return c, noCandidate(t, candidateRepository, id, "")
}
