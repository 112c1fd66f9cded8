package meta

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Kinds of rows of the table candidates. A change that takes the last use of something inserts a row in its transaction;
// a collection checks again, in its own transaction, whether it is still unused.
const (
	candidateRepository = 1 // a deleted repository
	candidateImage      = 2 // a deleted image
	candidateUnused     = 3 // a blob of a repository to which no image of it refers
	candidateCondemned  = 4 // the same, after its grace period: it cannot be read any more
	candidateBlob       = 5 // the bytes of a blob that no repository holds
)

const (
	// collectedRows limits the rows that one transaction of a collection removes, and so how long other writes wait for it.
	collectedRows = 128
	// collectedCandidates limits the candidates that one transaction checks.
	collectedCandidates = 100
)

// Collected counts what a step of a collection removed from the database.
type Collected struct {
	Repositories int
	Images       int
	Manifests    int // bodies that no image has any more
	Holdings     int // blobs that a repository no longer holds
}

// Add adds the counts of another step.
func (c *Collected) Add(other Collected) {
	c.Repositories += other.Repositories
	c.Images += other.Images
	c.Manifests += other.Manifests
	c.Holdings += other.Holdings
}

// candidate inserts a row of candidates, or sets its time anew.
func candidate(t *tx, kind int, repository int64, digest string, since time.Time) error {
	_, err := t.exec(`INSERT INTO candidates (kind, repository, digest, since) VALUES ($1, $2, $3, $4)
		ON CONFLICT (kind, repository, digest) DO UPDATE SET since = excluded.since`, kind, repository, digest, micros(since))
	return err
}

func noCandidate(t *tx, kind int, repository int64, digest string) error {
	_, err := t.exec(`DELETE FROM candidates WHERE kind = $1 AND repository = $2 AND digest = $3`, kind, repository, digest)
	return err
}

// candidateKey is the key of a candidate of one kind.
type candidateKey struct {
	repository int64
	digest     string
}

// due lists candidates of a kind whose time is not after before, oldest first, at most limit.
func (s *Store) due(ctx context.Context, kind int, before time.Time, limit int) ([]candidateKey, error) {
	var all []candidateKey
	err := s.read.rows(ctx, `SELECT repository, digest FROM candidates WHERE kind = $1 AND since <= $2 ORDER BY since LIMIT $3`,
		args{kind, micros(before), limit}, func(scan func(...any) error) error {
			var k candidateKey
			err := scan(&k.repository, &k.digest)
			all = append(all, k)
			return err
		})
	return all, err
}

// CollectImage removes a part of the oldest image that was deleted at or before the given time: some of its references, and
// with the last of them the image. Its blobs to which no other image of the repository refers are condemned. more is false
// if there was no such image.
func (s *Store) CollectImage(ctx context.Context, before time.Time) (c Collected, more bool, err error) {
	due, err := s.due(ctx, candidateImage, before, 1)
	if err != nil || len(due) == 0 {
		return c, false, err
	}
	err = s.write.doMany(ctx, 4*collectedCandidates, func(t *tx) (err error) {
		c, err = s.collectImage(t, due[0], before)
		return err
	})
	return c, true, err
}

func (s *Store) collectImage(t *tx, k candidateKey, before time.Time) (Collected, error) {
	var deleted int64
	found, err := t.one(`SELECT deleted_at FROM images WHERE repository = $1 AND digest = $2`, args{k.repository, k.digest}, &deleted)
	switch {
	case err != nil:
		return Collected{}, err
	case !found || deleted == 0: // it was restored
		return Collected{}, noCandidate(t, candidateImage, k.repository, k.digest)
	case deleted > micros(before): // it was restored, and deleted again
		return Collected{}, candidate(t, candidateImage, k.repository, k.digest, fromMicros(deleted))
	}
	targets, err := t.column(`SELECT target FROM image_references WHERE repository = $1 AND digest = $2 AND kind > 2 ORDER BY target LIMIT $3`,
		k.repository, k.digest, collectedCandidates)
	if err != nil {
		return Collected{}, err
	}
	for _, target := range targets {
		if _, err := t.exec(`DELETE FROM image_references WHERE repository = $1 AND digest = $2 AND target = $3`,
			k.repository, k.digest, target); err != nil {
			return Collected{}, err
		}
		if err := s.condemnUnused(t, k.repository, target); err != nil {
			return Collected{}, err
		}
	}
	if len(targets) == collectedCandidates {
		return Collected{}, nil
	}
	c, err := removeImage(t, k.repository, k.digest)
	if err != nil {
		return Collected{}, err
	}
	return c, noCandidate(t, candidateImage, k.repository, k.digest)
}

// removeImage removes the row of an image, and the body of its manifest if no other repository has it.
func removeImage(t *tx, repository int64, digest string) (Collected, error) {
	if _, err := t.exec(`DELETE FROM images WHERE digest = $2 AND repository = $1`, repository, digest); err != nil {
		return Collected{}, err
	}
	if _, err := t.exec(`DELETE FROM replications WHERE repository = $1 AND digest = $2`, repository, digest); err != nil {
		return Collected{}, err
	}
	if _, err := t.exec(`DELETE FROM image_pins WHERE repository = $1 AND digest = $2`, repository, digest); err != nil {
		return Collected{}, err
	}
	if _, err := t.exec(`DELETE FROM image_labels WHERE repository = $1 AND digest = $2`, repository, digest); err != nil {
		return Collected{}, err
	}
	if _, err := t.exec(`DELETE FROM labels_due WHERE repository = $1 AND digest = $2`, repository, digest); err != nil {
		return Collected{}, err
	}
	n, err := t.exec(`DELETE FROM manifests WHERE digest = $1 AND NOT EXISTS (SELECT 1 FROM images WHERE digest = $1)`, digest)
	return Collected{Images: 1, Manifests: int(n)}, err
}

// used reports whether an image of the repository refers to the blob; a deleted image does until it is collected.
func used(t *tx, repository int64, digest string) (bool, error) {
	var one int
	return t.one(`SELECT 1 FROM image_references WHERE repository = $1 AND target = $2 AND kind IN (1, 3) LIMIT 1`,
		args{repository, digest}, &one)
}

// condemnUnused condemns a blob of the repository unless an image refers to it. From then on it cannot be read, so that a
// client uploads it again; a push of an image that refers to it still succeeds until it is removed.
func (s *Store) condemnUnused(t *tx, repository int64, digest string) error {
	if inUse, err := used(t, repository, digest); err != nil || inUse {
		return err
	}
	d, err := name.ParseDigest(digest)
	if err != nil {
		return err
	}
	t.touchHoldings(repository, []name.Digest{d})
	now := s.now()
	n, err := t.exec(`UPDATE repository_blobs SET condemned_at = $3 WHERE repository = $1 AND digest = $2 AND condemned_at = 0`,
		repository, digest, micros(now))
	if err != nil {
		return err
	}
	if n == 0 { // it is not there, or RemoveBlob has condemned it
		var one int
		found, err := t.one(`SELECT 1 FROM repository_blobs WHERE repository = $1 AND digest = $2`, args{repository, digest}, &one)
		if err != nil || !found {
			return err
		}
	}
	return candidate(t, candidateCondemned, repository, digest, now)
}

// uncondemn takes back the condemnation of a blob, if it has one.
func uncondemn(t *tx, repository int64, d name.Digest) error {
	t.touchHoldings(repository, []name.Digest{d})
	_, err := t.exec(`UPDATE repository_blobs SET condemned_at = 0 WHERE repository = $1 AND digest = $2 AND condemned_at <> 0`,
		repository, d.String())
	return err
}

// CollectHoldings condemns blobs of repositories to which no image has referred since unused, and removes those that have
// been condemned since condemned: at most 100 of each. more is false if there were none.
func (s *Store) CollectHoldings(ctx context.Context, unused, condemned time.Time) (c Collected, more bool, err error) {
	idle, err := s.due(ctx, candidateUnused, unused, collectedCandidates)
	if err != nil {
		return c, false, err
	}
	dead, err := s.due(ctx, candidateCondemned, condemned, collectedCandidates)
	if err != nil || len(idle)+len(dead) == 0 {
		return c, false, err
	}
	err = s.write.doMany(ctx, 4*len(idle)+10*len(dead), func(t *tx) error {
		c = Collected{}
		released := map[int64]int64{}
		for _, k := range idle {
			if err := s.condemnUnused(t, k.repository, k.digest); err != nil {
				return err
			}
			if err := noCandidate(t, candidateUnused, k.repository, k.digest); err != nil {
				return err
			}
		}
		for _, k := range dead {
			removed, size, err := s.removeCondemned(t, k, condemned)
			if err != nil {
				return err
			}
			released[k.repository] += size
			c.Add(removed)
		}
		return t.addReleased(s.now(), released)
	})
	return c, true, err
}

// removeCondemned removes a blob from its repository if it is still condemned, and returns its size.
func (s *Store) removeCondemned(t *tx, k candidateKey, before time.Time) (c Collected, size int64, err error) {
	var since int64
	found, err := t.one(`SELECT condemned_at FROM repository_blobs WHERE repository = $1 AND digest = $2`,
		args{k.repository, k.digest}, &since)
	switch {
	case err != nil:
		return c, 0, err
	case !found || since == 0: // it was pushed again
		return c, 0, noCandidate(t, candidateCondemned, k.repository, k.digest)
	case since > micros(before):
		return c, 0, candidate(t, candidateCondemned, k.repository, k.digest, fromMicros(since))
	}
	if inUse, err := used(t, k.repository, k.digest); err != nil {
		return c, 0, err
	} else if inUse { // by a deleted image, whose collection condemns it again
		return c, 0, noCandidate(t, candidateCondemned, k.repository, k.digest)
	}
	if size, err = s.removeHolding(t, k.repository, k.digest); err != nil {
		return c, 0, err
	}
	return Collected{Holdings: 1}, size, noCandidate(t, candidateCondemned, k.repository, k.digest)
}

// removeHolding removes a blob from a repository that cannot read it any more, so that no cache has it. If no repository holds the
// blob any more, its bytes become a candidate. It returns the size of the blob, for addReleased; 0 if the repository did not hold it.
func (s *Store) removeHolding(t *tx, repository int64, digest string) (size int64, err error) {
	found, err := t.one(`SELECT size FROM repository_blobs WHERE repository = $1 AND digest = $2`, args{repository, digest}, &size)
	if err != nil {
		return 0, err
	}
	if _, err := t.exec(`DELETE FROM repository_blobs WHERE digest = $2 AND repository = $1`, repository, digest); err != nil {
		return 0, err
	}
	if found {
		if err := t.discharge(repository, size); err != nil {
			return 0, err
		}
	}
	var one int
	held, err := t.one(heldAnywhere, args{digest}, &one)
	if err != nil || held {
		return size, err
	}
	return size, candidate(t, candidateBlob, 0, digest, s.now())
}

const heldAnywhere = `SELECT 1 FROM repository_blobs WHERE digest = $1 LIMIT 1`

// Held reports whether any repository, deleted or not, holds the blob.
func (s *Store) Held(ctx context.Context, d name.Digest) (bool, error) {
	var one int
	err := s.read.row(ctx, heldAnywhere, args{d.String()}, &one)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// BlobCandidates lists blobs whose bytes no repository holds, or held none when they were listed, in the order of their
// digests: those after the given one, at most limit.
func (s *Store) BlobCandidates(ctx context.Context, after string, limit int) ([]name.Digest, error) {
	var all []name.Digest
	err := s.read.rows(ctx, `SELECT digest FROM candidates WHERE kind = 5 AND repository = 0 AND digest > $1 ORDER BY digest LIMIT $2`,
		args{after, limit}, func(scan func(...any) error) error {
			var text string
			if err := scan(&text); err != nil {
				return err
			}
			d, err := name.ParseDigest(text)
			all = append(all, d)
			return err
		})
	return all, err
}

// AddBlobCandidates makes the bytes of blobs candidates that no repository holds. It is for bytes without a record, which a
// crash leaves.
func (s *Store) AddBlobCandidates(ctx context.Context, digests []name.Digest) error {
	if len(digests) == 0 {
		return nil
	}
	return s.write.doMany(ctx, len(digests), func(t *tx) error {
		for _, d := range digests {
			if err := candidate(t, candidateBlob, 0, d.String(), s.now()); err != nil {
				return err
			}
		}
		return nil
	})
}

// SettleBlobCandidates removes candidates: those whose bytes were deleted, and those that a repository holds now. The caller
// excludes pushes of the deleted ones meanwhile.
func (s *Store) SettleBlobCandidates(ctx context.Context, deleted, held []name.Digest) error {
	if len(deleted)+len(held) == 0 {
		return nil
	}
	return s.write.doMany(ctx, len(deleted)+len(held), func(t *tx) error {
		for _, d := range deleted {
			if err := noCandidate(t, candidateBlob, 0, d.String()); err != nil {
				return err
			}
		}
		for _, d := range held {
			if _, err := t.exec(`DELETE FROM candidates WHERE kind = 5 AND repository = 0 AND digest = $1
				AND EXISTS (SELECT 1 FROM repository_blobs WHERE digest = $1)`, d.String()); err != nil {
				return err
			}
		}
		return nil
	})
}
