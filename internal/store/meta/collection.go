package meta

import (
	"context"
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// CollectionState tells whether collections of this database may begin, when the last one did, and what is held back.
type CollectionState struct {
	Prepared  bool      // PrepareCollection has come to its end
	RanAt     time.Time // the last collection, zero for none
	HoldUntil time.Time // before that, nothing that can be restored is removed
}

// CollectionState returns the state of the collection.
func (s *Store) CollectionState(ctx context.Context) (CollectionState, error) {
	var prepared, ran, hold int64
	err := s.read.row(ctx, `SELECT prepared_at, ran_at, hold_until FROM collection WHERE one = 1`, nil, &prepared, &ran, &hold)
	return CollectionState{Prepared: prepared > 0, RanAt: fromMicros(ran), HoldUntil: fromMicros(hold)}, err
}

// CollectionRan records that a collection has begun. If hold is later than the stored time, nothing that can be restored is removed
// until then.
func (s *Store) CollectionRan(ctx context.Context, hold time.Time) error {
	return s.write.do(ctx, func(t *tx) error {
		_, err := t.exec(`UPDATE collection SET ran_at = $1, hold_until = CASE WHEN hold_until < $2 THEN $2 ELSE hold_until END WHERE one = 1`,
			micros(s.now()), micros(hold))
		return err
	})
}

// External is an image and the layers of its manifest that may be elsewhere, which the repository may hold all the same.
type External struct {
	Digest string
	Layers []name.Digest
}

// ReferToExternal inserts the references to these layers for all repositories that have the images. Programs before the collection did
// not store them.
func (s *Store) ReferToExternal(ctx context.Context, images []External) error {
	for _, im := range images {
		err := s.write.doMany(ctx, 2*len(im.Layers), func(t *tx) error {
			for _, d := range im.Layers {
				t.touch(scope{kind: scopeEverything}) // how every repository holds the layer
				if _, err := t.exec(`INSERT INTO image_references (repository, digest, target, kind)
					SELECT repository, digest, $2, CASE WHEN deleted_at > 0 THEN 3 ELSE 1 END FROM images WHERE digest = $1
					ON CONFLICT (repository, digest, target, kind) DO NOTHING`, im.Digest, d.String()); err != nil {
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

// FinishPreparation makes candidates of all that was deleted or unused before there were candidates, and lets collections begin. What
// can be restored is kept until hold at least.
func (s *Store) FinishPreparation(ctx context.Context, hold time.Time) error {
	return s.write.doMany(ctx, collectedRows, func(t *tx) error {
		now := micros(s.now())
		for _, text := range []string{
			`INSERT INTO candidates (kind, repository, digest, since) SELECT 1, id, '', $1 FROM repositories WHERE deleted_at > 0
				ON CONFLICT (kind, repository, digest) DO NOTHING`,
			`INSERT INTO candidates (kind, repository, digest, since) SELECT 2, repository, digest, $1 FROM images WHERE deleted_at > 0
				ON CONFLICT (kind, repository, digest) DO NOTHING`,
			`INSERT INTO candidates (kind, repository, digest, since) SELECT 3, b.repository, b.digest, $1 FROM repository_blobs b
				WHERE NOT EXISTS (SELECT 1 FROM image_references r WHERE r.repository = b.repository AND r.target = b.digest
					AND r.kind IN (1, 3))
				ON CONFLICT (kind, repository, digest) DO NOTHING`,
		} {
			if _, err := t.exec(text, now); err != nil {
				return err
			}
		}
		_, err := t.exec(`UPDATE collection SET prepared_at = $1, hold_until = $2 WHERE one = 1`, now, micros(hold))
		return err
	})
}
