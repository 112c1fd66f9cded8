package meta

import (
	"context"
	"time"
)

// CollectRepository removes a part of the repository that was deleted first, at or before the given time: at most some hundred
// rows of it, and with the last of them the repository. From the first part on it cannot be restored. more is false if there was
// no such repository.
func (s *Store) CollectRepository(ctx context.Context, before time.Time) (c Collected, more bool, err error) {
	due, err := s.due(ctx, candidateRepository, before, 1)
	if err != nil || len(due) == 0 {
		return c, false, err
	}
	id := due[0].repository
	err = s.write.doMany(ctx, 3*collectedCandidates, func(t *tx) (err error) {
		c = Collected{}
		var deleted int64
		var collecting int
		found, err := t.one(`SELECT deleted_at, collecting FROM repositories WHERE id = $1`, args{id}, &deleted, &collecting)
		switch {
		case err != nil:
			return err
		case !found || deleted == 0: // it was restored
			return noCandidate(t, candidateRepository, id, "")
		case collecting != 0:
			c, err = s.emptyRepository(t, id)
			return err
		case deleted > micros(before): // it was restored, and deleted again
			return candidate(t, candidateRepository, id, "", fromMicros(deleted))
		}
		t.touch(scope{kind: scopeRepositories})
		_, err = t.exec(`UPDATE repositories SET collecting = 1 WHERE id = $1`, id)
		return err
	})
	return c, true, err
}

// partsOfRepository are statements that each remove at most a number of rows ($2) of a repository ($1).
var partsOfRepository = []string{
	`DELETE FROM image_references WHERE (repository, digest, target, kind) IN (
		SELECT repository, digest, target, kind FROM image_references WHERE repository = $1 LIMIT $2)`,
	`DELETE FROM tags WHERE (repository, tag) IN (SELECT repository, tag FROM tags WHERE repository = $1 LIMIT $2)`,
	`DELETE FROM tag_history WHERE id IN (SELECT id FROM tag_history WHERE repository = $1 LIMIT $2)`,
	`DELETE FROM uploads WHERE id IN (SELECT id FROM uploads WHERE repository = $1 LIMIT $2)`,
	`DELETE FROM candidates WHERE (kind, repository, digest) IN (
		SELECT kind, repository, digest FROM candidates WHERE kind IN (2, 3, 4) AND repository = $1 LIMIT $2)`,
}

// emptyRepository removes some rows of a repository that is being collected; when there are none left, the repository.
func (s *Store) emptyRepository(t *tx, id int64) (c Collected, err error) {
	t.touch(scope{kind: scopeRepositories}, scope{kind: scopeImages, repository: id}, scope{kind: scopeResourceTags, repository: id})
	for _, text := range partsOfRepository {
		if n, err := t.exec(text, id, collectedRows); err != nil || n > 0 {
			return c, err
		}
	}
	images, err := t.column(`SELECT digest FROM images WHERE repository = $1 ORDER BY digest LIMIT $2`, id, collectedCandidates)
	if err != nil {
		return c, err
	}
	for _, digest := range images {
		one, err := removeImage(t, id, digest)
		if err != nil {
			return Collected{}, err
		}
		c.Add(one)
	}
	if len(images) > 0 {
		return c, nil
	}
	blobs, err := t.column(`SELECT digest FROM repository_blobs WHERE repository = $1 ORDER BY digest LIMIT $2`, id, collectedCandidates)
	if err != nil {
		return c, err
	}
	for _, digest := range blobs {
		if err := s.removeHolding(t, id, digest); err != nil {
			return Collected{}, err
		}
		c.Holdings++
	}
	if len(blobs) > 0 {
		return c, nil
	}
	if _, err := t.exec(`DELETE FROM repository_labels WHERE repository = $1`, id); err != nil {
		return c, err
	}
	if _, err := t.exec(`DELETE FROM repositories WHERE id = $1`, id); err != nil {
		return c, err
	}
	return Collected{Repositories: 1}, noCandidate(t, candidateRepository, id, "")
}
