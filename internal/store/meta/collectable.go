package meta

import (
	"context"
	"time"
)

// Collectable is what a collection would remove.
type Collectable struct {
	Repositories int
	Images       int
	Blobs        int   // whose bytes would be deleted
	Bytes        int64 // of these blobs
}

const collectableRecords = `SELECT
	(SELECT COUNT(*) FROM candidates c JOIN repositories r ON r.id = c.repository
		WHERE c.kind = 1 AND c.since <= $1 AND r.deleted_at > 0 AND r.deleted_at <= $1),
	(SELECT COUNT(*) FROM candidates c JOIN images i ON i.repository = c.repository AND i.digest = c.digest
		WHERE c.kind = 2 AND c.since <= $1 AND i.deleted_at > 0 AND i.deleted_at <= $1),
	(SELECT COUNT(*) FROM candidates c JOIN repositories r ON r.id = c.repository JOIN images i ON i.repository = r.id
		WHERE c.kind = 1 AND c.since <= $1 AND r.deleted_at > 0 AND r.deleted_at <= $1
			AND (i.deleted_at = 0 OR i.deleted_at > $1))`

// CollectableRecords counts the repositories and the images outside them that were deleted at or before the given time.
func (s *Store) CollectableRecords(ctx context.Context, before time.Time) (Collectable, error) {
	var c Collectable
	var inside int
	err := s.read.row(ctx, collectableRecords, args{micros(before)}, &c.Repositories, &c.Images, &inside)
	c.Images += inside
	return c, err
}

// CollectableBlobs reads the recorded blobs in the order of their digests, those after the given one, at most limit. It counts
// those that no repository would hold after a collection, and returns the digest where the next call goes on, "" at the end.
func (s *Store) CollectableBlobs(ctx context.Context, after string, before time.Time, limit int) (c Collectable, next string, err error) {
	n := 0
	// The order makes PostgreSQL take the index of the blob's references, whatever it knows of the tables.
	err = s.read.rows(ctx, `SELECT q.digest, q.size, EXISTS (
			SELECT 1 FROM repository_blobs b JOIN repositories r ON r.id = b.repository
			WHERE b.digest = q.digest AND r.collecting = 0 AND (r.deleted_at = 0 OR r.deleted_at > $2)
				AND (b.added_at > $2 AND b.condemned_at = 0 OR COALESCE((
					SELECT 1 FROM image_references f JOIN images i ON i.repository = f.repository AND i.digest = f.digest
					WHERE f.repository = b.repository AND f.target = b.digest AND f.kind % 2 = 1
						AND (i.deleted_at = 0 OR i.deleted_at > $2)
					ORDER BY f.kind, f.digest LIMIT 1), 0) = 1))
		FROM (SELECT digest, MAX(size) AS size FROM repository_blobs WHERE digest > $1 GROUP BY digest ORDER BY digest LIMIT $3) q`, args{after, micros(before), limit}, func(scan func(...any) error) error {
		var size int64
		var stays bool
		var digest string
		if err := scan(&digest, &size, &stays); err != nil {
			return err
		}
		n, next = n+1, max(next, digest)
		if !stays {
			c.Blobs, c.Bytes = c.Blobs+1, c.Bytes+size
		}
		return nil
	})
	if n < limit {
		next = ""
	}
	return c, next, err
}
