package meta

import (
	"context"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// TagsLeadingTo returns the tags by which a client can reach a manifest: its own, and those of the indexes that list
// it. Each tag occurs once, and the order is not defined.
func (s *Store) TagsLeadingTo(ctx context.Context, repository int64, d name.Digest) ([]string, error) {
	var all []string
	// A tag names one image, so no tag comes twice. CROSS JOIN lets SQLite begin with the few indexes: by itself it begins with all
	// tags of the repository, 0.2 s for 100,000.
	err := s.read.rows(ctx, `SELECT tag FROM tags WHERE repository = $1 AND digest = $2
		UNION ALL SELECT t.tag FROM image_references r CROSS JOIN tags t
		WHERE r.repository = $1 AND r.target = $2 AND r.kind = 2 AND t.repository = $1 AND t.digest = r.digest`,
		args{repository, d.String()}, func(scan func(...any) error) error {
			var tag string
			err := scan(&tag)
			all = append(all, tag)
			return err
		})
	return all, err
}
