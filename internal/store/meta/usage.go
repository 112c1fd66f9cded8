package meta

import (
	"context"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Usage is how many bytes of blobs a repository holds.
type Usage struct {
	Blobs  int
	Own    int64 // of blobs that images use and no other repository of its account holds
	Shared int64 // of blobs that images use and another repository of its account holds too
	Kept   int64 // of blobs that only deleted images use: they can be restored
	Unused int64 // of blobs that no image uses, such as those of a push that has not ended
}

// AddUsage adds the blobs of a repository to u, in the order of their digests: those after the given digest, at most limit. It returns the
// digest where the next call continues, "" at the end. Whether another account holds a blob does not show.
func (s *Store) AddUsage(ctx context.Context, r Repository, after string, limit int, u *Usage) (next string, err error) {
	n := 0
	err = s.read.rows(ctx, `SELECT b.digest, b.size,
			EXISTS (SELECT 1 FROM image_references f WHERE f.repository = b.repository AND f.target = b.digest AND f.kind = 1),
			EXISTS (SELECT 1 FROM image_references f WHERE f.repository = b.repository AND f.target = b.digest AND f.kind = 3),
			EXISTS (SELECT 1 FROM repository_blobs o JOIN repositories p ON p.id = o.repository AND p.account = $3 AND p.deleted_at <= 0
				WHERE o.digest = b.digest AND o.repository <> b.repository AND o.condemned_at = 0)
		FROM repository_blobs b WHERE b.repository = $1 AND b.digest > $2 ORDER BY b.digest LIMIT $4`,
		args{r.ID, after, r.Registry.Account.String(), limit}, func(scan func(...any) error) error {
			var size int64
			var used, kept, shared bool
			if err := scan(&next, &size, &used, &kept, &shared); err != nil {
				return err
			}
			n++
			u.Blobs++
			switch {
			case used && shared:
				u.Shared += size
			case used:
				u.Own += size
			case kept:
				u.Kept += size
			default:
				u.Unused += size
			}
			return nil
		})
	if n < limit {
		next = ""
	}
	return next, err
}

// maxCountedImages is how many images of a repository are counted.
const maxCountedImages = 100_000

// CountImages returns the number of images of a repository, at most 100,000.
func (s *Store) CountImages(ctx context.Context, repository int64) (n int, err error) {
	err = s.read.row(ctx, `SELECT COUNT(*) FROM (SELECT 1 AS one FROM images WHERE repository = $1 AND deleted_at = 0 LIMIT $2) counted`,
		args{repository, maxCountedImages}, &n)
	return n, err
}

// NextRepository returns the first repository of a registry after a name, and whether there is one.
func (s *Store) NextRepository(ctx context.Context, reg name.Registry, after string) (Repository, bool, error) {
	all, err := s.Repositories(ctx, reg, after, 1)
	if err != nil || len(all) == 0 {
		return Repository{}, false, err
	}
	return all[0], true, nil
}
