package meta

import "context"

// RecordedBlobs lists the digests of the blobs that repositories hold, each once, in ascending order: those after the given
// one, up to last ("" for all), at most limit.
func (s *Store) RecordedBlobs(ctx context.Context, after, last string, limit int) ([]string, error) {
	if last == "" {
		last = "~" // after every digest
	}
	var all []string
	err := s.read.rows(ctx,
		`SELECT DISTINCT digest FROM repository_blobs WHERE digest > $1 AND digest <= $2 ORDER BY digest LIMIT $3`, args{after, last, limit},
		func(scan func(...any) error) error {
			var d string
			err := scan(&d)
			all = append(all, d)
			return err
		})
	return all, err
}

// StoredManifest is a manifest of the installation, whichever repositories have it.
type StoredManifest struct {
	Digest string
	Body   []byte
}

// Manifests lists manifests in the order of their digests, those after the given one, at most limit. It reads the database,
// not the cache.
func (s *Store) Manifests(ctx context.Context, after string, limit int) ([]StoredManifest, error) {
	var all []StoredManifest
	err := s.read.rows(ctx, `SELECT digest, body FROM manifests WHERE digest > $1 ORDER BY digest LIMIT $2`, args{after, limit},
		func(scan func(...any) error) error {
			var m StoredManifest
			err := scan(&m.Digest, &m.Body)
			all = append(all, m)
			return err
		})
	return all, err
}
